"""Utilities around training: data loading and checkpointing. Floor 7."""

from . import data

__all__ = ["data"]
