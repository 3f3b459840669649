"""Transformer modules against PyTorch: results and gradients with PyTorch's own state."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cltorch

rng = np.random.default_rng(0)


def pair(name: str, *args, **options):
    """The module of either library with the same parameters, which are no longer the symmetric ones of the start."""
    torch.manual_seed(0)
    theirs = getattr(torch.nn, name)(*given(torch, args), **options)
    mine = getattr(cltorch.nn, name)(*given(cltorch, args), **options)
    with torch.no_grad():
        for p in theirs.parameters():
            p.add_(0.1 * torch.randn_like(p))
    missing = mine.load_state_dict({k: cltorch.tensor(p.detach().numpy()) for k, p in theirs.state_dict().items()})
    assert not missing.missing_keys and not missing.unexpected_keys
    return mine, theirs


def given(lib, args):
    return [a(lib) if callable(a) else a for a in args]


def compare(mine, theirs, arrays, **options) -> None:
    found = []
    for lib, layer in ((cltorch, mine), (torch, theirs)):
        leaves = [lib.tensor(a, requires_grad=True) for a in arrays]
        out = layer(*leaves, **{k: lib.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()})
        (out * lib.tensor(np.cos(np.arange(out.numel())).astype("f").reshape(tuple(out.shape)))).sum().backward()
        grads = {n: p.grad.numpy() for n, p in layer.named_parameters()}
        found.append([out.detach().numpy(), *(x.grad.numpy() for x in leaves), *(grads[n] for n in sorted(grads))])
        for p in layer.parameters():
            p.grad = None
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4 * max(1.0, np.abs(b).max()))


def numbers(*shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype("f")


CAUSAL = np.triu(np.full((7, 7), -np.inf, "f"), 1)
PADDED = np.array([[False] * 7, [False] * 4 + [True] * 3, [False] * 6 + [True]])


@pytest.mark.parametrize("norm_first, batch_first", [(False, False), (False, True), (True, True)])
def test_encoder_layer(norm_first, batch_first) -> None:
    layers = pair(
        "TransformerEncoderLayer", 12, 3, 20, 0.0, "gelu", batch_first=batch_first, norm_first=norm_first
    )
    x = numbers(3, 7, 12) if batch_first else numbers(7, 3, 12)
    compare(*layers, [x])
    compare(*layers, [x], src_mask=CAUSAL, is_causal=True)
    compare(*layers, [x], src_mask=np.isinf(CAUSAL), src_key_padding_mask=PADDED)
    compare(*layers, [x], src_mask=CAUSAL, src_key_padding_mask=np.where(PADDED, -np.inf, 0).astype("f"))


@pytest.mark.parametrize("norm_first", [False, True])
def test_decoder_layer(norm_first) -> None:
    layers = pair("TransformerDecoderLayer", 12, 2, 16, 0.0, batch_first=True, norm_first=norm_first, bias=False)
    x, memory = numbers(3, 5, 12), numbers(3, 7, 12)
    causal = np.triu(np.full((5, 5), -np.inf, "f"), 1)
    compare(*layers, [x, memory])
    compare(*layers, [x, memory], tgt_mask=causal, tgt_is_causal=True, memory_key_padding_mask=PADDED)


def test_layer_without_batch() -> None:
    compare(*pair("TransformerEncoderLayer", 12, 3, 20, 0.0), [numbers(7, 12)])


def test_encoder_sees_causality() -> None:
    def layer(lib):
        return lib.nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True)

    def norm(lib):
        return lib.nn.LayerNorm(8)

    encoders = pair("TransformerEncoder", layer, 2, norm, enable_nested_tensor=False)
    compare(*encoders, [numbers(3, 7, 8)], mask=CAUSAL)
    compare(*encoders, [numbers(3, 7, 8)], mask=CAUSAL + np.eye(7, dtype="f"))  # not causal, though it looks like it
    compare(*encoders, [numbers(3, 7, 8)], src_key_padding_mask=PADDED)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")  # theirs
@pytest.mark.parametrize("batch_first", [False, True])
def test_transformer(batch_first) -> None:
    models = pair("Transformer", 12, 2, 2, 2, 20, 0.0, batch_first=batch_first)
    src, tgt = numbers(3, 7, 12), numbers(3, 5, 12)
    if not batch_first:
        src, tgt = src.swapaxes(0, 1).copy(), tgt.swapaxes(0, 1).copy()
    mask = cltorch.nn.Transformer.generate_square_subsequent_mask(5).numpy()
    np.testing.assert_array_equal(mask, torch.nn.Transformer.generate_square_subsequent_mask(5).numpy())
    compare(*models, [src, tgt], tgt_mask=mask, src_key_padding_mask=PADDED, memory_key_padding_mask=PADDED)


def test_refuses() -> None:
    model = cltorch.nn.Transformer(8, 2, 1, 1, 8)
    with pytest.raises(RuntimeError, match="batch number"):
        model(cltorch.zeros(4, 2, 8), cltorch.zeros(4, 3, 8))
    with pytest.raises(RuntimeError, match="feature number"):
        model(cltorch.zeros(4, 2, 7), cltorch.zeros(4, 2, 8))
    with pytest.raises(RuntimeError, match="relu/gelu"):
        cltorch.nn.TransformerEncoderLayer(8, 2, activation="tanh")


def test_dropout_is_off_in_evaluation_and_on_in_training() -> None:
    layer = cltorch.nn.TransformerEncoderLayer(8, 2, 16, 0.5)
    x = cltorch.tensor(numbers(5, 2, 8))
    assert not np.array_equal(layer(x).detach().numpy(), layer(x).detach().numpy())
    layer.eval()
    np.testing.assert_array_equal(layer(x).detach().numpy(), layer(x).detach().numpy())
