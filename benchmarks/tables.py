"""Every case there is. Imports neither cltorch nor PyTorch, so that a child process can load just one of them."""

from __future__ import annotations

import re

from . import attention, convolutions, indexing, memory_bound, models, products
from .cases import Case

CASES: list[Case] = [
    *products.CASES, *convolutions.CASES, *memory_bound.CASES, *attention.CASES, *indexing.CASES, *models.CASES,
]  # fmt: skip


def select(groups: list[str], pattern: str) -> list[Case]:
    """The cases of some groups whose name has a match of a regular expression."""
    return [case for case in CASES if case.group in groups and re.search(pattern, case.name)]


def named(name: str) -> Case:
    """The case of that name."""
    return next(case for case in CASES if case.name == name)
