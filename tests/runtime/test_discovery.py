"""Finding drivers without root and environment; the error where there are none; laziness; forks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cltorch import runtime
from cltorch.runtime import discovery

ROOT = str(Path(runtime.__file__).resolve().parents[2])


def bare(tmp_path: Path, code: str, **environment: str) -> subprocess.CompletedProcess:
    """Run `code` as `env -i python` would."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ROOT, "CLTORCH_CACHE_DIR": str(tmp_path / "cache"), "HOME": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


LIST = "from cltorch import runtime; print([d.target.vendor for d in runtime.devices()])"


def test_pip_runtimes_are_found_without_environment(tmp_path: Path) -> None:
    found = bare(tmp_path, LIST)
    assert found.returncode == 0, found.stderr
    if discovery._intel_library() is not None:
        assert found.stdout.startswith("['intel'")
    second = bare(tmp_path, LIST)  # the folder is there already
    assert second.stdout == found.stdout


def test_a_read_only_cache_does_not_hide_drivers(tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("")
    found = bare(tmp_path, LIST, CLTORCH_CACHE_DIR=str(blocked))
    assert found.stdout == bare(tmp_path, LIST).stdout


def test_no_device_is_one_clear_paragraph(tmp_path: Path) -> None:
    empty = tmp_path / "vendors"
    empty.mkdir()
    lone = tmp_path / "nothing.icd"
    lone.write_text("/nowhere/libnothing.so\n")
    code = (
        "from cltorch import runtime\nassert runtime.devices() == []\n"
        "try:\n    runtime.get_device()\nexcept runtime.DeviceError as error:\n    print(error)\n"
    )
    told = bare(tmp_path, code, OCL_ICD_VENDORS=str(lone))
    assert told.returncode == 0, told.stderr
    for part in ("No OpenCL device was found", "OCL_ICD_VENDORS", "pip install", "pocl-binary-distribution"):
        assert part in told.stdout
    assert "\n" not in told.stdout.strip()


def test_the_users_choice_of_drivers_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCL_ICD_VENDORS", "/somewhere")
    assert discovery.bootstrap() is None and os.environ["OCL_ICD_VENDORS"] == "/somewhere"


def test_bootstrap_keeps_system_drivers_and_drops_dangling_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "libintelocl.so"
    library.write_text("")
    vendors = tmp_path / "vendors"
    vendors.mkdir()
    (vendors / "pocl.icd").write_text("libpocl.so.2\n")
    (vendors / "gone.icd").write_text("/nowhere/libgone.so\n")
    (vendors / "blank.icd").write_text("")
    monkeypatch.delenv("OCL_ICD_VENDORS", raising=False)
    monkeypatch.setenv("CLTORCH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(discovery, "_intel_library", lambda: library)
    folder = discovery.bootstrap(vendors)
    assert folder is not None and os.environ.pop("OCL_ICD_VENDORS") == str(folder)
    assert {path.name: path.read_text().strip() for path in folder.iterdir()} == {
        "pocl.icd": "libpocl.so.2",
        "cltorch-intel.icd": str(library),
    }
    (vendors / "intel.icd").write_text(f"{library}\n")  # the system knows it: nothing to do
    assert discovery.bootstrap(vendors) is None


def test_the_intel_wheel_is_found_by_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "data" / "lib" / "libintelocl.so"
    library.parent.mkdir(parents=True)
    library.write_text("")
    packages = tmp_path / "packages"
    (packages / "intel_opencl_rt-2026.2.dist-info").mkdir(parents=True)
    record = packages / "intel_opencl_rt-2026.2.dist-info" / "RECORD"
    record.write_text("../data/lib/libother.so,,\n../data/lib/libintelocl.so,sha256=x,1\n")
    for name in ("prefix", "base_prefix"):
        monkeypatch.setattr(sys, name, str(tmp_path / "nowhere"))
    monkeypatch.setattr(discovery.site, "USER_BASE", None)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "absent"), str(packages)])
    assert discovery._intel_library() == library
    library.unlink()
    assert discovery._intel_library() is None


def test_ranking() -> None:
    rank = discovery.rank
    order = [
        rank("gpu", "nvidia", (1,), False, 80 << 30),
        rank("gpu", "amd", (1,), False, 16 << 30),
        rank("gpu", "intel", (1,), True, 32 << 30),
        rank("cpu", "intel", (2026,), True, 1),
        rank("cpu", "pocl", (3, 1), True, 1),
        rank("cpu", "pocl", (3, 0), True, 1),
        rank("cpu", "rusticl", (22, 3, 6), True, 1),
        rank("cpu", "oclgrind", (21, 10), True, 1),
        rank("cpu", "somebody", (1,), True, 1),
    ]
    assert order == sorted(order)


def test_importing_touches_no_opencl(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom cltorch import runtime\n"
        "from cltorch.runtime import Stream, Event, Pool, NullDevice\n"
        "device = runtime.get_device('null')\ndevice.pool.allocate(10)\n"
        "assert 'pyopencl' not in sys.modules\nprint('ok')"
    )
    assert bare(tmp_path, code).stdout == "ok\n"


FORK = """
import gc, os, sys
import numpy as np
from cltorch import runtime
device = runtime.get_device()
block = device.upload(np.arange(4, dtype=np.float32))
device.stream.synchronize()
view = block.host(np.float32, 4)
child = os.fork()
if child == 0:
    try:
        del block
        gc.collect()
        try:
            runtime.get_device()
            os._exit(3)
        except runtime.DeviceError as error:
            assert "forked" in str(error), error
        for use in (lambda: device.pool.allocate(16), lambda: device.upload(np.zeros(4)), device.stream.marker):
            try:
                use()
                os._exit(4)
            except runtime.DeviceError as error:
                assert "forked" in str(error), error
        if view is not None:
            view[:] = -1  # private to the child
        runtime.get_device("null").pool.allocate(10)
    except BaseException as error:
        print(repr(error), file=sys.stderr)
        os._exit(2)
    END
_, status = os.waitpid(child, 0)
assert status == 0, status
assert device.download(block).view(np.float32).tolist() == [0, 1, 2, 3]
print("ok")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("end", ["os._exit(0)", "sys.exit(0)"])
def test_a_forked_child_neither_uses_nor_frees_devices(tmp_path: Path, end: str) -> None:
    done = bare(tmp_path, FORK.replace("END", end))
    assert done.stdout == "ok\n", done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_forked_before_the_first_device_may_use_it(tmp_path: Path) -> None:
    code = (
        "import os\nimport numpy as np\nfrom cltorch import runtime\nruntime.get_device('null')\nchild = os.fork()\n"
        "d = runtime.get_device()\nassert d.download(d.upload(np.ones(2, np.uint8))).tolist() == [1, 1]\n"
        "if child == 0:\n    os._exit(0)\nassert os.waitpid(child, 0)[1] == 0\nprint('ok')"
    )
    done = bare(tmp_path, code)
    assert done.stdout == "ok\n", done.stderr


def test_interpreter_exit_is_quiet(tmp_path: Path) -> None:
    code = (
        "import numpy as np\nfrom cltorch import runtime\nd = runtime.get_device()\n"
        "kept = [d.upload(np.ones(100)) for _ in range(10)]\nview = kept[0].host(np.float64, 100)\nprint('ok')"
    )
    done = bare(tmp_path, code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


def test_pyopencl_kernels_of_others_still_work(tmp_path: Path) -> None:
    """The short cut for kernel objects must not touch those that a user of pyopencl makes."""
    code = (
        "import numpy as np\nfrom cltorch import runtime\nd = runtime.get_device()\nimport pyopencl as cl\n"
        "q = cl.CommandQueue(d.context)\n"
        "p = cl.Program(d.context, '__kernel void f(__global int *a) { a[0] = 5; }').build()\n"
        "a = np.zeros(1, np.int32)\n"
        "b = cl.Buffer(d.context, cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR, hostbuf=a)\n"
        "cl.Kernel(p, 'f')(q, (1,), None, b)\ncl.enqueue_copy(q, a, b)\nprint(a[0])"
    )
    done = bare(tmp_path, code)
    assert done.stdout == "5\n", done.stderr
