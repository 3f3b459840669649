"""`torch.accelerator`, `torch.cuda`'s names and `torch.backends` on every device."""

from __future__ import annotations

import time

import numpy as np
import pytest

import cltorch as torch
from cltorch import runtime

MIB = 1 << 20


@pytest.fixture(params=range(len(runtime.devices())), ids=lambda i: f"cl:{i}-{runtime.devices()[i].target.vendor}")
def number(request: pytest.FixtureRequest):
    with torch.device(request.param):
        yield request.param


def test_devices() -> None:
    count = torch.accelerator.device_count()
    assert count == len(runtime.devices()) == torch.cuda.device_count()
    assert torch.accelerator.is_available() is torch.cuda.is_available() is (count > 0)
    assert torch.accelerator.current_accelerator() == torch.get_default_device()


def test_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_devices", [])
    assert not torch.accelerator.is_available() and torch.accelerator.device_count() == 0
    assert torch.accelerator.current_accelerator() is None and not torch.backends.opencl.is_available()
    with pytest.raises(RuntimeError, match="No OpenCL device was found"):
        torch.accelerator.current_device_index()


def test_choosing(number: int) -> None:
    assert torch.accelerator.current_device_index() == number == torch.cuda.current_device()
    assert torch.ones(1).device == torch.device("cl", number)
    last = torch.accelerator.device_count() - 1
    with torch.accelerator.device_index(last):
        assert torch.ones(1).device.index == last
    with torch.cuda.device(last), torch.accelerator.device_index(None):
        assert torch.zeros(1).device.index == last
    assert torch.accelerator.current_device_index() == number
    torch.accelerator.set_device_index(last)
    assert torch.accelerator.current_device_index() == last
    torch.cuda.set_device(f"cuda:{number}")
    assert torch.accelerator.current_device_index() == number


def test_wrong_devices() -> None:
    for call in (torch.accelerator.memory_stats, torch.cuda.get_device_properties, torch.accelerator.Stream):
        with pytest.raises(RuntimeError, match="cl:99"):
            call("cl:99")
        with pytest.raises(RuntimeError, match="abacus"):
            call("abacus")


def test_synchronize_runs_what_is_recorded(number: int) -> None:
    x = torch.full((1000,), 2.0)
    y = x * 3
    torch.accelerator.synchronize(number)
    assert y.sum().item() == 6000
    z = y + 1
    torch.accelerator.synchronize()
    torch.cuda.synchronize(f"cl:{number}")
    assert z[5].item() == 7


def test_memory(number: int) -> None:
    a = torch.accelerator
    a.synchronize()
    a.empty_cache()
    a.reset_peak_memory_stats()
    before = a.memory_allocated()
    x = torch.rand(MIB)  # 4 MiB
    x.sum().item()
    held = a.memory_allocated()
    assert held - before >= 4 * MIB
    assert a.memory_reserved() >= held and a.max_memory_allocated() >= held
    assert a.memory_stats()["allocation.all.current"] >= 1
    del x
    a.synchronize()
    assert a.memory_allocated() <= held - 4 * MIB
    assert a.max_memory_allocated() >= held
    a.reset_peak_memory_stats()
    assert a.max_memory_allocated() < held
    reserved = a.memory_reserved()
    a.empty_cache()
    assert a.memory_reserved() < reserved
    free, total = torch.cuda.mem_get_info()
    assert 0 < free <= total == torch.cuda.get_device_properties().total_memory
    assert "allocated_bytes.all.current" in torch.cuda.memory_summary()


def test_streams(number: int) -> None:
    side = torch.accelerator.Stream()
    first = torch.accelerator.current_stream()
    assert side != first and side == torch.cuda.Stream(_stream=side._stream)
    assert side.device == torch.device("cl", number)
    x = torch.arange(1000.0)
    y = x * 2
    with side:
        side.wait_stream(first)
        z = y + 1
        assert torch.accelerator.current_stream() == side
    torch.accelerator.current_stream().wait_stream(side)
    w = z - y
    np.testing.assert_array_equal(w.numpy(), np.ones(1000))
    assert torch.accelerator.current_stream() == first
    side.synchronize()
    with torch.cuda.stream(side):
        assert torch.cuda.current_stream() == side
    with torch.cuda.stream(None):
        assert torch.cuda.current_stream() == first == torch.cuda.default_stream()
    torch.accelerator.set_stream(side)
    try:
        assert (x + 1).sum().item() == 500500
    finally:
        torch.accelerator.set_stream(first)


def test_events(number: int) -> None:
    begin, end = (torch.accelerator.Event(enable_timing=True) for _ in range(2))
    assert begin.query()
    with pytest.raises(RuntimeError, match="never recorded"):
        begin.elapsed_time(end)
    x = torch.rand(300, 300)
    begin.record()
    y = x @ x
    end.record()
    end.synchronize()
    assert end.query() and begin.query()
    assert 0 <= begin.elapsed_time(end) < 60_000
    assert y.shape == (300, 300)
    plain = torch.cuda.Event(blocking=True)
    plain.record()
    plain.synchronize()
    with pytest.raises(RuntimeError, match="enable_timing"):
        plain.elapsed_time(end)
    with pytest.raises(ValueError, match="interprocess"):
        torch.cuda.Event(interprocess=True)
    side = torch.accelerator.Stream()
    event = torch.accelerator.current_stream().record_event()
    side.wait_event(event)
    event.wait(side)
    side.synchronize()
    assert event.query()
    limit = time.monotonic() + 10  # a busy driver may take a while to say that a marker is done
    while not side.query():
        assert time.monotonic() < limit


def test_cuda_names(number: int) -> None:
    assert torch.cuda.get_device_name() == torch.accelerator.device_name() == runtime.devices()[number].name
    properties = torch.cuda.get_device_properties(number)
    assert properties.name and properties.multi_processor_count >= 1
    assert torch.cuda.get_device_capability() == (0, 0) and torch.cuda.is_bf16_supported()
    torch.cuda.init()
    torch.cuda.ipc_collect()
    assert torch.cuda.is_initialized()
    torch.cuda.manual_seed_all(5)
    state = torch.cuda.get_rng_state()
    a = torch.rand(4)
    torch.cuda.set_rng_state(state)
    assert torch.rand(4).tolist() == a.tolist()
    for name in torch.cuda.__all__:
        assert hasattr(torch.cuda, name), name
    for name in torch.accelerator.__all__:
        assert getattr(torch.accelerator, name).__doc__, name


def test_backends() -> None:
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = False
    assert not torch.backends.cudnn.is_available() and not torch.backends.mps.is_available()
    assert torch.backends.opencl.is_available() is torch.accelerator.is_available()


def test_empty_cache_gives_memory_back():
    """Also what plans were bound to: measured as memory of the process."""
    import subprocess
    import sys

    if sys.platform != "linux":
        pytest.skip("reads /proc")
    program = """
import cltorch as torch
def resident(): return int(open("/proc/self/status").read().split("VmRSS:")[1].split()[0]) >> 10
assert torch.ones(4096, 4096).cumsum(0).cumsum(1)[0, 0].item() == 1
before = resident()
torch.accelerator.empty_cache()
print(before - resident())
assert torch.ones(4096, 4096).cumsum(0).cumsum(1)[0, 0].item() == 1
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100  # MiB, of the 128 that two temporaries took
