"""The trace: what was recorded and has not run yet.

Floor 4. A trace is linear: program order is its meaning, and running the entries one by one is eager PyTorch. It is
kept as one flat list, `signature`: for every entry its Spec, then the slots of its tensor operands, of its numbers and
of its outputs. Storages and numbers are numbered by first appearance, so two steps of a training loop have equal
signatures, and the list itself is the key of the plan. Numbers are told apart by identity, not by value: which operands
share a number is part of the program, its value is not.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from itertools import count
from threading import RLock
from typing import TYPE_CHECKING, Any

from ..config import settings
from ..dtypes import DType, float64
from ..ops.table import Op
from ..shapes import Layout

if TYPE_CHECKING:
    from ..runtime import Device
    from .chain import Chain
    from .storage import Storage

ENTRY_LIMIT = 4000
BYTE_LIMIT = 1 << 32

_specs: dict[tuple, Spec] = {}


class Spec:
    """What an entry does, apart from where: the op, how its operands and outputs lie, its attributes. Interned.

    Attributes:
        ins: a Layout per tensor operand, a DType per run-time number (the dtype it is computed in).
        outs: a Layout per output.
        attrs: static attributes, as the op's record defines them.
        tensors: positions in `ins` that are tensors. `numbers`: how many are numbers.
        empty: all outputs have no elements, so there is nothing to record.
        nbytes: bytes the outputs take, for the limit on pending bytes.
    """

    __slots__ = ("op", "ins", "outs", "attrs", "tensors", "numbers", "empty", "nbytes", "length", "wide", "memo")

    def __init__(self, op: Op, ins: tuple, outs: tuple[Layout, ...], attrs: tuple):
        self.op, self.ins, self.outs, self.attrs = op, ins, outs, attrs
        self.tensors = tuple(i for i, x in enumerate(ins) if isinstance(x, Layout))
        self.numbers = len(ins) - len(self.tensors)
        self.empty = all(o.numel == 0 for o in outs)
        self.nbytes = sum(o.nbytes for o in outs)
        self.length = 1 + len(ins) + len(outs)
        self.wide = any((x.dtype if isinstance(x, Layout) else x) is float64 for x in (*ins, *outs))
        self.memo: dict = {}

    def __repr__(self) -> str:
        return f"{self.op.name}({', '.join(map(str, self.ins))}) -> {', '.join(map(str, self.outs))} {self.attrs or ''}"


def make_spec(op: Op, ins: tuple[Layout | DType, ...], outs: tuple[Layout, ...], attrs: tuple = ()) -> Spec:
    """The one Spec with these facts. `attrs` must be hashable."""
    key = (op, ins, outs, attrs)
    found = _specs.get(key)
    if found is None:
        found = _specs[key] = Spec(op, ins, outs, attrs)
    return found


class Trace:
    """The entries recorded for one device since the last flush."""

    __slots__ = (
        "device",
        "epoch",
        "signature",
        "storages",
        "numbers",
        "number_slots",
        "lines",
        "entries",
        "nbytes",
        "lock",
        "failed",
        "fp64",
    )

    _epochs = count()

    def __init__(self, device: Device):
        self.device = device
        self.lock = RLock()
        self.fp64: bool = device.target.fp64
        self.failed = False  # the last attempt to run this trace raised
        self.clear()

    def clear(self) -> None:
        self.epoch = next(Trace._epochs)
        self.signature: list[Any] = []
        self.storages: list[Storage] = []
        self.numbers: list[int | float | bool] = []
        self.number_slots: dict[int, int] = {}
        self.lines: list[str] = []
        self.entries = 0
        self.nbytes = 0

    def record(self, spec: Spec, ins: tuple[Storage, ...], outs: tuple[Storage, ...], numbers: tuple = ()) -> None:
        """Append one entry. `ins` are the tensor operands' storages, `numbers` the values of the number operands, in
        order.
        """
        if spec.empty:
            return
        if spec.wide and not self.fp64:
            raise RuntimeError(
                f"{spec.op.name}: float64: {self.device.spec} ({self.device.name}) has no double precision; "
                "use float32 or another device"
            )
        with self.lock:
            epoch, storages, append = self.epoch, self.storages, self.signature.append
            append(spec)
            for s in ins:
                if s.epoch != epoch:
                    if s.foreign:
                        s.own()
                    s.epoch, s.slot = epoch, len(storages)
                    storages.append(s)
                append(s.slot)
            for value in numbers:
                slot = self.number_slots.get(id(value))
                if slot is None:
                    slot = self.number_slots[id(value)] = len(self.numbers)
                    self.numbers.append(value)
                append(slot)
            for s in outs:
                if s.epoch != epoch:
                    if s.foreign:
                        s.own()
                    s.epoch, s.slot = epoch, len(storages)
                    storages.append(s)
                append(s.slot)
            self.entries += 1
            self.nbytes += spec.nbytes
            if _watch:
                if settings.debug >= 1:
                    self.lines.append(_line_of_user())
                if settings.eager or self.entries >= ENTRY_LIMIT or self.nbytes >= BYTE_LIMIT:
                    _flush(self)
            elif self.entries >= ENTRY_LIMIT or self.nbytes >= BYTE_LIMIT:
                _flush(self)

    def record_chain(
        self, chain: Chain, given: Sequence[Storage], fresh: Sequence[Storage], numbers: Sequence[float] = ()
    ) -> None:
        """Append all entries of a chain: what `record` does, entry by entry, in one go.

        Args:
            given: storages of the chain's operands, in order.
            fresh: new storages, of `chain.nbytes` bytes each.
            numbers: values of its number operands.
        """
        with self.lock:
            epoch, storages, number_slots = self.epoch, self.storages, self.number_slots
            operands, values = [*given, *fresh], [*numbers, *chain.constants]
            for i in chain.order:
                s = operands[i]
                if s.epoch != epoch:
                    if s.foreign:
                        s.own()
                    s.epoch, s.slot = epoch, len(storages)
                    storages.append(s)
            for i in chain.number_order:
                value = values[i]
                if id(value) not in number_slots:
                    number_slots[id(value)] = len(self.numbers)
                    self.numbers.append(value)
            known = number_slots.get
            table: list[Any] = [
                *chain.specs, *[s.slot for s in given], *[known(id(v)) for v in values], *[s.slot for s in fresh]
            ]  # fmt: skip
            self.signature += [table[i] for i in chain.program]
            for i in chain.writes:
                given[i].version += 1
            self.entries += chain.entries
            self.nbytes += chain.bytes
            if self.entries >= ENTRY_LIMIT or self.nbytes >= BYTE_LIMIT:
                _flush(self)


_watch = settings.eager or settings.debug >= 1


def watching() -> bool:
    """Whether every entry has to be looked at as it is recorded (`CLTORCH_EAGER`, `CLTORCH_DEBUG`)."""
    return _watch


def watch() -> None:
    """Look at `settings.eager` and `settings.debug` again, after they were changed in the process."""
    global _watch
    _watch = settings.eager or settings.debug >= 1


def _flush(trace: Trace) -> None:
    _flusher[0](trace)


_flusher: list[Any] = []


def set_flusher(function: Any) -> None:
    """replay.py registers here how a trace is run."""
    _flusher[:] = [function]


def _line_of_user() -> str:
    """The innermost line of the stack outside cltorch."""
    for frame in reversed(traceback.extract_stack()):
        if "/cltorch/" not in frame.filename.replace("\\", "/"):
            return f"{frame.filename}:{frame.lineno}: {frame.line}"
    return "?"


class _Traces(dict):
    """The trace of each device, made on demand."""

    def __missing__(self, device: Device) -> Trace:
        trace = self[device] = Trace(device)
        return trace


traces: dict[Any, Trace] = _Traces()


def record(spec: Spec, ins: tuple[Storage, ...], outs: tuple[Storage, ...], numbers: tuple = ()) -> None:
    """Append an entry to the trace of the device on which `outs` lie. Nothing runs."""
    outs[0].trace.record(spec, ins, outs, numbers)
