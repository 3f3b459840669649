"""Exceptions that have no counterpart in Python's or PyTorch's own set, and the house form of an error text.

Floor 0. Wrong shapes, dtypes and indices are raised as PyTorch raises them (RuntimeError, IndexError, TypeError,
ValueError); only faults of devices, drivers and builds have classes of their own, all of them RuntimeErrors.
"""


class DeviceError(RuntimeError):
    """A device is missing, was lost or refused a command."""


class BuildError(DeviceError):
    """A driver failed to build an OpenCL program."""


class OutOfMemoryError(DeviceError):
    """The memory budget of a device is exhausted; the text says who holds what."""


class LinAlgError(RuntimeError):
    """A matrix has not the property that an algorithm needs: it is singular, or not positive definite."""


def describe(op: str, argument: str, got: object, wanted: object, remedy: str = "") -> str:
    """The house form of an error text: op, argument, got, wanted, remedy.

    >>> describe("add", "other", "(5,)", "a shape that broadcasts with (3, 4)")
    'add: other: got (5,), wanted a shape that broadcasts with (3, 4)'
    """
    text = f"{op}: {argument}: got {got}, wanted {wanted}"
    return f"{text}; {remedy}" if remedy else text
