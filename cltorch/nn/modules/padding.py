"""Padding layers.

Floor 7.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...tensor import Tensor
from .. import functional as F
from .module import Module

Size = int | Sequence[int]


class _Pad(Module):
    """Padding of the last `dims` dims by `padding`: one number, or (before, after) pairs from the last dim on."""

    dims: int
    mode = "constant"

    def __init__(self, padding: Size) -> None:
        super().__init__()
        self.padding = (padding,) * (2 * self.dims) if isinstance(padding, int) else tuple(padding)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    def __init__(self, padding: Size, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """Padding with a value. Shape: (*, W)."""

    dims = 1


class ConstantPad2d(_ConstantPad):
    """Padding with a value. Shape: (*, H, W)."""

    dims = 2


class ConstantPad3d(_ConstantPad):
    """Padding with a value. Shape: (*, D, H, W)."""

    dims = 3


class ZeroPad1d(_Pad):
    """Padding with zeros. Shape: (*, W)."""

    dims = 1


class ZeroPad2d(_Pad):
    """Padding with zeros. Shape: (*, H, W)."""

    dims = 2


class ZeroPad3d(_Pad):
    """Padding with zeros. Shape: (*, D, H, W)."""

    dims = 3


class ReflectionPad1d(_Pad):
    """Padding by reflection, without repeating the edge. Shape: (N, C, W) or (C, W)."""

    dims, mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """Padding by reflection, without repeating the edge. Shape: (N, C, H, W) or (C, H, W)."""

    dims, mode = 2, "reflect"


class ReflectionPad3d(_Pad):
    """Padding by reflection, without repeating the edge. Shape: (N, C, D, H, W) or (C, D, H, W)."""

    dims, mode = 3, "reflect"


class ReplicationPad1d(_Pad):
    """Padding with the edge. Shape: (N, C, W) or (C, W)."""

    dims, mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """Padding with the edge. Shape: (N, C, H, W) or (C, H, W)."""

    dims, mode = 2, "replicate"


class ReplicationPad3d(_Pad):
    """Padding with the edge. Shape: (N, C, D, H, W) or (C, D, H, W)."""

    dims, mode = 3, "replicate"


class CircularPad1d(_Pad):
    """Padding from the other end. Shape: (N, C, W) or (C, W)."""

    dims, mode = 1, "circular"


class CircularPad2d(_Pad):
    """Padding from the other end. Shape: (N, C, H, W) or (C, H, W)."""

    dims, mode = 2, "circular"


class CircularPad3d(_Pad):
    """Padding from the other end. Shape: (N, C, D, H, W) or (C, D, H, W)."""

    dims, mode = 3, "circular"
