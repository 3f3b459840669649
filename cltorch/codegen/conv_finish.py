"""What ends every convolution kernel: the epilogue at any vector width, and the sum of partial results.

Floor 1b, part of `conv`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..dtypes import DType, bfloat16, float16
from ..shapes import Layout
from ..target import Target
from . import expression
from .conv_shapes import ceil_div, round_up
from .program import Epilogue
from .source import Argument, Input, KernelSource, Launch, Output, Scalar, Scratch, Value, render

SPACE = 192 << 10  # local memory beyond this would fall out of a core's second-level cache


class Finish:
    """Renders an Epilogue of images or volumes: kernel parameters, their arguments, and store statements at any width.

    The kernel names the place of the first of `width` elements, which follow each other along the last dim, `names`:
    one name per dim of the output.
    """

    def __init__(
        self, epilogue: Epilogue, index: str, names: tuple[str, ...] = ("n", "c", "y", "x"), operands: int = 2
    ):
        self.epilogue, self.index, self.names = epilogue, index, names
        self.parameters: list[str] = []
        self.args: list[Argument] = []
        self.includes: tuple[str, ...] = ()
        self._steps: dict[str, list[str | None]] = {}
        stored = len(epilogue.stores)
        for i, (_, out) in enumerate(epilogue.stores):
            self._operand(f"o{i}", f"__global {out.dtype.storage} *o{i}", Output(i), out)
        for i, given in enumerate(epilogue.inputs):
            self._operand(f"i{i}", f"const __global {given.dtype.storage} *i{i}", Input(operands + i), given)
        self.parameters += expression.scalar_parameters(epilogue.scalars)
        self.args += [Scalar(i, expression.scalar_ctype(d)) for i, d in enumerate(epilogue.scalars)]
        self.numbered = any(getattr(instr, "expr", "") == "index" for instr in epilogue.instrs)
        if self.numbered:
            for d, size in enumerate(epilogue.shape[1:]):
                self.parameters.append(f"const int size{d + 1}")
                self.args.append(Value("int", size))
        assert stored

    def _operand(self, name: str, declaration: str, buffer: Argument, given: Layout) -> None:
        self.parameters += [declaration, f"const {self.index} {name}_o"]
        self.args += [buffer, Value(self.index, given.offset)]
        steps: list[str | None] = []
        for d, (size, stride) in enumerate(zip(given.shape, given.stride)):
            if d == len(given.shape) - 1 and (size == 1 or stride == 1):
                steps.append("1")
            elif stride == 0 or size == 1:
                steps.append(None)
            else:
                steps.append(f"{name}_{d}")
                self.parameters.append(f"const {self.index} {name}_{d}")
                self.args.append(Value(self.index, stride))
        self._steps[name] = steps

    def flat(self) -> bool:
        """True if the last two dims of every operand may be walked as one."""
        return all(
            given.shape[-2] == 1
            or given.stride[-2] == (given.stride[-1] if given.shape[-1] > 1 else 1) * given.shape[-1]
            or (given.shape[-1] > 1 and given.stride[-2] == given.stride[-1] == 0)
            for given in (*self.epilogue.inputs, *(out for _, out in self.epilogue.stores))
        )

    def text(self) -> str:
        """The parameters, to stand after others."""
        return "".join(f", {p}" for p in self.parameters)

    def _pointer(self, name: str) -> str:
        terms = [
            f"{place} * {step}" if step != "1" else place for place, step in zip(self.names, self._steps[name]) if step
        ]
        return " + ".join([name, f"{name}_o", *terms])

    def _load(self, i: int, width: int) -> str:
        given, step = self.epilogue.inputs[i], self._steps[f"i{i}"][-1]
        pointer = self._pointer(f"i{i}")
        # where the last dim is one element, vectors run along the one before, which kernels then merge with it
        inner = next((stride for size, stride in reversed([*zip(given.shape, given.stride)]) if size > 1), 1)
        if step == "1" and inner:
            return expression.load(given.dtype, pointer, width)
        if step is None or step == "1":
            text = expression.load(given.dtype, pointer, 1)
            return text if width == 1 else f"({expression.register_type(given.dtype, width)})({text})"
        return expression.gather(given.dtype, pointer, step, width)

    def store(self, width: int, value: str = "value") -> str:
        """Statements that finish and store `value`, of `width` elements."""
        number = None
        if self.numbered:
            number = f"(long)({self.names[0]})"
            for d, name in enumerate(self.names[1:]):
                number = f"({number} * size{d + 1} + {name})"
            if width > 1:
                number = f"((long{width})({number}) + (long{width})({', '.join(map(str, range(width)))}))"
        lines, stores, includes = expression.emit_epilogue(
            self.epilogue, width, value, lambda i: self._load(i, width), prefix="e", index=number
        )
        self.includes = includes
        lines = list(lines)
        for i, text in stores:
            out, step, pointer = self.epilogue.stores[i][1], self._steps[f"o{i}"][-1], self._pointer(f"o{i}")
            if step == "1":
                lines.append(expression.store(out.dtype, text, pointer, width))
            else:
                lines.append(expression.scatter(out.dtype, text, pointer, step or "0", width))
        return "{ " + "\n".join(lines) + " }"

    def stores(self, widths: Sequence[int]) -> dict[int, str]:
        """`store` at each of `widths`."""
        return {width: self.store(width) for width in widths}


def loader(dtype: DType) -> str:
    """The prelude's function, less its width, that loads elements of `dtype` into registers."""
    return "half_load" if dtype is float16 else "bf16_load" if dtype is bfloat16 else "vec_load"


def index_type(*layouts: Layout) -> str:
    return "long" if any(given.extent()[1] >= 1 << 31 for given in layouts) else "int"


def epilogue_layouts(epilogue: Epilogue) -> tuple[Layout, ...]:
    return (*epilogue.inputs, *(out for _, out in epilogue.stores))


def is_contiguous(given: Layout, first: int) -> bool:
    """True if the dims from `first` on lie in C order without gaps, or are all broadcast."""
    dims = [(n, s) for n, s in zip(given.shape[first:], given.stride[first:]) if n != 1]
    if all(s == 0 for _, s in dims):
        return True
    expected = 1
    for n, s in reversed(dims):
        if s != expected:
            return False
        expected *= n
    return True


def stores_twice(epilogue: Epilogue) -> bool:
    """True if an element may be finished and stored twice: what is stored is never read again."""
    return all(alias < 0 for alias in epilogue.aliases)


def reduce_launch(elements: int, parts: int, dtype: DType, target: Target, epilogue: Epilogue) -> Launch:
    """Adds `parts` partial results of `elements` each in Scratch(0) and runs the epilogue."""
    operands = epilogue_layouts(epilogue)
    size = 8 if dtype.register == "double" else 4
    flat = all(is_contiguous(some, 0) for some in operands)
    index = "long" if parts * elements >= 1 << 31 else index_type(*operands)
    finish = Finish(epilogue, index, ("0", "0", "0", "x") if flat else ("n", "c", "y", "x"))
    width = max(2, min(16, target.vector_width * 4 // size)) if flat and target.kind == "cpu" else 1
    local = 64 if target.kind == "gpu" else 1
    body = render(
        "conv_reduce",
        LOCAL=local,
        T=dtype.register,
        W=width,
        FLAT=flat,
        INDEX=index,
        store=finish.stores((width, 1)),
        epilogue_parameters=finish.text(),
    )
    grain = 1 if local > 1 else round_up(max(256, ceil_div(elements, 16 * target.compute_units)), 16)
    if target.loop_limit:
        grain = min(grain, target.loop_limit // 16 * 16)
    numbers = [("int", parts), (index, elements), ("int", grain), *(("int", d) for d in epilogue.shape[1:])]
    args = (Scratch(0), *finish.args, *(Value(t, v) for t, v in numbers))
    source = KernelSource("conv_reduce", body, finish.includes, (local,))
    return Launch(
        source,
        args,
        (round_up(ceil_div(elements, grain), local),),
        float(elements * (parts - 1)),
        float(elements * (parts + 1) * size),
    )
