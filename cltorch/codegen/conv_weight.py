"""Lowers the gradient of a convolution's weight.

Floor 1b, part of `conv`, where the forms are described.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import prod

from ..shapes import Layout
from ..target import Target
from .conv_finish import SPACE, Finish, epilogue_layouts, index_type, is_contiguous, loader, reduce_launch
from .conv_gemm import gemm_launch, plain_launch
from .conv_planes import choose_weight_planes, lower_weight_planes
from .conv_problem import WeightConfig, WeightProblem, shared_cycles
from .conv_shapes import Pair, accepts, ceil_div, every_row, long_row, merged_rows, require, round_up
from .program import Epilogue
from .source import Argument, Input, KernelSource, Launch, Local, Lowered, Scratch, Value, render


def _weight_local(p: WeightProblem, c: WeightConfig, size: int) -> tuple[int, int, int, int, int]:
    """Slab rows, pitch, and bytes of slab, transposed dy and sums."""
    stride, _, dilation, _, _ = p.attrs
    _, _, h, w = p.grad.shape
    slab_rows = (min(c.rows, h) - 1) * stride[0] + (p.taps[0] - 1) * dilation[0] + 1
    pitch = (w - 1) * stride[1] + (p.taps[1] - 1) * dilation[1] + 1
    held = round_up(c.chunk, c.tile_c)
    vector = c.width * size
    return (
        slab_rows,
        pitch,
        64 if _weight_direct(p) else (c.images * held * slab_rows * pitch + c.width) * size,
        (max(c.images * min(c.rows, h) * w * c.vectors, c.width) + c.width) * vector,
        (held * prod(p.taps) * c.vectors + c.width * c.vectors) * vector,
    )


def _weight_direct(p: WeightProblem) -> bool:
    """True if the weight kernel of the channels form may read the input where it lies: nothing is padded,
    nothing to convert.
    """
    return p.attrs[1] == (0, 0) and p.given.dtype.storage == p.given.dtype.register


@lru_cache(maxsize=4096)
def choose_weight(p: WeightProblem, target: Target) -> WeightConfig:
    """The form and its parameters for the gradient of a weight: on CPUs, what should take the fewest cycles."""
    if p.grad.dtype.register not in ("float", "double"):
        return WeightConfig("plain")
    if target.kind != "cpu" or target.vector_width <= 1:
        if target.max_work_group < 256:
            return WeightConfig("plain")
        tiles = p.groups * ceil_div(p.k_count, 64) * ceil_div(p.c_count * prod(p.taps), 64)
        pixels = p.grad.shape[0] * p.grad.shape[2] * p.grad.shape[3]
        return WeightConfig("gemm", parts=max(1, min(ceil_div(8 * target.compute_units, tiles), pixels // 512)))
    found = [some for some in (choose_weight_channels(p, target), choose_weight_planes(p, target)) if some]
    return min(found, key=lambda some: some[1])[0] if found else WeightConfig("plain")


def choose_weight_channels(p: WeightProblem, target: Target) -> tuple[WeightConfig, float] | None:
    """The channels form and an estimate of its cycles, or None if local memory is too small for it.

    Items have about 256 pixels, of several images where those are small. Input channels per work-group, tile and parts
    are those of fewest cycles.
    """
    size = 8 if p.grad.dtype.register == "double" else 4
    width = max(2, min(16, target.vector_width * 4 // size))
    n, _, h, w = p.grad.shape
    vectors = 2 if p.k_count > width else 1
    space = min(target.local_memory - 512, SPACE)
    registers = 28 if target.vector_width >= 16 else 12
    rows = next((r for r in (h, 64, 32, 16, 8, 4, 2, 1) if r <= h and r * w <= 320), 1)
    images = max(1, min(n, 256 // (rows * w))) if rows == h else 1
    best, least = None, 1e30
    while best is None:
        items = ceil_div(n, images) * ceil_div(h, rows)
        for pieces in (1, 2, 3, 4, 6, 8, 16, 32, 64, p.c_count):
            chunk = ceil_div(p.c_count, min(pieces, p.c_count))
            tile = _best_taps(p.taps, chunk, vectors, registers)
            config = WeightConfig("channels", width, vectors, *tile, rows, images, chunk)
            if sum(_weight_local(p, config, size)[2:]) > space:
                continue
            for parts in (1, 2, 4, 8, 16):
                config = replace(config, parts=min(parts, items))
                cycles = _weight_cycles(p, config, target)
                if cycles < least:
                    best, least = config, cycles
        if images > 1:
            images //= 2
        elif rows > 1:
            rows = ceil_div(rows, 2)
        else:
            break
    return (best, least) if best else None


def _weight_cycles(p: WeightProblem, c: WeightConfig, target: Target) -> float:
    """An estimate of the time of a channels config, in cycles of all cores together: transposing dy, filling the slab,
    multiply-adds, keeping sums between items, storing them, and what a second launch adds.
    """
    slab_rows, pitch, *_ = _weight_local(p, c, 4)
    n, _, h, w = p.grad.shape
    taps = prod(p.taps)
    places = c.tile_c * c.tile_r * c.tile_s
    tiles = ceil_div(c.chunk, c.tile_c) * (taps // (c.tile_r * c.tile_s))
    pixel = max(places * c.vectors / 2, (places + c.vectors) / 2, 4.0) * 1.15
    rows = min(c.rows, h)
    item = c.images * rows * w * c.vectors * 8 + tiles * (c.images * rows * (12 + w * pixel) + 4 * places * c.vectors)
    if not _weight_direct(p):
        item += c.images * c.chunk * slab_rows * (6 + 2.5 * ceil_div(pitch, c.width))
    items = ceil_div(n, c.images) * ceil_div(h, c.rows)
    group = ceil_div(items, c.parts) * item + c.chunk * taps * c.vectors * 14 + 3000
    blocks = p.groups * ceil_div(p.k_count, c.vectors * c.width) * ceil_div(p.c_count, c.chunk)
    return shared_cycles(blocks * c.parts, group, target) + (c.parts > 1) * p.summing_cycles(c.parts, target)


def _best_taps(taps: Pair, channels: int, vectors: int, registers: int) -> tuple[int, int, int]:
    best, best_cost = (1, 1, 1), 1e30
    r, s = taps
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


def _lower_weight_channels(p: WeightProblem, c: WeightConfig, target: Target, epilogue: Epilogue) -> Lowered:
    dtype = p.grad.dtype
    size = 8 if dtype.register == "double" else 4
    slab_rows, pitch, *local = _weight_local(p, c, size)
    stride, padding, dilation, _, _ = p.attrs
    grad, given = p.grad, p.given
    n, _, h, w = grad.shape
    r, s = p.taps
    operands = epilogue_layouts(epilogue)
    index = index_type(grad, given, *operands)
    direct = _weight_direct(p)
    reduced = c.parts > 1 or not all(is_contiguous(some, 1) for some in operands)
    items = ceil_div(n, c.images) * ceil_div(h, c.rows)
    per_part = ceil_div(items, c.parts)
    parts = ceil_div(items, per_part)
    if reduced:
        store = {
            width: f"vec_store{width}(value, partial + part * (long)elements + (long)n * {r * s} * c_count"
            f" + c0 * {r * s} + x);"
            for width in (c.width, 4, 1)
        }
        extra: tuple[Argument, ...] = (Scratch(0), Value("int", p.elements))
        parameters = f", __global {dtype.register} *partial, const int elements"
        includes: tuple[str, ...] = ()
    else:
        finish = Finish(epilogue, index, ("n", "c0", "0", "x"))
        store, extra, parameters = finish.stores((c.width, 4, 1)), tuple(finish.args), finish.text()
        includes = finish.includes
    body = render(
        "conv_weight",
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
        SY=stride[0],
        SX=stride[1],
        DY=dilation[0],
        INDEX=index,
        DIRECT=direct,
        aload=loader(dtype),
        bload=loader(given.dtype),
        store=store,
        epilogue_parameters=parameters,
    )
    k_blocks, c_blocks = ceil_div(p.k_count, c.vectors * c.width), ceil_div(p.c_count, c.chunk)
    blocks = p.groups * k_blocks * c_blocks
    numbers = [
        ("int", k_blocks),
        ("int", c_blocks),
        ("int", p.k_count),
        ("int", p.c_count),
        (index, grad.offset),
        (index, grad.stride[0]),
        (index, grad.stride[1]),
        ("int", grad.stride[2]),
        (index, given.offset),
        (index, given.stride[0]),
        (index, given.stride[1]),
        ("int", given.stride[2]),
        ("int", given.shape[2]),
        ("int", given.shape[3]),
        ("int", n),
        ("int", h),
        ("int", w),
        ("int", items),
        ("int", per_part),
        ("int", ceil_div(h, c.rows)),
        ("int", c.rows),
        ("int", c.images),
        ("int", given.stride[2] if direct else pitch),
        ("int", slab_rows),
        ("int", c.chunk),
        ("int", -padding[0]),
        ("int", -padding[1]),
        ("int", blocks),
        ("int", dilation[1]),
    ]
    args = (Input(0), Input(1), *extra, *(Local(nbytes) for nbytes in local), *(Value(t, v) for t, v in numbers))
    traffic = float(grad.nbytes + given.nbytes + p.elements * size)
    main = Launch(KernelSource("conv_weight", body, (*includes, "conv")), args, (blocks * parts,), p.flops, traffic)
    if not reduced:
        return Lowered((main,))
    return Lowered((main, reduce_launch(p.elements, parts, dtype, target, epilogue)), (parts * p.elements * size,))


def _lower_weight_gemm(p: WeightProblem, c: WeightConfig, target: Target, epilogue: Epilogue) -> Lowered:
    grad, given = p.grad, p.given
    stride, padding, dilation, _, _ = p.attrs
    n, _, h, w = grad.shape
    r, s = p.taps
    index = index_type(grad, given, *epilogue_layouts(epilogue))
    parts = ceil_div(n * h * w, round_up(ceil_div(n * h * w, c.parts), 16))
    launch = gemm_launch(
        "conv_weight",
        True,
        grad,
        (grad.stride[0], grad.stride[1], grad.stride[2], 0),
        given,
        (p.groups, p.k_count, p.c_count),
        p.c_count * r * s,
        n * h * w,
        parts,
        (h, w, *stride),
        (0, 1, r, -padding[0], dilation[0]),
        (0, 1, s, -padding[1], dilation[1]),
        s,
        (1, 1, 0, 0),
        (0, 1),
        Finish(epilogue, index) if parts == 1 else None,
        p.flops,
        index,
    )
    if parts == 1:
        return Lowered((launch,))
    size = 8 if grad.dtype.register == "double" else 4
    return Lowered(
        (launch, reduce_launch(p.elements, parts, grad.dtype, target, epilogue)), (parts * p.elements * size,)
    )


def _lower_weight_plain(p: WeightProblem, target: Target, epilogue: Epilogue) -> Lowered:
    grad = p.grad
    return plain_launch(
        "conv_weight",
        "weight",
        p.given,
        grad,
        (grad.stride[0], grad.stride[1], grad.stride[2]),
        epilogue.shape,
        (grad.shape[0], p.c_count, p.k_count),
        (grad.shape[2], grad.shape[3]),
        p.attrs,
        target,
        epilogue,
        (1, 0),
        p.flops,
    )


def lower_conv_weight(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
    config: WeightConfig | None = None,
) -> Lowered:
    """dw (K, C / groups, R, S) of dy (N, K, Ho, Wo) and x (N, C, H, W), then the epilogue."""
    grad, given = inputs[0], inputs[1]
    require("conv_weight", "grad_output", grad, accepts(grad), "unit stride in the last dim")
    require("conv_weight", "input", given, accepts(given), "unit stride in the last dim")
    epilogue = epilogue or Epilogue.identity(outputs[0])
    if 0 in epilogue.shape:
        return Lowered(())
    groups = attrs[3]
    k, per_group, r, s = epilogue.shape
    if not grad.numel or not given.numel:
        config = WeightConfig("plain")
    elif config is None and r == 1 and attrs[1][0] == 0:
        if attrs[:2] == ((1, 1), (0, 0)) and s == 1:
            row = long_row(grad)
            grad, given = merged_rows(grad, row) or grad, merged_rows(given, row) or given
            if grad.shape[2:] != given.shape[2:]:
                grad, given = inputs[0], inputs[1]
        elif attrs[0][0] > 1:
            given, attrs = every_row(given, attrs[0][0]), ((1, attrs[0][1]), *attrs[1:])
    p = WeightProblem(grad, given, groups, k // groups, per_group, (r, s), attrs)
    config = config or choose_weight(p, target)
    if config.form == "channels":
        return _lower_weight_channels(p, config, target, epilogue)
    if config.form == "planes":
        return lower_weight_planes(p, config, target, epilogue)
    if config.form == "gemm":
        return _lower_weight_gemm(p, config, target, epilogue)
    return _lower_weight_plain(p, target, epilogue)
