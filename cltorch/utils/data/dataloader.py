"""The DataLoader: batches from a dataset, made in this process or in workers ahead of time."""

from __future__ import annotations

import multiprocessing
import os
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

import numpy as np

from ... import engine
from ...tensor import Tensor
from .collate import default_collate, default_convert
from .dataset import IterableDataset
from .sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler, host_random
from .worker import End, Failure, _map, fetch, unpack, work

T = TypeVar("T")


class _Endless(Sampler):
    """Stands in for indices where a stream ignores them."""

    def __iter__(self) -> Iterator[None]:
        while True:
            yield None


class DataLoader(Generic[T]):
    """Iterates over a dataset in batches, as `torch.utils.data.DataLoader`.

    Args:
        dataset: a map-style Dataset (anything with `__getitem__` and `__len__`) or an IterableDataset.
        batch_size: samples per batch; None hands out single samples.
        shuffle: a new random order each epoch, fixed by `generator` or `manual_seed`.
        sampler, batch_sampler: the order, instead of `shuffle`.
        num_workers: processes that make batches; 0 makes them in this one.
        collate_fn: from a list of samples to a batch.
        pin_memory: put batches into page-aligned memory that a device can take without a copy of its own.
        drop_last: leave out a last batch that is not full.
        timeout: seconds to wait for a worker's batch; 0 waits for ever.
        worker_init_fn: called with the worker's number in each worker.
        multiprocessing_context: a start method ('fork', 'spawn', 'forkserver') or context.
        prefetch_factor: batches each worker makes ahead (2).
        persistent_workers: keep workers between epochs.

    Raises:
        ValueError: options that exclude one another or lie outside their range, as PyTorch raises them.
        RuntimeError: while iterating, a worker died or timed out; an exception of the dataset in a worker is raised
            here with the same type and the worker's traceback.

    Example:
        >>> import cltorch as torch
        >>> data = torch.utils.data.TensorDataset(torch.arange(5))
        >>> [batch[0].tolist() for batch in torch.utils.data.DataLoader(data, batch_size=2)]
        [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable | None = None,
        batch_sampler: Iterable | None = None,
        num_workers: int = 0,
        collate_fn: Callable | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ):
        if num_workers < 0:
            raise ValueError("num_workers option should be non-negative; use num_workers=0 to disable multiprocessing.")
        if timeout < 0:
            raise ValueError("timeout option should be non-negative")
        if num_workers == 0 and prefetch_factor is not None:
            raise ValueError(
                "prefetch_factor option could only be specified in multiprocessing. "
                "let num_workers > 0 to enable multiprocessing, otherwise set prefetch_factor to None."
            )
        if prefetch_factor is not None and prefetch_factor <= 0:
            raise ValueError("prefetch_factor option should be positive")
        if persistent_workers and num_workers == 0:
            raise ValueError("persistent_workers option needs num_workers > 0")
        self.iterable = isinstance(dataset, IterableDataset)
        if self.iterable:
            if shuffle:
                raise ValueError(
                    f"DataLoader with IterableDataset: expected unspecified shuffle option, but got shuffle={shuffle}"
                )
            if sampler is not None or batch_sampler is not None:
                raise ValueError(
                    "DataLoader with IterableDataset: expected unspecified sampler and batch_sampler options"
                )
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last"
                )
            batch_size, drop_last = None, False
        elif batch_size is None:
            if drop_last:
                raise ValueError(
                    "batch_size=None option disables auto-batching and is mutually exclusive with drop_last"
                )
        if sampler is None:
            if self.iterable:
                sampler = _Endless()
            elif shuffle:
                sampler = RandomSampler(dataset, generator=generator)
            else:
                sampler = SequentialSampler(dataset)
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)  # type: ignore[arg-type]
        self.dataset, self.batch_size, self.sampler, self.batch_sampler = dataset, batch_size, sampler, batch_sampler
        self.num_workers, self.pin_memory, self.drop_last, self.timeout = num_workers, pin_memory, drop_last, timeout
        self.worker_init_fn, self.generator = worker_init_fn, generator
        self.prefetch_factor = 2 if prefetch_factor is None and num_workers else prefetch_factor
        self.persistent_workers, self.pin_memory_device, self.in_order = persistent_workers, pin_memory_device, in_order
        self.collate_fn = collate_fn or (default_collate if self.batched else default_convert)
        if isinstance(multiprocessing_context, str):
            if multiprocessing_context not in multiprocessing.get_all_start_methods():
                raise ValueError(
                    f"multiprocessing_context option should specify a valid start method in "
                    f"{multiprocessing.get_all_start_methods()}, but got {multiprocessing_context!r}"
                )
            multiprocessing_context = multiprocessing.get_context(multiprocessing_context)
        self.multiprocessing_context = multiprocessing_context or multiprocessing.get_context(
            "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
        )
        self._team: _Team | None = None

    @property
    def batched(self) -> bool:
        return self.batch_sampler is not None

    def __iter__(self) -> Iterator[T]:
        if self.num_workers == 0:
            return self._in_process()
        if not self.persistent_workers:
            return _Epoch(self, _Team(self))
        if self._team is None or not self._team.alive():
            self._team = _Team(self)
        else:
            self._team.restart(host_random(self.generator))
        return _Epoch(self, self._team)

    def __len__(self) -> int:
        """Batches per epoch. Raises TypeError for a stream without length."""
        if self.iterable:
            samples = len(self.dataset)
            if self.batch_size is None:
                return samples
            return samples // self.batch_size if self.drop_last else -(-samples // self.batch_size)
        return len(self.batch_sampler if self.batched else self.sampler)  # type: ignore[arg-type]

    def _order(self) -> Iterator:
        return iter(self.batch_sampler if self.batched else self.sampler)  # type: ignore[arg-type]

    def _in_process(self) -> Iterator[T]:
        stream = iter(self.dataset) if self.iterable else None
        for indices in self._order():
            batch = fetch(self.dataset, stream, indices, self.collate_fn, self.drop_last, self.batched)
            if isinstance(batch, End):
                return
            yield self._pinned(batch)

    def _pinned(self, batch: Any) -> Any:
        if not self.pin_memory:
            return batch
        return (
            batch.pin_memory()
            if isinstance(batch, Tensor) or hasattr(batch, "pin_memory")
            else _map(self._pinned, batch)
        )


class _Team:
    """The worker processes of a loader."""

    def __init__(self, loader: DataLoader):
        context: Any = loader.multiprocessing_context
        engine.synchronize()  # what the dataset holds must be finished when the workers get to see it
        self.connections: list[Connection] = []
        self.processes: list[Any] = []
        seed = int(host_random(loader.generator).integers(1 << 62))
        for number in range(loader.num_workers):
            mine, theirs = context.Pipe()
            inherited = [*self.connections, mine] if context.get_start_method() == "fork" else []
            process = context.Process(
                target=work,
                args=(
                    theirs,
                    inherited,
                    loader.dataset,
                    loader.iterable,
                    loader.collate_fn,
                    loader.drop_last,
                    loader.batched,
                    seed + number,
                    number,
                    loader.num_workers,
                    loader.worker_init_fn,
                ),
                daemon=True,
            )
            process.start()
            theirs.close()
            self.connections.append(mine)
            self.processes.append(process)
        self._stop = weakref.finalize(self, _stop, self.connections, self.processes, os.getpid())

    def alive(self) -> bool:
        return all(p.is_alive() for p in self.processes)

    def restart(self, random: np.random.Generator) -> None:
        seed = int(random.integers(1 << 62))
        for number, connection in enumerate(self.connections):
            connection.send((-1, seed + number))

    def stop(self) -> None:
        self._stop()


def _stop(connections: list[Connection], processes: list[Any], owner: int) -> None:
    """End the workers: politely, then by force. In a forked child, leave the parent's workers alone."""
    if os.getpid() != owner:
        return
    for connection in connections:
        connection.close()
    deadline = time.monotonic() + 1.0
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            process.terminate()
            process.join(1.0)
        if process.is_alive():
            process.kill()
            process.join()


class _Epoch(Iterator):
    """One pass over a dataset with workers: keeps `prefetch_factor` tasks with each, hands results out in order."""

    def __init__(self, loader: DataLoader, team: _Team):
        self.loader, self.team = loader, team
        self.order = loader._order()
        self.sent = self.given = 0
        self.waiting: dict[int, int] = {}  # task -> worker
        self.arrived: dict[int, Any] = {}
        self.exhausted: set[int] = set()
        self.finished = False
        for _ in range(loader.prefetch_factor or 1):
            for worker in range(loader.num_workers):
                self._give(worker)

    def _give(self, worker: int) -> None:
        if worker in self.exhausted:
            return
        indices = next(self.order, End)
        if indices is End:
            return
        try:
            self.team.connections[worker].send((self.sent, indices))
        except OSError:
            self._died(worker)
        self.waiting[self.sent] = worker
        self.sent += 1

    def __iter__(self) -> _Epoch:
        return self

    def __next__(self) -> Any:
        while not self.finished:
            while self.given not in self.arrived:
                if self.given >= self.sent:
                    return self._finish()
                self._receive()
            batch = self.arrived.pop(self.given)
            self.given += 1
            if isinstance(batch, Failure):
                self._close()
                batch.reraise()
            if not isinstance(batch, End):
                return self.loader._pinned(unpack(batch))
        raise StopIteration

    def _receive(self) -> None:
        connections = self.team.connections
        busy = {connections[w]: w for w in set(self.waiting.values())}
        ready = wait(list(busy), self.loader.timeout or None)
        if not ready:
            self._close()
            raise RuntimeError(f"DataLoader timed out after {self.loader.timeout} seconds")
        for connection in ready:
            worker = busy[connection]  # type: ignore[index]
            try:
                task, batch = connection.recv()  # type: ignore[union-attr, call-arg]
            except (EOFError, OSError):
                self._died(worker)
            if task not in self.waiting:  # of an epoch that was left early
                continue
            del self.waiting[task]
            self.arrived[task] = batch
            if isinstance(batch, End):
                self.exhausted.add(worker)
            else:
                self._give(worker)

    def _died(self, worker: int) -> None:
        process = self.team.processes[worker]
        process.join(1.0)
        self._close()
        raise RuntimeError(
            f"DataLoader worker (pid(s) {process.pid}) exited unexpectedly with exit code {process.exitcode}"
        )

    def _finish(self) -> Any:
        self.finished = True
        if not self.loader.persistent_workers:
            self.team.stop()
        raise StopIteration

    def _close(self) -> None:
        self.finished = True
        self.team.stop()
        self.loader._team = None

    def __del__(self) -> None:
        if not self.finished and not self.loader.persistent_workers:
            self.team.stop()
        elif not self.finished:
            self._close()

    def __len__(self) -> int:
        return len(self.loader)
