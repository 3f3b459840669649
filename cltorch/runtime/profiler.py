"""What each kernel took: timings from the device's own clock, with the bytes and flops the plan knows.

Floor 1a. `with Profiler(device) as profile: ...` collects the event of every launch that the replay loop hands to
`record`; time stamps are read only when asked for, because reading costs more than launching. `measure_peak` gives
the bandwidth and arithmetic that a kernel could have reached.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DeviceError
from ..resources import kernel_text
from .opencl import cl
from .pool import Pool

if TYPE_CHECKING:
    from .device import Device
    from .launch import BoundLaunch
    from .stream import Stream

_PEAK_BYTES = 64 << 20
_PEAK_SECONDS = 0.08  # per measurement
_ROUNDS = 16384  # below rusticl's limit of loops
_CHAINS = 12  # independent accumulators of the arithmetic kernel; kernels/peak.cl has as many


@dataclass(frozen=True)
class Peak:
    """What a device reached: GB/s of reading or copying, GFLOPS of multiply-adds in float32, and the vector width that
    got them.
    """

    bandwidth: float
    gflops: float
    vector_width: int


@dataclass(frozen=True)
class Timing:
    """One launch of kernel `name`: seconds on the device's clock, its work, and what it computed (`about`).

    `queued` is when the driver took it, on the same clock; `host` when it had, on that of `time.perf_counter`; `origin`
    is what the caller of `record` knows about where it came from.
    """

    name: str
    start: float
    end: float
    flops: float
    nbytes: float
    stream: int
    about: str = ""
    queued: float = 0.0
    host: float = 0.0
    origin: Any = None

    @property
    def seconds(self) -> float:
        """How long it ran."""
        return self.end - self.start


@dataclass(frozen=True)
class Flush:
    """A trace that ran, in seconds of `time.perf_counter`: where it began and ended, where its first launch was done (a
    new plan is made and compiled before), its epoch and entries, the thread, and the pool's bytes in use behind it.
    """

    began: float
    launched: float
    ended: float
    epoch: int
    entries: int
    new: bool
    thread: int
    allocated: int


@dataclass(frozen=True)
class Summary:
    """All launches of one kernel."""

    name: str
    count: int
    seconds: float
    flops: float
    nbytes: float
    about: str = ""

    @property
    def bandwidth(self) -> float:
        """Achieved GB/s of necessary traffic."""
        return self.nbytes / self.seconds / 1e9 if self.seconds > 0 else 0.0

    @property
    def gflops(self) -> float:
        """Achieved GFLOPS."""
        return self.flops / self.seconds / 1e9 if self.seconds > 0 else 0.0


class Profiler:
    """Collects launches of one device while it is active (`device.profiler` is this object, else None)."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.flushes: list[Flush] = []
        self._events: list[tuple[str, Any, float, float, int, str, float, Any]] = []
        self._begun: tuple[float, int, int, bool, int] | None = None
        self._timings: list[Timing] = []
        self._outer: Profiler | None = None
        self._started = 0.0

    def __enter__(self) -> Profiler:
        for stream in self.device.streams():  # those made later ask for `device.profiler`
            stream.enable_profiling()
        self._outer, self.device.profiler = self.device.profiler, self
        self._started = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.device.profiler = self._outer

    def record(
        self,
        name: str,
        event: Any,
        flops: float = 0.0,
        nbytes: float = 0.0,
        stream: int = 0,
        about: str = "",
        origin: Any = None,
    ) -> None:
        """Note a launch of the kernel `name` on a queue with timings; `about` says what it computes."""
        self._events.append((name, event, flops, nbytes, stream, about, time.perf_counter(), origin))

    def flush_began(self, epoch: int, entries: int, new: bool) -> None:
        """The engine is about to run a trace of so many entries; `new`: its plan has to be made."""
        self._begun = (time.perf_counter(), epoch, entries, new, len(self._events))

    def flush_ended(self) -> None:
        """It has enqueued all of it."""
        if self._begun is None:
            return
        now = time.perf_counter()
        began, epoch, entries, new, first = self._begun
        launched = self._events[first][6] if first < len(self._events) else now
        allocated = self.device.pool.statistics()["allocated_bytes.all.current"]
        self.flushes.append(Flush(began, launched, now, epoch, entries, new, threading.get_ident(), allocated))
        self._begun = None

    def launch(
        self, stream: Stream, bound: BoundLaunch, name: str, kernel: str, flops: float = 0.0, nbytes: float = 0.0
    ) -> Any:
        """Run `bound` on `stream` and note it, as the kernel `kernel` that computes `name`; returns the event."""
        stream.enable_profiling()
        event = bound.enqueue(stream.queue)
        self.record(kernel, event, flops, nbytes, id(stream), name)
        return event

    def timings(self) -> list[Timing]:
        """Every launch so far. Waits for the device."""
        if self._events:
            self.device.synchronize()
            events, self._events = self._events, []
            if self.device.type == "null":
                return []
            info = cl.profiling_info
            for name, event, flops, nbytes, stream, about, host, origin in events:
                try:
                    start, end, queued = (
                        event.get_profiling_info(each) * 1e-9 for each in (info.START, info.END, info.QUEUED)
                    )
                except cl.Error:
                    continue  # enqueued on a queue without timings
                self._timings.append(
                    Timing(name, start, end, flops, nbytes, stream, about, queued or start, host, origin)
                )
        return list(self._timings)

    def summary(self) -> list[Summary]:
        """One row per kernel, the longest first."""
        sums: dict[str, list[float]] = {}
        about: dict[str, str] = {}
        for timing in self.timings():
            row = sums.setdefault(timing.name, [0, 0.0, 0.0, 0.0])
            for place, value in enumerate((1, timing.seconds, timing.flops, timing.nbytes)):
                row[place] += value
            about.setdefault(timing.name, timing.about)
        rows = [Summary(name, int(row[0]), row[1], row[2], row[3], about[name]) for name, row in sums.items()]
        return sorted(rows, key=lambda row: -row.seconds)

    def table(self, peak: Peak | None = None, limit: int = 30) -> str:
        """The summary as text, with shares of `peak` where it is given."""
        rows = self.summary()
        total = sum(row.seconds for row in rows)
        lines = [
            f"{'kernel':<44} {'calls':>6} {'ms':>9} {'%':>5} {'us/call':>9} {'GB/s':>8} {'GFLOPS':>8}  of peak  ops"
        ]
        for row in rows[:limit]:
            share = ""
            if peak is not None:
                reached = max(row.bandwidth / peak.bandwidth, row.gflops / peak.gflops)
                share = f"{reached:.0%}" if reached <= 1 else "cache"  # faster than memory: the data did not leave it
            each, part = row.seconds / row.count * 1e6, row.seconds / total if total else 0
            lines.append(
                f"{row.name:<44} {row.count:>6} {row.seconds * 1e3:>9.3f} {part:>5.0%} {each:>9.1f} "
                f"{row.bandwidth:>8.1f} {row.gflops:>8.1f}  {share:>7}  {row.about[:60]}".rstrip()
            )
        if len(rows) > limit:
            lines.append(f"… and {len(rows) - limit} more kernels")
        lines.append(f"{'total':<44} {sum(row.count for row in rows):>6} {total * 1e3:>9.3f}")
        if not self.device.quirks.trusted_clock:
            lines.append(f"(the clock of {self.device.target.vendor} is not to be trusted)")
        return "\n".join(lines)

    def trace_events(self) -> Iterator[dict[str, Any]]:
        """The launches as events of Chrome's trace format, in microseconds from the first."""
        timings = self.timings()
        begin = min((timing.start for timing in timings), default=0.0)
        for timing in timings:
            seconds = timing.seconds or 1e-9
            yield {
                "name": timing.name,
                "cat": "kernel",
                "ph": "X",
                "pid": self.device.spec,
                "tid": timing.stream,
                "ts": (timing.start - begin) * 1e6,
                "dur": timing.seconds * 1e6,
                "args": {
                    "ops": timing.about,
                    "flops": timing.flops,
                    "bytes": timing.nbytes,
                    "GB/s": timing.nbytes / seconds / 1e9,
                    "GFLOPS": timing.flops / seconds / 1e9,
                },
            }

    def export_chrome_trace(self, path: str | Path) -> None:
        """Write the launches for chrome://tracing or Perfetto."""
        text = json.dumps({"traceEvents": list(self.trace_events()), "displayTimeUnit": "ns"})
        Path(path).write_text(text, encoding="utf-8")


class _PeakSource:
    """The kernels of `kernels/peak.cl`, at one vector width."""

    includes: tuple[str, ...] = ()
    local_size = (1,)

    def __init__(self, kernel: str, lanes: int, local: int) -> None:
        self._kernel, self._lanes = kernel, lanes
        self.local_size = (local,)

    @cached_property
    def name(self) -> str:
        digest = hashlib.sha256(kernel_text("peak").encode()).hexdigest()[:8]
        return f"peak_{self._kernel}_{self._lanes}_{self.local_size[0]}_{digest}"

    @cached_property
    def text(self) -> str:
        lanes = f"float{self._lanes}" if self._lanes > 1 else "float"
        local = self.local_size[0]
        defines = {"KERNEL_NAME": self.name, "LANES": lanes, "GROUP": local, f"PEAK_{self._kernel.upper()}": 1}
        head = "\n".join(f"#define {name} {value}" for name, value in defines.items())
        tail = "\n".join(f"#undef {name}" for name in defines)
        return f"{head}\n{kernel_text('peak')}\n{tail}\n"


def measure_peak(device: Device) -> Peak:
    """The bandwidth and arithmetic of `device`, from short kernels (about half a second, and their build).

    Raises:
        DeviceError: it is the null device.
    """
    if device.type == "null":
        raise DeviceError("measure_peak: the null device runs nothing")
    cpu = device.type == "cpu"
    local = 1 if cpu else 64
    items = device.target.compute_units * (8 if cpu else 64 * 32)
    lanes = (device.target.vector_width,) if cpu else (1, 4)
    copy = _PeakSource("copy", 4 if not cpu else device.target.vector_width, local)
    read = _PeakSource("read", copy._lanes, local)
    multiply_add = {width: _PeakSource("fma", width, local) for width in lanes}
    device.build([copy, read, *multiply_add.values()])

    nbytes = min(_PEAK_BYTES, device.target.max_allocation // 4)
    width = 4 * copy._lanes
    count = nbytes // width
    pool = Pool(device)  # its own, so that the device's statistics and cache stay as they are
    source, target = pool.allocate(nbytes), pool.allocate(nbytes)
    pages = source.host(np.uint8, nbytes)
    if pages is not None:
        pages[:] = 1  # pages never touched would all be the same one, in the cache
    per_item = -(-count // items)
    if device.target.loop_limit:
        per_item = min(per_item, device.target.loop_limit)
        count = min(count, per_item * items)
    args = [target, source, ("int", count), ("int", per_item)]
    bandwidth = 2 * count * width / _fastest(device, copy, args, (items,)) / 1e9
    result = pool.allocate(4 * items)
    bandwidth = max(bandwidth, count * width / _fastest(device, read, [result, *args[1:]], (items,)) / 1e9)

    best = (0.0, device.target.vector_width)
    for each, kernel in multiply_add.items():
        rounds = _ROUNDS
        flops = 2.0 * _CHAINS * each * rounds * items
        seconds = _fastest(device, kernel, [result, ("int", rounds), ("float", 0.5)], (items,))
        best = max(best, (flops / seconds / 1e9, each))
    del pages
    for block in (source, target, result):
        block.release()
    pool.empty_cache()
    return Peak(bandwidth, *best)


def _fastest(device: Device, source: _PeakSource, args: list[Any], global_size: tuple[int, ...]) -> float:
    """The shortest wall time of one launch."""
    launch = device.bind(source, args, global_size)
    stream = device.stream
    best = float("inf")
    limit = time.perf_counter() + _PEAK_SECONDS
    for trial in range(50):
        begin = time.perf_counter()
        launch.enqueue(stream.queue)
        stream.synchronize()
        end = time.perf_counter()
        if trial:  # the first one compiles on some drivers
            best = min(best, end - begin)
            if end > limit and trial > 2:
                break
    return best
