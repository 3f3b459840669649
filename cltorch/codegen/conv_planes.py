"""Lowers convolutions of few channels per group, all three directions: vectors along whole padded planes.

Floor 1b, part of `conv`, where the forms are described; the templates conv_planes and conv_weight_planes
have the algorithm.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod

from ..shapes import Layout
from ..target import Target
from .conv_finish import SPACE, Finish, epilogue_layouts, index_type, loader, reduce_launch
from .conv_problem import Axis, ConvConfig, Problem, WeightConfig, WeightProblem, shared_cycles
from .conv_shapes import Pair, ceil_div, round_up
from .program import Epilogue
from .source import Argument, Input, KernelSource, Launch, Local, Lowered, Scratch, Value, render

MOST_TAPS = 64  # taps are unrolled: beyond this, texts take too long to compile
_PLANE = 2048  # elements that an item's planes should have together: they stay in the first-level cache

Tap = tuple[int, int, int, int]  # number, plane of the slab, row and column in it


@dataclass(frozen=True)
class _Planes:
    """The places of one item's rows in local memory, in elements.

    Attributes:
        slab_rows, columns: rows and columns of the input that an image's outputs see, per plane and in all planes.
        image_rows: rows from one image to the next.
        pitch: elements from one row to the next.
        plane: elements from one plane of the slab to the next.
        length: elements of a result, up to the end of its last vector.
    """

    slab_rows: int
    columns: int
    image_rows: int
    pitch: int
    plane: int
    length: int


def _shared(axis: Axis, needed: int, size: int) -> int:
    """Zeros that the end of a row may share with the start of the next one: those outside the input, in every plane."""
    most = axis.reach // axis.in_step
    for phase in range(axis.in_step):
        at = [axis.base + phase + axis.in_step * j for j in range(needed)]
        most = min(most, sum(i < 0 for i in at), sum(i >= size for i in at))
    return most


def _planes(y: Axis, x: Axis, given: Layout, out: Pair, rows: int, images: int, step: int) -> _Planes:
    h, w = out
    some_rows, some_columns = ceil_div(min(rows, h), y.out_step), ceil_div(w, x.out_step)
    reach = y.reach // y.in_step, x.reach // x.in_step
    slab_rows, needed = some_rows + reach[0], some_columns + reach[1]
    pitch = needed - _shared(x, needed, given.shape[3])
    image_rows = slab_rows - (_shared(y, slab_rows, given.shape[2]) if rows >= h else 0)
    length = round_up(((images - 1) * image_rows + some_rows - 1) * pitch + some_columns, step)
    filled = ((images - 1) * image_rows + slab_rows) * pitch + reach[1]
    plane = round_up(max(filled, length + reach[0] * pitch + reach[1]), 16)
    return _Planes(slab_rows, needed * x.in_step, image_rows, pitch, plane, length)


def _taps(rows: tuple[int, ...], columns: tuple[int, ...], y: Axis, x: Axis, s: int) -> list[Tap]:
    r0, dr, nr, a0, da = rows
    s0, ds, ns, b0, db = columns
    found = []
    for i in range(nr):
        for j in range(ns):
            a, b = a0 + i * da, b0 + j * db
            place = a % y.in_step * x.in_step + b % x.in_step
            found.append(((r0 + i * dr) * s + s0 + j * ds, place, a // y.in_step, b // x.in_step))
    return found


def _blocks(axis_y: Axis, w: int, h: int, n: int, per_element: int) -> tuple[int, int]:
    """Rows and images of an item: whole images where several fit, else some rows of one."""
    most = max(256, min(_PLANE, 3 * _PLANE // per_element))
    if h * w <= most:
        return h, max(1, min(n, most // (h * w)))
    return min(h, round_up(max(1, most // w), axis_y.out_step)), 1


def _panels(blocks: int, target: Target) -> int:
    """Blocks of channels per work-group: as many as leave each core 16 work-groups, which cost a microsecond each."""
    return 1 if target.loop_limit else ceil_div(blocks, 16 * target.compute_units)


def _smaller(rows: int, images: int, step: int) -> tuple[int, int] | None:
    if images > 1:
        return rows, images // 2
    return (round_up(ceil_div(rows, 2), step), 1) if rows > step else None


@lru_cache(maxsize=4096)
def choose_planes(p: Problem, target: Target) -> ConvConfig | None:
    """The planes form for a problem, or None where it does not apply: too many taps, too little local memory.

    As many accumulators as hide the latency of a multiply-add, and parts enough for eight work-groups per core.
    """
    if prod(p.taps) > MOST_TAPS:
        return None
    size = 8 if p.given.dtype.register == "double" else 4
    width = max(2, min(16, target.vector_width * 4 // size))
    n, _, h, w = p.out_shape
    registers = 20 if target.vector_width >= 16 else 10
    channels = ceil_div(p.m_count, ceil_div(p.m_count, 8))
    vectors = max(1, min(4, registers // channels))
    phases = p.y.out_step * p.x.out_step
    per_element = p.q_count * p.y.in_step * p.x.in_step + channels * phases
    found: tuple[int, int] | None = _blocks(p.y, w, h, n, per_element)
    blocks = p.groups * ceil_div(p.m_count, channels)
    space = min(target.local_memory - 512, SPACE)
    while found:
        rows, images = found
        items = ceil_div(n, images) * ceil_div(h, rows)
        parts = items if target.loop_limit else min(items, ceil_div(8 * target.compute_units, blocks))
        panels = _panels(blocks, target)
        config = ConvConfig("planes", width, vectors, 1, channels, rows, images=images, parts=parts, panels=panels)
        if sum(_local(p, config, size)) <= space:
            return config
        found = _smaller(rows, images, p.y.out_step)
    return None


def _geometry(p: Problem, c: ConvConfig) -> _Planes:
    return _planes(p.y, p.x, p.given, (p.out_shape[2], p.out_shape[3]), c.rows, c.images, c.vectors * c.width)


def _local(p: Problem, c: ConvConfig, size: int) -> tuple[int, int, int]:
    """Bytes of slab, results and rows without padding."""
    g = _geometry(p, c)
    h, w = p.out_shape[2:]
    return (
        p.q_count * p.y.in_step * p.x.in_step * g.plane * size,
        (c.tile_x * p.y.out_step * p.x.out_step * g.length + c.width) * size,
        (min(c.rows, h) * w + c.width) * size,
    )


def lower_planes(p: Problem, c: ConvConfig, epilogue: Epilogue) -> Lowered:
    dtype = p.given.dtype
    size = 8 if dtype.register == "double" else 4
    g = _geometry(p, c)
    n, _, h, w = p.out_shape
    given, weight = p.given, p.weight
    index = index_type(given, weight, *epilogue_layouts(epilogue))
    finish = Finish(epilogue, index)
    strides = {"SIY": p.y.in_step, "SIX": p.x.in_step, "SOY": p.y.out_step, "SOX": p.x.out_step}
    body = render(
        "conv_planes",
        T=dtype.register,
        IT=dtype.storage,
        WT=weight.dtype.storage,
        W=c.width,
        NV=c.vectors,
        MR=c.tile_x,
        ONE=p.q_count == 1,
        **strides,
        phases=[
            (by, bx, _taps(rows, columns, p.y, p.x, p.taps[1])) for by, rows in p.y.phases for bx, columns in p.x.phases
        ],
        INDEX=index,
        rows=_row_functions(given, [given] if p.x.in_step == 1 else [], c.width, p.y, p.x),
        wload=loader(weight.dtype),
        store=finish.stores((c.width, 4, 1)),
        epilogue_parameters=finish.text(),
    )
    blocks = ceil_div(p.m_count, c.tile_x)
    per_unit, units = c.panels, ceil_div(blocks * p.groups, c.panels)
    items = ceil_div(n, c.images) * ceil_div(h, c.rows)
    per_part = ceil_div(items, c.parts)
    numbers = [
        ("int", blocks),
        ("int", p.m_count),
        ("int", p.q_count),
        *_input_numbers(given, index),
        ("int", n),
        ("int", h),
        ("int", w),
        (index, weight.offset),
        (index, p.w_g),
        (index, p.w_m),
        (index, p.w_q),
        *_item_numbers(items, per_part, h, c.rows, c.images, g),
        ("int", p.y.base),
        ("int", p.x.base),
        ("int", g.columns),
        ("int", int(finish.flat())),
        ("int", blocks * p.groups),
        ("int", units),
        ("int", per_unit),
    ]
    args = (
        Input(0),
        Input(1),
        *finish.args,
        *(Local(nbytes) for nbytes in _local(p, c, size)),
        *(Value(t, v) for t, v in numbers),
    )
    traffic = float(given.nbytes + weight.nbytes + sum(some.nbytes for some in epilogue_layouts(epilogue)))
    source = KernelSource(p.op, body, finish.includes)
    return Lowered((Launch(source, args, (units * ceil_div(items, per_part),), p.flops, traffic),))


def _row_functions(given: Layout, copied: list[Layout], width: int, y: Axis, x: Axis) -> str:
    """The text of the functions that move rows: from images as `given`, parted, and as `copied`, as they are."""
    stored = dict.fromkeys((some.dtype.storage, loader(some.dtype)) for some in copied)
    return render(
        "conv_plane_rows",
        T=given.dtype.register,
        IT=given.dtype.storage,
        W=width,
        SIY=y.in_step,
        SIX=x.in_step,
        SOX=x.out_step,
        iload=loader(given.dtype),
        stored=list(stored),
    )


def _input_numbers(given: Layout, index: str) -> list[tuple[str, int]]:
    return [
        (index, given.offset),
        (index, given.stride[0]),
        (index, given.stride[1]),
        ("int", given.stride[2]),
        ("int", given.shape[2]),
        ("int", given.shape[3]),
    ]


def _item_numbers(items: int, per_part: int, h: int, rows: int, images: int, g: _Planes) -> list[tuple[str, int]]:
    numbers = (
        items,
        per_part,
        ceil_div(h, rows),
        rows,
        images,
        g.plane,
        g.image_rows,
        g.slab_rows,
        g.pitch,
    )
    return [("int", v) for v in (*numbers, g.length)]


def choose_weight_planes(p: WeightProblem, target: Target) -> tuple[WeightConfig, float] | None:
    """The planes form of the gradient of a weight and an estimate of its cycles, or None where it does not apply: too
    many taps, too little local memory.

    Parts give each core four work-groups where the problem is large enough to pay for a second launch.
    """
    if prod(p.taps) > MOST_TAPS:
        return None
    size = 8 if p.grad.dtype.register == "double" else 4
    width = max(2, min(16, target.vector_width * 4 // size))
    registers = 25 if target.vector_width >= 16 else 12
    n, _, h, w = p.grad.shape
    channels = ceil_div(p.k_count, ceil_div(p.k_count, 4))
    most = max(1, registers // channels)
    taps = ceil_div(prod(p.taps), ceil_div(prod(p.taps), most))
    found: tuple[int, int] | None = _blocks(p.axes[0], w, h, n, p.c_count * prod(p.attrs[0]) + channels)
    space = min(target.local_memory - 512, SPACE)
    while found:
        rows, images = found
        items = ceil_div(n, images) * ceil_div(h, rows)
        panels = _panels(p.groups * ceil_div(p.k_count, channels), target)
        config = WeightConfig("planes", width, channels, 1, 1, taps, rows, images, panels=panels)
        if sum(_weight_local(p, config, size)) <= space:
            several = [replace(config, parts=min(parts, items)) for parts in (1, 2, 4, 8, 16)]
            return min(((some, _weight_cycles(p, some, target)) for some in several), key=lambda pair: pair[1])
        found = _smaller(rows, images, 1)
    return None


def _weight_cycles(p: WeightProblem, c: WeightConfig, target: Target) -> float:
    """An estimate of the time of a planes config: copying rows, products, adding lanes, what a second launch adds."""
    g = _weight_geometry(p, c)
    n, _, h, w = p.grad.shape
    rows = min(c.rows, h)
    item = p.c_count * c.images * g.slab_rows * p.attrs[0][0] * (8 + 2.5 * ceil_div(g.columns, c.width))
    item += c.vectors * c.images * rows * (8 + 2.5 * ceil_div(w, c.width))
    tap = max(c.vectors / 2, 0.8) * 1.2 + c.vectors / c.tile_s
    item += p.c_count * (g.length / c.width * prod(p.taps) * tap + 2 * prod(p.taps) * c.vectors)
    items = ceil_div(n, c.images) * ceil_div(h, c.rows)
    sums = p.c_count * prod(p.taps) * c.vectors * 25
    group = ceil_div(items, c.parts) * item + sums + 3000
    groups = ceil_div(p.groups * ceil_div(p.k_count, c.vectors), c.panels) * c.parts
    return shared_cycles(groups, group * c.panels, target) + (c.parts > 1) * p.summing_cycles(c.parts, target)


def _weight_geometry(p: WeightProblem, c: WeightConfig) -> _Planes:
    y, x = p.axes
    return _planes(y, x, p.given, (p.grad.shape[2], p.grad.shape[3]), c.rows, c.images, c.width)


def _weight_local(p: WeightProblem, c: WeightConfig, size: int) -> tuple[int, int, int]:
    """Bytes of slab, padded dy and sums."""
    g = _weight_geometry(p, c)
    return (
        p.c_count * prod(p.attrs[0]) * g.plane * size,
        c.vectors * (g.length + c.width) * size,
        p.c_count * prod(p.taps) * c.vectors * c.width * size,
    )


def lower_weight_planes(p: WeightProblem, c: WeightConfig, target: Target, epilogue: Epilogue) -> Lowered:
    dtype = p.grad.dtype
    size = 8 if dtype.register == "double" else 4
    g = _weight_geometry(p, c)
    y, x = p.axes
    grad, given = p.grad, p.given
    n, _, h, w = grad.shape
    index = index_type(grad, given, *epilogue_layouts(epilogue))
    items = ceil_div(n, c.images) * ceil_div(h, c.rows)
    per_part = ceil_div(items, c.parts)
    parts = ceil_div(items, per_part)
    r, s = p.taps
    if parts > 1:
        store = {1: f"partial[part * (long)elements + (n * (long)c_count + c0) * {r * s} + y * {s} + s] = value;"}
        extra: tuple[Argument, ...] = (Scratch(0), Value("int", p.elements))
        parameters = f", __global {dtype.register} *partial, const int elements"
        includes: tuple[str, ...] = ()
    else:
        finish = Finish(epilogue, index, ("n", "c0", "y", "s"))
        store, extra, parameters = finish.stores((1,)), tuple(finish.args), finish.text()
        includes = finish.includes
    body = render(
        "conv_weight_planes",
        T=dtype.register,
        AT=dtype.storage,
        IT=given.dtype.storage,
        W=c.width,
        MK=c.vectors,
        NT=c.tile_s,
        R=r,
        S=s,
        SIY=y.in_step,
        SIX=x.in_step,
        taps=_taps(y.phases[0][1], x.phases[0][1], y, x, s),
        INDEX=index,
        rows=_row_functions(given, [grad, given] if x.in_step == 1 else [grad], c.width, y, replace(x, out_step=0)),
        store=store,
        epilogue_parameters=parameters,
    )
    k_blocks = ceil_div(p.k_count, c.vectors)
    blocks = p.groups * k_blocks
    units = ceil_div(blocks, c.panels)
    items_numbers = _item_numbers(items, per_part, h, c.rows, c.images, g)
    numbers = [
        ("int", k_blocks),
        ("int", p.k_count),
        ("int", p.c_count),
        (index, grad.offset),
        (index, grad.stride[0]),
        (index, grad.stride[1]),
        ("int", grad.stride[2]),
        *_input_numbers(given, index),
        ("int", n),
        ("int", h),
        ("int", w),
        *items_numbers[:-1],
        ("int", g.length + c.width),
        ("int", y.base),
        ("int", x.base),
        ("int", g.columns),
        ("int", blocks),
        ("int", units),
        ("int", c.panels),
    ]
    args = (
        Input(0),
        Input(1),
        *extra,
        *(Local(nbytes) for nbytes in _weight_local(p, c, size)),
        *(Value(t, v) for t, v in numbers),
    )
    traffic = float(grad.nbytes + given.nbytes + p.elements * size)
    source = KernelSource("conv_weight", body, includes)
    main = Launch(source, args, (units * parts,), p.flops, traffic)
    if parts == 1:
        return Lowered((main,))
    return Lowered((main, reduce_launch(p.elements, parts, dtype, target, epilogue)), (parts * p.elements * size,))
