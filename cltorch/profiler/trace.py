"""Events in Chrome's trace format, for chrome://tracing, Perfetto and TensorBoard.

Source: Trace Event Format (N. Duca, D. Sinclair, Google): complete events 'X' with time and duration in microseconds,
metadata 'M', flows 's' and 'f' from a launch on the host to its kernel, counters 'C' of memory.
"""

from __future__ import annotations

import gzip
import json
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

_HOST = 0  # process number of the host; devices follow


def _named(kind: str, pid: int, tid: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "ts": 0, "args": {"name": name}}


class _Numbers(dict):
    """Small numbers in the order of first asking."""

    def __missing__(self, key: Any) -> int:
        number = self[key] = len(self) + 1
        return number


def trace_events(events: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """The events of a profile, each as one or a few events of the format."""
    devices, threads, streams = _Numbers(), _Numbers(), _Numbers()
    for flow, event in enumerate(events):
        start, length = event.time_range.start, event.time_range.elapsed_us()
        args: dict[str, Any] = {}
        if event.input_shapes:
            args["Input Dims"] = event.input_shapes
        if event.stack:
            args["Call stack"] = event.stack
        if not event.device:
            args |= {"info": event.args} if event.args else {}
            kind = "flush" if event.name.startswith("cltorch::") else "user_annotation"
            tid = threads[event.thread]
            yield {"ph": "X", "cat": kind, "name": event.name, "pid": _HOST, "tid": tid, "ts": start, "dur": length,
                   "args": args}  # fmt: skip
            if event.allocated is not None:
                yield {"ph": "C", "cat": "memory", "name": "allocated", "pid": _HOST, "tid": 0, "ts": start + length,
                       "args": {"bytes": event.allocated}}  # fmt: skip
            continue
        seconds = length * 1e-6 or 1e-9
        args |= {
            "flops": event.flops, "bytes": event.nbytes, "GFLOPS": event.flops / seconds / 1e9,
            "GB/s": event.nbytes / seconds / 1e9, "idle before, us": event.idle_time_total,
        }  # fmt: skip
        pid, tid, host = devices[event.device], streams[event.device, event.thread], threads[event.host_thread]
        yield {"ph": "X", "cat": "kernel", "name": event.name, "pid": pid, "tid": tid, "ts": start, "dur": length,
               "args": args}  # fmt: skip
        launch = {"cat": "launch", "name": "launch", "id": flow}
        yield {"ph": "s", **launch, "pid": _HOST, "tid": host, "ts": event.launched}
        yield {"ph": "f", "bp": "e", **launch, "pid": pid, "tid": tid, "ts": max(start, event.launched)}
    yield _named("process_name", _HOST, 0, f"host, process {os.getpid()}")
    for thread, tid in threads.items():
        yield _named("thread_name", _HOST, tid, f"thread {thread}")
    for device, pid in devices.items():
        yield _named("process_name", pid, 0, device)
    for (device, _), tid in streams.items():
        yield _named("thread_name", devices[device], tid, f"stream {tid}")


def write(events: Iterable[Any], path: str | Path, metadata: dict[str, Any] | None = None) -> None:
    """Write a trace; compressed where `path` ends in '.gz'."""
    content = {
        "schemaVersion": 1,
        **(metadata or {}),
        "displayTimeUnit": "ms",
        "traceEvents": list(trace_events(events)),
    }
    text = json.dumps(content).encode()
    Path(path).write_bytes(gzip.compress(text) if str(path).endswith(".gz") else text)


def tensorboard_trace_handler(
    dir_name: str | Path, worker_name: str | None = None, use_gzip: bool = False
) -> Callable[[Any], None]:
    """For `on_trace_ready`: writes each trace into a folder, under the names that TensorBoard's plugin looks for."""

    def handle(profile: Any) -> None:
        Path(dir_name).mkdir(parents=True, exist_ok=True)
        worker = worker_name or f"{socket.gethostname()}_{os.getpid()}"
        name = f"{worker}.{time.time_ns()}.pt.trace.json{'.gz' if use_gzip else ''}"
        profile.export_chrome_trace(Path(dir_name) / name)

    return handle
