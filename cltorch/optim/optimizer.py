"""Optimizer: parameter groups, state and their exchange; the base of all optimizers.

Floor 7. A subclass gives `_update(group, params, grads)`, which records a few in-place pointwise operations per
parameter; the
engine joins those of all parameters into few launches. Learning rates and step counts are Python numbers, so they are
arguments of the
kernels and never part of a plan.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from typing import Any

from .. import engine
from ..autograd import enable_grad, no_grad
from ..direct import chain, run
from ..dispatch import fill_into
from ..nn.hooks import RemovableHandle
from ..ops.updates import WEIGHTED
from ..runtime import aligned_empty
from ..tensor import Tensor, from_array

_global_pre_hooks: OrderedDict = OrderedDict()
_global_post_hooks: OrderedDict = OrderedDict()


class _Required:
    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()


def _enter(hooks: OrderedDict, hook: Callable) -> RemovableHandle:
    handle = RemovableHandle(hooks)
    hooks[handle.id] = hook
    return handle


def register_optimizer_step_pre_hook(hook: Callable) -> RemovableHandle:
    """Call `hook(optimizer, args, kwargs)` before the step of every optimizer; it may return new `(args, kwargs)`."""
    return _enter(_global_pre_hooks, hook)


def register_optimizer_step_post_hook(hook: Callable) -> RemovableHandle:
    """Call `hook(optimizer, args, kwargs)` after the step of every optimizer."""
    return _enter(_global_post_hooks, hook)


def number(value: Any) -> float:
    """A hyperparameter as a Python number; a one-element tensor is read."""
    return value.item() if isinstance(value, Tensor) else value


def check_range(name: str, value: Any, low: float = 0.0, high: float = math.inf) -> None:
    """Raise ValueError, as PyTorch does, unless low <= value, and value < high where high is given."""
    if not low <= value or (high != math.inf and not value < high):
        raise ValueError(f"Invalid {name}: {value}")


def zero_state(param: Tensor, value: float = 0.0) -> Tensor:
    """`value` in the shape of `param`, in host memory: the first step then runs the kernels of all later ones."""
    array = aligned_empty(tuple(param.shape), param.dtype.numpy)
    array[...] = value
    return from_array(array, param.dtype, param.device)


def record(
    rule: Callable[..., None], operands: Sequence[Tensor], width: int, numbers: Sequence[float], *facts: Any
) -> None:
    """`rule(*tensors, *numbers, *facts)` for every `width` operands, recorded in one go.

    Args:
        rule: a module-level function that records a parameter's update.
        operands: parameter, gradient and states of the first parameter, then of the second, …
        numbers: what all of them share and may differ from step to step; `facts` decide what is recorded.
    """
    chain(_each, operands, (rule, width, len(numbers), facts), numbers)


def _each(*given: Any) -> None:
    *held, rule, width, count, facts = given
    first = len(held) - count
    numbers = held[first:]
    for at in range(0, first, width):
        rule(*held[at : at + width], *numbers, *facts)


def _zero_all(*given: Any) -> None:
    *grads, zero = given
    for grad in grads:
        fill_into(grad._storage, grad._layout, zero)
        grad._bump()


def decayed(grad: Tensor, param: Tensor, sign: float, decay: float, altered: bool) -> Tensor:
    """sign * gradient + decay * parameter; the gradient itself unless `altered`. For rules."""
    return run(WEIGHTED, (grad, param, sign, decay)) if altered else grad


def alteration(group: dict[str, Any]) -> tuple[float, float, bool]:
    """What `decayed` needs to know of a group with the options 'maximize' and 'weight_decay'."""
    decay = float(number(group["weight_decay"]))
    return -1.0 if group["maximize"] else 1.0, decay, bool(group["maximize"] or decay)


class Optimizer:
    """Base of all optimizers.

    Args:
        params: tensors, pairs of name and tensor, or dictionaries with the key 'params' and the group's own options.
        defaults: options for groups that do not give their own.

    Attributes:
        param_groups: a dictionary of options per group, with its tensors under 'params'.
        state: per tensor, what the optimizer remembers of it.

    Raises:
        TypeError: `params` is a tensor, a set, or holds something else than tensors.
        ValueError: there are no parameters, a tensor is listed twice, or is no leaf.
    """

    _opt_called: bool
    _counted_by_schedule: bool
    _step_pre_hooks: OrderedDict[int, Callable[..., Any]]
    _step_post_hooks: OrderedDict[int, Callable[..., Any]]
    _state_dict_pre_hooks: OrderedDict[int, Callable[..., Any]]
    _state_dict_post_hooks: OrderedDict[int, Callable[..., Any]]
    _load_state_dict_pre_hooks: OrderedDict[int, Callable[..., Any]]
    _load_state_dict_post_hooks: OrderedDict[int, Callable[..., Any]]

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
                + type(params).__name__
            )
        self.defaults = defaults
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        self._prepare_hooks()
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(dict(group))
        engine.flush()  # the model's first values, lest the first step be another program than all later ones

    def _prepare_hooks(self) -> None:
        for name in (
            "_step_pre_hooks",
            "_step_post_hooks",
            "_state_dict_pre_hooks",
            "_state_dict_post_hooks",
            "_load_state_dict_pre_hooks",
            "_load_state_dict_post_hooks",
        ):
            self.__dict__.setdefault(name, OrderedDict())

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._prepare_hooks()
        for group in self.param_groups:
            for name, value in self.defaults.items():
                group.setdefault(name, value)

    def __repr__(self) -> str:
        shown = [type(self).__name__ + " ("]
        for i, group in enumerate(self.param_groups):
            shown.append(f"Parameter Group {i}")
            shown += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join(shown) + "\n)"

    # ---------------------------------------------------------------- groups

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a dictionary with the key 'params' (a tensor, tensors, or pairs of name and tensor) and any options.

        Raises:
            TypeError, ValueError: as the constructor; also if an option without default is missing.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        given = param_group["params"]
        if isinstance(given, Tensor):
            given = [given]
        elif isinstance(given, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the ordering of tensors "
                "in sets will "
                "change between runs. Please use a list instead."
            )
        params, names = self._separated(list(given))
        for param in params:
            if not isinstance(param, Tensor):
                raise TypeError("optimizer can only optimize Tensors, but one of the params is " + type(param).__name__)
            if param.grad_fn is not None and not self.defaults.get("differentiable"):
                raise ValueError("can't optimize a non-leaf Tensor")
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(f"parameter group didn't specify a value of required optimization parameter {name}")
            param_group.setdefault(name, default)
        seen = {id(param) for group in self.param_groups for param in group["params"]}
        if len({id(param) for param in params}) != len(params):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; in future, this will cause an error",
                stacklevel=3,
            )
        if any(id(param) in seen for param in params):
            raise ValueError("some parameters appear in more than one parameter group")
        if self.param_groups and (names is not None) != ("param_names" in self.param_groups[0]):
            raise ValueError(
                "all optimizer param groups should be with/without names. "
                f"cannot add param group {'with' if names else 'without'} names to the optimizer"
            )
        param_group["params"] = params
        if names is not None:
            param_group["param_names"] = names
        self.param_groups.append(param_group)

    @staticmethod
    def _separated(given: list[Any]) -> tuple[list[Any], list[str] | None]:
        """Tensors, and their names if they come as pairs."""
        pairs = [isinstance(item, tuple) for item in given]
        if not any(pairs):
            return given, None
        if not all(pairs):
            raise ValueError("all optimizer params should be with/without names. Some param names are missing")
        return [item[1] for item in given], [item[0] for item in given]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or set them to zero."""
        held = [param for group in self.param_groups for param in group["params"] if param.grad is not None]
        if set_to_none:
            for param in held:
                param.grad = None
            return
        for param in held:
            if param.grad.requires_grad:
                param.grad = param.grad.detach()
        if held:
            with no_grad():
                chain(_zero_all, [param.grad for param in held], (), (0.0,))

    # ---------------------------------------------------------------- the step

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters that have a gradient.

        Args:
            closure: computes the loss (and the gradients) anew; called once before the update.

        Returns:
            what `closure` returned, or None.
        """
        if self._step_pre_hooks or self._step_post_hooks or _global_pre_hooks or _global_post_hooks:
            return self._step_with_hooks(closure)
        return self._step(closure)

    def _step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            for group in self.param_groups:
                params, grads = [], []
                for param in group["params"]:
                    grad = param.grad
                    if grad is not None:
                        params.append(param)
                        grads.append(grad)
                if params:
                    self._update(group, params, grads)
        engine.flush()
        return loss

    def _update(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        """Update `params`, which have `grads`, in place, by the options of `group`."""
        raise NotImplementedError(f"{type(self).__name__}._update is not defined")

    def _counted(
        self, params: list[Tensor], grads: list[Tensor], keys: tuple[str, ...], also: tuple[str, ...] = ()
    ) -> dict[tuple[float, ...], list[Tensor]]:
        """Count a step of each parameter; operands for `record` by numbers of steps made.

        Args:
            keys: names of the states, which begin as zeros.
            also: names of numbers in the state by whose values (before the step) parameters are told apart as well.
        """
        found: dict[tuple[float, ...], list[Tensor]] = {}
        for param, grad in zip(params, grads):
            state = self.state[param]
            if not state:
                state["step"] = 0.0
                for key in keys:
                    state[key] = zero_state(param)
            state["step"] = step = state["step"] + 1.0
            mark = (step, *[number(state[key]) for key in also]) if also else (step,)
            operands = found.get(mark)
            if operands is None:
                operands = found[mark] = []
            operands += (param, grad, *[state[key] for key in keys])
        return found

    def _step_with_hooks(self, closure: Callable[[], Any] | None) -> Any:
        args: tuple = () if closure is None else (closure,)
        kwargs: dict[str, Any] = {}
        for hook in itertools.chain(_global_pre_hooks.values(), self._step_pre_hooks.values()):
            given = hook(self, args, kwargs)
            if given is not None:
                if not (isinstance(given, tuple) and len(given) == 2):
                    raise RuntimeError(
                        f"{type(self).__name__}.step must return None or a tuple of (new_args, new_kwargs), but "
                        f"got {given}."
                    )
                args, kwargs = given
        out = self._step(*args, **kwargs)
        for hook in itertools.chain(self._step_post_hooks.values(), _global_post_hooks.values()):
            hook(self, args, kwargs)
        return out

    def register_step_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` before each step; it may return new `(args, kwargs)`."""
        return _enter(self._step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` after each step."""
        return _enter(self._step_post_hooks, hook)

    # ---------------------------------------------------------------- state_dict

    def register_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer)` before `state_dict`."""
        return self._enter_at(self._state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` after `state_dict`; what it returns, if not None, replaces it."""
        return self._enter_at(self._state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` before `load_state_dict`; what it returns, if not None, replaces the
        dictionary.
        """
        return self._enter_at(self._load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer)` after `load_state_dict`."""
        return self._enter_at(self._load_state_dict_post_hooks, hook, prepend)

    @staticmethod
    def _enter_at(hooks: OrderedDict, hook: Callable, prepend: bool) -> RemovableHandle:
        handle = _enter(hooks, hook)
        if prepend:
            hooks.move_to_end(handle.id, last=False)
        return handle

    def state_dict(self) -> dict[str, Any]:
        """`state` by the parameters' numbers, and `param_groups` with numbers instead of tensors."""
        for hook in self._state_dict_pre_hooks.values():
            hook(self)
        numbers: dict[int, int] = {}
        packed = []
        for group in self.param_groups:
            for param in group["params"]:
                numbers.setdefault(id(param), len(numbers))
            packed.append(
                {
                    **{key: value for key, value in group.items() if key != "params"},
                    "params": [numbers[id(param)] for param in group["params"]],
                }
            )
        state = {numbers[id(key)] if isinstance(key, Tensor) else key: value for key, value in self.state.items()}
        out: dict[str, Any] = {"state": state, "param_groups": packed}
        for hook in self._state_dict_post_hooks.values():
            given = hook(self, out)
            out = out if given is None else given
        return out

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over state and options from what `state_dict` gave, here or in PyTorch.

        Tensors go to their parameter's device, and to its dtype where they are floating point.

        Raises:
            ValueError: the numbers of groups, or of parameters in a group, differ.
        """
        state_dict = dict(state_dict)
        for hook in self._load_state_dict_pre_hooks.values():
            given = hook(self, state_dict)
            state_dict = state_dict if given is None else given
        groups, saved = self.param_groups, deepcopy(state_dict["param_groups"])
        if len(groups) != len(saved):
            raise ValueError("loaded state dict has a different number of parameter groups")
        if any(len(mine["params"]) != len(theirs["params"]) for mine, theirs in zip(groups, saved)):
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of optimizer's group"
            )
        numbered = dict(
            zip(
                itertools.chain.from_iterable(group["params"] for group in saved),
                itertools.chain.from_iterable(group["params"] for group in groups),
            )
        )
        state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        for key, value in state_dict["state"].items():
            param = numbered.get(key)
            if param is None:
                state[key] = value
            else:
                state[param] = _taken(param, value)
        merged = []
        for mine, theirs in zip(groups, saved):
            if "param_names" in mine and "param_names" not in theirs:
                theirs["param_names"] = mine["param_names"]
            theirs["params"] = mine["params"]
            merged.append(theirs)
        self.__setstate__({"state": state, "param_groups": merged})
        for hook in self._load_state_dict_post_hooks.values():
            hook(self)


def _taken(param: Tensor, value: Any, key: str | None = None) -> Any:
    """A copy of a loaded state value as `param`'s optimizer keeps it: step counts as numbers, tensors where the
    parameter is.
    """
    if isinstance(value, Tensor):
        if key == "step":
            return value.item()
        dtype = param.dtype if param.is_floating_point() and value.is_floating_point() else value.dtype
        return value.detach().to(device=param.device, dtype=dtype, copy=True)
    if isinstance(value, dict):
        return {name: _taken(param, held, name) for name, held in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_taken(param, held) for held in value)
    return value
