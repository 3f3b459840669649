"""Lowers 3-D convolutions over NCDHW tensors: forward and the gradient of the input, as one problem.

Floor 1b. `attrs` is `(stride, padding, dilation, groups, extra)` as in conv.py, with triples (z, y, x). Depth taps are
a second reduction beside the input channels: an output plane adds up, for each depth tap that meets a plane of the
input, what a 2-D convolution of that plane gives. Rows and columns are tiled and phased as in 2-D; depth needs numbers
only, so one text serves every depth, depth stride and depth dilation.

Two forms: `channels` (template conv_volume; vectors along output channels, CPU class) and `plain` (conv_volume_plain;
loops with bounds checks, for whatever fits nowhere else). The gradient of the weight is in conv_volume_weight.

Long rows are cut into blocks of columns, so a signal of any length, as the only row of the only plane, fits as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import gcd, prod

from ..dtypes import DType
from ..shapes import Layout, layout
from ..target import Target
from .conv_finish import SPACE, Finish, epilogue_layouts, index_type, loader
from .conv_problem import Axis
from .conv_shapes import ceil_div, require, round_up
from .program import Epilogue
from .source import Argument, Input, KernelSource, Launch, Local, Lowered, Value, render

Triple = tuple[int, int, int]
FIRST_LEVEL = 32 << 10  # what of a first-level cache a step's planes and weights may take
Shapes = tuple[tuple[DType, tuple[int, ...]], ...]

# ---- shapes


def infer_conv3d(layouts: Sequence[Layout], attrs: tuple) -> Shapes:
    """((dtype, (N, K, Do, Ho, Wo)),) of a convolution of x (N, C, D, H, W) with w (K, C / groups, Q, R, S).

    Raises RuntimeError in PyTorch's cases: wrong number of dims or channels, groups that do not divide, a kernel larger
    than the input.
    """
    x, w = layouts[0], layouts[1]
    stride, padding, dilation, groups, _ = attrs
    if len(x.shape) != 5 or len(w.shape) != 5:
        raise RuntimeError(
            f"conv3d: input: got shapes {x.shape} and weight {w.shape}, wanted (N, C, D, H, W) and "
            f"(K, C/groups, kd, kh, kw)"
        )
    if x.dtype is not w.dtype:
        raise RuntimeError(f"conv3d: weight: got {w.dtype.name}, wanted the input's dtype {x.dtype.name}")
    if groups < 1:
        raise RuntimeError(f"conv3d: groups: got {groups}, wanted at least 1")
    if min(stride) < 1 or min(dilation) < 1:
        raise RuntimeError(f"conv3d: stride and dilation: got {stride} and {dilation}, wanted at least 1")
    if min(padding) < 0:
        raise RuntimeError(f"conv3d: negative padding is not supported, got {padding}")
    if w.shape[0] % groups:
        raise RuntimeError(f"conv3d: weight: got {w.shape[0]} output channels, wanted a multiple of groups={groups}")
    if x.shape[1] != w.shape[1] * groups:
        raise RuntimeError(
            f"Given groups={groups}, weight of size {list(w.shape)}, expected input{list(x.shape)} to have "
            f"{w.shape[1] * groups} channels, but got {x.shape[1]} channels instead"
        )
    spans = [apart * (taps - 1) + 1 for taps, apart in zip(w.shape[2:], dilation)]
    padded = [size + 2 * pad for size, pad in zip(x.shape[2:], padding)]
    if min(w.shape[2:]) < 1 or any(size < span for size, span in zip(padded, spans)):
        raise RuntimeError(
            f"Calculated padded input size per channel: ({' x '.join(map(str, padded))}). Kernel size: "
            f"({' x '.join(map(str, spans))}). Kernel size can't be greater than actual input size"
        )
    out = tuple((size - span) // step + 1 for size, span, step in zip(padded, spans, stride))
    return ((x.dtype, (x.shape[0], w.shape[0], *out)),)


def _check_output(op: str, dy: Layout, wanted: Shapes) -> None:
    if (dy.dtype, dy.shape) != wanted[0]:
        raise RuntimeError(
            f"{op}: grad_output: got {dy.dtype.name} {dy.shape}, wanted {wanted[0][0].name} {wanted[0][1]}"
        )


def infer_conv3d_input(layouts: Sequence[Layout], attrs: tuple) -> Shapes:
    """((dtype, (N, C, D, H, W)),) of the gradient of the input; `attrs` ends with its (D, H, W).

    Raises RuntimeError if dy's shape is not what the convolution would give.
    """
    dy, w = layouts[0], layouts[1]
    shape = (dy.shape[0], w.shape[1] * attrs[3], *attrs[4])
    _check_output("conv3d_input", dy, infer_conv3d((layout(dy.dtype, shape), w), attrs))
    return ((dy.dtype, shape),)


def infer_conv3d_weight(layouts: Sequence[Layout], attrs: tuple) -> Shapes:
    """((dtype, (K, C / groups, Q, R, S)),) of the gradient of the weight; `attrs` ends with the kernel's size.

    Raises RuntimeError if dy's shape is not what the convolution would give.
    """
    dy, x = layouts[0], layouts[1]
    shape = (dy.shape[1], x.shape[1] // attrs[3], *attrs[4])
    _check_output("conv3d_weight", dy, infer_conv3d((x, layout(x.dtype, shape)), attrs))
    return ((dy.dtype, shape),)


def accepts_volume(given: Layout) -> bool:
    """True if the lowerings take `given` as x or dy: unit stride in the last dim."""
    return given.numel == 0 or given.shape[-1] == 1 or given.stride[-1] == 1


def accepts_volume_weight(given: Layout) -> bool:
    """True if the lowerings take `given` as w: the taps of one pair of channels lie contiguously."""
    if given.numel == 0:
        return True
    step = 1
    for n, s in zip(reversed(given.shape[2:]), reversed(given.stride[2:])):
        if n != 1 and s != step:
            return False
        step *= n
    return True


# ---- the problem


@dataclass(frozen=True)
class Depth:
    """Output plane z meets input plane (z * step + base + tap * apart) / divisor, where that is whole and inside.

    The taps that meet planes inside are `tap_step` apart, at most `most` of them.
    """

    step: int
    base: int
    apart: int
    divisor: int
    tap_step: int
    most: int

    @staticmethod
    def forward(taps: int, stride: int, padding: int, dilation: int) -> Depth:
        return Depth(stride, -padding, dilation, 1, 1, taps)

    @staticmethod
    def backward(taps: int, stride: int, padding: int, dilation: int) -> Depth:
        tap_step = stride // gcd(stride, dilation)
        return Depth(1, padding, -dilation, stride, tap_step, ceil_div(taps, tap_step))


@dataclass(frozen=True)
class _Problem:
    """A forward convolution or the gradient of its input, seen from the output (M) and the input (Q channels)."""

    op: str
    given: Layout
    weight: Layout
    out_shape: tuple[int, ...]
    groups: int
    m_count: int
    q_count: int
    taps: Triple
    w_m: int
    w_q: int
    w_g: int
    z: Depth
    y: Axis
    x: Axis
    attrs: tuple

    @property
    def flops(self) -> float:
        if self.op == "conv3d":
            return 2.0 * prod(self.out_shape) * self.q_count * prod(self.taps)
        return 2.0 * self.given.numel * self.m_count * prod(self.taps)


def _problem(op: str, given: Layout, weight: Layout, out_shape: tuple[int, ...], attrs: tuple) -> _Problem:
    stride, padding, dilation, groups, _ = attrs
    k, per_group = weight.shape[:2]
    taps: Triple = weight.shape[2:]  # type: ignore[assignment]
    steps = list(zip(taps, stride, padding, dilation))
    w0, w1 = weight.stride[:2]
    if op == "conv3d":
        m, q, w_m, w_q = k // groups, per_group, w0, w1
        z, y, x = Depth.forward(*steps[0]), Axis.forward(*steps[1]), Axis.forward(*steps[2])
    else:
        m, q, w_m, w_q = per_group, k // groups, w1, w0
        z, y, x = Depth.backward(*steps[0]), Axis.backward(*steps[1]), Axis.backward(*steps[2])
    return _Problem(op, given, weight, out_shape, groups, m, q, taps, w_m, w_q, k // groups * w0, z, y, x, attrs)


# ---- the channels form


@dataclass(frozen=True)
class VolumeConfig:
    """The parameters of a kernel of the channels form.

    Attributes:
        form: 'channels' or 'plain'.
        width: lanes of a vector.
        vectors: vectors of output channels in a register tile.
        tile_y, tile_x: rows and columns of output pixels in a register tile.
        rows, columns: output rows and columns per item, multiples of the strides' phases.
        chunk: channels of the reduction whose weights are held in local memory at once, with all their depth taps.
        step: channels whose planes are held in local memory at once.
        parts: pieces into which the items are split, each a work-group per block of channels.
    """

    form: str
    width: int = 8
    vectors: int = 1
    tile_y: int = 1
    tile_x: int = 1
    rows: int = 1
    columns: int = 1
    chunk: int = 1
    step: int = 1
    parts: int = 1


@dataclass(frozen=True)
class _Geometry:
    """Sizes that follow from a problem and a config."""

    slab_rows: int
    pitch: int
    sums_pitch: int
    sums_item: int  # vectors
    blocks_y: int
    blocks_x: int
    items: int
    items_per_part: int
    local: Triple  # bytes of slab, packed weights and sums


def _geometry(p: _Problem, c: VolumeConfig, size: int) -> _Geometry:
    n, _, d, h, w = p.out_shape
    rows = round_up(ceil_div(min(c.rows, h), p.y.out_step), c.tile_y)
    columns = round_up(ceil_div(min(c.columns, w), p.x.out_step), c.tile_x)
    slab_rows = (rows - 1) * p.y.in_step + p.y.reach + 1
    pitch = (columns - 1) * p.x.in_step + p.x.reach + 1
    sums_pitch = columns * p.x.out_step
    sums_item = rows * p.y.out_step * sums_pitch * c.vectors
    blocks_y, blocks_x = ceil_div(h, c.rows), ceil_div(w, c.columns)
    items = n * d * blocks_y * blocks_x
    per_part = ceil_div(items, c.parts)
    held = per_part if c.chunk < p.q_count else 1
    vector = c.width * size
    local = (
        (p.z.most * c.step * slab_rows * pitch + c.width) * size,
        (c.chunk * prod(p.taps) + c.width) * c.vectors * vector,
        (held * sums_item + c.width * c.vectors) * vector,
    )
    return _Geometry(slab_rows, pitch, sums_pitch, sums_item, blocks_y, blocks_x, items, per_part, local)


def register_width(dtype: DType, target: Target) -> tuple[int, int]:
    """Bytes of a register element of `dtype`, and lanes of a vector."""
    size = 8 if dtype.register == "double" else 4
    return size, max(2, min(16, target.vector_width * 4 // size))


def block_of(length: int, step: int) -> int:
    """The length of the equal blocks, multiples of `step`, into which a row is cut; rows up to 320 stay whole."""
    return length if length <= 320 else round_up(ceil_div(length, ceil_div(length, 240)), step)


def _accumulators(vectors: int, target: Target) -> int:
    """How many accumulators a register tile may have before compilers spill: measured with 512-bit vectors, where tiles
    of 12 pixels x 2 vectors run at half the speed of 8 or 9 x 2; with half as many registers, 12.
    """
    return 12 if target.vector_width < 16 else 18 if vectors == 2 else 24


def _best_tile(rows: int, columns: int, vectors: int, registers: int) -> tuple[int, int]:
    """The tile that wastes fewest cycles at the edges and on loads: a core multiplies two vectors and loads two per
    cycle.
    """
    best, best_cost = (1, 1), 1e30
    for y in range(1, 5):
        for x in range(1, min(16, registers // (vectors * y)) + 1):
            tiles = ceil_div(rows, y) * ceil_div(columns, x)
            cost = tiles * (max(y * x * vectors / 2, (y * x + vectors) / 2 + 1, 4.0) + 0.25)
            if cost < best_cost:
                best, best_cost = (y, x), cost
    return best


@lru_cache(maxsize=4096)
def choose_volume(p: _Problem, target: Target) -> VolumeConfig:
    """The form and its parameters for a forward convolution or the gradient of its input.

    Two vectors of output channels where there are that many; items of about 256 pixels; the chunk is what fits in local
    memory; parts give eight work-groups per core if each keeps 256 pixels over which to amortise packing the weights.
    """
    if target.kind != "cpu" or target.vector_width <= 1:
        return VolumeConfig("plain")
    size, width = register_width(p.given.dtype, target)
    n, _, d, h, w = p.out_shape
    vectors = 2 if p.m_count > width else 1
    space = min(target.local_memory - 512, SPACE)
    blocks = p.groups * ceil_div(p.m_count, vectors * width)
    columns = block_of(w, 12 * p.x.out_step)
    options = [h] + [r for r in (64, 32, 16, 8, 4, 2, 1) if r < h and r % p.y.out_step == 0] + [min(h, p.y.out_step)]
    while True:
        for rows in [r for r in options if r * columns <= 320] or [min(options)]:
            tile_y, tile_x = _best_tile(
                ceil_div(rows, p.y.out_step), ceil_div(columns, p.x.out_step), vectors, _accumulators(vectors, target)
            )
            first = VolumeConfig("channels", width, vectors, tile_y, tile_x, rows, columns)
            items = n * d * ceil_div(h, rows) * ceil_div(w, columns)
            most = max(target.compute_units * 2 // blocks, n * d * h * w // 256, 1)
            parts = max(1, min(items, ceil_div(8 * target.compute_units, blocks), most))
            found = _fitting(p, first, items, parts, space, size)
            if found is not None:
                return found if not target.loop_limit else _within_limit(p, found, target.loop_limit)
        if columns <= p.x.out_step * 2:
            return VolumeConfig("plain")
        columns = round_up(columns // 2, p.x.out_step)


def _fitting(p: _Problem, first: VolumeConfig, items: int, parts: int, space: int, size: int) -> VolumeConfig | None:
    """`first` with the step that fits in the first-level cache, and the largest chunk that leaves room for the sums,
    which are held per item where there are several chunks.
    """
    one = _geometry(p, replace(first, step=1, parts=parts), size)
    weights = prod(p.taps) * first.vectors * first.width * size
    step = max(1, min(p.q_count, FIRST_LEVEL // (one.local[0] + weights)))
    chunk = p.q_count
    while chunk:
        config = replace(first, chunk=chunk, step=min(step, chunk), parts=parts)
        local = _geometry(p, config, size).local
        if sum(local) <= space:
            return config
        if chunk < p.q_count and local[2] * 2 > space and parts < items:
            parts = min(items, parts * 2)
        else:
            chunk //= 2
    return None


def _within_limit(p: _Problem, c: VolumeConfig, limit: int) -> VolumeConfig:
    """`c` in so many parts that no work-item's loops run more than `limit` iterations, or the plain form."""
    g = _geometry(p, c, 4)
    tiles = ceil_div(c.rows, c.tile_y) * ceil_div(c.columns, c.tile_x) + prod((p.y.out_step, p.x.out_step))
    columns = g.pitch // 4 + 16
    item = p.z.most * p.q_count * (tiles * p.taps[1] * p.taps[2] + g.slab_rows * columns)
    item += 2 * c.vectors * c.rows * (c.columns // 4 + 4) * c.width
    weights = 2 * c.vectors * p.q_count * prod(p.taps) * c.width
    left = limit - weights
    if item > left:
        return VolumeConfig("plain")
    return replace(c, parts=min(g.items, max(c.parts, ceil_div(g.items, left // item))))


def _lower_channels(p: _Problem, c: VolumeConfig, epilogue: Epilogue) -> Lowered:
    dtype = p.given.dtype
    size = 8 if dtype.register == "double" else 4
    g = _geometry(p, c, size)
    _, _, d, h, w = p.out_shape
    given, weight = p.given, p.weight
    index = index_type(given, weight, *epilogue_layouts(epilogue))
    finish = Finish(epilogue, index, ("n", "c", "z", "y", "x"))
    taps = prod(p.taps)
    body = render(
        "conv_volume",
        T=dtype.register,
        IT=dtype.storage,
        WT=weight.dtype.storage,
        W=c.width,
        NK=c.vectors,
        TY=c.tile_y,
        TX=c.tile_x,
        SIY=p.y.in_step,
        SIX=p.x.in_step,
        SOY=p.y.out_step,
        SOX=p.x.out_step,
        RS=p.taps[1] * p.taps[2],
        S=p.taps[2],
        phases=[(by, bx, rows, columns) for by, rows in p.y.phases for bx, columns in p.x.phases],
        RUN=p.w_q == taps,
        APART=c.vectors == 1,
        INDEX=index,
        iload=loader(dtype),
        wload=loader(weight.dtype),
        store=finish.stores((c.width, 4, 1)),
        epilogue_parameters=finish.text(),
    )
    blocks = ceil_div(p.m_count, c.vectors * c.width)
    flat = g.blocks_x == 1 and g.sums_pitch == w and finish.flat()
    numbers = [
        ("int", blocks),
        ("int", p.m_count),
        ("int", p.q_count),
        (index, given.offset),
        *((index, s) for s in given.stride[:4]),
        *(("int", s) for s in given.shape[2:]),
        ("int", d),
        ("int", h),
        ("int", w),
        (index, weight.offset),
        (index, p.w_g),
        (index, p.w_m),
        (index, p.w_q),
        (index, weight.extent()[1] + 1),
        ("int", p.taps[0]),
        *(("int", v) for v in (p.z.step, p.z.base, p.z.apart, p.z.divisor, p.z.tap_step)),
        ("int", g.items),
        ("int", g.items_per_part),
        ("int", g.blocks_y),
        ("int", g.blocks_x),
        ("int", c.rows),
        ("int", c.columns),
        ("int", g.pitch),
        ("int", g.slab_rows),
        ("int", c.chunk),
        ("int", c.step),
        ("int", g.sums_pitch),
        ("int", g.sums_item if c.chunk < p.q_count else 0),
        ("int", p.y.base),
        ("int", p.x.base),
        ("int", int(flat)),
        ("int", blocks * p.groups),
        ("int", g.pitch),
        ("int", 1),
    ]
    args: tuple[Argument, ...] = (
        Input(0),
        Input(1),
        *finish.args,
        *(Local(max(nbytes, 64)) for nbytes in g.local),
        *(Value(t, v) for t, v in numbers),
    )
    source = KernelSource(p.op, body, (*finish.includes, "conv"))
    groups = blocks * p.groups * ceil_div(g.items, g.items_per_part)
    traffic = float(given.nbytes + weight.nbytes + sum(some.nbytes for some in epilogue_layouts(epilogue)))
    return Lowered((Launch(source, args, (groups,), p.flops, traffic),))


# ---- the plain form, for all three directions


def plain_volume(
    op: str,
    direction: str,
    a: Layout,
    b: Layout,
    b_steps: Sequence[int],
    counts: Triple,
    loops: Triple,
    attrs: tuple,
    target: Target,
    epilogue: Epilogue,
    inputs: tuple[int, int],
    flops: float,
) -> Lowered:
    """One launch of conv_volume_plain.

    Args:
        a, b, inputs: the two operands and their numbers; b_steps: steps of b, as the template names them.
        counts: images, channels of the reduction, channels per group.
        loops: sizes of the inner loops: the kernel's, or those of dy's planes.
    """
    stride, padding, dilation, _, _ = attrs
    index = index_type(a, b, *epilogue_layouts(epilogue))
    finish = Finish(epilogue, index, ("n", "c", "z", "y", "x"))
    local = 64 if target.kind == "gpu" else 1
    body = render(
        "conv_volume_plain",
        LOCAL=local,
        AT=a.dtype.storage,
        BT=b.dtype.storage,
        T=a.dtype.register,
        INDEX=index,
        DIRECTION=direction,
        aload=f"{loader(a.dtype)}1",
        bload=f"{loader(b.dtype)}1",
        store=finish.store(1),
        epilogue_parameters=finish.text(),
    )
    elements = prod(epilogue.shape)
    grain = 1 if target.kind == "gpu" else max(1, ceil_div(elements, 16 * target.compute_units))
    if target.loop_limit:
        products = (counts[0] if direction == "weight" else counts[1]) * prod(loops)
        grain = max(1, min(grain, target.loop_limit // (2 * products + 1)))
    numbers = [
        (index, a.offset),
        *((index, s) for s in a.stride[:4]),
        *(("int", s) for s in a.shape[2:]),
        (index, b.offset),
        *((index, step) for step in b_steps),
        *(("int", size) for size in epilogue.shape[1:]),
        *(("int", count) for count in counts),
        *(("int", size) for size in loops),
        *(("int", v) for triple in (stride, padding, dilation) for v in triple),
        (index, elements),
        ("int", grain),
    ]
    args = (Input(inputs[0]), Input(inputs[1]), *finish.args, *(Value(t, v) for t, v in numbers))
    source = KernelSource(op, body, finish.includes, (local,))
    return Lowered((Launch(source, args, (round_up(ceil_div(elements, grain), local),), flops, 0.0),))


def _lower(
    op: str,
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None,
    config: VolumeConfig | None,
) -> Lowered:
    given, weight = inputs[0], inputs[1]
    argument = "input" if op == "conv3d" else "grad_output"
    require(op, argument, given, accepts_volume(given), "unit stride in the last dim")
    require(op, "weight", weight, accepts_volume_weight(weight), "contiguous last three dims")
    epilogue = epilogue or Epilogue.identity(outputs[0])
    if 0 in epilogue.shape:
        return Lowered(())
    p = _problem(op, given, weight, epilogue.shape, attrs)
    if not given.numel or not weight.numel:
        config = VolumeConfig("plain")
    config = config or choose_volume(p, target)
    if config.form == "channels":
        return _lower_channels(p, config, epilogue)
    direction = "forward" if op == "conv3d" else "input"
    counts = (p.out_shape[0], p.q_count, p.m_count)
    steps = (p.w_m, p.w_q, p.w_g, 0)
    return plain_volume(
        op, direction, given, weight, steps, counts, p.taps, attrs, target, epilogue, (0, 1), p.flops
    )  # fmt: skip


def lower_conv3d(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
    config: VolumeConfig | None = None,
) -> Lowered:
    """y (N, K, Do, Ho, Wo) of x (N, C, D, H, W) and w (K, C / groups, Q, R, S), then the epilogue."""
    return _lower("conv3d", inputs, outputs, attrs, target, epilogue, config)


def lower_conv3d_input(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
    config: VolumeConfig | None = None,
) -> Lowered:
    """dx (N, C, D, H, W) of dy (N, K, Do, Ho, Wo) and w (K, C / groups, Q, R, S), then the epilogue."""
    return _lower("conv3d_input", inputs, outputs, attrs, target, epilogue, config)
