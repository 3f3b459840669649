"""What code generation hands upward: kernel texts and how to launch them. No driver, no tensors.

Floor 1b. A *lowering* turns a problem (layouts, attributes, a Target) into `Lowered`: the launches that solve it.
Buffers, run-time scalars and scratch memory are named by number; the engine binds them. Kernel texts hold no sizes that
may change from call to call where that can be helped: sizes, strides and offsets are `Value` arguments, so one text
serves all shapes of one form.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

from ..resources import kernel_text, templates_directory


@dataclass(frozen=True)
class KernelSource:
    """One kernel.

    Attributes:
        family: the kernel family, as 'gemm'; begins the kernel's name.
        body: OpenCL C of the kernel, in which the kernel function (and every file-scope name of the body) is spelled
            with the word KERNEL, as `__kernel void KERNEL(...)`, `KERNEL_table`.
        includes: names of files in `kernels/` (without `.cl`) that the body needs, in order; 'prelude' is always first.
        local_size: the fixed work-group size (also written into the text as `reqd_work_group_size`).
    """

    family: str
    body: str
    includes: tuple[str, ...] = ()
    local_size: tuple[int, ...] = (1,)

    @cached_property
    def name(self) -> str:
        """The kernel's name: family and a checksum of text and includes."""
        texts = "\0".join((self.body, *(kernel_text(name) for name in ("prelude", *self.includes))))
        return f"{self.family}_{hashlib.sha256(texts.encode()).hexdigest()[:16]}"

    @cached_property
    def text(self) -> str:
        """The body with KERNEL replaced by the name."""
        return self.body.replace("KERNEL", self.name)


@cache
def _template(name: str) -> Any:
    from mako.template import Template  # here, because it takes 45 ms, which `import cltorch` need not wait for

    return Template(
        filename=str(templates_directory() / f"{name}.cl.mako"), strict_undefined=True, input_encoding="utf-8"
    )


def render(template: str, /, **parameters: object) -> str:
    """The text of `templates/<template>.cl.mako` for these parameters."""
    return _template(template).render(**parameters)


# ---- arguments of a launch, in the order of the kernel's parameters


@dataclass(frozen=True)
class Input:
    """The buffer of the problem's i-th input (base of its storage: offsets are passed as Values)."""

    index: int


@dataclass(frozen=True)
class Output:
    """The buffer of the problem's i-th output."""

    index: int


@dataclass(frozen=True)
class Scratch:
    """The i-th scratch buffer of the Lowered."""

    index: int


@dataclass(frozen=True)
class Scalar:
    """The i-th run-time scalar of the problem, passed as `ctype` ('float', 'int', 'long', 'double', 'uint', 'ulong').
    """

    index: int
    ctype: str


@dataclass(frozen=True)
class Value:
    """A number known at planning time, passed as `ctype`."""

    ctype: str
    value: int | float


@dataclass(frozen=True)
class Local:
    """`nbytes` of local memory passed as an argument."""

    nbytes: int


Argument = Input | Output | Scratch | Scalar | Value | Local


@dataclass(frozen=True)
class Launch:
    """One enqueue of one kernel.

    Attributes:
        global_size: work-items per dimension, a multiple of `source.local_size`, same length.
        flops, nbytes: arithmetic done and necessary memory traffic, for the profiler.
        kept: the input of whose contents alone it makes its result, a scratch buffer that stays while the input does
            (see `Lowered.kept`); None for usual launches.
    """

    source: KernelSource
    args: tuple[Argument, ...]
    global_size: tuple[int, ...]
    flops: float = 0.0
    nbytes: float = 0.0
    kept: int | None = None


@dataclass(frozen=True)
class Lowered:
    """The launches that solve a problem, in order; `scratch` gives the bytes of each scratch buffer they share.

    `kept`: (scratch buffer, input) for buffers that a launch with this `kept` fills; it runs only when the input has
    changed.
    """

    launches: tuple[Launch, ...]
    scratch: tuple[int, ...] = field(default=())
    kept: tuple[tuple[int, int], ...] = ()
