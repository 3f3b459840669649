"""Window functions with the signatures of `torch.signal.windows`; symmetric unless `sym=False`.

Floor 6. All are made of one grid of M numbers, so they fuse with what uses them. float32 and float64 only; **Raises**
ValueError for another dtype or layout, and for M < 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from .. import dtypes
from ..functions import FUNCTIONS as _f
from ..tensor import Tensor

__all__ = [
    "bartlett", "blackman", "cosine", "exponential", "gaussian", "general_cosine", "general_hamming", "hamming", "hann",
    "kaiser", "nuttall",
]  # fmt: skip


class _Wanted:
    """How a window is to be made: length, symmetry, dtype, device, requires_grad, checked."""

    def __init__(
        self, name: str, length: int, sym: bool = True, dtype: Any = None, layout: Any = "strided", device: Any = None,
        requires_grad: bool = False,
    ):  # fmt: skip
        dtype = dtypes.get_default_dtype() if dtype is None else dtype
        if length < 0:
            raise ValueError(f"{name} requires non-negative window length, got M={length}")
        if layout != "strided":
            raise ValueError(f"{name} is implemented for strided tensors only, got: {layout}")
        if dtype not in (dtypes.float32, dtypes.float64):
            raise ValueError(f"{name} expects float32 or float64 dtypes, got: {dtype}")
        self.length, self.sym = length, sym
        self.facts = {"dtype": dtype, "device": device, "requires_grad": requires_grad}

    def trivial(self) -> Tensor | None:
        """The window of no elements or one, else None."""
        if self.length > 1:
            return None
        return _f["ones"](self.length, **self.facts)

    def span(self) -> int:
        """Steps in one period: a window that is not symmetric lacks its last point."""
        return self.length - 1 if self.sym or self.length < 2 else self.length

    def grid(self, start: float, step: float) -> Tensor:
        """start + k * step for each point k; a leaf if the window requires a gradient."""
        return _f["linspace"](start, start + (self.length - 1) * step, self.length, **self.facts)


def exponential(M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True, **facts: Any) -> Tensor:
    """exp(-|n - center| / tau). **Raises** ValueError for tau <= 0, and for a centre of a symmetric window."""
    wanted = _Wanted("exponential", M, sym, **facts)
    if tau <= 0:
        raise ValueError(f"Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ValueError("Center must be None for symmetric windows")
    if M == 0:
        return _f["empty"](0, **wanted.facts)
    middle = wanted.span() / 2 if center is None else center
    return (-wanted.grid(-middle / tau, 1 / tau).abs()).exp()


def cosine(M: int, *, sym: bool = True, **facts: Any) -> Tensor:
    """sin(pi (n + 1/2) / M)."""
    wanted = _Wanted("cosine", M, sym, **facts)
    if M == 0:
        return _f["empty"](0, **wanted.facts)
    step = math.pi / (wanted.span() + 1)
    return wanted.grid(0.5 * step, step).sin()


def gaussian(M: int, *, std: float = 1.0, sym: bool = True, **facts: Any) -> Tensor:
    """exp(-(n - centre)^2 / (2 std^2)). **Raises** ValueError for std <= 0."""
    wanted = _Wanted("gaussian", M, sym, **facts)
    if std <= 0:
        raise ValueError(f"Standard deviation must be positive, got: {std} instead.")
    if M == 0:
        return _f["empty"](0, **wanted.facts)
    step = 1 / (std * math.sqrt(2))
    return (-wanted.grid(-wanted.span() / 2 * step, step).square()).exp()


def kaiser(M: int, *, beta: float = 12.0, sym: bool = True, **facts: Any) -> Tensor:
    """i0(beta sqrt(1 - (2 n / (M - 1) - 1)^2)) / i0(beta). **Raises** ValueError for beta < 0."""
    wanted = _Wanted("kaiser", M, sym, **facts)
    if beta < 0:
        raise ValueError(f"beta must be non-negative, got: {beta} instead.")
    found = wanted.trivial()
    if found is not None:
        return found
    beta = float(wanted.facts["dtype"].numpy.type(beta))  # the last point may not lie beyond the rounded beta
    step = 2 * beta / wanted.span()
    end = min(beta, -beta + (M - 1) * step)
    k = _f["linspace"](-beta, end, M, **wanted.facts)
    top = _f["tensor"](beta, dtype=k.dtype, device=k.device)
    return (top * top - k.square()).clamp(min=0).sqrt().i0() / top.i0()


def bartlett(M: int, *, sym: bool = True, **facts: Any) -> Tensor:
    """1 - |2 n / (M - 1) - 1|."""
    wanted = _Wanted("bartlett", M, sym, **facts)
    found = wanted.trivial()
    return 1 - wanted.grid(-1.0, 2 / wanted.span()).abs() if found is None else found


def general_cosine(M: int, *, a: Iterable[float], sym: bool = True, **facts: Any) -> Tensor:
    """sum over i of (-1)^i a_i cos(2 pi i n / (M - 1)). **Raises** ValueError without coefficients."""
    wanted = _Wanted("general_cosine", M, sym, **facts)
    found = wanted.trivial()
    if found is not None:
        return found
    if not isinstance(a, Iterable):
        raise TypeError("Coefficients must be a list/tuple")
    weights = [(-1) ** i * w for i, w in enumerate(a)]
    if not weights:
        raise ValueError("Coefficients cannot be empty")
    k = wanted.grid(0.0, 2 * math.pi / wanted.span())
    total: Any = k * 0 + weights[0]
    for i, w in enumerate(weights[1:], 1):
        total = total + (k * i).cos() * w
    return total


def _cosines(name: str, M: int, a: list[float], sym: bool, facts: dict[str, Any]) -> Tensor:
    _Wanted(name, M, sym, **facts)
    return general_cosine(M, a=a, sym=sym, **facts)


def general_hamming(M: int, *, alpha: float = 0.54, sym: bool = True, **facts: Any) -> Tensor:
    """alpha - (1 - alpha) cos(2 pi n / (M - 1))."""
    return general_cosine(M, a=[alpha, 1.0 - alpha], sym=sym, **facts)


def hamming(M: int, *, sym: bool = True, **facts: Any) -> Tensor:
    """0.54 - 0.46 cos(2 pi n / (M - 1))."""
    return general_hamming(M, sym=sym, **facts)


def hann(M: int, *, sym: bool = True, **facts: Any) -> Tensor:
    """(1 - cos(2 pi n / (M - 1))) / 2."""
    return general_hamming(M, alpha=0.5, sym=sym, **facts)


def blackman(M: int, *, sym: bool = True, **facts: Any) -> Tensor:
    """0.42 - 0.5 cos(2 pi n / (M - 1)) + 0.08 cos(4 pi n / (M - 1))."""
    return _cosines("blackman", M, [0.42, 0.5, 0.08], sym, facts)


def nuttall(M: int, *, sym: bool = True, **facts: Any) -> Tensor:
    """Nuttall's minimum four-term window. **Source** Nuttall, 1981."""
    return general_cosine(M, a=[0.3635819, 0.4891775, 0.1365995, 0.0106411], sym=sym, **facts)
