"""The reductions of row-wise kernels as C: accumulators, compensated sums, keys that order the elements of an argmax.

Floor 1b. A `Reduction` writes the lines of one Reduce at one width; `rowwise_unit` places them.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..dtypes import FLOAT, DType, bfloat16, float16, float32, float64, int32, int64
from .expression import convert, lane_bytes, literal, mask_type, register_type, vector_type
from .program import Reduce
from .rowwise_analysis import ARG


def accumulator_dtype(reduce: Reduce) -> DType:
    return float32 if reduce.dtype in (float16, bfloat16) else reduce.dtype


def _merge_text(kind: str, a: str, b: str) -> str:
    """C of two partial results put together (not argmax, argmin)."""
    if kind == "sum":
        return f"{a} + {b}"
    if kind == "prod":
        return f"{a} * {b}"
    if kind == "peak":
        return f"({b} > {a}) ? {b} : {a}"
    compare = ">" if kind == "max" else "<"
    return f"({b} {compare} {a} || {b} != {b}) ? {b} : {a}"  # the chain through a is as short as can be


def key_dtype_of(source: DType, long_positions: bool) -> DType:
    return int64 if long_positions or source in (float64, int64) else int32


def _identity(kind: str, dtype: DType, width: int) -> str:
    if kind in ("sum", "prod"):
        return literal("0" if kind == "sum" else "1", dtype, width)
    if dtype.category == FLOAT:
        return literal("inf" if kind == "min" else "-inf", dtype, width)
    return literal("max" if kind == "min" else "min", dtype, width)


def _wrap(text: str, dtype: DType, width: int) -> str:
    """Integer arithmetic of narrow scalars, cast back to its own width."""
    return f"({dtype.register})({text})" if width == 1 and dtype.register in ("char", "uchar", "short") else text


class Reduction:
    """The C of one Reduce for accumulators of `width` lanes, named by `stem`.

    Float sums have a plain accumulator per copy, reset per block, and a compensated total, except in rows of one block
    (`short`); argmax and argmin have a key and a position per copy; all others one accumulator per copy.
    """

    def __init__(
        self,
        reduce: Reduce,
        number: int,
        width: int,
        copies: int,
        stem: str,
        long_positions: bool = False,
        short: bool = False,
    ):
        self.kind, self.width, self.copies, self.long_positions = reduce.kind, width, copies, long_positions
        self.stem = f"{stem}{number}"
        self.dtype = accumulator_dtype(reduce)
        self.type = register_type(self.dtype, width)
        self.blocked = self.kind == "sum" and self.dtype.category == FLOAT and not short
        self.arg = self.kind in ARG

    def key_dtype(self, source: DType) -> DType:
        """Integers that order the elements of an argmax; positions have the same size."""
        return key_dtype_of(source, self.long_positions)

    def names(self, copy: int) -> tuple[str, ...]:
        """The C variables that hold the partial result of a copy."""
        if self.arg:
            return f"{self.stem}_{copy}_key", f"{self.stem}_{copy}_at"
        return (f"{self.stem}_{copy}",)

    def before(self, source: DType) -> list[str]:
        """Declarations and first values, ahead of all blocks."""
        if self.arg:
            dtype = self.key_dtype(source)
            kind = register_type(dtype, self.width)
            least, most = literal("min", dtype, self.width), literal("max", dtype, self.width)
            return [f"{kind} {k} = {least}, {p} = {most};" for k, p in map(self.names, range(self.copies))]
        start = _identity(self.kind, self.dtype, self.width)
        out = [f"{self.type} {self.names(u)[0]} = {start};" for u in range(self.copies)]
        if self.blocked:
            out.append(f"{self.type} {self.stem}_total = {start}, {self.stem}_lost = {start};")
        return out

    def reset(self) -> list[str]:
        """First values at the start of a block."""
        if not self.blocked:
            return []
        return [f"{self.names(u)[0]} = {_identity('sum', self.dtype, self.width)};" for u in range(self.copies)]

    @property
    def counts_twice(self) -> bool:
        """Whether an element taken twice changes the result."""
        return self.kind in ("sum", "prod")

    def take(self, copy: int, text: str, source: DType, position: str, fresh: str = "") -> list[str]:
        """Add the elements `text`, a register of dtype `source`; `fresh`: int{W} with -1 in the lanes that count."""
        if not self.arg:
            (name,) = self.names(copy)
            value = convert(text, source, self.dtype, self.width) if source.register != self.dtype.register else text
            if fresh and self.counts_twice:
                lane = lane_bytes(self.dtype)
                chosen = fresh if lane == 4 else f"CONVERT({mask_type(lane, self.width)}, {fresh})"
                value = f"({chosen} ? {value} : {_identity(self.kind, self.dtype, self.width)})"
            if self.kind in ("max", "min", "peak"):
                fresh = f"{self.stem}_{copy}_x"
                return [f"{self.type} {fresh} = {value};", f"{name} = {_merge_text(self.kind, name, fresh)};"]
            return [f"{name} = {_wrap(_merge_text(self.kind, name, value), self.dtype, self.width)};"]
        dtype = self.key_dtype(source)
        kind = register_type(dtype, self.width)
        key, at = f"{self.stem}_{copy}_x", f"{self.stem}_{copy}_p"
        best = self.names(copy)
        return [
            f"{kind} {key} = {self._key(text, source, dtype)};",
            f"{kind} {at} = {convert(position, int64, dtype, self.width)};",
            *self._better(best[0], best[1], key, at),
        ]

    def _key(self, text: str, source: DType, dtype: DType) -> str:
        """C of integers in the order of the elements: a float's bits, reversed if negative, NaN above all."""
        sign = "-" if self.kind == "argmin" else ""
        if source.category == FLOAT:
            bits = "long" if source is float64 else "int"
            kind = vector_type(bits, self.width)
            # -0 is 0; adding 0 would do, but rusticl leaves it out
            zero = literal("0", source, self.width)
            raw = f"(({text}) == {zero} ? ({kind})(0) : as_{kind}({sign}({text})))"
            most = "0x7fffffffffffffffL" if bits == "long" else "0x7fffffff"
            ordered = f"({raw} ^ (({raw} >> {63 if bits == 'long' else 31}) & {most}))"
            key = f"(({text}) != ({text}) ? ({kind})({most}) : {ordered})"
            return key if dtype.register == bits else convert(key, int32, int64, self.width)
        wide = convert(text, source, dtype, self.width)
        return f"(~{wide})" if sign else wide

    def _better(self, key: str, at: str, other_key: str, other_at: str) -> list[str]:
        """Keep the greater key, at equal keys the smaller position."""
        test = f"{other_key} > {key} || ({other_key} == {key} && {other_at} < {at})"
        return [f"{at} = ({test}) ? {other_at} : {at};", f"{key} = {other_key} > {key} ? {other_key} : {key};"]

    def flush(self) -> list[str]:
        """End of a block: its sum, of all copies, goes into the compensated total."""
        if not self.blocked:
            return []
        parts = [self.names(u)[0] for u in range(self.copies)]
        while len(parts) > 1:
            parts = [f"({a} + {b})" for a, b in zip(parts[::2], parts[1::2])] + parts[len(parts) // 2 * 2 :]
        t, e = f"{self.stem}_total", f"{self.stem}_lost"
        # an infinite total makes the correction NaN: drop it
        return [
            f"{{ {self.type} y = {parts[0]} - {e}, z = {t} + y, lost = (z - {t}) - y;",
            f"  {e} = lost == lost ? lost : {literal('0', self.dtype, self.width)}; {t} = z; }}",
        ]

    def joined(self) -> list[str]:
        """Put the copies together into copy 0; for blocked sums, the total."""
        if self.blocked:
            return [f"{self.names(0)[0]} = {self.stem}_total - {self.stem}_lost;"]
        out: list[str] = []
        for u in range(1, self.copies):
            out += self.merged(self.names(0), self.names(u), self.width)
        return out

    def merged(self, into: Sequence[str], other: Sequence[str], width: int) -> list[str]:
        """`into` = both, partial results of `width` lanes."""
        if self.arg:
            return self._better(into[0], into[1], other[0], other[1])
        return [f"{into[0]} = {_wrap(_merge_text(self.kind, into[0], other[0]), self.dtype, width)};"]

    def folded(self, source: DType) -> tuple[list[str], tuple[str, ...]]:
        """Lanes of copy 0 put together: statements and the names of the scalars that result."""
        names, width, lines = self.names(0), self.width, []
        element = self.key_dtype(source).register if self.arg else self.dtype.register
        while width > 1:
            width //= 2
            low = tuple(f"{n}_low{width}" for n in self.names(0))
            high = tuple(f"{n}_high{width}" for n in self.names(0))
            kind = vector_type(element, width)
            lines += [f"{kind} {a} = {n}.lo, {b} = {n}.hi;" for n, a, b in zip(names, low, high)]
            lines += self.merged(low, high, width)
            names = low
        return lines, names
