"""Clipping and parameter vectors against PyTorch's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import cltorch
from cltorch.nn import utils


def parameters(lib):
    rng = np.random.RandomState(0)
    made = []
    for shape in ((3, 4), (5,), ()):
        p = lib.nn.Parameter(lib.tensor(np.asarray(rng.randn(*shape), "f")))
        p.grad = lib.tensor(np.asarray(rng.randn(*shape), "f"))
        made.append(p)
    return made + [lib.nn.Parameter(lib.zeros(2))]


@pytest.mark.parametrize("norm", [2.0, 1.0, 3.0, math.inf])
@pytest.mark.parametrize("limit", [0.5, 100.0])
def test_clip_grad_norm_is_torchs(norm, limit):
    mine, theirs = parameters(cltorch), parameters(torch)
    a = utils.clip_grad_norm_(mine, limit, norm)
    b = torch.nn.utils.clip_grad_norm_(theirs, limit, norm)
    assert abs(a.item() - b.item()) < 1e-5 * abs(b.item())
    for p, q in zip(mine[:3], theirs[:3]):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-5)
    assert mine[3].grad is None


def test_clip_grad_norm_may_refuse_what_is_not_finite():
    mine = parameters(cltorch)
    mine[0].grad.fill_(math.nan)
    with pytest.raises(RuntimeError, match="non-finite"):
        utils.clip_grad_norm_(mine, 1.0, error_if_nonfinite=True)
    assert math.isnan(utils.clip_grad_norm_(mine, 1.0).item())
    assert utils.clip_grad_norm_([], 1.0).item() == 0.0


def test_clip_grad_value():
    mine = parameters(cltorch)
    before = [p.grad.numpy() for p in mine[:3]]
    utils.clip_grad_value_(mine, 0.3)
    for p, g in zip(mine, before):
        np.testing.assert_array_equal(p.grad.numpy(), g.clip(-np.float32(0.3), np.float32(0.3)))


def test_parameters_as_a_vector_and_back():
    mine = parameters(cltorch)
    vector = utils.parameters_to_vector(mine)
    assert tuple(vector.shape) == (12 + 5 + 1 + 2,)
    utils.vector_to_parameters(vector * 2, mine)
    theirs = torch.nn.utils.parameters_to_vector(parameters(torch))
    np.testing.assert_allclose(utils.parameters_to_vector(mine).detach().numpy(), 2 * theirs.detach().numpy())
    with pytest.raises(TypeError):
        utils.vector_to_parameters([1.0], mine)


@pytest.mark.parametrize("norm", [2.0, float("inf"), 1.0])
@pytest.mark.parametrize("sizes", [[(3, 4), (70,), (), (0,), (40000,)], [(5,)] * 300], ids=["few", "many"])
def test_clipping_takes_all_gradients(norm, sizes):
    if norm == float("inf"):
        sizes = [shape for shape in sizes if 0 not in shape]  # PyTorch refuses the empty one
    rng = np.random.default_rng(0)
    values = [rng.standard_normal(shape).astype("f") for shape in sizes]
    found = []
    for lib in (cltorch, torch):
        params = [lib.nn.Parameter(lib.zeros(shape)) for shape in sizes]
        for p, v in zip(params, values):
            p.grad = lib.tensor(v)
        total = lib.nn.utils.clip_grad_norm_(params, 0.5, norm)
        found.append([total.numpy(), *(p.grad.numpy().copy() for p in params)])
        lib.nn.utils.clip_grad_value_(params, 1e-3)
        found[-1] += [p.grad.numpy() for p in params]
    for mine, theirs in zip(*found):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-9)


def test_norm_of_gradients_that_are_not_finite():
    p = cltorch.nn.Parameter(cltorch.zeros(40))
    for value in (float("nan"), float("inf")):
        for norm in (2.0, float("inf")):
            p.grad = cltorch.ones(40)
            p.grad[7] = value
            np.testing.assert_equal(cltorch.nn.utils.get_total_norm([p.grad], norm).item(), value)
            with pytest.raises(RuntimeError, match="non-finite"):
                cltorch.nn.utils.clip_grad_norm_([p], 1.0, norm, error_if_nonfinite=True)
