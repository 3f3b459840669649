"""Records of the factorizations of matrices: LU, Cholesky, triangular systems, Householder reflections.

Floor 2. Operands are contiguous batches of matrices of float32 or float64. Users meet these through `cltorch.linalg`,
which checks arguments with PyTorch's texts, broadcasts, and reads `info`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..codegen import factorization as lowering
from ..dtypes import DType, float32, float64, int32, int64
from ..shapes import Layout
from .table import CUSTOM, Op, register

Result = tuple[tuple[DType, tuple[int, ...]], ...]

_FACTOR: dict[str, Any] = {
    "kind": CUSTOM, "inplace": False, "function": False, "promote": "none", "categories": "f",
}  # fmt: skip


def _matrices(op: str, x: Layout) -> tuple[int, ...]:
    if x.dtype not in (float32, float64):
        raise NotImplementedError(f'"{op}" not implemented for {x.dtype}: wanted float32 or float64')
    return x.shape


def _infer_lu(layouts: tuple[Layout, ...], attrs: tuple) -> Result:
    *batch, m, n = _matrices("lu", layouts[0])
    return (layouts[0].dtype, layouts[0].shape), (int32, (*batch, min(m, n))), (int32, tuple(batch))


def _infer_cholesky(layouts: tuple[Layout, ...], attrs: tuple) -> Result:
    *batch, _, _ = _matrices("cholesky", layouts[0])
    return (layouts[0].dtype, layouts[0].shape), (int32, tuple(batch))


def _infer_triangular(layouts: tuple[Layout, ...], attrs: tuple) -> Result:
    _matrices("triangular_solve", layouts[0])
    return ((layouts[1].dtype, layouts[1].shape),)


def _infer_householder(layouts: tuple[Layout, ...], attrs: tuple) -> Result:
    *batch, m, n = _matrices("geqrf", layouts[0])
    return (layouts[0].dtype, layouts[0].shape), (layouts[0].dtype, (*batch, min(m, n)))


def _infer_reflections(layouts: tuple[Layout, ...], attrs: tuple) -> Result:
    *batch, m, _ = _matrices("orgqr", layouts[0])
    return ((layouts[0].dtype, (*batch, m, attrs[0])),)


def _infer_order(layouts: tuple[Layout, ...], attrs: tuple) -> Result:
    return ((int64, (*layouts[0].shape[:-1], attrs[0])),)


# ---- gradients


# transpose(-2, -1), not mT: a property of a Probe would be taken for a method


def solve(t: Any, b: Any, upper: bool, transposed: bool = False, unit: bool = False) -> Any:
    """X of T X = B, or of T^T X = B, for operands of any strides and equal batches."""
    return t.contiguous()._triangular_solve(b.contiguous(), upper, transposed, unit)


def _from_the_right(t: Any, b: Any, upper: bool, unit: bool = False) -> Any:
    """X of X T^T = B."""
    return solve(t, b.transpose(-2, -1), upper, False, unit).transpose(-2, -1)


def _lu_grad(ctx: Any, g: Any, _pivots: Any = None, _info: Any = None) -> tuple:
    """With P^T A = L U and M = L^-1 P^T dA U^-1 (of the leading square): dL = L tril(M, -1), dU = triu(M) U; what is
    to the right of the square, or below it, follows by the product rule.
    """
    m, n = ctx.shapes[0][-2:]
    k = min(m, n)
    if 0 in ctx.shapes[0]:
        return (g,)
    lu, pivots, _ = ctx.out
    square, lower, upper = lu[..., :k, :k], g.tril(-1), g.triu()
    l, u = square.tril(-1) + lu.new_ones((k,)).diag_embed(), square.triu()
    inner_l, inner_u = l.transpose(-2, -1) @ lower[..., :k, :k], upper[..., :k, :k] @ u.transpose(-2, -1)
    right = below = None
    if n > k:
        right = upper[..., :, k:]
        inner_l = inner_l - right @ lu[..., :, k:].transpose(-2, -1)
        right = solve(lu[..., :, :k], right, False, True, True)
    if m > k:
        below = lower[..., k:, :]
        inner_u = inner_u - lu[..., k:, :].transpose(-2, -1) @ below
        below = _from_the_right(u, below, True)
    middle = inner_l.tril(-1) + inner_u.triu()
    found = _from_the_right(u, solve(l, middle, False, True, True), True)
    if right is not None:
        found = _cat(found, right, -1)
    if below is not None:
        found = _cat(found, below, -2)
    order = pivots._row_order(m)
    return (found.new_zeros(found.shape).scatter(-2, order.unsqueeze(-1).expand(found.shape), found),)


def _cat(a: Any, b: Any, dim: int) -> Any:
    """Two blocks side by side, with methods only."""
    size = [*a.shape]
    size[dim] += b.shape[dim]
    start = a.shape[dim]
    return (
        a.new_zeros(size)
        .slice_scatter(a, dim, 0, start)
        .slice_scatter(b, dim, start, size[dim])
    )  # fmt: skip


def _cholesky_grad(ctx: Any, g: Any, _info: Any = None) -> tuple:
    """L^-T Phi(L^T g) L^-1, made symmetric; Phi takes the lower triangle and half of the diagonal.

    Source: Murray, Differentiation of the Cholesky decomposition, 2016.
    """
    l = ctx.out[0]
    inner = (l.transpose(-2, -1) @ g.tril()).tril()
    inner = inner - inner.tril().triu() / 2
    half = solve(l, solve(l, inner, False, True).transpose(-2, -1), False, True).transpose(-2, -1)
    return ((half + half.transpose(-2, -1)) / 2,)


def _triangular_grad(ctx: Any, g: Any) -> tuple:
    """dB = T^-T g and dT = -dB X^T, of which T's triangle counts."""
    upper, transposed, unit = ctx.attrs
    t, x = ctx.inputs[0], ctx.out
    right = solve(t, g, upper, not transposed, unit)
    if not ctx.needs[0]:
        return None, right
    left = -(right @ x.transpose(-2, -1))
    left = left.transpose(-2, -1) if transposed else left
    edge = int(unit)
    return left.triu(edge) if upper else left.tril(-edge), right


# ---- references


def _each(x: np.ndarray, *shapes: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    return tuple(np.zeros((*x.shape[:-2], *shape), x.dtype) for shape in shapes)


def lu_reference(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Elimination, row by row."""
    m, n = x.shape[-2:]
    lu, pivots, info = x.copy(), np.zeros((*x.shape[:-2], min(m, n)), np.int32), np.zeros(x.shape[:-2], np.int32)
    for at in np.ndindex(*x.shape[:-2]):
        a = lu[at]
        for j in range(min(m, n)):
            p = j + int(np.argmax(abs(a[j:, j])))
            pivots[at][j] = p + 1
            a[[j, p]] = a[[p, j]]
            if a[j, j] == 0:
                info[at] = info[at] or j + 1
                continue
            a[j + 1 :, j] /= a[j, j]
            a[j + 1 :, j + 1 :] -= np.outer(a[j + 1 :, j], a[j, j + 1 :])
    return lu, pivots, info


def cholesky_reference(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """np.linalg.cholesky of positive definite matrices."""
    return np.linalg.cholesky(x), np.zeros(x.shape[:-2], np.int32)


def triangular_reference(t: np.ndarray, b: np.ndarray, upper: bool, transposed: bool, unit: bool) -> np.ndarray:
    """np.linalg.solve of the triangle."""
    full = np.triu(t) if upper else np.tril(t)
    if unit:
        full = full - full * np.eye(t.shape[-1]) + np.eye(t.shape[-1])
    return np.linalg.solve(np.swapaxes(full, -1, -2) if transposed else full, b)


def householder_reference(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """LAPACK's geqrf, by np.linalg.qr."""
    raw, tau = np.linalg.qr(x, mode="raw")
    return np.swapaxes(raw, -1, -2), tau


def reflections_reference(x: np.ndarray, tau: np.ndarray, columns: int) -> np.ndarray:
    """The product of I - tau v v^T, one after the other."""
    m = x.shape[-2]
    out = np.zeros((*x.shape[:-2], m, columns), x.dtype)
    for at in np.ndindex(*x.shape[:-2]):
        product = np.eye(m)
        for j in range(tau.shape[-1]):
            v = np.concatenate([np.zeros(j), [1.0], x[at][j + 1 :, j]])
            product = product @ (np.eye(m) - tau[at][j] * np.outer(v, v))
        out[at] = product[:, :columns]
    return out


def order_reference(pivots: np.ndarray, m: int) -> np.ndarray:
    """The swaps, one after the other."""
    out = np.broadcast_to(np.arange(m), (*pivots.shape[:-1], m)).copy()
    for at in np.ndindex(*pivots.shape[:-1]):
        for j, p in enumerate(pivots[at]):
            out[at][[j, p - 1]] = out[at][[p - 1, j]]
    return out


# ---- the records

LU = register(
    Op(
        "_lu", **_FACTOR, method=False, infer=_infer_lu, lower=lowering.lower_lu, grad=_lu_grad, saves=("out",),
        reference=lu_reference,
        doc="L (below the diagonal, ones on it) and U of P A = L U in one matrix; pivots; info: first zero pivot or 0.",
        source="Golub and Van Loan, Matrix Computations, 3.4",
    )
)  # fmt: skip
CHOLESKY = register(
    Op(
        "_cholesky", **_FACTOR, method=False, infer=_infer_cholesky, lower=lowering.lower_cholesky,
        grad=_cholesky_grad, saves=("out",), reference=cholesky_reference,
        doc="L of A = L L^T from A's lower triangle; info: order of the first minor that is not positive, or 0.",
        source="Golub and Van Loan, Matrix Computations, 4.2",
    )
)  # fmt: skip
TRIANGULAR = register(
    Op(
        "_triangular_solve", **_FACTOR, arity=2, infer=_infer_triangular, lower=lowering.lower_triangular,
        grad=_triangular_grad, saves=(0, "out"), reference=triangular_reference,
        doc="X of T X = B. Attributes: upper, transposed (T^T X = B), unit (T's diagonal counts as ones).",
        source="Golub and Van Loan, Matrix Computations, 3.1",
    )
)  # fmt: skip
HOUSEHOLDER = register(
    Op(
        "_householder", **_FACTOR, method=False, infer=_infer_householder, lower=lowering.lower_householder,
        why="the derivative of qr is written in Q and R", reference=householder_reference,
        doc="R on and above the diagonal, below it the reflections whose product is Q, and their factors tau.",
        source="Golub and Van Loan, Matrix Computations, 5.2",
    )
)  # fmt: skip
REFLECTIONS = register(
    Op(
        "_reflections", **_FACTOR, method=False, arity=2, infer=_infer_reflections, lower=lowering.lower_reflections,
        why="linalg.householder_product applies the reflections one by one where a gradient is wanted",
        reference=reflections_reference,
        doc="The first columns of the product of reflections. Attribute: how many columns.",
        source="Golub and Van Loan, Matrix Computations, 5.1",
    )
)  # fmt: skip
ORDER = register(
    Op(
        "_row_order", kind=CUSTOM, inplace=False, function=False, promote="none", categories="i",
        infer=_infer_order, lower=lowering.lower_permutation, why="integers", reference=order_reference,
        doc="Which row of A became row i by the swaps of pivots. Attribute: rows of A.",
    )
)  # fmt: skip
