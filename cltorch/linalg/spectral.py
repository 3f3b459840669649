"""Eigenvalues and singular values: LAPACK on the host, through NumPy; gradients on the device.

Floor 6, part of `linalg`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.function import Function
from ..errors import LinAlgError
from ..functions.creation import eye
from ..functions.derive import with_out
from ..tensor import Tensor, from_array
from .checks import check_matrices, returned

__all__ = ["eig", "eigh", "eigvals", "eigvalsh", "svd", "svdvals"]

Eigh, Svd = returned("linalg_eigh", "eigenvalues eigenvectors"), returned("linalg_svd", "U S Vh")


def _host(op: str, function: Any, a: Tensor, **named: Any) -> tuple[Tensor, ...]:
    """`function` of NumPy on a tensor's values; results on the tensor's device."""
    values = a.detach().cpu().numpy()
    try:
        found = function(values, **named)
    except np.linalg.LinAlgError:
        raise LinAlgError(
            f"{op}: The algorithm failed to converge because the input matrix is ill-conditioned or has too many "
            "repeated singular values or eigenvalues, or contains non-finite values."
        ) from None
    parts = found if isinstance(found, tuple) else (found,)
    return tuple(from_array(np.ascontiguousarray(part), device=a.device) for part in parts)


def _differences(x: Tensor) -> Tensor:
    """x_j - x_i at (i, j), and 1 on the diagonal."""
    n = x.shape[-1]
    apart = x.unsqueeze(-2) - x.unsqueeze(-1)
    return apart.masked_fill(eye(n, dtype=dtypes.bool_, device=x.device), 1.0)


class _Eigh(Function):
    """Eigenvalues and eigenvectors of one triangle; the gradient is spread over both."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, triangle: str) -> tuple[Tensor, ...]:
        values, vectors = _host("linalg.eigh", np.linalg.eigh, a, UPLO=triangle)
        ctx.save_for_backward(values, vectors)
        return values, vectors

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        g_values, g_vectors = grads
        values, vectors = ctx.saved_tensors
        inner = (vectors.mT @ g_vectors) / _differences(values)
        n = values.shape[-1]
        inner = inner.masked_fill(eye(n, dtype=dtypes.bool_, device=values.device), 0.0) + g_values.diag_embed()
        whole = vectors @ inner @ vectors.mT
        return (whole + whole.mT) / 2, None


def _triangle(op: str, a: Tensor, UPLO: str) -> str:
    """Checks both arguments of the symmetric functions; 'L' or 'U'."""
    if str(UPLO).upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    check_matrices(op, square=True, kernel="linalg_eigh_cpu", A=a)
    return str(UPLO).upper()


@with_out
def eigh(A: Tensor, UPLO: str = "L") -> Any:
    """(eigenvalues, eigenvectors) of symmetric matrices, in ascending order; one triangle is read.

    Shape: A (*, n, n); eigenvalues (*, n), eigenvectors (*, n, n), in columns. Computed on the host by LAPACK.

    >>> cltorch.linalg.eigh(cltorch.tensor([[2.0, 0.0], [0.0, 1.0]])).eigenvalues
    tensor([1., 2.])
    """
    return Eigh(*_Eigh.apply(A, _triangle("linalg.eigh", A, UPLO)))


@with_out
def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """Eigenvalues of symmetric matrices in ascending order (*, n). Computed on the host by LAPACK."""
    return _Eigh.apply(A, _triangle("linalg.eigvalsh", A, UPLO))[0]


def eig(A: Tensor) -> Any:
    """Eigenvalues of general matrices are complex numbers, which do not exist here yet."""
    raise NotImplementedError("linalg.eig: its results are complex; complex dtypes are not implemented yet")


def eigvals(A: Tensor) -> Any:
    """Eigenvalues of general matrices are complex numbers, which do not exist here yet."""
    raise NotImplementedError("linalg.eigvals: its results are complex; complex dtypes are not implemented yet")


def _skew(x: Tensor) -> Tensor:
    return x - x.mT


class _Svd(Function):
    """U, S and V^T; backward by Townsend, Differentiating the singular value decomposition, 2016."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, full: bool) -> tuple[Tensor, ...]:
        if a.numel():
            u, s, vh = _host("linalg.svd", np.linalg.svd, a, full_matrices=full)
        else:
            m, n = a.shape[-2:]
            k, batch = min(m, n), tuple(a.shape[:-2])
            made = eye(m, m if full else k, dtype=a.dtype, device=a.device)
            u = made.expand((*batch, *made.shape)).clone()
            made = eye(n if full else k, n, dtype=a.dtype, device=a.device)
            vh = made.expand((*batch, *made.shape)).clone()
            s = a.new_empty((*batch, k))
        ctx.save_for_backward(u, s, vh)
        return u, s, vh

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, None]:
        gu, gs, gvh = grads
        u, s, vh = ctx.saved_tensors
        k = s.shape[-1]
        m, n = u.shape[-2], vh.shape[-1]
        if not k or not s.numel():
            return s.new_zeros((*s.shape[:-1], m, n)), None
        if u.shape[-1] > k or vh.shape[-2] > k:  # what the matrix does not determine has no gradient
            u, gu, vh, gvh = u[..., :k], gu[..., :k], vh[..., :k, :], gvh[..., :k, :]
        apart = _differences(s * s)
        row, column = s.unsqueeze(-2), s.unsqueeze(-1)
        of_u = u.mT @ gu
        of_v = vh @ gvh.mT
        middle = _skew(of_u) / apart * row + column * (_skew(of_v) / apart) + gs.diag_embed()
        if m > k:
            left = u @ middle + (gu - u @ of_u) / row
        else:
            left = u @ middle
        found = left @ vh
        if n > k:
            found = found + (u / row) @ (gvh - of_v.mT @ vh)
        return found, None


@with_out
def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> Any:
    """(U, S, Vh) of A = U diag(S) Vh, singular values in descending order. Computed on the host by LAPACK.

    Shape: A (*, m, n); U (*, m, m) and Vh (*, n, n), or (*, m, k) and (*, k, n) if not `full_matrices`; S (*, k).
    """
    check_matrices("linalg.svd", kernel="linalg_svd_cpu", A=A)
    if driver is not None:
        raise RuntimeError(
            "torch.linalg.svd: keyword argument `driver=` is only supported on CUDA inputs with cuSOLVER"
        )
    return Svd(*_Svd.apply(A, bool(full_matrices)))


@with_out
def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """Singular values (*, k) in descending order. Computed on the host by LAPACK."""
    return svd(A, False, driver=driver).S
