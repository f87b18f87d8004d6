import dataclasses
import inspect

import pytest

import redense
from redense.auditing.attacks import ATTACKS
from redense.auditing.settings import AuditSettings
from redense.errors import RecipeError


@pytest.mark.parametrize("function", [redense.audit, redense.audit_evidence])
def test_no_function_repeats_a_setting(function):
    own = set(inspect.signature(function).parameters)
    assert not own & {field.name for field in dataclasses.fields(AuditSettings)}


def test_what_attacks_want_to_be_told_is_a_setting():
    names = {field.name for field in dataclasses.fields(AuditSettings)}
    assert {name for attack in ATTACKS for name in attack.settings} <= names


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"attacks": ("liar",)}, r"attacks: got 'liar'; did you mean 'lira'\?; expected some of threshold, "),
        ({"attacks": "lira"}, r"attacks: got 'lira'; expected a list"),
        ({"confidence": 95}, "confidence: got 95; expected a share between 0 and 1"),
        ({"confidence": 1e-17}, "confidence: got 1e-17; expected a share between 0 and 1"),
        ({"confidence": 1 - 1e-16}, "confidence: got 0.9+; expected a share between 0 and 1"),
        ({"delta": -0.1}, "delta: got -0.1; expected a probability from 0 to below 1"),
        ({"variance": "pooled"}, "variance: got 'pooled'; expected one of example, shared, shrunk"),
    ],
)
def test_settings_that_make_no_sense(given, expected):
    with pytest.raises(RecipeError, match=expected):
        AuditSettings(**given)
