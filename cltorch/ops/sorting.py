"""Records of sort and topk.

Floor 2. argsort, median, kthvalue, unique and the like are composites over these two. Methods are written by hand
above: PyTorch's take their arguments in another order and give a named tuple.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..codegen import sorting as lowering
from ..dtypes import DType, int64
from ..shapes import Layout
from .table import CUSTOM, Op, register

Result = tuple[tuple[DType, tuple[int, ...]], ...]

_SORTING: dict[str, Any] = {"kind": CUSTOM, "inplace": False, "method": False, "function": False, "promote": "none"}


def _infer_sort(layouts: tuple[Layout, ...], attrs: tuple) -> Result:
    return (layouts[0].dtype, layouts[0].shape), (int64, layouts[0].shape)


def _infer_topk(layouts: tuple[Layout, ...], attrs: tuple) -> Result:
    k, dim, _ = attrs
    shape = layouts[0].shape
    length = shape[dim] if shape else 1
    if not 0 <= k <= length:
        raise RuntimeError(f"topk: k: got {k}, wanted 0 to {length}; selected index k out of range")
    out = tuple(k if d == dim else n for d, n in enumerate(shape))
    return (layouts[0].dtype, out), (int64, out)


def _sort_grad(ctx: Any, g: Any, _positions: Any = None) -> tuple:
    return (g.new_zeros(ctx.shapes[0]).scatter(ctx.attrs[0], ctx.out[1], g) if ctx.shapes[0] else g,)


def _topk_grad(ctx: Any, g: Any, _positions: Any = None) -> tuple:
    return (g.new_zeros(ctx.shapes[0]).scatter(ctx.attrs[1], ctx.out[1], g) if ctx.shapes[0] else g,)


def sort_reference(x: np.ndarray, dim: int, descending: bool) -> tuple[np.ndarray, np.ndarray]:
    """NumPy's stable argsort; descending by reversing before and after."""
    if not x.ndim:
        return x.copy(), np.zeros((), np.int64)
    if descending:
        order = x.shape[dim] - 1 - np.flip(np.argsort(np.flip(x, dim), dim, kind="stable"), dim)
    else:
        order = np.argsort(x, dim, kind="stable")
    return np.take_along_axis(x, order, dim), order.astype(np.int64)


def topk_reference(x: np.ndarray, k: int, dim: int, largest: bool) -> tuple[np.ndarray, np.ndarray]:
    """The first k of a sort."""
    values, order = sort_reference(x, dim, largest)
    if not x.ndim:
        return values, order
    return np.take(values, np.arange(k), dim), np.take(order, np.arange(k), dim)


SORT = register(
    Op(
        "sort",
        **_SORTING,
        infer=_infer_sort,
        lower=lowering.lower_sort,
        grad=_sort_grad,
        saves=("out",),
        reference=sort_reference,
        doc="Values in order along a dim, and the int64 positions they came from. Stable; NaN counts as the "
        "greatest. Attributes: dim, "
        "descending.",
        source="Knuth 1998, The Art of Computer Programming, vol. 3, 5.2.5 (radix); Batcher 1968 (bitonic)",
    )
)
TOPK = register(
    Op(
        "topk",
        **_SORTING,
        infer=_infer_topk,
        lower=lowering.lower_topk,
        grad=_topk_grad,
        saves=("out",),
        reference=topk_reference,
        doc="The k greatest (or smallest) values along a dim, in order, and their int64 positions; the first of "
        "equal values is taken. "
        "NaN counts as the greatest. Attributes: k, dim, largest.",
    )
)
