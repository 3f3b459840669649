"""Grad modes: whether operations record a graph, per thread.

Floor 5. `state.grad` is what dispatch asks; `counts.special` tells it that some thread has inference mode or saved-
tensor hooks on, so that the usual path pays one look-up for both.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any


class _State(threading.local):
    """The modes of this thread. `hooks` is the stack of (pack, unpack) pairs of `graph.saved_tensors_hooks`."""

    grad = True
    inference = False

    def __init__(self) -> None:
        self.hooks: list[tuple[Callable[[Any], Any], Callable[[Any], Any]]] = []


class _Counts:
    """`special`: how many inference-mode and saved-tensor-hook contexts are open, in all threads."""

    __slots__ = ("special", "lock")

    def __init__(self) -> None:
        self.special = 0
        self.lock = threading.Lock()

    def change(self, by: int) -> None:
        with self.lock:
            self.special += by


state = _State()
counts = _Counts()


def is_grad_enabled() -> bool:
    """True if operations on tensors that require gradients are recorded."""
    return state.grad


def is_inference_mode_enabled() -> bool:
    return state.inference


class _Mode:
    """A context manager that is a decorator too, for functions and for generator functions."""

    def _again(self) -> _Mode:
        return type(self)()

    def __enter__(self) -> Any:
        raise NotImplementedError

    def __exit__(self, *exception: object) -> None:
        raise NotImplementedError

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.isclass(function):
            raise TypeError(f"{type(self).__name__}: got the class {function.__name__}, wanted a function to decorate")
        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def generator(*args: Any, **kwargs: Any) -> Any:
                made = function(*args, **kwargs)
                sent, send = None, made.send
                while True:
                    try:
                        with self._again():
                            produced = send(sent)
                    except StopIteration as stop:
                        return stop.value
                    try:
                        sent, send = (yield produced), made.send
                    except GeneratorExit:
                        made.close()
                        raise
                    except BaseException as error:
                        sent, send = error, made.throw

            return generator

        @functools.wraps(function)
        def decorated(*args: Any, **kwargs: Any) -> Any:
            with self._again():
                return function(*args, **kwargs)

        return decorated


class no_grad(_Mode):
    """Within it (or in a function decorated with it) no graph is recorded.

    >>> x = cltorch.ones(2, requires_grad=True)
    >>> with cltorch.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        mode = super().__new__(cls)
        return mode if function is None else mode(function)

    def __enter__(self) -> None:
        self._before = state.grad
        state.grad = False

    def __exit__(self, *exception: object) -> None:
        state.grad = self._before


class enable_grad(_Mode):
    """Within it a graph is recorded again, inside `no_grad`."""

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        mode = super().__new__(cls)
        return mode if function is None else mode(function)

    def __enter__(self) -> None:
        self._before = state.grad
        state.grad = True

    def __exit__(self, *exception: object) -> None:
        state.grad = self._before


class set_grad_enabled(_Mode):
    """Turn recording on or off: as a call from here on, as a context manager within it, as a decorator in the
    function."""

    def __init__(self, mode: bool):
        self.mode = bool(mode)
        self._before = state.grad
        state.grad = self.mode

    def _again(self) -> set_grad_enabled:
        return set_grad_enabled(self.mode)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        state.grad = self._before
        return super().__call__(function)

    def __enter__(self) -> None:
        state.grad = self.mode

    def __exit__(self, *exception: object) -> None:
        state.grad = self._before


class inference_mode(_Mode):
    """Like `no_grad`, and tensors made within it may never take part in a recorded graph."""

    def __new__(cls, mode: Any = True) -> Any:
        made = super().__new__(cls)
        if callable(mode):
            made.mode = True
            return made(mode)
        return made

    def __init__(self, mode: bool = True):
        self.mode = bool(mode)

    def _again(self) -> inference_mode:
        return inference_mode(self.mode)

    def __enter__(self) -> None:
        self._before = (state.grad, state.inference)
        if self.mode:
            counts.change(1)
            state.grad, state.inference = False, True
        else:
            state.grad, state.inference = True if state.inference else state.grad, False

    def __exit__(self, *exception: object) -> None:
        if self.mode:
            counts.change(-1)
        state.grad, state.inference = self._before


class saved_tensors_hooks:
    """Within it, `pack(tensor)` is kept for backward instead of the tensor, and `unpack` of it gives the tensor
    back."""

    def __init__(self, pack_hook: Callable[[Any], Any], unpack_hook: Callable[[Any], Any]):
        self.pair = (pack_hook, unpack_hook)

    def __enter__(self) -> None:
        counts.change(1)
        state.hooks.append(self.pair)

    def __exit__(self, *exception: object) -> None:
        counts.change(-1)
        state.hooks.pop()
