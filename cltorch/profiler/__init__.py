"""`torch.profiler`: what each kernel and each marked range took, as tables and as Chrome traces.

    with torch.profiler.profile() as prof:
        with torch.profiler.record_function("forward"):
            loss = criterion(model(images), labels)
        ...
    print(prof.key_averages().table(sort_by="device_time_total", row_limit=20))
    prof.export_chrome_trace("trace.json")

Floor 7. Kernels are timed by the device's own clock and stand under the names of the ops they compute; because
operations run later than they are recorded, a kernel belongs to the range in which its first op was recorded. Nothing
is measured, and nothing costs anything, outside of a profile.
"""

from __future__ import annotations

import sys

from .. import autograd
from .events import DeviceType, EventAverage, EventList, FunctionEvent
from .profile import profile, supported_activities
from .ranges import record_function
from .schedule import ProfilerAction, ProfilerActivity, schedule
from .trace import tensorboard_trace_handler

sys.modules[f"{autograd.__name__}.profiler"] = sys.modules[__name__]  # PyTorch's older name of this package

__all__ = [
    "DeviceType", "EventAverage", "EventList", "FunctionEvent", "ProfilerAction", "ProfilerActivity", "profile",
    "record_function", "schedule", "supported_activities", "tensorboard_trace_handler",
]  # fmt: skip
