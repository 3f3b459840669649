"""Pointwise lowering: every form (flat, strided, tiled, merged), in both device classes, against NumPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import runner

from cltorch.codegen.pointwise import lower_multi, lower_pointwise
from cltorch.codegen.program import Body, Instr
from cltorch.dtypes import bool_, float16, float32, float64, int64, uint8
from cltorch.shapes import Layout, layout

DEVICES = runner.devices()
KINDS = ("cpu", "gpu")
rng = np.random.default_rng(11)
ADD = Instr("{0} + {1}", (0, 1), float32)


def view(storage: np.ndarray, place: Layout) -> np.ndarray:
    """The elements of a storage that a Layout names."""
    stride = [s * storage.itemsize for s in place.stride]
    return np.lib.stride_tricks.as_strided(storage[place.offset :], place.shape, stride)


def storage_for(*places: Layout) -> np.ndarray:
    """Random float32 storage that holds all of `places`."""
    return rng.standard_normal(max(p.extent()[1] for p in places) + 1).astype(np.float32)


def form_of(lowered) -> str:
    """Which form the template rendered."""
    text = lowered.launches[0].source.text
    return "tiled" if "_stage" in text else "strided" if "units" in text else "flat"


# shape, layout of a, layout of b, layout of the output; the form expected on a CPU
FORMS = {
    "flat": (
        (1003,),
        layout(float32, (1003,)),
        layout(float32, (1003,), (1,), 5),
        layout(float32, (1003,), (1,), 3),
        "flat",
    ),
    "one": ((), layout(float32, (), (), 2), layout(float32, ()), layout(float32, ()), "flat"),
    "scalar": (
        (6, 70),
        layout(float32, (6, 70)),
        layout(float32, (6, 70), (0, 0), 4),
        layout(float32, (6, 70)),
        "flat",
    ),
    "permuted": (
        (5, 6, 7),
        layout(float32, (5, 6, 7), (1, 35, 5)),
        layout(float32, (5, 6, 7), (1, 35, 5), 2),
        layout(float32, (5, 6, 7), (1, 35, 5)),
        "flat",
    ),
    "row": (
        (9, 130),
        layout(float32, (9, 130)),
        layout(float32, (9, 130), (0, 1)),
        layout(float32, (9, 130)),
        "strided",
    ),
    "column": (
        (9, 131),
        layout(float32, (9, 131)),
        layout(float32, (9, 131), (1, 0)),
        layout(float32, (9, 131)),
        "strided",
    ),
    "channel": (
        (3, 4, 7, 7),
        layout(float32, (3, 4, 7, 7)),
        layout(float32, (3, 4, 7, 7), (0, 1, 0, 0)),
        layout(float32, (3, 4, 7, 7)),
        "strided",
    ),
    "slices": (
        (4, 5, 6),
        layout(float32, (4, 5, 6), (240, 24, 2), 7),
        layout(float32, (4, 5, 6), (120, 12, 1)),
        layout(float32, (4, 5, 6), (91, 18, 3), 2),
        "strided",
    ),
    "transposed": (
        (37, 50),
        layout(float32, (37, 50), (1, 37)),
        layout(float32, (37, 50)),
        layout(float32, (37, 50)),
        "tiled",
    ),
    "batched": (
        (3, 33, 40),
        layout(float32, (3, 33, 40), (1320, 1, 33), 1),
        layout(float32, (3, 33, 40), (0, 1, 33)),
        layout(float32, (3, 33, 40)),
        "tiled",
    ),
    "channels": (
        (2, 8, 9, 3),
        layout(float32, (2, 8, 9, 3), (216, 9, 1, 72)),
        layout(float32, (2, 8, 9, 3), (0, 0, 0, 1)),
        layout(float32, (2, 8, 9, 3)),
        "strided",
    ),
    "rows of 2": (
        (500, 2),
        layout(float32, (500, 2), (3, 1)),
        layout(float32, (500, 2), (1, 0)),
        layout(float32, (500, 2)),
        "strided",
    ),
}


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("name", FORMS)
def test_forms(device, name):
    shape, a_place, b_place, out_place, form = FORMS[name]
    a, b = storage_for(a_place), storage_for(b_place)
    body = Body(shape, (a_place, b_place), (), (ADD,), ((2, out_place),))
    wanted = view(a, a_place) + view(b, b_place)
    assert form_of(lower_pointwise(body, replace(runner.target(device), vector_width=8))) == form
    for kind in KINDS:
        before = rng.standard_normal(out_place.extent()[1] + 1).astype(np.float32)
        (out,) = runner.run(lower_pointwise(body, runner.target(device, kind)), [a, b], [before], device=device)
        assert np.array_equal(view(out, out_place), wanted), kind
        untouched = np.ones(out.size, bool)
        view(untouched, out_place)[...] = False
        assert np.array_equal(out[untouched], before[untouched]), (
            f"{kind}: elements between those of the view were written"
        )


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_index_counts_in_c_order_whatever_the_walk(device, kind):
    shape = (3, 17, 19)
    for place in (layout(int64, shape), layout(int64, shape, (1, 57, 3)), layout(int64, shape, (1000, 40, 2), 5)):
        body = Body(shape, (), (), (Instr("index", (), int64),), ((0, place),))
        (out,) = runner.run(lower_pointwise(body, runner.target(device, kind)), [], [place], device=device)
        assert np.array_equal(view(out, place), np.arange(3 * 17 * 19).reshape(shape))


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_mixed_dtypes_strided_and_transposed(device, kind):
    """bool, float16, uint8 and double operands, gathered and scattered, and two stores."""
    shape = (21, 34)
    mask = rng.random((34, 21)) < 0.5
    half = rng.standard_normal((21, 68)).astype(np.float16)
    byte = rng.integers(0, 255, 34, dtype=np.uint8)
    inputs = (layout(bool_, shape, (1, 21)), layout(float16, shape, (68, 2)), layout(uint8, shape, (0, 1)))
    instrs = (
        Instr("cast", (1,), float64),
        Instr("cast", (2,), float64),
        Instr("{0?} ? {1} : {2}", (0, 3, 4), float64),
        Instr("?{0} > $1$", (5,), bool_),
        Instr("cast", (5,), float16),
    )
    stores = ((5, layout(float64, shape)), (6, layout(bool_, shape, (40, 1), 3)), (7, layout(float16, shape, (1, 21))))
    body = Body(shape, inputs, (), instrs, stores)
    lowered = lower_pointwise(body, runner.target(device, kind))
    outs = runner.run(lowered, [mask, half, byte], [place for _, place in stores], device=device)
    wanted = np.where(mask.T, half[:, ::2].astype(np.float64), byte.astype(np.float64))
    assert np.array_equal(view(outs[0], stores[0][1]), wanted)
    assert np.array_equal(view(outs[1], stores[1][1]), wanted > 1)
    assert np.array_equal(view(outs[2], stores[2][1]), wanted.astype(np.float16))


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 15, 16, 17, 100_003])
def test_in_place(device, kind, n):
    place = layout(float32, (n,), (1,), 2)
    a, b = storage_for(place), storage_for(place)
    body = Body((n,), (place, place), (float32,), (Instr("{0} * {2} + {1}", (0, 1, 2), float32),), ((3, place),), (0,))
    lowered = lower_pointwise(body, runner.target(device, kind))
    (out,) = runner.run(lowered, [a, b], [a], [0.5], device, shares={0: 0})
    np.testing.assert_allclose(out[2:], a[2:] * np.float32(0.5) + b[2:], rtol=1e-6, atol=1e-6)
    assert np.array_equal(out[:2], a[:2])


def test_nothing_to_do():
    place = layout(float32, (0, 5))
    assert lower_pointwise(Body((0, 5), (place,), (), (), ((0, place),)), runner.target(DEVICES[0])).launches == ()


def test_one_text_serves_all_sizes_of_a_form():
    target = runner.target(DEVICES[0])

    def name(n: int, offset: int) -> str:
        place = layout(float32, (n,), (1,), offset)
        return lower_pointwise(Body((n,), (place, place), (), (ADD,), ((2, place),)), target).launches[0].source.name

    assert name(10, 0) == name(12345, 0) == name(10**6, 3)
    assert name(10, 0) != name(1 << 31, 0)  # 64-bit element numbers are another form


@pytest.mark.parametrize("device", DEVICES[:1], ids=str)
def test_work_is_split_as_the_device_asks(device):
    target = replace(runner.target(device), compute_units=64)
    place = layout(float32, (1 << 24,))
    body = Body(place.shape, (place, place), (), (ADD,), ((2, place),))
    assert lower_pointwise(body, target).launches[0].global_size == (512,)
    small = layout(float32, (1000,))
    assert lower_pointwise(Body((1000,), (small, small), (), (ADD,), ((2, small),)), target).launches[
        0
    ].global_size == (1,)
    limited = lower_pointwise(body, replace(target, compute_units=1, vector_width=4, loop_limit=65535)).launches[0]
    assert limited.global_size[0] * 4 * 65535 >= 1 << 24


# ---- merged


def _updates(sizes, offset=0):
    """p -= lr * g; m = 0.9 m + g, in place, for every size."""
    instrs = (
        Instr("{0} * $0.5$ + {1}", (2, 1), float32),
        Instr("{0} - {1} * {2}", (0, 3, 4), float32),
    )
    bodies = []
    for n in sizes:
        place = layout(float32, (n,), (1,), offset)
        bodies.append(Body((n,), (place,) * 3, (float32,), instrs, ((5, place), (4, place)), (0, 2)))
    return tuple(bodies)


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("offset", [0, 3])
def test_merged_updates(device, kind, offset):
    sizes = [1, 5, 0, 1000, 33, 70_001, 16, 2, 9, 10, 11, 64, 128, 7, 3, 250, 251, 252, 253, 254, 255, 256]
    target = replace(runner.target(device, kind), max_parameter_bytes=700)
    lowered = lower_multi(_updates(sizes, offset), target)
    assert 1 < len(lowered.launches) < 8
    assert len({launch.source.name for launch in lowered.launches}) == 1
    given = [rng.standard_normal(n + offset).astype(np.float32) for n in sizes for _ in range(3)]
    shares = {k: v for b in range(len(sizes)) for k, v in ((2 * b, 3 * b), (2 * b + 1, 3 * b + 2))}
    outs = runner.run(lowered, given, [given[shares[k]] for k in range(2 * len(sizes))], [0.1], device, shares)
    for b in range(len(sizes)):
        p, g, m = (x[offset:] for x in given[3 * b : 3 * b + 3])
        momentum = m * np.float32(0.5) + g
        np.testing.assert_allclose(outs[2 * b + 1][offset:], momentum, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(outs[2 * b][offset:], p - np.float32(0.1) * momentum, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("device", DEVICES[:1], ids=str)
def test_merging_without_room_for_arguments_launches_one_by_one(device):
    sizes = [40, 50]
    lowered = lower_multi(_updates(sizes), replace(runner.target(device), max_parameter_bytes=128))
    assert len(lowered.launches) == 2
    given = [rng.standard_normal(n).astype(np.float32) for n in sizes for _ in range(3)]
    outs = runner.run(lowered, given, [given[0], given[2], given[3], given[5]], [0.1], device, {0: 0, 1: 2, 2: 3, 3: 5})
    np.testing.assert_allclose(outs[3], given[5] * np.float32(0.5) + given[4], rtol=1e-6, atol=1e-6)


def test_merging_refuses_what_differs():
    target = runner.target(DEVICES[0])
    first, second = _updates([4, 5])
    with pytest.raises(ValueError, match="programs that differ"):
        lower_multi((first, replace(second, aliases=())), target)
    strided = replace(second, inputs=(layout(float32, (5,), (2,)), *second.inputs[1:]))
    with pytest.raises(ValueError, match="wanted a contiguous one"):
        lower_multi((first, strided), target)
    assert lower_multi(_updates([0, 0]), target).launches == ()


@pytest.mark.parametrize("device", DEVICES[:2], ids=str)
def test_large_results_are_written_past_the_cache(device):
    """Also where rows begin between the alignments of a vector."""
    n = (1 << 23) + 5
    for place in (layout(float32, (n,), (1,), 3), layout(float32, (2900, 2900), (2903, 1), 1)):
        shape = place.shape
        a = rng.standard_normal(shape).astype(np.float32)
        body = Body(shape, (layout(float32, shape),) * 2, (), (ADD,), ((2, place),))
        lowered = lower_pointwise(body, runner.target(device))
        assert "vec_stream" in lowered.launches[0].source.text
        (out,) = runner.run(lowered, [a, a], [place], device=device)
        assert np.array_equal(view(out, place), a + a)
    small = layout(float32, (1000,))
    body = Body((1000,), (small, small), (), (ADD,), ((2, small),))
    assert "vec_stream" not in lower_pointwise(body, runner.target(device)).launches[0].source.text
