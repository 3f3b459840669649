"""What a step costs on the host: recording, replaying, an unchanged flush."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def _best(
    call: Callable[[], Any], number: int, rounds: int = 25, between: Callable[[], Any] = lambda: None
) -> tuple[float, float]:
    """(median, minimum) microseconds per call."""
    times = []
    for _ in range(rounds):
        between()
        start = time.perf_counter()
        for _ in range(number):
            call()
        times.append((time.perf_counter() - start) / number * 1e6)
    times.sort()
    return times[len(times) // 2], times[0]


def measure(torch: Any) -> dict[str, tuple[float, float]]:
    """Name -> (median, minimum) in microseconds."""
    from cltorch import engine

    torch.accelerator.synchronize()
    device = torch.zeros(1)._storage.device
    a, b = torch.ones(64, 64, requires_grad=True), torch.ones(64, 64)
    torch.accelerator.synchronize()
    found = {}

    def drop() -> None:
        engine.flush()
        engine.synchronize()

    found["record a + b with autograd node"] = _best(lambda: a + b, 200, between=drop)
    with torch.no_grad():
        found["record a + b without"] = _best(lambda: a + b, 200, between=drop)
    x = torch.ones(64)

    def chain(n: int) -> Any:
        y = x
        for _ in range(n):  # sums over one element chain: nothing fuses across them
            y = y.cumsum(0)
        return y

    with torch.no_grad():
        for n in (10, 50):
            for _ in range(3):
                chain(n)
                engine.flush()
            engine.synchronize()
            times = []
            for _ in range(50):
                kept = chain(n)
                start = time.perf_counter()
                engine.flush()
                times.append((time.perf_counter() - start) * 1e6)
                engine.synchronize()
                del kept
            times.sort()
            found[f"flush of {n} launches, unchanged"] = (times[25], times[0])
    ten, fifty = found["flush of 10 launches, unchanged"], found["flush of 50 launches, unchanged"]
    found["per launch, replayed"] = ((fifty[0] - ten[0]) / 40, (fifty[1] - ten[1]) / 40)
    found["flush without launches"] = (
        ten[0] - 10 * found["per launch, replayed"][0],
        ten[1] - 10 * found["per launch, replayed"][1],
    )
    value = torch.ones(())
    found["item() of a finished tensor"] = _best(value.item, 100)
    assert device is not None
    return found
