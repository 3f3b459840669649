"""The window functions of the package itself, periodic unless told otherwise; see also cltorch.signal.windows.

Floor 6.
"""

from __future__ import annotations

import math
from typing import Any

from .. import dtypes
from ..autograd.modes import no_grad
from ..dispatch import cast
from ..dtypes import FLOAT
from ..tensor import Tensor
from .creation import arange, ones

__all__ = ["bartlett_window", "blackman_window", "hamming_window", "hann_window", "kaiser_window"]


def _grid(
    name: str, length: int, periodic: bool, dtype: Any = None, layout: Any = "strided", device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False,
) -> tuple[Tensor, int, Any]:  # fmt: skip
    """Numbers 0 .. length - 1, the steps of one period, and the dtype of the window. Raises RuntimeError for dtypes
    that are not floating point, other layouts and negative lengths.
    """
    dtype = dtypes.get_default_dtype() if dtype is None else dtype
    if layout != "strided":
        raise RuntimeError(f"{name} is not implemented for sparse types, got: {layout}")
    if dtype.category != FLOAT:
        raise RuntimeError(f"{name} expects floating point dtypes, got: {dtype}")
    if length < 0:
        raise RuntimeError(f"{name} requires non-negative window_length, got window_length={length}")
    computing = dtypes.float32 if dtype.itemsize < 4 else dtype
    if length < 2:
        return ones(length, dtype=computing, device=device), 0, dtype
    return arange(length, dtype=computing, device=device), length if periodic else length - 1, dtype


def _finished(values: Tensor, dtype: Any, facts: dict[str, Any]) -> Tensor:
    found = cast(values, dtype)
    if facts.get("requires_grad"):
        found.requires_grad = True
    return found


def _cosine_sum(name: str, length: int, periodic: bool, weights: tuple[float, ...], facts: dict[str, Any]) -> Tensor:
    with no_grad():
        k, span, dtype = _grid(name, length, periodic, **facts)
        if span:
            angle: Any = k * (2 * math.pi / span)
            k = sum((angle * i).cos() * w for i, w in enumerate(weights[1:], 1)) + weights[0]
        found = cast(k, dtype)
    return _finished(found, dtype, facts)


def hann_window(window_length: int, periodic: bool = True, **facts: Any) -> Tensor:
    """(1 - cos(2 pi n / N)) / 2, N the length, or one less if not periodic."""
    return _cosine_sum("hann_window", window_length, periodic, (0.5, -0.5), facts)


def hamming_window(
    window_length: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, **facts: Any
) -> Tensor:
    """alpha - beta cos(2 pi n / N)."""
    return _cosine_sum("hamming_window", window_length, periodic, (alpha, -beta), facts)


def blackman_window(window_length: int, periodic: bool = True, **facts: Any) -> Tensor:
    """0.42 - 0.5 cos(2 pi n / N) + 0.08 cos(4 pi n / N)."""
    return _cosine_sum("blackman_window", window_length, periodic, (0.42, -0.5, 0.08), facts)


def bartlett_window(window_length: int, periodic: bool = True, **facts: Any) -> Tensor:
    """1 - |2 n / N - 1|."""
    with no_grad():
        k, span, dtype = _grid("bartlett_window", window_length, periodic, **facts)
        found = cast(1 - (k * (2 / span) - 1).abs() if span else k, dtype)
    return _finished(found, dtype, facts)


def kaiser_window(window_length: int, periodic: bool = True, beta: float = 12.0, **facts: Any) -> Tensor:
    """i0(beta sqrt(1 - (2 n / N - 1)^2)) / i0(beta)."""
    with no_grad():
        k, span, dtype = _grid("kaiser_window", window_length, periodic, **facts)
        if span:
            x = k * (2 / span) - 1
            k = ((1 - x.square()).clamp(min=0).sqrt() * beta).i0() / k.new_full((), beta).i0()
        found = cast(k, dtype)
    return _finished(found, dtype, facts)
