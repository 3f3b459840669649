"""The functional API against PyTorch: the same program on both, values, gradients and errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch as oracle

import cltorch

RNG = np.random.default_rng(0)
A = RNG.standard_normal((3, 4)).astype(np.float32)
B = RNG.standard_normal((4, 5)).astype(np.float32)
C = RNG.standard_normal((2, 3, 4)).astype(np.float32)
D = RNG.standard_normal((2, 4, 5)).astype(np.float32)
V = RNG.standard_normal(4).astype(np.float32)
NAN = np.array([[1, np.nan, 3], [4, 5, -2]], np.float32)
TIES = np.array([[2, 2, 1], [0, 3, 3]], np.float32)
ZEROS = np.array([[0, 2, 3], [0, 0, 3], [1, 2, 3]], np.float32)


def plain(x):
    if isinstance(x, (tuple, list)):
        return [plain(v) for v in x]
    if hasattr(x, "detach"):
        return x.detach().numpy()
    return x


def same(got, wanted, rtol: float = 2e-5, atol: float = 1e-5) -> None:
    if isinstance(wanted, list):
        assert len(got) == len(wanted)
        for g, w in zip(got, wanted):
            same(g, w, rtol, atol)
    elif isinstance(wanted, np.ndarray):
        assert got.dtype == wanted.dtype and got.shape == wanted.shape, (
            got.dtype,
            wanted.dtype,
            got.shape,
            wanted.shape,
        )
        np.testing.assert_allclose(got, wanted, rtol=rtol, atol=atol)
    else:
        assert got == wanted or got == pytest.approx(wanted, nan_ok=True)


def run(t, program, arrays):
    """Values and gradients of every floating point operand."""
    leaves = [t.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    out = program(t, *leaves)
    outs = [o for o in (out if isinstance(out, (tuple, list)) else [out]) if hasattr(o, "detach") and o.requires_grad]
    grads = []
    if outs:
        total = sum(
            (o * t.tensor(np.cos(np.arange(o.numel(), dtype=np.float32)).reshape(tuple(o.shape)))).sum() for o in outs
        )
        total.backward()
        grads = [x.grad if x.grad is not None else t.zeros_like(x) for x in leaves if x.requires_grad]
    return out, grads


PROGRAMS = {
    # products
    "mm": (lambda t, a, b: t.mm(a, b), A, B),
    "bmm": (lambda t, a, b: t.bmm(a, b), C, D),
    "matmul 3d 2d": (lambda t, a, b: t.matmul(a, b), C, B),
    "matmul 2d 3d": (lambda t, a, b: a @ b, A, D),
    "matmul broadcast": (lambda t, a, b: a.unsqueeze(1) @ b, C, D),
    "matmul 1d 2d": (lambda t, a, b: a @ b, V, B),
    "matmul 2d 1d": (lambda t, a, b: a @ b, A, V),
    "matmul 3d 1d": (lambda t, a, b: a @ b, C, V),
    "matmul 1d 1d": (lambda t, a, b: a @ b, V, V),
    "matmul transposed": (lambda t, a, b: b.t() @ a.t(), A, B),
    "addmm": (lambda t, a, b, c: t.addmm(c, a, b, beta=0.5, alpha=2), A, B, RNG.standard_normal(5).astype(np.float32)),
    "baddbmm": (lambda t, a, b: t.baddbmm(t.ones(2, 3, 5), a, b, beta=2), C, D),
    "addbmm": (lambda t, a, b: t.addbmm(t.ones(3, 5), a, b), C, D),
    "outer": (lambda t, a, b: t.outer(a, b), V, V),
    "kron": (lambda t, a, b: t.kron(a, b), A, TIES),
    "tensordot": (lambda t, a, b: t.tensordot(a, b, ([1, 2], [0, 1])), C, A),
    "linear": (
        lambda t, x, w, b: t.nn.functional.linear(x, w, b),
        C,
        RNG.standard_normal((5, 4)).astype(np.float32),
        B[0],
    ),
    "chain": (lambda t, a, b: cltorch.chain_matmul(a, b, b.t()) if t is cltorch else a @ b @ b.t(), A, B),
    "cross": (lambda t, a: t.cross(a, a.flip(0), dim=0), A),
    "cdist": (lambda t, a: t.cdist(a, a + 1), A),
    "einsum matmul": (lambda t, a, b: t.einsum("ij,jk->ik", a, b), A, B),
    "einsum batch": (lambda t, a, b: t.einsum("bij,bjk->bki", a, b), C, D),
    "einsum implicit": (lambda t, a, b: t.einsum("ij,jk", a, b), A, B),
    "einsum diagonal": (lambda t, a: t.einsum("ii->i", a[:, :3]), A),
    "einsum trace": (lambda t, a: t.einsum("ii", a[:, :3]), A),
    "einsum ellipsis": (lambda t, a, b: t.einsum("...ij,...jk->...ik", a, b), C, B),
    "einsum outer": (lambda t, a, b: t.einsum("i,j->ij", a, b), V, V),
    "einsum three": (lambda t, a, b, c: t.einsum("ij,jk,kl->il", a, b, c), A, B, B.T.copy()),
    "einsum sum": (lambda t, a: t.einsum("ijk->j", a), C),
    "einsum bilinear": (
        lambda t, a, w, b: t.einsum("bn,anm,bm->ba", a, w, b),
        A,
        RNG.standard_normal((2, 4, 5)).astype(np.float32),
        A @ B,
    ),
    # reductions
    "sum": (lambda t, a: (a.sum(), a.sum(1), a.sum((0, 2), keepdim=True)), C),
    "mean": (lambda t, a: (a.mean(), a.mean(1), a.mean((0, 2), True)), C),
    "prod": (lambda t, a: (a.prod(), a.prod(1)), A),
    "prod with zeros": (lambda t, a: (a.prod(), a.prod(1), a.prod(0)), ZEROS),
    "max": (lambda t, a: (a.max(), *a.max(1), *a.max(0, keepdim=True)), A),
    "min": (lambda t, a: (a.min(), *a.min(1)), A),
    "amax ties": (lambda t, a: (a.amax(1), a.amin(0), a.max()), TIES),
    "argmax": (lambda t, a: (a.argmax(), a.argmax(1), a.argmin(0, keepdim=True)), TIES),
    "nan": (lambda t, a: (a.detach().max(), a.argmax(1), a.nansum(1), a.nanmean(0), a.amin(1)), NAN),
    "var": (lambda t, a: (a.var(), a.var(1), a.std(0), a.var(1, unbiased=False), a.std(1, correction=0)), A),
    "var_mean": (lambda t, a: (*t.var_mean(a, 1), *t.std_mean(a, dim=(0, 1), keepdim=True)), A),
    "norm": (lambda t, a: (a.norm(), a.norm(1, 1), a.norm(3, 0), a.norm(math.inf, 1), a.norm(2, 1, True)), A),
    "norm of zero": (lambda t, a: (a * 0).norm(), A),
    "softmax": (lambda t, a: (a.softmax(1), t.softmax(a, 0), t.log_softmax(a, -1)), A),
    "softmax 3d": (lambda t, a: (a.softmax(1), a.log_softmax(0)), C),
    "logsumexp": (lambda t, a: (a.logsumexp(1), a.logsumexp((0, 1), True)), A),
    "any all": (lambda t, a: ((a > 0).any(), (a > 0).all(1), (a > -9).all(), t.any(a, 0)), A),
    "bool sum": (lambda t, a: ((a > 0).sum(), (a > 0).sum(1), t.count_nonzero(a, 0)), A),
    "median": (lambda t, a: (a.median(), *a.median(1), a.nanmedian()), A),
    "kthvalue": (lambda t, a: tuple(a.kthvalue(2, 1)), A),
    "quantile": (lambda t, a: (t.quantile(a, 0.3), t.quantile(a, t.tensor([0.1, 0.9]), dim=1)), A),
    "mode": (lambda t, a: tuple(t.mode(a, 1)), TIES),
    "cosine": (lambda t, a: t.nn.functional.cosine_similarity(a, a.flip(0)), A),
    "cumsum": (lambda t, a: (a.cumsum(1), a.cumprod(0), t.logcumsumexp(a, 1), *a.cummax(1)), A),
    "diff": (lambda t, a: (t.diff(a), t.diff(a, 2, 0)), A),
    # creation
    "arange": (lambda t: (t.arange(5), t.arange(1, 9, 3), t.arange(0.0, 1.0, 0.3), t.arange(5, 0, -2), t.arange(3.0)),),
    "linspace": (lambda t: (t.linspace(0, 1, 7), t.logspace(0, 2, 3), t.linspace(3, -3, 4, dtype=t.int64)),),
    "eye": (lambda t: (t.eye(3), t.eye(2, 4, dtype=t.int32)),),
    "full": (
        lambda t: (t.full((2, 3), 7), t.full((2,), 1.5), t.full((), True), t.zeros(2, 0), t.ones(3, dtype=t.uint8)),
    ),
    "triangles": (lambda t, a: (t.tril(a, 1), a.triu(-1), t.tril_indices(3, 3), a.diagonal(1)), A),
    "diag": (lambda t, v: (t.diag(v), t.diag_embed(v, 1), t.diagflat(v, -1)), V),
    "meshgrid": (lambda t: t.meshgrid(t.arange(3), t.arange(2), indexing="xy"),),
    "one_hot": (lambda t: t.nn.functional.one_hot(t.tensor([[0, 2], [1, 1]]), 4),),
    "combinations": (lambda t, v: (t.combinations(v, 2), t.cartesian_prod(v, v), t.vander(v.detach(), 3)), V),
    # indexing
    "basic": (lambda t, a: (a[0], a[:, 1], a[..., -1], a[None, 1:, ::2], a[-1, :, None], a[1, 2, 3]), C),
    "advanced": (
        lambda t, a: (a[[1, 0]], a[:, [0, 2, 2]], a[t.tensor([0, 1]), :, t.tensor([1, 3])], a[t.tensor([[0], [1]]), 1]),
        C,
    ),
    "mask": (lambda t, a: (a[a > 0], a[:, t.tensor([True, False, True])], a[t.tensor(True)].sum()), C),
    "mixed": (
        lambda t, a: (a[1, [0, 2], 1:], a[:, [1], t.tensor([0, 1])], a[..., t.tensor([3, 0])], a[[0, 1], None, 1]),
        C,
    ),
    "bools": (lambda t, a: (a[True], a[None, True].sum()), A),
    "gather": (lambda t, a: a.gather(1, t.tensor([[0, 0], [3, 1], [2, 2]])), A),
    "scatter": (
        lambda t, a, b: (
            a.scatter(1, t.tensor([[0, 1], [2, 3]]), b[:, :2]),
            a.scatter_add(0, t.tensor([[0, 0, 0], [1, 1, 1]]), b),
        ),
        A,
        TIES,
    ),
    "index_select": (
        lambda t, a: (
            a.index_select(1, t.tensor([3, 0, 0])),
            t.take(a, t.tensor([0, 5])),
            a.index_add(0, t.tensor([0, 0]), a[:2]),
        ),
        A,
    ),
    "index_put": (
        lambda t, a, b: (a.index_put((t.tensor([0, 2]),), b), a.index_put((t.tensor([1, 1]),), b, accumulate=True)),
        A,
        A[:2],
    ),
    "masked": (lambda t, a: (a.masked_fill(a > 0, 7), a.masked_select(a > 0), a.masked_scatter(a > 0, a * 2)), A),
    "where": (lambda t, a, b: (t.where(a > 0, a, b), t.where(a > 0, a, 0.0), t.where(a > 0, 1, 0)), A, A[::-1].copy()),
    "nonzero": (lambda t, a: (t.nonzero(a > 0), *t.nonzero(a > 0, as_tuple=True)), A),
    "searchsorted": (
        lambda t, a: (t.bucketize(a, t.tensor([-1.0, 0.0, 1.0])), t.searchsorted(t.tensor([0.0, 1.0]), a, right=True)),
        A,
    ),
    "scatter views": (
        lambda t, a, b: (t.select_scatter(a, b[0], 0, 1), t.slice_scatter(a, b, 0, 1), t.diagonal_scatter(a, b[0, :3])),
        A,
        A[:2],
    ),
    # order and counts
    "sort": (lambda t, a: (*a.sort(1), *a.sort(0, descending=True), a.argsort(1)), A),
    "topk": (lambda t, a: (*a.topk(2), *a.topk(1, 0, largest=False)), A),
    "unique": (lambda t: t.unique(t.tensor([3, 1, 3, 2]), return_inverse=True, return_counts=True),),
    "unique rows": (lambda t: t.unique(t.tensor([[1, 2], [0, 5], [1, 2]]), dim=0, return_inverse=True),),
    "bincount": (lambda t: (t.bincount(t.tensor([0, 3, 3])), t.bincount(t.tensor([1, 1]), t.tensor([0.5, 2.0]), 4)),),
    "histc": (lambda t, a: t.histc(a, 5, -2, 2), A),
    "repeat_interleave": (lambda t, v: (t.repeat_interleave(v, 2), v.repeat_interleave(t.tensor([1, 0, 2, 3]))), V),
    "cov": (lambda t, a: (t.cov(a), t.corrcoef(a)), A),
    # joining
    "stacks": (
        lambda t, a: (
            t.hstack([a, a]),
            t.vstack([a, a]),
            t.dstack([a, a]),
            t.column_stack([a, a[:, 0]]),
            t.block_diag(a, a),
        ),
        A,
    ),
    "comparisons": (lambda t, a: (t.isclose(a, a + 1e-9), t.allclose(a, a), t.equal(a, a), t.isin(a, a[0])), A),
    # arithmetic with arguments
    "alpha": (lambda t, a: (t.add(a, a, alpha=2), t.sub(a, 1, alpha=3), t.rsub(a, 2.0), a.add(1)), A),
    "division": (
        lambda t, a: (
            t.div(a, 0.7, rounding_mode="floor"),
            t.div(a, 0.7, rounding_mode="trunc"),
            a.detach() // 0.3,
            a % 0.3,
            2 / a,
            2 // a.detach(),
        ),
        A,
    ),
    "powers": (lambda t, a: (a**2, a**3, a**-1, a.abs() ** 0.5, 2**a, a**1, t.float_power(a, 2), a.abs() ** a), A),
    "clamp": (lambda t, a: (a.clamp(-0.5, 0.5), a.clamp(min=0), t.clamp(a, max=t.tensor(0.1)), a.clamp(0.5, -0.5)), A),
    "rounding": (lambda t, a: (t.round(a, decimals=1), a.round(), a.nan_to_num(0.5)), A),
    "fused": (
        lambda t, a: (t.addcmul(a, a, a, value=2), t.addcdiv(a, a, a.abs() + 1, value=3), t.lerp(a, a * 2, 0.3)),
        A,
    ),
    "int arithmetic": (
        lambda t: (
            t.tensor([7, -7]) // 2,
            t.tensor([7, -7]) % 3,
            t.tensor([2, 3]) ** 3,
            t.tensor([1, 2]) / 2,
            t.tensor([5]) << 2,
        ),
    ),
    "conv2d": (
        lambda t, x, w, b: t.nn.functional.conv2d(x, w, b, stride=2, padding=1),
        RNG.standard_normal((2, 3, 7, 6)).astype(np.float32),
        RNG.standard_normal((4, 3, 3, 3)).astype(np.float32),
        V,
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_same_values_and_gradients(name: str) -> None:
    program, *arrays = PROGRAMS[name]
    got, grads = run(cltorch, program, arrays)
    wanted, wanted_grads = run(oracle, program, arrays)
    same(plain(got), plain(list(wanted) if isinstance(wanted, tuple) else wanted))
    same(plain(grads), plain(wanted_grads), 1e-4, 1e-4)


WRITES = {
    "int": lambda t, x: x.__setitem__(0, 5),
    "slice": lambda t, x: x.__setitem__((slice(None), slice(1, 3)), t.tensor([[1.0], [2.0], [3.0]])),
    "mask number": lambda t, x: x.__setitem__(x > 0, -1),
    "mask tensor": lambda t, x: x.__setitem__(x > 0, t.arange(int((x > 0).sum())).to(x.dtype)),
    "rows": lambda t, x: x.__setitem__([0, 2], t.ones(4)),
    "mixed": lambda t, x: x.__setitem__((slice(1, None), [0, 3]), t.tensor(9.0)),
    "pairs": lambda t, x: x.__setitem__((t.tensor([0, 1]), t.tensor([3, 2])), t.tensor([7.0, 8.0])),
    "row mask": lambda t, x: x.__setitem__(t.tensor([True, False, True]), 0.5),
    "column mask": lambda t, x: x.__setitem__((slice(None), t.tensor([True, False, False, True])), 2),
    "ellipsis": lambda t, x: x.__setitem__((..., 1), x[..., 2]),
    "broadcast ones": lambda t, x: x.__setitem__(slice(0, 2), t.ones(1, 1, 2, 4)),
}


@pytest.mark.parametrize("name", WRITES)
def test_setitem(name: str) -> None:
    found = []
    for t in (cltorch, oracle):
        x = t.tensor(A.copy())
        WRITES[name](t, x)
        found.append(x.numpy())
    np.testing.assert_array_equal(*found)


def test_setitem_gradient_flows_to_both() -> None:
    found = []
    for t in (cltorch, oracle):
        x, v = t.tensor(A, requires_grad=True), t.tensor(V, requires_grad=True)
        y = x * 2
        y[1] = v
        y[0, [0, 2]] = v[:2]
        y[y > 1] = 0
        (y * y).sum().backward()
        found.append((x.grad.numpy(), v.grad.numpy()))
    for got, wanted in zip(*found):
        np.testing.assert_allclose(got, wanted, rtol=1e-5)


ERRORS = {
    "mm shapes": (lambda t: t.ones(2, 3) @ t.ones(4, 5), r"mat1 and mat2 shapes cannot be multiplied \(2x3 and 4x5\)"),
    "index out of range": (lambda t: t.ones(3)[5], r"index 5 is out of bounds for dimension 0 with size 3"),
    "list out of range": (lambda t: t.ones(3)[[0, 4]], r"index 4 is out of bounds for dimension 0 with size 3"),
    "too many": (lambda t: t.ones(3)[0, 0], r"too many indices for tensor of dimension 1"),
    "negative step": (lambda t: t.ones(3)[::-1], r"step must be greater than zero"),
    "mask shape": (
        lambda t: t.ones(3)[t.tensor([True, False])],
        r"The shape of the mask \[2\] at index 0 does not match",
    ),
    "0-d": (lambda t: t.tensor(1.0)[0], r"invalid index of a 0-dim tensor"),
    "float index": (lambda t: t.ones(3)[t.tensor([0.5])], r"tensors used as indices must be long"),
    "ragged": (lambda t: t.tensor([[1, 2], [3]]), r"expected sequence of length 2 at dim 1 \(got 1\)"),
    "string": (lambda t: t.tensor(["a"]), r"str"),
    "dim": (
        lambda t: t.ones(2, 3).sum(5),
        r"Dimension out of range \(expected to be in range of \[-2, 1\], but got 5\)",
    ),
    "mean of ints": (lambda t: t.tensor([1, 2]).mean(), r"could not infer output dtype"),
    "empty max": (lambda t: t.ones(0).max(), r"Expected reduction dim to be specified for input.numel\(\) == 0"),
    "bool sub": (lambda t: t.tensor([True]) - t.tensor([True]), r"Subtraction, the `-` operator"),
    "alpha": (lambda t: t.add(t.tensor([1]), 1, alpha=0.5), r"argument alpha must not be a floating point number"),
    "int power": (lambda t: t.tensor([1, 2]) ** -1, r"Integers to negative integer powers are not allowed"),
    "bmm": (
        lambda t: t.bmm(t.ones(2, 3, 4), t.ones(2, 5, 6)),
        r"Expected size for first two dimensions of batch2 tensor",
    ),
    "einsum": (lambda t: t.einsum("ij,jk->il", t.ones(2, 3), t.ones(3, 4)), r"output subscript l"),
    "clamp": (lambda t: t.ones(2).clamp(), r"At least one of 'min' or 'max' must not be None"),
    "gelu": (lambda t: t.nn.functional.gelu(t.ones(1), approximate="x"), r"approximate"),
    "randint": (lambda t: t.randint(5, 5, (2,)), r"random_ expects 'from' to be less than 'to'"),
    "dtype": (lambda t: t.ones(2, 3) @ t.ones(3, 4, dtype=t.float64), r"dtype"),
    "arange": (lambda t: t.arange(0, 5, 0), r"step must be nonzero"),
    "topk": (lambda t: t.ones(3).topk(5), r"selected index k out of range"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_as_pytorch(name: str) -> None:
    program, text = ERRORS[name]
    with pytest.raises(Exception) as wanted:
        program(oracle)
    with pytest.raises(type(wanted.value), match=text):
        program(cltorch)


@pytest.mark.parametrize(
    "data",
    [
        1,
        2.5,
        True,
        [1, 2],
        [1.0, 2],
        [[True, False]],
        [],
        np.arange(3, dtype=np.int16),
        np.float64(1.5),
        [np.float32(1.5)],
        np.zeros((2, 0), np.float64),
        [[1, 2.5], [3, 4]],
        (1, 2),
    ],
    ids=str,
)
def test_tensor_infers_dtype_and_shape(data) -> None:
    got, wanted = cltorch.tensor(data), oracle.tensor(data)
    assert repr(got.dtype).rpartition(".")[2] == repr(wanted.dtype).rpartition(".")[2]
    np.testing.assert_array_equal(got.numpy(), wanted.numpy())


SHOWN = [
    1,
    2.5,
    True,
    [1, 22, 333],
    [1.0, 2.0],
    [0.1, 100.0],
    [1e-5, 1.0],
    [1e10, 1.0],
    [float("nan"), 1.0, float("inf")],
    [[1.5, -2.0], [3.25, 4.0]],
    [True, False],
    [],
    [[]],
    [[[1, 2], [3, 4]], [[5, 6], [7, 8]]],
    list(range(50)),
    [0.0, 0.0],
    [1e-8],
    [-1.0, 2.0],
    [float("-inf"), 0.5],
    [123456.0, 0.25],
    [100000000.0, 1.0],
    [1e9, 2e9],
]


@pytest.mark.parametrize("data", SHOWN, ids=str)
def test_repr(data) -> None:
    assert repr(cltorch.tensor(data)) == repr(oracle.tensor(data))


def test_repr_of_large_and_special() -> None:
    big = np.arange(2000, dtype=np.float32).reshape(40, 50)
    assert repr(cltorch.tensor(big)) == repr(oracle.tensor(big))
    cube = np.arange(8000).reshape(20, 20, 20)
    assert repr(cltorch.tensor(cube)) == repr(oracle.tensor(cube))
    assert repr(cltorch.tensor([1, 2], dtype=cltorch.int8)).endswith("dtype=cltorch.int8)")
    x = cltorch.ones(2, requires_grad=True)
    assert repr(x) == "tensor([1., 1.], requires_grad=True)" and "grad_fn=<MulBackward0>" in repr(x * 2)
    cltorch.set_printoptions(precision=2, sci_mode=False)
    oracle.set_printoptions(precision=2, sci_mode=False)
    try:
        assert repr(cltorch.tensor([1e-5, 12.3456])) == repr(oracle.tensor([1e-5, 12.3456]))
    finally:
        cltorch.set_printoptions(profile="default")
        oracle.set_printoptions(profile="default")


def test_out_and_in_place_forms() -> None:
    out = cltorch.empty(0)
    assert cltorch.add(cltorch.ones(3), 1, out=out) is out and out.tolist() == [2, 2, 2]
    assert cltorch.matmul(cltorch.ones(2, 3), cltorch.ones(3, 2), out=out).shape == (2, 2)
    x = cltorch.ones(3)
    assert x.add_(2, alpha=3).mul_(2).sub_(1).clamp_(max=10).tolist() == [10, 10, 10]
    assert x.addcmul_(x, x, value=0.5).tolist() == [60, 60, 60]
    with pytest.raises(RuntimeError, match="can't be cast"):
        cltorch.tensor([1, 2]).add_(1.5)
    with pytest.raises(RuntimeError, match="don't support automatic differentiation"):
        cltorch.mul(cltorch.ones(2, requires_grad=True), 2, out=cltorch.empty(2))
