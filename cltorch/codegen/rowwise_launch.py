"""One launch of a row-wise kernel: what is kept in local memory, what is fetched ahead, parameters, work-groups.

Floor 1b. The text comes from `rowwise_unit` and templates/rowwise.cl.mako.
"""

from __future__ import annotations

from math import prod
from typing import Any

from ..target import Target
from .expression import chosen_includes, needed_values, scalar_ctype
from .operands import INDEX, INPUT, STORE, bytes_moved, index_ctype, kind_of, streams, widest
from .pointwise import group_count
from .program import Instr
from .rowwise_analysis import Analysis, Walk, aliased, is_full, lane_units, overlaps, shape_of_code, short_rows
from .rowwise_unit import Form, UnitCode, partial_dtypes
from .source import Argument, Input, KernelSource, Launch, Output, Scalar, Scratch, Value, render

BLOCK_VECTORS = 256  # vectors summed plainly before the compensated sum takes them over
_STAGE_BYTES = 32768
_STAGE_COST = 10  # flops per element above which a value is kept rather than computed again
_PREFETCH_BYTES = 1 << 18  # of a row, all operands together: this and the next stay in a core's cache
_GPU_GROUPS_PER_UNIT = 16


def unit_steps(analysis: Analysis, walk: Walk, target: Target, parts: int = 1) -> int:
    """Loop iterations that a unit needs at most."""
    width, _ = shape_of_code(analysis, walk, target)
    lanes = width if walk.horizontal else 1
    return analysis.passes * (prod(walk.reduced) // (parts * lanes) + 2 * width * prod(walk.reduced[:-1]) + 2)


def exceeds_limit(analysis: Analysis, walk: Walk, target: Target) -> bool:
    return bool(target.loop_limit) and unit_steps(analysis, walk, target) > target.loop_limit - 128


def _staged(analysis: Analysis, walk: Walk, target: Target) -> tuple[dict[int, int], int]:
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


def _prefetch_pays(analysis: Analysis, walk: Walk, target: Target) -> bool:
    """True where lines can be asked for early enough: in one pass or down the rows always, in several where a row and
    the next one stay in the cache.
    """
    if not streams(target):
        return False
    if analysis.passes == 1 or not walk.horizontal:
        return True
    bytes_each = sum(o.dtype.itemsize for o in walk.operands if o.role != INDEX and is_full(analysis, o))
    return bool(walk.kept) and walk.kept[-1] > 1 and bytes_each * prod(walk.reduced) <= _PREFETCH_BYTES


def launch(analysis: Analysis, walk: Walk, target: Target, parts: int, split: tuple[int, int] | None) -> Launch:
    """The launch over the program's rows; `split` = (reduced dim, its length per part) for partial sums."""
    gpu = target.kind == "gpu"
    ctype = index_ctype(walk.shape, walk.operands)
    width, copies = shape_of_code(analysis, walk, target)
    staged, stage_elements = ({}, 0) if split else _staged(analysis, walk, target)
    if staged and not walk.horizontal:
        copies = 1
    local_size = 1 if not gpu else 256 if not walk.horizontal else 64 if prod(walk.reduced) <= 512 else 256
    form = Form(
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
        not gpu and split is None and short_rows(walk, width, BLOCK_VECTORS),
        overlaps(analysis, walk, target),
    )
    tail_version = not walk.horizontal and aliased(analysis) and not gpu
    codes = [UnitCode(form, width, copies)] + ([UnitCode(form, 1, 1)] if tail_version else [])
    versions = [code.write() for code in codes]
    parameters, arguments, decode = _parameters(form)
    units = lane_units(walk, width, copies) * parts
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
            per = max(1, min(per, (target.loop_limit - 128) // unit_steps(analysis, walk, target, parts)))
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
        short=form.short,
        overlap=form.overlap,
        versions=versions,
        outer=range(len(walk.reduced) - 1),
        inner=len(walk.reduced) - 1,
        lane_dim=len(walk.kept) - 1,
        split_dim=form.split_dim,
        block_length=BLOCK_VECTORS * (width * copies if walk.horizontal else 1),
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


def _parameters(form: Form) -> tuple[list[str], list[Argument], tuple[list[str], list[str]]]:
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
        for n, dtype in enumerate(partial_dtypes(analysis, walk)):
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
        full = is_full(analysis, o)
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


def _local_arrays(form: Form, code: UnitCode) -> list[str]:
    out = [f"__local {form.analysis.dtypes[v].register} stage_{v}[{form.stage_elements}];" for v in form.staged]
    if form.gpu and form.walk.horizontal:
        for level in range(1, form.analysis.passes + 1):
            for v in form.analysis.reduces(level):
                r = code._reduction(v, 1, 1, "")
                if r.arg:
                    kind = r.key_dtype(code._source(v)).register
                    out += [f"__local {kind} shared_{v}_{i}[{form.local_size}];" for i in range(2)]
                else:
                    out.append(f"__local {r.dtype.register} shared_{v}_0[{form.local_size}];")
    return out
