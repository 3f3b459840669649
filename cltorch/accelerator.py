"""`torch.accelerator`: the OpenCL device under PyTorch's device-neutral names.

Floor 7.

>>> import cltorch as torch
>>> torch.accelerator.is_available()
True
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from . import engine, runtime
from .device import device as Device
from .device import get_default_device, name_of, set_default_device, storage_device
from .errors import DeviceError


def is_available() -> bool:
    """True if there is an OpenCL device."""
    return device_count() > 0


def device_count() -> int:
    """Number of OpenCL devices."""
    return len(runtime.devices())


def current_accelerator(check_available: bool = False) -> Device | None:
    """The default device, or None if there is no OpenCL device."""
    try:
        return get_default_device()
    except DeviceError:
        return None


def current_device_index() -> int:
    """Number of the default device."""
    return storage_device(None).index


current_device_idx = current_device_index


def set_device_index(device: Any) -> None:
    """Make `device` (an index, a name or a device) the default one."""
    set_default_device(name_of(storage_device(device)))


set_device_idx = set_device_index


@contextlib.contextmanager
def device_index(device: int | None) -> Iterator[None]:
    """Within it, device number `device` is the default one; None changes nothing."""
    if device is None:
        yield
        return
    with Device(device):
        yield


def device_name(device: Any = None) -> str:
    """The device's name as its driver gives it."""
    return storage_device(device).name


def synchronize(device: Any = None) -> None:
    """Run everything recorded and wait until the device (default: every device in use) has finished."""
    engine.synchronize(None if device is None else storage_device(device))


class Event(runtime.Event):
    """A point in a stream; what was recorded before it is run first.

    Args:
        enable_timing: the point has a time, for `elapsed_time`.
        blocking: taken as PyTorch's, of no effect: waits do not burn processor time for long.
        interprocess: taken as PyTorch's; must be False.

    **Raises** ValueError: `interprocess` is set.
    """

    def __init__(self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False):
        if interprocess:
            raise ValueError("Event: interprocess: got True, wanted False: OpenCL events stay in their process")
        super().__init__(enable_timing)

    def record(self, stream: Any = None) -> None:
        """Mark the point that `stream` (default: the current one of the default device) has reached."""
        found = _runtime_stream(stream)
        engine.flush(found.device)
        super().record(found)

    def wait(self, stream: Any = None) -> None:
        """Hold back later work of `stream` until this event is complete."""
        found = _runtime_stream(stream)
        engine.flush(found.device)
        super().wait(found)


class Stream:
    """An in-order queue of a device. `with stream:` records for it; independent streams may run at the same time.

    As with CUDA, a tensor made on one stream and used on another needs `wait_stream` or an Event in between.
    """

    def __init__(self, device: Any = None, priority: int = 0, _stream: runtime.Stream | None = None):
        self._stream = _stream or storage_device(device).new_stream()

    @property
    def device(self) -> Device:
        """Where it runs."""
        return name_of(self._stream.device)

    def __enter__(self) -> Stream:
        engine.flush(self._stream.device)
        self._stream.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        engine.flush(self._stream.device)
        self._stream.__exit__(*exception)

    def _flush(self) -> None:
        if self._stream.device.stream is self._stream:
            engine.flush(self._stream.device)

    def synchronize(self) -> None:
        """Wait until everything on this stream has finished."""
        self._flush()
        self._stream.synchronize()

    def query(self) -> bool:
        """True if everything on this stream has finished."""
        self._flush()
        return self._stream.query()

    def record_event(self, event: Event | None = None) -> Event:
        """Record `event` (or a new one) at this point."""
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: runtime.Event) -> None:
        """Hold back later work until `event` is complete."""
        self._flush()
        self._stream.wait_event(event)

    def wait_stream(self, stream: Stream) -> None:
        """Hold back later work until what `stream` has now is done."""
        stream._flush()
        self._flush()
        self._stream.wait_stream(stream._stream)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and self._stream is other._stream

    def __hash__(self) -> int:
        return id(self._stream)


def _runtime_stream(stream: Any) -> runtime.Stream:
    return storage_device(None).stream if stream is None else getattr(stream, "_stream", stream)


def current_stream(device: Any = None) -> Stream:
    """The stream on which this thread's work runs."""
    return Stream(_stream=storage_device(device).stream)


def set_stream(stream: Stream) -> None:
    """Make `stream` this thread's stream; what was recorded before runs on the old one."""
    engine.flush(stream._stream.device)
    runtime.set_current_stream(stream._stream)


def memory_stats(device: Any = None) -> dict[str, int]:
    """Statistics of the memory pool, in bytes and counts."""
    return dict(storage_device(device).pool.statistics())


def memory_allocated(device: Any = None) -> int:
    """Bytes in use by tensors and plans."""
    return memory_stats(device)["allocated_bytes.all.current"]


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes in use since the start or `reset_peak_memory_stats`."""
    return memory_stats(device)["allocated_bytes.all.peak"]


def memory_reserved(device: Any = None) -> int:
    """Bytes held by the pool."""
    return memory_stats(device)["reserved_bytes.all.current"]


def max_memory_reserved(device: Any = None) -> int:
    """The most bytes held by the pool since the start or `reset_peak_memory_stats`."""
    return memory_stats(device)["reserved_bytes.all.peak"]


def reset_peak_memory_stats(device: Any = None) -> None:
    """Begin anew with the peaks."""
    storage_device(device).pool.reset_peak()


def get_memory_info(device: Any = None) -> tuple[int, int]:
    """(free, total) bytes of the device, as far as the pool knows."""
    found = storage_device(device)
    total = found.target.global_memory
    return max(total - found.pool.statistics()["reserved_bytes.all.current"], 0), total


def empty_cache() -> None:
    """Give unused memory back to the drivers."""
    engine.clear_plans()  # plans hold on to the arena they were last bound to
    for device in runtime.devices():
        if "pool" in device.__dict__:
            engine.synchronize(device)
            device.pool.empty_cache()


__all__ = [
    "Event",
    "Stream",
    "current_accelerator",
    "current_device_idx",
    "current_device_index",
    "current_stream",
    "device_count",
    "device_index",
    "device_name",
    "empty_cache",
    "get_memory_info",
    "is_available",
    "max_memory_allocated",
    "max_memory_reserved",
    "memory_allocated",
    "memory_reserved",
    "memory_stats",
    "reset_peak_memory_stats",
    "set_device_idx",
    "set_device_index",
    "set_stream",
    "synchronize",
]
