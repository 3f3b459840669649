"""What a convolution kernel is asked for, seen from its output, and the parameters that a kernel may be given.

Floor 1b, part of `conv`, where the forms are described.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd, prod

from ..shapes import Layout
from ..target import Target
from .conv_shapes import Pair, ceil_div


@dataclass(frozen=True)
class ConvConfig:
    """The parameters of a convolution kernel.

    Attributes:
        form: 'channels', 'pixels', 'planes', 'gemm' or 'plain'.
        width: lanes of a vector.
        vectors: vectors of channels (channels) or of pixels (pixels, planes) in a register tile.
        tile_y, tile_x: the other side of the register tile: rows and columns of output pixels (channels); rows of
            pixels and output channels (pixels, planes).
        rows: output rows per item.
        images: images per item (planes).
        panels: vectors of a register tile, times this, are a work-group's output channels: all read the same slab
            (channels); blocks of channels per work-group (planes).
        chunk: channels of the reduction held in local memory at once.
        parts: pieces into which the items are split, each a work-group per block of channels.
        direct: read the input from global memory instead of a padded copy.
    """

    form: str
    width: int = 8
    vectors: int = 1
    tile_y: int = 1
    tile_x: int = 1
    rows: int = 1
    chunk: int = 1
    parts: int = 1
    direct: bool = False
    images: int = 1
    panels: int = 1


@dataclass(frozen=True)
class Axis:
    """How output and input positions meet along one dim.

    Output position o = first + i * out_step + phase (i = 0, 1, …; first a multiple of out_step) reads the input at
    base + first / out_step * in_step + i * in_step + a, for each tap t of its phase.

    `phases`: (phase, (t0, dt, count, a0, da)): taps t0 + i * dt read a0 + i * da, i < count. `reach`: the greatest a.
    """

    in_step: int
    out_step: int
    base: int
    reach: int
    phases: tuple[tuple[int, tuple[int, int, int, int, int]], ...]

    @staticmethod
    def forward(taps: int, stride: int, padding: int, dilation: int) -> Axis:
        return Axis(stride, 1, -padding, (taps - 1) * dilation, ((0, (0, 1, taps, 0, dilation)),))

    @staticmethod
    def backward(taps: int, stride: int, padding: int, dilation: int) -> Axis:
        of_phase = [[t for t in range(taps) if (b + padding - t * dilation) % stride == 0] for b in range(stride)]
        places = [(b + padding - t * dilation) // stride for b in range(stride) for t in of_phase[b]]
        base = min(places)
        step = stride // gcd(stride, dilation)
        phases = []
        for b, some in enumerate(of_phase):
            t0 = some[0] if some else 0
            a0 = (b + padding - t0 * dilation) // stride - base if some else 0
            phases.append((b, (t0, step, len(some), a0, -(step * dilation // stride))))
        return Axis(1, stride, base, max(places) - base, tuple(phases))


@dataclass(frozen=True)
class Problem:
    """A forward convolution or the gradient of its input, seen from the output (M) and the input (Q channels)."""

    op: str
    given: Layout
    weight: Layout
    out_shape: tuple[int, ...]
    groups: int
    m_count: int
    q_count: int
    taps: Pair
    w_m: int
    w_q: int
    w_g: int
    y: Axis
    x: Axis
    attrs: tuple

    @property
    def flops(self) -> float:
        n, c, h, w = self.given.shape if self.op == "conv_input" else self.out_shape
        q = self.m_count if self.op == "conv_input" else self.q_count
        return 2.0 * n * c * h * w * q * prod(self.taps)


def problem(op: str, given: Layout, weight: Layout, out_shape: tuple[int, ...], attrs: tuple) -> Problem:
    stride, padding, dilation, groups, _ = attrs
    k, per_group, r, s = weight.shape
    axis = Axis.forward if op == "conv" else Axis.backward
    axes = [axis(*some) for some in zip((r, s), stride, padding, dilation)]
    w0, w1 = weight.stride[0], weight.stride[1]
    if op == "conv":
        m, q, w_m, w_q = k // groups, per_group, w0, w1
    else:
        m, q, w_m, w_q = per_group, k // groups, w1, w0
    return Problem(
        op, given, weight, out_shape, groups, m, q, (r, s), w_m, w_q, k // groups * w0, axes[0], axes[1], attrs
    )


@dataclass(frozen=True)
class WeightProblem:
    """The gradient of a convolution's weight: K and C are counted per group."""

    grad: Layout
    given: Layout
    groups: int
    k_count: int
    c_count: int
    taps: Pair
    attrs: tuple

    @property
    def flops(self) -> float:
        return 2.0 * self.grad.numel * self.c_count * prod(self.taps)

    @property
    def axes(self) -> tuple[Axis, Axis]:
        stride, padding, dilation, _, _ = self.attrs
        y, x = (Axis.forward(*some) for some in zip(self.taps, stride, padding, dilation))
        return y, x

    @property
    def elements(self) -> int:
        return self.groups * self.k_count * self.c_count * prod(self.taps)

    def summing_cycles(self, parts: int, target: Target) -> float:
        """What a second launch that adds the results of `parts` costs, in cycles."""
        return 25000 + self.elements * (parts + 1) * 0.15 / target.compute_units


@dataclass(frozen=True)
class WeightConfig:
    """The parameters of a weight-gradient kernel.

    Attributes:
        form: 'channels', 'planes', 'gemm' or 'plain'.
        width: lanes of a vector.
        vectors: vectors of output channels (channels), or single output channels (planes), in a register tile.
        tile_c, tile_r, tile_s: input channels and taps in a register tile; tile_r and tile_s divide the kernel's size
            (planes: tile_s is how many of all taps).
        rows: output rows per item.
        images: images per item.
        chunk: input channels per work-group.
        parts: pieces into which the items are split; more than one needs scratch and a second launch.
        panels: blocks of output channels per work-group (planes).
    """

    form: str
    width: int = 8
    vectors: int = 1
    tile_c: int = 1
    tile_r: int = 1
    tile_s: int = 1
    rows: int = 1
    images: int = 1
    chunk: int = 1
    parts: int = 1
    panels: int = 1


def shared_cycles(groups: int, group: float, target: Target) -> float:
    """Cycles until `groups` work-groups of `group` cycles each are done, the last of them alone on its core."""
    rounds = ceil_div(groups, target.compute_units)
    return (rounds + 0.1) * group if rounds <= 2 else (groups / target.compute_units + 0.5) * group
