"""Small straight-line programs over elements: what pointwise, row-wise and epilogue kernels compute.

Floor 1b. The engine's fuser builds these; `pointwise`, `rowwise`, `gemm` and `conv` render them.

Values are numbered: inputs first (`0 .. len(inputs)-1`), then run-time scalars, then one value per instruction.

**Expression text** of an `Instr` is OpenCL C that must be right for scalars and for vectors of any width:
`{0}`, `{1}` … the arguments; `{0?}` argument 0 (a bool value) as a condition of the lane width of the result, for `?:`;
`$1.5$` a literal of the result's register type (also in vector form); `$pi$` likewise for a name that kernels define;
`{T}` the register vector type, `{E}` its element type; a text that begins with `?` is a comparison, and its result
becomes a bool value (register `int`, 0 or 1). Literals inside a comparison have the register type of argument 0.
Functions called must be overloaded for every width (`kernels/math.cl` and friends; name the file in `includes`).
Special texts: `cast` converts argument 0 to `dtype` (PyTorch's conversion); `index` (no arguments) is the C-order
number of the element in the iteration space, as int64.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..dtypes import DType
from ..shapes import Layout


@dataclass(frozen=True)
class Instr:
    """value = expr(args), of `dtype`. `includes`: files of kernels/ it needs. `cost`: flops per element."""

    expr: str
    args: tuple[int, ...]
    dtype: DType
    includes: tuple[str, ...] = ()
    cost: int = 1


@dataclass(frozen=True)
class Reduce:
    """value = reduction of value `arg` over the reduced dims of a RowProgram, one per row.

    `kind`: 'sum', 'prod', 'max', 'min' (NaN wins), 'peak' (the maximum of what is not NaN, in one instruction; -inf if
        all are), 'argmax', 'argmin' (int64: first C-order position within the row; NaN wins).
    """

    kind: str
    arg: int
    dtype: DType


@dataclass(frozen=True)
class Body:
    """A pointwise program over one iteration space `shape`.

    Attributes:
        shape: the iteration space.
        inputs: a Layout per tensor input, each of shape `shape` (stride 0 where it broadcasts).
        scalars: dtype of each run-time scalar.
        instrs: the instructions.
        stores: (value, Layout): what is written where, Layouts of shape `shape`. Two stores never overlap; an input may
            be the same memory as a store only if both have the same Layout (each element is read before it is written).
        aliases: for each store, the number of the input whose buffer it shares, or -1. Tells which pointers may not be
            `restrict`.
    """

    shape: tuple[int, ...]
    inputs: tuple[Layout, ...]
    scalars: tuple[DType, ...]
    instrs: tuple[Instr, ...]
    stores: tuple[tuple[int, Layout], ...]
    aliases: tuple[int, ...] = ()


@dataclass(frozen=True)
class RowProgram:
    """A program over `shape` with reductions over `dims`: pure reductions, softmax, layer norm, batch norm, …

    `inputs` have shape `shape`; `row_inputs[i]` says that input i is one value per row (stride 0 in all reduced dims).
    `instrs` are Instr and Reduce; a value is per row if it is a row input, a scalar, a Reduce, or an Instr all of whose
    arguments are per row; else per element. `stores` of per-row values have Layouts of shape `shape` with the reduced
    dims' sizes set to 1; of per-element values, shape `shape`. `index` counts within `shape`.
    """

    shape: tuple[int, ...]
    dims: tuple[int, ...]
    inputs: tuple[Layout, ...]
    row_inputs: tuple[bool, ...]
    scalars: tuple[DType, ...]
    instrs: tuple[Instr | Reduce, ...]
    stores: tuple[tuple[int, Layout], ...]
    aliases: tuple[int, ...] = ()


@dataclass(frozen=True)
class Epilogue:
    """What a contraction or convolution does with each finished element of its output before it is stored.

    A pointwise program over the output's shape in which value 0 is the element just computed (its register value),
    values 1.. are `inputs` (extra tensors: bias, residual; buffers Input(k), Input(k+1), … where k is the number of the
    op's own inputs), then `scalars`, then instructions. `stores` give the outputs, Output(0), Output(1), … Without
    fusion it is one store of value 0.
    """

    shape: tuple[int, ...]
    dtype: DType
    inputs: tuple[Layout, ...]
    scalars: tuple[DType, ...]
    instrs: tuple[Instr, ...]
    stores: tuple[tuple[int, Layout], ...]
    aliases: tuple[int, ...] = ()

    @staticmethod
    def identity(out: Layout) -> Epilogue:
        """Only store the result."""
        return Epilogue(out.shape, out.dtype, (), (), (), ((0, out),))
