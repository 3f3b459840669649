"""Every example in a docstring of the package runs, with `cltorch`, `torch` (which is cltorch), `nn` and `F` at hand.
"""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import warnings
from types import ModuleType

import pytest

import cltorch

FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
SHIMS = "cltorch.shims"


def modules() -> list[str]:
    found = [each.name for each in pkgutil.walk_packages(cltorch.__path__, "cltorch.")]
    return ["cltorch", *(name for name in found if not name.startswith(SHIMS))]


def examples(module: ModuleType) -> list[doctest.DocTest]:
    names = {
        "cltorch": cltorch, "torch": cltorch, "nn": cltorch.nn, "F": cltorch.nn.functional, **vars(module),
    }  # fmt: skip
    found = doctest.DocTestFinder(exclude_empty=True).find(module, module.__name__, extraglobs=names)
    return [each for each in found if each.examples]


def attached() -> list[tuple[str, object]]:
    """Functions made from the table have no module of their own."""
    return [(name, value) for name, value in sorted(cltorch.functions.FUNCTIONS.items()) if hasattr(value, "op")]


def run(test: doctest.DocTest) -> str:
    said: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        doctest.DocTestRunner(optionflags=FLAGS).run(test, out=said.append)
    return "".join(said)


@pytest.mark.parametrize("name", modules())
def test_examples(name: str) -> None:
    cltorch.manual_seed(0)
    with cltorch.enable_grad():
        said = "".join(run(test) for test in examples(importlib.import_module(name)))
    cltorch.set_default_device(None)
    assert not said, said


def test_examples_of_the_table() -> None:
    names = {"cltorch": cltorch, "torch": cltorch, "nn": cltorch.nn, "F": cltorch.nn.functional}
    parser, said = doctest.DocTestParser(), []
    for name, value in attached():
        test = parser.get_doctest(value.__doc__ or "", dict(names), name, None, None)
        said.append(run(test) if test.examples else "")
    assert not "".join(said), "".join(said)


def test_there_are_examples() -> None:
    assert sum(len(examples(importlib.import_module(name))) for name in modules()) > 30
