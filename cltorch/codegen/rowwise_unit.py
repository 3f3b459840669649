"""The C of one unit of a row-wise kernel: a row, rows side by side, or a part of a row.

Floor 1b. `UnitCode` writes the lines of every pass; templates/rowwise.cl.mako puts loops around them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..dtypes import DType, bool_, float32, int64
from .expression import Block, convert, needed_values, register_type
from .operands import INDEX, INPUT, STORE, Operand, fetches, index_ctype, kind_of
from .program import Instr, Reduce
from .rowwise_analysis import ARG, POSITION, Analysis, Walk, is_full
from .rowwise_reduction import Reduction, accumulator_dtype, key_dtype_of

_ROWS_AHEAD = 8  # rows fetched ahead of a loop down the rows
_LINE = 64  # bytes of a line of a cache


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
class Form:
    """All that decides the text of a kernel."""

    analysis: Analysis
    walk: Walk
    ctype: str
    gpu: bool
    local_size: int
    split_dim: int | None
    staged: dict[int, int]  # value -> pass that computes it
    stage_elements: int
    partials: bool  # write raw reductions to scratch instead of the program's stores
    prefetch: bool = False  # fetch lines before they are needed
    short: bool = False  # a row is one block: no compensated sums
    overlap: bool = False  # the end of a row is one more vector

    @property
    def inner(self) -> int:
        return len(self.walk.reduced) - 1


class UnitCode:
    """Writes the code of one unit at one width."""

    def __init__(self, form: Form, width: int, copies: int):
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
        unrolled = self._copies_of(level) if self.horizontal else self.copies
        vectors = {v: self._reduction(v, self.width, unrolled if self.horizontal else 1, f"a{level}_") for v in reduces}
        copies = [vectors] + [
            {v: self._reduction(v, self.width, 1, f"a{level}_c{u}_") for v in reduces}
            for u in range(1, self.copies)
            if not self.horizontal
        ]
        scalar_tail = self.horizontal and self.width > 1 and not self.form.overlap
        tails = {v: self._reduction(v, 1, 1, f"b{level}_") for v in reduces} if scalar_tail else {}
        everything = [r for group in copies for r in group.items()] + list(tails.items())
        for v, r in everything:
            out.before += r.before(self._source(v))
            out.reset += r.reset()
            out.flush += r.flush()
        used: set[int] = set()
        for u in range(unrolled):
            group = vectors if self.horizontal else copies[u]
            at = (f"j + {u * self.width}" if u else "j") if self.horizontal else self._lane(u)
            body = self._elements(
                level, u, self.width, at, group, u if self.horizontal else 0, reduces, stores, staged, used
            )
            out.bodies.append(body + self._prefetches(level, at, used, u))
        if scalar_tail:
            out.tail = self._elements(level, 0, 1, "k", tails, 0, reduces, stores, staged, used, prefix="t")
        elif self.horizontal and self.width > 1:
            fresh = ""
            if any(r.counts_twice for r in vectors.values()):
                fresh = "fresh"
                lanes = ", ".join(map(str, range(self.width)))
                out.tail.append(
                    f"const int{self.width} fresh = (int{self.width})({lanes}) >= (int{self.width})(j - k);"
                )
            out.tail += self._elements(
                level, 0, self.width, "k", vectors, 0, reduces, stores, staged, used, prefix="t", fresh=fresh
            )
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

    def _copies_of(self, level: int) -> int:
        """Vectors per turn of the loop of a pass: more where little is computed and one would wait for the last."""
        reduces, stores, staged = self._wanted(level)
        instrs: tuple[Any, ...] = self.analysis.program.instrs
        first = self.analysis.first
        targets = [instrs[v - first].arg for v in reduces] + [self.analysis.program.stores[i][0] for i in stores]
        ready = {v for v, p in self.form.staged.items() if p < level}
        needed = needed_values(instrs, first, targets + staged, self._known(ready))
        cost = sum(instrs[v - first].cost for v in needed if v >= first and self.analysis.full[v] and v not in ready)
        return min(self.copies, 4 if cost <= 4 and len(reduces) <= 2 else 2 if cost <= 24 else 1)

    def _prefetches(self, level: int, at: str, used: set[int], copy: int) -> list[str]:
        """Fetches from memory. One pass: what comes next. More: while the second one computes, the next row; in the
        pass before the last, lines to be stored.
        """
        out: list[str] = []
        if not self.form.prefetch:
            return out
        inner = len(self.walk.shape) - 1
        for k, o in enumerate(self.walk.operands):
            if o.role == INDEX or not is_full(self.analysis, o) or self.kinds[o] != "unit":
                continue
            if copy * self.width * o.dtype.itemsize % _LINE:
                continue  # asked for with the vector before
            if not self.horizontal:
                if o.role == INPUT and level == 1 and k in used:
                    ahead = f"{_ROWS_AHEAD} * {o.name}_m{len(self.walk.reduced) - 1}"
                    out.append(f"PREFETCH({o.pointer} + {o.name}_p + {at} + {ahead});")
                continue
            if self.analysis.passes == 1:
                whole = (
                    not self.walk.kept
                    or o.strides[len(self.walk.kept) - 1] == o.strides[inner] * self.walk.shape[inner]
                )
                if o.role == INPUT and whole:
                    out += fetches([o], [f"{o.name}_p + {at}"], self.width)
                continue
            step = ""
            if o.role == INPUT and level == 2 and o.strides[len(self.walk.kept) - 1]:
                step = f" + {o.name}_k{len(self.walk.kept) - 1}"
            elif o.role != STORE or o.stream or self.analysis.full_stores[o.number] != level + 1:
                continue
            used.add(k)
            out.append(f"PREFETCH({o.pointer} + {o.name}_p + {at}{step});")
        return out

    def _reduction(self, v: int, width: int, copies: int, stem: str) -> Reduction:
        reduce = self.analysis.program.instrs[v - self.analysis.first]
        assert isinstance(reduce, Reduce)
        return Reduction(reduce, v, width, copies, stem, self.form.ctype == "long", self.form.short)

    def _source(self, v: int) -> DType:
        reduce = self.analysis.program.instrs[v - self.analysis.first]
        assert isinstance(reduce, Reduce)
        return self.analysis.dtypes[reduce.arg]

    def _result_dtype(self, v: int) -> DType:
        reduce = self.analysis.program.instrs[v - self.analysis.first]
        assert isinstance(reduce, Reduce)
        return int64 if reduce.kind in ARG else accumulator_dtype(reduce)

    def _result(self, r: Reduction, v: int, names: Sequence[str]) -> str:
        if r.arg:
            return convert(names[1], r.key_dtype(self._source(v)), int64, self.row_width)
        return names[0]

    def _tree(self, r: Reduction, v: int, names: Sequence[str]) -> list[str]:
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
        reductions: dict[int, Reduction],
        slot: int,
        reduces: Sequence[int],
        stores: Sequence[int],
        staged: Sequence[int],
        used: set[int],
        prefix: str = "v",
        fresh: str = "",
    ) -> list[str]:
        """Load, compute, reduce and store `width` elements at lane position `at`; `fresh`: see `Reduction.take`."""
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
            lines += reductions[v].take(slot, block.name(arg), analysis.dtypes[arg], where, fresh)
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
            # the others may still have to read what is overwritten: a running statistic
            first = "barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);"
            return [first, "if (get_local_id(0) == 0) {", *(f"  {line}" for line in out), "}"]
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
            dtypes = partial_dtypes(self.analysis, self.walk)
            for n, (v, part_of) in enumerate(partials_of(self.analysis)):
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


def partials_of(analysis: Analysis) -> list[tuple[int, str]]:
    """The scratch buffers of a split: a Reduce value and what is kept of it: 'value', or 'key' and then 'at'."""
    out: list[tuple[int, str]] = []
    for v in analysis.reduces(1):
        reduce = analysis.program.instrs[v - analysis.first]
        assert isinstance(reduce, Reduce)
        out += [(v, "key"), (v, "at")] if reduce.kind in ARG else [(v, "value")]
    return out


def partial_dtypes(analysis: Analysis, walk: Walk) -> list[DType]:
    wide = index_ctype(walk.shape, walk.operands) == "long"
    out = []
    for v, part_of in partials_of(analysis):
        reduce = analysis.program.instrs[v - analysis.first]
        assert isinstance(reduce, Reduce)
        if part_of == "value":
            out.append(accumulator_dtype(reduce))
        else:
            out.append(key_dtype_of(analysis.dtypes[reduce.arg], wide))
    return out
