"""Sort and topk against NumPy's stable sort, on every device asked for."""

from __future__ import annotations

import numpy as np
import pytest
import runner

from cltorch import dtypes
from cltorch.dtypes import DType
from cltorch.ops import sorting
from cltorch.shapes import layout

F32 = dtypes.float32
SHAPES = [
    ((), 0),
    ((1,), 0),
    ((0, 4), 0),
    ((31,), 0),
    ((3, 33), 1),
    ((50, 4), 0),
    ((3, 400, 2), 1),
    ((2, 1500), 1),
    ((20000,), 0),
]
DEVICES = [(raw, "cpu") for raw in runner.devices()] + [(raw, "gpu") for raw in runner.devices()[:1]]
pytestmark = pytest.mark.parametrize("raw, kind", DEVICES, ids=[f"{raw}-{kind}" for raw, kind in DEVICES])


def arrays(shape: tuple[int, ...], dtype: DType, seed: int = 0) -> np.ndarray:
    """Many ties; both zeros; floats with NaN and infinities; the extreme integers."""
    rng = np.random.default_rng(seed)
    if dtype is dtypes.bool_:
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.category != dtypes.FLOAT:
        facts = np.iinfo(dtype.numpy)
        return rng.choice(
            np.array([facts.min, facts.max, 0, 1, 2, 3, facts.max - 1, facts.min + 1], dtype.numpy), shape
        )
    made = np.asarray(rng.integers(-300, 300, shape) / 4, np.float32 if dtype is dtypes.bfloat16 else dtype.numpy)
    special = rng.choice(np.array([0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 1e-5], made.dtype), shape)
    made = np.where(rng.random(shape) < 0.3, special, made).astype(made.dtype)
    return (made.view(np.uint32) & 0xFFFF0000).view(np.float32) if dtype is dtypes.bfloat16 else made


def stored(a: np.ndarray, dtype: DType) -> np.ndarray:
    return (a.view(np.uint32) >> 16).astype(np.uint16) if dtype is dtypes.bfloat16 else a


def check(op, x, dtype, attrs, raw, kind, strided=False):
    bits = stored(x, dtype)
    flat, lay = bits.reshape(-1), layout(dtype, x.shape)
    if strided and x.ndim:
        back = np.zeros((*x.shape[::-1], 2), bits.dtype)
        back[..., 1] = bits.transpose(range(x.ndim)[::-1])
        flat, lay = (
            back.reshape(-1),
            layout(dtype, x.shape, tuple(s // bits.itemsize for s in back.strides[:-1])[::-1], 1),
        )
    outs = [layout(d, s) for d, s in op.infer((lay,), attrs)]
    lowered = op.lower((lay,), tuple(outs), attrs, runner.target(raw, kind), None)
    values, order = runner.run(lowered, [flat], outs, device=raw)
    _, want = op.reference(x, *attrs)
    np.testing.assert_array_equal(order.reshape(want.shape), want)
    dim = attrs[1] if op is sorting.TOPK else attrs[0]
    picked = np.take_along_axis(bits, want, dim) if x.ndim else bits
    unsigned = np.dtype(f"u{bits.itemsize}")  # bit for bit: zeros keep their sign, NaN its payload
    np.testing.assert_array_equal(
        values.view(unsigned).reshape(want.shape), np.ascontiguousarray(picked).view(unsigned)
    )


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("shape, dim", SHAPES, ids=str)
def test_sort(raw, kind, shape, dim, descending):
    check(sorting.SORT, arrays(shape, F32), F32, (dim, descending), raw, kind)
    check(sorting.SORT, arrays(shape, F32), F32, (dim, descending), raw, kind, strided=True)


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=repr)
def test_every_dtype(raw, kind, dtype):
    for shape, dim in (((3, 70), 1), ((20, 5), 0), ((17000,), 0)):
        for descending in (False, True):
            check(sorting.SORT, arrays(shape, dtype), dtype, (dim, descending), raw, kind)
    for k in (5, 40):
        check(sorting.TOPK, arrays((2, 300), dtype), dtype, (k, 1, True), raw, kind)


@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize(
    "shape, k, dim",
    [
        ((), 1, 0),
        ((5,), 0, 0),
        ((5,), 5, 0),
        ((3, 1000), 5, 1),
        ((300, 3), 64, 0),
        ((300, 3), 65, 0),
        ((1, 50257), 50, 1),
        ((40, 10), 2, 1),
        ((7, 1024), 50, 1),
        ((1, 30000), 700, 1),
    ],
    ids=str,
)
def test_topk(raw, kind, shape, k, dim, largest):
    check(sorting.TOPK, arrays(shape, F32), F32, (k, dim, largest), raw, kind)
    check(sorting.TOPK, arrays(shape, F32), F32, (k, dim, largest), raw, kind, strided=True)


def test_topk_of_nan_only_and_of_equal_values(raw, kind):
    for x in (np.full((2, 100), np.nan, np.float32), np.zeros((2, 100), np.float32)):
        for largest in (False, True):
            check(sorting.TOPK, x, F32, (7, 1, largest), raw, kind)
            check(sorting.TOPK, x, F32, (20, 1, largest), raw, kind)
    check(sorting.TOPK, np.full((3, 90), np.iinfo(np.int64).max), dtypes.int64, (7, 1, False), raw, kind)


@pytest.mark.parametrize("k", [13, 60])
def test_topk_of_rows_in_order(raw, kind, k):
    """Rows whose every element is better than all before it, and rows in which none after the first k is."""
    rising = np.arange(20000, dtype=np.float32)[None]
    for x in (rising, -rising):
        check(sorting.TOPK, x, F32, (k, 1, True), raw, kind)


@pytest.mark.parametrize("dtype", [dtypes.int64, dtypes.int32, dtypes.float64], ids=repr)
def test_long_rows_that_agree_in_some_digits(raw, kind, dtype):
    """A radix pass over a digit that is the same everywhere is left out."""
    random = np.random.default_rng(3)
    cases = [
        np.zeros(20000),
        random.integers(0, 3, 20000) * 65536,
        random.integers(-2, 2, 20000),
        np.concatenate([np.full(19999, 7), [-7]]),
        random.integers(0, 1000, (2, 20000)),
    ]
    for values in cases:
        x = values.astype(dtype.numpy)
        check(sorting.SORT, x, dtype, (x.ndim - 1, False), raw, kind)
        check(sorting.SORT, x, dtype, (x.ndim - 1, True), raw, kind)


def test_long_positions(raw, kind, monkeypatch):
    """Storages of more than 2^30 elements use 64-bit positions: the same kernels, asked for with small arrays."""
    monkeypatch.setattr(sorting.lowering, "index_type", lambda *layouts, extra=0: "long")
    for shape, dim in (((3, 33), 1), ((2, 1500), 1), ((20000,), 0)):
        test_sort(raw, kind, shape, dim, True)
    test_topk(raw, kind, (3, 1000), 5, 1, True)


def test_k_out_of_range(raw, kind):
    with pytest.raises(RuntimeError, match="selected index k out of range"):
        sorting.TOPK.infer((layout(F32, (3, 4)),), (5, 1, True))
