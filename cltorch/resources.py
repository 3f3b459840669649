"""Finds templates and kernel sources, wherever the package is installed. Nobody else spells a path.

Floor 0. `templates/` is installed as `cltorch.templates` and `kernels/` as `cltorch.kernels`; in a checkout and in an
editable install both stand beside the package.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def _folder(name: str) -> Path:
    for candidate in (_PACKAGE / name, _PACKAGE.parent / name):
        if (candidate / "__init__.py").is_file():
            return candidate
    raise FileNotFoundError(
        f"cltorch.{name} is not installed: looked in {_PACKAGE / name} and {_PACKAGE.parent / name}"
    )


@cache
def templates_directory() -> Path:
    """The folder of `*.cl.mako`."""
    return _folder("templates")


@cache
def kernels_directory() -> Path:
    """The folder of plain `*.cl` files and of `tuned/*.json`."""
    return _folder("kernels")


@cache
def kernel_text(name: str) -> str:
    """The text of `kernels/<name>.cl`."""
    return (kernels_directory() / f"{name}.cl").read_text(encoding="utf-8")
