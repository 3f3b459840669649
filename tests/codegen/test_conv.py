"""Convolution kernels, all three directions and every form, against plain NumPy in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import runner

from cltorch.codegen import conv, conv_images
from cltorch.codegen.conv import ConvConfig, WeightConfig, lower_conv, lower_conv_input, lower_conv_weight
from cltorch.codegen.conv_shapes import long_row, merged_rows
from cltorch.codegen.program import Epilogue, Instr
from cltorch.config import settings
from cltorch.dtypes import DType, bfloat16, float16, float32, float64, int8, int16, int32, int64, uint8
from cltorch.shapes import Layout, layout

DEVICES = runner.devices()
SWEEP = DEVICES[0]  # Intel's where it is installed: sweeps build hundreds of kernels, and its compiler is the quickest
TOLERANCE = {"float32": 3e-6, "float64": 1e-14, "float16": 1e-3, "bfloat16": 8e-3}

# (N, C, H, W), K, (R, S), stride, padding, dilation, groups
COMMON = [
    ((4, 3, 32, 32), 6, (5, 5), (1, 1), (0, 0), (1, 1), 1),
    ((3, 6, 14, 14), 16, (5, 5), (1, 1), (0, 0), (1, 1), 1),
    ((2, 40, 8, 8), 33, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    ((2, 20, 13, 12), 36, (3, 3), (2, 2), (1, 1), (1, 1), 1),
    ((2, 32, 16, 16), 48, (1, 1), (2, 2), (0, 0), (1, 1), 1),
    ((2, 5, 17, 19), 5, (3, 3), (1, 1), (1, 1), (1, 1), 5),
    ((3, 40, 7, 6), 70, (1, 1), (1, 1), (0, 0), (1, 1), 1),
]
ODD = [
    ((2, 4, 9, 11), 6, (3, 2), (2, 3), (1, 2), (2, 1), 2),
    ((1, 12, 1, 50), 12, (1, 25), (1, 4), (0, 12), (1, 1), 3),
    ((2, 3, 20, 23), 24, (7, 7), (2, 2), (3, 3), (1, 1), 1),
    ((2, 7, 19, 33), 3, (3, 3), (1, 1), (2, 0), (2, 1), 1),
    ((1, 18, 7, 7), 17, (3, 3), (3, 2), (2, 1), (2, 2), 1),
    ((3, 17, 4, 4), 35, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    ((1, 2, 5, 6), 3, (2, 3), (1, 1), (4, 5), (1, 1), 1),  # more padding than kernel: whole outputs of zeros
    ((2, 3, 9, 7), 4, (1, 1), (3, 3), (1, 1), (1, 1), 1),  # pixels that no tap reaches
    ((1, 1, 1, 1), 1, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    ((2, 6, 5, 40), 12, (1, 1), (1, 1), (0, 0), (1, 1), 6),
    ((1, 130, 6, 6), 20, (2, 2), (2, 2), (0, 0), (1, 1), 1),
    ((1, 2, 3, 90), 20, (3, 50), (1, 1), (1, 3), (1, 1), 1),
]


@pytest.fixture(params=DEVICES, ids=repr)
def device(request) -> runner.RawDevice:
    return request.param


def encode(values: np.ndarray, dtype: DType) -> np.ndarray:
    if dtype is bfloat16:
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return values.astype(dtype.numpy)


def decode(memory: np.ndarray, dtype: DType) -> np.ndarray:
    if dtype is bfloat16:
        return (memory.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return memory.astype(np.float64)


def reference(x, w, dy, stride, padding, dilation, groups):
    """y, dx, dw by one matrix product per tap. dy None: made of y's shape by the caller's generator."""
    n, c, h, width = x.shape
    k, per_group, r, s = w.shape
    (sy, sx), (py, px), (ey, ex) = stride, padding, dilation
    ho, wo = (h + 2 * py - ey * (r - 1) - 1) // sy + 1, (width + 2 * px - ex * (s - 1) - 1) // sx + 1
    padded = np.zeros((n, c, h + 2 * py, width + 2 * px))
    padded[:, :, py : py + h, px : px + width] = x
    y, dw, dpadded = np.zeros((n, k, ho, wo)), np.zeros(w.shape), np.zeros(padded.shape)
    dy = dy(y.shape) if callable(dy) else dy
    for g in range(groups):
        cs, ks = slice(g * per_group, (g + 1) * per_group), slice(g * k // groups, (g + 1) * k // groups)
        for i in range(r):
            for j in range(s):
                rows, columns = (
                    slice(i * ey, i * ey + (ho - 1) * sy + 1, sy),
                    slice(j * ex, j * ex + (wo - 1) * sx + 1, sx),
                )
                seen = padded[:, cs, rows, columns]
                y[:, ks] += np.einsum("ncyx,kc->nkyx", seen, w[ks, :, i, j], optimize=True)
                dw[ks, :, i, j] = np.einsum("nkyx,ncyx->kc", dy[:, ks], seen, optimize=True)
                dpadded[:, cs, rows, columns] += np.einsum("nkyx,kc->ncyx", dy[:, ks], w[ks, :, i, j], optimize=True)
    return y, dpadded[:, :, py : py + h, px : px + width], dw, dy


class Problem:
    """Data, layouts and expected results of one convolution."""

    def __init__(self, shape, k, taps, stride, padding, dilation, groups, dtype=float32, seed=0):
        rng = np.random.default_rng(seed)
        self.dtype = dtype

        def made(size):
            return decode(encode(rng.standard_normal(size), dtype), dtype)

        self.x, self.w = made(shape), made((k, shape[1] // groups, *taps))
        self.y, self.dx, self.dw, self.dy = reference(self.x, self.w, made, stride, padding, dilation, groups)
        self.attrs = (stride, padding, dilation, groups)
        self.layouts = [layout(dtype, a.shape) for a in (self.x, self.w, self.dy)]

    def lower(self, direction, target, config=None, epilogue=None):
        x, w, y = self.layouts
        if direction == "forward":
            return lower_conv((x, w), (y,), (*self.attrs, None), target, epilogue, config)
        if direction == "input":
            return lower_conv_input((y, w), (x,), (*self.attrs, self.x.shape[2:]), target, epilogue, config)
        return lower_conv_weight((y, x), (w,), (*self.attrs, self.w.shape[2:]), target, epilogue, config)

    def operands(self, direction):
        """Inputs, expected result and its layout."""
        x, w, y = self.layouts
        return {
            "forward": ([self.x, self.w], self.y, y),
            "input": ([self.dy, self.w], self.dx, x),
            "weight": ([self.dy, self.x], self.dw, w),
        }[direction]

    def check(self, direction, lowered, device):
        inputs, expected, out = self.operands(direction)
        (got,) = runner.run(lowered, [encode(a, self.dtype) for a in inputs], [out], device=device)
        close(decode(got, self.dtype).reshape(out.shape), expected, self.dtype)


def close(got: np.ndarray, expected: np.ndarray, dtype: DType) -> None:
    assert np.isfinite(got).all()
    scale = np.abs(expected).max() + 1e-3
    assert np.abs(got - expected).max() <= TOLERANCE[dtype.name] * scale


# 1x1, stride 1: a product of matrices on CPUs of 16 vector registers
PRODUCT = ((3, 40, 7, 6), 70, (1, 1), (1, 1), (0, 0), (1, 1), 1)
DIRECTIONS = ("forward", "input", "weight")


@pytest.mark.parametrize("problem", COMMON, ids=str)
def test_every_device(device, problem):
    p = Problem(*problem)
    for direction in DIRECTIONS:
        p.check(direction, p.lower(direction, runner.target(device)), device)


@pytest.mark.parametrize("problem", ODD, ids=str)
@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_odd_problems(kind, problem):
    p = Problem(*problem)
    for direction in DIRECTIONS:
        p.check(direction, p.lower(direction, runner.target(SWEEP, kind)), SWEEP)


@pytest.mark.parametrize("problem", COMMON[2:4], ids=str)
def test_gpu_forms(device, problem):
    p = Problem(*problem)
    for direction in DIRECTIONS:
        p.check(direction, p.lower(direction, runner.target(device, "gpu")), device)


@pytest.mark.parametrize("problem", [COMMON[3], *ODD[:2]], ids=str)
def test_plain_form(problem):
    p = Problem(*problem)
    for direction, config in zip(DIRECTIONS, (ConvConfig("plain"), ConvConfig("plain"), WeightConfig("plain"))):
        p.check(direction, p.lower(direction, runner.target(SWEEP), config), SWEEP)


@pytest.mark.parametrize("width, problem", [(2, ODD[0]), (4, COMMON[3]), (8, ODD[0]), (16, COMMON[2])], ids=str)
def test_channels_form_at_every_width(width, problem):
    """Ragged tiles, several chunks, several parts, at vector widths that are not the device's."""
    p, target = Problem(*problem), runner.target(SWEEP)
    forward = ConvConfig("channels", width, 2, 2, 3, rows=4, chunk=3, parts=2)
    weight = WeightConfig("channels", width, 2, 2, 1, p.w.shape[3], rows=3, images=1, chunk=3, parts=2)
    for direction, config in zip(DIRECTIONS, (forward, forward, weight)):
        p.check(direction, p.lower(direction, target, config), SWEEP)


@pytest.mark.parametrize("width", [4, 8])
def test_pixels_form_at_every_width(width):
    p, target = Problem(*ODD[3]), runner.target(SWEEP)
    config = ConvConfig("pixels", width, 2, 2, 2, rows=7, chunk=7, parts=3)
    p.check("forward", p.lower("forward", target, config), SWEEP)


# depthwise and groups of a few channels: rows longer and shorter than a vector, strides of 1
# to 3, dilation, several images
PLANES = [
    ((3, 6, 9, 41), 6, (3, 3), (1, 1), (1, 1), (1, 1), 6),
    ((5, 4, 7, 7), 4, (3, 3), (2, 2), (1, 1), (1, 1), 4),
    ((2, 3, 8, 10), 6, (5, 5), (2, 1), (2, 2), (1, 1), 3),
    ((2, 12, 6, 5), 9, (3, 2), (1, 3), (2, 0), (2, 1), 3),
    ((9, 8, 4, 4), 8, (3, 3), (1, 1), (1, 1), (1, 1), 2),
    ((1, 4, 1, 37), 4, (1, 9), (1, 2), (0, 4), (1, 1), 4),
]


@pytest.mark.parametrize("problem", PLANES, ids=str)
def test_planes_form(device, problem):
    """What is chosen where groups have few channels; every device."""
    p, target = Problem(*problem), runner.target(device)
    for direction in DIRECTIONS:
        lowered = p.lower(direction, target)
        assert direction == "weight" or "KERNEL_copy" in lowered.launches[0].source.body
        p.check(direction, lowered, device)


@pytest.mark.parametrize("width, problem", [(2, PLANES[0]), (4, PLANES[3]), (8, PLANES[1]), (16, PLANES[2])], ids=str)
def test_planes_form_at_every_width(width, problem):
    """Blocks of rows with fewer at the end, several images per item, several parts, ragged blocks of channels."""
    p, target = Problem(*problem), runner.target(SWEEP)
    for rows, images, parts in ((6, 1, 2), (18, 2, 1)):
        config = ConvConfig("planes", width, 2, 1, 2, rows=rows, images=images, parts=parts, panels=parts)
        weight = WeightConfig("planes", width, 2, 1, 1, 4, rows=rows, images=images, parts=parts, panels=3 - parts)
        for direction, some in zip(DIRECTIONS, (config, config, weight)):
            if images == 1 or rows >= (p.x if direction == "input" else p.y).shape[2]:
                p.check(direction, p.lower(direction, target, some), SWEEP)


def test_long_rows_of_1x1():
    """A 1x1 convolution merges rows where every operand lets it, and only there."""
    x = layout(float32, (2, 24, 6, 5))
    assert merged_rows(x, long_row(x)) == layout(float32, (2, 24, 1, 30))
    assert merged_rows(layout(float32, (2, 24, 6, 5), (24 * 48, 48, 8, 1)), 30) is None
    assert long_row(layout(float32, (1, 1, 56, 56))) == 224


@pytest.mark.parametrize("problem", [COMMON[1], COMMON[3], COMMON[5]], ids=str)
def test_little_local_memory_and_narrow_vectors(problem):
    """What the choosers pick for other devices runs here too."""
    p = Problem(*problem)
    for changes in (
        {"vector_width": 8, "local_memory": 32768},
        {"vector_width": 4, "local_memory": 4096, "compute_units": 64},
    ):
        target = replace(runner.target(SWEEP), **changes)
        for direction in DIRECTIONS:
            p.check(direction, p.lower(direction, target), SWEEP)


@pytest.mark.parametrize("dtype", [float64, float16, bfloat16], ids=repr)
@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_dtypes(device, kind, dtype):
    """Both families of CPU forms on the first device, one text per direction on the others."""
    for problem in (COMMON[0], COMMON[2], PLANES[1]) if device is SWEEP and kind == "cpu" else (COMMON[2],):
        p = Problem((2, *problem[0][1:]), *problem[1:], dtype=dtype)
        for direction in DIRECTIONS:
            p.check(direction, p.lower(direction, runner.target(device, kind)), device)


@pytest.mark.parametrize("dtype", [int64, int32, int16, int8, uint8], ids=repr)
@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_integers(kind, dtype):
    """Sums wrap at the dtype's size, as PyTorch's do; taken over int64, whose low bits are those of any smaller one."""
    rng = np.random.default_rng(2)
    info = np.iinfo(dtype.numpy)
    most = min(info.max, 1 << 28)
    shape, k, taps, *attrs = COMMON[3]
    x, w = (rng.integers(max(info.min, -most), most, size) for size in (shape, (k, shape[1], *taps)))

    def exact(size):
        return rng.integers(max(info.min, -most), most, size)

    stride, padding = attrs[:2]
    ho, wo = ((shape[2 + d] + 2 * padding[d] - taps[d]) // stride[d] + 1 for d in (0, 1))
    dy = exact((shape[0], k, ho, wo))
    padded = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    y, dw, around = np.zeros(dy.shape, np.int64), np.zeros(w.shape, np.int64), np.zeros(padded.shape, np.int64)
    for i in range(taps[0]):
        for j in range(taps[1]):
            rows, columns = (slice(t, t + (m - 1) * step + 1, step) for t, m, step in zip((i, j), (ho, wo), stride))
            place = np.s_[:, :, rows, columns]
            y += np.einsum("ncyx,kc->nkyx", padded[place], w[:, :, i, j])
            dw[:, :, i, j] = np.einsum("nkyx,ncyx->kc", dy, padded[place])
            around[place] += np.einsum("nkyx,kc->ncyx", dy, w[:, :, i, j])
    dx = around[:, :, padding[0] : padding[0] + shape[2], padding[1] : padding[1] + shape[3]]
    lx, lw, ly = (layout(dtype, a.shape) for a in (x, w, dy))
    target = runner.target(SWEEP, kind)
    for lowered, given, expected, out in (
        (lower_conv((lx, lw), (ly,), (*attrs, None), target), (x, w), y, ly),
        (lower_conv_input((ly, lw), (lx,), (*attrs, shape[2:]), target), (dy, w), dx, lx),
        (lower_conv_weight((ly, lx), (lw,), (*attrs, taps), target), (dy, x), dw, lw),
    ):
        (got,) = runner.run(lowered, [a.astype(dtype.numpy) for a in given], [out], device=SWEEP)
        assert (got == expected.astype(dtype.numpy).ravel()).all()


# shapes of benchmarks/convolutions.py
BENCHMARKED = [
    ((16, 64, 32, 32), 64, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    ((16, 256, 8, 8), 256, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    ((16, 512, 4, 4), 512, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    ((16, 128, 16, 16), 256, (3, 3), (2, 2), (1, 1), (1, 1), 1),
    ((16, 128, 16, 16), 256, (1, 1), (2, 2), (0, 0), (1, 1), 1),
    ((1, 3, 224, 224), 64, (7, 7), (2, 2), (3, 3), (1, 1), 1),
    ((16, 144, 32, 32), 144, (3, 3), (1, 1), (1, 1), (1, 1), 144),
]


@pytest.mark.parametrize("problem", BENCHMARKED, ids=str)
def test_errors_of_the_direct_forms(device, problem):
    """At most 4e-6 of the largest output, from float64, at the sizes that the benchmarks time."""
    p, target = Problem(*problem), runner.target(device)
    x, w, y = p.layouts
    for direction, lowered in (
        ("forward", conv_images.lower_conv((x, w), (y,), (*p.attrs, None), target)),
        ("input", conv_images.lower_conv_input((y, w), (x,), (*p.attrs, p.x.shape[2:]), target)),
        ("weight", p.lower("weight", target)),
    ):
        inputs, expected, out = p.operands(direction)
        (got,) = runner.run(lowered, [encode(a, p.dtype) for a in inputs], [out], device=device)
        assert np.abs(got.reshape(out.shape) - expected).max() <= 4e-6 * np.abs(expected).max(), direction


def finished(out: Layout, inputs: tuple[Layout, ...], alias: int = -1) -> Epilogue:
    """relu(value + bias) * scale + residual."""
    instrs = (
        Instr("{0} + {1}", (0, 1), out.dtype),
        Instr("{0} > $0$ ? {0} : $0$", (4,), out.dtype),
        Instr("{0} * {1}", (5, 3), out.dtype),
        Instr("{0} + {1}", (6, 2), out.dtype),
    )
    return Epilogue(out.shape, out.dtype, inputs, (out.dtype,), instrs, ((7, out),), (alias,))


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
@pytest.mark.parametrize("problem", [COMMON[0], COMMON[3], PLANES[1], COMMON[4], PRODUCT], ids=str)
def test_epilogue(kind, problem):
    """Bias, activation, run-time scalar and a residual that is broadcast, transposed or the output itself."""
    p, target = Problem(*problem), runner.target(SWEEP, kind)
    rng = np.random.default_rng(1)
    for direction in DIRECTIONS:
        inputs, value, out = p.operands(direction)
        n, c, h, w = out.shape
        bias = rng.standard_normal(c).astype(np.float32)
        residual = rng.standard_normal((n, c, h, w)).astype(np.float32)
        plain = layout(float32, (n, c, h, w))
        turned = layout(float32, (n, c, h, w), (c * h * w, h * w, 1, h))
        expected = np.maximum(value + bias.reshape(1, c, 1, 1), 0) * 0.5
        forms = [
            (plain, residual, residual, False),
            (turned, residual.transpose(0, 1, 3, 2), residual, False),
            (plain, residual, residual, True),
        ]
        for form, memory, values, in_place in forms:
            epilogue = finished(out, (layout(float32, out.shape, (0, 1, 0, 0)), form), 1 if in_place else -1)
            (got,) = runner.run(
                p.lower(direction, target, epilogue=epilogue),
                [a.astype(np.float32) for a in inputs] + [bias, np.ascontiguousarray(memory)],
                [out],
                scalars=[0.5],
                device=SWEEP,
                shares={0: 3} if in_place else None,
            )
            close(got.reshape(out.shape).astype(np.float64), expected + values, float32)


@pytest.mark.parametrize("problem", [COMMON[2], PRODUCT], ids=str)
def test_two_stores_and_element_numbers(problem):
    """One epilogue stores the value and the element's number in C order."""
    p, target = Problem(*problem), runner.target(SWEEP)
    for direction in DIRECTIONS:
        inputs, value, out = p.operands(direction)
        instrs = (Instr("index", (), float32),)
        epilogue = Epilogue(out.shape, float32, (), (), instrs, ((0, out), (1, out)), (-1, -1))
        got = runner.run(
            p.lower(direction, target, epilogue=epilogue),
            [a.astype(np.float32) for a in inputs],
            [out, out],
            device=SWEEP,
        )
        close(got[0].reshape(out.shape).astype(np.float64), value, float32)
        assert (got[1] == np.arange(out.numel)).all()


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
@pytest.mark.parametrize("problem", [COMMON[0], COMMON[2], ODD[0], PLANES[0], PLANES[1], ODD[9], PRODUCT], ids=str)
def test_views(kind, problem):
    """Inputs with gaps between rows, channels and images and an offset; an output that is a transposed view."""
    p, target = Problem(*problem), runner.target(SWEEP, kind)
    rng = np.random.default_rng(2)

    def spaced(values: np.ndarray, rows: int) -> tuple[np.ndarray, Layout]:
        n, c, h, w = values.shape
        memory = rng.standard_normal((n + 1, c + 2, h, w + rows)).astype(np.float32)
        memory[1:, 1 : c + 1, :, :w] = values
        stride = (((c + 2) * h * (w + rows)), h * (w + rows), w + rows, 1)
        return memory, layout(float32, values.shape, stride, stride[0] + stride[1])

    x, lx = spaced(p.x, 3)
    w, lw = spaced(p.w, 0)
    dy, ly = spaced(p.dy, 1)
    p.layouts = [lx, lw, ly]
    for direction, memory, value in (("forward", [x, w], p.y), ("input", [dy, w], p.dx), ("weight", [dy, x], p.dw)):
        n, c, h, width = value.shape
        out = layout(float32, value.shape, (1, n, n * c * width, n * c), 5)
        epilogue = Epilogue.identity(out)
        (got,) = runner.run(p.lower(direction, target, epilogue=epilogue), memory, [out], device=SWEEP)
        close(got[5:].reshape(h, width, c, n).transpose(3, 2, 0, 1).astype(np.float64), value, float32)


def test_empty_batches_and_empty_results():
    target = runner.target(SWEEP)
    x, w, y = layout(float32, (0, 3, 8, 8)), layout(float32, (5, 3, 3, 3)), layout(float32, (0, 5, 6, 6))
    attrs = ((1, 1), (0, 0), (1, 1), 1)
    assert lower_conv((x, w), (y,), (*attrs, None), target).launches == ()
    assert lower_conv_input((y, w), (x,), (*attrs, (8, 8)), target).launches == ()
    for kind in ("cpu", "gpu"):  # the gradient of the weight over no images is zero, and has to be written
        lowered = lower_conv_weight((y, x), (w,), (*attrs, (3, 3)), runner.target(SWEEP, kind))
        (got,) = runner.run(lowered, [np.zeros(1, np.float32), np.zeros(1, np.float32)], [w], device=SWEEP)
        assert (got == 0).all()


def test_layouts_that_need_a_copy_are_refused():
    target = runner.target(SWEEP)
    attrs = ((1, 1), (1, 1), (1, 1), 1, None)
    good, weight = layout(float32, (2, 3, 8, 8)), layout(float32, (4, 3, 3, 3))
    turned, expanded = layout(float32, (2, 3, 8, 8), (192, 64, 1, 8)), layout(float32, (2, 3, 8, 8), (0, 0, 0, 0))
    out = (layout(float32, (2, 4, 8, 8)),)
    assert conv.accepts(good) and not conv.accepts(turned) and not conv.accepts(expanded)
    assert conv.accepts_weight(weight) and not conv.accepts_weight(layout(float32, (4, 3, 3, 3), (1, 4, 12, 36)))
    with pytest.raises(
        ValueError, match=r"conv: input: needs_contiguous: got shape \(2, 3, 8, 8\) with strides \(192, 64, 1, 8\)"
    ):
        lower_conv((turned, weight), out, attrs, target)
    with pytest.raises(ValueError, match="conv_input: weight: needs_contiguous"):
        lower_conv_input((out[0], layout(float32, (4, 3, 3, 3), (1, 4, 12, 36))), (good,), (*attrs[:4], (8, 8)), target)
    with pytest.raises(ValueError, match="conv_weight: grad_output: needs_contiguous"):
        lower_conv_weight((layout(float32, (2, 4, 8, 8), (0, 0, 0, 0)), good), (weight,), (*attrs[:4], (3, 3)), target)


def test_inferred_shapes():
    attrs = ((2, 1), (1, 0), (1, 2), 2)
    x, w, y = layout(float32, (3, 4, 9, 11)), layout(float32, (6, 2, 3, 2)), layout(float32, (3, 6, 5, 9))
    assert conv.infer_conv((x, w), (*attrs, None)) == ((float32, (3, 6, 5, 9)),)
    assert conv.infer_conv_input((y, w), (*attrs, (9, 11))) == ((float32, (3, 4, 9, 11)),)
    assert conv.infer_conv_weight((y, x), (*attrs, (3, 2))) == ((float32, (6, 2, 3, 2)),)


@pytest.mark.parametrize(
    "x, w, attrs, text",
    [
        ((2, 3, 8, 8), (4, 2, 3, 3), ((1, 1), (0, 0), (1, 1), 1, None), "to have 2 channels, but got 3 channels"),
        (
            (2, 4, 8, 8),
            (5, 2, 3, 3),
            ((1, 1), (0, 0), (1, 1), 2, None),
            "got 5 output channels, wanted a multiple of groups=2",
        ),
        (
            (2, 3, 2, 8),
            (4, 3, 3, 3),
            ((1, 1), (0, 0), (1, 1), 1, None),
            "Kernel size can't be greater than actual input size",
        ),
        ((2, 3, 8), (4, 3, 3), ((1, 1), (0, 0), (1, 1), 1, None), "wanted .N, C, H, W."),
        ((2, 3, 8, 8), (4, 3, 3, 3), ((0, 1), (0, 0), (1, 1), 1, None), "stride and dilation"),
        ((2, 3, 8, 8), (4, 3, 3, 3), ((1, 1), (-1, 0), (1, 1), 1, None), "negative padding"),
    ],
)
def test_refused_shapes(x, w, attrs, text):
    with pytest.raises(RuntimeError, match=text):
        conv.infer_conv((layout(float32, x), layout(float32, w)), attrs)


def test_one_text_serves_shapes_of_one_form(monkeypatch):
    """Sizes are run-time values: batch size and image size do not change the kernel."""
    monkeypatch.setattr(settings, "winograd", "0")
    target = runner.target(SWEEP)
    names = set()
    for n, size in ((2, 16), (8, 16), (4, 32)):
        x, w, y = (
            layout(float32, (n, 64, size, size)),
            layout(float32, (64, 64, 3, 3)),
            layout(float32, (n, 64, size, size)),
        )
        lowered = lower_conv((x, w), (y,), ((1, 1), (1, 1), (1, 1), 1, None), target)
        names.add(lowered.launches[0].source.name)
    assert len(names) == 1


def test_small_problems_are_one_launch_without_scratch():
    """A training step of a small network is bound by launches."""
    target = runner.target(SWEEP)
    for problem in COMMON[:2]:
        p = Problem(*problem)
        for direction in DIRECTIONS:
            lowered = p.lower(direction, target)
            assert len(lowered.launches) == 1 and not lowered.scratch
