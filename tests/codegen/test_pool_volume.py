"""Pooling kernels over volumes, and means one dim after the other, against the NumPy references of their records."""

from __future__ import annotations

import numpy as np
import pytest
import runner
from test_pooling import arrays, check, skip_without_double

from cltorch import dtypes
from cltorch.codegen import pooling as lowering
from cltorch.ops import pooling
from cltorch.shapes import layout

DEVICES = [(raw, "cpu") for raw in runner.devices()] + [(raw, "gpu") for raw in runner.devices()[:1]]
pytestmark = pytest.mark.parametrize("raw, kind", DEVICES, ids=[f"{raw}-{kind}" for raw, kind in DEVICES])
F32 = dtypes.float32

FIXED = [  # size, kernel, stride, padding, dilation, ceil_mode
    ((2, 3, 6, 8, 26), (2, 2, 2), (2, 2, 2), (0, 0, 0), (1, 1, 1), False),
    ((1, 2, 7, 9, 35), (3, 3, 3), (2, 2, 2), (1, 1, 1), (1, 1, 1), True),
    ((2, 5, 6, 20), (2, 3, 3), (1, 1, 1), (1, 1, 1), (1, 1, 1), False),
    ((2, 2, 7, 9, 30), (2, 3, 2), (1, 2, 1), (1, 0, 1), (3, 2, 3), False),
    ((1, 2, 9, 7, 8), (3, 2, 3), (3, 4, 5), (1, 1, 0), (1, 1, 1), True),
    ((0, 2, 4, 4, 4), (2, 2, 2), (2, 2, 2), (0, 0, 0), (1, 1, 1), False),
]


@pytest.mark.parametrize("case", FIXED, ids=str)
def test_max_pool(raw, kind, case):
    size, *attrs = case
    x = arrays(size, F32)
    x.reshape(-1)[::53] = np.nan
    x.reshape(-1)[::7] = -np.inf
    for transposed in (False, True):
        check(pooling.MAX_POOL3D, [x], tuple(attrs), raw, kind, [F32], transposed)
    values, positions = pooling.max_pool_reference(x, *attrs)
    g = arrays(values.shape, F32, 1)
    for transposed in (False, True):
        check(
            pooling.MAX_POOL3D_BACKWARD, [g, positions], (size[-3:], *attrs), raw, kind, [F32, dtypes.int64], transposed
        )  # fmt: skip


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=repr)
def test_max_pool_dtypes(raw, kind, dtype):
    skip_without_double(raw, dtype)
    for size, *attrs in FIXED[:2]:
        x = arrays(size, dtype)
        check(pooling.MAX_POOL3D, [x], tuple(attrs), raw, kind, [dtype])
        if dtype.category == dtypes.FLOAT:
            values, positions = pooling.max_pool_reference(x, *attrs)
            g = arrays(values.shape, dtype, 1)
            attrs = (size[-3:], *attrs)
            check(pooling.MAX_POOL3D_BACKWARD, [g, positions], attrs, raw, kind, [dtype, dtypes.int64])


# planes too: their means one dim after the other, by strides above 2, by gradients
MEANS = [
    *(case for case in FIXED[:5] if case[4] == (1, 1, 1)),
    ((2, 3, 13, 37), (5, 4), (3, 3), (2, 1), (1, 1), True),
    ((2, 3, 11, 40), (3, 3), (1, 1), (1, 1), (1, 1), False),
    ((2, 3, 1, 70), (1, 3), (1, 5), (0, 1), (1, 1), False),
    ((2, 2, 7, 19), (2, 20), (1, 1), (0, 10), (1, 1), False),
]


@pytest.mark.parametrize("case", MEANS, ids=str)
def test_avg_pool(raw, kind, case):
    size, kernel, stride, padding, _, ceil_mode = case
    n = len(kernel)
    forward, backward = (
        (pooling.AVG_POOL2D, pooling.AVG_POOL2D_BACKWARD)
        if n == 2
        else (pooling.AVG_POOL3D, pooling.AVG_POOL3D_BACKWARD)
    )
    x = arrays(size, F32)
    for count in ((True, None), (False, None), (True, 5)):
        attrs = (kernel, stride, padding, ceil_mode, *count)
        g = arrays(pooling.avg_pool_reference(x, *attrs).shape, F32, 1)
        for transposed in (False, True) if count[0] else (False,):
            check(forward, [x], attrs, raw, kind, [F32], transposed, exact=False)
            check(backward, [g], (size[-n:], *attrs), raw, kind, [F32], transposed, exact=False)


@pytest.mark.parametrize("dtype", [dtypes.float16, dtypes.bfloat16, dtypes.float64], ids=repr)
def test_mean_dtypes(raw, kind, dtype):
    skip_without_double(raw, dtype)
    for size, kernel, stride, padding, _, ceil_mode in (MEANS[0], MEANS[-4]):
        n = len(kernel)
        attrs = (kernel, stride, padding, ceil_mode, True, None)
        x = arrays(size, dtype)
        g = arrays(pooling.avg_pool_reference(x, *attrs).shape, dtype, 1)
        check(getattr(pooling, f"AVG_POOL{n}D"), [x], attrs, raw, kind, [dtype], exact=False)
        check(
            getattr(pooling, f"AVG_POOL{n}D_BACKWARD"), [g], (size[-n:], *attrs), raw, kind, [dtype], exact=False
        )  # fmt: skip


@pytest.mark.parametrize(
    "size, cells",
    [
        ((2, 3, 7, 9, 25), (3, 4, 7)),
        ((2, 3, 6, 8, 8), (2, 4, 1)),
        ((2, 3, 4, 3), (5, 4, 7)),
        ((1, 2, 5, 40), (3, 33)),
    ],
    ids=str,
)
def test_adaptive(raw, kind, size, cells):
    n = len(cells)
    x = arrays(size, F32)
    mean, mean_back = (getattr(pooling, f"ADAPTIVE_AVG_POOL{n}D{end}") for end in ("", "_BACKWARD"))
    top, top_back = (getattr(pooling, f"ADAPTIVE_MAX_POOL{n}D{end}") for end in ("", "_BACKWARD"))
    values, positions = pooling.adaptive_max_pool_reference(x, cells)
    g = arrays(values.shape, F32, 1)
    for transposed in (False, True):
        check(mean, [x], (cells,), raw, kind, [F32], transposed, exact=False)
        check(top, [x], (cells,), raw, kind, [F32], transposed)
        check(mean_back, [g], (size[-n:], cells), raw, kind, [F32], transposed, exact=False)
        check(top_back, [g, positions], (size[-n:], cells), raw, kind, [F32, dtypes.int64], transposed)


def test_blocks_of_columns(raw, kind, monkeypatch):
    """Rows too long for local memory: the same kernels with blocks of five columns."""
    monkeypatch.setattr(lowering, "_block", lambda windows, columns, line, *rest: (min(5, columns), line + 40))
    for case in (MEANS[0], MEANS[2], *MEANS[-4:]):
        test_avg_pool(raw, kind, case)
    test_adaptive(raw, kind, (2, 3, 7, 9, 25), (3, 4, 7))
    test_adaptive(raw, kind, (2, 3, 4, 3), (5, 4, 7))


def test_long_positions(raw, kind, monkeypatch):
    """Storages of more than 2^30 elements use 64-bit positions: the same kernels, asked for with small arrays."""
    monkeypatch.setattr(lowering, "index_type", lambda *layouts, extra=0: "long")
    test_max_pool(raw, kind, FIXED[1])
    test_avg_pool(raw, kind, MEANS[1])
    test_adaptive(raw, kind, (2, 3, 7, 9, 25), (3, 4, 7))


def test_refusals(raw, kind):
    x = layout(F32, (1, 1, 4, 4, 4))
    with pytest.raises(RuntimeError, match="max_pool3d: pad should be at most half"):
        pooling.MAX_POOL3D.infer((x,), ((2, 2, 2), (2, 2, 2), (0, 2, 0), (1, 1, 1), False))
    with pytest.raises(RuntimeError, match="Output size is too small"):
        pooling.AVG_POOL3D.infer((x,), ((5, 1, 1), (1, 1, 1), (0, 0, 0), False, True, None))
    with pytest.raises(RuntimeError, match="Expected 4D or 5D"):
        pooling.ADAPTIVE_AVG_POOL3D.infer((layout(F32, (4, 4, 4)),), ((1, 1, 1),))
