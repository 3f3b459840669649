"""Runs unmodified PyTorch programs: `torch` and `torchvision` mean cltorch and cltorch.vision.

Floor 8. `install()` puts a finder in front of Python's own, which hands out cltorch's modules under PyTorch's names:
`torch.nn` and `cltorch.nn` are the same object. Child processes find the two packages of `cltorch/shims` first on
PYTHONPATH and install it too.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

NAMES = {"torch": "cltorch", "torchvision": "cltorch.vision"}
SHIMS = Path(__file__).resolve().parent / "shims"


class AliasLoader(importlib.abc.Loader):
    """Hands out a module that exists already, and leaves it as it was."""

    def __init__(self, module: ModuleType):
        self.module = module
        self.spec = module.__spec__
        self.loader = getattr(module, "__loader__", None)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec
        module.__loader__ = self.loader


class AliasFinder(importlib.abc.MetaPathFinder):
    """Finds `torch.x.y` as `cltorch.x.y`."""

    def find_spec(
        self, fullname: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        root, _, rest = fullname.partition(".")
        if root not in NAMES:
            return None
        real = f"{NAMES[root]}.{rest}" if rest else NAMES[root]
        try:
            module = importlib.import_module(real)
        except ModuleNotFoundError as error:
            if error.name is not None and (real == error.name or real.startswith(error.name + ".")):
                raise ModuleNotFoundError(
                    f"No module named {fullname!r}: cltorch stands in for {root} and has no {real} yet", name=fullname
                ) from None
            raise
        return importlib.machinery.ModuleSpec(fullname, AliasLoader(module), is_package=hasattr(module, "__path__"))


def install() -> None:
    """From now on `import torch` and `import torchvision` give cltorch, in this process and those it starts."""
    if not any(isinstance(finder, AliasFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, AliasFinder())
    for name in [n for n in sys.modules if n.partition(".")[0] in NAMES]:
        module = sys.modules[name]
        if not getattr(module, "__name__", "").startswith("cltorch"):
            del sys.modules[name]
    if str(SHIMS) not in sys.path:  # spawned children get this list, others PYTHONPATH
        sys.path.insert(0, str(SHIMS))
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if str(SHIMS) not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([str(SHIMS), *filter(None, paths)])


def run(script: str, arguments: Sequence[str] = ()) -> int:
    """Run the Python file `script` as the main program, with `torch` meaning cltorch.

    Args:
        script: path of a Python file.
        arguments: what the script finds in `sys.argv[1:]`.

    Returns:
        The exit status: 1 if the script raised (its traceback is printed as Python prints it, beginning in the script),
        else 0. `SystemExit` and `KeyboardInterrupt` of the script pass through.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if not Path(script).is_file():
        raise FileNotFoundError(f"cltorch run: script: got {script!r}, wanted the path of a Python file")
    install()
    sys.argv = [script, *arguments]
    sys.path.insert(0, str(Path(script).resolve().parent))
    main = ModuleType("__main__")  # stays: threads, exit functions and pickles of the script look for it
    main.__file__ = script
    main.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = main
    try:
        code = compile(Path(script).read_bytes(), script, "exec", dont_inherit=True)
        exec(code, main.__dict__)
    except Exception as error:
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
            frames = frames.tb_next
        sys.excepthook(type(error), error.with_traceback(frames), frames)
        return 1
    return 0
