"""Devices, launches, transfers and streams on every runtime."""

from __future__ import annotations

import gc
import pickle
import threading
import time

import numpy as np
import pytest

from cltorch import runtime
from cltorch.codegen.source import KernelSource, Local
from cltorch.errors import BuildError, DeviceError
from cltorch.runtime import Event, Stream
from cltorch.runtime.device import Device, vector_width, vendor_of, version_of
from cltorch.runtime.launch import pack_number

SIZES = [1, 3, 1000, 4097, 300_001]


def run(device: Device, source: KernelSource, args: list, groups: int = 64, stream: Stream | None = None) -> None:
    device.bind(source, args, (groups,)).enqueue((stream or device.stream).queue)


def aligned(count: int, dtype: type = np.float32, shift: int = 0) -> np.ndarray:
    """An array whose address is a multiple of 64, plus `shift` bytes."""
    raw = np.zeros(count * np.dtype(dtype).itemsize + 128, np.uint8)
    start = -raw.ctypes.data % 64 + shift
    return raw[start : start + count * np.dtype(dtype).itemsize].view(dtype)


@pytest.mark.parametrize("size", SIZES)
def test_upload_run_download(device: Device, add_source: KernelSource, size: int) -> None:
    data = np.random.default_rng(size).standard_normal(size).astype(np.float32)
    source = device.upload(data)
    result = device.pool.allocate(data.nbytes)
    run(device, add_source, [result, source, ("int", size), ("float", 2.5)])
    got = device.download(result).view(np.float32)
    np.testing.assert_array_equal(got, data + np.float32(2.5))


def test_upload_takes_a_copy(device: Device, add_source: KernelSource) -> None:
    data = np.ones(5000, np.float32)
    source, result = device.upload(data), device.pool.allocate(20000)
    run(device, add_source, [result, source, ("int", 5000), ("float", 1.0)])
    data[:] = 7
    np.testing.assert_array_equal(device.download(result).view(np.float32), 2)


def test_upload_of_a_view_is_in_c_order(device: Device) -> None:
    data = np.arange(12, dtype=np.int16).reshape(3, 4).T
    np.testing.assert_array_equal(device.download(device.upload(data)).view(np.int16), data.ravel())


def test_empty(device: Device) -> None:
    block = device.upload(np.empty((0, 3), np.float32))
    assert block.nbytes == 0 and block.buffer is not None
    assert device.download(block).size == 0
    device.write(block, 0, np.empty(0, np.float32))
    assert device.adopt(np.empty(0, np.float32)) is None


def test_partial_write_and_read_in_stream_order(device: Device, add_source: KernelSource) -> None:
    block = device.upload(np.zeros(1000, np.float32))
    result = device.pool.allocate(4000)
    for step in range(20):  # each write must wait for the kernel before it and be seen by the one after
        patch = np.full(10, step, np.float32)
        device.write(block, 400, patch)
        patch[:] = -1
        run(device, add_source, [result, block, ("int", 1000), ("float", 0.0)])
        run(device, add_source, [block, result, ("int", 1000), ("float", 1.0)])
    got = device.download(block, 396, 48).view(np.float32)
    np.testing.assert_array_equal(got, [20] + [20] * 10 + [20])


def test_out_of_range_transfers_are_refused(device: Device) -> None:
    block = device.pool.allocate(100)
    for offset, count in ((99, 2), (-1, 1), (0, 101)):
        with pytest.raises(DeviceError, match="wanted a part of 100 bytes"):
            device.write(block, offset, np.zeros(count, np.uint8))
        with pytest.raises(DeviceError, match="wanted a part of 100 bytes"):
            device.download(block, offset, count)


def test_adopted_array_is_the_memory_of_the_block(device: Device, add_source: KernelSource) -> None:
    if not device.shares_memory:
        pytest.skip("host and device do not share memory")
    data = aligned(1000)
    data[:] = np.arange(1000)
    block = device.adopt(data)
    assert block is not None
    run(device, add_source, [block, block, ("int", 1000), ("float", 1.0)])
    device.synchronize()
    np.testing.assert_array_equal(data, np.arange(1000) + 1)
    assert device.pool.statistics()["adopted_bytes.all.current"] >= 4000


@pytest.mark.parametrize("shift", [0, 16])
def test_a_large_array_is_adopted_at_numpys_alignment(device: Device, add_source: KernelSource, shift: int) -> None:
    data = aligned(100_000, shift=shift)
    block = device.adopt(data)
    assert (block is not None) == device.shares_memory
    if block is not None:
        run(device, add_source, [block, block, ("int", data.size), ("float", 1.0)])
        device.synchronize()
        np.testing.assert_array_equal(data, 1)
        data[:] = 5
        run(device, add_source, [block, block, ("int", data.size), ("float", 1.0)])
        np.testing.assert_array_equal(device.download(block).view(np.float32), 6)


@pytest.mark.parametrize("shape", [(), (0, 3), (7,), (3, 5, 7)])
def test_aligned_empty(shape: tuple[int, ...]) -> None:
    for dtype in (np.float32, np.int64, np.bool_):
        array = runtime.aligned_empty(shape, dtype)
        assert array.shape == shape and array.dtype == dtype and array.flags.writeable
        assert array.size == 0 or array.ctypes.data % 64 == 0
        array[...] = 1


def test_adoption_is_refused_where_a_copy_is_needed(device: Device) -> None:
    assert device.adopt(aligned(100, shift=4)) is None
    assert device.adopt(aligned(100)[::2]) is None
    frozen = aligned(100)
    frozen.flags.writeable = False
    assert device.adopt(frozen) is None


def test_adopted_array_lives_until_the_device_is_done(
    device: Device, add_source: KernelSource, slow_source: KernelSource
) -> None:
    if not device.shares_memory:
        pytest.skip("host and device do not share memory")
    results = []
    slow = device.upload(np.zeros(1, np.float32))
    for value in range(8):
        data = aligned(50_000)
        data[:] = value
        block = device.adopt(data)
        assert block is not None
        results.append(device.pool.allocate(data.nbytes))
        run(device, slow_source, [slow, ("int", 200)], 1)
        run(device, add_source, [results[-1], block, ("int", 50_000), ("float", 0.0)])
        del block, data
        gc.collect()
        np.full(50_064, 99, np.float32)  # whoever freed the array too early gets this
    for value, result in enumerate(results):
        np.testing.assert_array_equal(device.download(result).view(np.float32), value)


def test_host_view_keeps_the_block(device: Device) -> None:
    if not device.shares_memory:
        assert device.pool.allocate(64).host(np.float32, 4) is None
        return
    view = device.upload(np.arange(100, dtype=np.int32)).host(np.int32, 10, 40)
    others = [device.upload(np.full(100, -1, np.int32)) for _ in range(50)]
    np.testing.assert_array_equal(view, np.arange(10, 20))
    assert len(others) == 50


def test_rebinding(device: Device, add_source: KernelSource) -> None:
    first, second = device.upload(np.zeros(10, np.float32)), device.upload(np.ones(10, np.float32))
    out, other = device.pool.allocate(40), device.pool.allocate(40)
    launch = device.bind(add_source, [out, first, ("int", 10), ("float", 1.0)], (10,))
    queue = device.stream.queue
    launch.enqueue(queue)
    launch.set_buffer(0, other.buffer)
    launch.set_buffer(1, second.buffer)
    launch.set_number(3, "float", 5.0)
    device.enqueue(queue, launch.kernel, launch.global_size, launch.local_size)
    np.testing.assert_array_equal(device.download(out).view(np.float32), 1)
    np.testing.assert_array_equal(device.download(other).view(np.float32), 6)


def test_sub_buffers(device: Device, add_source: KernelSource) -> None:
    step = device.target.address_alignment
    arena = device.upload(np.zeros(4 * step, np.uint8))
    ones = device.upload(np.ones(step // 4, np.float32))
    part = arena.sub(2 * step, step)
    assert arena.sub(2 * step, step) is part
    device.bind(add_source, [part, ones, ("int", step // 4), ("float", 1.0)], (4,)).enqueue(device.stream.queue)
    got = device.download(arena).view(np.float32).reshape(4, -1)
    np.testing.assert_array_equal(got, np.array([[0], [0], [2], [0]]) * np.ones((1, step // 4)))
    with pytest.raises(DeviceError, match="a part of"):
        arena.sub(step, 4 * step)
    with pytest.raises(DeviceError, match="multiple of"):
        arena.sub(4, 4)


def test_local_memory_arguments(device: Device) -> None:
    source = KernelSource(
        "test_local",
        """__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void KERNEL(__global int *a, __local int *t, int n) {
  for (int i = 0; i < n; ++i) t[i] = i * i;
  for (int i = 0; i < n; ++i) a[i] = t[n - 1 - i];
}
""",
    )
    for argument in (4096, Local(4096)):
        out = device.upload(np.zeros(1024, np.int32))
        device.bind(source, [out, argument, ("int", 1024)], (1,)).enqueue(device.stream.queue)
        np.testing.assert_array_equal(device.download(out).view(np.int32), (np.arange(1024) ** 2)[::-1])


def test_every_scalar_type_arrives(device: Device) -> None:
    values = [
        ("char", "i1", -100), ("uchar", "u1", 200), ("short", "i2", -30000), ("ushort", "u2", 60000),
        ("int", "i4", -(2**31)), ("uint", "u4", 2**32 - 1), ("long", "i8", -(2**63)), ("ulong", "u8", 2**64 - 1),
        ("float", "f4", 1.5),
    ]  # fmt: skip
    for ctype, dtype, value in values:
        source = KernelSource(
            "test_scalar",
            "__kernel __attribute__((reqd_work_group_size(1, 1, 1)))\n"
            f"void KERNEL(__global {ctype} *a, {ctype} x) {{ a[0] = x; }}\n",
        )
        out = device.upload(np.zeros(8, np.uint8))
        device.bind(source, [out, (ctype, value)], (1,)).enqueue(device.stream.queue)
        assert device.download(out).view(dtype)[0] == value


def test_numbers_that_do_not_fit() -> None:
    assert np.frombuffer(pack_number("float", 1e300), np.float32)[0] == np.inf
    assert np.frombuffer(pack_number("float", -1e300), np.float32)[0] == -np.inf
    assert np.isnan(np.frombuffer(pack_number("float", float("nan")), np.float32)[0])
    with pytest.raises(ValueError, match="int: got 2147483648"):
        pack_number("int", 2**31)
    with pytest.raises(ValueError, match="uint"):
        pack_number("uint", -1)
    with pytest.raises(ValueError, match="one of char"):
        pack_number("quad", 1)


def test_a_wrong_argument_is_named(device: Device, add_source: KernelSource) -> None:
    with pytest.raises(DeviceError, match=r"bind test_add_\w+: argument 1: got 'x'"):
        device.bind(add_source, [device.pool.allocate(4), "x", ("int", 1), ("float", 1.0)])


def test_build_error_shows_log_and_lines(device: Device, add_source: KernelSource) -> None:
    broken = KernelSource("test_broken", "__kernel void KERNEL(__global float *a) {\n  a[0] = no_such_name;\n}\n")
    with pytest.raises(BuildError) as caught:
        device.build([add_source, broken])
    text = str(caught.value)
    assert broken.name in text and "no_such_name" in text and device.name in text
    assert "> " in text and "a[0] = no_such_name;" in text
    device.build([add_source])  # the good one still builds


def test_one_build_for_all(device: Device) -> None:
    sources = [
        KernelSource(f"test_many{i}", f"__kernel void KERNEL(__global int *a) {{ a[get_global_id(0)] = {i}; }}\n")
        for i in range(7)
    ]
    programs = device.programs
    before = programs.builds + programs.loads
    handles = device.build(sources)
    assert programs.builds + programs.loads == before + 1
    assert list(handles) == [source.name for source in sources]
    device.build(sources)
    assert programs.builds + programs.loads == before + 1
    outs = [device.upload(np.zeros(1, np.int32)) for _ in sources]
    for source, out in zip(sources, outs, strict=True):
        device.bind(source, [out]).enqueue(device.stream.queue)
    assert [int(device.download(out).view(np.int32)[0]) for out in outs] == list(range(7))


def test_a_drivers_refusal_becomes_a_device_error(device: Device, add_source: KernelSource) -> None:
    launch = device.bind(add_source, [None, None, ("int", 1), ("float", 0.0)], (1,))
    launch.global_size = (0, 0, 0, 0, 0)
    with pytest.raises(Exception, match="(?i)invalid|dimension") as caught:
        launch.enqueue(device.stream.queue)
    fault = device.fault(caught.value, "running conv2d")
    assert isinstance(fault, DeviceError) and "running conv2d" in str(fault) and device.name in str(fault)
    other = KeyError("x")
    assert device.fault(other, "nothing") is other


# ---- streams


def test_streams_order_their_edges(device: Device, add_source: KernelSource, slow_source: KernelSource) -> None:
    first, second = device.new_stream(), device.new_stream()
    value = device.upload(np.zeros(1, np.float32), first)
    rounds = ("int", 100)
    for _ in range(10):  # value -> +1 on first -> +1 on second -> ...
        run(device, slow_source, [value, rounds], 1, first)
        second.wait_stream(first)
        run(device, slow_source, [value, rounds], 1, second)
        first.wait_event(second.record_event())
    first.synchronize()
    assert device.download(value, stream=first).view(np.float32)[0] == 20


def test_events(device: Device, slow_source: KernelSource) -> None:
    stream = device.new_stream()
    event = Event()
    assert event.query()
    event.synchronize()
    event.wait(stream)
    value = device.upload(np.zeros(1, np.float32), stream)
    run(device, slow_source, [value, ("int", 3000)], 1, stream)
    event.record(stream)
    event.synchronize()
    assert event.query()
    limit = time.monotonic() + 10
    while not stream.query():
        assert time.monotonic() < limit
    assert device.download(value, stream=stream).view(np.float32)[0] == 1


def test_synchronize_waits(device: Device, slow_source: KernelSource) -> None:
    value = device.upload(np.zeros(1, np.float32))
    launch = device.bind(slow_source, [value, ("int", 20_000)], (1,))
    for count in range(1, 4):
        launch.enqueue(device.stream.queue)
        device.stream.queue.flush()  # rusticl forgets about work that was flushed
        device.synchronize()
        if device.shares_memory:
            assert value.host(np.float32, 1)[0] == count


def test_elapsed_time(device: Device, slow_source: KernelSource) -> None:
    stream = device.new_stream()
    value = device.upload(np.zeros(1, np.float32), stream)
    run(device, slow_source, [value, ("int", 1)], 1, stream)  # compiles
    stream.synchronize()
    start, end = Event(enable_timing=True), Event(enable_timing=True)
    start.record(stream)
    run(device, slow_source, [value, ("int", 30_000)], 1, stream)
    end.record(stream)
    end.synchronize()
    elapsed = start.elapsed_time(end)
    assert elapsed >= 0
    if device.quirks.trusted_clock:
        assert 0.5 < elapsed < 20_000  # 30 million steps
    with pytest.raises(RuntimeError, match="without timing"):
        start.elapsed_time(Event())
    with pytest.raises(RuntimeError, match="never recorded"):
        start.elapsed_time(Event(enable_timing=True))


def test_current_stream_is_per_thread(device: Device) -> None:
    stream, inner = device.new_stream(), device.new_stream()
    seen = []
    with stream:
        assert device.stream is stream
        with inner:
            assert device.stream is inner
        assert device.stream is stream
        thread = threading.Thread(target=lambda: seen.append(device.stream))
        thread.start()
        thread.join()
    assert device.stream is device.default_stream and seen == [device.default_stream]


def test_threads_may_build_allocate_and_run(device: Device, add_source: KernelSource) -> None:
    faults: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            with device.new_stream():
                for step in range(15):
                    data = np.full(1000 + 100 * seed, seed * 100 + step, np.float32)
                    block, out = device.upload(data), device.pool.allocate(data.nbytes)
                    run(device, add_source, [out, block, ("int", data.size), ("float", 1.0)])
                    np.testing.assert_array_equal(device.download(out).view(np.float32), data + 1)
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults


# ---- names and facts


def test_specs() -> None:
    for index, device in enumerate(runtime.devices()):
        assert runtime.get_device(index) is device and device.spec == f"cl:{index}"
        assert runtime.get_device(device.spec) is device
        assert runtime.get_device(f"cuda:{index}") is device
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(device)


def test_aliases_name_the_best() -> None:
    best = runtime.devices()[0]
    for spec in ("cl", "cl:0", "cuda", "cuda:0", "xpu", "mps", 0):
        assert runtime.get_device(spec) is best
    with pytest.raises(RuntimeError, match="got 'tpu', wanted 'cl'"):
        runtime.get_device("tpu")
    with pytest.raises(DeviceError, match="only cl:0"):
        runtime.get_device("cl:99")


def test_cpu_is_a_cpu_device() -> None:
    if not any(each.type == "cpu" for each in runtime.devices()):
        pytest.skip("no CPU device")
    assert runtime.get_device("cpu").type == "cpu"


def test_target_is_plausible(device: Device) -> None:
    target = device.target
    assert target.kind == device.type and target.vendor == target.vendor.lower()
    if device.type == "cpu":
        assert target.vector_width in (4, 8, 16)
    assert target.local_memory >= 16384 and target.max_work_group >= 64 and target.compute_units >= 1
    assert target.address_alignment >= 64 and target.max_allocation > 1 << 20


def test_vector_width_does_not_believe_everything() -> None:
    amd = frozenset({"avx", "avx2"})
    wide = amd | {"avx512f"}
    assert vector_width("cpu", 16, amd) == 8
    assert vector_width("cpu", 16, wide) == 16
    assert vector_width("cpu", 8, wide) == 8
    assert vector_width("cpu", 1, wide) == 16
    assert vector_width("cpu", 4, frozenset({"asimd"})) == 4
    assert vector_width("gpu", 1, wide) == 1


def test_vendor_and_version() -> None:
    assert vendor_of("Portable Computing Language") == "pocl"
    assert vendor_of("NVIDIA CUDA") == "nvidia"
    assert vendor_of("AMD Accelerated Parallel Processing") == "amd"
    assert vendor_of("Some New Thing") == "some"
    assert version_of("3.1+debian") > version_of("3.0-rc2")
