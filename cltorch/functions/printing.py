"""How a tensor is shown: PyTorch's format, with its precision, summarisation and scientific mode.

Floor 6. Reads the values (waits for the device) and formats them on the host.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes
from ..tensor import Tensor

__all__ = ["set_printoptions", "get_printoptions"]

_DEFAULTS: dict[str, Any] = {"precision": 4, "threshold": 1000.0, "edgeitems": 3, "linewidth": 80, "sci_mode": None}
_PROFILES: dict[str, dict[str, Any]] = {
    "default": {},
    "short": {"precision": 2, "edgeitems": 2},
    "full": {"threshold": math.inf},
}
_options: dict[str, Any] = dict(_DEFAULTS)


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors are shown.

    Args:
        precision: digits after the point.
        threshold: number of elements above which the middle is left out.
        edgeitems: how many elements are shown at each end then.
        linewidth: characters per line.
        profile: 'default', 'short' or 'full' to begin from.
        sci_mode: True or False forces scientific notation on or off; otherwise the values decide.

    **Raises** ValueError for an unknown profile.
    """
    if profile is not None:
        if profile not in _PROFILES:
            raise ValueError(f"set_printoptions: profile: got {profile!r}, wanted one of {', '.join(_PROFILES)}")
        _options.update(_DEFAULTS, **_PROFILES[profile])
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    _options.update({name: value for name, value in given.items() if value is not None})
    _options["sci_mode"] = sci_mode


def get_printoptions() -> dict[str, Any]:
    """The options in force."""
    return dict(_options)


class _Format:
    """Turns elements into texts of one width."""

    def __init__(self, values: np.ndarray):
        self.floating = values.dtype.kind == "f"
        self.integral = self.scientific = False
        values = values.reshape(-1)
        if not self.floating:
            self.width = max((len(str(v)) for v in values.tolist()), default=1)
            return
        values = values.astype(np.float64)
        sizes = np.abs(values[np.isfinite(values) & (values != 0)])
        precision, wanted = _options["precision"], _options["sci_mode"]
        if not sizes.size:
            self.integral = True
        else:
            low, high = float(sizes.min()), float(sizes.max())
            self.integral = bool((sizes == np.ceil(sizes)).all())
            self.scientific = high / low > 1000.0 or high > 1e8 or (not self.integral and low < 1e-4)
        if wanted is not None:
            self.scientific = wanted
        self.precision = precision
        self.width = max((len(self._plain(v)) for v in values[np.isfinite(values) & (values != 0)].tolist()), default=1)

    def _plain(self, value: float) -> str:
        if self.scientific:
            return f"{value:.{self.precision}e}"
        if not math.isfinite(value):
            return str(value)
        return f"{value:.0f}." if self.integral else f"{value:.{self.precision}f}"

    def __call__(self, value: Any) -> str:
        text = self._plain(value) if self.floating else str(value)
        return text.rjust(self.width)


def _rows(values: np.ndarray, show: _Format, indent: int, summarise: bool) -> str:
    edge = _options["edgeitems"]
    cut = summarise and values.ndim > 0 and values.shape[0] > 2 * edge
    if values.ndim == 0:
        return show(values.item())
    if values.ndim == 1:
        per_line = max(1, int(math.floor((_options["linewidth"] - indent) / (show.width + 2))))
        texts = [show(v) for v in (values[:edge].tolist() if cut else values.tolist())]
        if cut:
            texts += [" ...", *(show(v) for v in values[len(values) - edge :].tolist())]
        lines = [", ".join(texts[i : i + per_line]) for i in range(0, len(texts), per_line)]
        return "[" + f",\n{' ' * (indent + 1)}".join(lines) + "]"
    kept: list[Any] = list(range(values.shape[0]))
    if cut:
        kept = [*kept[:edge], None, *kept[values.shape[0] - edge :]]
    parts = ["..." if i is None else _rows(values[i], show, indent + 1, summarise) for i in kept]
    return "[" + ("," + "\n" * (values.ndim - 1) + " " * (indent + 1)).join(parts) + "]"


def _suffix(x: Tensor) -> list[str]:
    shown = []
    if x.numel() == 0 and x.dim() != 1:
        shown.append(f"size={tuple(x.shape)}")
    usual = x.dtype in (dtypes.get_default_dtype(), dtypes.int64, dtypes.bool_)
    if not usual or (x.numel() == 0 and x.dtype is not dtypes.get_default_dtype()):
        shown.append(f"dtype={x.dtype}")
    if x.grad_fn is not None:
        shown.append(f"grad_fn=<{x.grad_fn.name()}>")
    elif x.requires_grad:
        shown.append("requires_grad=True")
    return shown


def tensor_repr(x: Tensor, indent: int = 0, prefix: str = "tensor(") -> str:
    """The text of `repr(x)`: values, then size, dtype, grad_fn or requires_grad where they are not the usual ones."""
    indent += len(prefix)
    if x.numel() == 0:
        values = "[]"
    else:
        summarise = x.numel() > _options["threshold"]
        array = x.detach()._array() if not summarise else _summary(x.detach())
        values = _rows(array, _Format(array), indent, summarise)
    text = prefix + values
    last = len(text) - text.rfind("\n") - 1
    for piece in _suffix(x):
        if last + len(piece) + 2 > _options["linewidth"]:
            text += f",\n{' ' * indent}{piece}"
            last = indent + len(piece)
        else:
            text += f", {piece}"
            last += len(piece) + 2
    return text + ")"


def _summary(x: Tensor) -> np.ndarray:
    """The corners of a large tensor, one element standing for each middle that is left out."""
    edge = _options["edgeitems"]
    wide = [d for d in range(x.dim()) if x.shape[d] > 2 * edge]
    if not wide:
        return x._array()
    d = wide[0]
    parts = [x.narrow(d, 0, edge), x.narrow(d, x.shape[d] - edge, edge)]
    ends = [_summary(p) if len(wide) > 1 else p._array() for p in parts]
    array = np.concatenate(ends, axis=d)
    return np.insert(array, edge, np.take(array, 0, axis=d), axis=d)


def _repr(x: Tensor, *, tensor_contents: Any = None) -> str:
    return tensor_repr(x) if type(x) is Tensor else tensor_repr(x, prefix=f"{type(x).__name__}(")


Tensor.__repr__ = _repr  # type: ignore[method-assign, assignment]
