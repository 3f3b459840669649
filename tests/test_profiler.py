"""Profiles: what ran, under which names and in which ranges, when, and how it is told."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

import cltorch as torch
from cltorch.profiler import (
    DeviceType,
    ProfilerAction,
    ProfilerActivity,
    profile,
    record_function,
    schedule,
    supported_activities,
    tensorboard_trace_handler,
)
from cltorch.profiler.ranges import Collector


def work(n: int = 96) -> torch.Tensor:
    a = torch.ones(n, n)
    return torch.softmax(a @ a, -1)


@pytest.fixture
def measured() -> profile:
    work().sum().item()
    a = torch.ones(96, 96)
    with profile(record_shapes=True) as prof:
        with record_function("outer"):
            with record_function("product"):
                b = a @ a
            with record_function("rows"):
                c = torch.softmax(b, -1)
        c.sum().item()
    return prof


def rows_of(prof: profile) -> dict:
    return {row.key: row for row in prof.key_averages()}


def test_kernels_have_the_names_of_their_ops_and_what_they_did(measured: profile) -> None:
    kernels = [event for event in measured.events() if event.device_type is DeviceType.OPENCL]
    assert any("_matmul" in event.name for event in kernels)
    product = next(event for event in kernels if "_matmul" in event.name)
    assert product.flops == 2 * 96**3 and product.nbytes >= 3 * 96 * 96 * 4
    assert product.input_shapes == [[96, 96], [96, 96]]
    assert product.device == str(torch.get_default_device()) and product.self_device_time_total > 0
    assert product.time_range.elapsed_us() == pytest.approx(product.device_time, abs=0.01)


def test_kernels_belong_to_the_range_that_recorded_their_ops(measured: profile) -> None:
    """They all run in one flush behind the ranges."""
    rows = rows_of(measured)
    kernels = [row for row in rows.values() if row.device_type is DeviceType.OPENCL]
    product = sum(row.device_time_total for row in kernels if "_matmul" in row.key)
    assert rows["product"].device_time_total == pytest.approx(product)
    assert rows["rows"].device_time_total > 0
    assert rows["outer"].device_time_total == pytest.approx(
        rows["product"].device_time_total + rows["rows"].device_time_total
    )
    total = sum(row.device_time_total for row in kernels)
    assert rows["cltorch::flush"].device_time_total == pytest.approx(total)
    assert measured.key_averages().self_device_time_total == pytest.approx(total)
    assert rows["product"].self_device_time_total == 0


def test_times_nest_and_sum(measured: profile) -> None:
    events = {event.name: event for event in measured.events()}
    outer, inner = events["outer"], events["product"]
    assert outer.time_range.start <= inner.time_range.start <= inner.time_range.end <= outer.time_range.end
    inside = inner.cpu_time_total + events["rows"].cpu_time_total
    assert outer.self_cpu_time_total == pytest.approx(outer.cpu_time_total - inside)
    assert all(event.self_cpu_time_total >= -1e-6 and event.idle_time_total >= 0 for event in measured.events())
    total = measured.key_averages().total_average()
    assert total.count == len(measured.events())
    assert total.self_cpu_time_total == pytest.approx(measured.events().self_cpu_time_total)


def test_kernels_lie_on_the_clock_of_the_host(measured: profile) -> None:
    flush = next(event for event in measured.events() if event.name == "cltorch::flush")
    for event in measured.events():
        if event.device_type is DeviceType.OPENCL:
            assert flush.time_range.start <= event.launched <= flush.time_range.end
            assert event.time_range.start >= flush.time_range.start - 50  # microseconds


def test_first_run_makes_a_plan_and_the_next_does_not() -> None:
    with profile() as prof:
        (torch.ones(7, 31) * 3 - 2).sum().item()
    assert "cltorch::plan" in rows_of(prof)
    with profile() as prof:
        (torch.ones(7, 31) * 3 - 2).sum().item()
    assert "cltorch::plan" not in rows_of(prof) and "cltorch::flush" in rows_of(prof)


def test_table(measured: profile) -> None:
    averages = measured.key_averages()
    text = averages.table(sort_by="self_cuda_time_total", row_limit=2, time_unit="ms")
    assert "# of Calls" in text and "GB/s" in text and "of peak" in text and "idle between kernels" in text
    assert "... and" in text and "us" not in text.split("\n")[3]
    names = [line.split("  ")[0].strip() for line in averages.table(sort_by="device_time_total").splitlines()[3:]]
    assert names.index("outer") < names.index("product")
    with pytest.raises(AttributeError, match="sort_by: got 'speed'"):
        averages.table(sort_by="speed")
    with pytest.raises(ValueError, match="time_unit: got 'min'"):
        averages.table(time_unit="min")
    top = measured.events().table(top_level_events_only=True, header="mine")
    assert top.startswith("mine") and "_matmul" not in top and "outer" in top


def test_average_by_shape() -> None:
    with profile(record_shapes=True) as prof:
        for n in (32, 48):
            (torch.ones(n, n) @ torch.ones(n, n)).sum().item()
    split = [row for row in prof.key_averages(group_by_input_shape=True) if "_matmul" in row.key]
    assert sorted(row.input_shapes[0] for row in split) == [[32, 32], [48, 48]]
    together = [row for row in prof.key_averages() if "_matmul" in row.key]
    assert len({row.key for row in split}) == len(together)


def test_stack() -> None:
    with profile(with_stack=True) as prof:
        a = torch.ones(40, 40) @ torch.ones(40, 40)
        a.sum().item()
    product = next(event for event in prof.events() if "_matmul" in event.name)
    assert any("test_profiler.py" in line and "torch.ones(40, 40) @" in line for line in product.stack)
    assert not torch.engine.watching()


def test_export_stacks(tmp_path: Path) -> None:
    with profile(with_stack=True) as prof:
        (torch.ones(400, 400) @ torch.ones(400, 400)).sum().item()
    prof.export_stacks(tmp_path / "stacks", metric="count")  # some drivers' clocks say 0 microseconds
    lines = (tmp_path / "stacks").read_text().splitlines()
    assert any("_matmul" in line and int(line.rsplit(" ", 1)[1]) > 0 for line in lines)


def test_chrome_trace(measured: profile, tmp_path: Path) -> None:
    measured.add_metadata("note", "a word")
    measured.add_metadata_json("numbers", "[1, 2]")
    measured.export_chrome_trace(tmp_path / "trace.json")
    measured.export_chrome_trace(tmp_path / "trace.json.gz")
    content = json.loads((tmp_path / "trace.json").read_text())
    assert json.loads(gzip.decompress((tmp_path / "trace.json.gz").read_bytes())) == content
    assert content["note"] == "a word" and content["numbers"] == [1, 2]
    events = content["traceEvents"]
    complete = [event for event in events if event["ph"] == "X"]
    assert {event["cat"] for event in complete} >= {"kernel", "user_annotation", "flush"}
    for event in complete:
        assert event["ts"] >= 0 and event["dur"] >= 0
        assert isinstance(event["pid"], int) and isinstance(event["tid"], int)
    kernel = next(event for event in complete if "_matmul" in event["name"])
    assert kernel["args"]["flops"] == 2 * 96**3 and kernel["args"]["Input Dims"] == [[96, 96], [96, 96]]
    starts = {event["id"]: event for event in events if event["ph"] == "s"}
    ends = {event["id"]: event for event in events if event["ph"] == "f"}
    assert starts.keys() == ends.keys() and all(starts[i]["ts"] <= ends[i]["ts"] for i in starts)
    named = {event["pid"] for event in events if event["ph"] == "M" and event["name"] == "process_name"}
    assert {event["pid"] for event in complete} <= named


def test_memory() -> None:
    with profile(profile_memory=True) as prof:
        kept = torch.ones(1 << 18) + 1
        kept.sum().item()
    assert max(event.allocated or 0 for event in prof.events()) >= 1 << 20


def test_schedule() -> None:
    action = schedule(wait=1, warmup=1, active=2, repeat=1, skip_first=1)
    none, warm, record, save = ProfilerAction
    assert [action(i) for i in range(7)] == [none, none, warm, record, save, none, none]
    assert schedule(wait=2, warmup=0, active=1, skip_first=1, skip_first_wait=1)(1) is save
    with pytest.raises(ValueError, match="active positive"):
        schedule(wait=1, warmup=1, active=0)
    with pytest.raises(ValueError, match="step: got -1"):
        action(-1)


def test_scheduled_profile_hands_over_each_recording() -> None:
    seen = []
    with profile(schedule=schedule(wait=1, warmup=1, active=2, repeat=2), on_trace_ready=seen.append) as prof:
        marked = []
        for _ in range(10):
            work().sum().item()
            before = len(seen)
            prof.step()
            if len(seen) > before:
                marked.append(sorted(e.name for e in prof.events() if e.name.startswith("ProfilerStep")))
    assert marked == [["ProfilerStep#2", "ProfilerStep#3"], ["ProfilerStep#6", "ProfilerStep#7"]]
    assert seen == [prof, prof] and Collector.active is None


def test_a_profile_that_ends_while_recording_is_handed_over() -> None:
    seen = []
    with profile(schedule=schedule(wait=0, warmup=0, active=5), on_trace_ready=seen.append) as prof:
        work().sum().item()
    assert seen == [prof] and any("_matmul" in event.name for event in prof.events())


def test_tensorboard_trace_handler(tmp_path: Path) -> None:
    with profile(on_trace_ready=tensorboard_trace_handler(tmp_path / "log", "me", use_gzip=True)):
        work().sum().item()
    (path,) = (tmp_path / "log").iterdir()
    assert path.name.startswith("me.") and path.name.endswith(".pt.trace.json.gz")
    assert json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]


def test_activities() -> None:
    with profile(activities=[ProfilerActivity.CPU]) as prof, record_function("mine"):
        work().sum().item()
    assert {event.device_type for event in prof.events()} == {DeviceType.CPU}
    with profile(activities=[ProfilerActivity.CUDA]) as prof, record_function("mine"):
        work().sum().item()
    assert {event.device_type for event in prof.events()} == {DeviceType.OPENCL}
    assert ProfilerActivity.CPU in supported_activities()
    with pytest.raises(TypeError, match="activities: got 'cpu'"):
        profile(activities=["cpu"])  # type: ignore[list-item]


def test_only_one_profile_at_a_time() -> None:
    with profile():
        with pytest.raises(RuntimeError, match="another profile is recording"):
            profile().start()
    with pytest.raises(RuntimeError, match="without a complete recording"):
        profile(schedule=lambda step: ProfilerAction.NONE).events()


def test_work_from_before_and_after_stays_out() -> None:
    before = torch.ones(33, 33) @ torch.ones(33, 33)
    with profile() as prof:
        inside = torch.ones(44, 44) @ torch.ones(44, 44)
    after = torch.ones(55, 55) @ torch.ones(55, 55)
    assert sum(event.flops for event in prof.events() if "_matmul" in event.name) == 2 * 44**3
    del before, inside, after


def test_an_exception_ends_the_profile() -> None:
    with pytest.raises(KeyError):
        with profile() as prof, record_function("broken"):
            work()
            raise KeyError("x")
    assert Collector.active is None and torch.get_default_device() is not None
    assert any(event.name == "broken" for event in prof.events())


def test_outside_of_a_profile_nothing_is_kept() -> None:
    marker = record_function("idle")
    with marker:
        work().sum().item()
    assert marker._opened == [] and torch.ones(1)._storage.device.profiler is None


def test_as_decorator_and_in_recursion() -> None:
    @record_function("count down")
    def down(n: int) -> None:
        if n:
            down(n - 1)

    with profile() as prof:
        down(3)
    assert rows_of(prof)["count down"].count == 4
    events = [event for event in prof.events() if event.name == "count down"]
    assert sum(event.self_cpu_time_total for event in events) == pytest.approx(events[0].cpu_time_total)


def test_pytorchs_older_name() -> None:
    code = "import cltorch.autograd.profiler as profiler, cltorch; assert profiler is cltorch.profiler"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).resolve().parents[1])
