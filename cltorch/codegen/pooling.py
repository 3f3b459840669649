"""Lowerings of two-dimensional pooling: maximum and average, fixed and adaptive windows, forward and backward.

Floor 1b. Inputs are (N, C, H, W) or (C, H, W) of any strides; one-dimensional pooling arrives with H = 1. Attributes:

- fixed windows: `(kernel, stride, padding, dilation, ceil_mode)` for maximum and `(kernel, stride, padding,
  ceil_mode, count_include_pad, divisor_override)` for average, each of the first a pair (h, w);
- adaptive windows: `(output_size,)`, a pair;
- backward forms have the input's size `(H, W)` in front: `((H, W), *attributes of the forward form)`.
"""

from __future__ import annotations

from ..dtypes import FLOAT, float64
from ..shapes import Layout
from ..target import Target
from .program import Epilogue
from .source import Input, KernelSource, Launch, Lowered, Output, render
from .walk import Parameters, collapse, index_type, lanes, load, locate, lowest, numel, split, store

Pair = tuple[int, int]


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


def _forward(
    maximum: bool,
    adaptive: bool,
    x: Layout,
    outputs: tuple[Layout, ...],
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    include_pad: bool,
    divisor: int,
    target: Target,
) -> Lowered:
    out = outputs[0]
    if not out.numel:
        return Lowered(())
    (in_h, in_w), (out_h, out_w) = x.shape[-2:], out.shape[-2:]
    index = index_type(x, *outputs)
    if in_h * in_w >= 2**31:
        raise RuntimeError(f"pooling: input: got a plane of {in_h} x {in_w}, wanted fewer than 2^31 elements")
    operands = (x, *outputs)
    names = ("in", "out", "at")[: len(operands)]
    sizes, strides = collapse(x.shape[:-2], [o.stride[:-2] for o in operands])

    # the run of output columns whose every tap lies inside the input
    run_from = -(-padding[1] // stride[1])
    run_to = min(out_w, (in_w - 1 + padding[1] - (kernel[1] - 1) * dilation[1]) // stride[1] + 1)
    vector = 1
    plain = all(o.stride[-1] == 1 or o.shape[-1] == 1 for o in operands)
    vectorisable = out.dtype.category == FLOAT or out.dtype.itemsize in (4, 8)
    if (
        not adaptive
        and plain
        and vectorisable
        and kernel[1] <= 16
        and (stride[1] == 1 or (stride[1] == 2 and dilation[1] == 1 and kernel[1] > 1))
    ):
        vector = min(lanes(out.dtype, target), 16 if stride[1] == 1 else 8)
        while vector > 1 and vector > run_to - run_from:
            vector //= 2
        vector = 1 if vector < 4 and out.dtype.itemsize < 8 else vector

    taps = kernel[0] * kernel[1] if not adaptive else max(in_h * in_w // max(out_h * out_w, 1), 1)
    work = split(
        numel(x.shape[:-2]) * out_h, out_w, target, cost=0.5 * taps if vector > 1 else 2.0 * taps, iterations=taps
    )
    parameters = Parameters(index)
    parameters.read("in", x.dtype.storage, Input(0))
    parameters.write("out", out.dtype.storage, Output(0))
    if maximum:
        parameters.write("at", "long", Output(1))
    span = work.bind(parameters)
    size_names = parameters.values("n", sizes)
    plane_strides = {f"{name}_plane": parameters.values(f"{name}_n", step) for name, step in zip(names, strides)}
    for name, operand in zip(names, operands):
        parameters.value(f"{name}_offset", operand.offset)
        parameters.value(f"{name}_sh", operand.stride[-2])
        parameters.value(f"{name}_sw", operand.stride[-1])
    for name, number in (("in_h", in_h), ("in_w", in_w), ("out_h", out_h), ("out_w", out_w)):
        parameters.value(name, number, "int")
    if not adaptive:
        parameters.value("pad_h", padding[0], "int")
        parameters.value("pad_w", padding[1], "int")
        if not maximum:
            parameters.value("divisor", divisor, "int")
    if vector > 1:
        parameters.value("run_from", run_from)
        parameters.value("run_to", run_to)
    register = out.dtype.register
    lane_type = "long" if out.dtype is float64 or register == "long" else "int"
    body = render(
        "pool",
        group=work.local,
        parameters=parameters.text,
        span=span,
        I=index,
        R=register,
        RV=f"{register}{vector}",
        IV=f"{lane_type}{vector}",
        lanes=vector,
        maximum=maximum,
        adaptive=adaptive,
        include_pad=include_pad,
        kernel=kernel,
        stride=stride,
        dilation=dilation,
        storage=x.dtype.storage,
        start=lowest(x.dtype) if maximum else "0",
        loads=_vector_loads(kernel[1], stride[1], dilation[1], vector, x),
        locate_plane=locate("plane", size_names, plane_strides, index),
        load_pixel=load(x.dtype, "q"),
        store_pixel=store(out.dtype, "best", "out + out_row + x * out_sw"),
        store_vector=store(out.dtype, "best", "out + out_row + x", vector),
    )
    source = KernelSource("max_pool" if maximum else "avg_pool", body, (), (work.local,))
    traffic = float(x.nbytes + sum(o.nbytes for o in outputs))
    return Lowered((Launch(source, parameters.args, work.global_size, float(out.numel * taps), traffic),))


def _backward(
    maximum: bool,
    adaptive: bool,
    g: Layout,
    at: Layout | None,
    dx: Layout,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    include_pad: bool,
    divisor: int,
    target: Target,
) -> Lowered:
    if not dx.numel:
        return Lowered(())
    (in_h, in_w), (out_h, out_w) = dx.shape[-2:], g.shape[-2:]
    operands = {"g": g, "dx": dx, **({"at": at} if at is not None else {})}
    index = index_type(*operands.values())
    sizes, strides = collapse(dx.shape[:-2], [o.stride[:-2] for o in operands.values()])
    planes = numel(dx.shape[:-2])
    overlap = adaptive or any(s < (k - 1) * d + 1 for k, s, d in zip(kernel, stride, dilation))
    own_planes = (
        maximum
        and target.kind == "cpu"
        and dx.contiguous
        and (not overlap or dx.dtype.register == dx.dtype.storage)
        and (planes >= 2 * target.compute_units or dx.numel <= 1 << 15)
        and (not target.loop_limit or in_h * in_w + out_h * out_w < target.loop_limit)
    )
    work = (
        split(planes, 1, target, cost=float(in_h * in_w), iterations=in_h * in_w + out_h * out_w)
        if own_planes
        else split(planes * in_h, in_w, target, cost=4.0, iterations=4.0)
    )
    parameters = Parameters(index)
    parameters.read("g", g.dtype.storage, Input(0))
    if at is not None:
        parameters.read("at", at.dtype.storage, Input(1))
    parameters.write("dx", dx.dtype.storage, Output(0))
    span = work.bind(parameters)
    size_names = parameters.values("n", sizes)
    plane_strides = {f"{name}_plane": parameters.values(f"{name}_n", step) for name, step in zip(operands, strides)}
    for name, operand in operands.items():
        parameters.value(f"{name}_offset", operand.offset)
        parameters.value(f"{name}_sh", operand.stride[-2])
        parameters.value(f"{name}_sw", operand.stride[-1])
    for name, number in (
        ("in_h", in_h),
        ("in_w", in_w),
        ("out_h", out_h),
        ("out_w", out_w),
        ("area", in_h * in_w),
        ("pad_h", padding[0]),
        ("pad_w", padding[1]),
        ("divisor", divisor),
    ):
        parameters.value(name, number, "int")
    if own_planes:
        del plane_strides["dx_plane"]
        body = render(
            "pool_scatter",
            group=work.local,
            parameters=parameters.text,
            span=span,
            I=index,
            storage=dx.dtype.storage,
            A=at.dtype.storage if at is not None else "",
            overlap=overlap,
            lanes=min(16, 64 // dx.dtype.itemsize),
            locate_plane=locate("row", size_names, plane_strides, index),
        )
        source = KernelSource("max_pool_scatter", body, (), (work.local,))
    else:
        body = render(
            "pool_backward",
            group=work.local,
            parameters=parameters.text,
            span=span,
            I=index,
            R=dx.dtype.register,
            A=at.dtype.storage if at is not None else "",
            maximum=maximum,
            adaptive=adaptive,
            include_pad=include_pad,
            kernel=kernel,
            stride=stride,
            dilation=dilation,
            locate_plane=locate("plane", size_names, plane_strides, index),
            load_g=load(g.dtype, f"g + g_plane + ({index})oy * g_sh + ({index})ox * g_sw"),
            store_pixel=store(dx.dtype, "sum", f"dx + dx_plane + ({index})y * dx_sh + x * dx_sw"),
        )
        source = KernelSource("max_pool_backward" if maximum else "avg_pool_backward", body, (), (work.local,))
    traffic = float(sum(o.nbytes for o in operands.values()))
    return Lowered((Launch(source, parameters.args, work.global_size, float(dx.numel), traffic),))


_ONE, _NONE = (1, 1), (0, 0)


def lower_max_pool2d(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """Values and int64 positions (number of the element in its H x W plane) of the maximum of each window."""
    kernel, stride, padding, dilation, _ = attrs
    return _forward(True, False, inputs[0], outputs, kernel, stride, padding, dilation, False, 0, target)


def lower_max_pool2d_backward(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """Gradient of the input from (gradient of the values, positions)."""
    _, kernel, stride, padding, dilation, _ = attrs
    return _backward(True, False, inputs[0], inputs[1], outputs[0], kernel, stride, padding, dilation, False, 0, target)


def lower_avg_pool2d(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """Sum of each window divided by its size (padding counted or not) or by `divisor_override`."""
    kernel, stride, padding, _, include_pad, divisor = attrs
    return _forward(False, False, inputs[0], outputs, kernel, stride, padding, _ONE, include_pad, divisor or 0, target)


def lower_avg_pool2d_backward(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """Gradient of the input from the gradient of the averages."""
    _, kernel, stride, padding, _, include_pad, divisor = attrs
    return _backward(
        False, False, inputs[0], None, outputs[0], kernel, stride, padding, _ONE, include_pad, divisor or 0, target
    )


def lower_adaptive_avg_pool2d(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """Mean of each of output_size windows that divide the plane."""
    return _forward(False, True, inputs[0], outputs, _ONE, _ONE, _NONE, _ONE, False, 0, target)


def lower_adaptive_avg_pool2d_backward(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """Gradient of the input from the gradient of the means."""
    return _backward(False, True, inputs[0], None, outputs[0], _ONE, _ONE, _NONE, _ONE, False, 0, target)


def lower_adaptive_max_pool2d(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """Values and positions of the maximum of each of output_size windows that divide the plane."""
    return _forward(True, True, inputs[0], outputs, _ONE, _ONE, _NONE, _ONE, False, 0, target)


def lower_adaptive_max_pool2d_backward(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """Gradient of the input from (gradient of the values, positions)."""
    return _backward(True, True, inputs[0], inputs[1], outputs[0], _ONE, _ONE, _NONE, _ONE, False, 0, target)
