"""Lowerings over many tensors at once: the sum of all squares or the largest magnitude, and all tensors times a number.

Floor 1b. As many tensors share a launch as the device's bytes of arguments allow. Template: totals.cl.mako.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..dtypes import float64
from ..shapes import Layout
from ..target import Target
from .program import Epilogue
from .source import Argument, Input, KernelSource, Launch, Lowered, Output, Scratch, render
from .walk import Parameters, index_type, lanes, up

_CHUNK = 16384  # elements at most per part: float sums of more lose digits
_ITEMS = 128  # of a group on GPUs


class _Walk:
    """The tensors, shared out among work-groups."""

    def __init__(self, tensors: Sequence[tuple[Argument, Layout]], target: Target, others: int) -> None:
        self.live = [(buffer, view) for buffer, view in tensors if view.numel]
        self.index = index_type(*(view for _, view in tensors))
        self.dtype = tensors[0][1].dtype
        self.width = lanes(self.dtype, target)
        self.items = _ITEMS if target.kind == "gpu" else 1
        total = sum(view.numel for _, view in self.live)
        chunk = up(total, 8 * target.compute_units)
        self.chunk = max(1024, min(_CHUNK, up(chunk, 64) * 64))
        number = 8 if self.index == "long" else 4
        self.most = max(1, (target.max_parameter_bytes - others) // (12 + 2 * number))
        self.element = self.dtype.register

    def launches(self, family: str, stage: str, kind: str, extra: Sequence[tuple[str, Argument, int]]) -> list[Launch]:
        """A launch per `most` tensors. `extra`: other buffers with their offsets (-1: written, without one)."""
        made: list[Launch] = []
        before = 0
        for at in range(0, len(self.live), self.most):
            held = self.live[at : at + self.most]
            slots = min(self.most, len(self.live))
            parameters, groups = Parameters(self.index), 0
            for name, buffer, offset in extra:
                if offset < 0:
                    parameters.write(name, self.element, buffer)
                else:
                    parameters.read(name, self.element, buffer)
                    parameters.value(f"{name}_at", offset)
            for slot in range(slots):
                buffer, view = held[min(slot, len(held) - 1)]
                size = view.numel if slot < len(held) else 0
                groups += up(size, self.chunk)
                parameters.shared(f"x_{slot}", self.element, buffer)
                parameters.value(f"x_{slot}_at", view.offset)
                parameters.value(f"n_{slot}", size)
                parameters.value(f"end_{slot}", groups, "int")
            parameters.value("chunk", self.chunk)
            parameters.value("before", before, "int")
            body = render(
                "totals", parameters=parameters.text, stage=stage, kind=kind, slots=slots, items=self.items,
                E=self.element, W=self.width, I=self.index,
            )  # fmt: skip
            nbytes = float(sum(view.nbytes for _, view in held))
            source = KernelSource(family, body, (), (self.items,))
            made.append(Launch(source, parameters.args, (groups * self.items,), nbytes / 2, nbytes))
            before += groups
        self.groups = before
        return made


def lower_total(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """One number of all elements of all inputs.

    Args:
        inputs: contiguous, of one float dtype; at least one.
        outputs: a single element.
        attrs: ('squares',) their sum, or ('largest',) the largest magnitude, in which a NaN wins.

    **Dtypes** float32, float64.
    """
    (kind,) = attrs
    walk = _Walk([(Input(i), view) for i, view in enumerate(inputs)], target, 64)
    launches = walk.launches(f"total_{kind}", "parts", kind, [("parts", Scratch(0), -1)]) if walk.live else []
    count = walk.groups if launches else 0
    parameters = Parameters("int")
    parameters.read("parts", walk.element, Scratch(0))
    parameters.write("out", walk.element, Output(0))
    parameters.value("count", count)
    body = render(
        "totals", parameters=parameters.text, stage="finish", kind=kind, slots=0, items=walk.items, E=walk.element,
        W=walk.width, I="int",
    )  # fmt: skip
    source = KernelSource(f"total_{kind}", body, (), (walk.items,))
    launches.append(Launch(source, parameters.args, (walk.items,), float(count), float(4 * count)))
    return Lowered(tuple(launches), (max(count, 1) * (8 if walk.dtype is float64 else 4),))


def lower_scale_all(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """All tensors times one number, in place.

    Args:
        inputs: the number, then the tensors, contiguous and of its dtype. `outputs`: the tensors again.
        attrs: ().

    **Dtypes** float32, float64.
    """
    walk = _Walk([(Output(i), view) for i, view in enumerate(outputs)], target, 64)
    return Lowered(tuple(walk.launches("scale_all", "scale", "", [("factors", Input(0), inputs[0].offset)])))
