"""Where a tensor's bytes lie: pinned host memory, uses by streams.

Floor 6.
"""

from __future__ import annotations

from typing import Any

from .runtime import aligned_empty
from .tensor import Tensor, from_array

ALIGNMENT = 64  # bytes: from here on a device that shares memory takes an array as it is


def is_pinned(self: Tensor, device: Any = None) -> bool:
    """True if the tensor waits in aligned host memory, from which a device takes it without a copy of the driver's own.
    """
    host = self._storage.host
    return host is not None and host.ctypes.data % ALIGNMENT == 0


def pin_memory(self: Tensor, device: Any = None) -> Tensor:
    """A copy in aligned host memory; the tensor itself if it is there already, or lies on a device."""
    storage = self._storage
    if storage.block is not None or storage.pending or is_pinned(self) or not self.numel():
        return self
    array = self.detach()._array()
    made = aligned_empty(array.shape, array.dtype)
    made[...] = array
    pinned = from_array(made, None if array.dtype == self.dtype.numpy else self.dtype, self.device)
    return pinned if pinned.dtype is self.dtype else self


def record_stream(self: Tensor, stream: Any) -> None:
    """The tensor's memory is not reused before `stream` has done what it has now."""
    if self._storage.block is not None:
        self._storage.block.record_stream(getattr(stream, "_stream", stream))


def is_same_size(self: Tensor, other: Tensor) -> bool:
    """True if both have the same shape."""
    return self._layout.shape == other._layout.shape


for _function in (is_pinned, pin_memory, record_stream, is_same_size):
    setattr(Tensor, _function.__name__, _function)
