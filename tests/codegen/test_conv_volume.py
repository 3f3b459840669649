"""Volume convolution kernels against the NumPy references of their records, on every device asked for."""

from __future__ import annotations

import numpy as np
import pytest
import runner

from cltorch import dtypes
from cltorch.codegen import conv_volume, conv_volume_weight
from cltorch.codegen.program import Epilogue, Instr
from cltorch.dtypes import DType
from cltorch.ops import volume
from cltorch.shapes import layout

DEVICES = [(raw, "cpu") for raw in runner.devices()] + [(raw, "gpu") for raw in runner.devices()[:1]]
pytestmark = pytest.mark.parametrize("raw, kind", DEVICES, ids=[f"{raw}-{kind}" for raw, kind in DEVICES])

# x, (output channels, kernel), stride, padding, dilation, groups
CASES = {
    "3x3x3": ((2, 5, 4, 9, 11), (18, 3, 3, 3), (1, 1, 1), (1, 1, 1), (1, 1, 1), 1),
    "more channels than a vector pair": ((1, 3, 3, 6, 7), (37, 2, 3, 2), (1, 1, 1), (0, 1, 0), (1, 1, 1), 1),
    "strides": ((2, 4, 7, 9, 10), (8, 3, 3, 3), (2, 2, 2), (1, 1, 1), (1, 1, 1), 1),
    "stride beyond the kernel": ((1, 3, 8, 8, 9), (5, 1, 2, 1), (3, 3, 2), (0, 0, 0), (1, 1, 1), 1),
    "dilation and stride": ((1, 4, 9, 12, 11), (6, 3, 2, 3), (2, 1, 3), (2, 1, 2), (2, 3, 2), 1),
    "groups": ((2, 6, 3, 5, 8), (9, 2, 3, 3), (1, 2, 1), (1, 1, 1), (1, 1, 1), 3),
    "depthwise": ((1, 4, 4, 6, 6), (8, 3, 3, 3), (1, 1, 1), (1, 1, 1), (1, 1, 1), 4),
    "1x1x1 strided": ((2, 6, 4, 6, 6), (20, 1, 1, 1), (2, 2, 2), (0, 0, 0), (1, 1, 1), 1),
    "long row": ((1, 3, 1, 1, 701), (5, 1, 1, 7), (1, 1, 2), (0, 0, 3), (1, 1, 1), 1),
    "padding beyond the image": ((1, 2, 1, 1, 2), (3, 3, 3, 3), (1, 1, 1), (2, 3, 2), (1, 1, 1), 1),
    "small planes": ((3, 9, 5, 4, 4), (33, 3, 3, 3), (1, 1, 1), (1, 1, 1), (1, 1, 1), 1),
    "large window": ((1, 2, 8, 9, 15), (4, 5, 7, 7), (1, 2, 2), (2, 3, 3), (1, 1, 1), 1),
}


def stored(a: np.ndarray, dtype: DType) -> np.ndarray:
    return (np.ascontiguousarray(a).view(np.uint32) >> 16).astype(np.uint16) if dtype is dtypes.bfloat16 else a


def numbers(shape: tuple[int, ...], seed: int, dtype: DType = dtypes.float32) -> np.ndarray:
    """Small multiples of 1/4, exact in every float dtype."""
    made = np.random.default_rng(seed).integers(-6, 7, shape) / 4
    return made.astype(np.float32 if dtype is dtypes.bfloat16 else dtype.numpy)


def check(op, given, attrs, raw, kind, dtype=dtypes.float32, config=None, layouts=None):
    layouts = layouts or tuple(layout(dtype, a.shape) for a in given)
    outs = tuple(layout(d, shape) for d, shape in op.infer(layouts, attrs))
    more = {} if config is None else {"config": config}
    lowered = op.lower(layouts, outs, attrs, runner.target(raw, kind), None, **more)
    (got,) = runner.run(lowered, [stored(a, dtype).reshape(-1) for a in given], list(outs), device=raw)
    if dtype is dtypes.bfloat16:
        got = (got.astype(np.uint32) << 16).view(np.float32)
    want = op.reference(*[a.astype(np.float64) for a in given], *attrs)
    scale = np.abs(want).max() + 1e-9
    bound = {2: 1e-2, 4: 1e-6, 8: 1e-14}[outs[0].dtype.itemsize]
    np.testing.assert_allclose(got.reshape(want.shape).astype(np.float64), want, rtol=0, atol=bound * scale)


def problem(case: str, dtype: DType = dtypes.float32):
    """x, w, dy and the attributes of a case."""
    shape, (k, *taps), *attrs = CASES[case]
    groups = attrs[-1]
    x, w = numbers(shape, 0, dtype), numbers((k, shape[1] // groups, *taps), 1, dtype)
    given = (layout(dtype, x.shape), layout(dtype, w.shape))
    ((_, out),) = conv_volume.infer_conv3d(given, (*attrs, None))
    return x, w, numbers(out, 2, dtype), tuple(attrs)


@pytest.mark.parametrize("case", CASES)
def test_three_directions(raw, kind, case):
    x, w, dy, attrs = problem(case)
    check(volume.CONV3D, [x, w], (*attrs, None), raw, kind)
    check(volume.CONV3D_INPUT, [dy, w], (*attrs, x.shape[2:]), raw, kind)
    check(volume.CONV3D_WEIGHT, [dy, x], (*attrs, w.shape[2:]), raw, kind)


@pytest.mark.parametrize("dtype", [dtypes.float16, dtypes.bfloat16, dtypes.float64], ids=repr)
def test_dtypes(raw, kind, dtype):
    if dtype is dtypes.float64 and not runner.target(raw).fp64:
        pytest.skip(f"{raw} has no double")
    for case in ("3x3x3", "strides", "depthwise"):
        x, w, dy, attrs = problem(case, dtype)
        check(volume.CONV3D, [x, w], (*attrs, None), raw, kind, dtype)
        check(volume.CONV3D_INPUT, [dy, w], (*attrs, x.shape[2:]), raw, kind, dtype)
        check(volume.CONV3D_WEIGHT, [dy, x], (*attrs, w.shape[2:]), raw, kind, dtype)


def test_chunks_parts_and_blocks(raw, kind):
    """Channels in several chunks, items in several parts, rows and columns in blocks that do not divide them."""
    x, w, dy, attrs = problem("3x3x3")
    width = 8
    config = conv_volume.VolumeConfig("channels", width, 2, 2, 3, 4, 5, chunk=3, step=2, parts=3)
    check(volume.CONV3D, [x, w], (*attrs, None), raw, kind, config=config)
    check(volume.CONV3D_INPUT, [dy, w], (*attrs, x.shape[2:]), raw, kind, config=config)
    for parts, planes, rows, columns in ((1, 3, 9, 11), (4, 1, 4, 5), (3, 2, 9, 11)):
        config = conv_volume_weight.VolumeWeightConfig(
            "channels", width, 2, 2, 1, 3, rows, columns, planes, 7, parts
        )  # fmt: skip
        check(volume.CONV3D_WEIGHT, [dy, x], (*attrs, w.shape[2:]), raw, kind, config=config)


def test_plain_form(raw, kind):
    for case in ("strides", "dilation and stride", "groups"):
        x, w, dy, attrs = problem(case)
        plain = conv_volume.VolumeConfig("plain")
        check(volume.CONV3D, [x, w], (*attrs, None), raw, kind, config=plain)
        check(volume.CONV3D_INPUT, [dy, w], (*attrs, x.shape[2:]), raw, kind, config=plain)
        plain = conv_volume_weight.VolumeWeightConfig("plain")
        check(volume.CONV3D_WEIGHT, [dy, x], (*attrs, w.shape[2:]), raw, kind, config=plain)


def test_strided_operands_and_results(raw, kind):
    """Planes apart from each other in x, dims in another order in the result, which cannot be merged."""
    x, w, _, attrs = problem("3x3x3")
    n, c, d, h, wide = x.shape
    room = np.zeros((n, d + 1, c, h, wide + 3), np.float32)
    room[:, :d, :, :, :wide] = x.transpose(0, 2, 1, 3, 4)
    s = [step // 4 for step in room.strides]
    given = (layout(dtypes.float32, x.shape, (s[0], s[2], s[1], s[3], s[4])), layout(dtypes.float32, w.shape))
    ((_, shape),) = conv_volume.infer_conv3d(given, (*attrs, None))
    n, k, do, ho, wo = shape
    out = layout(dtypes.float32, shape, (k * do * ho * wo, 1, k, do * k, ho * do * k))
    lowered = conv_volume.lower_conv3d(given, (out,), (*attrs, None), runner.target(raw, kind))
    (got,) = runner.run(lowered, [room.reshape(-1), w.reshape(-1)], [out], device=raw)
    got = np.lib.stride_tricks.as_strided(got, shape, [4 * step for step in out.stride])
    want = volume.conv3d_reference(x.astype(np.float64), w.astype(np.float64), *attrs)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)


def test_epilogue(raw, kind):
    """relu(y + bias + residual), the residual transposed; and the weight gradient times itself."""
    x, w, dy, attrs = problem("3x3x3")
    given = (layout(dtypes.float32, x.shape), layout(dtypes.float32, w.shape))
    ((_, shape),) = conv_volume.infer_conv3d(given, (*attrs, None))
    bias, residual = numbers(shape[1:2], 3), numbers((shape[0], *shape[:1:-1], shape[1]), 4)
    steps = [s // 4 for s in residual.strides]
    inputs = (
        layout(dtypes.float32, shape, (0, 1, 0, 0, 0)),
        layout(dtypes.float32, shape, (steps[0], steps[4], steps[3], steps[2], steps[1])),
    )
    instrs = (
        Instr("{0} + {1}", (0, 1), dtypes.float32),
        Instr("{0} + {1}", (3, 2), dtypes.float32),
        Instr("({0} > $0$) ? {0} : $0$", (4,), dtypes.float32),
    )
    out = layout(dtypes.float32, shape)
    epilogue = Epilogue(shape, dtypes.float32, inputs, (), instrs, ((5, out),), (-1,))
    lowered = conv_volume.lower_conv3d(given, (out,), (*attrs, None), runner.target(raw, kind), epilogue)
    arrays = [a.reshape(-1) for a in (x, w, bias, residual)]
    (got,) = runner.run(lowered, arrays, [out], device=raw)
    got = got.reshape(shape)
    want = volume.conv3d_reference(x.astype(np.float64), w.astype(np.float64), *attrs)
    want = np.maximum(want + bias[:, None, None, None] + residual.transpose(0, 4, 3, 2, 1), 0)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)
    for stride in (None, tuple(s * 2 for s in layout(dtypes.float32, w.shape).stride)):
        out = layout(dtypes.float32, w.shape, stride)
        square = (Instr("{0} * {0}", (0,), dtypes.float32),)
        epilogue = Epilogue(w.shape, dtypes.float32, (), (), square, ((1, out),), (-1,))
        grads = (layout(dtypes.float32, dy.shape), layout(dtypes.float32, x.shape))
        lowered = conv_volume_weight.lower_conv3d_weight(
            grads, (out,), (*attrs, w.shape[2:]), runner.target(raw, kind), epilogue
        )
        (got,) = runner.run(lowered, [dy.reshape(-1), x.reshape(-1)], [out], device=raw)
        got = np.lib.stride_tricks.as_strided(got, w.shape, [4 * step for step in out.stride])
        want = volume.conv3d_weight_reference(dy.astype(np.float64), x.astype(np.float64), *attrs, w.shape[2:]) ** 2
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_nothing_to_add_gives_zeros(raw, kind):
    given = (layout(dtypes.float32, (2, 0, 3, 3, 3)), layout(dtypes.float32, (4, 0, 2, 2, 2)))
    out = layout(dtypes.float32, (2, 4, 2, 2, 2))
    attrs = ((1, 1, 1), (0, 0, 0), (1, 1, 1), 1, None)
    lowered = conv_volume.lower_conv3d(given, (out,), attrs, runner.target(raw, kind))
    (got,) = runner.run(lowered, [np.zeros(1, np.float32)] * 2, [out], device=raw)
    assert not got.any()


def test_refusals(raw, kind):
    x, w = layout(dtypes.float32, (1, 4, 3, 3, 3)), layout(dtypes.float32, (4, 4, 5, 5, 5))
    usual = ((1, 1, 1), (0, 0, 0), (1, 1, 1), 1, None)
    with pytest.raises(RuntimeError, match="Kernel size can't be greater than actual input size"):
        conv_volume.infer_conv3d((x, w), usual)
    with pytest.raises(RuntimeError, match="to have 8 channels, but got 4 channels instead"):
        conv_volume.infer_conv3d((x, layout(dtypes.float32, (4, 4, 2, 2, 2))), (*usual[:3], 2, None))
    with pytest.raises(RuntimeError, match="grad_output: got float32"):
        conv_volume.infer_conv3d_weight((x, x), (*usual[:4], (2, 2, 2)))
