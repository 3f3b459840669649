"""Initial values: moments and bounds against the formulas; matrices against their defining property."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import cltorch
from cltorch.nn import init


@pytest.fixture(autouse=True)
def seeded():
    cltorch.manual_seed(3)


@pytest.mark.parametrize(
    "name, param",
    [("linear", None), ("tanh", None), ("relu", None), ("leaky_relu", 0.3), ("selu", None), ("conv2d", None)],
)
def test_gain_is_torchs(name, param):
    assert init.calculate_gain(name, param) == torch.nn.init.calculate_gain(name, param)


@pytest.mark.parametrize(
    "function, kwargs, bound",
    [
        (init.uniform_, {"a": -2.0, "b": 2.0}, 2.0),
        (init.xavier_uniform_, {"gain": 1.5}, 1.5 * math.sqrt(6 / (60 * 9 + 80 * 9))),
        (init.kaiming_uniform_, {"a": math.sqrt(5)}, math.sqrt(2 / 6) * math.sqrt(3 / (60 * 9))),
        (init.kaiming_uniform_, {"mode": "fan_out", "nonlinearity": "relu"}, math.sqrt(2) * math.sqrt(3 / (80 * 9))),
    ],
)
def test_uniform_fills_its_interval(function, kwargs, bound):
    w = function(cltorch.empty(80, 60, 3, 3), **kwargs).numpy()
    assert bound * 0.99 < np.abs(w).max() <= bound * 1.0001
    assert abs(w.mean()) < 0.02 * bound and abs(w.std() - bound / math.sqrt(3)) < 0.02 * bound


@pytest.mark.parametrize(
    "function, kwargs, std",
    [
        (init.normal_, {"mean": 0.0, "std": 2.0}, 2.0),
        (init.xavier_normal_, {}, math.sqrt(2 / (60 * 9 + 80 * 9))),
        (init.kaiming_normal_, {"nonlinearity": "relu"}, math.sqrt(2 / (60 * 9))),
    ],
)
def test_normal_has_its_deviation(function, kwargs, std):
    w = function(cltorch.empty(80, 60, 3, 3), **kwargs).numpy()
    assert abs(w.mean()) < 0.03 * std and abs(w.std() / std - 1) < 0.03


def test_truncated_normal_stays_inside_and_keeps_its_shape():
    w = init.trunc_normal_(cltorch.empty(200, 100), 0.0, 1.0, -1.0, 0.5).numpy()
    assert w.min() >= -1.0 and w.max() <= 0.5
    from scipy.stats import truncnorm

    assert abs(w.mean() - truncnorm(-1.0, 0.5).mean()) < 0.02


def test_constants():
    p = cltorch.nn.Parameter(cltorch.empty(3, 4))
    assert (init.ones_(p).detach().numpy() == 1).all()
    assert (init.zeros_(p).detach().numpy() == 0).all()
    assert (init.constant_(p, 0.3).detach().numpy() == np.float32(0.3)).all()
    assert (init.eye_(p).detach().numpy() == np.eye(3, 4)).all()
    assert p.requires_grad and p.is_leaf


@pytest.mark.parametrize("shape, groups", [((4, 3, 3), 1), ((4, 2, 3, 3), 2), ((2, 3, 3, 3, 3), 1)])
def test_dirac_is_torchs(shape, groups):
    mine, theirs = init.dirac_(cltorch.empty(*shape), groups), torch.nn.init.dirac_(torch.empty(*shape), groups)
    assert (mine.numpy() == theirs.numpy()).all()


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 2, 3)])
def test_orthogonal_is_orthogonal(shape):
    w = init.orthogonal_(cltorch.empty(*shape), gain=2.0).numpy().reshape(shape[0], -1) / 2
    product = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-5)


def test_sparse_zeroes_its_share_of_each_column():
    w = init.sparse_(cltorch.empty(10, 6), 0.25).numpy()
    assert ((w == 0).sum(0) == 3).all()


def test_refusals():
    for act in (
        lambda: init.xavier_uniform_(cltorch.empty(3)),
        lambda: init.eye_(cltorch.empty(3)),
        lambda: init.dirac_(cltorch.empty(3, 3)),
        lambda: init.sparse_(cltorch.empty(3), 0.1),
        lambda: init.kaiming_normal_(cltorch.empty(3, 3), mode="fan_most"),
        lambda: init.calculate_gain("no such"),
    ):
        with pytest.raises(ValueError):
            act()
    with pytest.warns(FutureWarning, match="deprecated"):
        init.uniform(cltorch.empty(2))
