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
from ..shapes import Layout
from ..target import Target
from . import expression
from .program import Epilogue
from .source import Argument, Input, KernelSource, Launch, Local, Lowered, Output, Scalar, Value, render
from .walk import Parameters, collapse, index_type, up


@dataclass(frozen=True)
class GemmConfig:
    """Form and sizes of one product; `choose_config` gives the defaults, a tuner may give others.

    Attributes:
        form: 'tile', 'dot', 'rows' or 'group' (see the module).
        tile_m: rows of a register tile (at most M), rows of B taken at once in form 'rows'.
        tile_n: vectors across a register tile in form 'tile', columns of it in 'dot', of a work-item in 'group'.
        pack_a, pack_b: form 'tile' copies the operand into local panels (forced where it cannot be read in place).
        block_m, block_n, block_k: what one work-group computes, and how deep a slice of K it takes at a time.
        splits: parts of K computed by different work-groups and added by a second kernel.
    """

    form: str
    tile_m: int
    tile_n: int
    pack_a: bool
    pack_b: bool
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
    buffers = [*(Input(i) for i in range(2 + extras)), *(Output(i) for i in range(len(epilogue.stores)))]
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
    return _tile_config(problem, target)


def _tile_shape(m: int, n: int, lanes: int) -> tuple[int, int]:
    """Rows and vectors of the register tile."""
    wide = 12 if lanes * 2 >= 16 and lanes != 8 else 6
    rows = min(wide, m)
    vectors = max(1, min(24 // rows if wide == 12 else 12 // rows, 4, n // lanes))
    return rows, vectors


def _tile_config(problem: GemmProblem, target: Target) -> GemmConfig:
    dtype = problem.a.dtype
    lanes = _lanes(dtype, target)
    itemsize = 8 if _sum_type(dtype) in ("double", "ulong") else 4
    m, n, k = problem.m, problem.n, problem.k
    tile_m, tile_n = _tile_shape(m, n, lanes)
    width = tile_n * lanes
    pack_a = not (_native(dtype) and problem.a.column == 1)
    pack_b = not (_native(dtype) and problem.b.column == 1 and n >= width and m <= 2 * tile_m)
    budget = min(target.local_memory, 256 * 1024) // itemsize - 64  # elements
    slices = max(1, up(k, 256 if budget > 32768 else 128))
    block_k = up(up(k, slices), 16) * 16 if slices > 1 else max(k, 1)
    room = budget - (block_k * width if pack_b else 0) - lanes
    per_row = (block_k if pack_a else 0) + (width if slices > 1 else 0)
    limit = max(tile_m, min(room // max(per_row, 1), 192) // tile_m * tile_m)
    blocks = up(m, limit)
    block_m = up(up(m, blocks), tile_m) * tile_m
    wanted = max(1, min(4 * target.compute_units, int(problem.flops / 4e6)))
    columns = max(1, up(wanted, blocks * problem.count))
    most = up(n, width)
    if slices > 1:
        most = max(1, min(most, (room - (block_k * block_m if pack_a else 0)) // (block_m * width)))
    block_n = min(most, max(1, up(up(n, width), columns))) * width
    return GemmConfig("tile", tile_m, tile_n, pack_a, pack_b, block_m, block_n, block_k)


# ---- the kernel's parameters and its epilogue


class _GemmParameters(Parameters):
    """Parameters that may be local memory or scalars of the program as well."""

    def local(self, name: str, ctype: str, nbytes: int) -> None:
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


def _transpose(names: Sequence[str], kind: str, prefix: str) -> tuple[str, list[str]]:
    """C text that transposes the square of vectors `names` (of type `kind`) by interleaving in stages; their names."""
    width = len(names)
    half, lines, current, stage = width // 2, [], list(names), 0
    while 1 << stage < width:
        fresh = [f"{prefix}_{stage}_{i}" for i in range(width)]
        for i in range(half):
            x, y = current[i], current[i + half]
            low, high = fresh[2 * i], fresh[2 * i + 1]
            lines.append(f"const {kind} {low} = KERNEL_low({x}, {y}), {high} = KERNEL_high({x}, {y});")
        current, stage = fresh, stage + 1
    return "\n".join(lines), current


def _pieces(length: int) -> list[tuple[int, int]]:
    """(width, start) of the vectors that cover `length` elements exactly."""
    out, at = [], 0
    while at < length:
        width = next(w for w in (16, 8, 4, 2, 1) if w <= length - at)
        out.append((width, at))
        at += width
    return out


# ---- rendering

_INDEX = re.compile(r"\bI\b")


def _lower_one(problem: GemmProblem, epilogue: Epilogue, config: GemmConfig, target: Target, scratch: int) -> Lowered:
    if config.splits > 1:
        raise NotImplementedError
    return Lowered((_tile(problem, epilogue, config, target),))


def _necessary_bytes(problem: GemmProblem) -> float:
    matrices = problem.m * problem.k * problem.a.dtype.itemsize + problem.k * problem.n * problem.b.dtype.itemsize
    rest = sum(x.dtype.itemsize for x in (*problem.extras, *problem.stores)) * problem.m * problem.n
    return float(problem.count * (matrices + rest))


def _tile(problem: GemmProblem, epilogue: Epilogue, config: GemmConfig, target: Target) -> Launch:
    """Form 'tile': gemm_tile.cl.mako."""
    dtype = problem.a.dtype
    element, lanes = _sum_type(dtype), _lanes(dtype, target)
    itemsize = 8 if element in ("double", "ulong") else 4
    kind = f"{element}{lanes}"
    width = config.tile_n * lanes
    a_form = b_form = "direct"
    if config.pack_a or not (_native(dtype) and problem.a.column == 1):
        a_form = "strips" if problem.a.row == 1 else "rows" if problem.a.column == 1 else "any"
    if config.pack_b or not (_native(dtype) and problem.b.column == 1 and problem.n >= width):
        fits = problem.n >= width
        b_form = "rows" if fits and problem.b.column == 1 else "columns" if fits and problem.b.row == 1 else "any"
    parameters = _GemmParameters("I")
    parameters.read("A", dtype.storage, problem.a.buffer)
    parameters.read("B", dtype.storage, problem.b.buffer)
    finish = _Finish(problem, epilogue, parameters)
    block_m, block_n, block_k = config.block_m, config.block_n, config.block_k
    held = 0 if block_k >= problem.k else config.tile_m * width
    tiles = up(min(block_m, problem.m), config.tile_m) * up(min(block_n, problem.n), width) if held else 1
    parameters.local("held", element, tiles * config.tile_m * width * itemsize)
    if a_form != "direct":
        rows = up(min(block_m, problem.m), config.tile_m) * config.tile_m
        parameters.local("packed_a", element, (rows * block_k + lanes) * itemsize)
    if b_form != "direct":
        parameters.local("packed_b", element, block_k * width * itemsize)
    for name, number in (
        ("M", problem.m), ("N", problem.n), ("K", problem.k), ("mc", block_m), ("nc", block_n), ("kc", block_k),
        ("a_m", problem.a.row), ("a_k", problem.a.column), ("b_k", problem.b.row), ("b_n", problem.b.column),
        ("held_step", held),
    ):
        parameters.value(name, number)
    setup = [_batch_setup(problem, parameters), _place(parameters, "A", problem.a), _place(parameters, "B", problem.b)]
    low, high = _zip_lanes(lanes)
    body = render(
        "gemm_tile", parameters=parameters.text, setup="\n".join([*setup, finish.setup]), finish=finish, split=False,
        S=dtype.storage, E=element, W=lanes, vector_type=kind, MR=config.tile_m, NV=config.tile_n, a_form=a_form,
        b_form=b_form, load=_loader(dtype), zip_low=low, zip_high=high, pieces=_pieces,
        transpose=lambda names, prefix: _transpose(names, kind, prefix), unrolled=len(epilogue.instrs) <= 4,
    )
    return _launch("gemm", body, problem, parameters, finish, (
        up(problem.n, block_n), up(problem.m, block_m), problem.count * config.splits
    ))


def _launch(
    family: str,
    body: str,
    problem: GemmProblem,
    parameters: _GemmParameters,
    finish: _Finish,
    groups: tuple[int, int, int],
    local: tuple[int, int, int] = (1, 1, 1),
) -> Launch:
    """The launch of a rendered kernel; `I` becomes the index type."""
    index = "long" if problem.wide else "int"
    args = tuple(Value(index, x.value) if isinstance(x, Value) and x.ctype == "I" else x for x in parameters.args)
    body = _INDEX.sub(index, body)
    source = KernelSource(family, body, finish.includes, local)
    flops = problem.flops + sum(instr.cost for instr in finish.epilogue.instrs) * problem.count * problem.m * problem.n
    size = tuple(g * n for g, n in zip(groups, local))
    return Launch(source, args, size, flops, _necessary_bytes(problem))
