"""Facts about a device that code generation may use.

Floor 0. Code generation knows no driver: it asks a `Target`. runtime/ fills one in from what it measured; tests make
their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Fragments(NamedTuple):
    """Shape of a matrix instruction on 16-bit floats: C (rows x columns, float) += A (rows x 16) B (16 x columns).

    Attributes:
        lanes: work-items that hold a fragment together: a warp, a wave or a sub-group.
        a, b: 32-bit words of A and of B that each of them holds.
        sums: elements of C that each of them holds.
    """

    lanes: int
    rows: int
    columns: int
    a: int
    b: int
    sums: int


EMULATED = "emulated_"  # before a family's name: plain C in place of its instruction

# What kernels/matrix_<family>.cl says in C about who holds what.
FRAGMENTS = {
    "nvidia": Fragments(32, 16, 8, 4, 2, 4),  # mma.sync m16n8k16, compute capability 8.0 and later
    "intel8": Fragments(8, 8, 8, 8, 8, 8),  # matrix_mad_k16 where sub-groups are 8 or wider: Arc A, Flex
    "intel16": Fragments(16, 8, 16, 4, 8, 8),  # the same where they are 16 or wider: Data Center Max, Xe2
    "gfx11": Fragments(32, 16, 16, 8, 8, 8),  # AMD's wmma_f32_16x16x16 of RDNA 3
    "gfx12": Fragments(32, 16, 16, 4, 4, 8),  # the same of RDNA 4, which holds operands once
    "cdna": Fragments(64, 16, 16, 2, 2, 4),  # AMD's mfma_f32_16x16x16: MI200, MI300
}


def fragments(family: str) -> Fragments:
    """The shape of a family's instruction, emulated or not."""
    return FRAGMENTS[family.removeprefix(EMULATED)]


@dataclass(frozen=True)
class Target:
    """Frozen facts about one device.

    Attributes:
        kind: 'cpu' or 'gpu': which class of kernel forms to render.
        vendor: 'intel', 'pocl', 'rusticl', 'nvidia', 'amd', 'oclgrind', 'null', … (who wrote the driver, in lower
            case).
        name: the device's name as the driver gives it.
        driver: the driver's version string.
        compute_units: OpenCL compute units (cores on a CPU).
        vector_width: float32 lanes of one native vector: 4, 8 or 16; 1 on scalar GPUs.
        local_memory: bytes of local memory per work-group.
        max_work_group: work-items per work-group.
        sub_group: preferred sub-group size, 0 where there are no sub-groups.
        fp64, fp16: double and half arithmetic in kernels.
        unified_memory: host and device share memory.
        max_parameter_bytes: bound of a kernel's arguments.
        max_allocation, global_memory: bytes.
        address_alignment: bytes to which the start of a sub-buffer must be aligned.
        loop_limit: iterations a loop may run (rusticl on llvmpipe stops at 65535), 0 for no limit.
        matrix: family of matrix instructions for 16-bit floats that was probed and is right, of `FRAGMENTS`; '' for
            none or not probed yet; 'emulated_<family>', for tests, is plain C in its place.
    """

    kind: str = "cpu"
    vendor: str = "null"
    name: str = "null"
    driver: str = ""
    compute_units: int = 2
    vector_width: int = 8
    local_memory: int = 32768
    max_work_group: int = 1024
    sub_group: int = 0
    fp64: bool = True
    fp16: bool = False
    unified_memory: bool = True
    max_parameter_bytes: int = 1024
    max_allocation: int = 1 << 31
    global_memory: int = 1 << 32
    address_alignment: int = 512
    loop_limit: int = 0
    matrix: str = ""
