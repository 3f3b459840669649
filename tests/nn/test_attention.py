"""Attention against PyTorch: masks, causality, grouped heads, gradients."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

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


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("averaged", [False, True])
@pytest.mark.parametrize("bias", [{}, {"add_bias_kv": True}, {"add_zero_attn": True, "bias": False}], ids=str)
def test_multihead_attention_masks(batch_first, need_weights, averaged, bias) -> None:
    theirs = torch.nn.MultiheadAttention(12, 3, batch_first=batch_first, **bias)
    mine = cltorch.nn.MultiheadAttention(12, 3, batch_first=batch_first, **bias)
    mine.load_state_dict({k: cltorch.tensor(p.detach().numpy()) for k, p in theirs.state_dict().items()})
    x, memory = (rng.standard_normal((2, n, 12)).astype("f") for n in (5, 7))
    if not batch_first:
        x, memory = x.swapaxes(0, 1).copy(), memory.swapaxes(0, 1).copy()
    hidden = rng.random((5, 7)) > 0.7
    hidden[:, 0] = False
    ignored = np.array([[False] * 7, [False, True] + [False] * 3 + [True] * 2])
    added = rng.standard_normal((6, 5, 7)).astype("f")
    for masks in (
        {},
        {"attn_mask": hidden},
        {"attn_mask": added},
        {"attn_mask": hidden, "key_padding_mask": ignored},
        {"attn_mask": added, "key_padding_mask": np.where(ignored, -np.inf, 0).astype("f")},
    ):
        found = []
        for lib, layer in ((cltorch, mine), (torch, theirs)):
            q, kv = (lib.tensor(a, requires_grad=True) for a in (x, memory))
            given = {name: lib.tensor(a) for name, a in masks.items()}
            out, weights = layer(q, kv, kv, need_weights=need_weights, average_attn_weights=averaged, **given)
            out.square().sum().backward()
            assert (weights is None) is not need_weights
            rest = [] if weights is None else [weights.detach().numpy()]
            grads = [p.grad.numpy() for _, p in sorted(layer.named_parameters())]
            found.append([out.detach().numpy(), *rest, q.grad.numpy(), kv.grad.numpy(), *grads])
            layer.zero_grad()
        for a, b in zip(*found, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * max(1.0, np.abs(b).max()))


def flash(lib, *operands, **options):
    return lib.nn.functional.scaled_dot_product_attention(*operands, **options)


def random(*shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype("f")


@pytest.mark.parametrize(
    "shapes, options",
    [
        (((7, 5), (9, 5), (9, 3)), {}),
        (((4, 7, 5), (4, 9, 5), (4, 9, 3)), {}),
        (((2, 3, 2, 7, 5), (2, 3, 2, 9, 5), (2, 3, 2, 9, 3)), {"is_causal": True}),
        (((2, 3, 7, 5), (1, 3, 9, 5), (3, 9, 3)), {}),
        (((2, 6, 21, 16), (2, 2, 30, 16), (2, 2, 30, 20)), {"enable_gqa": True}),
        (((1, 2, 1, 64), (1, 2, 45, 64), (1, 2, 45, 64)), {}),
        (((2, 2, 130, 33), (2, 2, 140, 33), (2, 2, 140, 33)), {"is_causal": True, "scale": -0.2}),
        (((2, 1, 4, 8), (2, 1, 0, 8), (2, 1, 0, 8)), {}),
        (((2, 0, 4, 8), (2, 0, 5, 8), (2, 0, 5, 8)), {}),
    ],
)
def test_shapes(shapes, options) -> None:
    found = []
    arrays = [random(*s) for s in shapes]
    for lib in (cltorch, torch):
        leaves = [lib.tensor(a, requires_grad=True) for a in arrays]
        with contextlib.nullcontext() if lib is cltorch else sdpa_kernel(SDPBackend.MATH):  # theirs misreads broadcasts
            out = flash(lib, *leaves, **options)
        out.square().sum().backward()
        found.append([out.detach().numpy(), *(x.grad.numpy() for x in leaves)])
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("mask", ["bool rows", "bool all", "added", "added per key", "column"])
def test_masks_that_hide_whole_rows(mask) -> None:
    made = {
        "bool rows": rng.random((2, 1, 20, 37)) > 0.5,
        "bool all": np.zeros((20, 37), bool),
        "added": np.where(rng.random((3, 20, 37)) > 0.5, random(3, 20, 37), -np.inf).astype("f"),
        "added per key": np.where(np.arange(37) < 30, random(1, 37), -np.inf).astype("f"),
        "column": (np.arange(20) % 3 > 0)[:, None],
    }[mask]
    if mask in ("bool rows", "added"):
        made[..., 4, :] = False if made.dtype == bool else -np.inf
    found, arrays = [], [random(2, 3, 20, 8), random(2, 3, 37, 8), random(2, 3, 37, 8)]
    for lib in (cltorch, torch):
        leaves = [lib.tensor(a, requires_grad=True) for a in arrays]
        out = flash(lib, *leaves, attn_mask=lib.tensor(made))
        out.square().sum().backward()
        found.append([out.detach().numpy(), *(x.grad.numpy() for x in leaves)])
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_dtypes(dtype) -> None:
    tolerance = {"float16": 2e-3, "bfloat16": 2e-2, "float64": 1e-12}[dtype]
    found, arrays = [], [random(2, 3, 40, 24) for _ in range(3)]
    for lib, kind in ((cltorch, dtype), (torch, "float64")):
        leaves = [lib.tensor(a).to(getattr(lib, dtype)).to(getattr(lib, kind)).requires_grad_() for a in arrays]
        out = flash(lib, *leaves, is_causal=True)
        assert out.dtype is getattr(lib, kind)
        out.sum().backward()
        found.append([out.detach().double().numpy(), *(x.grad.double().numpy() for x in leaves)])
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(b).max())


def test_packed_projection_makes_no_copies() -> None:
    x = cltorch.tensor(random(2, 30, 3 * 24), requires_grad=True)
    q, k, v = (p.view(2, 30, 3, 8).transpose(1, 2) for p in x.split(24, 2))
    out = flash(cltorch, q, k, v, is_causal=True)
    joined = out.transpose(1, 2).reshape(2, 30, 24)
    assert joined._storage is out._storage
    joined.square().sum().backward()
    t = torch.tensor(x.detach().numpy(), requires_grad=True)
    q, k, v = (p.view(2, 30, 3, 8).transpose(1, 2) for p in t.split(24, 2))
    flash(torch, q, k, v, is_causal=True).square().sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), rtol=2e-5, atol=2e-5)


def test_dropout_is_the_same_in_both_directions_and_forms() -> None:
    """Against the composed form, which draws the same numbers; and the share that is dropped is right."""
    backend = cltorch.nn.attention.SDPBackend
    arrays, found = [random(2, 3, 50, 16), random(2, 3, 60, 16), random(2, 3, 60, 16)], []
    for form in (backend.FLASH_ATTENTION, backend.MATH):
        cltorch.manual_seed(7)
        leaves = [cltorch.tensor(a, requires_grad=True) for a in arrays]
        with cltorch.nn.attention.sdpa_kernel(form):
            out = flash(cltorch, *leaves, dropout_p=0.3)
        out.square().sum().backward()
        found.append([out.detach().numpy(), *(x.grad.numpy() for x in leaves)])
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    zeros, eyes = cltorch.zeros(1, 1, 64, 64), cltorch.eye(64).reshape(1, 1, 64, 64)
    weights = flash(cltorch, zeros, zeros, eyes, dropout_p=0.25).numpy()
    assert set(np.unique(weights.round(5))) == {0.0, np.float32(round(1 / 64 / 0.75, 5))}
    assert abs((weights == 0).mean() - 0.25) < 0.03
    assert flash(cltorch, zeros, zeros, eyes, dropout_p=1.0).abs().sum().item() == 0
    with pytest.raises(RuntimeError, match="between 0 and 1"):
        flash(cltorch, zeros, zeros, eyes, dropout_p=1.5)


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"enable_gqa": True}], ids=str)
def test_gradients_of_gradients(options) -> None:
    keys = 1 if options.get("enable_gqa") else 2
    arrays, found = [random(1, 2, 5, 4), random(1, keys, 6, 4), random(1, keys, 6, 3)], []
    for lib in (cltorch, torch):
        leaves = [lib.tensor(a).to(lib.float32 if lib is cltorch else lib.float64).requires_grad_() for a in arrays]
        with lib.nn.attention.sdpa_kernel(
            [lib.nn.attention.SDPBackend.FLASH_ATTENTION] if lib is cltorch else [lib.nn.attention.SDPBackend.MATH]
        ):
            out = flash(lib, *leaves, **options)
        grads = lib.autograd.grad(out.square().sum(), leaves, create_graph=True)
        sum(g.square().sum() for g in grads).backward()
        found.append([x.grad.numpy() for x in leaves])
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4 * np.abs(b).max())


def test_learnt_mask_has_a_gradient() -> None:
    found, arrays, bias = [], [random(2, 3, 6, 4), random(2, 3, 8, 4), random(2, 3, 8, 4)], random(3, 6, 8)
    for lib in (cltorch, torch):
        leaves = [lib.tensor(a, requires_grad=True) for a in (*arrays, bias)]
        flash(lib, *leaves[:3], attn_mask=leaves[3]).square().sum().backward()
        found.append([x.grad.numpy() for x in leaves])
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


def test_infinite_and_large_scores() -> None:
    q, k = np.array([[30.0], [-30.0], [1e20]], "f"), np.array([[30.0], [-30.0], [0.0]], "f")
    v = np.eye(3, dtype="f")
    mine = flash(cltorch, *map(cltorch.tensor, (q, k, v))).numpy()
    np.testing.assert_allclose(mine, flash(torch, *map(torch.tensor, (q, k, v))).numpy(), atol=1e-6)
    q[1] = np.nan
    mine = flash(cltorch, *map(cltorch.tensor, (q, k, v))).numpy()
    assert np.isnan(mine[1]).all() and not np.isnan(mine[[0, 2]]).any()


def test_refusals() -> None:
    q = cltorch.zeros(2, 4, 6, 8)
    with pytest.raises(RuntimeError, match="head size"):
        flash(cltorch, q, cltorch.zeros(2, 4, 6, 7), q)
    with pytest.raises(RuntimeError, match="positions"):
        flash(cltorch, q, q, cltorch.zeros(2, 4, 5, 8))
    with pytest.raises(RuntimeError, match="divide the number of heads"):
        flash(cltorch, q, cltorch.zeros(2, 3, 6, 8), cltorch.zeros(2, 3, 6, 8), enable_gqa=True)
    with pytest.raises(RuntimeError, match="attn_mask dtype"):
        flash(cltorch, q, q, q, attn_mask=cltorch.ones(6, 6, dtype=cltorch.int32))
    with pytest.raises(RuntimeError):
        flash(cltorch, q, q, q, attn_mask=cltorch.ones(6, 5, dtype=cltorch.bool))
    with pytest.raises(RuntimeError, match="No available kernel"), cltorch.nn.attention.sdpa_kernel([]):
        flash(cltorch, q, q, q)
    with pytest.raises(TypeError, match="SDPBackend"), cltorch.nn.attention.sdpa_kernel("math"):
        pass


@pytest.mark.parametrize("rows, keys", [(5, 9), (9, 5), (6, 6)])
def test_named_causal_masks(rows, keys) -> None:
    arrays = [random(1, 2, rows, 8), random(1, 2, keys, 8), random(1, 2, keys, 8)]
    for name in ("causal_upper_left", "causal_lower_right"):
        mask = getattr(cltorch.nn.attention.bias, name)(rows, keys)
        mine = flash(cltorch, *map(cltorch.tensor, arrays), attn_mask=mask).numpy()
        diagonal = 0 if name == "causal_upper_left" else keys - rows
        seen = torch.ones(rows, keys, dtype=torch.bool).tril(diagonal)
        np.testing.assert_array_equal(mask.materialized().numpy(), seen.numpy())
        theirs = flash(torch, *map(torch.tensor, arrays), attn_mask=seen).numpy()
        np.testing.assert_allclose(mine, theirs, rtol=2e-5, atol=2e-5)
