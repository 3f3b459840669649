"""A kernel with its arguments bound ahead, so that a launch is one call.

Floor 1a. Setting all arguments and enqueuing costs 15-30 us from Python; a bound kernel 1-2 us. A kernel object
holds its arguments, so each BoundLaunch has one of its own and may be used by one thread at a time.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import DeviceError, describe
from .opencl import cl
from .pool import Block

_FORMATS = {
    "char": "b",
    "uchar": "B",
    "bool": "B",
    "short": "h",
    "ushort": "H",
    "half": "e",
    "int": "i",
    "uint": "I",
    "long": "q",
    "ulong": "Q",
    "float": "f",
    "double": "d",
}
_PACKERS = {ctype: struct.Struct("<" + code).pack for ctype, code in _FORMATS.items()}
_NUMPY = {ctype: np.dtype("<" + code) for ctype, code in _FORMATS.items()}


def pack_number(ctype: str, value: float) -> bytes:
    """The bytes of `value` as OpenCL's `ctype`; a float that is too large becomes an infinity, as in C."""
    try:
        return _PACKERS[ctype](value)
    except KeyError:
        raise ValueError(describe("bind", "ctype", repr(ctype), "one of " + ", ".join(_FORMATS))) from None
    except OverflowError:
        if ctype in ("float", "half"):
            return struct.pack("<" + _FORMATS[ctype], float("inf") if value > 0 else float("-inf"))
        raise ValueError(describe("bind", ctype, value, f"a number that {ctype} can hold")) from None
    except struct.error:
        raise ValueError(describe("bind", ctype, value, f"a number that {ctype} can hold")) from None


class BoundLaunch:
    """One launch, ready to run.

    The replay loop of the engine may call `device.enqueue(queue, launch.kernel, launch.global_size,
    launch.local_size)` itself.

    Attributes:
        kernel: the OpenCL kernel object with its arguments.
        global_size, local_size: the geometry.
        name: the kernel's name.
        flops, nbytes: arithmetic and necessary traffic, for the profiler.
    """

    __slots__ = ("_fast", "_handle", "_held", "flops", "global_size", "kernel", "local_size", "name", "nbytes")

    def __init__(
        self,
        handle: Any,
        args: Sequence[Any],
        global_size: tuple[int, ...],
        local_size: tuple[int, ...],
        flops: float = 0.0,
        nbytes: float = 0.0,
    ) -> None:
        self._handle = handle  # keeps the program alive: Intel's runtime needs it
        self._held: dict[int, Any] = {}
        self.kernel: Any = handle.create()
        self._fast = getattr(self.kernel, "_set_arg_buf_multi", None)
        self.name: str = handle.name
        self.global_size = global_size
        self.local_size = local_size
        self.flops = flops
        self.nbytes = nbytes
        for position, argument in enumerate(args):
            if argument is not None:  # bound later, by set_buffer or set_number
                self._set(position, argument)

    def _set(self, position: int, argument: Any) -> None:
        if isinstance(argument, tuple):
            self.set_number(position, *argument)
        elif isinstance(argument, Block):
            self.set_buffer(position, argument.buffer)
        elif isinstance(argument, int):
            self.kernel.set_arg(position, self._handle.device.local_memory(argument))
        elif hasattr(argument, "get_sub_region"):
            self.set_buffer(position, argument)
        elif hasattr(argument, "nbytes"):  # codegen's Local
            self.kernel.set_arg(position, self._handle.device.local_memory(argument.nbytes))
        else:
            wanted = "a buffer, a (ctype, number) pair or bytes of local memory"
            raise DeviceError(describe(f"bind {self.name}", f"argument {position}", repr(argument), wanted))

    def set_buffer(self, position: int, buffer: Any) -> None:
        """Bind another buffer."""
        self.kernel.set_arg(position, buffer)
        self._held[position] = buffer  # OpenCL does not keep it

    def let_go(self) -> None:
        """Forget the bound buffers; they have to be bound again before the next launch."""
        self._held.clear()

    def set_number(self, position: int, ctype: str, value: float) -> None:
        """Bind another number."""
        data = pack_number(ctype, value)
        if self._fast is not None:
            self._fast((position, data))  # 0.2 us; the public call takes 8.5
        else:
            self.kernel.set_arg(position, np.frombuffer(data, _NUMPY[ctype])[0])

    def enqueue(self, queue: Any) -> Any:
        """Run; returns the OpenCL event."""
        return self._handle.device.enqueue(queue, self.kernel, self.global_size, self.local_size)

    def __repr__(self) -> str:
        return f"BoundLaunch({self.name}, global_size={self.global_size}, local_size={self.local_size})"


def local_memory(nbytes: int) -> Any:
    """The argument that gives a kernel `nbytes` of local memory."""
    return cl.LocalMemory(max(nbytes, 1))
