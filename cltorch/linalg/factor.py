"""LU, Cholesky, triangular systems and QR, on the device.

Floor 6, part of `linalg`.
"""

from __future__ import annotations

from typing import Any

from .. import dtypes
from ..autograd.function import Function
from ..autograd.modes import no_grad
from ..copies import cat
from ..dispatch import apply
from ..functions.creation import eye
from ..functions.derive import check_tensor, with_out
from ..functions.nodes import differentiates
from ..ops import factorization as records
from ..tensor import Tensor
from .checks import check_info, check_matrices, fitting_sides, returned, same_batch, same_dtype, word

__all__ = [
    "cholesky",
    "cholesky_ex",
    "householder_product",
    "lu",
    "lu_factor",
    "lu_factor_ex",
    "lu_solve",
    "qr",
    "solve_triangular",
]

LuFactor, LuFactorEx = returned("linalg_lu_factor", "LU pivots"), returned("linalg_lu_factor_ex", "LU pivots info")
Lu, CholeskyEx = returned("linalg_lu", "P L U"), returned("linalg_cholesky_ex", "L info")
Qr = returned("linalg_qr", "Q R")


# ---- LU


def factored(a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """LU, pivots and info of matrices of any strides."""
    return apply(records.LU, (a.contiguous(),))


def _pivoting(op: str, pivot: bool) -> None:
    if not pivot:
        raise RuntimeError(f"{op}: LU without pivoting is not implemented on the CPU")


@with_out
def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False) -> Any:
    """(LU, pivots, info) of P A = L U, without an error where U is singular (unless `check_errors`).

    Shape: A (*, m, n); LU (*, m, n), pivots (*, min(m, n)) int32, info (*) int32: 0, or the first zero pivot's number.
    """
    check_tensor("lu_factor", A=A)
    if A.dim() < 2:
        raise RuntimeError(
            f"torch.lu_factor: Expected tensor with 2 or more dimensions. Got size: {list(A.shape)} instead"
        )
    if A.dtype not in (dtypes.float32, dtypes.float64):
        raise NotImplementedError(f"\"lu_cpu\" not implemented for '{word(A)}'")
    _pivoting("linalg.lu_factor", pivot)
    lu, pivots, info = factored(A)
    if check_errors:
        check_info("torch.linalg.lu_factor_ex", info, "U[{0},{0}] is zero: lu_solve would divide by it")
    return LuFactorEx(lu, pivots, info)


@with_out
def lu_factor(A: Tensor, *, pivot: bool = True) -> Any:
    """(LU, pivots) of P A = L U, L and U in one matrix. Raises RuntimeError where U is singular."""
    lu, pivots, info = lu_factor_ex(A, pivot=pivot)
    check_info(
        "torch.linalg.lu_factor",
        info,
        "U[{0},{0}] is zero and using it on lu_solve would result in a division by zero. If you still want to perform "
        "the factorization, consider calling linalg.lu(A, pivot) or linalg.lu_factor_ex(A, pivot)",
    )
    return LuFactor(lu, pivots)


def permutation(pivots: Tensor, rows: int, like: Tensor) -> Tensor:
    """P (*, rows, rows) of A = P L U, in the dtype of `like`."""
    order = pivots.contiguous()._row_order(rows)  # type: ignore[attr-defined]
    return eye(rows, dtype=like.dtype, device=like.device)[order].mT


def unpacked(lu: Tensor) -> tuple[Tensor, Tensor]:
    """L (*, m, k) and U (*, k, n) of the matrix that holds both."""
    m, n = lu.shape[-2:]
    k = min(m, n)
    return lu[..., :, :k].tril(-1) + eye(m, k, dtype=lu.dtype, device=lu.device), lu[..., :k, :].triu()


@with_out
def lu(A: Tensor, *, pivot: bool = True) -> Any:
    """(P, L, U) with A = P L U.

    Shape: A (*, m, n); P (*, m, m), L (*, m, k), U (*, k, n), k = min(m, n).

    >>> P, L, U = cltorch.linalg.lu(cltorch.tensor([[1.0, 2.0], [4.0, 2.0]]))
    >>> P @ L @ U
    tensor([[1., 2.],
            [4., 2.]])
    """
    check_matrices("linalg.lu", kernel="lu_cpu", A=A)
    _pivoting("linalg.lu", pivot)
    held, pivots, _ = factored(A)
    lower, upper = unpacked(held)
    return Lu(permutation(pivots, A.shape[-2], A), lower, upper)


def solved(lu: Tensor, pivots: Tensor, b: Tensor, transposed: bool = False) -> Tensor:
    """X of A X = B (or A^T X = B) from A's factors; batches are equal."""
    order = pivots.contiguous()._row_order(lu.shape[-1])  # type: ignore[attr-defined]
    order = order.unsqueeze(-1).expand(b.shape)
    if transposed:
        half = records.solve(lu, records.solve(lu, b, True, True), False, True, True)
        return half.new_zeros(half.shape).scatter(-2, order, half)
    return records.solve(lu, records.solve(lu, b.gather(-2, order), False, False, True), True)


@with_out
def lu_solve(LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False) -> Tensor:
    """X of A X = B (X A = B if not `left`; A^T in A's place if `adjoint`) from `lu_factor(A)`.

    Shape: LU (*, n, n), pivots (*, n) int32, B (*, n, k) or, if not `left`, (*, k, n).
    """
    check_matrices("linalg.lu_solve", square=True, LU=LU)
    check_tensor("linalg.lu_solve", pivots=pivots, B=B)
    if pivots.dtype is not dtypes.int32:
        raise RuntimeError("linalg.lu_solve: pivots should be a Tensor of scalar type torch.int32")
    same_dtype("linalg.lu_solve", LU, B)
    fitting_sides("linalg.lu_solve", LU, B, left)
    if pivots.shape[-1] != LU.shape[-1]:
        raise RuntimeError("linalg.lu_solve: Number of pivots per batch should be same as the dimension of the matrix")
    sides = B if left else B.mT
    held, sides = same_batch("linalg.lu_solve", LU, sides)
    pivots = pivots.expand((*held.shape[:-2], pivots.shape[-1]))
    found = solved(held, pivots, sides, adjoint == left)
    return found if left else found.mT


# ---- Cholesky


@with_out
def cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False) -> Any:
    """(L, info) of A = L L^T, or (U, info) of A = U^T U; info: order of the first minor that is not positive, or 0."""
    check_matrices("linalg.cholesky", square=True, kernel="cholesky_cpu", A=A)
    factor, info = apply(records.CHOLESKY, ((A.mT if upper else A).contiguous(),))
    if check_errors:
        _positive("linalg.cholesky_ex", info)
    return CholeskyEx(factor.mT if upper else factor, info)


def _positive(op: str, info: Tensor) -> None:
    check_info(
        op,
        info,
        "The factorization could not be completed because the input is not positive-definite (the leading minor of "
        "order {} is not positive-definite).",
    )


@with_out
def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """L of A = L L^T (U of A = U^T U if `upper`), A symmetric and positive definite; only one triangle is read.

    Shape: (*, n, n), as the result. **Dtypes** float32, float64.

    Raises:
        LinAlgError: A is not positive definite.

    >>> cltorch.linalg.cholesky(cltorch.tensor([[4.0, 2.0], [2.0, 5.0]]))
    tensor([[2., 0.],
            [1., 2.]])
    """
    factor, info = cholesky_ex(A, upper=upper)
    _positive("linalg.cholesky", info)
    return factor


# ---- triangular systems


@with_out
def solve_triangular(
    A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """X of A X = B (X A = B if not `left`), A triangular; the other triangle is not read.

    Shape: A (*, n, n), B (*, n, k) or, if not `left`, (*, k, n); batch dims broadcast.
    """
    op = "linalg.solve_triangular"
    check_matrices(op, square=True, kernel="triangular_solve_cpu", A=A)
    check_matrices(op, kernel="triangular_solve_cpu", B=B)
    same_dtype(op, A, B)
    fitting_sides(op, A, B, left)
    sides = B if left else B.mT
    a, sides = same_batch(op, A, sides)
    found = records.solve(a, sides, upper, not left, unitriangular)
    return found if left else found.mT


# ---- QR


def reflections(a: Tensor) -> tuple[Tensor, Tensor]:
    """geqrf: R and reflections in one matrix, and tau."""
    return apply(records.HOUSEHOLDER, (a.contiguous(),))


def columns(a: Tensor, tau: Tensor, count: int) -> Tensor:
    """orgqr: the first columns of the product of reflections."""
    return apply(records.REFLECTIONS, (a.contiguous(), tau.contiguous()), (count,))


def _copied_lower(x: Tensor) -> Tensor:
    """The symmetric matrix with the lower triangle of x."""
    return x.tril() + x.tril(-1).mT


def reflected(a: Tensor, tau: Tensor, out: Tensor, transposed: bool = False) -> Tensor:
    """H_0 … H_{k-1} times `out`, or the transposed product, one differentiable reflection after the other."""
    lower = a.tril(-1) + eye(*a.shape[-2:], dtype=a.dtype, device=a.device)
    order = range(tau.shape[-1])
    for j in order if transposed else reversed(order):
        v = lower[..., :, j : j + 1]
        out = out - tau[..., j : j + 1, None] * v @ (v.mT @ out)
    return out if tau.shape[-1] else out + 0 * a.sum()


class _Qr(Function):
    """Q and R; backward by Walter and Lehmann, Algorithmic differentiation of linear algebra functions, 2018."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, mode: str) -> tuple[Tensor, Tensor]:
        m, n = a.shape[-2:]
        held, tau = reflections(a)
        wide = m if mode == "complete" else min(m, n)
        q, r = columns(held, tau, wide), held[..., : min(m, n), :].triu()
        if wide > r.shape[-2]:
            r = cat((r, r.new_zeros((*r.shape[:-2], wide - r.shape[-2], n))), -2)
        ctx.save_for_backward(q, r)
        ctx.mode = mode
        return q, r

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, None]:
        gq, gr = grads
        q, r = ctx.saved_tensors
        m, n = q.shape[-2], r.shape[-1]
        if ctx.mode == "complete" and m > n:
            raise RuntimeError(
                "The QR decomposition is not differentiable when mode='complete' and nrows > ncols"
            )
        if not q.numel() or not r.numel():
            return gr.new_zeros((*q.shape[:-1], n)), None
        k = r.shape[-2]
        square = r[..., :, :k] if n > k else r
        right = None
        if n > k:
            right = q @ gr[..., :, k:]
            gq = gq + q @ r[..., :, k:] @ gr[..., :, k:].mT
            gr = gr[..., :, :k]
        middle = square @ gr.mT - gq.mT @ q
        left = records._from_the_right(square, gq + q @ _copied_lower(middle), True)
        return (left if right is None else cat((left, right), -1)), None


@with_out
def qr(A: Tensor, mode: str = "reduced") -> Any:
    """(Q, R) with A = Q R, Q's columns orthonormal and R upper triangular.

    Args:
        mode: 'reduced', 'complete' (Q square), or 'r' (Q is empty, and there is no gradient).

    Shape: A (*, m, n); reduced: Q (*, m, k), R (*, k, n), k = min(m, n).
    """
    check_matrices("linalg.qr", kernel="geqrf_cpu", A=A)
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'"
        )
    if mode == "r":
        if differentiates(A):
            raise RuntimeError(
                "The derivative of linalg.qr depends on Q, which is not computed when mode='r'. Please use "
                "linalg.qr(A, mode='reduced') if you are going to differentiate through linalg.qr."
            )
        with no_grad():
            held, _ = reflections(A)
        return Qr(A.new_empty((0,)), held[..., : min(A.shape[-2:]), :].triu())
    return Qr(*_Qr.apply(A, mode))


@with_out
def householder_product(A: Tensor, tau: Tensor) -> Tensor:
    """The first n columns of H_0 … H_{k-1}, H_j = I - tau_j v_j v_j^T, v_j = (0 … 0, 1, A[j+1:, j]).

    Shape: A (*, m, n) with m >= n, tau (*, k) with k <= n; result (*, m, n). Where a gradient is wanted the
    reflections are applied one by one.
    """
    op = "torch.linalg.householder_product"
    check_matrices(op, kernel="orgqr_cpu", input=A)
    check_tensor(op, tau=tau)
    m, n = A.shape[-2:]
    if m < n:
        raise RuntimeError(f"{op}: input.shape[-2] must be greater than or equal to input.shape[-1]")
    if n < tau.shape[-1]:
        raise RuntimeError(f"{op}: input.shape[-1] must be greater than or equal to tau.shape[-1]")
    if tuple(A.shape[:-2]) != tuple(tau.shape[:-1]):
        raise RuntimeError(
            f"{op}: Expected batch dimensions of tau to be equal to input.shape[:-2], but got {list(tau.shape[:-1])}"
        )
    if tau.dtype is not A.dtype:
        raise RuntimeError(f"{op}: tau dtype {tau.dtype} does not match input dtype {A.dtype}")
    if not differentiates(A, tau):
        return columns(A, tau, n)
    return reflected(A, tau, eye(m, n, dtype=A.dtype, device=A.device).expand(A.shape))
