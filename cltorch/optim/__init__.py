"""Optimizers and learning-rate schedules.

Floor 7. An update is a few recorded pointwise operations per parameter; the engine joins them across parameters.
"""

from . import lr_scheduler, optimizer
from .adam import Adam, AdamW
from .adaptive import Adadelta, Adagrad, Adamax, RMSprop
from .optimizer import Optimizer
from .sgd import SGD

__all__ = ["SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Optimizer", "RMSprop", "lr_scheduler", "optimizer"]
