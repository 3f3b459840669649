"""What launches made of the contents of one storage alone, and later replays use again: transformed weights.

Floor 4. A storage that a plan only reads goes through three states, held in `Storage.derived`:

- None: never seen by a plan that could use such results, or written since;
- an empty dict: seen once with these contents;
- results by what made them: seen again, so the contents are likely to stay (inference, evaluation, a frozen layer).

So a training loop, which writes its weights between two looks at them, never holds a result and never loses one.
Whoever writes a storage calls `forget`: the kernels of a replay and `engine.write`, the only writers there are. Results
go with the storage, with the first write, or when memory is short.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from weakref import WeakSet

if TYPE_CHECKING:
    from ..runtime import Device
    from .storage import Storage

SHARE = 8  # results may take one part in so many of a device's memory budget

_holders: WeakSet[Storage] = WeakSet()


def see(storages: Iterable[Storage]) -> None:
    """Remember that a plan has read the contents that these storages have now."""
    for storage in storages:
        if storage.derived is None:
            storage.derived = {}
            _holders.add(storage)


def forget(storages: Iterable[Storage]) -> None:
    """The contents of these storages change."""
    if not _holders:
        return
    for storage in storages:
        if storage.derived is not None:
            storage.derived = None
            _holders.discard(storage)


def nbytes(device: Device) -> int:
    """Bytes of all results on a device."""
    return sum(block.nbytes for s in _holders if s.device is device for block in (s.derived or {}).values())


def give_up(device: Device) -> bool:
    """Drop all results on a device; whether there were any."""
    found = [s for s in _holders if s.device is device and s.derived]
    forget(found)
    return bool(found)
