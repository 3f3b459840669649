"""Convolutions: forward, gradient of the input (backward-data) and gradient of the weights, each by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .cases import Case, Goal, normal

WAYS = ("forward", "data", "weights")
WINOGRAD = {  # 3x3, stride 1, 64 to 512 channels
    "forward": Goal("conv 3x3 s1 forward", 1.9, 1.6),
    "data": Goal("conv 3x3 s1 backward-data", 1.7, 1.4),
    "weights": Goal("conv 3x3 s1 backward-weights", 1.25, 1.2),
}
OTHER = {way: Goal(f"conv other {way}, mean", 1.0, 1.0, floor=0.85) for way in WAYS}


@dataclass(frozen=True)
class Shape:
    """n images of c channels and h x h pixels; k filters of r x r."""

    n: int
    c: int
    h: int
    k: int
    r: int
    stride: int = 1
    padding: int = 0
    groups: int = 1

    @property
    def out(self) -> int:
        """Rows of the result."""
        return (self.h + 2 * self.padding - self.r) // self.stride + 1

    @property
    def flops(self) -> float:
        """Of the direct algorithm, the same in each way."""
        return 2.0 * self.n * self.k * (self.c // self.groups) * self.r**2 * self.out**2

    @property
    def nbytes(self) -> float:
        """Input, weights and output, each once."""
        weights = self.k * (self.c // self.groups) * self.r**2
        return 4.0 * (self.n * self.c * self.h**2 + self.n * self.k * self.out**2 + weights)


SQUARES = {
    "64x32": Shape(16, 64, 32, 64, 3, 1, 1),
    "128x16": Shape(16, 128, 16, 128, 3, 1, 1),
    "256x8": Shape(16, 256, 8, 256, 3, 1, 1),
    "512x4": Shape(16, 512, 4, 512, 3, 1, 1),
    "64x56 n1": Shape(1, 64, 56, 64, 3, 1, 1),
}
OTHERS = {
    "3x3 s2 64x32": Shape(16, 64, 32, 128, 3, 2, 1),
    "3x3 s2 128x16": Shape(16, 128, 16, 256, 3, 2, 1),
    "3x3 s2 256x8": Shape(16, 256, 8, 512, 3, 2, 1),
    "1x1 96x32": Shape(16, 96, 32, 24, 1),
    "1x1 128x16": Shape(16, 128, 16, 256, 1),
    "1x1 s2 128x16": Shape(16, 128, 16, 256, 1, 2),
    "first 3x3 3x32": Shape(16, 3, 32, 64, 3, 1, 1),
    "first 7x7 s2 3x224 n1": Shape(1, 3, 224, 64, 7, 2, 3),
    "first 5x5 3x32 n64": Shape(64, 3, 32, 6, 5),
    "5x5 6x14 n64": Shape(64, 6, 14, 16, 5),
    "depthwise 144x32": Shape(16, 144, 32, 144, 3, 1, 1, 144),
    "depthwise s2 144x32": Shape(16, 144, 32, 144, 3, 2, 1, 144),
    "depthwise 576x8": Shape(16, 576, 8, 576, 3, 1, 1, 576),
}


def way_of(shape: Shape, way: str) -> Callable[[Any], Callable[[], Any]]:
    """`prepare` of one way; gradients are asked for one by one, from a graph that stays."""

    def prepare(torch: Any) -> Callable[[], Any]:
        conv = torch.nn.functional.conv2d
        x = normal(torch, shape.n, shape.c, shape.h, shape.h)
        w = normal(torch, shape.k, shape.c // shape.groups, shape.r, shape.r, seed=1)
        how = (None, shape.stride, shape.padding, 1, shape.groups)
        if way == "forward":
            return lambda: conv(x, w, *how)
        wanted = (x if way == "data" else w).requires_grad_()
        y = conv(x, w, *how)
        g = normal(torch, *y.shape, seed=2)
        return lambda: torch.autograd.grad(y, wanted, g, retain_graph=True)

    return prepare


def _cases(shapes: dict[str, Shape], goals: dict[str, Goal], kind: str = "") -> list[Case]:
    return [
        Case(f"conv {kind}{name} {way}", "conv", way_of(shape, way), goals[way], shape.flops, shape.nbytes,
             grad=way != "forward")
        for name, shape in shapes.items() for way in WAYS
        if not (way == "data" and shape.c == 3)  # nobody asks for the gradient of images
    ]  # fmt: skip


def volume(c: int, size: int, k: int, stride: int = 1, groups: int = 1) -> Callable[[Any], Callable[[], Any]]:
    """A 3x3x3 convolution of `size`^3 voxels, forward."""

    def prepare(torch: Any) -> Callable[[], Any]:
        x, w = normal(torch, 2, c, size, size, size), normal(torch, k, c // groups, 3, 3, 3, seed=1)
        return lambda: torch.nn.functional.conv3d(x, w, None, stride, 1, 1, groups)

    return prepare


VOLUMES = [  # rows without a goal
    Case("conv 3d 32x16 forward", "conv", volume(32, 16, 32)),
    Case("conv 3d s2 32x16 forward", "conv", volume(32, 16, 64, 2)),
    Case("conv 3d depthwise 32x16 forward", "conv", volume(32, 16, 32, groups=32)),
]

CASES = _cases(SQUARES, WINOGRAD, "3x3 ") + _cases(OTHERS, OTHER) + VOLUMES
