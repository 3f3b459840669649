"""Lowers matrix products, batched or not, of any strides, with an epilogue: the GEMM family.

Floor 1b. `lower_matmul` normalises a product (`_normalise`: batch dims collapsed, shared batches folded into rows,
transposed outputs turned round), `choose_config` picks form and sizes for the target, and a template renders each form:

    tile   gemm_tile.cl.mako     CPU: register tiles over panels packed in the kernel
    dot    gemm_dot.cl.mako      CPU: both operands run along K (matrix-vector with a transposed matrix, few rows)
    rows   gemm_rows.cl.mako     CPU: one to four rows times a matrix that runs along N, streamed once
    group  gemm_group.cl.mako    GPU: local-memory tiles shared by a work-group

and gemm_reduce.cl.mako adds the parts of a product that was split along K, always in the same order. Sizes, strides and
block sizes are run-time Values: a text depends on types, form, tile and epilogue only. Every number that a tuner may
turn is a field of `GemmConfig`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import prod

from ..dtypes import FLOAT, DType, bfloat16, float16, float32, float64, int32, int64
from ..shapes import Layout, layout
from ..target import Target
from . import expression
from .program import Epilogue
from .source import Argument, Input, KernelSource, Launch, Local, Lowered, Output, Scalar, Scratch, Value, render
from .walk import Parameters, collapse, index_type, up


@dataclass(frozen=True)
class GemmConfig:
    """Form and sizes of one product; `choose_config` gives the defaults, a tuner may give others.

    Attributes:
        form: 'tile', 'dot', 'rows' or 'group' (see the module).
        tile_m: rows of a register tile (at most M), rows of B taken at once in form 'rows'.
        tile_n: vectors across a register tile in form 'tile', columns of it in 'dot', of a work-item in 'group'.
        pack_a, pack_b: form 'tile' reads the operand in place ('direct'; where it cannot, as 'group'), each work-group
            packs what it needs into local memory ('group'), or a kernel packs it before ('ahead').
        block_m, block_n, block_k: what one work-group computes, and how deep a slice of K it takes at a time.
        splits: parts of K computed by different work-groups and added by a second kernel.
    """

    form: str
    tile_m: int
    tile_n: int
    pack_a: str
    pack_b: str
    block_m: int
    block_n: int
    block_k: int
    splits: int = 1


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


def lower_matmul(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None,
    config: GemmConfig | None = None,
) -> Lowered:
    """C = epilogue(A @ B) over the last two dims; batch dims are already broadcast.

    Args:
        inputs: Layouts of A (*batch, M, K) and B (*batch, K, N), of one dtype, any strides.
        outputs: Layout of C (*batch, M, N), used where there is no epilogue.
        attrs: ().
        epilogue: what is done with each finished element; its stores are the outputs.
        config: form and sizes; the default is `choose_config(problem, target)`.

    **Dtypes** all but bool: float16 and bfloat16 are summed in float, integers wrap in their own type.
    **Source** see the templates.
    """
    a, b = inputs[:2]
    if a.dtype is not b.dtype:
        raise RuntimeError(f"matmul: other: got {b.dtype.name}, wanted {a.dtype.name} as the first matrix")
    program = epilogue if epilogue is not None else Epilogue.identity(outputs[0])
    launches: list[Launch] = []
    scratch: list[int] = []
    for problem in _normalise(a, b, program):
        chosen = config or choose_config(problem, target)
        lowered = _lower_one(problem, program, chosen, target, len(scratch))
        launches += lowered.launches
        scratch += lowered.scratch
    return Lowered(tuple(launches), tuple(scratch))


# ---- normal form


def _normalise(a: Layout, b: Layout, epilogue: Epilogue) -> list[GemmProblem]:
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


def _sum_type(dtype: DType) -> str:
    """The C type that sums are kept in: unsigned for integers, whose arithmetic wraps."""
    if dtype.category == FLOAT:
        return dtype.register
    return "ulong" if dtype.itemsize == 8 else "uint"


def _sum_dtype(dtype: DType) -> DType:
    """The dtype of stored partial sums."""
    if dtype.category == FLOAT:
        return float64 if dtype is float64 else float32
    return int64 if dtype.itemsize == 8 else int32


def _sum_bytes(dtype: DType) -> int:
    return 8 if _sum_type(dtype) in ("double", "ulong") else 4


def _native(dtype: DType) -> bool:
    """True if an element is computed in the very type that stores it, so that a tile may read it in place."""
    return dtype is float32 or dtype is float64


def _loader(dtype: DType) -> Callable[[str, int], str]:
    """(pointer, width) -> C of that many consecutive elements in the type of the sums."""
    element = _sum_type(dtype)

    def load(pointer: str, width: int) -> str:
        text = expression.load(dtype, pointer, width)
        if dtype.category == FLOAT:
            return text
        return f"(({element})({text}))" if width == 1 else f"CONVERT({element}{width}, {text})"

    return load


def _lanes(dtype: DType, target: Target) -> int:
    """Sums per native vector."""
    return max(2, target.vector_width // 2 if _sum_type(dtype) in ("double", "ulong") else target.vector_width)


# ---- sizes


def choose_config(problem: GemmProblem, target: Target) -> GemmConfig:
    """Form and sizes for a product on a target, by rules measured with benchmarks/kernels_gemm.py."""
    if target.kind == "gpu":
        return _group_config(problem, target)
    lanes = _lanes(problem.a.dtype, target)
    if problem.m <= 4 and problem.b.column == 1 and problem.n >= lanes and problem.k * problem.n >= 65536:
        return _rows_config(problem, target)
    if problem.m <= 8 and problem.a.column == 1 and problem.b.row == 1 and problem.k >= lanes:
        return _dot_config(problem, target)
    return _tile_config(problem, target)


def _pieces_of_k(problem: GemmProblem, target: Target, groups: int, least: int, wanted: int, steps: int) -> int:
    """Parts to split K into so that `groups` become `wanted`, none less than `least` deep.

    `steps` bounds the iterations of all loops of a group over the whole of K: llvmpipe stops a kernel's loops when they
    have run `loop_limit` times together.
    """
    pieces = max(1, min(up(wanted, groups), problem.k // least))
    if target.loop_limit:
        pieces = max(pieces, min(problem.k, up(steps, target.loop_limit)))
    return pieces


def _rows_config(problem: GemmProblem, target: Target) -> GemmConfig:
    lanes = _lanes(problem.a.dtype, target)
    room = min(target.local_memory, 65536) // (2 * _sum_bytes(problem.a.dtype)) // problem.m
    blocks = up(problem.n, max(lanes, room))
    block_n = up(up(problem.n, blocks), lanes) * lanes
    groups = up(problem.n, block_n) * problem.count
    wanted = min(4 * target.compute_units, int(problem.k * problem.n * problem.count / 65536))
    vectors = block_n // lanes
    steps = problem.k * (vectors + 1) + problem.m * (2 * vectors + lanes)
    splits = _pieces_of_k(problem, target, groups, 64, max(1, wanted), steps)
    return GemmConfig("rows", 4, 1, "direct", "direct", problem.m, block_n, problem.k, splits)


def _dot_config(problem: GemmProblem, target: Target) -> GemmConfig:
    lanes = _lanes(problem.a.dtype, target)
    tile_m = min(problem.m, 4, lanes)
    tile_n = min(lanes // tile_m, problem.n)
    wanted = min(4 * target.compute_units, int(problem.flops / 1e6))
    room = min(target.local_memory, 65536) // (2 * _sum_bytes(problem.a.dtype)) // tile_m
    blocks = max(up(problem.n, room), min(up(max(1, wanted), problem.count), up(problem.n, 2 * tile_n)))
    block_n = up(up(problem.n, blocks), tile_n) * tile_n
    groups = up(problem.n, block_n) * problem.count
    steps = up(problem.m, tile_m) * block_n * (problem.k // lanes + tile_m + 2)
    splits = _pieces_of_k(problem, target, groups, 4096, max(1, wanted), steps)
    return GemmConfig("dot", tile_m, tile_n, "direct", "direct", problem.m, block_n, problem.k, splits)


def _group_config(problem: GemmProblem, target: Target) -> GemmConfig:
    """Tiles after the published tables of CLBlast and dlprimitives: 64 x 64, 4 x 4 an item, less for small ones."""
    tile_m = 4 if problem.m > 16 else 1
    tile_n = 4 if problem.n > 16 else 1
    across, down = (16, 16) if target.max_work_group >= 256 else (8, 8)
    if problem.m == 1:
        across, down = across * down, 1
    itemsize = _sum_bytes(problem.a.dtype)
    block_m, block_n = tile_m * down, tile_n * across
    block_k = 16
    while block_k > 2 and block_k * (block_m + block_n + 2) * itemsize > target.local_memory // 2:
        block_k //= 2
    groups = up(problem.m, block_m) * up(problem.n, block_n) * problem.count
    steps = problem.k * (2 + up(block_m + block_n, across * down))
    splits = _pieces_of_k(problem, target, groups, 512, 2 * target.compute_units, 2 * steps)
    return GemmConfig("group", tile_m, tile_n, "group", "group", block_m, block_n, block_k, splits)


_GROUP_FLOPS = 4e6  # work for which one more work-group of a CPU device pays its start
_SMALL_FLOPS = 8e6  # work up to which a product takes one of few texts: about 50 us on one core
_AHEAD = 512  # rows, and columns, from which packing before the product beats packing in each work-group
_AHEAD_TURNED = 320  # the same where A runs along M, whose strips in place fall into few sets of the first-level cache
_LOCAL = 256 * 1024  # bytes of local memory that are worth using: about half of a core's second-level cache


def _small_tile_shape(m: int, n: int, lanes: int, target: Target) -> tuple[int, int]:
    """The register tile of a product too small for the best one to pay its build: one of few shapes."""
    sums = 16 if target.vector_width >= 16 else 8
    tile_m = next(rows for rows in (8, 4, 2, 1) if rows <= m)
    tile_n = next(vectors for vectors in (4, 2, 1) if vectors == 1 or vectors * lanes <= n and vectors * tile_m <= sums)
    return tile_m, tile_n


def _tile_shape(m: int, n: int, lanes: int, target: Target) -> tuple[int, int]:
    """Rows and vectors of the register tile: as many sums as registers allow, few of them computed twice at the edges.

    24 sums with 32 vector registers, 12 with 16. Below about 20 (10) sums the multiply-adds wait for one another.
    """
    sums = 24 if target.vector_width >= 16 else 12
    best, shape = 0.0, (1, 1)
    for tile_n in range(1, min(4, max(1, n // lanes)) + 1):
        for tile_m in {min(m, sums // tile_n), min(m, 12, sums // tile_n), min(m, 8, sums // tile_n), min(m, 6)}:
            if tile_m * tile_n > sums or tile_m > sums // 2:
                continue
            width = tile_n * lanes
            waste = up(m, tile_m) * tile_m * up(n, width) * width
            wait = 1 + 0.4 * max(0.0, 1 - tile_m * tile_n / (sums * 5 / 6))
            loads = 1 + 0.02 * tile_n + 0.05 * (tile_m + tile_n) / (tile_m * tile_n)
            score = 1 / (waste * wait * loads)
            if score > best:
                best, shape = score, (tile_m, tile_n)
    return shape


def _tile_config(problem: GemmProblem, target: Target) -> GemmConfig:
    dtype = problem.a.dtype
    lanes, m, n, k = _lanes(dtype, target), problem.m, problem.n, problem.k
    shape = _small_tile_shape if problem.flops <= _SMALL_FLOPS else _tile_shape
    tile_m, tile_n = shape(m, n, lanes, target)
    width = tile_n * lanes
    turned = problem.a.row == 1 and problem.a.column != 1
    ahead = min(m, n) >= (_AHEAD_TURNED if turned else _AHEAD) and k >= 128 and not target.loop_limit
    pack_a = pack_b = "ahead" if ahead else "group"
    skinny = m <= 8 * tile_m
    if not ahead and _native(dtype):
        a, b = problem.a, problem.b
        # a copy does not pay for an A read by few panels, for a B read by few strips, nor for dense ones
        if a.column == 1 or (a.row == 1 and (n <= 2 * width or k <= 64 or a.column <= 2 * m)):
            pack_a = "direct"
        if b.column == 1 and n >= width and (skinny or k <= 64 or (b.row <= 4 * width and m <= 12 * tile_m)):
            pack_b = "direct"
    room = min(target.local_memory, _LOCAL) // _sum_bytes(dtype) - 256
    deepest = 1024 if ahead else 256 if room >= 32768 else 64
    if skinny and pack_b == "direct" and problem.b.row > 4 * width:
        deepest = 64  # rows of B whose pages the first-level TLB holds: all panels of a block hop over the same ones
    wanted = max(1, min(4 * target.compute_units, int(problem.flops / _GROUP_FLOPS)))

    slices = up(k, deepest)
    rows, columns = up(min(m, 384), tile_m), up(min(n, 1024), width)  # of tiles, in a block

    def depth() -> int:
        return max(1, k) if slices <= 1 else up(up(k, slices), lanes) * lanes

    def need() -> int:
        """Elements of local memory."""
        kc, bm, bn = depth(), rows * tile_m, columns * width
        held = bm * bn if slices > 1 else tile_m * width
        return held + (bm * (kc + lanes) if pack_a == "group" else 0) + (bn * kc if pack_b == "group" else 0)

    while need() > room:
        if columns > 1 and columns * width * 2 > rows * tile_m:
            columns -= 1
        elif rows > 1:
            rows -= 1
        elif depth() > lanes:
            slices = 2 * max(slices, 1)
        else:
            break

    def groups() -> int:
        return up(up(m, tile_m), rows) * up(up(n, width), columns) * problem.count

    deep = k >= 1024 and k >= 8 * max(m, n)  # blocks cut small would read, and pack, the long operands many times over
    while not deep and groups() < wanted and (columns > 2 or rows > 1):
        if columns > 2 and (columns * width >= rows * tile_m or rows == 1):
            columns -= 1
        elif rows > 1:
            rows -= 1
        else:
            columns -= 1

    def steps() -> int:
        """Bounds the iterations of all loops of a group."""
        bm, bn = rows * tile_m, columns * width
        return (rows * columns + bm + bn + 1) * k + bm * bn

    while target.loop_limit and steps() > target.loop_limit and rows * columns > 1:
        if columns > 1 and (columns * width >= rows * tile_m or rows == 1):
            columns = up(columns, 2)
        else:
            rows = up(rows, 2)
    # blocks of equal size
    row_tiles, column_tiles = up(m, tile_m), up(n, width)
    rows = up(row_tiles, up(row_tiles, rows))
    columns = up(column_tiles, up(column_tiles, columns))
    splits = 1
    if k >= 1024 and (groups() < wanted or target.loop_limit):
        splits = _pieces_of_k(problem, target, groups(), 512, wanted, steps())
        piece = up(up(k, splits), lanes) * lanes
        if splits > 1 and slices > 1:
            slices = max(1, up(k, min(depth(), piece)))
    return GemmConfig(
        "tile", tile_m, tile_n, pack_a, pack_b, rows * tile_m, columns * width, depth(), splits,
    )


# ---- the kernel's parameters and its epilogue


class _GemmParameters(Parameters):
    """Parameters that may be local memory or scalars of the program as well."""

    def local(self, name: str, ctype: str, nbytes: int) -> None:
        """Local memory; `ctype` is a vector so that drivers align it (Intel's aligns as the type asks and no more)."""
        self._texts.append(f"__local {ctype} *restrict {name}")
        self._args.append(Local(nbytes))

    def scalar(self, text: str, argument: Argument) -> None:
        self._texts.append(text)
        self._args.append(argument)


def _place(parameters: Parameters, name: str, operand: Operand) -> str:
    """Adds where `operand` lies; returns C text that moves pointer `name` to the group's batch element."""
    moves = [parameters.value(f"{name}_offset", operand.offset)]
    moves += [f"b{i} * {parameters.value(f'{name}_b{i}', step)}" for i, step in enumerate(operand.batch)]
    return f"  {name} += {' + '.join(moves)};"


class _Finish:
    """What happens to finished sums: the epilogue of the op, or storing parts of a split product to scratch.

    Adds its parameters; `setup` moves its pointers to the group's batch element; calling it renders the C text that
    finishes `width` sums called `sum` at (`row`, `column`).
    """

    def __init__(self, problem: GemmProblem, epilogue: Epilogue, parameters: _GemmParameters):
        self.problem, self.epilogue = problem, epilogue
        self.includes: tuple[str, ...] = ()
        self._position: dict[str, tuple[str, str]] = {}
        lines = []
        for i, operand in enumerate(problem.extras):
            shared = i in epilogue.aliases
            declare = parameters.shared if shared else parameters.read
            declare(f"e{i}", operand.dtype.storage, operand.buffer)
            lines.append(self._operand(parameters, f"e{i}", operand))
        for i, operand in enumerate(problem.stores):
            alias = epilogue.aliases[i] if i < len(epilogue.aliases) else -1
            declare = parameters.shared if alias >= 0 else parameters.write
            declare(f"o{i}", operand.dtype.storage, operand.buffer)
            lines.append(self._operand(parameters, f"o{i}", operand))
        for i, text in enumerate(expression.scalar_parameters(epilogue.scalars)):
            parameters.scalar(text, Scalar(i, expression.scalar_ctype(epilogue.scalars[i])))
        self.counted = any(instr.expr == "index" for instr in epilogue.instrs)
        if self.counted:
            parameters.value("first_index", problem.index, "long")
        self.setup = "\n".join(lines)

    def _operand(self, parameters: Parameters, name: str, operand: Operand) -> str:
        text = _place(parameters, name, operand)
        row = f" + row * {parameters.value(f'{name}_m', operand.row)}" if operand.row else ""
        step = "0" if operand.column == 0 else "1"
        if operand.column not in (0, 1):
            step = parameters.value(f"{name}_n", operand.column)
        column = {"0": "", "1": " + column"}.get(step, f" + column * {step}")
        self._position[name] = (f"{name}{row}{column}", step)
        return text

    def __call__(self, width: int) -> str:
        dtype = self.epilogue.dtype
        value = "sum"
        if dtype.category != FLOAT:
            value = f"(({dtype.register})sum)" if width == 1 else f"CONVERT({dtype.register}{width}, sum)"
        elif self.epilogue.instrs and dtype in (float16, bfloat16):
            value = f"{'half' if dtype is float16 else 'bf16'}_round(sum)"

        def load(i: int) -> str:
            pointer, step = self._position[f"e{i}"]
            given = self.epilogue.inputs[i].dtype
            if width == 1 or step == "1":
                return expression.load(given, pointer, width)
            if step == "0":
                return f"(({expression.register_type(given, width)})({expression.load(given, pointer, 1)}))"
            return expression.gather(given, pointer, step, width)

        index = None
        if self.counted:
            index = "(first_index + ((long)batch * M + row) * N + column)"
            if width > 1:
                index = f"((long{width}){index} + (long{width})({', '.join(map(str, range(width)))}))"
        statements, stores, includes = expression.emit_epilogue(self.epilogue, width, value, load, "v", index)
        self.includes += tuple(name for name in includes if name not in self.includes)
        for number, text in stores:
            pointer, step = self._position[f"o{number}"]
            given = self.epilogue.stores[number][1].dtype
            if width == 1 or step == "1":
                statements.append(expression.store(given, text, pointer, width))
            else:
                statements.append(expression.scatter(given, text, pointer, step, width))
        return "\n".join(f"                {line}" for line in statements)


def _batch_setup(problem: GemmProblem, parameters: Parameters) -> str:
    """C text that takes the group's batch number apart."""
    if len(problem.batch) == 2:
        inner = parameters.value("batch_inner", problem.batch[1])
        return f"  const I b0 = batch / {inner}, b1 = batch - b0 * {inner};"
    return "  const I b0 = batch;" if problem.batch else ""


# ---- fragments of text


@cache
def _zip_lanes(width: int) -> tuple[str, str]:
    """Lane numbers that interleave the low, and the high, halves of two vectors."""
    half = width // 2
    return tuple(  # type: ignore[return-value]
        ", ".join(f"{start + i}, {width + start + i}" for i in range(half)) for start in (0, half)
    )


def _transpose(rows: Sequence[str], kind: str) -> tuple[str, list[str]]:
    """C text that transposes W rows of d = min(4, W) elements (texts of vectors) to d vectors `kind`; their names.

    Vector j is joined of rows j, j + 4, j + 8, …; two rounds of pairing within blocks of four lanes give whole columns.
    Whole squares of W x W took half of a text's build time.
    """
    width, depth = len(rows), min(4, len(rows))
    lines = [f"const {kind} joined{j} = ({kind})({', '.join(rows[j::depth])});" for j in range(depth)]

    def pair(name: str, x: str, y: str, lanes: tuple[int, ...]) -> str:
        """Pairs `x` and `y`: `lanes` of the first block, those from `depth` on being of y."""
        chosen = (b + i if i < depth else width + b + i - depth for b in range(0, width, depth) for i in lanes)
        lines.append(f"const {kind} {name} = __builtin_shufflevector({x}, {y}, {', '.join(map(str, chosen))});")
        return name

    if depth == 2:
        columns = [pair(f"column{i}", "joined0", "joined1", (i, 2 + i)) for i in range(2)]
        return "\n".join(lines), columns
    low = [pair(f"low{j}", f"joined{j}", f"joined{j + 1}", (0, 4, 1, 5)) for j in (0, 2)]
    high = [pair(f"high{j}", f"joined{j}", f"joined{j + 1}", (2, 6, 3, 7)) for j in (0, 2)]
    halves = ((0, 1, 4, 5), (2, 3, 6, 7))
    columns = [pair(f"column{i}", x, y, halves[i % 2]) for i, (x, y) in enumerate((low, low, high, high))]
    return "\n".join(lines), columns


def _pieces(length: int, most: int) -> list[tuple[int, int]]:
    """(width, start) of the vectors of up to `most` lanes that cover `length` elements exactly."""
    out, at = [], 0
    while at < length:
        width = next(w for w in (16, 8, 4, 2, 1) if w <= min(most, length - at))
        out.append((width, at))
        at += width
    return out


def _parts(length: int, lanes: int, first: int = 0) -> list[tuple[int, int, str]]:
    """(width, start, swizzle) of the pieces that cover `length` of a vector's lanes from lane `first` on."""
    digits = "0123456789abcdef"
    return [
        (width, at, "" if width == lanes else f".s{digits[first + at:first + at + width]}")
        for width, at in _pieces(length, lanes)
    ]


def _add_across(names: Sequence[str], kind: str) -> tuple[str, str]:
    """C text that adds each of the vectors `names` across its lanes: lane i of the result is the sum of vector i."""
    lines, current = [], list(names)
    while len(current) > 1:
        half = len(current) // 2
        fresh = [f"across{half}_{i}" for i in range(half)]
        for i, (x, y) in enumerate(zip(current, current[half:])):
            lines.append(f"const {kind} {fresh[i]} = KERNEL_low({x}, {y}) + KERNEL_high({x}, {y});")
        current = fresh
    return "\n".join(lines), current[0]


# ---- rendering

_INDEX = re.compile(r"\bI\b")


def _lower_one(problem: GemmProblem, epilogue: Epilogue, config: GemmConfig, target: Target, scratch: int) -> Lowered:
    """The launches of one normalised product; its scratch buffers are numbered from `scratch`."""
    launches: list[Launch] = []
    sizes: list[int] = []
    product = problem
    if config.form == "tile" and config.pack_a == "ahead":
        launch, nbytes, packed = _pack(problem, problem.a.turned(), problem.m, config.tile_m, Scratch(scratch), target)
        product = replace(product, a=packed)
        launches.append(launch)
        sizes.append(nbytes)
    if config.form == "tile" and config.pack_b == "ahead":
        width = config.tile_n * _lanes(problem.a.dtype, target)
        launch, nbytes, packed = _pack(problem, problem.b, problem.n, width, Scratch(scratch + len(sizes)), target)
        product = replace(product, b=packed)
        launches.append(launch)
        sizes.append(nbytes)
    render_form = {"tile": _tile, "dot": _dot, "rows": _rows, "group": _group}[config.form]
    if config.splits == 1:
        launches.append(render_form(product, epilogue, config, target))
    else:
        parts = Scratch(scratch + len(sizes))
        kind = _sum_dtype(problem.a.dtype)
        shape = (*problem.batch, problem.m, problem.n)
        whole = layout(kind, shape)
        operand = Operand(parts, kind, 0, whole.stride[:-2], problem.n, 1)
        part = replace(product, extras=(), stores=(operand,))
        launches.append(render_form(part, Epilogue.identity(whole), config, target))
        launches.append(_reduce(problem, epilogue, config, target, parts))
        sizes.append(whole.nbytes * config.splits)
    return Lowered(tuple(launches), tuple(sizes))


def _k_pieces(problem: GemmProblem, config: GemmConfig, step: int, parameters: _GemmParameters) -> str:
    """Adds how K is split; C text that moves the stores of a split product to the part's place in scratch."""
    parameters.value("splits", config.splits)
    parameters.value("k_piece", up(up(problem.k, config.splits), step) * step if config.splits > 1 else problem.k)
    if config.splits == 1:
        return ""
    return f"  o0 += piece * {parameters.value('part_step', problem.count * problem.m * problem.n)};"


def _reduce(
    problem: GemmProblem, epilogue: Epilogue, config: GemmConfig, target: Target, parts: Scratch
) -> Launch:
    """Adds the parts of a split product: gemm_reduce.cl.mako."""
    dtype = problem.a.dtype
    element, lanes = _sum_type(dtype), _lanes(dtype, target)
    gpu = target.kind == "gpu"
    parameters = _GemmParameters("I")
    parameters.read("parts", element, parts)
    finish = _Finish(problem, epilogue, parameters)
    size = problem.m * problem.n * problem.count
    groups = max(1, min(4 * target.compute_units, size * config.splits // 16384))
    if target.loop_limit:
        groups = max(groups, up(2 * size * config.splits, target.loop_limit))
    block_m = up(problem.m, max(1, min(problem.m, groups // problem.count)))
    left = max(1, groups // (problem.count * up(problem.m, block_m)))
    block_n = up(up(problem.n, left), lanes) * lanes
    numbers = {"M": problem.m, "N": problem.n, "mc": block_m, "nc": block_n, "splits": config.splits, "part_step": size}
    for name, number in numbers.items():
        parameters.value(name, number)
    local = min(64, target.max_work_group) if gpu else 1
    setup = "\n".join([_batch_setup(problem, parameters), finish.setup])
    body = render(
        "gemm_reduce", parameters=parameters.text, setup=setup, finish=finish, E=element, W=lanes,
        vector_type=f"{element}{lanes}", gpu=gpu, items=local,
    )
    groups_of = (up(problem.n, local), problem.m) if gpu else (up(problem.n, block_n), up(problem.m, block_m))
    itemsize = _sum_bytes(dtype)
    return _launch(
        "gemm_reduce", body, problem, parameters, finish.includes, (*groups_of, problem.count),
        float(size * config.splits), float(size * config.splits * itemsize), (local, 1, 1),
    )


def _pack(
    problem: GemmProblem, x: Operand, columns: int, width: int, to: Scratch, target: Target
) -> tuple[Launch, int, Operand]:
    """Packs X (K x columns) into strips of `width` before the product: launch, bytes of scratch, packed operand."""
    dtype = x.dtype
    element, lanes = _sum_type(dtype), _lanes(dtype, target)
    kind = f"{element}{lanes}"
    form = "along" if x.column == 1 else "across" if x.row == 1 else "any"
    shared = not any(x.batch)
    count = 1 if shared else problem.count
    strips = up(columns, width)
    whole = strips * width * problem.k
    parameters = _GemmParameters("I")
    parameters.read("X", dtype.storage, x.buffer)
    parameters.write("to", element, to)
    pieces = max(1, min(8 * target.compute_units, int(whole * count / 65536)) // count)
    block_k = problem.k if form == "any" else up(up(problem.k, pieces), lanes) * lanes
    block_n = columns if form != "any" else up(up(strips, pieces), 1) * width
    numbers = {"K": problem.k, "N": columns, "x_k": x.row, "x_n": x.column, "kc": block_k, "nc": block_n}
    for name, number in {**numbers, "to_batch": whole}.items():
        parameters.value(name, number)
    place = _place(parameters, "X", replace(x, batch=() if shared else x.batch))
    setup = "\n".join(["" if shared else _batch_setup(problem, parameters), place])
    body = render(
        "gemm_pack", parameters=parameters.text, setup=setup, form=form, S=dtype.storage, E=element, W=lanes, P=width,
        vector_type=kind, load=_loader(dtype), pieces=_pieces, parts=_parts,
        transpose=lambda rows: _transpose(rows, kind),
    )
    groups = (up(problem.k, block_k), up(columns, block_n), count)
    itemsize = _sum_bytes(dtype)
    steps = () if shared else (whole,) if len(x.batch) == 1 else (whole * problem.batch[1], whole)
    packed = Operand(to, dtype, 0, steps or (0,) * len(x.batch), 0, 0)
    nbytes = whole * count * itemsize
    moved = float(count * problem.k * columns * dtype.itemsize + nbytes)
    return _launch("gemm_pack", body, problem, parameters, (), groups, 0.0, moved), nbytes, packed


def _necessary_bytes(problem: GemmProblem) -> float:
    matrices = problem.m * problem.k * problem.a.dtype.itemsize + problem.k * problem.n * problem.b.dtype.itemsize
    rest = sum(x.dtype.itemsize for x in (*problem.extras, *problem.stores)) * problem.m * problem.n
    return float(problem.count * (matrices + rest))


def _tile(problem: GemmProblem, epilogue: Epilogue, config: GemmConfig, target: Target) -> Launch:
    """Form 'tile': gemm_tile.cl.mako."""
    dtype = problem.a.dtype
    element, lanes = _sum_type(dtype), _lanes(dtype, target)
    itemsize = _sum_bytes(dtype)
    kind = f"{element}{lanes}"
    width = config.tile_n * lanes
    a_form, b_form = _panel_forms(problem, config, width)
    parameters = _GemmParameters("I")
    parameters.read("A", element if a_form == "ahead" else dtype.storage, problem.a.buffer)
    parameters.read("B", element if b_form == "ahead" else dtype.storage, problem.b.buffer)
    finish = _Finish(problem, epilogue, parameters)
    block_m, block_n, block_k = config.block_m, config.block_n, config.block_k
    held = 0 if block_k >= problem.k else config.tile_m * width
    tiles = up(min(block_m, problem.m), config.tile_m) * up(min(block_n, problem.n), width) if held else 1
    parameters.local("held_memory", kind, tiles * config.tile_m * width * itemsize)
    a_pitch = block_k + lanes
    if a_form in ("rows", "strips", "any"):
        rows = up(min(block_m, problem.m), config.tile_m) * config.tile_m
        parameters.local("a_memory", kind, rows * (a_pitch if a_form == "rows" else block_k) * itemsize)
    if b_form in ("rows", "columns", "any"):
        columns = up(min(block_n, problem.n), width) * width
        parameters.local("b_memory", kind, columns * block_k * itemsize)
    for name, number in (
        ("M", problem.m), ("N", problem.n), ("K", problem.k), ("mc", block_m), ("nc", block_n), ("kc", block_k),
        ("a_m", problem.a.row), ("a_k", problem.a.column), ("b_k", problem.b.row), ("b_n", problem.b.column),
        ("held_step", held), ("a_pitch", a_pitch),
    ):
        parameters.value(name, number)
    setup = _setup(problem, config, lanes, parameters, finish)
    body = render(
        "gemm_tile", parameters=parameters.text, setup=setup, finish=finish,
        S=dtype.storage, E=element, W=lanes, vector_type=kind, MR=config.tile_m, NV=config.tile_n, a_form=a_form,
        b_form=b_form, load=_loader(dtype), pieces=_pieces, transpose=lambda rows: _transpose(rows, kind),
        unrolled=len(epilogue.instrs) <= 4,
    )
    groups = (up(problem.n, block_n), up(problem.m, block_m), problem.count * config.splits)
    cost = sum(instr.cost for instr in epilogue.instrs) * problem.count * problem.m * problem.n
    return _launch(
        "gemm", body, problem, parameters, finish.includes, groups, problem.flops + cost, _necessary_bytes(problem)
    )


def _setup(
    problem: GemmProblem, config: GemmConfig, step: int, parameters: _GemmParameters, finish: _Finish
) -> str:
    """C text that moves every pointer to the group's batch element, and a split product's stores to their part."""
    places = [_batch_setup(problem, parameters), _place(parameters, "A", problem.a), _place(parameters, "B", problem.b)]
    return "\n".join([*places, finish.setup, _k_pieces(problem, config, step, parameters)])


def _operands(problem: GemmProblem, parameters: _GemmParameters) -> None:
    """Adds the buffers of A and B."""
    parameters.read("A", problem.a.dtype.storage, problem.a.buffer)
    parameters.read("B", problem.b.dtype.storage, problem.b.buffer)


def _numbers(problem: GemmProblem, parameters: _GemmParameters, **more: int) -> None:
    """Adds sizes, strides and `more`."""
    a, b = problem.a, problem.b
    for name, number in (
        ("M", problem.m), ("N", problem.n), ("K", problem.k), ("a_m", a.row), ("a_k", a.column), ("b_k", b.row),
        ("b_n", b.column), *more.items(),
    ):
        parameters.value(name, number)


def _rows(problem: GemmProblem, epilogue: Epilogue, config: GemmConfig, target: Target) -> Launch:
    """Form 'rows': gemm_rows.cl.mako."""
    dtype = problem.a.dtype
    element, lanes = _sum_type(dtype), _lanes(dtype, target)
    kind, itemsize = f"{element}{lanes}", _sum_bytes(dtype)
    parameters = _GemmParameters("I")
    _operands(problem, parameters)
    finish = _Finish(problem, epilogue, parameters)
    block_n = up(min(config.block_n, problem.n), lanes) * lanes
    parameters.local("sums_memory", kind, problem.m * block_n * itemsize)
    _numbers(problem, parameters, nc=block_n)
    body = render(
        "gemm_rows", setup=_setup(problem, config, 1, parameters, finish), parameters=parameters.text, finish=finish,
        S=dtype.storage, E=element, W=lanes, R=problem.m, U=config.tile_m, vector_type=kind, load=_loader(dtype),
    )
    groups = (up(problem.n, block_n), 1, problem.count * config.splits)
    return _launch(
        "gemm_rows", body, problem, parameters, finish.includes, groups, problem.flops, _necessary_bytes(problem)
    )


def _dot(problem: GemmProblem, epilogue: Epilogue, config: GemmConfig, target: Target) -> Launch:
    """Form 'dot': gemm_dot.cl.mako."""
    dtype = problem.a.dtype
    element, lanes = _sum_type(dtype), _lanes(dtype, target)
    kind, itemsize = f"{element}{lanes}", _sum_bytes(dtype)
    parameters = _GemmParameters("I")
    _operands(problem, parameters)
    finish = _Finish(problem, epilogue, parameters)
    pitch = up(min(config.block_n, problem.n), config.tile_n) * config.tile_n + config.tile_n
    parameters.local("sums_memory", kind, config.tile_m * pitch * itemsize)
    _numbers(problem, parameters, mc=config.block_m, nc=config.block_n, pitch=pitch)
    low, high = _zip_lanes(lanes)
    body = render(
        "gemm_dot", setup=_setup(problem, config, lanes, parameters, finish), parameters=parameters.text, finish=finish,
        S=dtype.storage, E=element, W=lanes, R=config.tile_m, C=config.tile_n, vector_type=kind,
        M=f"{'long' if itemsize == 8 else 'int'}{lanes}", load=_loader(dtype), zip_low=low, zip_high=high, parts=_parts,
        across=lambda names: _add_across(names, kind),
    )
    groups = (up(problem.n, config.block_n), up(problem.m, config.block_m), problem.count * config.splits)
    return _launch(
        "gemm_dot", body, problem, parameters, finish.includes, groups, problem.flops, _necessary_bytes(problem)
    )


def _group(problem: GemmProblem, epilogue: Epilogue, config: GemmConfig, target: Target) -> Launch:
    """Form 'group': gemm_group.cl.mako."""
    dtype = problem.a.dtype
    parameters = _GemmParameters("I")
    _operands(problem, parameters)
    finish = _Finish(problem, epilogue, parameters)
    _numbers(problem, parameters)
    across, down = config.block_n // config.tile_n, config.block_m // config.tile_m
    body = render(
        "gemm_group", setup=_setup(problem, config, config.block_k, parameters, finish), parameters=parameters.text,
        finish=finish, S=dtype.storage, E=_sum_type(dtype), TX=across, TY=down, TM=config.tile_m, TN=config.tile_n,
        BK=config.block_k, a_along_k=problem.a.column == 1, b_along_k=problem.b.row == 1, load=_loader(dtype),
    )
    groups = (up(problem.n, config.block_n), up(problem.m, config.block_m), problem.count * config.splits)
    return _launch(
        "gemm_group", body, problem, parameters, finish.includes, groups, problem.flops, _necessary_bytes(problem),
        (across, down, 1),
    )


def _panel_forms(problem: GemmProblem, config: GemmConfig, width: int) -> tuple[str, str]:
    """How form 'tile' gets at A and at B; reading in place needs native elements in the order of the tile."""
    a, b = problem.a, problem.b
    a_form, b_form = config.pack_a, config.pack_b
    if a_form == "direct" and _native(a.dtype) and a.row == 1 and a.column != 1:
        a_form = "columns"
    elif a_form == "group" or (a_form == "direct" and not (_native(a.dtype) and a.column == 1)):
        a_form = "rows" if a.column == 1 else "strips" if a.row == 1 else "any"
    if b_form == "group" or (b_form == "direct" and not (_native(b.dtype) and b.column == 1 and problem.n >= width)):
        fits = problem.n >= width
        b_form = "rows" if fits and b.column == 1 else "columns" if fits and b.row == 1 else "any"
    return a_form, b_form


def _launch(
    family: str,
    body: str,
    problem: GemmProblem,
    parameters: _GemmParameters,
    includes: tuple[str, ...],
    groups: tuple[int, int, int],
    flops: float,
    nbytes: float,
    local: tuple[int, int, int] = (1, 1, 1),
) -> Launch:
    """The launch of a rendered kernel, in which `I` becomes the index type."""
    index = "long" if problem.wide else "int"
    args = tuple(Value(index, x.value) if isinstance(x, Value) and x.ctype == "I" else x for x in parameters.args)
    source = KernelSource(family, _INDEX.sub(index, body), includes, local)
    return Launch(source, args, tuple(g * n for g, n in zip(groups, local)), flops, nbytes)
