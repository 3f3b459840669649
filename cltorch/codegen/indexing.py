"""Lowerings of reads and writes at computed positions: gather, scatter, advanced indexing, compaction, binary search.

Floor 1b. **Indices out of range** never touch memory: a read gives NaN (0 where the dtype has none), a write is
skipped. Kernels raise nothing; whoever knows the indices on the host checks them before. Negative indices count from
the end.

**Writing ops** (scatter*, index_put, index_add, index_copy, index_fill, masked_scatter) work in place: `outputs[0]`
already holds the base values, and `inputs[0]`, the tensor written to, is listed only for its gradient and its shape.
Results are deterministic: writes that collide happen in the C order of the indices, so the last one wins and sums
have one order.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

from ..dtypes import FLOAT, DType, int32
from ..shapes import Layout, layout
from ..target import Target
from .operands import streams
from .program import Epilogue
from .source import Input, KernelSource, Launch, Lowered, Output, Scratch, Value, render
from .walk import (
    Parameters,
    collapse,
    highest,
    index_type,
    lanes,
    load,
    locate,
    lowest,
    numel,
    poison_of,
    split,
    storage_of,
    store,
    up,
)

Steps = tuple[int, ...]

REDUCTIONS = ("sum", "prod", "mean", "amax", "amin")


def indexed_shape(shape: Steps, dims: Steps, index_shape: Steps) -> tuple[Steps, int]:
    """Shape of `x[indices]` for indices of broadcast shape `index_shape` over `dims`, and where that begins in it.

    Adjacent dims are replaced in place; separated ones move to the front.

    >>> indexed_shape((2, 3, 4, 5), (1, 2), (7,)), indexed_shape((2, 3, 4, 5), (0, 2), (7,))
    (((2, 7, 5), 1), ((7, 3, 5), 0))
    """
    adjacent = dims == tuple(range(dims[0], dims[0] + len(dims)))
    first = dims[0] if adjacent else 0
    rest = [n for d, n in enumerate(shape) if d not in dims]
    return (*rest[:first], *index_shape, *rest[first:]), first


def _place(strides: Steps, at: int, ndim: int) -> Steps:
    """`strides` as the dims at, at + 1, … of a walk of `ndim` dims, 0 elsewhere."""
    return (0,) * at + tuple(strides) + (0,) * (ndim - at - len(strides))


# ---- gather


def _gather(
    x: Layout, base: Steps, indices: list[tuple[Layout, Steps, int, int]], out: Layout, target: Target, family: str
) -> Lowered:
    """`base`: strides of x along the walk;
    `indices`: (layout, strides along the walk, size of its dim, step of its dim).
    """
    if not out.numel:
        return Lowered(())
    index = index_type(x, out, *(i[0] for i in indices))
    sizes, strides = collapse(out.shape, [out.stride, base, *(i[1] for i in indices)])
    hoisted = [step[-1] == 0 for step in strides[2:]]
    copy = all(hoisted) and strides[0][-1] == 1 and strides[1][-1] == 1
    width = 16 if copy and lanes(x.dtype, target) > 1 else 1
    while width > sizes[-1]:
        width //= 2
    # The processor does not guess where the next row begins.
    fetch = copy and streams(target) and len(indices) == 1 and len(sizes) == 2 and strides[2][0] != 0
    work = split(prod(sizes[:-1]), sizes[-1], target, cost=1.0 if copy else 3.0)
    ctype = storage_of(x.dtype)
    parameters = Parameters(index)
    parameters.write("out", ctype, Output(0))
    parameters.read("in", ctype, Input(0))
    for k, (one, *_) in enumerate(indices):
        parameters.read(f"i{k}", one.dtype.storage, Input(k + 1))
    span = work.bind(parameters)
    names = parameters.values("size", sizes[:-1])
    rows = {}
    for name, variable, step, offset in zip(
        ["out", "in", *(f"i{k}" for k in range(len(indices)))],
        ["o", "s", *(f"p{k}" for k in range(len(indices)))],
        strides,
        [out.offset, x.offset, *(i[0].offset for i in indices)],
    ):
        rows[variable] = parameters.values(f"{name}_s", step[:-1])
        parameters.value(f"{name}_inner", step[-1])
        parameters.value(f"{name}_offset", offset)
    for k, (_, _, count, pitch) in enumerate(indices):
        parameters.value(f"n{k}", count, "long")
        parameters.value(f"m{k}", pitch)
    parameters.value("poison", poison_of(x.dtype), "long")
    body = render(
        "gather",
        group=work.local,
        parameters=parameters.text,
        span=span,
        I=index,
        T=ctype,
        hoisted=hoisted,
        lanes=width,
        fetch=fetch,
        locate_row=locate("row", names, rows, index),
    )
    source = KernelSource(family, body, (), (work.local,))
    traffic = float(2 * out.nbytes + sum(i[0].nbytes for i in indices))
    return Lowered((Launch(source, parameters.args, work.global_size, 0.0, traffic),))


def lower_gather(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """(input, index), attributes (dim,): out[.., i, ..] = input[.., index[.., i, ..], ..]."""
    x, index = inputs
    (dim,) = attrs
    if not x.shape:
        return _gather(x, (), [(index, (), 1, 0)], outputs[0], target, "gather")
    base = tuple(0 if d == dim else s for d, s in enumerate(x.stride))
    return _gather(x, base, [(index, index.stride, x.shape[dim], x.stride[dim])], outputs[0], target, "gather")


def lower_index_select(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """(input, index of one dim or none), attributes (dim,): the slices of `input` that `index` names."""
    x, index = inputs
    (dim,) = attrs
    if not x.shape:
        return _gather(x, (), [(index, (), 1, 0)], outputs[0], target, "index_select")
    base = tuple(0 if d == dim else s for d, s in enumerate(x.stride))
    along = _place(index.stride or (0,), dim, len(x.shape))
    return _gather(x, base, [(index, along, x.shape[dim], x.stride[dim])], outputs[0], target, "index_select")


def lower_embedding(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """(weight, index of any shape): the rows of `weight` that `index` names."""
    weight, index = inputs
    ndim = len(outputs[0].shape)
    base = _place(weight.stride[1:], len(index.shape), ndim)
    along = _place(index.stride, 0, ndim)
    return _gather(weight, base, [(index, along, weight.shape[0], weight.stride[0])], outputs[0], target, "embedding")


def _advanced(x: Layout, indices: tuple[Layout, ...], dims: Steps) -> tuple[Steps, Steps, Steps, list[tuple]]:
    """(shape of the walk, its index dims, strides of x along it, the indices as `_gather` wants them)."""
    index_shape = _broadcast(indices)
    shape, first = indexed_shape(x.shape, dims, index_shape)
    rest = [s for d, s in enumerate(x.stride) if d not in dims]
    base = (*rest[:first], *(0 for _ in index_shape), *rest[first:])
    placed = [
        (i, _place(i.broadcast_to(index_shape).stride, first, len(shape)), x.shape[d], x.stride[d])
        for i, d in zip(indices, dims)
    ]
    return shape, tuple(range(first, first + len(index_shape))), base, placed


def _broadcast(indices: tuple[Layout, ...]) -> Steps:
    ndim = max(len(i.shape) for i in indices)
    sizes = [[1] * (ndim - len(i.shape)) + list(i.shape) for i in indices]
    return tuple(next((n for n in column if n != 1), 1) for column in zip(*sizes))


def lower_index(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """(input, *indices), attributes (dims,): advanced indexing, index tensor k over dims[k];
    they broadcast together.
    """
    _, _, base, placed = _advanced(inputs[0], inputs[1:], attrs[0])
    return _gather(inputs[0], base, placed, outputs[0], target, "index")


# ---- scatter

_COMBINE = {
    "sum": "{a} + {v}",
    "prod": "{a} * {v}",
    "amax": "({v} > {a} || {v} != {v}) ? {v} : {a}",
    "amin": "({v} < {a} || {v} != {v}) ? {v} : {a}",
}


def _scatter(
    dst: Layout,
    dst_argument: Output | Scratch,
    base: Steps,
    shape: Steps,
    list_dims: Steps,
    indices: list[tuple[Layout, Steps, int, int, int]],
    src: tuple[Layout, Steps, int] | None,
    combine: str,
    target: Target,
    family: str,
    constant: str = "",
) -> tuple[Launch, ...]:
    """The launches of one scatter over the walk `shape`.

    `base`: strides of dst along the walk. `indices`: (layout, strides, size of its dim, step of its dim, input number).
    `src`: (layout, strides, number of its input), or None: C text `constant`. `combine`: '' overwrites.
    """
    if not numel(shape) or not dst.numel:
        return ()
    dtype = dst.dtype
    tensor = src is not None
    ctype = dtype.storage if combine or not tensor else storage_of(dtype)
    operands = [base, *([src[1]] if src else []), *(i[1] for i in indices)]
    owners = [d for d in range(len(shape)) if d not in list_dims]
    owner_sizes, owner_strides = collapse([shape[d] for d in owners], [[s[d] for d in owners] for s in operands])
    list_sizes, list_strides = collapse([shape[d] for d in list_dims], [[s[d] for d in list_dims] for s in operands])
    if owner_strides[0][-1] != 1:  # no contiguous run of destinations: every owner position is a row of its own
        owner_sizes, owner_strides = (*owner_sizes, 1), tuple((*s, 0) for s in owner_strides)
    first_index = 1 + tensor
    single = owner_sizes[-1] == 1
    hoisted = not single and all(s[-1] == 0 for s in owner_strides[first_index:])
    straight = hoisted and owner_strides[0][-1] == 1 and (not tensor or owner_strides[1][-1] == 1)
    width = lanes(dtype, target) if combine else min(16, lanes(dtype, target) * 4 // min(dtype.itemsize, 4))
    width = (
        width if straight and width <= owner_sizes[-1] and (not combine or dtype.category == FLOAT) and tensor else 1
    )

    length, rows, inner = prod(list_sizes), prod(owner_sizes[:-1]), owner_sizes[-1]
    keys = prod(i[2] for i in indices)
    if target.kind == "gpu":
        work = split(rows, inner, target, cost=3.0 * length)
        wanted = 4096 // work.global_size[0]
    else:
        # Runs of destinations stay whole, and work-items share the destinations: looking at an index that belongs to
        # another is cheap beside a run, and costs about as much as the update of a single element.
        work = split(rows, inner, target, cost=3.0 * length, step=max(16, inner if straight else 16))
        # Single elements on two cores gained 1.7 with 16 lanes, but on Zen 3 a load that follows a store it might
        # depend on waits: 8 ms where one core and a plain loop take 2. Plain stores are faster from one core anyway
        # (compilers branch).
        single_sharing = 1 if combine and target.vector_width >= 16 else 0
        sharing = 4 if inner >= 32 else single_sharing
        wanted = sharing * target.compute_units // up(work.global_size[0], 2)
    items = work.global_size[0]
    ranges = max(1, min(wanted, keys, length * rows * inner // 4096))
    index = index_type(dst, *(i[0] for i in indices), *([src[0]] if src else []), extra=length)
    parameters = Parameters(index)
    parameters.shared("dst", ctype, dst_argument)
    if src:
        parameters.shared("src", f"const {ctype}", Input(src[2]))
    for k, (one, _, _, _, number) in enumerate(indices):
        parameters.read(f"i{k}", one.dtype.storage, Input(number))
    span = work.bind(parameters)
    if ranges > 1:
        parameters.value("ranges", ranges, "ulong")
        parameters.value("range_size", up(keys, ranges), "long")
        span = span.replace("get_global_id(0)", "(get_global_id(0) / ranges)", 1)
    owner_names, list_names = parameters.values("owner", owner_sizes[:-1]), parameters.values("list", list_sizes)
    row_steps, list_steps = {}, {}
    variables = ["d", *(["s"] if tensor else []), *(f"p{k}" for k in range(len(indices)))]
    names = ["dst", *(["src"] if tensor else []), *(f"i{k}" for k in range(len(indices)))]
    offsets = [dst.offset, *([src[0].offset] if src else []), *(i[0].offset for i in indices)]
    for variable, name, offset, owner, listed in zip(variables, names, offsets, owner_strides, list_strides):
        row_steps[f"{variable}_row"] = parameters.values(f"{name}_o", owner[:-1])
        list_steps[variable] = parameters.values(f"{name}_l", listed)
        parameters.value(f"{name}_inner", owner[-1])
        parameters.value(f"{name}_offset", offset)
    for k, (_, _, count, pitch, _) in enumerate(indices):
        parameters.value(f"n{k}", count, "long")
        parameters.value(f"m{k}", pitch)
    parameters.value("list_begin", 0)
    parameters.value("list_end", length)

    value = (
        constant
        if not tensor
        else ("src[s + j * src_inner]" if not combine else load(dtype, "src + s + j * src_inner"))
    )
    if combine:
        expression = _COMBINE[combine].format(a="a", v="v")
        update = f"const {dtype.register} a = {load(dtype, 'q')}, v = {value}; {store(dtype, expression, 'q')};"
    else:
        update = f"*q = {value};" if tensor else f"const {dtype.register} v = {value}; {store(dtype, 'v', 'q')};"
    clamped = ranges > 1 and len(indices) == 1 and not hoisted and bool(combine)
    update_or_keep = update
    if combine:
        kept = f"ok ? {expression} : a"
        update_or_keep = f"const {dtype.register} a = {load(dtype, 'q')}, v = {value}; {store(dtype, kept, 'q')};"
    vector = ""
    if width > 1 and combine:
        register = f"{dtype.register}{width}"
        expression = _COMBINE[combine].replace("||", "|").format(a="a", v="v")
        vector = (
            f"const {register} a = {load(dtype, 'dst + d + j', width)}, v = {load(dtype, 'src + s + j', width)}; "
            f"{store(dtype, expression, 'dst + d + j', width)};"
        )
    elif width > 1:
        vector = f"vec_store{width}(vec_load{width}(src + s + j), dst + d + j);"
    body = render(
        "scatter",
        group=work.local,
        parameters=parameters.text,
        span=span,
        I=index,
        storage=ctype,
        count=len(indices),
        tensor=tensor,
        hoisted=hoisted,
        single=single,
        ranged=ranges > 1,
        clamped=clamped,
        lanes=width,
        locate_row=locate("row", owner_names, row_steps, index),
        locate_list=locate("item_of_list", list_names, list_steps, index),
        update=update,
        update_or_keep=update_or_keep,
        update_vector=vector,
    )
    source = KernelSource(family, body, (), (work.local,))
    if work.local > 1:
        size = (up(items * ranges, work.local) * work.local,)
    else:
        size = (items * ranges,)
    traffic = float(2 * numel(shape) * dtype.itemsize + sum(i[0].nbytes for i in indices))
    launch = Launch(source, parameters.args, size, float(numel(shape)), traffic)
    if not target.loop_limit:
        return (launch,)
    # such a device silently ends a long loop: go through the list in several launches
    piece = max(1, target.loop_limit // 4 // (work.row_chunk * work.chunk))
    args = launch.args[:-2]  # all but list_begin and list_end
    return tuple(
        replace(launch, args=(*args, Value(index, at), Value(index, min(at + piece, length))))
        for at in range(0, length, piece)
    )


def _along(
    inputs: tuple[Layout, ...],
    out: Layout,
    dim: int,
    combine: str,
    target: Target,
    family: str,
    constant: str = "",
) -> tuple[Launch, ...]:
    """A scatter along one dim with an index of the walk's own shape: inputs (self, index, src)."""
    index = inputs[1]
    if not out.shape:
        out, index = layout(out.dtype, (1,), (1,), out.offset), layout(index.dtype, (1,), (1,), index.offset)
    ndim = len(out.shape)
    base = tuple(0 if d == dim else s for d, s in enumerate(out.stride))
    src: tuple[Layout, Steps, int] | None = None
    if not constant:
        given = inputs[2]
        src = (given, given.stride if given.shape and inputs[0].shape else (0,) * ndim, 2)
    return _scatter(
        out,
        Output(0),
        base,
        index.shape,
        (dim,),
        [(index, index.stride, out.shape[dim], out.stride[dim], 1)],
        src,
        combine,
        target,
        family,
        constant,
    )


def lower_scatter(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """(self, index, src or a value of no dims), attributes (dim,): self[.., index[.., i, ..], ..] = src[.., i, ..]."""
    return Lowered(_along(inputs, outputs[0], attrs[0], "", target, "scatter"))


def lower_scatter_add(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """(self, index, src), attributes (dim,): self[.., index[.., i, ..], ..] += src[.., i, ..]."""
    return Lowered(_along(inputs, outputs[0], attrs[0], "sum", target, "scatter_add"))


def _fill(dtype: DType, count: int, number: int, target: Target, scratch: int) -> Launch:
    work = split(1, count, target)
    parameters = Parameters("long" if count >= 2**30 else "int")
    parameters.write("out", dtype.storage, Scratch(scratch))
    span = work.bind(parameters)
    parameters.value("number", number, "long")
    body = render("fill", group=work.local, parameters=parameters.text, span=span, I=parameters.index, T=dtype.storage)
    return Launch(
        KernelSource("fill", body, (), (work.local,)),
        parameters.args,
        work.global_size,
        0.0,
        float(count * dtype.itemsize),
    )


def _mean(dst: Layout, include_self: bool, target: Target) -> Launch:
    sizes, (strides,) = collapse(dst.shape, [dst.stride])
    work = split(prod(sizes[:-1]), sizes[-1], target)
    parameters = Parameters(index_type(dst))
    parameters.shared("dst", dst.dtype.storage, Output(0))
    parameters.read("counts", "int", Scratch(0))
    span = work.bind(parameters)
    names = parameters.values("size", sizes[:-1])
    steps = parameters.values("dst_s", strides[:-1])
    parameters.value("dst_inner", strides[-1])
    parameters.value("dst_offset", dst.offset)
    parameters.value("itself", int(include_self), "int")
    body = render(
        "scatter_mean",
        group=work.local,
        parameters=parameters.text,
        span=span,
        I=parameters.index,
        storage=dst.dtype.storage,
        R=dst.dtype.register,
        integral=dst.dtype.category != FLOAT,
        locate_row=locate("row", names, {"d": steps}, parameters.index),
        load_q=load(dst.dtype, "q"),
        store_q=store(dst.dtype, "mean", "q"),
    )
    source = KernelSource("scatter_mean", body, (), (work.local,))
    return Launch(source, parameters.args, work.global_size, float(dst.numel), float(2 * dst.nbytes + 4 * dst.numel))


def lower_scatter_reduce(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """(self, index, src), attributes (dim, reduce, include_self):
    combine with 'sum', 'prod', 'mean', 'amax' or 'amin'.
    """
    out = outputs[0]
    dim, reduce, include_self = attrs
    launches: tuple[Launch, ...] = ()
    if not include_self:
        neutral = {"sum": "0", "mean": "0", "prod": "1", "amax": lowest(out.dtype), "amin": highest(out.dtype)}[reduce]
        launches += _along(inputs, out, dim, "", target, "scatter_reduce", neutral)
    launches += _along(inputs, out, dim, "sum" if reduce == "mean" else reduce, target, "scatter_reduce")
    if reduce != "mean" or not launches:
        return Lowered(launches)
    index = inputs[1] if out.shape else layout(inputs[1].dtype, (1,), (1,), inputs[1].offset)
    counts = layout(int32, out.shape or (1,))
    base = tuple(0 if d == dim else s for d, s in enumerate(counts.stride))
    launches += (_fill(int32, counts.numel, 0, target, 0),)
    launches += _scatter(
        counts,
        Scratch(0),
        base,
        index.shape,
        (dim,),
        [(index, index.stride, counts.shape[dim], counts.stride[dim], 1)],
        None,
        "sum",
        target,
        "scatter_count",
        "1",
    )
    return Lowered((*launches, _mean(out, include_self, target)), (counts.nbytes,))


def _slices(
    inputs: tuple[Layout, ...], out: Layout, dim: int, combine: str, target: Target, family: str
) -> tuple[Launch, ...]:
    """A scatter of whole slices: inputs (self, index of one dim or none, source or a value of no dims)."""
    _, index, source = inputs
    if not out.shape:
        out = layout(out.dtype, (1,), (1,), out.offset)
    ndim, count = len(out.shape), index.numel
    shape = tuple(count if d == dim else n for d, n in enumerate(out.shape))
    base = tuple(0 if d == dim else s for d, s in enumerate(out.stride))
    along = _place(index.stride or (0,), dim, ndim)
    steps = source.stride if len(source.shape) == ndim else (0,) * ndim
    if not inputs[0].shape and source.shape:
        steps = source.stride
    return _scatter(
        out,
        Output(0),
        base,
        shape,
        (dim,),
        [(index, along, out.shape[dim], out.stride[dim], 1)],
        (source, steps, 2),
        combine,
        target,
        family,
    )


def lower_index_add(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """(self, index, source), attributes (dim,): slice index[i] of self += slice i of source."""
    return Lowered(_slices(inputs, outputs[0], attrs[0], "sum", target, "index_add"))


def lower_index_copy(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """(self, index, source), attributes (dim,): slice index[i] of self = slice i of source."""
    return Lowered(_slices(inputs, outputs[0], attrs[0], "", target, "index_copy"))


def lower_index_fill(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """(self, index, value of no dims), attributes (dim,): slice index[i] of self = value."""
    return Lowered(_slices(inputs, outputs[0], attrs[0], "", target, "index_fill"))


def lower_index_put(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """(self, values, *indices), attributes (dims, accumulate): self[indices] = values, or += values."""
    out, values = outputs[0], inputs[1]
    dims, accumulate = attrs
    shape, listed, base, placed = _advanced(out, inputs[2:], dims)
    indices = [(one, steps, size, step, k + 2) for k, (one, steps, size, step) in enumerate(placed)]
    return Lowered(
        _scatter(
            out,
            Output(0),
            base,
            shape,
            listed,
            indices,
            (values, values.broadcast_to(shape).stride, 1),
            "sum" if accumulate else "",
            target,
            "index_put",
        )
    )


# ---- compaction


def _holds(dtype: DType) -> str:
    """C text on the element's bits: true for all but zero; a float's sign does not count."""
    if dtype.category == FLOAT:
        return f"(condition & {hex((1 << (8 * dtype.itemsize - 1)) - 1)}) != 0"
    return "condition != 0"


def _compact(
    stage: str, mask: Layout, other: Layout | None, source: Layout | None, out: Layout, target: Target, limit: int
) -> Lowered:
    """Counts, sums and then writes. `other`:
    what is selected from or scattered into, of the mask's shape; `source`: of scatter.
    """
    index = index_type(mask, out, *(o for o in (other, source) if o is not None))
    work = split(1, mask.numel, target, step=1)
    chunk = max(up(mask.numel, 2048), 16) if target.kind == "gpu" else max(work.chunk, 1)
    chunks = max(up(mask.numel, chunk), 1)
    group = 64 if target.kind == "gpu" else 1
    sizes, strides = collapse(mask.shape, [mask.stride, *([other.stride] if other is not None else [])])

    def walk(name: str) -> Launch:
        counting = name == "count"
        parameters = Parameters(index)
        parameters.read("mask", storage_of(mask.dtype), Input(_MASK_NUMBER[stage]))
        if not counting:
            if stage == "select" and other is not None:
                parameters.read("other", storage_of(other.dtype), Input(0))
            elif stage == "scatter" and other is not None and source is not None:
                parameters.shared("other", storage_of(other.dtype), Output(0))
                parameters.read("source", storage_of(source.dtype), Input(2))
            if stage != "scatter":
                parameters.write("out", "long" if stage == "nonzero" else storage_of(out.dtype), Output(0))
        parameters.shared("counts", "long", Scratch(0))
        for label, number in (("elements", mask.numel), ("chunk", chunk), ("chunks", chunks), ("inner", sizes[-1])):
            parameters.value(label, number)
        names = parameters.values("size_of_row", sizes[:-1])
        steps = {"m": parameters.values("mask_s", strides[0][:-1])}
        parameters.value("mask_inner", strides[0][-1])
        parameters.value("mask_offset", mask.offset)
        locate_source = ""
        if not counting:
            parameters.value("limit", limit, "long")
            if other is not None:
                steps["o"] = parameters.values("other_s", strides[1][:-1])
                parameters.value("other_inner", strides[1][-1])
                parameters.value("other_offset", other.offset)
            if source is not None:
                source_sizes, (source_strides,) = collapse(source.shape, [source.stride])
                locate_source = locate(
                    f"({index})hit",
                    parameters.values("source_n", source_sizes),
                    {"p": parameters.values("source_s", source_strides)},
                    index,
                )
                parameters.value("source_offset", source.offset)
            else:
                parameters.value("out_offset", out.offset)
                parameters.value("out_s0", out.stride[0])
            if stage == "nonzero":
                parameters.value("out_s1", out.stride[1])
                parameters.values("size", mask.shape)
        body = render(
            "compact",
            stage=name,
            group=group,
            parameters=parameters.text,
            I=index,
            T=storage_of(mask.dtype),
            holds=_holds(mask.dtype),
            other=not counting and other is not None,
            ndim=len(mask.shape),
            locate_row=locate("row", names, steps, index),
            locate_source=locate_source,
            wanted=False,
        )
        return Launch(
            KernelSource(f"compact_{name}", body, (), (group,)),
            parameters.args,
            (up(chunks, group) * group,),
            0.0,
            float(mask.nbytes + (0 if counting else 2 * out.nbytes)),
        )

    total = Parameters(index)
    total.shared("counts", "long", Scratch(0))
    total.value("chunks", chunks, "int")
    if stage == "total":
        total.write("total", "long", Output(0))
        total.value("total_offset", out.offset)
    body = render(
        "compact",
        stage="total",
        group=1,
        parameters=total.text,
        I=index,
        T="",
        holds="",
        other=False,
        ndim=0,
        locate_row="",
        locate_source="",
        wanted=stage == "total",
    )
    launches = [walk("count"), Launch(KernelSource("compact_total", body), total.args, (1,), 0.0, 16.0 * chunks)]
    if stage != "total":
        launches.append(walk(stage))
    return Lowered(tuple(launches), (8 * (chunks + 1),))


_MASK_NUMBER = {"total": 0, "nonzero": 0, "select": 1, "scatter": 1}


def lower_nonzero_count(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """(input): how many elements are not zero, an int64 of no dims."""
    return _compact("total", inputs[0], None, None, outputs[0], target, 0)


def lower_nonzero_write(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """(input), attributes (count,): coordinates of the first `count` elements that are not zero, one row each."""
    if not outputs[0].numel:
        return Lowered(())
    return _compact("nonzero", inputs[0], None, None, outputs[0], target, attrs[0])


def lower_masked_select(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """(input, mask), attributes (count,):
    the first `count` elements at which mask, of any dtype, is not zero. They broadcast.
    """
    if not outputs[0].numel:
        return Lowered(())
    shape = _broadcast(inputs)
    return _compact(
        "select", inputs[1].broadcast_to(shape), inputs[0].broadcast_to(shape), None, outputs[0], target, attrs[0]
    )


def lower_masked_scatter(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """(self, mask, source): the elements of self at which mask is set become those of source, in order;
    mask broadcasts.
    """
    if not outputs[0].numel or not inputs[2].numel:
        return Lowered(())
    out = outputs[0]
    return _compact("scatter", inputs[1].broadcast_to(out.shape), out, inputs[2], out, target, inputs[2].numel)


# ---- binary search


def lower_searchsorted(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> Lowered:
    """(sorted_sequence, values), attributes (right, out_int32): where each value would be inserted in its row."""
    ordered, values, out = *inputs, outputs[0]
    if not out.numel:
        return Lowered(())
    if not values.shape:
        values, out = layout(values.dtype, (1,), (1,), values.offset), layout(out.dtype, (1,), (1,), out.offset)
    row = (*ordered.stride[:-1], 0) if len(ordered.shape) > 1 else (0,) * len(values.shape)
    sizes, strides = collapse(values.shape, [row, values.stride, out.stride])
    work = split(prod(sizes[:-1]), sizes[-1], target, cost=20.0, iterations=32.0)
    index = index_type(ordered, values, out)
    parameters = Parameters(index)
    parameters.read("sorted", ordered.dtype.storage, Input(0))
    parameters.read("values", values.dtype.storage, Input(1))
    parameters.write("out", out.dtype.storage, Output(0))
    span = work.bind(parameters)
    names = parameters.values("size", sizes[:-1])
    rows = {}
    for name, variable, step, one in zip(
        ("sorted", "values", "out"), ("s_row", "v_row", "o_row"), strides, (ordered, values, out)
    ):
        rows[variable] = parameters.values(f"{name}_s", step[:-1])
        parameters.value(f"{name}_inner", step[-1])
        parameters.value(f"{name}_offset", one.offset)
    parameters.value("length", ordered.shape[-1])
    parameters.value("sorted_step", ordered.stride[-1])
    body = render(
        "searchsorted",
        group=work.local,
        parameters=parameters.text,
        span=span,
        I=index,
        R=values.dtype.register,
        passed="(x > v) == 0" if bool(attrs[0]) else "(x >= v) == 0",
        L="long" if values.dtype.itemsize == 8 else "int",
        together=1 if target.kind == "gpu" else 8,
        locate_row=locate("row", names, rows, index),
        load_value=lambda j: load(values.dtype, f"values + v_row + {j} * values_inner"),
        load_sorted=lambda at: load(ordered.dtype, f"sorted + {at}"),
    )
    source = KernelSource("searchsorted", body, (), (work.local,))
    return Lowered((Launch(source, parameters.args, work.global_size, 0.0, float(values.nbytes + out.nbytes)),))
