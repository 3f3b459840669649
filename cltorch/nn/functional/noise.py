"""Dropout in its forms: elements, whole channels, and the one that keeps self-normalising networks normal.

Floor 7. One random mask, drawn in place, times the input.
"""

from __future__ import annotations

import warnings

from ...tensor import Tensor


def _checked(p: float) -> float:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    return p


def _masked(input: Tensor, p: float, mask_shape: tuple[int, ...], inplace: bool) -> Tensor:
    """`input` times a mask of `mask_shape` that is 0 with probability p and 1 / (1 - p) otherwise."""
    if p == 0.0 or input.numel() == 0:
        return input if inplace else input * 1
    if p == 1.0:
        return input.mul_(0) if inplace else input * 0
    mask = input.detach().new_empty(mask_shape).bernoulli_(1 - p).mul_(1 / (1 - p))
    return input.mul_(mask) if inplace else input * mask


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """In training each element is 0 with probability p and divided by 1 - p otherwise; else the input itself.

    Source: Srivastava et al., Dropout, 2014.
    """
    _checked(p)
    return _masked(input, p, input.shape, inplace) if training else input


def _channels(name: str, input: Tensor, p: float, training: bool, inplace: bool, unbatched: int) -> Tensor:
    """Dropout of whole channels; an input of `unbatched` dimensions has no batch dimension."""
    _checked(p)
    if not training:
        return input
    lead = 1 if input.dim() == unbatched else 2
    if input.dim() < lead:
        raise RuntimeError(f"{name}: input: got {input.dim()} dimensions, wanted at least {lead}")
    return _masked(input, p, (*input.shape[:lead], *(1,) * (input.dim() - lead)), inplace)


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Dropout of whole channels. Shape: (N, C, L) or (C, L). Raises RuntimeError for others."""
    if input.dim() not in (2, 3):
        raise RuntimeError(f"dropout1d: Expected 2D or 3D input, but received a {input.dim()}D input.")
    return _channels("dropout1d", input, p, training, inplace, 2)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Dropout of whole channels. Shape: (N, C, H, W); as in PyTorch, dims 0 and 1 are batch and channel of an input
    of 3 dimensions too.
    """
    if input.dim() not in (3, 4):
        warnings.warn(
            f"dropout2d: Received a {input.dim()}-D input to dropout2d, which is deprecated and will result in an "
            f"error in a "
            "future release.",
            stacklevel=2,
        )
    return _channels("dropout2d", input, p, training, inplace, -1)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Dropout of whole channels. Shape: (N, C, D, H, W) or (C, D, H, W)."""
    if input.dim() not in (4, 5):
        warnings.warn(
            f"dropout3d: Received a {input.dim()}-D input to dropout3d, which is deprecated and will result in an "
            f"error in a "
            "future release.",
            stacklevel=2,
        )
    return _channels("dropout3d", input, p, training, inplace, 4)


def _alpha(input: Tensor, p: float, mask_shape: tuple[int, ...], inplace: bool) -> Tensor:
    """Dropped elements become -alpha' of SELU; an affine map restores mean 0 and variance 1."""
    if p == 0.0 or input.numel() == 0:
        return input if inplace else input * 1
    if p == 1.0:
        return input.mul_(0) if inplace else input * 0
    alpha = 1.7580993408473766
    a = ((alpha**2 * p + 1) * (1 - p)) ** -0.5
    kept = input.detach().new_empty(mask_shape).bernoulli_(1 - p)
    shift = (kept - 1) * (alpha * a) + alpha * a * p
    return input.mul_(kept * a).add_(shift) if inplace else input * (kept * a) + shift


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Dropout that keeps mean and variance of self-normalising networks.

    Source: Klambauer et al., Self-Normalizing Neural Networks, 2017.
    """
    _checked(p)
    return _alpha(input, p, input.shape, inplace) if training else input


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """`alpha_dropout` of whole channels (dims 0 and 1 kept apart)."""
    _checked(p)
    if not training:
        return input
    if input.dim() < 2:
        raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
    return _alpha(input, p, (*input.shape[:2], *(1,) * (input.dim() - 2)), inplace)
