"""What was measured, event by event, and its sums by name.

Times are in microseconds from the start of the recording, the device's clock shifted onto the host's.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..runtime import Peak
from . import tables, trace


class DeviceType(enum.Enum):
    """Where an event happened."""

    CPU = "cpu"
    OPENCL = "opencl"


@dataclass(frozen=True)
class Interval:
    """From `start` to `end`, in microseconds."""

    start: float
    end: float

    def elapsed_us(self) -> float:
        """Its length."""
        return self.end - self.start


@dataclass
class FunctionEvent:
    """A launch of a kernel, a range on the host, or a flush.

    Attributes:
        name, key: of the event; a kernel's has its family and the ops it computes.
        device_type: OPENCL for kernels. device: 'cl:0' of kernels, else ''.
        thread: of the host; a kernel's is its stream.
        time_range: on the clock of the host.
        cpu_time_total, self_cpu_time_total: on the host: of a kernel, since the launch before it; self is without the
            ranges and flushes inside.
        device_time_total, self_device_time_total: of a kernel, its own; of ranges and flushes, that of their kernels.
        idle_time_total: how long the device had nothing to do before a kernel.
        launched: when the host had launched a kernel.
        flops, nbytes: arithmetic and necessary memory traffic.
        input_shapes: of the ops of a kernel, where `record_shapes` asked for them.
        stack: the lines that recorded its ops, where `with_stack` asked for them.
        args: of `record_function`, or facts about a flush.
        host_thread: of a kernel, the thread that launched it.
        allocated: bytes in use behind a flush, where `profile_memory` asked for them.
    """

    name: str
    device_type: DeviceType
    device: str
    thread: int
    time_range: Interval
    cpu_time_total: float = 0.0
    self_cpu_time_total: float = 0.0
    device_time_total: float = 0.0
    self_device_time_total: float = 0.0
    idle_time_total: float = 0.0
    launched: float = 0.0
    flops: float = 0.0
    nbytes: float = 0.0
    input_shapes: list[list[int]] = field(default_factory=list)
    stack: list[str] = field(default_factory=list)
    args: str | None = None
    host_thread: int = 0
    allocated: int | None = None
    count: int = 1

    @property
    def key(self) -> str:
        """What events are summed by."""
        return self.name

    @property
    def cpu_time(self) -> float:
        """As `cpu_time_total`."""
        return self.cpu_time_total

    @property
    def device_time(self) -> float:
        """As `device_time_total`."""
        return self.device_time_total


@dataclass
class EventAverage:
    """All events of one name (and of one kind of inputs or stack, where asked): sums, and means per call."""

    key: str
    device_type: DeviceType
    device: str
    input_shapes: list[list[int]]
    stack: list[str]
    count: int = 0
    cpu_time_total: float = 0.0
    self_cpu_time_total: float = 0.0
    device_time_total: float = 0.0
    self_device_time_total: float = 0.0
    idle_time_total: float = 0.0
    flops: float = 0.0
    nbytes: float = 0.0

    def add(self, event: FunctionEvent | EventAverage) -> None:
        """Count one more."""
        self.count += event.count
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(event, name))

    @property
    def name(self) -> str:
        """As `key`."""
        return self.key

    @property
    def cpu_time(self) -> float:
        """Mean of `cpu_time_total`."""
        return self.cpu_time_total / self.count if self.count else 0.0

    @property
    def device_time(self) -> float:
        """Mean of `device_time_total`."""
        return self.device_time_total / self.count if self.count else 0.0

    @property
    def bandwidth(self) -> float:
        """GB/s that kernels of this name reached; 0 of others."""
        return self.nbytes / self.self_device_time_total / 1e3 if self.self_device_time_total else 0.0

    @property
    def gflops(self) -> float:
        """GFLOPS that kernels of this name reached; 0 of others."""
        return self.flops / self.self_device_time_total / 1e3 if self.self_device_time_total else 0.0


_SUMS = (
    "cpu_time_total", "self_cpu_time_total", "device_time_total", "self_device_time_total", "idle_time_total", "flops",
    "nbytes",
)  # fmt: skip


class EventList(list):
    """Events, or their averages.

    Attributes:
        peaks: a function that gives the measured peak of a device such as 'cl:0'.
    """

    def __init__(self, events: Iterable[Any] = (), peaks: Callable[[str], Peak | None] = lambda device: None):
        super().__init__(events)
        self.peaks = peaks

    @property
    def self_cpu_time_total(self) -> float:
        """Microseconds of the host, of all events."""
        return sum(event.self_cpu_time_total for event in self)

    @property
    def self_device_time_total(self) -> float:
        """Microseconds of kernels."""
        return sum(event.self_device_time_total for event in self)

    def key_averages(self, group_by_input_shapes: bool = False, group_by_stack_n: int = 0) -> EventList:
        """Sums by name and device; and by the shapes of inputs, and the innermost n lines of the stack, where asked."""
        found: dict[tuple[Any, ...], EventAverage] = {}
        for event in self:
            shapes = event.input_shapes if group_by_input_shapes else []
            stack = event.stack[:group_by_stack_n]
            key = (event.key, event.device_type, event.device, str(shapes), tuple(stack))
            if key not in found:
                found[key] = EventAverage(event.key, event.device_type, event.device, shapes, stack)
            found[key].add(event)
        return EventList(found.values(), self.peaks)

    def total_average(self) -> EventAverage:
        """All events as one."""
        total = EventAverage("Total", DeviceType.CPU, "", [], [])
        for event in self:
            total.add(event)
        return total

    def table(
        self,
        sort_by: str | None = None,
        row_limit: int = 100,
        max_src_column_width: int = 75,
        max_name_column_width: int = 55,
        max_shapes_column_width: int = 80,
        header: str | None = None,
        top_level_events_only: bool = False,
        time_unit: str | None = None,
    ) -> str:
        """The events as text; on kernels with GB/s, GFLOPS and the share of the device's measured peak (measured at the
        first table, which takes half a second).

        Args:
            sort_by: an attribute, as 'self_device_time_total', 'cpu_time_total', 'count', 'idle_time_total', 'flops';
                PyTorch's names with 'cuda' or 'xpu' for 'device' are understood.
            row_limit: at most so many rows; -1 for all.
            top_level_events_only: leave out kernels and flushes.
            time_unit: 's', 'ms' or 'us'; default: what fits each number.

        **Raises** AttributeError: events have no `sort_by`; ValueError: `time_unit` is another word.
        """
        rows = list(self)
        if top_level_events_only:
            rows = [row for row in rows if row.device_type is DeviceType.CPU and not row.key.startswith("cltorch::")]
        if sort_by is not None:
            name = tables.attribute_of(sort_by)
            for row in rows[:1]:
                if not isinstance(getattr(row, name, None), (int, float)):
                    raise AttributeError(
                        f"table: sort_by: got {sort_by!r}, wanted one of {', '.join((*_SUMS, 'cpu_time', 'count'))}"
                    )
            rows.sort(key=lambda row: -getattr(row, name))
        widths = (max_name_column_width, max_shapes_column_width, max_src_column_width)
        return tables.render(self, rows, row_limit, widths, header, time_unit)

    def __str__(self) -> str:
        return self.table()

    def export_chrome_trace(self, path: str | Path) -> None:
        """Write the events for chrome://tracing or Perfetto; not for averages, which have no time."""
        trace.write(self, path)
