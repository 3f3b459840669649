"""The device that runs nothing has the interface of those that do."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from cltorch import runtime
from cltorch.codegen.source import KernelSource, Local
from cltorch.errors import DeviceError
from cltorch.runtime import Event, NullDevice
from cltorch.runtime.device import Device
from cltorch.target import Target


def test_launches_are_counted_and_reads_are_zero() -> None:
    device = NullDevice()
    source = KernelSource("test_null", "this is not OpenCL C, and nobody looks: KERNEL\n")
    block = device.upload(np.ones(10, np.float32))
    launch = device.bind(source, [block, block.sub(0, 40), ("int", 3), Local(100), 100], (64,))
    launch.enqueue(device.stream.queue)
    device.enqueue(device.stream.queue, launch.kernel, launch.global_size, launch.local_size)
    assert device.stream.queue.launches == 2
    assert launch.kernel.arguments[2] == (3).to_bytes(4, "little")
    assert device.built[source.name].text == source.text
    assert device.download(block).tolist() == [0] * 40
    device.write(block, 0, np.ones(10, np.float32))
    assert block.host(np.float32, 10) is None and device.adopt(np.ones(10)) is None


def test_streams_and_events() -> None:
    device = NullDevice()
    stream, event = device.new_stream(), Event(enable_timing=True)
    event.record(stream)
    with stream:
        assert device.stream is stream
    device.default_stream.wait_stream(stream)
    device.default_stream.wait_event(event)
    event.synchronize()
    device.synchronize()
    assert event.query() and stream.query()


def test_any_target() -> None:
    assert NullDevice(Target(kind="gpu", vendor="nvidia")).target.kind == "gpu"
    assert NullDevice().type == "null" and runtime.get_device("null") is runtime.get_device("null")


def test_transfers_are_checked() -> None:
    device = NullDevice()
    block = device.pool.allocate(8)
    with pytest.raises(DeviceError, match="a part of 8 bytes"):
        device.write(block, 4, np.zeros(8, np.uint8))
    with pytest.raises(DeviceError, match="a part of 8 bytes"):
        device.download(block, 0, 9)


def test_signatures_agree() -> None:
    for name, method in vars(NullDevice).items():
        real = vars(Device).get(name)
        if inspect.isfunction(method) and inspect.isfunction(real) and name != "__init__":
            assert list(inspect.signature(method).parameters) == list(inspect.signature(real).parameters), name
