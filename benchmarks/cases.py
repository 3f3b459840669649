"""What a measurement is: a case, the number it has to reach, and how both sides run it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .timing import waiting

GROUPS = ("gemm", "conv", "memory", "attention", "index", "models", "inference")


@dataclass(frozen=True)
class Goal:
    """The ratio to PyTorch that the rows of one kind must reach.

    Attributes:
        what: the kind, as in the report.
        intel, pocl: the ratio on Intel's runtime and on PoCL (and every other one).
        floor: none: each row must reach the ratio; else their geometric mean must, and each row this one.
    """

    what: str
    intel: float
    pocl: float
    floor: float | None = None

    def ratio(self, vendor: str) -> float:
        """What the rows (or their mean) must reach on a driver."""
        return self.intel if vendor == "intel" else self.pocl

    def row(self, vendor: str) -> float:
        """What a single row must reach."""
        return self.ratio(vendor) if self.floor is None else self.floor


@dataclass(frozen=True)
class Case:
    """One row.

    Attributes:
        prepare: of a module with PyTorch's API, makes the call that is timed.
        flops, nbytes: arithmetic of the textbook's algorithm, and necessary memory traffic, of a call.
        grad: the call needs the autograd graph.
        whole: the call waits for its own result (a training step that ends in `loss.item()`).
    """

    name: str
    group: str
    prepare: Callable[[Any], Callable[[], Any]]
    goal: Goal | None = None
    flops: float = 0.0
    nbytes: float = 0.0
    grad: bool = False
    whole: bool = False


def runner(case: Case, torch: Any) -> Callable[[int], None]:
    """A function that makes so many calls of the case on `torch`, and waits once.

    cltorch enqueues after each call, so that calls are neither fused with one another nor left out because nobody
    read their result; PyTorch has finished each when it returns.
    """
    call = case.prepare(torch)
    if case.whole:
        return waiting(call)
    ours = torch.__name__ == "cltorch"
    flush, wait = (torch.engine.flush, torch.engine.synchronize) if ours else (lambda: None, lambda: None)

    def run(count: int) -> None:
        with torch.set_grad_enabled(case.grad):
            for _ in range(count):
                kept = call()
                flush()
                del kept
            wait()

    return run


def normal(torch: Any, *shape: int, seed: int = 0) -> Any:
    """Normal numbers, the same for every module."""
    return torch.tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def integers(torch: Any, high: int, *shape: int, seed: int = 1) -> Any:
    """Integers below `high`, the same for every module."""
    return torch.tensor(np.random.default_rng(seed).integers(0, high, shape))
