"""Records of the 3-D convolution and its two gradients, which are each other's gradients.

Floor 2. Attributes are codegen/conv_volume.py's: (stride, padding, dilation, groups, extra), triples (z, y, x).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from typing import Any

import numpy as np

from ..codegen import conv_volume, conv_volume_weight
from .contraction import rows
from .table import CONTRACTION, Op, register


def volume_taps(w: Any) -> Any:
    """`w` with contiguous taps, as the convolutions read weights."""
    return w if conv_volume.accepts_volume_weight(w._layout) else w.contiguous()


def _grad(ctx: Any, g: Any) -> tuple[Any, Any]:
    (x, w), attrs = ctx.inputs, ctx.attrs[:4]
    g = rows(g)
    return (
        g._conv3d_input(w, *attrs, tuple(ctx.shapes[0][2:])) if ctx.needs[0] else None,
        g._conv3d_weight(x, *attrs, tuple(ctx.shapes[1][2:])) if ctx.needs[1] else None,
    )


def _input_grad(ctx: Any, g: Any) -> tuple[Any, Any]:
    (dy, w), attrs = ctx.inputs, ctx.attrs[:4]
    g = rows(g)
    return (
        g._conv3d(w, *attrs, None) if ctx.needs[0] else None,
        dy._conv3d_weight(g, *attrs, tuple(ctx.shapes[1][2:])) if ctx.needs[1] else None,
    )


def _weight_grad(ctx: Any, g: Any) -> tuple[Any, Any]:
    (dy, x), attrs = ctx.inputs, ctx.attrs[:4]
    g = volume_taps(g)
    return (
        x._conv3d(g, *attrs, None) if ctx.needs[0] else None,
        dy._conv3d_input(g, *attrs, tuple(ctx.shapes[1][2:])) if ctx.needs[1] else None,
    )


def _at(places: Iterable[Any]) -> tuple[Any, ...]:
    """The index of `places` in the last dims."""
    return (..., *places)


def _seen(padded: np.ndarray, taps: Any, out: Any, stride: Any, dilation: Any) -> Iterator[tuple]:
    """(tap, what each output place sees there: a view (N, C, *out)) of every tap."""
    for tap in product(*map(range, taps)):
        first = [t * d for t, d in zip(tap, dilation)]
        yield tap, padded[_at((slice(f, f + (n - 1) * s + 1, s) for f, n, s in zip(first, out, stride)))]


def _padded(x: np.ndarray, padding: Any) -> np.ndarray:
    return np.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding)))


def conv3d_reference(
    x: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: int, extra: None = None
) -> np.ndarray:
    """Sum over input channels and taps."""
    out = tuple(
        (n + 2 * p - d * (t - 1) - 1) // s + 1
        for n, p, d, t, s in zip(x.shape[2:], padding, dilation, w.shape[2:], stride)
    )
    n, k = x.shape[0], w.shape[0]
    grouped = w.reshape(groups, k // groups, *w.shape[1:])
    found = np.zeros((n, groups, k // groups, *out), x.dtype)
    for tap, view in _seen(_padded(x, padding), w.shape[2:], out, stride, dilation):
        parts = view.reshape(n, groups, -1, *out)
        found += np.einsum("bgczyx,gkc->bgkzyx", parts, grouped[_at(tap)])
    return found.reshape(n, k, *out)


def conv3d_weight_reference(
    dy: Any, x: Any, stride: Any, padding: Any, dilation: Any, groups: int, extra: Any
) -> np.ndarray:
    """Sum over images and output places."""
    out, k = dy.shape[2:], dy.shape[1]
    grouped = dy.reshape(dy.shape[0], groups, k // groups, *out)
    found = np.zeros((groups, k // groups, x.shape[1] // groups, *extra), x.dtype)
    for tap, view in _seen(_padded(x, padding), extra, out, stride, dilation):
        parts = view.reshape(x.shape[0], groups, -1, *out)
        found[_at(tap)] = np.einsum("bgczyx,bgkzyx->gkc", parts, grouped)
    return found.reshape(k, -1, *extra)


def conv3d_input_reference(
    dy: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: int, extra: Any
) -> np.ndarray:
    """Each output place's gradient spread over what it saw."""
    n, k, *out = dy.shape
    c = w.shape[1] * groups
    padded = np.zeros((n, c, *(size + 2 * p for size, p in zip(extra, padding))), dy.dtype)
    grouped, weights = dy.reshape(n, groups, k // groups, *out), w.reshape(groups, k // groups, *w.shape[1:])
    for tap, view in _seen(padded, w.shape[2:], out, stride, dilation):
        view += np.einsum("bgkzyx,gkc->bgczyx", grouped, weights[_at(tap)]).reshape(view.shape)
    return padded[_at((slice(p, p + size) for p, size in zip(padding, extra)))]


def _convolution(name: str, infer: Any, lower: Any, grad: Any, reference: Any, names: tuple[str, ...], doc: str) -> Op:
    return register(
        Op(
            name,
            CONTRACTION,
            2,
            categories="f",
            infer=infer,
            lower=lower,
            grad=grad,
            saves=(0, 1),
            reference=reference,
            inplace=False,
            function=False,
            names=names,
            doc=doc,
        )
    )


CONV3D = _convolution(
    "_conv3d",
    conv_volume.infer_conv3d,
    conv_volume.lower_conv3d,
    _grad,
    conv3d_reference,
    ("input", "weight"),
    "3-D cross-correlation of (N, C, D, H, W) with (K, C / groups, Q, R, S).",
)
CONV3D_INPUT = _convolution(
    "_conv3d_input",
    conv_volume.infer_conv3d_input,
    conv_volume.lower_conv3d_input,
    _input_grad,
    conv3d_input_reference,
    ("grad_output", "weight"),
    "Gradient of a 3-D convolution's input; also a transposed convolution.",
)
CONV3D_WEIGHT = _convolution(
    "_conv3d_weight",
    conv_volume.infer_conv3d_weight,
    conv_volume_weight.lower_conv3d_weight,
    _weight_grad,
    conv3d_weight_reference,
    ("grad_output", "input"),
    "Gradient of a 3-D convolution's weight.",
)
