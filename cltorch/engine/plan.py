"""Planning: fused groups become bound launches, their temporaries places in one arena.

Floor 4. A Plan is made once per trace signature; replay.py runs it. Everything that can be decided beforehand is:
kernels are built in one program, arguments are bound, and only buffers that come from outside, the arena and run-time
numbers are looked at again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..codegen.pointwise import lower_multi, lower_pointwise
from ..codegen.rowwise import lower_rowwise
from ..codegen.source import Input, Launch, Local, Lowered, Output, Scalar, Scratch, Value
from ..dtypes import bfloat16, float16
from ..errors import BuildError
from ..ops.table import CONTRACTION
from ..shapes import Layout
from ..target import Target
from .fuse import Fused, fuse
from .trace import Spec

if TYPE_CHECKING:
    from ..runtime import Device


@dataclass
class Use:
    """Where a buffer or number is bound: argument `position` of `launch` (a runtime.BoundLaunch)."""

    launch: Any
    position: int
    ctype: str = ""


@dataclass
class Kept:
    """A result of the contents of one storage, which replays make when it is not there.

    Attributes:
        slot: the storage. `key`: what makes the result of it.
        launches: (BoundLaunch, (Launch, Fused)) that make it.
        uses: where it is bound.
    """

    slot: int
    nbytes: int
    key: tuple
    launches: list[tuple[Any, tuple[Launch, Fused]]] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)


@dataclass(eq=False)
class Plan:
    """What replay needs.

    Attributes:
        launches: (kernel, global size, local size) in order.
        bound: the BoundLaunch behind each, and `about`: (Launch, Fused) for profiler and messages.
        externals: slot -> uses, for storages that exist before or survive the plan.
        fresh: (slot, nbytes) of survivors that may have no memory yet.
        arena: bytes of the arena; places: (use, offset, nbytes) of everything in it.
        numbers: number slot -> uses.
        busy: being replayed: what is bound now must stay.
        writes: slots of storages with contents that it changes.
        constants: slots that it only reads, of which another plan of the same trace can keep something (`kept`);
            `variants`: those plans, by which of the constants have been seen before.
    """

    launches: list[tuple] = field(default_factory=list)
    bound: list[Any] = field(default_factory=list)
    about: list[tuple[Launch, Fused]] = field(default_factory=list)
    externals: list[tuple[int, list[Use]]] = field(default_factory=list)
    fresh: list[int] = field(default_factory=list)
    arena: int = 0
    places: list[tuple[Use, int, int]] = field(default_factory=list)
    numbers: list[tuple[int, list[Use]]] = field(default_factory=list)
    last_buffers: list[Any] = field(default_factory=list)
    last_numbers: list[Any] = field(default_factory=list)
    last_arena: Any = None
    busy: bool = False
    writes: tuple[int, ...] = ()
    constants: tuple[int, ...] = ()
    kept: list[Kept] = field(default_factory=list)
    variants: dict[bytes, Plan] = field(default_factory=dict)

    def let_go(self) -> None:
        """Forget the buffers of the last replay, so that the pool can give their memory back; the next one binds anew.
        """
        if self.busy:
            return
        self.last_buffers = [None] * len(self.externals)
        self.last_arena = None
        for bound in self.bound:
            bound.let_go()
        for kept in self.kept:
            for bound, _ in kept.launches:
                bound.let_go()


@lru_cache(maxsize=4096)
def _lower(kind: str, program: Any, spec: Spec | None, target: Target, constant: bool = False) -> Lowered:
    if kind == "point":
        return lower_pointwise(program, target)
    if kind == "multi":
        return lower_multi(program, target)
    if kind == "row":
        return lower_rowwise(program, target)
    assert spec is not None and spec.op.lower is not None
    views = tuple(x for x in spec.ins if isinstance(x, Layout))
    if constant:
        return spec.op.lower(views, spec.outs, spec.attrs, target, program, constant=True)
    return spec.op.lower(views, spec.outs, spec.attrs, target, program)


def lower(group: Fused, target: Target, constant: bool = False) -> Lowered:
    """The launches of one fused group; `constant`: what can be kept of its inputs is to be."""
    return _lower(group.kind, group.program, group.entry.spec if group.entry else None, target, constant)


def _keeps(group: Fused, target: Target) -> tuple[int, ...]:
    """The slots of inputs of which the group's lowering can keep something."""
    spec = group.entry.spec if group.entry else None
    if spec is None or spec.op.keeps is None:
        return ()
    views = tuple(x for x in spec.ins if isinstance(x, Layout))
    return tuple(group.ins[i] for i in spec.op.keeps(views, spec.outs, spec.attrs, target, group.program))


def arrange(lives: Sequence[tuple[int, int, int]], alignment: int) -> tuple[list[int], int]:
    """Offsets for blocks (nbytes, first use, last use) such that blocks alive together never overlap, and the total
    size.

    Greedy by size: each block takes the lowest gap among those placed before it whose lives meet its own.

    >>> arrange([(100, 0, 1), (100, 1, 2), (100, 2, 3)], 64)
    ([0, 128, 0], 256)
    """
    offsets = [0] * len(lives)
    placed: list[int] = []
    total = 0
    for i in sorted(range(len(lives)), key=lambda k: -lives[k][0]):
        nbytes, first, last = lives[i]
        nbytes = -(-max(nbytes, 1) // alignment) * alignment
        at = 0
        for j in sorted((j for j in placed if lives[j][1] <= last and first <= lives[j][2]), key=lambda k: offsets[k]):
            if at + nbytes <= offsets[j]:
                break
            at = max(at, offsets[j] + -(-max(lives[j][0], 1) // alignment) * alignment)
        offsets[i] = at
        placed.append(i)
        total = max(total, at + nbytes)
    return offsets, total


def make_plan(
    device: Device,
    signature: Sequence,
    kept: set[int],
    outside: set[int],
    sizes: Sequence[int],
    settled: frozenset[int] = frozenset(),
) -> Plan:
    """Plan a trace.

    Args:
        signature: as `Trace.signature`.
        kept: slots that survive (their contents are looked at later).
        outside: slots whose memory is not the plan's: survivors and whatever had contents before.
        sizes: bytes of each slot.
        settled: slots of whose contents results are kept from replay to replay.
    """
    if any(isinstance(x, Spec) and _is_short_product(x) for x in signature):
        device.find_matrix()
    target = device.target
    groups = fuse(signature, kept, target)
    written = {slot for group in groups for slot in group.outs}
    training = any(entry.spec.op.trains for group in groups for entry in group.entries)
    keeps = [() if training else _keeps(group, target) for group in groups]
    constants = {slot for slots in keeps for slot in slots if slot in outside and slot not in written}
    lowered = [lower(g, target, bool(slots) and settled.issuperset(slots)) for g, slots in zip(groups, keeps)]
    _build(device, groups, lowered)

    lives: dict[Any, list[int]] = {}  # slot or ('scratch', group, i) -> [nbytes, first, last]
    for at, (group, low) in enumerate(zip(groups, lowered)):
        for slot in (*group.ins, *group.outs):
            if slot not in outside:
                lives.setdefault(slot, [sizes[slot], at, at])[2] = at
        held = dict(low.kept)
        for i, nbytes in enumerate(low.scratch):
            if i not in held:
                lives["scratch", at, i] = [nbytes, at, at]
    names = list(lives)
    offsets, arena = arrange([tuple(lives[n]) for n in names], target.address_alignment)  # type: ignore[misc]
    place = {name: (offset, lives[name][0]) for name, offset in zip(names, offsets)}

    plan = Plan(arena=arena, writes=tuple(sorted(written & outside)), constants=tuple(sorted(constants)))
    externals: dict[int, list[Use]] = {}
    numbers: dict[int, list[Use]] = {}
    for at, (group, low) in enumerate(zip(groups, lowered)):
        results: dict[Any, Kept] = {}
        for i, which in low.kept:
            makers = tuple((m.source.name, m.global_size, m.args) for m in low.launches if m.kept == which)
            results["scratch", at, i] = Kept(group.ins[which], low.scratch[i], makers)
        plan.kept += results.values()
        for launch in low.launches:
            args: list[Any] = []
            buffers: list[tuple[int, Any]] = []
            scalars: list[tuple[int, int, str]] = []
            for position, arg in enumerate(launch.args):
                if isinstance(arg, Input):
                    buffers.append((position, group.ins[arg.index]))
                    args.append(None)
                elif isinstance(arg, Output):
                    buffers.append((position, group.outs[arg.index]))
                    args.append(None)
                elif isinstance(arg, Scratch):
                    buffers.append((position, ("scratch", at, arg.index)))
                    args.append(None)
                elif isinstance(arg, Scalar):
                    scalars.append((position, group.numbers[arg.index], arg.ctype))
                    args.append((arg.ctype, 0))
                elif isinstance(arg, Value):
                    args.append((arg.ctype, arg.value))
                else:
                    assert isinstance(arg, Local)
                    args.append(arg)
            bound = device.bind(launch.source, args, launch.global_size)
            for position, name in buffers:
                if name in results:
                    results[name].uses.append(Use(bound, position))
                elif name in place:
                    plan.places.append((Use(bound, position), *place[name]))
                else:
                    externals.setdefault(name, []).append(Use(bound, position))
            for position, slot, ctype in scalars:
                numbers.setdefault(slot, []).append(Use(bound, position, ctype))
            if launch.kept is not None:
                for result in results.values():
                    if result.slot == group.ins[launch.kept]:
                        result.launches.append((bound, (launch, group)))
                continue
            plan.launches.append((bound.kernel, bound.global_size, bound.local_size))
            plan.bound.append(bound)
            plan.about.append((launch, group))
    plan.externals = sorted(externals.items())
    plan.numbers = sorted(numbers.items())
    plan.fresh = sorted(kept - set(externals))
    plan.last_buffers = [None] * len(plan.externals)
    plan.last_numbers = [None] * len(plan.numbers)
    device.pool.add_holder(plan)
    return plan


def _is_short_product(spec: Spec) -> bool:
    """Whether it multiplies 16-bit floats, for which a device may have matrix instructions."""
    views = (x for x in spec.ins if isinstance(x, Layout))
    return spec.op.kind == CONTRACTION and any(x.dtype in (float16, bfloat16) for x in views)


def _build(device: Device, groups: list[Fused], lowered: list[Lowered]) -> None:
    """One program for all missing kernels; if that fails, find out which group's kernel is at fault."""
    sources = {launch.source.name: launch.source for low in lowered for launch in low.launches}
    try:
        device.build(list(sources.values()))
    except BuildError as whole:
        for group, low in zip(groups, lowered):
            try:
                device.build([launch.source for launch in low.launches])
            except BuildError as fault:
                ops = ", ".join(dict.fromkeys(e.spec.op.name for e in group.entries))
                error = BuildError(f"{ops}: {fault}")
                error.positions = [e.position for e in group.entries]  # type: ignore[attr-defined]
                raise error from None
        raise whole
