"""One source for both sides: the models of cltorch.vision, built on cltorch or on any module with PyTorch's API."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

MODELS = Path(__file__).resolve().parent.parent / "cltorch" / "vision" / "models"


def vision_models(torch: Any) -> ModuleType:
    """`cltorch.vision.models`; for another module than cltorch the same files, read with that module's `nn`.

    The files import `nn`, `Tensor`, `cat` and `checkpoint` from where cltorch has them; a package is made in which
    these names lead to `torch`.
    """
    if torch.__name__ == "cltorch":
        return importlib.import_module("cltorch.vision.models")
    root = f"_cltorch_on_{torch.__name__}"
    name = f"{root}.vision.models"
    if name not in sys.modules:
        shell = ModuleType(root)
        shell.__path__ = []
        shell.__dict__["nn"] = torch.nn
        sys.modules[root] = shell
        for place in ("copies", "tensor"):
            sys.modules[f"{root}.{place}"] = torch
        sys.modules[f"{root}.utils"] = torch.utils
        sys.modules[f"{root}.utils.checkpoint"] = importlib.import_module(f"{torch.__name__}.utils.checkpoint")
        sys.modules[f"{root}.vision"] = ModuleType(f"{root}.vision")
        spec = importlib.util.spec_from_file_location(
            name, MODELS / "__init__.py", submodule_search_locations=[str(MODELS)]
        )
        assert spec is not None and spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]
