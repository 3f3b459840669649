"""Datasets, samplers, collation and the DataLoader, with and without workers, and its faults."""

import collections
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import cltorch as torch
from cltorch.utils.data import (
    BatchSampler,
    ChainDataset,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    StackDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    get_worker_info,
    random_split,
)


class Squares(Dataset):
    def __init__(self, n, bad=None):
        self.n, self.bad = n, bad

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        if i == self.bad:
            raise ValueError(f"sample {i} is broken")
        return np.full(3, i, np.float32), i * i


class Stream(IterableDataset):
    def __init__(self, n):
        self.n = n

    def __iter__(self):
        info = get_worker_info()
        start, step = (info.id, info.num_workers) if info else (0, 1)
        return iter(range(start, self.n, step))


class Computes(Squares):
    """A dataset that computes with tensors, as users' do."""

    def __getitem__(self, i):
        x = torch.tensor([float(i), 2.0])
        return (x * 2 + 1).exp().clamp(max=100.0), torch.zeros(2) + i


class Dies(Squares):
    def __getitem__(self, i):
        if i == 5:
            os._exit(7)
        return super().__getitem__(i)


class Sleeps(Squares):
    def __getitem__(self, i):
        time.sleep(30)


def batches(loader):
    return [(x.tolist(), y.tolist()) for x, y in loader]


def test_batches_in_order():
    whole = batches(DataLoader(Squares(7), batch_size=3))
    assert [y for _, y in whole] == [[0, 1, 4], [9, 16, 25], [36]]
    assert [y for _, y in batches(DataLoader(Squares(7), batch_size=3, drop_last=True))] == [[0, 1, 4], [9, 16, 25]]
    x, y = next(iter(DataLoader(Squares(7), batch_size=4)))
    assert x.shape == (4, 3) and x.dtype is torch.float32 and y.dtype is torch.int64


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_give_the_same_batches(workers):
    assert batches(DataLoader(Squares(23), batch_size=4, num_workers=workers)) == batches(
        DataLoader(Squares(23), batch_size=4)
    )


def test_spawned_workers():
    loader = DataLoader(TensorDataset(torch.arange(6.0)), batch_size=2, num_workers=1, multiprocessing_context="spawn")
    assert [b[0].tolist() for b in loader] == [[0, 1], [2, 3], [4, 5]]


def test_persistent_workers_serve_several_epochs():
    loader = DataLoader(Squares(9), batch_size=2, num_workers=2, persistent_workers=True, shuffle=True)
    epochs = [sorted(v for _, y in batches(loader) for v in y) for _ in range(3)]
    assert epochs == [[i * i for i in range(9)]] * 3
    pids = {p.pid for p in loader._team.processes}
    list(loader)
    assert {p.pid for p in loader._team.processes} == pids


def test_shuffle_follows_the_seed():
    def order(seed):
        torch.manual_seed(seed)
        return [y for _, y in batches(DataLoader(Squares(50), batch_size=50, shuffle=True))][0]

    assert order(1) == order(1) != order(2)
    assert sorted(order(3)) == [i * i for i in range(50)]


def test_generator_fixes_the_order():
    def order():
        g = torch.Generator().manual_seed(5)
        return [list(RandomSampler(range(20), generator=g)) for _ in range(2)]

    first, second = order(), order()
    assert first == second and first[0] != first[1]


def test_streams_are_shared_out():
    assert [b.tolist() for b in DataLoader(Stream(7), batch_size=3)] == [[0, 1, 2], [3, 4, 5], [6]]
    found = [v for b in DataLoader(Stream(17), batch_size=3, num_workers=2) for v in b.tolist()]
    assert sorted(found) == list(range(17))
    assert [v for b in DataLoader(ChainDataset([Stream(3), Stream(2)]), batch_size=2) for v in b.tolist()] == [
        0,
        1,
        2,
        0,
        1,
    ]


def test_without_batching():
    assert [int(y) for _, y in DataLoader(Squares(3), batch_size=None)] == [0, 1, 4]


def test_computing_in_workers_agrees_with_the_device():
    one = [(x.tolist(), y.tolist()) for x, y in DataLoader(Computes(6), batch_size=2)]
    two = [(x.tolist(), y.tolist()) for x, y in DataLoader(Computes(6), batch_size=2, num_workers=2)]
    np.testing.assert_allclose([x for x, _ in one], [x for x, _ in two], rtol=1e-5)
    assert [y for _, y in one] == [y for _, y in two]


def test_an_exception_reaches_the_user_with_its_traceback():
    loader = DataLoader(Squares(8, bad=5), batch_size=2, num_workers=2)
    with pytest.raises(ValueError, match="Caught ValueError in DataLoader worker process") as caught:
        list(loader)
    assert "sample 5 is broken" in str(caught.value) and "__getitem__" in str(caught.value)


def test_a_killed_worker_is_reported():
    with pytest.raises(RuntimeError, match="exited unexpectedly with exit code 7"):
        list(DataLoader(Dies(8), batch_size=2, num_workers=2))


def test_timeout():
    with pytest.raises(RuntimeError, match="timed out after 1 seconds"):
        list(DataLoader(Sleeps(8), batch_size=2, num_workers=1, timeout=1))


def test_leaving_early_leaves_no_process():
    iterator = iter(DataLoader(Squares(1000), batch_size=2, num_workers=2))
    next(iterator)
    del iterator
    gc.collect()
    assert multiprocessing.active_children() == []


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_interrupt_leaves_no_orphan():
    text = (
        "import cltorch as torch, sys, time\n"
        "class D(torch.utils.data.Dataset):\n"
        "    def __len__(self): return 10**6\n"
        "    def __getitem__(self, i): time.sleep(0.01); return i\n"
        "loader = torch.utils.data.DataLoader(D(), batch_size=4, num_workers=2)\n"
        "it = iter(loader); next(it)\n"
        "print(*[p.pid for p in it.team.processes], flush=True)\n"
        "for _ in it: pass\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    pids = [int(p) for p in process.stdout.readline().split()]
    assert len(pids) == 2
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=20)
    deadline = time.monotonic() + 10
    while any(os.path.exists(f"/proc/{p}") for p in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(os.path.exists(f"/proc/{p}") for p in pids)


def test_a_killed_parent_leaves_no_orphan():
    text = (
        "import cltorch as torch, os, signal\n"
        "loader = torch.utils.data.DataLoader(list(range(100)), num_workers=2)\n"
        "it = iter(loader); next(it)\n"
        "print(*[p.pid for p in it.team.processes], flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60)
    pids = [int(p) for p in done.stdout.split()]
    assert len(pids) == 2
    deadline = time.monotonic() + 10

    def running(pid):
        try:
            return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
        except OSError:
            return False

    while any(map(running, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(running, pids))


Point = collections.namedtuple("Point", "x y")


def test_collation_of_containers():
    batch = default_collate([{"a": 1, "p": Point(np.float32(1), "u")}, {"a": 2, "p": Point(np.float32(3), "v")}])
    assert batch["a"].tolist() == [1, 2] and batch["p"].x.tolist() == [1, 3] and list(batch["p"].y) == ["u", "v"]
    assert default_collate([0.5, 1.5]).dtype is torch.float64
    assert default_collate([torch.ones(2), torch.zeros(2)]).tolist() == [[1, 1], [0, 0]]
    assert default_collate([torch.ones(2) + 1, torch.zeros(2)]).tolist() == [[2, 2], [0, 0]]
    with pytest.raises(RuntimeError, match="equal size"):
        default_collate([torch.ones(2), torch.ones(3)])
    with pytest.raises(RuntimeError, match="equal size"):
        default_collate([[1, 2], [1]])
    with pytest.raises(TypeError, match="found"):
        default_collate([object()])


def test_datasets():
    data = TensorDataset(torch.arange(6.0), torch.arange(6) * 10)
    assert [v.item() for v in data[4]] == [4, 40] and len(data) == 6
    with pytest.raises(ValueError, match="first dimensions"):
        TensorDataset(torch.ones(2), torch.ones(3))
    both = ConcatDataset([Squares(2), Squares(3)])
    assert [both[i][1] for i in range(5)] == [0, 1, 0, 1, 4] and both[-1][1] == 4
    assert StackDataset(a=Squares(2), b=Squares(2))[1]["b"][1] == 1
    assert Subset(Squares(9), [8, 1])[0][1] == 64
    parts = random_split(range(10), [0.5, 0.3, 0.2], generator=torch.Generator().manual_seed(1))
    assert [len(p) for p in parts] == [5, 3, 2] and sorted(i for p in parts for i in p.indices) == list(range(10))
    with pytest.raises(ValueError, match="Sum of input lengths"):
        random_split(range(10), [5, 6])


def test_samplers():
    assert list(BatchSampler(SequentialSampler(range(5)), 2, False)) == [[0, 1], [2, 3], [4]]
    assert len(BatchSampler(SequentialSampler(range(5)), 2, True)) == 2
    assert sorted(SubsetRandomSampler([3, 5, 9])) == [3, 5, 9]
    drawn = list(WeightedRandomSampler([0.0, 1.0, 0.0, 3.0], 400))
    assert set(drawn) == {1, 3} and 230 < drawn.count(3) < 370
    assert len(list(RandomSampler(range(3), replacement=True, num_samples=11))) == 11
    assert sorted(RandomSampler(range(3), num_samples=6)) == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    "options, text",
    [
        ({"num_workers": -1}, "num_workers"),
        ({"timeout": -1}, "timeout"),
        ({"prefetch_factor": 2}, "prefetch_factor"),
        ({"persistent_workers": True}, "persistent_workers"),
        ({"sampler": [0], "shuffle": True}, "mutually exclusive"),
        ({"batch_sampler": [[0]], "shuffle": True}, "mutually exclusive"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": None, "drop_last": True}, "drop_last"),
        ({"multiprocessing_context": "no"}, "multiprocessing_context"),
    ],
)
def test_bad_options(options, text):
    with pytest.raises(ValueError, match=text):
        DataLoader(Squares(3), **options)


def test_pinned_batches_are_aligned():
    ((x, y),) = DataLoader(Squares(4), batch_size=4, pin_memory=True)
    assert x.tolist() == [[i] * 3 for i in range(4)] and y.tolist() == [0, 1, 4, 9]
