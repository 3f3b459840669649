"""Transformed weights kept between replays: used only while the weight's contents are what they were made of."""

from __future__ import annotations

import copy
import gc

import numpy as np
import pytest

import cltorch
from cltorch import engine, runtime
from cltorch.engine import derived

DEVICES = [d for d in runtime.devices() if d.target.kind == "cpu" and not d.target.loop_limit]


crowded: set[runtime.Device] = set()  # devices that are to look as if they had several streams


def numbers(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.fixture(params=DEVICES, ids=[f"{d.vendor}-{d.target.driver}" for d in DEVICES])
def device(request, monkeypatch):
    monkeypatch.setattr(cltorch.config.settings, "winograd", "4")
    monkeypatch.setattr(cltorch.config.settings, "precise", False)
    # streams of other tests of this process may be alive, and with several streams nothing is kept
    monkeypatch.setattr(runtime.Device, "has_several_streams", property(lambda self: self in crowded))
    engine.clear_plans()
    derived.give_up(request.param)
    yield request.param
    crowded.clear()
    engine.clear_plans()


@pytest.fixture
def layer(device):
    made = cltorch.nn.Conv2d(24, 20, 3, padding=1, bias=False).to(device.spec)
    with cltorch.no_grad():
        made.weight.copy_(cltorch.tensor(numbers(1, 20, 24, 3, 3)))
    return made


X = numbers(0, 1, 24, 16, 16)


def infer(layer, times=1):
    with cltorch.no_grad():
        x = cltorch.tensor(X).to(layer.weight.device)
        return [layer(x).numpy() for _ in range(times)]


def expected(weight: np.ndarray) -> np.ndarray:
    padded = np.pad(X.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    seen = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    return np.einsum("ncyxrs,kcrs->nkyx", seen, weight.astype(np.float64), optimize=True)


def check(layer, weight):
    """Right, and still so (to the last bit) once results are kept again."""
    first, *later = infer(layer, 4)
    wanted = expected(weight)
    assert np.abs(first - wanted).max() <= 3e-5 * np.abs(wanted).max()
    assert all((some == first).all() for some in later)


def optimizer_step(layer):
    layer.weight.grad = cltorch.tensor(numbers(2, 20, 24, 3, 3)).to(layer.weight.device)
    cltorch.optim.SGD(layer.parameters(), lr=0.5).step()
    return numbers(1, 20, 24, 3, 3) - np.float32(0.5) * numbers(2, 20, 24, 3, 3)


def whole_step(layer):
    x = cltorch.tensor(X).to(layer.weight.device)
    optimizer = cltorch.optim.SGD(layer.parameters(), lr=1.0)
    layer(x).sum().backward()
    optimizer.step()
    return layer.weight.detach().numpy()


def in_place(layer):
    with cltorch.no_grad():
        layer.weight.mul_(3)
    return numbers(1, 20, 24, 3, 3) * 3


def through_view(layer):
    with cltorch.no_grad():
        layer.weight[3:7, ::2].zero_()
    wanted = numbers(1, 20, 24, 3, 3)
    wanted[3:7, ::2] = 0
    return wanted


def through_data(layer):
    layer.weight.data.add_(1)
    return numbers(1, 20, 24, 3, 3) + np.float32(1)


def other_data(layer):
    layer.weight.data = cltorch.tensor(numbers(5, 20, 24, 3, 3)).to(layer.weight.device)
    return numbers(5, 20, 24, 3, 3)


def state_dict(layer):
    layer.load_state_dict({"weight": cltorch.tensor(numbers(5, 20, 24, 3, 3))})
    return numbers(5, 20, 24, 3, 3)


def from_numpy(layer):
    with cltorch.no_grad():
        layer.weight.copy_(cltorch.from_numpy(numbers(5, 20, 24, 3, 3)))
    return numbers(5, 20, 24, 3, 3)


def engine_write(layer):
    engine.write(layer.weight._storage, layer.weight._layout, numbers(5, 20, 24, 3, 3))
    return numbers(5, 20, 24, 3, 3)


def random_fill(layer):
    cltorch.nn.init.normal_(layer.weight)
    return layer.weight.detach().numpy()


def same_memory(layer):
    """The old weight goes, and a new one most likely gets its block of the pool."""
    device = layer.weight.device
    layer.weight = None
    gc.collect()
    layer.weight = cltorch.nn.Parameter(cltorch.tensor(numbers(5, 20, 24, 3, 3)).to(device) + 0)
    return numbers(5, 20, 24, 3, 3)


CHANGES = [optimizer_step, whole_step, in_place, through_view, through_data, other_data, state_dict, from_numpy,
           engine_write, random_fill, same_memory]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
def test_every_change_is_seen(device, layer, change):
    check(layer, numbers(1, 20, 24, 3, 3))
    assert derived.nbytes(device) > 0  # otherwise nothing is tested
    weight = change(layer)
    check(layer, weight)


def test_results_go_with_the_weight(device, layer):
    own = copy.deepcopy(layer)  # pytest holds on to the fixture's
    infer(own, 3)
    assert derived.nbytes(device) > 0
    del own
    gc.collect()
    assert derived.nbytes(device) == 0


def test_training_keeps_nothing(device, layer):
    """Neither in one flush with the step nor when the loss is read before it."""
    for read_loss in (False, True):
        optimizer = cltorch.optim.SGD(layer.parameters(), lr=0.01)
        for _ in range(4):
            loss = layer(cltorch.tensor(X).to(layer.weight.device)).sum()
            loss.backward()
            if read_loss:
                loss.item()
            optimizer.step()
            engine.synchronize()
            assert derived.nbytes(device) == 0


def test_image_sizes_share_a_result(device, layer):
    infer(layer, 3)
    before = derived.nbytes(device)
    with cltorch.no_grad():
        for size in (8, 20):
            x = cltorch.tensor(numbers(3, 1, 24, size, size)).to(layer.weight.device)
            for _ in range(3):
                layer(x).numpy()
    assert derived.nbytes(device) == before


def test_bounded(device, layer, monkeypatch):
    monkeypatch.setattr(derived, "SHARE", 1 << 60)
    check(layer, numbers(1, 20, 24, 3, 3))
    assert derived.nbytes(device) == 0


def test_nothing_is_kept_with_several_streams(device, layer):
    crowded.add(device)
    infer(layer, 4)
    assert derived.nbytes(device) == 0
    crowded.clear()
    infer(layer, 4)
    assert derived.nbytes(device) > 0
