"""Membership-inference attacks on arrays; scores are float64 [n], higher = more likely a member, in every attack."""

from redense.attacks.label_only import label_only
from redense.attacks.lira import LiRA
from redense.attacks.rmia import RMIA, Population
from redense.attacks.samia import SAMIA
from redense.attacks.shadow_classifier import ShadowClassifier
from redense.attacks.threshold import score_by_other_half, score_by_references

__all__ = [
    "RMIA",
    "SAMIA",
    "LiRA",
    "Population",
    "ShadowClassifier",
    "label_only",
    "score_by_other_half",
    "score_by_references",
]
