import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redense.attacks import label_only, score_by_other_half, score_by_references
from redense.attacks.threshold import learn_threshold, learn_thresholds
from redense.metrics import balanced_accuracy
from redense.metrics.intervals import split_halves


@st.composite
def scored(draw):
    n = draw(st.integers(4, 50))
    scores = np.array(draw(st.lists(st.integers(-5, 5), min_size=n, max_size=n)), dtype=float)
    members = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    members[:2] = True, False
    labels = np.array(draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
    return scores, members, labels


def accuracy(scores, members, threshold):
    guesses = scores >= threshold
    return (guesses[members].mean() + 1 - guesses[~members].mean()) / 2


@given(scored())
def test_no_threshold_is_better_than_the_one_learnt(case):
    scores, members, _ = case
    assert accuracy(scores, members, learn_threshold(scores, members)) == pytest.approx(
        balanced_accuracy(scores, members)
    )


@given(scored())
def test_each_class_gets_the_best_of_its_own(case):
    scores, members, labels = case
    thresholds = learn_thresholds(scores, members, labels, 5)
    overall = learn_threshold(scores, members)
    assert len(thresholds) == 5
    for label in range(5):
        inside = members[labels == label]
        if len(inside) == 0 or inside.all() or not inside.any():
            assert thresholds[label] == overall
        elif np.isfinite(learn_threshold(scores[labels == label], inside)):
            best = balanced_accuracy(scores[labels == label], inside)
            assert accuracy(scores[labels == label], inside, thresholds[label]) == pytest.approx(best)


@given(scored(), st.booleans())
def test_no_example_is_judged_by_a_threshold_that_it_helped_to_learn(case, per_class):
    scores, members, labels = case
    # one member and one non-member more a half, so that either can teach
    scores, members = np.append(scores, [0.0, 1.0, 2.0, 3.0]), np.append(members, [True, False] * 2)
    labels = np.append(labels, [0, 0, 0, 0])
    found = score_by_other_half(scores, members, labels, per_class=per_class)
    first = split_halves(members)
    classes = int(labels.max()) + 1
    for judged in (first, ~first):
        learnt = learn_thresholds(scores[~judged], members[~judged], labels[~judged] if per_class else None, classes)
        finite = np.isfinite(learnt[labels[judged]])
        expected = scores[judged] - learnt[labels[judged]]
        np.testing.assert_array_equal(found[judged][finite], expected[finite])
        assert (found[judged][~finite] < -1e300).all()


@given(scored(), st.booleans())
def test_reference_models_teach_all_and_the_target_nothing(case, per_class):
    scores, _, labels = case
    generator = np.random.default_rng(0)
    references, included = generator.normal(size=(4, len(scores))), generator.random((4, len(scores))) < 0.5
    included[0], included[1] = True, False
    found = score_by_references(scores, references, included, labels, per_class=per_class)
    pooled = np.tile(labels, 4) if per_class else None
    learnt = learn_thresholds(references.ravel(), included.ravel(), pooled, int(labels.max()) + 1)
    learnt = np.minimum(learnt, np.finfo(float).max / 4)
    np.testing.assert_array_equal(found, scores - learnt[labels])


def test_one_side_teaches_nothing():
    with pytest.raises(ValueError, match="members and non-members"):
        learn_threshold(np.zeros(3), np.ones(3, dtype=bool))


@pytest.mark.parametrize("wrong", [[1.0, 0.0], [[1.0]], np.zeros((3, 0), dtype=bool)])
def test_label_only_wants_right_or_wrong(wrong):
    with pytest.raises(ValueError, match=r"expected bool \[n, q\]"):
        label_only(wrong)


def test_label_only_counts():
    answers = np.array([[True, True, True], [True, False, True], [False, False, False]])
    assert label_only(answers).tolist() == pytest.approx([1, 2 / 3, 0])
