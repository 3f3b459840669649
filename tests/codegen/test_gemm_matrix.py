"""The matrix-instruction form of matrix products, its instruction emulated, against float64: layouts, ragged sizes,
batches, split sums, epilogues; and when it is chosen.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import runner
from test_gemm import matrix, multiply, show

from cltorch.codegen.gemm import GemmConfig, lower_matmul
from cltorch.codegen.program import Epilogue, Instr
from cltorch.dtypes import bfloat16, float16, float32
from cltorch.resources import kernel_text
from cltorch.shapes import layout
from cltorch.target import EMULATED, FRAGMENTS

DEVICES = runner.devices()
SHORT = (float16, bfloat16)
SPLIT = GemmConfig("matrix", 2, 4, "group", "group", 64, 64, 32, 3)


def emulated(device: runner.RawDevice, family: str = "nvidia"):
    return replace(runner.target(device, "gpu"), matrix=EMULATED + family)


@pytest.fixture(params=DEVICES, ids=repr)
def device(request) -> runner.RawDevice:
    """Each device in turn."""
    return request.param


def forms_of(target, dtype, m, n, k) -> list[str]:
    out = layout(dtype, (m, n))
    lowered = lower_matmul((layout(dtype, (m, k)), layout(dtype, (k, n))), (out,), (), target, None)
    return [launch.source.family for launch in lowered.launches]


def test_chosen_for_short_floats_on_gpus_that_have_it():
    gpu = replace(runner.target(DEVICES[0], "gpu"), compute_units=1)
    for dtype in SHORT:
        assert forms_of(replace(gpu, matrix="nvidia"), dtype, 64, 64, 64) == ["gemm_matrix"]
        assert forms_of(gpu, dtype, 64, 64, 64) == ["gemm_group"]
        assert forms_of(replace(gpu, matrix="nvidia"), dtype, 1, 64, 64) == ["gemm_group"]  # fragments would be empty
        assert forms_of(replace(gpu, matrix="nvidia", max_work_group=64), dtype, 64, 64, 64) == ["gemm_group"]
        assert forms_of(replace(gpu, kind="cpu", matrix="nvidia"), dtype, 64, 64, 64) == ["gemm"]
    assert forms_of(replace(gpu, matrix="nvidia"), float32, 64, 64, 64) == ["gemm_group"]


@pytest.mark.parametrize("family, instruction", [
    ("nvidia", "mma.sync"), ("intel8", "matrix_mad_k16"), ("intel16", "matrix_mad_k16"),
    ("gfx11", "wmma_f32_16x16x16_f16_w32"), ("gfx12", "wmma_f32_16x16x16_f16_w32_gfx12"),
    ("cdna", "mfma_f32_16x16x16f16"),
])  # fmt: skip
def test_the_instruction_stands_once(family, instruction):
    """The text that GPUs get calls the fragment that the probe tried, and has no instruction of its own."""
    gpu = replace(runner.target(DEVICES[0], "gpu"), matrix=family)
    for dtype, name in zip(SHORT, ("half", "bf16")):
        views = layout(dtype, (64, 64)), layout(dtype, (64, 64))
        (launch,) = lower_matmul(views, (layout(dtype, (64, 64)),), (), replace(gpu, compute_units=1), None).launches
        assert launch.source.includes[0] == f"matrix_{family}" and f"{family}_product_{name}(" in launch.source.body
        assert launch.source.local_size == ((16 if family.startswith("intel") else 4) * FRAGMENTS[family].lanes, 1, 1)
        assert not any(word in launch.source.body for word in ("asm", "exchange[", instruction))
    assert instruction in kernel_text(f"matrix_{family}")


@pytest.mark.parametrize("dtype", SHORT, ids=lambda dtype: dtype.name)
def test_layouts_and_ragged_sizes(device, dtype):
    target = emulated(device)
    assert forms_of(target, dtype, 67, 35, 45) == ["gemm_matrix"]
    for forms in product("nt", "nt"):
        if (forms[0] == forms[1]) != (dtype is float16):
            continue  # each way to load each operand once a type; a build takes PoCL two seconds
        for m, n, k in ((16, 8, 16), (64, 64, 32), (67, 35, 45), (8, 130, 3), (130, 65, 97)):
            multiply(target, dtype, (), m, n, k, forms, device=device)
    multiply(target, dtype, (3,), 21, 37, 29, ("strided", "strided"), device=device)


@pytest.mark.parametrize("dtype", SHORT, ids=lambda dtype: dtype.name)
def test_batches_and_split_sums(device, dtype):
    target = emulated(device)
    multiply(target, dtype, (2, 3), 19, 70, 33, ("n", "t"), device=device)
    multiply(target, dtype, (2,), 70, 33, 150, ("t", "n"), SPLIT, device)
    multiply(target, dtype, (), 20, 12, 2100, device=device)  # split by the rules
    multiply(target, dtype, (), 20, 12, 0, device=device)


@pytest.mark.parametrize("dtype, config", [(float16, None), (bfloat16, SPLIT)], ids=["float16", "bfloat16-split"])
def test_epilogue_of_bias_and_relu_keeps_float_sums(device, dtype, config):
    """Stored as float32: sums must come out as float32 sums of the 16-bit operands, not rounded to 16 bits between."""
    m, n, k = 70, 37, 150
    rng = np.random.default_rng(5)
    a, a_view, a_values = matrix(rng, dtype, (), m, k, "n")
    b, b_view, b_values = matrix(rng, dtype, (), k, n, "t")
    bias = rng.standard_normal(n).astype(np.float32)
    out = layout(float32, (m, n))
    program = Epilogue(
        (m, n), float32, (layout(float32, (m, n), (0, 1), 0),), (),
        (Instr("{0} + {1}", (0, 1), float32), Instr("{0} > $0$ ? {0} : $0$", (2,), float32)),
        ((3, out),),
    )  # fmt: skip
    lowered = lower_matmul((a_view, b_view), (out,), (), emulated(device), program, config)
    assert lowered.launches[0].source.family == "gemm_matrix"
    (memory,) = runner.run(lowered, [a, b, bias], [out], device=device)
    wanted = np.maximum(a_values @ b_values + bias, 0)
    scale = (np.abs(a_values) @ np.abs(b_values)).max()
    np.testing.assert_allclose(show(memory, out), wanted, rtol=2e-6, atol=2e-6 * scale)


def test_specials_stay_where_they_are(device):
    """Infinities, NaNs and subnormals of float16 reach their own row only: padding multiplies nothing but zeros."""
    rng = np.random.default_rng(6)
    a, b = rng.standard_normal((33, 40)).astype(np.float16), rng.standard_normal((40, 17)).astype(np.float16)
    a[3, 7], a[20, 39], a[32] = np.inf, np.nan, 6e-8
    out = layout(float16, (33, 17))
    views = layout(float16, (33, 40)), layout(float16, (40, 17))
    lowered = lower_matmul(views, (out,), (), emulated(device), None)
    (memory,) = runner.run(lowered, [a, b], [out], device=device)
    got = show(memory, out)
    assert np.isinf(got[3]).all() and np.isnan(got[20]).all()
    rest = [i for i in range(33) if i not in (3, 20)]
    np.testing.assert_allclose(got[rest], (a.astype(np.float64) @ b.astype(np.float64))[rest], rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("family", [family for family in FRAGMENTS if family != "nvidia"])
def test_other_families(device, family):
    """Ragged sizes, both ways to load each operand, aligned rows and others, batches, split sums, each with its own map
    of fragments."""
    target = emulated(device, family)
    shape = FRAGMENTS[family]
    split = GemmConfig(
        "matrix", 32 // shape.rows, 32 // shape.columns, "group", "group", 64, 64, 32, 3, strip=2
    )
    assert forms_of(target, float16, 67, 35, 45) == ["gemm_matrix"]
    multiply(target, float16, (), 67, 35, 45, ("n", "t"), device=device)
    multiply(target, bfloat16, (2,), 72, 136, 88, ("t", "n"), device=device)
    if device is DEVICES[0]:
        multiply(target, bfloat16, (2,), 70, 33, 150, ("t", "n"), split, device)
        multiply(target, float16, (), 64, 64, 64, ("n", "n"), device=device)


def test_aligned_rows_are_read_in_vectors(device):
    """Whole vectors of 8 and their ragged ends, along K and across it; strips of tiles that do not divide the tiles."""
    target = emulated(device)
    for forms in (("n", "t"), ("t", "n")):
        for m, n, k in ((72, 80, 40), (200, 72, 104)):
            for strip in (1, 2, 8):
                config = GemmConfig("matrix", 2, 4, "group", "group", 64, 64, 32, 1, 8, 8, strip)
                multiply(target, float16, (2,), m, n, k, forms, config, device)
