"""Factorization kernels against NumPy in float64, on every device asked for, in both classes of form."""

from __future__ import annotations

import numpy as np
import pytest
import runner

from cltorch.dtypes import DType, float32, float64, int32
from cltorch.ops import factorization as records
from cltorch.shapes import layout

DEVICES = [(raw, "cpu") for raw in runner.devices()] + [(raw, "gpu") for raw in runner.devices()[:1]]
SHAPES = [(1, 1), (2, 5, 5), (33, 33), (70, 4, 4), (2, 9, 4), (2, 4, 9), (3, 1, 6), (2, 20, 17), (0, 3, 3), (2, 0, 4)]
pytestmark = pytest.mark.parametrize("raw, kind", DEVICES, ids=[f"{raw}-{kind}" for raw, kind in DEVICES])
TOLERANCE = {float32: 2e-5, float64: 1e-12}


def run(op, arrays, attrs, raw, kind, dtype: DType):
    """Results of a record's kernels beside those of its reference in float64."""
    given = [a.astype(dtype.numpy) if a.dtype.kind == "f" else a for a in arrays]
    layouts = tuple(layout(dtype if a.dtype.kind == "f" else int32, a.shape) for a in arrays)
    outs = [layout(d, s) for d, s in op.infer(layouts, attrs)]
    lowered = op.lower(layouts, tuple(outs), attrs, runner.target(raw, kind), None)
    got = runner.run(lowered, [a.reshape(-1) for a in given], outs, device=raw)
    wanted = op.reference(*[a.astype(np.float64) if a.dtype.kind == "f" else a for a in given], *attrs)
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    return [(g.reshape(o.shape), w) for g, w, o in zip(got, wanted, outs)]


def close(pairs, dtype: DType) -> None:
    for got, wanted in pairs:
        if got.dtype.kind == "f":
            scale = max(1.0, abs(wanted).max(initial=0))
            np.testing.assert_allclose(got, wanted, rtol=0, atol=TOLERANCE[dtype] * scale)
        else:
            np.testing.assert_array_equal(got, wanted)


def matrices(shape, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape) + 2 * np.eye(*shape[-2:])


@pytest.mark.parametrize("dtype", [float32, float64], ids=repr)
def test_lu(raw, kind, dtype) -> None:
    for shape in SHAPES:
        close(run(records.LU, [matrices(shape)], (), raw, kind, dtype), dtype)
    singular = np.array([[[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [0.0, 0.0, 0.0]], np.diag([1.0, 0.0, 2.0])])
    close(run(records.LU, [singular], (), raw, kind, dtype), dtype)


@pytest.mark.parametrize("dtype", [float32, float64], ids=repr)
def test_cholesky(raw, kind, dtype) -> None:
    for shape in SHAPES:
        if shape[-1] == shape[-2]:
            a = matrices(shape)
            a = a @ np.swapaxes(a, -1, -2) + np.eye(shape[-1])
            a = np.tril(a) + np.triu(np.full(shape[-2:], 7.0), 1)  # neither we nor NumPy read the upper triangle
            close(run(records.CHOLESKY, [a], (), raw, kind, dtype), dtype)
    bad = np.stack([np.eye(4), np.diag([1.0, 2.0, -1.0, 3.0]), np.full((4, 4), np.nan)])
    layouts = (layout(dtype, bad.shape),)
    outs = [layout(d, s) for d, s in records.CHOLESKY.infer(layouts, ())]
    lowered = records.CHOLESKY.lower(layouts, tuple(outs), (), runner.target(raw, kind), None)
    _, info = runner.run(lowered, [bad.astype(dtype.numpy).reshape(-1)], outs, device=raw)
    assert info.tolist() == [0, 3, 1]


@pytest.mark.parametrize("dtype", [float32, float64], ids=repr)
def test_triangular(raw, kind, dtype) -> None:
    for n, k, batch in [(1, 1, 1), (5, 3, 2), (17, 20, 1), (4, 1, 40), (3, 0, 2)]:
        t, b = matrices((batch, n, n)) + 3 * np.eye(n), np.random.default_rng(1).standard_normal((batch, n, k))
        for upper in (True, False):
            for transposed in (True, False):
                for unit in (True, False):
                    if not (unit and n > 5):  # a unit diagonal beside such elements is ill-conditioned
                        close(run(records.TRIANGULAR, [t, b], (upper, transposed, unit), raw, kind, dtype), dtype)


@pytest.mark.parametrize("dtype", [float32, float64], ids=repr)
def test_householder(raw, kind, dtype) -> None:
    for shape in SHAPES:
        if 0 in shape:
            continue
        a = matrices(shape)
        pairs = run(records.HOUSEHOLDER, [a], (), raw, kind, dtype)
        close(pairs, dtype)
        held, tau = pairs[0][1], pairs[1][1]
        for columns in {min(shape[-2:]), shape[-2]}:
            ((q, wanted),) = run(records.REFLECTIONS, [held, tau], (columns,), raw, kind, dtype)
            close([(q, wanted)], dtype)
            unit = np.swapaxes(q, -1, -2).astype(np.float64) @ q
            close([(unit.astype(dtype.numpy), np.broadcast_to(np.eye(columns), unit.shape))], dtype)
    scale = 2.0**-100 if dtype is float32 else 2.0**-600  # squares underflow
    tiny, normal = (run(records.HOUSEHOLDER, [matrices((6, 4)) * by], (), raw, kind, dtype) for by in (scale, 1.0))
    close([(np.triu(tiny[0][0]) / dtype.numpy.type(scale), np.triu(normal[0][1]))], dtype)
    close([(np.tril(tiny[0][0], -1), np.tril(normal[0][1], -1)), (tiny[1][0], normal[1][1])], dtype)


def test_row_order(raw, kind) -> None:
    for batch, steps, m in [(1, 1, 1), (3, 4, 6), (200, 3, 3), (2, 0, 4)]:
        rng = np.random.default_rng(2)
        rows = [rng.integers(j + 1, m + 1, batch) for j in range(steps)]
        pivots = np.stack(rows, -1).astype(np.int32) if steps else np.zeros((batch, 0), np.int32)
        close(run(records.ORDER, [pivots], (m,), raw, kind, float32), float32)
