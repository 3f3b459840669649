"""Attention: softmax of scaled products of queries and keys, applied to values; of one head and of many.

Floor 7. Products, softmax and their gradients run in one kernel each way that never stores the weights (flash form);
the form composed of matrix products serves float64, learnt masks, gradients of gradients and what a device has no room
for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...autograd.modes import state
from ...codegen.attention import fits
from ...copies import cat
from ...direct import run
from ...dtypes import FLOAT, bool_, float32
from ...functions.creation import ones
from ...functions.nodes import give_backward
from ...functions.random import Generator, default_generator, drawn
from ...ops.attention import FLASH_ATTENTION, FLASH_ATTENTION_BACKWARD
from ...ops.random import UNIFORM
from ...shapes import Layout, layout
from ...tensor import Tensor, make
from ..attention import SDPBackend, may_use
from ..attention.bias import CausalBias
from .affine import linear
from .noise import dropout
from .padding import pad


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | CausalBias | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(q k^T * scale + mask) v.

    Args:
        attn_mask: broadcast to (..., L, S); of bools (True: takes part) or of numbers that are added; or one of
            nn.attention.bias.
        dropout_p: share of the weights that are dropped, always (also outside training).
        is_causal: position i sees only positions up to i.
        scale: 1 / sqrt(E) if None.
        enable_gqa: several heads of the query share one of key and value.

    Shape: query (..., L, E), key (..., S, E), value (..., S, V); result (..., L, V). Heads are the dim before L; where
    the query lies in memory with L before the heads, so does the result, and joining the heads is a view.

    **Dtypes** floats; float16 and bfloat16 are computed in float32. A row that sees nothing is 0.

    Source: Vaswani et al., Attention Is All You Need, 2017; Dao et al., FlashAttention, 2022.

    Raises:
        RuntimeError: `attn_mask` together with `is_causal`; sizes or dtypes that do not fit.
    """
    if isinstance(attn_mask, CausalBias):
        named, attn_mask = attn_mask, None
        if is_causal:
            raise RuntimeError("scaled_dot_product_attention: CausalBias should not be used with causal=True")
        is_causal = named.upper_left
        if not is_causal:
            attn_mask = named.materialized(query.device)
    _check(query, key, value, attn_mask, dropout_p, is_causal)
    lead = query._layout.shape[:-2]
    if enable_gqa and lead and key._layout.shape[-3] != lead[-1]:
        heads, shared = lead[-1], key._layout.shape[-3]
        if value._layout.shape[-3] != shared or shared == 0 or heads % shared:
            raise RuntimeError(
                "scaled_dot_product_attention: Number of heads in key and value must divide the number of heads in "
                f"query, got {shared}, {value._layout.shape[-3]} and {heads}"
            )
    factor = 1 / math.sqrt(max(query._layout.shape[-1], 1)) if scale is None else float(scale)
    if may_use(SDPBackend.FLASH_ATTENTION):
        found = _flash(query, key, value, attn_mask, float(dropout_p), is_causal, factor, enable_gqa)
        if found is not None:
            return found
    if not may_use(SDPBackend.MATH):
        raise RuntimeError("scaled_dot_product_attention: No available kernel. Aborting execution.")
    sharing = 1
    if enable_gqa and lead:
        sharing = lead[-1] // key._layout.shape[-3]
    keep = None
    if dropout_p > 0:
        shape = (*lead, query._layout.shape[-2], key._layout.shape[-2])
        keep = _keep(query, shape, dropout_p, default_generator.take(math.prod(shape)))
    shares = _shares(query, _shared(key, sharing), attn_mask, is_causal, factor)
    return (shares if keep is None else shares * keep).matmul(_shared(value, sharing))


def _check(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None, dropout_p: float, is_causal: bool
) -> None:
    if query.dim() < 2 or key.dim() < 2 or value.dim() < 2:
        raise RuntimeError(
            "scaled_dot_product_attention: Expected query, key, and value to all be at least 2 dimensional, but got "
            f"query.dim(): {query.dim()}, key.dim(): {key.dim()} and value.dim(): {value.dim()}"
        )
    if query.dtype is not key.dtype or query.dtype is not value.dtype:
        raise RuntimeError(
            "Expected query, key, and value to have the same dtype, but got query.dtype: "
            f"{query.dtype} key.dtype: {key.dtype} and value.dtype: {value.dtype} instead."
        )
    if query.dtype.category != FLOAT:
        raise RuntimeError(f"scaled_dot_product_attention: query: expected a floating point dtype, got {query.dtype}")
    if query._layout.shape[-1] != key._layout.shape[-1]:
        raise RuntimeError(
            f"scaled_dot_product_attention: key: got head size {key._layout.shape[-1]}, wanted "
            f"{query._layout.shape[-1]} as the query"
        )
    if key._layout.shape[-2] != value._layout.shape[-2]:
        raise RuntimeError(
            f"scaled_dot_product_attention: value: got {value._layout.shape[-2]} positions, wanted "
            f"{key._layout.shape[-2]} as the key"
        )
    if not 0.0 <= dropout_p <= 1.0:
        raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {dropout_p}")
    if attn_mask is None:
        return
    if is_causal:
        raise RuntimeError("scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True")
    if attn_mask.dtype is not bool_ and attn_mask.dtype is not query.dtype and attn_mask.dtype is not float32:
        raise RuntimeError(
            "Expected attn_mask dtype to be bool or float or to match query dtype, but got attn_mask.dtype: "
            f"{attn_mask.dtype} and  query.dtype: {query.dtype} instead."
        )


# ---- flash form


def _flash(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    dropout_p: float,
    causal: bool,
    factor: float,
    grouped: bool,
) -> Tensor | None:
    """The result by one kernel, or None where there is none for such operands."""
    if dropout_p >= 1 or (mask is not None and mask._requires_grad and state.grad):
        return None
    shape = query._layout.shape
    found = _four_dims(query, key, value, grouped)
    if found is None:
        return None
    q, k, v = [_along_rows(x) for x in found]
    batch, heads, rows, _ = q._layout.shape
    keys = k._layout.shape[2]
    steps = q._layout.stride
    attrs = (factor, bool(causal), dropout_p, mask is not None, rows > 1 and heads > 1 and steps[1] < steps[2])
    if not _fits(q, k, v, attrs):
        return None
    rest: tuple[Any, ...] = ()
    if mask is not None:
        whole = (*shape[:-1], keys)
        seen = mask.detach()
        if seen._layout.shape[-1:] != (keys,):
            seen = seen.expand(*seen._layout.shape[:-1], keys)  # type: ignore[attr-defined]
        rest = (_along_rows(seen).expand(whole).reshape(batch, heads, rows, keys),)  # type: ignore[attr-defined]
    if dropout_p:
        rest = (*rest, *default_generator.take(batch * heads * rows * keys))
    out, lse = run(FLASH_ATTENTION, (q, k, v, *rest), attrs)
    tensors = rest[: 1 if mask is not None else 0]
    numbers = rest[len(tensors) :]

    def backward(g: Tensor, q: Tensor, k: Tensor, v: Tensor, lse: Tensor, *kept: Tensor) -> tuple[Tensor, ...]:
        *mask_of, out = kept
        if state.grad:
            return _composed_gradients(g, q, k, v, mask_of[0] if mask_of else None, attrs, numbers)
        operands = (_along_rows(g), q, k, v, out, lse, *mask_of, *numbers)
        return tuple(_headed(x, attrs) for x in run(FLASH_ATTENTION_BACKWARD, operands, attrs))

    saves = (q, k, v, lse, *tensors)
    label = "ScaledDotProductFlashAttentionForCpuBackward0"
    made = give_backward(label, (q, k, v), _headed(out, attrs), backward, saves, keep_out=True)
    return made if len(shape) == 4 else made.reshape(*shape[:-1], v._layout.shape[3])  # type: ignore[attr-defined]


def _four_dims(query: Tensor, key: Tensor, value: Tensor, grouped: bool) -> list[Tensor] | None:
    """q, k and v as (batch, heads, rows, size), key and value with the query's batch; None if batches differ."""
    lead = query._layout.shape[:-2]
    found = [query]
    for x in (key, value):
        given = x._layout.shape
        wanted = (*lead[:-1], given[-3]) if grouped and lead and len(given) == len(lead) + 2 else lead
        if given[:-2] != wanted:
            if len(given) > len(lead) + 2 or any(a not in (1, b) for a, b in zip(given[-3::-1], wanted[::-1])):
                return None
            x = x.expand(*wanted, *given[-2:])  # type: ignore[attr-defined]
        found.append(x)
    if len(lead) == 2:
        return found
    shaped = []
    for x in found:
        given = x._layout.shape
        heads = given[-3] if lead else 1
        shaped.append(x.reshape(math.prod(given[:-3]), heads, *given[-2:]))  # type: ignore[attr-defined]
    return shaped


def _along_rows(x: Tensor) -> Tensor:
    """`x` with its last dim contiguous, as the kernels read it."""
    lay = x._layout
    return x if lay.stride[-1] == 1 or lay.shape[-1] == 1 else x.contiguous()  # type: ignore[attr-defined]


def _fits(q: Tensor, k: Tensor, v: Tensor, attrs: tuple) -> bool:
    memo, key = q._layout.memo, ("flash", k._layout, v._layout, attrs, q._storage.device)
    found = memo.get(key)
    if found is None:
        found = memo[key] = fits(q._layout, k._layout, v._layout, attrs, q._storage.device.target)
    return found


def _headed(x: Tensor, attrs: tuple) -> Tensor:
    """A result of the kernels as (batch, heads, rows, size)."""
    if not attrs[4]:
        return x
    lay: Layout = x._layout
    found = lay.memo.get("heads first")
    if found is None:
        (b, r, h, d), (sb, sr, sh, sd) = lay.shape, lay.stride
        found = lay.memo["heads first"] = layout(lay.dtype, (b, h, r, d), (sb, sh, sr, sd), lay.offset)
    return make(x._storage, found)


# ---- composed form


def _shared(x: Tensor, sharing: int) -> Tensor:
    return x if sharing == 1 else x.repeat_interleave(sharing, -3)  # type: ignore[attr-defined]


def _keep(like: Tensor, shape: tuple[int, ...], dropout_p: float, numbers: Sequence[int]) -> Tensor:
    """1 / (1 - p) where an element of the weights is kept, 0 where it is dropped: what the kernels compute."""
    generator = Generator().manual_seed(numbers[0])
    generator.take(numbers[1])
    kept = drawn(UNIFORM, shape, float32, like._storage.device, generator) >= dropout_p
    return kept.to(like.dtype) * (1 / (1 - dropout_p) if dropout_p < 1 else 0.0)


def _shares(query: Tensor, key: Tensor, mask: Tensor | None, causal: bool, factor: float) -> Tensor:
    """The weights before dropout."""
    scores = (query * factor).matmul(key.transpose(-2, -1))  # (..., L, S)
    seen = mask
    if causal:
        seen = ones(scores.shape[-2:], dtype=bool_, device=query.device).tril()
    if seen is None:
        return scores.softmax(-1)
    if seen.dtype is bool_:
        weights = scores.masked_fill(~seen, -math.inf).softmax(-1)
        unseen = ~seen.any(-1, True)
    else:
        scores = scores + seen.to(scores.dtype)
        weights = scores.softmax(-1)
        unseen = (seen.detach() == -math.inf).all(-1, True)
    return weights.masked_fill(unseen, 0.0)  # a row that sees nothing is 0, not NaN


def _composed_gradients(
    g: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, attrs: tuple, numbers: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of q, k and v by operations that can be differentiated again."""
    factor, causal, dropout_p = attrs[:3]
    sharing = q.shape[1] // k.shape[1]
    many_k, many_v = _shared(k, sharing), _shared(v, sharing)
    shares = _shares(q, many_k, mask, causal, factor)
    d_shares, weights = g.matmul(many_v.transpose(-2, -1)), shares
    if dropout_p:
        keep = _keep(q, tuple(shares.shape), dropout_p, numbers)
        d_shares, weights = d_shares * keep, shares * keep
    slopes = shares * (d_shares - (d_shares * shares).sum(-1, True))
    dq = slopes.matmul(many_k) * factor
    dk = slopes.transpose(-2, -1).matmul(q) * factor
    dv = weights.transpose(-2, -1).matmul(g)
    if sharing > 1:
        dk, dv = (x.unflatten(1, (-1, sharing)).sum(2) for x in (dk, dv))
    return dq, dk, dv


# ---- many heads


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
        same = key is query, value is key
        query = query.unsqueeze(1)
        key = query if same[0] else key.unsqueeze(1)
        value = key if same[1] else value.unsqueeze(1)
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
        biases = (None, None, None) if in_proj_bias is None else in_proj_bias.chunk(3)
        pairs = zip((query, key, value), weights, biases)
        q, k, v = (_rows_of_batch(x, w, b) for x, w, b in pairs)  # type: ignore[arg-type]  # (N, L, E)
    else:
        assert in_proj_weight is not None
        q, k, v = _projected(query, key, value, in_proj_weight, in_proj_bias)
    if bias_k is not None and bias_v is not None:
        k, v = (cat([x, b.expand(n, 1, width)], 1) for x, b in ((k, bias_k), (v, bias_v)))
    q, k, v = (x.unflatten(-1, (num_heads, each)).transpose(1, 2) for x in (q, k, v))  # (N, heads, L, E / heads)
    if static_k is not None:
        k = static_k.unflatten(0, (n, num_heads))
    if static_v is not None:
        v = static_v.unflatten(0, (n, num_heads))
    if add_zero_attn:
        k, v = pad(k, (0, 0, 0, 1)), pad(v, (0, 0, 0, 1))
    share = dropout_p if training else 0.0
    if not need_weights and is_causal and key_padding_mask is None and bias_k is None and not add_zero_attn:
        out, shares = scaled_dot_product_attention(q, k, v, None, share, is_causal=True), None
    else:
        mask = _merged(attn_mask, key_padding_mask, q, k.shape[2])
        if need_weights:
            scores = (q * (1 / math.sqrt(each))).matmul(k.transpose(2, 3))
            shares = (scores if mask is None else scores + _added(mask, q)).softmax(-1)
            if share > 0:
                shares = dropout(shares, share)
            out = shares.matmul(v)
        else:
            seen = ~mask if mask is not None and mask.dtype is bool_ else mask
            out, shares = scaled_dot_product_attention(q, k, v, seen, share), None
    out = linear(out.transpose(1, 2).reshape(n, length, width), out_proj_weight, out_proj_bias).transpose(0, 1)
    if not batched:
        out = out.squeeze(1)
    if shares is None:
        return out, None
    shown = shares.mean(1) if average_attn_weights else shares
    return out, shown if batched else shown.squeeze(0)


def _rows_of_batch(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The projection of (L, N, E) as (N, L, ·), computed in the order in which `x` lies in memory."""
    batch_first = x.stride(0) < x.stride(1)
    return linear(x.transpose(0, 1), weight, bias) if batch_first else linear(x, weight, bias).transpose(0, 1)


def _projected(
    query: Tensor, key: Tensor, value: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value through their thirds of the projection, in as few products as they are tensors."""
    width = query.shape[-1]
    if key is value:
        if query is key:
            return _rows_of_batch(query, weight, bias).chunk(3, -1)
        first, rest = weight.split([width, 2 * width])
        ours, others = (None, None) if bias is None else bias.split([width, 2 * width])
        return (_rows_of_batch(query, first, ours), *_rows_of_batch(key, rest, others).chunk(2, -1))
    biases = (None, None, None) if bias is None else bias.chunk(3)
    return tuple(  # type: ignore[return-value]
        _rows_of_batch(x, w, b) for x, w, b in zip((query, key, value), weight.chunk(3), biases)
    )


def _merged(mask: Tensor | None, padding: Tensor | None, q: Tensor, keys: int) -> Tensor | None:
    """Both masks as one that broadcasts to (N, heads, L, S): bools (True: ignored) if both are, else numbers to add.

    Keys that were appended (by bias_k or zeros) are always seen.
    """
    n, heads, length, _ = q.shape
    found: Tensor | None = None
    if mask is not None:
        if mask.dim() == 2:
            if mask.shape[0] != length:
                raise RuntimeError(
                    f"The shape of the 2D attn_mask is {tuple(mask.shape)}, but should be {(length, keys)}."
                )
            found = mask
        elif mask.dim() == 3:
            if tuple(mask.shape[:2]) != (n * heads, length):
                raise RuntimeError(
                    f"The shape of the 3D attn_mask is {tuple(mask.shape)}, but should be {(n * heads, length, keys)}."
                )
            found = mask.reshape(n, heads, length, -1)
        else:
            raise RuntimeError(f"attn_mask's dimension {mask.dim()} is not supported")
        found = pad(found, (0, keys - found.shape[-1]))
    if padding is None:
        return found
    if padding.shape[0] != n or padding.dim() != 2:
        raise RuntimeError(
            f"multi_head_attention_forward: key_padding_mask: got shape {tuple(padding.shape)}, wanted ({n}, S)"
        )
    ignored = pad(padding, (0, keys - padding.shape[-1])).reshape(n, 1, 1, keys)
    if found is None:
        return ignored if ignored.dtype is bool_ else ignored.to(q.dtype)
    if found.dtype is bool_ and ignored.dtype is bool_:
        return found | ignored
    return _added(found, q) + _added(ignored, q)


def _added(mask: Tensor, like: Tensor) -> Tensor:
    """A mask as numbers to add: -inf where it is True."""
    if mask.dtype is bool_:
        return like.detach().new_zeros(mask.shape).masked_fill(mask, -math.inf)
    return mask.to(like.dtype)
