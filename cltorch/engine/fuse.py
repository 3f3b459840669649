"""Fusion: entries of a trace become groups, each of which one lowering turns into one kernel (or a few).

Floor 4. Pure: no driver, no memory. The rules:

* Entries keep their program order. Entry `e` may join an earlier group G only if no group after G touches what `e`
touches in a
  conflicting way (`earliest`), so moving `e` up to G changes nothing.
* Within a group, values pass through registers: `e` may read what G wrote only if it reads each element where G wrote
it (the same
  canonical layout), or, in a row group, one value per row broadcast over the reduced dims.
* What is written is stored only if somebody outside the group will look at it; dead entries never reach a group.

Group kinds: 'point' (one iteration space), 'row' (pointwise and reductions over the same dims of one space: pure
reductions, softmax, normalisations and their gradients), 'contract' (matmul or convolution with an epilogue), 'custom'
(one entry).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ..codegen.program import Body, Epilogue, Instr, Reduce, RowProgram
from ..dtypes import DType
from ..ops.table import CONTRACTION, POINTWISE, REDUCTION
from ..shapes import Layout, layout
from ..target import Target
from .recompute import Producers
from .trace import Spec

WINDOW = 12  # how many groups back an independent entry looks for company
MAX_INSTRUCTIONS = 96
MAX_POINTERS = 28
SMALL = 1 << 15  # elements up to which parallelism does not matter

Ref = tuple[str, int]  # ('i' input | 'n' number | 'v' value, index)


@dataclass(frozen=True)
class Entry:
    """One recorded operation with the slots it touches; `numbers` are number slots."""

    spec: Spec
    ins: tuple[int, ...]
    numbers: tuple[int, ...]
    outs: tuple[int, ...]
    position: int


def entries_of(signature: Sequence) -> list[Entry]:
    """The entries of a trace's flat signature."""
    found, at, position = [], 0, 0
    while at < len(signature):
        spec: Spec = signature[at]
        a = at + 1 + len(spec.tensors)
        b = a + spec.numbers
        c = b + len(spec.outs)
        found.append(Entry(spec, tuple(signature[at + 1 : a]), tuple(signature[a:b]), tuple(signature[b:c]), position))
        at = c
        position += 1
    return found


def alive(entries: list[Entry], kept: set[int]) -> list[Entry]:
    """Entries whose outputs are looked at: by the outside (`kept` slots) or by a later living entry."""
    needed, living = set(kept), []
    for entry in reversed(entries):
        if any(slot in needed for slot in entry.outs):
            needed.update(entry.ins)
            living.append(entry)
    return living[::-1]


def canonical(view: Layout) -> tuple:
    """What identifies the elements of a view in C order: dtype, offset, sizes and strides of dims other than 1."""
    found = view.memo.get("canonical")
    if found is None:
        dims = tuple((n, s) for n, s in zip(view.shape, view.stride) if n != 1)
        merged: list[tuple[int, int]] = []
        for n, s in dims:  # merge dims that step evenly, so that reshapes of one view are the same
            if merged and merged[-1][1] == n * s:
                merged[-1] = (merged[-1][0] * n, s)
            else:
                merged.append((n, s))
        found = view.memo["canonical"] = (view.dtype, view.offset, tuple(merged))
    return found


def overlap(a: Layout, b: Layout) -> bool:
    """True unless the two views of one storage certainly share no byte."""
    if a is b:
        return a.numel > 0
    (low_a, high_a), (low_b, high_b) = a.extent(), b.extent()
    m, n = a.dtype.itemsize, b.dtype.itemsize
    if high_a < low_a or high_b < low_b or (high_a + 1) * m <= low_b * n or (high_b + 1) * n <= low_a * m:
        return False
    if m == n and a.stride == b.stride and len(a.shape) == len(b.shape):
        first, second = (a, b) if a.offset <= b.offset else (b, a)
        apart = second.offset - first.offset
        return not any(_beside(first, second, d, apart) for d, s in enumerate(a.stride) if s and apart % s == 0)
    return True


def _beside(first: Layout, second: Layout, dim: int, apart: int) -> bool:
    """True if two views of equal strides are slices of one injective view, the second behind the first along `dim`."""
    steps = apart // first.stride[dim]
    if steps < first.shape[dim]:
        return False
    sizes = [max(m, n) for m, n in zip(first.shape, second.shape)]
    sizes[dim] = steps + second.shape[dim]
    span = 0
    for s, n in sorted((s, n) for s, n in zip(first.stride, sizes) if n > 1):
        if s <= span:
            return False
        span += (n - 1) * s
    return True


@dataclass
class Write:
    """The last write of a group to a view: its layout (row writes: reduced dims of size 1) and the value."""

    layout: Layout
    ref: Ref
    row: bool


@dataclass
class Group:
    """Entries that run as one kernel."""

    kind: str
    shape: tuple[int, ...]
    dims: tuple[int, ...] | None = None  # reduced dims of a row group
    entries: list[Entry] = field(default_factory=list)
    head: Entry | None = None  # the contraction or custom entry
    inputs: list[tuple[int, Layout, bool]] = field(default_factory=list)  # (slot, layout, per row)
    numbers: list[tuple[int, DType]] = field(default_factory=list)
    instrs: list[tuple] = field(default_factory=list)  # (Instr fields with Refs | Reduce fields, per row, level)
    writes: dict[int, list[Write]] = field(default_factory=dict)
    reads: dict[int, list[Layout]] = field(default_factory=dict)
    flat: bool = True  # every layout contiguous: the space may be reshaped

    # ---- building

    def input(self, slot: int, view: Layout, row: bool) -> Ref:
        for i, (s, v, r) in enumerate(self.inputs):
            if s == slot and v is view and r == row:
                return "i", i
        self.inputs.append((slot, view, row))
        self.reads.setdefault(slot, []).append(view)
        return "i", len(self.inputs) - 1

    def number(self, slot: int, dtype: DType) -> Ref:
        key = (slot, dtype)
        if key not in self.numbers:
            self.numbers.append(key)
        return "n", self.numbers.index(key)

    def is_row(self, ref: Ref) -> bool:
        """One value per row (numbers are)."""
        return ref[0] == "n" or (self.inputs[ref[1]][2] if ref[0] == "i" else self.instrs[ref[1]][1])

    def level(self, ref: Ref) -> int:
        """How many reductions must have finished before the value is known."""
        return self.instrs[ref[1]][2] if ref[0] == "v" else 0

    def write(self, slot: int, view: Layout, ref: Ref, row: bool) -> None:
        mine = self.writes.setdefault(slot, [])
        key = canonical(view)
        mine[:] = [w for w in mine if canonical(w.layout) != key] + [Write(view, ref, row)]

    @property
    def rows(self) -> int:
        total = 1
        for d, n in enumerate(self.shape):
            if self.dims is None or d not in self.dims:
                total *= n
        return total

    @property
    def numel(self) -> int:
        total = 1
        for n in self.shape:
            total *= n
        return total

    def touches(self, slot: int) -> bool:
        return slot in self.writes or slot in self.reads


class Fuser:
    """Builds groups from living entries, one pass."""

    def __init__(self, target: Target):
        self.target = target
        self.groups: list[Group] = []
        # slot -> (layout, is write) -> the last group that did it; a write makes what it covers forgotten
        self.accesses: dict[int, dict[tuple[Layout, bool], int]] = {}
        self.pointers = min(MAX_POINTERS, target.max_parameter_bytes // 40)
        self.rows_wanted = 2 * target.compute_units

    def run(self, entries: list[Entry], kept: set[int]) -> list[Group]:
        self.producers = Producers(entries, kept, canonical)
        for entry in entries:
            kind = entry.spec.op.kind
            earliest = self._earliest(entry)
            at = None
            if kind in (POINTWISE, REDUCTION):
                at = self._join(entry, earliest)
            if at is None:
                at = self._start(entry)
            self._note_reads(entry, at)
            self.producers.note(entry)
            for slot, view in zip(entry.outs, entry.spec.outs):
                known = self.accesses.setdefault(slot, {})
                known.pop(
                    (view, False), None
                )  # whoever conflicts with that read conflicts with this write, which is no earlier
                known[view, True] = at
        return self.groups

    def _note_reads(self, entry: Entry, at: int) -> None:
        for slot, i in zip(entry.ins, entry.spec.tensors):
            known = self.accesses.setdefault(slot, {})
            key = (entry.spec.ins[i], False)
            known[key] = max(at, known.get(key, at))

    def _earliest(self, entry: Entry) -> int:
        """The first group that `entry` may stand in, as far as memory is concerned."""
        earliest = -1
        for slot, i in zip(entry.ins, entry.spec.tensors):
            for (view, written), at in self.accesses.get(slot, {}).items():
                if written and at > earliest and overlap(view, entry.spec.ins[i]):
                    earliest = at
        for slot, out in zip(entry.outs, entry.spec.outs):
            for (view, _), at in self.accesses.get(slot, {}).items():
                if at > earliest and overlap(view, out):
                    earliest = at
        return earliest

    def _join(self, entry: Entry, earliest: int) -> int | None:
        newest = len(self.groups) - 1
        touched = set(entry.ins) | set(entry.outs)
        for at in range(newest, max(earliest, newest - WINDOW, 0) - 1, -1):
            group = self.groups[at]
            if group.kind != "custom" and any(group.touches(slot) for slot in touched) and self._enter(group, entry):
                return at
        if 0 <= earliest < newest - WINDOW:
            group = self.groups[earliest]
            if group.kind != "custom" and self._enter(group, entry):
                return earliest
        return None

    def _start(self, entry: Entry) -> int:
        spec = entry.spec
        if spec.op.kind == POINTWISE:
            group = Group("point", spec.outs[0].shape)
        elif spec.op.kind == REDUCTION:
            again = self._start_again(entry)
            if again is not None:
                return again
            group = Group("row", spec.ins[0].shape, spec.attrs[0])
        elif spec.op.kind == CONTRACTION:
            out = spec.outs[0]
            group = Group("contract", out.shape, head=entry, entries=[entry], flat=out.contiguous)
            for slot, i in zip(entry.ins, spec.tensors):
                group.reads.setdefault(slot, []).append(spec.ins[i])
            group.instrs.append((("accumulator", (), out.dtype, (), 0), False, 0))
            group.write(entry.outs[0], out, ("v", 0), False)
            self.groups.append(group)
            return len(self.groups) - 1
        else:
            group = Group("custom", (), head=entry, entries=[entry], flat=False)
            for slot, i in zip(entry.ins, spec.tensors):
                group.reads.setdefault(slot, []).append(spec.ins[i])
            for slot, out in zip(entry.outs, spec.outs):
                group.writes.setdefault(slot, []).append(Write(out, ("v", 0), False))
            self.groups.append(group)
            return len(self.groups) - 1
        if not self._enter(group, entry):
            raise AssertionError(f"fuse: {spec} does not fit a group of its own")
        self.groups.append(group)
        return len(self.groups) - 1

    def _start_again(self, entry: Entry) -> int | None:
        """A group of a reduction and of what computes its input, once more (see recompute.py); None where that does
        not pay.
        """
        again = self.producers.cheap(entry)
        if not again:
            return None
        group = Group("point", again[0].spec.outs[0].shape)
        if not all(self._enter(group, other) for other in [*again, entry]):
            return None
        self.groups.append(group)
        for other in again:
            group.writes.pop(other.outs[0], None)  # stored, if at all, by whoever had it first
            self._note_reads(other, len(self.groups) - 1)
        return len(self.groups) - 1

    # ---- one entry into one group: look first, then change

    def _enter(self, group: Group, entry: Entry) -> bool:
        if len(group.instrs) >= MAX_INSTRUCTIONS:
            return False
        if group.entries and len(group.inputs) + sum(map(len, group.writes.values())) + len(entry.ins) >= self.pointers:
            return False
        if entry.spec.op.kind == REDUCTION:
            return self._enter_reduction(group, entry)
        return self._enter_pointwise(group, entry)

    def _enter_reduction(self, group: Group, entry: Entry) -> bool:
        spec = entry.spec
        (view,), (out,), (dims, _keepdim) = spec.ins, spec.outs, spec.attrs[:2]
        shape = view.shape
        if group.kind == "contract" or (group.dims is not None and (group.dims != dims or group.shape != shape)):
            return False
        if group.shape != shape and not (group.flat and view.contiguous and group.numel == view.numel):
            return False
        if any(group.touches(slot) for slot in entry.outs):
            return False
        if group.kind == "point":
            if any(slot in group.reads for slot in group.writes):  # in place: a row kernel reads more than once
                return False
        if group.entries and group.shape != shape:
            _reshape(group, shape)
        found = self._resolve(group, entry.ins[0], view, False, dims)
        if found is None:
            return False
        group.kind, group.dims, group.shape = "row", dims, shape
        # a broadcast input is summed like any other: it is loaded per element
        ref = found if isinstance(found[0], str) else group.input(found[0], found[1], False)
        group.instrs.append((Reduce(spec.op.reduce, 0, out.dtype), True, group.level(ref) + 1, ref))
        kept = tuple(1 if d in dims else n for d, n in enumerate(shape))
        group.write(entry.outs[0], layout(out.dtype, kept, None, out.offset), ("v", len(group.instrs) - 1), True)
        group.entries.append(entry)
        group.flat = group.flat and view.contiguous
        return True

    def _enter_pointwise(self, group: Group, entry: Entry) -> bool:
        spec = entry.spec
        out = spec.outs[0]
        views = [spec.ins[i] for i in spec.tensors]
        if not group.entries:
            group.shape = out.shape
        placed = self._place(group, out, views)
        if placed is None:
            return False
        row, views, out = placed
        if row and not views:
            return False
        refs: list = []
        for slot, view in zip(entry.ins, views):
            found = self._resolve(group, slot, view, row, group.dims)
            if found is None:
                return False
            refs.append(found)
        slot = entry.outs[0]
        if not self._may_write(group, slot, out, row, refs):
            return False
        level = max((group.level(r) for r in refs if isinstance(r[0], str)), default=0)
        if group.kind == "row" and not row and group.rows < self.rows_wanted and group.numel > SMALL:
            return False  # too few rows to keep the device busy with all elements
        if group.kind == "contract" and not any(isinstance(r[0], str) for r in refs):
            return False  # has nothing to do with the result
        final: list[Ref] = [r if isinstance(r[0], str) else group.input(*r) for r in refs]
        tensors, numbers = iter(final), iter(entry.numbers)
        args = tuple(group.number(next(numbers), x) if isinstance(x, DType) else next(tensors) for x in spec.ins)
        is_row = row and all(group.is_row(a) for a in args)
        group.instrs.append(((_expression(spec), args, out.dtype, spec.op.includes, spec.op.cost), is_row, level))
        group.write(slot, out, ("v", len(group.instrs) - 1), row)
        group.entries.append(entry)
        group.flat = group.flat and out.contiguous and all(v.contiguous for v in views)
        return True

    def _place(self, group: Group, out: Layout, views: list[Layout]) -> tuple[bool, list[Layout], Layout] | None:
        """The entry's layouts in the group's coordinates: (per row, inputs, output), or None if they do not fit."""
        shape, dims = group.shape, group.dims
        if out.shape == shape:
            return False, views, out
        if dims is not None:
            kept = tuple(1 if d in dims else n for d, n in enumerate(shape))
            if out.shape == kept or out.shape == tuple(n for d, n in enumerate(shape) if d not in dims):
                return True, [_with_dims(v, kept, dims, shape) for v in views], _with_dims(out, kept, dims, kept)
        if group.flat and out.numel == group.numel and out.contiguous and all(v.contiguous for v in views):
            return False, [_flat(v, shape) for v in views], _flat(out, shape)
        return None

    def _resolve(self, group: Group, slot: int, view: Layout, row: bool, dims: tuple[int, ...] | None):
        """Where the value comes from: a Ref, (slot, layout, per row) to load, or None if it cannot be had in this
        group.
        """
        found: Ref | None = None
        for w in group.writes.get(slot, ()):
            if not overlap(w.layout, view):
                continue
            if found is not None:
                return None
            if w.row:
                if dims is None or not _same_rows(w.layout, view, dims):
                    return None
            elif row or canonical(w.layout) != canonical(view):
                return None
            found = w.ref
        if found is not None:
            return found
        per_row = dims is not None and all(n == 1 or view.stride[d] == 0 for d, n in enumerate(view.shape) if d in dims)
        if row and not per_row:
            return None
        return slot, view, per_row and group.kind == "row"

    def _may_write(self, group: Group, slot: int, out: Layout, row: bool, refs: list) -> bool:
        """True if writing `out` in this group clobbers nothing that the group still reads elsewhere."""
        head = group.head
        if head is not None:
            for s, i in zip(head.ins, head.spec.tensors):
                if s == slot and overlap(head.spec.ins[i], out):
                    return False
        loads = [v for s, v, _ in group.inputs if s == slot] + [
            r[1] for r in refs if not isinstance(r[0], str) and r[0] == slot
        ]
        for view in loads:
            if overlap(view, out):
                if group.kind == "row":
                    if not (row and group.dims is not None and _same_rows(out, view, group.dims)):
                        return False
                elif canonical(view) != canonical(out):
                    return False
        for w in group.writes.get(slot, ()):
            if overlap(w.layout, out) and (w.row != row or canonical(w.layout) != canonical(out)):
                return False
        return True


def _same_rows(written: Layout, view: Layout, dims: tuple[int, ...]) -> bool:
    """`view` reads in every row the one value that `written` (reduced dims of size 1) holds for it."""
    if written.dtype is not view.dtype or written.offset != view.offset:
        return False
    for d, (n, m, s, t) in enumerate(zip(view.shape, written.shape, view.stride, written.stride)):
        if d in dims:
            if n != 1 and s != 0:
                return False
        elif n != m or (n != 1 and s != t):
            return False
    return True


def _with_dims(view: Layout, kept: tuple[int, ...], dims: tuple[int, ...], wanted: tuple[int, ...]) -> Layout:
    """A per-row layout (reduced dims of size 1, or absent) with those dims present and as large as in `wanted`, stride
    0.
    """
    if len(view.shape) == len(kept):
        stride = tuple(0 if d in dims else s for d, s in enumerate(view.stride))
    else:
        rest = iter(view.stride)
        stride = tuple(0 if d in dims else next(rest) for d in range(len(kept)))
    return layout(view.dtype, wanted, stride, view.offset)


def _flat(view: Layout, shape: tuple[int, ...]) -> Layout:
    return layout(view.dtype, shape, None, view.offset)


def _reshape(group: Group, shape: tuple[int, ...]) -> None:
    """Give a flat point group another shape of as many elements."""
    group.shape = shape
    group.inputs = [(s, _flat(v, shape), r) for s, v, r in group.inputs]
    group.reads = {s: [_flat(v, shape) for v in vs] for s, vs in group.reads.items()}
    group.writes = {s: [Write(_flat(w.layout, shape), w.ref, w.row) for w in ws] for s, ws in group.writes.items()}


def _expression(spec: Spec) -> str:
    expr = spec.op.expr
    if isinstance(expr, str):
        return expr
    if expr is None:
        raise AssertionError(f"{spec.op.name}: a pointwise op without expression")
    last = spec.ins[-1] if spec.ins else spec.outs[0]
    return expr(last.dtype if isinstance(last, Layout) else last)


# ---- finished groups become programs


@dataclass(frozen=True)
class Fused:
    """A group ready for lowering: the program and which slots its inputs, numbers and outputs are.

    `kind`: 'point' (program: Body), 'row' (RowProgram), 'contract' (Epilogue; `entry` the head), 'custom' (None;
        `entry`), 'multi' (a tuple of Body with equal instructions).
    """

    kind: str
    program: Body | RowProgram | Epilogue | tuple[Body, ...] | None
    ins: tuple[int, ...]
    numbers: tuple[int, ...]
    outs: tuple[int, ...]
    entry: Entry | None
    entries: tuple[Entry, ...]

    @cached_property
    def ops(self) -> str:
        """Names of what it computes, for people."""
        return "+".join(dict.fromkeys(entry.spec.op.name for entry in self.entries))


def fuse(signature: Sequence, kept: set[int], target: Target) -> list[Fused]:
    """Groups, in the order to run them. `kept`: slots whose contents are looked at after the trace has run."""
    entries = alive(entries_of(signature), kept)
    groups = Fuser(target).run(entries, kept)
    finished: list[Fused] = []
    needed = _needed_writes(groups, kept)
    for at, group in enumerate(groups):
        finished += _finish(group, needed[at], target)
    return _merge(finished, target)


def _needed_writes(groups: list[Group], kept: set[int]) -> list[set[tuple[int, tuple]]]:
    """Per group, the writes (slot, canonical layout) that a later group or the outside reads."""
    later: dict[int, list[Layout]] = {}
    needed: list[set[tuple[int, tuple]]] = [set() for _ in groups]
    for at in range(len(groups) - 1, -1, -1):
        group = groups[at]
        for slot, writes in group.writes.items():
            for w in writes:
                # an in-place op of a later group that covers only part of a slot leaves the rest to us: any later
                # reader counts
                if slot in kept or slot in later:
                    needed[at].add((slot, canonical(w.layout)))
        for slot, views in group.reads.items():
            later.setdefault(slot, []).extend(views)
        if group.kind == "custom" and group.head is not None:  # customs may write in place on what is there
            for slot in group.head.outs:
                later.setdefault(slot, [])
    return needed


def _finish(group: Group, needed: set[tuple[int, tuple]], target: Target) -> list[Fused]:
    if group.kind == "custom":
        head = group.head
        assert head is not None
        return [Fused("custom", None, head.ins, head.numbers, head.outs, head, tuple(group.entries))]
    stores = [(slot, w) for slot, ws in group.writes.items() for w in ws if (slot, canonical(w.layout)) in needed]
    if not stores:
        return []
    if group.kind == "row" and group.rows < 2 * target.compute_units and group.numel > SMALL:
        full = [(s, w) for s, w in stores if not w.row and group.level(w.ref) == 0]
        if full:  # too few rows to write all elements from: a pointwise kernel stores them, the reductions recompute
            rest = [(s, w) for s, w in stores if w.row or group.level(w.ref) > 0]
            return [_program(group, full, "point")] + ([_program(group, rest, "row")] if rest else [])
    return [_program(group, stores, group.kind)]


def _program(group: Group, stores: list[tuple[int, Write]], kind: str) -> Fused:
    """The program that computes `stores`, with unused inputs, numbers and instructions left out."""
    used: set[Ref] = set()
    stack = [w.ref for _, w in stores]
    while stack:
        ref = stack.pop()
        if ref in used:
            continue
        used.add(ref)
        if ref[0] == "v":
            item = group.instrs[ref[1]]
            stack += [item[3]] if isinstance(item[0], Reduce) else list(item[0][1])
    head = group.head
    inputs = [i for i in range(len(group.inputs)) if ("i", i) in used]
    numbers = [n for n in range(len(group.numbers)) if ("n", n) in used]
    values = [v for v in range(len(group.instrs)) if ("v", v) in used or (head is not None and v == 0)]
    index: dict[Ref, int] = {}
    if head is not None:
        index["v", 0] = 0
        values = values[1:]
    for prefix, many in (("i", inputs), ("n", numbers), ("v", values)):
        for k in many:
            index[prefix, k] = len(index)
    instrs: list[Instr | Reduce] = []
    for v in values:
        item = group.instrs[v]
        if isinstance(item[0], Reduce):
            instrs.append(Reduce(item[0].kind, index[item[3]], item[0].dtype))
        else:
            expr, args, dtype, includes, cost = item[0]
            instrs.append(Instr(expr, tuple(index[a] for a in args), dtype, includes, cost))
    views = tuple(group.inputs[i][1] for i in inputs)
    scalars = tuple(group.numbers[n][1] for n in numbers)
    written = tuple((index[w.ref], w.layout) for _, w in stores)
    slots = tuple(group.inputs[i][0] for i in inputs)
    outs = tuple(s for s, _ in stores)
    aliases = tuple(slots.index(s) if s in slots else -1 for s in outs)
    number_slots = tuple(group.numbers[n][0] for n in numbers)
    program: Body | RowProgram | Epilogue
    if head is not None:
        program = Epilogue(group.shape, head.spec.outs[0].dtype, views, scalars, tuple(instrs), written, aliases)  # type: ignore[arg-type]
        slots = head.ins + slots
    elif kind == "row":
        assert group.dims is not None
        rows = tuple(group.inputs[i][2] for i in inputs)
        program = RowProgram(group.shape, group.dims, views, rows, scalars, tuple(instrs), written, aliases)
    else:
        program = Body(group.shape, views, scalars, tuple(instrs), written, aliases)  # type: ignore[arg-type]
    return Fused(kind, program, slots, number_slots, outs, head, tuple(group.entries))


def _merge(groups: list[Fused], target: Target) -> list[Fused]:
    """Neighbouring independent pointwise groups with equal instructions become one launch (optimizer updates)."""
    merged: list[Fused] = []
    run: list[Fused] = []

    def close() -> None:
        if len(run) == 1:
            merged.append(run[0])
        elif run:
            bodies = tuple(g.program for g in run)
            merged.append(
                Fused(
                    "multi",
                    bodies,  # type: ignore[arg-type]
                    tuple(s for g in run for s in g.ins),
                    run[0].numbers,
                    tuple(s for g in run for s in g.outs),
                    None,
                    tuple(e for g in run for e in g.entries),
                )
            )
        run.clear()

    for group in groups:
        body = group.program
        joins = (
            run
            and group.kind == "point"
            and isinstance(body, Body)
            and _mergeable(body)
            and _form(run[0]) == _form(group)
            and not any(set(group.outs) & (set(g.ins) | set(g.outs)) or set(g.outs) & set(group.ins) for g in run)
        )
        if not joins:
            close()
        if group.kind == "point" and isinstance(body, Body) and _mergeable(body):
            run.append(group)
        else:
            merged.append(group)
    close()
    return merged


def _mergeable(body: Body) -> bool:
    """Flat and contiguous, and its value does not depend on the position."""
    return (
        all(v.contiguous for v in body.inputs)
        and all(v.contiguous for _, v in body.stores)
        and not any(i.expr == "index" for i in body.instrs)
    )


def _form(group: Fused) -> tuple:
    body = group.program
    assert isinstance(body, Body)
    return (
        tuple(v.dtype for v in body.inputs),
        body.scalars,
        body.instrs,
        tuple((v, w.dtype) for v, w in body.stores),
        body.aliases,
        group.numbers,
    )
