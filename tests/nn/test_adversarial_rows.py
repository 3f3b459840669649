"""Softmax and normalisations where float32 is hard: far from 0, nearly constant, infinite, NaN; against float64."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

import cltorch
from cltorch.nn import functional

BOUND = 2e-6  # of the largest result
DEVICES = [f"cl:{i}" for i in range(cltorch.accelerator.device_count())]
rng = np.random.default_rng(11)
SHAPE = (24, 389)
ROWS = {
    "random": rng.standard_normal(SHAPE),
    "large offset": 1e4 + 1e-2 * rng.standard_normal(SHAPE),
    "larger offset": -1e6 + rng.standard_normal(SHAPE),
    "tiny variance": 1.0 + 1e-4 * rng.standard_normal(SHAPE),
    "wide": rng.standard_normal(SHAPE) * np.exp(rng.uniform(-20, 20, SHAPE)),
    "large": 1e15 * rng.standard_normal(SHAPE),
    "one that stands out": np.where(np.arange(SHAPE[1]) == 388, 1e4, rng.standard_normal(SHAPE)),
}
ROWS = {name: rows.astype(np.float32) for name, rows in ROWS.items()}


def _off(got: cltorch.Tensor, wanted: np.ndarray) -> float:
    """The largest error, relative to the largest result."""
    return float(np.abs(got.numpy().astype(np.float64) - wanted).max() / np.abs(wanted).max())


def _standardized(x: np.ndarray, axes: tuple[int, ...], eps: float) -> np.ndarray:
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("device", DEVICES)
def test_softmax_of_hard_rows(device, name):
    x, exact = cltorch.tensor(ROWS[name], device=device), ROWS[name].astype(np.float64)
    assert _off(x.softmax(1), special.softmax(exact, 1)) <= BOUND
    assert _off(x.log_softmax(1), special.log_softmax(exact, 1)) <= BOUND
    assert _off(x.t().contiguous().softmax(0), special.softmax(exact, 1).T) <= BOUND


@pytest.mark.parametrize("device", DEVICES)
def test_softmax_of_infinities_and_nan(device):
    x = rng.standard_normal((6, 37)).astype(np.float32)
    x[0, 5], x[1], x[2, ::2], x[3, 30], x[4, 7], x[4, 8] = np.nan, -np.inf, -np.inf, np.inf, np.nan, np.inf
    with np.errstate(all="ignore"):
        wanted = special.softmax(x.astype(np.float64), 1)
    for dim, given in ((1, x), (0, np.ascontiguousarray(x.T))):
        got = cltorch.tensor(given, device=device).softmax(dim).numpy()
        np.testing.assert_allclose(got if dim else got.T, wanted, rtol=2e-6)
    got = cltorch.tensor(x, device=device).log_softmax(1).numpy()
    assert np.isnan(got[[0, 1, 3, 4]]).all() and np.isneginf(got[2, ::2]).all() and np.isfinite(got[2, 1::2]).all()


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("device", DEVICES)
def test_normalisations_of_hard_rows(device, name):
    x, exact = cltorch.tensor(ROWS[name], device=device), ROWS[name].astype(np.float64)
    for eps in (1e-5, 1e-12):
        wanted = _standardized(exact, (1,), eps)
        assert _off(functional.layer_norm(x, SHAPE[1:], eps=eps), wanted) <= BOUND, eps
        images = x.reshape(2, 3, 4, SHAPE[1])
        wanted = _standardized(exact.reshape(2, 3, 4, -1), (2, 3), eps)
        assert _off(functional.instance_norm(images, eps=eps), wanted) <= BOUND, eps
        assert _off(functional.group_norm(images, 3, eps=eps), wanted) <= BOUND, eps
        wanted = _standardized(exact.reshape(2, 3, 4, -1), (0, 2, 3), eps)
        got = functional.batch_norm(images, None, None, training=True, eps=eps)
        assert _off(got, wanted) <= BOUND, eps
    wanted = exact / np.sqrt((exact * exact).mean(1, keepdims=True) + 1e-6)
    assert _off(functional.rms_norm(x, SHAPE[1:], eps=1e-6), wanted) <= BOUND


@pytest.mark.parametrize("device", DEVICES)
def test_gradient_of_a_normalisation_far_from_zero(device):
    exact = ROWS["large offset"].astype(np.float64)
    slope = rng.standard_normal(SHAPE).astype(np.float32)
    x = cltorch.tensor(ROWS["large offset"], device=device).requires_grad_()
    functional.layer_norm(x, SHAPE[1:], eps=1e-8).backward(cltorch.tensor(slope, device=device))
    normal = _standardized(exact, (1,), 1e-8)
    scale = 1 / np.sqrt(exact.var(1, keepdims=True) + 1e-8)
    g = slope.astype(np.float64)
    wanted = (g - g.mean(1, keepdims=True) - normal * (g * normal).mean(1, keepdims=True)) * scale
    assert _off(x.grad, wanted) <= BOUND


@pytest.mark.parametrize("device", DEVICES)
def test_constant_rows_and_nan_in_a_normalisation(device):
    x = np.full((4, 50), 12345.678, np.float32)
    x[1] = 0
    x[2, 7], x[3, 9] = np.nan, np.inf
    got = functional.layer_norm(cltorch.tensor(x, device=device), (50,)).numpy()
    assert np.abs(got[:2]).max() <= 1e-6 and np.isnan(got[2:]).all()
