"""Batches of sequences of unequal lengths: padded, packed step by step, and back.

Floor 7. A packed batch holds the first step of all its sequences, then the second step of those that have one, and so
on; sequences are sorted by length, longest first, so that the members of a step are the first few of the batch. Packing
and padding are the same permutation of rows read one way or the other, so each is the gradient of the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...autograd import Function
from ...copies import cat, stack
from ...dtypes import DType, bool_, float16, float32, float64, int8, int16, int32, int64, uint8
from ...functions.creation import tensor
from ...tensor import Tensor

__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]


class _Fields(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(_Fields):
    """A packed batch: `data` (rows, *), `batch_sizes` (T,), how many sequences have each step.

    Made by `pack_padded_sequence` and `pack_sequence`. `sorted_indices` says which sequence of the caller stands at
    each place of the batch, `unsorted_indices` the inverse; both are None where the caller's order is that of the
    lengths.
    """

    __slots__ = ()

    def __new__(
        cls, data: Any, batch_sizes: Tensor | None = None, sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:  # fmt: skip
        if batch_sizes is None:
            if not isinstance(data, (list, tuple)) or len(data) != 2:
                raise AssertionError("Expected data to be a list or tuple of length 2")
            data, batch_sizes = data
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """`data.to(...)`, with the indices on the same device; itself where nothing changes."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        there = [None if i is None else i.to(data.device) for i in (self.sorted_indices, self.unsorted_indices)]
        return PackedSequence(data, self.batch_sizes, *there)

    def _cast(self, dtype: DType) -> PackedSequence:
        return self.to(dtype=dtype)

    def double(self) -> PackedSequence:
        return self._cast(float64)

    def float(self) -> PackedSequence:
        return self._cast(float32)

    def half(self) -> PackedSequence:
        return self._cast(float16)

    def long(self) -> PackedSequence:
        return self._cast(int64)

    def int(self) -> PackedSequence:
        return self._cast(int32)

    def short(self) -> PackedSequence:
        return self._cast(int16)

    def char(self) -> PackedSequence:
        return self._cast(int8)

    def byte(self) -> PackedSequence:
        return self._cast(uint8)

    def cpu(self, *args: Any, **kwargs: Any) -> PackedSequence:
        return self.to("cpu", *args, **kwargs)

    def cuda(self, *args: Any, **kwargs: Any) -> PackedSequence:
        return self.to("cuda", *args, **kwargs)

    @property
    def is_cuda(self) -> bool:
        return bool(self.data.is_cuda)

    def is_pinned(self) -> bool:
        return bool(self.data.is_pinned())

    def pin_memory(self) -> PackedSequence:
        return self


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes `permutation`; None of None."""
    if permutation is None:
        return None
    return tensor(np.argsort(permutation.numpy(), kind="stable"), device=permutation.device)


# ---- rows of a padded batch to and from rows of a packed one


class _Rows(Function):
    """The rows `index` of a matrix, `fill` where that is -1; `inverse` says for each row of the matrix where it went,
    -1 if nowhere. No row goes to two places, so the gradient is the same with the two exchanged."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: np.ndarray, inverse: np.ndarray, fill: float) -> Tensor:
        ctx.index, ctx.inverse = index, inverse
        absent = index < 0
        if not len(x):
            return x.new_full((len(index), *x.shape[1:]), fill)
        rows = x.index_select(0, tensor(np.where(absent, 0, index), device=x.device))
        if not absent.any():
            return rows
        mask = tensor(absent.reshape(-1, *(1,) * (x.dim() - 1)), dtype=bool_, device=x.device)
        return rows.masked_fill(mask, fill)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        return _Rows.apply(grad, ctx.inverse, ctx.index, 0.0), None, None, None


def _places(counts: Sequence[int], steps: int, order: np.ndarray, batch_first: bool) -> tuple[np.ndarray, np.ndarray]:
    """For each packed row its row of the padded (flattened) batch, and for each padded row its packed row or -1."""
    members = np.arange(len(order))[None, :] < np.asarray(counts)[:, None]  # (T, B)
    step, member = np.nonzero(members)
    batch = order[member]
    packed = batch * steps + step if batch_first else step * len(order) + batch
    padded = np.full(steps * len(order), -1, np.int64)
    padded[packed] = np.arange(len(packed))
    return packed.astype(np.int64), padded


def _host(indices: Tensor | None, count: int) -> np.ndarray:
    return np.arange(count) if indices is None else indices.numpy()


def _lengths(lengths: Any, batch: int) -> np.ndarray:
    values = lengths.numpy() if isinstance(lengths, Tensor) else np.asarray(list(lengths), np.int64)
    if values.ndim != 1:
        raise RuntimeError(
            f"'lengths' argument should be a 1D CPU int64 tensor, but got {values.ndim}D {values.dtype} tensor"
        )
    if len(values) != batch:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(values)} (batch_size={batch})"
        )
    if (values <= 0).any():
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0"
        )
    return values.astype(np.int64)


def pack_padded_sequence(
    input: Tensor, lengths: Tensor | Sequence[int], batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack a padded batch.

    Args:
        input: (T, B, *), or (B, T, *) if `batch_first`.
        lengths: of each sequence, all positive.
        enforce_sorted: `lengths` must not grow; else they are sorted, and the result says how.

    Raises:
        RuntimeError: `lengths` do not fit, or are not sorted; `input` is empty.
    """
    if input.dim() < 2:
        raise RuntimeError(f"pack_padded_sequence: input: got {input.dim()} dimensions, wanted at least 2")
    if not input.numel():
        raise RuntimeError("Cannot pack empty tensors.")
    steps, batch = input.shape[:2] if not batch_first else (input.shape[1], input.shape[0])
    given = _lengths(lengths, batch)
    order = np.arange(batch)
    if enforce_sorted:
        if (np.diff(given) > 0).any():
            raise RuntimeError(
                "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass "
                "`enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this requirement if "
                "you do not need ONNX exportability."
            )
    else:
        order = np.argsort(-given, kind="stable")
    if given.max() > steps:
        raise RuntimeError(
            f"pack_padded_sequence: lengths: got {given.max()}, wanted at most {steps}, the padded length"
        )
    counts = [int((given > t).sum()) for t in range(given.max())]
    packed, padded = _places(counts, steps, order, batch_first)
    data = _Rows.apply(input.reshape(steps * batch, *input.shape[2:]), packed, padded, 0.0)
    indices = None if enforce_sorted else tensor(order, device=input.device)
    return PackedSequence(data, tensor(counts), indices)


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """A packed batch as a padded one, (T, B, *) or (B, T, *), in the order before sorting, and the lengths.

    Args:
        total_length: pad to this length.

    Raises:
        ValueError: `total_length` is shorter than the longest sequence.
    """
    data, batch_sizes, order, _ = sequence
    counts = batch_sizes.tolist()
    steps, batch = len(counts), counts[0]
    if total_length is not None:
        if total_length < steps:
            raise ValueError(
                "Expected total_length to be at least the length of the longest sequence in input, but got "
                f"total_length={total_length} and max sequence length being {steps}"
            )
        steps = total_length
    lengths = np.zeros(batch, np.int64)
    places = _host(order, batch)
    for n in counts:
        lengths[places[:n]] += 1
    packed, padded = _places(counts, steps, places, batch_first)
    shape = (batch, steps) if batch_first else (steps, batch)
    out = _Rows.apply(data, padded, packed, float(padding_value))
    return out.reshape(*shape, *data.shape[1:]), tensor(lengths)


def pad_sequence(
    sequences: Tensor | Iterable[Tensor], batch_first: bool = False, padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:  # fmt: skip
    """Stack sequences of shapes (T_i, *), padded to the longest: (T, B, *), or (B, T, *) if `batch_first`.

    Raises:
        RuntimeError: there is no sequence, or the other dimensions differ.
    """
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"Expected padding_side to be one of left or right, but got {padding_side}.")
    if not isinstance(sequences, Iterable):
        raise RuntimeError(
            f"pad_sequence: Expected iterable for input sequences, but got arg of type: {type(sequences)}"
        )
    held = list(sequences)
    if not held:
        raise RuntimeError("received an empty list of sequences")
    longest = max(len(s) for s in held)
    padded = []
    for s in held:
        if s.shape[1:] != held[0].shape[1:]:
            raise RuntimeError(
                f"pad_sequence: sequences: got {tuple(s.shape)} beside {tuple(held[0].shape)}, wanted equal sizes in "
                "all dimensions but the first"
            )
        missing = longest - len(s)
        if missing:
            gap = s.new_full((missing, *s.shape[1:]), padding_value)
            s = cat((s, gap) if padding_side == "right" else (gap, s))
        padded.append(s)
    return stack(padded, 0 if batch_first else 1)


def unpad_sequence(padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False) -> list[Tensor]:
    """The sequences of a padded batch, without their padding."""
    each = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [each[i, :n] for i, n in enumerate(lengths.tolist())]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences of shapes (T_i, *); see `pack_padded_sequence`."""
    lengths = [len(s) for s in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences of a packed batch, in the order before sorting."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
