"""Faults around the program cache, through the public API: whatever happened to the disk or to another process, the
result is right, and the next process has a working cache again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = """
import sys
import numpy as np
import cltorch as torch
import cltorch.nn.functional as F
rng = np.random.default_rng(0)
a, b = rng.normal(size=(9, 7)).astype(np.float32), rng.normal(size=(7, 5)).astype(np.float32)
x, y = torch.tensor(a, requires_grad=True), torch.tensor(b)
out = F.softmax(x @ y, 1)
out[:, 0].sum().backward()
e = np.exp(a.astype(np.float64) @ b)
p = e / e.sum(1, keepdims=True)
np.testing.assert_allclose(out.detach().numpy(), p, rtol=1e-4, atol=1e-6)
slope = -p * p[:, :1]
slope[:, 0] += p[:, 0]
np.testing.assert_allclose(x.grad.numpy(), slope @ b.T, rtol=1e-3, atol=1e-5)
programs = torch.runtime.get_device(None).programs
print("right", programs.builds, programs.loads)
"""


def start(cache: Path | str, program: str = PROGRAM, **environment: str) -> subprocess.Popen:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    given = {**os.environ, "PYTHONPATH": path, "CLTORCH_CACHE_DIR": str(cache), **environment}
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program],
        env=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def result(child: subprocess.Popen) -> tuple[int, int]:
    """(builds, loads) of a child that got the right numbers and said nothing else."""
    out, err = child.communicate(timeout=120)
    assert child.returncode == 0 and out.startswith("right "), out + err
    assert "Traceback" not in err, err
    builds, loads = out.split()[1:]
    return int(builds), int(loads)


def entries(cache: Path, suffix: str) -> list[Path]:
    return sorted((cache / "programs").glob(f"*/*{suffix}"))


def test_second_process_builds_nothing(tmp_path: Path) -> None:
    builds, _ = result(start(tmp_path))
    assert builds > 0 and entries(tmp_path, ".bin")
    assert result(start(tmp_path))[0] == 0


@pytest.mark.parametrize("damage", ["empty", "truncated", "flipped", "swapped"])
def test_corrupted_entries(tmp_path: Path, damage: str) -> None:
    result(start(tmp_path))
    files = entries(tmp_path, ".bin")
    whole = [path.read_bytes() for path in files]
    for path, data in zip(files, whole):
        if damage == "empty":
            path.write_bytes(b"")
        elif damage == "truncated":
            path.write_bytes(data[: len(data) * 2 // 3])
        elif damage == "flipped":
            middle = len(data) // 2
            path.write_bytes(data[:middle] + bytes([data[middle] ^ 0x40]) + data[middle + 1 :])
        else:  # the reference of one kernel leads to another program
            path.write_bytes(whole[files.index(path) - 1])
    if damage == "swapped":
        references = entries(tmp_path, ".ref")
        texts = [path.read_bytes() for path in references]
        for path, data in zip(references, texts[1:] + texts[:1]):
            path.write_bytes(data)
    result(start(tmp_path))
    assert result(start(tmp_path))[0] == 0, "the cache was not repaired"


def test_all_files_are_noise(tmp_path: Path) -> None:
    result(start(tmp_path))
    for path in (tmp_path / "programs").rglob("*"):
        if path.is_file():
            path.write_bytes(os.urandom(200))
    assert result(start(tmp_path))[0] > 0


FULL = """
import os, tempfile
from cltorch.runtime import program
def full(*arguments, **named):
    raise OSError(28, "No space left on device")
{what}
"""


@pytest.mark.parametrize("what", ["tempfile.mkstemp = full", "os.replace = full", "os.fdopen = full"])
def test_full_disk(tmp_path: Path, what: str) -> None:
    assert result(start(tmp_path, FULL.format(what=what) + PROGRAM))[0] > 0
    assert not entries(tmp_path, ".bin")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_cache_folder_that_cannot_be_made(tmp_path: Path) -> None:
    for place in ("/dev/full", "/proc/no/such/place"):
        assert result(start(place))[0] > 0
    blocked = tmp_path / "programs"
    blocked.write_text("a file where the folder should be")
    assert result(start(tmp_path))[0] > 0 and blocked.is_file()


def test_folder_without_permission(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere; test_cache_folder_that_cannot_be_made covers the path")
    tmp_path.chmod(0o500)
    try:
        assert result(start(tmp_path))[0] > 0
    finally:
        tmp_path.chmod(0o700)


def test_three_processes_at_once(tmp_path: Path) -> None:
    children = [start(tmp_path) for _ in range(3)]
    assert all(sum(result(child)) > 0 for child in children)
    assert result(start(tmp_path))[0] == 0
    assert not list(tmp_path.rglob(".tmp-*"))


KILLED = """
import os, signal
from cltorch.runtime import program
write = os.fdopen
class Half:
    def __init__(self, file): self.file = file
    def __enter__(self): return self
    def __exit__(self, *_): self.file.close()
    def write(self, data):
        self.file.write(data[: len(data) // 2])
        self.file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
class Seam:
    def __getattr__(self, name):
        return (lambda *a, **k: Half(write(*a, **k))) if name == "fdopen" else getattr(os, name)
program.os = Seam()
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_killed_while_writing(tmp_path: Path) -> None:
    child = start(tmp_path, KILLED + PROGRAM)
    child.communicate(timeout=120)
    assert child.returncode == -signal.SIGKILL
    assert list(tmp_path.rglob(".tmp-*")), "it was killed before it wrote"
    assert not entries(tmp_path, ".bin")
    assert result(start(tmp_path))[0] > 0
    assert result(start(tmp_path))[0] == 0


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_killed_at_any_time(tmp_path: Path) -> None:
    for wait in (0.4, 0.9, 1.5):
        child = start(tmp_path)
        time.sleep(wait)
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        child.communicate(timeout=60)
    result(start(tmp_path))
    assert result(start(tmp_path))[0] == 0
