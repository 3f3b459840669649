"""Records of the recurrent layers: all steps of an LSTM, GRU or plain RNN at once, and their gradient.

Floor 2. The attribute of both is a `Recurrence` of codegen/recurrent.py. Only the functions of nn record them; products
with weights other than the recurrent ones, and gradients of weights, are ordinary matrix products there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..codegen import recurrent as lowering
from ..codegen.recurrent import Recurrence
from ..dtypes import DType
from ..shapes import Layout
from .table import CUSTOM, Op, register

Result = tuple[tuple[DType, tuple[int, ...]], ...]

_FACTS: dict[str, Any] = {
    "kind": CUSTOM,
    "categories": "f",
    "promote": "none",
    "method": False,
    "inplace": False,
    "function": False,
    "why": "part of a function of nn, which has its own backward",
}


def _infer(layouts: tuple[Layout, ...], attrs: tuple) -> Result:
    form: Recurrence = attrs[0]
    x = layouts[0]
    hidden, rows, D = x.shape[-1] // form.gates, x.shape[:-1], form.directions
    state = (x.dtype, (D, form.batch, hidden))
    out = [(x.dtype, (*rows, D * hidden)), state, *([state] if form.kind == "lstm" else [])]
    if form.saved:
        before = (x.dtype, (D, *rows, hidden))
        out += [(x.dtype, (D, *rows, form.kept * hidden)), before, *([before] if form.kind == "lstm" else [])]
    return tuple(out)


def _infer_backward(layouts: tuple[Layout, ...], attrs: tuple) -> Result:
    form: Recurrence = attrs[0]
    y = layouts[0]
    D = form.directions
    hidden, rows = y.shape[-1] // D, y.shape[:-1]
    slopes, state = (y.dtype, (D, *rows, form.gates * hidden)), (y.dtype, (D, form.batch, hidden))
    return (slopes, *((slopes,) if form.kind == "gru" else ()), state, *((state,) if form.kind == "lstm" else ()))


# ---- references


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _order(form: Recurrence, starts: np.ndarray | None, direction: int, shape: tuple[int, ...]) -> list[np.ndarray]:
    """Per step, in the order of this direction, the flat rows of its batch members."""
    if starts is not None:
        steps = [np.arange(a, b) for a, b in zip(starts[:-1], starts[1:])]
    else:
        rows = np.arange(int(np.prod(shape))).reshape(shape)
        steps = list(rows.T if form.batch_first else rows)
    return steps[::-1] if direction else steps


def recurrent_reference(*arrays: np.ndarray, form: Recurrence) -> tuple[np.ndarray, ...]:
    """Step after step. Arguments as `lower_recurrent`."""
    rest, D = list(arrays), form.directions

    def take(n: int) -> list[np.ndarray]:
        taken = rest[:n]
        del rest[:n]
        return taken

    projected, weights = take(D), take(D)
    hidden = weights[0].shape[1]
    dtype = projected[0].dtype
    biases = take(D) if form.biased else [np.zeros(form.gates * hidden, dtype)] * D
    zero = np.zeros((D, form.batch, hidden), dtype)
    h0 = take(1)[0] if form.given else zero
    c0 = take(1)[0] if form.given and form.kind == "lstm" else zero
    starts = rest[0] if form.packed else None
    shape = projected[0].shape[:-1]
    y = np.zeros((int(np.prod(shape)), D * hidden), dtype)
    last, cells_last = np.zeros_like(h0), np.zeros_like(c0)
    count = y.shape[0]
    gates = np.zeros((D, count, form.kept * hidden), dtype)
    before, cells = np.zeros((D, count, hidden), dtype), np.zeros((D, count, hidden), dtype)
    for d in range(D):
        x = projected[d].reshape(count, -1)
        h, c = h0[d].copy(), c0[d].copy()
        for places in _order(form, starts, d, shape):
            n = len(places)
            before[d, places], cells[d, places] = h[:n], c[:n]
            z = h[:n] @ weights[d].T + biases[d]
            if form.kind == "lstm":
                i, f, g, o = np.split(z + x[places], 4, -1)
                i, f, g, o = _sigmoid(i), _sigmoid(f), np.tanh(g), _sigmoid(o)
                c[:n] = f * c[:n] + i * g
                h[:n] = o * np.tanh(c[:n])
                gates[d, places] = np.concatenate([i, f, g, o], -1)
            elif form.kind == "gru":
                r, u, inside = np.split(z, 3, -1)
                xr, xu, xn = np.split(x[places], 3, -1)
                r, u = _sigmoid(r + xr), _sigmoid(u + xu)
                new = np.tanh(xn + r * inside)
                h[:n] = (1 - u) * new + u * h[:n]
                gates[d, places] = np.concatenate([r, u, new, inside], -1)
            else:
                z = z + x[places]
                h[:n] = np.tanh(z) if form.kind == "tanh" else np.maximum(z, 0)
                gates[d, places] = h[:n]
            y[places, d * hidden : (d + 1) * hidden] = h[:n]
        last[d], cells_last[d] = h, c
    lstm = form.kind == "lstm"
    out = [y.reshape(*shape, -1), last, *([cells_last] if lstm else [])]
    if form.saved:
        out += [gates.reshape(D, *shape, -1), before.reshape(D, *shape, -1)]
        out += [cells.reshape(D, *shape, -1)] if lstm else []
    return tuple(out)


def recurrent_backward_reference(*arrays: np.ndarray, form: Recurrence) -> tuple[np.ndarray, ...]:
    """Step after step, from the last one. Arguments as `lower_recurrent_backward`."""
    rest, D, lstm, gru = list(arrays), form.directions, form.kind == "lstm", form.kind == "gru"
    dy, dh_last = rest.pop(0), rest.pop(0)
    dc_last = rest.pop(0) if lstm else np.zeros_like(dh_last)
    gates = rest.pop(0)
    before = rest.pop(0) if gru else None
    cells = rest.pop(0) if lstm else None
    weights = rest[:D]
    starts = rest[D] if form.packed else None
    shape, hidden = dy.shape[:-1], dy.shape[-1] // D
    count = int(np.prod(shape))
    dy = dy.reshape(count, -1)
    slopes = np.zeros((D, count, form.gates * hidden), dy.dtype)
    inner = slopes.copy()
    dh_first, dc_first = dh_last.copy(), dc_last.copy()
    for d in range(D):
        dh, dc = dh_first[d], dc_first[d]
        for places in _order(form, starts, d, shape)[::-1]:
            n = len(places)
            kept = np.split(gates.reshape(D, count, -1)[d, places], form.kept, -1)
            g = dy[places, d * hidden : (d + 1) * hidden] + dh[:n]
            straight: Any = 0
            if lstm:
                i, f, u, o = kept
                assert cells is not None
                old = cells.reshape(D, count, -1)[d, places]
                shown = np.tanh(f * old + i * u)
                e = dc[:n] + g * o * (1 - shown**2)
                parts = [e * u * i * (1 - i), e * old * f * (1 - f), e * i * (1 - u**2), g * shown * o * (1 - o)]
                dc[:n] = e * f
                slopes[d, places] = inner[d, places] = np.concatenate(parts, -1)
            elif gru:
                r, z, new, inside = kept
                assert before is not None
                old = before.reshape(D, count, -1)[d, places]
                dn, dz = g * (1 - z) * (1 - new**2), g * (old - new) * z * (1 - z)
                dr = dn * inside * r * (1 - r)
                slopes[d, places] = np.concatenate([dr, dz, dn], -1)
                inner[d, places] = np.concatenate([dr, dz, dn * r], -1)
                straight = g * z
            else:
                slopes[d, places] = inner[d, places] = g * (1 - kept[0] ** 2 if form.kind == "tanh" else kept[0] > 0)
            dh[:n] = inner[d, places] @ weights[d] + straight
    out = [slopes.reshape(D, *shape, -1), *([inner.reshape(D, *shape, -1)] if gru else []), dh_first]
    return (*out, dc_first) if lstm else tuple(out)


RECURRENT = register(
    Op(
        "_recurrent",
        arity=-1,
        infer=_infer,
        lower=lowering.lower_recurrent,
        reference=recurrent_reference,
        doc="All steps of a recurrent layer from its projected inputs: results, last states, what backward needs.",
        source="Hochreiter and Schmidhuber, 1997; Cho et al., 2014; Elman, 1990",
        **_FACTS,
    )
)
RECURRENT_BACKWARD = register(
    Op(
        "_recurrent_backward",
        arity=-1,
        infer=_infer_backward,
        lower=lowering.lower_recurrent_backward,
        reference=recurrent_backward_reference,
        doc="Gradients of the projected inputs and the initial states of `_recurrent`.",
        **_FACTS,
    )
)
