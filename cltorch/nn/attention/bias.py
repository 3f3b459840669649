"""Causal masks known by name, so that attention need not read them.

Floor 7.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from ...dtypes import bool_
from ...functions.creation import ones
from ...tensor import Tensor

__all__ = ["CausalBias", "CausalVariant", "causal_lower_right", "causal_upper_left"]


class CausalVariant(IntEnum):
    """Which corner of a mask that is not square the diagonal begins (UPPER_LEFT) or ends (LOWER_RIGHT) in."""

    UPPER_LEFT = 1
    LOWER_RIGHT = 2


class CausalBias:
    """A causal mask of `seq_len_q` rows and `seq_len_kv` columns, given as `attn_mask`.

    Raises:
        TypeError: `variant` is no CausalVariant.
    """

    def __init__(self, variant: CausalVariant, seq_len_q: int, seq_len_kv: int) -> None:
        if not isinstance(variant, CausalVariant):
            raise TypeError(f"CausalBias: variant: got {type(variant).__name__}, wanted CausalVariant")
        self.variant, self.seq_len_q, self.seq_len_kv = variant, seq_len_q, seq_len_kv

    @property
    def shape(self) -> tuple[int, int]:
        """(seq_len_q, seq_len_kv)."""
        return self.seq_len_q, self.seq_len_kv

    @property
    def upper_left(self) -> bool:
        """True if this is the mask of `is_causal=True`."""
        return self.variant is CausalVariant.UPPER_LEFT or self.seq_len_q == self.seq_len_kv

    def materialized(self, device: Any = None) -> Tensor:
        """The mask as bools, True where a key is seen."""
        diagonal = 0 if self.variant is CausalVariant.UPPER_LEFT else self.seq_len_kv - self.seq_len_q
        return ones(self.shape, dtype=bool_, device=device).tril(diagonal)  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return f"CausalBias({self.variant.name}, {self.seq_len_q}, {self.seq_len_kv})"


def causal_upper_left(*size: int) -> CausalBias:
    """Row i sees columns up to i: `causal_upper_left(L, S)`."""
    return CausalBias(CausalVariant.UPPER_LEFT, *_two("causal_upper_left", size))


def causal_lower_right(*size: int) -> CausalBias:
    """The last row sees all columns, the one before it all but one, …: `causal_lower_right(L, S)`."""
    return CausalBias(CausalVariant.LOWER_RIGHT, *_two("causal_lower_right", size))


def _two(name: str, size: tuple[int, ...]) -> tuple[int, int]:
    if len(size) != 2:
        raise RuntimeError(f"{name}: size: got {len(size)} numbers, wanted 2")
    return size
