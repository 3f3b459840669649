"""Renders straight-line element programs (`Instr`) to OpenCL C at any vector width; used by every kernel that computes
on elements.

Floor 1b. Pointwise and row-wise kernels drive a `Block` directly; gemm and conv call `emit_epilogue`.

**Registers.** A value of dtype d at width W has the C type `register_type(d, W)`: float16, bfloat16 and float32 are
`float{W}`, float64
is `double{W}`, integers are vectors of their own type, bool is `int{W}` holding 0 or 1. Integer results wrap at their
own width (C would
promote scalars to int, so they are cast back). float16 and bfloat16 values round only at casts and stores.

**Masks.** A vector comparison gives lanes of 0/-1 in integers of the operands' size. The bool register is its
negation; the mask
itself is kept as well, so that a select on lanes of the same size costs no conversion.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from ..config import settings
from ..dtypes import BOOL, FLOAT, DType, bfloat16, bool_, float16, float32, float64, int64
from .program import Epilogue, Instr

_TOKEN = re.compile(r"\{(\d+)(\??)\}|\{([TE])\}|\$([^$]+)\$")
_LANE = {"char": 1, "uchar": 1, "short": 2, "ushort": 2, "int": 4, "uint": 4, "long": 8, "float": 4, "double": 8}
_MASK = {1: "char", 2: "short", 4: "int", 8: "long"}
_LIMITS = {
    "uchar": (0, 255),
    "char": (-128, 127),
    "short": (-32768, 32767),
    "int": (-(2**31), 2**31 - 1),
    "long": (-(2**63), 2**63 - 1),
}
_FINITE = {
    "float16": 65504.0,
    "bfloat16": 3.3895313892515355e38,
    "float32": 3.4028234663852886e38,
    "float64": 1.7976931348623157e308,
}


def vector_type(element: str, width: int) -> str:
    """C's name of a vector of `width` elements: 'float8', or 'float' for width 1."""
    return element if width == 1 else f"{element}{width}"


def register_type(dtype: DType, width: int) -> str:
    """The C type of a value of `dtype` at `width`."""
    return vector_type(dtype.register, width)


def lane_bytes(dtype: DType) -> int:
    """Bytes of one lane of a register of `dtype`."""
    return _LANE[dtype.register]


def mask_type(lane: int, width: int) -> str:
    """The C type of a comparison of lanes of `lane` bytes."""
    return vector_type(_MASK[lane], width)


def literal(text: str, dtype: DType, width: int) -> str:
    """`$text$` as a C constant of the register type: a number, inf, -inf, nan, pi, e, min, max, or a name kernels
    define."""
    register = dtype.register
    name = text.strip()
    if name in ("min", "max"):
        if dtype.category == FLOAT:
            value: float = _FINITE[dtype.name] * (1 if name == "max" else -1)
        else:
            value = (0, 1)[name == "max"] if dtype is bool_ else _LIMITS[register][name == "max"]
    elif name in ("pi", "e"):
        value = math.pi if name == "pi" else math.e
    elif name in ("true", "false"):
        value = int(name == "true")
    else:
        try:
            value = int(name, 0)
        except ValueError:
            try:
                value = float(name)
            except ValueError:
                return f"(({vector_type(register, width)})({name}))" if width > 1 else f"(({register})({name}))"
    if dtype.category == FLOAT:
        constant = _float_constant(float(value), register)
    elif isinstance(value, float) and not value.is_integer():
        raise ValueError(f"expression: literal ${text}$: got a fraction, wanted an integer for {dtype.name}")
    else:
        constant = _integer_constant(int(value), register)
    return constant if width == 1 else f"(({vector_type(register, width)})({constant}))"


def _float_constant(value: float, register: str) -> str:
    if math.isnan(value):
        return f"(({register})NAN)"
    if math.isinf(value):
        return f"(({register})INFINITY)" if value > 0 else f"(-({register})INFINITY)"
    digits = repr(value)
    if "e" not in digits and "." not in digits:
        digits += ".0"
    constant = digits if register == "double" else f"{digits}f"
    return f"({constant})" if value < 0 else constant


def _integer_constant(value: int, register: str) -> str:
    if register == "long":
        return "(-9223372036854775807L - 1)" if value == -(2**63) else f"({value}L)"
    if value == -(2**31):
        return "(-2147483647 - 1)"
    return f"(({register}){value})" if register in ("char", "uchar", "short") else f"({value})"


def convert(text: str, source: DType, target: DType, width: int) -> str:
    """C of PyTorch's conversion of a register value `text`: truncation to integers, != 0 to bool, to nearest even to
    floats.

    float16 and bfloat16 targets are rounded to their precision although the register stays float.
    """
    if source is target:
        return text
    if target is bool_:
        if source.category == BOOL:
            return text
        zero = literal("0", source, width)
        if width == 1:
            return f"({text} != {zero})"
        lane = _LANE[source.register]
        mask = f"({text} != {zero})"
        return f"(-{mask})" if lane == 4 else f"(-CONVERT(int{width}, {mask}))"
    out = text
    if source.register != target.register:
        if source.category == FLOAT and target.category != FLOAT and _LANE[target.register] < 4:
            out = _resize(out, "int", width)
        out = _resize(out, target.register, width)
    if target is float16:
        return out if source is float16 else f"half_round({out})"
    if target is bfloat16:
        return out if source is bfloat16 else f"bf16_round({out})"
    return out


def _resize(text: str, element: str, width: int) -> str:
    return f"(({element})({text}))" if width == 1 else f"CONVERT({element}{width}, {text})"


def load(dtype: DType, pointer: str, width: int) -> str:
    """C that loads `width` consecutive elements of `dtype` from `pointer` (of the dtype's storage type) into a
    register."""
    if dtype is float16:
        return f"half_load{width}({pointer})"
    if dtype is bfloat16:
        return f"bf16_load{width}({pointer})"
    text = f"vec_load{width}({pointer})"
    return _resize(text, "int", width) if dtype is bool_ else text


def gather(dtype: DType, pointer: str, stride: str, width: int) -> str:
    """C that loads `width` elements `stride` apart."""
    if width == 1:
        return load(dtype, pointer, 1)
    lanes = ", ".join(f"({pointer})[{k} * {stride}]" if k else f"({pointer})[0]" for k in range(width))
    return unpack(dtype, f"(({vector_type(dtype.storage, width)})({lanes}))", width)


def unpack(dtype: DType, text: str, width: int) -> str:
    """C that turns `width` elements in their storage type into a register."""
    if dtype is float16:
        return f"half_value({text})"
    if dtype is bfloat16:
        return f"bf16_value({text})"
    return _resize(text, "int", width) if dtype is bool_ else text


def pack(dtype: DType, text: str, width: int) -> str:
    """C that turns a register into elements of the storage type."""
    if dtype is float16:
        return f"half_bits({text})"
    if dtype is bfloat16:
        return f"bf16_bits({text})"
    return _resize(text, "uchar", width) if dtype is bool_ else text


def store(dtype: DType, text: str, pointer: str, width: int) -> str:
    """The C statement that stores a register to `width` consecutive elements at `pointer`."""
    return f"vec_store{width}({pack(dtype, text, width)}, {pointer});"


def scatter(dtype: DType, text: str, pointer: str, stride: str, width: int) -> str:
    """The C statements, in braces, that store a register to `width` elements `stride` apart."""
    if width == 1:
        return store(dtype, text, pointer, 1)
    lanes = " ".join(f"({pointer})[{k} * {stride}] = lanes.s{k:x};" for k in range(width))
    return f"{{ {vector_type(dtype.storage, width)} lanes = {pack(dtype, text, width)}; {lanes} }}"


def scalar_ctype(dtype: DType) -> str:
    """The type in which a run-time scalar of `dtype` is passed to a kernel."""
    return dtype.register if dtype.register in ("float", "double", "int", "long") else "int"


def chosen_includes(names: Iterable[str]) -> tuple[str, ...]:
    """`names` without repeats, with `precise` before `math` where the settings ask for the driver's own functions."""
    out: list[str] = []
    for name in names:
        if name == "math" and settings.precise and "precise" not in out:
            out.append("precise")
        if name not in out:
            out.append(name)
    return tuple(out)


class Block:
    """C statements computing numbered values at one vector width.

    Bind the values that exist (`bind`, `bind_scalar`), call `run`, then ask for names (`name`). `statements` holds the
    C lines in order
    and `includes` the files of kernels/ they need.

    Args:
        width: lanes per value; 1 gives scalar code.
        prefix: begins the C names this block declares; two blocks in one C scope need different ones.
        index: C expression of the long{W} number of each lane's element in the iteration space, for `index`
            instructions.
    """

    def __init__(self, width: int, prefix: str = "v", index: str | None = None):
        self.width, self.prefix, self.index = width, prefix, index
        self.statements: list[str] = []
        self.includes: list[str] = []
        self._names: dict[int, str] = {}
        self._dtypes: dict[int, DType] = {}
        self._masks: dict[tuple[int, int], str] = {}
        self._rounded: set[int] = set()

    def bind(self, number: int, dtype: DType, text: str, declare: bool = True, rounded: bool = True) -> str:
        """Give value `number` the C expression `text`, in a new variable if `declare`; returns its name.

        `rounded`: the value is known to be representable in `dtype` (as anything loaded is).
        """
        name = text
        if declare:
            name = f"{self.prefix}{number}"
            self.statements.append(f"{register_type(dtype, self.width)} {name} = {text};")
        self._names[number], self._dtypes[number] = name, dtype
        if rounded:
            self._rounded.add(number)
        return name

    def bind_scalar(self, number: int, dtype: DType, parameter: str) -> str:
        """Give value `number` the kernel parameter `parameter` (of `scalar_ctype(dtype)`) in all lanes."""
        text = parameter if scalar_ctype(dtype) == dtype.register else f"(({dtype.register}){parameter})"
        if self.width == 1 and text == parameter:
            return self.bind(number, dtype, text, declare=False)
        return self.bind(number, dtype, text if self.width == 1 else f"({register_type(dtype, self.width)})({text})")

    def knows(self, number: int) -> bool:
        """True if value `number` is bound or computed."""
        return number in self._names

    def name(self, number: int) -> str:
        """The C name of value `number`."""
        return self._names[number]

    def dtype(self, number: int) -> DType:
        """The dtype of value `number`."""
        return self._dtypes[number]

    def stored(self, number: int, dtype: DType) -> str:
        """C of value `number` as a register of `dtype`, the dtype of the tensor that it is stored to."""
        source = self._dtypes[number]
        if source.register == dtype.register and dtype is not bool_:
            return self._names[number]  # the store itself rounds
        return convert(self._names[number], source, dtype, self.width)

    def run(self, instrs: Sequence[Instr], first: int, wanted: Iterable[int] | None = None) -> None:
        """Compute instructions, numbered from `first`; those not bound yet that `wanted` needs (default: all)."""
        if wanted is None:
            needed = set(range(first, first + len(instrs)))
        else:
            needed = needed_values(instrs, first, wanted, self._names)
        for number in sorted(needed):
            if number >= first and number not in self._names:
                self._compute(number, instrs[number - first])

    def condition(self, number: int, lane: int) -> str:
        """Value `number`, a bool, as the condition of `?:` on lanes of `lane` bytes."""
        name = self._names[number]
        if self.width == 1:
            return name
        found = self._masks.get((number, lane))
        if found is None:
            found = self._masks[number, lane] = f"{self.prefix}{number}_mask{lane}"
            element = vector_type(_MASK[lane], self.width)
            text = name if self._dtypes[number] is bool_ else convert(name, self._dtypes[number], bool_, self.width)
            self.statements.append(
                f"{element} {found} = {f'-{text}' if lane == 4 else f'CONVERT({element}, -{text})'};"
            )
        return found

    def _compute(self, number: int, instr: Instr) -> None:
        self.includes += [name for name in instr.includes if name not in self.includes]
        self._dtypes[number] = instr.dtype
        name = f"{self.prefix}{number}"
        kind = register_type(instr.dtype, self.width)
        if instr.expr == "cast":
            source = instr.args[0]
            text = self._names[source]
            given = self._dtypes[source]
            if given is not instr.dtype and given in (float16, bfloat16) and source not in self._rounded:
                text = f"{'half' if given is float16 else 'bf16'}_round({text})"
            if given is instr.dtype and source in self._rounded:
                self._names[number] = text
            else:
                if given is instr.dtype and given in (float16, bfloat16):
                    text = f"{'half' if given is float16 else 'bf16'}_round({text})"
                self._names[number] = name
                self.statements.append(f"{kind} {name} = {convert(text, given, instr.dtype, self.width)};")
            self._rounded.add(number)
            return
        self._names[number] = name
        if instr.expr == "index":
            if self.index is None:
                raise ValueError("expression: index: this kernel does not number its elements")
            self.statements.append(f"{kind} {name} = {convert(self.index, int64, instr.dtype, self.width)};")
            return
        if instr.expr.startswith("?"):
            operand = self._dtypes[instr.args[0]] if instr.args else float32
            text = self._fill(instr.expr[1:], instr.args, operand)
            if self.width == 1:
                self.statements.append(f"int {name} = ({text});")
                return
            lane = _LANE[operand.register]
            mask = self._masks[number, lane] = f"{name}_mask{lane}"
            self.statements.append(f"{vector_type(_MASK[lane], self.width)} {mask} = ({text});")
            self.statements.append(f"{kind} {name} = {f'-{mask}' if lane == 4 else f'-CONVERT({kind}, {mask})'};")
            return
        text = self._fill(instr.expr, instr.args, instr.dtype)
        narrow = self.width == 1 and _LANE[instr.dtype.register] < 4
        self.statements.append(f"{kind} {name} = {f'({kind})({text})' if narrow else text};")

    def _fill(self, expr: str, args: tuple[int, ...], dtype: DType) -> str:
        """`expr` with arguments, literals (of `dtype`) and types put in."""

        def replacement(token: re.Match[str]) -> str:
            argument, condition, kind, constant = token.groups()
            if argument is not None:
                number = args[int(argument)]
                return self.condition(number, _LANE[dtype.register]) if condition else self._names[number]
            if kind is not None:
                return register_type(dtype, self.width) if kind == "T" else dtype.register
            return literal(constant, dtype, self.width)

        return _TOKEN.sub(replacement, expr)


def needed_values(
    instrs: Sequence[object], first: int, wanted: Iterable[int], known: Mapping[int, object] | Iterable[int] = ()
) -> set[int]:
    """The values that must be computed or bound to have `wanted`: they and their arguments, stopping at `known`
    values."""
    out: set[int] = set()
    stack = list(wanted)
    while stack:
        number = stack.pop()
        if number in out:
            continue
        out.add(number)
        if number >= first and number not in known:
            instr = instrs[number - first]
            stack += instr.args if isinstance(instr, Instr) else (instr.arg,)  # type: ignore[attr-defined]
    return out


def emit_epilogue(
    epilogue: Epilogue,
    width: int,
    acc_name: str,
    load: Callable[[int], str],
    prefix: str = "e",
    index: str | None = None,
) -> tuple[list[str], list[tuple[int, str]], tuple[str, ...]]:
    """What a contraction does with `width` finished elements of its output.

    Args:
        epilogue: the program.
        width: elements in `acc_name` (lanes of one vector; 1 for the scalar edge code).
        acc_name: C expression of the finished elements, of type `register_type(epilogue.dtype, width)`.
        load: extra input i -> C expression of its elements in a register of the same width: build it with `load`,
            `gather` or a
            splat, from your kernel's own pointer, offset and stride parameters.
        prefix: begins the C names declared here. Put the statements in braces of their own, or use a prefix per call.
        index: C expression (long{W}) of the elements' numbers in the output's shape, if `index` instructions are
            allowed.

    Returns:
        statements: C lines to run.
        stores: (number of the store, C expression to store): register values of the store's dtype; write them with
            `store(epilogue.stores[number][1].dtype, text, pointer, width)`.
        includes: files of kernels/ for KernelSource.includes.

    Run-time scalar i is taken from a kernel parameter called `s{i}`, of type `scalar_ctype(epilogue.scalars[i])`,
    bound as
    `Scalar(i, scalar_ctype(...))`; `scalar_parameters` writes the declarations.
    """
    block = Block(width, prefix, index)
    inputs, scalars = len(epilogue.inputs), len(epilogue.scalars)
    first = 1 + inputs + scalars
    needed = needed_values(epilogue.instrs, first, [value for value, _ in epilogue.stores])
    block.bind(0, epilogue.dtype, acc_name)
    for i, layout in enumerate(epilogue.inputs):
        if 1 + i in needed:
            block.bind(1 + i, layout.dtype, load(i))
    for i, dtype in enumerate(epilogue.scalars):
        if 1 + inputs + i in needed:
            block.bind_scalar(1 + inputs + i, dtype, f"s{i}")
    block.run(epilogue.instrs, first, needed)
    stores = [(i, block.stored(value, layout.dtype)) for i, (value, layout) in enumerate(epilogue.stores)]
    return block.statements, stores, chosen_includes(block.includes)


def scalar_parameters(dtypes: Sequence[DType]) -> list[str]:
    """Kernel parameter declarations of the run-time scalars: `float s0`, `long s1`, …"""
    return [f"{scalar_ctype(dtype)} s{i}" for i, dtype in enumerate(dtypes)]


def needs_double(dtypes: Iterable[DType]) -> bool:
    """True if a kernel on these dtypes needs double arithmetic."""
    return any(dtype is float64 for dtype in dtypes)
