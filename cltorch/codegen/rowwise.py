"""Lowers row programs: sums, norms, softmax, argmax, batch statistics; any reductions with what comes before and after
them.

Floor 1b. Most programs are one launch (`rowwise_launch`). Pure reductions with few long rows become two: parts of rows
into scratch memory, then a second row program over the parts; programs of several passes over such rows become a
program per level. The order of additions depends on sizes only: results are deterministic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from ..dtypes import DType, float32, int64
from ..shapes import Layout, layout
from ..target import Target
from .expression import needed_values
from .operands import INDEX
from .pointwise import lower_pointwise, round_up
from .program import Body, Instr, Reduce, RowProgram
from .rowwise_analysis import ARG, Analysis, Walk, analyse, is_full, lane_units, operands_of, shape_of_code, walk_of
from .rowwise_launch import exceeds_limit, launch
from .rowwise_reduction import accumulator_dtype
from .rowwise_unit import partial_dtypes, partials_of
from .source import Argument, Input, Launch, Lowered, Output, Scratch

_PART = 16384  # elements at least per part of a row


def lower_rowwise(program: RowProgram, target: Target) -> Lowered:
    """The launches for `program`: none without rows, more where rows are few and long, else one.

    Raises ValueError if no dim is reduced and the program has a Reduce over nothing to reduce: callers give `dims` of
    at least one dim.
    """
    rows = prod(n for d, n in enumerate(program.shape) if d not in program.dims)
    if not rows or not program.stores:
        return Lowered(())
    analysis = analyse(program)
    walk = walk_of(analysis, target)
    if _stages_pay(analysis, walk, target):
        return _in_stages(analysis, target)
    if _splits_pay(analysis, walk, target):
        return _split(analysis, walk, target)
    return Lowered((launch(analysis, walk, target, 1, None),))


def _splits_pay(analysis: Analysis, walk: Walk, target: Target) -> bool:
    """True for a pure reduction of so few long rows that the device would idle, or too long for its loops."""
    if analysis.passes != 1 or analysis.full_stores:
        return False
    if exceeds_limit(analysis, walk, target):
        return True
    if prod(walk.reduced) * prod(walk.kept) < 4 * _PART or max(walk.reduced) < 8:
        return False
    width, copies = shape_of_code(analysis, walk, target)
    units = lane_units(walk, width, copies)
    wanted = 4 * target.compute_units if target.kind == "cpu" else 2 * target.compute_units
    return units < wanted and prod(walk.reduced) >= 2 * 1024


def _stages_pay(analysis: Analysis, walk: Walk, target: Target) -> bool:
    """True for a program of several passes over rows so few and long that most cores would idle, or too long for the
    device's loops."""
    if not any(isinstance(x, Reduce) for x in analysis.program.instrs) or not (
        analysis.passes > 1 or analysis.full_stores
    ):
        return False
    if exceeds_limit(analysis, walk, target):
        return True
    units = lane_units(walk, *shape_of_code(analysis, walk, target))
    return 2 * units <= target.compute_units and prod(walk.shape) >= 16 * _PART


def _in_stages(analysis: Analysis, target: Target) -> Lowered:
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
        return int64 if reduce.kind in ARG else accumulator_dtype(reduce)

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


def _split(analysis: Analysis, walk: Walk, target: Target) -> Lowered:
    """Parts of rows to scratch, then the parts reduced by a second program."""
    program, first = analysis.program, analysis.first
    width, copies = shape_of_code(analysis, walk, target)
    units = lane_units(walk, width, copies)
    split_dim = max(range(len(walk.reduced)), key=lambda d: (walk.reduced[d], d))
    length = walk.reduced[split_dim]
    elements = prod(walk.shape) // units  # per unit
    parts = max(1, min(-(-8 * target.compute_units // units), elements // (_PART // 4), length))
    if target.loop_limit:
        parts = min(length, max(parts, -(-4 * prod(walk.reduced) // target.loop_limit)))
    align = 64 if walk.horizontal and split_dim == len(walk.reduced) - 1 else 1
    part = round_up(-(-length // parts), align)
    parts = -(-length // part)
    first_launch = launch(analysis, walk, target, parts, (split_dim, part))
    rows = prod(walk.kept)
    # The second program's values: the partial results, then row inputs, scalars and row instructions of the first.

    kept_dims = tuple(d for d in range(len(program.shape)) if d not in program.dims)
    scratch_stride = _scratch_strides(program, walk, analysis, kept_dims)
    row_inputs = [i for i in range(len(program.inputs)) if i in analysis.needed and not analysis.full[i]]
    shape = tuple(program.shape[d] for d in kept_dims) + (parts,)
    dtypes_kept = partial_dtypes(analysis, walk)
    partial_layouts = [layout(dtype, shape, (*scratch_stride, rows)) for dtype in dtypes_kept]
    inputs = partial_layouts + [_row_layout(program.inputs[i], kept_dims, shape) for i in row_inputs]
    partial = {v: k for k, (v, part_of) in enumerate(partials_of(analysis)) if part_of != "at"}
    renamed = {i: len(partial_layouts) + k for k, i in enumerate(row_inputs)}
    renamed.update({len(program.inputs) + i: len(inputs) + i for i in range(len(program.scalars))})
    instrs: list[Instr | Reduce] = []
    start = len(inputs) + len(program.scalars)
    for v in sorted(analysis.needed):
        if v < first or analysis.full[v]:
            continue
        x = program.instrs[v - first]
        if isinstance(x, Reduce) and x.kind in ARG:  # the first position among the parts with the greatest key
            key, dtype = partial[v], dtypes_kept[partial[v]]
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
    after = analyse(second)
    follow = launch(after, walk_of(after, target), target, 1, None)

    def bound(argument: Argument) -> Argument:
        if not isinstance(argument, Input):
            return argument
        return (
            Scratch(argument.index)
            if argument.index < len(partial_layouts)
            else Input(row_inputs[argument.index - len(partial_layouts)])
        )

    follow = replace(follow, args=tuple(bound(a) for a in follow.args))
    return Lowered((first_launch, follow), tuple(x.dtype.itemsize * rows * parts for x in partial_layouts))


def _scratch_strides(program: RowProgram, walk: Walk, analysis: Analysis, kept_dims: Sequence[int]) -> tuple[int, ...]:
    """Strides in scratch of the program's kept dims: rows lie there in the order in which `walk` numbers them."""
    operands = operands_of(analysis)
    guides = [o for o in operands if o.role != INDEX and is_full(analysis, o)] or [
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
