"""The table of operations: one record per op, from which everything else is derived.

Floor 2. A record is plain data and small functions; gradients are written with differentiable operations of their
arguments (methods of whatever objects they are given), so this floor imports no tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

POINTWISE, REDUCTION, CONTRACTION, CUSTOM = "pointwise", "reduction", "contraction", "custom"


@dataclass(frozen=True, eq=False)
class Op:
    """One operation on tensors. Operands are tensors or, where `numbers` allows, Python numbers (run-time scalars).

    Attributes:
        name: PyTorch's name of it.
        kind: POINTWISE (`expr`), REDUCTION (`reduce`), CONTRACTION (`lower` with an Epilogue: matmul, conv), CUSTOM
            (`lower`).
        arity: number of tensor-or-number operands.
        expr: pointwise only: text as described in codegen/program.py, or a function of the computing DType that gives
            one.
        includes: files of kernels/ that `expr` needs.
        cost: flops per element, for the profiler.
        reduce: reductions only: the kind of `codegen.program.Reduce`.
        promote: dtype in which a pointwise op computes: 'same' (operands promoted together), 'float' (integers and
            bools become the default float dtype), 'none' (operands stay as they are; used by where and casts).
        result: dtype of the result: 'same' (the computing dtype), 'bool', 'index' (int64), or a function of the operand
            dtypes.
        categories: which dtypes it is defined on, of 'b' bool, 'i' integers, 'f' floats; others raise at the call.
        infer: contractions and customs: (layouts, attrs) -> tuple of (dtype, shape), one per output; raises PyTorch's
            errors.
        lower: contractions and customs: (inputs, outputs, attrs, target, epilogue) -> codegen.source.Lowered.
        keeps: contractions: (inputs, outputs, attrs, target, epilogue) -> numbers of inputs of whose contents alone the
            lowering, told that they are `constant`, makes something that may be kept from call to call.
        trains: what it gives is the gradient of a weight, so whatever runs with it is training and nothing is kept.
        grad: (ctx, *output gradients) -> a gradient or None per operand, or None if the op is not differentiable (see
            `why`). ctx has `inputs` (the operands named in `saves`, else None), `out` (if saved), `attrs`, `needs`
            (bool per operand), `shapes` (shape per operand).
        saves: which operands backward needs: numbers of operands, and 'out'.
        why: why there is no gradient, where `grad` is None.
        reference: the same mathematics in NumPy/SciPy, float64 for floats: (*arrays, **attrs) -> array(s).
        domain: (low, high) where it is defined and smooth, per operand or one for all, for generated tests.
        method, inplace, function: what is derived from it: Tensor.name, Tensor.name_, module function.
        doc: one line of documentation, with formula. `source`: paper or standard.
    """

    name: str
    kind: str
    arity: int = 1
    expr: str | Callable[..., str] | None = None
    includes: tuple[str, ...] = ()
    cost: int = 1
    reduce: str = ""
    promote: str = "same"
    result: str | Callable[..., Any] = "same"
    categories: str = "bif"
    infer: Callable[..., Any] | None = None
    lower: Callable[..., Any] | None = None
    keeps: Callable[..., tuple[int, ...]] | None = None
    trains: bool = False
    grad: Callable[..., Any] | None = None
    saves: tuple[int | str, ...] = ()
    why: str = ""
    reference: Callable[..., Any] | None = None
    domain: Sequence[Any] = (-3.0, 3.0)
    method: bool = True
    inplace: bool = True
    function: bool = True
    doc: str = ""
    source: str = ""
    names: tuple[str, ...] = field(default=("input", "other", "third"))


TABLE: dict[str, Op] = {}


def register(op: Op) -> Op:
    """Enter `op` into the table. Raises ValueError if its name is taken."""
    if op.name in TABLE:
        raise ValueError(f"ops table: {op.name} is defined twice")
    TABLE[op.name] = op
    return op
