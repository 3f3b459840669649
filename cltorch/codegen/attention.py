"""Lowers attention in flash form, forward and backward: softmax(scale q k^T + mask) v without a matrix of scores.

Floor 1b. Queries (B, H, L, E), keys (B, Hk, S, E), values (B, Hk, S, V) with any strides of the first three dims; heads
share keys in groups of H / Hk. Attributes, of both directions: `(scale, causal, dropout_p, masked, rows_first)`.

- `masked`: an input broadcast to (B, H, L, S) is a mask, bool (True: takes part) or of numbers to be added, whose last
  dim is contiguous.
- `dropout_p` > 0: the run-time scalars 0 and 1 are seed and offset of the random numbers; element
  ((b H + h) L + i) S + j is dropped where its number in [0, 1) is less than `dropout_p`.
- `rows_first`: results are laid out (B, L, H, V), not (B, H, L, V), so that joining the heads is a view.

Besides the result, forward gives `lse` (B, H, L), float: log2 of each row's sum of powers, infinity where
nothing is seen.

    cpu    attention.cl.mako: register tiles over panels in local memory
    gpu    attention_group.cl.mako: tiles of scores shared by a work-group
    both   attention_sum.cl.mako: adds dq where keys were split into parts, or rounds it to 16 bits

`fits` says whether a device's limits allow any of them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

from ..dtypes import DType, bfloat16, bool_, float16, float32
from ..shapes import Layout
from ..target import Target
from .program import Epilogue
from .source import Argument, Input, KernelSource, Launch, Local, Lowered, Output, Scalar, Scratch, Value, render
from .walk import Parameters, index_type, load, store, up

_LOCAL = 240 * 1024  # bytes of local memory worth using: half of a small second-level cache, less than Intel's bound
_CHUNK = 256  # queries that share one packing of the keys, and more would not pay
_KEYS = 128  # keys in a block
_QUERIES = 72  # queries in a block of the backward pass
_GROUP_FLOPS = 4e6  # work for which one more work-group of a CPU device pays its start
_TILE = 16  # rows, and columns, of a GPU group's tile of scores
_ITEMS = 64  # work-items of a GPU group
_LOG2_E = math.log2(math.e)
_INDEX = re.compile(r"\bI\b")


@dataclass(frozen=True)
class AttentionConfig:
    """Sizes of one lowering; `choose_config` gives the defaults, a tuner may give others.

    Attributes:
        tile_rows: rows of a register tile.
        tile_vectors: vectors across it.
        pitch: floats between rows of queries, values and sums in local memory.
        keys: keys in a block, a multiple of the register tile's columns.
        score_pitch: floats between rows of scores in local memory, at least one vector more than `keys`.
        rows: queries of a work-group (forward), of a block (backward), a multiple of tile_rows.
        parts: work-groups among which the keys of a head are split (backward).
    """

    tile_rows: int
    tile_vectors: int
    pitch: int
    keys: int
    score_pitch: int
    rows: int
    parts: int = 1

    def local_bytes(self, depth: int, value_depth: int, lanes: int, backward: bool) -> list[int]:
        """Bytes of the local buffers, in the order of the kernel's parameters."""
        wide = self.tile_rows * self.pitch
        padded = up(self.keys, self.tile_rows) * self.tile_rows
        if backward:
            scores = self.rows * self.score_pitch
            small = up(2 * (self.rows + self.tile_rows) + wide, lanes) * lanes
            blocks = [self.keys * depth, scores, self.rows * self.pitch, self.keys * value_depth, scores]
            blocks += [self.keys * self.pitch, self.rows * self.pitch, padded * self.pitch, padded * self.pitch, small]
        else:
            small = up(2 * self.rows + self.tile_rows, lanes) * lanes
            blocks = [self.keys * depth, self.tile_rows * self.score_pitch, wide]
            blocks += [self.keys * self.pitch, self.rows * self.pitch, small]
        return [4 * n for n in blocks]


@dataclass(frozen=True)
class _Problem:
    """Sizes of an attention."""

    batch: int
    heads: int
    key_heads: int
    rows: int
    keys: int
    depth: int
    value_depth: int
    causal: bool

    @property
    def scores(self) -> float:
        """Scores that have to be computed."""
        rows, keys = self.rows, self.keys
        seen = rows * keys
        if self.causal:
            square = min(rows, keys)
            seen = square * (square + 1) // 2 + max(rows - keys, 0) * keys
        return float(self.batch * self.heads * seen)

    def flops(self, backward: bool) -> float:
        per_score = 6 * self.depth + 4 * self.value_depth if backward else 2 * (self.depth + self.value_depth)
        return self.scores * (per_score + 20)


def _problem(q: Layout, k: Layout, v: Layout, attrs: tuple) -> _Problem:
    batch, heads, rows, depth = q.shape
    return _Problem(batch, heads, k.shape[1], rows, k.shape[2], depth, v.shape[3], bool(attrs[1]))


def choose_config(problem: _Problem, target: Target, backward: bool) -> AttentionConfig | None:
    """Sizes for a CPU device, by rules measured with benchmarks/kernels_attention.py; None where nothing fits."""
    lanes = target.vector_width
    tile_rows, panel = _tile_rows(problem.rows, lanes), 2 * lanes
    deepest = max(problem.depth, problem.value_depth)
    tile_vectors = 2 if deepest > lanes else 1
    pitch = up(deepest, tile_vectors * lanes) * tile_vectors * lanes
    room = min(target.local_memory, _LOCAL)
    groups = problem.batch * (problem.key_heads if backward else problem.heads)
    wanted = max(1, min(8 * target.compute_units, int(problem.flops(backward) / _GROUP_FLOPS)))
    pieces = up(wanted, max(groups, 1))  # of each head
    keys, most_keys = min(_KEYS, up(problem.keys, panel) * panel), _KEYS
    spare = up(tile_rows, lanes) * lanes  # zeros behind a row of scores, for the last tile across them
    parts = 1
    if backward:
        rows = _even(problem.rows, _QUERIES, tile_rows)
        parts = min(pieces, up(problem.keys, panel))
        keys = min(keys, up(up(problem.keys, parts), panel) * panel)
    else:
        rows = _even(up(problem.rows, min(pieces, up(problem.rows, 4 * tile_rows))), _CHUNK, tile_rows)

    def made() -> AttentionConfig:
        return AttentionConfig(tile_rows, tile_vectors, pitch, keys, most_keys + spare, rows, parts)

    while sum(made().local_bytes(problem.depth, problem.value_depth, lanes, backward)) > room:
        if most_keys > keys:
            most_keys = keys
        elif keys > 2 * panel or keys > panel and rows == tile_rows:
            keys = most_keys = keys - panel
        elif rows > tile_rows:
            rows = up(rows // 2, tile_rows) * tile_rows
        elif keys > panel:
            keys = most_keys = keys - panel
        else:
            return None
    if target.loop_limit:
        steps = _steps(problem, made(), lanes, backward)
        while steps > target.loop_limit:
            if not backward and rows > tile_rows:
                rows = up(rows // 2, tile_rows) * tile_rows
            elif backward and parts < up(problem.keys, keys):
                parts = min(2 * parts, up(problem.keys, keys))
            else:
                return None
            steps = _steps(problem, made(), lanes, backward)
    return made()


def _tile_rows(rows: int, lanes: int) -> int:
    """Rows of the register tile: as many as registers allow, fewer where that leaves less of a small problem idle.

    A tile of two vectors and few rows waits for its sums; the shares are of the speed of the full tile.
    """
    shares = {12: 1.0, 11: 0.98, 8: 0.9, 4: 0.6, 2: 0.4, 1: 0.3} if lanes >= 16 else {6: 1.0, 4: 0.8, 2: 0.5, 1: 0.3}
    return min(shares, key=lambda n: up(rows, n) * n / shares[n])


def _even(size: int, most: int, step: int) -> int:
    """The size of equal pieces of `size`, none longer than about `most`, in multiples of `step`."""
    return max(1, up(up(size, up(max(size, 1), most)), step)) * step


def _steps(problem: _Problem, config: AttentionConfig, lanes: int, backward: bool) -> int:
    """Bounds the iterations of all loops of one work-item."""
    d, e = problem.depth, problem.value_depth
    panel, wide = 2 * lanes, config.tile_vectors * lanes
    turn = config.keys // lanes * (d // 4 + 4 + 4 * lanes) * (1 + problem.keys % lanes)
    copy = up(max(d, e), lanes) + 2 * lanes + 1
    tile = config.keys // panel * (d + 1)
    softmax = config.tile_rows * (3 * up(config.keys, lanes) + 2 * lanes + 4)
    weighted = up(e, wide) * (config.keys + 1)
    if not backward:
        strip = config.tile_rows * copy + tile + softmax + weighted + 1
        block = turn + config.keys * copy + config.rows // config.tile_rows * strip
        return up(problem.keys, config.keys) * block + config.rows * (copy + 1)
    strip = tile + config.keys // panel * (e + 1) + softmax + up(d, wide) * (config.keys + config.tile_rows * copy)
    block = config.rows * 3 * copy + config.rows // config.tile_rows * strip
    block += up(config.keys, config.tile_rows) * (up(d, wide) + up(e, wide)) * (config.rows + 1)
    head = up(problem.rows, config.rows) * block
    keys = 2 * turn + 4 * config.keys * copy + problem.heads // problem.key_heads * head
    return up(up(problem.keys, config.parts), config.keys) * keys


def fits(q: Layout, k: Layout, v: Layout, attrs: tuple, target: Target) -> bool:
    """True if both directions can be lowered for layouts (B, H, L, E), (B, Hk, S, E), (B, Hk, S, V) on `target`."""
    if q.dtype not in (float32, float16, bfloat16) or not (q.numel and k.numel and v.numel):
        return False
    if target.kind == "gpu":
        return _group_bytes(max(q.shape[3], v.shape[3])) <= target.local_memory
    problem = _problem(q, k, v, attrs)
    return all(choose_config(problem, target, backward) is not None for backward in (False, True))


# ---- parameters


class _Arguments(Parameters):
    """Parameters of an attention kernel: tensors with their strides, local memory, run-time scalars."""

    def local(self, name: str, ctype: str, nbytes: int) -> None:
        """Local memory; `ctype` is a vector so that drivers align it."""
        self._texts.append(f"__local {ctype} *{name}")
        self._args.append(Local(nbytes))

    def scalar(self, name: str, ctype: str, argument: Argument) -> None:
        self._texts.append(f"const {ctype} {name}")
        self._args.append(argument)

    def place(self, name: str, layout: Layout, dims: str, order: Sequence[int] = (0, 1, 2)) -> None:
        """Offset of `layout` and the strides of dims `order`, named by the letters `dims`."""
        self.value(f"{name}_offset", layout.offset)
        for letter, d in zip(dims, order):
            self.value(f"{name}_{letter}", layout.stride[d])

    def chance(self, dropout_p: float) -> None:
        """Seed, offset and the number of 24 bits below which an element is dropped."""
        self.scalar("seed", "long", Scalar(0, "long"))
        self.scalar("draw", "long", Scalar(1, "long"))
        self.value("threshold", math.ceil(dropout_p * (1 << 24)), "uint")


def _heads_order(attrs: tuple) -> tuple[int, int, int]:
    """Where batch, head and row are among the dims of a result."""
    return (0, 2, 1) if attrs[4] else (0, 1, 2)


def _mask_parameters(mask: Layout | None, at: int, parameters: _Arguments) -> dict[str, object]:
    """Adds the mask; the template's facts about it."""
    if mask is None:
        return {"mask": "", "mask_storage": "", "load_mask": None}
    parameters.read("mask", mask.dtype.storage, Input(at))
    parameters.place("mask", mask, "bhl")
    kind = "bool" if mask.dtype is bool_ else "added"
    return {"mask": kind, "mask_storage": mask.dtype.storage, "load_mask": _loader(mask.dtype)}


def _loader(dtype: DType) -> Callable[[str, int], str]:
    return lambda pointer, width: load(dtype, pointer, width)


def _storer(dtype: DType) -> Callable[[str, str, int], str]:
    return lambda value, pointer, width: store(dtype, value, pointer, width)


def _across(width: int) -> Callable[[str], str]:
    """C text that folds vector x{width} to one number by a text of its halves."""

    def fold(text: str) -> str:
        lines, w = [], width
        while w > 1:
            kind = f"float{w // 2}" if w > 2 else "float"
            lines.append(f"const {kind} x{w // 2} = {text.format(f'x{w}')};")
            w //= 2
        return " ".join([*lines, "return x1;"])

    return fold


def _transpose(rows: Sequence[str], kind: str) -> tuple[str, list[str]]:
    """C text that turns W rows of four elements (texts of vectors) into four vectors `kind`; their names.

    Vector j is joined of rows j, j + 4, j + 8, …; two rounds of pairing within blocks of four lanes give whole columns.
    """
    width = len(rows)
    lines = [f"const {kind} joined{j} = ({kind})({', '.join(rows[j::4])});" for j in range(4)]
    if width == 4:
        lines = [f"const {kind} joined{j} = {rows[j]};" for j in range(4)]

    def pair(name: str, x: str, y: str, lanes: tuple[int, ...]) -> str:
        chosen = (b + i if i < 4 else width + b + i - 4 for b in range(0, width, 4) for i in lanes)
        lines.append(f"const {kind} {name} = __builtin_shufflevector({x}, {y}, {', '.join(map(str, chosen))});")
        return name

    low = [pair(f"low{j}", f"joined{j}", f"joined{j + 1}", (0, 4, 1, 5)) for j in (0, 2)]
    high = [pair(f"high{j}", f"joined{j}", f"joined{j + 1}", (2, 6, 3, 7)) for j in (0, 2)]
    halves = ((0, 1, 4, 5), (2, 3, 6, 7))
    return_names = [pair(f"column{i}", x, y, halves[i % 2]) for i, (x, y) in enumerate((low, low, high, high))]
    return "\n".join(lines), return_names


# ---- lowerings


def lower_flash_attention(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
    config: AttentionConfig | None = None,
) -> Lowered:
    """The result and `lse` from (q, k, v[, mask]).

    Args:
        config: sizes on CPU devices; the default is `choose_config`.

    **Dtypes** float32, float16 and bfloat16, computed in float.
    """
    q, k, v = inputs[:3]
    mask = inputs[3] if attrs[3] else None
    out = outputs[0]
    problem = _problem(q, k, v, attrs)
    if target.kind == "gpu":
        return Lowered((_group_launch("forward", inputs, outputs, attrs, problem, target),))
    chosen = config or _config(problem, target, False)
    scale, _, dropout_p = attrs[:3]
    lanes, kind = target.vector_width, f"float{target.vector_width}"
    parameters = _Arguments("I")
    for number, (name, layout, dims) in enumerate((("q", q, "bhl"), ("k", k, "bhs"), ("v", v, "bhs"))):
        parameters.read(name, layout.dtype.storage, Input(number))
        parameters.place(name, layout, dims)
    parameters.write("out", out.dtype.storage, Output(0))
    parameters.place("out", out, "bhl", _heads_order(attrs))
    parameters.write("lse", "float", Output(1))
    facts = _mask_parameters(mask, 3, parameters)
    names = ("keys_t", "scores", "queries", "values", "sums", "rows")
    for name, nbytes in zip(names, chosen.local_bytes(problem.depth, problem.value_depth, lanes, False)):
        parameters.local(f"{name}_memory", kind, nbytes)
    _sizes(parameters, problem, chosen, scale, dropout_p)
    parameters.value("chunk_rows", chosen.rows)
    if dropout_p:
        parameters.chance(dropout_p)
    groups = (up(problem.rows, chosen.rows), problem.heads, problem.batch)
    launch = _cpu_launch(
        "attention", parameters, groups, problem, chosen, lanes, attrs, facts, (*inputs, *outputs)
    )
    return Lowered((launch,))


def lower_flash_attention_backward(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
    config: AttentionConfig | None = None,
) -> Lowered:
    """The gradients of q, k and v from (g, q, k, v, out, lse[, mask]), g and out (B, H, L, V).

    Args:
        config: sizes on CPU devices; the default is `choose_config`.
    """
    g, q, k, v, out, _ = inputs[:6]
    mask = inputs[6] if attrs[3] else None
    dq, dk, dv = outputs
    problem = _problem(q, k, v, attrs)
    if target.kind == "gpu":
        stages = ("queries", "keys")
        return Lowered(tuple(_group_launch(stage, inputs, outputs, attrs, problem, target) for stage in stages))
    chosen = config or _config(problem, target, True)
    scale, _, dropout_p = attrs[:3]
    lanes, kind = target.vector_width, f"float{target.vector_width}"
    direct = chosen.parts == 1 and q.dtype is float32
    parameters = _Arguments("I")
    order = _heads_order(attrs)
    tensors = (("g", g, "bhl"), ("q", q, "bhl"), ("k", k, "bhs"), ("v", v, "bhs"), ("out", out, "bhl"))
    for number, (name, layout, dims) in enumerate(tensors):
        parameters.read(name, layout.dtype.storage, Input(number))
        parameters.place(name, layout, dims)
    parameters.read("lse", "float", Input(5))
    parameters.shared("dq", "float", Output(0) if direct else Scratch(0))
    steps = [dq.stride[d] for d in order]
    if not direct:
        steps = [problem.heads * problem.rows * problem.depth, problem.rows * problem.depth, problem.depth]
    whole = prod(q.shape)
    for name, number in zip(("offset", "b", "h", "l", "part"), (dq.offset if direct else 0, *steps, whole)):
        parameters.value(f"dq_{name}", number)
    for number, (name, layout) in enumerate((("dk", dk), ("dv", dv)), 1):
        parameters.write(name, layout.dtype.storage, Output(number))
        parameters.place(name, layout, "bhs", order)
    facts = _mask_parameters(mask, 6, parameters)
    names = ("keys_t", "scores", "queries", "values_t", "slopes", "keys", "upstream", "key_sums", "value_sums", "rows")
    for name, nbytes in zip(names, chosen.local_bytes(problem.depth, problem.value_depth, lanes, True)):
        parameters.local(f"{name}_memory", kind, nbytes)
    _sizes(parameters, problem, chosen, scale, dropout_p)
    part_keys = up(up(problem.keys, chosen.parts), chosen.keys) * chosen.keys
    parts = up(problem.keys, part_keys)
    parameters.value("block_rows", chosen.rows)
    parameters.value("part_keys", part_keys)
    parameters.value("factor", scale, "float")
    parameters.value("unscale", 1 - dropout_p, "float")
    if dropout_p:
        parameters.chance(dropout_p)
    groups = (parts, problem.key_heads, problem.batch)
    launch = _cpu_launch(
        "attention_backward", parameters, groups, problem, chosen, lanes, attrs, facts, (*inputs, *outputs)
    )
    if direct:
        return Lowered((launch,))
    total = _sum_launch(problem, dq, order, parts, part_keys, target)
    return Lowered((launch, total), (4 * whole * parts,))


def _config(problem: _Problem, target: Target, backward: bool) -> AttentionConfig:
    found = choose_config(problem, target, backward)
    if found is None:
        raise RuntimeError(
            f"attention: head size: got {problem.depth} and {problem.value_depth}, {problem.keys} keys; wanted sizes "
            f"for which {target.local_memory} bytes of local memory are enough"
        )
    return found


def _sizes(
    parameters: _Arguments, problem: _Problem, config: AttentionConfig, scale: float, dropout_p: float
) -> None:
    for name, number in (("L", problem.rows), ("S", problem.keys), ("heads", problem.heads)):
        parameters.value(name, number)
    parameters.value("sharing", problem.heads // problem.key_heads)
    for name, number in (("D", problem.depth), ("DV", problem.value_depth), ("BK", config.keys)):
        parameters.value(name, number, "int")
    parameters.value("scale", scale * _LOG2_E, "float")
    parameters.value("rescale", 1 / (1 - dropout_p), "float")


def _cpu_launch(
    family: str,
    parameters: _Arguments,
    groups: tuple[int, int, int],
    problem: _Problem,
    config: AttentionConfig,
    lanes: int,
    attrs: tuple,
    mask_facts: dict[str, object],
    layouts: tuple[Layout, ...],
) -> Launch:
    """The launch of attention.cl.mako in one direction; `layouts`: all inputs and outputs, the first of q's dtype."""
    dtype, kind, backward = layouts[0].dtype, f"float{lanes}", family != "attention"
    body = render(
        "attention", backward=backward, parameters=parameters.text, W=lanes, V=kind, MR=config.tile_rows, NV=2,
        NO=config.tile_vectors, PITCH=config.pitch, PK=config.score_pitch, T=4, S=dtype.storage, load=_loader(dtype),
        store=_storer(dtype), across=_across(lanes), transpose=lambda rows: _transpose(rows, kind),
        causal=problem.causal, dropout=attrs[2] > 0, **mask_facts,
    )
    includes = ("math", "philox") if attrs[2] > 0 else ("math",)
    index = index_type(*layouts, extra=config.parts * layouts[0].numel)
    source = KernelSource(family, _INDEX.sub(index, body), includes, (1, 1, 1))
    traffic = float(sum(x.nbytes for x in layouts))
    return Launch(source, _with_index(parameters, index), groups, problem.flops(backward), traffic)


def _with_index(parameters: _Arguments, index: str) -> tuple[Argument, ...]:
    """The arguments, those of type `I` as `index`."""
    return tuple(Value(index, x.value) if isinstance(x, Value) and x.ctype == "I" else x for x in parameters.args)


def _sum_launch(
    problem: _Problem, dq: Layout, order: tuple[int, int, int], parts: int, part_keys: int, target: Target
) -> Launch:
    """dq from the parts of it in scratch: attention_sum.cl.mako."""
    lanes = target.vector_width
    parameters = _Arguments("I")
    parameters.read("parts", "float", Scratch(0))
    parameters.write("dq", dq.dtype.storage, Output(0))
    parameters.place("dq", dq, "bhl", order)
    rows = problem.batch * problem.heads * problem.rows
    groups = max(1, min(4 * target.compute_units, rows * problem.depth * parts // 16384))
    if target.loop_limit:
        groups = max(groups, up(rows * (parts + 1) * (problem.depth // lanes + lanes + 1), target.loop_limit))
    chunk = up(rows, groups)
    numbers = {"rows": rows, "chunk": chunk, "heads": problem.heads, "L": problem.rows, "D": problem.depth}
    for name, number in {**numbers, "count": parts, "part_keys": part_keys, "part_step": rows * problem.depth}.items():
        parameters.value(name, number)
    body = render(
        "attention_sum", parameters=parameters.text, W=lanes, V=f"float{lanes}", causal=problem.causal,
        S=dq.dtype.storage, store=_storer(dq.dtype),
    )
    index = index_type(dq, extra=parts * dq.numel)
    source = KernelSource("attention_sum", _INDEX.sub(index, body))
    traffic = float(4 * parts * dq.numel + dq.nbytes)
    return Launch(source, _with_index(parameters, index), (up(rows, chunk),), float(parts * dq.numel), traffic)


# ---- GPU forms


def _group_bytes(deepest: int) -> int:
    """Local memory of a GPU group: a tile of scores, one of slopes, sums of rows, facts of each row."""
    return 4 * (2 * _TILE * _TILE + 2 * _TILE * deepest + 4 * _TILE)


def _group_launch(
    stage: str,
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    problem: _Problem,
    target: Target,
) -> Launch:
    """attention_group.cl.mako: `stage` 'forward', or 'queries' (dq) and 'keys' (dk, dv) of the backward pass."""
    scale, causal, dropout_p, masked, _ = attrs
    order = _heads_order(attrs)
    forward = stage == "forward"
    parameters = _Arguments("I")
    names: tuple[tuple[str, str], ...] = (("q", "bhl"), ("k", "bhs"), ("v", "bhs"))
    names = names if forward else (("g", "bhl"), *names, ("out", "bhl"))
    for number, (name, dims) in enumerate(names):
        parameters.read(name, inputs[number].dtype.storage, Input(number))
        parameters.place(name, inputs[number], dims)
    if not forward:
        parameters.read("lse", "float", Input(5))
    results = {
        "forward": (("out", 0, "bhl"),),
        "queries": (("dq", 0, "bhl"),),
        "keys": (("dk", 1, "bhs"), ("dv", 2, "bhs")),
    }
    for name, number, dims in results[stage]:
        parameters.write(name, outputs[number].dtype.storage, Output(number))
        parameters.place(name, outputs[number], dims, order)
    if forward:
        parameters.write("lse", "float", Output(1))
    facts = _mask_parameters(inputs[-1] if masked else None, len(inputs) - 1, parameters)
    for name, number in (
        ("L", problem.rows), ("S", problem.keys), ("heads", problem.heads),
        ("sharing", problem.heads // problem.key_heads), ("D", problem.depth), ("DV", problem.value_depth),
    ):
        parameters.value(name, number)
    parameters.value("scale", scale * _LOG2_E, "float")
    parameters.value("factor", scale, "float")
    parameters.value("rescale", 1 / (1 - dropout_p), "float")
    if dropout_p:
        parameters.chance(dropout_p)
    items = min(_ITEMS, target.max_work_group)
    deepest = max(problem.depth, problem.value_depth)
    parameters.local("sums", "float", 4 * 2 * _TILE * deepest)
    dtype = inputs[0].dtype
    body = render(
        "attention_group", stage=stage, parameters=parameters.text, items=items, B=_TILE, S=dtype.storage,
        load=_loader(dtype), store=_storer(dtype), causal=bool(causal), dropout=dropout_p > 0, **facts,
    )
    index = index_type(*inputs, *outputs)
    includes = ("math", "philox") if dropout_p else ("math",)
    source = KernelSource(f"attention_{stage}", _INDEX.sub(index, body), includes, (items, 1, 1))
    heads, length = (problem.key_heads, problem.keys) if stage == "keys" else (problem.heads, problem.rows)
    traffic = float(sum(x.nbytes for x in (*inputs, *outputs)))
    size = (up(length, _TILE) * items, heads, problem.batch)
    return Launch(source, _with_index(parameters, index), size, problem.flops(not forward), traffic)
