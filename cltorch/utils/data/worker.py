"""What runs in a data-loader worker process, and how batches travel.

Workers hold no OpenCL object: the process is marked host-only before the dataset is touched, and batches travel as
NumPy arrays.
"""

from __future__ import annotations

import os
import random
import signal
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from ... import engine
from ...dtypes import by_name
from ...functions.random import manual_seed
from ...tensor import Tensor, from_array


@dataclass
class WorkerInfo:
    """What `get_worker_info` tells a dataset: number of this worker, of all workers, its seed and its copy of the
    dataset.
    """

    id: int
    num_workers: int
    seed: int
    dataset: Any


_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """In a worker process its WorkerInfo, in the main process None."""
    return _info


@dataclass
class Packed:
    """A tensor on its way between processes: its elements in host memory (bfloat16 as uint16) and its dtype's name."""

    array: np.ndarray
    dtype: str


@dataclass
class Failure:
    """An exception of a worker on its way to the user."""

    kind: type
    text: str
    worker: int

    def reraise(self) -> None:
        """Raise an exception of the same type (or RuntimeError where it cannot be made from a text) with the worker's
        traceback.
        """
        text = f"Caught {self.kind.__name__} in DataLoader worker process {self.worker}.\nOriginal {self.text}"
        try:
            error = self.kind(text)
        except Exception:
            error = RuntimeError(text)
        if isinstance(error, KeyError):  # its str() is a repr, in which line breaks drown
            error = _ReadableKeyError(text)
        raise error


class _ReadableKeyError(KeyError):
    def __str__(self) -> str:
        return str(self.args[0])


class End:
    """A worker's stream has ended."""


def pack(data: Any) -> Any:
    """Tensors in nested containers become Packed."""
    if isinstance(data, Tensor):
        return Packed(engine.read(data._storage, data._layout), data.dtype.name)
    return _map(pack, data)


def unpack(data: Any) -> Any:
    """The reverse of `pack`; tensors come out host-resident."""
    if isinstance(data, Packed):
        if data.dtype == "bfloat16":
            return from_array(data.array.view(np.int16)).view(by_name("bfloat16"))
        return from_array(data.array)
    return _map(unpack, data)


def _map(function: Callable[[Any], Any], data: Any) -> Any:
    if isinstance(data, dict):
        return {key: function(value) for key, value in data.items()}
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*map(function, data))
    if isinstance(data, (list, tuple)):
        return type(data)(map(function, data))
    return data


def fetch(
    dataset: Any, stream: Iterator | None, indices: Any, collate: Callable, drop_last: bool, batched: bool
) -> Any:
    """One batch (or one sample where batching is off), collated. End when a stream has none."""
    if stream is None:
        if not batched:
            return collate(dataset[indices])
        if hasattr(dataset, "__getitems__"):
            return collate(dataset.__getitems__(indices))
        return collate([dataset[i] for i in indices])
    if not batched:
        sample = next(stream, End)
        return End() if sample is End else collate(sample)
    samples = [sample for _, sample in zip(indices, stream)]
    if not samples or (drop_last and len(samples) < len(indices)):
        return End()
    return collate(samples)


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and cltorch's generators of this process."""
    random.seed(seed)
    np.random.seed(seed % (1 << 32))
    manual_seed(seed)


def work(
    connection: Connection,
    inherited: list[Connection],
    dataset: Any,
    iterable: bool,
    collate: Callable,
    drop_last: bool,
    batched: bool,
    seed: int,
    number: int,
    total: int,
    initialise: Callable | None,
) -> None:
    """The main function of a worker: answer (task, indices) with (task, batch) until the connection closes."""
    global _info
    engine.host_only()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    for other in inherited:
        other.close()
    parent = os.getppid()
    fault: Failure | None = None
    stream = None
    try:
        seed_everything(seed)
        _info = WorkerInfo(number, total, seed, dataset)
        if initialise is not None:
            initialise(number)
        if iterable:
            stream = iter(dataset)
    except BaseException as error:
        fault = Failure(type(error), traceback.format_exc(), number)
    try:
        while True:
            while not connection.poll(2.0):
                if os.getppid() != parent:
                    return
            message = connection.recv()
            if message is None:
                return
            task, indices = message
            if task < 0:  # a new epoch of a persistent worker; `indices` is its seed
                seed_everything(indices)
                stream = iter(dataset) if iterable else None
                continue
            answer: Any = fault
            if fault is None:
                try:
                    answer = pack(fetch(dataset, stream, indices, collate, drop_last, batched))
                except BaseException as error:
                    answer = Failure(type(error), traceback.format_exc(), number)
            try:
                connection.send((task, answer))
            except (TypeError, AttributeError, ValueError) as error:  # cannot be pickled
                connection.send((task, Failure(type(error), traceback.format_exc(), number)))
    except (EOFError, OSError, KeyboardInterrupt):
        return
