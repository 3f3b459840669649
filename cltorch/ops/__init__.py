"""The table of operations, filled by importing the modules that hold the records.

Floor 2.
"""

from __future__ import annotations
