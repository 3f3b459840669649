"""The memory pool of a device: a caching allocator that knows about streams. Nobody else creates a `cl.Buffer`.

Floor 1a. What it must do well, in order: give back a block of a size seen before at once (a training step asks for
the same sizes again and again); never let two streams use the same bytes at the same time; never fragment for good;
stay within a budget that it counts itself, because CPU drivers over-commit and get killed instead of failing.

**Structure.** A *segment* is one driver allocation. It belongs to one *arena*, that is to one stream, and is cut
into *spans*. A freed span goes to the bin of its exact size, unmerged, and the next request of that size takes it
(LIFO: warm in the cache). When a bin is empty, spans freed since the last time are merged with their free
neighbours, then the smallest free span that fits is split; only then a segment is made. So each freed span is
merged at most once, and the hot path is a dict and a list.

**Streams.** Work of one in-order queue that reuses bytes freed by earlier work of the same queue needs no event. A
block used by other streams (`record_stream`) is reused only after markers in those streams are complete. The *host
arena* (stream None) holds blocks whose bytes the host may write at once: nothing pending on any device touches
them.

**Threads and garbage collection.** A block may be dropped anywhere, even by a garbage collection inside `allocate`:
dropping only appends to a deque, which the next `allocate` empties under the lock.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakSet

import numpy as np

from ..config import settings
from ..errors import DeviceError, OutOfMemoryError
from .opencl import Process, process

if TYPE_CHECKING:
    from .device import Device
    from .stream import Stream

KIB, MIB = 1 << 10, 1 << 20
_SMALL = MIB  # requests up to here share small segments
_LARGE_STEP = 128 * KIB
_SMALL_SEGMENT = 4 * MIB
_MIDDLE = 16 * MIB  # requests up to here share middle segments, larger ones have a segment of their own
_MIDDLE_SEGMENT = 32 * MIB
_SEGMENT_STEP = 2 * MIB

_LIVE, _BINNED, _FREE, _PENDING = range(4)
_PENDING_CHECKS = 4  # per allocation on the hot path
_SUBS_KEPT = 4096  # buffers of parts remembered per span


class _Segment:
    """One driver allocation."""

    __slots__ = ("address", "arena", "buffer", "first", "memory", "nbytes", "small")

    def __init__(self, arena: _Arena | None, buffer: Any, memory: np.ndarray | None, nbytes: int, small: bool) -> None:
        self.arena = arena
        self.buffer = buffer
        self.address = memory.ctypes.data if memory is not None else 0
        self.memory = memory  # the bytes as the host sees them, or None
        self.nbytes = nbytes
        self.small = small
        self.first: _Span | None = None


class _Span:
    """A range of a segment, linked with its neighbours."""

    __slots__ = ("after", "before", "buffer", "label", "nbytes", "offset", "segment", "state", "subs", "uses")

    def __init__(self, segment: _Segment, offset: int, nbytes: int) -> None:
        self.segment = segment
        self.offset = offset
        self.nbytes = nbytes
        self.before: _Span | None = None
        self.after: _Span | None = None
        self.buffer: Any = None
        self.subs: dict[tuple[int, int], Any] | None = None  # buffers of parts; kept from block to block
        self.state = _FREE
        self.label = ""
        self.uses: set[Stream] | None = None  # other streams that use the block

    def key(self) -> tuple[int, int, int]:
        return (self.nbytes, id(self.segment), self.offset)

    def bind(self) -> None:
        """Make the buffer that kernels get, if it is not there from last time."""
        if self.buffer is None:
            whole = self.nbytes == self.segment.nbytes
            root = self.segment.buffer
            self.buffer = root if whole else root.get_sub_region(self.offset, self.nbytes)


class _Arena:
    """The segments of one stream (None: of the host)."""

    __slots__ = ("bins", "free", "fresh", "segments", "spans", "stream")

    def __init__(self, stream: Stream | None) -> None:
        self.stream = stream
        self.bins: dict[int, list[_Span]] = {}
        self.fresh = False  # some bin may hold a span
        # Merged free spans, sorted by size, of small and of other segments.
        self.free: dict[bool, list[tuple[int, int, int]]] = {True: [], False: []}
        self.spans: dict[tuple[int, int, int], _Span] = {}
        self.segments: set[_Segment] = set()

    def insert(self, span: _Span) -> None:
        key = span.key()
        span.state = _FREE
        insort(self.free[span.segment.small], key)
        self.spans[key] = span

    def remove(self, span: _Span) -> None:
        key = span.key()
        keys = self.free[span.segment.small]
        del keys[bisect_left(keys, key)]
        del self.spans[key]

    def best(self, nbytes: int, small: bool) -> _Span | None:
        """The smallest merged free span that holds `nbytes`, taken out of the list."""
        keys = self.free[small]
        place = bisect_left(keys, (nbytes, 0, 0))
        if place == len(keys):
            return None
        return self.spans.pop(keys.pop(place))

    def merge(self) -> None:
        """Empty the bins: merge their spans with free neighbours."""
        if not self.fresh:
            return
        self.fresh = False
        waiting = [span for spans in self.bins.values() for span in spans]
        self.bins.clear()
        for span in waiting:
            if span.state != _BINNED:
                continue  # swallowed by a neighbour of this round
            before = span.before
            while before is not None and before.state in (_BINNED, _FREE):
                if before.state == _FREE:
                    self.remove(before)
                before.state = _FREE
                _swallow(before, span)
                span, before = before, before.before
            after = span.after
            while after is not None and after.state in (_BINNED, _FREE):
                if after.state == _FREE:
                    self.remove(after)
                after.state = _FREE
                _swallow(span, after)
                after = span.after
            self.insert(span)


def _swallow(left: _Span, right: _Span) -> None:
    """Extend `left` by its right neighbour, which ceases to be."""
    left.nbytes += right.nbytes
    left.buffer = right.buffer = left.subs = right.subs = None
    left.after = right.after
    if right.after is not None:
        right.after.before = left


class _Lease:
    """What a host view keeps alive: the block whose bytes it shows."""

    __slots__ = ("__array_interface__", "block")

    def __init__(self, block: Block, interface: dict[str, Any]) -> None:
        self.block = block
        self.__array_interface__ = interface


class Block:
    """Memory lent by a pool, given back by `release` or when the last reference goes.

    Attributes:
        buffer: the OpenCL buffer for kernel arguments; it begins at the block's first byte.
        nbytes: bytes asked for.
    """

    __slots__ = ("__weakref__", "_pool", "_span", "buffer", "nbytes")

    def __init__(self, pool: Pool, span: _Span, nbytes: int) -> None:
        self._pool = pool
        self._span: _Span | None = span
        self.buffer: Any = span.buffer
        self.nbytes = nbytes

    @property
    def label(self) -> str:
        """What the block holds, for the text of an out-of-memory error."""
        return self._span.label if self._span is not None else ""

    @label.setter
    def label(self, text: str) -> None:
        if self._span is not None:
            self._span.label = text

    def record_stream(self, stream: Stream) -> None:
        """`stream` uses the block too: its bytes are reused only when the work it has at the release is done."""
        span = self._open()
        arena = span.segment.arena
        if arena is None or arena.stream is not stream:
            if span.uses is None:
                span.uses = set()
            span.uses.add(stream)

    def sub(self, offset: int, nbytes: int) -> Any:
        """The buffer of `nbytes` from `offset`, made once.

        `offset` must be a multiple of `target.address_alignment`.
        """
        key = (offset, nbytes)
        span = self._open()
        if span.subs is None or len(span.subs) >= _SUBS_KEPT:
            span.subs = {}
        found = span.subs.get(key)
        if found is None:
            if offset < 0 or nbytes < 0 or offset + nbytes > max(self.nbytes, 1):
                raise DeviceError(f"Block.sub: got bytes {offset} to {offset + nbytes}, wanted a part of {self.nbytes}")
            alignment = self._pool.device.target.address_alignment
            if offset % alignment:
                raise DeviceError(f"Block.sub: offset: got {offset}, wanted a multiple of {alignment}")
            if offset == 0 and nbytes == self.nbytes:
                found = self.buffer
            else:
                found = span.segment.buffer.get_sub_region(span.offset + offset, max(nbytes, 1))
            span.subs[key] = found
        return found

    def host(self, dtype: Any, count: int, offset_bytes: int = 0) -> np.ndarray | None:
        """The bytes as an array of the host, without a copy, or None where host and device do not share memory.

        The array keeps the block from being released by garbage collection (not from an explicit `release`). The
        caller waits for the kernels that write the block before it reads, and for all that use it before it writes.
        """
        span = self._open()
        segment = span.segment
        if segment.memory is None:
            return None
        dtype = np.dtype(dtype)
        if offset_bytes < 0 or offset_bytes + count * dtype.itemsize > self.nbytes:
            raise DeviceError(
                f"Block.host: got {count} {dtype} from byte {offset_bytes}, wanted a part of {self.nbytes} bytes"
            )
        if count == 0:
            return np.empty(0, dtype)
        address = segment.address + span.offset + offset_bytes
        interface = {"shape": (count,), "typestr": dtype.str, "data": (address, False), "version": 3}
        return np.asarray(_Lease(self, interface))

    def _open(self) -> _Span:
        if self._span is None:
            raise DeviceError("Block: this block was released")
        return self._span

    def release(self) -> None:
        """Give the memory back now. A second call does nothing."""
        span = self._span
        if span is not None:
            self._span = self.buffer = None
            self._pool._returned.append(span)

    def __del__(self, _process: Process = process) -> None:
        span = self._span
        if span is not None:
            if _process.forked:
                _process.keep((self.buffer, span))
            else:
                self._pool._returned.append(span)

    def __repr__(self) -> str:
        state = "released" if self._span is None else f"{self.nbytes} bytes"
        return f"Block({state})"


class Holder(Protocol):
    """Whoever remembers buffers of a pool from call to call, such as arguments that stay bound."""

    def let_go(self) -> None:
        """Forget all buffers that no live block covers. May be called from any thread that allocates."""


class Pool:
    """The caching allocator of one device."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._process = process
        self.granule = max(512, device.target.address_alignment)
        self.budget = settings.memory_limit * MIB or device.memory_budget()
        self._lock = threading.Lock()
        self._arenas: dict[Stream | None, _Arena] = {}
        self._returned: deque[_Span] = deque()
        self._pending: deque[tuple[_Span, list[Any]]] = deque()
        self._reserved = self._reserved_peak = 0
        self._allocated = self._allocated_peak = 0
        self._adopted = 0
        self._releases = self._allocations = self._misses = 0
        self._segments_made = self._retries = self._ooms = 0
        self._holders: WeakSet[Holder] = WeakSet()

    def add_holder(self, holder: Holder) -> None:
        """Ask `holder` to let go of buffers before memory is given back; it is referred to weakly."""
        with self._lock:
            self._holders.add(holder)

    # ---- allocation

    def allocate(self, nbytes: int, stream: Stream | None = None) -> Block:
        """A block of at least `nbytes` bytes for work of `stream` (None: the current stream), uninitialised.

        Raises:
            OutOfMemoryError: the budget does not hold it, even after everything cached was given up.
        """
        return self._allocate(nbytes, self.device.stream if stream is None else stream)

    def allocate_host(self, nbytes: int) -> Block:
        """A block that no pending work touches and that the host can write at once: `host` gives the bytes.

        On devices with memory of their own it is pinned staging memory. Whoever uses it on a stream calls
        `record_stream`.
        """
        return self._allocate(nbytes, None)

    def _allocate(self, nbytes: int, home: Stream | None) -> Block:
        if nbytes <= _SMALL:
            granule = self.granule
            size = -(-nbytes // granule) * granule or granule
        else:
            size = -(-nbytes // _LARGE_STEP) * _LARGE_STEP
        if self._process.forked and self.device.type != "null":
            self._process.refuse_if_forked()
        with self._lock:
            if self._returned:
                self._collect()
            if self._pending:
                self._reap(_PENDING_CHECKS)
            arena = self._arenas.get(home)
            if arena is None:
                arena = self._arenas[home] = _Arena(home)
            spans = arena.bins.get(size)
            if spans:
                span = spans.pop()
            else:
                span = self._find(arena, size)
                try:
                    span.bind()
                except Exception:
                    span.state = _FREE
                    arena.insert(span)
                    raise
            span.state = _LIVE
            self._allocations += 1
            self._allocated += size
            if self._allocated > self._allocated_peak:
                self._allocated_peak = self._allocated
        return Block(self, span, nbytes)

    def _find(self, arena: _Arena, size: int) -> _Span:
        """A span of exactly `size`, from merged spans or a new segment."""
        self._misses += 1
        small = size <= _SMALL
        span = arena.best(size, small)
        if span is None and arena.fresh:
            arena.merge()
            span = arena.best(size, small)
        if span is None and self._pending and self._reap(len(self._pending)):
            arena.merge()
            span = arena.best(size, small)
        if span is None:
            span = self._grow(arena, size, small)
        if span.nbytes > size:
            rest = _Span(span.segment, span.offset + size, span.nbytes - size)
            rest.before, rest.after = span, span.after
            if span.after is not None:
                span.after.before = rest
            span.after = rest
            span.nbytes = size
            span.buffer = span.subs = None
            arena.insert(rest)
        return span

    def _grow(self, arena: _Arena, size: int, small: bool) -> _Span:
        """A span that is a whole new segment (or, where the budget is exhausted, one freed by waiting)."""
        if size > self.device.target.max_allocation:
            raise self._out_of_memory(size, "a single allocation of this device")
        least = _SEGMENT_STEP if small else size
        if small:
            wanted = _SMALL_SEGMENT
        elif size <= _MIDDLE:
            wanted = _MIDDLE_SEGMENT
        else:
            wanted = -(-size // _SEGMENT_STEP) * _SEGMENT_STEP
        wanted = max(min(wanted, self.device.target.max_allocation), least)
        if size > _MIDDLE:
            self._outgrow(arena, wanted)
        for nbytes in dict.fromkeys((wanted, least)):
            if self._reserved + nbytes <= self.budget:
                span = self._segment(arena, nbytes, small)
                if span is not None:
                    return span
        # Nothing left: wait for all work, give up what is cached, largest first, and try once more.
        self._retries += 1
        self._quiesce()
        span = arena.best(size, small)
        if span is not None:
            return span
        self._trim(self._reserved + least - self.budget)
        if self._reserved + least <= self.budget:
            span = self._segment(arena, least, small)
            if span is None:  # the driver or the system refuses although the budget allows it
                self._trim(self._reserved)
                span = self._segment(arena, least, small)
            if span is not None:
                return span
        raise self._out_of_memory(size)

    def _outgrow(self, arena: _Arena, nbytes: int) -> None:
        """Give up unused segments that a new one of `nbytes` can stand in for, as many bytes at most.

        A training step's arena replaces the smaller one of the step before it (another batch size, a first step that
        was recorded in parts) instead of lying beside it for good. Whoever asks for the old size next gets a part of
        the new segment. Segments in use stay, so a loop with the same requests soon has what it needs.
        """
        whole = [span for span in arena.spans.values() if span.nbytes == span.segment.nbytes <= nbytes]
        if whole:
            if arena.stream is not None:  # what it runs may still use them
                arena.stream.synchronize()
            self._give_up([(span, arena) for span in whole], nbytes)

    def _segment(self, arena: _Arena, nbytes: int, small: bool) -> _Span | None:
        made = self.device.create_segment(nbytes, arena.stream is None)
        if made is None:
            return None
        buffer, memory = made
        segment = _Segment(arena, buffer, memory, nbytes, small)
        arena.segments.add(segment)
        self._segments_made += 1
        self._reserved += nbytes
        self._reserved_peak = max(self._reserved_peak, self._reserved)
        segment.first = _Span(segment, 0, nbytes)
        return segment.first

    # ---- release

    def _collect(self) -> None:
        """Take back what was released since the last time."""
        returned = self._returned
        while returned:
            span = returned.popleft()
            arena = span.segment.arena
            if arena is None:
                self._adopted -= span.nbytes
            else:
                self._allocated -= span.nbytes
                self._releases += 1
            if span.label:
                span.label = ""
            uses = span.uses
            if uses:
                span.state, span.uses = _PENDING, None
                self._pending.append((span, [stream.marker() for stream in uses]))
            elif arena is not None:
                self._bin(arena, span)

    @staticmethod
    def _bin(arena: _Arena, span: _Span) -> None:
        span.state = _BINNED
        arena.fresh = True
        spans = arena.bins.get(span.nbytes)
        if spans is None:
            arena.bins[span.nbytes] = [span]
        else:
            spans.append(span)

    def _reap(self, checks: int) -> bool:
        """Look at `checks` spans that wait for other streams; whether one became free."""
        pending = self._pending
        found = False
        for _ in range(min(checks, len(pending))):
            span, events = pending.popleft()
            while events and events[-1].command_execution_status <= 0:
                events.pop()
            if events:
                pending.append((span, events))
                continue
            if span.segment.arena is not None:  # adopted memory is simply let go
                self._bin(span.segment.arena, span)
            found = True
        return found

    def _quiesce(self) -> None:
        """Wait for all work, then merge everything that is free."""
        for stream in self.device.streams():
            stream.synchronize()
        self._reap(len(self._pending))
        for arena in self._arenas.values():
            arena.merge()

    def _trim(self, nbytes: int) -> int:
        """Give up wholly free segments, largest first, until `nbytes` are gone. After `_quiesce`."""
        whole = [
            (span, arena)
            for arena in self._arenas.values()
            for span in arena.spans.values()
            if span.nbytes == span.segment.nbytes
        ]
        return self._give_up(whole, nbytes, over=True)

    def _give_up(self, whole: list[tuple[_Span, _Arena]], nbytes: int, over: bool = False) -> int:
        """Give up wholly free segments, largest first: until `nbytes` are gone (`over`), or no more than that."""
        freed = 0
        if whole:
            for holder in self._holders:
                holder.let_go()
        for span, arena in sorted(whole, key=lambda pair: -pair[0].nbytes):
            if freed >= nbytes:
                break
            if not over and freed + span.nbytes > nbytes:
                continue
            arena.remove(span)
            arena.segments.discard(span.segment)
            span.segment.first = None  # no cycle: the memory goes at once
            freed += span.nbytes
        self._reserved -= freed
        return freed

    def empty_cache(self) -> int:
        """Give all unused memory back to the system; returns the bytes. Waits for the device."""
        with self._lock:
            self._collect()
            self._quiesce()
            return self._trim(self._reserved)

    def adopt(self, buffer: Any, array: np.ndarray, uses: set[Stream]) -> Block:
        """A block over memory of the host that `buffer` shows to the device; the array lives until the device is
        done with it.
        """
        memory = array.reshape(-1).view(np.uint8)
        span = _Span(_Segment(None, buffer, memory, array.nbytes, False), 0, array.nbytes)
        span.buffer, span.state, span.uses = buffer, _LIVE, uses
        with self._lock:
            if self._returned:
                self._collect()
            if self._pending:
                self._reap(_PENDING_CHECKS)
            self._adopted += array.nbytes
        return Block(self, span, array.nbytes)

    # ---- what is where

    def statistics(self) -> dict[str, int]:
        """Counters under the names of `torch.cuda.memory_stats`."""
        with self._lock:
            self._collect()
            segments = sum(len(arena.segments) for arena in self._arenas.values())
            waiting = sum(span.nbytes for span, _ in self._pending if span.segment.arena is not None)
            return {
                "allocated_bytes.all.current": self._allocated,
                "allocated_bytes.all.peak": self._allocated_peak,
                "reserved_bytes.all.current": self._reserved,
                "reserved_bytes.all.peak": self._reserved_peak,
                "active_bytes.all.current": self._allocated + waiting,
                "adopted_bytes.all.current": self._adopted,
                "allocation.all.current": self._allocations - self._releases,
                "allocation.all.allocated": self._allocations,
                "segment.all.current": segments,
                "segment.all.allocated": self._segments_made,
                "num_bin_misses": self._misses,
                "num_alloc_retries": self._retries,
                "num_ooms": self._ooms,
                "budget_bytes": self.budget,
            }

    def reset_peak(self) -> None:
        """Start the peaks anew from what is in use now."""
        with self._lock:
            self._collect()
            self._allocated_peak = self._allocated
            self._reserved_peak = self._reserved

    def live_spans(self) -> list[tuple[int, str]]:
        """(bytes, label) of every block in use, largest first."""
        found = []
        for arena in self._arenas.values():
            for segment in arena.segments:
                span = segment.first
                while span is not None:
                    if span.state == _LIVE:
                        found.append((span.nbytes, span.label))
                    span = span.after
        return sorted(found, key=lambda pair: -pair[0])

    def _out_of_memory(self, size: int, limit: str = "") -> OutOfMemoryError:
        self._ooms += 1
        live = self.live_spans()
        held = "; ".join(f"{_show(nbytes)}{f' ({label})' if label else ''}" for nbytes, label in live[:8])
        device = self.device
        if limit:
            cause = f"{limit} is bounded by {_show(device.target.max_allocation)}"
        else:
            cause = f"the budget is {_show(self.budget)}"
        return OutOfMemoryError(
            f"{device.spec} ({device.name}) is out of memory: {_show(size)} were asked for, {cause}; reserved "
            f"{_show(self._reserved)}, of which {_show(self._allocated)} are in use by {len(live)} blocks and "
            f"{_show(self._reserved - self._allocated)} are cached (peak in use {_show(self._allocated_peak)}). "
            f"The largest blocks in use: {held or 'none'}. Use a smaller batch, drop tensors you no longer need, or "
            f"raise CLTORCH_MEMORY_LIMIT_MB"
        )


def _show(nbytes: int) -> str:
    for unit, name in ((1 << 30, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if nbytes >= unit:
            return f"{nbytes / unit:.2f} {name}"
    return f"{nbytes} bytes"
