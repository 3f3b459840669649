"""Products of vectors and matrices: the matmul family, einsum, linear layers.

Floor 6. Everything ends in one contraction record, `_matmul` over equal batch dims; bias and scaling around it fuse
as its epilogue.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from .. import dtypes, fast
from ..autograd.probe import MISSING, Probe
from ..dispatch import apply, cast
from ..dtypes import BOOL, FLOAT
from ..ops import contraction
from ..ops import pointwise as records
from ..shapes import broadcast
from ..tensor import Tensor
from .derive import check_tensor, in_place, with_out
from .nodes import give_backward

__all__ = [
    "mm",
    "_int_mm",
    "bmm",
    "matmul",
    "addmm",
    "baddbmm",
    "addbmm",
    "addmv",
    "addr",
    "mv",
    "dot",
    "vdot",
    "outer",
    "ger",
    "inner",
    "kron",
    "tensordot",
    "einsum",
    "linear",
    "bilinear",
    "chain_matmul",
    "cross",
    "matrix_power",
    "trace",
    "conv2d",
    "cdist",
]


_MATMUL = fast.binary(contraction.MATMUL)
_INT_MATMUL = fast.binary(contraction.INT_MATMUL)


def product(a: Tensor, b: Tensor) -> Tensor:
    """The recorded product of matrices with equal batch dims; bools are no numbers here."""
    if a._layout.dtype.category == BOOL:
        raise RuntimeError("\"addmm_impl_cpu_\" not implemented for 'Bool'")
    return _MATMUL(a, b)


def _same_dtype(op: str, a: Tensor, b: Tensor) -> None:
    if a._layout.dtype is not b._layout.dtype:
        raise RuntimeError(f"{op}: expected m1 and m2 to have the same dtype, but got: {_word(a)} != {_word(b)}")


def _word(x: Tensor) -> str:
    return {
        "float32": "float",
        "float64": "double",
        "float16": "c10::Half",
        "bfloat16": "c10::BFloat16",
        "int64": "long long",
        "int32": "int",
    }.get(x.dtype.name, x.dtype.name)


# ---- products of given rank


@with_out
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """Product of two matrices.

    **Raises** RuntimeError for other ranks and for shapes that do not fit.
    """
    check_tensor("mm", input=input, mat2=mat2)
    if input.dim() != 2:
        raise RuntimeError(f"self must be a matrix, got {input.dim()} dimensions")
    if mat2.dim() != 2:
        raise RuntimeError(f"mat2 must be a matrix, got {mat2.dim()} dimensions")
    return product(input, mat2)


@with_out
def _int_mm(input: Tensor, mat2: Tensor) -> Tensor:
    """Product of 8-bit integer matrices, summed in 32 bits: the product of quantised networks.

    Shape: input (m, k) int8 or uint8, mat2 (k, n) int8; result (m, n) int32.

    Raises:
        RuntimeError: other ranks, sizes or dtypes.

    >>> cltorch._int_mm(cltorch.full((1, 3), 100, dtype=cltorch.int8), cltorch.full((3, 1), -100, dtype=cltorch.int8))
    tensor([[-30000]], dtype=cltorch.int32)
    """
    check_tensor("_int_mm", input=input, mat2=mat2)
    for name, given in (("self", input), ("mat2", mat2)):
        if given.dim() != 2:
            raise RuntimeError(f"_int_mm: {name}: expected to be a matrix, got {given.dim()} dimensions")
    if input.shape[1] != mat2.shape[0]:
        raise RuntimeError(
            f"_int_mm: self.size(1) needs to match mat2.size(0) but got {input.shape[1]} and {mat2.shape[0]}"
        )
    if input.dtype not in (dtypes.int8, dtypes.uint8):
        raise RuntimeError(f"_int_mm: Expected self dtype to be int8 or uint8 but got {input.dtype}")
    if mat2.dtype is not dtypes.int8:
        raise RuntimeError(f"_int_mm: Expected mat2 dtype to be of type int8 but got {mat2.dtype}")
    return _INT_MATMUL(input, mat2)


@with_out
def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """Products of two batches of matrices: (b, m, k) and (b, k, n)."""
    check_tensor("bmm", input=input, mat2=mat2)
    if input.dim() != 3:
        raise RuntimeError("batch1 must be a 3D tensor")
    if mat2.dim() != 3:
        raise RuntimeError("batch2 must be a 3D tensor")
    if input.shape[0] != mat2.shape[0] or input.shape[2] != mat2.shape[1]:
        raise RuntimeError(
            f"Expected size for first two dimensions of batch2 tensor to be: [{input.shape[0]}, {input.shape[2]}] "
            "but got: "
            f"[{mat2.shape[0]}, {mat2.shape[1]}]."
        )
    _same_dtype("bmm", input, mat2)
    return product(input, mat2)


@with_out
def mv(input: Tensor, vec: Tensor) -> Tensor:
    """Product of a matrix and a vector."""
    check_tensor("mv", input=input, vec=vec)
    if input.dim() != 2 or vec.dim() != 1:
        raise RuntimeError(f"vector + matrix @ vector expected, got {input.dim()}, {vec.dim()}")
    if input.shape[1] != vec.shape[0]:
        raise RuntimeError(
            f"size mismatch, got input ({input.shape[0]}), mat ({input.shape[0]}x{input.shape[1]}), vec "
            f"({vec.shape[0]})"
        )
    return product(input, vec.unsqueeze(1)).squeeze(1)


@with_out
def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """Sum of the products of two vectors."""
    check_tensor("dot", input=input, tensor=tensor)
    if input.dim() != 1 or tensor.dim() != 1:
        raise RuntimeError(f"1D tensors expected, but got {input.dim()}D and {tensor.dim()}D tensors")
    if input.dtype is not tensor.dtype:
        raise RuntimeError(
            f"dot : expected both vectors to have same dtype, but found {_word(input)} and {_word(tensor)}"
        )
    if input.shape != tensor.shape:
        raise RuntimeError(
            "inconsistent tensor size, expected tensor [{}] and src [{}] to have the same number of elements, but "
            "got {} and {} elements "
            "respectively".format(*input.shape, *tensor.shape, *input.shape, *tensor.shape)
        )
    return cast((input * tensor).sum(), input.dtype)


vdot = dot


@with_out
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """Products of all elements of two vectors, as a matrix."""
    check_tensor("outer", input=input, vec2=vec2)
    if input.dim() != 1 or vec2.dim() != 1:
        raise RuntimeError(f"outer: Expected 1-D arguments self and vec2, but got {input.dim()}-D and {vec2.dim()}-D")
    return input.unsqueeze(1) * vec2


ger = outer


@with_out
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """Product over the last dim of `input` and the last but one of `other`.

    **Shape** vectors are rows on the left and columns on the right, and lose that dim in the result; dims before the
    last two broadcast.
    **Raises** RuntimeError where sizes or dtypes do not fit.
    """
    if isinstance(input, Probe) or isinstance(other, Probe):
        return MISSING
    check_tensor("matmul", input=input, other=other)
    a, b = input, other
    n, m = a.dim(), b.dim()
    if n == 2 and m == 2:
        return product(a, b)
    if not n or not m:
        raise RuntimeError(f"both arguments to matmul need to be at least 1D, but they are {n}D and {m}D")
    _same_dtype("matmul", a, b)
    if n == 1 and m == 1:
        return dot(a, b)
    if n == 1:
        _check_inner(a.unsqueeze(0), b)
        return matmul(a.unsqueeze(0), b).squeeze(-2)
    if m == 1:
        if a.shape[-1] != b.shape[0]:
            raise RuntimeError(
                f"size mismatch, got input ({prod(a.shape[:-1])}), mat ({prod(a.shape[:-1])}x{a.shape[-1]}), vec "
                f"({b.shape[0]})"
            )
        return matmul(a, b.unsqueeze(1)).squeeze(-1)
    _check_inner(a, b)
    if m == 2 and a.is_contiguous():  # one product with all rows
        return product(a.reshape(prod(a.shape[:-1]), a.shape[-1]), b).reshape((*a.shape[:-1], b.shape[-1]))
    batch = broadcast("matmul", tuple(a.shape[:-2]), tuple(b.shape[:-2]))
    return product(_batched(a, batch), _batched(b, batch))


def _check_inner(a: Tensor, b: Tensor) -> None:
    if a.shape[-1] != b.shape[-2]:
        rows = prod(a.shape[:-1]) if b.dim() == 2 else a.shape[-2]
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({rows}x{a.shape[-1]} and {b.shape[-2]}x{b.shape[-1]})"
        )


def _batched(x: Tensor, batch: tuple[int, ...]) -> Tensor:
    return x if tuple(x.shape[:-2]) == batch else x.expand((*batch, *x.shape[-2:]))


# ---- with something added


def _combined(op: str, input: Tensor, found: Tensor, beta: float, alpha: float) -> Tensor:
    """beta * input + alpha * found; a beta of 0 ignores input, NaN included."""
    if found.dtype.category != FLOAT:
        alpha, beta = int(alpha), int(beta)
    if beta == 0:
        if tuple(broadcast(op, tuple(input.shape), tuple(found.shape))) != tuple(found.shape):
            raise RuntimeError(
                f"The expanded size of the tensor ({list(found.shape)}) must match the existing size "
                f"({list(input.shape)})"
            )
        return found if alpha == 1 else found * alpha
    if input.dtype is not found.dtype:
        raise RuntimeError(f"{op}: self and mat2 must have the same dtype, but got {_word(input)} and {_word(found)}")
    if not _expands(tuple(input.shape), tuple(found.shape)):
        raise RuntimeError(
            f"The expanded size of the tensor ({found.shape[-1]}) must match the existing size "
            f"({input.shape[-1] if input.dim() else 1}) at "
            f"non-singleton dimension {found.dim() - 1}.  Target sizes: {list(found.shape)}.  Tensor sizes: "
            f"{list(input.shape)}"
        )
    scaled = input if beta == 1 else input * beta
    if alpha == 1:
        return found + scaled
    return apply(records.ADD_SCALED, (scaled, found, alpha))


def _expands(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    return len(shape) <= len(to) and all(n in (1, m) for n, m in zip(shape[::-1], to[::-1]))


@with_out
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * input + alpha * (mat1 @ mat2)."""
    check_tensor("addmm", input=input, mat1=mat1, mat2=mat2)
    if mat1.dim() != 2 or mat2.dim() != 2:
        raise RuntimeError(
            f"mat{1 if mat1.dim() != 2 else 2} must be a matrix, got {(mat1 if mat1.dim() != 2 else mat2).dim()}-D "
            "tensor"
        )
    return _combined("addmm", input, product(mat1, mat2), beta, alpha)


@with_out
def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * input + alpha * bmm(batch1, batch2)."""
    check_tensor("baddbmm", input=input, batch1=batch1, batch2=batch2)
    return _combined("baddbmm", input, bmm(batch1, batch2), beta, alpha)


@with_out
def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * input + alpha * sum over the batch of batch1 @ batch2."""
    check_tensor("addbmm", input=input, batch1=batch1, batch2=batch2)
    if batch1.dim() != 3 or batch2.dim() != 3:
        raise RuntimeError(f"batch{1 if batch1.dim() != 3 else 2} must be a 3D tensor")
    if batch1.shape[0] != batch2.shape[0]:
        raise RuntimeError(
            f"batch1 and batch2 must have same number of batches, got {batch1.shape[0]} and {batch2.shape[0]}"
        )
    if batch1.shape[2] != batch2.shape[1]:
        raise RuntimeError(
            f"Incompatible matrix sizes for bmm ({batch1.shape[1]}x{batch1.shape[2]} and "
            f"{batch2.shape[1]}x{batch2.shape[2]})"
        )
    b, m, k = batch1.shape
    found = product(batch1.transpose(0, 1).reshape(m, b * k), batch2.reshape(b * k, batch2.shape[2]))
    return _combined("addbmm", input, found, beta, alpha)


@with_out
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * input + alpha * (mat @ vec)."""
    check_tensor("addmv", input=input, mat=mat, vec=vec)
    return _combined("addmv", input, mv(mat, vec), beta, alpha)


@with_out
def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * input + alpha * outer(vec1, vec2)."""
    check_tensor("addr", input=input, vec1=vec1, vec2=vec2)
    if vec1.dim() != 1 or vec2.dim() != 1:
        raise RuntimeError(f"addr: Expected 1-D argument vec1 and vec2, but got {vec1.dim()}-D and {vec2.dim()}-D")
    found = outer(vec1, vec2)
    if found.dtype is not input.dtype:
        common = dtypes.promote(found.dtype, input.dtype)
        found, input = cast(found, common), cast(input, common)
    return _combined("addr", input, found, beta, alpha)


# ---- general products


@with_out
def inner(input: Tensor, other: Tensor) -> Tensor:
    """Sum of products over the last dims."""
    check_tensor("inner", input=input, other=other)
    if not input.dim() or not other.dim():
        return input * other
    if input.shape[-1] != other.shape[-1]:
        raise RuntimeError(
            f"inner() the last dimension must match on both input tensors but got shapes {list(input.shape)} and "
            f"{list(other.shape)}"
        )
    return tensordot(input, other, ([input.dim() - 1], [other.dim() - 1]))


@with_out
def kron(input: Tensor, other: Tensor) -> Tensor:
    """Kronecker product."""
    check_tensor("kron", input=input, other=other)
    ndim = max(input.dim(), other.dim())
    a = input.reshape((1,) * (ndim - input.dim()) + tuple(input.shape))
    b = other.reshape((1,) * (ndim - other.dim()) + tuple(other.shape))
    wide = a.reshape(tuple(n for s in a.shape for n in (s, 1))) * b.reshape(tuple(n for s in b.shape for n in (1, s)))
    return wide.reshape(tuple(m * n for m, n in zip(a.shape, b.shape)))


@with_out
def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """Sum of products over `dims`: the last n of a with the first n of b, or a pair of lists of dims."""
    check_tensor("tensordot", a=a, b=b)
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(a.dim(), b.dim()):
            raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}")
        first, second = list(range(a.dim() - dims, a.dim())), list(range(dims))
    else:
        first, second = ([d] if isinstance(d, int) else list(d) for d in dims)
        first, second = [d % a.dim() for d in first], [d % b.dim() for d in second]
    if len(first) != len(second):
        raise RuntimeError(f"both dimension lists should have same length, got {len(first)} and {len(second)}")
    for d, e in zip(first, second):
        if a.shape[d] != b.shape[e]:
            if 1 not in (a.shape[d], b.shape[e]):
                raise RuntimeError(
                    f"contracted dimensions need to match, but first has size {a.shape[d]} in dim {d} and second has "
                    f"size {b.shape[e]} in dim {e}"
                )
            if a.shape[d] == 1:
                b = b.sum(e, True)
            else:
                a = a.sum(d, True)
    keep_a = [d for d in range(a.dim()) if d not in first]
    keep_b = [d for d in range(b.dim()) if d not in second]
    k = prod(a.shape[d] for d in first)
    left = a.permute([*keep_a, *first]).reshape(prod(a.shape[d] for d in keep_a), k)
    right = b.permute([*second, *keep_b]).reshape(k, prod(b.shape[d] for d in keep_b))
    return product(left, right).reshape([*(a.shape[d] for d in keep_a), *(b.shape[d] for d in keep_b)])


def chain_matmul(*matrices: Tensor, out: Tensor | None = None) -> Tensor:
    """Product of several matrices, in the order that costs least."""
    if not matrices:
        raise RuntimeError("chain_matmul(): Expected one or more matrices")
    for m in matrices:
        if m.dim() != 2:
            raise RuntimeError(f"Tensor dimension is {m.dim()}, expected 2 instead.")
    found = _chain(list(matrices))
    return found if out is None else out.resize_(found.shape).copy_(found)


def _chain(matrices: list[Tensor]) -> Tensor:
    """Least cost over all splits (Cormen et al., Introduction to Algorithms, matrix-chain multiplication)."""
    n = len(matrices)
    sizes = [matrices[0].shape[0], *(m.shape[1] for m in matrices)]
    cost = [[0] * n for _ in range(n)]
    split = [[0] * n for _ in range(n)]
    for length in range(2, n + 1):
        for i in range(n - length + 1):
            j = i + length - 1
            options = [(cost[i][s] + cost[s + 1][j] + sizes[i] * sizes[s + 1] * sizes[j + 1], s) for s in range(i, j)]
            cost[i][j], split[i][j] = min(options)

    def joined(i: int, j: int) -> Tensor:
        return matrices[i] if i == j else product(joined(i, split[i][j]), joined(split[i][j] + 1, j))

    return joined(0, n - 1)


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input @ weight.T + bias.

    **Shape** input (*, in), weight (out, in) or (in,), bias (out,) or none; result (*, out).
    **Raises** RuntimeError where sizes or dtypes do not fit.
    """
    check_tensor("linear", input=input, weight=weight)
    if weight.dim() > 2:
        raise RuntimeError(f"linear(): weight: got {weight.dim()} dimensions, wanted 1 or 2")
    if input._layout.dtype is not weight._layout.dtype:
        raise RuntimeError(f"mat1 and mat2 must have the same dtype, but got {_word(input)} and {_word(weight)}")
    if input.dim() and weight.dim() == 2 and input.shape[-1] != weight.shape[1]:
        rows = prod(input.shape[:-1])
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({rows}x{input.shape[-1]} and "
            f"{weight.shape[1]}x{weight.shape[0]})"
        )
    found = matmul(input, weight.transpose(0, 1) if weight.dim() == 2 else weight)
    return found if bias is None else found + bias


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input1 @ weight[o] @ input2 for each output o, plus bias.

    **Shape** input1 (*, in1), input2 (*, in2), weight (out, in1, in2), bias (out,); result (*, out).
    """
    check_tensor("bilinear", input1=input1, input2=input2, weight=weight)
    if input1.shape[:-1] != input2.shape[:-1]:
        raise RuntimeError(
            f"bilinear(): input batch dimensions do not match: got {list(input1.shape)} and {list(input2.shape)}"
        )
    if input1.shape[-1] != weight.shape[1] or input2.shape[-1] != weight.shape[2]:
        raise RuntimeError(
            f"bilinear(): input1 and input2 sizes do not match weight: got {input1.shape[-1]} and "
            f"{input2.shape[-1]}, weight {list(weight.shape)}"
        )
    if bias is not None and bias.shape[0] != weight.shape[0]:
        raise RuntimeError(
            f"bilinear(): bias size does not match weight size: got {bias.shape[0]} but expected {weight.shape[0]}"
        )
    batch, (out, in1, in2) = tuple(input1.shape[:-1]), weight.shape
    a = input1.reshape(prod(batch), in1)
    left = product(a, weight.permute(1, 0, 2).reshape(in1, out * in2)).reshape(prod(batch), out, in2)
    found = (left * input2.reshape(prod(batch), 1, in2)).sum(-1).reshape((*batch, out))
    return found if bias is None else found + bias


@with_out
def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """Vector product along a dim of size 3 (the first such, if `dim` is None)."""
    check_tensor("cross", input=input, other=other)
    if dim is None:
        dim = next((d for d, n in enumerate(input.shape) if n == 3), None)
        if dim is None:
            raise RuntimeError("no dimension of size 3 in input")
    if input.shape[dim] != 3 or other.shape[dim] != 3:
        raise RuntimeError(
            f"linalg.cross: inputs dimension {dim} must have length 3. Got {input.shape[dim]} and {other.shape[dim]}"
        )
    shape = broadcast("cross", tuple(input.shape), tuple(other.shape))
    a, b = input.expand(shape), other.expand(shape)
    return a.roll(-1, dim) * b.roll(-2, dim) - a.roll(-2, dim) * b.roll(-1, dim)


@with_out
def matrix_power(input: Tensor, n: int) -> Tensor:
    """n-th power of square matrices, n >= 0, by repeated squaring."""
    check_tensor("matrix_power", input=input)
    if input.dim() < 2 or input.shape[-1] != input.shape[-2]:
        raise RuntimeError(
            f"linalg.matrix_power: A must be batches of square matrices, but they are {list(input.shape)}"
        )
    if n < 0:
        raise NotImplementedError("matrix_power: n: got a negative power, which needs the inverse; wanted n >= 0")
    if n == 0:
        same = input.new_ones((input.shape[-1],)).diag_embed().expand(input.shape).clone()
        return give_backward("LinalgMatrixPowerBackward0", (input,), same, lambda g: g.new_zeros(g.shape))
    found = None
    while n:
        if n & 1:
            found = input if found is None else matmul(found, input)
        n >>= 1
        if n:
            input = matmul(input, input)
    assert found is not None
    return found


def trace(input: Tensor) -> Tensor:
    """Sum of the diagonal of a matrix."""
    check_tensor("trace", input=input)
    if input.dim() != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {input.dim()}")
    return input.diagonal().sum()


def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str | None = None) -> Tensor:
    """p-norm distances between the rows of two batches of matrices."""
    check_tensor("cdist", x1=x1, x2=x2)
    if x1.dim() < 2 or x2.dim() < 2:
        raise RuntimeError(f"cdist only supports at least 2D tensors, X1 got: {x1.dim()}D, X2 got: {x2.dim()}D")
    if x1.shape[-1] != x2.shape[-1]:
        raise RuntimeError(f"X1 and X2 must have the same number of columns. X1: {x1.shape[-1]} X2: {x2.shape[-1]}")
    from_each = x1.unsqueeze(-2) - x2.unsqueeze(-3)
    return from_each.norm(p, -1)


# ---- convolution


def _pair(value: Any) -> tuple[int, int]:
    return (
        (value, value) if isinstance(value, int) else (value[0], value[1]) if len(value) == 2 else (value[0], value[0])
    )


def _same_padding(
    op: str, weight: Tensor, stride: tuple[int, int], dilation: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Padding (before, after) per dim that keeps sizes."""
    if stride != (1, 1):
        raise RuntimeError(f"{op}: padding='same' is not supported for strided convolutions")
    total = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:])]
    return tuple((t // 2, t - t // 2) for t in total)  # type: ignore[return-value]


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """2-D cross-correlation.

    **Shape** input (N, C, H, W) or (C, H, W), weight (K, C / groups, R, S), bias (K,); result (N, K, Ho, Wo).
    **Raises** RuntimeError where sizes or dtypes do not fit.
    """
    check_tensor("conv2d", input=input, weight=weight)
    if input.dim() == 3:
        return conv2d(input.unsqueeze(0), weight, bias, stride, padding, dilation, groups).squeeze(0)
    if input.dim() != 4:
        raise RuntimeError(
            f"Expected 3D (unbatched) or 4D (batched) input to conv2d, but got input of size: {list(input.shape)}"
        )
    stride, dilation = _pair(stride), _pair(dilation)
    if padding == "valid":
        padding = 0
    elif padding == "same":
        (top, bottom), (left, right) = _same_padding("conv2d", weight, stride, dilation)
        padding = (top, left)
        if (top, left) != (bottom, right):
            n, c, h, w = input.shape
            wide = input.new_zeros((n, c, h + bottom - top, w + right - left))
            wide[:, :, :h, :w] = input
            input = wide
    elif isinstance(padding, str):
        raise RuntimeError(f"Invalid padding string: {padding!r}")
    if bias is not None and tuple(bias.shape) != (weight.shape[0],):
        raise RuntimeError(
            f"Given weight of size {list(weight.shape)}, expected bias to be 1-dimensional with {weight.shape[0]} "
            "elements, but got bias of size "
            f"{list(bias.shape)} instead"
        )
    found = apply(
        contraction.CONV2D,
        (contraction.rows(input), contraction.taps(weight)),
        (stride, _pair(padding), dilation, groups, None),
    )
    return found if bias is None else found + bias.reshape(1, -1, 1, 1)


# ---- einsum


def einsum(equation: Any, *operands: Any) -> Tensor:
    """Sums of products named by letters: 'ij,jk->ik', 'bii->b', '...ij->...ji'; or operands with lists of dim numbers.

    **Raises** RuntimeError for an equation that does not fit the operands.

    >>> cltorch.einsum("ij,j->i", cltorch.ones(2, 3), cltorch.ones(3))
    tensor([3., 3.])
    """
    if not isinstance(equation, str):
        equation, operands = _from_sublists((equation, *operands))
    if len(operands) == 1 and isinstance(operands[0], (tuple, list)):
        operands = tuple(operands[0])
    inputs, output, dots = _parse_einsum(equation, operands)
    terms = [_diagonals(x, labels) for x, labels in zip(operands, inputs)]
    sizes: dict[Any, int] = {}
    for i, (x, labels) in enumerate(terms):
        for n, name in zip(x.shape, labels):
            if sizes.get(name, 1) == 1:
                sizes[name] = n
            elif n not in (1, sizes[name]):
                raise RuntimeError(
                    f"einsum(): subscript {name} has size {n} for operand {i} which does not broadcast with "
                    f"previously seen size {sizes[name]}"
                )
    found, labels = terms[0]
    found, labels = _summed(found, labels, output, [t[1] for t in terms[1:]])
    for i in range(1, len(terms)):
        later = [t[1] for t in terms[i + 1 :]]
        x, names = _summed(*terms[i], output, [labels, *later])
        found, labels = _pairwise(found, labels, x, names, output, later)
    found = found.permute([labels.index(name) for name in output])
    wanted = tuple(sizes[name] for name in output)
    return found if tuple(found.shape) == wanted else found.expand(wanted)


def _from_sublists(args: Sequence[Any]) -> tuple[str, tuple[Any, ...]]:
    """The equation of `einsum(x, [0, 1], y, [1, 2], [0, 2])`."""

    def letters(labels: Sequence[Any]) -> str:
        return "".join(
            "..." if d is Ellipsis else chr(ord("a") + d) if d < 26 else chr(ord("A") + d - 26) for d in labels
        )

    operands, parts = args[0 : len(args) // 2 * 2 : 2], args[1::2]
    equation = ",".join(letters(p) for p in parts)
    return equation + ("->" + letters(args[-1]) if len(args) % 2 else ""), tuple(operands)


def _parse_einsum(equation: str, operands: Sequence[Tensor]) -> tuple[list[list[Any]], list[Any], int]:
    """Labels per operand and of the output; dims under '...' are labelled by their (negative) place from the right."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        more = "more" if len(operands) > len(terms) else "fewer"
        raise RuntimeError(
            f"einsum(): {more} operands were provided than specified in the equation: {len(operands)} for "
            f"{len(terms)} terms"
        )
    inputs: list[list[Any]] = []
    dots = 0
    for i, (term, x) in enumerate(zip(terms, operands)):
        check_tensor("einsum", **{f"operand{i}": x})
        names = term.replace("...", "")
        if term.count("...") > 1 or not all(c.isalpha() and c.isascii() for c in names):
            raise RuntimeError(
                f"einsum(): invalid subscript given at index {i} in the equation string: {term!r}, subscripts must "
                "be in [a-zA-Z]"
            )
        rest = x.dim() - len(names)
        if rest < 0 or (rest and "..." not in term):
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({len(names)}) does not match the number of "
                f"dimensions ({x.dim()}) for operand "
                f"{i}{'' if '...' in term else ' and no ellipsis was given'}"
            )
        before, _, after = term.partition("...")
        dots = max(dots, rest)
        inputs.append([*before, *range(-rest, 0), *after])
    spread = list(range(-dots, 0))
    if not arrow:
        everything = [c for labels in inputs for c in labels if isinstance(c, str)]
        return inputs, [*spread, *sorted(c for c in set(everything) if everything.count(c) == 1)], dots
    before, has_dots, after = right.partition("...")
    output = [*before, *(spread if has_dots else []), *after]
    for c in output:
        if output.count(c) > 1:
            raise RuntimeError(f"einsum(): output subscript {c} appears more than once in the output")
        if isinstance(c, str) and not any(c in labels for labels in inputs):
            raise RuntimeError(f"einsum(): output subscript {c} does not appear in the equation for any input operand")
    return inputs, output, dots


def _diagonals(x: Tensor, labels: list[Any]) -> tuple[Tensor, list[Any]]:
    """An operand with repeated labels replaced by diagonals."""
    labels = list(labels)
    for name in [c for c in labels if labels.count(c) > 1]:
        while labels.count(name) > 1:
            first = labels.index(name)
            second = labels.index(name, first + 1)
            if x.shape[first] != x.shape[second]:
                raise RuntimeError(
                    f"einsum(): subscript {name} is repeated for operand but the sizes don't match, "
                    f"{x.shape[second]} != {x.shape[first]}"
                )
            x = x.diagonal(0, first, second)
            labels = [c for d, c in enumerate(labels) if d not in (first, second)] + [name]
    return x, labels


def _summed(x: Tensor, labels: list[Any], output: list[Any], others: list[list[Any]]) -> tuple[Tensor, list[Any]]:
    """`x` summed over labels that nothing else names."""
    gone = [d for d, c in enumerate(labels) if c not in output and not any(c in o for o in others)]
    if not gone:
        return x, labels
    kept = x.dtype
    return cast(x.sum(gone), kept), [c for d, c in enumerate(labels) if d not in gone]


def _pairwise(
    a: Tensor, la: list[Any], b: Tensor, lb: list[Any], output: list[Any], later: list[list[Any]]
) -> tuple[Tensor, list[Any]]:
    """The product of two operands, summed over labels that are not needed any more."""
    needed = {*output, *(c for o in later for c in o)}
    batch, summed = [], []
    for c in la:
        if c in lb:
            if c in needed:
                batch.append(c)
            elif a.shape[la.index(c)] == b.shape[lb.index(c)]:
                summed.append(c)
            else:  # one of them has size 1: sum the other first
                if a.shape[la.index(c)] == 1:
                    b = cast(b.sum(lb.index(c), True), b.dtype)
                else:
                    a = cast(a.sum(la.index(c), True), a.dtype)
                summed.append(c)
    left = [c for c in la if c not in lb]
    right = [c for c in lb if c not in la]
    x = a.permute([la.index(c) for c in (*batch, *left, *summed)])
    y = b.permute([lb.index(c) for c in (*batch, *summed, *right)])
    nb, nl, ns = len(batch), len(left), len(summed)
    if not summed:  # an outer product is pointwise: no matrix product needed
        wide = x.reshape((*x.shape, *(1,) * len(right))) * y.reshape((*y.shape[:nb], *(1,) * nl, *y.shape[nb:]))
        return wide, [*batch, *left, *right]
    shared = broadcast("einsum", tuple(x.shape[:nb]), tuple(y.shape[:nb]))
    k = prod(x.shape[nb + nl :])
    ls, rs = tuple(x.shape[nb : nb + nl]), tuple(y.shape[nb + ns :])
    x = x.expand((*shared, *x.shape[nb:])).reshape((prod(shared), prod(ls), k))
    y = y.expand((*shared, *y.shape[nb:])).reshape((prod(shared), k, prod(rs)))
    common = dtypes.promote(x.dtype, y.dtype)
    return product(cast(x, common), cast(y, common)).reshape((*shared, *ls, *rs)), [*batch, *left, *right]


def _matmul_operator(self: Tensor, other: Any) -> Any:
    return matmul(self, other) if isinstance(other, (Tensor, Probe)) else NotImplemented


METHODS: dict[str, Any] = {
    "mm": mm,
    "bmm": bmm,
    "matmul": matmul,
    "__matmul__": _matmul_operator,
    "addmm": addmm,
    "addmm_": in_place(addmm),
    "baddbmm": baddbmm,
    "baddbmm_": in_place(baddbmm),
    "addbmm": addbmm,
    "addbmm_": in_place(addbmm),
    "addmv": addmv,
    "addmv_": in_place(addmv),
    "addr": addr,
    "addr_": in_place(addr),
    "mv": mv,
    "dot": dot,
    "vdot": dot,
    "outer": outer,
    "ger": outer,
    "inner": inner,
    "kron": kron,
    "cross": cross,
    "matrix_power": matrix_power,
    "trace": trace,
    "__rmatmul__": lambda self, other: matmul(other, self) if isinstance(other, Tensor) else NotImplemented,
}
