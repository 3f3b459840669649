"""The tensors an element-wise kernel walks together: which dims remain, how each operand steps, which C reads and
writes it.

Floor 1b. Shared by `pointwise` and `rowwise`. An `Operand` has a stride per walked dim; `collapse` merges dims that
every operand
steps through evenly, so that most programs become one flat dim whatever their shapes were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from ..dtypes import DType, int64
from ..shapes import Layout, contiguous_stride
from ..target import Target
from .expression import gather, load, pack, scatter, store, vector_type
from .source import Argument, Input, Output, Value

INPUT, STORE, INDEX = "input", "store", "index"
# A result too large to be still in a cache when it is read, by lanes. With 8 (a last cache of 32 MiB, half of it taken
# by what the result was made from): a + b of 16 MiB and what reads it 3.8 -> 2.8 ms.
_STREAM_BYTES = {16: 1 << 25, 8: 1 << 24}
_AHEAD_BYTES = 4096  # how far ahead of the loop lines are fetched: the processor's own fetching stops at a page's end
_LEAST_FETCH = 16  # bytes of a turn of the loop that are worth an instruction
_STREAMS = ("intel", "pocl")  # drivers known to compile stores past the cache, and prefetches


@dataclass(frozen=True)
class Operand:
    """One tensor of a kernel, or a running number (`role` INDEX, whose strides count elements; 0: of the element, 1:
    within the row).

    Attributes:
        role, number: input i, store i, or the index.
        dtype: of its elements.
        offset, strides: in elements, a stride per walked dim.
        alias: for a store, the input whose buffer it shares, or -1; for an input, the store, or -1.
        stream: write past the cache.
    """

    role: str
    number: int
    dtype: DType
    offset: int
    strides: tuple[int, ...]
    alias: int = -1
    stream: bool = False

    @property
    def pointer(self) -> str:
        """The C name of its pointer."""
        return f"{'i' if self.role == INPUT else 'o'}{self.number}"

    @property
    def name(self) -> str:
        """The C name stem of its offset and strides."""
        return "xy"[self.number] if self.role == INDEX else self.pointer

    def parameter(self) -> str:
        """The declaration of its pointer."""
        qualifier = "" if self.alias >= 0 else "restrict "
        const = "const " if self.role == INPUT else ""
        return f"__global {const}{self.dtype.storage} *{qualifier}{self.pointer}"

    def argument(self) -> Argument:
        """The buffer of its pointer."""
        return Input(self.number) if self.role == INPUT else Output(self.number)

    def read(self, at: str, kind: str, stride: str, width: int) -> str:
        """C of `width` elements from the offset `at`; `kind` says how they lie: 'unit', 'fixed' (all the same) or
        'step'."""
        if self.role == INDEX:
            return index_vector(at, "0" if kind == "fixed" else "1" if kind == "unit" else stride, width)
        pointer = f"{self.pointer} + {at}"
        if kind == "fixed" and width > 1:
            return f"({vector_type(self.dtype.register, width)})({load(self.dtype, pointer, 1)})"
        if kind == "step":
            return gather(self.dtype, pointer, stride, width)
        return load(self.dtype, pointer, width)

    def write(self, text: str, at: str, kind: str, stride: str, width: int) -> str:
        """The C statement that writes the register `text`."""
        pointer = f"{self.pointer} + {at}"
        if kind == "step":
            return scatter(self.dtype, text, pointer, stride, width)
        if self.stream and width > 1:
            return f"vec_stream{width}({pack(self.dtype, text, width)}, {pointer});"
        return store(self.dtype, text, pointer, width)


def index_vector(at: str, stride: str, width: int) -> str:
    """C of the long{W} numbers at, at + stride, …"""
    if width == 1:
        return f"((long)({at}))"
    lanes = ", ".join(str(k) for k in range(width))
    steps = f" + (long{width})({lanes})" if stride == "1" else f" + (long{width})({lanes}) * (long)({stride})"
    return f"((long{width})((long)({at})){'' if stride == '0' else steps})"


def kind_of(stride: int) -> str:
    """How an operand with this stride steps along the vectorised dim."""
    return "unit" if stride == 1 else "fixed" if stride == 0 else "step"


def gather_operands(
    shape: tuple[int, ...],
    inputs: Sequence[Layout],
    used: Sequence[int],
    stores: Sequence[tuple[int, Layout]],
    aliases: Sequence[int],
    index: bool,
) -> list[Operand]:
    """Stores first, then the used inputs, then the index if wanted, with strides per dim of `shape`."""
    shared = {number: i for i, number in enumerate(aliases) if number >= 0}
    out = [
        Operand(STORE, i, layout.dtype, layout.offset, layout.stride, aliases[i] if i < len(aliases) else -1)
        for i, (_, layout) in enumerate(stores)
    ]
    for i in used:
        out.append(Operand(INPUT, i, inputs[i].dtype, inputs[i].offset, inputs[i].stride, shared.get(i, -1)))
    if index:
        out.append(Operand(INDEX, 0, int64, 0, contiguous_stride(shape)))
    return out


def collapse(shape: Sequence[int], operands: Sequence[Operand]) -> tuple[tuple[int, ...], list[Operand]]:
    """Drop dims of size 1 and merge neighbours that every operand steps through evenly; the order of dims stays.

    >>> a = Operand(STORE, 0, int64, 0, (12, 4, 1)); b = Operand(INPUT, 0, int64, 0, (4, 0, 1))
    >>> collapse((2, 3, 4), [a])[0], collapse((2, 3, 4), [a, b])[0]
    ((24,), (2, 3, 4))
    """
    sizes: list[int] = []
    steps: list[list[int]] = []  # per kept dim, a stride per operand
    for d, n in enumerate(shape):
        if n == 1:
            continue
        step = [o.strides[d] for o in operands]
        if sizes and all(outer == inner * n for outer, inner in zip(steps[-1], step)):
            sizes[-1], steps[-1] = sizes[-1] * n, step
        else:
            sizes.append(n)
            steps.append(step)
    return tuple(sizes), [replace(o, strides=tuple(step[k] for step in steps)) for k, o in enumerate(operands)]


def reorder(
    shape: Sequence[int], operands: Sequence[Operand], order: Sequence[int]
) -> tuple[tuple[int, ...], list[Operand]]:
    """The same walk with dims in another order."""
    moved = [replace(o, strides=tuple(o.strides[d] for d in order)) for o in operands]
    return tuple(shape[d] for d in order), moved


def by_stride(shape: Sequence[int], operands: Sequence[Operand]) -> list[int]:
    """The order of dims from slow to fast in memory, as the operands (the first counts most) lie."""
    return sorted(range(len(shape)), key=lambda d: tuple(-o.strides[d] for o in operands if o.role != INDEX))


def index_ctype(shape: Sequence[int], operands: Sequence[Operand]) -> str:
    """`int` where every element number of every operand fits with room to spare, else `long`."""
    for o in operands:
        top = o.offset + sum((n - 1) * s for n, s in zip(shape, o.strides))
        if top >= 1 << 30:
            return "long"
    return "long" if prod(shape) >= 1 << 30 else "int"


def streams(target: Target) -> bool:
    """True if kernels for `target` may store past the cache and prefetch."""
    return target.kind == "cpu" and target.vendor in _STREAMS


def streaming(shape: Sequence[int], operands: Sequence[Operand], target: Target) -> list[Operand]:
    """`operands`, with the large results marked to be written past the cache: lines are not read to be overwritten."""
    if not streams(target):
        return list(operands)
    elements = [prod(n for n, s in zip(shape, o.strides) if s) for o in operands]
    least = _STREAM_BYTES.get(target.vector_width, 1 << 25)
    return [
        replace(o, stream=o.role == STORE and o.alias < 0 and o.dtype.itemsize * n >= least)
        for o, n in zip(operands, elements)
    ]


def fetches(operands: Sequence[Operand], places: Sequence[str], width: int) -> list[str]:
    """C that fetches, ahead of a loop of `width` elements a turn, the lines that operands at `places` will read and
    write there. For loops over memory that goes on after what a work-group takes; targets that stream.
    """
    out = []
    for o, place in zip(operands, places):
        shared = o.role == STORE and o.alias >= 0  # fetched as the input
        if not (o.stream or shared) and o.dtype.itemsize * width >= _LEAST_FETCH:
            out.append(f"PREFETCH({o.pointer} + {place} + {_AHEAD_BYTES // o.dtype.itemsize});")
    return out


def value_arguments(ctype: str, numbers: Sequence[int]) -> list[Value]:
    """Run-time Values of one C type."""
    return [Value(ctype, n) for n in numbers]


def widest(operands: Sequence[Operand], target: Target) -> int:
    """Lanes per vector: the target's, less where all elements are 8 bytes wide."""
    if target.kind == "gpu":
        return 4 if max(o.dtype.itemsize for o in operands) <= 4 else 2
    lanes = max(target.vector_width, 4)
    return lanes // 2 if min(o.dtype.itemsize for o in operands if o.role != INDEX) >= 8 else lanes


def width_for(size: int, widest_width: int) -> int:
    """Lanes for rows of `size` elements: as few vectors plus left-over scalars as can be.

    >>> [width_for(n, 16) for n in (1000, 28, 14, 7, 3)]
    [16, 8, 4, 4, 2]
    """
    if size >= 4 * widest_width:
        return widest_width
    options = [w for w in (16, 8, 4, 2, 1) if w <= widest_width]
    return min(options, key=lambda w: (size // w + size % w, -w))


def bytes_moved(shape: Sequence[int], operands: Sequence[Operand]) -> float:
    """Necessary memory traffic: every distinct element once."""
    return float(
        sum(o.dtype.itemsize * prod(n for n, s in zip(shape, o.strides) if s) for o in operands if o.role != INDEX)
    )
