"""Convolutions of one output channel, whose weight gradient Intel once got wrong (`restrict` local buffers)."""

import numpy as np
import pytest

import cltorch as torch


@pytest.mark.parametrize(
    "n, c, h, w, k, r, s",
    [
        (1, 4, 1, 3, 1, 1, 2),
        (2, 4, 1, 9, 1, 1, 3),
        (2, 1, 1, 20, 1, 1, 3),
        (3, 2, 2, 5, 1, 1, 3),
        (1, 1, 1, 2, 1, 1, 1),
        (1, 1, 5, 40, 1, 2, 3),
    ],
)
def test_weight_gradient(n, c, h, w, k, r, s):
    random = np.random.default_rng(0)
    x, g = random.standard_normal((n, c, h, w)), random.standard_normal((n, k, h - r + 1, w - s + 1))
    weight = torch.ones(k, c, r, s, requires_grad=True)
    out = torch.nn.functional.conv2d(torch.tensor(x.astype(np.float32)), weight)
    out.backward(torch.tensor(g.astype(np.float32)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (r, s), (2, 3))  # (n, c, ho, wo, r, s)
    expected = np.einsum("nkyx,ncyxrs->kcrs", g, windows)
    np.testing.assert_allclose(weight.grad.numpy(), expected, rtol=1e-5, atol=1e-5)
