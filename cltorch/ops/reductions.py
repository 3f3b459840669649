"""Records of the reductions: sum, product, extrema, their positions, any, all.

Floor 2. Attributes are (dims, keepdim): sorted dims counted from the front. Everything else that reduces (mean,
variance, norms, softmax) is a composite in functions/reduction.py, which the fuser turns into one row-wise kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .table import REDUCTION, Op, register


def kept_shape(shape: tuple[int, ...], dims: tuple[int, ...]) -> tuple[int, ...]:
    """`shape` with the reduced dims' sizes set to 1."""
    return tuple(1 if d in dims else n for d, n in enumerate(shape))


def restore(ctx: Any, reduced: Any) -> Any:
    """A reduced tensor with its reduced dims put back as dims of size 1."""
    dims, keepdim = ctx.attrs
    return reduced if keepdim or not ctx.shapes[0] else reduced.reshape(kept_shape(ctx.shapes[0], dims))


def _reduced(function: Callable[..., Any]) -> Callable[..., Any]:
    """A NumPy reduction with the record's attributes."""
    return lambda a, dims, keepdim: function(a, axis=dims, keepdims=keepdim)


def _position(function: Callable[..., Any]) -> Callable[..., Any]:
    def reference(a: np.ndarray, dims: tuple[int, ...], keepdim: bool) -> np.ndarray:
        rest = [d for d in range(a.ndim) if d not in dims]
        rows = a.transpose(*rest, *dims).reshape(*(a.shape[d] for d in rest), -1)
        found = function(rows, axis=-1)
        return found.reshape(kept_shape(a.shape, dims)) if keepdim else found

    return reference


def _sum_grad(ctx: Any, g: Any) -> tuple[Any]:
    return (restore(ctx, g).expand(ctx.shapes[0]),)


def _extremum_grad(ctx: Any, g: Any) -> tuple[Any]:
    """Shared evenly by all elements equal to the extremum."""
    x = ctx.inputs[0]
    share = (x == restore(ctx, ctx.out)).to(g.dtype)
    return (restore(ctx, g) * share / share.sum(ctx.attrs[0], True),)


def _prod_grad(ctx: Any, g: Any) -> tuple[Any]:
    """Product of the others: a row with one 0 has a gradient there only, a row with more has none."""
    x, dims = ctx.inputs[0], ctx.attrs[0]
    zero = x == 0
    zeros = zero.sum(dims, True)
    others = x.masked_fill(zero, 1)
    nonzero = others.prod(dims[0], True) if len(dims) == 1 else others.prod()  # PyTorch's prod takes one dim or all
    alone = zero & (zeros == 1)
    return (restore(ctx, g) * nonzero / others * (alone | (zeros == 0)).to(g.dtype),)


def _reduction(name: str, reduce: str, reference: Any, doc: str, grad: Any = None, **facts: Any) -> Op:
    return register(
        Op(
            name,
            REDUCTION,
            1,
            reduce=reduce,
            grad=grad,
            reference=reference,
            doc=doc,
            inplace=False,
            function=False,
            names=("input",),
            **facts,
        )
    )


SUM = _reduction("_sum", "sum", _reduced(np.sum), "Sum over dims.", _sum_grad)
PROD = _reduction("_prod", "prod", _reduced(np.prod), "Product over dims.", _prod_grad, saves=(0,))
AMAX = _reduction("_amax", "max", _reduced(np.max), "Maximum over dims; NaN wins.", _extremum_grad, saves=(0, "out"))
AMIN = _reduction("_amin", "min", _reduced(np.min), "Minimum over dims; NaN wins.", _extremum_grad, saves=(0, "out"))
PEAK = _reduction(
    "_peak",
    "peak",
    _reduced(np.fmax.reduce),
    "Maximum over dims of what is not NaN, for what is shifted by it: NaN stays in the elements themselves.",
    why="part of softmax and its relatives, which have their own backward",
    categories="f",
    method=False,
)
ARGMAX = _reduction(
    "_argmax",
    "argmax",
    _position(np.argmax),
    "First position of the maximum in C order over dims.",
    result="index",
    why="positions",
)
ARGMIN = _reduction(
    "_argmin",
    "argmin",
    _position(np.argmin),
    "First position of the minimum in C order over dims.",
    result="index",
    why="positions",
)
ANY = _reduction("_any", "max", _reduced(np.any), "Whether one element is true (bools).", why="bools", categories="b")
ALL = _reduction("_all", "min", _reduced(np.all), "Whether all elements are true (bools).", why="bools", categories="b")
