"""Lowerings of recurrent layers: all steps of an LSTM, GRU or plain RNN, forward and backward, one direction or two.

Floor 1b. The projections of the inputs come as one matrix product made beforehand, and the gradients of weights are
matrix products over all steps made afterwards; what is here is the part that goes step by step: states times recurrent
weights, and the gates. Templates: recurrent_pack.cl.mako lays the recurrent weights out in panels, recurrent.cl.mako
runs the steps. `choose_config` says which work-group takes what; a text depends on kind, stage, types and tile only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import gcd

from ..dtypes import DType
from ..shapes import Layout
from ..target import Target
from .expression import chosen_includes
from .program import Epilogue
from .source import Input, KernelSource, Launch, Lowered, Output, Scratch, render
from .walk import Parameters, lanes, up

GATES = {"lstm": 4, "gru": 3, "tanh": 1, "relu": 1}
KEPT = {"lstm": 4, "gru": 4, "tanh": 1, "relu": 1}  # vectors per unit that the forward pass keeps for the backward one
_GPU_ITEMS = 128
_INDEX = re.compile(r"\bI\b")


@dataclass(frozen=True)
class Recurrence:
    """What a layer is, besides its layouts: the attributes of the records in ops/recurrent.py.

    Attributes:
        kind: 'lstm', 'gru', 'tanh' or 'relu'.
        directions: 1, or 2 with the second one running backwards in time.
        steps, batch: T and B (of a packed batch: the longest sequence, and how many there are).
        batch_first: rows stand batch by batch, not step by step.
        packed: rows stand step by step, as many per step as sequences last; the last operand gives where steps begin.
        biased: recurrent biases are given. `given`: initial states are given.
        saved: the forward pass keeps what the backward pass needs.
    """

    kind: str
    directions: int
    steps: int
    batch: int
    batch_first: bool = False
    packed: bool = False
    biased: bool = True
    given: bool = False
    saved: bool = False

    @property
    def gates(self) -> int:
        return GATES[self.kind]

    @property
    def kept(self) -> int:
        return KEPT[self.kind]


@dataclass(frozen=True)
class RecurrentConfig:
    """Who does what.

    Attributes:
        tile_m, tile_n: rows and vectors of a register tile.
        block_rows: rows of the batch per work-group, a multiple of tile_m.
        block_units: vectors of units per work-group; if not all of them, `steps` must be 1.
        steps: steps per launch.
    """

    tile_m: int
    tile_n: int
    block_rows: int
    block_units: int
    steps: int


def choose_config(form: Recurrence, units: int, per_unit: int, depth: int, target: Target) -> RecurrentConfig:
    """Sizes by rules measured with benchmarks/recurrent.py.

    Args:
        units: vectors of units. `per_unit`: vectors of sums per vector of units. `depth`: length of a sum.
    """
    batch = form.batch
    every = form.steps + 1
    if target.kind == "gpu":
        if up(batch, 4) * form.directions >= 2 * target.compute_units:
            return RecurrentConfig(4, 1, 4, units, every)
        return RecurrentConfig(4, 1, 4, min(units, max(1, _GPU_ITEMS // per_unit)), 1)
    most = 8 if target.vector_width >= 16 else 4
    tile_m = 1
    while tile_m < min(most, batch):
        tile_m *= 2
    tile_n = min(3 if tile_m >= 4 else 4, units * per_unit)
    if target.loop_limit:
        least = tile_n // gcd(tile_n, per_unit)  # vectors of units that fill whole panels
        room = target.loop_limit // 2 - tile_m * units * 2
        blocks = max(1, room // (depth + 4) * tile_n // per_unit // least)
        return RecurrentConfig(tile_m, tile_n, tile_m, min(units, blocks * least), 1)
    groups = max(1, up(target.compute_units, form.directions))
    return RecurrentConfig(tile_m, tile_n, up(up(batch, groups), tile_m) * tile_m, units, every)


def lower_recurrent(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
    config: RecurrentConfig | None = None,
) -> Lowered:
    """All steps forward.

    Args:
        inputs: per direction the projected inputs (rows, gates * H), then per direction the recurrent weights
            (gates * H, H), per direction the recurrent biases if `biased`, h0 and for LSTM c0 (directions, B, H) if
            `given`, and the rows at which steps begin (T + 1, int32) if `packed`. All but the weights contiguous.
        outputs: y (rows, directions * H), h_last, for LSTM c_last; if `saved` also the gates (directions, rows,
            kept * H), the states before each step (directions, rows, H), and for LSTM the cells before each step.
        attrs: (Recurrence,).

    **Dtypes** float32, float64.
    """
    return _lowered("forward", inputs, outputs, attrs[0], target, config)


def lower_recurrent_backward(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
    config: RecurrentConfig | None = None,
) -> Lowered:
    """All steps backward.

    Args:
        inputs: gradients of y, h_last and for LSTM c_last; the kept gates, for GRU the states before each step, for
            LSTM the cells before each step; per direction the recurrent weights; if `packed` the rows at which steps
            begin.
        outputs: gradients of the projected inputs (directions, rows, gates * H), for GRU those of the recurrent
            products (the same shape), of h0, and for LSTM of c0.
        attrs: (Recurrence,).
    """
    return _lowered("backward", inputs, outputs, attrs[0], target, config)


def _lowered(
    stage: str, inputs: tuple[Layout, ...], outputs: tuple[Layout, ...], form: Recurrence, target: Target,
    config: RecurrentConfig | None,
) -> Lowered:  # fmt: skip
    y = outputs[0] if stage == "forward" else inputs[0]
    if not (y.numel and form.batch and form.steps):
        return Lowered(())
    return _Lowering(stage, inputs, outputs, form, target, config).lowered()


class _Lowering:
    """One layer's launches: a packing of weights, then all steps at once or one by one."""

    def __init__(
        self, stage: str, inputs: tuple[Layout, ...], outputs: tuple[Layout, ...], form: Recurrence, target: Target,
        config: RecurrentConfig | None,
    ) -> None:  # fmt: skip
        self.stage, self.inputs, self.outputs, self.form, self.target = stage, inputs, outputs, form, target
        y = outputs[0] if stage == "forward" else inputs[0]
        self.dtype: DType = y.dtype
        self.hidden = y.shape[-1] // form.directions
        self.places = y.numel // y.shape[-1]
        self.width = lanes(self.dtype, target)
        self.units = up(self.hidden, self.width)
        self.per_unit = form.gates if stage == "forward" else 1
        self.depth = self.hidden if stage == "forward" else form.gates * self.hidden
        self.config = config or choose_config(form, self.units, self.per_unit, self.depth, target)
        self.vectors = self.units * self.per_unit
        self.panels = up(self.vectors, self.config.tile_n)
        self.row_blocks = up(form.batch, self.config.block_rows)
        rows = form.directions * self.row_blocks * self.config.block_rows
        self.pitch = self.depth + 16
        self.sum_pitch = self.panels * self.config.tile_n * self.width + 16
        self.packed_size = self.panels * self.config.tile_n * self.width * self.depth
        self.state_half, self.carry_half = rows * self.pitch, rows * self.hidden
        sizes = (form.directions * self.packed_size, 2 * self.state_half, rows * self.sum_pitch, 2 * self.carry_half)
        self.scratch = tuple(n * self.dtype.itemsize for n in sizes)
        self.index = "long" if max(*sizes, self.places * form.directions * form.kept * self.hidden) >= 2**30 else "int"
        self.gpu = target.kind == "gpu"
        if self.gpu:
            self.panel_step, self.k_step = self.config.tile_n, self.panels * self.config.tile_n
        else:
            self.panel_step = self.depth * self.config.tile_n * self.width
            self.k_step = self.config.tile_n * self.width

    def lowered(self) -> Lowered:
        end, per = self.form.steps + (self.stage == "backward"), self.config.steps
        spans = [(s, min(s + per, end), int(s == 0)) for s in range(0, end, per)]
        if self.config.block_units < self.units:  # nobody may move on before all groups have their initial states
            spans = [(0, 0, 1)] + [(begin, stop, 0) for begin, stop, _ in spans]
        return Lowered((self._pack(), *(self._steps(*span) for span in spans)), self.scratch)

    def _weights(self) -> int:
        """The number of the first recurrent weight among the inputs."""
        form = self.form
        if self.stage == "forward":
            return form.directions
        return {"lstm": 5, "gru": 4}.get(form.kind, 3)

    def _text(self) -> dict[str, object]:
        E, W = self.dtype.register, self.width
        return {
            "E": E, "W": W, "V": E if W == 1 else f"{E}{W}", "D": self.form.directions, "stage": self.stage,
            "NV": self.config.tile_n, "GV": self.per_unit,
        }  # fmt: skip

    def _pack(self) -> Launch:
        form, first, element = self.form, self._weights(), self.dtype.register
        parameters = Parameters(self.index)
        for d in range(form.directions):
            weight = self.inputs[first + d]
            parameters.read(f"weight{d}", element, Input(first + d))
            parameters.value(f"weight{d}_at", weight.offset)
            parameters.value(f"w{d}_row", weight.stride[0])
            parameters.value(f"w{d}_column", weight.stride[1])
        parameters.write("packed", element, Scratch(0))
        for name, number in (
            ("H", self.hidden), ("K", self.depth), ("panel_step", self.panel_step), ("k_step", self.k_step),
            ("packed_size", self.packed_size), ("vectors", self.vectors),
        ):  # fmt: skip
            parameters.value(name, number)
        items = 64 if self.gpu else 1
        body = render("recurrent_pack", parameters=parameters.text, items=items, **self._text())
        source = KernelSource("recurrent_pack", _typed(body, self.index), (), (items, 1))
        count = up(self.vectors * self.depth, items) * items if self.gpu else self.panels
        nbytes = float(2 * self.scratch[0])
        return Launch(source, parameters.args, (count, form.directions), 0.0, nbytes)

    def _steps(self, begin: int, end: int, starts: int) -> Launch:
        form, config = self.form, self.config
        parameters = Parameters(self.index)
        setup = self._buffers(parameters)
        blocks = up(self.units, config.block_units) if end > begin else 1
        for name, number in (
            ("H", self.hidden), ("K", self.depth), ("B", form.batch), ("T", form.steps), ("places", self.places),
            ("units", self.units), ("block_rows", config.block_rows), ("block_units", config.block_units),
            ("rows_padded", self.row_blocks * config.block_rows), ("pitch", self.pitch),
            ("sum_pitch", self.sum_pitch), ("state_half", self.state_half), ("carry_half", self.carry_half),
            ("packed_size", self.packed_size), ("panel_step", self.panel_step), ("k_step", self.k_step),
            ("y_pitch", form.directions * self.hidden), ("s_begin", begin), ("s_end", end), ("starts", starts),
        ):  # fmt: skip
            parameters.value(name, number)
        if not form.packed:
            parameters.value("step_t", 1 if form.batch_first else form.batch)
            parameters.value("place_b", form.steps if form.batch_first else 1)
        items = _GPU_ITEMS if self.gpu else 1
        W, GV = self.width, self.per_unit

        def sum_of(w: int, gate: int) -> str:
            if w == 1 and W > 1:
                return f"sums[r * sum_pitch + (u / {W} * {GV} + {gate}) * {W} + u % {W}]"
            return f"vec_load{w}(sums + r * sum_pitch + u * {GV} + {gate * W})"

        body = render(
            "recurrent", parameters=parameters.text, setup=setup, items=items, kind=form.kind, R=config.tile_m,
            G=form.gates, SG=form.kept, biased=form.biased, given=form.given, saved=form.saved,
            packed_batch=form.packed, sum_of=sum_of, load=lambda w, pointer: f"vec_load{w}({pointer})",
            store=lambda w, value, pointer: f"vec_store{w}({value}, {pointer});", **self._text(),
        )  # fmt: skip
        includes = chosen_includes(("math",)) if form.kind != "relu" else ()
        source = KernelSource(f"recurrent_{self.stage}", _typed(body, self.index), includes, (items, 1, 1))
        size = (blocks * items, self.row_blocks, form.directions)
        part = (end - begin) / form.steps
        flops = 2.0 * form.directions * self.places * form.gates * self.hidden * self.hidden * part
        nbytes = float(sum(x.nbytes for x in (*self.inputs, *self.outputs))) * part
        return Launch(source, parameters.args, size, flops, nbytes)

    def _buffers(self, parameters: Parameters) -> str:
        """Adds all buffers; returns C text that finds where a direction's part of them begins."""
        form, element = self.form, self.dtype.register
        inputs, outputs = iter(range(len(self.inputs))), iter(range(len(self.outputs)))
        D = form.directions

        def read(name: str, kind: str = element) -> None:
            number = next(inputs)
            parameters.read(name, kind, Input(number))
            parameters.value(f"{name}_at", self.inputs[number].offset)

        def write(*names: str) -> None:
            for name in names:
                parameters.write(name, element, Output(next(outputs)))

        lstm, gru = form.kind == "lstm", form.kind == "gru"
        if self.stage == "forward":
            for d in range(D):
                read(f"X{d}")
            for _ in range(D):
                next(inputs)
            for d in range(D if form.biased else 0):
                read(f"bias{d}")
            for name in (("h0", "c0") if lstm else ("h0",)) if form.given else ():
                read(name)
            write("Y", "h_last", *(("c_last",) if lstm else ()))
            if form.saved:
                write("gates", "previous", *(("cells",) if lstm else ()))
        else:
            for name in ("dY", "dh_last", *(("dc_last",) if lstm else ()), "gates", *(("previous",) if gru else ())):
                read(name)
            if lstm:
                read("cells")
            for _ in range(D):
                next(inputs)
            write("dX", *(("dH",) if gru else ()), "dh_first", *(("dc_first",) if lstm else ()))
        if form.packed:
            read("offsets", "int")
        parameters.read("packed", element, Scratch(0))
        for number, name in enumerate(("states", "all_sums", "carries"), 1):
            parameters.shared(name, element, Scratch(number))
        if self.stage == "forward":
            both = "direction ? {0}1_at : {0}0_at" if D == 2 else "{0}0_at"
            names = ("X", "bias") if form.biased else ("X",)
            return "\n".join(f"  const I {name.lower()}_at = {both.format(name)};" for name in names)
        return ""


def _typed(body: str, index: str) -> str:
    """A text in which the word `I` has become the index type."""
    return _INDEX.sub(index, body)
