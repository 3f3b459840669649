"""The two forms of convolution that serve all three directions: an implicit matrix product for GPUs, and plain loops.

Floor 1b, part of `conv`; the templates conv_gemm and conv_plain have the algorithms.
"""

from __future__ import annotations

from math import prod

from ..shapes import Layout
from ..target import Target
from .conv_finish import Finish, epilogue_layouts, index_type, loader
from .conv_shapes import Pair, ceil_div, round_up
from .program import Epilogue
from .source import Argument, Input, KernelSource, Launch, Lowered, Scratch, Value, render


def plain_launch(
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
    index = index_type(a, b, *epilogue_layouts(epilogue))
    finish = Finish(epilogue, index)
    local = 64 if target.kind == "gpu" else 1
    body = render(
        "conv_plain",
        LOCAL=local,
        AT=a.dtype.storage,
        BT=b.dtype.storage,
        T=a.dtype.register,
        INDEX=index,
        DIRECTION=direction,
        aload=f"{loader(a.dtype)}1",
        bload=f"{loader(b.dtype)}1",
        store=finish.stores((1,)),
        epilogue_parameters=finish.text(),
    )
    elements = prod(shape)
    grain = 1 if target.kind == "gpu" else max(1, ceil_div(elements, 16 * target.compute_units))
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
    return Lowered((Launch(source, args, (round_up(ceil_div(elements, grain), local),), flops, 0.0),))


def gemm_launch(
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
    finish: Finish | None,
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
        aload=loader(a.dtype),
        bload=loader(b.dtype),
        store={1: store},
        epilogue_parameters=parameters,
    )
    share = round_up(ceil_div(reduction, parts), 16)
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
        source,
        args,
        (256 * ceil_div(columns, 64), ceil_div(m_count, 64), groups * parts),
        flops,
        float(a.nbytes + b.nbytes),
    )
