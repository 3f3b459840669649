"""When, and together with what, operations run: record -> fuse -> plan -> replay.

Floor 4. Upward it offers storages, `make_spec`/`record`, and the points at which results are needed.
"""

from .chain import Chain, Recording
from .replay import clear_plans, flush, host_only, item, read, synchronize, write
from .storage import Storage
from .trace import Spec, make_spec, record, watch, watching

__all__ = [
    "Chain",
    "Recording",
    "Spec",
    "Storage",
    "clear_plans",
    "flush",
    "host_only",
    "item",
    "make_spec",
    "read",
    "record",
    "synchronize",
    "watch",
    "watching",
    "write",
]
