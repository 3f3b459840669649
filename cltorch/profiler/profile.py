"""The profile itself: PyTorch's `torch.profiler.profile`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from .. import engine
from . import trace
from .events import EventList
from .ranges import record_function
from .recording import Recording
from .schedule import ProfilerAction, ProfilerActivity

_RECORDS = (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)


def supported_activities() -> set[ProfilerActivity]:
    """What `profile(activities=...)` takes."""
    return set(ProfilerActivity)


class profile:
    """Records what runs inside `with profile() as prof:` (or between `start` and `stop`).

    Args:
        activities: ProfilerActivity.CPU for ranges and flushes, any other for kernels; default: both.
        schedule: what to do in each step, for loops that call `step()`; see `schedule`. Default: record all.
        on_trace_ready: called with this profile when a recording is complete.
        record_shapes: keep the shapes of the ops' inputs. profile_memory: keep memory in use behind each flush.
        with_stack: keep the lines that recorded the ops of each kernel (recording is slower meanwhile).
        with_flops, with_modules, experimental_config, execution_trace_observer, acc_events, use_cuda: taken as
            PyTorch's; flops are always counted.

    **Raises** RuntimeError: another profile is recording. TypeError: an activity is not a ProfilerActivity.
    """

    def __init__(
        self,
        *,
        activities: Iterable[ProfilerActivity] | None = None,
        schedule: Callable[[int], ProfilerAction] | None = None,
        on_trace_ready: Callable[[profile], Any] | None = None,
        record_shapes: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_flops: bool = False,
        with_modules: bool = False,
        experimental_config: Any = None,
        execution_trace_observer: Any = None,
        acc_events: bool = False,
        use_cuda: bool | None = None,
    ):
        self.activities = supported_activities() if activities is None else set(activities)
        for each in self.activities:
            if not isinstance(each, ProfilerActivity):
                raise TypeError(f"profile: activities: got {each!r}, wanted members of ProfilerActivity")
        self.schedule = schedule or (lambda step: ProfilerAction.RECORD)
        self.on_trace_ready = on_trace_ready
        self.record_shapes, self.profile_memory, self.with_stack = record_shapes, profile_memory, with_stack
        self.step_num = 0
        self.current_action = self.schedule(0)
        self._steps = schedule is not None
        self._metadata: dict[str, Any] = {}
        self._recording: Recording | None = None
        self._done: Recording | None = None
        self._events: EventList | None = None
        self._step: record_function | None = None

    def __enter__(self) -> profile:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin; by the schedule, where there is one."""
        if self.current_action in _RECORDS:
            self._begin()

    def stop(self) -> None:
        """End; what is being recorded is complete with that."""
        if self._recording is not None:
            self._end()

    def step(self) -> None:
        """The next step of the loop begins: what was recorded is run, and the schedule is asked."""
        engine.flush()
        self._close_step()
        before = self.current_action
        self.step_num += 1
        self.current_action = self.schedule(self.step_num)
        if self._recording is not None and (
            before is ProfilerAction.RECORD_AND_SAVE or self.current_action not in _RECORDS
        ):
            self._end()
        if self.current_action in _RECORDS and self._recording is None:
            self._begin()
        elif self._recording is not None:
            self._open_step()

    def _begin(self) -> None:
        activities = self.activities
        recording = Recording(
            ProfilerActivity.CPU in activities, bool(activities - {ProfilerActivity.CPU}), self.record_shapes,
            self.with_stack, self.profile_memory,
        )  # fmt: skip
        recording.start()
        self._recording = recording
        self._open_step()

    def _end(self) -> None:
        self._close_step()
        recording, self._recording = self._recording, None
        assert recording is not None
        recording.stop()
        self._done, self._events = recording, None
        if self.on_trace_ready is not None:
            self.on_trace_ready(self)

    def _open_step(self) -> None:
        if self._steps:
            self._step = record_function(f"ProfilerStep#{self.step_num}")
            self._step.__enter__()

    def _close_step(self) -> None:
        if self._step is not None:
            self._step.__exit__()
            self._step = None

    def events(self) -> EventList:
        """The events of the last complete recording, in order of time.

        **Raises** RuntimeError: there is none yet.
        """
        if self._events is None:
            if self._done is None:
                raise RuntimeError("profile: events: got a profile without a complete recording; leave its block first")
            self._events = self._done.events()
        return self._events

    def key_averages(self, group_by_input_shape: bool = False, group_by_stack_n: int = 0) -> EventList:
        """Sums by name; and by shapes of inputs and lines of the stack, where asked."""
        return self.events().key_averages(group_by_input_shape, group_by_stack_n)

    def export_chrome_trace(self, path: str | Path) -> None:
        """Write the events for chrome://tracing or Perfetto; compressed where `path` ends in '.gz'."""
        trace.write(self.events(), path, self._metadata)

    def export_stacks(self, path: str | Path, metric: str = "self_device_time_total") -> None:
        """Write a line per stack and kernel with its microseconds, as flame graphs are made of (needs `with_stack`)."""
        lines = []
        for row in self.key_averages(group_by_stack_n=1000):
            if row.stack and getattr(row, metric) > 0:
                frames = ";".join(line.replace(";", ",") for line in (*reversed(row.stack), row.key))
                lines.append(f"{frames} {int(getattr(row, metric))}\n")
        Path(path).write_text("".join(lines), encoding="utf-8")

    def add_metadata(self, key: str, value: str) -> None:
        """A word to stand in the trace."""
        self._metadata[key] = value

    def add_metadata_json(self, key: str, value: str) -> None:
        """A value, given as JSON, to stand in the trace."""
        self._metadata[key] = json.loads(value)
