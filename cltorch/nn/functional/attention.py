"""Attention: softmax of scaled products of queries and keys, applied to values; of one head and of many.

Floor 7. Composed of matrix products and softmax.
"""

from __future__ import annotations

import math

from ...copies import cat
from ...dtypes import bool_
from ...functions.creation import ones
from ...tensor import Tensor
from .affine import linear
from .noise import dropout
from .padding import pad


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(q k^T * scale + mask) v.

    Args:
        attn_mask: broadcast to (..., L, S); of bools (True: takes part) or of numbers that are added.
        dropout_p: share of the weights that are dropped, always (also outside training).
        is_causal: position i sees only positions up to i.
        scale: 1 / sqrt(E) if None.
        enable_gqa: several heads of the query share one of key and value.

    Shape: query (..., L, E), key (..., S, E), value (..., S, V); result (..., L, V).

    Source: Vaswani et al., Attention Is All You Need, 2017.

    Raises:
        RuntimeError: `attn_mask` together with `is_causal`; sizes or dtypes that do not fit.
    """
    if query.dim() < 2 or key.dim() < 2 or value.dim() < 2:
        raise RuntimeError(
            "scaled_dot_product_attention: Expected query, key, and value to all be at least 2 dimensional, but got "
            f"query.dim(): {query.dim()}, key.dim(): {key.dim()} and value.dim(): {value.dim()}"
        )
    if attn_mask is not None and is_causal:
        raise RuntimeError("scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True")
    if query.dtype is not key.dtype or query.dtype is not value.dtype:
        raise RuntimeError(
            "Expected query, key, and value to have the same dtype, but got query.dtype: "
            f"{query.dtype} key.dtype: {key.dtype} and value.dtype: {value.dtype} instead."
        )
    if enable_gqa and query.dim() > 2:
        heads = query.shape[-3]
        key = key.repeat_interleave(heads // key.shape[-3], -3)
        value = value.repeat_interleave(heads // value.shape[-3], -3)
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = (query * factor).matmul(key.transpose(-2, -1))  # (..., L, S)
    seen = attn_mask
    if is_causal:
        seen = _causal(query, scores.shape[-2], scores.shape[-1])
    if seen is None:
        weights = scores.softmax(-1)
    elif seen.dtype is bool_:
        weights = scores.masked_fill(~seen, -math.inf).softmax(-1)
        weights = weights.masked_fill(~seen.any(-1, True), 0.0)  # a row that sees nothing is 0, not NaN
    else:
        weights = (scores + seen).softmax(-1)
    if dropout_p > 0:
        weights = dropout(weights, dropout_p)
    return weights.matmul(value)


def _causal(like: Tensor, length: int, source: int) -> Tensor:
    return ones((length, source), dtype=bool_, device=like.device).tril()


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Attention of several heads between learnt projections; see `nn.MultiheadAttention`.

    Args:
        in_proj_weight, in_proj_bias: the projections of query, key and value below each other, (3 E, E) and (3 E,).
        bias_k, bias_v: a key and a value that are appended, (1, 1, E).
        add_zero_attn: append a key and a value of zeros.
        key_padding_mask: (N, S), True (or -inf) where a key is ignored.
        attn_mask: (L, S) or (N * heads, L, S), True where a key is ignored, or numbers that are added.
        use_separate_proj_weight: `q_proj_weight` and its like instead of `in_proj_weight`.
        static_k, static_v: (N * heads, S, E / heads), instead of the projected ones.
        average_attn_weights: the weights returned are the mean over heads.
        is_causal: a hint that `attn_mask` is causal.

    Shape: query (L, N, E) or (L, E), key and value (S, N, ·) or (S, ·); result like query, and weights (N, L, S),
    (N, heads, L, S) or None.

    Raises:
        RuntimeError: sizes do not fit.
    """
    batched = query.dim() == 3
    if query.dim() not in (2, 3) or key.dim() != query.dim() or value.dim() != query.dim():
        raise RuntimeError(
            f"multi_head_attention_forward: query, key, value: got {query.dim()}, {key.dim()} and {value.dim()} "
            "dimensions, wanted 2 of each or 3 of each"
        )
    if is_causal and attn_mask is None:
        raise RuntimeError(
            "Need attn_mask if specifying the is_causal hint. You may use the Transformer module method "
            "`generate_square_subsequent_mask` to create this mask."
        )
    if not batched:
        query, key, value = query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    length, n, width = query.shape
    if width != embed_dim_to_check or width % num_heads:
        raise RuntimeError(
            f"multi_head_attention_forward: query: got embedding dimension {width}, wanted {embed_dim_to_check}, "
            f"divisible by num_heads {num_heads}"
        )
    each = width // num_heads
    if use_separate_proj_weight:
        weights = (q_proj_weight, k_proj_weight, v_proj_weight)
    else:
        assert in_proj_weight is not None
        weights = in_proj_weight.chunk(3)
    biases = (None, None, None) if in_proj_bias is None else in_proj_bias.chunk(3)
    q, k, v = (linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases))  # type: ignore[arg-type]
    if bias_k is not None and bias_v is not None:
        k, v = cat([k, bias_k.expand(1, n, width)]), cat([v, bias_v.expand(1, n, width)])
    q = q.reshape(length, n * num_heads, each).transpose(0, 1)  # (N heads, L, E / heads)
    k = k.reshape(k.shape[0], n * num_heads, each).transpose(0, 1) if static_k is None else static_k
    v = v.reshape(v.shape[0], n * num_heads, each).transpose(0, 1) if static_v is None else static_v
    if add_zero_attn:
        k, v = pad(k, (0, 0, 0, 1)), pad(v, (0, 0, 0, 1))
    source = k.shape[1]
    scores = (q * (1 / math.sqrt(each))).bmm(k.transpose(1, 2)).reshape(n, num_heads, length, source)
    if attn_mask is not None:
        mask = _added(attn_mask, q)
        mask = mask.reshape(n, num_heads, length, -1) if mask.dim() == 3 else mask
        scores = scores + pad(mask, (0, source - mask.shape[-1]))
    if key_padding_mask is not None:
        ignored = _added(key_padding_mask, q)
        scores = scores + pad(ignored, (0, source - ignored.shape[-1])).reshape(n, 1, 1, source)
    shares = scores.softmax(-1)
    if training and dropout_p > 0:
        shares = dropout(shares, dropout_p)
    out = shares.reshape(n * num_heads, length, source).bmm(v)  # (N heads, L, E / heads)
    out = linear(out.transpose(0, 1).reshape(length, n, width), out_proj_weight, out_proj_bias)
    if not batched:
        out = out.squeeze(1)
    if not need_weights:
        return out, None
    shown = shares.mean(1) if average_attn_weights else shares
    return out, shown if batched else shown.squeeze(0)


def _added(mask: Tensor, like: Tensor) -> Tensor:
    """A mask as numbers to add: -inf where it is True."""
    if mask.dtype is bool_:
        return like.detach().new_zeros(mask.shape).masked_fill(mask, -math.inf)
    return mask.to(like.dtype)
