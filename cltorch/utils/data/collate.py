"""Collation: a list of samples becomes a batch.

Everything is done in host memory where the samples are in host memory (arrays, numbers, tensors that no kernel has
needed yet), so that workers can do it; samples that live on a device are stacked there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...copies import stack
from ...functions.creation import as_tensor, tensor
from ...runtime import aligned_empty
from ...tensor import Tensor, from_array


def on_host(value: Tensor) -> bool:
    """True if reading the tensor needs no device."""
    storage = value._storage
    return storage.block is None and not storage.pending


def stack_arrays(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays of one shape and dtype, stacked in front, in aligned memory."""
    out = aligned_empty((len(arrays), *arrays[0].shape), arrays[0].dtype)
    return np.stack(arrays, out=out)


def _stack_tensors(batch: Sequence[Tensor]) -> Tensor:
    first = batch[0]
    for i, t in enumerate(batch):
        if t.shape != first.shape:
            raise RuntimeError(
                f"default_collate: stack expects each tensor to be equal size, but got {list(first.shape)} "
                "at entry 0 and "
                f"{list(t.shape)} at entry {i}"
            )
    if first.dtype.name != "bfloat16" and all(on_host(t) and t.dtype is first.dtype for t in batch):
        return from_array(stack_arrays([t.detach().numpy() for t in batch]))
    return stack(list(batch))


def default_collate(batch: Sequence[Any]) -> Any:
    """A batch from a list of samples: tensors, arrays and numbers are stacked in front; mappings, named tuples, tuples
    and lists are collated element by element; strings and bytes stay lists.

    Raises:
        RuntimeError: samples of different shapes or lengths.
        TypeError: a type that cannot be batched.
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return _stack_tensors(batch)
    if isinstance(first, np.ndarray):
        if first.dtype.kind in "SUO":
            raise TypeError(
                "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; "
                f"found {first.dtype}"
            )
        shapes = {a.shape for a in batch}
        if len(shapes) > 1:
            raise RuntimeError(f"default_collate: arrays: got shapes {sorted(shapes)}, wanted equal ones")
        return from_array(stack_arrays(batch))
    if isinstance(first, np.generic):
        return from_array(np.array(batch))
    if isinstance(first, bool):
        return tensor(list(batch))
    if isinstance(first, int):
        return from_array(np.array(batch, np.int64))
    if isinstance(first, float):
        return from_array(np.array(batch, np.float64))
    if isinstance(first, (str, bytes)):
        return list(batch) if not isinstance(batch, list) else batch
    if isinstance(first, Mapping):
        collated = {key: default_collate([sample[key] for sample in batch]) for key in first}
        try:
            return type(first)(collated)  # type: ignore[call-arg]
        except TypeError:
            return collated
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*(default_collate(samples) for samples in zip(*batch)))
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        collated_list = [default_collate(samples) for samples in zip(*batch)]
        return collated_list
    raise TypeError(
        f"default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {type(first)}"
    )


def default_convert(data: Any) -> Any:
    """Arrays become tensors, containers are converted element by element, anything else stays."""
    if isinstance(data, Tensor):
        return data
    if isinstance(data, (np.ndarray, np.generic)) and np.asarray(data).dtype.kind not in "SUO":
        return as_tensor(np.asarray(data))
    if isinstance(data, Mapping):
        return {key: default_convert(value) for key, value in data.items()}
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(default_convert(d) for d in data))
    if isinstance(data, tuple):
        return [default_convert(d) for d in data]
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return [default_convert(d) for d in data]
    return data
