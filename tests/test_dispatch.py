"""Dispatch against PyTorch: promotion, broadcasting, result strides, numbers, out=, derived methods, errors; Tensor's
facts."""

from __future__ import annotations

import copy
import itertools
import pickle

import numpy as np
import pytest
import torch

import cltorch
from cltorch import attach, dispatch
from cltorch.autograd.probe import MISSING
from cltorch.ops.table import POINTWISE, TABLE, Op
from tests.oracle import same, same_error

X = np.random.default_rng(0).uniform(-2, 2, (2, 3, 4)).astype(np.float32)
DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"]


def name_of(dtype):
    return str(dtype).rpartition(".")[2]


@pytest.mark.parametrize("a, b", list(itertools.product(DTYPES, DTYPES)))
def test_promotion(a, b):
    def program(t):
        found = []
        for shape_a, shape_b in (((2,), (2,)), ((2,), ()), ((), (2,)), ((), ())):
            x, y = t.ones(shape_a, dtype=getattr(t, a)), t.ones(shape_b, dtype=getattr(t, b))
            found += [
                name_of((x + y).dtype),
                name_of((x / y).dtype),
                name_of((x == y).dtype),
                name_of(t.result_type(x, y)),
            ]
        return found

    same(program)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("number", [True, 2, 2.5])
def test_promotion_with_numbers(dtype, number):
    def program(t):
        x = t.ones(2, dtype=getattr(t, dtype))
        return [name_of(y.dtype) for y in (x + number, number + x, x * number, x / number, x < number, x.exp())]

    same(program)


def test_values_of_numbers():
    def program(t):
        x, i = t.tensor(X), t.tensor([3, -4, 5])
        return [
            x + 1,
            1 - x,
            x * 2.5,
            2 / x,
            2**x,
            x**2,
            i + 2.5,
            i * True,
            7 // i,
            i % 3,
            7 - i,
            -i,
            i / 2,
            np.float32(2) * x,
            x * np.int64(3),
        ]

    same(program)


def test_numbers_wrap_around():
    def program(t):
        u, i = t.tensor([1, 200], dtype=t.uint8), t.tensor([1, -100], dtype=t.int8)
        return [u + 300, i * -200, u - 5, i + 127, u.add_(300), u > 300]

    same(program)
    same_error(lambda t: t.tensor([1]) + 2**70, "too big")


def test_arrays_as_operands():
    x = cltorch.tensor(X)
    np.testing.assert_allclose((x * X.astype(np.float64)).numpy(), X.astype(np.float64) * X)
    np.testing.assert_allclose((X - x).numpy(), 0 * X)
    assert isinstance(np.exp(x), cltorch.Tensor)


def test_default_dtype():
    def program(t):
        before = t.tensor([1, 2]) / 2
        t.set_default_dtype(t.float64)
        try:
            return [before, t.tensor([1, 2]) / 2, t.tensor([1, 2]) + 0.5, t.tensor([1, 2]).exp()]
        finally:
            t.set_default_dtype(t.float32)

    same(program)


def test_broadcasting():
    def program(t):
        x, y = t.tensor(X), t.tensor(X[0, :, :1].copy())
        return [x + y, y + x, x * t.tensor(2.0), x[:, :, :0] + y[:, :0], t.zeros(0) + t.zeros(1)]

    same(program)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: (x.permute(2, 0, 1), x.permute(2, 0, 1)),
        lambda x: (x.permute(2, 0, 1), x.permute(2, 0, 1).contiguous()),
        lambda x: (x.permute(2, 0, 1).contiguous(), x.permute(2, 0, 1)),
        lambda x: (x.transpose(0, 1), x[0, 0]),
        lambda x: (x.transpose(0, 2)[:, 1:], x.transpose(0, 2)[:, 1:]),
        lambda x: (x[:, :, ::2], x[:, :, ::2]),
        lambda x: (x[0, 0], x.transpose(0, 1)),
    ],
)
def test_strides_of_results(make):
    def program(t):
        a, b = make(t.tensor(X))
        y = a * b
        return [y, list(y.stride()), list((-a).stride())]

    same(program)


def test_out():
    def program(t):
        x, out, wrong = t.tensor(X), t.zeros(2, 3, 4), t.zeros(0)
        returned = t.mul(x, 2, out=out)
        t.exp(x, out=wrong)
        double = t.zeros(2, 3, 4, dtype=t.float64)
        t.add(x, x, out=double)
        part = t.zeros(2, 3, 8)
        t.mul(x, x, out=part[:, :, ::2])
        t.mul(out, out, out=out)
        return [returned is out, out, wrong, double, part]

    same(program)


def test_reductions_of_nothing():
    def program(t):
        x = t.ones(0, 2)
        return [x.sum(0), x.sum(), x.prod(0), (x > 0).any(0), (x > 0).all(0), x.sum(1), (x.sum(0) + 3).sum()]

    same(program)


def test_in_place():
    def program(t):
        x, i = t.tensor(X), t.tensor([1, 2, 3])
        same_object = x.add_(1) is x
        x *= 2
        x -= t.tensor(X[0])
        x /= 3
        x[:, ::2].exp_()
        i += 2
        i *= i
        h = t.ones(3, dtype=t.float16)
        h.add_(t.tensor([0.1, 0.2, 0.3], dtype=t.float64))
        return [same_object, x, i, h]

    same(program)


@pytest.mark.parametrize(
    "program, match",
    [
        (lambda t: t.tensor(X) + t.zeros(5), r"add: shapes \(2, 3, 4\) and \(5,\) do not broadcast"),
        (lambda t: t.tensor(X) + "a", None),
        (lambda t: t.tensor(X) + None, None),
        (lambda t: t.exp("a"), r"exp\(\): argument 'input' \(position 1\) must be Tensor, not str"),
        (lambda t: t.mul(t.tensor(X), [1]), r"mul\(\): argument 'other' \(position 2\)"),
        (lambda t: t.tensor(X).mul(), "missing"),
        (lambda t: t.tensor([True]) - t.tensor([True]), "bool"),
        (lambda t: -t.tensor([True]), "bool"),
        (lambda t: ~t.tensor([1.0]), "bitwise_not"),
        (lambda t: t.tensor([1.0]) & t.tensor([1]), "bitwise_and"),
        (lambda t: t.mul(t.tensor([1.5]), 2, out=t.zeros(1, dtype=t.int32)), "can't be cast"),
        (lambda t: t.mul(t.tensor([1.5], requires_grad=True), 2, out=t.zeros(1)), "automatic differentiation"),
        (lambda t: t.tensor([1, 2]).exp_(), "can't be cast"),
        (lambda t: t.tensor([1.0]).eq_(t.tensor([1.0, 2.0])), "broadcast"),
        (lambda t: bool(t.zeros(2)), "more than one value"),
        (lambda t: bool(t.zeros(0)), "no values"),
        (lambda t: t.zeros(2).item(), "cannot be converted to Scalar"),
        (lambda t: len(t.tensor(1.0)), "0-d"),
        (lambda t: list(t.tensor(1.0)), "0-d"),
        (lambda t: [1, 2][t.tensor(1.0)], "only integer tensors"),
        (lambda t: t.tensor(X).size(3), "out of range"),
        (lambda t: t.tensor(X).to("nonsense"), None),
        (lambda t: t.device("cl", "0"), None),
    ],
)
def test_errors(program, match):
    same_error(program, match)


def test_tensor_facts():
    def program(t):
        x = t.tensor(X)
        i = t.tensor(5)
        return [
            list(x.shape),
            x.shape.numel(),
            x.ndim,
            x.dim(),
            x.size(1),
            x.size(-1),
            list(x.stride()),
            x.stride(0),
            x.numel(),
            x.element_size(),
            x.nbytes,
            len(x),
            x[0, 0].tolist(),
            i.item(),
            int(i),
            float(i),
            [10, 11, 12, 13, 14, 15][i],
            bool(i),
            i.tolist(),
            x.is_floating_point(),
            i.is_floating_point(),
            i in t.tensor([4, 5]),
            3 in t.tensor([4, 5]),
            [v.item() for v in t.tensor([1.5, 2.5])],
            x[0].storage_offset(),
            x[1].storage_offset(),
            x.is_contiguous(),
            x.shape == (2, 3, 4),
            list(x.shape[1:]),
            list(x.shape + (1,)),
            f"{t.tensor(1.5):.3f}",
            np.asarray(x).sum().item(),
            x.data_ptr() == x.view(-1).data_ptr(),
            x.data_ptr() == x.clone().data_ptr(),
            t.tensor(True).item(),
        ]

    same(program)


def test_numpy_of_non_contiguous():
    x = cltorch.tensor(X)
    np.testing.assert_array_equal(x.permute(2, 0, 1)[1:].numpy(), X.transpose(2, 0, 1)[1:])
    np.testing.assert_array_equal(np.array(x), X)


def test_deepcopy_and_pickle():
    def program(t):
        x = t.tensor(X, requires_grad=True)
        (x * x).sum().backward()
        x.tag = [1, 2]
        y = copy.deepcopy(x)
        y.tag.append(3)
        z = pickle.loads(pickle.dumps(x))
        a = t.tensor(X)
        shared = copy.deepcopy([a, a[0], a])
        shared[0].zero_()
        return [y, y.grad, y.tag, x.tag, z, z.is_leaf, shared, shared[0] is shared[2]]

    same(program)
    same_error(lambda t: copy.deepcopy(t.tensor(X, requires_grad=True) * 2), "graph leaves")


def test_subclass():
    class Mine(cltorch.Tensor):
        pass

    made = cltorch.Tensor._make_subclass(Mine, cltorch.tensor(X), True)
    assert type(made) is Mine and made.requires_grad and made.is_leaf
    assert type(made * 2) is cltorch.Tensor
    assert type(copy.deepcopy(made)) is Mine
    (made * 2).sum().backward()
    np.testing.assert_array_equal(made.grad.numpy(), np.full_like(X, 2))
    assert type(pickle.loads(pickle.dumps(cltorch.tensor(X).as_subclass(cltorch.Tensor)))) is cltorch.Tensor


def test_reflected_operators_give_way():
    class Other:
        def __radd__(self, x):
            return "other"

        def __rmul__(self, x):
            return "other"

    assert cltorch.tensor(X) + Other() == "other"
    assert cltorch.tensor(X) * Other() == "other"


def test_calls_share_plans():
    op = TABLE["mul"]
    a, b = cltorch.tensor(X), cltorch.tensor(X)
    a * b
    before = len(dispatch.plans_of(op))
    for _ in range(3):
        b * a
    assert len(dispatch.plans_of(op)) == before


def test_derived_names():
    assert cltorch.Tensor.tanh.__name__ == "tanh" and "Dtypes" in cltorch.Tensor.tanh.__doc__
    assert attach.FUNCTIONS["tanh"].__doc__.startswith(TABLE["tanh"].doc)


def test_probe_finds_what_backward_needs():
    mul = TABLE["mul"]
    plan, _ = dispatch.find_plan(mul, (cltorch.tensor(X), cltorch.tensor(X)))
    assert plan.keep(1) == (False, True, False)
    assert plan.keep(2) == (True, False, False)
    assert plan.keep(3) == (True, True, False)
    assert dispatch.apply(mul, (cltorch.tensor(X), MISSING)) is MISSING


def _operands(op: Op, t, rng):
    domain = op.domain
    if not isinstance(domain[0], tuple):
        domain = (domain,) * op.arity
    return [t.tensor(rng.uniform(low, high, (2, 3)), requires_grad=True) for low, high in domain]


_MANY = [
    op.name
    for op in TABLE.values()
    if op.kind == POINTWISE and op.grad and op.arity > 1 and op.promote != "none" and "f" in op.categories
]


@pytest.mark.parametrize("name", _MANY)
def test_partial_gradients_agree_with_full_ones(name):
    """Saving only what the wanted gradients need gives the same gradients as saving everything."""
    op = TABLE[name]
    full = _operands(op, cltorch, np.random.default_rng(1))
    wanted = cltorch.autograd.grad(dispatch.apply(op, full).sum(), full, allow_unused=True)
    for k in range(op.arity):
        some = _operands(op, cltorch, np.random.default_rng(1))
        for i, x in enumerate(some):
            x.requires_grad = i == k
        if wanted[k] is None:
            continue
        (got,) = cltorch.autograd.grad(dispatch.apply(op, some).sum(), some[k])
        np.testing.assert_allclose(got.numpy(), wanted[k].numpy(), rtol=1e-12)


def test_device_names():
    assert str(cltorch.device("cl:0")) == "cl:0" and cltorch.device("cuda:1") == cltorch.device("cl", 1)
    assert repr(cltorch.device("cpu")) == repr(torch.device("cpu"))
    assert cltorch.device("cl").index is None and cltorch.device(2).index == 2
    assert hash(cltorch.device("cl:0")) == hash(cltorch.device("cl:0"))
    assert pickle.loads(pickle.dumps(cltorch.device("cl:0"))) == cltorch.device("cl:0")
    assert cltorch.tensor(X).device == cltorch.tensor(X).to("cl:0").device
