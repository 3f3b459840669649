"""Runs a `Lowered` with plain pyopencl: no engine, no pool, no planner between a kernel's text and its test.

Outputs are poisoned before the run, every buffer stands between guard bytes that are checked after it, and scratch
memory is
poisoned too. `CLTORCH_TEST_DEVICES` (a comma list of intel, pocl30, pocl31, rusticl, oclgrind) says which devices
tests use.

    device = runner.device("intel")
    (out,) = runner.run(lower_pointwise(body, runner.target(device)), [a, b], [out_layout], scalars=[0.5],
    device=device)
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tempfile
import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from cltorch.codegen.source import Input, Local, Lowered, Output, Scalar, Scratch, Value
from cltorch.runtime.program import program_text
from cltorch.shapes import Layout
from cltorch.target import Target

_WANTED = os.environ.get("CLTORCH_TEST_DEVICES", "intel,pocl31,pocl30").split(",")
_OCLGRIND_LOG = Path(tempfile.gettempdir()) / f"oclgrind_{os.getpid()}.log"
GUARD = 1024
POISON = 0xC5


def _register_drivers() -> None:
    """Point the ICD loader at a folder with the system's drivers, pip Intel and, if asked for, oclgrind."""
    os.environ.setdefault("PYOPENCL_CACHE_FAILURE_FATAL", "")
    os.environ.setdefault("PYOPENCL_NO_CACHE", "1")
    if "rusticl" in _WANTED:
        os.environ.setdefault("RUSTICL_ENABLE", "llvmpipe")
    if "OCL_ICD_VENDORS" in os.environ or "OPENCL_VENDOR_PATH" in os.environ:
        return
    folder = Path(tempfile.mkdtemp(prefix="icd_"))
    for icd in Path("/etc/OpenCL/vendors").glob("*.icd"):
        library = icd.read_text().split("\n")[0].strip()
        if not library.startswith("/") or Path(library).exists():
            shutil.copy(icd, folder)
    for root in {sys.prefix, sys.base_prefix, sysconfig.get_path("data")}:
        intel = Path(root) / "lib" / "libintelocl.so"
        if intel.exists():
            (folder / "pip_intel.icd").write_text(f"{intel}\n")
    oclgrind = Path("/usr/lib/oclgrind/liboclgrind-rt-icd.so")
    if "oclgrind" in _WANTED and oclgrind.exists():
        os.environ.setdefault("OCLGRIND_LOG", str(_OCLGRIND_LOG))
        (folder / "oclgrind.icd").write_text(f"{oclgrind}\n")
    os.environ["OCL_ICD_VENDORS"] = str(folder)


_register_drivers()
import pyopencl as cl  # noqa: E402  the loader reads its variables at the first call


def _vendor(platform: cl.Platform) -> str:
    name = platform.name.lower()
    if "portable" in name:
        return "pocl30" if "PoCL 3.0" in platform.version else "pocl31"
    return next((known for known in ("rusticl", "oclgrind", "intel", "nvidia", "amd") if known in name), name)


class RawDevice:
    """A device with its context, one in-order queue and the kernels built so far."""

    def __init__(self, name: str, device: cl.Device):
        self.name, self.device = name, device
        self.context = cl.Context([device])
        self.queue = cl.CommandQueue(self.context, properties=cl.command_queue_properties.PROFILING_ENABLE)
        self.kernels: dict[str, cl.Kernel] = {}
        self.programs: list[cl.Program] = []

    def __repr__(self) -> str:
        return self.name

    def build(self, lowered: Lowered) -> None:
        """Build every kernel of `lowered` not built yet, in one program."""
        fresh = list({x.source.name: x.source for x in lowered.launches if x.source.name not in self.kernels}.values())
        if fresh:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", cl.CompilerWarning)  # Intel's compiler reports that it started
                program = cl.Program(self.context, program_text(fresh)).build("-cl-std=CL1.2 -cl-mad-enable")
            self.programs.append(program)
            for source in fresh:
                self.kernels[source.name] = cl.Kernel(program, source.name)


@cache
def _all_devices() -> dict[str, RawDevice]:
    found: dict[str, RawDevice] = {}
    for platform in cl.get_platforms():
        name = _vendor(platform)
        if name in _WANTED and name not in found:
            for device in platform.get_devices()[:1]:
                found[name] = RawDevice(name, device)
    for name in _WANTED:
        if name not in found:
            print(f"runner: device {name} was asked for and is not there", file=sys.stderr)
    return found


def devices() -> list[RawDevice]:
    """The devices asked for that exist, in the order asked."""
    return [_all_devices()[name] for name in _WANTED if name in _all_devices()]


def device(name: str) -> RawDevice:
    """The device called `name`: intel, pocl30, pocl31, rusticl, oclgrind."""
    return _all_devices()[name]


@cache
def target(raw: RawDevice, kind: str = "cpu") -> Target:
    """The Target of a device; `kind='gpu'` asks for the cooperative kernel forms, which run on CPU devices as well."""
    d = raw.device
    width = d.native_vector_width_float
    made = Target(
        kind="cpu",
        vendor=raw.name.rstrip("013") if raw.name.startswith("pocl") else raw.name,
        name=d.name.strip(),
        driver=d.driver_version,
        compute_units=min(d.max_compute_units, 16),
        vector_width=width if width in (4, 8, 16) else 8,
        local_memory=d.local_mem_size,
        max_work_group=d.max_work_group_size,
        fp64=bool(d.double_fp_config),
        max_parameter_bytes=d.max_parameter_size,
        loop_limit=65535 if raw.name == "rusticl" else 0,
    )
    return made if kind == "cpu" else replace(made, kind="gpu", local_memory=min(made.local_memory, 32768))


_NUMPY = {
    "float": np.float32,
    "double": np.float64,
    "int": np.int32,
    "uint": np.uint32,
    "long": np.int64,
    "ulong": np.uint64,
    "char": np.int8,
    "uchar": np.uint8,
    "short": np.int16,
    "ushort": np.uint16,
}


class _Guarded:
    """A buffer of `nbytes` between two stretches of guard bytes (on oclgrind exactly nbytes: it sees every access
    itself)."""

    def __init__(self, raw: RawDevice, nbytes: int, content: np.ndarray | None):
        self.raw, self.nbytes, self.guard = raw, nbytes, 0 if raw.name == "oclgrind" else GUARD
        self.image = np.full(max(nbytes, 1) + 2 * self.guard, POISON, np.uint8)
        if content is not None:
            self.image[self.guard : self.guard + nbytes] = np.ascontiguousarray(content).reshape(-1).view(np.uint8)
        flags = cl.mem_flags
        self.whole = cl.Buffer(raw.context, flags.READ_WRITE | flags.COPY_HOST_PTR, hostbuf=self.image)
        self.buffer = self.whole.get_sub_region(self.guard, max(nbytes, 1)) if self.guard else self.whole

    def read(self, what: str) -> np.ndarray:
        after = np.empty_like(self.image)
        cl.enqueue_copy(self.raw.queue, after, self.whole)
        end = self.guard + self.nbytes
        assert (after[: self.guard] == POISON).all(), f"{what}: bytes before the buffer were written"
        assert (after[end:] == POISON).all(), f"{what}: bytes after the buffer were written"
        return after[self.guard : end]


def run(
    lowered: Lowered,
    inputs: list[np.ndarray],
    outputs: list[Layout | np.ndarray | int],
    scalars: list[float] | tuple[float, ...] = (),
    device: RawDevice | None = None,
    shares: dict[int, int] | None = None,
    times: list[float] | None = None,
    repeat: int = 1,
) -> list[np.ndarray]:
    """Run the launches of `lowered` and return the outputs' whole buffers, flat.

    Args:
        inputs: contents of the input buffers (whole storages: the kernels are given their base and offsets).
        outputs: per output buffer a Layout (a poisoned buffer that just holds it), an array (its contents before the
            run), or
            a number of bytes.
        scalars: run-time scalars.
        device: default is the first of `devices()`.
        shares: output number -> input number whose buffer it is (in-place work).
        times: gets the seconds that each of `repeat` runs took on the device's clock, summed over the launches.

    Raises AssertionError if guard bytes changed or an input that is no output was written.
    """
    raw = device or devices()[0]
    shares = shares or {}
    raw.build(lowered)
    ins = [_Guarded(raw, a.nbytes, a) for a in inputs]
    outs: list[_Guarded] = []
    dtypes: list[np.dtype] = []
    for i, want in enumerate(outputs):
        if isinstance(want, np.ndarray):
            nbytes, content, dtype = want.nbytes, want, want.dtype
        elif isinstance(want, Layout):
            nbytes, content, dtype = (want.extent()[1] + 1) * want.dtype.itemsize, None, want.dtype.numpy
        else:
            nbytes, content, dtype = want, None, np.dtype(np.uint8)
        dtypes.append(inputs[shares[i]].dtype if i in shares else dtype)
        outs.append(ins[shares[i]] if i in shares else _Guarded(raw, nbytes, content))
    scratch = [_Guarded(raw, n, None) for n in lowered.scratch]
    for _ in range(repeat):
        events = []
        for launch in lowered.launches:
            assert len(launch.global_size) == len(launch.source.local_size)
            assert all(g > 0 and g % n == 0 for g, n in zip(launch.global_size, launch.source.local_size))
            kernel = raw.kernels[launch.source.name]
            bound: list[object] = []
            for argument in launch.args:
                if isinstance(argument, Input):
                    bound.append(ins[argument.index].buffer)
                elif isinstance(argument, Output):
                    bound.append(outs[argument.index].buffer)
                elif isinstance(argument, Scratch):
                    bound.append(scratch[argument.index].buffer)
                elif isinstance(argument, Scalar):
                    bound.append(_NUMPY[argument.ctype](scalars[argument.index]))
                elif isinstance(argument, Value):
                    bound.append(_NUMPY[argument.ctype](argument.value))
                else:
                    assert isinstance(argument, Local)
                    bound.append(cl.LocalMemory(argument.nbytes))
            kernel.set_args(*bound)
            events.append(cl.enqueue_nd_range_kernel(raw.queue, kernel, launch.global_size, launch.source.local_size))
        if events:
            events[-1].wait()
        if times is not None:
            times.append(sum((e.profile.end - e.profile.start) * 1e-9 for e in events))
    written = {shares[i] for i in shares}
    for i, (given, buffer) in enumerate(zip(inputs, ins)):
        after = buffer.read(f"input {i}")
        if i not in written:
            assert (after == np.ascontiguousarray(given).reshape(-1).view(np.uint8)).all(), f"input {i} was written"
    for i, buffer in enumerate(scratch):
        buffer.read(f"scratch {i}")
    if raw.name == "oclgrind" and _OCLGRIND_LOG.exists():
        complaints = _OCLGRIND_LOG.read_text()
        assert not complaints, complaints[:4000]
    return [b.read(f"output {i}").view(dtype) for i, (b, dtype) in enumerate(zip(outs, dtypes))]
