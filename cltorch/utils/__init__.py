"""Utilities around training: data loading and checkpointing. Floor 7."""

from . import checkpoint, data

__all__ = ["checkpoint", "data"]
