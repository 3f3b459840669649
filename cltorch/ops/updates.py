"""Records of optimizers' updates: one entry per parameter and tensor written.

Floor 2. Composed of primitives an update would be two to four entries; recording is the larger cost of a small
model's step, so each is one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .table import POINTWISE, Op, register

_WHY = "an optimizer's update is not differentiated"


def _update(name: str, arity: int, expr: str, reference: Any, names: tuple[str, ...], doc: str, **facts: Any) -> Op:
    """A record without method, in-place form or function: optim/update.py records it."""
    return register(
        Op(
            name,
            POINTWISE,
            arity,
            expr,
            categories="f",
            reference=reference,
            names=names,
            why=_WHY,
            method=False,
            inplace=False,
            function=False,
            doc=doc,
            **facts,
        )
    )


WEIGHTED = _update(
    "_weighted",
    4,
    "{0} * {2} + {1} * {3}",
    lambda a, b, m, n: a * m + b * n,
    ("input", "other", "weight", "other_weight"),
    "weight * input + other_weight * other: momentum and running means.",
    cost=3,
)
WEIGHTED_SQUARE = _update(
    "_weighted_square",
    4,
    "{0} * {2} + {1} * {1} * {3}",
    lambda a, b, m, n: a * m + b * b * n,
    ("input", "other", "weight", "other_weight"),
    "weight * input + other_weight * other^2: running means of squares.",
    cost=4,
)
SCALED_STEP = _update(
    "_scaled_step",
    6,
    "{0} - {3} * ({1} / (sqrt({2}) * {4} + {5}))",
    lambda p, m, v, lr, scale, eps: p - lr * (m / (np.sqrt(v) * scale + eps)),
    ("input", "mean", "square", "lr", "scale", "eps"),
    "input - lr * mean / (scale * sqrt(square) + eps): Adam and its relatives.",
    cost=12,
    domain=((-3, 3), (-3, 3), (0.1, 3), (0.1, 1), (0.5, 1), (0.1, 1)),
    source="Kingma and Ba, Adam, 2015",
)
