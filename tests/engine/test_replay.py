"""Random traces on every device: recorded, fused, planned and run, against NumPy in program order; and the plan cache,
faults, host mode.
"""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from test_fuse import Memory, programs, run_entry

import cltorch.ops.contraction
import cltorch.ops.pointwise
import cltorch.ops.reductions  # noqa: F401
from cltorch import dtypes, engine, runtime
from cltorch.engine import replay
from cltorch.engine.fuse import entries_of, overlap
from cltorch.errors import OutOfMemoryError
from cltorch.ops.table import POINTWISE, TABLE
from cltorch.shapes import layout

F = dtypes.float32
DEVICES = runtime.devices()


@pytest.fixture(params=DEVICES, ids=[f"{d.vendor}-{d.target.driver}" for d in DEVICES])
def device(request):
    return request.param


def real(spec):
    """The table's op for one of test_fuse's."""
    name = {"scale": "mul", "sum": "_sum", "amax": "_amax", "matmul": "_matmul"}.get(spec.op.name, spec.op.name)
    return engine.make_spec(TABLE[name], spec.ins, spec.outs, spec.attrs)


@pytest.mark.parametrize("eager", [False, True])
def test_random_programs(device, eager):
    @settings(max_examples=25 if eager else 60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(programs())
    def run(program):
        signature, numbers, slots, kept, seed = program
        entries = entries_of(signature)
        for entry in entries:
            if entry.spec.op.name == "roll_":
                return
            if entry.spec.op.kind == POINTWISE:
                for s, i in zip(entry.ins, entry.spec.tensors):
                    view, out = entry.spec.ins[i], entry.spec.outs[0]
                    if s == entry.outs[0] and view is not out and overlap(view, out):
                        return
        expected = Memory([64] * slots, seed)
        storages = [engine.Storage.from_numpy(device, a.astype(np.float32)) for a in expected.arrays]
        engine.flush()
        for entry in entries:
            run_entry(expected, entry, numbers)
            engine.record(
                real(entry.spec),
                tuple(storages[s] for s in entry.ins),
                tuple(storages[s] for s in entry.outs),
                tuple(numbers[n] for n in entry.numbers),
            )
            if eager:
                engine.flush(device)
        whole = layout(F, (64,))
        storages = [s if i in kept else None for i, s in enumerate(storages)]
        for slot in kept:
            got = engine.read(storages[slot], whole)
            np.testing.assert_allclose(got, expected.arrays[slot], rtol=1e-5, atol=1e-5, err_msg=f"slot {slot}")

    run()


def chain(device, x, number, view):
    mid, out = engine.Storage(device, view.nbytes), engine.Storage(device, view.nbytes)
    engine.record(engine.make_spec(TABLE["add"], (view, view), (view,)), (x, x), (mid,))
    engine.record(engine.make_spec(TABLE["mul"], (view, F), (view,)), (mid,), (out,), (number,))
    return out


def test_plans_are_reused_and_numbers_are_arguments(device):
    view = layout(F, (5, 7))
    array = np.arange(35, dtype=np.float32).reshape(5, 7)
    x = engine.Storage.from_numpy(device, array)
    engine.clear_plans()
    for number in (1.0, 2.5, -3.0):
        out = chain(device, x, number, view)
        np.testing.assert_array_equal(engine.read(out, view), 2 * array * np.float32(number))
    assert len(replay._plans) <= 2  # the first has x in host memory


def test_temporaries_take_no_memory_of_their_own(device):
    view = layout(F, (1 << 16,))
    x = engine.Storage.from_numpy(device, np.ones(1 << 16, np.float32))
    out = chain(device, x, 1.0, view)
    engine.read(out, view)
    device.pool.reset_peak()
    before = device.pool.statistics()["allocated_bytes.all.current"]
    out = chain(device, x, 1.0, view)
    engine.synchronize()
    assert device.pool.statistics()["allocated_bytes.all.peak"] - before <= 2 * view.nbytes


def test_a_failed_flush_leaves_the_rest_alive(device):
    view, huge = layout(F, (16,)), layout(F, (1 << 42,))
    x = engine.Storage.from_numpy(device, np.ones(16, np.float32))
    good = chain(device, x, 3.0, view)
    bad = engine.Storage(device, huge.nbytes)
    with pytest.raises(OutOfMemoryError, match="out of memory"):  # so many pending bytes flush at once
        engine.record(engine.make_spec(TABLE["fill"], (F,), (huge,)), (), (bad,), (0.0,))
    del bad
    np.testing.assert_array_equal(engine.read(good, view), np.full(16, 6, np.float32))


def test_reading_what_was_never_written_is_defined(device):
    storage = engine.Storage(device, 64)
    assert engine.read(storage, layout(F, (16,))).shape == (16,)
    assert engine.read(engine.Storage(device, 0), layout(F, (0, 3))).shape == (0, 3)


def test_what_is_written_into_an_array_later_does_not_count():
    import cltorch as torch

    for make in (torch.from_numpy, torch.as_tensor):
        array = np.ones(4, np.float32)
        x = make(array)
        array[0] = 5
        assert x.tolist() == [5, 1, 1, 1]  # shared until something is computed
        y = x + 1
        array[:] = 9
        assert y.tolist() == [6, 2, 2, 2] and x.tolist() == [5, 1, 1, 1]
        x.zero_()
        assert array[0] == 9


def test_double_precision_is_refused_at_the_call_where_there_is_none():
    import dataclasses

    import cltorch as torch

    device = runtime.NullDevice(target=dataclasses.replace(runtime.get_device("null").target, fp64=False))
    view = layout(dtypes.float64, (3,))
    with pytest.raises(RuntimeError, match="exp: float64: .* no double precision"):
        spec = engine.make_spec(TABLE["exp"], (view,), (view,))
        engine.record(spec, (engine.Storage(device, 24),), (engine.Storage(device, 24),))
    assert torch.ones(3).tolist() == [1, 1, 1]
