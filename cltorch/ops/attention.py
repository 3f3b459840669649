"""Records of attention in flash form: the result with each row's logarithm, and the gradients.

Floor 2. Layouts, attributes and the order of operands are those of codegen/attention.py. Only
`nn.functional.scaled_dot_product_attention` records them, which has a backward pass of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..codegen import attention as lowering
from ..dtypes import DType, float32
from .random import philox
from .table import CUSTOM, Op, register

_ATTENTION: dict[str, Any] = {
    "kind": CUSTOM, "categories": "f", "promote": "none", "method": False, "inplace": False, "function": False,
    "why": "part of scaled_dot_product_attention, which has its own backward",
    "source": "Dao, Fu, Ermon, Rudra and Ré, FlashAttention, 2022",
}  # fmt: skip


def _laid_out(attrs: tuple, shape: tuple[int, ...], depth: int) -> tuple[int, ...]:
    """Shape of a result for an operand (B, H, L, ·) of `shape`."""
    batch, heads, rows, _ = shape
    return (batch, rows, heads, depth) if attrs[4] else (batch, heads, rows, depth)


def _infer(layouts: tuple, attrs: tuple) -> tuple[tuple[DType, tuple[int, ...]], ...]:
    q, v = layouts[0], layouts[2]
    return (q.dtype, _laid_out(attrs, q.shape, v.shape[3])), (float32, q.shape[:3])


def _infer_backward(layouts: tuple, attrs: tuple) -> tuple[tuple[DType, tuple[int, ...]], ...]:
    return tuple((x.dtype, _laid_out(attrs, x.shape, x.shape[3])) for x in layouts[1:4])


# ---- references


def kept(seed: int, offset: int, shape: tuple[int, ...], dropout_p: float) -> np.ndarray:
    """Which elements of the weights dropout keeps."""
    index = np.arange(int(np.prod(shape))).reshape(shape)
    return (philox(seed, offset, index)[0] >> np.uint64(8)) >= np.uint64(np.ceil(dropout_p * 2**24))


def _shares(q: np.ndarray, k: np.ndarray, attrs: tuple, rest: tuple) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights before dropout, 1 / (1 - p) where they are kept and else 0, and lse."""
    scale, causal, dropout_p, masked, _ = attrs
    k = np.repeat(k, q.shape[1] // k.shape[1], 1)
    scores = scale * (q @ k.swapaxes(-1, -2))
    if causal:
        scores = np.where(np.tril(np.ones(scores.shape[-2:], bool)), scores, -np.inf)
    if masked:
        scores = np.where(rest[0], scores, -np.inf) if rest[0].dtype == bool else scores + rest[0]
    top = scores.max(-1, keepdims=True)
    powers = np.exp(scores - np.where(np.isneginf(top), 0, top))
    total = powers.sum(-1, keepdims=True)
    with np.errstate(divide="ignore"):
        lse = np.where(total > 0, top + np.log(total), np.inf)[..., 0] / np.log(2)
    keep = np.ones(scores.shape)
    if dropout_p:
        keep = kept(rest[-2], rest[-1], scores.shape, dropout_p) / (1 - dropout_p)
    return powers / np.where(total > 0, total, 1), keep, lse


def _turned(a: np.ndarray, attrs: tuple) -> np.ndarray:
    return a.swapaxes(1, 2) if attrs[4] else a


def reference(q: np.ndarray, k: np.ndarray, v: np.ndarray, *rest: Any) -> tuple[np.ndarray, np.ndarray]:
    """The composed form; `rest` is the mask, seed and offset, where there are any, and the attributes."""
    rest, attrs = rest[:-5], rest[-5:]
    shares, keep, lse = _shares(q, k, attrs, rest)
    out = (shares * keep) @ np.repeat(v, q.shape[1] // v.shape[1], 1)
    return _turned(out, attrs), lse


def backward_reference(
    g: np.ndarray, q: np.ndarray, k: np.ndarray, v: np.ndarray, out: np.ndarray, lse: np.ndarray, *rest: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of the composed form."""
    rest, attrs = rest[:-5], rest[-5:]
    shares, keep, _ = _shares(q, k, attrs, rest)
    sharing = q.shape[1] // k.shape[1]
    many_k, many_v = np.repeat(k, sharing, 1), np.repeat(v, sharing, 1)
    d_shares = keep * (g @ many_v.swapaxes(-1, -2))
    slopes = shares * (d_shares - (d_shares * shares).sum(-1, keepdims=True))
    dq = attrs[0] * (slopes @ many_k)
    dk = attrs[0] * (slopes.swapaxes(-1, -2) @ q)
    dv = (shares * keep).swapaxes(-1, -2) @ g

    def together(a: np.ndarray) -> np.ndarray:
        return a.reshape(a.shape[0], -1, sharing, *a.shape[2:]).sum(2)

    return _turned(dq, attrs), _turned(together(dk), attrs), _turned(together(dv), attrs)


# ---- the records

FLASH_ATTENTION = register(
    Op(
        "_flash_attention",
        **_ATTENTION,
        arity=3,
        infer=_infer,
        lower=lowering.lower_flash_attention,
        reference=reference,
        names=("query", "key", "value", "mask", "seed", "offset"),
        doc="softmax(scale q k^T + mask) v and log2 of each row's sum of powers. Operands q, k, v[, mask][, seed, "
        "offset]; attributes: scale, causal, dropout_p, masked, rows_first.",
    )
)
FLASH_ATTENTION_BACKWARD = register(
    Op(
        "_flash_attention_backward",
        **_ATTENTION,
        arity=6,
        infer=_infer_backward,
        lower=lowering.lower_flash_attention_backward,
        reference=backward_reference,
        names=("grad", "query", "key", "value", "out", "lse", "mask", "seed", "offset"),
        doc="Gradients of _flash_attention with respect to q, k and v from g, q, k, v, out, lse[, mask][, seed, "
        "offset], g and out (B, H, L, V). Attributes: _flash_attention's.",
    )
)
