"""`torch.backends`: switches that PyTorch programs set. Those that mean nothing on OpenCL are accepted and have no effect.

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
        return self._available

    def is_built(self) -> bool:
        return self._available


class _OpenCL:
    """The one backend there is."""

    def is_available(self) -> bool:
        return bool(runtime.devices())


cudnn = _Backend(False, enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
mps = _Backend(False)
mkldnn = _Backend(False, enabled=False)
openmp = _Backend(False)
cuda = _Backend(False)
cuda.matmul = _Backend(False, allow_tf32=False)  # type: ignore[attr-defined]
opencl = _OpenCL()
