"""Checkpointing under PyTorch's name: `cltorch.utils.checkpoint.checkpoint`. It lives in autograd/checkpoint.py.

Floor 7.
"""

from ..autograd.checkpoint import CheckpointError, checkpoint, checkpoint_sequential

__all__ = ["CheckpointError", "checkpoint", "checkpoint_sequential"]
