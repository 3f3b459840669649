"""Wheel, sdist and editable install: each finds templates and kernels, and runs a kernel from where it was installed.

Everything is offline: setuptools builds without isolation, and the fresh environments see this one's packages.
"""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = (
    "cltorch", "kernels", "templates", "tests", "setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE",
    "CHANGELOG.md", "CONTRIBUTING.md", "Makefile",
)  # fmt: skip

PROBE = """
import sys
import cltorch as torch
from cltorch import resources
from pathlib import Path
wanted = Path(sys.argv[1]).resolve()
assert wanted in Path(torch.__file__).resolve().parents, torch.__file__
for folder, pattern in ((resources.templates_directory(), "*.cl.mako"), (resources.kernels_directory(), "*.cl")):
    assert wanted in folder.resolve().parents, folder
    assert list(folder.glob(pattern)), folder
import cltorch.kernels, cltorch.templates
import cltorch.utils.data, cltorch.vision.datasets, cltorch.vision.models, cltorch.vision.transforms, cltorch.launcher
x = torch.arange(6.0).view(2, 3)
assert torch.softmax(x @ x.t(), 1).sum().item() == 2.0
print("ran on", x.device)
"""


def run(*command: object, cwd: Path, **environment: str) -> str:
    given = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PIP_FIND_LINKS")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**given, **environment},
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def environment(folder: Path) -> Path:
    """The Python of a fresh environment that also sees the packages of this one, but no cltorch of it."""
    venv.create(folder, with_pip=False)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    packages = [entry for entry in sys.path if entry.rstrip("/").endswith(("site-packages", "dist-packages"))]
    Path(site, "outer.pth").write_text("\n".join(packages) + "\n")
    return python


def install(python: Path, what: object, *options: str, cwd: Path) -> None:
    run(python, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "--ignore-installed",
        "--disable-pip-version-check", *options, what, cwd=cwd)  # fmt: skip


def probe(python: Path, wanted: Path, cwd: Path) -> None:
    assert "ran on" in run(python, "-W", "ignore", "-c", PROBE, wanted, cwd=cwd)
    version = run(python.parent / "cltorch", "--version", cwd=cwd)
    assert version.startswith("cltorch ")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a clone has, so that no build leaves anything here."""
    folder = tmp_path_factory.mktemp("tree")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(source, folder / name)
    return folder


@pytest.fixture(scope="module")
def archives(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(sdist, the wheel built from that sdist)."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, tree, cwd=out)
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel


def files_of_the_package() -> set[str]:
    """Every source file of the checkout, as an installed path."""
    found = {str(path.relative_to(ROOT)) for path in (ROOT / "cltorch").rglob("*.py")}
    found |= {str(Path("cltorch", path.relative_to(ROOT))) for path in (ROOT / "templates").glob("*.mako")}
    found |= {str(Path("cltorch", path.relative_to(ROOT))) for path in (ROOT / "kernels").rglob("*.cl")}
    found |= {str(Path("cltorch", path.relative_to(ROOT))) for path in (ROOT / "kernels").rglob("*.json")}
    return found | {"cltorch/py.typed", "cltorch/templates/__init__.py", "cltorch/kernels/__init__.py"}


def test_every_package_is_named() -> None:
    """`packages =` has each folder with an `__init__.py`, and nothing else."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    named = config["options"]["packages"].split()
    there = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "cltorch").rglob("__init__.py")}
    assert sorted(named) == sorted(there | {"cltorch.kernels", "cltorch.templates"})


def test_metadata() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    assert config["options"]["python_requires"] == ">=3.10"
    assert set(config["options.extras_require"]) == {"cpu", "vision", "test", "bench", "dev"}


def test_every_file_is_tracked() -> None:
    """A file that git ignores would be missing from a clone, though every test here would pass."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout")
    options = ("--others", "--ignored", "--exclude-standard")
    ignored = run("git", "ls-files", *options, "cltorch", "kernels", "templates", "tests", cwd=ROOT).split("\n")
    assert [name for name in ignored if name and "__pycache__" not in name and not name.endswith(".pyc")] == []


def test_archives_have_all_files(archives: tuple[Path, Path]) -> None:
    sdist, wheel = archives
    inside = set(zipfile.ZipFile(wheel).namelist())
    assert files_of_the_package() <= inside
    foreign = {name for name in inside if not name.startswith("cltorch") or name.endswith(".pyc")}
    assert not foreign, f"in the wheel: {foreign}"
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert {"setup.cfg", "pyproject.toml", "LICENSE", "README.md", "Makefile", "templates/pointwise.cl.mako",
            "kernels/prelude.cl", "tests/test_install.py"} <= packed  # fmt: skip
    metadata = zipfile.ZipFile(wheel).read(next(name for name in inside if name.endswith("METADATA"))).decode()
    assert "Requires-Python: >=3.10" in metadata
    for extra in ("cpu", "vision", "test", "bench", "dev"):
        assert f"Provides-Extra: {extra}" in metadata


def test_wheel_runs(archives: tuple[Path, Path], tmp_path: Path) -> None:
    python = environment(tmp_path / "env")
    install(python, archives[1], cwd=tmp_path)
    probe(python, tmp_path / "env", cwd=tmp_path)


def test_sdist_runs(archives: tuple[Path, Path], tmp_path: Path) -> None:
    python = environment(tmp_path / "env")
    install(python, archives[0], cwd=tmp_path)
    probe(python, tmp_path / "env", cwd=tmp_path)


def test_editable_runs(tree: Path, tmp_path: Path) -> None:
    python = environment(tmp_path / "env")
    install(python, tree, "--editable", cwd=tmp_path)
    probe(python, tree, cwd=tmp_path)
    edited = tree / "cltorch" / "version.py"
    before = edited.read_text()
    try:
        edited.write_text('"""The version."""\n\n__version__ = "99.5"\n')
        assert run(python.parent / "cltorch", "--version", cwd=tmp_path) == "cltorch 99.5\n"
    finally:
        edited.write_text(before)
