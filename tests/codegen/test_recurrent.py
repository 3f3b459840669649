"""All steps of recurrent layers, forward and backward, against NumPy in float64, on every device asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import runner

from cltorch import dtypes
from cltorch.codegen.recurrent import Recurrence, RecurrentConfig
from cltorch.ops.recurrent import RECURRENT, RECURRENT_BACKWARD
from cltorch.shapes import layout

DEVICES = [(raw, "cpu") for raw in runner.devices()] + [(raw, "gpu") for raw in runner.devices()[:1]]
pytestmark = pytest.mark.parametrize("raw, kind", DEVICES, ids=[f"{raw}-{kind}" for raw, kind in DEVICES])
LENGTHS = (7, 5, 5, 3, 1)


def rows(form: Recurrence) -> tuple[int, ...]:
    if form.packed:
        return (sum(LENGTHS),)
    return (form.batch, form.steps) if form.batch_first else (form.steps, form.batch)


def starts() -> np.ndarray:
    counts = [sum(n > t for n in LENGTHS) for t in range(max(LENGTHS))]
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)


def run(op, form, arrays, raw, kind, dtype, config=None):
    """Results of a record, checked against its reference in float64; returns the reference's results."""
    held, layouts = [], []
    for a in arrays:
        if a.dtype.kind == "i":
            held.append(a)
            layouts.append(layout(dtypes.int32, a.shape))
            continue
        # every operand lies 3 elements into its storage
        held.append(np.concatenate([np.full(3, np.nan), a.reshape(-1)]).astype(dtype.numpy))
        layouts.append(layout(dtype, a.shape, None, 3))
    outs = [layout(d, s) for d, s in op.infer(tuple(layouts), (form,))]
    given = {} if config is None else {"config": config}
    lowered = op.lower(tuple(layouts), tuple(outs), (form,), runner.target(raw, kind), None, **given)
    got = runner.run(lowered, held, outs, device=raw)
    exact = [a if a.dtype.kind == "i" else a.astype(dtype.numpy).astype(np.float64) for a in arrays]
    wanted = op.reference(*exact, form=form)
    limit = 2e-5 if dtype is dtypes.float32 else 1e-12
    for number, (g, w, o) in enumerate(zip(got, wanted, outs, strict=True)):
        np.testing.assert_allclose(g.reshape(o.shape), w, rtol=limit, atol=limit, err_msg=f"{op.name} {number}")
    return wanted


def both_ways(form: Recurrence, hidden: int, raw, kind, dtype=dtypes.float32, config=None, scale=1.0) -> None:
    rng = np.random.default_rng(hidden + form.batch)
    D, H, G = form.directions, hidden, form.gates
    form = replace(form, saved=True)

    def make(*shape: int, size: float = 1.0) -> np.ndarray:
        return rng.standard_normal(shape) * size

    place, lstm = rows(form), form.kind == "lstm"
    arrays = [make(*place, G * H, size=scale) for _ in range(D)]
    weights = [make(G * H, H, size=H**-0.5) for _ in range(D)]
    arrays += weights
    arrays += [make(G * H) for _ in range(D if form.biased else 0)]
    arrays += [make(D, form.batch, H) for _ in range(1 + lstm if form.given else 0)]
    ends = [starts()] if form.packed else []
    y, *rest = run(RECURRENT, form, arrays + ends, raw, kind, dtype, config)
    if not (form.packed or config):
        run(RECURRENT, replace(form, saved=False), arrays + ends, raw, kind, dtype, config)
    states = [make(D, form.batch, H) for _ in range(1 + lstm)]
    gates, *before = rest[1 + lstm :]
    needed = [gates, before[1]] if lstm else [gates, before[0]] if form.kind == "gru" else [gates]
    run(RECURRENT_BACKWARD, form, [make(*y.shape), *states, *needed, *weights, *ends], raw, kind, dtype, config)


KINDS = ("lstm", "gru", "tanh", "relu")


@pytest.mark.parametrize("name", KINDS)
def test_layers(raw, kind, name):
    both_ways(Recurrence(name, 1, 4, 5), 19, raw, kind)
    both_ways(Recurrence(name, 2, 3, 9, batch_first=True, given=True), 35, raw, kind)


@pytest.mark.parametrize("name", KINDS)
def test_packed(raw, kind, name):
    for directions, given in ((1, False), (2, True)):
        form = Recurrence(name, directions, max(LENGTHS), len(LENGTHS), packed=True, given=given)
        both_ways(form, 17, raw, kind)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_units_shared_among_groups(raw, kind, name):
    """Every step a launch of its own; and a few steps per launch."""
    for config in (RecurrentConfig(2, 2, 4, 2, 1), RecurrentConfig(4, 1, 4, 9, 2)):
        if kind == "gpu":
            config = replace(config, tile_n=1, block_units=70 if config.steps > 1 else 8)
        both_ways(Recurrence(name, 2, 3, 6, given=True), 70, raw, kind, config=config)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_double_precision_without_biases(raw, kind, name):
    if not runner.target(raw).fp64:
        pytest.skip(f"{raw} has no double")
    both_ways(Recurrence(name, 2, 3, 3, biased=False, batch_first=True), 21, raw, kind, dtypes.float64)


@pytest.mark.parametrize("name", ["lstm", "tanh"])
def test_saturated_gates(raw, kind, name):
    """Projections of +- 200: exp overflows on the way, no result may."""
    both_ways(Recurrence(name, 1, 3, 2), 17, raw, kind, scale=200.0)


@pytest.mark.parametrize("steps, batch, hidden", [(1, 1, 1), (3, 1, 33), (2, 17, 16), (1, 3, 130)])
def test_sizes(raw, kind, steps, batch, hidden):
    both_ways(Recurrence("lstm", 1, steps, batch), hidden, raw, kind)


def test_nothing_to_do(raw, kind):
    form = Recurrence("gru", 1, 3, 0)
    x, w = layout(dtypes.float32, (3, 0, 12)), layout(dtypes.float32, (12, 4))
    outs = tuple(layout(d, s) for d, s in RECURRENT.infer((x, w, w), (form,)))
    assert RECURRENT.lower((x, w, w), outs, (form,), runner.target(raw, kind), None).launches == ()
