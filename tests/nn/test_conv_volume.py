"""Convolutions of every number of dims, plain, transposed and lazy against PyTorch: values, first and second gradients,
dtypes, paddings, empty batches, errors.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

import cltorch

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")  # PyTorch says that it copies

KINDS = {n: (f"conv{n}d", f"conv_transpose{n}d") for n in (1, 2, 3)}
SIZES = {1: (11,), 2: (7, 9), 3: (5, 6, 7)}

# n dims, keyword arguments, channels in and out, taps
PLAIN = [
    *((n, {"padding": 1}, (3, 5), 3) for n in (2, 3)),
    *((n, {"stride": 2, "padding": 1, "dilation": 2}, (4, 6), 2) for n in (1, 3)),
    *((n, {"groups": 4, "padding": "same", "dilation": 3}, (4, 8), 2) for n in (1, 2, 3)),
    (3, {"padding": "valid"}, (3, 17), 1),
    (3, {"stride": 2}, (3, 17), 1),
    (3, {"stride": (1, 2, 3), "padding": (2, 0, 1), "dilation": (2, 1, 1)}, (2, 3), (2, 3, 1)),
]
TRANSPOSED = [
    *((n, {"stride": 2, "padding": 1, "output_padding": 1}, (4, 6), 3) for n in (1, 2, 3)),
    (3, {"stride": 3, "output_padding": 2, "groups": 2}, (4, 6), 2),
    *((n, {"stride": 2, "dilation": 3, "output_padding": 2, "padding": 1}, (4, 3), 2) for n in (1, 3)),
    (3, {}, (3, 17), 1),
    (3, {"stride": (1, 2, 3), "padding": (2, 0, 1), "output_padding": (0, 1, 2)}, (2, 3), (3, 2, 3)),
]


def numbers(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def operands(n: int, given: dict, channels: tuple[int, int], taps: Any, transposed: bool) -> list[np.ndarray]:
    size = (taps,) * n if isinstance(taps, int) else taps
    groups = given.get("groups", 1)
    a, b = channels
    weight = (a, b // groups, *size) if transposed else (b, a // groups, *size)
    return [numbers(0, 2, a, *SIZES[n]), numbers(1, *weight), numbers(2, b)]


def agree(ours: Any, theirs: Any, bound: float = 2e-5) -> None:
    theirs = theirs.detach().double().numpy()
    assert tuple(ours.shape) == theirs.shape
    got = ours.detach().double().numpy()
    np.testing.assert_allclose(got, theirs, rtol=0, atol=bound * (np.abs(theirs).max(initial=0) + 1e-3))


def derivatives(module: Any, name: str, arrays: list[np.ndarray], given: dict) -> list[Any]:
    """The result, its gradients, and the gradients of what those add up to; PyTorch's in float64."""
    dtype = np.float64 if module is torch else np.float32
    leaves = [module.tensor(array.astype(dtype), requires_grad=True) for array in arrays]
    out = getattr(module.nn.functional, name)(*leaves, **given)
    first = module.autograd.grad((out * out).sum(), leaves, create_graph=True)
    second = module.autograd.grad(sum((g * g).sum() for g in first), leaves)
    return [out, *first, *second]


@pytest.mark.parametrize("n, given, channels, taps", PLAIN, ids=str)
def test_convolution(n: int, given: dict, channels: tuple[int, int], taps: Any) -> None:
    arrays = operands(n, given, channels, taps, False)
    for ours, theirs in zip(*(derivatives(m, KINDS[n][0], arrays, given) for m in (cltorch, torch))):
        agree(ours, theirs)


@pytest.mark.parametrize("n, given, channels, taps", TRANSPOSED, ids=str)
def test_transposed_convolution(n: int, given: dict, channels: tuple[int, int], taps: Any) -> None:
    arrays = operands(n, given, channels, taps, True)
    for ours, theirs in zip(*(derivatives(m, KINDS[n][1], arrays, given) for m in (cltorch, torch))):
        agree(ours, theirs)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("dtype, bound", [("float16", 2e-3), ("bfloat16", 1e-2), ("float64", 1e-7)])
def test_dtypes(n: int, transposed: bool, dtype: str, bound: float) -> None:
    """Short floats are added up in float32: no worse than PyTorch's result in float32, rounded."""
    arrays = operands(n, {}, (20, 6), 3, transposed)

    def results(module: Any, wanted: str) -> list[Any]:
        leaves = [module.tensor(a).to(getattr(module, wanted)).requires_grad_() for a in arrays]
        out = getattr(module.nn.functional, KINDS[n][transposed])(*leaves, padding=1)
        assert str(out.dtype).endswith(wanted)
        return [out, *module.autograd.grad(out.sum(), leaves)]

    rounded = [torch.tensor(a).to(getattr(torch, dtype)).to(torch.float64).numpy() for a in arrays]
    arrays, plain = [a.astype(np.float32) if dtype != "float64" else a for a in arrays], arrays
    wanted = [torch.tensor(a if dtype != "float64" else b.astype(np.float64)) for a, b in zip(rounded, plain)]
    leaves = [w.requires_grad_() for w in wanted]
    out = getattr(torch.nn.functional, KINDS[n][transposed])(*leaves, padding=1)
    for ours, theirs in zip(results(cltorch, dtype), [out, *torch.autograd.grad(out.sum(), leaves)]):
        agree(ours, theirs, bound)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("transposed", [False, True])
def test_unbatched_and_empty(n: int, transposed: bool) -> None:
    name = KINDS[n][transposed]
    x, w, b = operands(n, {}, (3, 5), 2, transposed)
    for given in (x[0], x[:0]):
        for ours, theirs in zip(*(derivatives(m, name, [given, w, b], {}) for m in (cltorch, torch))):
            agree(ours, theirs)


@pytest.mark.parametrize("shape", [(1, 4, 20000), (2, 3, 1, 4001), (1, 2, 3, 2500)], ids=str)
def test_long_rows(shape: tuple[int, ...]) -> None:
    n = len(shape) - 2
    arrays = [numbers(0, *shape), numbers(1, 5, shape[1], *(1,) * (n - 1), 9), numbers(2, 5)]
    padding = (*(0,) * (n - 1), 4)
    name = KINDS[n][0]
    for ours, theirs in zip(*(derivatives(m, name, arrays, {"padding": padding}) for m in (cltorch, torch))):
        agree(ours, theirs, 1e-4)


REFUSED = {
    "number of dims": lambda m, f: f.conv3d(m.zeros(2, 3), m.zeros(4, 3, 1, 1, 1)),
    "channels": lambda m, f: f.conv3d(m.zeros(1, 3, 4, 4, 4), m.zeros(4, 2, 1, 1, 1)),
    "channels of a transposed one": lambda m, f: f.conv_transpose3d(m.zeros(1, 3, 4, 4, 4), m.zeros(4, 2, 1, 1, 1)),
    "kernel larger than input": lambda m, f: f.conv3d(m.zeros(1, 2, 3, 3, 3), m.zeros(4, 2, 4, 1, 1)),
    "groups": lambda m, f: f.conv3d(m.zeros(1, 4, 3, 3, 3), m.zeros(5, 2, 2, 2, 2), groups=2),
    "bias": lambda m, f: f.conv3d(m.zeros(1, 4, 3, 3, 3), m.zeros(5, 4, 2, 2, 2), m.zeros(4)),
    "bias of another dtype": lambda m, f: f.conv2d(m.zeros(1, 4, 3, 3), m.zeros(5, 4, 2, 2), m.zeros(5).double()),
    "weight of another dtype": lambda m, f: f.conv2d(m.zeros(1, 4, 3, 3), m.zeros(5, 4, 2, 2).double()),
    "stride 0": lambda m, f: f.conv3d(m.zeros(1, 4, 3, 3, 3), m.zeros(5, 4, 2, 2, 2), stride=0),
    "negative padding": lambda m, f: f.conv3d(m.zeros(1, 4, 3, 3, 3), m.zeros(5, 4, 2, 2, 2), padding=-1),
    "dilation 0": lambda m, f: f.conv3d(m.zeros(1, 4, 3, 3, 3), m.zeros(5, 4, 2, 2, 2), dilation=0),
    "padding by an unknown name": lambda m, f: f.conv3d(m.zeros(1, 4, 3, 3, 3), m.zeros(5, 4, 2, 2, 2), padding="all"),
    "same with strides": lambda m, f: f.conv3d(m.zeros(1, 4, 3, 3, 3), m.zeros(5, 4, 2, 2, 2), None, 2, "same"),
    "wrong length": lambda m, f: f.conv3d(m.zeros(1, 4, 3, 3, 3), m.zeros(5, 4, 2, 2, 2), stride=(1, 2)),
    "output padding": lambda m, f: f.conv_transpose3d(
        m.zeros(1, 4, 3, 3, 3), m.zeros(4, 2, 2, 2, 2), stride=2, output_padding=2
    ),
    "empty result": lambda m, f: f.conv_transpose3d(m.zeros(1, 4, 1, 1, 1), m.zeros(4, 2, 1, 1, 1), padding=1),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_what_torch_refuses(case: str) -> None:
    for module in (torch, cltorch):
        with pytest.raises(RuntimeError):
            REFUSED[case](module, module.nn.functional)


# ---- layers

LAYERS = {
    "Conv3d": (4, 6, 3),
    "Conv3d same": (4, 6, 3, 1, "same"),
    "Conv3d all": (4, 6, (1, 2, 3), 2, (0, 1, 1), (1, 2, 1), 2, False),
    "ConvTranspose3d": (4, 6, 3, 2, 1, 1, 2, False, 2),
    "ConvTranspose1d": (4, 6, 3, 2),
    "Conv1d": (4, 6, 3),
}


@pytest.mark.parametrize("case", LAYERS)
def test_layer_is_that_of_torch(case: str) -> None:
    name = case.split()[0]
    ours, theirs = (getattr(m.nn, name)(*LAYERS[case]) for m in (cltorch, torch))
    assert repr(ours) == repr(theirs)
    assert {k: tuple(v.shape) for k, v in ours.state_dict().items()} == {
        k: tuple(v.shape) for k, v in theirs.state_dict().items()
    }
    ours.load_state_dict({k: cltorch.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    x = numbers(3, 2, 4, *SIZES[ours.dims])
    agree(ours(cltorch.tensor(x)), theirs(torch.tensor(x)))


@pytest.mark.parametrize("name", ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose3d"])
def test_initial_values_are_distributed_as_in_torch(name: str) -> None:
    """Uniform within the same bounds: 1 / sqrt(fan in), for weight and bias."""
    cltorch.manual_seed(0)
    arguments = (48, 64, 3) if name != "ConvTranspose3d" else (64, 48, 3)
    ours, theirs = (getattr(m.nn, name)(*arguments) for m in (cltorch, torch))
    for key in ("weight", "bias"):
        a, b = getattr(ours, key).detach().numpy(), getattr(theirs, key).detach().numpy()
        assert a.dtype == b.dtype and np.abs(a.max() / b.max() - 1) < 0.1 and np.abs(a.min() / b.min() - 1) < 0.1
        assert np.abs(a.std() / b.std() - 1) < (0.03 if a.size > 5000 else 0.3)
        assert np.abs(a.mean()) < 4 * b.std() / np.sqrt(a.size)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_padding_modes(n: int, mode: str) -> None:
    x = numbers(3, 2, 4, *SIZES[n])
    for padding in (2, "same"):
        made = [
            getattr(m.nn, f"Conv{n}d")(4, 3, 3, padding=padding, dilation=2, padding_mode=mode)
            for m in (cltorch, torch)
        ]
        ours, theirs = made
        ours.load_state_dict({k: cltorch.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
        leaves = cltorch.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        for layer, leaf in zip(made, leaves):
            layer(leaf).pow(2).sum().backward()
        agree(leaves[0].grad, leaves[1].grad)
        agree(ours.weight.grad, theirs.weight.grad)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_output_size(n: int) -> None:
    x = numbers(3, 2, 4, *SIZES[n])
    ours, theirs = (getattr(m.nn, f"ConvTranspose{n}d")(4, 3, 3, stride=3, padding=1) for m in (cltorch, torch))
    ours.load_state_dict({k: cltorch.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    least = theirs(torch.tensor(x)).shape[2:]
    for more in (0, 1, 2):
        size = [s + more for s in least]
        agree(ours(cltorch.tensor(x), output_size=size), theirs(torch.tensor(x), output_size=size))
        agree(
            ours(cltorch.tensor(x), output_size=[2, 3, *size]), theirs(torch.tensor(x), output_size=[2, 3, *size])
        )  # fmt: skip
    for wrong in ([s + 3 for s in least], [5] * (n + 1)):
        texts = []
        for layer, m in ((ours, cltorch), (theirs, torch)):
            with pytest.raises(ValueError) as caught:
                layer(m.tensor(x), output_size=wrong)
            texts.append(str(caught.value))
        assert texts[0] == texts[1]


@pytest.mark.parametrize("transposed", ["", "Transpose"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_lazy_layer(n: int, transposed: str) -> None:
    name = f"LazyConv{transposed}{n}d"
    ours, theirs = (getattr(m.nn, name)(6, 3, stride=2, groups=2) for m in (cltorch, torch))
    assert repr(ours) == repr(theirs) and list(ours.state_dict()) == list(theirs.state_dict())
    assert isinstance(ours.weight, cltorch.nn.UninitializedParameter) and ours.has_uninitialized_params()
    assert isinstance(ours.state_dict()["weight"], cltorch.nn.UninitializedParameter)
    with pytest.raises(RuntimeError, match="uninitialized"):
        _ = ours.weight.shape
    copied = copy.deepcopy(ours)
    x = numbers(3, 2, 4, *SIZES[n])
    theirs(torch.tensor(x))
    for layer in (ours, copied):
        layer(cltorch.tensor(x))
        assert repr(layer) == repr(theirs) and type(layer) is getattr(cltorch.nn, name[4:])
        assert type(layer.weight) is cltorch.nn.Parameter and layer.weight.requires_grad
        assert not layer._forward_pre_hooks
    ours.load_state_dict({k: cltorch.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    agree(ours(cltorch.tensor(x)), theirs(torch.tensor(x)))
    late = getattr(cltorch.nn, name)(6, 3, stride=2, groups=2)  # shapes from a state_dict instead of an input
    late.load_state_dict(ours.state_dict())
    assert tuple(late.weight.shape) == tuple(ours.weight.shape)
    agree(late(cltorch.tensor(x)), theirs(torch.tensor(x)))
    assert late.in_channels == 4 and repr(late) == repr(theirs)


def test_lazy_layer_refuses_as_torch() -> None:
    for shape, wanted in (((2, 2), RuntimeError), ((1, 3, 5, 5), ValueError)):
        texts = []
        for m in (cltorch, torch):
            with pytest.raises(wanted) as caught:
                m.nn.LazyConv2d(8, 3, groups=2)(m.zeros(*shape))
            texts.append(str(caught.value))
        if wanted is ValueError:
            assert texts[0] == texts[1]
    moved = cltorch.nn.LazyConv2d(8, 3, bias=False).to(cltorch.float64)
    moved(cltorch.zeros(1, 2, 4, 4, dtype=cltorch.float64))
    assert moved.weight.dtype is cltorch.float64 and moved.bias is None
