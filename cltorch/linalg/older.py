"""Functions of linear algebra that PyTorch keeps outside `torch.linalg`, and the methods of tensors.

Floor 6, part of `linalg`.
"""

from __future__ import annotations

import math
from typing import Any

from ..autograd.modes import no_grad
from ..functions import reduction
from ..functions.creation import eye
from ..functions.derive import check_tensor, store, with_out
from ..functions.nodes import give_backward
from ..functions.random import randn
from ..tensor import Tensor
from . import factor as factors
from .checks import check_info, check_matrices, fitting_sides, returned, same_batch, same_dtype
from .factor import householder_product, lu_factor_ex, permutation, reflected, reflections, solve_triangular, unpacked
from .norms import matrix_norm
from .products import matrix_exp
from .solve import det, inv, pinv, slogdet
from .spectral import svd as full_svd

__all__ = [
    "cholesky",
    "cholesky_inverse",
    "cholesky_solve",
    "det",
    "geqrf",
    "inverse",
    "logdet",
    "lu",
    "lu_solve",
    "lu_unpack",
    "matrix_exp",
    "norm",
    "orgqr",
    "ormqr",
    "pca_lowrank",
    "pinverse",
    "qr",
    "slogdet",
    "svd",
    "svd_lowrank",
    "triangular_solve",
]

Geqrf, OldQr, OldSvd = returned("geqrf", "a tau"), returned("qr", "Q R"), returned("svd", "U S V")
LuUnpack = returned("lu_unpack", "P L U")
TriangularSolve = returned("triangular_solve", "solution cloned_coefficient")


@with_out
def cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """`linalg.cholesky`."""
    return factors.cholesky(input, upper=upper)


def _solved(factor: Tensor, b: Tensor) -> Tensor:
    """X of L L^T X = B; like PyTorch's, the gradient takes L for a whole matrix, not for its lower triangle."""
    with no_grad():
        half = solve_triangular(factor, b, upper=False)
        x = solve_triangular(factor.mT, half, upper=True)

    def backward(g: Tensor, factor: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        right = _solved(factor, g)
        whole = right @ x.mT
        return -((whole + whole.mT) @ factor), right

    return give_backward("CholeskySolveBackward0", (factor, b), x, backward, (factor,), keep_out=True)


@with_out
def cholesky_solve(B: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """X of A X = B from Cholesky's factor: A = L L^T, or L^T L if `upper`."""
    check_matrices("cholesky_solve", square=True, L=L)
    check_matrices("cholesky_solve", B=B)
    same_dtype("cholesky_solve", L, B)
    fitting_sides("cholesky_solve", L, B)
    factor, sides = same_batch("cholesky_solve", L.mT if upper else L, B)
    return _solved(factor, sides)


@with_out
def cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    """A^-1 from Cholesky's factor."""
    check_matrices("cholesky_inverse", square=True, kernel="cholesky_inverse_out_cpu", L=L)
    same = eye(L.shape[-1], dtype=L.dtype, device=L.device).expand(L.shape)
    return _solved(L.mT if upper else L, same)


@with_out
def inverse(input: Tensor) -> Tensor:
    """`linalg.inv`."""
    return inv(input)


def logdet(input: Tensor) -> Tensor:
    """log det A; -inf where A is singular, NaN where the determinant is negative."""
    check_matrices("logdet", square=True, input=input)
    sign, logarithm = slogdet(input)
    return logarithm.masked_fill(sign < 0, math.nan)


@with_out
def lu(A: Tensor, pivot: bool = True, get_infos: bool = False) -> Any:
    """(LU, pivots), and info if `get_infos`: an older name of `linalg.lu_factor`."""
    held, pivots, info = lu_factor_ex(A, pivot=pivot)
    if get_infos:
        return held, pivots, info
    check_info("torch.lu", info, "U[{0},{0}] is zero and using it on lu_solve would result in a division by zero.")
    return held, pivots


@with_out
def lu_solve(b: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
    """`linalg.lu_solve` with its arguments in another order."""
    return factors.lu_solve(LU_data, LU_pivots, b)


@with_out
def lu_unpack(LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True) -> Any:
    """(P, L, U) of what `lu_factor` gives; what is not asked for is empty."""
    check_tensor("lu_unpack", LU_data=LU_data, LU_pivots=LU_pivots)
    if unpack_pivots and LU_pivots.dtype.name != "int32":
        raise RuntimeError(
            "torch.lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32 dtype.\n"
            "Note: this function is intended to be used with the output produced by torch.linalg.lu_factor"
        )
    empty = LU_data.new_empty((0,))
    lower, upper = unpacked(LU_data) if unpack_data else (empty, empty)
    return LuUnpack(permutation(LU_pivots, LU_data.shape[-2], LU_data) if unpack_pivots else empty, lower, upper)


@with_out
def geqrf(input: Tensor) -> Any:
    """R and Householder's reflections in one matrix, and their factors tau, as LAPACK's geqrf."""
    check_matrices("geqrf", kernel="geqrf_cpu", input=input)
    return Geqrf(*reflections(input))


@with_out
def orgqr(input: Tensor, tau: Tensor) -> Tensor:
    """`linalg.householder_product`."""
    return householder_product(input, tau)


@with_out
def ormqr(input: Tensor, tau: Tensor, other: Tensor, left: bool = True, transpose: bool = False) -> Tensor:
    """Q C, or C Q if not `left`, with Q (or Q^T if `transpose`) the whole product of reflections."""
    check_matrices("ormqr", kernel="ormqr_cpu", input=input)
    if left:
        return reflected(input, tau, other, transpose)
    return reflected(input, tau, other.mT, not transpose).mT


@with_out
def qr(input: Tensor, some: bool = True) -> Any:
    """(Q, R): `linalg.qr`, complete if not `some`."""
    return OldQr(*factors.qr(input, "reduced" if some else "complete"))


@with_out
def svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> Any:
    """(U, S, V), V not transposed: an older form of `linalg.svd`."""
    check_tensor("svd", input=input)
    u, s, vh = full_svd(input, full_matrices=not some and compute_uv)
    if not compute_uv:
        m, n = input.shape[-2:]
        batch = tuple(input.shape[:-2])
        return OldSvd(input.new_zeros((*batch, m, m)), s, input.new_zeros((*batch, n, n)))
    return OldSvd(u, s, vh.mT)


def norm(
    input: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, out: Any = None, dtype: Any = None
) -> Tensor:
    """`torch.norm`: vector norms over `dim`, or all of the tensor; 'nuc': the sum of singular values of matrices."""
    if p != "nuc":
        return reduction.norm(input, p, dim, keepdim, dtype=dtype, out=out)
    found = matrix_norm(input, "nuc", (-2, -1) if dim is None else tuple(dim), keepdim, dtype=dtype)
    return found if out is None else store("norm", out, found)


def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """`linalg.pinv` with rtol=rcond."""
    return pinv(input, atol=0.0, rtol=rcond)


@with_out
def triangular_solve(
    b: Tensor, A: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> Any:
    """(X, a copy of A) of A X = b, or A^T X = b if `transpose`."""
    check_matrices("triangular_solve", kernel="triangular_solve_cpu", b=b)
    given = A.mT if transpose else A
    found = solve_triangular(given, b, upper=upper != transpose, unitriangular=unitriangular)
    return TriangularSolve(found, A.clone())


def _basis(a: Tensor, q: int, niter: int, mean: Tensor | None) -> Tensor:
    """Orthonormal columns that nearly span the first q left singular vectors of A - mean.

    Source: Halko, Martinsson and Tropp, Finding structure with randomness, 2011, algorithm 5.1 with 4.4.
    """

    def times(x: Tensor) -> Tensor:
        return a @ x if mean is None else a @ x - mean @ x

    def turned(x: Tensor) -> Tensor:
        return a.mT @ x if mean is None else a.mT @ x - mean.mT @ x

    found = factors.qr(times(randn(a.shape[-1], q, dtype=a.dtype, device=a.device)))[0]
    for _ in range(niter):
        found = factors.qr(turned(found))[0]
        found = factors.qr(times(found))[0]
    return found


def svd_lowrank(A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None) -> Any:
    """(U, S, V), the q largest singular values of A - M, from random projections."""
    check_matrices("svd_lowrank", A=A)
    wanted, rounds = 6 if q is None else q, 2 if niter is None else niter
    m, n = A.shape[-2:]
    mean = None if M is None else M.expand(A.shape)
    turn = m < n
    a, mean = (A.mT, None if mean is None else mean.mT) if turn else (A, mean)
    basis = _basis(a, wanted, rounds, mean)
    small = basis.mT @ a if mean is None else basis.mT @ (a - mean)
    u, s, vh = full_svd(small, full_matrices=False)
    u, v = basis @ u, vh.mT
    return (v, s, u) if turn else (u, s, v)


def pca_lowrank(A: Tensor, q: int | None = None, center: bool = True, niter: int = 2) -> Any:
    """(U, S, V): `svd_lowrank` of A, from whose columns the mean is taken if `center`."""
    check_matrices("pca_lowrank", A=A)
    m, n = A.shape[-2:]
    wanted = min(6, m, n) if q is None else q
    if not 0 <= wanted <= min(m, n):
        raise ValueError(f"q(={wanted}) must be non-negative integer and not greater than min(m, n)={min(m, n)}")
    if niter < 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    if not center:
        return svd_lowrank(A, wanted, niter)
    return svd_lowrank(A - A.mean(-2, keepdim=True), wanted, niter)


METHODS = {
    "cholesky": cholesky, "cholesky_inverse": cholesky_inverse, "cholesky_solve": cholesky_solve, "det": det,
    "geqrf": geqrf, "inverse": inverse, "logdet": logdet, "lu": lu, "lu_solve": lu_solve, "matrix_exp": matrix_exp,
    "norm": norm,
    "orgqr": orgqr, "ormqr": ormqr, "pinverse": pinverse, "qr": qr, "slogdet": slogdet, "svd": svd,
    "triangular_solve": triangular_solve,
}  # fmt: skip
