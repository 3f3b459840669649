"""Running traces: find or make the plan, bind what changed, enqueue.

Floor 4. A failed flush leaves the trace as it was: allocation and build faults happen before the first kernel is
enqueued, so the tensors that asked too much can be dropped and the rest still runs.
"""

from __future__ import annotations

import gc
import struct
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config import settings
from ..dtypes import bfloat16
from ..errors import BuildError, OutOfMemoryError
from ..shapes import Layout, contiguous_stride
from . import derived, host
from .plan import Plan, make_plan
from .storage import Storage
from .trace import Trace, set_flusher, traces

if TYPE_CHECKING:
    from ..runtime import Device

PLAN_LIMIT = 512
VARIANT_LIMIT = 4  # of a plan

_plans: dict[tuple, Plan] = {}


def _held() -> int:
    """References that a storage in a trace has from the engine itself while `_run` looks at it."""
    return [sys.getrefcount(s) for s in [Storage.__new__(Storage)]][0]


_HELD = _held()


def _run(trace: Trace) -> None:
    """Run everything in `trace` (enqueue, not wait) and empty it."""
    with trace.lock:
        if not trace.signature:
            return
        if settings.host_only:
            host.run(trace)
            return
        if trace.failed:  # the last fault's traceback may still hold tensors that the user has dropped
            gc.collect()
        trace.failed = True
        device, storages, held = trace.device, trace.storages, _HELD
        flags = bytes([(sys.getrefcount(s) > held) + 2 * (s.block is not None or s.host is not None) for s in storages])
        key = (device, tuple(trace.signature), flags)
        plan = _plans.get(key)
        if device.profiler is not None:
            device.profiler.flush_began(trace.epoch, trace.entries, plan is None)
        if plan is None:
            plan = _new_plan(trace, flags)
            if len(_plans) >= PLAN_LIMIT:
                del _plans[next(iter(_plans))]
            _plans[key] = plan
        chosen = plan
        if plan.constants:
            chosen = _variant(plan, trace, flags)
        plan.busy = chosen.busy = True
        try:
            _replay(chosen, device, storages, trace.numbers)
        except OutOfMemoryError:
            if not derived.give_up(device):
                raise
            _replay(plan, device, storages, trace.numbers)
        finally:
            plan.busy = chosen.busy = False
        if plan.constants:
            derived.see(storages[slot] for slot in plan.constants)
        if device.profiler is not None:
            device.profiler.flush_ended()
        trace.failed = False
        trace.clear()
    if settings.eager:
        device.synchronize()


def _variant(plan: Plan, trace: Trace, flags: bytes) -> Plan:
    """The plan that keeps what it makes of contents that were seen before; `plan` if there are none, or no memory."""
    device, storages = trace.device, trace.storages
    seen = bytes([storages[slot].derived is not None for slot in plan.constants])
    if not any(seen) or device.has_several_streams:  # a result made on one stream may not be there yet on another
        return plan
    found = plan.variants.get(seen)
    if found is None:
        if len(plan.variants) >= VARIANT_LIMIT:
            return plan
        found = _new_plan(trace, flags, frozenset(slot for slot, known in zip(plan.constants, seen) if known))
        plan.variants[seen] = found
    missing = sum(kept.nbytes for kept in found.kept if kept.key not in (storages[kept.slot].derived or ()))
    if missing and missing + derived.nbytes(device) > device.pool.budget // derived.SHARE:
        return plan
    return found


def _new_plan(trace: Trace, flags: bytes, settled: frozenset[int] = frozenset()) -> Plan:
    kept = {slot for slot, flag in enumerate(flags) if flag & 1}
    outside = {slot for slot, flag in enumerate(flags) if flag}
    try:
        sizes = [s.nbytes for s in trace.storages]
        return make_plan(trace.device, trace.signature, kept, outside, sizes, settled)
    except BuildError as fault:
        lines = [trace.lines[p] for p in getattr(fault, "positions", ()) if p < len(trace.lines)]
        if lines:
            raise BuildError("\n  recorded at ".join([str(fault), *dict.fromkeys(lines)])) from None
        raise


def _replay(plan: Plan, device: Device, storages: list[Storage], numbers: list) -> None:
    stream = device.stream
    several = device.has_several_streams
    last = plan.last_buffers
    for i, (slot, uses) in enumerate(plan.externals):
        storage = storages[slot]
        block = storage.block
        if block is None:
            block = _materialise(storage, device, stream)
        if several:
            block.record_stream(stream)
        buffer = block.buffer
        if last[i] is not buffer:
            for use in uses:
                use.launch.set_buffer(use.position, buffer)
            last[i] = buffer
    for slot in plan.fresh:  # survivors that no kernel touched: memory without contents
        if storages[slot].block is None:
            _materialise(storages[slot], device, stream)
    arena = None
    if plan.arena:
        arena = device.pool.allocate(plan.arena, stream)
        if arena.buffer is not plan.last_arena:
            for use, offset, nbytes in plan.places:
                use.launch.set_buffer(use.position, arena.sub(offset, nbytes))
            plan.last_arena = arena.buffer
    if plan.numbers:
        seen = plan.last_numbers
        for i, (slot, uses) in enumerate(plan.numbers):
            value = numbers[slot]
            known = seen[i]
            if value is not known and (
                value != known or value == 0 or type(value) is not type(known)
            ):  # 0.0 may be -0.0
                for use in uses:
                    use.launch.set_number(use.position, use.ctype, value)
                seen[i] = value
    first = _bind_kept(plan, device, storages) if plan.kept else ()
    if plan.writes:
        derived.forget([storages[slot] for slot in plan.writes])
    if settings.debug >= 2 or device.profiler is not None:
        _replay_watched(plan, device, stream, first)
    else:
        enqueue, queue = device.enqueue, stream.queue
        try:
            for bound, _ in first:
                bound.enqueue(queue)
            for kernel, global_size, local_size in plan.launches:
                enqueue(queue, kernel, global_size, local_size)
        except Exception as error:  # some kernels ran: what was recorded cannot be run again
            traces[device].clear()
            derived.give_up(device)  # and what was to be kept may not have been made
            raise device.fault(error, f"running {kernel}") from error
    if arena is not None:
        arena.release()


def _bind_kept(plan: Plan, device: Device, storages: list[Storage]) -> list[tuple]:
    """Bind the results that are kept, and give the launches that make those which are not there."""
    missing: list[tuple] = []
    made: list[tuple[dict, tuple]] = []
    for kept in plan.kept:
        results = storages[kept.slot].derived
        assert results is not None
        block = results.get(kept.key)
        if block is None:
            try:
                block = results[kept.key] = device.pool.allocate(kept.nbytes, device.stream)
            except OutOfMemoryError:
                for results, key in made:  # nothing was launched that would fill them
                    del results[key]
                raise
            made.append((results, kept.key))
            missing += kept.launches
        for use in kept.uses:
            use.launch.set_buffer(use.position, block.buffer)
    return missing


def _replay_watched(plan: Plan, device: Device, stream: Any, first: Sequence[tuple]) -> None:
    """Launch one by one, with a line per kernel (`CLTORCH_DEBUG=2`) or an event each for the profiler."""
    profiler = device.profiler
    if profiler is not None:
        trace = traces[device]
        for bound, (launch, group) in (*first, *zip(plan.bound, plan.about)):
            name, event = f"{launch.source.family}: {group.ops}", bound.enqueue(stream.queue)
            origin = (trace.epoch, trace.lines, group)
            profiler.record(name, event, launch.flops, launch.nbytes, id(stream), origin=origin)
        return
    for bound, (launch, group) in (*first, *zip(plan.bound, plan.about)):
        stream.synchronize()
        start = time.perf_counter()
        bound.enqueue(stream.queue)
        stream.synchronize()
        took = time.perf_counter() - start
        print(
            f"cltorch {device.spec} {launch.source.name:26} {str(launch.global_size):>14} {took * 1e6:9.1f} us "
            f"{launch.nbytes / took / 1e9:7.2f} GB/s {launch.flops / took / 1e9:8.2f} GFLOPS  {group.ops[:100]}",
            file=sys.stderr,
        )
        if settings.debug >= 4:
            print(launch.source.text, file=sys.stderr)


def _materialise(storage: Storage, device: Device, stream: Any) -> Any:
    """Give a storage memory on its device: its host contents, or none."""
    if storage.host is not None:
        storage.block = device.adopt(storage.host) or device.upload(storage.host, stream)
        storage.host = None
    else:
        storage.block = device.pool.allocate(storage.nbytes, stream)
    return storage.block


set_flusher(_run)


def flush(device: Device | None = None) -> None:
    """Enqueue everything recorded (for one device or all); does not wait."""
    for trace in [traces[device]] if device is not None else list(traces.values()):
        if trace.signature:
            _run(trace)


def synchronize(device: Device | None = None) -> None:
    """Run everything recorded and wait until it has finished."""
    flush(device)
    for d in [device] if device is not None else list(traces):
        d.synchronize()


def read(storage: Storage, view: Layout) -> np.ndarray:
    """The elements of a view, in C order, as a new NumPy array (bfloat16 as uint16). Runs what is pending and waits."""
    dtype = view.dtype.numpy
    if view.numel == 0:
        return np.empty(view.shape, dtype)
    low, high = view.extent()
    flat = _elements(storage, low, high + 1, view)
    stride = tuple(s * dtype.itemsize for s in view.stride)
    return (
        np.ndarray(view.shape, dtype, flat[view.offset - low :].data, 0, stride).copy()
        if not (view.contiguous)
        else flat[view.offset - low :][: view.numel].reshape(view.shape).copy()
    )


def item(storage: Storage, view: Layout) -> Any:
    """The one element of a view as a Python number."""
    found = _elements(storage, view.offset, view.offset + 1, view)[0].item()
    return struct.unpack("<f", struct.pack("<I", found << 16))[0] if view.dtype is bfloat16 else found


def _elements(storage: Storage, start: int, stop: int, view: Layout) -> np.ndarray:
    """Elements start..stop of a storage, after all that is pending on it has finished; may share its memory."""
    trace = storage.trace
    if storage.epoch == trace.epoch:
        _run(trace)
    if storage.block is None:
        if storage.host is None:
            return np.zeros(stop - start, view.dtype.numpy)  # never written: any contents will do
        return storage.host.reshape(-1).view(np.uint8)[: storage.nbytes].view(view.dtype.numpy)[start:stop]
    device = trace.device
    size = view.dtype.itemsize
    shared = storage.block.host(view.dtype.numpy, stop - start, start * size)
    if shared is not None:
        if not settings.host_only:
            device.stream.synchronize()
        return shared
    return device.download(storage.block, start * size, (stop - start) * size, device.stream).view(view.dtype.numpy)


def write(storage: Storage, view: Layout, array: np.ndarray) -> None:
    """Overwrite the elements of a contiguous view with those of `array` (same shape, NumPy dtype of the layout)."""
    if not view.contiguous:
        raise ValueError(f"write: layout: got stride {view.stride}, wanted C order {contiguous_stride(view.shape)}")
    trace = storage.trace
    if storage.epoch == trace.epoch:
        _run(trace)
    derived.forget((storage,))
    array = np.ascontiguousarray(array, view.dtype.numpy)
    if storage.block is None and view.nbytes == storage.nbytes:
        storage.host = array
        return
    device = trace.device
    if storage.block is None:
        _materialise(storage, device, device.stream)
    device.write(storage.block, view.offset * view.dtype.itemsize, array, device.stream)


def host_only() -> None:
    """From now on this process (a data-loader worker) computes on the host, entry by entry, and never touches OpenCL.
    """
    settings.host_only = True


def clear_plans() -> None:
    """Forget every plan (after settings or tuning changed)."""
    _plans.clear()
