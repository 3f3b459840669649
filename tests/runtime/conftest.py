"""Every runtime on this machine; rusticl only where it is enabled (test_chosen_drivers does so in a child)."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from cltorch import runtime
from cltorch.codegen.source import KernelSource
from cltorch.runtime.device import Device


@cache
def tried() -> list[tuple[str, Device]]:
    """Every device, and the first once more as if it had memory of its own, as GPUs have."""
    found = [(f"{each.spec}-{each.target.vendor}-{each.target.driver}", each) for each in runtime.devices()]
    for name, device in found[:1]:
        target = replace(device.target, unified_memory=False)
        found.append((f"{name}-discrete", Device(device.handle, target, device.vendor, device.index)))
    return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "device" in metafunc.fixturenames:
        found = tried()
        metafunc.parametrize("device", [device for _, device in found], ids=[name for name, _ in found])


@pytest.fixture
def add_source() -> KernelSource:
    """a[i] = b[i] + x for i < n."""
    return KernelSource(
        "test_add",
        """__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void KERNEL(__global float *a, __global const float *b, int n, float x) {
  for (int i = get_global_id(0); i < n; i += get_global_size(0)) a[i] = b[i] + x;
}
""",
    )


@pytest.fixture
def slow_source() -> KernelSource:
    """a[0] += 1 after 1000 * rounds turns of a loop (of two levels: some drivers stop one at 65535)."""
    return KernelSource(
        "test_slow",
        """__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void KERNEL(__global float *a, int rounds) {
  float x = a[0];
  uint s = 1;
  for (int r = 0; r < rounds; ++r) for (int i = 0; i < 1000; ++i) s = s * 1664525u + 1013904223u;
  a[0] = x + 1.0f + (s == 12345u ? 1.0f : 0.0f);
}
""",
    )


def pytest_report_header() -> list[str]:
    found: list[Device] = runtime.devices()
    return [f"OpenCL: {', '.join(repr(each) for each in found) or 'no device'}"]
