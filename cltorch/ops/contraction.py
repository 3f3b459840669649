"""Records of the contractions: matrix product and 2-D convolution with its two gradients.

Floor 2. The three directions of a convolution are each other's gradients, so a convolution may be differentiated any
number of times. Convolution attributes are codegen/conv.py's: (stride, padding, dilation, groups, extra), pairs (y,
x).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ..codegen import conv, gemm
from ..dtypes import DType, int32
from ..shapes import Layout, layout
from .table import CONTRACTION, Op, register

Shapes = tuple[tuple[DType, tuple[int, ...]], ...]

# ---- matrix product


def _infer_matmul(layouts: tuple[Layout, ...], attrs: tuple) -> Shapes:
    a, b = layouts
    if a.dtype is not b.dtype:
        raise RuntimeError(
            f"matmul: expected m1 and m2 to have the same dtype, but got: {a.dtype.name} != {b.dtype.name}"
        )
    if a.shape[:-2] != b.shape[:-2] or len(a.shape) < 2:
        raise RuntimeError(f"matmul: batch dims: got {a.shape} and {b.shape}, wanted equal ones")
    if a.shape[-1] != b.shape[-2]:
        shown = f"{a.shape[-2]}x{a.shape[-1]} and {b.shape[-2]}x{b.shape[-1]}"
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({shown})")
    return ((a.dtype, (*a.shape[:-1], b.shape[-1])),)


def _matmul_grad(ctx: Any, g: Any) -> tuple[Any, Any]:
    a, b = ctx.inputs
    return (
        g._matmul(b.transpose(-1, -2)) if ctx.needs[0] else None,
        a.transpose(-1, -2)._matmul(g) if ctx.needs[1] else None,
    )


MATMUL = register(
    Op(
        "_matmul",
        CONTRACTION,
        2,
        categories="if",
        infer=_infer_matmul,
        lower=gemm.lower_matmul,
        grad=_matmul_grad,
        saves=(0, 1),
        reference=np.matmul,
        inplace=False,
        function=False,
        names=("mat1", "mat2"),
        doc="out[b, m, n] = sum_k mat1[b, m, k] mat2[b, k, n]; equal batch dims.",
    )
)


def _infer_int_matmul(layouts: tuple[Layout, ...], attrs: tuple) -> Shapes:
    a, b = layouts
    ((_, shape),) = _infer_matmul((a, layout(a.dtype, b.shape)), attrs)
    return ((int32, shape),)


INT_MATMUL = register(
    Op(
        "_int_matmul",
        CONTRACTION,
        2,
        promote="none",
        categories="i",
        infer=_infer_int_matmul,
        lower=gemm.lower_matmul,
        why="sums of integers have no gradient",
        reference=lambda a, b: np.matmul(a.astype(np.int32), b.astype(np.int32)),
        inplace=False,
        function=False,
        method=False,
        names=("mat1", "mat2"),
        doc="out[m, n] = sum_k mat1[m, k] mat2[k, n] of 8-bit integers (int8, uint8, or one of each) in int32.",
    )
)

# ---- convolution


def rows(x: Any) -> Any:
    """`x` with unit stride in its last dim, as the convolutions read it."""
    return x if x.shape[-1] == 1 or x.stride(-1) == 1 else x.contiguous()


def taps(w: Any) -> Any:
    """`w` with contiguous taps, as the convolutions read weights."""
    r, s = w.shape[-2:]
    return w if (s == 1 or w.stride(-1) == 1) and (r == 1 or w.stride(-2) == s) else w.contiguous()


def _conv_grad(ctx: Any, g: Any) -> tuple[Any, Any]:
    (x, w), attrs = ctx.inputs, ctx.attrs[:4]
    g = rows(g)
    return (
        g._conv2d_input(w, *attrs, tuple(ctx.shapes[0][2:])) if ctx.needs[0] else None,
        g._conv2d_weight(x, *attrs, tuple(ctx.shapes[1][2:])) if ctx.needs[1] else None,
    )


def _conv_input_grad(ctx: Any, g: Any) -> tuple[Any, Any]:
    (dy, w), attrs = ctx.inputs, ctx.attrs[:4]
    g = rows(g)
    return (
        g._conv2d(w, *attrs, None) if ctx.needs[0] else None,
        dy._conv2d_weight(g, *attrs, tuple(ctx.shapes[1][2:])) if ctx.needs[1] else None,
    )


def _conv_weight_grad(ctx: Any, g: Any) -> tuple[Any, Any]:
    (dy, x), attrs = ctx.inputs, ctx.attrs[:4]
    g = taps(g)
    return (
        x._conv2d(g, *attrs, None) if ctx.needs[0] else None,
        dy._conv2d_input(g, *attrs, tuple(ctx.shapes[1][2:])) if ctx.needs[1] else None,
    )


def _patches(x: np.ndarray, size: tuple[int, int], stride: Any, padding: Any, dilation: Any) -> np.ndarray:
    """A view (N, C, Ho, Wo, R, S) of the padded input: what each output pixel sees."""
    padded = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    span = [(n - 1) * d + 1 for n, d in zip(size, dilation)]
    seen = np.lib.stride_tricks.sliding_window_view(padded, span, (2, 3))
    return seen[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]


def conv2d_reference(
    x: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: int, extra: None = None
) -> np.ndarray:
    """Sum over input channels and taps."""
    n, _, r, s = w.shape
    seen = _patches(x, (r, s), stride, padding, dilation)
    seen = seen.reshape(seen.shape[0], groups, -1, *seen.shape[2:])
    out = np.einsum("bgchwrs,gkcrs->bgkhw", seen, w.reshape(groups, n // groups, -1, r, s))
    return out.reshape(out.shape[0], n, *out.shape[3:])


def conv2d_weight_reference(
    dy: Any, x: Any, stride: Any, padding: Any, dilation: Any, groups: int, extra: Any
) -> np.ndarray:
    """Sum over images and output pixels."""
    seen = _patches(x, extra, stride, padding, dilation)[:, :, : dy.shape[2], : dy.shape[3]]
    seen = seen.reshape(seen.shape[0], groups, -1, *seen.shape[2:])
    out = np.einsum("bgchwrs,bgkhw->gkcrs", seen, dy.reshape(dy.shape[0], groups, -1, *dy.shape[2:]))
    return out.reshape(dy.shape[1], -1, *extra)


def conv2d_input_reference(
    dy: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: int, extra: Any
) -> np.ndarray:
    """Each output pixel's gradient spread over what it saw."""
    n, c, (r, s) = dy.shape[0], w.shape[1] * groups, w.shape[2:]
    padded = np.zeros((n, c, extra[0] + 2 * padding[0], extra[1] + 2 * padding[1]), dy.dtype)
    parts = np.einsum(
        "bgkhw,gkcrs->bgcrshw", dy.reshape(n, groups, -1, *dy.shape[2:]), w.reshape(groups, -1, w.shape[1], r, s)
    ).reshape(n, c, r, s, *dy.shape[2:])
    for i in range(r):
        for j in range(s):
            y, x = i * dilation[0], j * dilation[1]
            padded[:, :, y : y + dy.shape[2] * stride[0] : stride[0], x : x + dy.shape[3] * stride[1] : stride[1]] += (
                parts[:, :, i, j]
            )
    return padded[:, :, padding[0] : padding[0] + extra[0], padding[1] : padding[1] + extra[1]]


def _convolution(
    name: str, infer: Any, lower: Any, grad: Any, reference: Any, names: tuple[str, ...], doc: str, keeps: Any = None
) -> Op:
    return register(
        Op(
            name,
            CONTRACTION,
            2,
            categories="if",
            infer=infer,
            lower=lower,
            keeps=keeps,
            trains=keeps is None,
            grad=grad,
            saves=(0, 1),
            reference=reference,
            inplace=False,
            function=False,
            names=names,
            doc=doc,
        )
    )


CONV2D = _convolution(
    "_conv2d",
    conv.infer_conv,
    conv.lower_conv,
    _conv_grad,
    conv2d_reference,
    ("input", "weight"),
    "2-D cross-correlation of (N, C, H, W) with (K, C / groups, R, S).",
    partial(conv.keeps, "conv"),
)
CONV2D_INPUT = _convolution(
    "_conv2d_input",
    conv.infer_conv_input,
    conv.lower_conv_input,
    _conv_input_grad,
    conv2d_input_reference,
    ("grad_output", "weight"),
    "Gradient of a convolution's input; also a transposed convolution.",
    partial(conv.keeps, "conv_input"),
)
CONV2D_WEIGHT = _convolution(
    "_conv2d_weight",
    conv.infer_conv_weight,
    conv.lower_conv_weight,
    _conv_weight_grad,
    conv2d_weight_reference,
    ("grad_output", "input"),
    "Gradient of a convolution's weight.",
)
