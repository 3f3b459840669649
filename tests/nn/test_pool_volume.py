"""Pooling of signals, planes and volumes against PyTorch: values, first and second gradients, dtypes, unpooling,
windows drawn at random, layers, errors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import cltorch

SIZES = {1: (13,), 2: (9, 11), 3: (7, 8, 9)}

WINDOWS = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
    {"kernel_size": 3, "stride": 1, "padding": 1},
    {"kernel_size": 2, "stride": 4},
]
WIDE = {"kernel_size": 3, "stride": 2}
POOLS = [
    *((n, "max_pool", some) for n in (1, 2, 3) for some in [*WINDOWS, {"kernel_size": 2, "dilation": 3, "stride": 1}]),
    *((n, "avg_pool", some) for n in (1, 2, 3) for some in [*WINDOWS, {**WINDOWS[1], "count_include_pad": False}]),
    *((n, "avg_pool", {**WINDOWS[1], "divisor_override": 5}) for n in (2, 3)),
    *((n, "lp_pool", {"norm_type": 3, **some}) for n in (1, 2, 3) for some in (WINDOWS[0], WIDE)),
    *((n, "adaptive_avg_pool", {"output_size": size}) for n in (1, 2, 3) for size in (1, 4)),
    *((n, "adaptive_max_pool", {"output_size": size}) for n in (1, 2, 3) for size in (1, 4)),
    (3, "adaptive_avg_pool", {"output_size": (None, 3, 9)}),
    (3, "adaptive_max_pool", {"output_size": (2, None, 12)}),
    (3, "max_pool", {"kernel_size": (1, 2, 3), "stride": (2, 1, 3), "padding": (0, 1, 1)}),
    (3, "avg_pool", {"kernel_size": (1, 2, 3), "stride": (2, 1, 3), "padding": (0, 1, 1)}),
]


def numbers(seed: int, *shape: int) -> np.ndarray:
    """All different, positive, so that every maximum is where it is in PyTorch and every power is defined."""
    count = int(np.prod(shape))
    return (np.random.default_rng(seed).permutation(count).reshape(shape) / max(count, 1) + 0.1).astype(np.float32)


def agree(ours: Any, theirs: Any, bound: float = 1e-5) -> None:
    theirs = theirs.detach()
    assert str(ours.dtype).rpartition(".")[2] == str(theirs.dtype).rpartition(".")[2]
    got, wanted = ours.detach().double().numpy(), theirs.double().numpy()
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=0, atol=bound * (np.abs(wanted).max(initial=0) + 1e-3))


def derivatives(module: Any, n: int, name: str, x: np.ndarray, given: dict, dtype: str = "float32") -> list[Any]:
    leaf = module.tensor(x).to(getattr(module, dtype)).requires_grad_()
    out = getattr(module.nn.functional, f"{name}{n}d")(leaf, **given)
    (first,) = module.autograd.grad((out * out).sum(), leaf, create_graph=True)
    (second,) = module.autograd.grad((first * first).sum(), leaf)
    return [out, first, second]


@pytest.mark.parametrize("n, name, given", POOLS, ids=str)
def test_pooling(n: int, name: str, given: dict) -> None:
    x = numbers(0, 2, 3, *SIZES[n])
    for batch in (x, x[0]):
        for ours, theirs in zip(*(derivatives(m, n, name, batch, given) for m in (cltorch, torch))):
            agree(ours, theirs, 1e-4 if name == "lp_pool" else 1e-5)
    if "max" in name:
        for found, wanted in zip(
            *(
                getattr(m.nn.functional, f"{name}{n}d")(m.tensor(x), **given, return_indices=True)
                for m in (cltorch, torch)
            )
        ):
            agree(found, wanted)


@pytest.mark.parametrize("dtype, bound", [("float16", 2e-3), ("bfloat16", 1.5e-2), ("float64", 1e-12)])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_dtypes(n: int, dtype: str, bound: float) -> None:
    x = numbers(0, 2, 3, *SIZES[n])
    for name, given in (("max_pool", WINDOWS[1]), ("avg_pool", WINDOWS[1]), ("adaptive_avg_pool", {"output_size": 4})):
        rounded = torch.tensor(x).to(getattr(torch, dtype)).double().numpy()
        found = derivatives(cltorch, n, name, rounded, given, dtype)
        assert str(found[0].dtype).endswith(dtype)
        for ours, theirs in zip(found[:2], derivatives(torch, n, name, rounded, given, "float64")[:2]):
            agree(ours.double(), theirs, bound)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_integers(n: int) -> None:
    x = np.random.default_rng(0).permutation(6 * int(np.prod(SIZES[n]))).reshape(2, 3, *SIZES[n])
    for found, wanted in zip(
        *(getattr(m.nn.functional, f"max_pool{n}d")(m.tensor(x), 2, return_indices=True) for m in (cltorch, torch))
    ):
        agree(found, wanted)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_empty_batch(n: int) -> None:
    x = numbers(0, 0, 3, *SIZES[n])
    for name, given in (("max_pool", WINDOWS[0]), ("avg_pool", WINDOWS[0]), ("adaptive_avg_pool", {"output_size": 4})):
        for ours, theirs in zip(*(derivatives(m, n, name, x, given) for m in (cltorch, torch))):
            agree(ours, theirs)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_not_contiguous(n: int) -> None:
    x = numbers(0, 2, *SIZES[n], 6)
    order = (0, n + 1, *range(1, n + 1))
    for name, given in POOLS[0][1:], ("avg_pool", WINDOWS[1]), ("adaptive_avg_pool", {"output_size": 4}):
        results = []
        for m in (cltorch, torch):
            leaf = m.tensor(x, requires_grad=True)
            view = leaf.permute(order)[:, ::2]
            out = getattr(m.nn.functional, f"{name}{n}d")(view, **given)
            results.append([out, *m.autograd.grad(out.pow(2).sum(), leaf)])
        for ours, theirs in zip(*results):
            agree(ours, theirs)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("given, sized", [({"kernel_size": 2}, False), ({"kernel_size": 3, "stride": 2}, True)])
def test_unpooling(n: int, given: dict, sized: bool) -> None:
    """Where windows overlap two maxima may be one element; both write the same value there."""
    x = numbers(0, 2, 3, *(SIZES[n] if sized else [size // 2 * 2 for size in SIZES[n]]))
    for batch in (x, x[0]):
        results = []
        for m in (cltorch, torch):
            f = m.nn.functional
            pooled, places = getattr(f, f"max_pool{n}d")(m.tensor(batch), **given, return_indices=True)
            leaf = pooled.detach().requires_grad_()
            size = SIZES[n] if sized else None
            out = getattr(f, f"max_unpool{n}d")(leaf, places, **given, output_size=size)
            layer = getattr(m.nn, f"MaxUnpool{n}d")(**given)(leaf, places, output_size=size)
            results.append([out, layer, *m.autograd.grad(out.pow(2).sum(), leaf, create_graph=True)])
        for ours, theirs in zip(*results):
            agree(ours, theirs)


DRAWN = [
    (2, 3, {"output_size": 4}),
    (2, (2, 3), {"output_size": (4, 5)}),
    (2, 2, {"output_ratio": (0.5, 0.7)}),
    (2, 2, {"output_size": 1}),
    (3, 2, {"output_size": 3}),
    (3, (1, 2, 3), {"output_size": (4, 5, 2)}),
    (3, 2, {"output_ratio": 0.5}),
]


@pytest.mark.parametrize("n, kernel, given", DRAWN, ids=str)
def test_windows_drawn_at_random(n: int, kernel: Any, given: dict) -> None:
    """With samples given the windows are PyTorch's; without, each place of the input has its chance."""
    x = numbers(0, 2, 3, *SIZES[n])
    u = np.random.default_rng(1).random((2, 3, n)).astype(np.float32)
    results = []
    for m in (cltorch, torch):
        leaf = m.tensor(x, requires_grad=True)
        f = getattr(m.nn.functional, f"fractional_max_pool{n}d")
        out, places = f(leaf, kernel, **given, return_indices=True, _random_samples=m.tensor(u))
        results.append([out, places, *m.autograd.grad(out.pow(2).sum(), leaf)])
    for ours, theirs in zip(*results):
        agree(ours, theirs)
    cltorch.manual_seed(0)
    layer = getattr(cltorch.nn, f"FractionalMaxPool{n}d")(kernel, **given, return_indices=True)
    drawn = [layer(cltorch.tensor(x))[1].numpy() for _ in range(8)]
    assert drawn[0].shape == tuple(results[1][1].shape)
    if given != {"output_size": 1}:
        assert any((places != drawn[0]).any() for places in drawn)


LAYERS = {
    "MaxPool1d": (2,),
    "MaxPool3d": (2,),
    "MaxPool3d all": (3, 2, 1, 1, False, True),
    "AvgPool1d": (2,),
    "AvgPool2d": (3, 2),
    "AvgPool3d": (2,),
    "AvgPool3d all": ((1, 2, 3), 2, (0, 1, 1), True, False),
    "AdaptiveAvgPool3d": ((None, 3, 2),),
    "AdaptiveMaxPool3d": (3,),
    "LPPool2d": (2, 3, 2),
    "LPPool3d": (2, 2),
    "MaxUnpool1d": (2,),
    "MaxUnpool3d": (2, (1, 2, 3), 0),
    "FractionalMaxPool3d": (2, 3),
}


@pytest.mark.parametrize("case", LAYERS)
def test_layer_is_that_of_torch(case: str) -> None:
    name = case.split()[0]
    ours, theirs = (getattr(m.nn, name)(*LAYERS[case]) for m in (cltorch, torch))
    assert repr(ours) == repr(theirs) and list(ours.state_dict()) == list(theirs.state_dict())
    if "Unpool" not in name and "Fractional" not in name:
        x = numbers(0, 2, 3, *SIZES[int(name[-2])])
        agree(ours(cltorch.tensor(x)), theirs(torch.tensor(x)))


REFUSED = {
    "dims": lambda m, f: f.max_pool3d(m.zeros(1, 5, 5), 3),
    "dims of a mean": lambda m, f: f.avg_pool3d(m.zeros(1, 5, 5), 3),
    "padding": lambda m, f: f.max_pool3d(m.zeros(1, 1, 5, 5, 5), 3, padding=2),
    "padding of a mean": lambda m, f: f.avg_pool3d(m.zeros(1, 1, 5, 5, 5), 3, padding=2),
    "kernel": lambda m, f: f.avg_pool3d(m.zeros(1, 1, 5, 5, 5), 7),
    "kernel's length": lambda m, f: f.max_pool3d(m.zeros(1, 1, 5, 5, 5), (1, 2)),
    "divisor": lambda m, f: f.avg_pool3d(m.zeros(1, 1, 5, 5, 5), 2, divisor_override=0),
    "no channels": lambda m, f: f.max_pool3d(m.zeros(1, 0, 5, 5, 5), 3),
    "empty adaptive": lambda m, f: f.adaptive_max_pool3d(m.zeros(1, 1, 5, 5, 0), 3),
    "indices' dtype": lambda m, f: f.max_unpool2d(m.zeros(1, 1, 2, 2), m.zeros(1, 1, 2, 2).int(), 2),
    "indices' shape": lambda m, f: f.max_unpool2d(m.zeros(1, 1, 2, 2), m.zeros(1, 1, 2, 3).long(), 2),
    "output size": lambda m, f: f.max_unpool2d(m.zeros(1, 1, 2, 2), m.zeros(1, 1, 2, 2).long(), 2, output_size=(4, 9)),
    "output size's length": lambda m, f: f.max_unpool2d(
        m.zeros(1, 1, 2, 2), m.zeros(1, 1, 2, 2).long(), 2, output_size=(9,)
    ),
    "window too large": lambda m, f: f.fractional_max_pool2d(m.zeros(1, 1, 5, 5), 3, output_size=4),
    "neither size nor ratio": lambda m, f: f.fractional_max_pool3d(m.zeros(1, 1, 5, 5, 5), 3),
    "both": lambda m, f: m.nn.FractionalMaxPool2d(2, output_size=2, output_ratio=0.5),
    "ratio": lambda m, f: m.nn.FractionalMaxPool2d(2, output_ratio=1.5),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_what_torch_refuses(case: str) -> None:
    with pytest.raises((RuntimeError, ValueError)) as theirs:
        REFUSED[case](torch, torch.nn.functional)
    with pytest.raises(theirs.type) as ours:
        REFUSED[case](cltorch, cltorch.nn.functional)
    if theirs.type is ValueError:
        assert str(ours.value) == str(theirs.value)
