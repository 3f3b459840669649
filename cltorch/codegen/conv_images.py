"""Lowers the two convolutions that give images: forward and the gradient of the input, as one problem.

Floor 1b, part of `conv`, where the forms are described.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod

from ..shapes import Layout, layout
from ..target import Target
from .conv_finish import SPACE, Finish, epilogue_layouts, index_type, loader, stores_twice
from .conv_gemm import gemm_launch, plain_launch
from .conv_planes import choose_planes, lower_planes
from .conv_problem import ConvConfig, Problem, problem, shared_cycles
from .conv_shapes import Pair, accepts, accepts_weight, ceil_div, every_row, long_row, merged_rows, require, round_up
from .gemm import lower_matmul
from .program import Epilogue
from .source import Argument, Input, KernelSource, Launch, Local, Lowered, Value, render


@dataclass(frozen=True)
class _Geometry:
    """Sizes that follow from a problem and a config of the channels form."""

    phase_rows: int
    phase_columns: int
    slab_rows: int
    pitch: int
    sums_pitch: int
    sums_panel: int  # vectors
    items: int
    items_per_part: int
    local: tuple[int, int, int]  # bytes of slab, packed weights and sums


def _geometry(p: Problem, c: ConvConfig, size: int) -> _Geometry:
    n, _, h, w = p.out_shape
    rows = round_up(ceil_div(min(c.rows, h), p.y.out_step), c.tile_y)
    columns = round_up(ceil_div(w, p.x.out_step), c.tile_x)
    slab_rows = (rows - 1) * p.y.in_step + p.y.reach + 1
    pitch = (columns - 1) * p.x.in_step + p.x.reach + 1
    sums_pitch = columns * p.x.out_step
    sums_panel = rows * p.y.out_step * sums_pitch * c.vectors
    items = n * ceil_div(h, c.rows)
    per_part = ceil_div(items, c.parts)
    held = per_part * c.panels if c.chunk < p.q_count else 1
    vector = c.width * size
    local = (
        0 if c.direct else (c.chunk * slab_rows * pitch + c.width) * size,
        (c.panels * c.chunk * prod(p.taps) + c.width) * c.vectors * vector,
        (held * sums_panel + c.width * c.vectors) * vector,
    )
    return _Geometry(rows, columns, slab_rows, pitch, sums_pitch, sums_panel, items, per_part, local)


def register_tile(width: int, target: Target) -> int:
    """Accumulators a register tile may have: 24 of 32 registers with 512-bit vectors, 12 of 16 otherwise."""
    return 24 if target.vector_width >= 16 else 12


@lru_cache(maxsize=4096)
def choose_channels(p: Problem, target: Target) -> ConvConfig | None:
    """The channels form for a problem, or None if local memory is too small for it.

    Two vectors of output channels where there are that many. The tile of pixels is the one that wastes fewest
    cycles at the edges and on loads (a core multiplies two vectors and loads two per cycle); rows per item, panels that
    share a slab, parts and the chunk are those of the least `_cycles`.
    """
    size = 8 if p.given.dtype.register == "double" else 4
    width = max(2, min(16, target.vector_width * 4 // size))
    n, _, h, w = p.out_shape
    vectors = 2 if p.m_count > width else 1
    columns = ceil_div(w, p.x.out_step)
    space = min(target.local_memory - 512, SPACE)
    step = p.y.out_step
    rows_options = {min(h, round_up(r, step)) for r in (h, 64, 32, 16, 8, 4, 2, 1)}
    wanted = [r for r in rows_options if r * w <= 512] or [min(rows_options)]
    blocks = ceil_div(p.m_count, vectors * width)
    best, least = None, 1e30
    for rows in sorted(wanted, reverse=True):
        tile_y, tile_x = _best_tile(ceil_div(rows, step), columns, vectors, register_tile(width, target))
        items = n * ceil_div(h, rows)
        for panels in sorted({ceil_div(blocks, k) for k in (1, 2, 4, 8, 16, blocks)}):
            if panels > 8:
                continue
            for parts in sorted({min(items, k) for k in (1, 2, 4, 8, 16, 32, 64, items)}):
                first = ConvConfig("channels", width, vectors, tile_y, tile_x, rows, parts=parts, panels=panels)
                first = replace(first, direct=panels == 1 and p.q_count <= 32 and _may_be_direct(p, first))
                config = _with_chunk(p, first, size, space)
                if config is None:
                    continue
                cycles = _cycles(p, config, size, target)
                if cycles < least:
                    best, least = config, cycles
    return best


def _with_chunk(p: Problem, c: ConvConfig, size: int, space: int) -> ConvConfig | None:
    """`c` with all reduction channels at once or, where local memory is too small for that, as many as fit."""
    chunk = p.q_count
    while chunk:
        config = replace(c, chunk=chunk)
        if sum(_geometry(p, config, size).local) <= space:
            return config
        chunk = ceil_div(chunk, 2) if chunk > 1 else 0
    return None


def _cycles(p: Problem, c: ConvConfig, size: int, target: Target) -> float:
    """An estimate of the time a channels config takes, in cycles: multiply-adds, filling the slab, packing weights,
    keeping sums between chunks and storing them, and cores that wait for the last work-group.
    """
    g = _geometry(p, c, size)
    n, _, h, w = p.out_shape
    taps = prod(p.taps)
    tiles = ceil_div(g.phase_rows, c.tile_y) * ceil_div(g.phase_columns, c.tile_x)
    pixels = c.tile_y * c.tile_x
    chunks = ceil_div(p.q_count, c.chunk)
    products = max(pixels * c.vectors / 2, 4.0) * 1.2
    tile = tiles * (
        p.q_count * taps * products + p.y.out_step * p.x.out_step * chunks * (10 + pixels * c.vectors * 1.5)
    )
    slab = 0.0 if c.direct else p.q_count * g.slab_rows * (5 + 2.5 * ceil_div(g.pitch, c.width))
    blocks = ceil_div(p.m_count, c.vectors * c.width)
    stored = c.rows * w * c.vectors * (8 if p.m_count >= c.vectors * c.width else 4)
    panels = min(c.panels, blocks)
    group = g.items_per_part * (slab + panels * (tile + stored))
    group += panels * c.vectors * c.width * p.q_count * taps * 0.75 + 3000
    groups = p.groups * ceil_div(blocks, c.panels) * ceil_div(g.items, g.items_per_part)
    return shared_cycles(groups, group, target)


def _best_tile(rows: int, columns: int, vectors: int, registers: int) -> Pair:
    best, best_cost = (1, 1), 1e30
    for y in range(1, 5):
        for x in range(1, 17):
            pixels = y * x
            if pixels * vectors > registers:
                break
            tiles = ceil_div(rows, y) * ceil_div(columns, x)
            cycles = max(pixels * vectors / 2, (pixels + vectors) / 2 + 1, 4.0)
            cost = tiles * (cycles + 0.25)
            if cost < best_cost:
                best, best_cost = (y, x), cost
    return best


def _may_be_direct(p: Problem, c: ConvConfig) -> bool:
    """True where nothing is padded and tiles cover the rows exactly, so that nothing outside the input is read."""
    _, _, h, w = p.out_shape
    if p.op != "conv" or p.y.base < 0 or p.x.base < 0 or p.given.dtype.storage != p.given.dtype.register:
        return False
    return w % c.tile_x == 0 and h % c.rows == 0 and c.rows % c.tile_y == 0


def _lower_channels(p: Problem, c: ConvConfig, epilogue: Epilogue) -> Lowered:
    dtype = p.given.dtype
    size = 8 if dtype.register == "double" else 4
    g = _geometry(p, c, size)
    n, m_all, h, w = p.out_shape
    index = index_type(p.given, p.weight, *epilogue_layouts(epilogue))
    finish = Finish(epilogue, index)
    taps = prod(p.taps)
    run = p.w_q == taps
    body = render(
        "conv_channels",
        T=dtype.register,
        IT=dtype.storage,
        WT=p.weight.dtype.storage,
        W=c.width,
        NK=c.vectors,
        TY=c.tile_y,
        TX=c.tile_x,
        SIY=p.y.in_step,
        SIX=p.x.in_step,
        SOY=p.y.out_step,
        SOX=p.x.out_step,
        RS=taps,
        S=p.taps[1],
        phases=[(by, bx, rows, columns) for by, rows in p.y.phases for bx, columns in p.x.phases],
        RUN=run,
        UNIT=taps == 1 and p.w_m == 1 and not run,
        DIRECT=c.direct,
        INDEX=index,
        iload=loader(dtype),
        wload=loader(p.weight.dtype),
        store=finish.stores((c.width, 4, 1)),
        epilogue_parameters=finish.text(),
    )
    blocks = ceil_div(p.m_count, c.panels * c.vectors * c.width)
    given, weight = p.given, p.weight
    flat = finish.flat() and g.sums_pitch == w
    numbers = [
        ("int", blocks),
        ("int", p.m_count),
        ("int", p.q_count),
        (index, given.offset),
        (index, given.stride[0]),
        (index, given.stride[1]),
        ("int", given.stride[2]),
        ("int", given.shape[2]),
        ("int", given.shape[3]),
        ("int", h),
        ("int", w),
        (index, weight.offset),
        (index, p.w_g),
        (index, p.w_m),
        (index, p.w_q),
        (index, weight.extent()[1] + 1),
        ("int", g.items),
        ("int", g.items_per_part),
        ("int", ceil_div(h, c.rows)),
        ("int", c.rows),
        ("int", given.stride[2] if c.direct else g.pitch),
        ("int", g.slab_rows),
        ("int", c.chunk),
        ("int", c.panels),
        ("int", g.sums_pitch),
        ("int", g.sums_panel if c.chunk < p.q_count else 0),
        ("int", g.sums_panel * c.panels if c.chunk < p.q_count else 0),
        ("int", p.y.base),
        ("int", p.x.base),
        ("int", int(flat)),
        ("int", blocks * p.groups),
    ]
    source = KernelSource(p.op, body, (*finish.includes, "conv"))
    args = (
        Input(0),
        Input(1),
        *finish.args,
        *(Local(max(nbytes, 64)) for nbytes in g.local),
        *(Value(t, v) for t, v in numbers),
    )
    return Lowered(
        (
            Launch(
                source, args, (blocks * p.groups * ceil_div(g.items, g.items_per_part),), p.flops, _traffic(p, epilogue)
            ),
        )
    )


@lru_cache(maxsize=4096)
def choose_pixels(p: Problem, target: Target, overlap: bool) -> ConvConfig | None:
    """The pixels form, or None where it does not apply (strides) or local memory is too small.

    `overlap` says that elements may be stored twice: no store of the epilogue shares memory with an input of
    it. The tile is the one with
    fewest cycles, counting twice the loads that cross cache lines; parts give each core four work-groups if
    there are so many items.
    """
    if p.y.in_step * p.x.in_step * p.y.out_step * p.x.out_step != 1:
        return None
    size = 8 if p.given.dtype.register == "double" else 4
    width = max(2, min(16, target.vector_width * 4 // size))
    n, _, h, w = p.out_shape
    shifted = overlap and w >= width
    registers = register_tile(width, target)
    padded = (
        p.y.base < 0
        or p.x.base < 0
        or p.y.base + h + p.y.reach > p.given.shape[2]
        or p.x.base + w + p.x.reach > p.given.shape[3]
    )
    direct = shifted and not padded and p.given.dtype.storage == p.given.dtype.register
    most = min(p.m_count, 8)
    blocks = ceil_div(p.m_count, most)
    channels = ceil_div(p.m_count, blocks)
    wanted = ceil_div(4 * target.compute_units, p.groups * blocks * n)
    rows = max(min(h, 4), ceil_div(h, max(1, wanted)))
    space = min(target.local_memory - 512, SPACE)
    while True:
        best, best_cost = None, 1e30
        tail = h % rows or rows
        for y in range(1, min(8, rows, tail) + 1 if overlap else 2):
            for v in (1, 2, 3, 4):
                if channels * y * v > registers:
                    continue
                cycles = max(channels * y * v / 2, (2 * y * v + channels) / 2, 4.0) + 0.5
                cost = cycles * ceil_div(rows, y) * ceil_div(w, v * width)
                if cost < best_cost:
                    best, best_cost = (y, v), cost
        if best is None:
            return None
        items = n * ceil_div(h, rows)
        config = ConvConfig(
            "pixels",
            width,
            best[1],
            best[0],
            channels,
            rows,
            p.q_count,
            min(items, ceil_div(16 * target.compute_units, blocks)),
            direct,
        )
        if sum(_pixels_local(p, config, size)[2:]) <= space:
            return config
        if rows == 1:
            return None
        rows = ceil_div(rows, 2)


def _pixels_local(p: Problem, c: ConvConfig, size: int) -> tuple[int, int, int, int]:
    """Slab rows, pitch, and bytes of the slab and of a finished tile."""
    slab_rows = min(c.rows, p.out_shape[2]) + p.y.reach
    pitch = round_up(p.out_shape[3], c.vectors * c.width) + p.x.reach
    slab = 0 if c.direct else (p.q_count * slab_rows * pitch + c.width) * size
    return slab_rows, pitch, slab, c.tile_x * c.tile_y * c.vectors * c.width * size


def _lower_pixels(p: Problem, c: ConvConfig, epilogue: Epilogue) -> Lowered:
    dtype = p.given.dtype
    size = 8 if dtype.register == "double" else 4
    slab_rows, pitch, *local = _pixels_local(p, c, size)
    n, _, h, w = p.out_shape
    given, weight = p.given, p.weight
    index = index_type(given, weight, *epilogue_layouts(epilogue))
    finish = Finish(epilogue, index)
    overlap = w >= c.width and stores_twice(epilogue)
    if (h % c.rows or c.rows) < c.tile_y:
        raise ValueError(
            f"{p.op}: config: got {c.tile_y} rows per tile, wanted at most the {h % c.rows} of an image's last item"
        )
    body = render(
        "conv_pixels",
        T=dtype.register,
        IT=dtype.storage,
        WT=weight.dtype.storage,
        W=c.width,
        NV=c.vectors,
        TY=c.tile_y,
        MR=c.tile_x,
        S=p.taps[1],
        tap_rows=p.y.phases[0][1],
        tap_columns=p.x.phases[0][1],
        DIRECT=c.direct,
        OVERLAP=overlap,
        INDEX=index,
        iload=loader(dtype),
        wload=loader(weight.dtype),
        store=finish.stores((c.width, 4, 1)),
        epilogue_parameters=finish.text(),
    )
    blocks = ceil_div(p.m_count, c.tile_x)
    items = n * ceil_div(h, c.rows)
    per_part = ceil_div(items, c.parts)
    numbers = [
        ("int", blocks),
        ("int", p.m_count),
        ("int", p.q_count),
        (index, given.offset),
        (index, given.stride[0]),
        (index, given.stride[1]),
        ("int", given.stride[2]),
        ("int", given.shape[2]),
        ("int", given.shape[3]),
        ("int", h),
        ("int", w),
        (index, weight.offset),
        (index, p.w_g),
        (index, p.w_m),
        (index, p.w_q),
        ("int", items),
        ("int", per_part),
        ("int", ceil_div(h, c.rows)),
        ("int", c.rows),
        ("int", given.stride[2] if c.direct else pitch),
        ("int", slab_rows),
        ("int", p.y.base),
        ("int", p.x.base),
        ("int", blocks * p.groups),
    ]
    source = KernelSource(p.op, body, finish.includes)
    args = (
        Input(0),
        Input(1),
        *finish.args,
        *(Local(max(nbytes, 64)) for nbytes in local),
        *(Value(t, v) for t, v in numbers),
    )
    return Lowered(
        (Launch(source, args, (blocks * p.groups * ceil_div(items, per_part),), p.flops, _traffic(p, epilogue)),)
    )


def _traffic(p: Problem, epilogue: Epilogue) -> float:
    return float(p.given.nbytes + p.weight.nbytes + sum(some.nbytes for some in epilogue_layouts(epilogue)))


def _lower_gemm(p: Problem, epilogue: Epilogue) -> Lowered:
    """One launch per phase: the residue classes of output positions modulo the stride, of which a forward pass
    has one.
    """
    n, _, h, w = p.out_shape
    index = index_type(p.given, p.weight, *epilogue_layouts(epilogue))
    launches = []
    for by, (r0, dr, nr, a0, da) in p.y.phases:
        for bx, (s0, ds, ns, b0, db) in p.x.phases:
            rows, length = ceil_div(h - by, p.y.out_step), ceil_div(w - bx, p.x.out_step)
            if rows <= 0 or length <= 0:
                continue
            launches.append(
                gemm_launch(
                    p.op,
                    False,
                    p.weight,
                    (p.w_m, p.w_q, 0, p.w_g),
                    p.given,
                    (p.groups, p.m_count, p.q_count),
                    n * rows * length,
                    p.q_count * nr * ns,
                    1,
                    (rows, length, p.y.in_step, p.x.in_step),
                    (r0, dr, nr, a0 + p.y.base, da),
                    (s0, ds, ns, b0 + p.x.base, db),
                    p.taps[1],
                    (p.y.out_step, p.x.out_step, by, bx),
                    (1, 0),
                    Finish(epilogue, index),
                    p.flops / len(p.y.phases) / len(p.x.phases),
                    index,
                )
            )
    return Lowered(tuple(launches))


def _lower_plain(p: Problem, target: Target, epilogue: Epilogue) -> Lowered:
    direction = "forward" if p.op == "conv" else "input"
    return plain_launch(
        p.op,
        direction,
        p.given,
        p.weight,
        (p.w_m, p.w_q, p.w_g),
        p.out_shape,
        (p.out_shape[0], p.q_count, p.m_count),
        p.taps,
        p.attrs,
        target,
        epilogue,
        (0, 1),
        p.flops,
    )


def choose(p: Problem, target: Target, overlap: bool = True) -> ConvConfig:
    """The form and its parameters for a forward convolution or the gradient of its input.

    On CPUs vectors run along whichever of output channels and pixels of a row fills more lanes, at equal
    filling along channels; groups of few channels take whole planes.
    """
    if p.given.dtype.register not in ("float", "double"):
        return ConvConfig("plain")  # integers: nobody's hot loop
    if target.kind != "cpu" or target.vector_width <= 1:
        return ConvConfig("gemm" if target.max_work_group >= 256 else "plain")
    width = target.vector_width if p.given.dtype.register == "float" else max(2, target.vector_width // 2)
    if p.groups > 1 and 4 * p.m_count <= 3 * width and p.q_count <= 2 * width:
        found = choose_planes(p, target)
        if found is not None:
            return found
    w = p.out_shape[3]
    columns = 1.0 if w >= width and overlap else w / round_up(w, width)
    if p.m_count <= 12 and 0.9 * columns * w / max(w, width) > p.m_count / round_up(p.m_count, width):
        found = choose_pixels(p, target, overlap) or choose_planes(p, target)
        if found is not None:
            return found
    return choose_channels(p, target) or ConvConfig("plain")


def _as_long_rows(given: Layout, epilogue: Epilogue) -> tuple[Layout, Epilogue] | None:
    """A 1x1 convolution of stride 1 sees no neighbours: input and epilogue with rows of up to 320 pixels, as many as
    divide the image, or None where rows do not follow each other.
    """
    h, w = given.shape[2:]
    row = long_row(given)
    if row <= w:
        return None
    layouts = [merged_rows(some, row) for some in (given, *epilogue_layouts(epilogue))]
    known = [some for some in layouts if some is not None]
    if len(known) < len(layouts):
        return None
    count = len(epilogue.inputs)
    stores = tuple((value, out) for (value, _), out in zip(epilogue.stores, known[1 + count :]))
    shape = (*epilogue.shape[:2], h * w // row, row)
    return known[0], replace(epilogue, shape=shape, inputs=tuple(known[1 : 1 + count]), stores=stores)


def _lower_product(given: Layout, weight: Layout, op: str, target: Target, epilogue: Epilogue) -> Lowered | None:
    """A 1x1 convolution of stride 1 as the weight times each image, or None where that is not faster or pixels do not
    follow each other.

    On 16 vector registers the GEMM family's tiles keep 12 accumulators busy whatever the row length is. Few channels
    fill neither its tiles nor its reduction; the forms here lay vectors along pixels for those.
    """
    if target.kind != "cpu" or not 1 < target.vector_width < 16 or min(weight.shape[:2]) < 8:
        return None
    if given.dtype is not weight.dtype or given.dtype.register not in ("float", "double"):
        return None
    pixels = given.shape[2] * given.shape[3]
    images = [merged_rows(some, pixels) for some in (given, *epilogue_layouts(epilogue))]
    matrices = [
        layout(some.dtype, (*some.shape[:2], pixels), (*some.stride[:2], some.stride[3]), some.offset)
        for some in images
        if some is not None
    ]
    if len(matrices) < len(images):
        return None
    rows, depth = (0, 1) if op == "conv" else (1, 0)
    count, m, _ = shape = (*epilogue.shape[:2], pixels)
    steps = (0, weight.stride[rows], weight.stride[depth])
    shared = layout(weight.dtype, (count, m, weight.shape[depth]), steps, weight.offset)
    first = 1 + len(epilogue.inputs)
    stores = tuple((value, out) for (value, _), out in zip(epilogue.stores, matrices[first:]))
    product = replace(epilogue, shape=shape, inputs=tuple(matrices[1:first]), stores=stores)
    lowered = lower_matmul((shared, matrices[0]), (layout(given.dtype, shape),), (), target, product)
    # the product's first matrix is the convolution's second input
    turned: dict[Argument, Argument] = {Input(0): Input(1), Input(1): Input(0)}
    launches = [replace(some, args=tuple(turned.get(arg, arg) for arg in some.args)) for some in lowered.launches]
    return replace(lowered, launches=tuple(launches))


def _lower(
    op: str,
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None,
    config: ConvConfig | None,
) -> Lowered:
    given, weight = inputs[0], inputs[1]
    require(op, "input" if op == "conv" else "grad_output", given, accepts(given), "unit stride in the last dim")
    require(op, "weight", weight, accepts_weight(weight), "contiguous last two dims")
    epilogue = epilogue or Epilogue.identity(outputs[0])
    if 0 in epilogue.shape:
        return Lowered(())
    if not given.numel or not weight.numel:
        config = ConvConfig("plain")
    elif attrs[:2] == ((1, 1), (0, 0)) and weight.shape[2:] == (1, 1) and config is None:
        product = _lower_product(given, weight, op, target, epilogue) if attrs[3] == 1 else None
        if product is not None:
            return product
        given, epilogue = _as_long_rows(given, epilogue) or (given, epilogue)
        attrs = (*attrs[:4], attrs[4] and given.shape[2:])
    elif op == "conv" and attrs[1][0] == 0 and weight.shape[2] == 1 and attrs[0][0] > 1:
        given, attrs = every_row(given, attrs[0][0]), ((1, attrs[0][1]), *attrs[1:])
    p = problem(op, given, weight, epilogue.shape, attrs)
    config = config or choose(p, target, stores_twice(epilogue))
    if config.form == "channels":
        return _lower_channels(p, config, epilogue)
    if config.form == "pixels":
        return _lower_pixels(p, config, epilogue)
    if config.form == "planes":
        return lower_planes(p, config, epilogue)
    if config.form == "gemm":
        return _lower_gemm(p, epilogue)
    return _lower_plain(p, target, epilogue)


def lower_conv(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
    config: ConvConfig | None = None,
) -> Lowered:
    """y (N, K, Ho, Wo) of x (N, C, H, W) and w (K, C / groups, R, S), then the epilogue."""
    return _lower("conv", inputs, outputs, attrs, target, epilogue, config)


def lower_conv_input(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
    config: ConvConfig | None = None,
) -> Lowered:
    """dx (N, C, H, W) of dy (N, K, Ho, Wo) and w (K, C / groups, R, S), then the epilogue."""
    return _lower("conv_input", inputs, outputs, attrs, target, epilogue, config)
