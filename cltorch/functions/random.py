"""Random tensors, generators and seeds.

Floor 6. A Generator is a seed and an offset into the stream of that seed; a draw of n elements uses offset .. offset
+ n and moves on. The numbers are the same on every device. In-place forms draw and copy.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd import history
from ..autograd.checkpoint import register_random
from ..autograd.modes import no_grad, state
from ..device import device as Device
from ..device import storage_device
from ..dispatch import cast, store_out
from ..dtypes import BOOL, FLOAT, DType, int64
from ..engine import Storage, make_spec, record
from ..ops import random as records
from ..shapes import layout
from ..tensor import Tensor, from_array, make
from .creation import bfloat16_bits, counted, sizes
from .derive import check_tensor
from .indexing import searchsorted
from .nodes import give_backward

__all__ = [
    "Generator",
    "default_generator",
    "manual_seed",
    "seed",
    "initial_seed",
    "get_rng_state",
    "set_rng_state",
    "fork_rng",
    "rand",
    "randn",
    "randint",
    "randperm",
    "rand_like",
    "randn_like",
    "randint_like",
    "normal",
    "bernoulli",
    "multinomial",
    "poisson",
    "dropout",
]

_DEFAULT_SEED = 67280421310721


class Generator:
    """A stream of random numbers.

    >>> g = cltorch.Generator().manual_seed(0)
    >>> bool((cltorch.rand(3, generator=g) < 1).all())
    True
    """

    __slots__ = ("_seed", "_offset", "_device", "__weakref__")

    def __init__(self, device: Any = None):
        self._device = None if device is None else Device(device)
        self._seed, self._offset = _DEFAULT_SEED, 0

    @property
    def device(self) -> Device:
        return self._device if self._device is not None else Device("cpu")

    def manual_seed(self, seed: int) -> Generator:
        """Begin the stream of `seed`, an integer of 64 bits."""
        seed = int(seed)
        if not -(1 << 63) <= seed < 1 << 64:
            raise RuntimeError(f"Overflow when unpacking long: manual_seed: got {seed}, wanted 64 bits")
        self._seed, self._offset = seed & (1 << 64) - 1, 0
        return self

    def initial_seed(self) -> int:
        """The seed of the stream."""
        return self._seed

    def seed(self) -> int:
        """Begin the stream of a seed from the system; returns it."""
        self.manual_seed(int.from_bytes(os.urandom(8), "little") >> 11)
        return self._seed

    def get_state(self) -> Tensor:
        """Seed and offset as bytes."""
        return from_array(np.array([self._seed, self._offset], np.uint64).view(np.uint8))

    def set_state(self, new_state: Tensor) -> Generator:
        """Go to where `get_state` was called. **Raises** RuntimeError for what is no state."""
        if not isinstance(new_state, Tensor) or new_state.dtype is not dtypes.uint8 or new_state.numel() != 16:
            raise RuntimeError(
                "Generator.set_state: new_state: got something else, wanted a uint8 tensor of 16 elements from "
                "get_state"
            )
        self._seed, self._offset = (int(v) for v in new_state.numpy().view(np.uint64))
        return self

    def clone_state(self) -> Generator:
        """A generator at the same place of the same stream."""
        copy = Generator(self._device)
        copy._seed, copy._offset = self._seed, self._offset
        return copy

    def take(self, n: int) -> tuple[int, int]:
        """(seed, offset) as signed 64-bit numbers for the next `n` elements."""
        offset = self._offset
        self._offset = (offset + n) & (1 << 64) - 1
        return _signed(self._seed), _signed(offset)

    def __reduce__(self) -> tuple:
        return _generator, (self._device, self._seed, self._offset)


def _generator(device: Any, seed: int, offset: int) -> Generator:
    made = Generator(device)
    made._seed, made._offset = seed, offset
    return made


def _signed(n: int) -> int:
    return n - (1 << 64) if n >= 1 << 63 else n


default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Seed the default generator, from which all devices draw."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Seed the default generator from the system."""
    return default_generator.seed()


def initial_seed() -> int:
    """The default generator's seed."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The default generator's state."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Set the default generator's state."""
    default_generator.set_state(new_state)


register_random(get_rng_state, set_rng_state)  # checkpointing recomputes with the same random numbers


class fork_rng:
    """Within it the default generator may be used and seeded; afterwards it is where it was."""

    def __init__(self, devices: Any = None, enabled: bool = True, **_: Any):
        self.enabled = enabled

    def __enter__(self) -> None:
        self._before = (default_generator._seed, default_generator._offset)

    def __exit__(self, *exception: object) -> None:
        if self.enabled:
            default_generator._seed, default_generator._offset = self._before


# ---- drawing


def drawn(
    op: Any, shape: tuple[int, ...], dtype: DType, device: Any, generator: Generator | None, *numbers: int
) -> Tensor:
    """A fresh tensor of the runtime device `device`, drawn by a record of ops/random.py."""
    lay = layout(dtype, shape)
    index = counted(shape, int64, device)
    storage = Storage(device, lay.nbytes)
    spec = make_spec(op, (index._layout, *(int64,) * (2 + len(numbers))), (lay,))
    record(spec, (index._storage,), (storage,), ((generator or default_generator).take(lay.numel) + numbers))
    return make(storage, lay)


def _float_only(op: str, dtype: DType) -> None:
    if dtype.category != FLOAT:
        raise RuntimeError(f"\"{op}\" not implemented for '{dtype.name.capitalize()}'")


def _new(
    op: str,
    record_: Any,
    size: Sequence[Any],
    dtype: DType | None,
    device: Any,
    generator: Generator | None,
    requires_grad: bool,
    out: Any,
) -> Tensor:
    kind = dtype or (out.dtype if out is not None else dtypes.get_default_dtype())
    _float_only(op, kind)
    target = storage_device(device) if out is None else out._storage.device
    found = drawn(record_(kind), sizes(op, size), kind, target, generator)
    if out is not None:
        return store_out(op, out, found)
    if requires_grad:
        found.requires_grad = True
    return found


def rand(
    *size: Any,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Any = None,
    **_: Any,
) -> Tensor:
    """Uniform in [0, 1)."""
    return _new("rand", records.uniform, size or (_.get("size", ()),), dtype, device, generator, requires_grad, out)


def randn(
    *size: Any,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Any = None,
    **_: Any,
) -> Tensor:
    """Standard normal."""
    return _new("randn", records.normal, size or (_.get("size", ()),), dtype, device, generator, requires_grad, out)


def _integers(
    op: str, low: int, high: int, shape: tuple[int, ...], dtype: DType, device: Any, generator: Generator | None
) -> Tensor:
    if low >= high:
        raise RuntimeError(f"{op}: random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    if dtype.category != FLOAT:
        facts = np.iinfo(dtype.numpy) if dtype.category != BOOL else None
        least, most = (0, 1) if facts is None else (int(facts.min), int(facts.max))
        if low < least or high - 1 > most:
            raise RuntimeError(
                f"{op}: from and to - 1 must lie within the bounds of {dtype.name}, got {low} and {high}"
            )
    if high - low >= 1 << 63:
        found = drawn(records.LONG, shape, int64, device, generator) * 2 + drawn(
            records.BELOW, shape, int64, device, generator, 2
        )
        return cast(found, dtype)
    found = drawn(records.BELOW, shape, int64, device, generator, high - low)
    return cast(found + low if low else found, dtype)


def randint(
    *args: Any,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Any = None,
    **named: Any,
) -> Tensor:
    """Uniform integers: `randint(high, size)` in [0, high), `randint(low, high, size)` in [low, high)."""
    given = list(args)
    size = named.pop("size", None)
    if size is None:
        size = given.pop()
    low, high = named.pop("low", 0), named.pop("high", None)
    if len(given) == 2:
        low, high = given
    elif len(given) == 1:
        low, high = (given[0], high) if high is not None else (low, given[0])
    if high is None:
        raise TypeError("randint() missing required argument: 'high'")
    kind = dtype or (out.dtype if out is not None else int64)
    found = _integers(
        "randint", int(low), int(high), sizes("randint", (size,)), kind, storage_device(device), generator
    )
    if out is not None:
        return store_out("randint", out, found)
    if requires_grad:
        found.requires_grad = True
    return found


def randperm(
    n: int,
    *,
    generator: Generator | None = None,
    dtype: DType = int64,
    device: Any = None,
    out: Any = None,
    requires_grad: bool = False,
    **_: Any,
) -> Tensor:
    """0 .. n - 1 in random order: the order that sorts random numbers of 63 bits."""
    if n < 0:
        raise RuntimeError(f"n must be non-negative, got {n}")
    target = storage_device(device)
    if n < 2:
        found = counted((n,), dtype, target)
    else:
        found = cast(drawn(records.LONG, (n,), int64, target, generator).sort().indices, dtype)
    return found if out is None else store_out("randperm", out, found)


def _like(
    op: Any, name: str, input: Tensor, dtype: DType | None, device: Any, requires_grad: bool, generator: Any
) -> Tensor:
    check_tensor(name, input=input)
    kind = dtype or input.dtype
    _float_only(name, kind)
    found = drawn(
        op(kind),
        tuple(input.shape),
        kind,
        input._storage.device if device is None else storage_device(device),
        generator,
    )
    if requires_grad:
        found.requires_grad = True
    return found


def rand_like(
    input: Tensor,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    generator: Any = None,
    **_: Any,
) -> Tensor:
    """Uniform in [0, 1), with the shape, dtype and device of `input`."""
    return _like(records.uniform, "rand_like", input, dtype, device, requires_grad, generator)


def randn_like(
    input: Tensor,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    generator: Any = None,
    **_: Any,
) -> Tensor:
    """Standard normal, with the shape, dtype and device of `input`."""
    return _like(records.normal, "randn_like", input, dtype, device, requires_grad, generator)


def randint_like(
    input: Tensor,
    low: int,
    high: int | None = None,
    *,
    dtype: DType | None = None,
    device: Any = None,
    generator: Any = None,
    requires_grad: bool = False,
    **_: Any,
) -> Tensor:
    """Uniform integers in [low, high), or [0, low) without `high`, with the shape, dtype and device of `input`."""
    check_tensor("randint_like", input=input)
    low, high = (0, low) if high is None else (low, high)
    target = input._storage.device if device is None else storage_device(device)
    found = _integers("randint_like", int(low), int(high), tuple(input.shape), dtype or input.dtype, target, generator)
    if requires_grad:
        found.requires_grad = True
    return found


# ---- distributions


def _uniform_like(x: Tensor, generator: Generator | None, dtype: DType | None = None) -> Tensor:
    """Uniform numbers for each element of `x`, at least float32."""
    kind = dtype or x.dtype
    if kind.category != FLOAT or kind.itemsize < 4:
        kind = dtypes.float32
    return drawn(records.uniform(kind), tuple(x.shape), kind, x._storage.device, generator)


def normal(
    mean: Any,
    std: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Any = None,
    out: Any = None,
    requires_grad: bool = False,
    **_: Any,
) -> Tensor:
    """Normal numbers: `normal(mean, std)` of tensors (one may be a number), or of numbers with a `size`."""
    std = 1.0 if std is None else std
    if not isinstance(std, Tensor) and std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    if size is not None:
        kind = dtype or dtypes.get_default_dtype()
        found = (
            drawn(records.normal(kind), sizes("normal", (size,)), kind, storage_device(device), generator) * std + mean
        )
    else:
        like = mean if isinstance(mean, Tensor) else std
        check_tensor("normal", mean=like)
        with no_grad():
            whole = mean + std * 1  # the common shape
            z = drawn(records.normal(whole.dtype), tuple(whole.shape), whole.dtype, like._storage.device, generator)
            found = z * std + mean
        shapes = [tuple(x.shape) if isinstance(x, Tensor) else () for x in (mean, std)]
        found = give_backward(  # as PyTorch: the numbers count as constants
            "NormalBackward0", (mean, std), found, lambda g: tuple(g.new_zeros(shape) for shape in shapes)
        )
    if out is not None:
        return store_out("normal", out, found)
    if requires_grad:
        found.requires_grad = True
    return found


def _probability(p: Any) -> None:
    if not isinstance(p, Tensor) and not 0 <= p <= 1:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p}")


def bernoulli(input: Tensor, p: float | None = None, *, generator: Generator | None = None, out: Any = None) -> Tensor:
    """1 with probability `input` (or `p`), else 0; its gradient is 0."""
    check_tensor("bernoulli", input=input)
    _float_only("bernoulli", input.dtype)
    if p is not None:
        _probability(p)
    chance = input if p is None else p
    found = cast(_uniform_like(input, generator) < chance, input.dtype)
    if out is not None:
        return store_out("bernoulli", out, found)
    return give_backward("BernoulliBackward0", (input,), found, lambda g: g.new_zeros(g.shape))


def dropout(input: Tensor, p: float = 0.5, train: bool = True, *, generator: Generator | None = None) -> Tensor:
    """Each element 0 with probability p, the others divided by 1 - p; `input` itself if not `train`.

    **Raises** ValueError for p outside [0, 1].
    """
    check_tensor("dropout", input=input)
    if not 0.0 <= p <= 1.0:
        raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {p}")
    if not train or p == 0.0:
        return input
    if p == 1.0:
        return input * 0.0
    keep = _uniform_like(input, generator) >= p
    return (input * (1.0 / (1.0 - p))).where(keep, 0.0)


def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None, out: Any = None
) -> Tensor:
    """Positions drawn with probabilities proportional to the rows of `input`; without replacement by the largest of
    log-uniform keys.

    **Raises** RuntimeError for bad shapes and numbers of samples. Probabilities in a tensor are not looked at.
    **Source** Efraimidis and Spirakis, 'Weighted random sampling with a reservoir', 2006.
    """
    check_tensor("multinomial", input=input)
    if input.dim() not in (1, 2):
        raise RuntimeError("prob_dist must be 1 or 2 dim")
    _float_only("multinomial", input.dtype)
    n = input.shape[-1]
    if num_samples <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    if not replacement and num_samples > n:
        raise RuntimeError("cannot sample n_sample > prob_dist.size(-1) samples without replacement")
    with no_grad():
        weights = input.detach()
        if weights.dtype.itemsize < 4:
            weights = cast(weights, dtypes.float32)
        if replacement:
            ends = weights.cumsum(-1)
            shape = (*input.shape[:-1], num_samples)
            where = drawn(
                records.uniform(weights.dtype), shape, weights.dtype, input._storage.device, generator
            ) * ends.narrow(-1, n - 1, 1)
            found = searchsorted(ends.contiguous(), where, right=True).clamp(max=n - 1)
        else:
            keys = (
                1 - _uniform_like(weights, generator)
            ).log() / weights  # exponential clocks: the largest rings first
            keys = keys.masked_fill(weights <= 0, -math.inf)
            found = keys.topk(num_samples, -1).indices
    return found if out is None else store_out("multinomial", out, found)


def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Poisson numbers of the given rates: by the cumulative distribution on the host.

    A decomposition on the host: rates are read back, so it waits for the device.
    """
    check_tensor("poisson", input=input)
    u = (1 - _uniform_like(input, generator, dtypes.float32)).numpy().astype(np.float64).reshape(-1)
    rates = input.detach()._array().astype(np.float64).reshape(-1)
    count, term = np.zeros(u.size), np.exp(-rates)
    total = term.copy()
    for k in range(1, int(rates.max(initial=0) + 12 * math.sqrt(rates.max(initial=0)) + 20)):
        above = u > total
        if not above.any():
            break
        count += above
        term = term * rates / k
        total = total + term
    return _host_values(count.reshape(tuple(input.shape)), input)


def _host_values(values: np.ndarray, like: Tensor) -> Tensor:
    if like.dtype is dtypes.bfloat16:
        return from_array(bfloat16_bits(values.astype(np.float32)), like.dtype, like.device)
    return from_array(values.astype(like.dtype.numpy), like.dtype, like.device)


# ---- in place


def _fill(self: Tensor, values: Tensor) -> Tensor:
    with no_grad():
        target = self.detach() if self.requires_grad else self
        target.copy_(values)
    return self


def _uniform_(
    self: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Generator | None = None, **named: Any
) -> Tensor:
    """Fill with uniform numbers in [from, to)."""
    from_ = named.get("from", from_)
    _float_only("uniform_", self.dtype)
    if from_ > to:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={from_} > to={to}")
    u = drawn(records.uniform(self.dtype), tuple(self.shape), self.dtype, self._storage.device, generator)
    return _write("uniform_", self, u if (from_, to) == (0, 1) else u * (to - from_) + from_)


def _write(op: str, self: Tensor, values: Tensor) -> Tensor:
    """Overwrite `self`; its history ends there, as the numbers do not depend on it."""
    history.check_in_place(op, self, state.grad and self.requires_grad)
    if self.requires_grad and self.grad_fn is not None:
        return self.copy_(values)
    return _fill(self, values)


def _normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with normal numbers."""
    _float_only("normal_", self.dtype)
    if std < 0:
        raise RuntimeError(f"normal_ expects std >= 0.0, but found std={std}")
    z = drawn(records.normal(self.dtype), tuple(self.shape), self.dtype, self._storage.device, generator)
    return _write("normal_", self, z if (mean, std) == (0, 1) else z * std + mean)


def _exponential_(self: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with exponential numbers of rate `lambd`."""
    _float_only("exponential_", self.dtype)
    if not lambd > 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd}")
    return _write("exponential_", self, (1 - _uniform_like(self, generator)).log() * (-1.0 / lambd))


def _log_normal_(self: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with numbers whose logarithm is normal."""
    _float_only("log_normal_", self.dtype)
    if not std > 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std}")
    z = drawn(records.normal(self.dtype), tuple(self.shape), self.dtype, self._storage.device, generator)
    return _write("log_normal_", self, (z * std + mean).exp())


def _cauchy_(self: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with Cauchy numbers."""
    _float_only("cauchy_", self.dtype)
    if not sigma > 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma}")
    return _write("cauchy_", self, ((_uniform_like(self, generator) - 0.5) * math.pi).tan() * sigma + median)


def _geometric_(self: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
    """Fill with numbers of trials until success of probability p."""
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p}")
    u = 1 - _uniform_like(self, generator)
    return _write("geometric_", self, (u.log() / math.log1p(-p)).ceil().clamp(min=1))


def _bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Fill with 1 with probability p (a number or tensor), else 0."""
    _probability(p)
    return _write("bernoulli_", self, _uniform_like(self, generator) < p)


def _random_(
    self: Tensor, from_: int = 0, to: int | None = None, *, generator: Generator | None = None, **named: Any
) -> Tensor:
    """Fill with uniform integers: `random_()` over all (up to 2^mantissa for floats), `random_(to)` in [0, to),
    `random_(from, to)`.
    """
    low, high = named.get("from", from_), to
    if high is None and low:
        low, high = 0, low
    if high is None:
        mantissa = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}
        high = (
            (1 << mantissa[self.dtype.name]) + 1
            if self.dtype.category == FLOAT
            else (2 if self.dtype.category == BOOL else int(np.iinfo(self.dtype.numpy).max) + 1)
        )
    return _write(
        "random_",
        self,
        _integers("random_", int(low), int(high), tuple(self.shape), self.dtype, self._storage.device, generator),
    )


METHODS: dict[str, Any] = {
    "uniform_": _uniform_,
    "normal_": _normal_,
    "exponential_": _exponential_,
    "log_normal_": _log_normal_,
    "cauchy_": _cauchy_,
    "geometric_": _geometric_,
    "bernoulli": bernoulli,
    "bernoulli_": _bernoulli_,
    "random_": _random_,
    "multinomial": multinomial,
}


def host_seed(generator: Generator | None = None) -> int:
    """A number of 128 bits for host-side random choices (order of samples, image transforms); each call takes the
    next of the stream.

    Nothing touches a device, so data-loader workers may call it.
    """
    seed, offset = (default_generator if generator is None else generator).take(1)
    return (seed & (1 << 64) - 1) << 64 | offset & (1 << 64) - 1
