"""Products, powers and exponentials of matrices, and what else linalg has of products.

Floor 6, part of `linalg`.
"""

from __future__ import annotations

import math
from typing import Any

from .. import dtypes
from ..copies import cat
from ..dtypes import float64
from ..functions.creation import ones
from ..functions.derive import check_tensor, with_out
from ..functions.linear import cross as cross_of
from ..functions.linear import matmul
from ..functions.linear import matrix_power as nonnegative_power
from ..shapes import wrap_dim
from ..tensor import Tensor
from .checks import word
from .norms import identity
from .solve import inv

__all__ = ["cross", "diagonal", "matmul", "matrix_exp", "matrix_power", "multi_dot", "vander", "vecdot"]


@with_out
def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """Vector product along a dim of size 3; the other dims broadcast."""
    check_tensor("linalg.cross", input=input, other=other)
    if input.dim() != other.dim():
        raise RuntimeError(
            "linalg.cross: inputs must have the same number of dimensions."
        )
    wrapped = wrap_dim("linalg.cross", dim, input.dim())
    return cross_of(input, other, dim=wrapped)


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonal of matrices, a view; see `torch.diagonal`."""
    return A.diagonal(offset, dim1, dim2)


@with_out
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """Dot products along a dim; the others broadcast."""
    check_tensor("linalg.vecdot", x=x, y=y)
    if not x.is_floating_point():
        raise RuntimeError(f"linalg.vecdot: Expected a floating point or complex tensor as input. Got {word(x)}")
    return (x * y).sum(dim)


@with_out
def matrix_power(A: Tensor, n: int) -> Tensor:
    """n-th power of square matrices; negative powers are those of the inverse."""
    if n >= 0:
        return nonnegative_power(A, n)
    check_tensor("linalg.matrix_power", A=A)
    return nonnegative_power(inv(A), -n)


def _order(sizes: list[int]) -> list[list[int]]:
    """Where to split each product of matrices i … j (i x i + 1 sizes) for the fewest multiplications.

    Source: Cormen, Leiserson, Rivest and Stein, Introduction to Algorithms, 15.2.
    """
    n = len(sizes) - 1
    cost = [[0] * n for _ in range(n)]
    split = [[0] * n for _ in range(n)]
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            options = [
                (cost[i][s] + cost[s + 1][j] + sizes[i] * sizes[s + 1] * sizes[j + 1], s) for s in range(i, j)
            ]
            cost[i][j], split[i][j] = min(options)
    return split


@with_out
def multi_dot(tensors: Any) -> Tensor:
    """The product of matrices in the order of fewest multiplications; the first and the last may be vectors."""
    given = list(tensors)
    if len(given) < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {len(given)}")
    for i, t in enumerate(given):
        ends = i in (0, len(given) - 1)
        if t.dim() != 2 and not (ends and t.dim() == 1):
            wanted = "1D or 2D" if ends else "2D"
            raise RuntimeError(f"multi_dot(): tensor {i} must be {wanted} but got {t.dim()}D")
        if t.dtype is not given[0].dtype:
            raise RuntimeError(
                "multi_dot(): all tensors must have be the same dtype but tensor 0 is "
                f"{given[0].dtype} and tensor {i} {t.dtype}"
            )
    first, last = given[0].dim() == 1, given[-1].dim() == 1
    if first:
        given[0] = given[0].unsqueeze(0)
    if last:
        given[-1] = given[-1].unsqueeze(-1)
    for i in range(len(given) - 1):
        if given[i].shape[-1] != given[i + 1].shape[0]:
            raise RuntimeError(
                f"multi_dot(): tensors {i} and {i + 1} with shapes {list(given[i].shape)} and "
                f"{list(given[i + 1].shape)} cannot be multiplied"
            )
    split = _order([given[0].shape[0], *(t.shape[1] for t in given)])

    def between(i: int, j: int) -> Tensor:
        return given[i] if i == j else between(i, split[i][j]) @ between(split[i][j] + 1, j)

    found = between(0, len(given) - 1)
    if first:
        found = found.squeeze(0)
    return found.squeeze(-1) if last else found


def vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """Powers 0 … N - 1 of x along a new last dim: Vandermonde's matrix."""
    check_tensor("linalg.vander", x=x)
    x = x if x.dim() else x.unsqueeze(0)
    count = x.shape[-1] if N is None else N
    if count <= 1 and N is not None:
        raise RuntimeError("N must be greater than 1.")
    kind = x.dtype if x.dtype is not dtypes.bool_ else dtypes.int64
    base = x.to(kind) if x.dtype is not kind else x
    base = base if base.is_floating_point() else base.to(dtypes.int64)
    ones_of = ones((*x.shape, 1), dtype=base.dtype, device=x.device)
    if count == 1:
        return ones_of
    powers = base.unsqueeze(-1).expand((*x.shape, count - 1)).cumprod(-1)
    return cat((ones_of, powers), -1)


_STEPS = {True: 18, False: 12}  # terms of the series for float64 and for less, at norm 1/2


@with_out
def matrix_exp(A: Tensor) -> Tensor:
    """exp(A) = sum of A^k / k!, by scaling to a norm of at most 1/2, the series, and squaring.

    Source: Moler and Van Loan, Nineteen dubious ways to compute the exponential of a matrix, 2003, method 3.
    """
    op = "linalg.matrix_exp"
    check_tensor(op, A=A)
    if A.dim() < 2:
        raise RuntimeError(f"{op}: The input tensor A must have at least 2 dimensions.")
    if not A.is_floating_point():
        raise RuntimeError(f"{op}: Expected a floating point or complex tensor as input. Got {word(A)}")
    if A.shape[-1] != A.shape[-2]:
        m, n = A.shape[-2:]
        raise RuntimeError(f"{op}: A must be batches of square matrices, but they are {m} by {n} matrices")
    if not A.numel():
        return A.clone()
    largest = float(A.detach().abs().sum(-2).amax())
    if not math.isfinite(largest):
        return A * math.nan
    halvings = max(0, math.ceil(math.log2(largest)) + 1) if largest > 0 else 0
    small = A * 2.0**-halvings
    same = identity(A)
    found = same
    for k in range(_STEPS[A.dtype is float64], 0, -1):
        found = same + small @ found / k
    for _ in range(halvings):
        found = found @ found
    return found

