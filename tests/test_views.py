"""View operations and copies against PyTorch: values, strides, sharing, gradients, second gradients, errors."""

from __future__ import annotations

import numpy as np
import pytest

import cltorch
from tests.oracle import same, same_error

X = np.random.default_rng(0).uniform(-2, 2, (2, 3, 4)).astype(np.float32)

VIEWS = {
    "view": lambda x: x.view(6, -1),
    "view list": lambda x: x.view([4, 6]),
    "view 1s": lambda x: x.view(1, 2, 1, 3, 4, 1),
    "reshape": lambda x: x.reshape(3, 8),
    "reshape of transposed": lambda x: x.transpose(0, 2).reshape(6, 4),
    "reshape of transposed without copy": lambda x: x.transpose(0, 1).reshape(3, 2, 2, 2),
    "transpose": lambda x: x.transpose(0, -1),
    "permute": lambda x: x.permute(2, 0, 1),
    "movedim": lambda x: x.movedim(0, 2),
    "movedim several": lambda x: x.movedim((0, 1), (2, 0)),
    "swapaxes": lambda x: x.swapaxes(0, 1),
    "mT": lambda x: x.mT,
    "T": lambda x: x[0].T,
    "t": lambda x: x[0].t(),
    "H": lambda x: x[0].H,
    "expand": lambda x: x[:, :1].expand(-1, 5, -1),
    "expand new dims": lambda x: x.expand(3, 2, 3, 4),
    "expand_as": lambda x: x[:, :, :1].expand_as(x),
    "squeeze": lambda x: x[:, :1].squeeze(),
    "squeeze dim": lambda x: x[:, :1].squeeze(1),
    "squeeze nothing": lambda x: x.squeeze(0),
    "squeeze dims": lambda x: x[:1, :, :1].squeeze((0, 1)),
    "unsqueeze": lambda x: x.unsqueeze(-1).unsqueeze(0),
    "select": lambda x: x.select(1, -1),
    "narrow": lambda x: x.narrow(2, 1, 2),
    "slice": lambda x: x[:, 1:, ::3],
    "empty slice": lambda x: x[:, 2:1],
    "diagonal": lambda x: x.diagonal(1, 1, 2),
    "diagonal below": lambda x: x.diagonal(-1, 2, 0),
    "unfold": lambda x: x.unfold(2, 2, 2),
    "unfold overlapping": lambda x: x.unfold(2, 3, 1),
    "flatten": lambda x: x.flatten(1),
    "flatten all": lambda x: x.flatten(),
    "ravel": lambda x: x.ravel(),
    "unflatten": lambda x: x.unflatten(2, (2, -1)),
    "as_strided": lambda x: x.as_strided((3, 2), (4, 1), 5),
    "as_strided overlapping": lambda x: x.as_strided((3, 4), (1, 1), 2),
    "as_strided of a slice": lambda x: x[1].as_strided((2, 2), (4, 1)),
    "view_as": lambda x: x.view_as(x.reshape(6, 4)),
    "chain": lambda x: x.permute(1, 2, 0)[1:].select(2, 0).t(),
}

COPIES = {
    "contiguous": lambda x: x.transpose(0, 1).contiguous(),
    "clone": lambda x: x.clone(),
    "repeat": lambda x: x.repeat(2, 1, 3),
    "repeat more dims": lambda x: x[0].repeat(2, 1, 3),
    "tile": lambda x: x.tile(2),
    "roll": lambda x: x.roll(1, 2),
    "roll several": lambda x: x.roll((1, -1), (0, 2)),
    "roll flat": lambda x: x.roll(5),
    "flip": lambda x: x.flip(0, 2),
    "rot90": lambda x: x.rot90(1, (1, 2)),
    "rot90 backwards": lambda x: x.rot90(-1, (0, 1)),
    "fliplr": lambda x: x[0].fliplr(),
    "to double": lambda x: x.double(),
    "to half and back": lambda x: x.half().float(),
    "flip by name": lambda x: x.flip(dims=(1,)),
    "permute by name": lambda x: x.permute(dims=(1, 2, 0)).contiguous(),
    "sum_to_size": lambda x: x.sum_to_size(3, 1),
}


def both(function):
    """Value, strides, gradient and second gradient of a function of one tensor."""

    def program(t):
        x = t.tensor(X, requires_grad=True)
        y = function(x)
        (g,) = t.autograd.grad((y * y).sum(), x, create_graph=True)
        (h,) = t.autograd.grad((g * g).sum(), x)
        return [y, list(y.stride()), y.is_contiguous(), g, h]

    return program


@pytest.mark.parametrize("name", VIEWS)
def test_view(name):
    same(both(VIEWS[name]))


@pytest.mark.parametrize("name", VIEWS)
def test_view_shares_memory(name):
    if name == "reshape of transposed":
        pytest.skip("a copy in PyTorch too")

    def program(t):
        x = t.tensor(X)
        y = VIEWS[name](x)
        x.mul_(2)
        return [y, y._version, y.storage_offset()]

    same(program)


@pytest.mark.parametrize("name", COPIES)
def test_copy(name):
    same(both(COPIES[name]))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.split(2, 2),
        lambda x: x.split(3, 2),
        lambda x: x.split([1, 0, 3], -1),
        lambda x: x.chunk(3, 2),
        lambda x: x.chunk(5, 1),
        lambda x: x.tensor_split(3, 2),
        lambda x: x.tensor_split((1, 3), 2),
        lambda x: x.unbind(1),
        lambda x: x.hsplit([1]),
        lambda x: x.vsplit(2),
        lambda x: x.dsplit(2),
    ],
)
def test_pieces(function):
    def program(t):
        x = t.tensor(X, requires_grad=True)
        pieces = function(x)
        y = sum(((i + 1) * p * p).sum() for i, p in enumerate(pieces) if i != 1)
        (g,) = t.autograd.grad(y, x, create_graph=True)
        (h,) = t.autograd.grad((g * g).sum(), x)
        return [list(pieces), len(pieces), g, h]

    same(program)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_cat_and_stack(dim):
    def program(t):
        x, y = t.tensor(X, requires_grad=True), t.tensor(X.astype(np.float64), requires_grad=True)
        c, s = t.cat([x, y, x], dim), t.stack((x, x * 2), dim)
        ((c * c).sum() + (s * s).sum()).backward()
        return [c, s, x.grad, y.grad]

    same(program)


def test_cat_of_dtypes_and_empties():
    def program(t):
        return [
            t.cat([t.tensor([1, 2]), t.tensor([0.5])]),
            t.cat([t.tensor([True]), t.tensor([3], dtype=t.uint8)]),
            t.cat([t.zeros(0), t.tensor(X)], 1),
            t.cat([t.zeros(0), t.zeros(0)]),
            t.cat([t.zeros(2, 0), t.ones(2, 3)], 1),
        ]

    same(program)


def test_gradient_of_an_empty_repetition():
    def program(t):
        x = t.tensor(X, requires_grad=True)
        x.tile((0,)).sum().backward()
        return x.grad

    same(program)


def test_copies_of_views():
    def program(t):
        x = t.tensor(X)
        y = t.transpose_copy(x, 0, 1)
        pieces = t.unbind_copy(x)
        x.zero_()
        return [y, list(pieces), t.fill(x, 3), t.as_strided_scatter(x, t.ones(2, 2), (2, 2), (5, 1), 3)]

    same(program)


def test_memory_format():
    def program(t):
        x = t.tensor(X).reshape(1, 2, 3, 4)
        y = x.to(memory_format=t.channels_last)
        z = y * 2
        return [
            list(y.stride()),
            y.is_contiguous(),
            y.is_contiguous(memory_format=t.channels_last),
            list(z.stride()),
            z,
            list(z.contiguous().stride()),
            list(y.clone().stride()),
        ]

    same(program)


def test_view_of_another_dtype():
    def program(t):
        x = t.tensor(np.arange(8, dtype=np.float32))
        return [x.view(t.int32), x.view(t.uint8), x.view(t.uint8).view(t.int64), x.view(2, 4).view(t.float64)]

    same(program)


def test_to():
    def program(t):
        x = t.tensor(X)
        return [
            x.to(t.float32) is x,
            x.to(t.float64),
            x.to(t.int64),
            x.to(t.tensor([1], dtype=t.int8)),
            x.to(t.float32, copy=True) is x,
            x.to(dtype=t.bool),
            x.long(),
            x.bool(),
            x.type(),
            x.type(t.int32),
            x.type("torch.DoubleTensor"),
            x.type_as(t.tensor(1)),
            x.to("cpu"),
        ]

    same(program)


def test_bfloat16_rounds_to_nearest_even():
    def program(t):
        return t.tensor([1.0, 1.00390625, 1.01171875, -3.1415926, float("inf"), float("nan"), 1e-40]).bfloat16().float()

    same(program)


def test_copy_():
    def program(t):
        x = t.zeros(2, 3, 4)
        x.copy_(t.tensor(X[0]))
        x[0].copy_(t.tensor(np.arange(4)))
        x.transpose(0, 2)[1].copy_(t.tensor(X[:, :, 0].T))
        y = t.zeros(4, dtype=t.int32)
        y.copy_(t.tensor([1.9, -1.9, 0.0, 2.5]))
        return [x, y]

    same(program)


def test_new():
    def program(t):
        x = t.tensor(X, dtype=t.float64)
        return [
            x.new_zeros(2, 3),
            x.new_ones((2,), dtype=t.int64),
            x.new_full((2, 2), 3.5),
            list(x.new_empty(3, 0).shape),
            x.new_tensor([1, 2]),
            x.new_zeros([]),
        ]

    same(program)


def test_resize():
    def program(t):
        x = t.tensor([1.0, 2.0, 3.0])
        x.resize_(2)
        y = x.clone()
        x.resize_(3)
        return [y, x]

    same(program)


@pytest.mark.parametrize(
    "program, match",
    [
        (lambda t: t.tensor(X).view(5, 5), "invalid for input of size 24"),
        (lambda t: t.tensor(X).view(-1, -1), "only one dimension"),
        (lambda t: t.tensor(X).transpose(0, 1).view(24), "reshape"),
        (lambda t: t.tensor(X).reshape(7, -1), "invalid"),
        (lambda t: t.zeros(0).view(0, -1), "ambiguous"),
        (lambda t: t.tensor(X).transpose(0, 3), "out of range"),
        (lambda t: t.tensor(X).permute(0, 1), "number of dimensions"),
        (lambda t: t.tensor(X).permute(0, 1, 1), "duplicate|repeated"),
        (lambda t: t.tensor(X).expand(2, 5, 4), "must match the existing size"),
        (lambda t: t.tensor(X).expand(4), "number of sizes"),
        (lambda t: t.tensor(X).expand(-1, 2, 3, 4), "leading"),
        (lambda t: t.tensor(X).select(0, 2), "out of range"),
        (lambda t: t.tensor(1.0).select(0, 0), "0-dim"),
        (lambda t: t.tensor(X).narrow(0, 1, 2), "exceeds"),
        (lambda t: t.tensor(X).narrow(0, 3, 1), "out of range"),
        (lambda t: t.tensor(X).split([1, 1], 2), "sum exactly"),
        (lambda t: t.tensor(X).split(-1), "non-negative"),
        (lambda t: t.tensor(X).chunk(0), "greater than 0"),
        (lambda t: t.tensor(X).diagonal(0, 1, 1), "identical"),
        (lambda t: t.tensor(X).unfold(2, 5, 1), "maximum size"),
        (lambda t: t.tensor(X).unfold(2, 2, 0), "must be > 0"),
        (lambda t: t.tensor(X).as_strided((5, 5), (10, 1)), "out of bounds"),
        (lambda t: t.tensor(X).as_strided((5,), (1, 1)), "mismatch in length"),
        (lambda t: t.cat([]), "non-empty"),
        (lambda t: t.cat([t.tensor(1.0)]), "zero-dimensional"),
        (lambda t: t.cat([t.tensor(X), t.zeros(2, 3)]), "number of dimensions"),
        (lambda t: t.cat([t.tensor(X), t.zeros(2, 2, 4)]), "must match except"),
        (lambda t: t.stack([t.zeros(2), t.zeros(3)]), "equal size"),
        (lambda t: t.tensor(X).repeat(2), "repeat dims"),
        (lambda t: t.tensor(X).roll((1, 2), 0), "align"),
        (lambda t: t.tensor(X).flip(0, 0), "multiple times"),
        (lambda t: t.tensor(X).t(), "<= 2"),
        (lambda t: t.tensor(X).unflatten(2, (3, 3)), "multiply up"),
        (lambda t: t.tensor(X).flatten(2, 1), "start_dim"),
        (lambda t: t.tensor(X).view("a"), "'size'"),
        (lambda t: t.zeros(2).copy_(t.zeros(3)), "size"),
        (lambda t: t.zeros(2).sum_to_size(3), "not expandable"),
    ],
)
def test_errors(program, match):
    same_error(program, match)


def test_views_are_remembered_per_layout():
    a, b = cltorch.tensor(X), cltorch.tensor(X)
    assert a.permute(2, 0, 1)._layout is b.permute(2, 0, 1)._layout
    assert a[1]._layout is not a[0]._layout
