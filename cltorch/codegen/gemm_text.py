"""What the texts of the matrix products share: parameters, the epilogue, fragments, the finished launch.

Floor 1b, part of `gemm`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from ..dtypes import FLOAT, bfloat16, float16
from . import expression
from .gemm_problem import GemmProblem, Operand
from .program import Epilogue
from .source import Argument, KernelSource, Launch, Local, Scalar, Value
from .walk import Parameters


class GemmParameters(Parameters):
    """Parameters that may be local memory or scalars of the program as well."""

    def local(self, name: str, ctype: str, nbytes: int) -> None:
        """Local memory; `ctype` is a vector so that drivers align it (Intel's aligns as the type asks and no more)."""
        self._texts.append(f"__local {ctype} *restrict {name}")
        self._args.append(Local(nbytes))

    def scalar(self, text: str, argument: Argument) -> None:
        self._texts.append(text)
        self._args.append(argument)


def place_of(parameters: Parameters, name: str, operand: Operand) -> str:
    """Adds where `operand` lies; returns C text that moves pointer `name` to the group's batch element."""
    moves = [parameters.value(f"{name}_offset", operand.offset)]
    moves += [f"b{i} * {parameters.value(f'{name}_b{i}', step)}" for i, step in enumerate(operand.batch)]
    return f"  {name} += {' + '.join(moves)};"


class Finish:
    """What happens to finished sums: the epilogue of the op, or storing parts of a split product to scratch.

    Adds its parameters; `setup` moves its pointers to the group's batch element; calling it renders the C text that
    finishes `width` sums called `sum` at (`row`, `column`).
    """

    def __init__(self, problem: GemmProblem, epilogue: Epilogue, parameters: GemmParameters):
        self.problem, self.epilogue = problem, epilogue
        self.includes: tuple[str, ...] = ()
        self._position: dict[str, tuple[str, str]] = {}
        lines = []
        for i, operand in enumerate(problem.extras):
            shared = i in epilogue.aliases
            declare = parameters.shared if shared else parameters.read
            declare(f"e{i}", operand.dtype.storage, operand.buffer)
            lines.append(self._operand(parameters, f"e{i}", operand))
        for i, operand in enumerate(problem.stores):
            alias = epilogue.aliases[i] if i < len(epilogue.aliases) else -1
            declare = parameters.shared if alias >= 0 else parameters.write
            declare(f"o{i}", operand.dtype.storage, operand.buffer)
            lines.append(self._operand(parameters, f"o{i}", operand))
        for i, text in enumerate(expression.scalar_parameters(epilogue.scalars)):
            parameters.scalar(text, Scalar(i, expression.scalar_ctype(epilogue.scalars[i])))
        self.counted = any(instr.expr == "index" for instr in epilogue.instrs)
        if self.counted:
            parameters.value("first_index", problem.index, "long")
        self.setup = "\n".join(lines)

    def _operand(self, parameters: Parameters, name: str, operand: Operand) -> str:
        text = place_of(parameters, name, operand)
        row = f" + row * {parameters.value(f'{name}_m', operand.row)}" if operand.row else ""
        step = "0" if operand.column == 0 else "1"
        if operand.column not in (0, 1):
            step = parameters.value(f"{name}_n", operand.column)
        column = {"0": "", "1": " + column"}.get(step, f" + column * {step}")
        self._position[name] = (f"{name}{row}{column}", step)
        return text

    def __call__(self, width: int) -> str:
        dtype = self.epilogue.dtype
        value = "sum"
        if dtype.category != FLOAT:
            value = f"(({dtype.register})sum)" if width == 1 else f"CONVERT({dtype.register}{width}, sum)"
        elif self.epilogue.instrs and dtype in (float16, bfloat16):
            value = f"{'half' if dtype is float16 else 'bf16'}_round(sum)"

        def load(i: int) -> str:
            pointer, step = self._position[f"e{i}"]
            given = self.epilogue.inputs[i].dtype
            if width == 1 or step == "1":
                return expression.load(given, pointer, width)
            if step == "0":
                return f"(({expression.register_type(given, width)})({expression.load(given, pointer, 1)}))"
            return expression.gather(given, pointer, step, width)

        index = None
        if self.counted:
            index = "(first_index + ((long)batch * M + row) * N + column)"
            if width > 1:
                index = f"((long{width}){index} + (long{width})({', '.join(map(str, range(width)))}))"
        statements, stores, includes = expression.emit_epilogue(self.epilogue, width, value, load, "v", index)
        self.includes += tuple(name for name in includes if name not in self.includes)
        for number, text in stores:
            pointer, step = self._position[f"o{number}"]
            given = self.epilogue.stores[number][1].dtype
            if width == 1 or step == "1":
                statements.append(expression.store(given, text, pointer, width))
            else:
                statements.append(expression.scatter(given, text, pointer, step, width))
        return "\n".join(f"                {line}" for line in statements)


def batch_setup(problem: GemmProblem, parameters: Parameters) -> str:
    """C text that takes the group's batch number apart."""
    if len(problem.batch) == 2:
        inner = parameters.value("batch_inner", problem.batch[1])
        return f"  const I b0 = batch / {inner}, b1 = batch - b0 * {inner};"
    return "  const I b0 = batch;" if problem.batch else ""


# ---- fragments of text


@cache
def zip_lanes(width: int) -> tuple[str, str]:
    """Lane numbers that interleave the low, and the high, halves of two vectors."""
    half = width // 2
    return tuple(  # type: ignore[return-value]
        ", ".join(f"{start + i}, {width + start + i}" for i in range(half)) for start in (0, half)
    )


def transpose(rows: Sequence[str], kind: str) -> tuple[str, list[str]]:
    """C text that transposes W rows of d = min(4, W) elements (texts of vectors) to d vectors `kind`; their names.

    Vector j is joined of rows j, j + 4, j + 8, …; two rounds of pairing within blocks of four lanes give whole columns.
    Whole squares of W x W took half of a text's build time.
    """
    width, depth = len(rows), min(4, len(rows))
    lines = [f"const {kind} joined{j} = ({kind})({', '.join(rows[j::depth])});" for j in range(depth)]

    def pair(name: str, x: str, y: str, lanes: tuple[int, ...]) -> str:
        """Pairs `x` and `y`: `lanes` of the first block, those from `depth` on being of y."""
        chosen = (b + i if i < depth else width + b + i - depth for b in range(0, width, depth) for i in lanes)
        lines.append(f"const {kind} {name} = __builtin_shufflevector({x}, {y}, {', '.join(map(str, chosen))});")
        return name

    if depth == 2:
        columns = [pair(f"column{i}", "joined0", "joined1", (i, 2 + i)) for i in range(2)]
        return "\n".join(lines), columns
    low = [pair(f"low{j}", f"joined{j}", f"joined{j + 1}", (0, 4, 1, 5)) for j in (0, 2)]
    high = [pair(f"high{j}", f"joined{j}", f"joined{j + 1}", (2, 6, 3, 7)) for j in (0, 2)]
    halves = ((0, 1, 4, 5), (2, 3, 6, 7))
    columns = [pair(f"column{i}", x, y, halves[i % 2]) for i, (x, y) in enumerate((low, low, high, high))]
    return "\n".join(lines), columns


def vectors_over(length: int, most: int) -> list[tuple[int, int]]:
    """(width, start) of the vectors of up to `most` lanes that cover `length` elements exactly."""
    out, at = [], 0
    while at < length:
        width = next(w for w in (16, 8, 4, 2, 1) if w <= min(most, length - at))
        out.append((width, at))
        at += width
    return out


def lanes_over(length: int, lanes: int, first: int = 0) -> list[tuple[int, int, str]]:
    """(width, start, swizzle) of the pieces that cover `length` of a vector's lanes from lane `first` on."""
    digits = "0123456789abcdef"
    return [
        (width, at, "" if width == lanes else f".s{digits[first + at:first + at + width]}")
        for width, at in vectors_over(length, lanes)
    ]


def add_across(names: Sequence[str], kind: str) -> tuple[str, str]:
    """C text that adds each of the vectors `names` across its lanes: lane i of the result is the sum of vector i."""
    lines, current = [], list(names)
    while len(current) > 1:
        half = len(current) // 2
        fresh = [f"across{half}_{i}" for i in range(half)]
        for i, (x, y) in enumerate(zip(current, current[half:])):
            lines.append(f"const {kind} {fresh[i]} = KERNEL_low({x}, {y}) + KERNEL_high({x}, {y});")
        current = fresh
    return "\n".join(lines), current[0]


# ---- the launch

_INDEX = re.compile(r"\bI\b")


def make_launch(
    family: str,
    body: str,
    problem: GemmProblem,
    parameters: GemmParameters,
    includes: tuple[str, ...],
    groups: tuple[int, int, int],
    flops: float,
    nbytes: float,
    local: tuple[int, int, int] = (1, 1, 1),
) -> Launch:
    """The launch of a rendered kernel, in which `I` becomes the index type."""
    index = "long" if problem.wide else "int"
    args = tuple(Value(index, x.value) if isinstance(x, Value) and x.ctype == "I" else x for x in parameters.args)
    source = KernelSource(family, _INDEX.sub(index, body), includes, local)
    return Launch(source, args, tuple(g * n for g, n in zip(groups, local)), flops, nbytes)
