"""What drivers do that the standard does not say, each row seen and measured (FIGURES-launch.md), none believed.

Floor 1a. Other modules ask `quirks_of(vendor, type)` and never compare vendor names.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Quirks:
    """Facts about one driver that the rest of runtime/ acts on.

    Attributes:
        wait: how to wait for a queue: 'finish' (the waiting thread works along on Intel's CPU runtime; on an idle
            PoCL queue it costs 0.1 us and a marker 10), 'event' (rusticl: flush, then finish returns before the
            work is done).
        spin: watch an event for some microseconds before waiting for it: the wake-up alone takes up to 50.
        host_pointer: kernels work directly in memory given with USE_HOST_PTR, and host reads see it after a wait,
            without a map.
        loop_limit: iterations after which a loop silently stops; 0 for no limit.
        widest_vector: bound of the float32 lanes to write code for; 0 for what the processor has.
        keeps_binaries: the driver caches builds on disk itself and its binaries do not hold the finished kernels,
            so the cache of programs keeps texts for it instead of binaries.
        trusted_clock: event timings mean something.
        sub_devices: create_sub_devices works (rusticl crashes).
        native_fill: enqueue_fill_buffer is fast.
        profile_free: queues with profiling cost nothing.
        local_memory: bound of local memory to report, 0 for the driver's word.
        parameter_bytes: bytes of arguments that kernels take, where that is more than the driver says (PoCL reports
            the standard's least, 1024, and has no limit: 6 launches of an optimizer's step became 2), 0 for its word.
    """

    wait: str = "finish"
    spin: bool = False
    host_pointer: bool = False
    loop_limit: int = 0
    widest_vector: int = 0
    keeps_binaries: bool = False
    trusted_clock: bool = True
    sub_devices: bool = True
    native_fill: bool = True
    profile_free: bool = False
    local_memory: int = 0
    parameter_bytes: int = 0


_CPU = {
    "intel": Quirks(host_pointer=True, native_fill=False, profile_free=True),
    "pocl": Quirks(spin=True, host_pointer=True, keeps_binaries=True, profile_free=True, parameter_bytes=4096),
    "rusticl": Quirks(
        wait="event",
        host_pointer=True,
        loop_limit=65535,
        widest_vector=8,
        trusted_clock=False,
        sub_devices=False,
        local_memory=32768,
    ),
    "oclgrind": Quirks(host_pointer=True, trusted_clock=False, sub_devices=False, profile_free=True),
}
_GPU = {
    "nvidia": Quirks(keeps_binaries=True),
    "pocl": Quirks(keeps_binaries=True),
    "rusticl": Quirks(wait="event", sub_devices=False),
}
_PLAIN = Quirks()


def quirks_of(vendor: str, kind: str) -> Quirks:
    """The row of the driver `vendor` ('intel', 'pocl', …) for a device of `kind` 'cpu' or 'gpu'."""
    return (_CPU if kind == "cpu" else _GPU).get(vendor, _PLAIN)
