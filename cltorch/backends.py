"""`torch.backends`: switches that PyTorch programs set. Those that mean nothing on OpenCL have no effect.

Floor 7.
"""

from __future__ import annotations

from typing import Any

from . import runtime


class _Backend:
    """A backend of PyTorch's: its switches can be read and set; whether it is there is fixed."""

    def __init__(self, available: bool, **switches: Any):
        self.__dict__.update(switches)
        self._available = available

    def is_available(self) -> bool:
        """Whether work can run on it."""
        return self._available

    def is_built(self) -> bool:
        """Whether the package has it."""
        return self._available


class _OpenCL:
    """The one backend there is."""

    def is_available(self) -> bool:
        """Whether there is an OpenCL device."""
        return bool(runtime.devices())


cudnn = _Backend(False, enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
mps = _Backend(False)
mkldnn = _Backend(False, enabled=False)
openmp = _Backend(False)
cuda = _Backend(False)
cuda.matmul = _Backend(False, allow_tf32=False)  # type: ignore[attr-defined]
opencl = _OpenCL()
