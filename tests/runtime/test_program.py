"""The cache of programs on disk: right after every kind of damage, safe between processes, bounded, optional."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cltorch.codegen.source import KernelSource
from cltorch.config import settings
from cltorch.runtime.device import Device
from cltorch.runtime.launch import BoundLaunch
from cltorch.runtime.program import ProgramCache, _Disk, _pack, _unpack


def source(number: int) -> KernelSource:
    return KernelSource(
        "test_cache",
        "__kernel __attribute__((reqd_work_group_size(1, 1, 1)))\n"
        f"void KERNEL(__global int *a) {{ a[0] = {number}; }}\n",
    )


def value_of(device: Device, programs: ProgramCache, kernel: KernelSource) -> int:
    handle = programs.get([kernel])[kernel.name]
    out = device.upload(np.zeros(1, np.int32))
    BoundLaunch(handle, [out], (1,), (1,)).enqueue(device.stream.queue)
    return int(device.download(out).view(np.int32)[0])


def files(folder: Path, suffix: str) -> list[Path]:
    return sorted(folder.glob(f"*/*{suffix}"))


def test_second_process_loads(device: Device, tmp_path: Path) -> None:
    kernels = [source(11), source(12)]
    first = ProgramCache(device, tmp_path)
    first.get(kernels)
    assert (first.builds, first.loads) == (1, 0)
    second = ProgramCache(device, tmp_path)
    assert value_of(device, second, kernels[1]) == 12
    assert (second.builds, second.loads) == (0, 1)
    assert value_of(device, second, kernels[0]) == 11  # came with it
    assert (second.builds, second.loads) == (0, 1)


def test_a_new_kernel_beside_cached_ones(device: Device, tmp_path: Path) -> None:
    ProgramCache(device, tmp_path).get([source(1), source(2)])
    again = ProgramCache(device, tmp_path)
    again.get([source(1), source(2), source(3)])
    assert (again.builds, again.loads) == (1, 1)
    assert [value_of(device, again, source(number)) for number in (1, 2, 3)] == [1, 2, 3]


DAMAGE = {
    "empty": lambda data: b"",
    "truncated": lambda data: data[: len(data) // 2],
    "one byte": lambda data: data[:-20] + bytes([data[-20] ^ 1]) + data[-19:],
    "header": lambda data: b"X" + data[1:],
    "garbage": lambda data: os.urandom(len(data)),
}


@pytest.mark.parametrize("damage", DAMAGE, ids=str)
def test_damaged_entries_are_rebuilt(device: Device, tmp_path: Path, damage: str) -> None:
    kernel = source(21)
    ProgramCache(device, tmp_path).get([kernel])
    (entry,) = files(tmp_path, ".bin")
    whole = entry.read_bytes()
    entry.write_bytes(DAMAGE[damage](whole))
    again = ProgramCache(device, tmp_path)
    assert value_of(device, again, kernel) == 21
    assert (again.builds, again.loads) == (1, 0)
    last = ProgramCache(device, tmp_path)
    assert value_of(device, last, kernel) == 21
    assert (last.builds, last.loads) == (0, 1)  # the entry was repaired


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b"../../etc/passwd", b"0" * 32])
def test_damaged_references_are_rebuilt(device: Device, tmp_path: Path, text: bytes) -> None:
    kernel = source(22)
    ProgramCache(device, tmp_path).get([kernel])
    (reference,) = files(tmp_path, ".ref")
    reference.write_bytes(text)
    again = ProgramCache(device, tmp_path)
    assert value_of(device, again, kernel) == 22
    assert again.builds == 1


def test_an_entry_that_the_driver_refuses_is_rebuilt(device: Device, tmp_path: Path) -> None:
    """The checksum agrees, the driver does not: here a text that does not compile."""
    kernel = source(23)
    ProgramCache(device, tmp_path).get([kernel])
    (entry,) = files(tmp_path, ".bin")
    entry.write_bytes(_pack([kernel.name], b"S" + b"this is no OpenCL C"))
    again = ProgramCache(device, tmp_path)
    assert value_of(device, again, kernel) == 23
    assert again.builds == 1


def test_an_unusable_folder_means_no_cache(device: Device, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    programs = ProgramCache(device, blocked)
    assert value_of(device, programs, source(31)) == 31
    assert programs.builds == 1


def test_a_full_disk_means_no_cache(device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    programs = ProgramCache(device, tmp_path)
    assert value_of(device, programs, source(32)) == 32
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []  # nothing half-written stays


def test_no_cache_where_the_limit_is_zero(device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "cache_limit", 0)
    programs = ProgramCache(device, tmp_path)
    assert value_of(device, programs, source(33)) == 33
    assert list(tmp_path.iterdir()) == []


def test_size_is_bounded_and_the_oldest_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "cache_limit", 1)
    disk = _Disk(tmp_path, "k")
    for number in range(12):
        disk.store([f"kernel{number}"], b"B" + os.urandom(120_000))
        for path in disk.folder.glob("*"):
            os.utime(path, (path.stat().st_atime - 100, path.stat().st_mtime - 100))
    total = sum(path.stat().st_size for path in disk.folder.iterdir())
    assert total <= 1 << 20
    assert disk.load("kernel11") is not None and disk.load("kernel0") is None


def test_packing() -> None:
    data = _pack(["a", "b"], b"payload")
    assert _unpack(data) == (["a", "b"], b"payload")
    for place in range(len(data)):
        assert _unpack(data[:place]) is None
        assert _unpack(data[:place] + bytes([data[place] ^ 0x80]) + data[place + 1 :]) is None


def test_another_driver_version_is_another_folder(
    device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = source(41)
    ProgramCache(device, tmp_path).get([kernel])
    identity = (*device.identity()[:-1], "another processor")
    monkeypatch.setattr(device, "identity", lambda: identity)
    again = ProgramCache(device, tmp_path)
    again.get([kernel])
    assert (again.builds, again.loads) == (1, 0)


CHILD = """
import sys
import numpy as np
from cltorch import runtime
from cltorch.codegen.source import KernelSource
device = runtime.get_device(int(sys.argv[1]))
for number in range(6):
    kernel = KernelSource("test_two", f"__kernel void KERNEL(__global int *a) {{ a[0] = {number}; }}\\n")
    out = device.upload(np.zeros(1, np.int32))
    device.bind(kernel, [out]).enqueue(device.stream.queue)
    assert device.download(out).view(np.int32)[0] == number
print("right", device.programs.builds, device.programs.loads)
"""


def test_two_processes_at_once(device: Device, tmp_path: Path) -> None:
    environment = {**os.environ, "CLTORCH_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", CHILD, str(device.index)]
    children = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for child in children:
        out, err = child.communicate(timeout=60)
        assert out.startswith("right"), err
    out = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60).stdout
    assert out.startswith("right 0 6")
    assert not list(tmp_path.rglob(".tmp-*"))
