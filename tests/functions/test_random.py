"""Random numbers: against the reference of Philox, reproducible, of the right distribution, in every form."""

from __future__ import annotations

import numpy as np
import pytest

import cltorch as torch
from cltorch.ops import random as records


def draw(function):
    torch.manual_seed(7)
    return function().numpy()


def test_same_numbers_as_the_reference() -> None:
    index = np.arange(1000)
    np.testing.assert_array_equal(draw(lambda: torch.rand(1000)), records.uniform_reference(index, 7, 0))
    np.testing.assert_allclose(
        draw(lambda: torch.randn(1000)), records.normal_reference(index, 7, 0), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_array_equal(draw(lambda: torch.randint(0, 10, (1000,))), records.below_reference(index, 7, 0, 10))


def test_seeds_offsets_and_states() -> None:
    first, second = draw(lambda: torch.rand(5)), torch.rand(5).numpy()
    np.testing.assert_array_equal(second, records.uniform_reference(np.arange(5), 7, 5))
    assert torch.initial_seed() == 7
    state = torch.get_rng_state()
    a = torch.rand(3).tolist()
    torch.set_rng_state(state)
    assert torch.rand(3).tolist() == a
    g = torch.Generator().manual_seed(7)
    np.testing.assert_array_equal(torch.rand(5, generator=g).numpy(), first)
    before = torch.get_rng_state().tolist()
    torch.rand(5, generator=g)
    assert torch.get_rng_state().tolist() == before
    with torch.functions.random.fork_rng():
        torch.manual_seed(1)
    assert torch.initial_seed() == 7
    large = torch.Generator().manual_seed(2**63 + 5)
    assert large.initial_seed() == 2**63 + 5 and torch.rand(2, generator=large).shape == (2,)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_uniform_stays_below_one(dtype: str) -> None:
    x = torch.rand(20000, dtype=getattr(torch, dtype)).double().numpy()
    assert x.min() >= 0 and x.max() < 1 and abs(x.mean() - 0.5) < 0.01 and abs(x.var() - 1 / 12) < 0.005


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_normal_moments(dtype: str) -> None:
    x = torch.randn(40000, dtype=getattr(torch, dtype)).double().numpy()
    assert abs(x.mean()) < 0.02 and abs(x.std() - 1) < 0.02 and abs((x**4).mean() - 3) < 0.2


def test_distributions() -> None:
    torch.manual_seed(3)
    n = 20000
    e = torch.empty(n).exponential_(2.0).numpy()
    assert e.min() >= 0 and abs(e.mean() - 0.5) < 0.02
    u = torch.empty(n).uniform_(-1, 3).numpy()
    assert u.min() >= -1 and u.max() < 3 and abs(u.mean() - 1) < 0.05
    b = torch.bernoulli(torch.full((n,), 0.3)).numpy()
    assert set(np.unique(b)) == {0, 1} and abs(b.mean() - 0.3) < 0.02
    assert abs(torch.empty(n).geometric_(0.25).mean().item() - 4) < 0.2
    assert abs(torch.empty(n).log_normal_(0.0, 0.5).log().std().item() - 0.5) < 0.02
    assert abs(torch.empty(n).cauchy_().median().item()) < 0.05
    assert abs(torch.poisson(torch.full((n,), 4.0)).mean().item() - 4) < 0.1
    assert abs(torch.normal(2.0, 3.0, (n,)).std().item() - 3) < 0.1
    i = torch.empty(n, dtype=torch.uint8).random_().numpy()
    assert i.min() == 0 and i.max() == 127 or i.max() == 255


def test_permutation_and_integers() -> None:
    for n in (0, 1, 2, 97):
        assert sorted(torch.randperm(n).tolist()) == list(range(n))
    x = torch.randint(-3, 4, (5000,)).numpy()
    assert x.dtype == np.int64 and set(x) == set(range(-3, 4))
    assert torch.randint(5, (2, 3), dtype=torch.int32).dtype is torch.int32
    assert torch.randint_like(torch.ones(4), 9).dtype is torch.float32


def test_multinomial() -> None:
    torch.manual_seed(0)
    weights = torch.tensor([[0.0, 1.0, 3.0], [1.0, 0.0, 0.0]])
    found = torch.multinomial(weights, 4000, replacement=True).numpy()
    assert set(found[0]) == {1, 2} and set(found[1]) == {0} and abs((found[0] == 2).mean() - 0.75) < 0.03
    for _ in range(5):
        assert sorted(torch.multinomial(torch.tensor([1.0, 2.0, 3.0]), 3).tolist()) == [0, 1, 2]
    picks = torch.multinomial(torch.tensor([1.0, 3.0]).expand(4000, 2), 1).numpy()
    assert abs((picks == 1).mean() - 0.75) < 0.03
    with pytest.raises(RuntimeError, match="without replacement"):
        torch.multinomial(torch.tensor([1.0, 2.0]), 3)


def test_dropout_scales_and_differentiates() -> None:
    x = torch.ones(10000, requires_grad=True)
    y = torch.dropout(x, 0.25, True)
    y.sum().backward()
    values = y.detach().numpy()
    assert set(np.unique(values)) == {0, np.float32(4 / 3)} and abs((values == 0).mean() - 0.25) < 0.02
    np.testing.assert_array_equal(x.grad.numpy(), values)
    assert torch.dropout(x, 0.25, False) is x


def test_in_place_on_a_leaf_that_requires_grad_is_an_error() -> None:
    x = torch.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        x.normal_()
    with torch.no_grad():
        x.uniform_()
    assert x.requires_grad and x.grad_fn is None
