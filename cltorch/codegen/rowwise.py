"""Lowers row programs: sums, norms, softmax, argmax, batch statistics; any reductions with what comes before and after
them.

Floor 1b. `lower_rowwise` sorts a program's values by how many levels of reductions they need, makes one pass over the
row per level,
and picks the axis along which vectors run (templates/rowwise.cl.mako). Pure reductions with few long rows become two
launches:
parts of rows into scratch memory, then a second row program over the parts. The order of additions depends on sizes
only: results
are deterministic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

from ..dtypes import FLOAT, DType, bfloat16, bool_, float16, float32, float64, int32, int64
from ..shapes import Layout, contiguous_stride, layout
from ..target import Target
from .expression import (
    Block,
    chosen_includes,
    convert,
    literal,
    needed_values,
    register_type,
    scalar_ctype,
    vector_type,
)
from .operands import (
    INDEX,
    INPUT,
    STORE,
    Operand,
    bytes_moved,
    index_ctype,
    kind_of,
    streaming,
    streams,
    widest,
    width_for,
)
from .pointwise import group_count, lower_pointwise, round_up
from .program import Body, Instr, Reduce, RowProgram
from .source import Argument, Input, KernelSource, Launch, Lowered, Output, Scalar, Scratch, Value, render

_BLOCK_VECTORS = 256  # vectors summed plainly before the compensated sum takes them over
_STAGE_BYTES = 32768
_STAGE_COST = 10  # flops per element above which a value is kept rather than computed again
_PART = 16384  # elements at least per part of a row
_GPU_GROUPS_PER_UNIT = 16
POSITION = 1  # number of the INDEX operand that counts within the row
_ARG = ("argmax", "argmin")


@dataclass
class _Analysis:
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


def _analyse(program: RowProgram) -> _Analysis:
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
    out = _Analysis(program, first, full, level, dtypes)
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
class _Walk:
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


def _operands_of(analysis: _Analysis) -> list[Operand]:
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
    if any(isinstance(x, Reduce) and x.kind in _ARG for x in used):
        inner = contiguous_stride(tuple(program.shape[d] for d in program.dims))
        stride = [0] * len(program.shape)
        for d, s in zip(program.dims, inner):
            stride[d] = s
        out.append(Operand(INDEX, POSITION, int64, 0, tuple(stride)))
    return out


def _walk_of(analysis: _Analysis, target: Target) -> _Walk:
    program = analysis.program
    operands = _operands_of(analysis)
    # Dims go by how the per-element operands lie in memory; the rest follows.
    guides = [o for o in operands if o.role != INDEX and _is_full(analysis, o)] or [
        o for o in operands if o.role != INDEX
    ]
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
    return _Walk(tuple(n for n, _ in kept), tuple(n for n, _ in reduced), tuple(moved), horizontal)


def _is_full(analysis: _Analysis, o: Operand) -> bool:
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


# ---- reductions as C


def _accumulator_dtype(reduce: Reduce) -> DType:
    return float32 if reduce.dtype in (float16, bfloat16) else reduce.dtype


def _merge_text(kind: str, a: str, b: str) -> str:
    """C of two partial results put together (not argmax, argmin)."""
    if kind == "sum":
        return f"{a} + {b}"
    if kind == "prod":
        return f"{a} * {b}"
    compare = ">" if kind == "max" else "<"
    return f"({b} {compare} {a} || {b} != {b}) ? {b} : {a}"  # the chain through a is as short as can be


def _key_dtype(source: DType, long_positions: bool) -> DType:
    return int64 if long_positions or source in (float64, int64) else int32


def _identity(kind: str, dtype: DType, width: int) -> str:
    if kind in ("sum", "prod"):
        return literal("0" if kind == "sum" else "1", dtype, width)
    if dtype.category == FLOAT:
        return literal("-inf" if kind == "max" else "inf", dtype, width)
    return literal("min" if kind == "max" else "max", dtype, width)


def _wrap(text: str, dtype: DType, width: int) -> str:
    """Integer arithmetic of narrow scalars, cast back to its own width."""
    return f"({dtype.register})({text})" if width == 1 and dtype.register in ("char", "uchar", "short") else text


class _Reduction:
    """The C of one Reduce for accumulators of `width` lanes, named by `stem`.

    Float sums have a plain accumulator per copy, reset per block, and a compensated total; argmax and argmin have a
    key and a
    position per copy; all others one accumulator per copy.
    """

    def __init__(self, reduce: Reduce, number: int, width: int, copies: int, stem: str, long_positions: bool):
        self.kind, self.width, self.copies, self.long_positions = reduce.kind, width, copies, long_positions
        self.stem = f"{stem}{number}"
        self.dtype = _accumulator_dtype(reduce)
        self.type = register_type(self.dtype, width)
        self.blocked = self.kind == "sum" and self.dtype.category == FLOAT
        self.arg = self.kind in _ARG

    def key_dtype(self, source: DType) -> DType:
        """Integers that order the elements of an argmax; positions have the same size."""
        return _key_dtype(source, self.long_positions)

    def names(self, copy: int) -> tuple[str, ...]:
        """The C variables that hold the partial result of a copy."""
        if self.arg:
            return f"{self.stem}_{copy}_key", f"{self.stem}_{copy}_at"
        return (f"{self.stem}_{copy}",)

    def before(self, source: DType) -> list[str]:
        """Declarations and first values, ahead of all blocks."""
        if self.arg:
            dtype = self.key_dtype(source)
            kind = register_type(dtype, self.width)
            least, most = literal("min", dtype, self.width), literal("max", dtype, self.width)
            return [f"{kind} {k} = {least}, {p} = {most};" for k, p in map(self.names, range(self.copies))]
        start = _identity(self.kind, self.dtype, self.width)
        out = [f"{self.type} {self.names(u)[0]} = {start};" for u in range(self.copies)]
        if self.blocked:
            out.append(f"{self.type} {self.stem}_total = {start}, {self.stem}_lost = {start};")
        return out

    def reset(self) -> list[str]:
        """First values at the start of a block."""
        if not self.blocked:
            return []
        return [f"{self.names(u)[0]} = {_identity('sum', self.dtype, self.width)};" for u in range(self.copies)]

    def take(self, copy: int, text: str, source: DType, position: str) -> list[str]:
        """Add the elements `text`, a register of dtype `source`."""
        if not self.arg:
            (name,) = self.names(copy)
            value = convert(text, source, self.dtype, self.width) if source.register != self.dtype.register else text
            if self.kind in ("max", "min"):
                fresh = f"{self.stem}_{copy}_x"
                return [f"{self.type} {fresh} = {value};", f"{name} = {_merge_text(self.kind, name, fresh)};"]
            return [f"{name} = {_wrap(_merge_text(self.kind, name, value), self.dtype, self.width)};"]
        dtype = self.key_dtype(source)
        kind = register_type(dtype, self.width)
        key, at = f"{self.stem}_{copy}_x", f"{self.stem}_{copy}_p"
        best = self.names(copy)
        return [
            f"{kind} {key} = {self._key(text, source, dtype)};",
            f"{kind} {at} = {convert(position, int64, dtype, self.width)};",
            *self._better(best[0], best[1], key, at),
        ]

    def _key(self, text: str, source: DType, dtype: DType) -> str:
        """C of integers in the order of the elements: a float's bits, reversed if negative, NaN above all."""
        sign = "-" if self.kind == "argmin" else ""
        if source.category == FLOAT:
            bits = "long" if source is float64 else "int"
            kind = vector_type(bits, self.width)
            # -0 is 0; adding 0 would do, but rusticl leaves it out
            zero = literal("0", source, self.width)
            raw = f"(({text}) == {zero} ? ({kind})(0) : as_{kind}({sign}({text})))"
            most = "0x7fffffffffffffffL" if bits == "long" else "0x7fffffff"
            ordered = f"({raw} ^ (({raw} >> {63 if bits == 'long' else 31}) & {most}))"
            key = f"(({text}) != ({text}) ? ({kind})({most}) : {ordered})"
            return key if dtype.register == bits else convert(key, int32, int64, self.width)
        wide = convert(text, source, dtype, self.width)
        return f"(~{wide})" if sign else wide

    def _better(self, key: str, at: str, other_key: str, other_at: str) -> list[str]:
        """Keep the greater key, at equal keys the smaller position."""
        test = f"{other_key} > {key} || ({other_key} == {key} && {other_at} < {at})"
        return [f"{at} = ({test}) ? {other_at} : {at};", f"{key} = {other_key} > {key} ? {other_key} : {key};"]

    def flush(self) -> list[str]:
        """End of a block: its sum, of all copies, goes into the compensated total."""
        if not self.blocked:
            return []
        parts = [self.names(u)[0] for u in range(self.copies)]
        while len(parts) > 1:
            parts = [f"({a} + {b})" for a, b in zip(parts[::2], parts[1::2])] + parts[len(parts) // 2 * 2 :]
        t, e = f"{self.stem}_total", f"{self.stem}_lost"
        # an infinite total makes the correction NaN: drop it
        return [
            f"{{ {self.type} y = {parts[0]} - {e}, z = {t} + y, lost = (z - {t}) - y;",
            f"  {e} = lost == lost ? lost : {literal('0', self.dtype, self.width)}; {t} = z; }}",
        ]

    def joined(self) -> list[str]:
        """Put the copies together into copy 0; for blocked sums, the total."""
        if self.blocked:
            return [f"{self.names(0)[0]} = {self.stem}_total - {self.stem}_lost;"]
        out: list[str] = []
        for u in range(1, self.copies):
            out += self.merged(self.names(0), self.names(u), self.width)
        return out

    def merged(self, into: Sequence[str], other: Sequence[str], width: int) -> list[str]:
        """`into` = both, partial results of `width` lanes."""
        if self.arg:
            return self._better(into[0], into[1], other[0], other[1])
        return [f"{into[0]} = {_wrap(_merge_text(self.kind, into[0], other[0]), self.dtype, width)};"]

    def folded(self, source: DType) -> tuple[list[str], tuple[str, ...]]:
        """Lanes of copy 0 put together: statements and the names of the scalars that result."""
        names, width, lines = self.names(0), self.width, []
        element = self.key_dtype(source).register if self.arg else self.dtype.register
        while width > 1:
            width //= 2
            low = tuple(f"{n}_low{width}" for n in self.names(0))
            high = tuple(f"{n}_high{width}" for n in self.names(0))
            kind = vector_type(element, width)
            lines += [f"{kind} {a} = {n}.lo, {b} = {n}.hi;" for n, a, b in zip(names, low, high)]
            lines += self.merged(low, high, width)
            names = low
        return lines, names


# ---- code of one unit


@dataclass
class _Pass:
    """C lines of one pass, as the template places them."""

    declare: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    offsets: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    reset: list[str] = field(default_factory=list)
    bodies: list[list[str]] = field(default_factory=list)
    tail: list[str] = field(default_factory=list)
    flush: list[str] = field(default_factory=list)
    finish: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)


@dataclass
class _Version:
    """One vector form of the code of a unit."""

    width: int
    copies: int
    begin: list[str]
    passes: list[_Pass]
    end: list[str]


@dataclass
class _Form:
    """All that decides the text of a kernel."""

    analysis: _Analysis
    walk: _Walk
    ctype: str
    gpu: bool
    local_size: int
    split_dim: int | None
    staged: dict[int, int]  # value -> pass that computes it
    stage_elements: int
    partials: bool  # write raw reductions to scratch instead of the program's stores
    prefetch: bool = False  # fetch the next row while the second pass computes

    @property
    def inner(self) -> int:
        return len(self.walk.reduced) - 1


class _UnitCode:
    """Writes the code of one unit at one width."""

    def __init__(self, form: _Form, width: int, copies: int):
        self.form, self.width, self.copies = form, width, copies
        self.analysis, self.walk = form.analysis, form.walk
        self.horizontal = form.walk.horizontal
        self.row_width = 1 if self.horizontal else width
        self.row_copies = 1 if self.horizontal else copies
        self.includes: list[str] = []
        self.kinds = {o: kind_of(o.strides[self.walk.lane_dim]) for o in self.walk.operands}
        self.rows = [Block(self.row_width, "q" if u == 0 else f"q{u}_") for u in range(self.row_copies)]

    # where operands are

    def _stride(self, o: Operand, reduced: bool) -> str:
        return f"{o.name}_m{len(self.walk.reduced) - 1}" if reduced else f"{o.name}_k{len(self.walk.kept) - 1}"

    def _lane_place(self, o: Operand, base: str, at: str) -> tuple[str, str, str]:
        kind, stride = self.kinds[o], self._stride(o, self.horizontal)
        return base + {"fixed": "", "unit": f" + {at}", "step": f" + ({at}) * {stride}"}[kind], kind, stride

    def _row_place(self, o: Operand, copy: int) -> tuple[str, str, str]:
        if self.horizontal:
            return f"{o.name}_r", "unit", ""
        return self._lane_place(o, f"{o.name}_r", self._lane(copy))

    def _lane(self, copy: int) -> str:
        return f"lane + {copy * self.width}" if copy else "lane"

    def _operand(self, role: str, number: int) -> Operand:
        return next(o for o in self.walk.operands if o.role == role and o.number == number)

    # code

    def write(self) -> _Version:
        """All passes."""
        analysis = self.analysis
        program = analysis.program
        for u, block in enumerate(self.rows):
            for o in self.walk.operands:
                if o.role == INPUT and not analysis.full[o.number]:
                    block.bind(o.number, o.dtype, o.read(*self._row_place(o, u), self.row_width))
            for i, dtype in enumerate(program.scalars):
                if len(program.inputs) + i in analysis.needed:
                    block.bind_scalar(len(program.inputs) + i, dtype, f"s{i}")
        begin = self._row_values(0)
        passes = []
        for level in range(1, analysis.passes + 1):
            p = self._pass(level)
            if not self.form.partials:
                p.after = self._row_values(level)
            passes.append(p)
        end = self._partial_stores() if self.form.partials else self._row_stores()
        for block in self.rows:
            self.includes += block.includes
        return _Version(self.width, self.copies, begin, passes, end)

    def _row_values(self, level: int) -> list[str]:
        """Row-level instructions that need `level` levels."""
        analysis = self.analysis
        program, first = analysis.program, analysis.first
        out: list[str] = []
        for block in self.rows:
            wanted = [
                v
                for v in sorted(analysis.needed)
                if v >= first
                and isinstance(program.instrs[v - first], Instr)
                and not analysis.full[v]
                and analysis.level[v] == level
            ]
            start = len(block.statements) if level else 0
            block.run(program.instrs, first, wanted)  # type: ignore[arg-type]
            out += block.statements[start:]
        return out

    def _wanted(self, level: int) -> tuple[list[int], list[int], list[int]]:
        """Reduce values, store numbers and staged values of a pass."""
        stores = [] if self.form.partials else [i for i, p in self.analysis.full_stores.items() if p == level]
        return self.analysis.reduces(level), stores, [v for v, p in self.form.staged.items() if p == level]

    def _pass(self, level: int) -> _Pass:
        analysis = self.analysis
        reduces, stores, staged = self._wanted(level)
        out = _Pass()
        vectors = {
            v: self._reduction(v, self.width, self.copies if self.horizontal else 1, f"a{level}_", 0) for v in reduces
        }
        copies = [vectors] + [
            {v: self._reduction(v, self.width, 1, f"a{level}_c{u}_", u) for v in reduces}
            for u in range(1, self.copies)
            if not self.horizontal
        ]
        tails = (
            {v: self._reduction(v, 1, 1, f"b{level}_", 0) for v in reduces}
            if self.horizontal and self.width > 1
            else {}
        )
        everything = [r for group in copies for r in group.items()] + list(tails.items())
        for v, r in everything:
            out.before += r.before(self._source(v))
            out.reset += r.reset()
            out.flush += r.flush()
        used: set[int] = set()
        for u in range(self.copies):
            group = vectors if self.horizontal else copies[u]
            at = (f"j + {u * self.width}" if u else "j") if self.horizontal else self._lane(u)
            body = self._elements(
                level, u, self.width, at, group, u if self.horizontal else 0, reduces, stores, staged, used
            )
            out.bodies.append(body)
        if self.horizontal and self.width > 1:
            out.tail = self._elements(level, 0, 1, "k", tails, 0, reduces, stores, staged, used, prefix="t")
        out.offsets, out.steps = self._offsets(used, bool(staged or self._reads_stage(level)))
        for u, group in enumerate(copies):
            for v, r in group.items():
                row = self.rows[u]
                dtype = analysis.dtypes[v]
                name = f"{row.prefix}{v}"
                out.declare.append(f"{register_type(self._result_dtype(v), self.row_width)} {name};")
                out.finish += r.joined()
                names = r.names(0)
                if self.horizontal:
                    lines, names = r.folded(self._source(v))
                    out.finish += lines
                    if v in tails:
                        tail = tails[v]
                        out.finish += tail.joined() + r.merged(names, tail.names(0), 1)
                    if self.form.gpu:
                        out.finish += self._tree(r, v, names)
                out.finish.append(f"{name} = {self._result(r, v, names)};")
                if self.form.partials and r.arg:
                    out.declare.append(f"{register_type(r.key_dtype(self._source(v)), self.row_width)} {name}_key;")
                    out.finish.append(f"{name}_key = {names[0]};")
                kept_as = self._result_dtype(v) if self.form.partials else dtype
                row.bind(v, kept_as, name, declare=False, rounded=dtype.register != "float" or dtype is float32)
        return out

    def _reduction(self, v: int, width: int, copies: int, stem: str, copy: int) -> _Reduction:
        reduce = self.analysis.program.instrs[v - self.analysis.first]
        assert isinstance(reduce, Reduce)
        return _Reduction(reduce, v, width, copies, stem, self.form.ctype == "long")

    def _source(self, v: int) -> DType:
        reduce = self.analysis.program.instrs[v - self.analysis.first]
        assert isinstance(reduce, Reduce)
        return self.analysis.dtypes[reduce.arg]

    def _result_dtype(self, v: int) -> DType:
        reduce = self.analysis.program.instrs[v - self.analysis.first]
        assert isinstance(reduce, Reduce)
        return int64 if reduce.kind in _ARG else _accumulator_dtype(reduce)

    def _result(self, r: _Reduction, v: int, names: Sequence[str]) -> str:
        if r.arg:
            return convert(names[1], r.key_dtype(self._source(v)), int64, self.row_width)
        return names[0]

    def _tree(self, r: _Reduction, v: int, names: Sequence[str]) -> list[str]:
        """Put the results of a work-group's items together; all of them get it."""
        out: list[str] = []
        shared = [f"shared_{v}_{i}" for i in range(len(names))]
        out += [f"{s}[get_local_id(0)] = {n};" for s, n in zip(shared, names)]
        out += [
            "barrier(CLK_LOCAL_MEM_FENCE);",
            f"for (int half_size = {self.form.local_size // 2}; half_size > 0; half_size >>= 1) {{",
        ]
        out.append("  if ((int)get_local_id(0) < half_size) {")
        mine = [f"{s}[get_local_id(0)]" for s in shared]
        theirs = [f"{s}[get_local_id(0) + half_size]" for s in shared]
        out += [f"    {line}" for line in r.merged(mine, theirs, 1)]
        out += ["  }", "  barrier(CLK_LOCAL_MEM_FENCE);", "}"]
        out += [f"{n} = {s}[0];" for s, n in zip(shared, names)]
        return [*out, "barrier(CLK_LOCAL_MEM_FENCE);"]

    def _reads_stage(self, level: int) -> bool:
        return any(p < level and v in self._stage_reads(level) for v, p in self.form.staged.items())

    def _stage_reads(self, level: int) -> set[int]:
        reduces, stores, staged = self._wanted(level)
        instrs: tuple[Any, ...] = self.analysis.program.instrs
        targets = [instrs[v - self.analysis.first].arg for v in reduces]
        targets += [self.analysis.program.stores[i][0] for i in stores]
        ready = {v for v, p in self.form.staged.items() if p < level}
        return needed_values(self.analysis.program.instrs, self.analysis.first, targets, self._known(ready)) & ready

    def _known(self, staged: set[int]) -> set[int]:
        """Values an element pass does not compute: those per row, and those kept in local memory."""
        return {v for v in range(len(self.analysis.full)) if not self.analysis.full[v]} | staged

    def _elements(
        self,
        level: int,
        copy: int,
        width: int,
        at: str,
        reductions: dict[int, _Reduction],
        slot: int,
        reduces: Sequence[int],
        stores: Sequence[int],
        staged: Sequence[int],
        used: set[int],
        prefix: str = "v",
    ) -> list[str]:
        """Load, compute, reduce and store `width` elements at lane position `at`."""
        analysis = self.analysis
        program, first = analysis.program, analysis.first
        targets = [program.instrs[v - first].arg for v in reduces]  # type: ignore[union-attr]
        targets += [program.stores[i][0] for i in stores] + list(staged)
        ready = {v for v, p in self.form.staged.items() if p < level}
        needed = needed_values(program.instrs, first, targets, self._known(ready))
        row = self.rows[0 if self.horizontal else copy]
        index = next((o for o in self.walk.operands if o.role == INDEX and o.number == 0), None)
        block = Block(width, prefix, index.read(*self._lane_place(index, "x_p", at), width) if index else None)
        for v in sorted(needed):
            if v in ready:
                block.bind(v, analysis.dtypes[v], self._stage_access(v, at, width))
            elif analysis.full[v]:
                if v < len(program.inputs):
                    o = self._operand(INPUT, v)
                    used.add(self.walk.operands.index(o))
                    place = self._lane_place(o, f"{o.name}_p", at)
                    block.bind(v, o.dtype, o.read(*place, width))
                    if self.form.prefetch and level == 2 and width > 1 and place[1] == "unit":
                        block.statements.append(
                            f"PREFETCH({o.pointer} + {place[0]} + {o.name}_k{len(self.walk.kept) - 1});"
                        )
            else:
                name = row.name(v)
                splat = self.row_width != width
                block.bind(
                    v,
                    analysis.dtypes[v],
                    f"({register_type(analysis.dtypes[v], width)})({name})" if splat else name,
                    splat,
                )
        block.run(program.instrs, first, needed)  # type: ignore[arg-type]
        lines = block.statements
        for v in staged:
            lines.append(self._stage_write(v, block.name(v), at, width))
        position = next((o for o in self.walk.operands if o.role == INDEX and o.number == POSITION), None)
        where = position.read(*self._lane_place(position, "y_p", at), width) if position else ""
        for v in reduces:
            arg = program.instrs[v - first].arg  # type: ignore[union-attr]
            lines += reductions[v].take(slot, block.name(arg), analysis.dtypes[arg], where)
        for i in stores:
            o = self._operand(STORE, i)
            used.add(self.walk.operands.index(o))
            lines.append(
                o.write(block.stored(program.stores[i][0], o.dtype), *self._lane_place(o, f"{o.name}_p", at), width)
            )
        for o in self.walk.operands:
            if o.role == INDEX:
                used.add(self.walk.operands.index(o))
        self.includes += block.includes
        return lines

    def _offsets(self, used: set[int], stages: bool) -> tuple[list[str], list[str]]:
        """Element offsets of the operands at the present reduced counters."""
        ctype, inner = self.form.ctype, self.form.inner
        offsets, steps = [], []
        for k in sorted(used):
            o = self.walk.operands[k]
            start = " + ".join([f"{o.name}_r"] + [f"r{d} * {o.name}_m{d}" for d in range(inner)])
            if self.horizontal:
                offsets.append(f"const {ctype} {o.name}_p = {start};")
            else:
                offsets.append(f"const {ctype} {o.name}_o = {start};")
                steps.append(f"const {ctype} {o.name}_p = {o.name}_o + r{inner} * {o.name}_m{inner};")
        if stages:
            linear = "0"
            for d in range(inner):
                linear = f"({linear} * m{d} + r{d})"
            linear = f"{linear} * m{inner}"
            if self.horizontal:
                offsets.append(f"const {ctype} stage_p = {linear};")
            else:
                steps.append(f"const {ctype} stage_p = ({linear} + r{inner}) * {self.width};")
        return offsets, steps

    def _stage_place(self, at: str) -> str:
        return f"stage_p + {at}" if self.horizontal else "stage_p"

    def _stage_access(self, v: int, at: str, width: int) -> str:
        return f"vec_load{width}(stage_{v} + {self._stage_place(at)})"

    def _stage_write(self, v: int, name: str, at: str, width: int) -> str:
        return f"vec_store{width}({name}, stage_{v} + {self._stage_place(at)});"

    def _row_stores(self) -> list[str]:
        out: list[str] = []
        for u, block in enumerate(self.rows):
            for i in self.analysis.row_stores:
                o = self._operand(STORE, i)
                value = self.analysis.program.stores[i][0]
                out.append(o.write(block.stored(value, o.dtype), *self._row_place(o, u), self.row_width))
        if self.horizontal and self.form.gpu and out:
            return ["if (get_local_id(0) == 0) {", *(f"  {line}" for line in out), "}"]
        return out

    def _partial_stores(self) -> list[str]:
        """Raw reductions of a part of a row to scratch: [part][row]."""
        out: list[str] = []
        kept = self.walk.kept
        rows = "*".join(f"k{d}" for d in range(len(kept))) or "1"
        for u, block in enumerate(self.rows):
            linear = "0"
            outer = len(kept) if self.horizontal else len(kept) - 1
            for d in range(outer):
                linear = f"({linear} * k{d} + c{d})"
            if not self.horizontal:
                linear = f"({linear} * k{len(kept) - 1} + {self._lane(u)})"
            dtypes = _partial_dtypes(self.analysis, self.walk)
            for n, (v, part_of) in enumerate(_partials(self.analysis)):
                pointer = f"partial{n} + (part * ({rows}) + {linear})"
                dtype = dtypes[n]
                text = block.name(v) + ("_key" if part_of == "key" else "")
                if part_of == "at":
                    text = convert(text, int64, dtype, self.row_width)
                if dtype is bool_:
                    text = f"CONVERT(uchar{self.row_width}, {text})" if self.row_width > 1 else f"(uchar)({text})"
                out.append(f"vec_store{self.row_width}({text}, {pointer});")
        if self.horizontal and self.form.gpu:
            return ["if (get_local_id(0) == 0) {", *(f"  {line}" for line in out), "}"]
        return out


# ---- lowering


def lower_rowwise(program: RowProgram, target: Target) -> Lowered:
    """The launches for `program`: none without rows, more where rows are few and long, else one.

    Raises ValueError if no dim is reduced and the program has a Reduce over nothing to reduce: callers give `dims` of
    at least one dim.
    """
    rows = prod(n for d, n in enumerate(program.shape) if d not in program.dims)
    if not rows or not program.stores:
        return Lowered(())
    analysis = _analyse(program)
    walk = _walk_of(analysis, target)
    if _stages_pay(analysis, walk, target):
        return _in_stages(analysis, target)
    if _splits_pay(analysis, walk, target):
        return _split(analysis, walk, target)
    return Lowered((_launch(analysis, walk, target, 1, None),))


def _unit_steps(analysis: _Analysis, walk: _Walk, target: Target, parts: int = 1) -> int:
    """Loop iterations that a unit needs at most."""
    width, copies = _shape_of_code(analysis, walk, target)
    lanes = width * copies if walk.horizontal else 1
    return analysis.passes * (prod(walk.reduced) // (parts * lanes) + 2 * width * prod(walk.reduced[:-1]) + 2)


def _exceeds_limit(analysis: _Analysis, walk: _Walk, target: Target) -> bool:
    return bool(target.loop_limit) and _unit_steps(analysis, walk, target) > target.loop_limit - 128


def _lane_units(walk: _Walk, width: int, copies: int) -> int:
    """Units without splitting."""
    if walk.horizontal:
        return prod(walk.kept)
    return prod(walk.kept[:-1]) * -(-walk.kept[-1] // (width * copies))


def _shape_of_code(analysis: _Analysis, walk: _Walk, target: Target) -> tuple[int, int]:
    """Lanes and copies."""
    if target.kind == "gpu" and not walk.horizontal:
        return 1, 1
    real = [o for o in walk.operands if o.role != INDEX]
    lanes = walk.shape[walk.lane_dim]
    most = widest(real, target)
    width = (
        width_for(lanes, most) if walk.horizontal else max(w for w in (16, 8, 4, 2, 1) if w <= min(most, max(lanes, 1)))
    )
    if target.kind == "gpu":
        return width, 1
    cost = sum(1 for v in analysis.needed if v >= analysis.first and analysis.full[v])
    reduces = sum(
        1
        for v in analysis.needed
        if v >= analysis.first and isinstance(analysis.program.instrs[v - analysis.first], Reduce)
    )
    copies = 4 if cost <= 2 and reduces <= 2 else 2 if cost <= 12 else 1
    while copies > 1 and (lanes < copies * width or (not walk.horizontal and walk.operands and _aliased(analysis))):
        copies //= 2
    return width, copies


def _aliased(analysis: _Analysis) -> bool:
    return any(a >= 0 for a in analysis.program.aliases)


def _splits_pay(analysis: _Analysis, walk: _Walk, target: Target) -> bool:
    """True for a pure reduction of so few long rows that the device would idle, or too long for its loops."""
    if analysis.passes != 1 or analysis.full_stores:
        return False
    if _exceeds_limit(analysis, walk, target):
        return True
    if prod(walk.reduced) * prod(walk.kept) < 4 * _PART or max(walk.reduced) < 8:
        return False
    width, copies = _shape_of_code(analysis, walk, target)
    units = _lane_units(walk, width, copies)
    wanted = 4 * target.compute_units if target.kind == "cpu" else 2 * target.compute_units
    return units < wanted and prod(walk.reduced) >= 2 * 1024


def _stages_pay(analysis: _Analysis, walk: _Walk, target: Target) -> bool:
    """True for a program of several passes over rows so few and long that most cores would idle, or too long for the
    device's loops."""
    if not any(isinstance(x, Reduce) for x in analysis.program.instrs) or not (
        analysis.passes > 1 or analysis.full_stores
    ):
        return False
    if _exceeds_limit(analysis, walk, target):
        return True
    units = _lane_units(walk, *_shape_of_code(analysis, walk, target))
    return 2 * units <= target.compute_units and prod(walk.shape) >= 16 * _PART


def _in_stages(analysis: _Analysis, target: Target) -> Lowered:
    """Per level of reductions a program of its own that keeps them in scratch memory; then the stores, as pointwise
    programs."""
    program, first = analysis.program, analysis.first
    rows = tuple(1 if d in program.dims else n for d, n in enumerate(program.shape))
    place = layout(float32, rows)  # of a reduction in scratch memory
    spread = tuple(0 if d in program.dims else s for d, s in enumerate(place.stride))
    kept: list[int] = []  # Reduce values in scratch memory, in the order of its buffers
    nbytes: list[int] = []
    launches: list[Launch] = []

    def dtype_of(v: int) -> DType:
        reduce = program.instrs[v - first]
        assert isinstance(reduce, Reduce)
        return int64 if reduce.kind in _ARG else _accumulator_dtype(reduce)

    def rewritten(wanted: Sequence[int]) -> tuple[tuple[Layout, ...], tuple[Instr | Reduce, ...], dict[int, int]]:
        """Inputs, instructions and new numbers of the values that `wanted` needs beyond those kept."""
        extra = tuple(layout(dtype_of(v), program.shape, spread) for v in kept)
        start = first + len(kept)
        number = {v: v if v < len(program.inputs) else v + len(kept) for v in range(first)}
        instrs: list[Instr | Reduce] = []
        for v in sorted(needed_values(program.instrs, first, wanted, kept)):
            if v < first:
                continue
            x = program.instrs[v - first]
            if v in kept:  # the same register, not rounded to the value's dtype
                instrs.append(Instr("{0}", (len(program.inputs) + kept.index(v),), x.dtype, cost=0))
            elif isinstance(x, Reduce):
                instrs.append(replace(x, arg=number[x.arg]))
            else:
                instrs.append(replace(x, args=tuple(number[a] for a in x.args)))
            number[v] = start + len(instrs) - 1
        return program.inputs + extra, tuple(instrs), number

    def bound(lowered: Lowered, outputs: Sequence[Argument], scratch: int) -> list[Launch]:
        """The launches with their buffers named as the whole program's; their own scratch begins at `scratch`."""

        def moved(argument: Argument) -> Argument:
            if isinstance(argument, Input) and argument.index >= len(program.inputs):
                return Scratch(buffers[kept[argument.index - len(program.inputs)]])
            if isinstance(argument, Output):
                return outputs[argument.index]
            return Scratch(scratch + argument.index) if isinstance(argument, Scratch) else argument

        return [replace(x, args=tuple(moved(a) for a in x.args)) for x in lowered.launches]

    buffers: dict[int, int] = {}
    for level in range(1, analysis.passes + 1):
        reduces = analysis.reduces(level)
        if not reduces:
            continue
        inputs, instrs, number = rewritten(reduces)
        stage = RowProgram(
            program.shape,
            program.dims,
            inputs,
            program.row_inputs + (True,) * len(kept),
            program.scalars,
            instrs,
            tuple((number[v], layout(dtype_of(v), rows)) for v in reduces),
        )
        fresh = {v: len(nbytes) + k for k, v in enumerate(reduces)}
        nbytes += [dtype_of(v).itemsize * prod(rows) for v in reduces]
        lowered = lower_rowwise(stage, target)
        launches += bound(lowered, [Scratch(fresh[v]) for v in reduces], len(nbytes))
        nbytes += lowered.scratch
        buffers.update(fresh)
        kept += reduces
    for shape, chosen in ((program.shape, sorted(analysis.full_stores)), (rows, analysis.row_stores)):
        if not chosen:
            continue
        inputs, instrs, number = rewritten([program.stores[i][0] for i in chosen])
        if shape is rows:  # per-row values: one element per row
            inputs = tuple(layout(x.dtype, rows, x.stride, x.offset) for x in inputs)
        body = Body(
            shape,
            inputs,
            program.scalars,
            tuple(x for x in instrs if isinstance(x, Instr)),
            tuple((number[program.stores[i][0]], program.stores[i][1]) for i in chosen),
            tuple(program.aliases[i] if i < len(program.aliases) else -1 for i in chosen),
        )
        launches += bound(lower_pointwise(body, target), [Output(i) for i in chosen], len(nbytes))
    return Lowered(tuple(launches), tuple(nbytes))


def _split(analysis: _Analysis, walk: _Walk, target: Target) -> Lowered:
    """Parts of rows to scratch, then the parts reduced by a second program."""
    program, first = analysis.program, analysis.first
    width, copies = _shape_of_code(analysis, walk, target)
    units = _lane_units(walk, width, copies)
    split_dim = max(range(len(walk.reduced)), key=lambda d: (walk.reduced[d], d))
    length = walk.reduced[split_dim]
    elements = prod(walk.shape) // units  # per unit
    parts = max(1, min(-(-8 * target.compute_units // units), elements // (_PART // 4), length))
    if target.loop_limit:
        parts = min(length, max(parts, -(-4 * prod(walk.reduced) // target.loop_limit)))
    align = 64 if walk.horizontal and split_dim == len(walk.reduced) - 1 else 1
    part = round_up(-(-length // parts), align)
    parts = -(-length // part)
    launch = _launch(analysis, walk, target, parts, (split_dim, part))
    rows = prod(walk.kept)
    # The second program's values: the partial results, then row inputs, scalars and row instructions of the first.

    kept_dims = tuple(d for d in range(len(program.shape)) if d not in program.dims)
    scratch_stride = _scratch_strides(program, walk, analysis, kept_dims)
    row_inputs = [i for i in range(len(program.inputs)) if i in analysis.needed and not analysis.full[i]]
    shape = tuple(program.shape[d] for d in kept_dims) + (parts,)
    partial_dtypes = _partial_dtypes(analysis, walk)
    partial_layouts = [layout(dtype, shape, (*scratch_stride, rows)) for dtype in partial_dtypes]
    inputs = partial_layouts + [_row_layout(program.inputs[i], kept_dims, shape) for i in row_inputs]
    partial = {v: k for k, (v, part_of) in enumerate(_partials(analysis)) if part_of != "at"}
    renamed = {i: len(partial_layouts) + k for k, i in enumerate(row_inputs)}
    renamed.update({len(program.inputs) + i: len(inputs) + i for i in range(len(program.scalars))})
    instrs: list[Instr | Reduce] = []
    start = len(inputs) + len(program.scalars)
    for v in sorted(analysis.needed):
        if v < first or analysis.full[v]:
            continue
        x = program.instrs[v - first]
        if isinstance(x, Reduce) and x.kind in _ARG:  # the first position among the parts with the greatest key
            key, dtype = partial[v], partial_dtypes[partial[v]]
            instrs.append(Reduce("max", key, dtype))
            instrs.append(Instr("({0} == {1}) ? {2} : $max$", (key, start + len(instrs) - 1, key + 1), dtype))
            instrs.append(Reduce("min", start + len(instrs) - 1, dtype))
            instrs.append(Instr("cast", (start + len(instrs) - 1,), int64))
            renamed[v] = start + len(instrs) - 1
            continue
        renamed[v] = start + len(instrs)
        if isinstance(x, Reduce):
            instrs.append(Reduce(x.kind, partial[v], x.dtype))
        else:
            instrs.append(replace(x, args=tuple(renamed[a] for a in x.args)))
    stores = tuple((renamed[value], _row_layout(place, kept_dims, (*shape[:-1], 1))) for value, place in program.stores)
    aliases = tuple(len(partial_layouts) + row_inputs.index(a) if a in row_inputs else -1 for a in program.aliases)
    second = RowProgram(
        shape,
        (len(shape) - 1,),
        tuple(inputs),
        (False,) * len(partial_layouts) + (True,) * len(row_inputs),
        program.scalars,
        tuple(instrs),
        stores,
        aliases,
    )
    after = _analyse(second)
    follow = _launch(after, _walk_of(after, target), target, 1, None)

    def bound(argument: Argument) -> Argument:
        if not isinstance(argument, Input):
            return argument
        return (
            Scratch(argument.index)
            if argument.index < len(partial_layouts)
            else Input(row_inputs[argument.index - len(partial_layouts)])
        )

    follow = replace(follow, args=tuple(bound(a) for a in follow.args))
    return Lowered((launch, follow), tuple(x.dtype.itemsize * rows * parts for x in partial_layouts))


def _partials(analysis: _Analysis) -> list[tuple[int, str]]:
    """The scratch buffers of a split: a Reduce value and what is kept of it: 'value', or 'key' and then 'at'."""
    out: list[tuple[int, str]] = []
    for v in analysis.reduces(1):
        reduce = analysis.program.instrs[v - analysis.first]
        assert isinstance(reduce, Reduce)
        out += [(v, "key"), (v, "at")] if reduce.kind in _ARG else [(v, "value")]
    return out


def _partial_dtypes(analysis: _Analysis, walk: _Walk) -> list[DType]:
    wide = index_ctype(walk.shape, walk.operands) == "long"
    out = []
    for v, part_of in _partials(analysis):
        reduce = analysis.program.instrs[v - analysis.first]
        assert isinstance(reduce, Reduce)
        if part_of == "value":
            out.append(_accumulator_dtype(reduce))
        else:
            out.append(_key_dtype(analysis.dtypes[reduce.arg], wide))
    return out


def _scratch_strides(
    program: RowProgram, walk: _Walk, analysis: _Analysis, kept_dims: Sequence[int]
) -> tuple[int, ...]:
    """Strides in scratch of the program's kept dims: rows lie there in the order in which `walk` numbers them."""
    operands = _operands_of(analysis)
    guides = [o for o in operands if o.role != INDEX and _is_full(analysis, o)] or [
        o for o in operands if o.role != INDEX
    ]
    order = sorted(range(len(program.shape)), key=lambda d: tuple(-o.strides[d] for o in guides))
    stride, step = {}, 1
    for d in reversed([d for d in order if d in kept_dims]):
        stride[d] = step
        step *= program.shape[d]
    return tuple(stride[d] for d in kept_dims)


def _row_layout(given: Layout, kept_dims: Sequence[int], shape: tuple[int, ...]) -> Layout:
    """A per-row layout over the kept dims and one reduced dim."""
    return layout(given.dtype, shape, (*(given.stride[d] for d in kept_dims), 0), given.offset)


def _staged(analysis: _Analysis, walk: _Walk, target: Target) -> tuple[dict[int, int], int]:
    """Values worth keeping in local memory between passes, with the pass that computes them, and elements per
    buffer."""
    program, first = analysis.program, analysis.first
    if analysis.passes < 2:
        return {}, 0
    row = prod(walk.reduced) * (1 if walk.horizontal else widest(walk.operands, target))
    if target.kind == "gpu" and not walk.horizontal:
        return {}, 0
    rows_known = {v for v in range(len(analysis.full)) if not analysis.full[v]}

    def targets(level: int) -> list[int]:
        found = [program.instrs[v - first].arg for v in analysis.reduces(level)]  # type: ignore[union-attr]
        return found + [program.stores[i][0] for i, p in analysis.full_stores.items() if p == level]

    def cost(v: int) -> int:
        inside = needed_values(program.instrs, first, [v], rows_known)
        instrs: tuple[Any, ...] = program.instrs
        return sum(instrs[x - first].cost for x in inside if x >= first and analysis.full[x])

    staged: dict[int, int] = {}
    for level in range(2, analysis.passes + 1):
        earlier = {
            v: p
            for p in range(level - 1, 0, -1)
            for v in needed_values(program.instrs, first, targets(p), rows_known)
            if v >= first and analysis.full[v]
        }
        stack, seen = targets(level), set()
        while stack:
            v = stack.pop()
            if v in seen or v < first or not analysis.full[v]:
                continue
            seen.add(v)
            if v in earlier and cost(v) >= _STAGE_COST:
                staged.setdefault(v, earlier[v])
            else:
                x = program.instrs[v - first]
                stack += x.args if isinstance(x, Instr) else ()
    if not staged:
        return {}, 0
    bytes_each = 8 if any(analysis.dtypes[v].itemsize == 8 for v in staged) else 4
    room = min(_STAGE_BYTES, target.local_memory // 2) // bytes_each // (1 << (len(staged) - 1).bit_length())
    return (staged, room) if row <= room else ({}, 0)


def _prefetch_pays(analysis: _Analysis, walk: _Walk, target: Target) -> bool:
    """True where the next row would come from memory while this one is computed from the cache."""
    if not (streams(target) and walk.horizontal and walk.kept and analysis.passes >= 2):
        return False
    return any(o.stream for o in walk.operands) and walk.kept[-1] > 1


def _launch(analysis: _Analysis, walk: _Walk, target: Target, parts: int, split: tuple[int, int] | None) -> Launch:
    """The launch over the program's rows; `split` = (reduced dim, its length per part) for partial sums."""
    gpu = target.kind == "gpu"
    ctype = index_ctype(walk.shape, walk.operands)
    width, copies = _shape_of_code(analysis, walk, target)
    staged, stage_elements = ({}, 0) if split else _staged(analysis, walk, target)
    if staged and not walk.horizontal:
        copies = 1
    local_size = 1 if not gpu else 256 if not walk.horizontal else 64 if prod(walk.reduced) <= 512 else 256
    form = _Form(
        analysis,
        walk,
        ctype,
        gpu,
        local_size,
        split[0] if split else None,
        staged,
        stage_elements,
        split is not None,
        _prefetch_pays(analysis, walk, target),
    )
    tail_version = not walk.horizontal and _aliased(analysis) and not gpu
    codes = [_UnitCode(form, width, copies)] + ([_UnitCode(form, 1, 1)] if tail_version else [])
    versions = [code.write() for code in codes]
    parameters, arguments, decode = _parameters(form)
    units = _lane_units(walk, width, copies) * parts
    extra = {"units": units}
    if not walk.horizontal:
        extra["lane_blocks"] = -(-walk.kept[-1] // (width * copies))
    if split:
        extra.update(splits=parts, part_length=split[1])
    if gpu:
        groups = units if walk.horizontal else -(-units // local_size)
        groups = max(1, min(groups, _GPU_GROUPS_PER_UNIT * target.compute_units))
    else:
        groups = min(units, group_count(prod(walk.shape), target))
        per = -(-units // groups)
        if target.loop_limit:
            per = max(1, min(per, (target.loop_limit - 128) // _unit_steps(analysis, walk, target, parts)))
        groups = -(-units // per)
        extra["per"] = per
    parameters += [f"const {ctype} {name}" for name in extra]
    arguments += [Value(ctype, n) for n in extra.values()]
    program = analysis.program
    for i, dtype in enumerate(program.scalars):
        if len(program.inputs) + i in analysis.needed:
            parameters.append(f"const {scalar_ctype(dtype)} s{i}")
            arguments.append(Scalar(i, scalar_ctype(dtype)))
    body = render(
        "rowwise",
        parameters=parameters,
        local_size=local_size,
        gpu=gpu,
        I=ctype,
        horizontal=walk.horizontal,
        versions=versions,
        outer=range(len(walk.reduced) - 1),
        inner=len(walk.reduced) - 1,
        lane_dim=len(walk.kept) - 1,
        split_dim=form.split_dim,
        block_length=_BLOCK_VECTORS * (width * copies if walk.horizontal else 1),
        decode=decode[0],
        decode_rows=decode[1],
        local_arrays=_local_arrays(form, codes[0]),
    )
    includes = chosen_includes(name for code in codes for name in code.includes)
    flops = prod(walk.shape) * sum(
        getattr(program.instrs[v - analysis.first], "cost", 1) for v in analysis.needed if v >= analysis.first
    )
    return Launch(
        KernelSource("rowwise", body, includes, (local_size,)),
        tuple(arguments),
        (groups * local_size,),
        float(flops),
        bytes_moved(walk.shape, walk.operands),
    )


def _parameters(form: _Form) -> tuple[list[str], list[Argument], tuple[list[str], list[str]]]:
    """Pointers, sizes, offsets, strides with their arguments; C that decodes `row` (horizontal; vertical, after the
    lane)."""
    walk, analysis, ctype = form.walk, form.analysis, form.ctype
    parameters: list[str] = []
    arguments: list[Argument] = []
    operands = [o for o in walk.operands if not (form.partials and o.role == STORE)]
    for o in operands:
        if o.role != INDEX:
            parameters.append(o.parameter())
            arguments.append(Input(o.number) if o.role == INPUT else Output(o.number))
    if form.partials:
        for n, dtype in enumerate(_partial_dtypes(analysis, walk)):
            parameters.append(f"__global {dtype.storage} *restrict partial{n}")
            arguments.append(Scratch(n))
    for letter, sizes in (("k", walk.kept), ("m", walk.reduced)):
        parameters += [f"const {ctype} {letter}{d}" for d in range(len(sizes))]
        arguments += [Value(ctype, n) for n in sizes]
    outer = len(walk.kept) if walk.horizontal else len(walk.kept) - 1
    lines: list[str] = []
    for d in range(outer - 1, -1, -1):
        lines += [f"const {ctype} c{d} = row % k{d};", f"row /= k{d};"] if d else ["const " + ctype + " c0 = row;"]
    for o in operands:
        full = _is_full(analysis, o)
        if o.role != INDEX:
            parameters.append(f"const {ctype} {o.name}_x")
            arguments.append(Value(ctype, o.offset))
        for d in range(len(walk.shape)):
            kept = d < len(walk.kept)
            if (d == walk.lane_dim and kind_of(o.strides[d]) != "step") or (not kept and not full):
                continue
            parameters.append(f"const {ctype} {o.name}_{'k' if kept else 'm'}{d if kept else d - len(walk.kept)}")
            arguments.append(Value(ctype, o.strides[d]))
        base = "0" if o.role == INDEX else f"{o.name}_x"
        lines.append(
            f"const {ctype} {o.name}_r = {' + '.join([base] + [f'c{d} * {o.name}_k{d}' for d in range(outer)])};"
        )
    return parameters, arguments, (lines, []) if walk.horizontal else ([], lines)


def _local_arrays(form: _Form, code: _UnitCode) -> list[str]:
    out = [f"__local {form.analysis.dtypes[v].register} stage_{v}[{form.stage_elements}];" for v in form.staged]
    if form.gpu and form.walk.horizontal:
        for level in range(1, form.analysis.passes + 1):
            for v in form.analysis.reduces(level):
                r = code._reduction(v, 1, 1, "", 0)
                if r.arg:
                    kind = r.key_dtype(code._source(v)).register
                    out += [f"__local {kind} shared_{v}_{i}[{form.local_size}];" for i in range(2)]
                else:
                    out.append(f"__local {r.dtype.register} shared_{v}_0[{form.local_size}];")
    return out
