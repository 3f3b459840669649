"""Shapes of convolutions: what they give, what they refuse, which layouts their kernels read.

Floor 1b, part of `conv`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..dtypes import DType
from ..shapes import Layout, layout

Pair = tuple[int, int]


def key(first: Layout, second: tuple[int, ...], attrs: tuple) -> str:
    """A problem's name in the tuning database: dtype, shapes of both operands, stride, padding, dilation, groups.

    For the gradient of the input, the input's size stands last; for that of the weight, the kernel's.
    """
    names = [first.dtype.name, *(",".join(map(str, shape)) for shape in (first.shape, second))]
    names += [letter + ",".join(map(str, pair)) for letter, pair in zip("spd", attrs)]
    return " ".join([*names, f"g{attrs[3]}", *(["e" + ",".join(map(str, attrs[4]))] if attrs[4] else [])])


def infer_conv(layouts: Sequence[Layout], attrs: tuple) -> tuple[tuple[DType, tuple[int, ...]], ...]:
    """((dtype, (N, K, Ho, Wo)),) of a convolution of x (N, C, H, W) with w (K, C / groups, R, S).

    Raises RuntimeError in PyTorch's cases: wrong number of dims or channels, groups that do not divide, a
    kernel larger than the input.
    """
    x, w = layouts[0], layouts[1]
    stride, padding, dilation, groups, _ = attrs
    if len(x.shape) != 4 or len(w.shape) != 4:
        raise RuntimeError(
            f"conv: input: got shapes {x.shape} and weight {w.shape}, wanted (N, C, H, W) and (K, C/groups, R, S)"
        )
    if x.dtype is not w.dtype:
        raise RuntimeError(f"conv: weight: got {w.dtype.name}, wanted the input's dtype {x.dtype.name}")
    if groups < 1:
        raise RuntimeError(f"conv: groups: got {groups}, wanted at least 1")
    if min(stride) < 1 or min(dilation) < 1:
        raise RuntimeError(f"conv: stride and dilation: got {stride} and {dilation}, wanted at least 1")
    if min(padding) < 0:
        raise RuntimeError(f"conv: negative padding is not supported, got {padding}")
    n, c, h, width = x.shape
    k, per_group, r, s = w.shape
    if k % groups:
        raise RuntimeError(f"conv: weight: got {k} output channels, wanted a multiple of groups={groups}")
    if c != per_group * groups:
        raise RuntimeError(
            f"conv: Given groups={groups}, weight of size {list(w.shape)}, expected input{list(x.shape)} to have "
            f"{per_group * groups} channels, but got {c} channels instead"
        )
    out = []
    for size, pad, taps, step, apart in zip((h, width), padding, (r, s), stride, dilation):
        span = apart * (taps - 1) + 1
        if taps < 1 or size + 2 * pad < span:
            raise RuntimeError(
                f"conv: Calculated padded input size per channel: ({h + 2 * padding[0]} x {width + 2 * padding[1]}). "
                f"Kernel size: ({dilation[0] * (r - 1) + 1} x {dilation[1] * (s - 1) + 1}). "
                "Kernel size can't be greater than actual input size"
            )
        out.append((size + 2 * pad - span) // step + 1)
    return ((x.dtype, (n, k, out[0], out[1])),)


def infer_conv_input(layouts: Sequence[Layout], attrs: tuple) -> tuple[tuple[DType, tuple[int, ...]], ...]:
    """((dtype, (N, C, H, W)),) of the gradient of the input, from dy (N, K, Ho, Wo) and w (K, C / groups, R, S).

    `attrs` ends with the input's (H, W).

    Raises RuntimeError if dy's shape is not what the convolution would give.
    """
    dy, w = layouts[0], layouts[1]
    shape = (dy.shape[0], w.shape[1] * attrs[3], *attrs[4])
    _check_output("conv_input", dy, infer_conv((layout(dy.dtype, shape), w), attrs))
    return ((dy.dtype, shape),)


def infer_conv_weight(layouts: Sequence[Layout], attrs: tuple) -> tuple[tuple[DType, tuple[int, ...]], ...]:
    """((dtype, (K, C / groups, R, S)),) of the gradient of the weight, from dy (N, K, Ho, Wo) and x (N, C, H, W).

    `attrs` ends with the kernel's (R, S).

    Raises RuntimeError if dy's shape is not what the convolution would give.
    """
    dy, x = layouts[0], layouts[1]
    shape = (dy.shape[1], x.shape[1] // attrs[3], *attrs[4])
    _check_output("conv_weight", dy, infer_conv((x, layout(x.dtype, shape)), attrs))
    return ((dy.dtype, shape),)


def _check_output(op: str, dy: Layout, wanted: tuple[tuple[DType, tuple[int, ...]], ...]) -> None:
    if (dy.dtype, dy.shape) != wanted[0]:
        raise RuntimeError(
            f"{op}: grad_output: got {dy.dtype.name} {dy.shape}, wanted {wanted[0][0].name} {wanted[0][1]}"
        )


def accepts(given: Layout) -> bool:
    """True if the lowerings take `given` as x or dy: unit stride in the last dim."""
    return given.numel == 0 or given.shape[3] == 1 or given.stride[3] == 1


def accepts_weight(given: Layout) -> bool:
    """True if the lowerings take `given` as w: the taps of one pair of channels lie contiguously."""
    _, _, r, s = given.shape
    return given.numel == 0 or ((s == 1 or given.stride[3] == 1) and (r == 1 or given.stride[2] == s))


def long_row(given: Layout) -> int:
    """The length of rows in which a kernel that sees no neighbours takes images: 320 at most, and it divides them."""
    h, w = given.shape[2:]
    return max(d for d in range(1, min(h * w, max(320, w)) + 1) if h * w % d == 0)


def merged_rows(given: Layout, row: int) -> Layout | None:
    """`given` (N, C, H, W) seen as (N, C, H * W / row, row), or None where its rows do not follow each other so."""
    n, c, h, w = given.shape
    step = given.stride[3] if w > 1 else given.stride[2] if h > 1 else 1
    if h > 1 and w > 1 and given.stride[2] != w * step:
        return None
    return layout(given.dtype, (n, c, h * w // row, row), (*given.stride[:2], row * step, step), given.offset)


def every_row(given: Layout, step: int) -> Layout:
    """Every `step`-th row of `given`: all that a kernel of one row sees at that stride."""
    n, c, h, w = given.shape
    s0, s1, s2, s3 = given.stride
    return layout(given.dtype, (n, c, ceil_div(h, step), w), (s0, s1, step * s2, s3), given.offset)


def require(op: str, argument: str, given: Layout, ok: bool, wanted: str) -> None:
    if not ok:
        raise ValueError(
            f"{op}: {argument}: needs_contiguous: got shape {given.shape} with strides {given.stride}, wanted {wanted}"
        )


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def round_up(a: int, b: int) -> int:
    return ceil_div(a, b) * b
