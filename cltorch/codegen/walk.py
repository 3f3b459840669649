"""Walking several strided tensors together: collapsed dims, kernel parameters, and how the work is split.

Floor 1b. Shared by the pooling, indexing, sort and scan lowerings. Everything that may change from call to call
(sizes, strides, offsets, how much each work-item does) becomes a run-time `Value`; only the form (number of dims,
types) is text.

A kernel walks `rows`, the product of all dims but one, and within a row `inner`. The same text serves both device
classes: on a CPU a work-group is one work-item that takes many rows, on a GPU a work-item takes one element.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from ..dtypes import FLOAT, DType, bfloat16, bool_, float16, float64
from ..shapes import Layout
from ..target import Target
from .source import Argument, Value

_GRAIN = 4096  # elements for which one more work-group of a CPU device pays its start
_GPU_LOCAL = 64
_SIGNED_BY_SIZE = {1: "char", 2: "short", 4: "int", 8: "long"}
_BIT_PATTERN_OF_NAN = {"float16": 0x7E00, "bfloat16": 0x7FC0, "float32": 0x7FC00000, "float64": 0x7FF8000000000000}


def up(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)


# ---- types


def storage_of(dtype: DType) -> str:
    """The integer type that carries an element of `dtype` unchanged: copies need one text per size, not per dtype."""
    return _SIGNED_BY_SIZE[dtype.itemsize]


def poison_of(dtype: DType) -> int:
    """The bits that stand in for an element that could not be read: NaN, or 0 where there is none."""
    return _BIT_PATTERN_OF_NAN.get(dtype.name, 0)


def load(dtype: DType, pointer: str, width: int = 1) -> str:
    """C text: the register value(s) of `width` elements at `pointer`."""
    if dtype is float16 or dtype is bfloat16:
        return f"{'half' if dtype is float16 else 'bf16'}_load{width if width > 1 else ''}({pointer})"
    return f"vec_load{width}({pointer})" if width > 1 else f"({dtype.register})(*({pointer}))"


def store(dtype: DType, value: str, pointer: str, width: int = 1) -> str:
    """C text: write the register value(s) `value` to `width` elements at `pointer`."""
    if dtype is float16 or dtype is bfloat16:
        return f"{'half' if dtype is float16 else 'bf16'}_store{width if width > 1 else ''}({value}, {pointer})"
    if width > 1:
        return f"vec_store{width}({value}, {pointer})"
    return (
        f"*({pointer}) = ({dtype.storage})(({value}) != 0)"
        if dtype is bool_
        else f"*({pointer}) = ({dtype.storage})({value})"
    )


def lowest(dtype: DType) -> str:
    """C literal of the register type: the smallest value of `dtype`, -inf for floats."""
    if dtype.category == FLOAT:
        return "(-(double)INFINITY)" if dtype is float64 else "(-INFINITY)"
    if not dtype.is_signed:
        return "0"
    return f"({dtype.register})({'LONG_MIN' if dtype.itemsize == 8 else -(1 << (8 * dtype.itemsize - 1))})"


def highest(dtype: DType) -> str:
    """C literal of the register type: the greatest value of `dtype`, inf for floats."""
    if dtype.category == FLOAT:
        return "((double)INFINITY)" if dtype is float64 else "INFINITY"
    if dtype is bool_:
        return "1"
    bits = 8 * dtype.itemsize - (1 if dtype.is_signed else 0)
    return f"({dtype.register})({'LONG_MAX' if dtype.itemsize == 8 else (1 << bits) - 1})"


def index_type(*layouts: Layout, extra: int = 0) -> str:
    """`int`, or `long` where an element's position in one of the storages, or `extra`, needs it."""
    wide = extra >= 2**30 or any(x.extent()[1] >= 2**30 or x.numel >= 2**30 for x in layouts)
    return "long" if wide else "int"


# ---- dims


def collapse(
    sizes: Sequence[int], strides: Sequence[Sequence[int]]
) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """The same walk with as few dims as the strides of all operands allow; at least one dim is left.

    >>> collapse((2, 3, 4), [(12, 4, 1), (4, 0, 1)])
    ((2, 3, 4), ((12, 4, 1), (4, 0, 1)))
    >>> collapse((2, 1, 4), [(4, 9, 1), (4, 4, 1)])
    ((8,), ((1,), (1,)))
    """
    kept: list[tuple[int, list[int]]] = []
    for d, n in enumerate(sizes):
        if n == 1:
            continue
        step = [s[d] for s in strides]
        if kept and all(a == b * n for a, b in zip(kept[-1][1], step)):
            kept[-1] = (kept[-1][0] * n, step)
        else:
            kept.append((n, step))
    if not kept:
        kept = [(1, [0] * len(strides))]
    return tuple(n for n, _ in kept), tuple(tuple(step[i] for _, step in kept) for i in range(len(strides)))


def locate(row: str, sizes: Sequence[str], positions: Mapping[str, Sequence[str]], index: str) -> str:
    """C text that adds to each variable of `positions` where row number `row` lies,
    for dims `sizes` with the named strides.
    """
    if not sizes:
        return ""
    if len(sizes) == 1:
        return " ".join(f"{name} += {row} * {step[0]};" for name, step in positions.items())
    lines = [f"{{ {index} rest = {row}, at;"]
    for d in range(len(sizes) - 1, 0, -1):
        lines.append(f"at = rest % {sizes[d]}; rest /= {sizes[d]};")
        lines += [f"{name} += at * {step[d]};" for name, step in positions.items()]
    lines += [f"{name} += rest * {step[0]};" for name, step in positions.items()]
    return " ".join(lines) + " }"


# ---- parameters


class Parameters:
    """The parameters of a kernel and the arguments bound to them, grown side by side so that they cannot disagree."""

    def __init__(self, index: str = "int") -> None:
        self.index = index
        self._texts: list[str] = []
        self._args: list[Argument] = []

    def read(self, name: str, ctype: str, argument: Argument) -> None:
        """A buffer that the kernel only reads and that nothing it writes overlaps."""
        self._texts.append(f"__global const {ctype} *restrict {name}")
        self._args.append(argument)

    def shared(self, name: str, ctype: str, argument: Argument) -> None:
        """A buffer that is read and written, or may overlap another one."""
        self._texts.append(f"__global {ctype} *{name}")
        self._args.append(argument)

    def write(self, name: str, ctype: str, argument: Argument) -> None:
        """A buffer that the kernel only writes and that overlaps no other."""
        self._texts.append(f"__global {ctype} *restrict {name}")
        self._args.append(argument)

    def value(self, name: str, number: int | float, ctype: str = "") -> str:
        """A number; `ctype` is the index type if not given. Returns `name`."""
        self._texts.append(f"const {ctype or self.index} {name}")
        self._args.append(Value(ctype or self.index, number))
        return name

    def values(self, prefix: str, numbers: Iterable[int]) -> list[str]:
        """One number of the index type per element, named prefix0, prefix1, …"""
        return [self.value(f"{prefix}{i}", number) for i, number in enumerate(numbers)]

    @property
    def text(self) -> str:
        return ", ".join(self._texts)

    @property
    def args(self) -> tuple[Argument, ...]:
        return tuple(self._args)


# ---- division of the work


@dataclass(frozen=True)
class Split:
    """Who does what: a work-item takes `row_chunk` rows and `chunk` of each row's `inner` elements;
    `parts` items share a row.
    """

    rows: int
    inner: int
    row_chunk: int
    chunk: int
    parts: int
    local: int

    @property
    def global_size(self) -> tuple[int, ...]:
        items = up(self.rows, self.row_chunk) * self.parts
        return (up(items, self.local) * self.local,)

    def bind(self, parameters: Parameters) -> str:
        """Adds the numbers to `parameters`;
        returns C text that declares row_begin, row_end, begin and end for this work-item.
        """
        for name, number in (
            ("rows", self.rows),
            ("inner", self.inner),
            ("row_chunk", self.row_chunk),
            ("chunk", self.chunk),
            ("parts", self.parts),
        ):
            parameters.value(name, number)
        i = parameters.index
        return (
            f"const {i} item = ({i})get_global_id(0), row_begin = item / parts * row_chunk, begin = item % parts "
            f"* chunk;\n"
            f"  const {i} row_end = row_begin + row_chunk < rows ? row_begin + row_chunk : rows;\n"
            f"  const {i} end = begin + chunk < inner ? begin + chunk : inner;"
        )


def split(rows: int, inner: int, target: Target, cost: float = 1.0, step: int = 16, iterations: float = 1.0) -> Split:
    """Divides rows x inner elements of relative `cost` each; rows before inner, inner in multiples of `step`.

    `iterations`: loop iterations per element, where the target bounds them.
    """
    if target.kind == "gpu":
        return Split(rows, inner, 1, 1, inner, _GPU_LOCAL)
    total = max(rows * inner, 1)
    groups = max(1, min(int(total * cost / _GRAIN), 8 * target.compute_units))
    if target.loop_limit:
        groups = max(groups, up(int(total * max(iterations, 1.0)) + rows, target.loop_limit // 2))
    row_chunk = max(up(rows, groups), 1)
    chunk, parts = inner, 1
    if rows < groups and inner > step:
        chunk = min(inner, up(up(inner, up(groups, rows)), step) * step)
        parts = up(inner, chunk)
    return Split(rows, inner, row_chunk, chunk, parts, 1)


def lanes(dtype: DType, target: Target) -> int:
    """Elements of `dtype` that fill one native vector register in its register type; 1 on GPUs."""
    if target.kind == "gpu":
        return 1
    wide = dtype.category == FLOAT and dtype is not float64 or dtype.itemsize <= 4
    return max(1, target.vector_width if wide else target.vector_width // 2)


def numel(shape: Sequence[int]) -> int:
    """The number of elements of `shape`."""
    return prod(shape)
