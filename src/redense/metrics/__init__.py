"""Membership metrics on arrays: scores float [n] (higher = more likely a member), members bool [n]."""

from redense.metrics.intervals import balanced_accuracy_interval, balanced_accuracy_of_noise
from redense.metrics.roc import Roc, auc, balanced_accuracy, roc

__all__ = [
    "Roc",
    "auc",
    "balanced_accuracy",
    "balanced_accuracy_interval",
    "balanced_accuracy_of_noise",
    "roc",
]
