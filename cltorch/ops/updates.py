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
    7,
    "{0} * {6} - {3} * ({1} / (sqrt({2}) * {4} + {5}))",
    lambda p, m, v, lr, scale, eps, kept: p * kept - lr * (m / (np.sqrt(v) * scale + eps)),
    ("input", "mean", "square", "lr", "scale", "eps", "kept"),
    "kept * input - lr * mean / (scale * sqrt(square) + eps): Adam and its relatives.",
    cost=13,
    domain=((-3, 3), (-3, 3), (0.1, 3), (0.1, 1), (0.5, 1), (0.1, 1), (0.9, 1)),
    source="Kingma and Ba, Adam, 2015",
)
QUOTIENT = _update(
    "_quotient",
    3,
    "{0} / (sqrt({1}) + {2})",
    lambda g, v, eps: g / (np.sqrt(v) + eps),
    ("input", "square", "eps"),
    "input / (sqrt(square) + eps): RMSprop's step before momentum.",
    cost=10,
    domain=((-3, 3), (0.1, 3), (0.1, 1)),
)
VARIANCE = _update(
    "_variance",
    2,
    "{0} - {1} * {1}",
    lambda v, m: v - m * m,
    ("square", "mean"),
    "square - mean^2: RMSprop's size of a centered gradient.",
    cost=2,
)
ROOT_RATIO = _update(
    "_root_ratio",
    4,
    "sqrt({1} + {3}) / sqrt({2} + {3}) * {0}",
    lambda g, u, v, eps: np.sqrt(u + eps) / np.sqrt(v + eps) * g,
    ("input", "over", "under", "eps"),
    "input * sqrt(over + eps) / sqrt(under + eps): Adadelta's step.",
    cost=20,
    domain=((-3, 3), (0.1, 3), (0.1, 3), (0.1, 1)),
    source="Zeiler, ADADELTA: An Adaptive Learning Rate Method, 2012",
)
LARGEST = _update(
    "_largest",
    4,
    "(({0} * {2} > fabs({1}) + {3}) | ({0} != {0})) ? ({0} * {2}) : (fabs({1}) + {3})",
    lambda u, g, beta, eps: np.maximum(u * beta, np.abs(g) + eps),
    ("input", "other", "weight", "eps"),
    "max(weight * input, |other| + eps): Adamax's size of a gradient.",
    cost=5,
)
STEP_SIZE = _update(
    "_step_size",
    5,
    "({1} * {2} > $0$) ? ({0} * {4}) : (({1} * {2} < $0$) ? ({0} * {3}) : {0})",
    lambda s, g, p, shrink, grow: s * np.where(g * p > 0, grow, np.where(g * p < 0, shrink, 1)),
    ("input", "gradient", "previous", "shrink", "grow"),
    "input * grow where the two gradients agree in sign, input * shrink where they do not: Rprop's steps.",
    cost=5,
    source="Riedmiller and Braun, 1993",
)
UNTURNED = _update(
    "_unturned",
    2,
    "({0} * {1} < $0$) ? $0$ : {1}",
    lambda p, g: np.where(p * g < 0, 0, g),
    ("previous", "gradient"),
    "0 where the gradient's sign has turned, else the gradient.",
    cost=2,
)
SIGNED_STEP = _update(
    "_signed_step",
    3,
    "({1} > $0$) ? ({0} - {2}) : (({1} < $0$) ? ({0} + {2}) : {0})",
    lambda p, g, s: p - np.sign(g) * s,
    ("input", "gradient", "size"),
    "input - sign(gradient) * size.",
    cost=3,
)
