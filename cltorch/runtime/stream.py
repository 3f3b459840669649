"""Streams and events as in `torch.cuda`: a Stream is one in-order queue, an Event a point in it.

Floor 1a. Edges between streams are marker + flush on the producer and a barrier on the consumer: the flush is
needed (rusticl deadlocks without), the barrier costs 1-2 us. Out-of-order queues are not used: no more overlap, and
barriers on them are a trap.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..errors import DeviceError
from .opencl import cl, process

if TYPE_CHECKING:
    from .device import Device

_COMPLETE = 0  # CL_COMPLETE
_SPIN_SECONDS = 50e-6


class _Current(threading.local):
    """The current streams of a thread."""

    def __init__(self) -> None:
        self.streams: dict[Device, Stream] = {}


_current = _Current()


class Event:
    """A point in a stream that others may wait for.

    Args:
        enable_timing: the point has a time, for `elapsed_time`.
    """

    __slots__ = ("_event", "_spins", "enable_timing")

    def __init__(self, enable_timing: bool = False) -> None:
        self.enable_timing = enable_timing
        self._event: Any = None
        self._spins = False

    def record(self, stream: Stream) -> None:
        """Mark the point that `stream` has reached."""
        if self.enable_timing:
            stream.enable_profiling()
        self._spins = stream.device.quirks.spin
        self._event = stream.marker()

    def wait(self, stream: Stream) -> None:
        """Hold back all later work of `stream` until this event is complete. Does not block the host."""
        if self._event is not None:
            stream.barrier(self._event)

    def query(self) -> bool:
        """Whether all work before the point is done; True if never recorded."""
        return self._event is None or self._event.command_execution_status == _COMPLETE

    def synchronize(self) -> None:
        """Block the host until the point is reached."""
        if self._event is None:
            return
        if self._spins:
            _spin(self._event)
        self._event.wait()

    def elapsed_time(self, end: Event) -> float:
        """Milliseconds from this event to `end`.

        Raises:
            RuntimeError: an event was not recorded, is not complete, or was made without `enable_timing`.
        """
        for name, event in (("start", self), ("end", end)):
            if not event.enable_timing:
                raise RuntimeError(
                    f"elapsed_time: {name}: got an event without timing, wanted Event(enable_timing=True)"
                )
            if event._event is None:
                raise RuntimeError(f"elapsed_time: {name}: got an event that was never recorded")
            if not event.query():
                raise RuntimeError(f"elapsed_time: {name}: got an event that is not complete; synchronize it first")
        return (_end_time(end._event) - _end_time(self._event)) * 1e-6

    def __repr__(self) -> str:
        state = "not recorded" if self._event is None else "complete" if self.query() else "pending"
        return f"Event({state})"


def _end_time(event: Any) -> int:
    return int(event.get_profiling_info(cl.profiling_info.END))


def _spin(event: Any) -> bool:
    """Watch `event` for a short while; whether it is complete."""
    limit = time.perf_counter() + _SPIN_SECONDS
    while event.command_execution_status > _COMPLETE:
        if time.perf_counter() > limit:
            return False
    return True


class Stream:
    """Work on a device in program order: one in-order queue.

    As a context manager it is the current stream of the thread: `with Stream(device): ...`.

    Attributes:
        device: where it runs.
        queue: the OpenCL queue; read it anew for each run, profiling may have replaced it.
    """

    __slots__ = ("__weakref__", "_outer", "_profiling", "device", "queue")

    def __init__(self, device: Device) -> None:
        self.device = device
        self._profiling = device.quirks.profile_free or device.profiler is not None
        self.queue: Any = device.create_queue(self._profiling)
        self._outer: list[Stream | None] = []

    def enable_profiling(self) -> None:
        """From here on, events of this stream carry timings."""
        if not self._profiling:
            self.synchronize()
            self.queue = self.device.create_queue(True)
            self._profiling = True

    def marker(self) -> Any:
        """The OpenCL event of the point reached now, flushed so that others may wait for it."""
        return self.device.enqueue_marker(self.queue)

    def barrier(self, event: Any) -> None:
        """Hold back later work until the OpenCL `event` is complete."""
        self.device.enqueue_barrier(self.queue, event)

    def synchronize(self) -> None:
        """Block the host until all work enqueued so far is done."""
        try:
            if self.device.quirks.wait == "event":
                self.marker().wait()
            else:
                self.queue.finish()
        except cl.Error as error:  # a kernel that failed shows here
            raise self.device.fault(error, "synchronize") from error

    def query(self) -> bool:
        """Whether all work enqueued so far is done; False also where a busy driver does not say so at once."""
        return _spin(self.marker())

    def record_event(self, event: Event | None = None) -> Event:
        """Record `event` (or a new one) at this point."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Hold back later work until `event` is complete."""
        event.wait(self)

    def wait_stream(self, stream: Stream) -> None:
        """Hold back later work until what `stream` has now is done."""
        if stream is not self:
            self.barrier(stream.marker())

    def __enter__(self) -> Stream:
        self._outer.append(set_current_stream(self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        streams = _current.streams
        outer = self._outer.pop()
        if outer is None:
            streams.pop(self.device, None)
        else:
            streams[self.device] = outer

    def __del__(self) -> None:
        if process.forked:
            process.keep(self.queue)

    def __repr__(self) -> str:
        return f"Stream(device={self.device.spec!r}, id={id(self):#x})"


def current_stream(device: Device) -> Stream:
    """The stream that the calling thread uses on `device`."""
    return _current.streams.get(device) or device.default_stream


def set_current_stream(stream: Stream) -> Stream | None:
    """Make `stream` the calling thread's stream on its device; returns the one before, None for the default."""
    if stream.queue is None:
        raise DeviceError("set_current_stream: stream: got a closed stream, wanted an open one")
    streams = _current.streams
    before = streams.get(stream.device)
    streams[stream.device] = stream
    return before
