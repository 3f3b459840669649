"""Memory of plans: how close arenas come to what is alive at once, what a training step keeps, and what plans hold on
to.
"""

import gc
import resource

import numpy as np
import pytest

import cltorch as torch
from cltorch import direct, dtypes, engine, nn, runtime
from cltorch.engine import replay
from cltorch.ops.table import TABLE
from cltorch.shapes import layout
from cltorch.vision.models import DenseNet

MIB = 1 << 20
DEVICES = runtime.devices()


@pytest.fixture(params=DEVICES, ids=[f"{d.vendor}-{d.target.driver}" for d in DEVICES])
def device(request):
    return request.param


@pytest.fixture
def made(monkeypatch):
    """(plan, slots outside the arena, bytes per slot) of every plan made in the test."""
    found = []
    make = replay.make_plan

    def watched(device, signature, kept, outside, sizes, *settled):
        found.append((make(device, signature, kept, outside, sizes, *settled), set(outside), list(sizes)))
        return found[-1][0]

    monkeypatch.setattr(replay, "make_plan", watched)
    engine.clear_plans()
    yield found
    engine.clear_plans()


def training(device, batch=4):
    """A step of a small DenseNet-BC on a device, and the bytes that backward needs of each layer's forward."""
    growth, init, blocks, bottleneck = 4, 8, (4, 4), 4
    torch.manual_seed(0)
    model = DenseNet(growth, blocks, init, bn_size=bottleneck, num_classes=10, small_images=True).to(device)
    images = torch.tensor(np.zeros((batch, 3, 32, 32), np.float32), device=device)
    labels = torch.tensor(np.zeros(batch, np.int64), device=device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    criterion = torch.nn.CrossEntropyLoss()

    def step():
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    pixels, channels, saved, largest = batch * 32 * 32, init, 0, 0
    for at, layers in enumerate(blocks):
        for _ in range(layers):
            # what the layer sees, put together; that normalised; the bottleneck, and that normalised
            saved += 4 * pixels * (2 * channels + 2 * bottleneck * growth)
            channels += growth
        saved += 4 * pixels * 2 * channels
        largest = max(largest, 4 * pixels * channels)
        if at + 1 < len(blocks):
            channels //= 2
            saved += 4 * pixels * channels
            pixels //= 4
    return step, saved, largest


def alive_at_once(plan, outside, sizes):
    """The most bytes that must exist at one time, given the order of groups: no arena can be smaller."""
    groups = []
    for _, group in plan.about:
        if not groups or groups[-1] is not group:
            groups.append(group)
    first, last = {}, {}
    for at, group in enumerate(groups):
        for slot in {*group.ins, *group.outs} - outside:
            first.setdefault(slot, at)
            last[slot] = at
    changes = [0] * (len(groups) + 1)
    for slot, at in first.items():
        changes[at] += sizes[slot]
        changes[last[slot] + 1] -= sizes[slot]
    return int(np.cumsum(changes).max())


def test_arena_of_a_dense_block_is_close_to_what_is_alive(made):
    step, saved, largest = training("null")
    for _ in range(2):
        step()
        engine.flush()
    plan, outside, sizes = max(made, key=lambda entry: len(entry[0].launches))
    least = alive_at_once(plan, outside, sizes)
    assert least <= plan.arena <= 1.05 * least + 64 * 1024  # alignment and scratch
    assert plan.arena <= saved + 3 * largest  # gradients: of the block's sum, of a layer's input, of what it made


def test_the_second_step_has_the_plan_of_the_first(made):
    step, _, _ = training("null")
    loss = step()
    engine.flush()
    del loss
    plans = len(made)
    loss = step()
    engine.flush()
    del loss
    assert len(made) == plans


def test_steps_that_grow_do_not_lie_beside_one_another():
    """A larger batch takes the place of a smaller one in the pool."""
    device = runtime.NullDevice()
    pool = device.pool
    for nbytes in (40 * MIB, 60 * MIB, 100 * MIB, 30 * MIB, 100 * MIB):
        pool.allocate(nbytes, device.stream).release()
        assert pool.statistics()["reserved_bytes.all.current"] <= 100 * MIB
    assert pool.statistics()["segment.all.allocated"] == 3  # 30 MiB came out of the last, which is whole again


def test_segments_in_use_are_not_outgrown():
    device = runtime.NullDevice()
    pool = device.pool
    for _ in range(5):
        held = [pool.allocate(n * MIB, device.stream) for n in (40, 60, 100)]
        del held
    assert pool.statistics()["segment.all.allocated"] == 3
    assert pool.statistics()["reserved_bytes.all.current"] == 200 * MIB


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def test_plans_let_go_of_memory_that_the_pool_gives_up(device):
    """A plan binds its arena's buffers for the next time; when the pool trims, the memory goes all the same."""
    if not device.shares_memory:
        pytest.skip("the process does not hold the device's memory")
    size = 64 * MIB
    view = layout(dtypes.float32, (size // 4,))
    x = engine.Storage.from_numpy(device, np.ones(size // 4, np.float32))

    def run():
        # a sum along the whole between the two: the product goes through memory, in the plan's arena
        mid, row, out = (engine.Storage(device, n) for n in (size, size, 4))
        engine.record(engine.make_spec(TABLE["mul"], (view, dtypes.float32), (view,)), (x,), (mid,), (2.0,))
        engine.record(engine.make_spec(TABLE["cumsum"], (view,), (view,), (0, False)), (mid,), (row,))
        one = layout(dtypes.float32, ())
        engine.record(engine.make_spec(TABLE["_amax"], (view,), (one,), ((0,), False)), (row,), (out,))
        del mid, row
        return engine.item(out, one)

    assert run() == run() == 2.0 * (size // 4)
    plan = next(p for p in reversed(replay._plans.values()) if p.arena >= 2 * size)
    assert plan.last_arena is not None
    before = resident()
    device.pool.empty_cache()
    gc.collect()
    assert plan.last_arena is None and all(b is None for b in plan.last_buffers)
    assert before - resident() >= 1.8 * size
    assert run() == 2.0 * (size // 4)  # bound anew


def test_the_first_step_of_biased_layers_is_the_program_of_all_later_ones(made):
    """A layer's second call records its entries in one go (engine/chain.py): they must be numbered as one by one."""
    torch.manual_seed(0)
    direct._chains.clear()
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Flatten(), nn.Linear(180, 7))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    x, labels = torch.randn(4, 3, 8, 8), torch.arange(4)
    engine.flush()
    plans = []
    for _ in range(4):
        loss = nn.functional.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        plans.append(len(made))
    assert plans[0] == plans[1] == plans[-1], plans
