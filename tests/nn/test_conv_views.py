"""Convolutions of views through the public API: permuted, expanded, sliced operands and gradients, against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import cltorch

# name: (function of the module and leaves, shapes of the leaves)
CONVOLUTIONS = {
    "input permuted": (
        lambda m, x, w: m.nn.functional.conv2d(x.permute(0, 3, 1, 2), w, padding=1, stride=2),
        [(2, 7, 9, 4), (6, 4, 3, 3)],
    ),
    "weight permuted": (
        lambda m, x, w: m.nn.functional.conv2d(x, w.permute(3, 2, 0, 1), padding=1),
        [(2, 4, 7, 9), (3, 3, 4, 6)],
    ),
    "input expanded along rows": (
        lambda m, x, w: m.nn.functional.conv2d(x.expand(3, 4, 7, 8), w),
        [(3, 4, 7, 1), (6, 4, 3, 3)],
    ),
    "input expanded along images and channels": (
        lambda m, x, w: m.nn.functional.conv2d(x.expand(3, 4, 7, 8), w),
        [(1, 1, 7, 8), (6, 4, 3, 3)],
    ),
    "weight expanded": (
        lambda m, x, w: m.nn.functional.conv2d(x, w.expand(6, 4, 3, 3)),
        [(3, 4, 7, 8), (6, 1, 1, 1)],
    ),
    "input sliced with steps": (
        lambda m, x, w: m.nn.functional.conv2d(x[1:, ::2, 1:, ::2], w),
        [(3, 8, 9, 17), (6, 4, 3, 3)],
    ),
    "weight sliced": (
        lambda m, x, w: m.nn.functional.conv2d(x, w[::2, 1:5, 1:4, 1:4]),
        [(3, 4, 9, 9), (12, 6, 5, 5)],
    ),
    "groups, transposed": (
        lambda m, x, w: m.nn.functional.conv2d(x.transpose(2, 3), w.transpose(2, 3), groups=2, dilation=(2, 1)),
        [(3, 4, 9, 9), (6, 2, 3, 2)],
    ),
    "matrix as weight": (
        lambda m, x, w: m.nn.functional.conv2d(x, w.t()[:, :, None, None], stride=2),
        [(3, 4, 9, 9), (4, 6)],
    ),
    "input as its own weight": (lambda m, x: m.nn.functional.conv2d(x, x[:, :, :3, :3], padding=1), [(4, 4, 6, 6)]),
    "transposed in between": (
        lambda m, x, w, v: m.nn.functional.conv2d(
            m.nn.functional.conv2d(x, w).relu().permute(0, 1, 3, 2), v, padding=1
        ),
        [(3, 4, 9, 8), (6, 4, 3, 3), (5, 6, 3, 3)],
    ),
    "gradient of the input, in pixels first": (
        lambda m, x, w: m.autograd.grad(
            m.nn.functional.conv2d(x, w, padding=1, stride=2).pow(2).sum(), x, create_graph=True
        )[0].permute(0, 2, 3, 1),
        [(2, 3, 5, 6), (4, 3, 3, 3)],
    ),
    "gradient of the weight": (
        lambda m, x, w: m.autograd.grad(
            m.nn.functional.conv2d(x.permute(0, 3, 1, 2), w, padding=1).pow(2).sum(), w, create_graph=True
        )[0],
        [(2, 5, 6, 3), (4, 3, 3, 3)],
    ),
}

# what makes a number of the result, and with it the form of the gradient that reaches the convolution
LOSSES = {
    "sum": lambda y: y.sum(),  # expanded
    "permuted": lambda y: (y.permute(3, 2, 1, 0).contiguous() ** 2).sum(),
    "sliced": lambda y: y[:, ::2, 1:, ::2].sum(),
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution_of_views(name: str, loss: str) -> None:
    convolution, shapes = CONVOLUTIONS[name]
    generator = np.random.default_rng(0)
    arrays = [generator.standard_normal(shape).astype(np.float32) for shape in shapes]

    def results(module: Any) -> list[np.ndarray]:
        leaves = [module.tensor(array, requires_grad=True) for array in arrays]
        y = convolution(module, *leaves)
        LOSSES[loss](y).backward()
        return [y.detach().numpy(), *(leaf.grad.numpy() for leaf in leaves)]

    for ours, theirs in zip(results(cltorch), results(torch)):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * (np.abs(theirs).max() + 1e-3))
