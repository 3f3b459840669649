"""Row-wise lowering: reductions of every kind, softmax and norms, along every kind of dim, against NumPy in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import runner

from cltorch.codegen.program import Instr, Reduce, RowProgram
from cltorch.codegen.rowwise import lower_rowwise
from cltorch.codegen.source import Scratch
from cltorch.dtypes import bool_, float16, float32, float64, int32, int64, uint8
from cltorch.shapes import Layout, layout

DEVICES = runner.devices()
KINDS = ("cpu", "gpu")
rng = np.random.default_rng(5)
MATH = ("math",)


def view(storage: np.ndarray, place: Layout) -> np.ndarray:
    stride = [s * storage.itemsize for s in place.stride]
    return np.lib.stride_tricks.as_strided(storage[place.offset :], place.shape, stride)


def rows_of(shape: tuple[int, ...], dims: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(1 if d in dims else n for d, n in enumerate(shape))


def in_rows(x: np.ndarray, dims: tuple[int, ...]) -> np.ndarray:
    """Reduced dims moved to the end and flattened, in C order."""
    kept = [d for d in range(x.ndim) if d not in dims]
    return np.ascontiguousarray(x.transpose(*kept, *dims)).reshape([x.shape[d] for d in kept] + [-1])


def spread(cases):
    """Every case on the first device; on the others every third, not the same ones: PoCL is slow to build kernels."""
    return [
        pytest.param(
            device,
            *(case if isinstance(case, tuple) and isinstance(case[0], tuple) else (case,)),
            id=f"{device}-{case}",
        )
        for k, device in enumerate(DEVICES)
        for i, case in enumerate(cases)
        if not k or (i + k) % 3 == 0
    ]


def check(device, program, arrays, wanted, scalars=(), tolerance=2e-6, shares=None, kinds=None):
    """Run, on the first device in both device classes, and compare every store."""
    for kind in kinds or KINDS[: 2 if device is DEVICES[0] else 1]:
        lowered = lower_rowwise(program, runner.target(device, kind))
        given = [arrays[shares[i]] if shares and i in shares else place for i, (_, place) in enumerate(program.stores)]
        outs = runner.run(lowered, arrays, given, scalars, device, shares)
        for k, (out, (_, place), want) in enumerate(zip(outs, program.stores, wanted)):
            got = view(out, place).astype(np.float64)
            np.testing.assert_allclose(
                got,
                np.asarray(want, np.float64).reshape(place.shape),
                rtol=tolerance,
                atol=tolerance,
                err_msg=f"{kind} store {k}",
            )


def softmax_program(shape, dims, inside=None, outside=None, aliases=()):
    inside = inside or layout(float32, shape)
    return RowProgram(
        shape,
        dims,
        (inside,),
        (False,),
        (),
        (
            Reduce("max", 0, float32),
            Instr("{0} - {1}", (0, 1), float32),
            Instr("m_exp({0})", (2,), float32, MATH, 20),
            Reduce("sum", 3, float32),
            Instr("{0} / {1}", (3, 4), float32),
        ),
        ((5, outside or layout(float32, shape)),),
        aliases,
    )


def softmax(x, dims):
    e = np.exp(x.astype(np.float64) - x.max(dims, keepdims=True))
    return e / e.sum(dims, keepdims=True)


SHAPES = [
    ((5, 33), (1,)),
    ((5, 33), (0,)),
    ((7, 100), (0, 1)),
    ((4, 3, 17), (0, 2)),
    ((4, 5, 17), (1,)),
    ((300, 3), (1,)),
    ((300, 3), (0,)),
    ((1, 1), (1,)),
    ((64, 6, 14, 14), (0, 2, 3)),
    ((40, 700), (1,)),
    ((2, 3, 4, 5), (1, 3)),
    ((9, 2, 50), (0,)),
    ((3, 20000), (1,)),
]


@pytest.mark.parametrize(("device", "shape", "dims"), spread(SHAPES))
def test_sums_extrema_and_positions(device, shape, dims):
    x = rng.standard_normal(shape).astype(np.float32)
    x[rng.random(shape) < 0.3] = 0.5  # ties
    y = layout(float32, rows_of(shape, dims))
    place = layout(int64, y.shape)
    program = RowProgram(
        shape,
        dims,
        (layout(float32, shape),),
        (False,),
        (float32,),
        (
            Reduce("sum", 0, float32),
            Reduce("max", 0, float32),
            Reduce("min", 0, float32),
            Reduce("argmax", 0, int64),
            Reduce("argmin", 0, int64),
            Instr("{0} * {1}", (2, 1), float32),
        ),
        ((7, y), (3, y), (4, y), (5, place), (6, place)),
    )
    wide, flat = x.astype(np.float64), in_rows(x, dims)
    wanted = [wide.sum(dims) * 0.5, x.max(dims), x.min(dims), flat.argmax(-1), flat.argmin(-1)]
    check(device, program, [x], wanted, [0.5], 1e-5 if flat.shape[-1] < 10000 else 1e-4)


@pytest.mark.parametrize(("device", "shape", "dims"), spread(SHAPES))
def test_softmax(device, shape, dims):
    x = rng.standard_normal(shape).astype(np.float32) * 3
    check(device, softmax_program(shape, dims), [x], [softmax(x, dims)])


@pytest.mark.parametrize(
    ("device", "shape", "dims"), spread([((6, 90), (1,)), ((90, 6), (0,)), ((8, 5, 6, 7), (0, 2, 3)), ((33, 12), (1,))])
)
def test_norm_with_row_and_element_outputs(device, shape, dims):
    """Three passes, a per-row and a per-element weight, and stores of mean, rstd and the result."""
    x = rng.standard_normal(shape).astype(np.float32) + 2
    row, each = (
        rng.standard_normal(rows_of(shape, dims)).astype(np.float32),
        rng.standard_normal(shape[-1:]).astype(np.float32),
    )
    n = x.size // row.size
    out, per_row = layout(float32, shape), layout(float32, row.shape)
    program = RowProgram(
        shape,
        dims,
        (
            layout(float32, shape),
            layout(float32, row.shape).broadcast_to(shape),
            layout(float32, shape[-1:]).broadcast_to(shape),
        ),
        (False, True, False),
        (float32,),
        (
            Reduce("sum", 0, float32),
            Instr(f"{{0}} / ${n}$", (4,), float32),
            Instr("{0} - {1}", (0, 5), float32),
            Instr("{0} * {0}", (6,), float32),
            Reduce("sum", 7, float32),
            Instr(f"$1$ / sqrt({{0}} / ${n}$ + {{1}})", (8, 3), float32),
            Instr("{0} * {1} * {2} + {3}", (6, 9, 1, 2), float32),
        ),
        ((10, out), (5, per_row), (9, per_row)),
    )
    wide = x.astype(np.float64)
    mean, rstd = wide.mean(dims, keepdims=True), 1 / np.sqrt(wide.var(dims, keepdims=True) + 1e-3)
    check(device, program, [x, row, each], [(wide - mean) * rstd * row + each, mean, rstd], [1e-3], 2e-5)


@pytest.mark.parametrize(("device", "dims"), spread([(1,), (0,), (2,), (0, 2)]))
def test_strided_views(device, dims):
    shape = (6, 7, 20)
    inside = layout(float32, shape, (1, 400, 13), 3)
    outside = layout(float32, shape, (300, 41, 2), 1)
    x = rng.standard_normal(inside.extent()[1] + 1).astype(np.float32)
    check(device, softmax_program(shape, dims, inside, outside), [x], [softmax(view(x, inside), dims)])


@pytest.mark.parametrize(
    ("device", "shape", "dims"), spread([((6, 300), (1,)), ((300, 6), (0,)), ((50, 37), (0,)), ((100, 5), (1,))])
)
def test_in_place(device, shape, dims):
    x = rng.standard_normal(shape).astype(np.float32)
    check(device, softmax_program(shape, dims, aliases=(0,)), [x], [softmax(x, dims)], shares={0: 0})


@pytest.mark.parametrize(("device", "dims"), spread([(0,), (1,)]))
def test_an_aliased_early_store_waits_for_later_readers(device, dims):
    """relu in place, while a second pass still reads the input."""
    shape = (23, 40)
    x = rng.standard_normal(shape).astype(np.float32)
    place, y = layout(float32, shape), layout(float32, rows_of(shape, dims))
    program = RowProgram(
        shape,
        dims,
        (place,),
        (False,),
        (),
        (
            Instr("{0} > $0$ ? {0} : $0$", (0,), float32),
            Reduce("sum", 1, float32),
            Instr("{0} * {1}", (0, 2), float32),
            Reduce("max", 3, float32),
        ),
        ((1, place), (4, y)),
        (0, -1),
    )
    total = np.maximum(x, 0).astype(np.float64).sum(dims, keepdims=True)
    check(device, program, [x], [np.maximum(x, 0), (x * total).max(dims)], shares={0: 0}, tolerance=1e-5)


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_running_mean_is_updated_in_place(device):
    shape, dims = (40, 5, 8), (0, 2)
    x, running = rng.standard_normal(shape).astype(np.float32), rng.standard_normal(5).astype(np.float32)
    row = layout(float32, (1, 5, 1))
    program = RowProgram(
        shape,
        dims,
        (layout(float32, shape), row.broadcast_to(shape)),
        (False, True),
        (float32,),
        (Reduce("sum", 0, float32), Instr("{0} + {1} * ({2} / $320$ - {0})", (1, 2, 3), float32)),
        ((4, row),),
        (1,),
    )
    wanted = running + 0.1 * (x.astype(np.float64).mean(dims) - running)
    check(device, program, [x, running], [wanted], [0.1], shares={0: 1})


@pytest.mark.parametrize(("device", "dims"), spread([(0,), (1,)]))
def test_dtypes(device, dims):
    shape = (37, 29)
    byte = rng.integers(0, 255, shape, dtype=np.uint8)
    mask = rng.random(shape) < 0.95
    half = rng.standard_normal(shape).astype(np.float16)
    double = rng.standard_normal(shape)
    large = rng.integers(-(2**62), 2**62, shape)
    y = rows_of(shape, dims)
    program = RowProgram(
        shape,
        dims,
        tuple(layout(d, shape) for d in (uint8, bool_, float16, float64, int64)),
        (False,) * 5,
        (),
        (
            Reduce("sum", 0, uint8),
            Reduce("sum", 0, int64),
            Reduce("min", 1, bool_),
            Reduce("sum", 1, int64),
            Reduce("sum", 2, float16),
            Reduce("prod", 3, float64),
            Reduce("max", 4, int64),
            Reduce("argmin", 4, int64),
            Reduce("argmax", 3, int64),
            Reduce("max", 0, uint8),
            Reduce("min", 0, uint8),
            Reduce("argmin", 0, int64),
        ),
        tuple(
            (5 + k, layout(d, y))
            for k, d in enumerate(
                (uint8, int64, bool_, int64, float16, float64, int64, int64, int64, uint8, uint8, int64)
            )
        ),
    )
    arrays = [byte, mask, half, double, large]
    wanted = [
        byte.sum(dims, dtype=np.uint8),
        byte.sum(dims, dtype=np.int64),
        mask.all(dims),
        mask.sum(dims),
        half.astype(np.float64).sum(dims).astype(np.float16),
        double.prod(dims),
        large.max(dims),
        large.argmin(dims[0]),
        double.argmax(dims[0]),
        byte.max(dims),
        byte.min(dims),
        byte.argmin(dims[0]),
    ]
    check(device, program, arrays, wanted, tolerance=2e-3)
    exact = RowProgram(
        shape,
        dims,
        (layout(int64, shape),),
        (False,),
        (),
        (Reduce("max", 0, int64), Reduce("sum", 0, int64)),
        ((1, layout(int64, y)), (2, layout(int64, y))),
    )
    for kind in KINDS:
        outs = runner.run(
            lower_rowwise(exact, runner.target(device, kind)), [large], [p for _, p in exact.stores], device=device
        )
        assert np.array_equal(outs[0], large.max(dims)) and np.array_equal(outs[1], large.sum(dims))


@pytest.mark.parametrize(("device", "shape"), spread([(4, 70), (70, 4)]))
def test_nan_and_infinity(device, shape):
    dims = (0,) if shape[0] > shape[1] else (1,)
    x = rng.standard_normal(shape).astype(np.float32)
    rows = x if dims == (1,) else x.T
    rows[0, 33] = np.nan
    rows[0, 40] = np.nan
    rows[1, 69] = np.inf
    rows[2, :] = -np.inf
    rows[3, :] = -0.0
    rows[3, 50:] = 0.0
    y = rows_of(shape, dims)
    program = RowProgram(
        shape,
        dims,
        (layout(float32, shape),),
        (False,),
        (),
        (
            Reduce("max", 0, float32),
            Reduce("min", 0, float32),
            Reduce("argmax", 0, int64),
            Reduce("argmin", 0, int64),
            Reduce("sum", 0, float32),
        ),
        tuple((1 + k, layout(d, y)) for k, d in enumerate((float32, float32, int64, int64, float32))),
    )
    flat = in_rows(x, dims)
    with np.errstate(invalid="ignore"):
        check(
            device,
            program,
            [x],
            [x.max(dims), x.min(dims), flat.argmax(-1), flat.argmin(-1), flat.astype(np.float64).sum(-1)],
            tolerance=1e-5,
        )


@pytest.mark.parametrize(
    ("device", "shape", "dims"), spread([((6, 0), (1,)), ((0, 6), (0,)), ((3, 0, 2), (1,)), ((3, 0, 4), (1, 2))])
)
def test_empty_rows_give_the_identity(device, shape, dims):
    y = layout(float32, rows_of(shape, dims))
    program = RowProgram(
        shape,
        dims,
        (layout(float32, shape),),
        (False,),
        (),
        (Reduce("sum", 0, float32), Reduce("prod", 0, float32)),
        ((1, y), (2, y)),
    )
    check(device, program, [np.zeros(0, np.float32)], [np.zeros(y.shape), np.ones(y.shape)])


def test_no_rows_no_launch():
    y = layout(float32, (0, 1))
    program = RowProgram(
        (0, 6), (1,), (layout(float32, (0, 6)),), (False,), (), (Reduce("sum", 0, float32),), ((1, y),)
    )
    assert lower_rowwise(program, runner.target(DEVICES[0])).launches == ()


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_a_million_numbers_sum_accurately(device):
    for x in (rng.standard_normal(1_000_003), rng.random(1_000_003), rng.random(1_000_003) + 1e4):
        x = x.astype(np.float32)
        y = layout(float32, (1,))
        program = RowProgram(
            x.shape, (0,), (layout(float32, x.shape),), (False,), (), (Reduce("sum", 0, float32),), ((1, y),)
        )
        exact = x.astype(np.float64).sum()
        for kind in KINDS:
            (out,) = runner.run(lower_rowwise(program, runner.target(device, kind)), [x], [y], device=device)
            assert abs(out[0] - exact) <= 2e-7 * np.abs(x).astype(np.float64).sum() ** 0.5 * 30 + 2.1e-7 * abs(exact), (
                kind
            )


SPLIT = [
    ((400_000,), (0,)),
    ((3, 150_000), (1,)),
    ((30_000, 20), (0,)),
    ((64, 3, 40, 40), (0, 2, 3)),
    ((5, 20_000, 7), (1,)),
]


@pytest.mark.parametrize(("device", "shape", "dims"), spread(SPLIT))
def test_few_long_rows_take_two_launches(device, shape, dims):
    """Row inputs, scalars, several reductions and an in-place row store survive the split."""
    x = rng.standard_normal(shape).astype(np.float32)
    rows = rows_of(shape, dims)
    running = rng.standard_normal(rows).astype(np.float32)
    n = x.size // running.size
    y = layout(float32, rows)
    program = RowProgram(
        shape,
        dims,
        (y.broadcast_to(shape), layout(float32, shape)),
        (True, False),
        (float32,),
        (
            Instr("{0} * {0}", (1,), float32),
            Reduce("sum", 3, float32),
            Reduce("max", 1, float32),
            Reduce("sum", 1, float16),
            Instr(f"{{0}} / ${n}$ * {{1}} + {{2}}", (4, 2, 0), float32),
            Instr("{0} + {1}", (7, 5), float32),
        ),
        ((8, y), (5, y)),
        (0, -1),
    )
    lowered = lower_rowwise(program, replace(runner.target(device), compute_units=16))
    assert len(lowered.launches) == 2 and lowered.scratch
    assert all(any(isinstance(a, Scratch) for a in launch.args) for launch in lowered.launches)
    wide = x.astype(np.float64)
    top = wide.max(dims, keepdims=True)
    wanted = (wide**2).mean(dims, keepdims=True) * 0.25 + running + top
    outs = runner.run(lowered, [running, x], [running, y], [0.25], device, {0: 0})
    np.testing.assert_allclose(view(outs[0], y), wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(view(outs[1], y), top, rtol=1e-6)
    check(device, program, [running, x], [wanted, top], [0.25], 1e-5, {0: 0})
    again = runner.run(lowered, [running, x], [running, y], [0.25], device, {0: 0})
    assert np.array_equal(again[0], outs[0]), "not deterministic"


@pytest.mark.parametrize(("device", "shape", "dims"), spread([((5, 60), (1,)), ((60, 5), (0,))]))
def test_index_within_a_row_program(device, shape, dims):
    """Cross entropy: the log-softmax at the class of each row, picked by comparing the index."""
    x = rng.standard_normal(shape).astype(np.float32)
    y = layout(int64, rows_of(shape, dims))
    classes = rng.integers(0, 60, y.shape)
    class_index = f"{{0}} % ${shape[1]}$" if dims == (1,) else f"{{0}} / ${shape[1]}$"
    program = RowProgram(
        shape,
        dims,
        (layout(float32, shape), y.broadcast_to(shape)),
        (False, True),
        (),
        (
            Reduce("max", 0, float32),
            Instr("m_exp({0} - {1})", (0, 2), float32, MATH, 20),
            Reduce("sum", 3, float32),
            Instr("index", (), int64),
            Instr(class_index, (5,), int64),
            Instr("?{0} == {1}", (6, 1), bool_),
            Instr("{0?} ? {1} : $0$", (7, 0), float32),
            Reduce("sum", 8, float32),
            Instr("{0} + m_log({1}) - {2}", (2, 4, 9), float32, MATH, 20),
        ),
        ((10, layout(float32, y.shape)),),
    )
    chosen = np.take_along_axis(softmax(x, dims), classes, dims[0])
    check(device, program, [x, classes], [-np.log(chosen)], tolerance=1e-5)


def test_one_text_serves_all_sizes_of_a_form():
    target = runner.target(DEVICES[0])

    def name(rows: int, n: int) -> str:
        return lower_rowwise(softmax_program((rows, n), (1,)), target).launches[0].source.name

    assert name(10, 1024) == name(700, 2048) == name(3, 2000)
    assert name(10, 1024) != name(10, 100_000)  # too long to keep exponentials in local memory


@pytest.mark.parametrize("device", DEVICES[:1], ids=str)
def test_row_of_many_blocks(device):
    """Longer than the stage and than a block of plain sums."""
    x = rng.standard_normal((2, 70_001)).astype(np.float32)
    check(device, softmax_program(x.shape, (1,)), [x], [softmax(x, (1,))], tolerance=1e-5)
    counts = rng.integers(0, 5, (2, 70_001)).astype(np.int32)
    y = layout(int64, (2, 1))
    program = RowProgram(
        x.shape,
        (1,),
        (layout(int32, x.shape),),
        (False,),
        (),
        (Instr("cast", (0,), int64), Reduce("sum", 1, int64)),
        ((2, y),),
    )
    check(device, program, [counts], [counts.sum(1)])


@pytest.mark.parametrize(
    ("device", "shape", "dims"), spread([((3, 150_000), (1,)), ((30_000, 20), (0,)), ((8, 3, 100, 40), (0, 2, 3))])
)
def test_positions_in_few_long_rows_are_found_in_parts(device, shape, dims):
    """The first of equal elements wins across parts, NaN above all."""
    x = rng.integers(-9, 9, shape).astype(np.float32)
    rows = in_rows(x, dims)
    if dims == (1,):
        x[1, 140_000] = x[1, 149_000] = np.nan
        rows = in_rows(x, dims)
    y = layout(int64, rows_of(shape, dims))
    program = RowProgram(
        shape,
        dims,
        (layout(float32, shape),),
        (False,),
        (),
        (Reduce("argmax", 0, int64), Reduce("argmin", 0, int64), Reduce("max", 0, float32)),
        ((1, y), (2, y), (3, layout(float32, y.shape))),
    )
    lowered = lower_rowwise(program, replace(runner.target(device), compute_units=16))
    assert len(lowered.launches) == 2 and len(lowered.scratch) == 5
    outs = runner.run(lowered, [x], [place for _, place in program.stores], device=device)
    for out, want in zip(outs, (rows.argmax(-1), rows.argmin(-1), rows.max(-1))):
        assert np.array_equal(out, want.ravel(), equal_nan=True)


@pytest.mark.parametrize(("device", "shape", "dims"), spread([((1, 300_001), (1,)), ((70_000, 4), (0,))]))
def test_rows_too_long_for_one_work_item_are_done_in_stages(device, shape, dims):
    """Norm with every kind of store; half of it in place: each level of reductions and the stores in launches of their
    own."""
    x = rng.standard_normal(shape).astype(np.float32) + 2
    rows = rows_of(shape, dims)
    running = rng.standard_normal(rows).astype(np.float32)
    place, row = layout(float32, shape), layout(float32, rows)
    n = x.size // running.size
    program = RowProgram(
        shape,
        dims,
        (row.broadcast_to(shape), place),
        (True, False),
        (float32,),
        (
            Reduce("sum", 1, float32),
            Instr(f"{{0}} / ${n}$", (3,), float32),
            Instr("{0} - {1}", (1, 4), float32),
            Instr("{0} * {0}", (5,), float32),
            Reduce("sum", 6, float16),  # beyond float16's range: the register is not rounded
            Instr(f"$1$ / sqrt({{0}} / ${n}$ + {{1}})", (7, 2), float32),
            Instr("{0} * {1} + {2}", (5, 8, 0), float32),
            Instr("{0} + {1} * ({2} - {0})", (0, 2, 4), float32),
        ),
        ((9, place), (10, row), (8, row)),
        (1, 0, -1),
    )
    lowered = lower_rowwise(program, replace(runner.target(device), compute_units=16, loop_limit=4000))
    assert len(lowered.launches) >= 6
    wide = x.astype(np.float64)
    mean, rstd = wide.mean(dims, keepdims=True), 1 / np.sqrt(wide.var(dims, keepdims=True) + 0.1)
    wanted = (wide - mean) * rstd + running, running + 0.1 * (mean - running), rstd
    outs = runner.run(lowered, [running, x], [x, running, row], [0.1], device, {0: 1, 1: 0})
    for out, want in zip(outs, wanted):
        np.testing.assert_allclose(out, want.ravel(), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(("device", "shape", "dims"), spread([((5, 70), (1,)), ((70, 5), (0,))]))
def test_values_per_row_where_values_per_element_are_usual(device, shape, dims):
    """A per-row value stored to every element, reductions of per-row values and of numbers."""
    x = rng.standard_normal(shape).astype(np.float32)
    row = rng.standard_normal(rows_of(shape, dims)).astype(np.float32)
    place, y = layout(float32, shape), layout(float32, row.shape)
    program = RowProgram(
        shape,
        dims,
        (place, y.broadcast_to(shape)),
        (False, True),
        (float32,),
        (
            Reduce("sum", 0, float32),
            Reduce("sum", 1, float32),
            Reduce("sum", 2, float32),
            Reduce("max", 1, float32),
            Reduce("prod", 2, float32),
            Reduce("argmax", 1, int64),
            Reduce("sum", 3, float32),
            Instr("index", (), int64),
        ),
        (
            (3, place),
            (4, y),
            (5, y),
            (6, y),
            (7, y),
            (8, layout(int64, y.shape)),
            (9, y),
            (10, layout(int64, shape)),
            (1, place),
            (0, place),
        ),
    )
    total = x.astype(np.float64).sum(dims, keepdims=True)
    wanted = [
        np.broadcast_to(total, shape),
        row * 70.0,
        np.full(y.shape, 70 * 0.75),
        row,
        np.full(y.shape, 0.75**70),
        np.zeros(y.shape),
        total * 70,
        np.arange(350),
        np.broadcast_to(row, shape),
        x,
    ]
    check(device, program, [x, row], wanted, [0.75], 2e-5)


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize(
    ("shape", "dims"),
    [((6, 90), (1,)), ((90, 6), (0,)), ((2, 3, 4, 2, 5), (0, 2, 3)), ((3, 4, 5, 2, 2), (1, 3))],
    ids=str,
)
def test_gradient_of_a_norm(device, shape, dims):
    """float16 elements, a bool mask and double per-row statistics: sums of products of several inputs, then the
    stores of three tensors."""
    x = rng.standard_normal(shape).astype(np.float16)
    g = rng.standard_normal(shape).astype(np.float32)
    keep = rng.random(shape) < 0.7
    mean, rstd = (rng.random(rows_of(shape, dims)) + 0.5 for _ in range(2))
    n = x.size // mean.size
    row = layout(float64, mean.shape)
    program = RowProgram(
        shape,
        dims,
        (layout(float16, shape), layout(float32, shape), layout(bool_, shape), *(row.broadcast_to(shape),) * 2),
        (False, False, False, True, True),
        (),
        (
            Instr("cast", (0,), float32),
            Instr("cast", (3,), float32),
            Instr("cast", (4,), float32),
            Instr("({0} - {1}) * {2}", (5, 6, 7), float32),
            Instr("{0?} ? {1} : $0$", (2, 1), float32),
            Instr("{0} * {1}", (8, 9), float32),
            Reduce("sum", 9, float32),
            Reduce("sum", 10, float32),
            Instr(f"({{0}} - {{1}} / ${n}.0$ - {{2}} * {{3}} / ${n}.0$) * {{4}}", (9, 11, 8, 12, 7), float32),
            Reduce("max", 13, float32),
            Instr("{0} - {1}", (13, 14), float32),
            Instr("m_exp({0})", (15,), float32, MATH, 20),
            Reduce("sum", 16, float32),
            Instr("{0} / {1}", (16, 17), float32),
            Instr("cast", (13,), float16),
            Instr("cast", (12,), float64),
        ),
        ((18, layout(float32, shape)), (19, layout(float16, shape)), (20, row), (11, layout(float32, row.shape))),
    )
    hat = (x.astype(np.float64) - mean) * rstd
    masked = np.where(keep, g.astype(np.float64), 0)
    by = (masked * hat).sum(dims, keepdims=True)
    dx = (masked - masked.mean(dims, keepdims=True) - hat * by / n) * rstd
    arrays = [x, g, keep, mean, rstd]
    check(device, program, arrays, [softmax(dx, dims), dx, by, masked.sum(dims)], tolerance=3e-3)
