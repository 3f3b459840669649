"""Lowers 3x3 convolutions of stride 1 by Winograd's algorithm: forward and the gradient of the input, as one problem.

Floor 1b, part of `conv`. F(m, 3) makes a square of m x m outputs from (m + 2) x (m + 2) inputs with (m + 2)^2 products
per pair of channels instead of 9 m^2: 2.25 times fewer with m = 2, four times fewer with m = 4. Two launches, each a
template with its own description: transformed images and taps, then matrix products per frequency with the inverse
transform and the epilogue. Where there are few tiles for the taps, the second transforms the taps in passing.

CPU class and float registers only: double stays direct, and so does everything on GPUs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from ..config import settings
from ..shapes import Layout
from ..target import Target
from .conv_finish import SPACE, Finish, epilogue_layouts, index_type, loader
from .conv_shapes import accepts, accepts_weight, ceil_div, require, round_up
from .conv_winograd_transforms import INPUT, PRODUCTS, TAPS, twice
from .program import Epilogue
from .source import Argument, Input, KernelSource, Launch, Local, Lowered, Scratch, Value, render

FETCHING = ("intel", "pocl")  # whose compilers take prefetches; rusticl's ends the process over one
HELD = 64 << 20  # bytes of transformed tiles in memory at once
LAUNCH = 30_000  # cycles that a launch takes
RUN = 16  # tiles of a row that are inversely transformed together


@dataclass(frozen=True)
class WinogradConfig:
    """The parameters of a Winograd convolution.

    Attributes:
        outputs: m of F(m, 3): 2 or 4.
        width: lanes of a vector.
        vectors: vectors of output channels in a register tile.
        tile: tiles of images in a register tile.
        tiles: tiles of images in a block, whose products are held at once; a multiple of `tile`.
        rows: rows of tiles that are transformed together.
        images: images whose transformed tiles are in memory at once.
        chunk: channels of the reduction whose taps are transformed at once, by the kernel of the products; 0: all, by
            a kernel of their own.
        spilled: the products of a block are held in global memory, because local memory is too small.
    """

    outputs: int
    width: int
    vectors: int
    tile: int
    tiles: int
    rows: int
    images: int
    chunk: int = 0
    spilled: bool = False


@dataclass(frozen=True)
class _Problem:
    """A convolution seen from what is written (M channels) and what is read (Q channels)."""

    op: str
    given: Layout
    weight: Layout
    out_shape: tuple[int, ...]
    m_count: int
    q_count: int
    w_m: int
    w_q: int
    base: tuple[int, int]
    nbytes: float

    @property
    def flops(self) -> float:
        """What the direct form would do, on the outputs of the forward direction."""
        n, _, h, w = self.given.shape if self.op == "conv_input" else self.out_shape
        return 18.0 * n * h * w * self.m_count * self.q_count


def _problem(op: str, given: Layout, weight: Layout, epilogue: Epilogue, attrs: tuple) -> _Problem:
    padding = attrs[1]
    k, c, _, _ = weight.shape
    w_k, w_c = weight.stride[:2]
    nbytes = float(given.nbytes + weight.nbytes + sum(some.nbytes for some in epilogue_layouts(epilogue)))
    if op == "conv":
        return _Problem(op, given, weight, epilogue.shape, k, c, w_k, w_c, (-padding[0], -padding[1]), nbytes)
    return _Problem(op, given, weight, epilogue.shape, c, k, w_c, w_k, (padding[0] - 2, padding[1] - 2), nbytes)


def applies(weight: Layout, attrs: tuple) -> bool:
    """True for 3x3 kernels with stride 1, no dilation and no groups, computed in float."""
    stride, _, dilation, groups, _ = attrs
    taps = tuple(weight.shape[2:])
    return weight.dtype.register == "float" and (taps, stride, dilation, groups) == ((3, 3), (1, 1), (1, 1), 1)


@dataclass(frozen=True)
class _Sizes:
    """What follows from a problem and a config."""

    side: int
    frequencies: int
    tiles_y: int
    tiles_x: int
    all_tiles: int
    m_blocks: int
    q_blocks: int
    taps_plane: int  # planes in vectors; one more than full, so that frequencies do not meet in the same cache sets
    tiles_plane: int
    products_plane: int
    blocks: int


def _sizes(shape: tuple[int, ...], q_count: int, c: WinogradConfig, images: int = 0) -> _Sizes:
    """For `images` images, or for as many as are in memory at once."""
    n, m_count, h, w = shape
    n = images or min(c.images, n)
    tiles_y, tiles_x = ceil_div(h, c.outputs), ceil_div(w, c.outputs)
    q_blocks = ceil_div(q_count, c.width)
    return _Sizes(
        c.outputs + 2,
        (c.outputs + 2) ** 2,
        tiles_y,
        tiles_x,
        n * tiles_y * tiles_x,
        ceil_div(m_count, c.vectors * c.width),
        q_blocks,
        (c.chunk or q_count) * c.vectors + 1,
        q_blocks * c.tiles + 1,
        c.tiles * c.vectors + 1,
        ceil_div(n * tiles_y * tiles_x, c.tiles),
    )


def _local(shape: tuple[int, ...], q_count: int, c: WinogradConfig) -> tuple[int, int, int, int]:
    """Bytes of local memory of the second launch: packed taps, products, pixels, a transposed square."""
    s, vector = _sizes(shape, q_count, c), 4 * c.width
    pixels = c.outputs**2 * min(RUN, s.tiles_x, c.tiles) + c.width
    pack = (9 * c.chunk + c.width) * c.vectors if c.chunk else 0
    products = 0 if c.spilled else s.frequencies * s.products_plane
    return pack * vector, products * vector, pixels * vector, c.width * vector


def _slab(columns: int, rows: int, outputs: int, width: int) -> int:
    """Bytes of local memory for the pixels of some rows of tiles."""
    return (rows * outputs + 2) * (round_up(columns, outputs) + 2) * width * 4


@lru_cache(maxsize=4096)
def configure(
    outputs: int, shape: tuple[int, ...], q_count: int, chunked: bool, target: Target, kept: bool = False
) -> tuple[WinogradConfig, float] | None:
    """The parameters of F(outputs, 3) that gives `shape` from `q_count` channels, and the cycles that it takes.

    `kept`: the transformed taps are there from earlier calls.

    Two vectors of output channels where there are that many. Of the blocks of tiles that fit into local memory
    and of the register tiles, those with the fewest cycles, counting cores that have nothing left to do. None if local
    memory is too small, or one image's transformed tiles take more than `HELD`.

    Cycles were measured on AVX-512 with one to 1024 tiles and 64 to 512 channels: products run at three quarters of
    the peak, and each group fetches the taps, 2 for a vector; the transform of a tile of W channels costs 700 (300
    with m = 2), because its results go through memory, the inverse 340 (100); that of W x 1 taps 650 (350) if its
    results go through memory and 250 (140) if they stay in the cache, which repeats it for every block of tiles.
    """
    n, m_count, h, w = shape
    width = min(16, target.vector_width)
    vectors = 2 if m_count > width else 1
    per_image = ceil_div(h, outputs) * ceil_div(w, outputs)
    rows = [r for r in (4, 2, 1) if _slab(w, r, outputs, width) <= min(target.local_memory - 1024, SPACE)]
    images = HELD // (per_image * (outputs + 2) ** 2 * round_up(q_count, width) * 4)
    if not rows or not images:
        return None
    parts = ceil_div(n, images)
    tiles = ceil_div(n, parts) * per_image
    m_blocks, q_blocks = ceil_div(m_count, vectors * width), ceil_div(q_count, width)
    image, inverse, ahead, within = (700, 340, 650, 250) if outputs == 4 else (300, 100, 350, 140)
    before = tiles * q_blocks * image + (0 if chunked or kept else q_count * m_blocks * vectors * ahead + LAUNCH)
    best: tuple[WinogradConfig, float] | None = None
    for tile in (12, 10, 8, 6, 4):
        if tile * vectors > (24 if width >= 16 else 12):
            continue
        for held in (16, 24, 32, 48, 64, 96):
            blocks = ceil_div(tiles, held)
            block = round_up(ceil_div(tiles, blocks), tile)
            chunk = min(64 if block > 16 else 32, round_up(q_count, width)) if chunked else 0
            config = WinogradConfig(outputs, width, vectors, tile, block, rows[0], ceil_div(n, parts), chunk)
            if sum(_local(shape, q_count, config)) > target.local_memory - 1024:
                continue
            products = max(tile * vectors, tile + vectors, 8) / 2 + 0.5
            group = (outputs + 2) ** 2 * q_count * (ceil_div(block, tile) * products * 1.3 + 2 * vectors)
            group += block * vectors * inverse + (q_count * vectors * within if chunked else 0)
            rounds: float = ceil_div(blocks * m_blocks, target.compute_units)
            if blocks * m_blocks < 4 * target.compute_units:
                rounds *= 1.5  # PoCL shares out few groups badly: four of them took four times as long as eight
            cost = parts * (before / target.compute_units + rounds * group + 2 * LAUNCH)
            if best is None or cost < best[1]:
                best = config, cost
    return best


@lru_cache(maxsize=4096)
def _choose(shape: tuple[int, ...], q_count: int, form: str, target: Target) -> WinogradConfig | None:
    n, m_count, h, w = shape
    width = min(16, target.vector_width)
    direct = 9.0 * n * h * w * q_count * ceil_div(m_count, width) / 2 * 1.25 / target.compute_units + LAUNCH
    found = [
        configure(outputs, shape, q_count, chunked, target)
        for outputs in (2, 4)
        if form in ("auto", str(outputs))
        for chunked in (False, True)
    ]
    options = [some for some in found if some]
    if not options:
        return None
    config, cycles = min(options, key=lambda some: some[1])
    return config if form != "auto" or cycles < 0.9 * direct else None


def _with_kept_taps(shape: tuple[int, ...], q_count: int, config: WinogradConfig, target: Target) -> WinogradConfig:
    """The same form, so that results are the same to the last bit, for taps that are there from earlier calls.

    Products are added up in the same order whatever the tiles, and whether channels are taken in chunks or not.
    """
    found = configure(config.outputs, shape, q_count, False, target, True)
    return found[0] if found else replace(config, chunk=0)


def choose_winograd(
    op: str,
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> WinogradConfig | None:
    """The Winograd form for `op`, or None where a direct one is to be used.

    Direct: whatever `applies` refuses, GPUs, devices that bound the length of loops, `CLTORCH_WINOGRAD=0`,
    `CLTORCH_PRECISE=1`, and whatever is not at least a tenth faster by the estimates in `configure`: the direct form
    runs at four fifths of the peak and is one launch.
    """
    form = "0" if settings.precise else settings.winograd
    given, weight, shape = inputs[0], inputs[1], (epilogue or outputs[0]).shape
    if form == "0" or target.kind != "cpu" or target.loop_limit or target.vector_width < 4 or 0 in shape:
        return None
    if not given.numel or not weight.numel or not applies(weight, attrs):
        return None
    return _choose(shape, given.shape[1], form, target)


def _scratch(p: _Problem, c: WinogradConfig) -> tuple[int, ...]:
    """Bytes of each scratch buffer: transformed tiles, transformed taps and, if they are spilled, products."""
    s = _sizes(p.out_shape, p.q_count, c)
    groups, frequency = s.m_blocks * s.blocks, s.frequencies * c.width * 4
    taps = (groups if c.chunk else s.m_blocks) * frequency * s.taps_plane
    products = (groups * frequency * s.products_plane,) if c.spilled else ()
    return (s.blocks * frequency * s.tiles_plane, taps, *products)


def _taps(p: _Problem, c: WinogradConfig, index: str, target: Target) -> str:
    """The text that packs and transforms taps."""
    kind, flip = f"float{c.width}", p.op == "conv_input"

    def load(i: int, j: int) -> str:
        tap = 3 * i + j
        return f"g[{(8 - tap if flip else tap) * c.vectors}]"

    return render(
        "conv_winograd_taps",
        T="float",
        W=c.width,
        NK=c.vectors,
        A=c.outputs + 2,
        INDEX=index,
        RUN=p.w_q == 9,
        CHUNKED=bool(c.chunk),
        WT=p.weight.dtype.storage,
        FETCH=target.vendor in FETCHING,
        wload=loader(p.weight.dtype),
        spread=twice(TAPS[c.outputs], (3, c.outputs + 2), load, kind, "u"),
    )


def _weight_numbers(p: _Problem, index: str) -> list[tuple[str, int]]:
    return [(index, p.weight.offset), (index, p.w_m), (index, p.w_q), (index, p.weight.extent()[1] + 1)]


def _ahead_launch(
    p: _Problem, c: WinogradConfig, target: Target, first: int, images: int, with_taps: bool, with_images: bool = True
) -> Launch:
    """Transforms some images, taps (which the kernel of the products does where it takes them in chunks), or both."""
    s, given = _sizes(p.out_shape, p.q_count, c, images), p.given
    index = index_type(given, p.weight)
    body = render(
        "conv_winograd_ahead",
        T="float",
        IT=given.dtype.storage,
        WT=p.weight.dtype.storage,
        W=c.width,
        NK=c.vectors,
        M=c.outputs,
        TAPS=not c.chunk,
        FETCH=target.vendor in FETCHING,
        INDEX=index,
        iload=loader(given.dtype),
        transform="" if c.chunk else _taps(p, c, index, target),
        spread=twice(INPUT[c.outputs], (s.side, s.side), lambda i, j: f"d[{i} * pitch + {j}]", f"float{c.width}", "v"),
    )
    pitch, row_blocks = s.tiles_x * c.outputs + 2, ceil_div(s.tiles_y, c.rows)
    items = s.q_blocks * images * row_blocks
    per_part = ceil_div(items, min(items, 32 * target.compute_units))
    parts, local = ceil_div(items, per_part), _slab(p.out_shape[3], c.rows, c.outputs, c.width)
    taps: list[Argument] = []
    if not c.chunk:
        held = (target.local_memory - 1024) // (c.vectors * c.width * 4)
        chunk = max(1, min(p.q_count, 32, (held - c.width) // 9))
        taps_parts = s.m_blocks * ceil_div(p.q_count, chunk) if with_taps else 0
        pack = (9 * chunk + c.width) * c.vectors * c.width * 4
        parts, local = (parts + taps_parts, max(local, pack)) if with_images else (taps_parts, pack)
        numbers = [("int", s.m_blocks), ("int", p.out_shape[1]), ("int", chunk), *_weight_numbers(p, index)]
        numbers += [("int", s.taps_plane), ("int", taps_parts)]
        taps = [Input(1), Scratch(1), *(Value(t, v) for t, v in numbers)]
    numbers = [
        ("int", p.q_count),
        ("int", s.q_blocks),
        (index, given.offset + first * given.stride[0]),
        (index, given.stride[0]),
        (index, given.stride[1]),
        ("int", given.stride[2]),
        ("int", given.shape[2]),
        ("int", given.shape[3]),
        ("int", p.base[0]),
        ("int", p.base[1]),
        ("int", s.tiles_y),
        ("int", s.tiles_x),
        ("int", c.rows),
        ("int", row_blocks),
        ("int", items),
        ("int", per_part),
        ("int", pitch),
        ("int", c.tiles),
        ("int", c.tile),
        ("int", s.tiles_plane),
    ]
    if not with_images:  # the same whatever the images, so that images of any size share what is kept
        numbers = numbers[:1] + [(t, 0) for t, _ in numbers[1:]]
    args = (
        Input(0 if with_images else 1),
        Scratch(0 if with_images else 1),
        Local(local),
        *taps,
        *(Value(t, v) for t, v in numbers),
    )
    made = (s.all_tiles * s.q_blocks if with_images else 0) + (s.m_blocks * c.vectors * p.q_count if with_taps else 0)
    return Launch(
        KernelSource("conv_winograd_ahead", body, ("conv", "winograd")),
        args,
        (parts,),
        made * c.width * (192.0 if c.outputs == 4 else 32.0),
        given.nbytes * images / given.shape[0] * with_images
        + p.weight.nbytes * with_taps
        + 4.0 * made * s.frequencies * c.width,
        None if with_images else 1,
    )


def _product_launch(
    p: _Problem, c: WinogradConfig, epilogue: Epilogue, target: Target, first: int, images: int
) -> Launch:
    s = _sizes(p.out_shape, p.q_count, c, images)
    index = index_type(p.given, p.weight, *epilogue_layouts(epilogue))
    finish = Finish(epilogue, index)
    body = render(
        "conv_winograd",
        T="float",
        WT=p.weight.dtype.storage,
        W=c.width,
        NK=c.vectors,
        MT=c.tile,
        M=c.outputs,
        CHUNKED=bool(c.chunk),
        FETCH=target.vendor in FETCHING,
        RUN=p.w_q == 9,
        LINE=64 // p.weight.dtype.itemsize,
        PRODUCTS_GLOBAL=c.spilled,
        INDEX=index,
        transform=_taps(p, c, index, target) if c.chunk else "",
        gather=twice(
            PRODUCTS[c.outputs],
            (s.side, c.outputs),
            lambda i, j: f"p[{i * s.side + j} * products_plane]",
            f"float{c.width}",
            "y",
        ),
        store=finish.stores((c.width, 4, 1)),
        epilogue_parameters=finish.text(),
    )
    pack, products, pixels, turned = _local(p.out_shape, p.q_count, c)
    numbers = [
        ("int", s.m_blocks),
        ("int", p.m_count),
        ("int", p.q_count),
        ("int", s.q_blocks * c.width - p.q_count if p.q_count >= c.width else 0),
        ("int", s.taps_plane),
        ("int", s.tiles_plane),
        ("int", s.q_blocks * c.width),
        ("int", s.products_plane),
        ("int", s.all_tiles),
        ("int", c.tiles),
        ("int", first * s.tiles_y),
        ("int", s.tiles_y),
        ("int", s.tiles_x),
        ("int", p.out_shape[2]),
        ("int", p.out_shape[3]),
        ("int", RUN),
        ("int", int(finish.flat())),
    ]
    chunked: list[Argument] = []
    if c.chunk:
        chunked = [Local(pack), Value("int", c.chunk), *(Value(t, v) for t, v in _weight_numbers(p, index))]
    args = (
        *([Input(1)] if c.chunk else []),
        Scratch(1),
        Scratch(0),
        *finish.args,
        *chunked,
        Scratch(2) if c.spilled else Local(products),
        Local(pixels),
        Local(turned),
        *(Value(t, v) for t, v in numbers),
    )
    source = KernelSource(f"{p.op}_winograd", body, (*finish.includes, "conv", "winograd"))
    share = images / p.out_shape[0]
    return Launch(source, args, (s.m_blocks * s.blocks,), p.flops * share, p.nbytes * share)


def lower_winograd(
    op: str,
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None,
    config: WinogradConfig,
    constant: bool = False,
) -> Lowered:
    """The launches of `op` ('conv' or 'conv_input') by Winograd's algorithm, then the epilogue.

    A `constant` weight's transform is a launch of its own, whose result is kept.
    """
    given, weight = inputs[0], inputs[1]
    require(op, "input" if op == "conv" else "grad_output", given, accepts(given), "unit stride in the last dim")
    require(op, "weight", weight, accepts_weight(weight), "contiguous last two dims")
    epilogue = epilogue or Epilogue.identity(outputs[0])
    p = _problem(op, given, weight, epilogue, attrs)
    launches: list[Launch] = []
    if constant:
        config = _with_kept_taps(p.out_shape, p.q_count, config, target)
        launches.append(_ahead_launch(p, config, target, 0, 1, True, False))
    for first in range(0, p.out_shape[0], config.images):
        images = min(config.images, p.out_shape[0] - first)
        with_taps = not (config.chunk or first or constant)
        launches.append(_ahead_launch(p, config, target, first, images, with_taps))
        launches.append(_product_launch(p, config, epilogue, target, first, images))
    return Lowered(tuple(launches), _scratch(p, config), ((1, 1),) if constant else ())
