"""Lowerings of stable sort and topk along a dim.

Floor 1b. Sort's attributes: `(dim, descending)`; topk's: `(k, dim, largest)`. Both give values and int64 positions;
NaN counts as the greatest value, equal values keep their order (topk: the first ones are taken). See
templates/sort.cl.mako for the algorithms.
"""

from __future__ import annotations

from math import prod

from ..dtypes import FLOAT
from ..shapes import Layout
from ..target import Target
from .program import Epilogue
from .source import Input, KernelSource, Launch, Lowered, Output, Scratch, render
from .walk import Parameters, Split, collapse, index_type, locate, split, up

_SELECT_AT_MOST = 12  # insertion into a sorted list; larger k go through a sieve
_LIST = 64  # places in such a list
_SIEVE = 256  # least buffer of a sieve, in words
_BITONIC_CAPACITY, _BITONIC_GROUP = 1024, 128
_BINS = 256
_INFINITY = {"float16": 0x7C00, "bfloat16": 0x7F80, "float32": 0x7F800000, "float64": 0x7FF0000000000000}
_UNSIGNED = {1: "uchar", 2: "ushort", 4: "uint", 8: "ulong"}

# scratch buffers
_KEYS, _SORTED, _COUNTS, _IDS, _SORTED_IDS, _DIFFERING = range(6)


class _Sort:
    """One sort problem: what its launches have in common."""

    def __init__(self, x: Layout, outputs: tuple[Layout, ...], dim: int, wanted: int, descending: bool, target: Target):
        self.x, self.outputs, self.wanted, self.target, self.descending = x, outputs, wanted, target, descending
        self.length = x.shape[dim] if x.shape else 1
        self.step = [o.stride[dim] if o.shape else 0 for o in (x, *outputs)]
        others = [d for d in range(len(x.shape)) if d != dim]
        self.sizes, self.strides = collapse(
            [x.shape[d] for d in others], [[o.stride[d] for d in others] for o in (x, *outputs)]
        )
        self.rows = prod(self.sizes)
        self.size = x.dtype.itemsize
        self.wide = self.size == 8
        self.index = index_type(x, *outputs, extra=2 * self.rows * self.length)
        if self.length >= 2**31:
            raise RuntimeError(f"sort: input: got {self.length} elements along the dim, wanted fewer than 2^31")

    def launch(
        self, form: str, pieces: int = 1, piece_length: int = 0, shift: int = 0, flip: bool = False, capacity: int = 0
    ) -> Launch:
        """The launch of one form.

        `flip`: keys are in the second pair of scratch buffers (GPU; elsewhere kernels find out). `capacity`: words in
        the buffer of a sieve.
        """
        x, target = self.x, self.target
        keys, ids = (_SORTED, _SORTED_IDS) if flip else (_KEYS, _IDS)
        sorted_keys, sorted_ids = (_KEYS, _IDS) if flip else (_SORTED, _SORTED_IDS)
        gpu = target.kind == "gpu"
        skips = not gpu and form in ("keys", "count", "offsets", "place", "finish")
        direct = form == "sieve" and pieces == 1
        reads_x = form not in ("count", "place", "offsets")
        writes = form in ("rows", "bitonic", "finish", "merge", "sift") or direct
        group = 1 if not gpu else 64
        parameters = Parameters(self.index)
        if reads_x:
            parameters.read("x", _UNSIGNED[self.size], Input(0))
        if writes:
            parameters.write("values", _UNSIGNED[self.size], Output(0))
            parameters.write("at", "long", Output(1))
        if form in ("rows", "keys", "count", "place", "finish"):
            parameters.shared("keys", "ulong", Scratch(keys))
            if self.wide and form != "count":
                parameters.shared("ids", "uint", Scratch(ids))
        if form == "place" or skips and form in ("count", "finish"):
            parameters.shared("sorted", "ulong", Scratch(sorted_keys))
            if self.wide and form != "count":
                parameters.shared("sorted_ids", "uint", Scratch(sorted_ids))
        if form in ("count", "place", "offsets"):
            parameters.shared("counts", "uint", Scratch(_COUNTS))
        if skips:
            parameters.shared("differing", "ulong", Scratch(_DIFFERING))
            parameters.value("writers", self.key_split().global_size[0], "int")
        if form in ("sieve", "sift"):
            parameters.shared("sieves", "ulong", Scratch(_SORTED))
            if self.wide:
                parameters.shared("sieve_ids", "uint", Scratch(_SORTED_IDS))
            parameters.value("capacity", capacity)
        if form in ("select", "merge", "sieve", "sift"):
            parameters.shared("lists", "ulong", Scratch(_KEYS))
            if self.wide:
                parameters.shared("list_ids", "uint", Scratch(_IDS))
        span = ""
        if form == "rows":
            work = self.row_split()
            span, size = work.bind(parameters), work.global_size
        elif form in ("keys", "finish"):
            work = self.key_split() if form == "keys" else split(self.rows, self.wanted, target, cost=4.0)
            span, size, group = work.bind(parameters), work.global_size, work.local
        elif form in ("count", "place"):
            size = (up(self.rows * pieces, group) * group,)
        elif form == "offsets":
            group = _BINS if gpu else 1
            size = (self.rows * group,)
        elif form == "bitonic":
            group = _BITONIC_GROUP
            size = (self.rows * group,)
            padded = 1 << max(self.length - 1, 1).bit_length()
            parameters.value("padded", padded, "int")
        else:
            group = 1
            size = (self.rows * (pieces if form in ("select", "sieve") else 1),)
        if not span:
            parameters.value("rows", self.rows)
        parameters.value("length", self.length)
        parameters.value("wanted", self.wanted)
        parameters.value("pieces", pieces)
        parameters.value("piece_length", piece_length or self.length)
        parameters.value("shift", shift, "int")
        names = parameters.values("size", self.sizes)
        positions = {}
        for name, operand, walk, along in zip(("x", "v", "at"), (x, *self.outputs), self.strides, self.step):
            if name == "x" and reads_x or name != "x" and writes:
                positions[f"{name}_row"] = parameters.values(f"{name}_s", walk)
                parameters.value(f"{name}_step", along)
                parameters.value(f"{name}_offset", operand.offset)
        kind = (
            "float"
            if x.dtype.category == FLOAT
            else "signed"
            if x.dtype.is_signed and x.dtype.name != "bool"
            else "unsigned"
        )
        lanes = 16 if form in ("select", "sieve") and self.size == 4 and self.step[0] == 1 else 1
        body = render(
            "sort",
            form=form,
            group=group,
            parameters=parameters.text,
            span=span,
            I=self.index,
            K="ulong" if self.wide else "uint",
            storage=_UNSIGNED[self.size],
            kind=kind,
            sign=1 << (8 * self.size - 1),
            infinity=_INFINITY.get(x.dtype.name, 0),
            suffix="ul" if self.wide else "u",
            descending=self.descending,
            wide=self.wide,
            passes=self.size,
            base=0 if self.wide else 32,
            capacity=_BITONIC_CAPACITY if form == "bitonic" else _LIST,
            skips=skips,
            direct=direct,
            lanes=lanes,
            locate_row=locate("row", names, positions, self.index),
        )
        source = KernelSource(f"sort_{form}", body, (), (group,))
        traffic = float(self.rows * self.length * (12 if self.wide else 8))
        return Launch(source, parameters.args, size, 0.0, 2 * traffic)

    def key_split(self) -> Split:
        """Elements per work-item where keys are made."""
        return split(self.rows, self.length, self.target, cost=4.0)

    def row_split(self) -> Split:
        """Rows per work-item of the form that sorts whole rows."""
        return split(self.rows, 1, self.target, cost=8.0 * self.length, iterations=self.row_iterations())

    def row_iterations(self) -> int:
        """Loop iterations that one row takes in the form that sorts whole rows."""
        if self.length <= 32:
            return self.length * (self.length + 2)
        return self.length * (self.size + 2) + 2 * _BINS * self.size

    def by_rows(self) -> Lowered:
        """Every work-item sorts rows of its own."""
        items = self.row_split().global_size[0]
        words = items * self.length * 2
        scratch = [words * 8, 0, 0, words * 4 if self.wide else 0]
        return Lowered((self.launch("rows"),), _sized(scratch))

    def by_radix(self) -> Lowered:
        """Every pass of a radix sort is spread over chunks of rows."""
        target = self.target
        if target.kind == "gpu":
            pieces = up(self.length, 256)
        else:
            pieces = max(1, min(up(4 * target.compute_units, self.rows), up(self.length, 2048)))
        if target.loop_limit:
            pieces = max(pieces, up(self.length, target.loop_limit // 4))
        piece_length = up(self.length, pieces)
        pieces = up(self.length, piece_length)
        launches = [self.launch("keys")]
        base = 0 if self.wide else 32
        for p in range(self.size):
            for form in ("count", "offsets", "place"):
                flip = target.kind == "gpu" and p % 2 == 1
                launches.append(self.launch(form, pieces, piece_length, base + 8 * p, flip))
        flip = target.kind == "gpu" and self.size % 2 == 1
        launches.append(self.launch("finish", shift=base + 8 * self.size, flip=flip))
        words = self.rows * self.length
        ids = words * 4 if self.wide else 0
        differing = 0 if target.kind == "gpu" else 8 * self.key_split().global_size[0]
        return Lowered(
            tuple(launches), _sized([words * 8, words * 8, self.rows * _BINS * pieces * 4, ids, ids, differing])
        )

    def by_selection(self) -> Lowered:
        """Lists of the smallest keys of pieces of a row, then of the row."""
        target = self.target
        pieces = max(1, min(up(8 * target.compute_units, self.rows), self.length // max(4096, 8 * self.wanted)))
        if target.loop_limit:
            pieces = max(pieces, up(self.length, target.loop_limit // 4))
        piece_length = up(self.length, pieces)
        pieces = up(self.length, piece_length)
        words = self.rows * pieces * self.wanted
        ids = words * 4 if self.wide else 0
        if self.wanted <= _SELECT_AT_MOST or target.loop_limit:
            launches = (self.launch("select", pieces, piece_length), self.launch("merge", pieces, piece_length))
            return Lowered(launches, _sized([words * 8, 0, 0, ids]))
        capacity = up(max(_SIEVE, 4 * self.wanted), 16) * 16
        first = self.launch("sieve", pieces, piece_length, capacity=capacity)
        buffers = 2 * self.rows * pieces * capacity
        sieve = _sized([words * 8, buffers * 8, 0, ids, buffers * 4 if self.wide else 0])
        if pieces == 1:
            return Lowered((first,), sieve)
        return Lowered((first, self.launch("sift", pieces, piece_length, capacity=capacity)), sieve)

    def lower(self) -> Lowered:
        """The form that suits size and device."""
        target = self.target
        if target.kind == "gpu":
            return Lowered((self.launch("bitonic"),)) if self.length <= _BITONIC_CAPACITY else self.by_radix()
        if self.wanted * 4 <= self.length and (self.wanted <= _LIST or not target.loop_limit):
            return self.by_selection()
        fits = not target.loop_limit or self.row_iterations() <= target.loop_limit // 2
        few = self.rows < 2 * target.compute_units and self.length >= 16384
        return self.by_rows() if fits and not few else self.by_radix()


def _sized(nbytes: list[int]) -> tuple[int, ...]:
    """Scratch sizes up to the last buffer in use; unused ones before it get the least."""
    while nbytes and not nbytes[-1]:
        nbytes.pop()
    return tuple(max(n, 8) for n in nbytes)


def lower_sort(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """Values in order and the positions they came from."""
    if not outputs[0].numel:
        return Lowered(())
    dim, descending = attrs
    x = inputs[0]
    return _Sort(x, outputs, dim, x.shape[dim] if x.shape else 1, bool(descending), target).lower()


def lower_topk(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """The k greatest (or smallest) values, in order, and the positions they came from."""
    if not outputs[0].numel:
        return Lowered(())
    k, dim, largest = attrs
    return _Sort(inputs[0], outputs, dim, k, bool(largest), target).lower()
