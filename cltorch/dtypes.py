"""Element types: names, sizes, the C types that store and compute them, and PyTorch's promotion rules.

Floor 0.
"""

from __future__ import annotations

import numpy as np

BOOL, INTEGER, FLOAT = 0, 1, 2


class DType:
    """An element type, one object each; compare with `is`.

    Attributes:
        name: PyTorch's name, as 'float32'.
        itemsize: bytes per element.
        numpy: NumPy's dtype of the same bytes (bfloat16 has none and is carried as uint16).
        storage: the OpenCL C type of an element in memory; half and bfloat16 are `ushort`, bool is `uchar`.
        register: the OpenCL C type it is computed in: half and bfloat16 as `float`, bool as `int` (0 or 1).
        category: BOOL, INTEGER or FLOAT.
    """

    __slots__ = ("name", "itemsize", "numpy", "storage", "register", "category", "rank", "__weakref__")

    def __init__(self, name: str, itemsize: int, numpy: str, storage: str, register: str, category: int, rank: int):
        self.name, self.itemsize, self.numpy = name, itemsize, np.dtype(numpy)
        self.storage, self.register, self.category, self.rank = storage, register, category, rank

    @property
    def is_floating_point(self) -> bool:
        return self.category == FLOAT

    @property
    def is_complex(self) -> bool:
        return False

    @property
    def is_signed(self) -> bool:
        return self.name not in ("bool", "uint8")

    def to_complex(self) -> DType:
        raise NotImplementedError("dtype.to_complex: complex dtypes are not implemented yet")

    def __repr__(self) -> str:
        return f"cltorch.{self.name}"

    def __reduce__(self):
        return by_name, (self.name,)

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self


bool_ = DType("bool", 1, "bool", "uchar", "int", BOOL, 0)
uint8 = DType("uint8", 1, "uint8", "uchar", "uchar", INTEGER, 1)
int8 = DType("int8", 1, "int8", "char", "char", INTEGER, 1)
int16 = DType("int16", 2, "int16", "short", "short", INTEGER, 2)
int32 = DType("int32", 4, "int32", "int", "int", INTEGER, 3)
int64 = DType("int64", 8, "int64", "long", "long", INTEGER, 4)
float16 = DType("float16", 2, "float16", "ushort", "float", FLOAT, 5)
bfloat16 = DType("bfloat16", 2, "uint16", "ushort", "float", FLOAT, 5)
float32 = DType("float32", 4, "float32", "float", "float", FLOAT, 6)
float64 = DType("float64", 8, "float64", "double", "double", FLOAT, 7)

ALL = (bool_, uint8, int8, int16, int32, int64, float16, bfloat16, float32, float64)
_BY_NAME = {d.name: d for d in ALL}
_ALIASES = {"half": float16, "float": float32, "double": float64, "short": int16, "int": int32, "long": int64}
_FROM_NUMPY = {d.numpy: d for d in ALL if d is not bfloat16}


def by_name(name: str) -> DType:
    """The dtype called `name` ('float32', 'half', …)."""
    found = _BY_NAME.get(name) or _ALIASES.get(name)
    if found is None:
        raise TypeError(f"dtype: got {name!r}, wanted one of {', '.join(_BY_NAME)}")
    return found


def from_numpy(dtype: object) -> DType:
    """The dtype with the same elements as NumPy's `dtype`."""
    wanted = np.dtype(dtype)  # type: ignore[call-overload]
    found = _FROM_NUMPY.get(wanted) or _FROM_NUMPY.get(wanted.newbyteorder("="))
    if found is None:
        raise TypeError(
            f"can't convert np.ndarray of type {wanted}. The only supported types are: "
            f"{', '.join(d.name for d in ALL if d is not bfloat16)}."
        )
    return found


_default = float32


def get_default_dtype() -> DType:
    return _default


def set_default_dtype(dtype: DType) -> None:
    """The dtype of Python floats and of integer-to-float ops. Raises TypeError for a dtype that is not floating point.
    """
    global _default
    if not isinstance(dtype, DType) or dtype.category != FLOAT:
        raise TypeError(f"set_default_dtype: got {dtype}, wanted a floating point dtype")
    _default = dtype


def promote(a: DType, b: DType) -> DType:
    """PyTorch's `promote_types`.

    >>> promote(int64, float16), promote(uint8, int8), promote(float16, bfloat16)
    (cltorch.float16, cltorch.int16, cltorch.float32)
    """
    if a is b:
        return a
    if a.rank == b.rank:  # uint8 with int8, float16 with bfloat16: the next wider one
        return int16 if a.category == INTEGER else float32
    return a if a.rank > b.rank else b


def of_number(value: object) -> DType:
    """The dtype a Python number counts as in promotion."""
    if isinstance(value, bool):
        return bool_
    if isinstance(value, int):
        return int64
    if isinstance(value, float):
        return _default
    raise TypeError(f"got a {type(value).__name__}, wanted a number")


class finfo:
    """Limits of a floating point dtype (default: the default dtype), with the attributes of `torch.finfo`.

    >>> finfo(float16).max, finfo(bfloat16).eps
    (65504.0, 0.0078125)
    """

    def __init__(self, type: DType | None = None):
        dtype = _default if type is None else type
        if not isinstance(dtype, DType) or dtype.category != FLOAT:
            raise TypeError(f"torch.finfo() requires a floating point input type. Use torch.iinfo to handle {dtype!r}")
        self.dtype, self.bits = dtype.name, dtype.itemsize * 8
        if dtype is bfloat16:
            self.eps, self.max, self.tiny, self.resolution = 2.0**-7, (2 - 2.0**-7) * 2.0**127, 2.0**-126, 0.01
            self.smallest_subnormal = 2.0**-133
        else:
            facts = np.finfo(dtype.numpy)
            self.eps, self.max, self.tiny = float(facts.eps), float(facts.max), float(facts.tiny)
            self.resolution, self.smallest_subnormal = float(facts.resolution), float(facts.smallest_subnormal)
        self.min, self.smallest_normal = -self.max, self.tiny

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, eps={self.eps:g}, "
            f"smallest_normal={self.smallest_normal:g}, tiny={self.tiny:g}, dtype={self.dtype})"
        )


class iinfo:
    """Limits of an integer dtype, with the attributes of `torch.iinfo`.

    >>> iinfo(uint8).max, iinfo(int16).min
    (255, -32768)
    """

    def __init__(self, type: DType):
        if not isinstance(type, DType) or type.category != INTEGER:
            raise TypeError(f"torch.iinfo() requires an integer input type. Use torch.finfo to handle {type!r}")
        facts = np.iinfo(type.numpy)
        self.dtype, self.bits, self.min, self.max = type.name, type.itemsize * 8, int(facts.min), int(facts.max)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"
