"""Facts about a device that code generation may use.

Floor 0. Code generation knows no driver: it asks a `Target`. runtime/ fills one in from what it measured; tests make
their own.
"""

from __future__ import annotations

from dataclasses import dataclass


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
        matrix: family of matrix instructions for 16-bit floats that was probed and is right: 'nvidia' (mma.sync), ''
            for none or not probed yet; 'emulated', for tests, is plain C in its place.
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
