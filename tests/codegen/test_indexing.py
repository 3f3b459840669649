"""Gather, scatter, advanced indexing, compaction and binary search against NumPy, on every device asked for."""

from __future__ import annotations

import numpy as np
import pytest
import runner

from cltorch import dtypes
from cltorch.dtypes import DType
from cltorch.ops import indexing
from cltorch.shapes import layout

F32, I64, I32, BOOL = dtypes.float32, dtypes.int64, dtypes.int32, dtypes.bool_
DEVICES = [(raw, "cpu") for raw in runner.devices()] + [(raw, "gpu") for raw in runner.devices()[:1]]
pytestmark = pytest.mark.parametrize("raw, kind", DEVICES, ids=[f"{raw}-{kind}" for raw, kind in DEVICES])


def arrays(shape: tuple[int, ...], dtype: DType, seed: int = 0) -> np.ndarray:
    """Small whole numbers (quarters for floats): sums of them are exact in every dtype."""
    rng = np.random.default_rng(seed)
    if dtype is BOOL:
        return rng.integers(0, 2, shape).astype(bool)
    made = rng.integers(0 if dtype is dtypes.uint8 else -9, 10, shape)
    if dtype.category != dtypes.FLOAT:
        return made.astype(dtype.numpy)
    return (made / 4).astype(np.float32 if dtype is dtypes.bfloat16 else dtype.numpy)


def indices(shape: tuple[int, ...], size: int, seed: int = 5, dtype: type = np.int64) -> np.ndarray:
    return np.random.default_rng(seed).integers(-size, size, shape).astype(dtype)


def stored(a: np.ndarray, dtype: DType) -> np.ndarray:
    return (a.view(np.uint32) >> 16).astype(np.uint16) if dtype is dtypes.bfloat16 else a


def loaded(a: np.ndarray, dtype: DType) -> np.ndarray:
    return (a.astype(np.uint32) << 16).view(np.float32) if dtype is dtypes.bfloat16 else a


def placed(a: np.ndarray, dtype: DType, strided: bool):
    """(storage, layout): contiguous, or with the dims reversed in memory, gaps and an offset."""
    a = stored(a, dtype)
    if not strided or not a.ndim:
        return a.reshape(-1).copy(), layout(dtype, a.shape)
    back = a.transpose(range(a.ndim)[::-1])
    room = np.zeros((*back.shape[:-1], back.shape[-1] + 1), a.dtype)
    room[..., :-1] = back
    steps = tuple(s // a.itemsize for s in room.strides)[::-1]
    return np.concatenate([np.zeros(5, a.dtype), room.reshape(-1)]), layout(dtype, a.shape, steps, 5)


def view(flat: np.ndarray, lay) -> np.ndarray:
    size = flat.itemsize
    return np.lib.stride_tricks.as_strided(flat[lay.offset :], lay.shape, [s * size for s in lay.stride])


def check(op, given, dtype_list, raw, kind, strided=False, **attrs):
    """Run `op` and compare with its reference; ops that write in place get their base in the output's storage."""
    pairs = [placed(a, d, strided) for a, d in zip(given, dtype_list)]
    layouts, values = tuple(x for _, x in pairs), tuple(attrs.values())
    ((out_dtype, shape),) = op.infer(layouts, values)
    writes = op in indexing.WRITING
    out = layouts[0] if writes else layout(out_dtype, shape)
    lowered = op.lower(layouts, (out,), values, runner.target(raw, kind), None)
    (got,) = runner.run(lowered, [a for a, _ in pairs], [pairs[0][0].copy() if writes else out], device=raw)
    if lowered.launches or writes or not out.numel:
        want = op.reference(*given, **attrs)
        assert want.shape == shape
        if out.numel:
            np.testing.assert_array_equal(
                loaded(view(got, out), out_dtype), want.astype(given[0].dtype if writes else want.dtype)
            )
            if writes and strided and len(shape):  # the gaps between elements are as they were
                view(got, out)[...] = view(pairs[0][0], out)
                np.testing.assert_array_equal(got, pairs[0][0])


@pytest.mark.parametrize("strided", [False, True], ids=["contiguous", "strided"])
@pytest.mark.parametrize(
    "shape, index, dim",
    [
        ((5, 7), (3, 7), 0),
        ((5, 7), (5, 11), 1),
        ((3, 4, 70), (2, 9, 65), 1),
        ((50,), (300,), 0),
        ((), (1,), 0),
        ((4, 0), (4, 0), 1),
        ((2, 3, 2, 3, 2, 3, 2, 3), (2, 3, 2, 3, 2, 3, 2, 5), 7),
    ],
    ids=str,
)
def test_gather(raw, kind, shape, index, dim, strided):
    i = indices(index, shape[dim] if shape else 1)
    check(indexing.GATHER, [arrays(shape, F32), i], [F32, I64], raw, kind, strided, dim=dim)


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=repr)
def test_every_dtype(raw, kind, dtype):
    x, i = arrays((6, 37), dtype), indices((9,), 6)
    check(indexing.INDEX_SELECT, [x, i], [dtype, I64], raw, kind, dim=0)
    check(indexing.SCATTER, [x, indices((4, 37), 6), arrays((4, 37), dtype, 1)], [dtype, I64, dtype], raw, kind, dim=0)
    if dtype is not BOOL and (dtype is not dtypes.float64 or runner.target(raw).fp64):
        check(indexing.INDEX_ADD, [x, i[:3], arrays((3, 37), dtype, 1)], [dtype, I64, dtype], raw, kind, dim=0)
    check(indexing.NONZERO_COUNT, [x], [dtype], raw, kind)


def test_every_index_dtype(raw, kind):
    x = arrays((6, 5), F32)
    for dtype in (I32, dtypes.int16, dtypes.int8, dtypes.uint8):
        i = np.abs(indices((9,), 6, dtype=dtype.numpy)) % 6
        check(indexing.INDEX_SELECT, [x, i.astype(dtype.numpy)], [F32, dtype], raw, kind, dim=0)


@pytest.mark.parametrize("strided", [False, True], ids=["contiguous", "strided"])
@pytest.mark.parametrize(
    "shape, count, dim", [((9, 40), 5, 0), ((9, 40), 50, 1), ((2, 3, 33), 4, 1), ((), 1, 0), ((3, 4), 0, 1)], ids=str
)
def test_index_select_and_slice_writes(raw, kind, shape, count, dim, strided):
    x = arrays(shape, F32)
    i = indices((count,), shape[dim] if shape else 1)
    source_shape = tuple(count if d == dim else n for d, n in enumerate(shape))
    source = arrays(source_shape, F32, 1)
    if shape:
        check(indexing.INDEX_SELECT, [x, i], [F32, I64], raw, kind, strided, dim=dim)
    for op in (indexing.INDEX_ADD, indexing.INDEX_COPY):
        check(op, [x, i, source], [F32, I64, F32], raw, kind, strided, dim=dim)
    check(indexing.INDEX_FILL, [x, i, np.array(2.5, np.float32)], [F32, I64, F32], raw, kind, strided, dim=dim)


@pytest.mark.parametrize("shape", [(7,), (2, 3), (), (0,)], ids=str)
def test_embedding(raw, kind, shape):
    check(indexing.EMBEDDING, [arrays((11, 65), F32), indices(shape, 11)], [F32, I64], raw, kind, padding_idx=None)


ADVANCED = [
    ((5, 6, 7), (0,), [(4,)]), ((5, 6, 7), (1,), [(3, 2)]), ((5, 6, 7), (0, 1), [(4,), (4,)]),
    ((5, 6, 7), (0, 2), [(3, 1), (2,)]),
    ((5, 6, 70), (0, 1, 2), [(40,), (1,), (40,)]), ((5, 6), (1,), [()]), ((5, 4, 6), (1, 2), [(0,), (0,)]),
]  # fmt: skip


@pytest.mark.parametrize("strided", [False, True], ids=["contiguous", "strided"])
@pytest.mark.parametrize("case", ADVANCED, ids=str)
def test_advanced_indexing(raw, kind, case, strided):
    shape, dims, index_shapes = case
    x = arrays(shape, F32)
    which = [indices(s, shape[d], seed=d) for s, d in zip(index_shapes, dims)]
    kinds = [I64] * len(which)
    check(indexing.INDEX, [x, *which], [F32, *kinds], raw, kind, strided, dims=dims)
    result = indexing.lowering.indexed_shape(shape, dims, np.broadcast_shapes(*index_shapes))[0]
    for values in (arrays(result, F32, 3), np.array(1.5, np.float32), arrays(result[-1:], F32, 4)):
        for accumulate in (False, True):
            check(
                indexing.INDEX_PUT,
                [x, values, *which],
                [F32, F32, *kinds],
                raw,
                kind,
                strided,
                dims=dims,
                accumulate=accumulate,
            )


@pytest.mark.parametrize("strided", [False, True], ids=["contiguous", "strided"])
@pytest.mark.parametrize(
    "shape, index, dim",
    [
        ((5, 7), (9, 7), 0),
        ((5, 70), (5, 90), 1),
        ((3, 4, 40), (2, 9, 33), 1),
        ((50,), (3000,), 0),
        ((), (1,), 0),
        ((4, 5), (4, 0), 1),
    ],
    ids=str,
)
def test_scatter(raw, kind, shape, index, dim, strided):
    x, i, src = arrays(shape, F32), indices(index, shape[dim] if shape else 1), arrays(index, F32, 1)
    for op in (indexing.SCATTER, indexing.SCATTER_ADD):
        check(op, [x, i, src], [F32, I64, F32], raw, kind, strided, dim=dim)
    check(indexing.SCATTER, [x, i, np.array(7, np.float32)], [F32, I64, F32], raw, kind, strided, dim=dim)


@pytest.mark.parametrize("reduce", indexing.lowering.REDUCTIONS)
@pytest.mark.parametrize("include_self", [False, True])
@pytest.mark.parametrize("dtype", [F32, dtypes.float16, I32, dtypes.uint8], ids=repr)
def test_scatter_reduce(raw, kind, reduce, include_self, dtype):
    x, i = np.clip(arrays((4, 9), dtype), -1, 2), indices((4, 8), 9)
    src = np.clip(arrays((4, 8), dtype, 1), -2, 2)
    if reduce == "mean":  # exact in float16 only where the counts are powers of two
        i = np.repeat(np.arange(4), 2)[None].repeat(4, 0) if not include_self else np.arange(8)[None].repeat(4, 0)
    check(
        indexing.SCATTER_REDUCE,
        [x, i, src],
        [dtype, I64, dtype],
        raw,
        kind,
        dim=1,
        reduce=reduce,
        include_self=include_self,
    )


def test_large_scatter_add_in_ranges(raw, kind):
    x, i, src = arrays((999,), F32), indices((70000,), 999), arrays((70000,), F32, 1)
    lowered = indexing.SCATTER_ADD.lower(
        (layout(F32, x.shape), layout(I64, i.shape), layout(F32, src.shape)),
        (layout(F32, x.shape),),
        (0,),
        runner.target(raw, kind),
        None,
    )
    (got,) = runner.run(lowered, [x, i, src], [x.copy()], device=raw)
    want = x.astype(np.float64)
    np.add.at(want, i, src)
    np.testing.assert_allclose(got, want, atol=1e-2)


def test_indices_out_of_range_touch_nothing(raw, kind):
    x, i = arrays((5, 6), F32), np.array([0, 5, -6, 4, 10**12, -(10**12)])
    check(indexing.INDEX_SELECT, [x, i], [F32, I64], raw, kind, dim=0)
    check(indexing.GATHER, [x, i[None].repeat(5, 0)], [F32, I64], raw, kind, dim=1)
    check(indexing.INDEX, [x, i, i[::-1].copy()], [F32, I64, I64], raw, kind, dims=(0, 1))
    check(indexing.INDEX_ADD, [x, i, arrays((6, 6), F32)], [F32, I64, F32], raw, kind, dim=0)
    check(indexing.SCATTER, [x, i[None].repeat(5, 0), arrays((5, 6), F32)], [F32, I64, F32], raw, kind, dim=1)
    check(
        indexing.INDEX_PUT, [x, arrays((6,), F32), i, i], [F32, F32, I64, I64], raw, kind, dims=(0, 1), accumulate=True
    )


@pytest.mark.parametrize("strided", [False, True], ids=["contiguous", "strided"])
@pytest.mark.parametrize("shape", [(), (1,), (70,), (3, 50), (4, 5, 6), (200, 101), (0, 3)], ids=str)
def test_compaction(raw, kind, shape, strided):
    x, mask = arrays(shape, F32), arrays(shape, BOOL, 2)
    x = np.where(np.asarray(x) > 1, np.nan, x).astype(np.float32)
    count = int(np.count_nonzero(x))
    check(indexing.NONZERO_COUNT, [x], [F32], raw, kind, strided)
    check(indexing.NONZERO_WRITE, [x], [F32], raw, kind, strided, count=count)
    check(indexing.MASKED_SELECT, [x, mask], [F32, BOOL], raw, kind, strided, count=int(mask.sum()))
    source = arrays((int(mask.sum()) + 3,), F32, 3)
    check(indexing.MASKED_SCATTER, [x, mask, source], [F32, BOOL, F32], raw, kind, strided)


def test_masks_broadcast_and_short_sources(raw, kind):
    x, mask = arrays((4, 5, 6), F32), arrays((5, 1), BOOL, 2)
    check(indexing.MASKED_SELECT, [x, mask], [F32, BOOL], raw, kind, count=int(mask.sum()) * 24)
    check(indexing.MASKED_SCATTER, [x, mask, arrays((7, 2), F32, 1)], [F32, BOOL, F32], raw, kind)


@pytest.mark.parametrize("right", [False, True])
def test_searchsorted(raw, kind, right):
    for ordered, values in (((9,), (4, 30)), ((3, 40), (3, 70)), ((1,), (5,)), ((0,), (3,)), ((9,), ())):
        for strided in (False, True):
            o = np.sort(arrays(ordered, F32), -1)
            check(
                indexing.SEARCHSORTED,
                [o, arrays(values, F32, 1)],
                [F32, F32],
                raw,
                kind,
                strided,
                right=right,
                out_int32=right,
            )
    check(
        indexing.SEARCHSORTED,
        [np.sort(arrays((50,), I64)), arrays((70,), I64, 1)],
        [I64, I64],
        raw,
        kind,
        right=right,
        out_int32=False,
    )


def test_long_positions(raw, kind, monkeypatch):
    """Storages of more than 2^30 elements use 64-bit positions: the same kernels, asked for with small arrays."""
    monkeypatch.setattr(indexing.lowering, "index_type", lambda *layouts, extra=0: "long")
    test_gather(raw, kind, (3, 4, 70), (2, 9, 65), 1, True)
    test_advanced_indexing(raw, kind, ADVANCED[3], True)
    test_scatter_reduce(raw, kind, "mean", False, F32)
    test_compaction(raw, kind, (4, 5, 6), True)
    test_searchsorted(raw, kind, True)


def test_errors_are_raised_before_anything_runs(raw, kind):
    x, i = layout(F32, (4, 5)), layout(I64, (3,))
    with pytest.raises(RuntimeError, match="same number of dimensions"):
        indexing.GATHER.infer((x, i), (0,))
    with pytest.raises(RuntimeError, match="Expected dtype int32/int64"):
        indexing.GATHER.infer((x, x), (0,))
    with pytest.raises(IndexError, match="supposed to be a vector"):
        indexing.INDEX_SELECT.infer((x, layout(I64, (2, 2))), (0,))
    with pytest.raises(IndexError, match="could not be broadcast together"):
        indexing.INDEX.infer((x, i, layout(I64, (4,))), ((0, 1),))
    with pytest.raises(RuntimeError, match="cannot be broadcast to indexing result"):
        indexing.INDEX_PUT.infer((x, layout(F32, (2,)), i), ((0,), False))
    with pytest.raises(RuntimeError, match="reduce argument"):
        indexing.SCATTER_REDUCE.infer((x, layout(I64, (1, 1)), x), (0, "median", True))
    with pytest.raises(RuntimeError, match="expected BoolTensor"):
        indexing.MASKED_SELECT.infer((x, x), (3,))
    with pytest.raises(RuntimeError, match="same dtype"):
        indexing.SEARCHSORTED.infer((x, i), (False, False))
