"""Chains: sequences of entries that are recorded in one go.

Floor 4. A layer such as a convolution with bias, or a loss, records the same few entries at every call with the same
layouts. A Chain is those entries with the slots made relative: the first call records entry by entry and is looked at,
later ones copy the pattern. What the trace holds afterwards is the same program.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .trace import Spec, Trace

if TYPE_CHECKING:
    from .storage import Storage


class Chain:
    """Entries whose slots are places in a table: specs, given storages, numbers, constants, fresh storages.

    Attributes:
        specs: the entries' Specs, in order.
        program: places in the table, in the order in which the trace's signature wants them.
        order: places among given and fresh storages, by first appearance in the program; number_order: those among
            numbers and constants. In these orders recording entry by entry would number them, and it must come to the
            same signature: else the first step of a training is planned apart from all later ones.
        constants: numbers that are the same in every call.
        nbytes: sizes of the fresh storages.
        writes: given storages that are written, once per write.
        entries, bytes: what the chain adds to the trace's limits.
    """

    __slots__ = ("bytes", "constants", "entries", "nbytes", "number_order", "order", "program", "specs", "writes")

    def __init__(
        self,
        specs: tuple[Spec, ...],
        program: tuple[int, ...],
        constants: tuple[Any, ...],
        nbytes: tuple[int, ...],
        writes: tuple[int, ...],
        order: tuple[int, ...],
        number_order: tuple[int, ...],
    ):
        self.order, self.number_order = order, number_order
        self.specs, self.program, self.constants = specs, program, constants
        self.nbytes, self.writes = nbytes, writes
        self.entries, self.bytes = len(specs), sum(spec.nbytes for spec in specs)


class Recording:
    """What one call records: made before it, asked for the chain after it."""

    __slots__ = ("_epoch", "_start", "_storages", "_trace")

    def __init__(self, trace: Trace):
        self._trace, self._epoch = trace, trace.epoch
        self._start, self._storages = len(trace.signature), len(trace.storages)

    def chain(self, given: Sequence[Storage], numbers: Sequence[float]) -> tuple[Chain, dict[int, int]] | None:
        """The chain of everything recorded since, and the number of each fresh storage by its id.

        None where it cannot be repeated from the operands alone: the trace was run in between, operands share a
        storage or a number, or a storage took part that is neither given nor made by the chain.
        """
        trace = self._trace
        if trace.epoch != self._epoch or len({id(s) for s in given}) < len(given):
            return None
        if len({id(n) for n in numbers}) < len(numbers):
            return None
        signature, storages = trace.signature, trace.storages
        own = {s.slot: i for i, s in enumerate(given) if s.epoch == trace.epoch}
        number_of = {id(n): i for i, n in enumerate(numbers)}
        specs: list[Spec] = []
        constants: list[Any] = []
        fresh: list[Storage] = []
        writes: list[int] = []
        steps: list[tuple[str, int]] = []
        made: dict[int, int] = {}
        at = self._start
        while at < len(signature):
            spec = signature[at]
            steps.append(("spec", len(specs)))
            specs.append(spec)
            tensors = len(spec.tensors)
            for k, slot in enumerate(signature[at + 1 : at + spec.length]):
                if tensors <= k < tensors + spec.numbers:
                    value = trace.numbers[slot]
                    found = number_of.get(id(value))
                    if found is not None:
                        steps.append(("number", found))
                        continue
                    place = next((i for i, c in enumerate(constants) if c is value), None)
                    if place is None:
                        place = len(constants)
                        constants.append(value)
                    steps.append(("constant", place))
                    continue
                written = k >= tensors + spec.numbers
                if slot in own:
                    steps.append(("given", own[slot]))
                    if written:
                        writes.append(own[slot])
                elif slot in made:
                    steps.append(("fresh", made[slot]))
                elif written and slot >= self._storages:
                    made[slot] = len(fresh)
                    steps.append(("fresh", len(fresh)))
                    fresh.append(storages[slot])
                else:
                    return None
            at += spec.length
        sizes = {"spec": len(specs), "given": len(given), "number": len(numbers), "constant": len(constants)}
        base, total = {}, 0
        for kind, size in sizes.items():
            base[kind], total = total, total + size
        base["fresh"] = total
        program = tuple(base[kind] + i for kind, i in steps)
        operands, values = {"given": 0, "fresh": len(given)}, {"number": 0, "constant": len(numbers)}
        order = (operands[kind] + i for kind, i in steps if kind in operands)
        number_order = (values[kind] + i for kind, i in steps if kind in values)
        found_chain = Chain(
            tuple(specs), program, tuple(constants), tuple(s.nbytes for s in fresh), tuple(writes),
            tuple(dict.fromkeys(order)), tuple(dict.fromkeys(number_order)),
        )  # fmt: skip
        return found_chain, {id(s): i for i, s in enumerate(fresh)}
