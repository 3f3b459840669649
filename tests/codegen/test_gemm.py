"""Matrix products against float64 (or wrapping integers): layouts, ragged sizes, dtypes, batches, epilogues, forms."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import runner

from cltorch import dtypes
from cltorch.codegen.gemm import GemmConfig, lower_matmul
from cltorch.codegen.program import Epilogue, Instr
from cltorch.dtypes import DType, bfloat16, float16, float32, float64, int8, int16, int32, int64, uint8
from cltorch.shapes import Layout, layout

DEVICES = runner.devices()
KINDS = ("cpu", "gpu")
TOLERANCE = {"float32": 2e-6, "float64": 1e-14, "float16": 1e-3, "bfloat16": 8e-3}


@pytest.fixture(params=DEVICES, ids=repr)
def device(request) -> runner.RawDevice:
    """Each device in turn."""
    return request.param


@pytest.fixture(params=KINDS)
def target(request):
    """Both classes of kernels, for the first device: texts are the same on all of them, and builds take time."""
    return runner.target(DEVICES[0], request.param)


def encode(values: np.ndarray, dtype: DType) -> np.ndarray:
    """float64 or integer values as the bytes of `dtype` in memory."""
    if dtype is bfloat16:
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return values.astype(dtype.numpy)


def decode(memory: np.ndarray, dtype: DType) -> np.ndarray:
    if dtype is bfloat16:
        return (memory.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return memory.astype(np.float64) if dtype.category == dtypes.FLOAT else memory


def matrix(rng: np.random.Generator, dtype: DType, batch: tuple[int, ...], rows: int, columns: int, form: str):
    """A storage, a Layout of (*batch, rows, columns) on it and the values the Layout shows.

    `form`: 'n' row-major; 't' column-major; 'strided' every other element of padded rows, at an offset.
    """
    if form == "strided":
        full = (*batch, rows + 1, 2 * columns + 3)
        whole = layout(dtype, full)
        view = layout(dtype, (*batch, rows, columns), (*whole.stride[:-1], 2), 5)
    elif form == "t":
        full = (*batch, columns, rows)
        whole = layout(dtype, full)
        view = layout(dtype, (*batch, rows, columns), (*whole.stride[:-2], 1, max(rows, 1)))
    else:
        full = (*batch, rows, columns)
        view = layout(dtype, full)
    if dtype.category == dtypes.FLOAT:
        values = rng.standard_normal(full)
    else:
        values = rng.integers(0 if dtype is uint8 else -100, 100, full)
    storage = encode(values, dtype)
    return storage, view, show(storage, view)


def show(storage: np.ndarray, view: Layout) -> np.ndarray:
    """What `view` shows of a storage, decoded."""
    flat = storage.reshape(-1)
    strides = tuple(s * flat.itemsize for s in view.stride)
    return decode(np.lib.stride_tricks.as_strided(flat[view.offset:], view.shape, strides), view.dtype)


def check(got: np.ndarray, wanted: np.ndarray, dtype: DType, terms: int = 1) -> None:
    if dtype.category != dtypes.FLOAT:
        np.testing.assert_array_equal(got, wanted)
        return
    scale = max(1.0, np.sqrt(terms)) * max(1.0, np.sqrt(terms) / 30)  # of the sum, times the growth of its rounding
    np.testing.assert_allclose(got, wanted, rtol=TOLERANCE[dtype.name], atol=3 * scale * TOLERANCE[dtype.name])


def multiply(target, dtype, batch, m, n, k, forms=("n", "n"), config=None, device=DEVICES[0]) -> None:
    rng = np.random.default_rng(m * 10007 + n * 101 + k)
    a, a_view, a_values = matrix(rng, dtype, batch, m, k, forms[0])
    b, b_view, b_values = matrix(rng, dtype, batch, k, n, forms[1])
    out = layout(dtype, (*batch, m, n))
    lowered = lower_matmul((a_view, b_view), (out,), (), target, None, config)
    (memory,) = runner.run(lowered, [a, b], [out], device=device)
    check(show(memory, out), a_values @ b_values, dtype, k)


SIZES = [(1, 1, 1), (1, 70, 50), (70, 1, 50), (4, 120, 100), (13, 17, 19), (48, 64, 32), (100, 130, 300), (37, 45, 517)]


@pytest.mark.parametrize("forms", ["".join(f) for f in product("nt", "nt")])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_layouts_and_ragged_sizes(target, size, forms):
    multiply(target, float32, (), *size, forms=tuple(forms))


@pytest.mark.parametrize("forms", [("strided", "n"), ("n", "strided"), ("strided", "strided"), ("t", "strided")])
def test_strided_operands(target, forms):
    multiply(target, float32, (3,), 21, 37, 29, forms=forms)
    multiply(target, float32, (), 1, 37, 29, forms=forms)


@pytest.mark.parametrize("dtype", [float64, float16, bfloat16, int8, uint8, int16, int32, int64], ids=repr)
@pytest.mark.parametrize("forms", ["nn", "nt", "tn"])
def test_dtypes(target, dtype, forms):
    if dtype is float64 and not target.fp64:
        pytest.skip(f"{target.vendor} has no double arithmetic")
    for size in ((29, 43, 71), (1, 40, 33), (5, 9, 2)):
        multiply(target, dtype, (), *size, forms=tuple(forms))


def test_integers_wrap_in_their_own_type(target):
    a, b = np.full((3, 40), 200, np.uint8), np.full((40, 5), 250, np.uint8)
    views = layout(uint8, a.shape), layout(uint8, b.shape)
    out = layout(uint8, (3, 5))
    (memory,) = runner.run(lower_matmul(views, (out,), (), target, None), [a, b], [out], device=DEVICES[0])
    np.testing.assert_array_equal(show(memory, out), np.full((3, 5), 40 * 200 * 250 % 256))


@pytest.mark.parametrize("dtypes_of", [(int8, int8), (uint8, int8), (int8, uint8)], ids=repr)
@pytest.mark.parametrize("forms", ["nn", "nt", "tn", "tt"])
def test_8_bit_matrices_are_summed_in_32_bits(target, dtypes_of, forms):
    """Values at both ends of their ranges, in every form: a sum that wrapped at 8 or 16 bits would show."""
    rng = np.random.default_rng(3)
    for m, n, k in ((29, 43, 71), (1, 130, 600), (3, 9, 40), (70, 60, 700)):
        matrices = []
        for dtype, rows, columns, form in ((dtypes_of[0], m, k, forms[0]), (dtypes_of[1], k, n, forms[1])):
            facts = np.iinfo(dtype.numpy)
            shape = (columns, rows) if form == "t" else (rows, columns)
            storage = rng.choice([facts.min, facts.max, facts.max - 1], shape).astype(dtype.numpy)
            matrices.append((storage, layout(dtype, (rows, columns), (1, rows) if form == "t" else (columns, 1))))
        (a, a_view), (b, b_view) = matrices
        out = layout(int32, (m, n))
        lowered = lower_matmul((a_view, b_view), (out,), (), target, None)
        (memory,) = runner.run(lowered, [a, b], [out], device=DEVICES[0])
        wanted = show(a, a_view).astype(np.int64) @ show(b, b_view).astype(np.int64)
        np.testing.assert_array_equal(show(memory, out), wanted)


@pytest.mark.parametrize("batch", [(3,), (2, 3)], ids=str)
@pytest.mark.parametrize("forms", ["nn", "nt", "tn"])
def test_batches(target, batch, forms):
    multiply(target, float32, batch, 17, 33, 21, forms=tuple(forms))


def test_batch_strides_of_every_kind(target):
    """Broadcast batches (stride 0) on either side, permuted batch dims, and more dims than a kernel walks."""
    rng = np.random.default_rng(1)
    m, n, k = 6, 20, 9
    a, b = rng.standard_normal((2, 3, 4, m, k)), rng.standard_normal((4, 3, k, n))
    for a_stride, b_stride in (
        ((3 * 4 * m * k, 4 * m * k, m * k), (0, k * n, 3 * k * n)),  # b permuted and broadcast
        ((0, 4 * m * k, m * k), (0, 0, 0)),                          # b shared by all: folds into rows
        ((0, 0, 0), (0, k * n, 3 * k * n)),                          # a shared by all
    ):
        a32, b32 = a.astype(np.float32), b.astype(np.float32)
        a_view = layout(float32, (2, 3, 4, m, k), (*a_stride, k, 1))
        b_view = layout(float32, (2, 3, 4, k, n), (*b_stride, n, 1))
        out = layout(float32, (2, 3, 4, m, n))
        lowered = lower_matmul((a_view, b_view), (out,), (), target, None)
        (memory,) = runner.run(lowered, [a32, b32], [out], device=DEVICES[0])
        check(show(memory, out), show(a32, a_view) @ show(b32, b_view), float32, k)


CONFIGS = {
    "ahead": (GemmConfig("tile", 4, 1, "ahead", "ahead", 8, 32, 64), ("nn", "nt", "tn", "tt"), (21, 75, 150)),
    "ahead batches": (GemmConfig("tile", 4, 1, "ahead", "ahead", 8, 32, 64), ("nn", "tt"), (2, 3, 21, 75, 50)),
    "slices": (GemmConfig("tile", 5, 1, "group", "group", 10, 32, 32), ("nn", "nt", "tn", "tt"), (22, 75, 150)),
    "slices in place": (GemmConfig("tile", 4, 1, "direct", "direct", 8, 32, 32), ("nn", "tn"), (2, 22, 75, 150)),
    "strips and panels": (GemmConfig("tile", 4, 1, "ahead", "group", 12, 32, 150), ("tn", "tt"), (21, 75, 150)),
    "rows and panels ahead": (GemmConfig("tile", 6, 1, "direct", "ahead", 12, 32, 150), ("nn", "nt"), (21, 75, 150)),
    "split slices": (GemmConfig("tile", 4, 1, "direct", "group", 8, 32, 16, 3), ("nn", "nt"), (22, 75, 150)),
    "split tiles": (GemmConfig("tile", 4, 1, "direct", "group", 8, 32, 32, 3), ("nn", "tn"), (2, 22, 75, 150)),
    "split dots": (GemmConfig("dot", 2, 2, "direct", "direct", 6, 12, 150, 3), ("nt",), (2, 7, 33, 150)),
    "split rows": (GemmConfig("rows", 4, 1, "direct", "direct", 3, 32, 150, 4), ("nn", "tn"), (2, 3, 45, 150)),
    "split groups": (GemmConfig("group", 2, 4, "group", "group", 8, 32, 8, 3), ("nn", "nt", "tn"), (2, 13, 45, 150)),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_every_form(device, name):
    config, forms, (*batch, m, n, k) = CONFIGS[name]
    target = runner.target(device, "gpu" if config.form == "group" else "cpu")
    for form in forms:
        multiply(target, float32, tuple(batch), m, n, k, tuple(form), config, device)
        if target.fp64:
            multiply(target, float64, tuple(batch), m, n, k, tuple(form), config, device)


ADVERSE = {
    "large offset": lambda rng, shape: 1e3 + rng.standard_normal(shape),
    "many magnitudes": lambda rng, shape: rng.standard_normal(shape) * 10.0 ** rng.integers(-6, 6, shape),
    "cancelling": lambda rng, shape: np.where(np.arange(shape[-1]) % 2, 1.0, -1.0) * (1 + 1e-3 * rng.random(shape)),
}


@pytest.mark.parametrize("name", ADVERSE)
@pytest.mark.parametrize("size", [(96, 80, 1100), (400, 400, 256), (3, 600, 500), (16, 700, 300)], ids=str)
def test_error_is_small_against_the_largest_sum(device, size, name):
    """Within 4e-6 of the largest possible sum, sum of |a| |b|, whatever the values are."""
    rng = np.random.default_rng(9)
    m, n, k = size
    a, b = (ADVERSE[name](rng, shape).astype(np.float32) for shape in ((m, k), (n, k)))
    views, out = (layout(float32, (m, k)), layout(float32, (k, n), (1, k))), layout(float32, (m, n))
    lowered = lower_matmul(views, (out,), (), runner.target(device), None)
    (memory,) = runner.run(lowered, [a, b], [out], device=device)
    a64, b64 = a.astype(np.float64), b.astype(np.float64).T
    assert np.abs(show(memory, out) - a64 @ b64).max() <= 4e-6 * (np.abs(a64) @ np.abs(b64)).max()


@pytest.mark.parametrize("forms", ["nn", "nt", "tn", "tt"])
@pytest.mark.parametrize("size", [(512, 512, 512), (16, 1024, 1024), (64, 512, 2048), (1, 1024, 1024)], ids=str)
def test_infinities_and_nan_reach_their_rows_and_columns_and_no_other(device, size, forms):
    """At the sizes of the benchmark; everything else stays within 4e-6 of the largest sum."""
    rng = np.random.default_rng(10)
    m, n, k = size
    a, a_view, _ = matrix(rng, float32, (), m, k, forms[0])
    b, b_view, _ = matrix(rng, float32, (), k, n, forms[1])
    for x, form, at, value in (
        (a, forms[0], (m - 1, k // 2), np.inf), (b, forms[1], (k - 1, n - 1), np.nan), (b, forms[1], (0, 3), -np.inf)
    ):
        x[at[::-1] if form == "t" else at] = value
    a_values, b_values = show(a, a_view), show(b, b_view)
    out = layout(float32, (m, n))
    lowered = lower_matmul((a_view, b_view), (out,), (), runner.target(device), None)
    (memory,) = runner.run(lowered, [a, b], [out], device=device)
    with np.errstate(invalid="ignore"):
        wanted, got = a_values @ b_values, show(memory, out)
    finite = np.isfinite(wanted)
    assert finite.sum() == (m - 1) * (n - 2)
    np.testing.assert_array_equal(got[~finite], wanted[~finite])
    if m > 1:
        assert np.abs(got[finite] - wanted[finite]).max() <= 4e-6 * np.abs(wanted[finite]).max()


LONG = [(2, 64, 40, 9000), (1, 1, 9000), (1, 3000, 700), (700, 1, 300), (400, 390, 300)]


@pytest.mark.parametrize("size", LONG, ids=str)
def test_default_sizes_of_long_sums_and_large_matrices(target, size):
    *batch, m, n, k = size
    multiply(target, float32, tuple(batch), m, n, k)
    multiply(target, float32, tuple(batch), m, n, k, ("n", "t"))


def test_results_do_not_vary():
    """Split sums are added in the same order every time."""

    a, b = (np.random.default_rng(8).standard_normal((8, 20000), np.float32) for _ in range(2))
    views = layout(float32, (8, 20000)), layout(float32, (20000, 8), (1, 20000))
    out = layout(float32, (8, 8))
    config = GemmConfig("tile", 4, 1, "direct", "group", 8, 16, 256, 16)
    lowered = lower_matmul(views, (out,), (), runner.target(DEVICES[0]), None, config)
    first, second = (runner.run(lowered, [a, b], [out], device=DEVICES[0])[0] for _ in range(2))
    assert (first == second).all()


@pytest.mark.parametrize("size", [(0, 5, 3), (5, 0, 3), (0, 0, 0)], ids=str)
def test_nothing_to_store(target, size):
    m, n, k = size
    views = layout(float32, (m, k)), layout(float32, (k, n))
    lowered = lower_matmul(views, (layout(float32, (m, n)),), (), target, None)
    assert lowered.launches == ()


@pytest.mark.parametrize("size", [(1, 50, 0), (30, 50, 0)], ids=str)
def test_empty_sums_are_zero(target, size):
    multiply(target, float32, (), *size)
    multiply(target, int32, (2,), *size)


def relu_of_biased_sum(shape, out: Layout, bias: Layout, residual: Layout) -> Epilogue:
    """relu(sum + bias) * scale + residual"""
    return Epilogue(
        shape, float32, (bias, residual), (float32,),
        (
            Instr("{0} + {1}", (0, 1), float32),
            Instr("{0} > $0$ ? {0} : $0$", (4,), float32),
            Instr("{0} * {1} + {2}", (5, 3, 2), float32),
        ),
        ((6, out),), (1,),
    )


@pytest.mark.parametrize("size", [(1, 40, 30), (4, 120, 100), (50, 70, 33), (30, 50, 600), (8, 16, 0)], ids=str)
@pytest.mark.parametrize("bias_stride", [(0, 1), (1, 0), (0, 0), (0, 2)], ids=["row", "column", "number", "strided"])
def test_epilogue_reads_bias_and_updates_in_place(target, size, bias_stride):
    m, n, k = size
    rng = np.random.default_rng(5)
    a, a_view, a_values = matrix(rng, float32, (), m, k, "n")
    b, b_view, b_values = matrix(rng, float32, (), k, n, "t")
    bias = rng.standard_normal(2 * max(m, n)).astype(np.float32)
    bias_view = layout(float32, (m, n), bias_stride, 0)
    out, out_view, before = matrix(rng, float32, (), m, n, "n")
    program = relu_of_biased_sum((m, n), out_view, bias_view, out_view)
    lowered = lower_matmul((a_view, b_view), (out_view,), (), target, program)
    (memory,) = runner.run(lowered, [a, b, bias, out], [out_view], [0.5], device=DEVICES[0], shares={0: 3})
    wanted = np.maximum(a_values @ b_values + show(bias, bias_view), 0) * 0.5 + before
    check(show(memory, out_view), wanted, float32, k)


def test_epilogue_with_batches_and_two_stores(target):
    """Stores the sums as float16 in a transposed view and their double as float32; numbers its elements."""
    rng = np.random.default_rng(6)
    batch, m, n, k = (2, 3), 7, 21, 12
    a, a_view, a_values = matrix(rng, float32, batch, m, k, "n")
    b, b_view, b_values = matrix(rng, float32, batch, k, n, "n")
    half = layout(float16, (*batch, m, n), (3 * m * n, m * n, 1, m))
    full = layout(float32, (*batch, m, n))
    program = Epilogue(
        (*batch, m, n), float32, (), (),
        (
            Instr("cast", (0,), float16),
            Instr("index", (), int64),
            Instr("cast", (2,), float32),
            Instr("{0} + {0} + {1}", (0, 3), float32),
        ),
        ((1, half), (4, full)),
    )
    lowered = lower_matmul((a_view, b_view), (half, full), (), target, program)
    first, second = runner.run(lowered, [a, b], [half, full], device=DEVICES[0])
    wanted = a_values @ b_values
    check(show(first, half), wanted, float16, k)
    check(show(second, full), 2 * wanted + np.arange(wanted.size).reshape(wanted.shape), float32, k)


def test_outputs_of_any_stride(target):
    """Column-major outputs, and outputs with gaps whose padding stays untouched."""
    rng = np.random.default_rng(7)
    m, n, k = 23, 41, 18
    a, a_view, a_values = matrix(rng, float32, (), m, k, "n")
    b, b_view, b_values = matrix(rng, float32, (), k, n, "n")
    for stride, offset in (((1, m), 0), ((3 * n, 3), 4), ((2, 2 * m), 0)):
        out = layout(float32, (m, n), stride, offset)
        before = np.full(out.extent()[1] + 7, 7.25, np.float32)
        lowered = lower_matmul((a_view, b_view), (out,), (), target, None)
        (memory,) = runner.run(lowered, [a, b], [before], device=DEVICES[0])
        check(show(memory, out), a_values @ b_values, float32, k)
        untouched = np.ones(memory.size, bool)
        np.lib.stride_tricks.as_strided(untouched[offset:], (m, n), stride)[:] = False
        assert (memory[untouched] == 7.25).all()


def test_dtypes_of_the_matrices_must_agree(target):
    with pytest.raises(RuntimeError, match="matmul: other: got float64, wanted float32"):
        lower_matmul((layout(float32, (2, 2)), layout(float64, (2, 2))), (layout(float32, (2, 2)),), (), target, None)
