"""The pool: live blocks never overlap, merging restores all, streams share no bytes in flight, budgets hold."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cltorch.codegen.source import KernelSource
from cltorch.errors import OutOfMemoryError
from cltorch.runtime import NullDevice, Pool
from cltorch.runtime.device import Device
from cltorch.runtime.pool import MIB, Block
from cltorch.target import Target


def null_pool(budget: int = 1 << 40, **facts: int) -> Pool:
    pool = NullDevice(Target(**{"global_memory": 1 << 40, "max_allocation": 1 << 38, **facts})).pool
    pool.budget = budget
    return pool


def place(block: Block) -> tuple[int, int, int]:
    span = block._span
    return id(span.segment), span.offset, span.offset + span.nbytes


SIZES = st.one_of(
    st.integers(0, 5000),
    st.sampled_from([0, 1, 511, 512, 513, 4096, MIB, MIB + 1, 2 * MIB, 16 * MIB, 16 * MIB + 1, 40 * MIB]),
    st.integers(MIB, 50 * MIB),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("allocate"), SIZES, st.integers(0, 2)),
        st.tuples(st.just("release"), st.integers(0, 1000), st.booleans()),
        st.tuples(st.just("empty"), st.just(0), st.just(0)),
    ),
    max_size=80,
)


@settings(deadline=None, max_examples=150)
@given(STEPS)
def test_live_blocks_never_overlap_and_merging_restores_everything(steps: list) -> None:
    pool = null_pool()
    streams = [pool.device.new_stream() for _ in range(3)]
    live: list[tuple[Block, int]] = []
    for action, number, choice in steps:
        if action == "allocate":
            live.append((pool.allocate(number, streams[choice]), choice))
            assert live[-1][0].nbytes == number
        elif action == "release" and live:
            block, _ = live.pop(number % len(live))
            if choice:
                block.record_stream(streams[0])
            block.release()
        elif action == "empty":
            pool.empty_cache()
        places = sorted(place(block) for block, _ in live)
        for (segment, _, end), (other, start, _) in zip(places, places[1:], strict=False):
            assert segment != other or end <= start
        for block, stream in live:
            span = block._span
            assert span.segment.arena.stream is streams[stream]
            assert span.nbytes >= block.nbytes and span.offset % 512 == 0
            assert span.offset + span.nbytes <= span.segment.nbytes
        statistics = pool.statistics()
        assert statistics["allocated_bytes.all.current"] == sum(end - start for _, start, end in places)
        assert statistics["allocation.all.current"] == len(live)
        assert statistics["reserved_bytes.all.current"] >= statistics["allocated_bytes.all.current"]
        assert len(pool.live_spans()) == len(live)
    for block, _ in live:
        block.release()
    del live
    pool.empty_cache()
    statistics = pool.statistics()
    assert statistics["reserved_bytes.all.current"] == 0 and statistics["segment.all.current"] == 0
    assert statistics["allocated_bytes.all.current"] == 0 and statistics["allocation.all.current"] == 0


def test_the_same_size_gets_the_same_memory_again() -> None:
    pool = null_pool()
    for nbytes in (100, 5000, 3 * MIB, 100 * MIB):
        first = pool.allocate(nbytes)
        where = place(first)
        first.release()
        again = pool.allocate(nbytes)
        assert place(again) == where


def test_steady_state_never_merges() -> None:
    pool = null_pool()
    sizes = [100, 700, 4096, 70_000, 2 * MIB, 9 * MIB]
    for _ in range(2):
        for block in [pool.allocate(size) for size in sizes]:
            block.release()
    before = pool.statistics()["num_bin_misses"]
    for _ in range(10):
        for block in [pool.allocate(size) for size in sizes]:
            block.release()
    assert pool.statistics()["num_bin_misses"] == before


def test_released_neighbours_serve_a_larger_request() -> None:
    pool = null_pool()
    blocks = [pool.allocate(512 * 1024) for _ in range(8)]  # one small segment
    assert pool.statistics()["segment.all.current"] == 1
    for block in blocks:
        block.release()
    pool.allocate(MIB).release()
    assert pool.statistics()["segment.all.current"] == 1


def test_garbage_collection_releases() -> None:
    pool = null_pool()
    block = pool.allocate(1000)
    cycle: list = [block]
    cycle.append(cycle)
    del block, cycle
    gc.collect()
    assert pool.statistics()["allocation.all.current"] == 0


def test_release_is_idempotent_and_use_after_it_is_refused() -> None:
    pool = null_pool()
    block = pool.allocate(10)
    block.release()
    block.release()
    assert pool.statistics()["allocation.all.current"] == 0
    with pytest.raises(RuntimeError, match="was released"):
        block.host(np.uint8, 1)


def test_statistics_and_peak() -> None:
    pool = null_pool()
    first, second = pool.allocate(1024), pool.allocate(2048)
    first.release()
    statistics = pool.statistics()
    assert statistics["allocated_bytes.all.current"] == 2048
    assert statistics["allocated_bytes.all.peak"] == 3072
    pool.reset_peak()
    assert pool.statistics()["allocated_bytes.all.peak"] == 2048
    assert second.nbytes == 2048


def test_out_of_memory_says_who_holds_what() -> None:
    pool = null_pool(budget=100 * MIB)
    held = pool.allocate(60 * MIB)
    held.label = "conv1.weight (64, 3, 7, 7)"
    with pytest.raises(OutOfMemoryError) as caught:
        pool.allocate(50 * MIB)
    text = str(caught.value)
    for part in ("50.00 MiB were asked for", "budget is 100.00 MiB", "60.00 MiB (conv1.weight (64, 3, 7, 7))"):
        assert part in text
    assert "CLTORCH_MEMORY_LIMIT_MB" in text
    assert pool.statistics()["num_ooms"] == 1
    held.release()
    assert pool.allocate(90 * MIB).nbytes == 90 * MIB  # trims the 60 MiB segment and goes on


def test_one_allocation_beyond_the_device_is_refused() -> None:
    with pytest.raises(OutOfMemoryError, match=r"single allocation of this device is bounded by 1\.00 GiB"):
        null_pool(max_allocation=1 << 30).allocate((1 << 30) + 1)


def test_budget_is_kept_by_trimming_other_streams() -> None:
    pool = null_pool(budget=64 * MIB)
    first, second = pool.device.new_stream(), pool.device.new_stream()
    for _ in range(5):
        for stream in (first, second):
            block = pool.allocate(60 * MIB, stream)
            assert pool.statistics()["reserved_bytes.all.current"] <= 64 * MIB
            block.release()
    assert pool.statistics()["num_ooms"] == 0


def test_threads() -> None:
    pool = null_pool()
    stream = pool.device.default_stream

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        held: list[Block] = []
        for size in random.integers(0, 100_000, 1500):
            held.append(pool.allocate(int(size), stream))
            if len(held) > 20:
                held.pop(int(random.integers(len(held)))).release()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    statistics = pool.statistics()
    assert statistics["allocation.all.current"] == 0 and statistics["allocated_bytes.all.current"] == 0
    assert statistics["allocation.all.allocated"] == 6000


# ---- on devices


def test_bytes_used_by_another_stream_are_not_reused_in_flight(
    device: Device, add_source: KernelSource, slow_source: KernelSource
) -> None:
    """Free while the other stream still reads, allocate, overwrite: the reader must see the old bytes."""
    home, other = device.new_stream(), device.new_stream()
    slow = device.upload(np.zeros(1, np.float32), other)
    device.bind(slow_source, [slow, ("int", 1)], (1,)).enqueue(other.queue)
    count = 20_000
    nines = device.upload(np.full(count, 9, np.float32), home)
    ones = device.upload(np.ones(count, np.float32), home)
    home.synchronize()
    for _ in range(4):
        block = device.pool.allocate(count * 4, home)
        device.bind(add_source, [block, ones, ("int", count), ("float", 0.0)], (1,)).enqueue(home.queue)
        other.wait_stream(home)
        result = device.pool.allocate(count * 4, other)
        device.bind(slow_source, [slow, ("int", 10_000)], (1,)).enqueue(other.queue)
        device.bind(add_source, [result, block, ("int", count), ("float", 0.0)], (1,)).enqueue(other.queue)
        block.record_stream(other)
        block.release()
        again = device.pool.allocate(count * 4, home)
        device.bind(add_source, [again, nines, ("int", count), ("float", 0.0)], (1,)).enqueue(home.queue)
        home.synchronize()
        got = device.download(result, stream=other).view(np.float32)
        np.testing.assert_array_equal(got, 1)
    other.synchronize()
    before = device.pool.statistics()["active_bytes.all.current"]
    device.pool.empty_cache()
    assert device.pool.statistics()["active_bytes.all.current"] <= before


def test_uploads_in_flight_keep_their_bytes(
    device: Device, add_source: KernelSource, slow_source: KernelSource
) -> None:
    slow = device.upload(np.zeros(1, np.float32))
    results = []
    for value in range(10):
        block = device.upload(np.full(5000, value, np.float32))
        results.append(device.pool.allocate(20_000))
        device.bind(slow_source, [slow, ("int", 1000)], (1,)).enqueue(device.stream.queue)
        device.bind(add_source, [results[-1], block, ("int", 5000), ("float", 0.0)], (1,)).enqueue(device.stream.queue)
        block.release()  # the next upload wants the same size and must not get these bytes yet
    for value, result in enumerate(results):
        np.testing.assert_array_equal(device.download(result).view(np.float32), value)


def test_a_real_device_out_of_memory(device: Device) -> None:
    pool = Pool(device)
    pool.budget = 64 * MIB
    held = [pool.allocate(20 * MIB) for _ in range(3)]
    with pytest.raises(OutOfMemoryError, match="60.00 MiB are in use by 3 blocks"):
        pool.allocate(20 * MIB)
    held.pop().release()
    held.append(pool.allocate(20 * MIB))
    for block in held:
        block.release()
    assert pool.empty_cache() == 60 * MIB
