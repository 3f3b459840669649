"""`save` and `load` in PyTorch's own zip format, so that checkpoints go both ways.

Floor 7. A checkpoint is a zip of `data.pkl` (the object, with tensors as calls of `torch._utils._rebuild_tensor_v2` on
numbered storages) and one raw file per storage. Writing goes to a temporary file that is renamed when complete. Reading
uses an unpickler that knows tensors, containers and numbers and refuses everything else, unless `weights_only=False`.

Source: the layout of files written by PyTorch's `torch.save` since 1.6 (serialization notes in its documentation).
"""

from __future__ import annotations

import io
import os
import pickle
import struct
import sys
import tempfile
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from . import dtypes, engine
from .device import device as Device
from .device import storage_device
from .dtypes import DType
from .nn.parameter import Parameter
from .shapes import layout
from .tensor import Size, Tensor, make

ALIGNMENT = 64  # bytes, of each storage in the file, as PyTorch writes it
PROTOCOL = 2

_STORAGE_NAMES = {
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "int16": "ShortStorage",
    "int8": "CharStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
}
_STORAGE_DTYPES = {name: dtypes.by_name(dtype) for dtype, name in _STORAGE_NAMES.items()}


class _Global:
    """An object that is pickled as the bare name `module.name`, whether or not that exists here."""

    def __init__(self, module: str, name: str):
        self.module, self.name = module, name

    def __call__(self, *args: Any) -> Any:
        raise TypeError(f"{self.module}.{self.name} stands for a name in a file only")


class _StorageReference:
    """What `persistent_id` turns into a reference to a numbered storage."""

    def __init__(self, key: str, dtype: DType, numel: int, location: str):
        self.key, self.dtype, self.numel, self.location = key, dtype, numel, location


_REBUILD_TENSOR = _Global("torch._utils", "_rebuild_tensor_v2")
_REBUILD_PARAMETER = _Global("torch._utils", "_rebuild_parameter")
_SIZE, _DEVICE = _Global("torch", "Size"), _Global("torch", "device")
_DTYPES = {d: _Global("torch", d.name) for d in dtypes.ALL}
_STORAGE_TYPES = {d: _Global("torch", _STORAGE_NAMES[d.name]) for d in dtypes.ALL}


class _Pickler(pickle._Pickler):  # type: ignore[name-defined,misc]
    """Writes tensors, sizes, dtypes and devices as PyTorch does. (Python's own pickler class, because it lets names be
    chosen.)
    """

    def __init__(self, file: IO[bytes]):
        super().__init__(file, PROTOCOL)
        self.storages: dict[int, tuple[str, Any]] = {}  # id -> (key, storage)

    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, _StorageReference):
            return "storage", _STORAGE_TYPES[obj.dtype], obj.key, obj.location, obj.numel
        return None

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Tensor):
            return self._reduce_tensor(obj)
        if type(obj) is Size:
            return _SIZE, (tuple(obj),)
        if isinstance(obj, Device):
            return _DEVICE, ("cpu",)
        return NotImplemented

    def save_global(self, obj: Any, name: str | None = None) -> None:
        if isinstance(obj, _Global):
            self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
            self.memoize(obj)
            return
        super().save_global(obj, name)

    def save(self, obj: Any, save_persistent_id: bool = True) -> Any:
        if isinstance(obj, DType):
            obj = _DTYPES[obj]
        if isinstance(obj, _Global):
            known = self.memo.get(id(obj))
            return self.write(self.get(known[0])) if known else self.save_global(obj)
        return super().save(obj, save_persistent_id)

    def _reduce_tensor(self, tensor: Tensor) -> tuple:
        storage, view = tensor._storage, tensor._layout
        key, _ = self.storages.setdefault(id(storage), (str(len(self.storages)), storage))
        reference = _StorageReference(key, view.dtype, storage.nbytes // view.dtype.itemsize, "cpu")
        if isinstance(tensor, Parameter):
            data = tensor.detach()
            return _REBUILD_PARAMETER, (data, tensor.requires_grad, OrderedDict())
        requires_grad = tensor.requires_grad and tensor.is_leaf
        return _REBUILD_TENSOR, (
            reference,
            view.offset,
            tuple(view.shape),
            tuple(view.stride),
            requires_grad,
            OrderedDict(),
        )


def _bytes_of(storage: Any) -> np.ndarray:
    """All bytes of a storage, in host memory."""
    return engine.read(storage, layout(dtypes.uint8, (storage.nbytes,)))


def _write_zip(obj: Any, file: IO[bytes], name: str) -> None:
    stream = io.BytesIO()
    pickler = _Pickler(stream)
    pickler.dump(obj)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:

        def add(entry: str, data: Any) -> None:
            info = zipfile.ZipInfo(f"{name}/{entry}", (1980, 1, 1, 0, 0, 0))
            start = archive.fp.tell() + 30 + len(info.filename.encode()) + 4  # type: ignore[union-attr]
            if len(data) >= 1 << 32:
                start += 20  # the zip64 field that will be written first
            padding = -start % ALIGNMENT
            info.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
            with archive.open(info, "w", force_zip64=len(data) >= 1 << 31) as out:
                out.write(data)

        add("data.pkl", stream.getvalue())
        add("byteorder", sys.byteorder.encode())
        for key, storage in pickler.storages.values():
            add(f"data/{key}", _bytes_of(storage).data.cast("B") if storage.nbytes else b"")
        add("version", b"3\n")


def save(
    obj: Any, f: str | os.PathLike | IO[bytes], pickle_module: Any = pickle, pickle_protocol: int = PROTOCOL
) -> None:
    """Write an object with its tensors as a file that `cltorch.load` and PyTorch's `torch.load` read.

    Args:
        obj: tensors, modules' and optimizers' state_dicts, containers, or anything that pickles.
        f: a path, or a binary file open for writing. A path appears only when complete: a full disk leaves an older
            file as it was.

    Raises:
        OSError: the file cannot be written.

    Example:
        >>> import cltorch as torch, io
        >>> file = io.BytesIO()
        >>> torch.save({"x": torch.arange(3)}, file)
        >>> torch.load(io.BytesIO(file.getvalue()))["x"].tolist()
        [0, 1, 2]
    """
    if not isinstance(f, (str, os.PathLike)):
        if not hasattr(f, "write"):
            raise AttributeError(f"save: f: got {type(f).__name__}, wanted a path or an object with a write method")
        _write_zip(obj, f, "archive")
        return
    path = Path(f)
    descriptor, partial = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _write_zip(obj, file, path.stem or "archive")
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(partial, 0o666 & ~mask)
        os.replace(partial, path)
    except BaseException:
        if os.path.exists(partial):
            os.unlink(partial)
        raise


class _LoadedStorage:
    """A storage of a file: its bytes, and the Storage made of them when a tensor asks."""

    def __init__(self, data: np.ndarray, device: Any):
        self.data, self.device = data, device
        self._storage: Any = None

    @property
    def storage(self) -> Any:
        if self._storage is None:
            self._storage = engine.Storage.from_numpy(self.device, self.data)
        return self._storage


def _rebuild_tensor(
    stored: tuple[_LoadedStorage, DType],
    offset: int,
    size: Any,
    stride: Any,
    requires_grad: bool = False,
    hooks: Any = None,
    metadata: Any = None,
) -> Tensor:
    reference, dtype = stored
    view = layout(dtype, tuple(size), tuple(stride), offset)
    low, high = view.extent()
    if low < 0 or (high + 1) * dtype.itemsize > reference.data.nbytes:
        raise pickle.UnpicklingError(
            f"a tensor of shape {tuple(size)} reaches outside its storage of {reference.data.nbytes} bytes"
        )
    made = make(reference.storage, view)
    if requires_grad:
        made.requires_grad = True
    return made


def _rebuild_parameter(data: Tensor, requires_grad: bool, hooks: Any) -> Parameter:
    return Parameter(data, requires_grad)


_SAFE: dict[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch", "Size"): Size,
    ("torch", "device"): Device,
    ("torch.serialization", "_get_layout"): lambda name: name,
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "Counter"): Counter,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "complex"): complex,
    ("builtins", "bytearray"): bytearray,
    ("builtins", "slice"): slice,
    ("builtins", "range"): range,
    ("__builtin__", "set"): set,
    ("__builtin__", "complex"): complex,
    ("_codecs", "encode"): lambda text, encoding: (
        text.encode(encoding) if encoding == "latin1" else _refuse("_codecs", "encode")
    ),
    **{("torch", d.name): d for d in dtypes.ALL},
    **{("torch", name): dtype for name, dtype in _STORAGE_DTYPES.items()},
}


def _refuse(module: str, name: str) -> Any:
    raise pickle.UnpicklingError(
        f"Weights only load failed: the file asks for {module}.{name}, which is not among the types that a "
            "checkpoint of weights needs. "
        "Load it with weights_only=False only if you trust its source: that can run any code."
    )


_added: dict[tuple[str, str], Any] = {}


def add_safe_globals(safe_globals: list) -> None:
    """Let `load(weights_only=True)` construct these classes or functions too."""
    for item in safe_globals:
        _added[item.__module__, item.__qualname__] = item


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes], storages: Callable[[str, int, str], _LoadedStorage], anything: bool):
        super().__init__(file, encoding="utf-8")
        self._storages, self._anything = storages, anything

    def find_class(self, module: str, name: str) -> Any:
        found = _SAFE.get((module, name)) or _added.get((module, name))
        if found is not None:
            return found
        if not self._anything:
            _refuse(module, name)
        if module.split(".")[0] == "torch":
            module = "cltorch" + module[len("torch") :]
        return super().find_class(module, name)

    def persistent_load(self, pid: Any) -> Any:
        if not (isinstance(pid, tuple) and len(pid) == 5 and pid[0] == "storage" and isinstance(pid[1], DType)):
            raise pickle.UnpicklingError(f"unknown reference {pid!r}")
        _, dtype, key, location, numel = pid
        return self._storages(str(key), int(numel) * dtype.itemsize, str(location)), dtype


def load(
    f: str | os.PathLike | IO[bytes],
    map_location: Any = None,
    pickle_module: Any = None,
    *,
    weights_only: bool = True,
    mmap: bool = False,
    **pickle_load_args: Any,
) -> Any:
    """Read what `cltorch.save` or PyTorch's `torch.save` wrote.

    Args:
        f: a path, or a binary file open for reading (seekable).
        map_location: device on which all tensors are put: a device or its name; a dict from saved to wanted names; a
            function of (storage, saved name) is called and its result ignored. None: the default device.
        weights_only: allow tensors, containers, numbers and strings only; a file that asks for more is refused and runs
            nothing.
        mmap: read storages from a memory map of the file when they are needed, not now. Needs a path.

    Raises:
        FileNotFoundError: there is no such file.
        RuntimeError: the file is truncated, damaged, or no checkpoint.
        pickle.UnpicklingError: it holds objects that `weights_only` does not allow.
    """
    if isinstance(f, (str, os.PathLike)):
        with open(f, "rb") as file:
            return _read_zip(file, str(f), map_location, weights_only, mmap)
    if mmap:
        raise ValueError("load: mmap: got a file object, wanted a path")
    if not hasattr(f, "seek"):
        raise AttributeError(f"load: f: got {type(f).__name__}, wanted a path or a seekable file")
    return _read_zip(f, getattr(f, "name", "the file"), map_location, weights_only, False)


def _read_zip(file: IO[bytes], label: str, map_location: Any, weights_only: bool, mmap: bool) -> Any:
    try:
        archive = zipfile.ZipFile(file)
        names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise RuntimeError(
            f"load: {label}: not a checkpoint in zip format, or cut short ({error}). "
            "Files older than PyTorch 1.6 must be saved again."
        ) from error
    pickles = [n for n in names if n.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise RuntimeError(f"load: {label}: a zip file, but no checkpoint: found {len(pickles)} data.pkl, wanted 1")
    root = pickles[0][: -len("data.pkl")]

    def read(entry: str) -> bytes:
        try:
            return archive.read(root + entry)
        except KeyError:
            raise RuntimeError(f"load: {label}: {entry} is missing: the file is damaged") from None
        except (zipfile.BadZipFile, EOFError, OSError) as error:
            raise RuntimeError(f"load: {label}: {entry} is damaged: {error}") from error

    order = read("byteorder").decode() if root + "byteorder" in names else "little"
    loaded: dict[str, _LoadedStorage] = {}

    def storage_of(key: str, nbytes: int, location: str) -> _LoadedStorage:
        found = loaded.get(key)
        if found is None:
            if mmap:
                data = _map_entry(file, archive.getinfo(f"{root}data/{key}"))
            else:
                data = np.frombuffer(bytearray(read(f"data/{key}")), np.uint8)
            if data.nbytes < nbytes:
                raise RuntimeError(
                    f"load: {label}: data/{key}: got {data.nbytes} bytes, wanted {nbytes}: the file is damaged"
                )
            found = loaded[key] = _LoadedStorage(data, storage_device(_location(map_location, location)))
        return found

    if order != sys.byteorder:
        raise RuntimeError(f"load: {label}: written on a {order}-endian machine, this one is {sys.byteorder}-endian")
    text = read("data.pkl")
    try:
        return _Unpickler(io.BytesIO(text), storage_of, not weights_only).load()
    except (EOFError, IndexError, KeyError, ValueError, TypeError, AttributeError, struct.error) as error:
        if isinstance(error, pickle.UnpicklingError):
            raise
        raise RuntimeError(f"load: {label}: data.pkl is damaged: {type(error).__name__}: {error}") from error


def _map_entry(file: IO[bytes], info: zipfile.ZipInfo) -> np.ndarray:
    """The bytes of a stored entry as a private memory map (written pages are copied, the file never changes)."""
    file.seek(info.header_offset)
    header = file.read(30)
    start = info.header_offset + 30 + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    if info.compress_type != zipfile.ZIP_STORED:
        raise RuntimeError(f"load: mmap: {info.filename} is compressed")
    if info.file_size == 0:
        return np.empty(0, np.uint8)
    return np.memmap(file, np.uint8, "c", start, (info.file_size,))


def _location(map_location: Any, saved: str) -> Any:
    if isinstance(map_location, dict):
        return map_location.get(saved)
    if map_location is None or isinstance(map_location, (str, Device)):
        return map_location
    if callable(map_location):
        return None
    raise TypeError(
        f"load: map_location: got {type(map_location).__name__}, wanted a device, a name, a dict or a function"
    )


_SAFETENSORS_NAMES = {
    "float32": "F32",
    "float64": "F64",
    "float16": "F16",
    "bfloat16": "BF16",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "uint8": "U8",
    "bool": "BOOL",
}
_SAFETENSORS_DTYPES = {name: dtypes.by_name(dtype) for dtype, name in _SAFETENSORS_NAMES.items()}


def save_safetensors(
    tensors: dict[str, Tensor], filename: str | os.PathLike, metadata: dict[str, str] | None = None
) -> None:
    """Write named tensors in the safetensors format (contiguous copies; a path appears only when complete).

    Raises:
        ImportError: safetensors is not installed.
    """
    safetensors = _safetensors()
    arrays = {name: engine.read(t._storage, t._layout) for name, t in tensors.items()}  # kept alive until written

    def described(name: str) -> Any:
        dtype, shape, array = tensors[name].dtype.name, list(tensors[name].shape), arrays[name]
        if hasattr(safetensors, "TensorSpec"):  # since 0.8
            return safetensors.TensorSpec(
                dtype=dtype, shape=shape, data_ptr=array.ctypes.data, data_len=array.nbytes
            )
        return {"dtype": dtype, "shape": shape, "data": array.tobytes()}

    path = Path(filename)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        safetensors.serialize_file({name: described(name) for name in tensors}, str(partial), metadata)
        os.replace(partial, path)
    finally:
        if partial.exists():
            partial.unlink()


def load_safetensors(filename: str | os.PathLike, device: Any = None) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        ImportError: safetensors is not installed. FileNotFoundError: there is no such file.
        RuntimeError: the file is damaged or no safetensors file.
    """
    safetensors = _safetensors()
    data = Path(filename).read_bytes()
    try:
        entries = safetensors.deserialize(data)
    except safetensors.SafetensorError as error:
        raise RuntimeError(f"load_safetensors: {filename}: not a safetensors file, or damaged: {error}") from error
    found = {}
    for name, entry in entries:
        dtype = _SAFETENSORS_DTYPES.get(entry["dtype"])
        if dtype is None:
            raise RuntimeError(
                f"load_safetensors: {filename}: {name}: got dtype {entry['dtype']}, "
                f"wanted one of {', '.join(_SAFETENSORS_DTYPES)}"
            )
        stored = _LoadedStorage(np.frombuffer(bytearray(entry["data"]), np.uint8), storage_device(device))
        found[name] = make(stored.storage, layout(dtype, tuple(entry["shape"])))
    return found


def _safetensors() -> Any:
    try:
        import safetensors
    except ImportError as error:
        raise ImportError("safetensors files need: pip install cltorch[vision], or safetensors") from error
    return safetensors
