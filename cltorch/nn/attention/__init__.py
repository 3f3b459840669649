"""Which form of attention may run, and masks known by name.

Floor 7. `nn.functional.scaled_dot_product_attention` asks here; this package knows no attention itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import Enum

from . import bias

__all__ = ["SDPBackend", "bias", "sdpa_kernel"]


class SDPBackend(Enum):
    """The forms of attention. Here FLASH_ATTENTION, EFFICIENT_ATTENTION and CUDNN_ATTENTION are one: the kernels that
    never store the weights; MATH is composed of matrix products.
    """

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4


_FUSED = {SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION}
_allowed: list[frozenset[SDPBackend]] = [frozenset(SDPBackend)]


def may_use(backend: SDPBackend) -> bool:
    """True if MATH, or for FLASH_ATTENTION any of its names, is allowed at this moment."""
    allowed = _allowed[-1]
    return backend in allowed if backend is SDPBackend.MATH else not allowed.isdisjoint(_FUSED)


@contextmanager
def sdpa_kernel(backends: SDPBackend | Iterable[SDPBackend], set_priority: bool = False) -> Iterator[None]:
    """Within it, scaled_dot_product_attention uses only `backends`; it raises RuntimeError where none of them can.

    Args:
        set_priority: accepted; a kernel without stored weights is always tried first.

    Example:
        >>> q = cltorch.randn(1, 2, 5, 4)
        >>> with cltorch.nn.attention.sdpa_kernel(cltorch.nn.attention.SDPBackend.MATH):
        ...     out = cltorch.nn.functional.scaled_dot_product_attention(q, q, q)

    Raises:
        TypeError: something else than SDPBackend.
    """
    given = frozenset([backends] if isinstance(backends, SDPBackend) else backends)
    for each in given:
        if not isinstance(each, SDPBackend):
            raise TypeError(f"sdpa_kernel: backends: got {type(each).__name__}, wanted SDPBackend or a list of them")
    _allowed.append(given)
    try:
        yield
    finally:
        _allowed.pop()
