"""Scans against NumPy, on every device asked for."""

from __future__ import annotations

import numpy as np
import pytest
import runner

from cltorch import dtypes
from cltorch.dtypes import DType
from cltorch.ops import scan
from cltorch.shapes import layout

F32 = dtypes.float32
OPS = {op.name: op for op in (scan.CUMSUM, scan.CUMPROD, scan.CUMMAX, scan.CUMMIN, scan.LOGCUMSUMEXP)}
SHAPES = [((), 0), ((1,), 0), ((70,), 0), ((3, 41), 1), ((9, 40), 0), ((4, 5, 33), 1), ((4, 0, 3), 1), ((2, 20000), 1)]
DEVICES = [(raw, "cpu") for raw in runner.devices()] + [(raw, "gpu") for raw in runner.devices()[:1]]
pytestmark = pytest.mark.parametrize("raw, kind", DEVICES, ids=[f"{raw}-{kind}" for raw, kind in DEVICES])


def arrays(shape: tuple[int, ...], dtype: DType, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if dtype is dtypes.bool_:
        return rng.integers(0, 2, shape).astype(bool)
    made = rng.integers(0 if dtype is dtypes.uint8 else -9, 10, shape)
    if dtype.category != dtypes.FLOAT:
        return made.astype(dtype.numpy)
    return (made / 4).astype(np.float32 if dtype is dtypes.bfloat16 else dtype.numpy)


def stored(a: np.ndarray, dtype: DType) -> np.ndarray:
    return (a.view(np.uint32) >> 16).astype(np.uint16) if dtype is dtypes.bfloat16 else a


def loaded(a: np.ndarray, dtype: DType) -> np.ndarray:
    return (a.astype(np.uint32) << 16).view(np.float32) if dtype is dtypes.bfloat16 else a


def check(op, x, dtype, dim, reverse, raw, kind, strided=False, tolerance=1e-5):
    flat, lay = stored(x, dtype).reshape(-1), layout(dtype, x.shape)
    if strided and x.ndim:
        back = np.zeros((*x.shape[::-1], 2), flat.dtype)
        back[..., 1] = stored(x, dtype).transpose(range(x.ndim)[::-1])
        flat = back.reshape(-1)
        lay = layout(dtype, x.shape, tuple(s // x.itemsize for s in back.strides[:-1])[::-1], 1)
        if dtype is dtypes.bfloat16:
            lay = layout(dtype, x.shape, tuple(s // 2 for s in back.strides[:-1])[::-1], 1)
    outs = [layout(d, s) for d, s in op.infer((lay,), (dim, reverse))]
    lowered = op.lower((lay,), tuple(outs), (dim, reverse), runner.target(raw, kind), None)
    got = runner.run(lowered, [flat], outs, device=raw)
    exact = op.name in ("cummax", "cummin") or outs[0].dtype.category != dtypes.FLOAT
    want = op.reference(x if exact else x.astype(np.float64), dim, reverse)
    for g, w, o in zip(got, want if isinstance(want, tuple) else (want,), outs):
        g = loaded(g, o.dtype).reshape(o.shape)
        if exact:
            np.testing.assert_array_equal(g, w)
        else:
            np.testing.assert_allclose(g.astype(np.float64), w, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("shape, dim", SHAPES, ids=str)
@pytest.mark.parametrize("name", OPS)
def test_scan(raw, kind, name, shape, dim, reverse):
    x = arrays(shape, F32)
    if name == "cumprod":
        x = np.where(np.asarray(x) < 0, -1.0, 1.0).astype(np.float32) * (1 + np.asarray(x) / 100000).astype(np.float32)
    tolerance = 1e-4 if x.size > 10000 else 1e-5
    check(OPS[name], x, F32, dim, reverse, raw, kind, tolerance=tolerance)
    check(OPS[name], x, F32, dim, reverse, raw, kind, strided=True, tolerance=tolerance)


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=repr)
@pytest.mark.parametrize("name", OPS)
def test_every_dtype(raw, kind, name, dtype):
    if dtype is dtypes.float64 and not runner.target(raw).fp64:
        pytest.skip(f"{raw} has no double")
    if name == "logcumsumexp" and dtype.category != dtypes.FLOAT:
        with pytest.raises(RuntimeError, match="floating point"):
            OPS[name].infer((layout(dtype, (3,)),), (0, False))
        return
    x = arrays((3, 37), dtype)
    if name == "cumprod":
        x = np.where(x == 0, x, np.ones_like(x))
    for dim in (0, 1):
        check(OPS[name], x, dtype, dim, False, raw, kind, tolerance={2: 3e-2, 8: 1e-12}.get(dtype.itemsize, 1e-5))


@pytest.mark.parametrize("name", ["cummax", "cummin"])
def test_extremes_and_nan(raw, kind, name):
    x = arrays((4, 50), F32)
    x[0, 7], x[1, 3:5], x[2, :9], x[3, 20] = np.nan, np.nan, -np.inf, np.inf
    check(OPS[name], x, F32, 1, False, raw, kind)
    long = arrays((70000,), F32)
    long[40000] = np.nan
    check(OPS[name], long, F32, 0, False, raw, kind)


def test_log_of_sums_with_infinities(raw, kind):
    x = np.array(
        [
            [-np.inf, -np.inf, 1, 2],
            [800, 801, 1, 2],
            [1, np.inf, np.inf, 3],
            [1, np.nan, 1, 1],
            [-900, -900, -901, -899],
        ],
        np.float32,
    )
    check(OPS["logcumsumexp"], x, F32, 1, False, raw, kind)


def test_one_long_row_in_chunks(raw, kind):
    x = arrays((300001,), F32)
    for reverse in (False, True):
        check(OPS["cumsum"], x, F32, 0, reverse, raw, kind, tolerance=1e-3)
    check(OPS["cumsum"], arrays((140001,), dtypes.bool_), dtypes.bool_, 0, False, raw, kind)


def test_long_positions(raw, kind, monkeypatch):
    """Storages of more than 2^30 elements use 64-bit positions: the same kernels, asked for with small arrays."""
    monkeypatch.setattr(scan.lowering, "index_type", lambda *layouts, extra=0: "long")
    for name in OPS:
        test_scan(raw, kind, name, (4, 5, 33), 1, True)
    test_scan(raw, kind, "cummax", (2, 20000), 1, False)
