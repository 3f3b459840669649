"""Records of random numbers: pure functions of (element number, seed, offset), so one seed gives the same numbers on
every device.

Floor 2. Operands are the int64 number of each element and two run-time numbers; a new draw changes numbers only,
never the plan.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import DType, bfloat16, float16, float64
from .table import POINTWISE, Op, register

PHILOX = ("math", "philox")
_SOURCE = "Salmon, Moraes, Dror and Shaw, 'Parallel random numbers: as easy as 1, 2, 3', 2011"


def philox(seed: int, offset: int, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two 32-bit words per element: the reference of kernels/philox.cl."""
    counter = (np.asarray(index).astype(np.uint64) + np.uint64(offset)).astype(np.uint64)
    low = np.uint64(0xFFFFFFFF)
    a, b = counter & low, (counter >> np.uint64(32)) ^ np.uint64((seed >> 32) & 0xFFFFFFFF)
    key = seed & 0xFFFFFFFF
    for _ in range(10):
        product = a * np.uint64(0xD256D193)
        a, b = (product >> np.uint64(32)) ^ np.uint64(key) ^ b, product & low
        key = (key + 0x9E3779B9) & 0xFFFFFFFF
    return a, b


def uniform_reference(index: np.ndarray, seed: int, offset: int) -> np.ndarray:
    """24 bits of the first word."""
    return (philox(seed, offset, index)[0] >> np.uint64(8)).astype(np.float32) * np.float32(2.0**-24)


def normal_reference(index: np.ndarray, seed: int, offset: int) -> np.ndarray:
    """Box and Muller."""
    a, b = philox(seed, offset, index)
    u = a.astype(np.float32).astype(np.float64) * 2.0**-32 + 2.0**-33
    return np.sqrt(-2 * np.log(u)) * np.cos((b >> np.uint64(8)).astype(np.float64) * (2 * np.pi / 2**24))


def below_reference(index: np.ndarray, seed: int, offset: int, n: int) -> np.ndarray:
    """The 64 bits scaled to [0, n)."""
    a, b = philox(seed, offset, index)
    n64 = np.uint64(n)
    return ((a * n64 + ((b * n64) >> np.uint64(32))) >> np.uint64(32)).astype(np.int64)


def long_reference(index: np.ndarray, seed: int, offset: int) -> np.ndarray:
    """63 bits."""
    a, b = philox(seed, offset, index)
    return (((a << np.uint64(32)) | b) >> np.uint64(1)).astype(np.int64)


def _random(name: str, arity: int, expr: Any, reference: Any, doc: str, **facts: Any) -> Op:
    return register(
        Op(
            name,
            POINTWISE,
            arity,
            expr,
            PHILOX,
            60,
            promote="none",
            reference=reference,
            method=False,
            inplace=False,
            function=False,
            doc=doc,
            names=("index", "seed", "offset", "n"),
            source=_SOURCE,
            why="random numbers depend on no operand",
            **facts,
        )
    )


def _fewer_bits(steps: int) -> str:
    """Uniform numbers of as many bits as the dtype holds: rounding 24 bits would give 1."""
    return f"floor(rand_uniform({{1}}, {{2}}, {{0}}) * ${steps}$) * ${1 / steps!r}$"


UNIFORM = _random("_uniform", 3, "rand_uniform({1}, {2}, {0})", uniform_reference, "Uniform in [0, 1), 24 bits.")
UNIFORM_DOUBLE = _random(
    "_uniform_double", 3, "rand_uniform_double({1}, {2}, {0})", uniform_reference, "Uniform in [0, 1), 53 bits."
)
UNIFORM_HALF = _random("_uniform_half", 3, _fewer_bits(2048), uniform_reference, "Uniform in [0, 1), 11 bits.")
UNIFORM_BFLOAT16 = _random("_uniform_bfloat16", 3, _fewer_bits(256), uniform_reference, "Uniform in [0, 1), 8 bits.")
NORMAL = _random("_normal", 3, "rand_normal({1}, {2}, {0})", normal_reference, "Standard normal.")
NORMAL_DOUBLE = _random(
    "_normal_double", 3, "rand_normal_double({1}, {2}, {0})", normal_reference, "Standard normal, 53 bits."
)
BELOW = _random("_below", 4, "rand_below({1}, {2}, {0}, {3})", below_reference, "Uniform integers in [0, n).")
LONG = _random("_long", 3, "rand_long({1}, {2}, {0})", long_reference, "63 random bits.")


def uniform(dtype: DType) -> Op:
    """The record of uniform numbers of `dtype`."""
    return {float64: UNIFORM_DOUBLE, float16: UNIFORM_HALF, bfloat16: UNIFORM_BFLOAT16}.get(dtype, UNIFORM)


def normal(dtype: DType) -> Op:
    """The record of normal numbers of `dtype`."""
    return NORMAL_DOUBLE if dtype is float64 else NORMAL
