"""The probe of matrix instructions: right, wrong, not built, died, hung; kept on disk; asked for only where it
can matter.

The emulated instruction stands in for a GPU's, on CPU devices: the probe and its child process are the same.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import cltorch as torch
from cltorch import cli, runtime
from cltorch.config import cache_directory
from cltorch.runtime import NullDevice, matrix
from cltorch.runtime.device import Device
from cltorch.runtime.matrix import Found, families_of, probe_shape, probe_texts, refusal_of
from cltorch.runtime.matrix_child import refusal_of_product
from cltorch.runtime.opencl import cl
from cltorch.target import EMULATED, FRAGMENTS, Target

FAMILIES = [EMULATED + family for family in FRAGMENTS]
NVIDIA = EMULATED + "nvidia"
REPLICAS = (("gfx11", "A_LANE"), ("gfx11", "B_LANE"))  # both halves of a wave hold the same


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLTORCH_CACHE_DIR", str(tmp_path))


@pytest.fixture
def best() -> Device:
    return runtime.devices()[0]


def as_gpu(device: Device) -> Device:
    """The same device, said to be a GPU."""
    return Device(device.handle, replace(device.target, kind="gpu"), device.vendor, device.index)


def changed(old: str, new: str, family: str = NVIDIA) -> dict[str, str]:
    """The probe of an emulated instruction with a change in every text."""
    texts = probe_texts(family)
    assert all(old in text for text in texts.values())
    return {name: text.replace(old, new) for name, text in texts.items()}


def refusal_here(device: Device, family: str, text: str) -> str:
    """What the child would say of one text, without a child."""
    queue = cl.CommandQueue(device.context)
    return refusal_of_product(device.context, queue, "half", text, probe_shape(family))


def test_right_instruction(device: Device) -> None:
    assert refusal_of(device, NVIDIA, probe_texts(NVIDIA)) == ""
    for family in FAMILIES:
        assert refusal_here(device, family, probe_texts(family)["half"]) == ""


@pytest.mark.parametrize("old, new", [
    ("(row) >> 3) + 4 *", "(row) >> 2 & 1) + 4 *"),  # rows of A in other places
    ("#define nvidia_B_PLACE(k, column) (((k) & 1) + 2 * ((k) >> 3))",
     "#define nvidia_B_PLACE(k, column) (((k) & 1) + 2 * (1 - ((k) >> 3)))"),  # halves of B swapped
    ("float sum = c[i];", "float sum = 0.0f;"),  # does not add to what is there
    ("c[i] = sum;", "c[i] = half_round(sum);"),  # sums in 16 bits
    ("#define nvidia_warp(item) ((item) >> 5)", "#define nvidia_warp(item) (1 - ((item) >> 5))"),  # the other warp's B
], ids=["places", "halves", "not chained", "short sums", "warps"])  # fmt: skip
def test_wrong_instruction(best: Device, old: str, new: str) -> None:
    texts = changed(old, new)
    if "warp" in new:  # both warps exchange their columns: right unless one of them only does
        texts = {name: text.replace("(1 - ((item) >> 5))", "0") for name, text in texts.items()}
    assert "elements of its product are wrong" in refusal_of(best, NVIDIA, texts)


@pytest.mark.parametrize("family", FRAGMENTS)
@pytest.mark.parametrize("place", ["A_PLACE", "A_LANE", "B_PLACE", "B_LANE", "ROW", "COLUMN"])
def test_other_layout_than_the_instructions(best: Device, family: str, place: str) -> None:
    """Each family's map of fragments is told from one in which neighbours have changed places."""
    text = probe_texts(EMULATED + family)["half"]
    line = next(line for line in text.splitlines() if line.startswith(f"#define {family}_{place}("))
    head, _, value = line.partition(") ")
    same = (family, place) in REPLICAS
    refusal = refusal_here(best, EMULATED + family, text.replace(line, f"{head}) (({value}) ^ {16 if same else 1})"))
    assert refusal == "" if same else "elements of its product are wrong" in refusal


def test_wrong_for_one_type_of_elements(best: Device) -> None:
    texts = probe_texts(NVIDIA)
    assert refusal_of(best, NVIDIA, {**texts, "bf16": texts["half"]}).startswith("bf16: ")


def test_failing_build(device: Device) -> None:
    assert "half: the driver could not build it" in refusal_of(device, NVIDIA, changed("barrier(", "no_such_function("))


def test_child_that_dies(best: Device) -> None:
    """The kernel writes to address 0: the process that runs it is gone."""
    texts = changed("const int item = ", "*(volatile __global int *)(size_t)(pairs - 16) = 1;\n  const int item = ")
    assert refusal_of(best, NVIDIA, texts) in ("the probe was ended by SIGSEGV", "the probe was ended by SIGABRT")


def test_child_that_hangs(best: Device) -> None:
    texts = changed("const int item = ", "while (((volatile __global float *)C)[0] != 1.0f);\n  const int item = ")
    assert refusal_of(best, NVIDIA, texts, limit=6.0) == "the probe did not end within 6 s"


def test_child_that_raises_or_cannot_start(best: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "failed with status 1" in refusal_of(best, NVIDIA, ["half"])  # type: ignore[arg-type]
    monkeypatch.setattr(matrix.sys, "executable", "/no/such/python")
    assert "could not be started" in refusal_of(best, NVIDIA, probe_texts(NVIDIA))


def test_device_the_child_does_not_see(best: Device) -> None:
    hidden = as_gpu(best)
    hidden.identity = lambda: ("another machine's",)  # type: ignore[method-assign]
    assert refusal_of(hidden, NVIDIA, probe_texts(NVIDIA)) == "the child process does not see the device"


def test_found_once_per_machine(best: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, other = as_gpu(best), as_gpu(best)
    gpu.identity = other.identity = best.identity  # type: ignore[method-assign]
    assert matrix.find(gpu, (NVIDIA,)) == Found(NVIDIA, f"{NVIDIA}: right in the probe")
    (record,) = (cache_directory() / "matrix").glob("*.json")
    with monkeypatch.context() as only:
        only.setattr(subprocess, "run", None)
        assert matrix.find(other, (NVIDIA,)).family == NVIDIA
    for damage in ("", "[]", json.dumps({"family": "unheard-of", "reason": "x"})):
        record.write_text(damage)
        with monkeypatch.context() as counted:
            counted.setattr(matrix, "refusal_of", lambda *_: "no")
            assert matrix.find(other, (NVIDIA,)) == Found("", f"none ({NVIDIA}: no)")
        record.unlink()


def test_instructions_of_gpus_are_refused_by_cpu_drivers(best: Device) -> None:
    gpu = as_gpu(best)
    gpu.identity = best.identity  # type: ignore[method-assign]
    found = matrix.find(gpu, tuple(FRAGMENTS))
    assert found.family == ""
    for family in FRAGMENTS:
        assert f"{family}: " in found.reason
    assert "gfx11: half: the driver could not build it" in found.reason
    assert "intel8: the driver has no cl_intel_subgroup_matrix_multiply_accumulate" in found.reason


def test_each_vendor_is_asked_for_its_own_families() -> None:
    assert families_of("nvidia") == ("nvidia",) and families_of("rusticl") == ()
    assert sorted(sum(map(families_of, ("nvidia", "intel", "amd")), ())) == sorted(FRAGMENTS)
    assert families_of("unheard-of") == tuple(FRAGMENTS)


def test_a_device_finds_its_own(best: Device) -> None:
    gpu = as_gpu(best)
    gpu.find_matrix()
    assert gpu.target.matrix == "" and gpu.matrix_reason.startswith("none (") and len(families_of("intel")) == 2


def test_only_gpus_are_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Device] = []
    monkeypatch.setattr(matrix, "find", lambda device: asked.append(device) or Found(NVIDIA, "said so"))
    for device in (*runtime.devices(), NullDevice(Target(kind="gpu"))):
        if device.type != "gpu":
            device.find_matrix()
            assert device.matrix_reason == "" and device.target.matrix == ""
    assert not asked
    gpu = as_gpu(runtime.devices()[0])
    for _ in range(2):
        gpu.find_matrix()
    assert asked == [gpu] and gpu.target.matrix == NVIDIA and gpu.matrix_reason == "said so"


def test_a_product_of_short_floats_asks_and_uses_it(best: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing asks before a plan holds such a product; that plan already has the instruction's kernel."""
    asked: list[Device] = []
    monkeypatch.setattr(matrix, "find", lambda device: asked.append(device) or Found(NVIDIA, "said so"))
    monkeypatch.setattr(best, "type", "gpu")
    monkeypatch.setattr(best, "target", replace(best.target, kind="gpu", vector_width=1, local_memory=49152))
    monkeypatch.setattr(best, "matrix_reason", "")
    values = np.random.default_rng(2).standard_normal((2, 40, 40)).astype(np.float32)
    a, b = (torch.tensor(x, device=best.spec) for x in values)
    (a @ b).numpy()
    (a.half() + b.half()).float().numpy()
    assert not asked
    got = (a.half() @ b.half() + 1).float().numpy()
    assert asked == [best] and best.target.matrix == NVIDIA
    short = values.astype(np.float16).astype(np.float64)
    np.testing.assert_allclose(got, short[0] @ short[1] + 1, rtol=2e-3, atol=2e-2)
    assert any(name.startswith("gemm_matrix_") for name in best.programs._handles)


def test_the_reason_is_printed(best: Device, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(best, "matrix_reason", "none (nvidia: the probe was ended by SIGSEGV)")
    assert cli.main(["devices", "--fast"]) == 0
    assert f"{best.spec}: matrix instructions: none (nvidia: the probe was ended by SIGSEGV)" in capsys.readouterr().out
    assert cli.main(["devices", "--fast", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["matrix"] == best.matrix_reason
