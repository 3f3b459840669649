"""Joining and reshaping composites: hstack, atleast_1d, block_diag, …

Floor 6. Views and copies themselves are in views.py and copies.py.
"""

from __future__ import annotations

from typing import Any

from ..copies import cat
from ..tensor import Tensor
from .derive import check_tensor, with_out

__all__ = [
    "hstack",
    "vstack",
    "row_stack",
    "dstack",
    "column_stack",
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "block_diag",
    "numel",
    "clone",
    "detach",
    "channel_shuffle",
    "pixel_shuffle",
    "pixel_unshuffle",
]


def _each(function: Any, tensors: tuple[Any, ...]) -> Any:
    """`function` of one tensor, or of each of several (given as arguments or as one sequence)."""
    if len(tensors) == 1:
        given = tensors[0]
        return tuple(function(t) for t in given) if isinstance(given, (tuple, list)) else function(given)
    return tuple(function(t) for t in tensors)


def _one(t: Tensor) -> Tensor:
    return t if t.dim() else t.reshape(1)


def _two(t: Tensor) -> Tensor:
    return t.reshape(1, 1) if not t.dim() else t.unsqueeze(0) if t.dim() == 1 else t


def _three(t: Tensor) -> Tensor:
    if not t.dim():
        return t.reshape(1, 1, 1)
    return t.unsqueeze(0).unsqueeze(-1) if t.dim() == 1 else t.unsqueeze(-1) if t.dim() == 2 else t


def atleast_1d(*tensors: Any) -> Any:
    """Tensors with at least one dim."""
    return _each(_one, tensors)


def atleast_2d(*tensors: Any) -> Any:
    """Tensors with at least two dims."""
    return _each(_two, tensors)


def atleast_3d(*tensors: Any) -> Any:
    """Tensors with at least three dims."""
    return _each(_three, tensors)


def _several(op: str, tensors: Any) -> None:
    if not isinstance(tensors, (tuple, list)):
        raise TypeError(
            f"{op}(): argument 'tensors' (position 1) must be tuple of Tensors, not {type(tensors).__name__}"
        )
    if not tensors:
        raise RuntimeError(f"{op} expects a non-empty TensorList")


@with_out
def hstack(tensors: Any) -> Tensor:
    """Joined along dim 1, vectors along dim 0."""
    _several("hstack", tensors)
    parts = [_one(t) for t in tensors]
    return cat(parts, 0 if parts[0].dim() == 1 else 1)


@with_out
def vstack(tensors: Any) -> Tensor:
    """Joined along dim 0; vectors are rows."""
    _several("vstack", tensors)
    return cat([_two(t) for t in tensors], 0)


row_stack = vstack


@with_out
def dstack(tensors: Any) -> Tensor:
    """Joined along dim 2."""
    _several("dstack", tensors)
    return cat([_three(t) for t in tensors], 2)


@with_out
def column_stack(tensors: Any) -> Tensor:
    """Joined along dim 1; vectors are columns."""
    _several("column_stack", tensors)
    return cat([t.reshape(t.numel(), 1) if t.dim() <= 1 else t for t in tensors], 1)


def block_diag(*tensors: Any) -> Tensor:
    """Matrices along the diagonal of a larger one."""
    parts = [_two(t) for t in tensors]
    for i, p in enumerate(parts):
        if p.dim() != 2:
            raise RuntimeError(
                f"torch.block_diag: Input tensors must have 2 or fewer dimensions. Input {i} has {p.dim()} dimensions"
            )
    width = sum(p.shape[1] for p in parts)
    rows, at = [], 0
    for p in parts:
        left, right = p.new_zeros((p.shape[0], at)), p.new_zeros((p.shape[0], width - at - p.shape[1]))
        rows.append(cat([left, p, right], 1))
        at += p.shape[1]
    return cat(rows, 0)


def numel(input: Tensor) -> int:
    """Number of elements."""
    check_tensor("numel", input=input)
    return input.numel()


def clone(input: Tensor, **named: Any) -> Tensor:
    """A copy; gradients flow through it."""
    check_tensor("clone", input=input)
    return input.clone(**named)


def detach(input: Tensor) -> Tensor:
    """The same storage as a tensor outside the graph."""
    check_tensor("detach", input=input)
    return input.detach()


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Channels (dim 1) of `groups` groups dealt out in turn. **Source** Zhang et al., ShuffleNet, 2017."""
    check_tensor("channel_shuffle", input=input)
    n, c = input.shape[:2]
    if groups < 1 or c % groups:
        raise RuntimeError(f"Number of channels must be divisible by groups. Got {c} channels and {groups} groups.")
    return input.reshape(n, groups, c // groups, *input.shape[2:]).transpose(1, 2).reshape(input.shape)


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(*, C r^2, H, W) to (*, C, H r, W r). **Source** Shi et al., 2016."""
    check_tensor("pixel_shuffle", input=input)
    r = upscale_factor
    if input.dim() < 3 or r < 1 or input.shape[-3] % (r * r):
        raise RuntimeError(
            f"pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, "
            f"but got input with sizes {list(input.shape)} and upscale_factor={r}"
        )
    *batch, c, h, w = input.shape
    wide = input.reshape(*batch, c // (r * r), r, r, h, w)
    n = len(batch)
    order = (*range(n + 1), n + 3, n + 1, n + 4, n + 2)
    return wide.permute(order).reshape(*batch, c // (r * r), h * r, w * r)


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(*, C, H r, W r) to (*, C r^2, H, W)."""
    check_tensor("pixel_unshuffle", input=input)
    r = downscale_factor
    if input.dim() < 3 or r < 1 or input.shape[-1] % r or input.shape[-2] % r:
        raise RuntimeError(
            f"pixel_unshuffle expects height and width to be divisible by downscale_factor, but got "
            f"{list(input.shape)} and downscale_factor={r}"
        )
    *batch, c, h, w = input.shape
    wide = input.reshape(*batch, c, h // r, r, w // r, r)
    n = len(batch)
    return wide.permute(*range(n + 1), n + 2, n + 4, n + 1, n + 3).reshape(*batch, c * r * r, h // r, w // r)


METHODS: dict[str, Any] = {}
