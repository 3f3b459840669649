"""Pictures from tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..tensor import Tensor, from_array
from .transforms.functional import to_pil_image


def make_grid(
    tensor: Tensor | Sequence[Tensor],
    nrow: int = 8,
    padding: int = 2,
    normalize: bool = False,
    value_range: tuple[float, float] | None = None,
    scale_each: bool = False,
    pad_value: float = 0.0,
) -> Tensor:
    """Images (N, C, H, W), (C, H, W), (H, W) or a list of them as one picture (3, height, width), `nrow` in a row."""
    if isinstance(tensor, (list, tuple)):
        images = np.stack([t.detach().numpy() for t in tensor])
    elif isinstance(tensor, Tensor):
        images = tensor.detach().numpy()
    else:
        raise TypeError(f"tensor or list of tensors expected, got {type(tensor)}")
    while images.ndim < 4:
        images = images[None]
    if images.shape[1] == 1:
        images = np.repeat(images, 3, 1)
    if normalize:
        images = images.astype(np.float32)
        axes = (1, 2, 3) if scale_each else None
        low = images.min(axes, keepdims=True) if value_range is None else np.float32(value_range[0])
        high = images.max(axes, keepdims=True) if value_range is None else np.float32(value_range[1])
        images = (np.clip(images, low, high) - low) / np.maximum(high - low, 1e-5)
    count, channels, height, width = images.shape
    if count == 1:
        return from_array(np.ascontiguousarray(images[0]))
    across = min(nrow, count)
    down = math.ceil(count / across)
    cell_h, cell_w = height + padding, width + padding
    grid = np.full((channels, cell_h * down + padding, cell_w * across + padding), pad_value, images.dtype)
    for i, image in enumerate(images):
        top, left = padding + (i // across) * cell_h, padding + (i % across) * cell_w
        grid[:, top : top + height, left : left + width] = image
    return from_array(grid)


def save_image(
    tensor: Tensor | Sequence[Tensor], fp: str | Path | Any, format: str | None = None, **kwargs: Any
) -> None:
    """Write images (floats in 0..1) as one picture; keyword arguments go to `make_grid`."""
    grid = make_grid(tensor, **kwargs).numpy()
    pixels = np.clip(grid * 255 + 0.5, 0, 255).astype(np.uint8)
    to_pil_image(from_array(pixels)).save(fp, format=format)
