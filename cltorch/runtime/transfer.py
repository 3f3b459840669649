"""Moving bytes between host and device.

Floor 1a. Where host and device share memory (CPU runtimes) nothing is copied that need not be: a read is a wait and
a view, a suitable NumPy array becomes a block. Elsewhere bytes travel through pinned staging blocks of the pool's
host arena, so that neither direction stops the queue for longer than the transfer.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DeviceError
from .opencl import cl
from .pool import Block

if TYPE_CHECKING:
    from .device import Device
    from .stream import Stream

_ALIGNMENT = 64  # bytes: a cache line
# NumPy aligns to 16. Every driver tried works there in place, but vectors then straddle cache lines: measured, 40 %
# slower in the first-level cache, 9 % in the second, nothing beyond. From this size on a copy costs more than that.
_LOOSE_ALIGNMENT = 16
_LOOSE_BYTES = 256 << 10


def _bytes_of(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def aligned_empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An uninitialised array that begins at a cache line, so that devices that share memory can adopt it."""
    dtype = np.dtype(dtype)
    nbytes = math.prod(shape) * dtype.itemsize
    raw = np.empty(nbytes + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + nbytes].view(dtype).reshape(shape)


def adopt(device: Device, array: np.ndarray) -> Block | None:
    """A block that is the array's own memory, or None where that cannot be.

    It can where the device works in host memory and the array is contiguous, writeable and aligned to 64 bytes
    (`aligned_empty`), or, from 256 KiB on, to 16 (as NumPy's arrays are).
    """
    if not (device.quirks.host_pointer and device.target.unified_memory):
        return None
    if array.nbytes == 0 or array.nbytes > device.target.max_allocation:
        return None
    flags = array.flags
    alignment = _ALIGNMENT if array.nbytes < _LOOSE_BYTES else _LOOSE_ALIGNMENT
    if not (flags.c_contiguous and flags.writeable) or array.ctypes.data % alignment:
        return None
    memory = array.reshape(-1).view(np.uint8)
    buffer = cl.Buffer(device.context, cl.mem_flags.READ_WRITE | cl.mem_flags.USE_HOST_PTR, hostbuf=memory)
    return device.pool.adopt(buffer, memory, {device.stream})


def upload(device: Device, array: np.ndarray, stream: Stream) -> Block:
    """A block with a copy of the array's elements in C order, ready for work of `stream`.

    Does not wait for the device.
    """
    data = _bytes_of(array)
    staging = device.pool.allocate_host(data.nbytes)
    staging.record_stream(stream)
    view = staging.host(np.uint8, data.nbytes)
    if view is None:
        raise DeviceError(f"upload: {device.spec}: the host arena gave memory that the host cannot see")
    view[:] = data
    if device.shares_memory:
        return staging
    block = device.pool.allocate(data.nbytes, stream)
    if data.nbytes:
        cl.enqueue_copy(stream.queue, block.buffer, view, is_blocking=False)
        stream.queue.flush()
    return block


def write(device: Device, block: Block, offset_bytes: int, array: np.ndarray, stream: Stream) -> None:
    """Copy the array's elements in C order into `block`, in the order of `stream`.

    Does not wait; the array may change at once.
    """
    data = _bytes_of(array)
    if offset_bytes < 0 or offset_bytes + data.nbytes > block.nbytes:
        raise DeviceError(
            f"write: got {data.nbytes} bytes for offset {offset_bytes}, wanted a part of {block.nbytes} bytes"
        )
    if not data.nbytes:
        return
    staging = device.pool.allocate_host(data.nbytes)
    staging.record_stream(stream)
    view: Any = staging.host(np.uint8, data.nbytes)
    view[:] = data
    if device.shares_memory:
        cl.enqueue_copy(
            stream.queue, block.buffer, staging.buffer, byte_count=data.nbytes, src_offset=0, dst_offset=offset_bytes
        )
    else:
        cl.enqueue_copy(stream.queue, block.buffer, view, dst_offset=offset_bytes, is_blocking=False)


def download(device: Device, block: Block, offset_bytes: int, nbytes: int, stream: Stream) -> np.ndarray:
    """Bytes of the block once all work of `stream` is done. Waits.

    On devices that share the host's memory it is a read-only view of the block, not a copy: later work on the block
    shows through.
    """
    if offset_bytes < 0 or nbytes < 0 or offset_bytes + nbytes > block.nbytes:
        raise DeviceError(f"download: got {nbytes} bytes from {offset_bytes}, wanted a part of {block.nbytes} bytes")
    if nbytes == 0:
        return np.empty(0, np.uint8)
    if device.shares_memory:
        stream.synchronize()
        view = block.host(np.uint8, nbytes, offset_bytes)
        if view is not None:
            view.flags.writeable = False
            return view
    result = np.empty(nbytes, np.uint8)
    cl.enqueue_copy(stream.queue, result, block.buffer, src_offset=offset_bytes, is_blocking=True)
    return result
