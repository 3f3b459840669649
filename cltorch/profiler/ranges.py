"""Ranges that users mark, and what is noted of them while a profile records."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from ..engine.trace import traces

Mark = dict[Any, tuple[int, int]]  # device -> (epoch, entries) of its trace: a point in the order of recording


@dataclass
class Range:
    """A marked range: its name and arguments, its time on the host, its thread, and what was recorded meanwhile."""

    name: str
    args: str | None
    begin: float
    thread: int
    first: Mark
    end: float = 0.0
    last: Mark = field(default_factory=dict)
    children: float = 0.0  # seconds of ranges directly inside
    depth: int = 0

    def covers(self, device: Any, point: tuple[int, int]) -> bool:
        """Whether an entry was recorded inside."""
        return self.first.get(device, (-1, 0)) <= point < self.last.get(device, (-1, 0))


def mark() -> Mark:
    """Where every device's trace is now."""
    return {device: (trace.epoch, trace.entries) for device, trace in traces.items()}


class Collector:
    """The ranges that were marked while it is the active one (`Collector.active`)."""

    active: Collector | None = None

    def __init__(self) -> None:
        self.ranges: list[Range] = []
        self._open = threading.local()

    def begin(self, name: str, args: str | None) -> Range:
        """A range opens on this thread."""
        stack = self._stack()
        opened = Range(name, args, time.perf_counter(), threading.get_ident(), mark(), depth=len(stack))
        stack.append(opened)
        return opened

    def end(self, opened: Range) -> None:
        """It closes, and with it whatever is still open inside."""
        opened.end, opened.last = time.perf_counter(), mark()
        stack = self._stack()
        while stack and stack.pop() is not opened:
            pass
        if stack:
            stack[-1].children += opened.end - opened.begin
        self.ranges.append(opened)

    def _stack(self) -> list[Range]:
        if not hasattr(self._open, "stack"):
            self._open.stack = []
        return self._open.stack


class record_function(contextlib.ContextDecorator):
    """Marks a range of a program, as a context or a decorator; without a profile it does nothing.

    Args:
        name: of the range. args: shown beside it in traces.

    >>> with record_function("forward"):
    ...     pass
    """

    def __init__(self, name: str, args: str | None = None):
        self.name, self.args = name, args
        self._opened: list[tuple[Collector, Range] | None] = []

    def __enter__(self) -> record_function:
        collector = Collector.active
        self._opened.append(None if collector is None else (collector, collector.begin(self.name, self.args)))
        return self

    def __exit__(self, *exception: object) -> None:
        opened = self._opened.pop()
        if opened is not None:
            opened[0].end(opened[1])
