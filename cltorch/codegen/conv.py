"""Lowers 2-D convolutions over NCHW tensors: forward, gradient of the input, gradient of the weight.

Floor 1b. `attrs` is `(stride, padding, dilation, groups, extra)`; the first three are pairs (y, x), `extra` is None for
the forward direction, the input's (H, W) for the gradient of the input and the kernel's (R, S) for that of the weight.

Four forms, each a template with its own description; `choose_*` pick one and its parameters from the problem and the
Target, and every lowering takes a `ConvConfig` or `WeightConfig` instead, so that a tuner may decide otherwise:

- `channels`: vectors along output channels, weights packed and input rows padded in local memory (CPU class,
  the usual one);
- `pixels`: vectors along a row of pixels, for few output channels (CPU class);
- `gemm`: implicit matrix product with local-memory tiles (GPU class);
- `plain`: loops with bounds checks, for whatever fits nowhere else.

Inputs must have unit stride in their last dim (`accepts`), weights also contiguous taps (`accepts_weight`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import gcd, prod

from ..dtypes import DType, bfloat16, float16
from ..shapes import Layout, layout
from ..target import Target
from . import expression
from .program import Epilogue
from .source import Argument, Input, KernelSource, Launch, Local, Lowered, Output, Scalar, Scratch, Value, render

Pair = tuple[int, int]


@dataclass(frozen=True)
class ConvConfig:
    """The parameters of a convolution kernel.

    Attributes:
        form: 'channels', 'pixels', 'gemm' or 'plain'.
        width: lanes of a vector.
        vectors: vectors of channels (channels) or of pixels (pixels) in a register tile.
        tile_y, tile_x: the other side of the register tile: rows and columns of output pixels (channels); rows of
            pixels and output channels (pixels).
        rows: output rows per item.
        chunk: channels of the reduction held in local memory at once.
        parts: pieces into which the items are split, each a work-group per block of channels.
        direct: read the input from global memory instead of a padded copy.
    """

    form: str
    width: int = 8
    vectors: int = 1
    tile_y: int = 1
    tile_x: int = 1
    rows: int = 1
    chunk: int = 1
    parts: int = 1
    direct: bool = False


# ---- shapes


def infer_conv(layouts: Sequence[Layout], attrs: tuple) -> tuple[tuple[DType, tuple[int, ...]], ...]:
    """((dtype, (N, K, Ho, Wo)),) of a convolution of x (N, C, H, W) with w (K, C / groups, R, S).

    Raises RuntimeError in PyTorch's cases: wrong number of dims or channels, groups that do not divide, a
    kernel larger than the input.
    """
    x, w = layouts[0], layouts[1]
    stride, padding, dilation, groups, _ = attrs
    if len(x.shape) != 4 or len(w.shape) != 4:
        raise RuntimeError(
            f"conv: input: got shapes {x.shape} and weight {w.shape}, wanted (N, C, H, W) and (K, C/groups, R, S)"
        )
    if x.dtype is not w.dtype:
        raise RuntimeError(f"conv: weight: got {w.dtype.name}, wanted the input's dtype {x.dtype.name}")
    if groups < 1:
        raise RuntimeError(f"conv: groups: got {groups}, wanted at least 1")
    if min(stride) < 1 or min(dilation) < 1:
        raise RuntimeError(f"conv: stride and dilation: got {stride} and {dilation}, wanted at least 1")
    if min(padding) < 0:
        raise RuntimeError(f"conv: negative padding is not supported, got {padding}")
    n, c, h, width = x.shape
    k, per_group, r, s = w.shape
    if k % groups:
        raise RuntimeError(f"conv: weight: got {k} output channels, wanted a multiple of groups={groups}")
    if c != per_group * groups:
        raise RuntimeError(
            f"conv: Given groups={groups}, weight of size {list(w.shape)}, expected input{list(x.shape)} to have "
            f"{per_group * groups} channels, but got {c} channels instead"
        )
    out = []
    for size, pad, taps, step, apart in zip((h, width), padding, (r, s), stride, dilation):
        span = apart * (taps - 1) + 1
        if taps < 1 or size + 2 * pad < span:
            raise RuntimeError(
                f"conv: Calculated padded input size per channel: ({h + 2 * padding[0]} x {width + 2 * padding[1]}). "
                f"Kernel size: ({dilation[0] * (r - 1) + 1} x {dilation[1] * (s - 1) + 1}). "
                "Kernel size can't be greater than actual input size"
            )
        out.append((size + 2 * pad - span) // step + 1)
    return ((x.dtype, (n, k, out[0], out[1])),)


def infer_conv_input(layouts: Sequence[Layout], attrs: tuple) -> tuple[tuple[DType, tuple[int, ...]], ...]:
    """((dtype, (N, C, H, W)),) of the gradient of the input, from dy (N, K, Ho, Wo) and w (K, C / groups, R, S).

    `attrs` ends with the input's (H, W).

    Raises RuntimeError if dy's shape is not what the convolution would give.
    """
    dy, w = layouts[0], layouts[1]
    shape = (dy.shape[0], w.shape[1] * attrs[3], *attrs[4])
    _check_output("conv_input", dy, infer_conv((layout(dy.dtype, shape), w), attrs))
    return ((dy.dtype, shape),)


def infer_conv_weight(layouts: Sequence[Layout], attrs: tuple) -> tuple[tuple[DType, tuple[int, ...]], ...]:
    """((dtype, (K, C / groups, R, S)),) of the gradient of the weight, from dy (N, K, Ho, Wo) and x (N, C, H, W).

    `attrs` ends with the kernel's (R, S).

    Raises RuntimeError if dy's shape is not what the convolution would give.
    """
    dy, x = layouts[0], layouts[1]
    shape = (dy.shape[1], x.shape[1] // attrs[3], *attrs[4])
    _check_output("conv_weight", dy, infer_conv((x, layout(x.dtype, shape)), attrs))
    return ((dy.dtype, shape),)


def _check_output(op: str, dy: Layout, wanted: tuple[tuple[DType, tuple[int, ...]], ...]) -> None:
    if (dy.dtype, dy.shape) != wanted[0]:
        raise RuntimeError(
            f"{op}: grad_output: got {dy.dtype.name} {dy.shape}, wanted {wanted[0][0].name} {wanted[0][1]}"
        )


def accepts(given: Layout) -> bool:
    """True if the lowerings take `given` as x or dy: unit stride in the last dim."""
    return given.numel == 0 or given.shape[3] == 1 or given.stride[3] == 1


def accepts_weight(given: Layout) -> bool:
    """True if the lowerings take `given` as w: the taps of one pair of channels lie contiguously."""
    _, _, r, s = given.shape
    return given.numel == 0 or ((s == 1 or given.stride[3] == 1) and (r == 1 or given.stride[2] == s))


def _require(op: str, argument: str, given: Layout, ok: bool, wanted: str) -> None:
    if not ok:
        raise ValueError(
            f"{op}: {argument}: needs_contiguous: got shape {given.shape} with strides {given.stride}, wanted {wanted}"
        )


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


def _up(a: int, b: int) -> int:
    return _ceil(a, b) * b


# ---- the epilogue at any width


class _Finish:
    """Renders an Epilogue whose output is 4-D: kernel parameters, their arguments, and store statements at any width.

    The kernel names the place of the first of `width` elements, which follow each other along the last dim, `names`.
    """

    def __init__(
        self, epilogue: Epilogue, index: str, names: tuple[str, str, str, str] = ("n", "c", "y", "x"), operands: int = 2
    ):
        self.epilogue, self.index, self.names = epilogue, index, names
        self.parameters: list[str] = []
        self.args: list[Argument] = []
        self.includes: tuple[str, ...] = ()
        self._steps: dict[str, list[str | None]] = {}
        stored = len(epilogue.stores)
        for i, (_, out) in enumerate(epilogue.stores):
            self._operand(f"o{i}", f"__global {out.dtype.storage} *o{i}", Output(i), out)
        for i, given in enumerate(epilogue.inputs):
            self._operand(f"i{i}", f"const __global {given.dtype.storage} *i{i}", Input(operands + i), given)
        self.parameters += expression.scalar_parameters(epilogue.scalars)
        self.args += [Scalar(i, expression.scalar_ctype(d)) for i, d in enumerate(epilogue.scalars)]
        self.numbered = any(getattr(instr, "expr", "") == "index" for instr in epilogue.instrs)
        if self.numbered:
            for d, size in zip("123", epilogue.shape[1:]):
                self.parameters.append(f"const int size{d}")
                self.args.append(Value("int", size))
        assert stored

    def _operand(self, name: str, declaration: str, buffer: Argument, given: Layout) -> None:
        self.parameters += [declaration, f"const {self.index} {name}_o"]
        self.args += [buffer, Value(self.index, given.offset)]
        steps: list[str | None] = []
        for d, (size, stride) in enumerate(zip(given.shape, given.stride)):
            if d == 3 and (size == 1 or stride == 1):
                steps.append("1")
            elif stride == 0 or size == 1:
                steps.append(None)
            else:
                steps.append(f"{name}_{d}")
                self.parameters.append(f"const {self.index} {name}_{d}")
                self.args.append(Value(self.index, stride))
        self._steps[name] = steps

    def flat(self) -> bool:
        """True if the last two dims of every operand may be walked as one."""
        return all(
            given.shape[2] == 1
            or given.stride[2] == (given.stride[3] if given.shape[3] > 1 else 1) * given.shape[3]
            or (given.shape[3] > 1 and given.stride[2] == given.stride[3] == 0)
            for given in (*self.epilogue.inputs, *(out for _, out in self.epilogue.stores))
        )

    def text(self) -> str:
        """The parameters, to stand after others."""
        return "".join(f", {p}" for p in self.parameters)

    def _pointer(self, name: str) -> str:
        terms = [
            f"{place} * {step}" if step != "1" else place for place, step in zip(self.names, self._steps[name]) if step
        ]
        return " + ".join([name, f"{name}_o", *terms])

    def _load(self, i: int, width: int) -> str:
        given, step = self.epilogue.inputs[i], self._steps[f"i{i}"][3]
        pointer = self._pointer(f"i{i}")
        if step == "1" and (given.shape[3] > 1 or given.stride[3] == 1):
            return expression.load(given.dtype, pointer, width)
        if step is None or step == "1":
            text = expression.load(given.dtype, pointer, 1)
            return text if width == 1 else f"({expression.register_type(given.dtype, width)})({text})"
        return expression.gather(given.dtype, pointer, step, width)

    def store(self, width: int, value: str = "value") -> str:
        """Statements that finish and store `value`, of `width` elements."""
        number = None
        if self.numbered:
            a, b, c, d = self.names
            number = f"((((long)({a}) * size1 + {b}) * size2 + {c}) * size3 + {d})"
            if width > 1:
                number = f"((long{width})({number}) + (long{width})({', '.join(map(str, range(width)))}))"
        lines, stores, includes = expression.emit_epilogue(
            self.epilogue, width, value, lambda i: self._load(i, width), prefix="e", index=number
        )
        self.includes = includes
        lines = list(lines)
        for i, text in stores:
            out, step, pointer = self.epilogue.stores[i][1], self._steps[f"o{i}"][3], self._pointer(f"o{i}")
            if step == "1":
                lines.append(expression.store(out.dtype, text, pointer, width))
            else:
                lines.append(expression.scatter(out.dtype, text, pointer, step or "0", width))
        return "{ " + "\n".join(lines) + " }"

    def stores(self, widths: Sequence[int]) -> dict[int, str]:
        """`store` at each of `widths`."""
        return {width: self.store(width) for width in widths}


def _loader(dtype: DType) -> str:
    """The prelude's function, less its width, that loads elements of `dtype` into registers."""
    return "half_load" if dtype is float16 else "bf16_load" if dtype is bfloat16 else "vec_load"


def _index_type(*layouts: Layout) -> str:
    return "long" if any(given.extent()[1] >= 1 << 31 for given in layouts) else "int"


def _epilogue_layouts(epilogue: Epilogue) -> tuple[Layout, ...]:
    return (*epilogue.inputs, *(out for _, out in epilogue.stores))


# ---- forward and gradient of the input, as one problem


@dataclass(frozen=True)
class _Axis:
    """How output and input positions meet along one dim.

    Output position o = first + i * out_step + phase (i = 0, 1, …; first a multiple of out_step) reads the input at
    base + first / out_step * in_step + i * in_step + a, for each tap t of its phase.

    `phases`: (phase, (t0, dt, count, a0, da)): taps t0 + i * dt read a0 + i * da, i < count. `reach`: the greatest a.
    """

    in_step: int
    out_step: int
    base: int
    reach: int
    phases: tuple[tuple[int, tuple[int, int, int, int, int]], ...]

    @staticmethod
    def forward(taps: int, stride: int, padding: int, dilation: int) -> _Axis:
        return _Axis(stride, 1, -padding, (taps - 1) * dilation, ((0, (0, 1, taps, 0, dilation)),))

    @staticmethod
    def backward(taps: int, stride: int, padding: int, dilation: int) -> _Axis:
        of_phase = [[t for t in range(taps) if (b + padding - t * dilation) % stride == 0] for b in range(stride)]
        places = [(b + padding - t * dilation) // stride for b in range(stride) for t in of_phase[b]]
        base = min(places)
        step = stride // gcd(stride, dilation)
        phases = []
        for b, some in enumerate(of_phase):
            t0 = some[0] if some else 0
            a0 = (b + padding - t0 * dilation) // stride - base if some else 0
            phases.append((b, (t0, step, len(some), a0, -(step * dilation // stride))))
        return _Axis(1, stride, base, max(places) - base, tuple(phases))


@dataclass(frozen=True)
class _Problem:
    """A forward convolution or the gradient of its input, seen from the output (M) and the input (Q channels).
    """

    op: str
    given: Layout
    weight: Layout
    out_shape: tuple[int, ...]
    groups: int
    m_count: int
    q_count: int
    taps: Pair
    w_m: int
    w_q: int
    w_g: int
    y: _Axis
    x: _Axis
    attrs: tuple

    @property
    def flops(self) -> float:
        n, c, h, w = self.given.shape if self.op == "conv_input" else self.out_shape
        q = self.m_count if self.op == "conv_input" else self.q_count
        return 2.0 * n * c * h * w * q * prod(self.taps)


def _problem(op: str, given: Layout, weight: Layout, out_shape: tuple[int, ...], attrs: tuple) -> _Problem:
    stride, padding, dilation, groups, _ = attrs
    k, per_group, r, s = weight.shape
    axis = _Axis.forward if op == "conv" else _Axis.backward
    axes = [axis(*some) for some in zip((r, s), stride, padding, dilation)]
    w0, w1 = weight.stride[0], weight.stride[1]
    if op == "conv":
        m, q, w_m, w_q = k // groups, per_group, w0, w1
    else:
        m, q, w_m, w_q = per_group, k // groups, w1, w0
    return _Problem(
        op, given, weight, out_shape, groups, m, q, (r, s), w_m, w_q, k // groups * w0, axes[0], axes[1], attrs
    )


@dataclass(frozen=True)
class _Geometry:
    """Sizes that follow from a problem and a config of the channels form."""

    phase_rows: int
    phase_columns: int
    slab_rows: int
    pitch: int
    sums_pitch: int
    sums_item: int  # vectors
    items: int
    items_per_part: int
    local: tuple[int, int, int]  # bytes of slab, packed weights and sums


def _geometry(p: _Problem, c: ConvConfig, size: int) -> _Geometry:
    n, _, h, w = p.out_shape
    rows = _up(_ceil(min(c.rows, h), p.y.out_step), c.tile_y)
    columns = _up(_ceil(w, p.x.out_step), c.tile_x)
    slab_rows = (rows - 1) * p.y.in_step + p.y.reach + 1
    pitch = (columns - 1) * p.x.in_step + p.x.reach + 1
    sums_pitch = columns * p.x.out_step
    sums_item = rows * p.y.out_step * sums_pitch * c.vectors
    items = n * _ceil(h, c.rows)
    per_part = _ceil(items, c.parts)
    held = per_part if c.chunk < p.q_count else 1
    vector = c.width * size
    local = (
        0 if c.direct else (c.chunk * slab_rows * pitch + c.width) * size,
        (c.chunk * prod(p.taps) + c.width) * c.vectors * vector,
        (held * sums_item + c.width * c.vectors) * vector,
    )
    return _Geometry(rows, columns, slab_rows, pitch, sums_pitch, sums_item, items, per_part, local)


def _register_tile(width: int, target: Target) -> int:
    """Accumulators a register tile may have: 24 of 32 registers with 512-bit vectors, 12 of 16 otherwise."""
    return 24 if target.vector_width >= 16 else 12


_SPACE = 192 << 10  # local memory beyond this would fall out of a core's second-level cache


@lru_cache(maxsize=4096)
def choose_channels(p: _Problem, target: Target) -> ConvConfig | None:
    """The channels form for a problem, or None if local memory is too small for it.

    Two vectors of output channels where there are that many. The tile of pixels is the one that wastes fewest
    cycles at the edges and on loads (a core multiplies two vectors and loads two per cycle); items have about 256
    pixels; the chunk is what fits;
    parts give eight work-groups per core if each keeps 256 pixels over which to amortise packing
    the weights.
    """
    size = 8 if p.given.dtype.register == "double" else 4
    width = max(2, min(16, target.vector_width * 4 // size))
    n, _, h, w = p.out_shape
    vectors = 2 if p.m_count > width else 1
    columns = _ceil(w, p.x.out_step)
    space = min(target.local_memory - 512, _SPACE)
    rows_options = [h] + [r for r in (64, 32, 16, 8, 4, 2, 1) if r < h and r % p.y.out_step == 0] + [p.y.out_step]
    wanted = [r for r in rows_options if r * w <= 320] or [min(rows_options)]
    blocks = p.groups * _ceil(p.m_count, vectors * width)
    for rows in wanted:
        rows = min(rows, h)
        phase_rows = _ceil(rows, p.y.out_step)
        tile_y, tile_x = _best_tile(phase_rows, columns, vectors, _register_tile(width, target))
        first = ConvConfig("channels", width, vectors, tile_y, tile_x, rows)
        items = n * _ceil(h, rows)
        parts = min(items, max(1, _ceil(8 * target.compute_units, blocks)))
        most = max(target.compute_units * 2 // blocks, n * h * w // 256, 1)
        parts = max(1, min(parts, most))
        direct = _may_be_direct(p, first)
        chunk = p.q_count
        while chunk:
            config = replace(first, chunk=chunk, parts=parts, direct=direct)
            geometry = _geometry(p, config, size)
            if sum(geometry.local) <= space:
                return config
            if chunk < p.q_count and geometry.local[2] * 2 > space and parts < items:
                parts = min(items, parts * 2)
                continue
            chunk = chunk // 2 if chunk > 1 else 0
    return None


def _best_tile(rows: int, columns: int, vectors: int, registers: int) -> Pair:
    best, best_cost = (1, 1), 1e30
    for y in range(1, 5):
        for x in range(1, 17):
            pixels = y * x
            if pixels * vectors > registers:
                break
            tiles = _ceil(rows, y) * _ceil(columns, x)
            cycles = max(pixels * vectors / 2, (pixels + vectors) / 2 + 1, 4.0)
            cost = tiles * (cycles + 0.25)
            if cost < best_cost:
                best, best_cost = (y, x), cost
    return best


def _may_be_direct(p: _Problem, c: ConvConfig) -> bool:
    """True where nothing is padded and tiles cover the rows exactly, so that nothing outside the input is read."""
    _, _, h, w = p.out_shape
    if p.op != "conv" or p.y.base < 0 or p.x.base < 0 or p.given.dtype.storage != p.given.dtype.register:
        return False
    return w % c.tile_x == 0 and h % c.rows == 0 and c.rows % c.tile_y == 0


def _lower_channels(p: _Problem, c: ConvConfig, epilogue: Epilogue) -> Lowered:
    dtype = p.given.dtype
    size = 8 if dtype.register == "double" else 4
    g = _geometry(p, c, size)
    n, m_all, h, w = p.out_shape
    index = _index_type(p.given, p.weight, *_epilogue_layouts(epilogue))
    finish = _Finish(epilogue, index)
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
        iload=_loader(dtype),
        wload=_loader(p.weight.dtype),
        store=finish.stores((c.width, 4, 1)),
        epilogue_parameters=finish.text(),
    )
    blocks = _ceil(p.m_count, c.vectors * c.width)
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
        ("int", _ceil(h, c.rows)),
        ("int", c.rows),
        ("int", given.stride[2] if c.direct else g.pitch),
        ("int", g.slab_rows),
        ("int", c.chunk),
        ("int", g.sums_pitch),
        ("int", g.sums_item if c.chunk < p.q_count else 0),
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
        (Launch(source, args, (blocks * p.groups * _ceil(g.items, g.items_per_part),), p.flops, _traffic(p, epilogue)),)
    )


@lru_cache(maxsize=4096)
def choose_pixels(p: _Problem, target: Target, overlap: bool) -> ConvConfig | None:
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
    registers = _register_tile(width, target)
    padded = (
        p.y.base < 0
        or p.x.base < 0
        or p.y.base + h + p.y.reach > p.given.shape[2]
        or p.x.base + w + p.x.reach > p.given.shape[3]
    )
    direct = shifted and not padded and p.given.dtype.storage == p.given.dtype.register
    most = min(p.m_count, 8)
    blocks = _ceil(p.m_count, most)
    channels = _ceil(p.m_count, blocks)
    wanted = _ceil(4 * target.compute_units, p.groups * blocks * n)
    rows = max(min(h, 4), _ceil(h, max(1, wanted)))
    space = min(target.local_memory - 512, _SPACE)
    while True:
        best, best_cost = None, 1e30
        tail = h % rows or rows
        for y in range(1, min(8, rows, tail) + 1 if overlap else 2):
            for v in (1, 2, 3, 4):
                if channels * y * v > registers:
                    continue
                cycles = max(channels * y * v / 2, (2 * y * v + channels) / 2, 4.0) + 0.5
                cost = cycles * _ceil(rows, y) * _ceil(w, v * width)
                if cost < best_cost:
                    best, best_cost = (y, v), cost
        if best is None:
            return None
        items = n * _ceil(h, rows)
        config = ConvConfig(
            "pixels",
            width,
            best[1],
            best[0],
            channels,
            rows,
            p.q_count,
            min(items, _ceil(16 * target.compute_units, blocks)),
            direct,
        )
        if sum(_pixels_local(p, config, size)[2:]) <= space:
            return config
        if rows == 1:
            return None
        rows = _ceil(rows, 2)


def _pixels_local(p: _Problem, c: ConvConfig, size: int) -> tuple[int, int, int, int]:
    """Slab rows, pitch, and bytes of the slab and of a finished tile."""
    slab_rows = min(c.rows, p.out_shape[2]) + p.y.reach
    pitch = _up(p.out_shape[3], c.vectors * c.width) + p.x.reach
    slab = 0 if c.direct else (p.q_count * slab_rows * pitch + c.width) * size
    return slab_rows, pitch, slab, c.tile_x * c.tile_y * c.vectors * c.width * size


def _lower_pixels(p: _Problem, c: ConvConfig, epilogue: Epilogue) -> Lowered:
    dtype = p.given.dtype
    size = 8 if dtype.register == "double" else 4
    slab_rows, pitch, *local = _pixels_local(p, c, size)
    n, _, h, w = p.out_shape
    given, weight = p.given, p.weight
    index = _index_type(given, weight, *_epilogue_layouts(epilogue))
    finish = _Finish(epilogue, index)
    overlap = w >= c.width and _stores_twice(epilogue)
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
        iload=_loader(dtype),
        wload=_loader(weight.dtype),
        store=finish.stores((c.width, 4, 1)),
        epilogue_parameters=finish.text(),
    )
    blocks = _ceil(p.m_count, c.tile_x)
    items = n * _ceil(h, c.rows)
    per_part = _ceil(items, c.parts)
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
        ("int", _ceil(h, c.rows)),
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
        (Launch(source, args, (blocks * p.groups * _ceil(items, per_part),), p.flops, _traffic(p, epilogue)),)
    )


def _stores_twice(epilogue: Epilogue) -> bool:
    """True if an element may be finished and stored twice: what is stored is never read again."""
    return all(alias < 0 for alias in epilogue.aliases)


def _traffic(p: _Problem, epilogue: Epilogue) -> float:
    return float(p.given.nbytes + p.weight.nbytes + sum(some.nbytes for some in _epilogue_layouts(epilogue)))


def _plain_launch(
    op: str,
    direction: str,
    a: Layout,
    b: Layout,
    b_steps: tuple[int, int, int],
    shape: tuple[int, ...],
    counts: tuple[int, int, int],
    loops: Pair,
    attrs: tuple,
    target: Target,
    epilogue: Epilogue,
    inputs: Pair,
    flops: float,
) -> Lowered:
    stride, padding, dilation, _, _ = attrs
    index = _index_type(a, b, *_epilogue_layouts(epilogue))
    finish = _Finish(epilogue, index)
    local = 64 if target.kind == "gpu" else 1
    body = render(
        "conv_plain",
        LOCAL=local,
        AT=a.dtype.storage,
        BT=b.dtype.storage,
        T=a.dtype.register,
        INDEX=index,
        DIRECTION=direction,
        aload=f"{_loader(a.dtype)}1",
        bload=f"{_loader(b.dtype)}1",
        store=finish.stores((1,)),
        epilogue_parameters=finish.text(),
    )
    elements = prod(shape)
    grain = 1 if target.kind == "gpu" else max(1, _ceil(elements, 16 * target.compute_units))
    if target.loop_limit:
        grain = min(grain, target.loop_limit)
    numbers = [
        (index, a.offset),
        (index, a.stride[0]),
        (index, a.stride[1]),
        (index, a.stride[2]),
        ("int", a.shape[2]),
        ("int", a.shape[3]),
        (index, b.offset),
        *((index, step) for step in b_steps),
        *(("int", d) for d in shape),
        *(("int", c) for c in counts),
        *(("int", d) for d in loops),
        *(("int", d) for pair in (stride, padding, dilation) for d in pair),
        (index, elements),
        ("int", grain),
    ]
    args = (Input(inputs[0]), Input(inputs[1]), *finish.args, *(Value(t, v) for t, v in numbers))
    source = KernelSource(op, body, finish.includes, (local,))
    return Lowered((Launch(source, args, (_up(_ceil(elements, grain), local),), flops, 0.0),))


def _gemm_launch(
    op: str,
    weight: bool,
    a: Layout,
    a_steps: tuple[int, int, int, int],
    b: Layout,
    counts: tuple[int, int, int],
    columns: int,
    reduction: int,
    parts: int,
    place: tuple[int, ...],
    tap_rows: tuple[int, ...],
    tap_columns: tuple[int, ...],
    s: int,
    out: tuple[int, int, int, int],
    inputs: Pair,
    finish: _Finish | None,
    flops: float,
    index: str,
) -> Launch:
    """One launch of conv_gemm; without `finish` it stores to Scratch(0)."""
    groups, m_count, q_count = counts
    if finish is None:
        taps = tap_rows[2] * s
        parameters = f", __global {a.dtype.register} *partial, const {index} elements"
        store = f"partial[part * (long)elements + (n * (long)q_count + c) * {taps} + y * S + x] = value;"
        extra: tuple[Argument, ...] = (Scratch(0), Value(index, groups * m_count * columns))
        includes: tuple[str, ...] = ()
    else:
        parameters, store, extra, includes = finish.text(), finish.store(1), tuple(finish.args), ()
        includes = finish.includes
    body = render(
        "conv_gemm",
        T=a.dtype.register,
        AT=a.dtype.storage,
        BT=b.dtype.storage,
        INDEX=index,
        WEIGHT=weight,
        aload=_loader(a.dtype),
        bload=_loader(b.dtype),
        store={1: store},
        epilogue_parameters=parameters,
    )
    share = _up(_ceil(reduction, parts), 16)
    numbers = [
        ("int", groups),
        ("int", m_count),
        ("int", q_count),
        (index, columns),
        (index, reduction),
        (index, share),
        (index, a.offset),
        *((index, step) for step in a_steps),
        (index, b.offset),
        (index, b.stride[0]),
        (index, b.stride[1]),
        (index, b.stride[2]),
        ("int", b.shape[2]),
        ("int", b.shape[3]),
        *(("int", v) for v in (*place, *tap_rows, *tap_columns, s, *out)),
    ]
    args = (Input(inputs[0]), Input(inputs[1]), *extra, *(Value(t, v) for t, v in numbers))
    source = KernelSource(op, body, includes, (256, 1, 1))
    return Launch(
        source, args, (256 * _ceil(columns, 64), _ceil(m_count, 64), groups * parts), flops, float(a.nbytes + b.nbytes)
    )


def _lower_gemm(p: _Problem, epilogue: Epilogue) -> Lowered:
    """One launch per phase: the residue classes of output positions modulo the stride, of which a forward pass
    has one.
    """
    n, _, h, w = p.out_shape
    index = _index_type(p.given, p.weight, *_epilogue_layouts(epilogue))
    launches = []
    for by, (r0, dr, nr, a0, da) in p.y.phases:
        for bx, (s0, ds, ns, b0, db) in p.x.phases:
            rows, length = _ceil(h - by, p.y.out_step), _ceil(w - bx, p.x.out_step)
            if rows <= 0 or length <= 0:
                continue
            launches.append(
                _gemm_launch(
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
                    _Finish(epilogue, index),
                    p.flops / len(p.y.phases) / len(p.x.phases),
                    index,
                )
            )
    return Lowered(tuple(launches))


def _lower_plain(p: _Problem, target: Target, epilogue: Epilogue) -> Lowered:
    direction = "forward" if p.op == "conv" else "input"
    return _plain_launch(
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


def choose(p: _Problem, target: Target, overlap: bool = True) -> ConvConfig:
    """The form and its parameters for a forward convolution or the gradient of its input.

    On CPUs vectors run along whichever of output channels and pixels of a row fills more lanes, at equal
    filling along channels.
    """
    if target.kind != "cpu" or target.vector_width <= 1:
        return ConvConfig("gemm" if target.max_work_group >= 256 else "plain")
    width = target.vector_width if p.given.dtype.register == "float" else max(2, target.vector_width // 2)
    w = p.out_shape[3]
    columns = 1.0 if w >= width and overlap else w / _up(w, width)
    if p.m_count <= 12 and 0.9 * columns * w / max(w, width) > p.m_count / _up(p.m_count, width):
        found = choose_pixels(p, target, overlap)
        if found is not None:
            return found
    return choose_channels(p, target) or ConvConfig("plain")


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
    _require(op, "input" if op == "conv" else "grad_output", given, accepts(given), "unit stride in the last dim")
    _require(op, "weight", weight, accepts_weight(weight), "contiguous last two dims")
    epilogue = epilogue or Epilogue.identity(outputs[0])
    if 0 in epilogue.shape:
        return Lowered(())
    p = _problem(op, given, weight, epilogue.shape, attrs)
    if not given.numel or not weight.numel:
        config = ConvConfig("plain")
    config = config or choose(p, target, _stores_twice(epilogue))
    if config.form == "channels":
        return _lower_channels(p, config, epilogue)
    if config.form == "pixels":
        return _lower_pixels(p, config, epilogue)
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


# ---- gradient of the weight


@dataclass(frozen=True)
class _WeightProblem:
    """The gradient of a convolution's weight: K and C are counted per group."""

    grad: Layout
    given: Layout
    groups: int
    k_count: int
    c_count: int
    taps: Pair
    attrs: tuple

    @property
    def flops(self) -> float:
        return 2.0 * self.grad.numel * self.c_count * prod(self.taps)

    @property
    def elements(self) -> int:
        return self.groups * self.k_count * self.c_count * prod(self.taps)


@dataclass(frozen=True)
class WeightConfig:
    """The parameters of a weight-gradient kernel.

    Attributes:
        form: 'channels', 'pixels', 'gemm' or 'plain'.
        width: lanes of a vector.
        vectors: vectors of output channels (channels), or single output channels (pixels), in a register tile.
        tile_c, tile_r, tile_s: input channels and taps in a register tile; tile_r and tile_s divide the kernel's size.
        rows: output rows per item.
        images: images per item.
        chunk: input channels per work-group.
        parts: pieces into which the items are split; more than one needs scratch and a second launch.
    """

    form: str
    width: int = 8
    vectors: int = 1
    tile_c: int = 1
    tile_r: int = 1
    tile_s: int = 1
    rows: int = 1
    images: int = 1
    chunk: int = 1
    parts: int = 1


def _weight_local(p: _WeightProblem, c: WeightConfig, size: int) -> tuple[int, int, int, int, int]:
    """Slab rows, pitch, and bytes of slab, transposed dy and sums."""
    stride, _, dilation, _, _ = p.attrs
    _, _, h, w = p.grad.shape
    slab_rows = (min(c.rows, h) - 1) * stride[0] + (p.taps[0] - 1) * dilation[0] + 1
    pitch = (w - 1) * stride[1] + (p.taps[1] - 1) * dilation[1] + 1
    held = _up(c.chunk, c.tile_c)
    vector = c.width * size
    return (
        slab_rows,
        pitch,
        64 if _weight_direct(p) else (c.images * held * slab_rows * pitch + c.width) * size,
        (max(c.images * min(c.rows, h) * w * c.vectors, c.width) + c.width) * vector,
        (held * prod(p.taps) * c.vectors + c.width * c.vectors) * vector,
    )


def _weight_direct(p: _WeightProblem) -> bool:
    """True if the weight kernel of the channels form may read the input where it lies: nothing is padded,
    nothing to convert.
    """
    return p.attrs[1] == (0, 0) and p.given.dtype.storage == p.given.dtype.register


@lru_cache(maxsize=4096)
def choose_weight(p: _WeightProblem, target: Target) -> WeightConfig:
    """The form and its parameters for the gradient of a weight.

    Items have about 256 pixels, of several images where those are small. Input channels per work-group: up to 32 (more
    for kernels of few taps), fewer to give every core two work-groups. Splitting the images costs scratch and a second
    launch, so it is only done for problems of more than 20 million multiply-adds that would leave cores idle.
    """
    if target.kind != "cpu" or target.vector_width <= 1:
        if target.max_work_group < 256:
            return WeightConfig("plain")
        tiles = p.groups * _ceil(p.k_count, 64) * _ceil(p.c_count * prod(p.taps), 64)
        pixels = p.grad.shape[0] * p.grad.shape[2] * p.grad.shape[3]
        return WeightConfig("gemm", parts=max(1, min(_ceil(8 * target.compute_units, tiles), pixels // 512)))
    lanes = target.vector_width if p.grad.dtype.register == "float" else max(2, target.vector_width // 2)
    filled = p.grad.shape[3] / _up(p.grad.shape[3], lanes)
    if p.k_count <= 12 and 0.9 * filled > p.k_count / _up(p.k_count, lanes):
        found = choose_weight_pixels(p, target)
        if found is not None:
            return found
    size = 8 if p.grad.dtype.register == "double" else 4
    width = max(2, min(16, target.vector_width * 4 // size))
    n, _, h, w = p.grad.shape
    vectors = 2 if p.k_count > width else 1
    k_blocks = p.groups * _ceil(p.k_count, vectors * width)
    space = min(target.local_memory - 512, _SPACE)
    wanted = 2 * target.compute_units
    rows = next((r for r in (h, 64, 32, 16, 8, 4, 2, 1) if r <= h and r * w <= 320), 1)
    images = max(1, min(n, 256 // (rows * w))) if rows == h else 1
    chunk = min(p.c_count, max(32, 256 // prod(p.taps)))
    while chunk > 1 and k_blocks * _ceil(p.c_count, chunk) < wanted:
        chunk = _ceil(chunk, 2)
    while True:
        tile_c, tile_r, tile_s = _best_taps(
            p.taps, min(chunk, p.c_count), vectors, 28 if target.vector_width >= 16 else 12
        )
        items = _ceil(n, images) * _ceil(h, rows)
        blocks = k_blocks * _ceil(p.c_count, chunk)
        parts = 1
        if blocks < wanted and p.flops > 4e7:
            parts = min(items, _ceil(2 * wanted, blocks))
        config = WeightConfig("channels", width, vectors, tile_c, tile_r, tile_s, rows, images, chunk, parts)
        if sum(_weight_local(p, config, size)[2:]) <= space:
            return config
        if images > 1:
            images //= 2
        elif chunk > 8 or (chunk > 1 and rows == 1):
            chunk = _ceil(chunk, 2)
        elif rows > 1:
            rows = _ceil(rows, 2)
        else:
            return WeightConfig("plain")


def choose_weight_pixels(p: _WeightProblem, target: Target) -> WeightConfig | None:
    """The pixels form of the gradient of a weight, or None where it does not apply: horizontal strides, too
    many tap columns.

    All tap rows where the sums fit in registers, else one row per work-group. Parts give each core two
    work-groups where the
    problem is large enough to pay for a second launch.
    """
    size = 8 if p.grad.dtype.register == "double" else 4
    width = max(2, min(16, target.vector_width * 4 // size))
    registers = 24 if target.vector_width >= 16 else 12
    stride, _, dilation, _, _ = p.attrs
    n, _, h, w = p.grad.shape
    r, s = p.taps
    most = registers // s
    if stride[1] != 1 or not most:
        return None
    channels = _ceil(p.k_count, _ceil(p.k_count, min(most, 8)))
    tile_r = r if channels * r * s <= registers else 1
    rows = max(1, min(h, 4096 // w))
    blocks = p.groups * _ceil(p.k_count, channels) * p.c_count * (r // tile_r)
    parts = 1
    if blocks < 2 * target.compute_units and p.flops > 4e7:
        parts = min(n * _ceil(h, rows), _ceil(4 * target.compute_units, blocks))
    while True:
        config = WeightConfig("pixels", width, channels, 1, tile_r, s, rows, 1, 1, parts)
        if sum(_weight_pixels_local(p, config, size)[3:]) <= min(target.local_memory - 512, _SPACE):
            return config
        if rows == 1:
            return None
        rows = _ceil(rows, 2)


def _weight_pixels_direct(p: _WeightProblem, c: WeightConfig) -> bool:
    """True if nothing is padded and rows hold a vector."""
    return (
        p.attrs[1] == (0, 0)
        and p.grad.shape[3] >= c.width
        and all(some.dtype.storage == some.dtype.register for some in (p.grad, p.given))
    )


def _weight_pixels_local(p: _WeightProblem, c: WeightConfig, size: int) -> tuple[int, int, int, int, int, int]:
    """Slab rows, pitch, columns of padded dy, and bytes of slab, padded dy and sums."""
    stride, _, dilation, _, _ = p.attrs
    _, _, h, w = p.grad.shape
    columns = _up(w, c.width)
    slab_rows = (min(c.rows, h) - 1) * stride[0] + (c.tile_r - 1) * dilation[0] + 1
    pitch = columns + (p.taps[1] - 1) * dilation[1]
    sums = c.vectors * c.tile_r * c.tile_s * c.width * size
    if _weight_pixels_direct(p, c):
        return slab_rows, pitch, columns, 64, 64, sums
    return (
        slab_rows,
        pitch,
        columns,
        (slab_rows * pitch + c.width) * size,
        c.vectors * min(c.rows, h) * columns * size,
        sums,
    )


def _best_taps(taps: Pair, channels: int, vectors: int, registers: int) -> tuple[int, int, int]:
    best, best_cost = (1, 1, 1), 1e30
    r, s = taps
    for tr, ts in [(r, s)] + [(1, t) for t in range(s, 0, -1) if s % t == 0]:
        for tc in range(1, min(channels, 12) + 1):
            places = tc * tr * ts
            if places * vectors > registers or tc * tr > 8:
                continue
            cycles = max(places * vectors / 2, (places + vectors) / 2, 4.0) + 0.5
            cost = cycles * _ceil(channels, tc) * (r // tr) * (s // ts)
            if cost < best_cost:
                best, best_cost = (tc, tr, ts), cost
    return best


def _contiguous(given: Layout, first: int) -> bool:
    """True if the dims from `first` on lie in C order without gaps, or are all broadcast."""
    dims = [(n, s) for n, s in zip(given.shape[first:], given.stride[first:]) if n != 1]
    if all(s == 0 for _, s in dims):
        return True
    expected = 1
    for n, s in reversed(dims):
        if s != expected:
            return False
        expected *= n
    return True


def _lower_weight_channels(p: _WeightProblem, c: WeightConfig, target: Target, epilogue: Epilogue) -> Lowered:
    dtype = p.grad.dtype
    size = 8 if dtype.register == "double" else 4
    slab_rows, pitch, *local = _weight_local(p, c, size)
    stride, padding, dilation, _, _ = p.attrs
    grad, given = p.grad, p.given
    n, _, h, w = grad.shape
    r, s = p.taps
    operands = _epilogue_layouts(epilogue)
    index = _index_type(grad, given, *operands)
    direct = _weight_direct(p)
    reduced = c.parts > 1 or not all(_contiguous(some, 1) for some in operands)
    items = _ceil(n, c.images) * _ceil(h, c.rows)
    per_part = _ceil(items, c.parts)
    parts = _ceil(items, per_part)
    if reduced:
        store = {
            width: f"vec_store{width}(value, partial + part * (long)elements + (long)n * {r * s} * c_count"
            f" + c0 * {r * s} + x);"
            for width in (c.width, 4, 1)
        }
        extra: tuple[Argument, ...] = (Scratch(0), Value("int", p.elements))
        parameters, includes = f", __global {dtype.register} *partial, const int elements", ()
    else:
        finish = _Finish(epilogue, index, ("n", "c0", "0", "x"))
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
        aload=_loader(dtype),
        bload=_loader(given.dtype),
        store=store,
        epilogue_parameters=parameters,
    )
    k_blocks, c_blocks = _ceil(p.k_count, c.vectors * c.width), _ceil(p.c_count, c.chunk)
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
        ("int", _ceil(h, c.rows)),
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
    return Lowered((main, _reduce_launch(p.elements, parts, dtype, target, epilogue)), (parts * p.elements * size,))


def _lower_weight_pixels(p: _WeightProblem, c: WeightConfig, target: Target, epilogue: Epilogue) -> Lowered:
    dtype = p.grad.dtype
    size = 8 if dtype.register == "double" else 4
    slab_rows, pitch, columns, *local = _weight_pixels_local(p, c, size)
    direct = _weight_pixels_direct(p, c)
    stride, padding, dilation, _, _ = p.attrs
    grad, given = p.grad, p.given
    n, _, h, w = grad.shape
    r, s = p.taps
    index = _index_type(grad, given, *_epilogue_layouts(epilogue))
    items = n * _ceil(h, c.rows)
    per_part = _ceil(items, c.parts)
    parts = _ceil(items, per_part)
    if parts > 1:
        store = {1: f"partial[part * (long)elements + (n * (long)c_count + c0) * {r * s} + y * {s} + s] = value;"}
        extra: tuple[Argument, ...] = (Scratch(0), Value("int", p.elements))
        parameters, includes = f", __global {dtype.register} *partial, const int elements", ()
    else:
        finish = _Finish(epilogue, index, ("n", "c0", "y", "s"))
        store, extra, parameters = finish.stores((1,)), tuple(finish.args), finish.text()
        includes = finish.includes
    body = render(
        "conv_weight_pixels",
        T=dtype.register,
        AT=dtype.storage,
        BT=given.dtype.storage,
        W=c.width,
        MK=c.vectors,
        TR=c.tile_r,
        S=s,
        SY=stride[0],
        DY=dilation[0],
        DX=dilation[1],
        INDEX=index,
        DIRECT=direct,
        aload=_loader(dtype),
        bload=_loader(given.dtype),
        store=store,
        epilogue_parameters=parameters,
    )
    k_blocks, r_blocks = _ceil(p.k_count, c.vectors), r // c.tile_r
    blocks = p.groups * k_blocks * p.c_count * r_blocks
    numbers = [
        ("int", k_blocks),
        ("int", r_blocks),
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
        ("int", h),
        ("int", w),
        ("int", items),
        ("int", per_part),
        ("int", _ceil(h, c.rows)),
        ("int", c.rows),
        ("int", given.stride[2] if direct else pitch),
        ("int", slab_rows),
        ("int", columns),
        ("int", -padding[0]),
        ("int", -padding[1]),
        ("int", blocks),
    ]
    args = (Input(0), Input(1), *extra, *(Local(nbytes) for nbytes in local), *(Value(t, v) for t, v in numbers))
    traffic = float(grad.nbytes + given.nbytes + p.elements * size)
    main = Launch(KernelSource("conv_weight", body, includes), args, (blocks * parts,), p.flops, traffic)
    if parts == 1:
        return Lowered((main,))
    return Lowered((main, _reduce_launch(p.elements, parts, dtype, target, epilogue)), (parts * p.elements * size,))


def _reduce_launch(elements: int, parts: int, dtype: DType, target: Target, epilogue: Epilogue) -> Launch:
    """Adds `parts` partial results of `elements` each in Scratch(0) and runs the epilogue."""
    operands = _epilogue_layouts(epilogue)
    size = 8 if dtype.register == "double" else 4
    flat = all(_contiguous(some, 0) for some in operands)
    index = "long" if parts * elements >= 1 << 31 else _index_type(*operands)
    finish = _Finish(epilogue, index, ("0", "0", "0", "x") if flat else ("n", "c", "y", "x"))
    width = max(2, min(16, target.vector_width * 4 // size)) if flat and target.kind == "cpu" else 1
    local = 64 if target.kind == "gpu" else 1
    body = render(
        "conv_reduce",
        LOCAL=local,
        T=dtype.register,
        W=width,
        FLAT=flat,
        INDEX=index,
        store=finish.stores((width, 1)),
        epilogue_parameters=finish.text(),
    )
    grain = 1 if local > 1 else _up(max(256, _ceil(elements, 16 * target.compute_units)), 16)
    if target.loop_limit:
        grain = min(grain, target.loop_limit // 16 * 16)
    numbers = [("int", parts), (index, elements), ("int", grain), *(("int", d) for d in epilogue.shape[1:])]
    args = (Scratch(0), *finish.args, *(Value(t, v) for t, v in numbers))
    source = KernelSource("conv_reduce", body, finish.includes, (local,))
    return Launch(
        source,
        args,
        (_up(_ceil(elements, grain), local),),
        float(elements * (parts - 1)),
        float(elements * (parts + 1) * size),
    )


def _lower_weight_gemm(p: _WeightProblem, c: WeightConfig, target: Target, epilogue: Epilogue) -> Lowered:
    grad, given = p.grad, p.given
    stride, padding, dilation, _, _ = p.attrs
    n, _, h, w = grad.shape
    r, s = p.taps
    index = _index_type(grad, given, *_epilogue_layouts(epilogue))
    parts = _ceil(n * h * w, _up(_ceil(n * h * w, c.parts), 16))
    launch = _gemm_launch(
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
        _Finish(epilogue, index) if parts == 1 else None,
        p.flops,
        index,
    )
    if parts == 1:
        return Lowered((launch,))
    size = 8 if grad.dtype.register == "double" else 4
    return Lowered(
        (launch, _reduce_launch(p.elements, parts, grad.dtype, target, epilogue)), (parts * p.elements * size,)
    )


def _lower_weight_plain(p: _WeightProblem, target: Target, epilogue: Epilogue) -> Lowered:
    grad = p.grad
    return _plain_launch(
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
    _require("conv_weight", "grad_output", grad, accepts(grad), "unit stride in the last dim")
    _require("conv_weight", "input", given, accepts(given), "unit stride in the last dim")
    epilogue = epilogue or Epilogue.identity(outputs[0])
    if 0 in epilogue.shape:
        return Lowered(())
    groups = attrs[3]
    k, per_group, r, s = epilogue.shape
    p = _WeightProblem(grad, given, groups, k // groups, per_group, (r, s), attrs)
    if not grad.numel or not given.numel:
        config = WeightConfig("plain")
    config = config or choose_weight(p, target)
    if config.form == "channels":
        return _lower_weight_channels(p, config, target, epilogue)
    if config.form == "pixels":
        return _lower_weight_pixels(p, config, target, epilogue)
    if config.form == "gemm":
        return _lower_weight_gemm(p, config, target, epilogue)
    return _lower_weight_plain(p, target, epilogue)
