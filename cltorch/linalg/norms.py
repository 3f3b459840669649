"""Norms of vectors and matrices, condition numbers, rank.

Floor 6, part of `linalg`.
"""

from __future__ import annotations

import math
from typing import Any

from .. import dtypes
from ..dispatch import cast
from ..dtypes import DType
from ..functions.creation import eye
from ..functions.derive import check_tensor, with_out
from ..functions.reduction import vector_norm
from ..shapes import wrap_dim
from ..tensor import Tensor
from .checks import check_matrices, word
from .solve import inv_ex, tolerance
from .spectral import eigvalsh, svdvals

__all__ = ["cond", "matrix_norm", "matrix_rank", "norm", "vector_norm"]

_NAMED = ("fro", "nuc")


@with_out
def matrix_norm(
    A: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """'fro': root of the sum of squares; 'nuc': sum of singular values; inf, 1: largest sum of a row, a column; 2:
    largest singular value; the negatives: the smallest. `dim` names the matrix's two dims.
    """
    op = "linalg.matrix_norm"
    check_tensor(op, A=A)
    if dtype is not None:
        A = cast(A, dtype)
    if not A.is_floating_point():
        raise RuntimeError(f"{op}: Expected a floating point or complex tensor as input. Got {word(A)}")
    if A.dim() < 2:
        raise RuntimeError(f"{op}: The input tensor A must have at least 2 dimensions.")
    if not isinstance(dim, (tuple, list)) or len(dim) != 2:
        raise RuntimeError(f"{op}: dim must be a 2-tuple. Got {dim}")
    first, second = (wrap_dim(op, d, A.dim()) for d in dim)
    if first == second:
        raise RuntimeError(f"{op}: dims must be different. Got ({dim[0]}, {dim[1]})")
    if isinstance(ord, str):
        if ord not in _NAMED:
            raise RuntimeError(f"{op}: Order {ord} not supported.")
        if ord == "fro":
            return vector_norm(A, 2, (first, second), keepdim)
    elif abs(ord) not in (1, 2, math.inf):
        raise RuntimeError(f"{op}: Order {ord} not supported.")
    if ord == "nuc" or abs(ord) == 2:
        values = svdvals(A.movedim((first, second), (-2, -1)))
        if ord == "nuc":
            found = values.sum(-1)
        elif not values.shape[-1] and ord > 0:
            found = values.sum(-1)
        else:
            found = values.amax(-1) if ord > 0 else values.amin(-1)
        for d in sorted((first, second)) if keepdim else ():
            found = found.unsqueeze(d)
        return found
    across, along = (second, first) if abs(ord) == math.inf else (first, second)
    sums = A.abs().sum(across, keepdim=True)
    if ord > 0 and not A.shape[along]:
        found = sums.sum(along, keepdim=True)
    else:
        found = sums.amax(along, keepdim=True) if ord > 0 else sums.amin(along, keepdim=True)
    return found if keepdim else found.squeeze(max(first, second)).squeeze(min(first, second))


@with_out
def norm(
    A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """`matrix_norm` where `ord` is given and there are two dims (or `ord` is 'fro' or 'nuc'), else `vector_norm`.

    Without `ord` and `dim` the whole tensor is one vector.
    """
    check_tensor("linalg.norm", A=A)
    single = (dim,) if isinstance(dim, int) else dim
    if ord is not None:
        if single is not None and len(single) not in (1, 2):
            raise RuntimeError(f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got {list(single)}")
        if single is None and A.dim() not in (1, 2):
            raise RuntimeError(
                "linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. "
                f"Got {A.dim()}D."
            )
        if isinstance(ord, str) or (len(single) if single is not None else A.dim()) == 2:
            return matrix_norm(A, ord, (0, 1) if single is None else tuple(single), keepdim, dtype=dtype)
    return vector_norm(A, 2 if ord is None else ord, single, keepdim, dtype=dtype)


@with_out
def cond(A: Tensor, p: Any = None) -> Tensor:
    """The condition number |A| |A^-1| in the norm `p`, inf if singular; None, 2: by the singular values."""
    op = "linalg.cond"
    if p is None or p in (2, -2):
        check_matrices(op, kernel="linalg_svd_cpu", A=A)
        values = svdvals(A)
        if not values.shape[-1]:
            return values.sum(-1)
        return values[..., 0] / values[..., -1] if p != -2 else values[..., -1] / values[..., 0]
    if isinstance(p, str) and p not in _NAMED or not isinstance(p, str) and abs(p) not in (1, math.inf):
        raise RuntimeError(f"linalg.cond got an invalid norm type: {p}")
    check_matrices(op, square=True, A=A)
    if not A.numel():
        return A.new_zeros(A.shape[:-2])
    inverse, info = inv_ex(A)
    found = matrix_norm(A, p) * matrix_norm(inverse, p)
    return found.masked_fill(info != 0, math.inf)


@with_out
def matrix_rank(
    A: Tensor, tol: Any = None, *, atol: Any = None, rtol: Any = None, hermitian: bool = False
) -> Tensor:
    """How many singular values exceed max(atol, rtol * largest), int64 (*); `tol`: `atol` with rtol=0."""
    check_matrices("linalg.matrix_rank", square=hermitian, kernel="linalg_svd_cpu", A=A)
    if tol is not None:
        atol, rtol = tol, 0.0 if rtol is None else rtol
    if not A.numel():
        return A.new_zeros(A.shape[:-2], dtype=dtypes.int64)
    values = eigvalsh(A.detach()).abs() if hermitian else svdvals(A.detach())
    limit = tolerance(A, values.amax(-1), atol, rtol)
    return (values > limit.unsqueeze(-1)).sum(-1)


def identity(a: Tensor) -> Tensor:
    """Identity matrices of a's shape, dtype and device."""
    return eye(a.shape[-1], dtype=a.dtype, device=a.device).expand(a.shape)
