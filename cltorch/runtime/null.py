"""A device that allocates and runs nothing, for tests of recording, planning and rendering without a driver.

Floor 1a. The same interface as any Device: kernels are accepted unread, launches are counted and dropped, reads
give zeros.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..errors import DeviceError
from ..target import Target
from .device import Device
from .launch import BoundLaunch
from .pool import Block
from .program import Source
from .stream import Stream


class NullEvent:
    """An event that is always complete."""

    command_execution_status = 0

    def wait(self) -> None:
        """Return."""

    def get_profiling_info(self, name: Any) -> int:
        """Time stands still."""
        return 0


class NullBuffer:
    """A place without bytes."""

    def __init__(self, nbytes: int, offset: int = 0) -> None:
        self.size = nbytes
        self.offset = offset

    def get_sub_region(self, offset: int, nbytes: int) -> NullBuffer:
        """A part."""
        return NullBuffer(nbytes, self.offset + offset)


class NullKernel:
    """A kernel that remembers its arguments."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.arguments: dict[int, Any] = {}

    def set_arg(self, position: int, value: Any) -> None:
        """Remember."""
        self.arguments[position] = value

    def _set_arg_buf_multi(self, pairs: tuple[Any, ...]) -> None:
        self.arguments.update(zip(pairs[::2], pairs[1::2], strict=True))


class NullQueue:
    """A queue that is always empty and counts what passed."""

    def __init__(self) -> None:
        self.launches = 0

    def flush(self) -> None:
        """Return."""

    def finish(self) -> None:
        """Return."""


class NullHandle:
    """A kernel that was accepted unread."""

    def __init__(self, device: NullDevice, name: str, text: str) -> None:
        self.device = device
        self.name = name
        self.text = text

    def create(self) -> NullKernel:
        """A new kernel object."""
        return NullKernel(self.name)


class NullDevice(Device):
    """The device `null`. `target` may be any, so that GPU forms can be rendered without a GPU."""

    def __init__(self, target: Target | None = None) -> None:
        super().__init__(None, target or Target(unified_memory=False), "null", -1)
        self.type = "null"
        self.shares_memory = False
        self.built: dict[str, NullHandle] = {}

    @property
    def spec(self) -> str:
        return "null"

    @property
    def context(self) -> Any:  # type: ignore[override]
        raise DeviceError("the null device has no OpenCL context")

    def enqueue(self, queue: Any, kernel: Any, global_size: Any, local_size: Any) -> NullEvent:  # type: ignore
        """Count the launch."""
        queue.launches += 1
        return NullEvent()

    def build(self, sources: Iterable[Source]) -> dict[str, Any]:
        """Accept everything."""
        found = {}
        for source in sources:
            if source.name not in self.built:
                self.built[source.name] = NullHandle(self, source.name, source.text)
            found[source.name] = self.built[source.name]
        return found

    def adopt(self, array: np.ndarray) -> Block | None:
        """Nothing is shared with the host."""
        return None

    def upload(self, array: np.ndarray, stream: Stream | None = None) -> Block:
        """A block without the bytes."""
        return self.pool.allocate(array.nbytes, stream)

    def write(self, block: Block, offset_bytes: int, array: np.ndarray, stream: Stream | None = None) -> None:
        """Drop the bytes."""
        if offset_bytes < 0 or offset_bytes + array.nbytes > block.nbytes:
            raise DeviceError(
                f"write: got {array.nbytes} bytes for offset {offset_bytes}, wanted a part of {block.nbytes} bytes"
            )

    def download(
        self, block: Block, offset_bytes: int = 0, nbytes: int | None = None, stream: Stream | None = None
    ) -> np.ndarray:
        """Zeros."""
        wanted = block.nbytes - offset_bytes if nbytes is None else nbytes
        if offset_bytes < 0 or wanted < 0 or offset_bytes + wanted > block.nbytes:
            raise DeviceError(
                f"download: got {wanted} bytes from {offset_bytes}, wanted a part of {block.nbytes} bytes"
            )
        return np.zeros(wanted, np.uint8)

    def memory_budget(self) -> int:
        return self.target.global_memory

    def create_queue(self, profiling: bool) -> NullQueue:
        return NullQueue()

    def enqueue_marker(self, queue: Any) -> NullEvent:
        return NullEvent()

    def enqueue_barrier(self, queue: Any, event: Any) -> None:
        return None

    def local_memory(self, nbytes: int) -> int:
        return nbytes

    def create_segment(self, nbytes: int, for_host: bool) -> tuple[Any, np.ndarray | None] | None:
        return NullBuffer(nbytes), None

    def identity(self) -> tuple[str, ...]:
        return ("null",)

    def bind(
        self,
        source: Source,
        args: Sequence[Any],
        global_size: tuple[int, ...] | None = None,
        flops: float = 0.0,
        nbytes: float = 0.0,
    ) -> BoundLaunch:
        """A launch that will do nothing."""
        handle = self.build((source,))[source.name]
        return BoundLaunch(handle, args, global_size or source.local_size, source.local_size, flops, nbytes)
