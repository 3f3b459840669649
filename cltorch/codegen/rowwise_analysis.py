"""What a row program needs before any of its text is written: levels of reductions, and how its dims are walked.

Floor 1b. `analyse` sorts values by how many levels of reductions they need, one pass over the row per level; `walk_of`
collapses the dims and picks the axis along which vectors run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod

from ..dtypes import DType, int64
from ..shapes import contiguous_stride
from ..target import Target
from .expression import needed_values
from .operands import INDEX, INPUT, STORE, Operand, streaming, widest, width_for
from .program import Instr, Reduce, RowProgram

POSITION = 1  # number of the INDEX operand that counts within the row
ARG = ("argmax", "argmin")


@dataclass
class Analysis:
    """What a program's values need: per element or per row, levels of reductions, and the pass of each."""

    program: RowProgram
    first: int
    full: list[bool]
    level: list[int]
    dtypes: list[DType]
    full_stores: dict[int, int] = field(default_factory=dict)  # store number -> pass
    row_stores: list[int] = field(default_factory=list)
    passes: int = 0

    def reduces(self, level: int) -> list[int]:
        """Numbers of the Reduce values computed in pass `level`."""
        return [
            self.first + i
            for i, x in enumerate(self.program.instrs)
            if isinstance(x, Reduce) and self.level[self.first + i] == level and self.first + i in self.needed
        ]

    needed: set[int] = field(default_factory=set)


def analyse(program: RowProgram) -> Analysis:
    first = len(program.inputs) + len(program.scalars)
    full = [not row for row in program.row_inputs] + [False] * len(program.scalars)
    level = [0] * first
    dtypes = [x.dtype for x in program.inputs] + list(program.scalars)
    for x in program.instrs:
        if isinstance(x, Reduce):
            full.append(False)
            level.append(level[x.arg] + 1)
        else:
            full.append(x.expr == "index" or any(full[a] for a in x.args))
            level.append(max((level[a] for a in x.args), default=0))
        dtypes.append(x.dtype)
    out = Analysis(program, first, full, level, dtypes)
    out.needed = needed_values(program.instrs, first, [value for value, _ in program.stores])
    out.passes = max(
        (level[v] for v in out.needed if v >= first and isinstance(program.instrs[v - first], Reduce)), default=0
    )
    for number, (value, place) in enumerate(program.stores):
        if full[value] or (place.shape == program.shape and any(program.shape[d] != 1 for d in program.dims)):
            out.full_stores[number] = level[value] + 1
        else:
            out.row_stores.append(number)
    out.passes = max([out.passes, *out.full_stores.values()])
    for number in out.full_stores:  # an aliased input may be read until the last pass
        if number < len(program.aliases) and program.aliases[number] >= 0:
            out.full_stores[number] = out.passes
    return out


# ---- geometry


@dataclass(frozen=True)
class Walk:
    """Collapsed dims: `kept` and `reduced` sizes, and operands whose strides are those of kept dims, then of reduced
    dims."""

    kept: tuple[int, ...]
    reduced: tuple[int, ...]
    operands: tuple[Operand, ...]
    horizontal: bool

    @property
    def shape(self) -> tuple[int, ...]:
        return self.kept + self.reduced

    @property
    def lane_dim(self) -> int:
        """The dim along which vectors run, counted in `shape`."""
        return len(self.shape) - 1 if self.horizontal else len(self.kept) - 1


def operands_of(analysis: Analysis) -> list[Operand]:
    """Full stores, full inputs, row stores, row inputs, indices: with strides per dim of the program's shape."""
    program = analysis.program
    aliases = program.aliases
    shared = {number: i for i, number in enumerate(aliases) if number >= 0}
    stores = [
        Operand(
            STORE,
            i,
            place.dtype,
            place.offset,
            place.stride
            if i in analysis.full_stores
            else tuple(0 if d in program.dims else s for d, s in enumerate(place.stride)),
            aliases[i] if i < len(aliases) else -1,
        )
        for i, (_, place) in enumerate(program.stores)
    ]
    inputs = [
        Operand(
            INPUT,
            i,
            x.dtype,
            x.offset,
            tuple(0 if program.row_inputs[i] and d in program.dims else s for d, s in enumerate(x.stride)),
            shared.get(i, -1),
        )
        for i, x in enumerate(program.inputs)
        if i in analysis.needed
    ]
    out = [o for o in stores if o.number in analysis.full_stores]
    out += sorted(
        (o for o in inputs if analysis.full[o.number]), key=lambda o: -o.dtype.itemsize * sum(s != 0 for s in o.strides)
    )
    out += [o for o in stores if o.number not in analysis.full_stores]
    out += [o for o in inputs if not analysis.full[o.number]]
    used = [program.instrs[v - analysis.first] for v in analysis.needed if v >= analysis.first]
    if any(isinstance(x, Instr) and x.expr == "index" for x in used):
        out.append(Operand(INDEX, 0, int64, 0, contiguous_stride(program.shape)))
    if any(isinstance(x, Reduce) and x.kind in ARG for x in used):
        inner = contiguous_stride(tuple(program.shape[d] for d in program.dims))
        stride = [0] * len(program.shape)
        for d, s in zip(program.dims, inner):
            stride[d] = s
        out.append(Operand(INDEX, POSITION, int64, 0, tuple(stride)))
    return out


def walk_of(analysis: Analysis, target: Target) -> Walk:
    program = analysis.program
    operands = operands_of(analysis)
    # Dims go by how the per-element operands lie in memory; the rest follows.
    guides = [o for o in operands if o.role != INDEX and is_full(analysis, o)] or [
        o for o in operands if o.role != INDEX
    ]
    # A mean per row lies along the rows, whatever the elements do: what is broadcast has no say.
    sizes = [d for d, n in enumerate(program.shape) if n > 1]
    guides = [o for o in guides if all(o.strides[d] for d in sizes)] or guides
    order = sorted(range(len(program.shape)), key=lambda d: tuple(-o.strides[d] for o in guides))
    kept = _merge([d for d in order if d not in program.dims], program.shape, operands)
    reduced = _merge([d for d in order if d in program.dims], program.shape, operands)
    if any(program.shape[d] == 0 for d in program.dims):
        reduced = [(0, (0,) * len(operands))]
    if not reduced:
        reduced = [(1, (0,) * len(operands))]
    horizontal = _runs_horizontally(kept, reduced, [operands.index(o) for o in guides], guides, target)
    axis = kept if not horizontal else reduced
    if horizontal and guides and not any(reduced[-1][1][operands.index(o)] == 1 for o in guides):
        # nothing is contiguous along a reduced dim: vectors run along the longest one
        longest = max(range(len(axis)), key=lambda i: axis[i][0])
        axis.append(axis.pop(longest))
    steps = kept + reduced
    shape = [n for n, _ in steps]
    moved = [replace(o, strides=tuple(step[k] for _, step in steps)) for k, o in enumerate(operands)]
    moved = streaming(shape, moved, target)
    return Walk(tuple(n for n, _ in kept), tuple(n for n, _ in reduced), tuple(moved), horizontal)


def is_full(analysis: Analysis, o: Operand) -> bool:
    if o.role == INPUT:
        return analysis.full[o.number]
    return o.role == INDEX or o.number in analysis.full_stores


def _merge(dims: Sequence[int], shape: Sequence[int], operands: Sequence[Operand]) -> list[tuple[int, tuple[int, ...]]]:
    """Sizes and strides (one per operand) of `dims` after merging neighbours that every operand steps through
    evenly."""
    out: list[tuple[int, tuple[int, ...]]] = []
    for d in dims:
        n, step = shape[d], tuple(o.strides[d] for o in operands)
        if n == 1:
            continue
        if out and all(outer == inner * n for outer, inner in zip(out[-1][1], step)):
            out[-1] = (out[-1][0] * n, step)
        else:
            out.append((n, step))
    return out


def _runs_horizontally(
    kept: Sequence[tuple[int, tuple[int, ...]]],
    reduced: Sequence[tuple[int, tuple[int, ...]]],
    which: Sequence[int],
    guides: Sequence[Operand],
    target: Target,
) -> bool:
    """Whether vectors run along a reduced dim (else along rows)."""
    if not kept:
        return True
    along_row = sum(o.dtype.itemsize for k, o in zip(which, guides) if reduced[-1][1][k] == 1)
    along_kept = sum(o.dtype.itemsize for k, o in zip(which, guides) if kept[-1][1][k] == 1)
    row_length, rows = prod(n for n, _ in reduced), kept[-1][0]
    if target.kind == "gpu":
        return row_length >= 64 and along_row >= along_kept
    if along_kept > along_row:
        return rows < 4 and row_length >= rows
    # a row of a few elements is no work for a vector: take many rows at once, gathering
    return not (row_length < 2 * target.vector_width and rows >= target.vector_width)


def lane_units(walk: Walk, width: int, copies: int) -> int:
    """Units without splitting."""
    if walk.horizontal:
        return prod(walk.kept)
    return prod(walk.kept[:-1]) * -(-walk.kept[-1] // (width * copies))


def shape_of_code(analysis: Analysis, walk: Walk, target: Target) -> tuple[int, int]:
    """Lanes and, side by side with accumulators of their own, copies."""
    if target.kind == "gpu" and not walk.horizontal:
        return 1, 1
    real = [o for o in walk.operands if o.role != INDEX]
    lanes = walk.shape[walk.lane_dim]
    most = widest(real, target)
    if walk.horizontal and not overlaps(analysis, walk, target):
        width = width_for(lanes, most)
    else:
        width = max(w for w in (16, 8, 4, 2, 1) if w <= min(most, max(lanes, 1)))
    if target.kind == "gpu":
        return width, 1
    if walk.horizontal:  # at most: each pass takes as many as it can use
        return width, max(c for c in (4, 2, 1) if c == 1 or c * width <= lanes)
    cost = sum(1 for v in analysis.needed if v >= analysis.first and analysis.full[v])
    reduces = sum(
        1
        for v in analysis.needed
        if v >= analysis.first and isinstance(analysis.program.instrs[v - analysis.first], Reduce)
    )
    copies = 4 if cost <= 2 and reduces <= 2 else 2 if cost <= 12 else 1
    if width <= 8 and analysis.passes == 1 and not analysis.full_stores:
        # Down the rows, every row is a few lines of memory far from the next: 128 bytes of each came at 25 GB/s, 256
        # at 40. Sums of up to 8 vectors, or two of 4, stay in 16 registers. Not where rows would be split for it.
        wide = 8 if cost <= 2 and reduces == 1 else 4 if cost <= 12 and reduces <= 2 else copies
        enough = 4 * target.compute_units
        if lane_units(walk, width, wide) >= enough or lane_units(walk, width, copies) < enough:
            copies = wide
    while copies > 1 and (lanes < copies * width or (walk.operands and aliased(analysis))):
        copies //= 2
    return width, copies


def overlaps(analysis: Analysis, walk: Walk, target: Target) -> bool:
    """Whether what is left over at the end of a row is one more vector, some of whose lanes have been there before."""
    return target.kind == "cpu" and walk.horizontal and not aliased(analysis)


def short_rows(walk: Walk, width: int, block: int) -> bool:
    """Whether all of a row is one block of `block` vectors, so that a plain sum is as good as a compensated one."""
    return len(walk.reduced) == 1 and walk.reduced[0] <= block * (width if walk.horizontal else 1)


def aliased(analysis: Analysis) -> bool:
    return any(a >= 0 for a in analysis.program.aliases)
