"""A recording: profilers on every device and the ranges of the host, and what comes of them as events."""

from __future__ import annotations

import time
from collections.abc import Iterator

from .. import engine, runtime
from ..config import settings
from ..errors import DeviceError
from ..shapes import Layout
from .events import DeviceType, EventList, FunctionEvent, Interval
from .ranges import Collector, Range


def peak_of(device: str) -> runtime.Peak | None:
    """The measured peak of 'cl:0', None if it cannot be measured."""
    try:
        return runtime.get_device(device).peak
    except DeviceError:
        return None


class Recording:
    """What happens between `start` and `stop`.

    Args:
        host, kernels: which of the two sides to record.
        shapes, stack, memory: what to keep besides.
    """

    def __init__(self, host: bool, kernels: bool, shapes: bool, stack: bool, memory: bool):
        self._host, self._kernels, self._shapes, self._stack, self._memory = host, kernels, shapes, stack, memory
        self._collector = Collector()
        self._profilers: list[runtime.Profiler] = []
        self._began = 0.0
        self._debug = settings.debug

    def start(self) -> None:
        """From here on. What was recorded before runs first.

        **Raises** RuntimeError: another profile is recording.
        """
        if Collector.active is not None:
            raise RuntimeError("profile: start: another profile is recording in this process, wanted one at a time")
        engine.flush()
        if self._stack:
            self._debug, settings.debug = settings.debug, max(settings.debug, 1)
            engine.watch()
        if self._kernels:
            self._profilers = [runtime.Profiler(device) for device in runtime.devices()]
            for profiler in self._profilers:
                profiler.__enter__()
        Collector.active = self._collector
        self._began = time.perf_counter()

    def stop(self) -> None:
        """Up to here. Runs what is recorded, and waits for it."""
        try:
            engine.synchronize()
        finally:
            Collector.active = None
            for profiler in self._profilers:
                profiler.__exit__(None, None, None)
            if self._stack:
                settings.debug = self._debug
                engine.watch()

    def events(self) -> EventList:
        """Everything that happened, in order of time."""
        ranges = sorted(self._collector.ranges, key=lambda each: each.begin) if self._host else []
        found: list[FunctionEvent] = []
        marked = [(each, self._range_event(each)) for each in ranges]
        for profiler in self._profilers:
            kernels = list(self._kernel_events(profiler))
            for (epoch, position), event in kernels:
                for each, its in marked:
                    if each.covers(profiler.device, (epoch, position)):
                        its.device_time_total += event.device_time_total
            found += [event for _, event in kernels]
            if self._host:
                found += self._flush_events(profiler, kernels, marked)
        found += [event for _, event in marked]
        return EventList(sorted(found, key=lambda event: event.time_range.start), peak_of)

    def _interval(self, begin: float, end: float) -> Interval:
        return Interval((begin - self._began) * 1e6, (end - self._began) * 1e6)

    def _range_event(self, each: Range) -> FunctionEvent:
        interval = self._interval(each.begin, each.end)
        took = interval.elapsed_us()
        return FunctionEvent(
            each.name, DeviceType.CPU, "", each.thread, interval, cpu_time_total=took,
            self_cpu_time_total=took - each.children * 1e6, args=each.args,
        )  # fmt: skip

    def _kernel_events(self, profiler: runtime.Profiler) -> Iterator[tuple[tuple[int, int], FunctionEvent]]:
        """Each kernel with the point in the order of recording at which its first (or main) op was recorded."""
        timings = profiler.timings()
        if not timings:
            return
        shift = min(timing.host - timing.queued for timing in timings)  # from the device's clock to the host's
        threads = {flush.epoch: flush.thread for flush in profiler.flushes}
        busy_until = None
        before: tuple[int, float] | None = None
        for timing in timings:
            epoch, lines, group = timing.origin or (-1, [], None)
            head = group and (group.entry or group.entries[0])
            idle = 0.0 if busy_until is None else max(0.0, timing.start - busy_until)
            busy_until = timing.end if busy_until is None else max(busy_until, timing.end)
            launch = timing.host - before[1] if before is not None and before[0] == epoch else 0.0
            before = (epoch, timing.host)
            shapes = [list(x.shape) for x in head.spec.ins if isinstance(x, Layout)] if head and self._shapes else []
            positions = [entry.position for entry in group.entries] if group else []
            yield (epoch, head.position if head else 0), FunctionEvent(
                timing.name, DeviceType.OPENCL, profiler.device.spec, timing.stream,
                self._interval(timing.start + shift, timing.end + shift),
                cpu_time_total=launch * 1e6, self_cpu_time_total=launch * 1e6,
                device_time_total=timing.seconds * 1e6, self_device_time_total=timing.seconds * 1e6,
                idle_time_total=idle * 1e6, launched=(timing.host - self._began) * 1e6,
                flops=timing.flops, nbytes=timing.nbytes, input_shapes=shapes,
                stack=list(dict.fromkeys(lines[p] for p in positions if p < len(lines))) if self._stack else [],
                host_thread=threads.get(epoch, 0),
            )  # fmt: skip

    def _flush_events(
        self,
        profiler: runtime.Profiler,
        kernels: list[tuple[tuple[int, int], FunctionEvent]],
        marked: list[tuple[Range, FunctionEvent]],
    ) -> Iterator[FunctionEvent]:
        """Each flush, and the making of its plan where that was new; taken from the time of the range around it."""
        sums: dict[int, list[float]] = {}
        for (epoch, _), event in kernels:
            entry = sums.setdefault(epoch, [0.0, 0.0, 0.0])
            for i, value in enumerate((1, event.device_time_total, event.cpu_time_total)):
                entry[i] += value
        for flush in profiler.flushes:
            count, on_device, launching = sums.get(flush.epoch, (0, 0.0, 0.0))
            interval = self._interval(flush.began, flush.ended)
            planning = self._interval(flush.began, flush.launched)
            took, planned = interval.elapsed_us(), planning.elapsed_us() if flush.new else 0.0
            around = [
                (each, its) for each, its in marked
                if each.thread == flush.thread and each.begin <= flush.began and flush.ended <= each.end
            ]  # fmt: skip
            if around:
                max(around, key=lambda pair: pair[0].depth)[1].self_cpu_time_total -= took
            if flush.new:
                yield FunctionEvent(
                    "cltorch::plan", DeviceType.CPU, "", flush.thread, planning, cpu_time_total=planned,
                    self_cpu_time_total=planned, args=f"fused, planned and compiled for {profiler.device.spec}",
                )  # fmt: skip
            yield FunctionEvent(
                "cltorch::flush", DeviceType.CPU, "", flush.thread, interval, cpu_time_total=took,
                self_cpu_time_total=took - launching - planned, device_time_total=on_device,
                args=f"{flush.entries} ops in {int(count)} launches on {profiler.device.spec}",
                allocated=flush.allocated if self._memory else None,
            )  # fmt: skip
