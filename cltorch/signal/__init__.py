"""Signal processing: window functions in `cltorch.signal.windows`.

Floor 6, above functions.
"""

from . import windows

__all__ = ["windows"]
