"""Systems, inverses and determinants from LU; pseudo-inverses and least squares from the singular values.

Floor 6, part of `linalg`.
"""

from __future__ import annotations

from math import prod
from typing import Any

from .. import dtypes
from ..autograd.function import Function
from ..autograd.modes import no_grad
from ..functions.creation import arange, eye
from ..functions.derive import check_tensor, with_out
from ..functions.nodes import give_backward
from ..tensor import Tensor
from .checks import (
    check_info,
    check_matrices,
    fitting_sides,
    is_vector_side,
    returned,
    same_batch,
    same_dtype,
)
from .factor import factored, solved
from .spectral import eigh, svd

__all__ = [
    "det",
    "inv",
    "inv_ex",
    "lstsq",
    "pinv",
    "slogdet",
    "solve",
    "solve_ex",
    "tensorinv",
    "tensorsolve",
]

InvEx, SolveEx = returned("linalg_inv_ex", "inverse info"), returned("linalg_solve_ex", "result info")
Slogdet = returned("linalg_slogdet", "sign logabsdet")
Lstsq = returned("linalg_lstsq", "solution residuals rank singular_values")


# ---- systems


def _systems(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """X and info of A X = B, equal batches, differentiable."""
    with no_grad():
        lu, pivots, info = factored(a)
        x = solved(lu, pivots, b)

    def backward(g: Tensor, a: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        right = _systems(a.mT, g)[0]
        return -(right @ x.mT), right

    return give_backward("LinalgSolveExBackward0", (a, b), x, backward, (a,), keep_out=True), info


@with_out
def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> Any:
    """(X, info) of A X = B without an error where A is singular (unless `check_errors`)."""
    op = "linalg.solve"
    check_matrices(op, square=True, A=A)
    check_tensor(op, B=B)
    same_dtype(op, A, B)
    vector = is_vector_side(A, B)
    if vector and not left:
        raise RuntimeError("linalg.solve: Vector broadcasting of the left hand side is not supported for left=False")
    sides = B.unsqueeze(-1) if vector else B
    if sides.dim() < 2:
        raise RuntimeError(f"{op}: The input tensor B must have at least 2 dimensions.")
    fitting_sides(op, A, sides, left)
    a, sides = same_batch(op, A if left else A.mT, sides if left else sides.mT)
    x, info = _systems(a, sides)
    if check_errors:
        check_info("torch.linalg.solve", info, "The solver failed because the input matrix is singular.")
    x = x if left else x.mT
    return SolveEx(x.squeeze(-1) if vector else x, info)


@with_out
def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X of A X = B (X A = B if not `left`), by LU with partial pivoting.

    Shape: A (*, n, n); B (*, n, k), or (n) or (*, n) for vectors; batch dims broadcast. **Dtypes** float32, float64.

    Raises:
        LinAlgError: A is singular.

    >>> cltorch.linalg.solve(cltorch.tensor([[2.0, 0.0], [0.0, 4.0]]), cltorch.tensor([2.0, 2.0]))
    tensor([1.0000, 0.5000])
    """
    x, info = solve_ex(A, B, left=left)
    check_info("torch.linalg.solve", info, "The solver failed because the input matrix is singular.")
    return x


def _inverse(a: Tensor) -> tuple[Tensor, Tensor]:
    """A^-1 and info, differentiable."""
    n = a.shape[-1]
    with no_grad():
        lu, pivots, info = factored(a)
        x = solved(lu, pivots, eye(n, dtype=a.dtype, device=a.device).expand(a.shape))

    def backward(g: Tensor, x: Tensor) -> Tensor:
        return -(x.mT @ g @ x.mT)

    return give_backward("LinalgInvExBackward0", (a,), x, backward, (), keep_out=True), info


_SINGULAR = (
    "The diagonal element {} is zero, the inversion could not be completed because the input matrix is singular."
)


@with_out
def inv_ex(A: Tensor, *, check_errors: bool = False) -> Any:
    """(A^-1, info) without an error where A is singular (unless `check_errors`)."""
    check_matrices("linalg.inv", square=True, A=A)
    x, info = _inverse(A)
    if check_errors:
        check_info("linalg.inv_ex", info, _SINGULAR)
    return InvEx(x, info)


@with_out
def inv(A: Tensor) -> Tensor:
    """A^-1 of (*, n, n). Raises LinAlgError where A is singular."""
    check_matrices("linalg.inv", square=True, A=A)
    x, info = _inverse(A)
    check_info("linalg.inv", info, _SINGULAR)
    return x


# ---- determinants


def _diagonal_and_sign(a: Tensor) -> tuple[Tensor, Tensor]:
    """The diagonal of U and the sign of P of P A = L U."""
    lu, pivots, _ = factored(a)
    n = a.shape[-1]
    swaps = (pivots != arange(1, n + 1, dtype=dtypes.int32, device=a.device)).sum(-1)
    sign = 1 - 2 * (swaps % 2)
    return lu.diagonal(0, -2, -1), sign.to(a.dtype)


def _cofactors(a: Tensor, det: Tensor) -> Tensor:
    """The matrix of cofactors, det(A) A^-T, also where A is singular: there by the singular values."""
    if not a.numel():
        return a
    if bool((det != 0).all()):
        return _inverse(a)[0].mT * det[..., None, None]
    u, s, vh = svd(a, full_matrices=False)
    n = s.shape[-1]
    others = s.unsqueeze(-2).expand((*s.shape[:-1], n, n))
    others = others.masked_fill(eye(n, dtype=dtypes.bool_, device=a.device), 1.0).prod(-1)
    with no_grad():  # the determinants of orthogonal matrices are 1 or -1
        sign = (det_value(u) * det_value(vh)).round()
    return (u * others.unsqueeze(-2)) @ vh * sign[..., None, None]


def det_value(a: Tensor) -> Tensor:
    """The determinant, not differentiable."""
    with no_grad():
        diagonal, sign = _diagonal_and_sign(a)
        return diagonal.prod(-1) * sign


@with_out
def det(A: Tensor) -> Tensor:
    """The determinant of (*, n, n), shape (*). The gradient is right for singular matrices too."""
    check_matrices("linalg.det", square=True, kernel="lu_cpu", A=A)

    def backward(g: Tensor, a: Tensor, found: Tensor) -> Tensor:
        return g[..., None, None] * _cofactors(a, found)

    return give_backward("LinalgDetBackward0", (A,), det_value(A), backward, (A,), keep_out=True)


class _Slogdet(Function):
    """Sign, which is constant almost everywhere, and logarithm of the determinant."""

    @staticmethod
    def forward(ctx: Any, a: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(a)
        diagonal, sign = _diagonal_and_sign(a)
        return diagonal.sign().prod(-1) * sign, diagonal.abs().log().sum(-1)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (a,) = ctx.saved_tensors
        return grads[1][..., None, None] * _inverse(a)[0].mT


@with_out
def slogdet(A: Tensor) -> Any:
    """(sign, logarithm of |det A|) of (*, n, n); (0, -inf) where A is singular."""
    check_matrices("linalg.slogdet", square=True, A=A)
    return Slogdet(*_Slogdet.apply(A))


# ---- pseudo-inverse and least squares


def tolerance(a: Tensor, largest: Tensor, atol: Any, rtol: Any) -> Tensor:
    """Below which a singular value counts as 0: max(atol, rtol * largest); rtol's default is max(m, n) eps."""
    if rtol is None:
        given = isinstance(atol, Tensor) or atol is not None and atol > 0
        default = max(a.shape[-2:]) * dtypes.finfo(a.dtype).eps
        rtol = 0.0 if given and not isinstance(atol, Tensor) else default
        if isinstance(atol, Tensor):
            rtol = (atol <= 0).to(a.dtype) * default
    low = largest * rtol
    if atol is None:
        return low
    if isinstance(atol, Tensor):
        return low.maximum(atol.to(a.dtype))
    return low.clamp(min=float(atol))


@with_out
def pinv(A: Tensor, *, atol: Any = None, rtol: Any = None, hermitian: bool = False) -> Tensor:
    """The Moore-Penrose inverse (*, n, m) of (*, m, n); singular values below max(atol, rtol * largest) count as 0.

    Source: the backward is Golub and Pereyra's, The differentiation of pseudo-inverses, 1973.
    """
    check_matrices("linalg.pinv", square=hermitian, kernel="linalg_svd_cpu", A=A)
    if not A.numel():
        return A.new_zeros((*A.shape[:-2], A.shape[-1], A.shape[-2])) + A.sum() * 0
    with no_grad():
        if hermitian:
            values, vectors = eigh(A)
            size = values.abs()
            low = tolerance(A, size.amax(-1), atol, rtol).unsqueeze(-1)
            inverse = (1 / values).where(size > low, 0.0)
            out = (vectors * inverse.unsqueeze(-2)) @ vectors.mT
        else:
            u, s, vh = svd(A, full_matrices=False)
            low = tolerance(A, s[..., 0], atol, rtol).unsqueeze(-1)
            out = (vh.mT * (1 / s).where(s > low, 0.0).unsqueeze(-2)) @ u.mT

    def backward(g: Tensor, a: Tensor, p: Tensor) -> Tensor:
        turned = g.mT
        outside = turned - a @ (p @ turned)  # (I - A P) g^T
        inside = turned - (turned @ p) @ a  # g^T (I - P A)
        return -(p.mT @ g @ p.mT) + outside @ p @ p.mT + p.mT @ p @ inside

    return give_backward("LinalgPinvBackward0", (A,), out, backward, (A,), keep_out=True)


@with_out
def lstsq(A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None) -> Any:
    """(solution, residuals, rank, singular_values) of min |A X - B|, the shortest X where there are several.

    Shape: A (*, m, n), B (*, m, k) or (*, m); solution (*, n, k); residuals (*, k) where m > n and A's rank is full,
    else empty. `driver` is accepted ('gels', 'gelsy', 'gelsd', 'gelss'); all are computed from the singular values.
    """
    op = "torch.linalg.lstsq"
    check_tensor(op, input=A, other=B)
    if A.dim() < 2:
        raise RuntimeError(f"{op}: input must have at least 2 dimensions.")
    if B.dim() < 1:
        raise RuntimeError(f"{op}: other must have at least 1 dimension.")
    check_matrices(op, kernel="linalg_lstsq_cpu", A=A)
    if A.dtype is not B.dtype:
        raise RuntimeError(f"{op}: input and other must have the same dtype")
    if driver not in (None, "gels", "gelsy", "gelsd", "gelss"):
        raise RuntimeError(
            f"{op}: parameter `driver` should be one of (gels, gelsy, gelsd, gelss), but got {driver}"
        )
    vector = A.dim() - 1 == B.dim() and tuple(A.shape[:-1]) == tuple(B.shape)
    sides = B.unsqueeze(-1) if vector else B
    if sides.dim() < 2 or sides.shape[-2] != A.shape[-2]:
        raise RuntimeError(f"{op}: input.size(-2) should match other.size(-2)")
    a, sides = same_batch(op, A, sides)
    m, n = a.shape[-2:]
    limit = max(m, n) * dtypes.finfo(A.dtype).eps if rcond is None or rcond < 0 else float(rcond)
    solution = pinv(a, rtol=limit) @ sides
    with no_grad():
        values = svd(a, full_matrices=False)[1]
        rank = (values > values[..., :1] * limit).sum(-1) if min(m, n) else values.sum(-1).to(dtypes.int64)
        full = bool((rank == n).all()) if rank.numel() else True
    residuals = a.new_empty((0,))
    if m > n and (driver == "gels" or full) and driver != "gelsy":
        residuals = (a @ solution - sides).pow(2).sum(-2)
    given = driver or "gelsy"
    found = values if given in ("gelsd", "gelss") else a.new_empty((0,))
    ranks = rank if given != "gels" else a.new_empty((0,), dtype=dtypes.int64)
    return Lstsq(solution.squeeze(-1) if vector else solution, residuals, ranks, found)


# ---- tensors as matrices


@with_out
def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse of A as a map from its last dims to its first `ind` ones."""
    check_tensor("tensorinv", A=A)
    if ind <= 0:
        raise RuntimeError("Expected a strictly positive integer for 'ind'")
    first, last = tuple(A.shape[:ind]), tuple(A.shape[ind:])
    if prod(first) != prod(last):
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), but got "
            f"{prod(last)} != {prod(first)}"
        )
    return inv(A.reshape(prod(first), prod(last))).reshape((*last, *first))


@with_out
def tensorsolve(A: Tensor, B: Tensor, dims: Any = None) -> Tensor:
    """X of tensordot(A, X, dims=X.dim()) = B; `dims` of A are moved to its end first."""
    check_tensor("tensorsolve", A=A, B=B)
    a = A
    if dims is not None:
        wanted = [d % A.dim() for d in dims]
        a = A.movedim(wanted, list(range(A.dim() - len(wanted), A.dim())))
    last = tuple(a.shape[B.dim() :])
    if prod(last) != prod(a.shape[: B.dim()]):
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == prod(self.shape[:other.ndim]), "
            f"but got {prod(last)} != {prod(a.shape[: B.dim()])}"
        )
    n = prod(last)
    return solve(a.reshape(prod(a.shape[: B.dim()]), n), B.reshape(-1)).reshape(last)
