"""L-BFGS against PyTorch's, on a function with a curved valley."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cltorch


def minimized(lib, steps: int, **options) -> tuple[np.ndarray, float]:
    x = lib.tensor([-1.0, 0.8], dtype=lib.float64, requires_grad=True)
    optimizer = lib.optim.LBFGS([x], **options)

    def closure():
        optimizer.zero_grad()
        loss = (1 - x[0]) ** 2 + 5 * (x[1] - x[0] ** 2) ** 2
        loss.backward()
        return loss

    for _ in range(steps):
        loss = optimizer.step(closure)
    return x.detach().numpy(), loss.item()


def test_fixed_steps_are_torchs() -> None:
    mine, theirs = (minimized(lib, 2, lr=0.1, max_iter=4)[0] for lib in (cltorch, torch))
    np.testing.assert_allclose(mine, theirs, rtol=1e-6)


def test_line_search_finds_the_minimum() -> None:
    found, loss = minimized(cltorch, 4, line_search_fn="strong_wolfe", max_iter=8)
    np.testing.assert_allclose(found, [1.0, 1.0], atol=1e-5)
    assert loss < 1e-8


def test_refuses_what_it_cannot_do() -> None:
    x = cltorch.zeros(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="strong_wolfe"):
        cltorch.optim.LBFGS([x], line_search_fn="armijo")
    with pytest.raises(ValueError, match="parameter groups"):
        cltorch.optim.LBFGS([{"params": [x]}, {"params": [cltorch.zeros(1, requires_grad=True)]}])
    with pytest.raises(TypeError, match="closure"):
        cltorch.optim.LBFGS([x]).step()
