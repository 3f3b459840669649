"""The texts that real GPUs get, through compilers for them: clang (AMD, NVIDIA), NVIDIA's ptxas, Intel's ocloc.

No GPU is needed and nothing runs: the texts build, hold the matrix instruction, and keep their sums in registers. A
compiler that is not installed is skipped by name. `CLTORCH_OCLOC` names Intel's compiler where it is not on the path;
Debian's (package intel-opencl-icd) unpacked into a folder needs LD_LIBRARY_PATH as well.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cltorch.codegen.gemm import lower_matmul
from cltorch.dtypes import DType, bfloat16, float16, float32
from cltorch.runtime.matrix import probe_texts
from cltorch.runtime.program import program_text
from cltorch.shapes import layout
from cltorch.target import FRAGMENTS, Target

CLANG = shutil.which("clang-19") or shutil.which("clang-18") or shutil.which("clang-17")
PTXAS = shutil.which("ptxas")
OCLOC = os.environ.get("CLTORCH_OCLOC") or shutil.which("ocloc")
# What a driver adds: no doubles and no half arithmetic unless asked for, so that a text that needs them is refused.
PLAIN = "-cl-ext=-cl_khr_fp64,-cl_khr_fp16,-__opencl_c_fp64"
AMD = [
    ("gfx11", "gfx1100", r"v_wmma_f32_16x16x16_(f16|bf16)"),
    ("gfx12", "gfx1200", r"v_wmma_f32_16x16x16_(f16|bf16)"),
    ("cdna", "gfx90a", r"v_mfma_f32_16x16x16_?(f16|bf16_1k)"),
    ("cdna", "gfx942", r"v_mfma_f32_16x16x16_(f16|bf16)"),
]
INTEL = [("intel8", "dg2"), ("intel16", "pvc")]


# The built-in functions that a driver links in, for clang alone.
NVIDIA_FUNCTIONS = """
#define SREG(name, d) \
  ((size_t)((d) == 0 ? __nvvm_read_ptx_sreg_##name##_x() : (d) == 1 ? __nvvm_read_ptx_sreg_##name##_y() : \
                                __nvvm_read_ptx_sreg_##name##_z()))
#define get_group_id(d) SREG(ctaid, d)
#define get_local_id(d) SREG(tid, d)
#define get_num_groups(d) SREG(nctaid, d)
#define barrier(flags) __syncthreads()
"""
AMD_FUNCTIONS = """
#define PLACE(name, d) \
  ((size_t)((d) == 0 ? __builtin_amdgcn_##name##_x() : (d) == 1 ? __builtin_amdgcn_##name##_y() : \
                                 __builtin_amdgcn_##name##_z()))
#define get_group_id(d) PLACE(workgroup_id, d)
#define get_local_id(d) PLACE(workitem_id, d)
#define get_num_groups(d) (PLACE(grid_size, d) / PLACE(workgroup_size, d))
#define barrier(flags) __builtin_amdgcn_s_barrier()
"""


def gpu(family: str = "") -> Target:
    vendor = {"nvidia": "nvidia", "intel8": "intel", "intel16": "intel"}.get(family, "amd")
    return Target(
        kind="gpu", vendor=vendor, vector_width=1, local_memory=49152, max_work_group=1024, compute_units=40,
        fp64=False, matrix=family,
    )  # fmt: skip


def product(target: Target, dtype: DType, size: int, turned: bool = False) -> str:
    """The program of a product of size x size matrices."""
    form = layout(dtype, (size, size))
    other = layout(dtype, (size, size), (1, size), 0) if turned else form
    launches = lower_matmul((other, form), (form,), (), target, None).launches
    if target.matrix:
        assert launches[0].source.family == "gemm_matrix"
    return program_text([launch.source for launch in launches])


def clang(folder: Path, text: str, *options: str) -> str:
    """Assembly of a text."""
    source, out = folder / "text.cl", folder / "text.s"
    source.write_text(text)
    command = [CLANG, "-x", "cl", "-cl-std=CL1.2", "-cl-mad-enable", "-O3", "-S", "-nogpulib", "-w", *options]
    done = subprocess.run([*command, str(source), "-o", str(out)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return out.read_text()


def amd(folder: Path, text: str, processor: str, *options: str) -> str:
    assembly = clang(folder, AMD_FUNCTIONS + text, "-target", "amdgcn-amd-amdhsa", f"-mcpu={processor}", *options)
    spills = re.findall(r"\.(?:vgpr|sgpr)_spill_count:\s*(\d+)", assembly)
    assert spills and set(spills) == {"0"}, f"{processor}: spilt registers {spills}"
    assert set(re.findall(r"\.private_segment_fixed_size:\s*(\d+)", assembly)) == {"0"}, f"{processor}: sums in memory"
    return assembly


def nvidia(folder: Path, text: str, processor: str, *options: str) -> str:
    """PTX of a text, which ptxas must turn into code without spilling."""
    text = NVIDIA_FUNCTIONS + text
    ptx = clang(
        folder, text, "-target", "nvptx64-nvidia-nvcl", "-Xclang", "-target-cpu", "-Xclang", processor, "-Xclang",
        "-target-feature", "-Xclang", "+ptx70" if processor == "sm_80" else "+ptx78", *options,
    )  # fmt: skip
    done = subprocess.run(
        [PTXAS, "-v", f"-arch={processor}", str(folder / "text.s"), "-o", os.devnull], capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    report = done.stdout + done.stderr
    assert done.returncode == 0, report[-3000:]
    assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in report, report[-3000:]
    assert not re.search(r"[1-9]\d* bytes (stack frame|spill)", report), report[-3000:]
    return ptx


needs_clang = pytest.mark.skipif(CLANG is None, reason="clang 17 or later is not installed")
needs_ptxas = pytest.mark.skipif(PTXAS is None, reason="ptxas is not installed")
needs_ocloc = pytest.mark.skipif(OCLOC is None, reason="Intel's ocloc is not installed")


@needs_clang
@pytest.mark.parametrize("family, processor, instruction", AMD, ids=[processor for _, processor, _ in AMD])
def test_amd_matrix_instructions(tmp_path, family, processor, instruction):
    for text in probe_texts(family).values():
        assert re.search(instruction, clang(tmp_path, text, "-target", "amdgcn-amd-amdhsa", f"-mcpu={processor}"))
    for dtype in (float16, bfloat16):
        assembly = amd(tmp_path, product(gpu(family), dtype, 512), processor)
        assert len(re.findall(instruction, assembly)) >= 8


@needs_clang
@needs_ptxas
@pytest.mark.parametrize("processor", ["sm_80", "sm_90"])
def test_nvidia_matrix_instructions(tmp_path, processor):
    for turned in (False, True):
        for dtype, kind in ((float16, "f16"), (bfloat16, "bf16")):
            ptx = nvidia(tmp_path, product(gpu("nvidia"), dtype, 512, turned), processor, "-Xclang", PLAIN)
            assert ptx.count(f"mma.sync.aligned.m16n8k16.row.col.f32.{kind}") == 16
            assert re.search(r"ld\.global(\.nc)?\.v4", ptx)  # aligned rows are read 16 bytes at a time


@needs_ocloc
@pytest.mark.parametrize("family, device", INTEL, ids=[device for _, device in INTEL])
def test_intel_matrix_instructions(tmp_path, family, device):
    texts = {**probe_texts(family), "product": product(gpu(family), float16, 512)}
    for name, text in texts.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "text.cl").write_text(text)
        done = subprocess.run(
            [OCLOC, "compile", "-file", "text.cl", "-device", device, "-options", "-cl-std=CL1.2 -cl-mad-enable"],
            capture_output=True, text=True, timeout=200, cwd=folder,
            env={**os.environ, "IGC_ShaderDumpEnable": "1", "IGC_DumpToCustomDir": str(folder)},
        )  # fmt: skip
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
        code = "".join(path.read_text(errors="replace") for path in folder.glob("*.asm"))
        assert re.search(rf"dpas\.8x8 \({FRAGMENTS[family].lanes}\|M0\)", code)
        assert name != "product" or not re.findall(r"//\.spill size [1-9]\d*", code)


@needs_clang
@pytest.mark.parametrize("dtype", [float32, float16], ids=repr)
@pytest.mark.parametrize("size", [64, 2048])
def test_products_without_matrix_instructions(tmp_path, dtype, size):
    """Neither doubles nor half arithmetic are needed, and 8 x 8 sums an item stay in registers."""
    for turned in (False, True):
        text = product(gpu(), dtype, size, turned)
        amd(tmp_path, text, "gfx1030", "-Xclang", PLAIN)
        if PTXAS:
            nvidia(tmp_path, text, "sm_80", "-Xclang", PLAIN)


def test_families_are_covered():
    assert {family for family, *_ in AMD} | {family for family, _ in INTEL} | {"nvidia"} == set(FRAGMENTS)
