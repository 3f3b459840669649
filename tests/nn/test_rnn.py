"""Recurrent layers and cells against PyTorch's: values, gradients, packed batches, names, refusals."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch

import cltorch
from cltorch import nn
from cltorch.nn.utils import rnn

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections")  # PyTorch's, about oneDNN
I, H, T, B = 6, 19, 5, 4
LENGTHS = (3, 5, 1, 3)


def pair(kind, layers=2, dtype="float32", **options):
    """A layer of each library with the same parameters."""
    torch.manual_seed(3)
    theirs = getattr(torch.nn, kind)(I, H, layers, dtype=getattr(torch, dtype), **options)
    mine = getattr(nn, kind)(I, H, layers, dtype=getattr(cltorch, dtype), **options)
    taken = mine.load_state_dict({k: cltorch.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    assert not taken.missing_keys and not taken.unexpected_keys
    return mine, theirs


def everything(lib, layer, kind, options, packed=None, given=True, dtype="float32"):
    """Results, last states, and the gradients of input, states and parameters, of one random problem."""
    rng = np.random.default_rng(5)

    def make(*shape, grad=False):
        return lib.tensor(rng.standard_normal(shape).astype(dtype), requires_grad=grad)

    first = options.get("batch_first", False)
    x = make(*((B, T, I) if first else (T, B, I)), grad=True)
    rows = layer.num_layers * (2 if options.get("bidirectional") else 1)
    states = [make(rows, B, options.get("proj_size") or H, grad=True)]
    states += [make(rows, B, H, grad=True)] if kind == "LSTM" else []
    hx = (tuple(states) if kind == "LSTM" else states[0]) if given else None
    inputs = x
    if packed is not None:
        lengths = list(LENGTHS) if packed == "any" else sorted(LENGTHS, reverse=True)
        inputs = lib.nn.utils.rnn.pack_padded_sequence(x, lengths, first, enforce_sorted=packed == "sorted")
    y, last = layer(inputs, hx)
    if packed is not None:
        assert isinstance(y, lib.nn.utils.rnn.PackedSequence)
        y, counted = lib.nn.utils.rnn.pad_packed_sequence(y, first)
        assert counted.tolist() == lengths
    outs = [y, *(last if isinstance(last, tuple) else (last,))]
    sum((o * make(*o.shape)).sum() for o in outs).backward()
    wanted = [x, *(states if given else ()), *layer.parameters()]
    return [*outs, *(t.grad for t in wanted)]


def close(mine, theirs, limit=1e-5):
    for number, (a, b) in enumerate(zip(mine, theirs, strict=True)):
        np.testing.assert_allclose(
            a.detach().numpy(), b.detach().numpy(), rtol=limit, atol=limit, err_msg=f"number {number}"
        )


CASES = [
    ("LSTM", {}),
    ("LSTM", {"bidirectional": True, "batch_first": True}),
    ("LSTM", {"bias": False}),
    ("LSTM", {"proj_size": 5, "bidirectional": True}),
    ("GRU", {}),
    ("GRU", {"bidirectional": True, "batch_first": True}),
    ("GRU", {"bias": False, "bidirectional": True}),
    ("RNN", {}),
    ("RNN", {"nonlinearity": "relu", "bidirectional": True, "batch_first": True}),
]
NAMES = [f"{kind}{''.join('-' + name for name in options)}" for kind, options in CASES]


@pytest.mark.parametrize("given", [True, False], ids=["states", "zeros"])
@pytest.mark.parametrize("kind, options", CASES, ids=NAMES)
def test_padded(kind, options, given):
    mine, theirs = pair(kind, **options)
    found = everything(cltorch, mine, kind, options, given=given)
    close(found, everything(torch, theirs, kind, options, given=given))


@pytest.mark.parametrize("packed", ["sorted", "any"])
@pytest.mark.parametrize("kind, options", CASES, ids=NAMES)
def test_packed(kind, options, packed):
    mine, theirs = pair(kind, **options)
    found = everything(cltorch, mine, kind, options, packed, given=packed == "any")
    close(found, everything(torch, theirs, kind, options, packed, given=packed == "any"))


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_double_precision(kind):
    mine, theirs = pair(kind, dtype="float64", bidirectional=True)
    options = {"bidirectional": True}
    found = everything(cltorch, mine, kind, options, dtype="float64")
    close(found, everything(torch, theirs, kind, options, dtype="float64"), 1e-12)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_dtypes_compute_in_float(dtype):
    layer = nn.LSTM(I, H).to(getattr(cltorch, dtype))
    x = cltorch.randn(T, B, I).to(getattr(cltorch, dtype))
    y, (h, c) = layer(x)
    assert y.dtype is h.dtype is c.dtype is getattr(cltorch, dtype)
    wide = copy.deepcopy(layer).float()
    want, _ = wide(x.float())
    np.testing.assert_allclose(y.float().detach().numpy(), want.detach().numpy(), atol=4e-3)
    y.float().sum().backward()
    assert layer.weight_hh_l0.grad.dtype is getattr(cltorch, dtype)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_without_batch(kind, batch_first):
    mine, theirs = pair(kind, bidirectional=True, batch_first=batch_first)
    x = np.random.default_rng(0).standard_normal((T, I)).astype("f")
    (y, last), (want, want_last) = mine(cltorch.tensor(x)), theirs(torch.tensor(x))
    close([y, *(last if kind == "LSTM" else (last,))], [want, *(want_last if kind == "LSTM" else (want_last,))])
    again, _ = mine(cltorch.tensor(x), last)
    close([again], [theirs(torch.tensor(x), want_last)[0]])


@pytest.mark.parametrize("steps, batch", [(1, 1), (1, 3), (2, 1), (40, 33)])
def test_sizes(steps, batch):
    mine, theirs = pair("LSTM", layers=1)
    x = np.random.default_rng(0).standard_normal((steps, batch, I)).astype("f")
    a, b = cltorch.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    (y, _), (want, _) = mine(a), theirs(b)
    y.square().sum().backward()
    want.square().sum().backward()
    close([y, a.grad, mine.weight_hh_l0.grad], [want, b.grad, theirs.weight_hh_l0.grad], 5e-5)


def test_inputs_of_any_strides():
    mine, theirs = pair("GRU", layers=1)
    x = np.random.default_rng(0).standard_normal((B, I, T)).astype("f")
    h = np.random.default_rng(1).standard_normal((H, B)).astype("f")
    y, _ = mine(cltorch.tensor(x).permute(2, 0, 1), cltorch.tensor(h).t().unsqueeze(0))
    want, _ = theirs(torch.tensor(x).permute(2, 0, 1), torch.tensor(h).t().unsqueeze(0).contiguous())
    close([y], [want])


def test_only_what_needs_a_gradient_gets_one():
    layer = nn.LSTM(I, H)
    layer.weight_hh_l0.requires_grad_(False)
    x = cltorch.randn(T, B, I)
    layer(x)[0].sum().backward()
    assert layer.weight_hh_l0.grad is None and x.grad is None and layer.weight_ih_l0.grad is not None
    with cltorch.no_grad():
        assert not layer(x)[0].requires_grad


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_second_derivatives(kind):
    layer = getattr(nn, kind)(2, 3, bidirectional=True, dtype=cltorch.float64)
    x = cltorch.randn(3, 2, 2, dtype=cltorch.float64, requires_grad=True)
    h = cltorch.randn(2, 2, 3, dtype=cltorch.float64, requires_grad=True)
    run = lambda x, h: layer(x, (h, h) if kind == "LSTM" else h)[0]
    assert cltorch.autograd.gradcheck(run, (x, h))
    assert cltorch.autograd.gradgradcheck(run, (x, h))


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_cells(kind):
    torch.manual_seed(0)
    theirs = getattr(torch.nn, kind + "Cell")(I, H)
    mine = getattr(nn, kind + "Cell")(I, H)
    mine.load_state_dict({k: cltorch.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    for shape in ((B, I), (I,)):
        x = np.random.default_rng(0).standard_normal(shape).astype("f")
        found, want = mine(cltorch.tensor(x)), theirs(torch.tensor(x))
        found, want = mine(cltorch.tensor(x), found), theirs(torch.tensor(x), want)
        single = kind != "LSTM"
        close([found] if single else found, [want] if single else want)
    (found if single else found[1]).sum().backward()
    (want if single else want[1]).sum().backward()
    close([mine.weight_hh.grad, mine.bias_ih.grad], [theirs.weight_hh.grad, theirs.bias_ih.grad])


def test_functions():
    mine, theirs = pair("LSTM", bidirectional=True)
    x = np.random.default_rng(0).standard_normal((T, B, I)).astype("f")
    h = np.zeros((4, B, H), "f")
    call = lambda lib, m: lib.lstm(
        lib.tensor(x), (lib.tensor(h), lib.tensor(h)), list(m.parameters()), True, 2, 0.0, False, True, False
    )
    close(call(cltorch, mine), call(torch, theirs))
    mine, theirs = pair("RNN", layers=1)
    sizes = [3, 2, 2]
    call = lambda lib, m: lib.rnn_tanh(
        lib.tensor(x[0].repeat(2, 0)[:7]), lib.tensor(sizes), lib.tensor(h[:1, :3]), list(m.parameters()), True, 1, 0.0,
        False, False,
    )  # fmt: skip
    close(call(cltorch, mine), call(torch, theirs))
    with pytest.raises(TypeError, match="gru"):
        cltorch.gru(cltorch.tensor(x))


def test_dropout_between_layers():
    layer = nn.GRU(I, H, 2, dropout=0.5)
    x = cltorch.randn(T, B, I)
    first, second = layer(x)[0], layer(x)[0]
    assert not np.array_equal(first.detach().numpy(), second.detach().numpy())
    layer.eval()
    np.testing.assert_array_equal(layer(x)[0].detach().numpy(), layer(x)[0].detach().numpy())
    with pytest.warns(UserWarning, match="num_layers greater than 1"):
        nn.GRU(I, H, dropout=0.5)


@pytest.mark.parametrize("kind, options", CASES, ids=NAMES)
def test_names(kind, options):
    mine, theirs = pair(kind, **options)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    assert [tuple(p.shape) for p in mine.parameters()] == [tuple(p.shape) for p in theirs.parameters()]
    assert repr(mine) == repr(theirs)
    assert [len(w) for w in mine.all_weights] == [len(w) for w in theirs.all_weights]
    mine.flatten_parameters()
    x = cltorch.randn(T, B, I)
    again = pickle.loads(pickle.dumps(mine))
    np.testing.assert_array_equal(again(x)[0].detach().numpy(), mine(x)[0].detach().numpy())


def refused(call):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            call()
        except Exception as error:  # whatever PyTorch raises
            return type(error), str(error).replace("torch.", "").replace("cl", "")
    return None


REFUSALS = [
    lambda t: t.nn.LSTM(3, 0),
    lambda t: t.nn.LSTM(3, 4, 0),
    lambda t: t.nn.LSTM(3, 2.5),
    lambda t: t.nn.LSTM(3, 4, dropout=2),
    lambda t: t.nn.LSTM(3, 4, proj_size=4),
    lambda t: t.nn.LSTM(3, 4, proj_size=-1),
    lambda t: t.nn.GRU(3, 4, proj_size=2),
    lambda t: t.nn.RNN(3, 4, nonlinearity="sin"),
    lambda t: t.nn.LSTM(3, 4)(t.ones(2)),
    lambda t: t.nn.RNN(3, 4)(t.ones(2, 2, 2, 2)),
    lambda t: t.nn.LSTM(3, 4)(t.ones(2, 2, 5)),
    lambda t: t.nn.GRU(3, 4)(t.ones(2, 2, 3), t.ones(1, 4)),
    lambda t: t.nn.GRU(3, 4)(t.ones(2, 3), t.ones(1, 1, 4)),
    lambda t: t.nn.GRU(3, 4)(t.ones(2, 2, 3), t.ones(1, 3, 4)),
    lambda t: t.nn.LSTM(3, 4)(t.ones(2, 2, 3), (t.ones(1, 2, 4), t.ones(1, 2, 5))),
    lambda t: t.nn.LSTM(3, 4)(t.ones(2, 2, 3), (t.ones(1, 2, 5), t.ones(1, 2, 4))),
    lambda t: t.nn.LSTM(3, 4)(t.ones(2, 3), (t.ones(1, 2, 4), t.ones(1, 2, 4))),
    lambda t: t.nn.LSTM(3, 4)(t.ones(2, 2, 3, dtype=t.float64)),
    lambda t: t.nn.LSTM(3, 4)(t.ones(0, 2, 3)),
    lambda t: t.nn.LSTMCell(3, 4)(t.ones(2, 2, 3)),
    lambda t: t.nn.LSTMCell(3, 4)(t.ones(2, 3), (t.ones(1, 2, 4), t.ones(2, 4))),
    lambda t: t.nn.GRUCell(3, 4)(t.ones(2, 5)),
    lambda t: t.nn.GRUCell(3, 4)(t.ones(2, 3), t.ones(3, 4)),
    lambda t: t.nn.GRUCell(3, 4)(t.ones(2, 3), t.ones(2, 5)),
    lambda t: t.nn.utils.rnn.pack_padded_sequence(t.ones(3, 2, 1), [1, 3]),
    lambda t: t.nn.utils.rnn.pack_padded_sequence(t.ones(3, 2, 1), [3, 0]),
    lambda t: t.nn.utils.rnn.pack_padded_sequence(t.ones(3, 2, 1), [3]),
    lambda t: t.nn.utils.rnn.pack_padded_sequence(t.ones(0, 2, 1), [1, 1]),
    lambda t: t.nn.utils.rnn.pad_sequence([]),
    lambda t: t.nn.utils.rnn.pack_sequence([t.ones(1), t.ones(3)]),
]


@pytest.mark.parametrize("number", range(len(REFUSALS)))
def test_refusals_are_pytorchs(number):
    mine, theirs = refused(lambda: REFUSALS[number](cltorch)), refused(lambda: REFUSALS[number](torch))
    assert theirs is not None
    assert mine == theirs


# ---- sequences of unequal lengths


def sequences(lib, shape=(2,), grad=False):
    rng = np.random.default_rng(0)
    return [lib.tensor(rng.standard_normal((n, *shape)).astype("f"), requires_grad=grad) for n in LENGTHS]


@pytest.mark.parametrize("batch_first", [False, True])
def test_packing_and_back(batch_first):
    results = []
    for lib in (cltorch, torch):
        made = sequences(lib, grad=True)
        packed = lib.nn.utils.rnn.pack_sequence(made, enforce_sorted=False)
        padded, lengths = lib.nn.utils.rnn.pad_packed_sequence(packed, batch_first, -1.0, total_length=7)
        (padded * padded).sum().backward()
        results.append([*packed, padded, lengths, *(s.grad for s in made)])
    close(*results)
    with pytest.raises(ValueError, match="total_length"):
        rnn.pad_packed_sequence(rnn.pack_sequence(sequences(cltorch), False), total_length=2)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_padding(batch_first, side):
    found = rnn.pad_sequence(sequences(cltorch, ()), batch_first, 0.5, side)
    want = torch.nn.utils.rnn.pad_sequence(sequences(torch, ()), batch_first, 0.5, side)
    close([found], [want])


def test_unpacking():
    made = sequences(cltorch)
    for back, s in zip(rnn.unpack_sequence(rnn.pack_sequence(made, False)), made, strict=True):
        np.testing.assert_array_equal(back.numpy(), s.numpy())
    padded = rnn.pad_sequence(made)
    for back, s in zip(rnn.unpad_sequence(padded, cltorch.tensor(LENGTHS)), made, strict=True):
        np.testing.assert_array_equal(back.numpy(), s.numpy())


def test_packed_sequences_convert():
    packed = rnn.pack_sequence(sequences(cltorch), False)
    assert packed.double().data.dtype is cltorch.float64
    assert packed.to(cltorch.float32) is packed
    data, sizes, order, back = packed
    assert order[back].tolist() == list(range(4)) and sizes.sum().item() == sum(LENGTHS) == len(data)
    assert not packed.is_cuda or packed.data.is_cuda
    assert rnn.invert_permutation(None) is None
