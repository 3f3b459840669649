"""Stands first on PYTHONPATH in processes started under `cltorch run`: becomes cltorch.vision."""

import importlib
import sys

from cltorch import launcher

launcher.install()
sys.modules["torchvision"] = importlib.import_module("cltorch.vision")
