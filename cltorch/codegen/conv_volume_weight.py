"""Lowers the gradient of a 3-D convolution's weight.

Floor 1b, beside conv_volume. An input channel and a depth tap together are a channel of a 2-D problem over planes:
channel c * Q + q of plane (n, z) is plane z * stride - padding + q * dilation of channel c. So the kernel is the
`channels` form of the 2-D gradient, whose items are blocks of pixels of some planes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod

from ..shapes import Layout, layout
from ..target import Target
from .conv_finish import SPACE, Finish, epilogue_layouts, index_type, is_contiguous, loader, reduce_launch
from .conv_shapes import ceil_div, require, round_up
from .conv_volume import Triple, accepts_volume, block_of, plain_volume, register_width
from .program import Epilogue
from .source import Argument, Input, KernelSource, Launch, Local, Lowered, Scratch, Value, render
from .walk import collapse


@dataclass(frozen=True)
class _Problem:
    """The gradient of a volume convolution's weight: K and C are counted per group; channels are C x depth taps."""

    grad: Layout
    given: Layout
    groups: int
    k_count: int
    c_count: int
    taps: Triple
    attrs: tuple

    @property
    def flops(self) -> float:
        return 2.0 * self.grad.numel * self.c_count * prod(self.taps)

    @property
    def channels(self) -> int:
        return self.c_count * self.taps[0]

    @property
    def row(self) -> int:
        """Elements of the gradient per output channel."""
        return self.c_count * prod(self.taps)

    @property
    def elements(self) -> int:
        return self.groups * self.k_count * self.row


@dataclass(frozen=True)
class VolumeWeightConfig:
    """The parameters of a kernel of the channels form.

    Attributes:
        form: 'channels' or 'plain'.
        width: lanes of a vector.
        vectors: vectors of output channels in a register tile.
        tile_c, tile_r, tile_s: channels (input channels and depth taps) and taps in a register tile; tile_r and tile_s
            divide the kernel's size.
        rows, columns: output rows and columns per item.
        planes: output planes per item.
        chunk: channels per work-group.
        parts: pieces into which the items are split; more than one needs scratch and a second launch.
    """

    form: str
    width: int = 8
    vectors: int = 1
    tile_c: int = 1
    tile_r: int = 1
    tile_s: int = 1
    rows: int = 1
    columns: int = 1
    planes: int = 1
    chunk: int = 1
    parts: int = 1


def _local(p: _Problem, c: VolumeWeightConfig, size: int) -> tuple[int, int, int, int, int]:
    """Slab rows, pitch, and bytes of slab, transposed dy and sums."""
    stride, _, dilation, _, _ = p.attrs
    slab_rows = (c.rows - 1) * stride[1] + (p.taps[1] - 1) * dilation[1] + 1
    pitch = (c.columns - 1) * stride[2] + (p.taps[2] - 1) * dilation[2] + 1
    held = round_up(c.chunk, c.tile_c)
    vector = c.width * size
    return (
        slab_rows,
        pitch,
        (c.planes * held * slab_rows * pitch + c.width) * size,
        (max(c.planes * c.rows * c.columns * c.vectors, c.width) + c.width) * vector,
        (held * p.taps[1] * p.taps[2] * c.vectors + c.width * c.vectors) * vector,
    )


def _best_tile(r: int, s: int, channels: int, vectors: int, registers: int) -> Triple:
    """Channels and taps of the register tile with fewest cycles per multiply-add."""
    best, best_cost = (1, 1, 1), 1e30
    for tr, ts in [(r, s)] + [(1, t) for t in range(s, 0, -1) if s % t == 0]:
        for tc in range(1, min(channels, 12) + 1):
            places = tc * tr * ts
            if places * vectors > registers or tc * tr > 8:
                continue
            cycles = max(places * vectors / 2, (places + vectors) / 2, 4.0) + 0.5
            cost = cycles * ceil_div(channels, tc) * (r // tr) * (s // ts)
            if cost < best_cost:
                best, best_cost = (tc, tr, ts), cost
    return best


@lru_cache(maxsize=4096)
def choose_volume_weight(p: _Problem, target: Target) -> VolumeWeightConfig:
    """The form and its parameters: items of about 256 pixels, of several planes where those are small; two work-groups
    per core, by smaller chunks and, for problems of more than 20 million multiply-adds, by splitting the items.
    """
    if target.kind != "cpu" or target.vector_width <= 1:
        return VolumeWeightConfig("plain")
    size, width = register_width(p.grad.dtype, target)
    n, _, d, h, w = p.grad.shape
    _, r, s = p.taps
    vectors = 2 if p.k_count > width else 1
    k_blocks = p.groups * ceil_div(p.k_count, vectors * width)
    space, wanted = min(target.local_memory - 512, SPACE), 2 * target.compute_units
    columns = block_of(w, 1)
    rows = next((some for some in (h, 64, 32, 16, 8, 4, 2, 1) if some <= h and some * columns <= 320), 1)
    planes = max(1, min(n * d, 256 // (h * w))) if rows == h and columns == w else 1
    chunk = min(p.channels, max(32, 256 // (r * s)))
    while chunk > 1 and k_blocks * ceil_div(p.channels, chunk) < wanted:
        chunk = ceil_div(chunk, 2)
    while True:
        tile = _best_tile(r, s, min(chunk, p.channels), vectors, 28 if target.vector_width >= 16 else 12)
        items = ceil_div(n * d, planes) * ceil_div(h, rows) * ceil_div(w, columns)
        blocks = k_blocks * ceil_div(p.channels, chunk)
        parts = min(items, ceil_div(2 * wanted, blocks)) if blocks < wanted and p.flops > 4e7 else 1
        config = VolumeWeightConfig("channels", width, vectors, *tile, rows, columns, planes, chunk, parts)
        if sum(_local(p, config, size)[2:]) <= space:
            return config if not target.loop_limit else _within_limit(p, config, target.loop_limit)
        if planes > 1:
            planes //= 2
        elif chunk > 8 or (chunk > 1 and rows * columns <= 16):
            chunk = ceil_div(chunk, 2)
        elif rows > 1:
            rows = ceil_div(rows, 2)
        elif columns > 1:
            columns = ceil_div(columns, 2)
        else:
            return VolumeWeightConfig("plain")


def _within_limit(p: _Problem, c: VolumeWeightConfig, limit: int) -> VolumeWeightConfig:
    """`c` in so many parts that no work-item's loops run more than `limit` iterations, or the plain form."""
    n, _, d, h, w = p.grad.shape
    slab_rows, pitch, *_ = _local(p, c, 4)
    pixels = c.planes * c.rows * c.columns
    tiles = ceil_div(c.chunk, c.tile_c) * (p.taps[1] // c.tile_r) * (p.taps[2] // c.tile_s)
    item = pixels * (tiles + c.vectors * (c.width + 2)) + c.planes * c.chunk * slab_rows * (pitch // 4 + 16)
    left = limit - (c.chunk + c.tile_c) * p.taps[1] * p.taps[2] * c.vectors * (c.width + 2)
    if item > left:
        return VolumeWeightConfig("plain")
    items = ceil_div(n * d, c.planes) * ceil_div(h, c.rows) * ceil_div(w, c.columns)
    return replace(c, parts=min(items, max(c.parts, ceil_div(items, left // item))))


def _reshaped(epilogue: Epilogue, shape: tuple[int, ...], strides: Sequence[tuple[int, ...]]) -> Epilogue:
    """`epilogue` over `shape`; strides of its inputs, then of its stores."""
    given = iter(strides)
    return replace(
        epilogue,
        shape=shape,
        inputs=tuple(layout(some.dtype, shape, next(given), some.offset) for some in epilogue.inputs),
        stores=tuple((value, layout(out.dtype, shape, next(given), out.offset)) for value, out in epilogue.stores),
    )


def _as_rows(epilogue: Epilogue, length: int) -> Epilogue | None:
    """`epilogue` over (K, 1, 1, all else), or None if an operand has gaps within an output channel."""
    operands = epilogue_layouts(epilogue)
    if not all(is_contiguous(some, 1) for some in operands):
        return None
    strides = [(some.stride[0], 0, 0, int(any(s for s in _steps(some)))) for some in operands]
    return _reshaped(epilogue, (epilogue.shape[0], 1, 1, length), strides)


def _steps(given: Layout) -> list[int]:
    return [s for n, s in zip(given.shape[1:], given.stride[1:]) if n != 1]


def _as_images(epilogue: Epilogue) -> Epilogue | None:
    """`epilogue` with dims merged so that it has four, or None where its operands' strides do not allow that."""
    sizes, strides = collapse(epilogue.shape, [some.stride for some in epilogue_layouts(epilogue)])
    fill = 4 - len(sizes)
    if fill < 0:
        return None
    return _reshaped(epilogue, (1,) * fill + sizes, [(0,) * fill + some for some in strides])


def _lower_channels(
    p: _Problem, c: VolumeWeightConfig, target: Target, rows: Epilogue | None, images: Epilogue
) -> Lowered:
    dtype = p.grad.dtype
    size = 8 if dtype.register == "double" else 4
    slab_rows, pitch, *local = _local(p, c, size)
    stride, padding, dilation, _, _ = p.attrs
    grad, given = p.grad, p.given
    n, _, d, h, w = grad.shape
    q, r, s = p.taps
    index = index_type(grad, given, *epilogue_layouts(images))
    items = ceil_div(n * d, c.planes) * ceil_div(h, c.rows) * ceil_div(w, c.columns)
    per_part = ceil_div(items, c.parts)
    parts = ceil_div(items, per_part)
    if parts > 1 or rows is None:
        place = "partial + part * (long)elements + (long)n * row_length + x"
        store = {width: f"vec_store{width}(value, {place});" for width in (c.width, 4, 1)}
        extra: tuple[Argument, ...] = (Scratch(0), Value("int", p.elements))
        parameters = f", __global {dtype.register} *partial, const int elements"
        includes: tuple[str, ...] = ()
    else:
        finish = Finish(rows, index, ("n", "0", "0", "x"))
        store, extra, parameters = finish.stores((c.width, 4, 1)), tuple(finish.args), finish.text()
        includes = finish.includes
    body = render(
        "conv_volume_weight",
        T=dtype.register,
        AT=dtype.storage,
        BT=given.dtype.storage,
        W=c.width,
        NK=c.vectors,
        TC=c.tile_c,
        TR=c.tile_r,
        TS=c.tile_s,
        R=r,
        S=s,
        SY=stride[1],
        SX=stride[2],
        DY=dilation[1],
        INDEX=index,
        aload=loader(dtype),
        bload=loader(given.dtype),
        store=store,
        epilogue_parameters=parameters,
    )
    k_blocks, c_blocks = ceil_div(p.k_count, c.vectors * c.width), ceil_div(p.channels, c.chunk)
    blocks = p.groups * k_blocks * c_blocks
    numbers = [
        ("int", k_blocks),
        ("int", c_blocks),
        ("int", p.k_count),
        ("int", p.c_count),
        ("int", q),
        (index, grad.offset),
        *((index, step) for step in grad.stride[:4]),
        (index, given.offset),
        *((index, step) for step in given.stride[:4]),
        *(("int", some) for some in given.shape[2:]),
        *(("int", some) for some in (n, d, h, w)),
        *(("int", some) for some in (stride[0], -padding[0], dilation[0])),
        ("int", items),
        ("int", per_part),
        ("int", ceil_div(h, c.rows)),
        ("int", ceil_div(w, c.columns)),
        ("int", c.rows),
        ("int", c.columns),
        ("int", c.planes),
        ("int", pitch),
        ("int", slab_rows),
        ("int", c.chunk),
        ("int", -padding[1]),
        ("int", -padding[2]),
        ("int", p.row),
        ("int", blocks),
        ("int", dilation[2]),
    ]
    args = (Input(0), Input(1), *extra, *(Local(nbytes) for nbytes in local), *(Value(t, v) for t, v in numbers))
    traffic = float(grad.nbytes + given.nbytes + p.elements * size)
    source = KernelSource("conv3d_weight", body, (*includes, "conv"))
    main = Launch(source, args, (blocks * parts,), p.flops, traffic)
    if parts == 1 and rows is not None:
        return Lowered((main,))
    return Lowered((main, reduce_launch(p.elements, parts, dtype, target, images)), (parts * p.elements * size,))


def lower_conv3d_weight(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
    config: VolumeWeightConfig | None = None,
) -> Lowered:
    """dw (K, C / groups, Q, R, S) of dy (N, K, Do, Ho, Wo) and x (N, C, D, H, W), then the epilogue."""
    grad, given = inputs[0], inputs[1]
    require("conv3d_weight", "grad_output", grad, accepts_volume(grad), "unit stride in the last dim")
    require("conv3d_weight", "input", given, accepts_volume(given), "unit stride in the last dim")
    epilogue = epilogue or Epilogue.identity(outputs[0])
    if 0 in epilogue.shape:
        return Lowered(())
    groups = attrs[3]
    k, per_group = epilogue.shape[:2]
    taps: Triple = epilogue.shape[2:]  # type: ignore[assignment]
    p = _Problem(grad, given, groups, k // groups, per_group, taps, attrs)
    if grad.numel and given.numel:
        config = config or choose_volume_weight(p, target)
        images = _as_images(epilogue)
        if config.form == "channels" and images is not None:
            return _lower_channels(p, config, target, _as_rows(epilogue, p.row), images)
    steps = grad.stride[:4]
    counts = (grad.shape[0], per_group, k // groups)
    loops: Triple = grad.shape[2:]  # type: ignore[assignment]
    return plain_volume(
        "conv3d_weight", "weight", given, grad, steps, counts, loops, attrs, target, epilogue, (1, 0), p.flops
    )
