"""Attention kernels against the NumPy references of their records, on every device, in both device classes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import runner

from cltorch import dtypes
from cltorch.codegen import attention as lowering
from cltorch.dtypes import DType
from cltorch.ops import attention
from cltorch.shapes import Layout, layout
from cltorch.target import Target

DEVICES = [(raw, "cpu") for raw in runner.devices()] + [(raw, "gpu") for raw in runner.devices()[:1]]
devices = pytest.mark.parametrize("raw, kind", DEVICES, ids=[f"{raw}-{kind}" for raw, kind in DEVICES])

SLOW = ("oclgrind",)
BASE = {"batch": 2, "heads": 2, "shared": 2, "rows": 37, "keys": 45, "depth": 16, "values": 16}
CASES = [  # what differs from BASE; options: causal, dropout, mask, scale, dtype, packed
    {},
    {"causal": True, "rows": 64, "keys": 64, "depth": 32, "values": 32},
    {"causal": True, "rows": 70, "keys": 37, "depth": 40, "values": 24, "heads": 4},
    {"rows": 1, "keys": 33, "depth": 64, "values": 64},
    {"rows": 13, "keys": 70, "depth": 5, "values": 7, "shared": 1, "dropout": 0.3, "causal": True},
    {"rows": 50, "keys": 50, "shared": 1, "mask": "bool", "dropout": 0.2},
    {"rows": 20, "keys": 50, "depth": 80, "values": 16, "mask": "added"},
    {"rows": 41, "keys": 33, "depth": 128, "values": 100, "causal": True, "packed": True},
    {"rows": 15, "keys": 9, "depth": 250, "values": 256, "packed": True},
    {"dtype": "float16", "causal": True},
    {"dtype": "bfloat16", "mask": "added", "shared": 1, "values": 17},
    {"scale": -3.0, "causal": True},
]
LARGE = [
    {"rows": 300, "keys": 333, "depth": 64, "values": 64, "causal": True, "batch": 1},
    {"rows": 150, "keys": 700, "depth": 64, "values": 64, "batch": 1, "heads": 1, "shared": 1},
]


def stored(a: np.ndarray, dtype: DType) -> np.ndarray:
    if dtype is dtypes.bfloat16:
        return (np.ascontiguousarray(a, "f").view(np.uint32) >> 16).astype(np.uint16)
    return a.astype(dtype.numpy)


def loaded(a: np.ndarray, dtype: DType) -> np.ndarray:
    return ((a.astype(np.uint32) << 16).view("f") if dtype is dtypes.bfloat16 else a).astype(np.float64)


def placed(a: np.ndarray, dtype: DType, packed: bool) -> tuple[np.ndarray, Layout]:
    """A storage with `a` (B, H, L, D) in it, and its layout: C order, or rows before heads with gaps between rows."""
    if not packed:
        return stored(a, dtype).reshape(-1), layout(dtype, a.shape)
    b, h, n, d = a.shape
    room = np.zeros((b, n, h * d + 3), np.float64)
    room[:, :, 1 : 1 + h * d] = a.transpose(0, 2, 1, 3).reshape(b, n, h * d)
    width = h * d + 3
    return stored(room, dtype).reshape(-1), layout(dtype, a.shape, (n * width, d, width, 1), 1)


def compare(got: np.ndarray, want: np.ndarray, out: Layout, what: str) -> None:
    """Errors relative to the largest element: 2e-6 in float32, the rounding of results in 16 bits."""
    bound = {"float16": 2e-3, "bfloat16": 1.6e-2}.get(out.dtype.name, 3e-6)
    values = loaded(got, out.dtype).reshape(out.shape)
    finite = np.isfinite(want)
    np.testing.assert_array_equal(values[~finite], want[~finite], err_msg=what)
    error = np.abs(values[finite] - want[finite]).max(initial=0) / max(np.abs(want[finite]).max(initial=0), 1e-3)
    assert error <= bound, f"{what}: error {error}"


def check(raw, target: Target, case: dict, **configs) -> None:
    c = {**BASE, **case}
    dtype = getattr(dtypes, case.get("dtype", "float32"))
    rng = np.random.default_rng(0)
    sizes = {
        "q": (c["batch"], c["heads"], c["rows"], c["depth"]),
        "k": (c["batch"], c["shared"], c["keys"], c["depth"]),
        "v": (c["batch"], c["shared"], c["keys"], c["values"]),
        "g": (c["batch"], c["heads"], c["rows"], c["values"]),
    }
    exact = {name: loaded(stored(rng.standard_normal(s), dtype), dtype).reshape(s) for name, s in sizes.items()}
    packed = case.get("packed", False)
    dropout, kind, causal = case.get("dropout", 0.0), case.get("mask"), case.get("causal", False)
    attrs = (case.get("scale", c["depth"] ** -0.5), causal, dropout, kind is not None, packed)
    weights = (c["batch"], c["heads"], c["rows"], c["keys"])
    masks: list[tuple[np.ndarray, Layout]] = []
    rest: list = []
    if kind == "bool":
        seen = rng.random((c["batch"], 1, c["rows"], c["keys"])) > 0.3
        seen[0, 0, 3] = False
        step = c["rows"] * c["keys"]
        masks.append((seen.reshape(-1), layout(dtypes.bool_, weights, (step, 0, c["keys"], 1))))
        rest.append(np.broadcast_to(seen, weights))
    elif kind == "added":
        bias = rng.standard_normal((c["rows"], c["keys"])).astype("f")
        bias[2, 5:] = -np.inf
        masks.append((bias.reshape(-1), layout(dtypes.float32, weights, (0, 0, c["keys"], 1))))
        rest.append(np.broadcast_to(bias, weights))
    numbers = (-1234567, 99) if dropout else ()
    rest += list(numbers)

    given = {name: placed(a, dtype, packed) for name, a in exact.items()}
    operands = [given[name] for name in "qkv"] + masks
    ins = tuple(x for _, x in operands)
    outs = tuple(layout(d, s) for d, s in attention.FLASH_ATTENTION.infer(ins, attrs))
    lowered = lowering.lower_flash_attention(ins, outs, attrs, target, None, configs.get("forward"))
    out, lse = runner.run(lowered, [a for a, _ in operands], list(outs), numbers, device=raw)
    want = attention.reference(exact["q"], exact["k"], exact["v"], *rest, *attrs)
    compare(out, want[0], outs[0], "out")
    compare(lse, want[1], outs[1], "lse")

    headed = want[0].swapaxes(1, 2) if packed else want[0]
    exact_lse = want[1].astype("f")
    operands = [given["g"], *operands[:3], placed(headed, dtype, packed), (exact_lse.reshape(-1), outs[1]), *masks]
    ins = tuple(x for _, x in operands)
    outs = tuple(layout(d, s) for d, s in attention.FLASH_ATTENTION_BACKWARD.infer(ins, attrs))
    lowered = lowering.lower_flash_attention_backward(ins, outs, attrs, target, None, configs.get("backward"))
    found = runner.run(lowered, [a for a, _ in operands], list(outs), numbers, device=raw)
    want = attention.backward_reference(exact["g"], exact["q"], exact["k"], exact["v"], None, None, *rest, *attrs)
    for name, a, b, o in zip(("dq", "dk", "dv"), found, want, outs):
        compare(a, b, o, name)


def fitting(target: Target, case: dict) -> bool:
    c = {**BASE, **case}
    q = layout(dtypes.float32, (c["batch"], c["heads"], c["rows"], c["depth"]))
    k = layout(dtypes.float32, (c["batch"], c["shared"], c["keys"], c["depth"]))
    v = layout(dtypes.float32, (c["batch"], c["shared"], c["keys"], c["values"]))
    return lowering.fits(q, k, v, (1.0, c.get("causal", False), 0.0, False, False), target)


@devices
@pytest.mark.parametrize("case", CASES, ids=str)
def test_against_reference(raw, kind, case) -> None:
    target = runner.target(raw, kind)
    if not fitting(target, case):
        pytest.skip("no room on this device: nn.functional composes attention there")
    check(raw, target, case)


@devices
@pytest.mark.parametrize("case", LARGE, ids=str)
def test_several_blocks(raw, kind, case) -> None:
    target = runner.target(raw, kind)
    if raw.name in SLOW or not fitting(target, case):
        pytest.skip("too slow, or no room on this device")
    check(raw, target, case)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_small_blocks_and_parts(causal, dtype) -> None:
    """Blocks far smaller than the problem, and keys split among work-groups whose dq are added."""
    raw = runner.devices()[0]
    target = runner.target(raw)
    panel = 2 * target.vector_width
    rows = 12 if target.vector_width >= 16 else 6
    forward = lowering.AttentionConfig(rows, 2, 2 * panel, panel, panel + 16, 2 * rows)
    backward = replace(forward, rows=rows, parts=2)
    case = {"rows": 90, "keys": 4 * panel - 7, "depth": panel + 3, "values": 9, "causal": causal, "dtype": dtype}
    check(raw, target, case, forward=forward, backward=backward)


@pytest.mark.parametrize("raw", runner.devices(), ids=lambda raw: raw.name)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("depth, spread", [(80, 1.0), (96, 1.0), (128, 1.0), (96, 20.0), (128, 100.0)])
def test_accuracy(raw, causal, depth, spread) -> None:
    """float32 within 2e-6 of the largest result, whole rows masked, whole blocks of a row masked, no size a multiple
    of a tile. `spread` is the standard deviation of the logits. Large ones are rounded by up to 2^-24 of the largest,
    e, which moves a result by sum p_j (v_j - out) e_j, at most 2 e times the largest value. (PyTorch's own errors at
    20 and 100: 6.0e-6 and 2.7e-5.)"""
    rows, keys = 317, 291
    target = runner.target(raw)
    x, y = layout(dtypes.float32, (1, 2, rows, depth)), layout(dtypes.float32, (1, 2, keys, depth))
    attrs = (depth**-0.5, causal, 0.0, True, False)
    if raw.name in SLOW or not lowering.fits(x, y, y, attrs, target):
        pytest.skip("too slow, or no room on this device")
    rng = np.random.default_rng(depth)
    q, k, v = (rng.standard_normal(each.shape).astype("f") for each in (x, y, y))
    q *= np.float32(spread)
    bias = np.where(rng.random((rows, keys)) < 0.2, -np.inf, 0.0).astype("f")
    bias[5] = bias[200:207] = -np.inf  # a row, and more than a tile of rows
    bias[100:110, :250] = -np.inf  # the first blocks of keys, so that a maximum is -inf before it grows
    mask = layout(dtypes.float32, (1, 2, rows, keys), (0, 0, keys, 1))
    ins = (x, y, y, mask)
    outs = tuple(layout(d, s) for d, s in attention.FLASH_ATTENTION.infer(ins, attrs))
    lowered = lowering.lower_flash_attention(ins, outs, attrs, target, None)
    operands = [each.reshape(-1) for each in (q, k, v, bias)]
    out, lse = runner.run(lowered, operands, list(outs), (), device=raw)

    logits = q.astype(np.float64) @ k.astype(np.float64).swapaxes(-1, -2) * attrs[0]
    largest = np.abs(logits).max()
    logits += bias
    if causal:
        logits[..., ~np.tri(rows, keys, dtype=bool)] = -np.inf
    top = logits.max(-1, keepdims=True)
    powers = np.exp(logits - np.where(np.isinf(top), 0.0, top))
    total = powers.sum(-1, keepdims=True)
    want = powers @ v.astype(np.float64) / np.where(total == 0.0, 1.0, total)
    bound = 2e-6 + (2 * largest * 2.0**-24 if spread > 1.0 else 0.0)
    error = np.abs(out.reshape(want.shape) - want).max() / np.abs(want).max()
    assert error <= bound, f"error {error}, bound {bound}"
    hidden = total[..., 0] == 0.0
    assert hidden[..., 200:207].all()
    assert (out.reshape(want.shape)[hidden] == 0.0).all()
    np.testing.assert_array_equal(np.isposinf(lse.reshape(hidden.shape)), hidden)


@pytest.mark.parametrize("width, local", [(4, 32768), (8, 32768), (8, 262144), (16, 262144), (16, 2 << 20)])
def test_configurations_keep_limits(width, local) -> None:
    """Local memory is never exceeded, and whole loops stay under a device's limit."""
    target = Target(vector_width=width, local_memory=local, loop_limit=65535 if local == 32768 else 0)
    found = 0
    for rows, keys in ((1, 1), (1, 5000), (64, 64), (256, 256), (1000, 77), (4096, 4096)):
        for depth in (8, 32, 64, 100, 128, 256):
            for backward in (False, True):
                problem = lowering._Problem(2, 6, 3, rows, keys, depth, depth, False)
                config = lowering.choose_config(problem, target, backward)
                if config is None:
                    assert local == 32768 or depth > 128
                    continue
                found += 1
                assert sum(config.local_bytes(depth, depth, width, backward)) <= local
                assert config.keys % (2 * width) == 0 and config.rows % config.tile_rows == 0
                assert config.score_pitch >= config.keys + config.tile_rows
                if target.loop_limit:
                    assert lowering._steps(problem, config, width, backward) <= target.loop_limit
    assert found > 20


def test_work_is_split_where_heads_are_few() -> None:
    target = Target(vector_width=16, local_memory=262144, compute_units=16)
    problem = lowering._Problem(1, 2, 2, 2048, 2048, 64, 64, False)
    forward, backward = (lowering.choose_config(problem, target, b) for b in (False, True))
    assert math.ceil(2048 / forward.rows) * 2 >= 64 and backward.parts * 2 >= 64
