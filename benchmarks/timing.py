"""Interleaved timing: the machine's noise hits every side alike, so that ratios mean something."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

WAIT_EVERY = 2e-3  # seconds of calls between two waits, where a call takes less than half of that
_REST = 0.004  # PyTorch's threads spin for milliseconds after their last task, against whoever comes next
_LONG = 0.3  # from here on two calls to get warm must do
_SLOW = 0.02  # from here on a side needs no call before a round to find its threads and caches awake


@dataclass(frozen=True)
class Timed:
    """Seconds per call of one side: median, 10th and 90th percentile of rounds; calls between two waits."""

    median: float
    low: float
    high: float
    calls: int = 1


def percentiles(times: list[float], calls: int = 1) -> Timed:
    """Of the seconds per call of each round."""
    times = sorted(times)
    tenth = len(times) // 10
    return Timed(statistics.median(times), times[tenth], times[-1 - tenth], calls)


def _seconds(run: Callable[[int], None], calls: int, repeats: int = 1) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        run(calls)
    return (time.perf_counter() - start) / (calls * repeats)


def waiting(call: Callable[[], object]) -> Callable[[int], None]:
    """A side for `interleave_calls` of a function that waits for its own result."""

    def repeat(count: int) -> None:
        for _ in range(count):
            call()

    return repeat


def interleave(
    sides: dict[str, Callable[[], object]], seconds: float = 1.5, rounds: int = 15, warm: int = 3
) -> dict[str, Timed]:
    """Time sides in turn, A B A B …; each is a function that waits for its own result."""
    return interleave_calls({name: waiting(call) for name, call in sides.items()}, seconds, rounds, warm)


def interleave_calls(
    sides: dict[str, Callable[[int], None]], seconds: float = 1.5, rounds: int = 15, warm: int = 3
) -> dict[str, Timed]:
    """Time sides in turn, A B A B …; each is a function that makes so many calls and then waits for them.

    A round of a side runs calls for `seconds / rounds`, and counts the mean of these. Where a call is shorter than
    a millisecond, several are made between two waits, as many on every side. Slow sides get fewer rounds, at least 5.
    """
    took = {}
    for name, run in sides.items():
        run(1)
        took[name] = _seconds(run, 1)
        for _ in range(warm - 2 if took[name] < _LONG else 0):
            took[name] = min(took[name], _seconds(run, 1))
        if took[name] < _SLOW:
            took[name] = min(_seconds(run, 4) for _ in range(3))
    fastest = max(min(took.values()), 1e-7)
    calls = 1 if fastest > WAIT_EVERY / 2 else min(64, int(WAIT_EVERY / fastest))
    rounds = min(rounds, max(5, int(seconds * len(sides) / sum(took.values()))))
    samples: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            time.sleep(_REST)
            if took[name] < _SLOW:
                run(calls)
            repeats = max(1, int(seconds / rounds / max(took[name] * calls, 1e-7)))
            samples[name].append(_seconds(run, calls, repeats))
    return {name: percentiles(times, calls) for name, times in samples.items()}
