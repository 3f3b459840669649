"""Functions of the package: composites, and what is derived from the table.

Floor 6. Importing this room puts all methods and operators on Tensor. A composite stands before the form derived from
a record of the same name. `__all__` is what `cltorch` exports.
"""

from __future__ import annotations

from typing import Any

from ..attach import FUNCTIONS, attach_table
from ..ops import activations, contraction, factorization, pooling, scan, sorting, volume
from ..ops import indexing as index_records
from ..ops import random as random_records
from ..ops import special as special_records
from ..tensor import Tensor
from . import (
    activation,
    arithmetic,
    comparison,
    creation,
    environment,
    indexing,
    linear,
    printing,
    random,
    reduction,
    shape,
    windows,
    writing,
)

RECORDS = (
    activations,
    contraction,
    factorization,
    index_records,
    pooling,
    random_records,
    scan,
    sorting,
    special_records,
    volume,
)  # imported, they fill the table
_ROOMS = (
    arithmetic,
    reduction,
    linear,
    creation,
    random,
    indexing,
    comparison,
    shape,
    activation,
    printing,
    environment,
    windows,
    writing,
)


def _methods(room: Any) -> dict[str, Any]:
    """The Tensor methods of a room: a dict, or names of its functions."""
    found = getattr(room, "METHODS", {})
    return dict(found) if isinstance(found, dict) else {name: getattr(room, name) for name in found}


def _attach_rooms() -> None:
    for room in _ROOMS:
        for name, method in _methods(room).items():
            setattr(Tensor, name, method)
        for name in room.__all__:
            FUNCTIONS[name] = getattr(room, name)


def _attach_aliases() -> None:
    for alias, name in arithmetic.ALIASES.items():
        FUNCTIONS[alias] = FUNCTIONS[name]
        setattr(Tensor, alias, getattr(Tensor, name))
        if name + "_" in Tensor.__dict__:
            setattr(Tensor, alias + "_", getattr(Tensor, name + "_"))


def _attach_in_place() -> None:
    """`relu_(x)` beside `x.relu_()`, for every function of one or more tensors that has an in-place method."""
    for name in (*FUNCTIONS, "zero", "uniform", "normal"):
        method = Tensor.__dict__.get(name + "_")
        if method is not None:
            FUNCTIONS.setdefault(name + "_", method)


_VIEWS = (
    "alias as_strided diagonal expand permute select split split_with_sizes squeeze t transpose unbind unfold "
    "unsqueeze view"
).split()


def _attach_view_copies() -> None:
    """`permute_copy` and the like: what the view shows, in memory of its own."""
    for name in _VIEWS:
        FUNCTIONS.setdefault(name + "_copy", _copying(name))


def _copying(name: str) -> Any:
    view = getattr(Tensor, name)

    def function(input: Tensor, *args: Any, **named: Any) -> Any:
        found = view(input, *args, **named)
        return tuple(f.clone() for f in found) if isinstance(found, tuple) else found.clone()

    function.__name__ = function.__qualname__ = name + "_copy"
    function.__doc__ = f"A copy of `{name}`'s view."
    return function


for _name, _operator in arithmetic.OPERATORS.items():  # these know more than what the table derives
    setattr(Tensor, _name, _operator)
_attach_rooms()
attach_table()
_attach_aliases()
_attach_in_place()
_attach_view_copies()
globals().update(FUNCTIONS)
__all__ = sorted(name for name in FUNCTIONS if not name.startswith("_"))
