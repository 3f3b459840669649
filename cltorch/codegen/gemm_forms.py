"""The launches of each form of a matrix product.

Floor 1b, part of `gemm`: every function renders one template, which describes the algorithm.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

from ..dtypes import float16
from ..target import EMULATED, Target, fragments
from .gemm_problem import GemmProblem, Operand, lanes_of, loader, native, sum_bytes, sum_type
from .gemm_sizes import GemmConfig
from .gemm_text import (
    Finish,
    GemmParameters,
    add_across,
    batch_setup,
    lanes_over,
    make_launch,
    place_of,
    transpose,
    vectors_over,
    zip_lanes,
)
from .program import Epilogue
from .source import Launch, Scratch, render
from .walk import up


def _piece_of_k(problem: GemmProblem, config: GemmConfig, step: int) -> int:
    """How much of K one work-group sums."""
    return up(up(problem.k, config.splits), step) * step if config.splits > 1 else problem.k


def _k_pieces(problem: GemmProblem, config: GemmConfig, step: int, parameters: GemmParameters) -> str:
    """Adds how K is split; C text that moves the stores of a split product to the part's place in scratch."""
    parameters.value("splits", config.splits)
    parameters.value("k_piece", _piece_of_k(problem, config, step))
    if config.splits == 1:
        return ""
    return f"  o0 += piece * {parameters.value('part_step', problem.count * problem.m * problem.n)};"


def reduce_parts(
    problem: GemmProblem, epilogue: Epilogue, config: GemmConfig, target: Target, parts: Scratch
) -> Launch:
    """Adds the parts of a split product: gemm_reduce.cl.mako."""
    dtype = problem.a.dtype
    element, lanes = sum_type(dtype), lanes_of(dtype, target)
    gpu = target.kind == "gpu"
    parameters = GemmParameters("I")
    parameters.read("parts", element, parts)
    finish = Finish(problem, epilogue, parameters)
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
    setup = "\n".join([batch_setup(problem, parameters), finish.setup])
    body = render(
        "gemm_reduce", parameters=parameters.text, setup=setup, finish=finish, E=element, W=lanes,
        vector_type=f"{element}{lanes}", gpu=gpu, items=local,
    )
    groups_of = (up(problem.n, local), problem.m) if gpu else (up(problem.n, block_n), up(problem.m, block_m))
    itemsize = sum_bytes(dtype)
    return make_launch(
        "gemm_reduce", body, problem, parameters, finish.includes, (*groups_of, problem.count),
        float(size * config.splits), float(size * config.splits * itemsize), (local, 1, 1),
    )


def pack(
    problem: GemmProblem, x: Operand, columns: int, width: int, to: Scratch, target: Target
) -> tuple[Launch, int, Operand]:
    """Packs X (K x columns) into strips of `width` before the product: launch, bytes of scratch, packed operand."""
    dtype = x.dtype
    element, lanes = sum_type(dtype), lanes_of(dtype, target)
    kind = f"{element}{lanes}"
    form = "along" if x.column == 1 else "across" if x.row == 1 else "any"
    shared = not any(x.batch)
    count = 1 if shared else problem.count
    strips = up(columns, width)
    whole = strips * width * problem.k
    parameters = GemmParameters("I")
    parameters.read("X", dtype.storage, x.buffer)
    parameters.write("to", element, to)
    pieces = max(1, min(8 * target.compute_units, int(whole * count / 65536)) // count)
    block_k = problem.k if form == "any" else up(up(problem.k, pieces), lanes) * lanes
    block_n = columns if form != "any" else up(up(strips, pieces), 1) * width
    numbers = {"K": problem.k, "N": columns, "x_k": x.row, "x_n": x.column, "kc": block_k, "nc": block_n}
    for name, number in {**numbers, "to_batch": whole}.items():
        parameters.value(name, number)
    place = place_of(parameters, "X", replace(x, batch=() if shared else x.batch))
    setup = "\n".join(["" if shared else batch_setup(problem, parameters), place])
    body = render(
        "gemm_pack", parameters=parameters.text, setup=setup, form=form, S=dtype.storage, E=element, W=lanes, P=width,
        vector_type=kind, load=loader(dtype), pieces=vectors_over, parts=lanes_over,
        transpose=lambda rows: transpose(rows, kind),
    )
    groups = (up(problem.k, block_k), up(columns, block_n), count)
    itemsize = sum_bytes(dtype)
    steps = () if shared else (whole,) if len(x.batch) == 1 else (whole * problem.batch[1], whole)
    packed = Operand(to, dtype, 0, steps or (0,) * len(x.batch), 0, 0)
    nbytes = whole * count * itemsize
    moved = float(count * problem.k * columns * dtype.itemsize + nbytes)
    return make_launch("gemm_pack", body, problem, parameters, (), groups, 0.0, moved), nbytes, packed


def necessary_bytes(problem: GemmProblem) -> float:
    matrices = problem.m * problem.k * problem.a.dtype.itemsize + problem.k * problem.n * problem.b.dtype.itemsize
    rest = sum(x.dtype.itemsize for x in (*problem.extras, *problem.stores)) * problem.m * problem.n
    return float(problem.count * (matrices + rest))


def held_sums(problem: GemmProblem, config: GemmConfig, target: Target) -> int:
    """Sums that the groups of form 'tile' keep in scratch between slices of K: 0 where one slice is all of it."""
    if config.form != "tile" or config.block_k >= _piece_of_k(problem, config, lanes_of(problem.a.dtype, target)):
        return 0
    tile_m, width = config.tile_m, config.tile_n * lanes_of(problem.a.dtype, target)
    across, down, deep = _tile_groups(problem, config)
    tiles = up(min(config.block_m, problem.m), tile_m) * up(min(config.block_n, problem.n), width)
    return across * down * deep * tiles * tile_m * width


_UNROLLED = 32  # flops of an epilogue up to which it is written out for every sum of a tile; more only fills the caches


def _tile_groups(problem: GemmProblem, config: GemmConfig) -> tuple[int, int, int]:
    return up(problem.n, config.block_n), up(problem.m, config.block_m), problem.count * config.splits


def tile(problem: GemmProblem, epilogue: Epilogue, config: GemmConfig, target: Target, held: Scratch) -> Launch:
    """Form 'tile': gemm_tile.cl.mako; `held` is where sums wait between slices of K, if there are several."""
    dtype = problem.a.dtype
    element, lanes = sum_type(dtype), lanes_of(dtype, target)
    itemsize = sum_bytes(dtype)
    kind = f"{element}{lanes}"
    width = config.tile_n * lanes
    a_form, b_form = _panel_forms(problem, config, width)
    parameters = GemmParameters("I")
    parameters.read("A", element if a_form == "ahead" else dtype.storage, problem.a.buffer)
    parameters.read("B", element if b_form == "ahead" else problem.b.dtype.storage, problem.b.buffer)
    finish = Finish(problem, epilogue, parameters)
    block_m, block_n, block_k = config.block_m, config.block_n, config.block_k
    groups = _tile_groups(problem, config)
    sums = held_sums(problem, config, target)
    if sums:
        parameters.write("held", element, held)
        parameters.value("held_block", sums // prod(groups))
    else:
        parameters.local("held_memory", kind, config.tile_m * width * itemsize)
    a_pitch = block_k + lanes
    if a_form in ("rows", "strips", "any"):
        rows = up(min(block_m, problem.m), config.tile_m) * config.tile_m
        parameters.local("a_memory", kind, rows * (a_pitch if a_form == "rows" else block_k) * itemsize)
    if b_form in ("rows", "columns", "any"):
        parameters.local("b_memory", kind, width * block_k * itemsize)
    for name, number in (
        ("M", problem.m), ("N", problem.n), ("K", problem.k), ("mc", block_m), ("nc", block_n), ("kc", block_k),
        ("a_m", problem.a.row), ("a_k", problem.a.column), ("b_k", problem.b.row), ("b_n", problem.b.column),
        ("a_pitch", a_pitch),
    ):
        parameters.value(name, number)
    setup = _setup(problem, config, lanes, parameters, finish)
    work = sum(instr.cost for instr in epilogue.instrs)
    body = render(
        "gemm_tile", parameters=parameters.text, setup=setup, finish=finish,
        E=element, W=lanes, vector_type=kind, MR=config.tile_m, NV=config.tile_n, a_form=a_form,
        b_form=b_form, **_loads(problem), pieces=vectors_over, transpose=lambda rows: transpose(rows, kind),
        unrolled=len(epilogue.instrs) <= 4 and work <= _UNROLLED, sliced=bool(sums),
        space="__global" if sums else "__local",
    )
    cost = work * problem.count * problem.m * problem.n
    return make_launch(
        "gemm", body, problem, parameters, finish.includes, groups, problem.flops + cost, necessary_bytes(problem)
    )


def _setup(
    problem: GemmProblem, config: GemmConfig, step: int, parameters: GemmParameters, finish: Finish
) -> str:
    """C text that moves every pointer to the group's batch element, and a split product's stores to their part."""
    places = [batch_setup(problem, parameters)]
    places += [place_of(parameters, "A", problem.a), place_of(parameters, "B", problem.b)]
    return "\n".join([*places, finish.setup, _k_pieces(problem, config, step, parameters)])


def _loads(problem: GemmProblem) -> dict[str, Any]:
    """What templates read A and B with: storage types, and loads that convert to the type of the sums."""
    a, b = problem.a.dtype, problem.b.dtype
    return {"S": a.storage, "load": loader(a), "SB": b.storage, "load_b": loader(b)}


def _operands(problem: GemmProblem, parameters: GemmParameters) -> None:
    """Adds the buffers of A and B."""
    parameters.read("A", problem.a.dtype.storage, problem.a.buffer)
    parameters.read("B", problem.b.dtype.storage, problem.b.buffer)


def _numbers(problem: GemmProblem, parameters: GemmParameters, **more: int) -> None:
    """Adds sizes, strides and `more`."""
    a, b = problem.a, problem.b
    for name, number in (
        ("M", problem.m), ("N", problem.n), ("K", problem.k), ("a_m", a.row), ("a_k", a.column), ("b_k", b.row),
        ("b_n", b.column), *more.items(),
    ):
        parameters.value(name, number)


def rows_form(problem: GemmProblem, epilogue: Epilogue, config: GemmConfig, target: Target) -> Launch:
    """Form 'rows': gemm_rows.cl.mako."""
    dtype = problem.a.dtype
    element, lanes = sum_type(dtype), lanes_of(dtype, target)
    kind, itemsize = f"{element}{lanes}", sum_bytes(dtype)
    parameters = GemmParameters("I")
    _operands(problem, parameters)
    finish = Finish(problem, epilogue, parameters)
    block_n = up(min(config.block_n, problem.n), lanes) * lanes
    parameters.local("sums_memory", kind, problem.m * block_n * itemsize)
    _numbers(problem, parameters, nc=block_n)
    body = render(
        "gemm_rows", setup=_setup(problem, config, 1, parameters, finish), parameters=parameters.text, finish=finish,
        E=element, W=lanes, R=problem.m, U=config.tile_m, vector_type=kind, **_loads(problem),
    )
    groups = (up(problem.n, block_n), 1, problem.count * config.splits)
    return make_launch(
        "gemm_rows", body, problem, parameters, finish.includes, groups, problem.flops, necessary_bytes(problem)
    )


def dot(problem: GemmProblem, epilogue: Epilogue, config: GemmConfig, target: Target) -> Launch:
    """Form 'dot': gemm_dot.cl.mako."""
    dtype = problem.a.dtype
    element, lanes = sum_type(dtype), lanes_of(dtype, target)
    kind, itemsize = f"{element}{lanes}", sum_bytes(dtype)
    parameters = GemmParameters("I")
    _operands(problem, parameters)
    finish = Finish(problem, epilogue, parameters)
    pitch = up(min(config.block_n, problem.n), config.tile_n) * config.tile_n + config.tile_n
    parameters.local("sums_memory", kind, config.tile_m * pitch * itemsize)
    _numbers(problem, parameters, mc=config.block_m, nc=config.block_n, pitch=pitch)
    low, high = zip_lanes(lanes)
    body = render(
        "gemm_dot", setup=_setup(problem, config, lanes, parameters, finish), parameters=parameters.text, finish=finish,
        E=element, W=lanes, R=config.tile_m, C=config.tile_n, vector_type=kind,
        M=f"{'long' if itemsize == 8 else 'int'}{lanes}", **_loads(problem), zip_low=low, zip_high=high,
        parts=lanes_over, across=lambda names: add_across(names, kind),
    )
    groups = (up(problem.n, config.block_n), up(problem.m, config.block_m), problem.count * config.splits)
    return make_launch(
        "gemm_dot", body, problem, parameters, finish.includes, groups, problem.flops, necessary_bytes(problem)
    )


def group(problem: GemmProblem, epilogue: Epilogue, config: GemmConfig, target: Target) -> Launch:
    """Form 'group': gemm_group.cl.mako."""
    dtype = problem.a.dtype
    parameters = GemmParameters("I")
    _operands(problem, parameters)
    finish = Finish(problem, epilogue, parameters)
    _numbers(problem, parameters, strip=config.strip)
    across, down = config.block_n // config.tile_n, config.block_m // config.tile_m
    body = render(
        "gemm_group", setup=_setup(problem, config, config.block_k, parameters, finish), parameters=parameters.text,
        finish=finish, E=sum_type(dtype), TX=across, TY=down, TM=config.tile_m, TN=config.tile_n,
        BK=config.block_k, VA=config.vector_a, VB=config.vector_b, a_along_k=problem.a.column == 1,
        b_along_k=problem.b.row == 1, load_aligned=loader(dtype, aligned=True),
        load_b_aligned=loader(problem.b.dtype, aligned=True), **_loads(problem),
    )
    groups = (up(problem.n, config.block_n), up(problem.m, config.block_m), problem.count * config.splits)
    return make_launch(
        "gemm_group", body, problem, parameters, finish.includes, groups, problem.flops, necessary_bytes(problem),
        (across, down, 1),
    )


def matrix(problem: GemmProblem, epilogue: Epilogue, config: GemmConfig, target: Target) -> Launch:
    """Form 'matrix': gemm_matrix.cl.mako."""
    dtype, family = problem.a.dtype, target.matrix.removeprefix(EMULATED)
    shape, emulated = fragments(family), target.matrix != family
    parameters = GemmParameters("I")
    _operands(problem, parameters)
    finish = Finish(problem, epilogue, parameters)
    _numbers(problem, parameters, strip=config.strip)
    down, across = config.block_m // (shape.rows * config.tile_m), config.block_n // (shape.columns * config.tile_n)
    body = render(
        "gemm_matrix", setup=_setup(problem, config, config.block_k, parameters, finish), parameters=parameters.text,
        finish=finish, family=family, shape=shape, emulated=emulated, element="half" if dtype is float16 else "bf16",
        WY=down, WX=across, TM=config.tile_m, TN=config.tile_n, BK=config.block_k, VA=config.vector_a,
        VB=config.vector_b, a_along_k=problem.a.column == 1, b_along_k=problem.b.row == 1,
    )
    groups = (up(problem.n, config.block_n), up(problem.m, config.block_m), problem.count * config.splits)
    included = (*(("matrix_emulated",) if emulated else ()), f"matrix_{family}", *finish.includes)
    return make_launch(
        "gemm_matrix", body, problem, parameters, included, groups, problem.flops, necessary_bytes(problem),
        (down * across * shape.lanes, 1, 1),
    )


def _panel_forms(problem: GemmProblem, config: GemmConfig, width: int) -> tuple[str, str]:
    """How form 'tile' gets at A and at B; reading in place needs native elements in the order of the tile."""
    a, b = problem.a, problem.b
    a_form, b_form = config.pack_a, config.pack_b
    if a_form == "direct" and native(a.dtype) and a.row == 1 and a.column != 1:
        a_form = "columns"
    elif a_form == "group" or (a_form == "direct" and not (native(a.dtype) and a.column == 1)):
        a_form = "rows" if a.column == 1 else "strips" if a.row == 1 else "any"
    if b_form == "group" or (b_form == "direct" and not (native(b.dtype) and b.column == 1 and problem.n >= width)):
        fits = problem.n >= width
        b_form = "rows" if fits and b.column == 1 else "columns" if fits and b.row == 1 else "any"
    return a_form, b_form
