"""Matrix products: square in four transposes, skinny, batched, matrix times vector."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from .cases import Case, Goal, normal

SQUARE = Goal("GEMM square, mean", 0.95, 0.95, floor=0.90)
SKINNY = Goal("GEMM skinny", 1.1, 1.1)
BATCHED = Goal("GEMM batched", 1.0, 1.0)
VECTOR = Goal("GEMV", 1.5, 1.1)


def matmul(m: int, k: int, n: int, form: str = "NN", batch: tuple[int, ...] = ()) -> Callable[[Any], Callable]:
    """(m, k) @ (k, n); `form` says which operand is the transpose of a contiguous matrix."""

    def prepare(torch: Any) -> Callable[[], Any]:
        a = normal(torch, *batch, *((k, m) if form[0] == "T" else (m, k)))
        b = normal(torch, *batch, *((n, k) if form[1] == "T" else (k, n)), seed=1)
        a = a.transpose(-1, -2) if form[0] == "T" else a
        b = b.transpose(-1, -2) if form[1] == "T" else b
        return lambda: a @ b

    return prepare


def typed(dtype: str, m: int, k: int, n: int) -> Case:
    """A row without a goal: matrices of another dtype; int8 through `_int_mm`, which sums in int32."""

    def prepare(torch: Any) -> Callable[[], Any]:
        scale = 40 if dtype == "int8" else 1
        a, b = ((normal(torch, *shape, seed=i) * scale).to(getattr(torch, dtype))
                for i, shape in enumerate(((m, k), (k, n))))
        return (lambda: torch._int_mm(a, b)) if dtype == "int8" else (lambda: a @ b)

    itemsize = {"float64": 8, "float16": 2, "bfloat16": 2, "int8": 1}[dtype]
    result = 4 if dtype == "int8" else itemsize
    nbytes = float(itemsize * (m * k + k * n) + result * m * n)
    return Case(f"matmul {dtype} {m}x{k}x{n}", "gemm", prepare, None, 2.0 * m * k * n, nbytes)


def product(
    goal: Goal, m: int, k: int, n: int, form: str = "NN", batch: tuple[int, ...] = (), name: str | None = None
) -> Case:
    """The row of one product."""
    label = name or f"matmul {'x'.join(map(str, (*batch, ''))) if batch else ''}{m}x{k}x{n} {form}"
    flops, nbytes = 2.0 * prod(batch) * m * k * n, 4.0 * prod(batch) * (m * k + k * n + m * n)
    return Case(label, "gemm", matmul(m, k, n, form, batch), goal, flops, nbytes)


CASES = [
    *(product(SQUARE, s, s, s, form, name=f"matmul {s} {form}")
      for s in (512, 1024, 2048) for form in ("NN", "NT", "TN", "TT")),
    *(product(SKINNY, m, k, n, form) for m, k, n, form in (
        (16, 1024, 1024, "NN"), (16, 1024, 1024, "NT"), (64, 1024, 1024, "NN"), (64, 1024, 1024, "NT"),
        (64, 4096, 1024, "NN"), (64, 1024, 4096, "NT"),
    )),
    product(BATCHED, 64, 64, 64, "NN", (64,)),
    product(BATCHED, 64, 64, 64, "NT", (64,)),
    product(BATCHED, 256, 64, 256, "NT", (24,)),
    product(BATCHED, 256, 256, 64, "NN", (24,)),
    *(product(VECTOR, 1, s, s, form, name=f"matvec {s} {form}") for s in (1024, 4096) for form in ("NN", "NT")),
    *(typed(dtype, 512, 512, 512) for dtype in ("float64", "float16", "bfloat16", "int8")),
]  # fmt: skip
