"""Tables looked up by index, and lengths of vectors: embedding, embedding_bag, pairwise_distance, normalize.

Floor 7.
"""

from __future__ import annotations

from typing import Any

from ...autograd import Function, no_grad
from ...copies import stack
from ...dtypes import int64
from ...functions.arithmetic import where
from ...functions.creation import tensor
from ...functions.indexing import embedding as _rows
from ...tensor import Tensor


class _Embedding(Function):
    """Rows of a table; backward divides each row's gradient by how often it was looked up."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, index: Tensor, padding: int | None) -> Tensor:
        flat = index.reshape(-1)
        ctx.save_for_backward(flat)
        ctx.rows, ctx.padding = weight.shape[0], padding
        return weight.index_select(0, flat).reshape((*index.shape, *weight.shape[1:]))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        (flat,) = ctx.saved_tensors
        rows = grad.reshape((flat.shape[0], grad.shape[-1]))
        counts = rows.new_zeros(ctx.rows).index_add(0, flat, rows.new_ones(flat.shape))
        rows = rows / counts.index_select(0, flat).reshape(-1, 1)
        if ctx.padding is not None:
            rows = where((flat == ctx.padding).reshape(-1, 1), 0.0, rows)
        return rows.new_zeros((ctx.rows, *rows.shape[1:])).index_add(0, flat, rows), None, None


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of `weight` (rows, features) at the indices `input` (*); result (*, features).

    Args:
        padding_idx: a row that gets no gradient.
        max_norm: rows that are looked up are first shortened, in place, to this norm.
        scale_grad_by_freq: divide each row's gradient by how often it was looked up.
        sparse: must be False; sparse gradients do not exist here.

    Raises:
        ValueError: padding_idx is out of range.
        RuntimeError: the indices are not integers or `weight` is not a matrix.
    """
    if sparse:
        raise NotImplementedError("embedding: sparse=True: sparse gradients are not implemented; use sparse=False")
    if weight.dim() != 2:
        raise RuntimeError("'weight' must be 2-D")
    if input.is_floating_point():
        raise RuntimeError(f"embedding: input: got {input.dtype}, wanted int64 or int32 indices")
    if padding_idx is not None:
        if not -weight.shape[0] <= padding_idx < weight.shape[0]:
            raise ValueError("Padding_idx must be within num_embeddings")
        padding_idx %= weight.shape[0]
    if max_norm is not None:
        _shorten_rows(weight, input, max_norm, norm_type)
    if scale_grad_by_freq:
        return _Embedding.apply(weight, input, padding_idx)
    return _rows(input, weight, padding_idx)


def _shorten_rows(weight: Tensor, index: Tensor, max_norm: float, norm_type: float) -> None:
    """Scale the rows of `weight` at `index` down to `max_norm`, in place."""
    with no_grad():
        used = index.reshape(-1)
        rows = weight.index_select(0, used)
        norms = rows.norm(norm_type, dim=1, keepdim=True)
        weight.index_copy_(0, used, where(norms > max_norm, rows * (max_norm / (norms + 1e-7)), rows))


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Sums, means or maxima of bags of rows of `weight`.

    Shape: input (bags, n), or (n,) with `offsets` (bags,) saying where each bag begins; result (bags, features).

    Raises:
        ValueError: the shapes or the mode do not fit.
    """
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(
            f"embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for mode='sum' "
            f"(got mode='{mode}')."
        )
    if input.dim() == 2:
        if offsets is not None:
            raise ValueError(
                "if input is 2D, then offsets has to be None, as input is treated as a mini-batch of fixed "
                "length sequences"
            )
        starts = list(range(0, input.numel() + 1, input.shape[1])) if input.shape[1] else [0] * (input.shape[0] + 1)
        input = input.reshape(-1)
        if per_sample_weights is not None:
            per_sample_weights = per_sample_weights.reshape(-1)
    elif input.dim() == 1:
        if offsets is None:
            raise ValueError("offsets has to be a 1D Tensor but got None")
        starts = offsets.tolist()
        if not include_last_offset:
            starts.append(input.shape[0])
    else:
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.dim()}")
    rows = embedding(input, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(1)
    kept = None if padding_idx is None else input != padding_idx % weight.shape[0]
    return _bags(rows, kept, starts, mode)


def _bags(rows: Tensor, kept: Tensor | None, starts: list[int], mode: str) -> Tensor:
    """One row per bag out of `rows`; those not `kept` do not count."""
    index = [i for i, (a, b) in enumerate(zip(starts, starts[1:])) for _ in range(b - a)]
    bags = len(starts) - 1
    rows = rows[starts[0] : starts[-1]]
    kept = None if kept is None else kept[starts[0] : starts[-1]]
    if mode == "max":
        parts = []
        for a, b in zip(starts, starts[1:]):
            part = rows[a - starts[0] : b - starts[0]]
            if kept is not None:
                part = part[kept[a - starts[0] : b - starts[0]]]
            parts.append(part.amax(0) if part.shape[0] else rows.new_zeros(rows.shape[1:]))
        return stack(parts) if parts else rows.new_zeros((0, rows.shape[1]))
    where_to = tensor(index, dtype=int64, device=rows.device)
    if kept is not None:
        rows = where(kept.unsqueeze(1), rows, 0.0)
    out = rows.new_zeros((bags, rows.shape[1])).index_add(0, where_to, rows)
    if mode == "sum":
        return out
    ones = rows.detach().new_ones(rows.shape[0]) if kept is None else kept.to(rows.dtype)
    counts = ones.new_zeros(bags).index_add(0, where_to, ones)
    return out / counts.clamp(min=1).unsqueeze(1)


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The p-norm of x1 - x2 + eps along the last dim."""
    return (x1 - x2 + eps).norm(p, dim=-1, keepdim=keepdim)


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Tensor | None = None) -> Tensor:
    """x / max(|x|_p, eps) along `dim`."""
    result = input / input.norm(p, dim=dim, keepdim=True).clamp(min=eps).expand_as(input)
    return result if out is None else out.copy_(result)
