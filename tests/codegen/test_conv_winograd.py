"""Winograd's convolutions, forward and gradient of the input, against plain NumPy in float64."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import runner
from numpy.lib.stride_tricks import sliding_window_view

from cltorch.codegen import conv, conv_winograd
from cltorch.codegen.conv import WinogradConfig, lower_conv, lower_conv_input
from cltorch.codegen.conv_winograd_transforms import INPUT, PRODUCTS, TAPS, twice
from cltorch.codegen.program import Epilogue, Instr
from cltorch.codegen.source import Local
from cltorch.dtypes import DType, bfloat16, float16, float32, float64
from cltorch.shapes import Layout, layout
from cltorch.target import Target

DEVICES = runner.devices()
SWEEP = DEVICES[0]
DIRECTIONS = ("forward", "input")
BOUND = {2: 5e-6, 4: 3e-5}  # of the largest error, relative to the standard deviation of the result

# (N, C, H, W), K, padding
SHAPES = [
    ((2, 40, 8, 8), 33, (1, 1)),
    ((1, 64, 13, 11), 40, (1, 1)),
    ((3, 20, 4, 4), 35, (1, 1)),
    ((2, 5, 7, 9), 3, (0, 0)),
    ((1, 1, 1, 1), 1, (1, 1)),
    ((2, 33, 6, 5), 17, (2, 2)),
    ((2, 16, 3, 3), 16, (0, 0)),
    ((1, 18, 2, 37), 20, (2, 0)),
    ((1, 3, 5, 90), 50, (1, 2)),  # a row of more tiles than are inversely transformed together
    ((1, 17, 4, 3), 17, (3, 5)),  # more padding than kernel: the gradient reads from inside dy
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


def correlate(x: np.ndarray, w: np.ndarray, padding: tuple[int, int]) -> np.ndarray:
    py, px = padding
    padded = np.pad(x, ((0, 0), (0, 0), (py, py), (px, px)))
    return np.einsum("ncyxrs,kcrs->nkyx", sliding_window_view(padded, (3, 3), (2, 3)), w, optimize=True)


class Problem:
    """Operands, layouts and expected results of one convolution; weights scaled so that results are of order one."""

    def __init__(self, shape, k, padding, dtype=float32, seed=0, offset=0.0):
        rng = np.random.default_rng(seed)
        self.dtype, self.attrs = dtype, ((1, 1), padding, (1, 1), 1)

        def made(size, scale=1.0, mean=0.0):
            return decode(encode(rng.standard_normal(size) * scale + mean, dtype), dtype)

        n, c, h, width = shape
        py, px = padding
        self.x, self.w = made(shape, mean=offset), made((k, c, 3, 3), (9 * max(c, k)) ** -0.5)
        self.y = correlate(self.x, self.w, padding)
        self.dy = made(self.y.shape, mean=offset)
        turned = np.ascontiguousarray(self.w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3))
        self.dx = correlate(self.dy, turned, (2, 2))[:, :, py : py + h, px : px + width]
        self.layouts = [layout(dtype, a.shape) for a in (self.x, self.w, self.dy)]

    def operands(self, direction):
        x, w, y = self.layouts
        if direction == "forward":
            return [self.x, self.w], self.y, (x, w), y
        return [self.dy, self.w], self.dx, (y, w), x

    def lower(self, direction, target, config=None, epilogue=None):
        _, _, ins, out = self.operands(direction)
        if direction == "forward":
            return lower_conv(ins, (out,), (*self.attrs, None), target, epilogue, config)
        return lower_conv_input(ins, (out,), (*self.attrs, self.x.shape[2:]), target, epilogue, config)

    def check(self, direction, lowered, device, bound):
        values, expected, _, out = self.operands(direction)
        (got,) = runner.run(lowered, [encode(a, self.dtype) for a in values], [out], device=device)
        close(decode(got, self.dtype).reshape(out.shape), expected, bound)


def close(got: np.ndarray, expected: np.ndarray, bound: float) -> None:
    assert np.isfinite(got).all()
    scale = expected.std() if expected.size > 100 else max(1.0, np.abs(expected).max())
    assert np.abs(got - expected).max() <= bound * scale


def configuration(outputs: int, width: int, **changes) -> WinogradConfig:
    return replace(WinogradConfig(outputs, width, 2, 4, 8, 2, 64), **changes)


@pytest.mark.parametrize("outputs", [2, 4])
@pytest.mark.parametrize("chunk", [0, 16])
def test_every_device(device, outputs, chunk):
    target = runner.target(device)
    config = configuration(outputs, target.vector_width, chunk=chunk, spilled=target.local_memory < 65536)
    for problem in SHAPES[3:5] if device.name == "oclgrind" else SHAPES[:4]:  # oclgrind interprets every instruction
        p = Problem(*problem)
        for direction in DIRECTIONS:
            p.check(direction, p.lower(direction, target, config), device, BOUND[outputs])


@pytest.mark.parametrize("outputs", [2, 4])
@pytest.mark.parametrize("problem", SHAPES, ids=str)
def test_shapes(outputs, problem):
    """Sizes that are no multiple of anything; a block of tiles that is not full, in several blocks and in one."""
    p, target = Problem(*problem), runner.target(SWEEP)
    for direction, tiles in product(DIRECTIONS, (4, 40)):
        p.check(direction, p.lower(direction, target, configuration(outputs, 16, tiles=tiles)), SWEEP, BOUND[outputs])


@pytest.mark.parametrize("width", [4, 8])
@pytest.mark.parametrize("vectors, spilled", [(1, False), (2, True)])
def test_widths_and_products_in_global_memory(width, vectors, spilled):
    p, target = Problem(*SHAPES[0]), runner.target(SWEEP)
    for direction, chunk in product(DIRECTIONS, (0, 8)):
        config = configuration(4, width, vectors=vectors, spilled=spilled, chunk=chunk)
        p.check(direction, p.lower(direction, target, config), SWEEP, BOUND[4])


def test_some_images_at_a_time():
    p, target = Problem((5, 20, 6, 6), 18, (1, 1)), runner.target(SWEEP)
    for chunk, direction in product((0, 16), DIRECTIONS):
        lowered = p.lower(direction, target, configuration(4, 16, images=2, chunk=chunk))
        assert len(lowered.launches) == 6
        p.check(direction, lowered, SWEEP, BOUND[4])


def test_large_batches_take_bounded_memory():
    target = replace(CHOICE, compute_units=8)
    x, w = layout(float32, (64, 64, 224, 224)), layout(float32, (64, 64, 3, 3))
    lowered = lower_conv((x, w), (x,), ((1, 1), (1, 1), (1, 1), 1, None), target)
    assert len(lowered.launches) > 2 and sum(lowered.scratch) < 70 << 20
    assert chosen((1, 64, 2000, 2000), 64) is None


def test_local_memory_suffices():
    """Rows of any length: what is chosen fits, and very long rows are left to the direct form."""
    for size, memory in product((7, 56, 224, 500), (65536, 262144)):
        config = chosen((1, 64, size, size), 64, replace(CHOICE, local_memory=memory))
        if config is None:
            continue
        x, w = layout(float32, (1, 64, size, size)), layout(float32, (64, 64, 3, 3))
        lowered = lower_conv((x, w), (x,), ((1, 1), (1, 1), (1, 1), 1, None), CHOICE, None, config)
        for launch in lowered.launches:
            assert sum(a.nbytes for a in launch.args if isinstance(a, Local)) <= memory
    assert chosen((1, 64, 4, 20000), 64) is None


@pytest.mark.parametrize("dtype", [float16, bfloat16], ids=repr)
def test_short_floats(device, dtype):
    """Storage of 16 bits, sums in float: the result is rounded once."""
    p, target = Problem(*SHAPES[0], dtype=dtype), runner.target(device)
    for direction in DIRECTIONS:
        config = configuration(4, target.vector_width, chunk=16 if direction == "input" else 0)
        p.check(direction, p.lower(direction, target, config), device, 2e-2 if dtype is bfloat16 else 3e-3)


@pytest.mark.parametrize("channels", [64, 256, 512])
def test_error_grows_little_with_channels(channels):
    p = Problem((1, channels, 8, 8), 64, (1, 1), seed=channels)
    for outputs, direction in product((2, 4), DIRECTIONS):
        config = configuration(outputs, 16, tile=8)
        p.check(direction, p.lower(direction, runner.target(SWEEP), config), SWEEP, BOUND[outputs])


BENCHMARKED = [  # (N, C, H, W), K
    ((4, 64, 32, 32), 64), ((4, 128, 16, 16), 128), ((4, 256, 8, 8), 256), ((4, 512, 4, 4), 512), ((1, 64, 56, 56), 64)
]  # fmt: skip


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("outputs", (2, 4))
def test_benchmarked_shapes_stay_within_the_stated_bound(outputs, direction):
    """Of the largest output, as issue 3 states it: 5e-6 and 3e-5; also behind a mean of a thousand deviations."""
    worst = {}
    for shape, k in BENCHMARKED:
        for offset in (0.0, 1e3):
            problem = Problem(shape, k, (1, 1), offset=offset)
            values, expected, ins, out = problem.operands(direction)
            config, _ = conv_winograd.configure(outputs, out.shape, ins[0].shape[1], False, runner.target(SWEEP))
            lowered = problem.lower(direction, runner.target(SWEEP), config)
            (got,) = runner.run(lowered, [a.astype(np.float32) for a in values], [out], device=SWEEP)
            worst[shape, offset] = abs(got.reshape(out.shape) - expected).max() / abs(expected).max()
    assert max(worst.values()) <= BOUND[outputs], worst


@pytest.mark.parametrize("outputs", [2, 4])
def test_infinities_and_nan_stay_near(outputs):
    """A pixel that is not finite spoils its own tiles and no other image or distant tile."""
    p, target = Problem((2, 16, 16, 16), 16, (1, 1)), runner.target(SWEEP)
    p.x[0, 3, 2, 2] = np.inf
    (got,) = runner.run(
        p.lower("forward", target, configuration(outputs, 16)),
        [p.x.astype(np.float32), p.w.astype(np.float32)],
        [p.layouts[2]],
        device=SWEEP,
    )
    got = got.reshape(p.y.shape)
    assert not np.isfinite(got[0, :, 1:4, 1:4]).any()
    close(got[1].astype(np.float64), p.y[1], BOUND[outputs])
    close(got[0, :, 8:].astype(np.float64), p.y[0, :, 8:], BOUND[outputs])


def finished(out: Layout, inputs: tuple[Layout, ...], alias: int = -1) -> Epilogue:
    """relu(value + bias) * scale + residual."""
    instrs = (
        Instr("{0} + {1}", (0, 1), out.dtype),
        Instr("{0} > $0$ ? {0} : $0$", (4,), out.dtype),
        Instr("{0} * {1}", (5, 3), out.dtype),
        Instr("{0} + {1}", (6, 2), out.dtype),
    )
    return Epilogue(out.shape, out.dtype, inputs, (out.dtype,), instrs, ((7, out),), (alias,))


@pytest.mark.parametrize("problem", [SHAPES[0], SHAPES[1]], ids=str)
def test_epilogue(problem):
    """Bias, activation, run-time scalar and a residual that is plain, transposed or the output itself."""
    p, target = Problem(*problem), runner.target(SWEEP)
    rng = np.random.default_rng(1)
    for direction in DIRECTIONS:
        values, expected, _, out = p.operands(direction)
        n, c, h, w = out.shape
        bias = rng.standard_normal(c).astype(np.float32)
        residual = rng.standard_normal((n, c, h, w)).astype(np.float32)
        wanted = np.maximum(expected + bias.reshape(1, c, 1, 1), 0) * 0.5 + residual
        turned = layout(float32, out.shape, (c * h * w, h * w, 1, h))
        for form, memory, shares in [
            (out, residual, None),
            (turned, np.ascontiguousarray(residual.transpose(0, 1, 3, 2)), None),
            (out, residual, {0: 3}),
        ]:
            epilogue = finished(out, (layout(float32, out.shape, (0, 1, 0, 0)), form), 1 if shares else -1)
            (got,) = runner.run(
                p.lower(direction, target, configuration(4, 16), epilogue),
                [a.astype(np.float32) for a in values] + [bias, memory],
                [out],
                scalars=[0.5],
                device=SWEEP,
                shares=shares,
            )
            close(got.reshape(out.shape).astype(np.float64), wanted, BOUND[4])


def test_two_stores_and_element_numbers():
    p = Problem(*SHAPES[1])
    values, expected, _, out = p.operands("forward")
    epilogue = Epilogue(out.shape, float32, (), (), (Instr("index", (), float32),), ((0, out), (1, out)), (-1, -1))
    got = runner.run(
        p.lower("forward", runner.target(SWEEP), configuration(2, 16), epilogue),
        [a.astype(np.float32) for a in values],
        [out, out],
        device=SWEEP,
    )
    close(got[0].reshape(out.shape).astype(np.float64), expected, BOUND[2])
    assert (got[1] == np.arange(out.numel)).all()


@pytest.mark.parametrize("chunk", [0, 16])
def test_views(chunk):
    """Operands with gaps between rows, channels and images and an offset, weights too; a transposed output."""
    p, target = Problem(*SHAPES[0]), runner.target(SWEEP)
    rng = np.random.default_rng(2)

    def spaced(values: np.ndarray, columns: int) -> tuple[np.ndarray, Layout]:
        n, c, h, w = values.shape
        memory = rng.standard_normal((n + 1, c + 2, h, w + columns)).astype(np.float32)
        memory[1:, 1 : c + 1, :, :w] = values
        stride = ((c + 2) * h * (w + columns), h * (w + columns), w + columns, 1)
        return memory, layout(float32, values.shape, stride, stride[0] + stride[1])

    x, lx = spaced(p.x, 3)
    w, lw = spaced(p.w, 0)
    dy, ly = spaced(p.dy, 1)
    p.layouts = [lx, lw, ly]
    for direction, memory in (("forward", [x, w]), ("input", [dy, w])):
        expected = p.operands(direction)[1]
        n, c, h, width = expected.shape
        out = layout(float32, expected.shape, (1, n, n * c * width, n * c), 5)
        lowered = p.lower(direction, target, configuration(4, 16, chunk=chunk), Epilogue.identity(out))
        (got,) = runner.run(lowered, memory, [out], device=SWEEP)
        close(got[5:].reshape(h, width, c, n).transpose(3, 2, 0, 1).astype(np.float64), expected, BOUND[4])


@pytest.mark.parametrize("outputs", [2, 4])
def test_transforms_are_exact(outputs):
    """The factored texts, run as Python, make a convolution of integers up to rounding of the thirds in float64."""
    side = outputs + 2

    def evaluate(line, sides, values):
        text = twice(line, sides, lambda i, j: f"given[{i}][{j}]", "T", "o")
        names = {"given": values}
        for statement in filter(None, map(str.strip, text.split(";"))):
            exec(re.sub(r"\b(\d+\.\d+)f\b", r"\1", statement.removeprefix("const T ")), {}, names)
        return np.array([[names[f"o{i}_{j}"] for j in range(sides[1])] for i in range(sides[1])])

    rng = np.random.default_rng(3)
    d, g = rng.integers(-9, 9, (side, side)).astype(float), rng.integers(-9, 9, (3, 3)).astype(float)
    v, u = evaluate(INPUT[outputs], (side, side), d.tolist()), evaluate(TAPS[outputs], (3, side), g.tolist())
    got = evaluate(PRODUCTS[outputs], (side, outputs), (u * v).tolist())
    expected = np.einsum("yxrs,rs->yx", sliding_window_view(d, (3, 3)), g)
    np.testing.assert_allclose(got, expected, atol=1e-5)  # the literals of 1/3 and 1/15 have nine digits


CHOICE = Target(vector_width=16, local_memory=262144, compute_units=2)


def chosen(shape, k, target=CHOICE, dtype=float32, stride=(1, 1), dilation=(1, 1), groups=1, taps=3):
    n, c, h, w = shape
    x, y = layout(dtype, shape), layout(dtype, (n, k, h, w))
    return conv.choose_winograd(
        "conv",
        (x, layout(dtype, (k, c // groups, taps, taps))),
        (y,),
        (stride, (1, 1), dilation, groups, None),
        target,
    )


def test_choice(monkeypatch):
    monkeypatch.setattr(conv_winograd.settings, "winograd", "auto")
    monkeypatch.setattr(conv_winograd.settings, "precise", False)
    for shape in [(16, 64, 32, 32), (16, 128, 16, 16), (16, 256, 8, 8), (16, 512, 4, 4)]:
        assert chosen(shape, shape[1]).outputs == 4
    assert chosen((16, 512, 4, 4), 512).chunk  # few tiles: taps are transformed in passing
    assert not chosen((16, 64, 32, 32), 64).chunk
    assert chosen((4, 3, 32, 32), 64) is None  # few channels
    assert chosen((1, 16, 8, 8), 16) is None  # little to do
    for refused in [
        {"dtype": float64},
        {"stride": (2, 2)},
        {"dilation": (2, 2)},
        {"groups": 2},
        {"taps": 5},
        {"target": replace(CHOICE, kind="gpu")},
        {"target": replace(CHOICE, loop_limit=65535)},
        {"target": replace(CHOICE, local_memory=4096)},
    ]:
        assert chosen((16, 64, 32, 32), 64, **refused) is None, refused


def test_switches(monkeypatch):
    monkeypatch.setattr(conv_winograd.settings, "precise", False)
    for form, wanted in (("2", 2), ("4", 4)):
        monkeypatch.setattr(conv_winograd.settings, "winograd", form)
        assert chosen((1, 16, 8, 8), 16).outputs == wanted
    monkeypatch.setattr(conv_winograd.settings, "precise", True)
    assert chosen((1, 16, 8, 8), 16) is None
    monkeypatch.setattr(conv_winograd.settings, "precise", False)
    monkeypatch.setattr(conv_winograd.settings, "winograd", "0")
    assert chosen((16, 64, 32, 32), 64) is None


def test_one_text_serves_shapes_of_one_form():
    names = set()
    for n, size in ((2, 16), (8, 16), (4, 32)):
        p = [layout(float32, (n, 64, size, size)), layout(float32, (64, 64, 3, 3))]
        lowered = lower_conv(
            tuple(p), (p[0],), ((1, 1), (1, 1), (1, 1), 1, None), CHOICE, None, configuration(4, 16, tiles=4 * n)
        )
        names.add(tuple(launch.source.name for launch in lowered.launches))
    assert len(names) == 1
