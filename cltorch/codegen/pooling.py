"""Lowerings of pooling over planes and volumes: maximum and average, fixed and adaptive windows, forward and backward.

Floor 1b. Inputs are (N, C, H, W) or (C, H, W), or (N, C, D, H, W) or (C, D, H, W), of any strides; one-dimensional
pooling arrives with H = 1. Attributes, each size a pair (h, w) or a triple (d, h, w), which tells planes from volumes:

- fixed windows: `(kernel, stride, padding, dilation, ceil_mode)` for maximum and `(kernel, stride, padding,
  ceil_mode, count_include_pad, divisor_override)` for average;
- adaptive windows: `(output_size,)`;
- backward forms have the input's size in front: `((H, W), *attributes of the forward form)`.

A plane is lowered as a volume of depth 1. Windows whose taps are no vectors (adaptive ones, strides above 2) and the
gradients of means go one dim after the other on CPUs: templates pool_top, pool_mean and pool_mean_backward.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..dtypes import FLOAT, float64
from ..shapes import Layout, layout
from ..target import Target
from .program import Epilogue
from .source import Input, KernelSource, Launch, Local, Lowered, Output, render
from .walk import Parameters, Split, collapse, index_type, lanes, load, locate, lowest, numel, split, store, up

Triple = tuple[int, int, int]
Sizes = tuple[int, ...]


def window_count(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """How many windows fit along a dimension.

    >>> window_count(7, 2, 2, 0, 1, False), window_count(7, 2, 2, 0, 1, True)
    (3, 4)
    """
    span = size + 2 * padding - dilation * (kernel - 1) - 1
    count = (-(-span // stride) if ceil_mode else span // stride) + 1
    if ceil_mode and (count - 1) * stride >= size + padding:
        count -= 1  # the last window must begin inside the input or its left padding
    return count


def _vector_loads(kernel_w: int, stride_w: int, dilation_w: int, vector: int, layout: Layout) -> list[tuple]:
    """The horizontal taps as loads: [((type, load), [(tap, expression)])];
    stride 2 reads an even and an odd tap at once.
    """
    dtype, register = layout.dtype, layout.dtype.register
    if stride_w == 1:
        return [
            ((f"{register}{vector}", load(dtype, f"p + {s * dilation_w}", vector)), [(s, "pair")])
            for s in range(kernel_w)
        ]
    made: list[tuple] = []
    for s in range(0, kernel_w - 1, 2):
        made.append(
            ((f"{register}{2 * vector}", load(dtype, f"p + {s}", 2 * vector)), [(s, "pair.even"), (s + 1, "pair.odd")])
        )
    if kernel_w % 2:  # begin one earlier rather than end one later: the element after the last tap may be outside
        made.append(
            ((f"{register}{2 * vector}", load(dtype, f"p + {kernel_w - 2}", 2 * vector)), [(kernel_w - 1, "pair.odd")])
        )
    return made


@dataclass(frozen=True)
class _Windows:
    """The windows of a pooling, as triples. Adaptive windows have no sizes; `divisor` 0 counts the window's places."""

    dims: int
    adaptive: bool
    kernel: Triple = (1, 1, 1)
    stride: Triple = (1, 1, 1)
    padding: Triple = (0, 0, 0)
    dilation: Triple = (1, 1, 1)
    include_pad: bool = False
    divisor: int = 0

    @staticmethod
    def fixed(
        kernel: Sizes,
        stride: Sizes,
        padding: Sizes,
        dilation: Sizes | None = None,
        include_pad: bool = False,
        divisor: int | None = None,
    ) -> _Windows:
        n = len(kernel)
        ones = (1,) * (3 - n)
        return _Windows(
            n,
            False,
            (*ones, *kernel),  # type: ignore[arg-type]
            (*ones, *stride),  # type: ignore[arg-type]
            (*(0,) * (3 - n), *padding),  # type: ignore[arg-type]
            (1, 1, 1) if dilation is None else (*ones, *dilation),  # type: ignore[arg-type]
            include_pad,
            divisor or 0,
        )

    @staticmethod
    def cells(x: Sizes, cells: Sizes) -> _Windows:
        """Adaptive windows from `x` into `cells`: fixed ones where they are all of one size."""
        if all(c and n % c == 0 for n, c in zip(x, cells)):
            size = tuple(n // c for n, c in zip(x, cells))
            return _Windows.fixed(size, size, (0,) * len(size))
        return _Windows(len(cells), True)

    @property
    def overlap(self) -> bool:
        return self.adaptive or any(
            s < (k - 1) * d + 1 for k, s, d in zip(self.kernel, self.stride, self.dilation)
        )  # fmt: skip


def _as_volumes(given: Layout, dims: int) -> Layout:
    """Planes as volumes of depth 1."""
    if dims == 3:
        return given
    shape, stride = given.shape, given.stride
    return layout(given.dtype, (*shape[:-2], 1, *shape[-2:]), (*stride[:-2], 0, *stride[-2:]), given.offset)


class _Walk:
    """The parameters that all pooling kernels begin with: operands, split, where a plane lies, strides and sizes."""

    def __init__(self, operands: dict[str, Layout], written: dict[str, int], work: Split, x: Layout, out: Layout):
        self.index = index_type(*operands.values())
        self.parameters = Parameters(self.index)
        read = 0
        for name, given in operands.items():
            if name in written:
                self.parameters.write(name, given.dtype.storage, Output(written[name]))
            else:
                self.parameters.read(name, given.dtype.storage, Input(read))
                read += 1
        self.span = work.bind(self.parameters)
        sizes, strides = collapse(x.shape[:-3], [given.stride[:-3] for given in operands.values()])
        self.sizes = self.parameters.values("n", sizes)
        self.planes = {
            f"{name}_plane": self.parameters.values(f"{name}_n", step) for name, step in zip(operands, strides)
        }
        for name, given in operands.items():
            self.parameters.value(f"{name}_offset", given.offset)
            for axis, step in zip("dhw", given.stride[-3:]):
                self.parameters.value(f"{name}_s{axis}", step)
        for name, given in (("in", x), ("out", out)):
            for axis, size in zip("dhw", given.shape[-3:]):
                self.parameters.value(f"{name}_{axis}", size, "int")

    def pad(self, windows: _Windows) -> None:
        for axis, size in zip("dhw", windows.padding):
            self.parameters.value(f"pad_{axis}", size, "int")
        self.parameters.value("divisor", windows.divisor, "int")

    def locate(self, row: str, *without: str) -> str:
        return locate(row, self.sizes, {k: v for k, v in self.planes.items() if k not in without}, self.index)


def _lanes_of_windows(windows: _Windows, run: int, operands: list[Layout], target: Target) -> int:
    """How many windows side by side are computed at once: 1 where their taps cannot be loaded as vectors."""
    out, stride = operands[1], windows.stride[2]
    plain = all(given.stride[-1] == 1 or given.shape[-1] == 1 for given in operands)
    vectorisable = out.dtype.category == FLOAT or out.dtype.itemsize in (4, 8)
    near = stride == 1 or (stride == 2 and windows.dilation[2] == 1 and windows.kernel[2] > 1)
    if windows.adaptive or not plain or not vectorisable or windows.kernel[2] > 16 or not near:
        return 1
    vector = min(lanes(out.dtype, target), 16 if stride == 1 else 8)
    while vector > 1 and vector > run:
        vector //= 2
    return 1 if vector < 4 and out.dtype.itemsize < 8 else vector


def _forward(maximum: bool, windows: _Windows, x: Layout, outputs: tuple[Layout, ...], target: Target) -> Lowered:
    if not outputs[0].numel:
        return Lowered(())
    x, *outs = [_as_volumes(given, windows.dims) for given in (x, *outputs)]
    out, dtype = outs[0], outs[0].dtype
    in_w, out_w = x.shape[-1], out.shape[-1]
    if numel(x.shape[-3:]) >= 2**31:
        raise RuntimeError(f"pooling: input: got planes of {x.shape[-3:]}, wanted fewer than 2^31 elements")
    kernel, stride, padding, dilation = windows.kernel, windows.stride, windows.padding, windows.dilation
    # the run of output columns whose every tap lies inside the input
    run_from = -(-padding[2] // stride[2])
    run_to = min(out_w, (in_w - 1 + padding[2] - (kernel[2] - 1) * dilation[2]) // stride[2] + 1)
    vector = _lanes_of_windows(windows, run_to - run_from, [x, *outs], target)
    if vector == 1:
        lowered = _top_forward(windows, x, outs, target) if maximum else _mean_forward(windows, x, out, target)
        if lowered is not None:
            return lowered
    taps = numel(kernel) if not windows.adaptive else max(numel(x.shape[-3:]) // max(numel(out.shape[-3:]), 1), 1)
    rows = numel(out.shape[:-1])
    work = split(rows, out_w, target, cost=0.5 * taps if vector > 1 else 2.0 * taps, iterations=taps)
    operands = {"in": x, "out": out, **({"at": outs[1]} if maximum else {})}
    walk = _Walk(operands, {"out": 0, "at": 1}, work, x, out)
    if not windows.adaptive:
        walk.pad(windows)
    if vector > 1:
        walk.parameters.value("run_from", run_from)
        walk.parameters.value("run_to", run_to)
    register = dtype.register
    lane_type = "long" if dtype is float64 or register == "long" else "int"
    body = render(
        "pool",
        group=work.local,
        parameters=walk.parameters.text,
        span=walk.span,
        I=walk.index,
        R=register,
        RV=f"{register}{vector}",
        IV=f"{lane_type}{vector}",
        lanes=vector,
        maximum=maximum,
        adaptive=windows.adaptive,
        include_pad=windows.include_pad,
        kernel=kernel,
        stride=stride,
        dilation=dilation,
        storage=x.dtype.storage,
        start=lowest(x.dtype) if maximum else "0",
        loads=_vector_loads(kernel[2], stride[2], dilation[2], vector, x),
        locate_plane=walk.locate("plane"),
        load_pixel=load(x.dtype, "q"),
        store_pixel=store(dtype, "best", "out + out_row + x * out_sw"),
        store_vector=store(dtype, "best", "out + out_row + x", vector),
    )
    source = KernelSource("max_pool" if maximum else "avg_pool", body, (), (work.local,))
    traffic = float(x.nbytes + sum(o.nbytes for o in outs))
    return Lowered((Launch(source, walk.parameters.args, work.global_size, float(out.numel * taps), traffic),))


# ---- one dim after the other


def _block(windows: _Windows, columns: int, line: int, per_column: float, size: int, target: Target) -> tuple[int, int]:
    """Columns per block, at least 64, and places of the line that they meet; (0, 0) where local memory is too small.

    Args:
        line: the line's places for all columns; per_column: places of the line that one more column adds, at most.
    """
    space = min(target.local_memory - 1024, 160 << 10)
    while columns:
        places = min(line, int(columns * per_column) + windows.kernel[2] + 2)
        if (2 * places + 3 * columns + 128) * size + 8 * columns <= space:
            return columns, places
        columns = up(columns, 2) if columns > 64 else 0
    return 0, 0


def _divisions(*layouts: Layout) -> str:
    """The type in which an adaptive window's ends are computed: a place times a size."""
    largest = max(max(given.shape[-3:]) for given in layouts) + 1
    return "long" if largest * largest >= 1 << 31 else "int"


def _top_forward(windows: _Windows, x: Layout, outs: list[Layout], target: Target) -> Lowered | None:
    out, dtype, in_w, out_w = outs[0], outs[0].dtype, x.shape[-1], outs[0].shape[-1]
    if target.kind != "cpu" or not (dtype.category == FLOAT or dtype.itemsize in (4, 8)):
        return None
    register = dtype.register
    size = 8 if register in ("double", "long") else 4
    span = (windows.kernel[2] - 1) * windows.dilation[2] + 1
    each = in_w / out_w + 2 if windows.adaptive else windows.stride[2] + span
    columns, places = _block(windows, out_w, in_w, each, size, target)
    taps = numel(windows.kernel) if not windows.adaptive else numel(x.shape[-3:]) / numel(out.shape[-3:])
    if not columns or (target.loop_limit and 4 * taps * out_w > target.loop_limit):
        return None
    work = split(numel(out.shape[:-1]), out_w, target, cost=2.0 + taps / 2, iterations=2 * taps + 4)
    walk = _Walk({"in": x, "out": out, "at": outs[1]}, {"out": 0, "at": 1}, work, x, out)
    walk.pad(windows)
    width = lanes(dtype, target)
    lane = "long" if size == 8 else "int"
    body = render(
        "pool_top",
        parameters=walk.parameters.text,
        span=walk.span,
        I=walk.index,
        L=_divisions(x, out),
        R=register,
        RV=f"{register}{width}",
        IT=lane,
        IV=f"{lane}{width}",
        lanes=width,
        adaptive=windows.adaptive,
        kernel=windows.kernel,
        stride=windows.stride,
        dilation=windows.dilation,
        plain=in_w == 1 or x.stride[-1] == 1,
        storage=x.dtype.storage,
        start=lowest(dtype),
        locate_plane=walk.locate("plane"),
        load_vector=load(x.dtype, "from + x", width),
        load_pixel=load(x.dtype, "q"),
        store_pixel=store(dtype, "best", "out + out_plane + oz * out_sd + oy * out_sh + x * out_sw"),
    )
    walk.parameters.value("columns", columns, "int")
    line = (places + width) * size
    args = (*walk.parameters.args[:-1], Local(line), Local(line), Local(8 * columns), walk.parameters.args[-1])
    source = KernelSource("max_pool", body, ())
    traffic = float(x.nbytes + out.nbytes + outs[1].nbytes)
    return Lowered((Launch(source, args, work.global_size, float(out.numel * taps), traffic),))


def _mean_forward(windows: _Windows, x: Layout, out: Layout, target: Target) -> Lowered | None:
    if target.kind != "cpu" or max(windows.dilation) > 1:
        return None
    dtype, in_w, out_w = out.dtype, x.shape[-1], out.shape[-1]
    size = 8 if dtype.register == "double" else 4
    each = in_w / out_w + 2 if windows.adaptive else windows.stride[2] + windows.kernel[2]
    columns, places = _block(windows, out_w, in_w, each, size, target)
    taps = numel(windows.kernel) if not windows.adaptive else numel(x.shape[-3:]) / numel(out.shape[-3:])
    work = split(numel(out.shape[:-1]), out_w, target, cost=2.0 + taps / 4, iterations=2 * taps + 4)
    if not columns or (target.loop_limit and 4 * taps * out_w > target.loop_limit):
        return None
    walk = _Walk({"in": x, "out": out}, {"out": 0}, work, x, out)
    walk.pad(windows)
    width, register = lanes(dtype, target), dtype.register
    body = render(
        "pool_mean",
        parameters=walk.parameters.text,
        span=walk.span,
        I=walk.index,
        R=register,
        RV=f"{register}{width}",
        lanes=width,
        L=_divisions(x, out),
        adaptive=windows.adaptive,
        include_pad=windows.include_pad,
        kernel=windows.kernel,
        stride=windows.stride,
        plain=in_w == 1 or x.stride[-1] == 1,
        storage=x.dtype.storage,
        locate_plane=walk.locate("plane"),
        load_vector=load(x.dtype, "from + x", width),
        load_pixel=load(x.dtype, "q"),
        store_pixel=store(dtype, "best", "out + out_plane + oz * out_sd + oy * out_sh + x * out_sw"),
    )
    walk.parameters.value("columns", columns, "int")
    locals_ = (Local((places + width) * size), Local(columns * size), Local(8 * columns))
    args = (*walk.parameters.args[:-1], *locals_, walk.parameters.args[-1])
    source = KernelSource("avg_pool", body, ())
    return Lowered((Launch(source, args, work.global_size, float(out.numel * taps), float(x.nbytes + out.nbytes)),))


def _mean_backward(windows: _Windows, g: Layout, dx: Layout, target: Target) -> Lowered | None:
    if target.kind != "cpu" or max(windows.dilation) > 1:
        return None
    dtype, in_w, out_w = dx.dtype, dx.shape[-1], g.shape[-1]
    size = 8 if dtype.register == "double" else 4
    unit = not windows.adaptive and windows.stride[2] == 1 and windows.kernel[2] <= 16
    each = out_w / in_w + 2 if windows.adaptive else 1 / windows.stride[2] if unit else 2
    line = out_w + (2 * windows.kernel[2] if unit else 0)
    columns, places = _block(windows, in_w, line, each, size, target)
    cover = numel(g.shape[-3:]) / numel(dx.shape[-3:]) + 1
    if not columns or (target.loop_limit and 8 * cover * in_w > target.loop_limit):
        return None
    work = split(numel(dx.shape[:-1]), in_w, target, cost=2.0, iterations=8 * cover)
    walk = _Walk({"g": g, "dx": dx}, {"dx": 0}, work, dx, g)
    walk.pad(windows)
    width, register = lanes(dtype, target), dtype.register
    body = render(
        "pool_mean_backward",
        parameters=walk.parameters.text,
        span=walk.span,
        I=walk.index,
        R=register,
        RV=f"{register}{width}",
        lanes=width,
        L=_divisions(dx, g),
        adaptive=windows.adaptive,
        include_pad=windows.include_pad,
        kernel=windows.kernel,
        stride=windows.stride,
        unit=unit,
        plain=out_w == 1 or g.stride[-1] == 1,
        dx_plain=in_w == 1 or dx.stride[-1] == 1,
        storage=g.dtype.storage,
        dx_storage=dtype.storage,
        locate_plane=walk.locate("plane"),
        load_vector=load(g.dtype, "from + o", width),
        load_pixel=load(g.dtype, "q"),
        store_vector=store(dtype, "sum", "to + i", width),
        store_pixel=store(dtype, "sum", f"to + ({walk.index})i * dx_sw"),
    )
    walk.parameters.value("columns", columns, "int")
    owed = (places + windows.kernel[2] + 2 * width) * size
    locals_ = (Local((columns + width) * size), Local(owed), Local(owed), Local(8 * columns))
    args = (*walk.parameters.args[:-1], *locals_, walk.parameters.args[-1])
    source = KernelSource("avg_pool_backward", body, ())
    return Lowered((Launch(source, args, work.global_size, float(dx.numel), float(g.nbytes + dx.nbytes)),))


# ---- gradients


def _backward(maximum: bool, windows: _Windows, inputs: tuple[Layout, ...], dx: Layout, target: Target) -> Lowered:
    if not dx.numel:
        return Lowered(())
    dx, *given = [_as_volumes(some, windows.dims) for some in (dx, *inputs)]
    g = given[0]
    if not maximum and g.numel:
        lowered = _mean_backward(windows, g, dx, target)
        if lowered is not None:
            return lowered
    area, cells, planes = numel(dx.shape[-3:]), numel(g.shape[-3:]), numel(dx.shape[:-3])
    own_planes = (
        maximum
        and target.kind == "cpu"
        and dx.contiguous
        and (not windows.overlap or dx.dtype.register == dx.dtype.storage)
        and (planes >= 2 * target.compute_units or dx.numel <= 1 << 15)
        and (not target.loop_limit or area + cells < target.loop_limit)
    )
    work = (
        split(planes, 1, target, cost=float(area), iterations=area + cells)
        if own_planes
        else split(numel(dx.shape[:-1]), dx.shape[-1], target, cost=4.0, iterations=4.0)
    )
    operands = {"g": g, **({"at": given[1]} if maximum else {}), "dx": dx}
    walk = _Walk(operands, {"dx": 0}, work, dx, g)
    walk.pad(windows)
    A = given[1].dtype.storage if maximum else ""
    if own_planes:
        walk.parameters.value("area", area, "int")
        body = render(
            "pool_scatter",
            group=work.local,
            parameters=walk.parameters.text,
            span=walk.span,
            I=walk.index,
            storage=dx.dtype.storage,
            A=A,
            overlap=windows.overlap,
            lanes=min(16, 64 // dx.dtype.itemsize),
            locate_plane=walk.locate("row", "dx_plane"),
        )
        source = KernelSource("max_pool_scatter", body, (), (work.local,))
    else:
        index = walk.index
        place = f"({index})oz * g_sd + ({index})oy * g_sh + ({index})ox * g_sw"
        body = render(
            "pool_backward",
            group=work.local,
            parameters=walk.parameters.text,
            span=walk.span,
            I=index,
            R=dx.dtype.register,
            A=A,
            maximum=maximum,
            adaptive=windows.adaptive,
            include_pad=windows.include_pad,
            L=_divisions(dx, g),
            kernel=windows.kernel,
            stride=windows.stride,
            dilation=windows.dilation,
            locate_plane=walk.locate("plane"),
            load_g=load(g.dtype, f"g + g_plane + {place}"),
            store_pixel=store(dx.dtype, "sum", f"dx + dx_plane + ({index})z * dx_sd + ({index})y * dx_sh + x * dx_sw"),
        )
        source = KernelSource("max_pool_backward" if maximum else "avg_pool_backward", body, (), (work.local,))
    traffic = float(sum(some.nbytes for some in operands.values()))
    return Lowered((Launch(source, walk.parameters.args, work.global_size, float(dx.numel), traffic),))


def lower_max_pool(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """Values and int64 positions (number of the element in its plane or volume) of the maximum of each window."""
    kernel, stride, padding, dilation, _ = attrs
    return _forward(True, _Windows.fixed(kernel, stride, padding, dilation), inputs[0], outputs, target)


def lower_max_pool_backward(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """Gradient of the input from (gradient of the values, positions)."""
    _, kernel, stride, padding, dilation, _ = attrs
    return _backward(True, _Windows.fixed(kernel, stride, padding, dilation), inputs, outputs[0], target)


def lower_avg_pool(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """Sum of each window divided by its size (padding counted or not) or by `divisor_override`."""
    kernel, stride, padding, _, include_pad, divisor = attrs
    windows = _Windows.fixed(kernel, stride, padding, None, include_pad, divisor)
    return _forward(False, windows, inputs[0], outputs, target)


def lower_avg_pool_backward(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """Gradient of the input from the gradient of the averages."""
    _, kernel, stride, padding, _, include_pad, divisor = attrs
    windows = _Windows.fixed(kernel, stride, padding, None, include_pad, divisor)
    return _backward(False, windows, inputs, outputs[0], target)


def lower_adaptive_avg_pool(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """Mean of each of output_size windows that divide the plane or volume."""
    cells = attrs[0]
    windows = _Windows.cells(inputs[0].shape[-len(cells) :], cells)
    return _forward(False, windows, inputs[0], outputs, target)


def lower_adaptive_avg_pool_backward(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """Gradient of the input from the gradient of the means."""
    size, cells = attrs
    return _backward(False, _Windows.cells(size, cells), inputs, outputs[0], target)


def lower_adaptive_max_pool(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """Values and positions of the maximum of each of output_size windows that divide the plane or volume."""
    cells = attrs[0]
    windows = _Windows.cells(inputs[0].shape[-len(cells) :], cells)
    return _forward(True, windows, inputs[0], outputs, target)


def lower_adaptive_max_pool_backward(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """Gradient of the input from (gradient of the values, positions)."""
    size, cells = attrs
    return _backward(True, _Windows.cells(size, cells), inputs, outputs[0], target)
