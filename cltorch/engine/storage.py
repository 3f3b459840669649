"""Storages: the memory behind tensors, whether on the host, on a device or still to be computed.

Floor 4. A Storage knows its bytes and nothing of shapes: those are Layouts, held by tensors and by trace entries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..runtime import aligned_empty
from .trace import Trace, traces

if TYPE_CHECKING:
    from ..runtime import Device

class Storage:
    """`nbytes` of memory on one device.

    Attributes:
        trace: the trace of its device, into which entries on it are recorded.
        block: the pool's block, once there is one; None while host-resident, pending or never written.
        host: a NumPy array with the contents while no kernel has needed them on the device, else None.
        version: number of in-place writes so far (autograd compares it).
        foreign: `host` belongs to the user, who may write into it later: the first op that is recorded on the storage
            takes a copy, so that what it computes does not depend on when it runs.
        epoch, slot: its number in the trace of that epoch.
        derived: results made of its contents alone (see derived.py).
    """

    __slots__ = ("trace", "nbytes", "block", "host", "version", "foreign", "epoch", "slot", "derived", "__weakref__")

    def __init__(self, device: Device, nbytes: int):
        self.trace: Trace = traces[device]
        self.nbytes = nbytes
        self.block: Any = None
        self.host: np.ndarray | None = None
        self.version = 0
        self.foreign = False
        self.epoch = -1
        self.slot = -1
        self.derived: dict[tuple, Any] | None = None

    @property
    def device(self) -> Device:
        return self.trace.device

    @property
    def pending(self) -> bool:
        """True if entries not yet run mention this storage."""
        return self.epoch == self.trace.epoch

    def own(self) -> None:
        """Take a copy of memory that belongs to the user."""
        self.foreign = False
        if self.host is not None:
            copy = aligned_empty(self.host.shape, self.host.dtype)
            copy[...] = self.host
            self.host = copy

    @classmethod
    def from_numpy(cls, device: Device, array: np.ndarray) -> Storage:
        """A host-resident storage over the bytes of a C-contiguous array, shared where the device can (no copy now)."""
        if not array.flags.c_contiguous:
            raise ValueError("Storage.from_numpy: array: got a non-contiguous array, wanted C order")
        storage = cls(device, array.nbytes)
        storage.host = array
        return storage
