"""Timings, what is derived from them, and the peak they are compared with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cltorch.codegen.source import KernelSource
from cltorch.errors import DeviceError
from cltorch.runtime import NullDevice, Peak, Profiler
from cltorch.runtime.device import Device


def test_profile_of_launches(
    device: Device, slow_source: KernelSource, add_source: KernelSource, tmp_path: Path
) -> None:
    value = device.upload(np.zeros(1, np.float32))
    out = device.pool.allocate(4)
    slow = device.bind(slow_source, [value, ("int", 3000)], (1,), flops=3e6)
    quick = device.bind(add_source, [out, value, ("int", 1), ("float", 1.0)], (1,), nbytes=8)
    slow.enqueue(device.stream.queue)
    device.synchronize()
    assert device.profiler is None
    with Profiler(device) as profiler:
        assert device.profiler is profiler
        profiler.launch(device.stream, slow, "turning", slow.name, slow.flops, slow.nbytes)
        for launch in (quick, slow):
            profiler.record(launch.name, launch.enqueue(device.stream.queue), launch.flops, launch.nbytes)
    assert device.profiler is None
    timings = profiler.timings()
    assert [timing.name for timing in timings] == [slow.name, quick.name, slow.name]
    rows = {row.name: row for row in profiler.summary()}
    assert rows[slow.name].count == 2 and rows[slow.name].flops == 6e6 and rows[quick.name].nbytes == 8
    if device.quirks.trusted_clock:
        assert 0.00002 < rows[slow.name].seconds < 10
        times = [row.seconds for row in profiler.summary()]
        assert times == sorted(times, reverse=True)
        for before, after in zip(timings, timings[1:], strict=False):
            assert before.start <= before.end <= after.start
        assert rows[slow.name].gflops == pytest.approx(6e6 / rows[slow.name].seconds / 1e9)
    table = profiler.table(Peak(10.0, 100.0, 8))
    assert rows[slow.name].about == "turning" and "turning" in table
    assert slow.name in table and "GFLOPS" in table and "total" in table
    profiler.export_chrome_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert [event["name"] for event in events] == [slow.name, quick.name, slow.name]
    assert all(event["ph"] == "X" and event["ts"] >= 0 for event in events)


def test_an_empty_profile(device: Device) -> None:
    with Profiler(device) as profiler:
        pass
    assert profiler.timings() == [] and profiler.summary() == [] and list(profiler.trace_events()) == []
    assert "total" in profiler.table()


def test_peak(device: Device) -> None:
    before = device.pool.statistics()["reserved_bytes.all.current"]
    peak = device.peak
    assert device.pool.statistics()["reserved_bytes.all.current"] == before  # measuring leaves nothing behind
    assert 0.05 < peak.bandwidth < 20_000 and 0.5 < peak.gflops < 2_000_000
    assert peak is device.peak


def test_the_null_device_has_no_peak() -> None:
    with pytest.raises(DeviceError, match="runs nothing"):
        _ = NullDevice().peak


def test_profiling_the_null_device() -> None:
    device = NullDevice()
    launch = device.bind(KernelSource("test_null", "KERNEL"), [], (1,))
    with Profiler(device) as profiler:
        profiler.record(launch.name, launch.enqueue(device.stream.queue))
    assert profiler.timings() == []
