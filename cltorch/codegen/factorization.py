"""Lowers factorizations of batches of matrices: LU, Cholesky, triangular systems, Householder reflections.

Floor 1b. Operands are contiguous and of float32 or float64 (the record above sees to that); outputs are contiguous.
Each template describes its algorithm. A single large matrix is factored by one core: these kernels are for batches.
"""

from __future__ import annotations

from math import prod

from ..shapes import Layout
from ..target import Target
from .program import Epilogue
from .source import Input, KernelSource, Launch, Lowered, Output, render
from .walk import Parameters, index_type, lanes, split, up

_GPU_GROUP = 64


def _per_group(matrices: int, work: float, target: Target) -> int:
    """Matrices that one work-group takes in turn: enough for its start to pay, on every core."""
    if target.kind == "gpu":
        return 1
    groups = max(1, min(matrices, int(matrices * work / 4096), 8 * target.compute_units))
    return up(matrices, groups)


def _launch(
    family: str, template: str, parameters: Parameters, target: Target, matrices: int, work: float, nbytes: float,
    **texts: object,
) -> Lowered:  # fmt: skip
    """One launch of groups that take `per_group` matrices each."""
    group = _GPU_GROUP if target.kind == "gpu" else 1
    per_group = _per_group(matrices, work, target)
    parameters.value("matrices", matrices)
    parameters.value("per_group", per_group)
    body = render(template, parameters=parameters.text, I=parameters.index, group=group, **texts)
    size = (up(matrices, per_group) * group,)
    source = KernelSource(family, body, (), (group,))
    return Lowered((Launch(source, parameters.args, size, matrices * work, nbytes),))


def lower_lu(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """L and U in one matrix, pivots (1-based rows, int32), info of (*, m, n)."""
    x, y = inputs[0], outputs[0]
    *batch, m, n = x.shape
    if not outputs[2].numel:
        return Lowered(())
    parameters = Parameters(index_type(x, y))
    parameters.read("x", x.dtype.storage, Input(0))
    parameters.shared("y", y.dtype.storage, Output(0))
    parameters.write("pivots", "int", Output(1))
    parameters.write("info", "int", Output(2))
    for name, number in (("x_offset", x.offset), ("m", m), ("n", n)):
        parameters.value(name, number)
    steps = min(m, n)
    work = float(m * n * steps - (m + n) * steps**2 / 2 + steps**3 / 3) * 2 + m * n
    return _launch(
        "lu", "lu", parameters, target, prod(batch), work, float(x.nbytes + y.nbytes), R=y.dtype.register,
        lanes=lanes(y.dtype, target),
    )  # fmt: skip


def lower_cholesky(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """L and info of the lower triangles of (*, n, n)."""
    x, y = inputs[0], outputs[0]
    *batch, n, _ = x.shape
    if not outputs[1].numel:
        return Lowered(())
    parameters = Parameters(index_type(x, y))
    parameters.read("x", x.dtype.storage, Input(0))
    parameters.shared("y", y.dtype.storage, Output(0))
    parameters.write("info", "int", Output(1))
    parameters.value("x_offset", x.offset)
    parameters.value("n", n)
    return _launch(
        "cholesky", "cholesky", parameters, target, prod(batch), n**3 / 3 + n * n, float(x.nbytes + y.nbytes),
        R=y.dtype.register, lanes=lanes(y.dtype, target),
    )  # fmt: skip


def lower_triangular(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """X of T X = B, T (*, n, n), B (*, n, k). Attributes: upper, transposed, unit."""
    (a, b), y = inputs, outputs[0]
    upper, transposed, unit = attrs
    *batch, n, k = b.shape
    if not y.numel:
        return Lowered(())
    work = split(prod(batch), k, target, cost=float(n * n), iterations=float(n * n))
    parameters = Parameters(index_type(a, b, y))
    parameters.read("a", a.dtype.storage, Input(0))
    parameters.read("b", b.dtype.storage, Input(1))
    parameters.shared("y", y.dtype.storage, Output(0))
    span = work.bind(parameters)
    along = (1, n) if transposed else (n, 1)
    for name, number in (
        ("n", n), ("k", k), ("a_offset", a.offset), ("b_offset", b.offset),
        ("along_row", along[0]), ("along_column", along[1]),
    ):  # fmt: skip
        parameters.value(name, number)
    body = render(
        "triangular", parameters=parameters.text, span=span, I=parameters.index, R=y.dtype.register,
        group=work.local, lanes=lanes(y.dtype, target), upper=bool(upper) != bool(transposed), unit=bool(unit),
    )  # fmt: skip
    source = KernelSource("triangular", body, (), (work.local,))
    traffic = float(a.nbytes + b.nbytes + y.nbytes)
    return Lowered((Launch(source, parameters.args, work.global_size, float(y.numel * n), traffic),))


def lower_householder(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """Reflections and R in one matrix, and the reflections' factors tau, of (*, m, n)."""
    x, y = inputs[0], outputs[0]
    *batch, m, n = x.shape
    if not y.numel:
        return Lowered(())
    parameters = Parameters(index_type(x, y))
    parameters.read("x", x.dtype.storage, Input(0))
    parameters.shared("y", y.dtype.storage, Output(0))
    parameters.write("taus", y.dtype.storage, Output(1))
    for name, number in (("x_offset", x.offset), ("m", m), ("n", n)):
        parameters.value(name, number)
    steps = min(m, n)
    return _launch(
        "householder", "householder", parameters, target, prod(batch), 4.0 * m * n * steps + m * n,
        float(x.nbytes + y.nbytes), R=y.dtype.register, lanes=lanes(y.dtype, target), stage="factor", span="",
    )  # fmt: skip


def lower_reflections(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """The first n columns of the product of reflections (*, m, given) with factors tau (*, k): (*, m, n)."""
    (x, taus), y = inputs, outputs[0]
    *batch, m, n = y.shape
    if not y.numel:
        return Lowered(())
    reflections = taus.shape[-1]
    cost = float(4 * m * max(reflections, 1))
    work = split(prod(batch), n, target, cost=cost, iterations=cost)
    parameters = Parameters(index_type(x, y))
    parameters.read("x", x.dtype.storage, Input(0))
    parameters.read("taus", x.dtype.storage, Input(1))
    parameters.shared("y", y.dtype.storage, Output(0))
    span = work.bind(parameters)
    for name, number in (
        ("m", m), ("n", n), ("given", x.shape[-1]), ("reflections", reflections), ("x_offset", x.offset),
        ("taus_offset", taus.offset),
    ):  # fmt: skip
        parameters.value(name, number)
    body = render(
        "householder", parameters=parameters.text, span=span, I=parameters.index, R=y.dtype.register,
        group=work.local, lanes=lanes(y.dtype, target), stage="product",
    )  # fmt: skip
    source = KernelSource("householder", body, (), (work.local,))
    launch = Launch(source, parameters.args, work.global_size, y.numel * cost, float(x.nbytes + y.nbytes))
    return Lowered((launch,))


def lower_permutation(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """The row order (*, m), int64, that pivots (*, k) make. Attribute: m."""
    pivots, order = inputs[0], outputs[0]
    *batch, m = order.shape
    if not order.numel:
        return Lowered(())
    matrices = prod(batch)
    group = _GPU_GROUP if target.kind == "gpu" else 1
    per_item = _per_group(matrices, float(4 * m), target)
    parameters = Parameters(index_type(pivots, order))
    parameters.read("pivots", "int", Input(0))
    parameters.shared("order", "long", Output(0))
    for name, number in (
        ("pivots_offset", pivots.offset), ("m", m), ("steps", pivots.shape[-1]), ("matrices", matrices),
        ("per_item", per_item),
    ):  # fmt: skip
        parameters.value(name, number)
    body = render("permutation", parameters=parameters.text, I=parameters.index, group=group)
    size = (up(up(matrices, per_item), group) * group,)
    source = KernelSource("permutation", body, (), (group,))
    return Lowered((Launch(source, parameters.args, size, 0.0, float(pivots.nbytes + order.nbytes)),))
