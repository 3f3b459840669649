"""Optimizers and learning-rate schedules.

Floor 7. An update is a few recorded pointwise operations per parameter; the engine joins them across parameters.
"""

from . import lr_scheduler, optimizer
from .adafactor import Adafactor
from .adam import Adam, AdamW
from .adaptive import Adadelta, Adagrad, Adamax, RMSprop
from .batch import ASGD, Rprop
from .lbfgs import LBFGS
from .muon import Muon
from .optimizer import Optimizer
from .rectified import NAdam, RAdam
from .sgd import SGD

__all__ = [
    "ASGD", "LBFGS", "SGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Muon", "NAdam",
    "Optimizer", "RAdam", "RMSprop", "Rprop", "lr_scheduler", "optimizer",
]  # fmt: skip
