"""The one door to pyopencl, opened when the first device is asked for.

Floor 1a. `import cltorch` must be quick and data-loader workers must never touch OpenCL, so pyopencl is imported
here, late, through the `cl` object: every other module of runtime/ writes `cl.Buffer(...)` and pays one dictionary
look-up after the first use. Before the import the ICD loader is told where pip-installed drivers are
(`discovery.bootstrap`) and pyopencl's own caches are turned off.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import threading
from typing import Any

from ..errors import DeviceError
from .discovery import bootstrap

_local = threading.local()


class _LazyModule:
    """pyopencl, imported at the first attribute access."""

    def __getattr__(self, name: str) -> Any:
        process.refuse_if_forked()
        value = getattr(_load(), name)
        setattr(self, name, value)
        return value


cl: Any = _LazyModule()


class Process:
    """What happened to this process: whether OpenCL objects are those of a parent, from before a fork.

    Objects of the parent must be neither used nor released in the child: `keep` gives the roots of all that must
    then live until the child ends.
    """

    def __init__(self) -> None:
        self.forked = False
        self.kept: list[Any] = []
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def _after_fork(self) -> None:
        if not self.kept:
            return  # no device was opened before the fork: the child may open its own
        self.forked = True
        cl.__dict__.clear()
        # One reference too many: the driver's objects are not released even when the interpreter takes its modules
        # down.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.kept))

    def refuse_if_forked(self) -> None:
        """Raise where devices belong to the process that this one was forked from."""
        if self.forked:
            raise DeviceError(
                "this process was forked from one that uses OpenCL: drivers do not survive a fork. "
                "Start workers with the 'spawn' method, or keep device work out of them"
            )

    def keep(self, root: Any) -> None:
        """Never release `root`, and what it refers to, in a forked child."""
        self.kept.append(root)


process = Process()
_loading = threading.Lock()
_module: Any = None


def _load() -> Any:
    global _module
    if _module is None:
        with _loading:
            if _module is None:
                bootstrap()
                # pyopencl's program cache waits a minute for stale locks and fails on damaged entries; program.py
                # has its own.
                os.environ.setdefault("PYOPENCL_CACHE_FAILURE_FATAL", "")
                os.environ.setdefault("PYOPENCL_NO_CACHE", "1")
                try:
                    module = importlib.import_module("pyopencl")
                except ImportError as error:
                    raise DeviceError(
                        f"pyopencl cannot be imported ({error}); it finds and drives the OpenCL devices. "
                        "Install it with: pip install pyopencl pocl-binary-distribution"
                    ) from error
                _quick_kernels(importlib.import_module("pyopencl.invoker"))
                _module = module
    return _module


def _quick_kernels(invoker: Any) -> None:
    """Let `create_kernel` skip the Python function that pyopencl generates for each new kernel object.

    It serves `kernel(queue, ...)`, which nothing here uses, and costs 130-500 us per object; without it 1-3 us.
    """
    generate = getattr(invoker, "generate_enqueue_and_set_args", None)
    if generate is None:
        return

    def generate_unless_bare(*args: Any, **keywords: Any) -> Any:
        if getattr(_local, "bare", False):
            return None, None
        return generate(*args, **keywords)

    invoker.generate_enqueue_and_set_args = generate_unless_bare


def create_kernel(program: Any, name: str) -> Any:
    """A new `cl.Kernel` of `program` for `set_arg` and `enqueue_nd_range_kernel`; it cannot be called."""
    _local.bare = True
    try:
        return cl.Kernel(program, name)
    finally:
        _local.bare = False
