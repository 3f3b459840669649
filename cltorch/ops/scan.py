"""Records of the scans: cumsum, cumprod, cummax, cummin, logcumsumexp.

Floor 2. Attributes: (dim, reverse), dim counted from the front. PyTorch's signatures have no `reverse`, so methods
are written by hand above; gradients use only those.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..codegen import scan as lowering
from ..dtypes import FLOAT, DType, int64
from ..shapes import Layout
from .table import CUSTOM, Op, register

Result = tuple[tuple[DType, tuple[int, ...]], ...]

_SCAN: dict[str, Any] = {"kind": CUSTOM, "inplace": False, "method": False, "function": False, "promote": "none"}


def _infer_sum(layouts: tuple[Layout, ...], attrs: tuple) -> Result:
    x = layouts[0]
    return ((x.dtype if x.dtype.category == FLOAT else int64, x.shape),)


def _infer_extreme(layouts: tuple[Layout, ...], attrs: tuple) -> Result:
    return (layouts[0].dtype, layouts[0].shape), (int64, layouts[0].shape)


def _infer_log(layouts: tuple[Layout, ...], attrs: tuple) -> Result:
    if layouts[0].dtype.category != FLOAT:
        raise RuntimeError(f"logcumsumexp: input: got {layouts[0].dtype}, wanted a floating point dtype")
    return ((layouts[0].dtype, layouts[0].shape),)


# ---- gradients


def _from_the_other_end(x: Any, dim: int, reverse: bool) -> Any:
    """The running sum that goes the other way than the forward scan."""
    return x.cumsum(dim) if reverse else x.flip(dim).cumsum(dim).flip(dim)


def _cumsum_grad(ctx: Any, g: Any) -> tuple:
    dim, reverse = ctx.attrs
    return (_from_the_other_end(g, dim, reverse) if ctx.shapes[0] else g,)


def _cumprod_grad(ctx: Any, g: Any) -> tuple:
    """Sum over j >= i of g_j out_j / x_i, where no element is zero.

    A zero ends that sum. The derivative by the first zero is a sum over what follows it, of the products without it.
    """
    dim, reverse = ctx.attrs
    x, out = ctx.inputs[0], ctx.out
    if not ctx.shapes[0]:
        return (g,)
    if reverse:
        x, out, g = x.flip(dim), out.flip(dim), g.flip(dim)
    zero = x == 0
    zeros_so_far = zero.long().cumsum(dim)
    first_zero = zero & (zeros_so_far == 1)
    ordinary = (g * out).flip(dim).cumsum(dim).flip(dim) / x.masked_fill(zero, 1)
    without = x.masked_fill(first_zero, 1).cumprod(dim)
    at_zero = (g * without).masked_fill(zeros_so_far == 0, 0).flip(dim).cumsum(dim).flip(dim)
    grad = ordinary.masked_fill(zeros_so_far > 0, 0) + at_zero.masked_fill(~first_zero, 0)
    return (grad.flip(dim) if reverse else grad,)


def _extreme_grad(ctx: Any, g: Any, _positions: Any = None) -> tuple:
    if not ctx.shapes[0]:
        return (g,)
    return (g.new_zeros(ctx.shapes[0]).scatter_add(ctx.attrs[0], ctx.out[1], g),)


def _log_grad(ctx: Any, g: Any) -> tuple:
    """x_i takes part in every out_j from i on with weight exp(x_i - out_j);
    positive and negative g separately, in logarithms.
    """
    dim, reverse = ctx.attrs
    x, out = ctx.inputs[0], ctx.out
    if not ctx.shapes[0]:
        return (g,)

    def share(part: Any) -> Any:
        # exp(-1e4) is 0 in every dtype, and unlike -inf it has derivatives
        absent = part <= 0
        logs = part.masked_fill(absent, 1).log().masked_fill(absent, -1e4) - out
        summed = logs.logcumsumexp(dim) if reverse else logs.flip(dim).logcumsumexp(dim).flip(dim)
        return (summed + x).exp()

    return (share(g) - share(-g),)


# ---- references


def _both_ways(x: np.ndarray, dim: int, reverse: bool, scan: Any) -> np.ndarray:
    if not x.ndim:
        return _both_ways(x[None], 0, reverse, scan)[0]
    return np.flip(scan(np.flip(x, dim), dim), dim) if reverse else scan(x, dim)


def cumsum_reference(x: np.ndarray, dim: int, reverse: bool = False) -> np.ndarray:
    """np.cumsum."""
    return _both_ways(x if x.dtype.kind == "f" else x.astype(np.int64), dim, reverse, np.cumsum)


def cumprod_reference(x: np.ndarray, dim: int, reverse: bool = False) -> np.ndarray:
    """np.cumprod."""
    return _both_ways(x if x.dtype.kind == "f" else x.astype(np.int64), dim, reverse, np.cumprod)


def logcumsumexp_reference(x: np.ndarray, dim: int, reverse: bool = False) -> np.ndarray:
    """np.logaddexp, accumulated."""
    with np.errstate(invalid="ignore"):
        return _both_ways(x, dim, reverse, np.logaddexp.accumulate)


def _extreme_reference(x: np.ndarray, dim: int, reverse: bool, sign: int) -> tuple[np.ndarray, np.ndarray]:
    if not x.ndim:
        return x.copy(), np.zeros((), np.int64)
    lines, places = np.moveaxis(x.copy(), dim, -1), np.zeros(np.moveaxis(x, dim, -1).shape, np.int64)
    for at in np.ndindex(*lines.shape[:-1]):
        best, where = None, 0
        order = range(lines.shape[-1])
        for i in reversed(order) if reverse else order:
            v = lines[at][i]
            better = best is None or v != v or (v >= best if sign > 0 else v <= best)
            best, where = (v, i) if better else (best, where)
            lines[at][i], places[at][i] = best, where
    return np.moveaxis(lines, -1, dim), np.moveaxis(places, -1, dim)


def cummax_reference(x: np.ndarray, dim: int, reverse: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Element by element."""
    return _extreme_reference(x, dim, reverse, 1)


def cummin_reference(x: np.ndarray, dim: int, reverse: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Element by element."""
    return _extreme_reference(x, dim, reverse, -1)


# ---- the records

CUMSUM = register(
    Op(
        "cumsum",
        **_SCAN,
        infer=_infer_sum,
        lower=lowering.lower_cumsum,
        grad=_cumsum_grad,
        reference=cumsum_reference,
        doc="out_i = x_0 + ... + x_i along a dim; integers and bools give int64. Attributes: dim, reverse (sums "
        "from the end).",
        source="Blelloch 1990, Prefix sums and their applications",
    )
)
CUMPROD = register(
    Op(
        "cumprod",
        **_SCAN,
        infer=_infer_sum,
        lower=lowering.lower_cumprod,
        grad=_cumprod_grad,
        saves=(0, "out"),
        reference=cumprod_reference,
        doc="out_i = x_0 * ... * x_i along a dim; integers and bools give int64. Attributes: dim, reverse.",
    )
)
CUMMAX = register(
    Op(
        "cummax",
        **_SCAN,
        infer=_infer_extreme,
        lower=lowering.lower_cummax,
        grad=_extreme_grad,
        saves=("out",),
        reference=cummax_reference,
        doc="out_i = max(x_0 .. x_i) and its position, the last of equal values; NaN wins. Attributes: dim, reverse.",
    )
)
CUMMIN = register(
    Op(
        "cummin",
        **_SCAN,
        infer=_infer_extreme,
        lower=lowering.lower_cummin,
        grad=_extreme_grad,
        saves=("out",),
        reference=cummin_reference,
        doc="out_i = min(x_0 .. x_i) and its position, the last of equal values; NaN wins. Attributes: dim, reverse.",
    )
)
LOGCUMSUMEXP = register(
    Op(
        "logcumsumexp",
        **_SCAN,
        categories="f",
        infer=_infer_log,
        lower=lowering.lower_logcumsumexp,
        grad=_log_grad,
        saves=(0, "out"),
        reference=logcumsumexp_reference,
        doc="out_i = log(exp x_0 + ... + exp x_i) along a dim, without overflow. Attributes: dim, reverse.",
    )
)
