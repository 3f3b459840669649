"""Interleaved timing: the machine's noise hits every side alike, so that ratios mean something."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Timed:
    """Seconds per call of one side: median, and the 10th and 90th percentile of rounds."""

    median: float
    low: float
    high: float


def interleave(
    sides: dict[str, Callable[[], None]], seconds: float = 2.0, rounds: int = 15, warm: int = 3
) -> dict[str, Timed]:
    """Time functions in turn, A B A B …; each must wait for its own result.

    A round calls one side as often as fits into `seconds / rounds`, and counts the mean of these calls.
    """
    repeats = {}
    for name, call in sides.items():
        for _ in range(warm):
            call()
        start = time.perf_counter()
        call()
        took = time.perf_counter() - start
        repeats[name] = max(1, int(seconds / rounds / max(took, 1e-7)))
    samples: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, call in sides.items():
            n = repeats[name]
            start = time.perf_counter()
            for _ in range(n):
                call()
            samples[name].append((time.perf_counter() - start) / n)
    found = {}
    for name, times in samples.items():
        times.sort()
        found[name] = Timed(statistics.median(times), times[len(times) // 10], times[-1 - len(times) // 10])
    return found
