"""Membership metrics on arrays: scores float [n] (higher = more likely a member), members bool [n]."""

from redense.metrics.accuracy import accuracy_interval, balanced_accuracy_interval
from redense.metrics.bootstrap import Bootstrap, bootstrap
from redense.metrics.epsilon import (
    epsilon_lower_bound,
    epsilon_of_best_threshold,
    epsilon_of_held_out_threshold,
    one_run_epsilon,
    one_run_epsilon_of_scores,
    ratio_lower_bound,
)
from redense.metrics.intervals import (
    OperatingPoint,
    auc_interval,
    balanced_accuracy_of_noise,
    clopper_pearson,
    operating_point,
)
from redense.metrics.roc import Roc, advantage, auc, balanced_accuracy, roc, tpr_at_fpr
from redense.metrics.tpr import point_at_fpr, tpr_interval

__all__ = [
    "Bootstrap",
    "OperatingPoint",
    "Roc",
    "accuracy_interval",
    "advantage",
    "auc",
    "auc_interval",
    "balanced_accuracy",
    "balanced_accuracy_interval",
    "balanced_accuracy_of_noise",
    "bootstrap",
    "clopper_pearson",
    "epsilon_lower_bound",
    "epsilon_of_best_threshold",
    "epsilon_of_held_out_threshold",
    "one_run_epsilon",
    "one_run_epsilon_of_scores",
    "operating_point",
    "point_at_fpr",
    "ratio_lower_bound",
    "roc",
    "tpr_at_fpr",
    "tpr_interval",
]
