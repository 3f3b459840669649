"""Running a trace on the host, entry by entry, with the NumPy references of the ops.

Floor 4. Only data-loader workers do this (they must not touch OpenCL, and datasets like to compute a little): results
agree with the device's up to rounding, speed is NumPy's. Ops whose record has no NumPy form raise NotImplementedError
by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..dtypes import BOOL, FLOAT, DType, bfloat16
from ..ops.table import POINTWISE, REDUCTION
from ..shapes import Layout
from .fuse import Entry, entries_of

if TYPE_CHECKING:
    from .storage import Storage
    from .trace import Trace

_REDUCTIONS: dict[str, Any] = {
    "sum": np.sum,
    "prod": np.prod,
    "max": np.max,
    "peak": np.fmax.reduce,
    "min": np.min,
    "argmax": np.argmax,
    "argmin": np.argmin,
}


def run(trace: Trace) -> None:
    """Evaluate every entry of `trace` in order on host memory, and empty it."""
    storages, numbers = trace.storages, trace.numbers
    try:
        for entry in entries_of(trace.signature):
            _evaluate(entry, storages, numbers)
    finally:
        trace.clear()


def _memory(storage: Storage, view: Layout) -> np.ndarray:
    """The view as an array over the storage's host memory (made, or copied from the device's shared memory, at need).
    """
    if storage.host is None or not storage.host.flags.writeable:
        raw = np.zeros(storage.nbytes, np.uint8)
        if storage.host is not None:
            raw[:] = storage.host.reshape(-1).view(np.uint8)
        elif storage.block is not None:
            shared = storage.block.host(np.uint8, storage.nbytes, 0)
            if shared is None:
                raise RuntimeError(
                    "a data-loader worker cannot read a tensor that lies on a device: move it to the host first"
                )
            raw[:] = shared
        storage.host, storage.block = raw, None
    size = view.dtype.itemsize
    flat = storage.host.reshape(-1).view(np.uint8)
    return np.ndarray(view.shape, view.dtype.numpy, flat.data, view.offset * size, tuple(s * size for s in view.stride))


def _widen(array: np.ndarray, dtype: DType) -> np.ndarray:
    return (array.astype(np.uint32) << 16).view(np.float32) if dtype is bfloat16 else array


def _narrow(array: np.ndarray, dtype: DType) -> np.ndarray:
    if dtype is not bfloat16:
        return array.astype(bool) if dtype.category == BOOL else array.astype(dtype.numpy)
    bits = array.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def _evaluate(entry: Entry, storages: list[Storage], numbers: list) -> None:
    spec = entry.spec
    views = [spec.ins[i] for i in spec.tensors]
    arrays = iter([_widen(_memory(storages[s], v), v.dtype) for s, v in zip(entry.ins, views)])
    values = iter(entry.numbers)
    operands = [numbers[next(values)] if isinstance(x, DType) else next(arrays) for x in spec.ins]
    out = _memory(storages[entry.outs[0]], spec.outs[0])
    found: Any
    with np.errstate(all="ignore"):
        if spec.op.name in ("cast", "copy", "fill"):
            found = operands[0]
        elif spec.op.kind == REDUCTION:
            dims, keepdim = spec.attrs[:2]
            function = _REDUCTIONS[spec.op.reduce]
            if spec.op.reduce.startswith("arg"):
                rest = tuple(d for d in range(operands[0].ndim) if d not in dims)
                moved = operands[0].transpose(*rest, *dims)
                found = function(moved.reshape(*moved.shape[: len(rest)], -1), axis=-1).reshape(spec.outs[0].shape)
            else:
                found = function(operands[0], axis=dims, keepdims=keepdim)
        elif spec.op.kind == POINTWISE and spec.op.expr == "index":
            found = np.arange(spec.outs[0].numel).reshape(spec.outs[0].shape)
        elif spec.op.kind == POINTWISE and spec.op.reference is not None:
            found = spec.op.reference(*operands)
        else:
            raise NotImplementedError(
                f"{spec.op.name}: a data-loader worker computes on the host, where this op does not exist; "
                "compute it in the training process, or use NumPy in the dataset"
            )
    dtype = spec.outs[0].dtype
    found = np.asarray(found)
    if dtype.category != FLOAT and dtype.category != BOOL and found.dtype.kind == "f":
        found = np.trunc(found)
    out[...] = _narrow(found, dtype)
