"""Lowers matrix products, batched or not, of any strides, with an epilogue: the GEMM family.

Floor 1b. `lower_matmul` normalises a product (`normalise`: batch dims collapsed, shared batches folded into rows,
transposed outputs turned round), `choose_config` picks form and sizes for the target, and a template renders each form:

    tile   gemm_tile.cl.mako     CPU: register tiles over panels packed in the kernel
    dot    gemm_dot.cl.mako      CPU: both operands run along K (matrix-vector with a transposed matrix, few rows)
    rows   gemm_rows.cl.mako     CPU: one to four rows times a matrix that runs along N, streamed once
    group  gemm_group.cl.mako    GPU: local-memory tiles shared by a work-group
    matrix gemm_matrix.cl.mako   GPU: short floats by a matrix instruction, where `Target.matrix` names one

and gemm_reduce.cl.mako adds the parts of a product that was split along K, always in the same order. Sizes, strides and
block sizes are run-time Values: a text depends on types, form, tile and epilogue only.
This room only puts launches together: `gemm_problem` has the normal form, `gemm_sizes` the choice of form and sizes,
`gemm_forms` the launches, `gemm_text` what their texts share.
"""

from __future__ import annotations

from dataclasses import replace

from ..dtypes import int8, uint8
from ..shapes import Layout, layout
from ..target import Target
from .gemm_forms import dot, group, held_sums, matrix, pack, reduce_parts, rows_form, tile
from .gemm_problem import GemmProblem, Operand, lanes_of, normalise, sum_bytes, sum_dtype
from .gemm_sizes import GemmConfig, choose_config
from .program import Epilogue
from .source import Launch, Lowered, Scratch

__all__ = ["GemmConfig", "GemmProblem", "choose_config", "lower_matmul"]


def lower_matmul(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None,
    config: GemmConfig | None = None,
) -> Lowered:
    """C = epilogue(A @ B) over the last two dims; batch dims are already broadcast.

    Args:
        inputs: Layouts of A (*batch, M, K) and B (*batch, K, N), of one dtype or both of 8-bit integers, any strides.
        outputs: Layout of C (*batch, M, N), used where there is no epilogue.
        attrs: ().
        epilogue: what is done with each finished element; its stores are the outputs.
        config: form and sizes; the default is `choose_config(problem, target)`.

    **Dtypes** all but bool: float16 and bfloat16 are summed in float, integers wrap in the type that the epilogue takes
    sums in: their own, or int32 for 8-bit matrices, which are read as they are and widened in registers.
    **Source** see the templates.
    """
    a, b = inputs[:2]
    if a.dtype is not b.dtype and not {a.dtype, b.dtype} <= {int8, uint8}:
        raise RuntimeError(f"matmul: other: got {b.dtype.name}, wanted {a.dtype.name} as the first matrix")
    program = epilogue if epilogue is not None else Epilogue.identity(outputs[0])
    launches: list[Launch] = []
    scratch: list[int] = []
    for problem in normalise(a, b, program):
        chosen = config or choose_config(problem, target)
        lowered = _lower_one(problem, program, chosen, target, len(scratch))
        launches += lowered.launches
        scratch += lowered.scratch
    return Lowered(tuple(launches), tuple(scratch))


def _lower_one(problem: GemmProblem, epilogue: Epilogue, config: GemmConfig, target: Target, scratch: int) -> Lowered:
    """The launches of one normalised product; its scratch buffers are numbered from `scratch`."""
    launches: list[Launch] = []
    sizes: list[int] = []
    product = problem
    if config.form == "tile" and config.pack_a == "ahead":
        launch, nbytes, packed = pack(problem, problem.a.turned(), problem.m, config.tile_m, Scratch(scratch), target)
        product = replace(product, a=packed)
        launches.append(launch)
        sizes.append(nbytes)
    if config.form == "tile" and config.pack_b == "ahead":
        width = config.tile_n * lanes_of(problem.a.dtype, target)
        launch, nbytes, packed = pack(problem, problem.b, problem.n, width, Scratch(scratch + len(sizes)), target)
        product = replace(product, b=packed)
        launches.append(launch)
        sizes.append(nbytes)
    held = Scratch(scratch + len(sizes))
    sums = held_sums(problem, config, target)
    if sums:
        sizes.append(sums * sum_bytes(problem.a.dtype))

    def launch_of(problem: GemmProblem, epilogue: Epilogue) -> Launch:
        if config.form == "tile":
            return tile(problem, epilogue, config, target, held)
        forms = {"dot": dot, "rows": rows_form, "group": group, "matrix": matrix}
        return forms[config.form](problem, epilogue, config, target)

    if config.splits == 1:
        launches.append(launch_of(product, epilogue))
    else:
        parts = Scratch(scratch + len(sizes))
        kind = sum_dtype(problem.a.dtype)
        shape = (*problem.batch, problem.m, problem.n)
        whole = layout(kind, shape)
        operand = Operand(parts, kind, 0, whole.stride[:-2], problem.n, 1)
        part = replace(product, extras=(), stores=(operand,))
        launches.append(launch_of(part, Epilogue.identity(whole)))
        launches.append(reduce_parts(problem, epilogue, config, target, parts))
        sizes.append(whole.nbytes * config.splits)
    return Lowered(tuple(launches), tuple(sizes))
