"""L-BFGS: the closure is called several times per step, and the direction comes from the last differences of gradients.

Floor 7.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import isfinite, sqrt
from typing import Any

from ..autograd import enable_grad, no_grad
from ..copies import cat
from ..tensor import Tensor
from .optimizer import Optimizer, check_range, number

_DECREASE, _CURVATURE, _TRIALS = 1e-4, 0.9, 25


class LBFGS(Optimizer):
    """Quasi-Newton steps p += t d, d = -H g, H from the last `history_size` pairs of moves and gradient differences.

    Args:
        max_iter, max_eval: iterations and calls of the closure per step (max_eval: 1.25 max_iter if None).
        tolerance_grad, tolerance_change: a step ends when no gradient, or no move, is larger.
        line_search_fn: None (t = lr, at first lr / |g|_1 if that is less) or 'strong_wolfe'.

    Source: Nocedal and Wright, Numerical Optimization, 2006, algorithms 7.4, 3.5 and 3.6.

    Raises:
        ValueError: more than one parameter group.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        check_range("learning rate", number(lr))
        if line_search_fn not in (None, "strong_wolfe"):
            raise RuntimeError("only 'strong_wolfe' is supported")
        super().__init__(
            params,
            {
                "lr": lr,
                "max_iter": max_iter,
                "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                "tolerance_grad": tolerance_grad,
                "tolerance_change": tolerance_change,
                "history_size": history_size,
                "line_search_fn": line_search_fn,
            },
        )
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    # ---- parameters as one vector

    @property
    def _params(self) -> list[Tensor]:
        return self.param_groups[0]["params"]

    def _gradient(self) -> Tensor:
        parts = [p.new_zeros(p.numel()) if p.grad is None else p.grad.detach().reshape(-1) for p in self._params]
        return parts[0].clone() if len(parts) == 1 else cat(parts)

    def _place(self, start: list[Tensor], direction: Tensor, t: float) -> None:
        """params = start + t * direction."""
        first = 0
        for param, origin in zip(self._params, start):
            n = param.numel()
            param.copy_(origin.add(direction[first : first + n].reshape(param.shape), alpha=t))
            first += n

    def _step(self, closure: Callable[[], Any] | None = None) -> Any:
        if closure is None:
            raise TypeError("LBFGS.step() missing 1 required positional argument: 'closure'")
        with no_grad():
            return self._minimize(closure)

    def _minimize(self, closure: Callable[[], Any]) -> Any:
        group = self.param_groups[0]
        lr, change = number(group["lr"]), group["tolerance_change"]
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        with enable_grad():
            first = closure()
        loss, evals, gradient = float(first), 1, self._gradient()
        state["func_evals"] += 1
        if float(gradient.abs().max()) <= group["tolerance_grad"]:
            return first
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            direction = self._direction(state, gradient)
            t = min(1.0, 1.0 / float(gradient.abs().sum())) * lr if state["n_iter"] == 1 else lr
            slope = float(gradient.dot(direction))
            state["d"], state["prev_flat_grad"] = direction, gradient
            if slope > -change:
                break
            before, calls = loss, 1
            if group["line_search_fn"] is None:
                self._place([p.clone() for p in self._params], direction, t)
                if iteration == group["max_iter"]:
                    state["t"] = t
                    break  # the next step begins by evaluating here
                with enable_grad():
                    loss = float(closure())
                gradient = self._gradient()
            else:
                t, loss, gradient, calls = self._search(closure, direction, t, loss, gradient, slope, change)
            state["t"] = t
            evals += calls
            state["func_evals"] += calls
            if (
                evals >= group["max_eval"]
                or float(gradient.abs().max()) <= group["tolerance_grad"]
                or float(direction.abs().max()) * t <= change
                or abs(loss - before) < change
            ):
                break
        return first

    def _direction(self, state: dict[str, Any], gradient: Tensor) -> Tensor:
        """-H g by two loops over the pairs (y, s)."""
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
            return -gradient
        differences, moves, inverses = state["old_dirs"], state["old_stps"], state["ro"]
        y, s = gradient - state["prev_flat_grad"], state["d"] * state["t"]
        along = float(y.dot(s))
        if along > 1e-10:
            if len(moves) == self.param_groups[0]["history_size"]:
                for kept in (differences, moves, inverses):
                    kept.pop(0)
            differences.append(y)
            moves.append(s)
            inverses.append(1.0 / along)
            state["H_diag"] = along / float(y.dot(y))
        shares = []  # read as numbers, so that two kernels serve a history of any length
        q = -gradient
        for y, s, inverse in zip(reversed(differences), reversed(moves), reversed(inverses)):
            share = float(s.dot(q)) * inverse
            shares.append(share)
            q.add_(y, alpha=-share)
        q.mul_(state["H_diag"])
        for y, s, inverse, share in zip(differences, moves, inverses, reversed(shares)):
            q.add_(s, alpha=share - float(y.dot(q)) * inverse)
        return q

    # ---- the line search

    def _search(
        self,
        closure: Callable[[], Any],
        direction: Tensor,
        t: float,
        loss: float,
        gradient: Tensor,
        slope: float,
        change: float,
    ) -> tuple[float, float, Tensor, int]:
        """A step that fulfils the strong Wolfe conditions: (t, loss, gradient, calls of the closure)."""
        start = [p.clone() for p in self._params]
        widest = float(direction.abs().max())
        calls = 0

        def at(t: float) -> tuple[float, float, float, Tensor]:
            nonlocal calls
            self._place(start, direction, t)
            with enable_grad():
                found = float(closure())
            calls += 1
            there = self._gradient()
            return t, found, float(there.dot(direction)), there

        low = high = previous = (0.0, loss, slope, gradient)
        for trial in range(_TRIALS):
            point = at(t)
            if point[1] > loss + _DECREASE * t * slope or (trial and point[1] >= previous[1]) or not isfinite(point[1]):
                low, high = previous, point
                break
            if abs(point[2]) <= -_CURVATURE * slope:
                return point[0], point[1], point[3], calls
            if point[2] >= 0:
                low, high = point, previous
                break
            nearest = t + 0.01 * (t - previous[0])
            t, previous = _cubic_minimum(previous, point, nearest, t * 10), point
            low = high = point
        while calls < _TRIALS and abs(high[0] - low[0]) * widest >= change:
            left, right = sorted((low[0], high[0]))
            t = _cubic_minimum(low, high, left, right)
            margin = 0.1 * (right - left)  # not too near to either end
            t = min(max(t, left + margin), right - margin)
            point = at(t)
            if point[1] > loss + _DECREASE * t * slope or point[1] >= low[1] or not isfinite(point[1]):
                high = point
                continue
            if abs(point[2]) <= -_CURVATURE * slope:
                return point[0], point[1], point[3], calls
            if point[2] * (high[0] - low[0]) >= 0:
                high = low
            low = point
        self._place(start, direction, low[0])
        return low[0], low[1], low[3], calls


def _cubic_minimum(
    a: tuple[float, float, float, Tensor], b: tuple[float, float, float, Tensor], low: float, high: float
) -> float:
    """Where the cubic through values and slopes of two points is least, within bounds; the middle if nowhere."""
    (ta, fa, ga), (tb, fb, gb) = sorted((a[:3], b[:3]))
    middle = (low + high) / 2
    if ta == tb or not isfinite(fa) or not isfinite(fb):
        return middle
    d1 = ga + gb - 3 * (fa - fb) / (ta - tb)
    square = d1 * d1 - ga * gb
    if square < 0:
        return middle
    d2 = sqrt(square)
    if gb - ga + 2 * d2 == 0:
        return middle
    return min(max(tb - (tb - ta) * ((gb + d2 - d1) / (gb - ga + 2 * d2)), low), high)
