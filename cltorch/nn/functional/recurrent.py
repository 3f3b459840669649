"""Recurrent layers and cells as functions: lstm, gru, rnn_tanh, rnn_relu and one step of each.

Floor 7. A layer is one node of the graph: the inputs of all steps are projected in one matrix product, the steps run in
one kernel (ops/recurrent.py), and the gradients of weights are matrix products over all steps. Second derivatives, and
LSTMs with projections, are composed of cells step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ... import dtypes
from ...autograd import Function, enable_grad
from ...autograd import grad as gradients
from ...autograd.modes import state
from ...copies import cat, stack
from ...direct import run, transposed
from ...functions.creation import tensor
from ...functions.nodes import differentiates
from ...ops.contraction import MATMUL
from ...ops.recurrent import RECURRENT, RECURRENT_BACKWARD, Recurrence
from ...ops.reductions import SUM
from ...shapes import layout
from ...tensor import Tensor, make
from .affine import linear
from .noise import dropout

_NARROW = (dtypes.float16, dtypes.bfloat16)
Weights = tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]  # w_ih, w_hh, b_ih, b_hh, w_hr


# ---- one step


def _lstm_step(gates: Tensor, c: Tensor, project: Tensor | None = None) -> tuple[Tensor, Tensor]:
    i, f, g, o = gates.chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    h = o.sigmoid() * c.tanh()
    return (h if project is None else linear(h, project)), c


def _gru_step(projected: Tensor, inside: Tensor, h: Tensor) -> Tensor:
    (r, z, n), (hr, hz, hn) = projected.chunk(3, -1), inside.chunk(3, -1)
    n = (n + (r + hr).sigmoid() * hn).tanh()
    return n + (z + hz).sigmoid() * (h - n)


def _check_cell(name: str, gates: int, input: Tensor, hidden: Sequence[Tensor], w_ih: Tensor, w_hh: Tensor) -> None:
    """Raise PyTorch's errors about sizes that do not fit."""
    if input.shape[-1] != w_ih.shape[1]:
        raise RuntimeError(f"input has inconsistent input_size: got {input.shape[-1]} expected {w_ih.shape[1]}")
    for number, h in enumerate(hidden):
        if h.dim() != input.dim() or h.shape[:-1] != input.shape[:-1]:
            raise RuntimeError(
                f"Input batch size {input.shape[0] if input.dim() > 1 else 1} doesn't match hidden{number} batch size "
                f"{h.shape[0] if h.dim() > 1 else 1}"
            )
        if h.shape[-1] != w_hh.shape[1]:
            raise RuntimeError(
                f"hidden{number} has inconsistent hidden_size: got {h.shape[-1]}, expected {w_hh.shape[1]}"
            )
    if w_ih.shape[0] != gates * w_hh.shape[1]:
        raise RuntimeError(
            f"{name}: w_ih: got {w_ih.shape[0]} rows, wanted {gates} times the hidden size {w_hh.shape[1]}"
        )


def lstm_cell(
    input: Tensor, hx: Sequence[Tensor], w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """One step of an LSTM: c' = sigmoid(f) c + sigmoid(i) tanh(g), h' = sigmoid(o) tanh(c').

    Shape: input (N, I) or (I,), hx two of (N, H) or (H,), w_ih (4 H, I), w_hh (4 H, H), biases (4 H,); results like hx.
    """
    h, c = hx
    _check_cell("lstm_cell", 4, input, (h, c), w_ih, w_hh)
    return _lstm_step(linear(input, w_ih, b_ih) + linear(h, w_hh, b_hh), c)


def gru_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:
    """One step of a GRU: h' = (1 - z) n + z h, n = tanh(x_n + sigmoid(r) h_n).

    Shape: input (N, I) or (I,), hx (N, H) or (H,), w_ih (3 H, I), w_hh (3 H, H), biases (3 H,); result like hx.
    """
    _check_cell("gru_cell", 3, input, (hx,), w_ih, w_hh)
    return _gru_step(linear(input, w_ih, b_ih), linear(hx, w_hh, b_hh), hx)


def rnn_tanh_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh). Shape: as `gru_cell`, with one gate."""
    _check_cell("rnn_tanh_cell", 1, input, (hx,), w_ih, w_hh)
    return (linear(input, w_ih, b_ih) + linear(hx, w_hh, b_hh)).tanh()


def rnn_relu_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:
    """h' = relu(W_ih x + b_ih + W_hh h + b_hh). Shape: as `gru_cell`, with one gate."""
    _check_cell("rnn_relu_cell", 1, input, (hx,), w_ih, w_hh)
    return (linear(input, w_ih, b_ih) + linear(hx, w_hh, b_hh)).relu()


# ---- a layer, composed of steps


def _composed(
    form: Recurrence, counts: Sequence[int] | None, x: Tensor, h0: Tensor | None, c0: Tensor | None,
    weights: Sequence[Weights],
) -> tuple[Tensor, ...]:  # fmt: skip
    """A layer of differentiable steps: y, h_last, and for LSTM c_last.

    Args:
        x: (T, B, I), (B, T, I) if `form.batch_first`, or (rows, I) with `counts`, how many rows each step has.
    """
    found = []
    for d in range(form.directions):
        h, c = (None if s is None else s[d] for s in (h0, c0))
        found.append(_composed_direction(form, counts, x, h, c, weights[d], d == 1))
    ys, *last = zip(*found)
    y = ys[0] if len(ys) == 1 else cat(ys, -1)
    return (y, *(stack(each) for each in last))


def _composed_direction(
    form: Recurrence, counts: Sequence[int] | None, x: Tensor, h: Tensor | None, c: Tensor | None, weights: Weights,
    reverse: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    w_ih, w_hh, b_ih, b_hh, w_hr = weights
    projected = linear(x, w_ih, b_ih)
    if counts is not None:
        steps = list(projected.split(list(counts)))
    else:
        steps = list(projected.unbind(1 if form.batch_first else 0))
    lstm = form.kind == "lstm"
    states = [x.new_zeros((form.batch, w_hh.shape[1])) if h is None else h]
    if lstm:
        states.append(x.new_zeros((form.batch, w_hh.shape[0] // 4)) if c is None else c)
    outs = []
    for step in steps[::-1] if reverse else steps:
        n = step.shape[0]
        active = [s if s.shape[0] == n else s[:n] for s in states]
        inside = linear(active[0], w_hh, b_hh)
        if lstm:
            moved = list(_lstm_step(step + inside, active[1], w_hr))
        elif form.kind == "gru":
            moved = [_gru_step(step, inside, active[0])]
        else:
            moved = [(step + inside).tanh() if form.kind == "tanh" else (step + inside).relu()]
        states = [m if s.shape[0] == n else cat((m, s[n:])) for m, s in zip(moved, states)]
        outs.append(moved[0])
    outs = outs[::-1] if reverse else outs
    y = cat(outs) if counts is not None else stack(outs, 1 if form.batch_first else 0)
    return (y, *states)


# ---- a layer as one node


class _Layer(Function):
    """One layer, one or two directions.

    Operands: form, counts, starts, x, h0, c0, then w_ih, w_hh, b_ih, b_hh of each direction.
    """

    @staticmethod
    def forward(ctx: Any, form: Recurrence, counts: Any, starts: Any, x: Tensor, *rest: Any) -> tuple[Tensor, ...]:
        h0, c0, *params = rest
        weights = [params[d * 4 : d * 4 + 4] for d in range(form.directions)]
        operands = [linear(x, w[0], w[2]).contiguous() for w in weights]
        operands += [w[1] for w in weights]
        operands += [w[3] for w in weights if w[3] is not None]
        operands += [s.contiguous() for s in (h0, c0) if s is not None]
        operands += [] if starts is None else [starts]
        results = run(RECURRENT, tuple(operands), (form,))
        ends = 3 if form.kind == "lstm" else 2
        ctx.form, ctx.counts, ctx.given = form, counts, len(rest)
        ctx.save_for_backward(x, *rest, starts, *results[ends:])
        return results[:ends]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        form, saved = ctx.form, ctx.saved_tensors
        x, h0, c0, *rest = saved
        params, (starts, gates, before, *cells) = rest[: ctx.given - 2], rest[ctx.given - 2 :]
        weights = [params[d * 4 : d * 4 + 4] for d in range(form.directions)]
        if state.grad:
            return _again(ctx, x, h0, c0, weights, grads)
        on_x, on_h, on_c, *needs = ctx.needs_input_grad[3:]
        operands = [*(g.contiguous() for g in grads), gates]
        operands += [before] if form.kind == "gru" else cells
        operands += [w[1] for w in weights]
        operands += [] if starts is None else [starts]
        slopes, *others = run(RECURRENT_BACKWARD, tuple(operands), (form,))
        inner = others.pop(0) if form.kind == "gru" else slopes
        flat = x.reshape(-1, x.shape[-1])
        found: list[Any] = []
        dx = None
        for d, (w_ih, _, _, _) in enumerate(weights):
            outer, inside = _rows(slopes, d), _rows(inner, d)
            if on_x:
                part = run(MATMUL, (outer, w_ih))
                dx = part if dx is None else dx + part
            of_w_ih, of_w_hh, of_b_ih, of_b_hh = needs[d * 4 : d * 4 + 4]
            found += [
                run(MATMUL, (transposed(outer), flat)) if of_w_ih else None,
                run(MATMUL, (transposed(inside), _rows(before, d))) if of_w_hh else None,
                run(SUM, (outer,), ((0,), False)) if of_b_ih else None,
                run(SUM, (inside,), ((0,), False)) if of_b_hh else None,
            ]
        dx = None if dx is None else dx.reshape(x.shape)
        return (None, None, None, dx, others[0] if on_h else None, others[1] if on_c else None, *found)


def _rows(t: Tensor, direction: int) -> Tensor:
    """What belongs to one direction of (directions, ..., width), as a matrix."""
    width = t._layout.shape[-1]
    count = t._layout.numel // t._layout.shape[0] // width
    return make(t._storage, layout(t._layout.dtype, (count, width), None, direction * count * width))


def _again(ctx: Any, x: Tensor, h0: Any, c0: Any, weights: Sequence[Any], grads: Sequence[Tensor]) -> tuple:
    """Gradients that can be differentiated again: those of the layer composed of steps."""
    operands = [x, h0, c0, *(w for each in weights for w in each)]
    wanted = [t for t, need in zip(operands, ctx.needs_input_grad[3:]) if need]
    with enable_grad():
        outs = _composed(ctx.form, ctx.counts, x, h0, c0, [(*w, None) for w in weights])  # type: ignore[misc]
        found = iter(gradients(outs, wanted, list(grads), create_graph=True, allow_unused=True))
    return (None, None, None, *(next(found) if need else None for need in ctx.needs_input_grad[3:]))


# ---- whole networks


def network(
    kind: str, x: Tensor, counts: tuple[int, ...] | None, hx: Sequence[Tensor | None], params: Sequence[Tensor],
    has_biases: bool, num_layers: int, dropout_p: float, train: bool, bidirectional: bool, batch_first: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    """y and the last states of all layers. `hx`: h0 and for LSTM c0, or None each."""
    D = 2 if bidirectional else 1
    per = (4 if has_biases else 2) + (len(params) == num_layers * D * (5 if has_biases else 3))
    if len(params) != num_layers * D * per:
        raise RuntimeError(f"{kind}: params: got {len(params)} tensors, wanted {num_layers * D * per}")
    dtype = x.dtype
    if dtype in _NARROW:
        wide = [None if t is None else t.float() for t in (*hx, *params)]
        hx, params = wide[: len(hx)], wide[len(hx) :]  # type: ignore[assignment]
        x = x.float()
    if counts is None:
        batch_dim, time_dim = (0, 1) if batch_first else (1, 0)
        batch, steps = x.shape[batch_dim], x.shape[time_dim]
        starts = None
    else:
        batch, steps = counts[0] if counts else 0, len(counts)
        rows = [0]
        for n in counts:
            rows.append(rows[-1] + n)
        starts = tensor(rows, dtype=dtypes.int32, device=x.device)
    if not steps:
        raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
    lasts: list[tuple[Tensor, ...]] = []
    for at in range(num_layers):
        given = [None if s is None else s[at * D : at * D + D] for s in hx]
        of_layer = params[at * D * per : (at + 1) * D * per]
        weights = [_unpacked(of_layer[d * per : d * per + per], has_biases) for d in range(D)]
        x, *last = _layer(
            Recurrence(kind, D, steps, batch, batch_first, counts is not None, has_biases, given[0] is not None),
            counts, starts, x, given, weights,
        )  # fmt: skip
        lasts.append(tuple(last))
        if dropout_p and train and at + 1 < num_layers:
            x = dropout(x, dropout_p, True)
    states = [each[0] if num_layers == 1 else cat(each) for each in zip(*lasts)]
    if dtype in _NARROW:
        return tuple(t.to(dtype) for t in (x, *states))
    return (x, *states)


def _unpacked(params: Sequence[Tensor], biased: bool) -> Weights:
    w_ih, w_hh, *rest = params
    b_ih, b_hh = (rest.pop(0), rest.pop(0)) if biased else (None, None)
    return w_ih, w_hh, b_ih, b_hh, rest[0] if rest else None


def _layer(
    form: Recurrence, counts: tuple[int, ...] | None, starts: Tensor | None, x: Tensor, given: Sequence[Tensor | None],
    weights: Sequence[Weights],
) -> tuple[Tensor, ...]:  # fmt: skip
    h0, c0 = (*given, None)[:2]
    if weights[0][4] is not None or not form.batch:
        return _composed(form, counts, x, h0, c0, weights)
    flat = [w for each in weights for w in each[:4]]
    form = replace(form, saved=differentiates(x, h0, c0, *flat))
    return _Layer.apply(form, counts, starts, x, h0, c0, *flat)


def _counts(batch_sizes: Tensor) -> tuple[int, ...]:
    if batch_sizes.dim() != 1:
        raise RuntimeError(f"batch_sizes: got {batch_sizes.dim()} dimensions, wanted 1")
    return tuple(batch_sizes.tolist())


def _called(kind: str, given: tuple, named: dict[str, Any]) -> tuple[Tensor, ...]:
    """A call in one of PyTorch's two forms: padded (input, hx, params, has_biases, num_layers, dropout, train,
    bidirectional, batch_first) or packed (data, batch_sizes, hx, params, has_biases, num_layers, dropout, train,
    bidirectional)."""
    rest = ("params", "has_biases", "num_layers", "dropout", "train", "bidirectional")
    many = (list, tuple)
    packed = "batch_sizes" in named or len(given) > 2 and isinstance(given[2], many if kind == "lstm" else Tensor)
    packed = packed and not (kind == "lstm" and len(given) > 1 and isinstance(given[1], many))
    names = ("data", "batch_sizes", "hx", *rest) if packed else ("input", "hx", *rest, "batch_first")
    if len(given) > len(names):
        raise TypeError(f"{kind}(): got {len(given)} positional arguments, wanted at most {len(names)}")
    found = {**dict(zip(names, given)), **named}
    missing = [name for name in names if name not in found]
    if missing or len(found) > len(names):
        raise TypeError(f"{kind}(): got {', '.join(found)}, wanted {', '.join(names)}")
    hx = found["hx"]
    states = tuple(hx) if kind == "lstm" else (hx,)
    return network(
        kind, found["data" if packed else "input"], _counts(found["batch_sizes"]) if packed else None, states,
        found["params"], found["has_biases"], found["num_layers"], found["dropout"], found["train"],
        found["bidirectional"], found.get("batch_first", False),
    )  # fmt: skip


def _named(kind: str, name: str, states: str) -> Callable[..., tuple[Tensor, ...]]:
    def whole(*args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        return _called(kind, args, kwargs)

    whole.__name__ = whole.__qualname__ = name
    whole.__doc__ = f"""All layers of nn.{name.split("_")[0].upper()} over whole sequences.

    {name}(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first), or
    {name}(data, batch_sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional) for a packed batch.

    Args:
        hx: {states}, (layers * directions, B, H).
        params: per layer and direction w_ih, w_hh, and with biases b_ih, b_hh.

    Returns:
        the last layer's results of all steps, and the last states of all layers.
    """
    return whole


lstm = _named("lstm", "lstm", "h0 and c0")
gru = _named("gru", "gru", "h0")
rnn_tanh = _named("tanh", "rnn_tanh", "h0")
rnn_relu = _named("relu", "rnn_relu", "h0")
