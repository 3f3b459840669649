"""The child process of `matrix`: builds and runs the probe of a matrix instruction, and may die of it.

Floor 1a. `python -m cltorch.runtime.matrix_child` reads a request (JSON: identity of the device, options, texts by type
of elements, shape of a fragment) from standard input and prints as its last line `{"refusal": ""}`, or with what is
wrong. No module of the package imports it.
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import Any

import numpy as np

from . import devices
from .opencl import cl

_DEPTH = 32  # two chained products


def _bits(values: np.ndarray, element: str) -> np.ndarray:
    """Small integers as 16-bit floats."""
    if element == "half":
        return values.astype(np.float16).view(np.uint16)
    return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def refusal_of_product(context: Any, queue: Any, element: str, text: str, request: dict[str, Any]) -> str:
    """What is wrong with the product of one text, by two warps side by side.

    Operands are integers up to 64: every product and sum is exact in float and not in shorter types, so that a
    wrong place or a short sum shows as a different number.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cl.CompilerWarning)
        try:
            kernel = cl.Kernel(cl.Program(context, text).build(request["options"]), "matrix_probe")
        except cl.Error as error:
            lines = [line.strip() for line in str(error).splitlines() if "error" in line.lower()] or [str(error)]
            return f"{element}: the driver could not build it: {lines[-1][:200]}"
    random = np.random.default_rng(1)
    lanes, rows, columns = 2 * request["lanes"], request["rows"], 2 * request["columns"]
    a, b = (random.integers(-64, 65, (size, _DEPTH)) for size in (rows, columns))
    flags = cl.mem_flags
    left, right = (
        cl.Buffer(context, flags.READ_ONLY | flags.COPY_HOST_PTR, hostbuf=_bits(x, element)) for x in (a, b)
    )
    got = np.full((rows, columns), np.nan, np.float32)
    out = cl.Buffer(context, flags.READ_WRITE | flags.COPY_HOST_PTR, hostbuf=got)
    kernel.set_args(left, right, out, np.int32(_DEPTH // 2))
    cl.enqueue_nd_range_kernel(queue, kernel, (lanes,), (lanes,))
    cl.enqueue_copy(queue, got, out)
    queue.finish()
    wrong = int((got != a @ b.T).sum())
    return f"{element}: {wrong} of {got.size} elements of its product are wrong" if wrong else ""


def main() -> None:
    """Answer the request on standard input."""
    request = json.load(sys.stdin)
    found = [each for each in devices() if list(each.identity()) == request["identity"]]
    if not found:
        print(json.dumps({"refusal": "the child process does not see the device"}))
        return
    context = found[0].context
    queue = cl.CommandQueue(context)
    refusal = ""
    for element, text in request["texts"].items():
        refusal = refusal or refusal_of_product(context, queue, element, text, request)
    queue.finish()
    print(json.dumps({"refusal": refusal}), flush=True)


if __name__ == "__main__":
    main()
