import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from redense.metrics import auc, balanced_accuracy, roc


@st.composite
def scored(draw):
    """Scores with many ties, and at least one example on each side."""
    scores = draw(st.lists(st.sampled_from([-np.inf, 0.0, 1.0, 1.5]) | st.floats(-5, 5), min_size=2, max_size=40))
    members = draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)))
    members[:2] = [True, False]
    return np.array(scores), np.array(members)


@given(scored())
def test_roc_counts_what_every_threshold_lets_through(case):
    scores, members = case
    curve = roc(scores, members)
    assert curve.thresholds[0] == np.inf
    assert (curve.tpr[0], curve.fpr[0]) == (0, 0)
    assert sorted(curve.thresholds[1:], reverse=True) == list(curve.thresholds[1:]) == sorted(set(scores), reverse=True)
    for tpr, fpr, threshold in zip(curve.tpr[1:], curve.fpr[1:], curve.thresholds[1:], strict=True):
        guesses = scores >= threshold
        assert tpr == guesses[members].mean()
        assert fpr == guesses[~members].mean()


@given(scored())
def test_balanced_accuracy_is_the_best_of_all_thresholds(case):
    scores, members = case
    slow = 0.5
    for threshold in scores:
        right_members = sum(score >= threshold for score in scores[members]) / members.sum()
        right_others = sum(score < threshold for score in scores[~members]) / (~members).sum()
        slow = max(slow, (right_members + right_others) / 2)
    assert balanced_accuracy(scores, members) == pytest.approx(slow, abs=1e-15)


@given(scored())
def test_auc_counts_pairs(case):
    scores, members = case
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[members] for b in scores[~members]]
    assert auc(scores, members) == pytest.approx(np.mean(pairs), abs=1e-12)


@pytest.mark.parametrize("decimals", [1, 12])
def test_scikit_learn_agrees(decimals):
    generator = np.random.default_rng(0)
    members = generator.random(5000) < 0.3
    scores = np.round(generator.normal(size=5000) + members, decimals)
    fpr, tpr, _ = roc_curve(members, scores, drop_intermediate=False)
    curve = roc(scores, members)
    np.testing.assert_allclose(curve.fpr, fpr, atol=1e-12)
    np.testing.assert_allclose(curve.tpr, tpr, atol=1e-12)
    assert auc(scores, members) == pytest.approx(roc_auc_score(members, scores), abs=1e-12)


def test_normal_shift_reaches_its_analytic_value():
    # two unit normals shifted by d: AUC = Phi(d / sqrt 2), best balanced accuracy = Phi(d / 2)
    from scipy.stats import norm

    quantiles = norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    scores, members = np.concatenate([quantiles + 1, quantiles]), np.arange(40_000) < 20_000
    assert auc(scores, members) == pytest.approx(norm.cdf(1 / np.sqrt(2)), abs=1e-4)
    assert balanced_accuracy(scores, members) == pytest.approx(norm.cdf(0.5), abs=1e-4)


def test_numbers_on_each_side_do_not_matter():
    scores = np.array([2.0, 1.0] * 3 + [1.5, 0.5])
    members = np.array([True] * 6 + [False] * 2)
    assert balanced_accuracy(scores, members) == balanced_accuracy(scores[4:], members[4:])


@pytest.mark.parametrize(
    ("scores", "members", "message"),
    [
        ([1.0, 2.0], [True, True], "members and non-members"),
        ([1.0, 2.0], [False, False], "members and non-members"),
        ([1.0, np.nan], [True, False], "1 of 2 are NaN"),
        ([1.0, 2.0, 3.0], [True, False], "one length"),
        ([1.0, 2.0], [1, 0], "expected bool"),
    ],
)
def test_bad_input(scores, members, message):
    with pytest.raises(ValueError, match=message):
        roc(scores, members)
