"""The house: imports only go down, only runtime speaks to the driver, no rooms without a purpose, no imports that hide.
"""

from __future__ import annotations

import ast
import configparser
import subprocess
import sys
from pathlib import Path

import pytest

import cltorch

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "cltorch").rglob("*.py"))
NAMES = [str(path.relative_to(ROOT)) for path in MODULES]
LAZY = {  # imports inside functions that are there for the cost or the optional package, never against a circle
    "PIL", "pooch", "sklearn", "tqdm", "safetensors", "scipy", "numpy", "mako", "pyopencl", "matplotlib",
}  # fmt: skip


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return ["." * node.level + (node.module or "")]
    return []


def rooms_of_the_contract() -> list[str]:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    layers = config["importlinter:contract:floors"]["layers"].split("\n")
    return [room.strip().strip("()") for layer in layers for room in layer.replace(":", "|").split("|") if room.strip()]


def test_contract_is_kept() -> None:
    pytest.importorskip("importlinter")
    call = "from importlinter.cli import lint_imports_command as c; c()"
    command = [sys.executable, "-c", call, "--config", "setup.cfg", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_every_room_has_a_floor() -> None:
    """A room that the contract does not name would be free to import anything."""
    rooms = {path.stem for path in (ROOT / "cltorch").glob("*.py")} - {"__init__"}
    rooms |= {path.parent.name for path in (ROOT / "cltorch").glob("*/__init__.py")}
    assert rooms <= set(rooms_of_the_contract()), rooms - set(rooms_of_the_contract())


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_rooms(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    name = path.relative_to(ROOT / "cltorch")
    assert path.stem not in ("utils", "helpers", "common", "manager") or name.parts[0] == "vision", "house words"
    if path.stem != "__init__" or tree.body:
        assert ast.get_docstring(tree), "a module says what this room is for"
    for node in ast.walk(tree):
        if name.parts[0] != "runtime":
            assert not any(each.split(".")[0] == "pyopencl" for each in imported(node)), "only runtime imports pyopencl"
        if not name.parts[0] == "shims":
            assert not any(each.split(".")[0] in ("torch", "torchvision") for each in imported(node))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            inside = [each for inner in ast.walk(node) for each in imported(inner)]
            hidden = [each for each in inside if each.startswith(".") or each.split(".")[0] == "cltorch"]
            assert not hidden, f"{node.name}: an import inside a function dodges a circle: {hidden}"
            assert {each.split(".")[0] for each in inside} <= LAZY, f"{node.name}: {inside}"


def test_python_3_10_can_read_every_file() -> None:
    for path in [*MODULES, *sorted((ROOT / "examples").glob("*.py")), *sorted((ROOT / "benchmarks").glob("*.py"))]:
        tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 10))
        for node in ast.walk(tree):  # which feature_version does not refuse
            if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple):
                line = path.read_text(encoding="utf-8").splitlines()[node.slice.lineno - 1]
                starred = any(isinstance(each, ast.Starred) for each in node.slice.elts)
                assert not starred or line[node.slice.col_offset] == "(", (
                    f"{path}:{node.lineno}: x[*y] needs Python 3.11"
                )


def test_importing_touches_no_driver_and_is_quick() -> None:
    code = (
        "import sys, time; start = time.perf_counter(); import cltorch; took = time.perf_counter() - start;"
        "assert 'pyopencl' not in sys.modules; assert 'torch' not in sys.modules;"
        "assert cltorch.runtime._devices is None; print(took)"
    )
    took = min(
        float(subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout)
        for _ in range(2)
    )
    assert took < 3.0  # 0.3 s on an idle machine; this one may be busy


def test_every_layer_is_exported() -> None:
    """The list is written out because type checkers cannot compute it."""
    layers = [name for name in dir(cltorch.nn.modules) if name[0].isupper()]
    assert sorted(cltorch.nn.modules.__all__) == sorted(layers)
