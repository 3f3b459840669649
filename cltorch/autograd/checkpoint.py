"""Checkpointing: trade compute for memory by recomputing what backward needs.

Floor 5. During forward, saved tensors are replaced by their running numbers; the first one that backward asks for
reruns the function under the same random state and keeps what it saves this time. random.py registers how the random
state is read and set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from .modes import enable_grad, saved_tensors_hooks, state

_random: list[Callable[..., Any]] = []


class CheckpointError(RuntimeError):
    """Recomputation gave something else than the first computation."""


def register_random(get_state: Callable[[], Any], set_state: Callable[[Any], None]) -> None:
    """random.py says here how the state of the random stream is read and set."""
    _random[:] = [get_state, set_state]


class _Recomputation:
    """One call of checkpoint: how to run the function again, and what it saved when it was."""

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        keep_random: bool,
        context: Callable[[], Any],
    ):
        self.function, self.args, self.kwargs, self.context = function, args, kwargs, context
        self.random = _random[0]() if keep_random and _random else None
        self.facts: list[tuple[Any, Any]] = []
        self.saved: dict[int, Any] | None = None

    def pack(self, tensor: Any) -> int:
        self.facts.append((tensor._layout.shape, tensor._layout.dtype))
        return len(self.facts) - 1

    def unpack(self, number: int) -> Any:
        if self.saved is None or number not in self.saved:
            self._run()
        assert self.saved is not None
        return self.saved.pop(number)

    def _run(self) -> None:
        found: list[Any] = []

        def keep(tensor: Any) -> Any:
            found.append(tensor.detach() if tensor._node is not None else tensor)
            return found[-1]

        before = _random[0]() if self.random is not None else None
        if self.random is not None:
            _random[1](self.random)
        hooks, state.hooks = state.hooks, []
        try:
            with enable_grad(), self.context(), saved_tensors_hooks(keep, lambda tensor: tensor):
                self.function(*self.args, **self.kwargs)
        finally:
            state.hooks = hooks
            if self.random is not None:
                _random[1](before)
        if [(t._layout.shape, t._layout.dtype) for t in found] != self.facts:
            raise CheckpointError(
                "torch.utils.checkpoint: A different number of tensors was saved during the original forward and "
                "recomputation, or their shapes or "
                f"dtypes differ.\nNumber of tensors saved during forward: {len(self.facts)}\nNumber of tensors saved "
                f"during recomputation: {len(found)}"
            )
        self.saved = dict(enumerate(found))


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[[], tuple[AbstractContextManager, AbstractContextManager]] = lambda: (
        nullcontext(),
        nullcontext(),
    ),
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """`function(*args, **kwargs)`, keeping only the arguments for backward; the rest is computed again there.

    Args:
        use_reentrant: accepted for PyTorch programs; both values work like False.
        preserve_rng_state: recompute with the random state of the first computation.
        context_fn: two context managers, for the first computation and for the second.

    **Source** Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016.
    """
    forward, again = context_fn()
    if not state.grad:
        with forward:
            return function(*args, **kwargs)
    call = _Recomputation(function, args, kwargs, preserve_rng_state, lambda: again)
    with forward, saved_tensors_hooks(call.pack, call.unpack):
        return function(*args, **kwargs)


def checkpoint_sequential(
    functions: Any,
    segments: int,
    input: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """A sequence of functions in `segments` parts, all but the last checkpointed.

    Args:
        functions: a Sequential, or a sequence of functions of one argument.
        segments: number of parts.
    """
    if kwargs:
        raise ValueError(f"Unexpected keyword arguments: {','.join(kwargs)}")
    every: Sequence[Callable[..., Any]] = (
        list(functions.children()) if hasattr(functions, "children") else list(functions)
    )
    size = len(every) // segments

    def run(part: Iterable[Callable[..., Any]]) -> Callable[[Any], Any]:
        steps = list(part)

        def forward(value: Any) -> Any:
            for step in steps:
                value = step(value)
            return value

        return forward

    at = 0
    for _ in range(segments - 1):
        input = checkpoint(
            run(every[at : at + size]), input, use_reentrant=use_reentrant, preserve_rng_state=preserve_rng_state
        )
        at += size
    return run(every[at:])(input)
