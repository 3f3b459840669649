"""When a profile records: steps of waiting, warming up and recording, over and over."""

from __future__ import annotations

import enum
from collections.abc import Callable


class ProfilerActivity(enum.Enum):
    """What is recorded: CPU is the host's side (ranges, flushes), any other name the kernels of OpenCL devices."""

    CPU = "cpu"
    OPENCL = "opencl"
    CUDA = "cuda"
    XPU = "xpu"
    PrivateUse1 = "privateuseone"


class ProfilerAction(enum.Enum):
    """What a profile does during a step."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


def schedule(
    *, wait: int, warmup: int, active: int, repeat: int = 0, skip_first: int = 0, skip_first_wait: int = 0
) -> Callable[[int], ProfilerAction]:
    """The action of each step: behind `skip_first` steps `wait` idle, `warmup` and `active` recorded ones, over again.

    Args:
        repeat: so many cycles; 0 for no end.
        skip_first_wait: if not 0, the first cycle begins without waiting.

    **Raises** ValueError: a number is negative, or `active` is not positive.

    >>> action = schedule(wait=1, warmup=1, active=2)
    >>> [action(step).name for step in range(5)]
    ['NONE', 'WARMUP', 'RECORD', 'RECORD_AND_SAVE', 'NONE']
    """
    if min(wait, warmup, repeat, skip_first) < 0 or active <= 0:
        raise ValueError(
            "schedule: wait, warmup, active, repeat, skip_first: "
            f"got {wait}, {warmup}, {active}, {repeat}, {skip_first}, wanted none negative and active positive"
        )

    def action(step: int) -> ProfilerAction:
        if step < 0:
            raise ValueError(f"schedule: step: got {step}, wanted 0 or more")
        step -= skip_first
        if step < 0:
            return ProfilerAction.NONE
        if skip_first_wait:
            step += wait
        cycle, at = divmod(step, wait + warmup + active)
        if (repeat and cycle >= repeat) or at < wait:
            return ProfilerAction.NONE
        if at < wait + warmup:
            return ProfilerAction.WARMUP
        return ProfilerAction.RECORD_AND_SAVE if at == wait + warmup + active - 1 else ProfilerAction.RECORD

    return action
