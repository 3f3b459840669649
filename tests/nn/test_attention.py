"""Attention against PyTorch: masks, causality, grouped heads, gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cltorch

rng = np.random.default_rng(0)
Q, K, V = (rng.standard_normal(s).astype("f") for s in ((2, 4, 3, 5), (2, 4, 6, 5), (2, 4, 6, 7)))
SEEN = rng.random((3, 6)) > 0.4
ADDED = rng.standard_normal((2, 1, 3, 6)).astype("f")


def both(function):
    """Result and gradients of q, k and v, of either library."""
    found = []
    for lib in (cltorch, torch):
        leaves = [lib.tensor(a, requires_grad=True) for a in (Q, K, V)]
        out = function(lib, *leaves)
        out.square().sum().backward()
        found.append([out.detach().numpy(), *(leaf.grad.numpy() for leaf in leaves)])
    return zip(*found)


@pytest.mark.parametrize(
    "options",
    [
        lambda lib: {},
        lambda lib: {"scale": 0.3, "is_causal": True},
        lambda lib: {"attn_mask": lib.tensor(SEEN)},
        lambda lib: {"attn_mask": lib.tensor(ADDED)},
    ],
    ids=["plain", "causal", "bool", "added"],
)
def test_scaled_dot_product(options) -> None:
    attention = lambda lib, q, k, v: lib.nn.functional.scaled_dot_product_attention(q, k, v, **options(lib))
    for mine, theirs in both(attention):
        np.testing.assert_allclose(mine, theirs, rtol=2e-5, atol=2e-5)


def test_rows_that_see_nothing_and_contradictions() -> None:
    q, k, v = (cltorch.tensor(a) for a in (Q, K, V))
    attention = cltorch.nn.functional.scaled_dot_product_attention
    assert attention(q, k, v, attn_mask=cltorch.zeros(3, 6, dtype=cltorch.bool)).abs().sum().item() == 0
    with pytest.raises(RuntimeError, match="is_causal"):
        attention(q, k, v, attn_mask=cltorch.tensor(SEEN), is_causal=True)
    with pytest.raises(RuntimeError, match="dtype"):
        attention(q, k.double(), v)


@pytest.mark.parametrize("options", [{}, {"add_bias_kv": True, "add_zero_attn": True}, {"kdim": 3, "vdim": 5}])
def test_multihead_attention(options) -> None:
    theirs = torch.nn.MultiheadAttention(4, 2, batch_first=True, **options)
    mine = cltorch.nn.MultiheadAttention(4, 2, batch_first=True, **options)
    mine.load_state_dict({k: cltorch.tensor(p.detach().numpy()) for k, p in theirs.state_dict().items()})
    q, k, v = (rng.standard_normal((2, n, w)).astype("f") for n, w in ((3, 4), (5, theirs.kdim), (5, theirs.vdim)))
    ignored = np.array([[False] * 5, [False, True, False, True, True]])
    results = []
    for lib, layer in ((cltorch, mine), (torch, theirs)):
        out, weights = layer(*map(lib.tensor, (q, k, v)), key_padding_mask=lib.tensor(ignored))
        results.append((out.detach().numpy(), weights.detach().numpy()))
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
