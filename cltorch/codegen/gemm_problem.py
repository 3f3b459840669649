"""Matrix products in normal form, and the types they are computed in.

Floor 1b, part of `gemm`. `normalise` collapses batch dims, folds batches that share B into rows and turns transposed
outputs round; sums of integers are kept unsigned, those of short floats in float.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod

from ..dtypes import FLOAT, DType, float32, float64, int32, int64
from ..shapes import Layout
from ..target import Target
from . import expression
from .program import Epilogue
from .source import Argument, Input, Output
from .walk import collapse, index_type


@dataclass(frozen=True)
class Operand:
    """A matrix of a product: its buffer, and where element (batch…, row, column) lies in it, in elements."""

    buffer: Argument
    dtype: DType
    offset: int
    batch: tuple[int, ...]
    row: int
    column: int

    def turned(self) -> Operand:
        return replace(self, row=self.column, column=self.row)


@dataclass(frozen=True)
class GemmProblem:
    """A normalised product C[b, m, n] = sum over k of A[b, m, k] B[b, k, n] with what its epilogue reads and stores.

    `batch` has at most two dims. `index` is the C-order number of the first element if the epilogue counts elements.
    """

    batch: tuple[int, ...]
    m: int
    n: int
    k: int
    a: Operand
    b: Operand
    extras: tuple[Operand, ...]
    stores: tuple[Operand, ...]
    wide: bool
    index: int = 0

    @property
    def count(self) -> int:
        return prod(self.batch)

    @property
    def flops(self) -> float:
        return 2.0 * self.count * self.m * self.n * self.k

    @property
    def key(self) -> str:
        """The problem's name in the tuning database: dtypes, sizes, batch, and along which dim each matrix lies."""

        def order(x: Operand) -> str:
            return "n" if x.column == 1 else "t" if x.row == 1 else "s"

        dtypes = " ".join(dict.fromkeys((self.a.dtype.name, self.b.dtype.name)))
        return f"{dtypes} m{self.m} n{self.n} k{self.k} b{self.count} {order(self.a)}{order(self.b)}"


# ---- normal form


def normalise(a: Layout, b: Layout, epilogue: Epilogue) -> list[GemmProblem]:
    """The products with at most two batch dims that make up this one (one, but for exotic strides)."""
    *batch, m, n = epilogue.shape
    k = a.shape[-1]
    if not (m and n and prod(batch)):
        return []
    layouts = (a, b, *epilogue.inputs, *(layout for _, layout in epilogue.stores))
    wide = index_type(*layouts, extra=2 * m * n) == "long"
    sizes, strides = collapse(batch, [x.stride[:-2] for x in layouts])
    extras = len(epilogue.inputs)
    buffers: list[Argument] = [Input(i) for i in range(2 + extras)]
    buffers += [Output(i) for i in range(len(epilogue.stores))]
    operands = [
        Operand(buffer, x.dtype, x.offset, step, x.stride[-2], x.stride[-1])
        for buffer, x, step in zip(buffers, layouts, strides)
    ]
    if sizes == (1,):
        sizes = ()
        operands = [replace(x, batch=()) for x in operands]
    counted = any(instr.expr == "index" for instr in epilogue.instrs)

    def fold(sizes: tuple[int, ...], m: int, operands: list[Operand]) -> tuple[tuple[int, ...], int, list[Operand]]:
        """Rows of the innermost batch dim become rows of one matrix where B is the same for all of them."""
        while sizes and operands[1].batch[-1] == 0:
            others = [x for i, x in enumerate(operands) if i != 1]
            if m > 1 and any(x.batch[-1] != m * x.row for x in others):
                break
            operands = [
                replace(x, batch=x.batch[:-1]) if i == 1 else
                replace(x, batch=x.batch[:-1], row=x.row if m > 1 else x.batch[-1]) for i, x in enumerate(operands)
            ]
            m *= sizes[-1]
            sizes = sizes[:-1]
        return sizes, m, operands

    sizes, m, operands = fold(sizes, m, operands)
    first_store = operands[2 + extras]
    turn = (n == 1 and m > 1) or (m > 1 and first_store.row == 1 and first_store.column != 1)
    if turn and not counted:
        operands = [operands[1].turned(), operands[0].turned(), *(x.turned() for x in operands[2:])]
        m, n = n, m
        sizes, m, operands = fold(sizes, m, operands)
    left, right, *rest = operands
    if k <= 1:
        left, right = replace(left, column=1), replace(right, row=0)
    if m == 1:
        left, rest = replace(left, row=0), [replace(x, row=0) for x in rest]
    if n == 1:
        right, rest = replace(right, column=1), [replace(x, column=0) for x in rest]
        rest[extras:] = [replace(x, column=1) for x in rest[extras:]]
    whole = GemmProblem(sizes, m, n, k, left, right, tuple(rest[:extras]), tuple(rest[extras:]), wide)
    return _peel(whole)


def _peel(problem: GemmProblem) -> list[GemmProblem]:
    """`problem` as several with at most two batch dims each."""
    if len(problem.batch) <= 2:
        return [problem]
    out = []
    inner = problem.m * problem.n * prod(problem.batch[1:])
    for i in range(problem.batch[0]):
        def at(x: Operand, i: int = i) -> Operand:
            return replace(x, offset=x.offset + i * x.batch[0], batch=x.batch[1:])

        part = replace(
            problem, batch=problem.batch[1:], a=at(problem.a), b=at(problem.b), extras=tuple(map(at, problem.extras)),
            stores=tuple(map(at, problem.stores)), index=problem.index + i * inner,
        )
        out += _peel(part)
    return out


# ---- types


def sum_type(dtype: DType) -> str:
    """The C type that sums are kept in: unsigned for integers, whose arithmetic wraps."""
    if dtype.category == FLOAT:
        return dtype.register
    return "ulong" if dtype.itemsize == 8 else "uint"


def sum_dtype(dtype: DType) -> DType:
    """The dtype of stored partial sums."""
    if dtype.category == FLOAT:
        return float64 if dtype is float64 else float32
    return int64 if dtype.itemsize == 8 else int32


def sum_bytes(dtype: DType) -> int:
    return 8 if sum_type(dtype) in ("double", "ulong") else 4


def native(dtype: DType) -> bool:
    """True if an element is computed in the very type that stores it, so that a tile may read it in place."""
    return dtype is float32 or dtype is float64


def loader(dtype: DType, aligned: bool = False) -> Callable[[str, int], str]:
    """(pointer, width) -> C of that many consecutive elements in the type of the sums.

    `aligned`: the pointer, to global memory, is a multiple of them; GPUs split other vector loads.
    """
    element = sum_type(dtype)

    def load(pointer: str, width: int) -> str:
        if aligned and width > 1:
            stored = f"(*(const __global {dtype.storage}{width} *)({pointer}))"
            text = expression.unpack(dtype, stored, width)
        else:
            text = expression.load(dtype, pointer, width)
        if dtype.category == FLOAT:
            return text
        return f"(({element})({text}))" if width == 1 else f"CONVERT({element}{width}, {text})"

    return load


def lanes_of(dtype: DType, target: Target) -> int:
    """Sums per native vector."""
    return max(2, target.vector_width // 2 if sum_type(dtype) in ("double", "ulong") else target.vector_width)
