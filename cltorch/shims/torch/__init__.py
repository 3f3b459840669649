"""Stands first on PYTHONPATH in processes started under `cltorch run`: becomes cltorch."""

import importlib
import sys

from cltorch import launcher

launcher.install()
sys.modules["torch"] = importlib.import_module("cltorch")
