"""Lowers pointwise programs: any chain of element-wise operations, broadcasts, casts, copies and fills is one kernel.

Floor 1b. `lower_pointwise` picks one of three forms (flat, strided, tiled; see templates/pointwise.cl.mako) from how
the operands lie
together; `lower_multi` puts many independent flat programs of one kind (the optimizer's update of every parameter)
into few launches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

from ..dtypes import DType
from ..target import Target
from .expression import (
    Block,
    chosen_includes,
    needed_values,
    scalar_ctype,
    unpack,
    vector_type,
)
from .operands import (
    INDEX,
    INPUT,
    STORE,
    Operand,
    by_stride,
    bytes_moved,
    collapse,
    fetches,
    gather_operands,
    index_ctype,
    kind_of,
    reorder,
    streaming,
    streams,
    widest,
    width_for,
)
from .program import Body, Instr
from .source import Argument, Input, KernelSource, Launch, Lowered, Output, Scalar, Value, render

GPU_LOCAL = 256
_SMALL = 16384  # elements below which a CPU device runs one group: waking the other cores costs more
_GRAIN = 8192  # elements at least per group of a CPU device
_GROUPS_PER_CORE = 8
_GPU_GROUPS_PER_UNIT = 16


def group_count(elements: int, target: Target) -> int:
    """Work-groups of one work-item for a CPU device: 8 per core, fewer for little work."""
    if elements < _SMALL:
        return 1
    return max(1, min(_GROUPS_PER_CORE * target.compute_units, elements // _GRAIN))


def round_up(n: int, multiple: int) -> int:
    """The next multiple of `multiple` that is not below n."""
    return -(-n // multiple) * multiple


def _iterations(target: Target) -> int:
    """Loop iterations one work-item may spend on vectors: the device's limit counts those of all its loops together."""
    return target.loop_limit - 128


@dataclass(frozen=True)
class _Program:
    """What all bodies of one kernel share: instructions and where inputs, scalars and stores are in the numbering."""

    inputs: int
    scalars: tuple[DType, ...]
    instrs: tuple[Instr, ...]
    values: tuple[int, ...]

    @property
    def first_scalar(self) -> int:
        return self.inputs

    @property
    def first_instr(self) -> int:
        return self.inputs + len(self.scalars)

    def needed(self) -> set[int]:
        return needed_values(self.instrs, self.first_instr, self.values)


def _program_of(body: Body) -> _Program:
    return _Program(len(body.inputs), body.scalars, body.instrs, tuple(value for value, _ in body.stores))


def _uses_index(program: _Program, needed: set[int]) -> bool:
    first = program.first_instr
    return any(n >= first and program.instrs[n - first].expr == "index" for n in needed)


def _element_code(
    program: _Program,
    needed: set[int],
    operands: Sequence[Operand],
    width: int,
    read: Callable[[Operand], str],
    write: Callable[[Operand, str], str],
) -> Block:
    """The block that loads, computes and stores `width` elements."""
    index = next((read(o) for o in operands if o.role == INDEX), None)
    block = Block(width, index=index)
    for o in operands:
        if o.role == INPUT:
            block.bind(o.number, o.dtype, read(o))
    for i, dtype in enumerate(program.scalars):
        if program.first_scalar + i in needed:
            block.bind_scalar(program.first_scalar + i, dtype, f"s{i}")
    block.run(program.instrs, program.first_instr, needed)
    stores = [o for o in operands if o.role == STORE]
    block.statements += [write(o, block.stored(program.values[o.number], o.dtype)) for o in stores]
    return block


def _scalar_arguments(program: _Program, needed: set[int]) -> tuple[list[str], list[Argument]]:
    """Parameters and arguments of the run-time scalars that are used."""
    used = [i for i in range(len(program.scalars)) if program.first_scalar + i in needed]
    parameters = [f"const {scalar_ctype(program.scalars[i])} s{i}" for i in used]
    return parameters, [Scalar(i, scalar_ctype(program.scalars[i])) for i in used]


def _flops(program: _Program, needed: set[int], elements: int) -> float:
    first = program.first_instr
    return float(elements * sum(program.instrs[n - first].cost for n in needed if n >= first))


def lower_pointwise(body: Body, target: Target) -> Lowered:
    """One launch for `body` (none if it has no elements)."""
    if not prod(body.shape) or not body.stores:
        return Lowered(())
    program = _program_of(body)
    needed = program.needed()
    used = [i for i in range(program.inputs) if i in needed]
    given = gather_operands(body.shape, body.inputs, used, body.stores, body.aliases, _uses_index(program, needed))
    shape, operands = collapse(*reorder(body.shape, given, by_stride(body.shape, given)))
    operands = streaming(shape, operands, target)
    if len(shape) <= 1 and all(o.strides[0] in (0, 1) if shape else True for o in operands):
        return _flat(program, needed, shape, operands, target)
    long_dim = _long_dim(shape, operands)
    if long_dim is not None:
        order = [d for d in range(len(shape)) if d != long_dim] + [long_dim]
        return _strided(program, needed, *reorder(shape, operands, order), target)
    crossing = _crossing_dim(shape, operands, target)
    if crossing is not None:
        return _tiled(program, needed, shape, operands, crossing, target)
    return _strided(program, needed, shape, operands, target)


def _pointers(operands: Sequence[Operand]) -> tuple[list[str], list[Argument]]:
    real = [o for o in operands if o.role != INDEX]
    return [o.parameter() for o in real], [o.argument() for o in real]


def _launch(
    program: _Program,
    needed: set[int],
    shape: Sequence[int],
    operands: Sequence[Operand],
    parameters: list[str],
    arguments: list[Argument],
    groups: int,
    gpu: bool,
    blocks: Sequence[Block],
    **text: object,
) -> Lowered:
    """Render the template and wrap the one launch."""
    local = GPU_LOCAL if gpu else 1
    scalar_names, scalar_values = _scalar_arguments(program, needed)
    includes = chosen_includes(name for block in blocks for name in block.includes)
    unused = {"rank": 0, "decode": (), "advance": (), "stages": (), "fill": (), "setup": ()}
    body = render("pointwise", parameters=parameters + scalar_names, local_size=local, gpu=gpu, **{**unused, **text})
    source = KernelSource("pointwise", body, includes, (local,))
    launch = Launch(
        source,
        (*arguments, *scalar_values),
        (groups * local,),
        _flops(program, needed, prod(shape)),
        bytes_moved(shape, operands),
    )
    return Lowered((launch,))


def _flat(
    program: _Program, needed: set[int], shape: tuple[int, ...], operands: list[Operand], target: Target
) -> Lowered:
    n = prod(shape)
    kinds = {o: "unit" if not shape else kind_of(o.strides[0]) for o in operands}
    ctype = index_ctype(shape, operands)
    gpu = target.kind == "gpu"
    width = widest(operands, target)
    setup = [f"{o.pointer} += {o.name}_x;" for o in operands if o.role != INDEX]
    setup += [
        f"const {o.dtype.register} {o.name}_b = {o.read('0', 'unit', '', 1)};"
        for o in operands
        if o.role == INPUT and kinds[o] == "fixed"
    ]

    def code(at: str, lanes: int) -> Block:
        def read(o: Operand) -> str:
            if o.role == INPUT and kinds[o] == "fixed":
                return f"{o.name}_b" if lanes == 1 else f"({vector_type(o.dtype.register, lanes)})({o.name}_b)"
            return o.read(at, kinds[o], "", lanes)

        return _element_code(
            program, needed, operands, lanes, read, lambda o, text: o.write(text, at, kinds[o], "", lanes)
        )

    vector, scalar = code("j", width), code("k", 1)
    if streams(target):
        ahead = [o for o in operands if o.role != INDEX and kinds[o] == "unit"]
        vector.statements[:0] = fetches(ahead, ["j"] * len(ahead), width)
    parameters, arguments = _pointers(operands)
    parameters.append(f"const {ctype} n")
    arguments.append(Value(ctype, n))
    if gpu:
        groups = max(1, min(-(-n // (GPU_LOCAL * width)), _GPU_GROUPS_PER_UNIT * target.compute_units))
    else:
        groups = group_count(n, target)
        chunk = round_up(-(-n // groups), max(width, 16))
        if target.loop_limit:
            chunk = min(chunk, _iterations(target) * width)
        groups = -(-n // chunk)
        parameters.append(f"const {ctype} chunk")
        arguments.append(Value(ctype, chunk))
    for o in operands:
        if o.role != INDEX:
            parameters.append(f"const {ctype} {o.name}_x")
            arguments.append(Value(ctype, o.offset))
    return _launch(
        program,
        needed,
        shape,
        operands,
        parameters,
        arguments,
        groups,
        gpu,
        (vector, scalar),
        form="flat",
        I=ctype,
        W=width,
        setup=setup,
        vector=vector.statements,
        scalar=scalar.statements,
    )


def _geometry(
    ctype: str, shape: Sequence[int], operands: Sequence[Operand], last_kinds: dict[Operand, str], fixed_last: int
) -> tuple[list[str], list[Argument], list[str], list[str]]:
    """Parameters and arguments of sizes, offsets and strides; C that decodes `row` into the outer counters; C that
    steps a row on.

    The last `fixed_last` dims are walked by the kernel itself and not counted by rows.
    """
    rank = len(shape)
    outer = rank - fixed_last
    parameters = [f"const {ctype} n{d}" for d in range(rank)]
    arguments: list[Argument] = [Value(ctype, n) for n in shape]
    decode, rows = [], []
    for d in range(outer - 1, -1, -1):
        if d:
            decode += [f"{ctype} c{d} = row % n{d};", f"row /= n{d};"]
        else:
            decode.append(f"{ctype} c0 = row;")
    for o in operands:
        if o.role != INDEX:
            parameters.append(f"const {ctype} {o.name}_x")
            arguments.append(Value(ctype, o.offset))
        for d in range(rank):
            if d < rank - 1 or last_kinds[o] == "step":
                parameters.append(f"const {ctype} {o.name}_s{d}")
                arguments.append(Value(ctype, o.strides[d]))
        start = " + ".join(
            ["0" if o.role == INDEX else f"{o.name}_x"] + [f"c{d} * {o.name}_s{d}" for d in range(outer)]
        )
        rows.append(f"{ctype} {o.name}_r = {start};")

    def advance(d: int) -> list[str]:
        lines = [f"{o.name}_r += {o.name}_s{d};" for o in operands]
        if d == 0:
            return lines
        carry = [f"{o.name}_r -= n{d} * {o.name}_s{d};" for o in operands]
        return [*lines, f"if (++c{d} == n{d}) {{", f"  c{d} = 0;", *(f"  {x}" for x in carry + advance(d - 1)), "}"]

    return parameters, arguments, decode + rows, advance(outer - 1) if outer else []


def _strided(
    program: _Program, needed: set[int], shape: tuple[int, ...], operands: list[Operand], target: Target
) -> Lowered:
    rank, inner = len(shape), shape[-1]
    rows = prod(shape[:-1])
    ctype = index_ctype(shape, operands)
    gpu = target.kind == "gpu"
    width = width_for(inner, widest(operands, target))
    kinds = {o: kind_of(o.strides[-1]) for o in operands}
    hoisted = [o for o in operands if o.role == INPUT and kinds[o] == "fixed"]
    setup = [f"const {o.dtype.register} {o.name}_b = {o.read(f'{o.name}_r', 'unit', '', 1)};" for o in hoisted]

    def code(at: str, lanes: int) -> Block:
        def place(o: Operand) -> tuple[str, str, str, int]:
            stride = f"{o.name}_s{rank - 1}"
            position = {"fixed": "", "unit": f" + {at}", "step": f" + {at} * {stride}"}[kinds[o]]
            return f"{o.name}_r{position}", kinds[o], stride, lanes

        def read(o: Operand) -> str:
            if o in hoisted:
                return f"{o.name}_b" if lanes == 1 else f"({vector_type(o.dtype.register, lanes)})({o.name}_b)"
            return o.read(*place(o))

        return _element_code(program, needed, operands, lanes, read, lambda o, text: o.write(text, *place(o)))

    vector, scalar = code("j", width), code("k", 1)
    parameters, arguments = _pointers(operands)
    sizes, numbers, decode, advance = _geometry(ctype, shape, operands, kinds, 1)
    if gpu:
        blocks = -(-inner // width)
        units = rows * blocks
        groups = max(1, min(-(-units // GPU_LOCAL), _GPU_GROUPS_PER_UNIT * target.compute_units))
        extra = {"units": units, "blocks": blocks}
    else:
        block, blocks, per = _split(rows, inner, width, target)
        units = rows * blocks
        groups = -(-units // per)
        extra = {"units": units, "blocks": blocks, "block": block, "per": per}
    parameters += sizes + [f"const {ctype} {name}" for name in extra]
    arguments += numbers + [Value(ctype, number) for number in extra.values()]
    return _launch(
        program,
        needed,
        shape,
        operands,
        parameters,
        arguments,
        groups,
        gpu,
        (vector, scalar),
        form="strided",
        I=ctype,
        W=width,
        rank=rank,
        decode=decode,
        advance=advance,
        setup=setup,
        vector=vector.statements,
        scalar=scalar.statements,
    )


def _split(rows: int, inner: int, width: int, target: Target) -> tuple[int, int, int]:
    """Elements of a row per unit, units per row, units per group, for a CPU device."""
    groups = group_count(rows * inner, target)
    block = inner
    if rows < 2 * groups:
        block = min(inner, max(round_up(-(-inner * rows // (2 * groups)), 64), 1024))
    if target.loop_limit:
        block = min(block, _iterations(target) // 2 * width)
    blocks = -(-inner // block)
    per = -(-rows * blocks // groups)
    if target.loop_limit:
        per = max(1, min(per, _iterations(target) // (block // width + block % width + 1)))
    return block, blocks, per


def _long_dim(shape: Sequence[int], operands: Sequence[Operand]) -> int | None:
    """The dim to run vectors along where the last one is too short for any: a long one along which an input is
    contiguous."""
    if not shape or shape[-1] >= 8:
        return None
    return next(
        (
            d
            for d, n in enumerate(shape[:-1])
            if n >= 32 and any(o.strides[d] == 1 for o in operands if o.role == INPUT)
        ),
        None,
    )


def _crossing_dim(shape: Sequence[int], operands: Sequence[Operand], target: Target) -> int | None:
    """The dim along which inputs that do not step evenly along the last one are contiguous, if tiles pay."""
    if target.kind == "gpu" or len(shape) < 2 or any(o.role == STORE and o.strides[-1] != 1 for o in operands):
        return None
    width = widest(operands, target)
    found = [
        d for o in operands if o.role == INPUT and o.strides[-1] > 1 for d in range(len(shape) - 1) if o.strides[d] == 1
    ]
    if not found or shape[-1] < width or shape[found[0]] < width:
        return None
    return found[0]


def _tiled(
    program: _Program, needed: set[int], shape: tuple[int, ...], operands: list[Operand], crossing: int, target: Target
) -> Lowered:
    order = [d for d in range(len(shape) - 1) if d != crossing] + [crossing, len(shape) - 1]
    shape, operands = reorder(shape, operands, order)
    rank = len(shape)
    p, q = rank - 1, rank - 2
    ctype = index_ctype(shape, operands)
    width = widest(operands, target)
    kinds = {o: kind_of(o.strides[-1]) for o in operands}
    staged = [o for o in operands if o.role == INPUT and o.strides[q] == 1 and kinds[o] == "step"]
    pitch = width + 1
    stages = [f"__local {o.dtype.storage} {o.name}_stage[{width * pitch}];" for o in staged]
    fill = [
        f"vec_store{width}(vec_load{width}({o.pointer} + {o.name}_r + (j + lane) * {o.name}_s{p} + t), "
        f"{o.name}_stage + lane * {pitch});"
        for o in staged
    ]
    setup = [f"const {ctype} {o.name}_q = {o.name}_r + q * {o.name}_s{q};" for o in operands]

    def code(at: str, lanes: int) -> Block:
        def place(o: Operand) -> tuple[str, str, str, int]:
            stride = f"{o.name}_s{p}"
            position = {"fixed": "", "unit": f" + {at}", "step": f" + {at} * {stride}"}[kinds[o]]
            return f"{o.name}_q{position}", kinds[o], stride, lanes

        def read(o: Operand) -> str:
            if lanes > 1 and o in staged:
                lane = ", ".join(f"{o.name}_stage[c + {k * pitch}]" for k in range(lanes))
                return unpack(o.dtype, f"(({vector_type(o.dtype.storage, lanes)})({lane}))", lanes)
            return o.read(*place(o))

        return _element_code(program, needed, operands, lanes, read, lambda o, text: o.write(text, *place(o)))

    vector, scalar = code("j", width), code("k", 1)
    parameters, arguments = _pointers(operands)
    sizes, numbers, decode, advance = _geometry(ctype, shape, operands, kinds, 2)
    tiles, blocks = -(-shape[q] // width), -(-shape[p] // width)
    units = prod(shape[:q]) * tiles * blocks
    groups = group_count(prod(shape), target)
    per = -(-units // groups)
    if target.loop_limit:
        per = min(per, _iterations(target) // (width * width + width))
    extra = {"units": units, "blocks": blocks, "tiles": tiles, "per": per}
    parameters += sizes + [f"const {ctype} {name}" for name in extra]
    arguments += numbers + [Value(ctype, number) for number in extra.values()]
    return _launch(
        program,
        needed,
        shape,
        operands,
        parameters,
        arguments,
        -(-units // per),
        False,
        (vector, scalar),
        form="tiled",
        I=ctype,
        W=width,
        rank=rank,
        stages=stages,
        fill=fill,
        decode=decode,
        advance=advance,
        setup=setup,
        vector=vector.statements,
        scalar=scalar.statements,
    )


# ---- many programs in one launch


def lower_multi(bodies: Sequence[Body], target: Target) -> Lowered:
    """Few launches for many independent bodies with the same instructions, scalars and dtypes, all operands contiguous.

    Inputs and outputs are numbered body after body (body b's input i is Input(b * inputs + i)); scalars are shared. A
    store that
    shares an input's buffer is written through that input's pointer. The kernel's text depends on how many bodies one
    launch takes
    (bounded by the device's bytes of arguments), not on their sizes; slots of the last launch that are left over get
    no work.

    Raises ValueError if the bodies differ in more than sizes and offsets, or an operand is not contiguous.
    """
    live = [(b, body) for b, body in enumerate(bodies) if prod(body.shape)]
    if not live:
        return Lowered(())
    model = live[0][1]
    signature = _signature(model)
    for _, body in live:
        if _signature(body) != signature:
            raise ValueError(
                "lower_multi: bodies: got programs that differ, wanted the same instructions, dtypes and aliases"
            )
        for layout in (*body.inputs, *(layout for _, layout in body.stores)):
            if not layout.contiguous:
                raise ValueError(f"lower_multi: operand: got {layout}, wanted a contiguous one")
    program = _program_of(model)
    needed = program.needed()
    used = [i for i in range(program.inputs) if i in needed]
    operands = gather_operands(
        model.shape, model.inputs, used, model.stores, model.aliases, _uses_index(program, needed)
    )
    shared = {o.number: o.alias for o in operands if o.role == STORE and o.alias in used}
    pointers = [o for o in operands if o.role != INDEX and not (o.role == STORE and o.number in shared)]
    layouts = [layout for _, body in live for layout in (*body.inputs, *(x for _, x in body.stores))]
    offsets = any(layout.offset for layout in layouts)
    ctype = "long" if any(layout.offset + layout.numel >= 1 << 30 for layout in layouts) else "int"
    number_bytes = 8 if ctype == "long" else 4
    slot_bytes = len(pointers) * (8 + (number_bytes if offsets else 0)) + number_bytes + 4
    slots = min(len(live), (target.max_parameter_bytes - 64 - 8 * len(program.scalars)) // slot_bytes)
    if slots < 2:
        return _one_by_one(live, program, target)
    launches = [
        _multi_launch(live[at : at + slots], slots, program, needed, operands, pointers, shared, offsets, ctype, target)
        for at in range(0, len(live), slots)
    ]
    return Lowered(tuple(launches))


def _signature(body: Body) -> tuple[object, ...]:
    return (
        tuple(layout.dtype.name for layout in body.inputs),
        body.scalars,
        body.instrs,
        tuple((value, layout.dtype.name) for value, layout in body.stores),
        body.aliases,
    )


def _one_by_one(live: Sequence[tuple[int, Body]], program: _Program, target: Target) -> Lowered:
    """A launch per body, where a device takes too few arguments to merge any."""
    launches = []
    for b, body in live:
        for launch in lower_pointwise(body, target).launches:
            moved = tuple(_moved(a, b, program) for a in launch.args)
            launches.append(Launch(launch.source, moved, launch.global_size, launch.flops, launch.nbytes))
    return Lowered(tuple(launches))


def _moved(argument: Argument, b: int, program: _Program) -> Argument:
    if isinstance(argument, Input):
        return Input(b * program.inputs + argument.index)
    if isinstance(argument, Output):
        return Output(b * len(program.values) + argument.index)
    return argument


def _multi_launch(
    bodies: Sequence[tuple[int, Body]],
    slots: int,
    program: _Program,
    needed: set[int],
    operands: Sequence[Operand],
    pointers: Sequence[Operand],
    shared: dict[int, int],
    offsets: bool,
    ctype: str,
    target: Target,
) -> Launch:
    gpu = target.kind == "gpu"
    local = GPU_LOCAL if gpu else 1
    width = widest(operands, target)
    total = sum(prod(body.shape) for _, body in bodies)
    if gpu:
        chunk = GPU_LOCAL * width * 4
    else:
        chunk = round_up(max(-(-total // group_count(total, target)), 1024), 64)
        if target.loop_limit:
            chunk = min(chunk, _iterations(target) * width)

    def code(at: str, lanes: int) -> Block:
        return _element_code(
            program,
            needed,
            operands,
            lanes,
            lambda o: o.read(at, "unit", "", lanes),
            lambda o, text: o.write(text, at, "unit", "", lanes),
        )

    vector, scalar = code("j", width), code("k", 1)
    if streams(target):
        vector.statements[:0] = fetches(pointers, ["j"] * len(pointers), width)
    written = set(shared.values())
    kinds = {
        o: f"__global {'' if o.role == STORE or o.number in written else 'const '}{o.dtype.storage} *" for o in pointers
    }
    select: list[tuple[str, str]] = [(kinds[o], o.pointer) for o in pointers]
    same = [
        (f"__global {o.dtype.storage} *", o.pointer, f"i{shared[o.number]}")
        for o in operands
        if o.role == STORE and o.number in shared
    ]
    parameters: list[str] = []
    arguments: list[Argument] = []
    groups = 0
    for slot in range(slots):
        b, body = bodies[min(slot, len(bodies) - 1)]
        for o in pointers:
            layout = body.inputs[o.number] if o.role == INPUT else body.stores[o.number][1]
            parameters.append(f"{kinds[o]}{o.pointer}_{slot}")
            arguments.append(_moved(o.argument(), b, program))
            if offsets:
                parameters.append(f"const {ctype} {o.pointer}_{slot}_x")
                arguments.append(Value(ctype, layout.offset))
        size = prod(body.shape) if slot < len(bodies) else 0
        groups += -(-size // chunk)
        parameters += [f"const {ctype} n_{slot}", f"const int end_{slot}"]
        arguments += [Value(ctype, size), Value("int", groups)]
    scalar_names, scalar_values = _scalar_arguments(program, needed)
    body_text = render(
        "multi",
        parameters=[*parameters, f"const {ctype} chunk", *scalar_names],
        local_size=local,
        gpu=gpu,
        I=ctype,
        W=width,
        slots=slots,
        select=select,
        same=same,
        offsets=offsets,
        vector=vector.statements,
        scalar=scalar.statements,
    )
    includes = chosen_includes((*vector.includes, *scalar.includes))
    nbytes = float(sum(o.dtype.itemsize * prod(body.shape) for _, body in bodies for o in operands if o.role != INDEX))
    return Launch(
        KernelSource("multi", body_text, includes, (local,)),
        (*arguments, Value(ctype, chunk), *scalar_values),
        (groups * local,),
        _flops(program, needed, total),
        nbytes,
    )
