"""Records over many tensors at once: what clipping the gradients of a whole network needs.

Floor 2. Only nn.utils records them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..codegen import totals as lowering
from ..dtypes import DType
from ..shapes import Layout
from .table import CUSTOM, Op, register

Result = tuple[tuple[DType, tuple[int, ...]], ...]

_FACTS: dict[str, Any] = {
    "kind": CUSTOM,
    "arity": -1,
    "categories": "f",
    "promote": "none",
    "method": False,
    "inplace": False,
    "function": False,
    "why": "clipping gradients is not differentiated",
}


def _infer_total(layouts: tuple[Layout, ...], attrs: tuple) -> Result:
    return ((layouts[0].dtype, ()),)


def _infer_scaled(layouts: tuple[Layout, ...], attrs: tuple) -> Result:
    return tuple((x.dtype, x.shape) for x in layouts[1:])


def total_reference(*arrays: np.ndarray, kind: str) -> np.ndarray:
    """Of all elements the sum of squares ('squares') or the largest magnitude ('largest')."""
    flat = np.concatenate([a.reshape(-1) for a in arrays])
    return (flat * flat).sum() if kind == "squares" else np.abs(flat).max(initial=0)


def scale_all_reference(factor: np.ndarray, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """Every array times `factor`."""
    return tuple(a * factor for a in arrays)


TOTAL = register(
    Op(
        "_total",
        infer=_infer_total,
        lower=lowering.lower_total,
        reference=total_reference,
        doc="The sum of squares, or the largest magnitude, of all elements of all inputs. Attribute: which.",
        **_FACTS,
    )
)
SCALE_ALL = register(
    Op(
        "_scale_all",
        infer=_infer_scaled,
        lower=lowering.lower_scale_all,
        reference=scale_all_reference,
        doc="Every input but the first, times the first, in place.",
        **_FACTS,
    )
)
