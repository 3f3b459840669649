"""Values cheaper computed twice than kept: what a reduction reads, where the group that has it reduces other dims.

Floor 4. The gradient of a layer norm's weight sums `grad * normal` over the batch, while the group that computes normal
sums along the features. Storing the product costs a write (and the read of the lines to be overwritten) and a read;
computing it again costs reads of grad and x, the first of which the bias's gradient needs anyway.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from math import prod
from typing import TYPE_CHECKING

from ..ops.table import POINTWISE
from ..shapes import Layout

if TYPE_CHECKING:
    from .fuse import Entry

MOST_INPUTS = 2  # tensors of the full size that may be read instead of the value
MOST_COST = 24  # flops per element
_DEPTH = 4


class Producers:
    """Which pointwise entry made what a slot holds, and whether to run it again for a later reduction.

    Args:
        entries: the living entries of the trace, for how often each slot is read.
        kept: slots whose contents are looked at after the trace: those are stored anyway.
        identity: tells views of a slot apart by their elements.
    """

    def __init__(self, entries: Sequence[Entry], kept: set[int], identity: Callable[[Layout], Hashable]):
        self.readers = Counter(slot for entry in entries for slot in entry.ins)
        self.kept, self.identity = kept, identity
        self.written: dict[int, int] = {}  # slot -> position of its last write
        self.made: dict[int, Entry] = {}

    def note(self, entry: Entry) -> None:
        """`entry` has run."""
        for slot in entry.outs:
            self.written[slot] = entry.position
            self.made.pop(slot, None)
        if entry.spec.op.kind == POINTWISE and not set(entry.outs) & set(entry.ins):
            self.made[entry.outs[0]] = entry

    def cheap(self, reduction: Entry) -> list[Entry]:
        """The entries to run again for what `reduction` reads, in program order; none if reading it is as good."""
        slot, view = reduction.ins[0], reduction.spec.ins[0]
        if slot in self.kept or self.readers[slot] != 1:
            return []
        chosen: list[Entry] = []
        leaves: set[Hashable] = set()

        def visit(slot: int, view: Layout, depth: int) -> bool:
            """False where a value would have to be stored that is not stored otherwise."""
            entry = self.made.get(slot)
            if entry is not None and self.identity(entry.spec.outs[0]) == self.identity(view):
                if depth == _DEPTH or any(self.written.get(s, -1) > entry.position for s in entry.ins):
                    return slot in self.kept
                if entry not in chosen:
                    chosen.append(entry)
                    return all(visit(s, entry.spec.ins[i], depth + 1) for s, i in zip(entry.ins, entry.spec.tensors))
            elif 2 * prod(n for n, s in zip(view.shape, view.stride) if s) > view.numel:
                leaves.add((slot, self.identity(view)))
            return True

        paid = visit(slot, view, 0) and len(leaves) <= MOST_INPUTS
        if not paid or sum(entry.spec.op.cost for entry in chosen) > MOST_COST:
            return []
        return sorted(chosen, key=lambda entry: entry.position)
