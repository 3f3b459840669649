"""Modules whose parameters get their shapes from the first batch.

Floor 7. The machinery only; a lazy layer stands beside the layer it becomes.
"""

from __future__ import annotations

from typing import Any

from ..parameter import is_lazy
from .module import Module


class LazyModuleMixin:
    """Makes a Module's uninitialized parameters and buffers ordinary ones before its first forward.

    A subclass names both bases, `class LazyX(LazyModuleMixin, X)`, makes UninitializedParameters (or -Buffers) instead
    of the real ones, and defines `initialize_parameters(*args of forward)`, which calls their `materialize`.
    Afterwards the module is of class `cls_to_become`, if that is given.
    """

    cls_to_become: type[Module] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._initialize_hook = self.register_forward_pre_hook(  # type: ignore[attr-defined]
            type(self)._infer_parameters, with_kwargs=True
        )

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Materialize parameters and buffers for this input of `forward`."""
        raise NotImplementedError(f"initialize_parameters is not implemented for {type(self).__name__}")

    def has_uninitialized_params(self) -> bool:
        """Whether a parameter or buffer still waits for its shape."""
        held = (*self._parameters.values(), *self._buffers.values())  # type: ignore[attr-defined]
        return any(is_lazy(tensor) for tensor in held)

    def _infer_parameters(self, args: tuple, kwargs: dict | None = None) -> None:
        """The hook before the first forward."""
        self.initialize_parameters(*args, **(kwargs or {}))
        if self.has_uninitialized_params():
            raise RuntimeError(f"module {self._get_name()} has not been fully initialized")  # type: ignore[attr-defined]
        self._initialize_hook.remove()
        del self._initialize_hook
        if self.cls_to_become is not None:
            self.__class__ = self.cls_to_become  # type: ignore[assignment]

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)  # type: ignore[misc]
        for store in (self._parameters, self._buffers):  # type: ignore[attr-defined]
            for name, held in store.items():
                if is_lazy(held) and prefix + name in destination:
                    destination[prefix + name] = held  # detached, it would no longer say that it waits for its shape

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *rest: Any) -> None:
        for store in (self._parameters, self._buffers):  # type: ignore[attr-defined]
            for name, held in store.items():
                given = state_dict.get(prefix + name)
                if given is not None and is_lazy(held) and not is_lazy(given):
                    held.materialize(tuple(given.shape))
        super()._load_from_state_dict(state_dict, prefix, *rest)  # type: ignore[misc]
