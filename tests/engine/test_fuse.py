"""The fuser against program order: random traces, run entry by entry and group by group with NumPy, leave the same
memory.
"""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cltorch import dtypes
from cltorch.codegen.program import Body, Epilogue, Reduce, RowProgram
from cltorch.engine.fuse import alive, entries_of, fuse, overlap
from cltorch.engine.plan import arrange
from cltorch.engine.trace import make_spec
from cltorch.ops.table import CONTRACTION, CUSTOM, POINTWISE, REDUCTION, Op
from cltorch.shapes import layout
from cltorch.target import Target

F = dtypes.float32
TARGET = Target(compute_units=1)
ADD = Op("add", POINTWISE, 2, "{0} + {1}")
SUB = Op("sub", POINTWISE, 2, "{0} - {1}")
COPY = Op("copy", POINTWISE, 1, "{0}")
SCALE = Op("scale", POINTWISE, 2, "{0} * {1}")
SUM = Op("sum", REDUCTION, reduce="sum")
MAX = Op("amax", REDUCTION, reduce="max")
MATMUL = Op("matmul", CONTRACTION, 2)
ROLL = Op("roll_", CUSTOM, 1)  # in place: out += roll(input)
EVALUATE = {
    "{0} + {1}": lambda a, b: a + b,
    "{0} - {1}": lambda a, b: a - b,
    "{0}": lambda a: a,
    "{0} * {1}": lambda a, b: a * b,
}


class Memory:
    """Storages as float64 arrays (values stay small integers, so sums are exact in any order)."""

    def __init__(self, sizes, seed):
        rng = np.random.default_rng(seed)
        self.arrays = [rng.integers(-3, 4, n).astype(np.float64) for n in sizes]

    def view(self, slot, view):
        return np.lib.stride_tricks.as_strided(
            self.arrays[slot][view.offset :], view.shape, [8 * s for s in view.stride], writeable=True
        )


def run_entry(memory, entry, numbers):
    spec = entry.spec
    tensors = iter([memory.view(s, spec.ins[i]).copy() for s, i in zip(entry.ins, spec.tensors)])
    values = iter(entry.numbers)
    args = [numbers[next(values)] if isinstance(x, dtypes.DType) else next(tensors) for x in spec.ins]
    out = memory.view(entry.outs[0], spec.outs[0])
    kind = spec.op.kind
    if kind == POINTWISE:
        out[...] = EVALUATE[spec.op.expr](*args)
    elif kind == REDUCTION:
        out[...] = {"sum": np.sum, "max": np.max}[spec.op.reduce](args[0], spec.attrs[0]).reshape(out.shape)
    elif kind == CONTRACTION:
        out[...] = args[0] @ args[1]
    else:
        out += np.roll(args[0], 1)


def evaluate(program, start, memory, slots, numbers):
    """Values of a program; `start` is value 0 of an epilogue."""
    values = [] if start is None else [start]
    values += [memory.view(s, v).copy() for s, v in zip(slots, program.inputs)] + list(numbers)
    for item in program.instrs:
        if isinstance(item, Reduce):
            full = np.broadcast_to(values[item.arg], program.shape)
            values.append({"sum": np.sum, "max": np.max}[item.kind](full, program.dims, keepdims=True))
        else:
            values.append(EVALUATE[item.expr](*[values[a] for a in item.args]))
    return values


def run_group(memory, group, numbers):
    given_numbers = [numbers[n] for n in group.numbers]
    if group.kind == "custom":
        run_entry(memory, group.entry, numbers)
        return
    if group.kind == "multi":
        a = b = 0
        for body in group.program:
            run_body(
                memory, body, group.ins[a : a + len(body.inputs)], group.outs[b : b + len(body.stores)], given_numbers
            )
            a, b = a + len(body.inputs), b + len(body.stores)
        return
    start, ins = None, group.ins
    if group.kind == "contract":
        head = group.entry
        start = memory.view(head.ins[0], head.spec.ins[0]) @ memory.view(head.ins[1], head.spec.ins[1])
        ins = group.ins[2:]
        assert isinstance(group.program, Epilogue)
    run_body(memory, group.program, ins, group.outs, given_numbers, start)


def run_body(memory, program, ins, outs, numbers, start=None):
    assert isinstance(program, (Body, RowProgram, Epilogue))
    values = evaluate(program, start, memory, ins, numbers)
    for slot, (value, view) in zip(outs, program.stores):
        array = np.broadcast_to(values[value], program.shape if isinstance(program, RowProgram) else view.shape)
        if view.shape != array.shape:  # one value per row
            array = array[tuple(slice(0, n) for n in view.shape)]
        memory.view(slot, view)[...] = array


SHAPE = (4, 6)
VIEWS = [
    layout(F, SHAPE),
    layout(F, SHAPE, None, 24),
    layout(F, SHAPE, (1, 4)),
    layout(F, SHAPE, (12, 2), 1),
    layout(F, SHAPE, (12, 1), 6),
    layout(F, SHAPE, (12, 1), 0),
]
READS = [
    *VIEWS,
    layout(F, SHAPE, (0, 1)),
    layout(F, SHAPE, (1, 0)),
    layout(F, SHAPE, (0, 0), 3),
    layout(F, SHAPE, (0, 1), 12),
]
ROWS = [layout(F, (4, 1)), layout(F, (4,)), layout(F, (1, 6)), layout(F, (6,)), layout(F, (4,), None, 20)]


@st.composite
def programs(draw):
    slots = draw(st.integers(2, 6))
    signature, numbers = [], []
    slot = st.integers(0, slots - 1)
    for _ in range(draw(st.integers(1, 14))):
        kind = draw(st.sampled_from("aaaassccrrmxk"))
        if kind == "a":
            spec = make_spec(
                draw(st.sampled_from([ADD, SUB])),
                tuple(draw(st.sampled_from(READS)) for _ in "ab"),
                (draw(st.sampled_from(VIEWS)),),
            )
            signature += [spec, draw(slot), draw(slot), draw(slot)]
        elif kind == "s":
            view = draw(st.sampled_from(VIEWS[:2]))
            spec = make_spec(SCALE, (draw(st.sampled_from([view, *READS])), F), (view,))
            signature += [spec, draw(slot), draw(st.integers(0, 1)), draw(slot)]
            numbers = [2.0, -1.0]
        elif kind == "c":
            row = draw(st.sampled_from(ROWS))
            other = draw(st.sampled_from([r for r in ROWS if r.numel == row.numel]))
            ins = tuple(r if r.shape == row.shape else layout(F, row.shape, None, r.offset) for r in (row, other))
            signature += [make_spec(ADD, ins, (row,)), draw(slot), draw(slot), draw(slot)]
        elif kind in "rm":
            dims, out = draw(
                st.sampled_from(
                    [
                        ((1,), ROWS[0]),
                        ((1,), ROWS[1]),
                        ((0,), ROWS[2]),
                        ((0,), ROWS[3]),
                        ((0, 1), layout(F, ())),
                        ((1,), ROWS[4]),
                    ]
                )
            )
            op = SUM if kind == "r" else MAX
            signature += [make_spec(op, (draw(st.sampled_from(READS)),), (out,), (dims, True)), draw(slot), draw(slot)]
        elif kind == "x":
            spec = make_spec(
                MATMUL, (layout(F, (4, 3)), layout(F, (3, 6), None, 12)), (draw(st.sampled_from(VIEWS[:2])),)
            )
            signature += [spec, draw(slot), draw(slot), draw(slot)]
        else:
            view = layout(F, (24,))
            signature += [make_spec(ROLL, (view,), (view,)), draw(slot), draw(slot)]
    # an op never reads what it writes through another view, as dispatch guarantees for matmul, reductions and customs
    at = 0
    for entry in entries_of(signature):
        if entry.spec.op.kind != POINTWISE and entry.outs[0] in entry.ins:
            signature[at + entry.spec.length - 1] = slots
        at += entry.spec.length
    return signature, numbers, slots + 1, draw(st.sets(st.integers(0, slots))), draw(st.integers(0, 99))


@settings(max_examples=400, deadline=None)
@given(programs())
def test_fused_equals_program_order(program):
    signature, numbers, slots, kept, seed = program
    one, two = (Memory([64] * slots, seed) for _ in range(2))
    for entry in entries_of(signature):
        if (
            entry.spec.op.kind == POINTWISE
        ):  # reads of other elements than it writes are undefined in one entry too: keep them apart
            for s, i in zip(entry.ins, entry.spec.tensors):
                view, out = entry.spec.ins[i], entry.spec.outs[0]
                if s == entry.outs[0] and view is not out and overlap(view, out):
                    return
    for entry in entries_of(signature):
        run_entry(one, entry, numbers)
    for group in fuse(signature, kept, TARGET):
        run_group(two, group, numbers)
    for slot in kept:
        np.testing.assert_array_equal(one.arrays[slot], two.arrays[slot], err_msg=f"slot {slot}")


def test_softmax_is_one_group():
    x, row, full = layout(F, (32, 10)), layout(F, (32, 1)), layout(F, (32, 10), (1, 0))
    signature = [
        make_spec(MAX, (x,), (row,), ((1,), True)),
        0,
        1,
        make_spec(SUB, (x, full), (x,)),
        0,
        1,
        2,
        make_spec(SUM, (x,), (row,), ((1,), True)),
        2,
        3,
        make_spec(SUB, (x, full), (x,)),
        2,
        3,
        4,
    ]
    (group,) = fuse(signature, {0, 4}, TARGET)
    assert group.kind == "row" and group.outs == (4,) and group.ins == (0,)


def test_pointwise_chain_with_two_results_is_one_group():
    x = layout(F, (8, 8))
    signature = [
        make_spec(ADD, (x, x), (x,)),
        0,
        1,
        2,
        make_spec(SUB, (x, x), (x,)),
        2,
        1,
        3,
        make_spec(COPY, (x,), (x,)),
        3,
        4,
    ]
    (group,) = fuse(signature, {2, 4}, TARGET)
    assert group.kind == "point" and sorted(group.outs) == [2, 4]


def test_bias_and_activation_join_the_matmul():
    out, bias = layout(F, (4, 6)), layout(F, (4, 6), (0, 1))
    signature = [
        make_spec(MATMUL, (layout(F, (4, 3)), layout(F, (3, 6))), (out,)),
        0,
        1,
        2,
        make_spec(ADD, (out, bias), (out,)),
        2,
        3,
        4,
        make_spec(SCALE, (out, F), (out,)),
        4,
        0,
        5,
    ]
    (group,) = fuse(signature, {5}, TARGET)
    assert group.kind == "contract" and group.outs == (5,) and group.ins == (0, 1, 3)


def test_optimizer_updates_become_one_launch():
    signature = []
    for k, shape in enumerate([(6, 3, 5, 5), (6,), (16, 6, 5, 5), (120, 400)]):
        x = layout(F, shape)
        p, g, m = 3 * k, 3 * k + 1, 3 * k + 2
        signature += [
            make_spec(SCALE, (x, F), (x,)),
            m,
            0,
            m,
            make_spec(ADD, (x, x), (x,)),
            m,
            g,
            m,
            make_spec(ADD, (x, x), (x,)),
            p,
            m,
            p,
        ]
    groups = fuse(signature, set(range(12)), TARGET)
    assert [g.kind for g in groups] == ["multi"] and len(groups[0].program) == 4


def test_dead_entries_are_dropped():
    x = layout(F, (8,))
    signature = [make_spec(ADD, (x, x), (x,)), 0, 0, 1, make_spec(ADD, (x, x), (x,)), 0, 0, 2]
    assert len(alive(entries_of(signature), {2})) == 1
    assert fuse(signature, set(), TARGET) == []


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 9), st.integers(0, 4)), max_size=25),
    st.sampled_from([1, 64, 512]),
)
def test_arena_places_never_collide(blocks, alignment):
    lives = [(n, first, first + length) for n, first, length in blocks]
    offsets, total = arrange(lives, alignment)
    for (i, a), (j, b) in itertools.combinations(enumerate(lives), 2):
        if a[1] <= b[2] and b[1] <= a[2]:
            assert offsets[i] + a[0] <= offsets[j] or offsets[j] + b[0] <= offsets[i]
    assert all(o % alignment == 0 and o + n <= total for o, (n, _, _) in zip(offsets, lives) if n)


@pytest.mark.parametrize(
    "a, b, expected",
    [
        (layout(F, (4, 3), (6, 1)), layout(F, (4, 3), (6, 1), 3), False),  # halves side by side
        (layout(F, (4, 3), (6, 1)), layout(F, (4, 4), (6, 1), 2), True),
        (layout(F, (8,)), layout(F, (8,), None, 8), False),
        (layout(F, (8,)), layout(F, (8,), None, 7), True),
        (layout(F, (4,), (2,)), layout(F, (4,), (2,), 1), True),  # even and odd: not recognised, allowed
        (layout(F, (0,)), layout(F, (8,)), False),
    ],
)
def test_overlap(a, b, expected):
    assert overlap(a, b) is expected and overlap(b, a) is expected


def weight_gradient(extra=()):
    """p = g * n is summed along rows and down them, as a layer norm's backward pass does; n = x - m, m per row."""
    x, full, row, down = layout(F, (32, 16)), layout(F, (32, 16), (1, 0)), layout(F, (32, 1)), layout(F, (1, 16))
    times = Op("times", POINTWISE, 2, "{0} * {1}")
    return [
        *(make_spec(SUM, (x,), (row,), ((1,), True)), 0, 2),
        *(make_spec(SUB, (x, full), (x,)), 0, 2, 3),
        *(make_spec(times, (x, x), (x,)), 1, 3, 4),
        *(make_spec(SUM, (x,), (row,), ((1,), True)), 4, 5),
        *(make_spec(SUB, (x, full), (x,)), 1, 5, 6),
        *(make_spec(times, (x, x), (x,)), 1, 3, 7),
        *extra,
        *(make_spec(SUM, (x,), (down,), ((0,), True)), 7, 8),
    ]


def same_memory(signature, kept, slots):
    one, two = (Memory([512] * slots, 3) for _ in range(2))
    for entry in entries_of(signature):
        run_entry(one, entry, [])
    groups = fuse(signature, kept, TARGET)
    for group in groups:
        run_group(two, group, [])
    for slot in kept:
        np.testing.assert_array_equal(one.arrays[slot], two.arrays[slot])
    return groups


def test_what_two_reductions_along_different_dims_share_is_computed_twice_rather_than_stored():
    along, down = same_memory(weight_gradient(), {0, 1, 6, 8}, 9)
    assert 7 not in along.outs and 3 not in along.outs
    assert set(down.ins) == {0, 1, 2} and down.outs == (8,)  # g, x and the row's mean


@pytest.mark.parametrize("case", ["kept", "read again", "an input was overwritten"])
def test_a_value_is_not_computed_again_where_that_does_not_pay_or_cannot_be(case):
    x = layout(F, (32, 16))
    extra = {"kept": [], "read again": [make_spec(ADD, (x, x), (x,)), 7, 0, 9]}.get(
        case, [make_spec(ADD, (x, x), (x,)), 0, 0, 0]
    )
    kept = {6, 7, 8} if case == "kept" else {0, 6, 8, 9} if case == "read again" else {0, 6, 8}
    groups = same_memory(weight_gradient(extra), kept, 10)
    assert any(7 in group.outs for group in groups)
