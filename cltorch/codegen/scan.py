"""Lowerings of inclusive scans: cumsum, cumprod, cummax, cummin, logcumsumexp.

Floor 1b. Attributes: `(dim, reverse)`; a reversed scan runs from the end to the front. Inputs and outputs have any
strides; sums and products are taken in the output's register type. The order of summation depends on the shapes and
the device, never on the run.
"""

from __future__ import annotations

from math import prod

from ..dtypes import float64
from ..shapes import Layout
from ..target import Target
from .program import Epilogue
from .source import Input, KernelSource, Launch, Lowered, Output, Scratch, render
from .walk import Parameters, collapse, highest, index_type, lanes, load, locate, lowest, split, store, up

_LONG_ROW = 16384  # elements from which a row is cut up where there are few rows

_LOG_SUM_EXP = (
    "carry != carry || v != v ? carry + v : carry == v ? (isinf(v) ? v : v + ({R})0.6931471805599453) : "
    "(carry > v ? carry + log1p(exp(v - carry)) : v + log1p(exp(carry - v)))"
)


def _scan(kind: str, x: Layout, outputs: tuple[Layout, ...], attrs: tuple, target: Target) -> Lowered:
    out = outputs[0]
    if not out.numel:
        return Lowered(())
    dim, reverse = attrs
    indexed = kind in ("max", "min")
    length = x.shape[dim] if x.shape else 1
    step = [o.stride[dim] if o.shape else 0 for o in (x, *outputs)]
    others = [d for d in range(len(x.shape)) if d != dim]
    sizes, strides = collapse([x.shape[d] for d in others], [[o.stride[d] for d in others] for o in (x, *outputs)])
    rows, inner = prod(sizes[:-1]), sizes[-1]
    register = out.dtype.register
    simple = kind in ("sum", "prod") and x.dtype.register == register
    wide = prefix = 1
    if simple and target.kind == "cpu":
        fit = lanes(out.dtype, target)
        if strides[0][-1] == strides[1][-1] == 1 and inner >= fit:
            wide = min(2 * fit, 16) if inner >= min(2 * fit, 16) else fit
        elif step[0] == step[1] == 1:
            prefix = min(fit, 8)

    pieces, piece_length = 1, length
    limit = target.loop_limit // 4 if target.loop_limit else 0
    wanted = (8 if target.kind == "cpu" else 512) * target.compute_units
    if length >= _LONG_ROW and rows * inner < wanted // 4 or limit and length > limit:
        pieces = min(up(length, 4096), max(1, wanted // (rows * inner)))
        piece_length = up(up(length, max(pieces, up(length, limit) if limit else 1)), 16) * 16
        pieces = up(length, piece_length)
    work = split(rows, inner, target, cost=float(length), iterations=float(piece_length))
    index = index_type(x, *outputs)

    accumulator = out.dtype.register

    def launch(stage: str) -> Launch:
        parameters = Parameters(index)
        parameters.read("x", x.dtype.storage, Input(0))
        if stage != "totals":
            parameters.write("y", out.dtype.storage, Output(0))
            if indexed:
                parameters.write("at", "long", Output(1))
        if stage != "whole":
            parameters.shared("totals", accumulator, Scratch(0))
            if indexed:
                parameters.shared("places", "long", Scratch(1))
        span = work.bind(parameters)
        if stage != "whole":
            parameters.value("pieces", pieces)
            parameters.value("piece_length", piece_length)
            span = span.replace("get_global_id(0)", "(get_global_id(0) / pieces)", 1)
        parameters.value("length", length)
        names = parameters.values("size", sizes[:-1])
        positions = {}
        for name, operand, walk, along in zip(("x", "y", "at"), (x, *outputs), strides, step):
            positions[f"{name}_row"] = parameters.values(f"{name}_s", walk[:-1])
            parameters.value(f"{name}_inner", walk[-1])
            parameters.value(f"{name}_step", along)
            parameters.value(f"{name}_offset", operand.offset)
        first = {"sum": "0", "prod": "1", "max": lowest(x.dtype), "min": highest(x.dtype)}.get(kind, lowest(out.dtype))
        combine = {"sum": "carry + v", "prod": "carry * v"}.get(kind, _LOG_SUM_EXP.replace("{R}", register))
        x_at, y_at = "x + x_row + j * x_inner + i * x_step", "y + y_row + j * y_inner + i * y_step"
        x_run, y_run = "x + x_row + j * x_inner", "y + y_row + j * y_inner"
        back = f"length - t - {prefix}"
        body = render(
            "scan",
            stage=stage,
            chunked=stage != "whole",
            group=work.local,
            parameters=parameters.text,
            span=span,
            I=index,
            R=register,
            lanes=wide,
            prefix=prefix,
            indexed=indexed,
            reverse=bool(reverse),
            identity=first,
            combine=combine,
            neutral=0 if kind == "sum" else 1,
            operator="+" if kind == "sum" else "*",
            takes=f"v {'>=' if kind == 'max' else '<='} carry || v != v",
            locate_row=locate("row", names, positions, index),
            load_one=f"({register}){load(x.dtype, x_at)}",
            store_one=store(out.dtype, "carry", y_at),
            load_wide=load(x.dtype, x_at, wide),
            store_wide=store(out.dtype, "carry", y_at, wide),
            load_run=load(x.dtype, f"{x_run} + t", prefix),
            store_run=store(out.dtype, "v", f"{y_run} + t", prefix),
            load_run_back=load(x.dtype, f"{x_run} + {back}", prefix),
            store_run_back=store(out.dtype, "v", f"{y_run} + {back}", prefix),
        )
        items = work.global_size[0] * (pieces if stage != "whole" else 1)
        size = (up(items, work.local) * work.local,)
        traffic = float(x.nbytes + (0 if stage == "totals" else sum(o.nbytes for o in outputs)))
        return Launch(
            KernelSource(f"scan_{kind}", body, (), (work.local,)), parameters.args, size, float(out.numel), traffic
        )

    if pieces == 1:
        return Lowered((launch("whole"),))
    slots = rows * inner * pieces
    size = 8 if out.dtype is float64 or accumulator == "long" else 4
    scratch = (slots * size, slots * 8) if indexed else (slots * size,)
    return Lowered((launch("totals"), launch("finish")), scratch)


def lower_cumsum(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """Running sum along a dim."""
    return _scan("sum", inputs[0], outputs, attrs, target)


def lower_cumprod(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """Running product along a dim."""
    return _scan("prod", inputs[0], outputs, attrs, target)


def lower_cummax(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """Running maximum and its position (of the last of equal values; NaN wins)."""
    return _scan("max", inputs[0], outputs, attrs, target)


def lower_cummin(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """Running minimum and its position (of the last of equal values; NaN wins)."""
    return _scan("min", inputs[0], outputs, attrs, target)


def lower_logcumsumexp(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """Running log(sum(exp)) along a dim, without overflow."""
    return _scan("logsumexp", inputs[0], outputs, attrs, target)
