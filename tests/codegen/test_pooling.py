"""Pooling kernels against the NumPy references of their records, on every device asked for, in both device classes."""

from __future__ import annotations

import numpy as np
import pytest
import runner

from cltorch import dtypes
from cltorch.dtypes import DType
from cltorch.ops import pooling
from cltorch.shapes import layout

DEVICES = [(raw, "cpu") for raw in runner.devices()] + [(raw, "gpu") for raw in runner.devices()[:1]]
pytestmark = pytest.mark.parametrize("raw, kind", DEVICES, ids=[f"{raw}-{kind}" for raw, kind in DEVICES])

FIXED = [  # size, kernel, stride, padding, dilation, ceil_mode
    ((4, 6, 28, 28), (2, 2), (2, 2), (0, 0), (1, 1), False),
    ((4, 16, 10, 10), (2, 2), (2, 2), (0, 0), (1, 1), False),
    ((2, 3, 23, 37), (3, 3), (2, 2), (1, 1), (1, 1), False),
    ((1, 2, 9, 41), (3, 3), (1, 1), (1, 1), (1, 1), True),
    ((2, 1, 17, 30), (2, 3), (1, 1), (0, 1), (2, 3), False),
    ((3, 7, 15), (3, 2), (2, 3), (1, 1), (1, 1), True),
    ((2, 3, 1, 19), (1, 3), (1, 2), (0, 1), (1, 1), True),
    ((1, 1, 5, 5), (5, 5), (1, 1), (2, 2), (1, 1), False),
    ((0, 3, 8, 8), (2, 2), (2, 2), (0, 0), (1, 1), False),
]


def arrays(shape: tuple[int, ...], dtype: DType, seed: int = 0) -> np.ndarray:
    """Few distinct values, so that ties are common; floats with some NaN and -inf."""
    rng = np.random.default_rng(seed)
    made = rng.integers(0 if dtype in (dtypes.uint8, dtypes.bool_) else -9, 10, shape)
    if dtype is dtypes.bool_:
        return made > 5
    if dtype.category != dtypes.FLOAT:
        return made.astype(dtype.numpy)
    made = made.astype(np.float64) / 4
    return made.astype(np.float32 if dtype is dtypes.bfloat16 else dtype.numpy)


def stored(a: np.ndarray, dtype: DType) -> np.ndarray:
    return (np.ascontiguousarray(a).view(np.uint32) >> 16).astype(np.uint16) if dtype is dtypes.bfloat16 else a


def loaded(a: np.ndarray, dtype: DType) -> np.ndarray:
    return (a.astype(np.uint32) << 16).view(np.float32) if dtype is dtypes.bfloat16 else a


def strided(a: np.ndarray, dtype: DType):
    """The same values in a channels-last storage with gaps and an offset: (storage, layout)."""
    order = (*range(a.ndim - 3), a.ndim - 2, a.ndim - 1, a.ndim - 3)
    room = np.zeros((*[a.shape[d] for d in order[:-1]], a.shape[order[-1]] + 2), a.dtype)
    room[..., : a.shape[order[-1]]] = a.transpose(order)
    flat = np.concatenate([np.zeros(3, a.dtype), room.reshape(-1)])
    steps = [0] * a.ndim
    for d, s in zip(order, room.strides):
        steps[d] = s // a.itemsize
    return flat, layout(dtype, a.shape, tuple(steps), 3)


def check(op, given, attrs, raw, kind, dtype_names, transposed=False, exact=True):
    """Run `op` on the arrays `given` of dtypes `dtype_names` and compare every output with its reference."""
    pairs = [
        strided(stored(a, d), d) if transposed and a.size else (stored(a, d).reshape(-1), layout(d, a.shape))
        for a, d in zip(given, dtype_names)
    ]
    layouts = tuple(x for _, x in pairs)
    outs = tuple(layout(d, shape) for d, shape in op.infer(layouts, attrs))
    lowered = op.lower(layouts, outs, attrs, runner.target(raw, kind), None)
    got = runner.run(lowered, [a for a, _ in pairs], list(outs), device=raw)
    want = op.reference(*[a.astype(np.float64) if a.dtype.kind == "f" else a for a in given], *attrs)
    for g, w, o in zip(got, want if isinstance(want, tuple) else (want,), outs):
        g, w = loaded(g, o.dtype).reshape(o.shape), w.astype(np.float64) if w.dtype.kind == "f" else w
        tolerance = {2: 1e-2, 4: 1e-5, 8: 1e-12}.get(o.dtype.itemsize, 0)
        if exact or w.dtype.kind != "f":
            np.testing.assert_array_equal(g, w)
        else:
            np.testing.assert_allclose(g.astype(np.float64), w, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("case", FIXED, ids=str)
@pytest.mark.parametrize("transposed", [False, True], ids=["contiguous", "strided"])
def test_max_pool(raw, kind, case, transposed):
    size, *attrs = case
    x = arrays(size, dtypes.float32)
    x.reshape(-1)[::53] = np.nan
    x.reshape(-1)[::7] = -np.inf
    check(pooling.MAX_POOL2D, [x], tuple(attrs), raw, kind, [dtypes.float32], transposed)


def skip_without_double(raw, dtype):
    if dtype is dtypes.float64 and not runner.target(raw).fp64:
        pytest.skip(f"{raw} has no double")


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=repr)
def test_max_pool_dtypes(raw, kind, dtype):
    skip_without_double(raw, dtype)
    for size, *attrs in FIXED[1:3]:
        check(pooling.MAX_POOL2D, [arrays(size, dtype)], tuple(attrs), raw, kind, [dtype])


def test_window_of_minus_infinity_gives_its_first_position(raw, kind):
    x = np.full((1, 1, 6, 34), -np.inf, np.float32)
    check(pooling.MAX_POOL2D, [x], ((3, 3), (2, 2), (1, 1), (1, 1), False), raw, kind, [dtypes.float32])


@pytest.mark.parametrize(
    "case, dtype",
    [(case, dtypes.float32) for case in FIXED]
    + [(case, dtype) for case in FIXED[1:3] for dtype in (dtypes.float16, dtypes.bfloat16, dtypes.float64)],
    ids=str,
)
def test_max_pool_backward(raw, kind, case, dtype):
    skip_without_double(raw, dtype)
    size, *attrs = case
    values, positions = pooling.max_pool_reference(arrays(size, dtype), *attrs)
    g = arrays(values.shape, dtype, 1)
    for transposed in (False, True):
        check(
            pooling.MAX_POOL2D_BACKWARD,
            [g, positions],
            (size[-2:], *attrs),
            raw,
            kind,
            [dtype, dtypes.int64],
            transposed,
        )


def test_max_pool_backward_of_few_large_planes(raw, kind):
    x = arrays((1, 1, 200, 201), dtypes.float32)
    attrs = ((3, 3), (2, 2), (1, 1), (1, 1), False)
    values, positions = pooling.max_pool_reference(x, *attrs)
    g = arrays(values.shape, dtypes.float32, 1)
    check(
        pooling.MAX_POOL2D_BACKWARD, [g, positions], (x.shape[-2:], *attrs), raw, kind, [dtypes.float32, dtypes.int64]
    )


def test_max_pool_backward_skips_positions_outside(raw, kind):
    g, positions = np.ones((1, 1, 2, 2), np.float32), np.array([[[[0, 99], [-7, 15]]]])
    attrs = ((4, 4), (2, 2), (2, 2), (0, 0), (1, 1), False)
    outs = (layout(dtypes.float32, (1, 1, 4, 4)),)
    ins = (layout(dtypes.float32, g.shape), layout(dtypes.int64, g.shape))
    lowered = pooling.MAX_POOL2D_BACKWARD.lower(ins, outs, attrs, runner.target(raw, kind), None)
    (got,) = runner.run(lowered, [g, positions], list(outs), device=raw)
    assert got.reshape(4, 4)[0, 0] == 1 and got.sum() <= 2


@pytest.mark.parametrize(
    "case, count",
    [(case, (True, None)) for case in FIXED[1:]]
    + [(case, count) for case in FIXED[2:6:3] for count in ((False, None), (True, 5))],
    ids=str,
)
def test_avg_pool_and_backward(raw, kind, case, count):
    size, kernel, stride, padding, _, ceil_mode = case
    x = arrays(size, dtypes.float32)
    attrs = (kernel, stride, padding, ceil_mode, *count)
    for transposed in (False, True):
        check(pooling.AVG_POOL2D, [x], attrs, raw, kind, [dtypes.float32], transposed, exact=False)
    g = arrays(pooling.avg_pool_reference(x, *attrs).shape, dtypes.float32, 1)
    check(pooling.AVG_POOL2D_BACKWARD, [g], (size[-2:], *attrs), raw, kind, [dtypes.float32], exact=False)


@pytest.mark.parametrize("dtype", [dtypes.float16, dtypes.bfloat16, dtypes.float64], ids=repr)
def test_avg_pool_dtypes(raw, kind, dtype):
    skip_without_double(raw, dtype)
    attrs = ((3, 3), (2, 2), (1, 1), False, True, None)
    check(pooling.AVG_POOL2D, [arrays((2, 3, 23, 37), dtype)], attrs, raw, kind, [dtype], exact=False)


@pytest.mark.parametrize(
    "size, out",
    [
        ((2, 3, 7, 9), (3, 4)),
        ((2, 5, 8, 8), (1, 1)),
        ((1, 2, 3, 2), (5, 4)),
        ((2, 6, 6), (2, 6)),
    ],
    ids=str,
)
def test_adaptive(raw, kind, size, out):
    x = arrays(size, dtypes.float32)
    for transposed in (False, True):
        check(pooling.ADAPTIVE_AVG_POOL2D, [x], (out,), raw, kind, [dtypes.float32], transposed, exact=False)
        check(pooling.ADAPTIVE_MAX_POOL2D, [x], (out,), raw, kind, [dtypes.float32], transposed)
    values, positions = pooling.adaptive_max_pool_reference(x, out)
    g = arrays(values.shape, dtypes.float32, 1)
    check(pooling.ADAPTIVE_AVG_POOL2D_BACKWARD, [g], (size[-2:], out), raw, kind, [dtypes.float32], exact=False)
    check(
        pooling.ADAPTIVE_MAX_POOL2D_BACKWARD,
        [g, positions],
        (size[-2:], out),
        raw,
        kind,
        [dtypes.float32, dtypes.int64],
    )


def test_long_positions(raw, kind, monkeypatch):
    """Storages of more than 2^30 elements use 64-bit positions: the same kernels, asked for with small arrays."""
    monkeypatch.setattr(pooling.lowering, "index_type", lambda *layouts, extra=0: "long")
    test_max_pool(raw, kind, FIXED[2], False)
    test_max_pool_backward(raw, kind, FIXED[2], dtypes.float16)
    test_max_pool_backward(raw, kind, FIXED[1], dtypes.float32)
    test_avg_pool_and_backward(raw, kind, FIXED[2], (False, None))
    test_adaptive(raw, kind, (2, 3, 7, 9), (3, 4))


def test_errors_are_raised_before_anything_runs(raw, kind):
    x = layout(dtypes.float32, (1, 1, 4, 4))
    with pytest.raises(RuntimeError, match="pad should be at most half"):
        pooling.MAX_POOL2D.infer((x,), ((2, 2), (2, 2), (2, 2), (1, 1), False))
    with pytest.raises(RuntimeError, match="Output size is too small"):
        pooling.MAX_POOL2D.infer((x,), ((5, 5), (2, 2), (0, 0), (1, 1), False))
    with pytest.raises(RuntimeError, match="Expected 3D or 4D"):
        pooling.AVG_POOL2D.infer((layout(dtypes.float32, (4, 4)),), ((2, 2), (2, 2), (0, 0), False, True, None))
    with pytest.raises(RuntimeError, match="divisor_override"):
        pooling.AVG_POOL2D.infer((x,), ((2, 2), (2, 2), (0, 0), False, True, 0))
