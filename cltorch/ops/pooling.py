"""Records of the pooling ops: shapes, gradients, references.

Floor 2. Attributes are those of codegen/pooling.py. Backward forms are ops of their own, so that their gradients
exist too. A gradient calls an op that is no PyTorch method as the derived method: `tensor.op_name(*other operands,
*attributes)`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..codegen import pooling as lowering
from ..dtypes import DType, int64
from ..shapes import Layout
from .table import CUSTOM, Op, register

Pair = tuple[int, int]


# ---- shapes


def _check_plane(op: str, x: Layout) -> None:
    if len(x.shape) not in (3, 4) or 0 in x.shape[-3:]:
        raise RuntimeError(
            f"{op}: Expected 3D or 4D (batch mode) tensor with optional 0 dim batch size for input, but got: "
            f"{list(x.shape)}"
        )


def _windows(
    op: str, x: Layout, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> tuple[int, ...]:
    _check_plane(op, x)
    for name, pair, least in (
        ("kernel_size", kernel, 1),
        ("stride", stride, 1),
        ("padding", padding, 0),
        ("dilation", dilation, 1),
    ):
        if min(pair) < least:
            raise RuntimeError(f"{op}: {name}: got {pair}, wanted at least {least} in each dimension")
    for k, p, d in zip(kernel, padding, dilation):
        if p > ((k - 1) * d + 1) // 2:
            raise RuntimeError(
                f"{op}: pad should be at most half of effective kernel size, but got pad={p}, kernel_size={k} and "
                f"dilation={d}"
            )
    size = tuple(
        lowering.window_count(n, k, s, p, d, ceil_mode)
        for n, k, s, p, d in zip(x.shape[-2:], kernel, stride, padding, dilation)
    )
    if min(size) < 1:
        raise RuntimeError(
            f"{op}: Given input size: {tuple(x.shape[-3:])}. Calculated output size: {(x.shape[-3], *size)}. "
            f"Output size is too small"
        )
    return (*x.shape[:-2], *size)


def _infer_max(layouts: tuple[Layout, ...], attrs: tuple) -> tuple[tuple[DType, tuple[int, ...]], ...]:
    shape = _windows("max_pool2d", layouts[0], *attrs)
    return (layouts[0].dtype, shape), (int64, shape)


def _infer_avg(layouts: tuple[Layout, ...], attrs: tuple) -> tuple[tuple[DType, tuple[int, ...]], ...]:
    kernel, stride, padding, ceil_mode, _, divisor = attrs
    if divisor == 0:
        raise RuntimeError("avg_pool2d: divisor_override: got 0, wanted None or a number other than zero")
    return ((layouts[0].dtype, _windows("avg_pool2d", layouts[0], kernel, stride, padding, (1, 1), ceil_mode)),)


def _adaptive(op: str, x: Layout, size: Pair) -> tuple[int, ...]:
    _check_plane(op, x)
    if len(size) != 2 or min(size) < 0:
        raise RuntimeError(f"{op}: output_size: got {size}, wanted two sizes of at least 0")
    return (*x.shape[:-2], *size)


def _infer_adaptive_avg(layouts: tuple[Layout, ...], attrs: tuple) -> tuple[tuple[DType, tuple[int, ...]], ...]:
    return ((layouts[0].dtype, _adaptive("adaptive_avg_pool2d", layouts[0], attrs[0])),)


def _infer_adaptive_max(layouts: tuple[Layout, ...], attrs: tuple) -> tuple[tuple[DType, tuple[int, ...]], ...]:
    shape = _adaptive("adaptive_max_pool2d", layouts[0], attrs[0])
    return (layouts[0].dtype, shape), (int64, shape)


def _infer_backward(layouts: tuple[Layout, ...], attrs: tuple) -> tuple[tuple[DType, tuple[int, ...]], ...]:
    return ((layouts[0].dtype, (*layouts[0].shape[:-2], *attrs[0])),)


# ---- gradients


def _max_grad(ctx: Any, g: Any, _positions: Any = None) -> tuple:
    return (g.max_pool2d_backward(ctx.out[1], tuple(ctx.shapes[0][-2:]), *ctx.attrs),)


def _adaptive_max_grad(ctx: Any, g: Any, _positions: Any = None) -> tuple:
    return (g.adaptive_max_pool2d_backward(ctx.out[1], tuple(ctx.shapes[0][-2:]), *ctx.attrs),)


def _max_backward_grad(ctx: Any, g: Any) -> tuple:
    positions = ctx.inputs[1]
    return g.flatten(-2).gather(-1, positions.flatten(-2)).reshape(positions.shape), None


def _avg_grad(ctx: Any, g: Any) -> tuple:
    return (g.avg_pool2d_backward(tuple(ctx.shapes[0][-2:]), *ctx.attrs),)


def _avg_backward_grad(ctx: Any, g: Any) -> tuple:
    return (g.avg_pool2d(*ctx.attrs[1:]),)


def _adaptive_avg_grad(ctx: Any, g: Any) -> tuple:
    return (g.adaptive_avg_pool2d_backward(tuple(ctx.shapes[0][-2:]), *ctx.attrs),)


def _adaptive_avg_backward_grad(ctx: Any, g: Any) -> tuple:
    return (g.adaptive_avg_pool2d(*ctx.attrs[1:]),)


# ---- references: one window at a time, over all planes at once


def _fixed_windows(
    size: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> list[tuple]:
    """[(oy, ox, rows, columns, rows counted with padding, columns counted with padding)] of each window."""
    counts = [
        lowering.window_count(n, k, s, p, d, ceil_mode)
        for n, k, s, p, d in zip(size, kernel, stride, padding, dilation)
    ]

    def taps(dim: int, i: int) -> tuple[list[int], int]:
        start = i * stride[dim] - padding[dim]
        spots = [start + t * dilation[dim] for t in range(kernel[dim])]
        return [t for t in spots if 0 <= t < size[dim]], sum(t < size[dim] + padding[dim] for t in spots)

    return [
        (y, x, *(v for pair in zip(taps(0, y), taps(1, x)) for v in pair))
        for y in range(counts[0])
        for x in range(counts[1])
    ]


def _adaptive_windows(size: Pair, output_size: Pair) -> list[tuple]:
    def span(i: int, n: int, m: int) -> list[int]:
        return list(range(i * n // m, -(-(i + 1) * n // m)))

    return [
        (y, x, span(y, size[0], output_size[0]), span(x, size[1], output_size[1]), 0, 0)
        for y in range(output_size[0])
        for x in range(output_size[1])
    ]


def _max_reference(x: np.ndarray, windows: list[tuple]) -> tuple[np.ndarray, np.ndarray]:
    shape = (*x.shape[:-2], max((w[0] for w in windows), default=-1) + 1, max((w[1] for w in windows), default=-1) + 1)
    values, positions = np.empty(shape, x.dtype), np.empty(shape, np.int64)
    for oy, ox, ys, xs, _, _ in windows:
        patch = x[..., ys, :][..., xs].reshape(*x.shape[:-2], len(ys) * len(xs))
        where = np.argmax(patch, -1)
        if x.dtype.kind == "f":  # the last NaN of a window is its maximum
            nans = np.isnan(patch)
            where = np.where(nans.any(-1), patch.shape[-1] - 1 - np.argmax(nans[..., ::-1], -1), where)
        values[..., oy, ox] = np.take_along_axis(patch, where[..., None], -1)[..., 0]
        positions[..., oy, ox] = np.array(ys)[where // len(xs)] * x.shape[-1] + np.array(xs)[where % len(xs)]
    return values, positions


def max_pool2d_reference(
    x: np.ndarray, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Values and positions of the maximum of each window."""
    return _max_reference(x, _fixed_windows(x.shape[-2:], kernel, stride, padding, dilation, ceil_mode))


def adaptive_max_pool2d_reference(x: np.ndarray, output_size: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Values and positions of the maximum of each adaptive window."""
    return _max_reference(x, _adaptive_windows(x.shape[-2:], output_size))


def max_pool2d_backward_reference(
    g: np.ndarray, positions: np.ndarray, size: Pair, *attrs: Any, **named: Any
) -> np.ndarray:
    """Each gradient added at its recorded position."""
    out = np.zeros((*g.shape[:-2], size[0] * size[1]), g.dtype)
    planes = out.reshape(-1, size[0] * size[1])
    count = g.shape[-2] * g.shape[-1]
    for plane, where, values in zip(planes, positions.reshape(-1, count), g.reshape(-1, count)):
        np.add.at(plane, where, values)
    return out.reshape(*g.shape[:-2], *size)


def _average_weights(size: Pair, windows: list[tuple], include_pad: bool, divisor: int | None) -> list[tuple]:
    return [
        (oy, ox, np.ix_(ys, xs), divisor or (cy * cx if include_pad else len(ys) * len(xs)))
        for oy, ox, ys, xs, cy, cx in windows
    ]


def _average(x: np.ndarray, weights: list[tuple]) -> np.ndarray:
    shape = (*x.shape[:-2], max((w[0] for w in weights), default=-1) + 1, max((w[1] for w in weights), default=-1) + 1)
    out = np.empty(shape, x.dtype)
    for oy, ox, where, divisor in weights:
        out[..., oy, ox] = x[(...,) + where].sum((-2, -1)) / divisor
    return out


def _average_backward(g: np.ndarray, size: Pair, weights: list[tuple]) -> np.ndarray:
    out = np.zeros((*g.shape[:-2], *size), g.dtype)
    for oy, ox, where, divisor in weights:
        out[(...,) + where] += (g[..., oy, ox] / divisor)[..., None, None]
    return out


def _avg_weights(
    size: Pair,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> list[tuple]:
    windows = _fixed_windows(size, kernel, stride, padding, (1, 1), ceil_mode)
    return _average_weights(size, windows, count_include_pad, divisor_override)


def avg_pool2d_reference(x: np.ndarray, *attrs: Any, **named: Any) -> np.ndarray:
    """Mean of each window."""
    return _average(x, _avg_weights(x.shape[-2:], *attrs, **named))


def avg_pool2d_backward_reference(g: np.ndarray, size: Pair, *attrs: Any, **named: Any) -> np.ndarray:
    """Each gradient shared by its window."""
    return _average_backward(g, size, _avg_weights(size, *attrs, **named))


def adaptive_avg_pool2d_reference(x: np.ndarray, output_size: Pair) -> np.ndarray:
    """Mean of each adaptive window."""
    return _average(x, _average_weights(x.shape[-2:], _adaptive_windows(x.shape[-2:], output_size), False, None))


def adaptive_avg_pool2d_backward_reference(g: np.ndarray, size: Pair, output_size: Pair) -> np.ndarray:
    """Each gradient shared by its adaptive window."""
    return _average_backward(g, size, _average_weights(size, _adaptive_windows(size, output_size), False, None))


# ---- the records

_POOL: dict[str, Any] = {"kind": CUSTOM, "inplace": False, "function": False}

MAX_POOL2D = register(
    Op(
        "max_pool2d",
        **_POOL,
        infer=_infer_max,
        lower=lowering.lower_max_pool2d,
        grad=_max_grad,
        saves=("out",),
        reference=max_pool2d_reference,
        doc="Maximum of each window of the last two dims, and its position y*W + x as int64: out = max "
        "x[window]. The first of "
        "equal values wins; NaN wins over all. Attributes: kernel, stride, padding, dilation (pairs), ceil_mode.",
    )
)
MAX_POOL2D_BACKWARD = register(
    Op(
        "max_pool2d_backward",
        **_POOL,
        arity=2,
        categories="f",
        infer=_infer_backward,
        lower=lowering.lower_max_pool2d_backward,
        grad=_max_backward_grad,
        saves=(1,),
        reference=max_pool2d_backward_reference,
        names=("grad_output", "indices", "third"),
        doc="Gradient of max_pool2d: every output gradient is added at its recorded position. Attributes: the "
        "input's (H, W), then "
        "max_pool2d's. Positions outside the plane are skipped.",
    )
)
AVG_POOL2D = register(
    Op(
        "avg_pool2d",
        **_POOL,
        categories="f",
        infer=_infer_avg,
        lower=lowering.lower_avg_pool2d,
        grad=_avg_grad,
        reference=avg_pool2d_reference,
        doc="Mean of each window of the last two dims: out = sum x[window] / divisor. Attributes: kernel, "
        "stride, padding (pairs), "
        "ceil_mode, count_include_pad, divisor_override (or None).",
    )
)
AVG_POOL2D_BACKWARD = register(
    Op(
        "avg_pool2d_backward",
        **_POOL,
        categories="f",
        infer=_infer_backward,
        lower=lowering.lower_avg_pool2d_backward,
        grad=_avg_backward_grad,
        reference=avg_pool2d_backward_reference,
        names=("grad_output", "other", "third"),
        doc="Gradient of avg_pool2d: dx = sum over the windows that cover it of g / divisor. Attributes: (H, W), "
        "then avg_pool2d's.",
    )
)
ADAPTIVE_AVG_POOL2D = register(
    Op(
        "adaptive_avg_pool2d",
        **_POOL,
        categories="f",
        infer=_infer_adaptive_avg,
        lower=lowering.lower_adaptive_avg_pool2d,
        grad=_adaptive_avg_grad,
        reference=adaptive_avg_pool2d_reference,
        source="He et al. 2015 (spatial pyramid pooling)",
        doc="Mean of each of output_size windows [floor(i*H/h), ceil((i+1)*H/h)) of the last two dims. "
        "Attribute: output_size.",
    )
)
ADAPTIVE_AVG_POOL2D_BACKWARD = register(
    Op(
        "adaptive_avg_pool2d_backward",
        **_POOL,
        categories="f",
        infer=_infer_backward,
        lower=lowering.lower_adaptive_avg_pool2d_backward,
        grad=_adaptive_avg_backward_grad,
        reference=adaptive_avg_pool2d_backward_reference,
        names=("grad_output", "other", "third"),
        doc="Gradient of adaptive_avg_pool2d. Attributes: (H, W), output_size.",
    )
)
ADAPTIVE_MAX_POOL2D = register(
    Op(
        "adaptive_max_pool2d",
        **_POOL,
        infer=_infer_adaptive_max,
        lower=lowering.lower_adaptive_max_pool2d,
        grad=_adaptive_max_grad,
        saves=("out",),
        reference=adaptive_max_pool2d_reference,
        source="He et al. 2015 (spatial pyramid pooling)",
        doc="Maximum and position of each of output_size windows of the last two dims. Attribute: output_size.",
    )
)
ADAPTIVE_MAX_POOL2D_BACKWARD = register(
    Op(
        "adaptive_max_pool2d_backward",
        **_POOL,
        arity=2,
        categories="f",
        infer=_infer_backward,
        lower=lowering.lower_adaptive_max_pool2d_backward,
        grad=_max_backward_grad,
        saves=(1,),
        reference=max_pool2d_backward_reference,
        names=("grad_output", "indices", "third"),
        doc="Gradient of adaptive_max_pool2d. Attributes: (H, W), output_size. Positions outside the plane are "
        "skipped.",
    )
)
