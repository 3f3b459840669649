"""Records that cross-entropy and the normalisations are made of: one entry where primitives would be four or five.

Floor 2. Only the functions of nn record them, which have backward passes of their own; hence they have no gradients
here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .pointwise import MATH
from .table import POINTWISE, Op, register


def _part(name: str, arity: int, expr: str, reference: Any, names: tuple[str, ...], doc: str, **facts: Any) -> Op:
    return register(
        Op(
            name,
            POINTWISE,
            arity,
            expr,
            categories="f",
            reference=reference,
            names=names,
            why="part of a function of nn, which has its own backward",
            method=False,
            inplace=False,
            function=False,
            doc=doc,
            **facts,
        )
    )


# ---- softmax, cross-entropy; class numbers are exact in the computing dtype

SHIFTED_EXP = _part(
    "_shifted_exp",
    2,
    "m_exp_down({0} - {1})",
    lambda x, top: np.exp(x - top),
    ("input", "top"),
    "exp(input - top), for input <= top; below 2^-126 it may be 0.",
    includes=MATH,
    cost=12,
    domain=((-3, -1), (-1, 3)),
)
PICK = _part(
    "_pick",
    3,
    "({0} == {1}) ? {2} : $-INFINITY$",
    lambda n, t, x: np.where(n == t, x, -np.inf),
    ("number", "target", "input"),
    "input where the class's number is the target, else -inf.",
)
NLL_ROW = _part(
    "_nll_row",
    5,
    "({3} == {4}) ? $0$ : (m_log({0}) + {1} - {2})",
    lambda s, top, picked, t, ignored: np.where(t == ignored, 0, np.log(s) + top - picked),
    ("total", "top", "picked", "target", "ignored"),
    "log(total) + top - picked; 0 where the target is ignored.",
    includes=MATH,
    cost=14,
    domain=((0.5, 3), (-3, 3), (-3, 3), (-3, 3), (-3, 3)),
)
COUNTED = _part(
    "_counted",
    2,
    "({0} == {1}) ? $0$ : $1$",
    lambda t, ignored: np.where(t == ignored, 0.0, 1.0),
    ("target", "ignored"),
    "1, or 0 where the target is ignored.",
)
NLL_GRADIENT = _part(
    "_nll_gradient",
    8,
    "({4} == {7}) ? $0$ : ((m_exp({0} - {1}) / {2} - (({3} == {4}) ? $1$ : $0$)) * ({5} / {6}))",
    lambda x, top, s, n, t, g, count, ignored: np.where(
        t == ignored, 0, (np.exp(x - top) / s - (n == t)) * (g / count)
    ),
    ("input", "top", "total", "number", "target", "gradient", "count", "ignored"),
    "(softmax - one-hot) * gradient / count; 0 where the target is ignored.",
    includes=MATH,
    cost=20,
    domain=((-3, 3), (-3, 3), (0.5, 3), (-3, 3), (-3, 3), (-3, 3), (1, 3), (-3, 3)),
)

# ---- normalisations: n = (x - mean) * scale + shift. The mean is rounded; what it is off by, the sum of x - mean, is
# in the shift and taken from the squares, so that rows far from 0 lose nothing.

SQUARED_OFF = _part(
    "_squared_off",
    2,
    "({0} - {1}) * ({0} - {1})",
    lambda x, m: (x - m) ** 2,
    ("input", "mean"),
    "(input - mean)^2.",
    cost=3,
)
CENTRED = _part(
    "_centred",
    3,
    "({0} < {1} * {1} * {2}) ? $0$ : ({0} - {1} * {1} * {2})",
    lambda squares, off, factor: np.maximum(squares - off * off * factor, 0),
    ("squares", "off", "factor"),
    "Sum of squares about the mean, from those about a number that deviations from add up to `off`; never negative.",
    cost=6,
    domain=((6, 9), (-1, 1), (0.1, 1)),
)
SHIFT = _part(
    "_shift",
    3,
    "-({0} * {1} * {2})",
    lambda off, factor, scale: -off * factor * scale,
    ("off", "factor", "scale"),
    "-off * factor * scale.",
    cost=3,
)
INVERSE_ROOT = _part(
    "_inverse_root",
    3,
    "$1$ / sqrt({0} * {1} + {2})",
    lambda v, factor, eps: 1 / np.sqrt(v * factor + eps),
    ("squares", "factor", "eps"),
    "1 / sqrt(squares * factor + eps).",
    cost=10,
    domain=((0.1, 3), (0.1, 1), (0.1, 1)),
)
STANDARDIZED = _part(
    "_standardized",
    4,
    "({0} - {1}) * {2} + {3}",
    lambda x, m, s, h: (x - m) * s + h,
    ("input", "mean", "scale", "shift"),
    "(input - mean) * scale + shift.",
    cost=3,
)
STANDARDIZED_AFFINE = _part(
    "_standardized_affine",
    6,
    "(({0} - {1}) * {2} + {3}) * {4} + {5}",
    lambda x, m, s, h, w, b: ((x - m) * s + h) * w + b,
    ("input", "mean", "scale", "shift", "weight", "bias"),
    "((input - mean) * scale + shift) * weight + bias.",
    cost=5,
)
TIMES_NORMAL = _part(
    "_times_normal",
    5,
    "{0} * (({1} - {2}) * {3} + {4})",
    lambda g, x, m, s, h: g * ((x - m) * s + h),
    ("gradient", "input", "mean", "scale", "shift"),
    "gradient * ((input - mean) * scale + shift).",
    cost=4,
)
NORMAL_GRADIENT = _part(
    "_normal_gradient",
    8,
    "({0} - {5} * {7} - (({1} - {2}) * {3} + {4}) * ({6} * {7})) * {3}",
    lambda g, x, m, s, h, total, along, factor: (g - total * factor - ((x - m) * s + h) * along * factor) * s,
    ("gradient", "input", "mean", "scale", "shift", "total", "along", "factor"),
    "(gradient - mean gradient - normal * mean of gradient * normal) * scale.",
    cost=10,
)
