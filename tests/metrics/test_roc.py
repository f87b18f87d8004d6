import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from redense.metrics import advantage, auc, balanced_accuracy, roc, tpr_at_fpr


@st.composite
def scored(draw):
    """Scores with many ties, and members; at least one on each side."""
    n = draw(st.integers(2, 60))
    scores = draw(st.lists(st.integers(-6, 6), min_size=n, max_size=n))
    members = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    members[0], members[1] = True, False
    return np.array(scores, dtype=float), np.array(members)


def by_loop(scores, members):
    """Both rates at every distinct threshold, one comparison at a time."""
    points = [(0.0, 0.0)]
    for threshold in sorted(set(scores), reverse=True):
        guesses = [score >= threshold for score in scores]
        true = sum(g and m for g, m in zip(guesses, members, strict=True))
        false = sum(g and not m for g, m in zip(guesses, members, strict=True))
        points.append((false / sum(~members), true / sum(members)))
    return points


@given(scored())
def test_every_point_is_that_of_the_loop(case):
    scores, members = case
    curve = roc(scores, members)
    assert list(zip(curve.fpr, curve.tpr, strict=True)) == by_loop(scores, members)
    assert (curve.members, curve.nonmembers) == (members.sum(), (~members).sum())
    assert (curve.true_positives / members.sum() == curve.tpr).all()
    assert (curve.false_positives / (~members).sum() == curve.fpr).all()


@given(scored())
def test_curve_and_area_are_scikit_learns(case):
    scores, members = case
    curve = roc(scores, members)
    fpr, tpr, thresholds = roc_curve(members, scores, drop_intermediate=False)
    np.testing.assert_allclose(curve.fpr, fpr, atol=1e-12, rtol=0)
    np.testing.assert_allclose(curve.tpr, tpr, atol=1e-12, rtol=0)
    assert (curve.thresholds == thresholds).all()
    assert auc(scores, members) == pytest.approx(roc_auc_score(members, scores), abs=1e-12)


@pytest.mark.parametrize("levels", [None, 50])
def test_large_samples_are_scikit_learns(levels):
    generator = np.random.default_rng(0)
    scores = generator.normal(size=20_000)
    members = generator.random(20_000) < 0.3
    scores[members] += 0.5
    if levels:
        scores = np.round(scores * levels / 8)
    fpr, tpr, _ = roc_curve(members, scores, drop_intermediate=False)
    curve = roc(scores, members)
    np.testing.assert_allclose(curve.fpr, fpr, atol=1e-12, rtol=0)
    np.testing.assert_allclose(curve.tpr, tpr, atol=1e-12, rtol=0)
    assert curve.auc == pytest.approx(roc_auc_score(members, scores), abs=1e-12)


@given(scored())
def test_balanced_accuracy_and_advantage_are_the_best_of_the_loop(case):
    best = max((tpr + 1 - fpr) / 2 for fpr, tpr in by_loop(*case))
    assert balanced_accuracy(*case) == pytest.approx(best, abs=1e-12)
    assert advantage(*case) == pytest.approx(2 * best - 1, abs=1e-12)


@given(scored(), st.one_of(st.floats(0, 1), st.sampled_from([0.1, 0.2, 0.3, 0.7, 0.9])))
def test_tpr_at_fpr_is_the_best_allowed_of_the_loop(case, allowed):
    # a rate like 3 / 10 is allowed at 0.3, though neither is exact in binary
    expected = max(tpr for fpr, tpr in by_loop(*case) if fpr <= allowed + 1e-12)
    assert tpr_at_fpr(*case, allowed) == expected


@given(scored())
def test_order_of_examples_does_not_matter(case):
    scores, members = case
    mixed = np.random.default_rng(0).permutation(len(scores))
    assert balanced_accuracy(scores, members) == balanced_accuracy(scores[mixed], members[mixed])
    assert auc(scores, members) == auc(scores[mixed], members[mixed])


def test_all_tied_scores_tell_nothing():
    members = np.array([True, False, True, False])
    assert balanced_accuracy(np.zeros(4), members) == auc(np.zeros(4), members) == 0.5


def test_infinite_scores_are_allowed():
    scores, members = np.array([np.inf, 1.0, -np.inf]), np.array([True, True, False])
    assert auc(scores, members) == 1.0


@pytest.mark.parametrize(
    ("scores", "members", "message"),
    [
        ([1.0, np.nan], [True, False], "1 of 2 are NaN"),
        ([1.0, 2.0], [True, True], "expected members and non-members"),
        ([1.0, 2.0], [False, False], "expected members and non-members"),
        ([1.0, 2.0, 3.0], [True, False], "of one length"),
        ([1.0, 2.0], [1, 0], "expected bool"),
    ],
)
def test_unusable_scores_are_refused(scores, members, message):
    with pytest.raises(ValueError, match=message):
        roc(scores, members)


def test_a_rate_above_one_is_refused():
    with pytest.raises(ValueError, match="expected a rate from 0 to 1"):
        tpr_at_fpr([1.0, 0.0], [True, False], 1.5)
