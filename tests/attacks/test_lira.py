import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from redense.attacks import LiRA
from redense.attacks.lira import _inverse_trigamma, _moments, _shrunk, _variance_prior
from redense.metrics import auc


@st.composite
def case(draw, fewest=1):
    """A target and references of one or several queries; every example has at least `fewest` IN and OUT."""
    n, q = draw(st.integers(2, 12)), draw(st.sampled_from([None, 1, 3]))
    pairs = draw(st.integers(fewest, 4))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = (n,) if q is None else (n, q)
    first = generator.random((pairs, n)) < 0.5
    included = np.concatenate([first, ~first])
    extra = generator.random((draw(st.integers(0, 3)), n)) < 0.5
    included = np.concatenate([included, extra])
    references = generator.normal(size=(len(included), *shape)) * draw(st.sampled_from([0.1, 1.0, 30.0]))
    return generator.normal(size=shape), references, included


def sides(references, included, example, query):
    values = references[:, example] if references.ndim == 2 else references[:, example, query]
    return values[included[:, example]], values[~included[:, example]]


def asked(target, references, included):
    """Go through all examples and queries: example, query, its share of the mean, the target's answer, IN's, OUT's."""
    queries = 1 if target.ndim == 1 else target.shape[1]
    for example in range(len(target)):
        for query in range(queries):
            phi = target[example] if target.ndim == 1 else target[example, query]
            yield (example, query, 1 / queries, phi, *sides(references, included, example, query))


def shared_deviations(references, included, query):
    """Standard deviations of IN and OUT about each example's own mean."""
    deviations = []
    for side in (0, 1):
        squares, freedom = 0.0, 0
        for example in range(included.shape[1]):
            values = sides(references, included, example, query)[side]
            squares += ((values - values.mean()) ** 2).sum()
            freedom += len(values) - 1
        deviations.append(math.sqrt(squares / freedom))
    return deviations


@given(case(fewest=2), st.sampled_from(["example", "shared"]))
def test_online_is_the_papers_ratio_by_loop(values, variance):
    target, references, included = values
    expected = np.zeros(len(target))
    for example, query, share, phi, inside, out in asked(target, references, included):
        s_in, s_out = inside.std(ddof=1), out.std(ddof=1)
        if variance == "shared":
            s_in, s_out = shared_deviations(references, included, query)
        ratio = stats.norm.logpdf(phi, inside.mean(), s_in) - stats.norm.logpdf(phi, out.mean(), s_out)
        expected[example] += share * ratio
    found = LiRA(variance=variance).score(target, references, included)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@given(case(fewest=2), st.booleans())
def test_offline_is_one_sided_unless_asked(values, two_sided):
    target, references, included = values
    expected = np.zeros(len(target))
    for example, _, share, phi, _, out in asked(target, references, included):
        distribution = stats.norm(out.mean(), out.std(ddof=1))
        expected[example] -= share * (distribution.logpdf(phi) if two_sided else distribution.logsf(phi))
    lira = LiRA(mode="offline", variance="example", two_sided=two_sided)
    np.testing.assert_allclose(lira.score(target, references, included), expected, rtol=1e-6, atol=1e-6)


@given(case(fewest=2))
def test_shrunk_is_the_posterior_predictive_of_its_prior(values):
    # Murphy, "Conjugate Bayesian analysis of the Gaussian distribution" (2007), equations 141-149
    target, references, included = values
    if target.ndim == 2:
        target, references = target[:, 0], references[:, :, 0]
    moments = _moments(references[:, :, None], included)
    shared = moments.shared_variance
    strength, scale = _variance_prior(moments, shared)
    side = _shrunk(moments, shared)
    centre = np.mean([references[included[:, i], i].mean() for i in range(len(target))])
    counts = included.sum(0)
    spread = np.var([references[included[:, i], i].mean() for i in range(len(target))])
    weight = shared.item() / max(spread - shared.item() * np.mean(1 / counts), 1e-6 * shared.item())
    for i in range(len(target)):
        x = references[included[:, i], i]
        n = len(x)
        kappa, alpha = weight + n, (strength + n) / 2
        mean = (weight * centre + n * x.mean()) / kappa
        beta = strength * scale.item() / 2 + ((x - x.mean()) ** 2).sum() / 2
        beta += weight * n * (x.mean() - centre) ** 2 / (2 * kappa)
        predictive = stats.t(2 * alpha, mean, math.sqrt(beta * (kappa + 1) / (alpha * kappa)))
        assert side.log_density(np.array([[target[i]]]))[i, 0] == pytest.approx(predictive.logpdf(target[i]), rel=1e-6)
        assert side.log_tail(np.array([[target[i]]]))[i, 0] == pytest.approx(predictive.logsf(target[i]), rel=1e-6)


@given(st.floats(1e-5, 1e5))
def test_the_inverse_of_trigamma(value):
    from scipy.special import polygamma

    assert float(polygamma(1, _inverse_trigamma(value))) == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize(("strength", "tolerance"), [(4.0, 0.8), (20.0, 6.0)])
def test_the_prior_of_variances_is_found_again(strength, tolerance):
    generator = np.random.default_rng(0)
    n, m = 20_000, 16
    variance = strength * 2.5 / generator.chisquare(strength, n)
    references = generator.normal(size=(m, n)) * np.sqrt(variance)
    included = np.zeros((m, n), dtype=bool)
    included[: m // 2] = True
    moments = _moments(references[:, :, None], included)
    found, scale = _variance_prior(moments, moments.shared_variance)
    assert found == pytest.approx(strength, abs=tolerance)
    assert scale.item() == pytest.approx(2.5, rel=0.05)


def test_equal_variances_are_recognised():
    references = np.random.default_rng(0).normal(size=(16, 20_000))
    included = np.zeros(references.shape, dtype=bool)
    included[:8] = True
    moments = _moments(references[:, :, None], included)
    assert _variance_prior(moments, moments.shared_variance)[0] > 100


@pytest.mark.parametrize("variance", ["shared", "shrunk"])
@pytest.mark.parametrize("mode", ["online", "offline"])
def test_two_reference_models_are_enough(mode, variance):
    generator = np.random.default_rng(0)
    n = 4000
    difficulty, members = generator.normal(size=n) * 2, generator.random(n) < 0.5
    first = generator.random(n) < 0.5
    included = np.stack([first, ~first])
    target = difficulty + generator.normal(size=n) + 3 * members
    references = difficulty + generator.normal(size=(2, n)) + 3 * included
    assert auc(LiRA(mode=mode, variance=variance).score(target, references, included), members) > 0.8


def test_extreme_answers_stay_ordered():
    # one-sided p-values of 1e-300 and less: a plain tail probability would round to 0 and tie
    included = np.array([[True] * 3, [True] * 3, [False] * 3, [False] * 3])
    references = np.array([[40.0] * 3, [42.0] * 3, [-1.0] * 3, [1.0] * 3])
    scores = LiRA(mode="offline", variance="shared").score([60.0, 80.0, 100.0], references, included)
    assert np.isfinite(scores).all()
    assert scores[0] < scores[1] < scores[2]


def test_residuals_not_raw_scores_make_the_shared_variance():
    # examples differ a thousand times more than models do; raw scores would drown the difference
    generator = np.random.default_rng(0)
    n = 500
    difficulty, members = 1000 * generator.normal(size=n), generator.random(n) < 0.5
    first = generator.random((4, n)) < 0.5
    included = np.concatenate([first, ~first])
    target = difficulty + generator.normal(size=n) + 4 * members
    references = difficulty + generator.normal(size=(8, n)) + 4 * included
    assert auc(LiRA(variance="shared").score(target, references, included), members) > 0.95


INCLUDED = np.array([[True, False], [False, True]])


@pytest.mark.parametrize(
    ("target", "references", "included", "message"),
    [
        ([0.0, 1.0], [[0.0, 1.0]], INCLUDED[:1], "expected at least 2"),
        ([0.0, 1.0], [[0.0, np.nan], [0.0, 1.0]], INCLUDED, "1 of 4 values are NaN"),
        ([0.0, 1.0, 2.0], [[0.0, 1.0], [0.0, 1.0]], INCLUDED, r"expected \[n\] and \[m, n\]"),
        ([0.0, 1.0], [[0.0, 1.0], [0.0, 1.0]], INCLUDED[:, :1], "one for each model and example"),
        ([0.0, 1.0], [[0.0, 1.0], [0.0, 1.0]], INCLUDED.astype(int), "expected bool"),
        ([0.0, 1.0], [[0.0, 1.0], [0.0, 1.0]], [[True, True], [True, False]], "no OUT reference model"),
        ([0.0, 1.0], [[0.0, 1.0], [0.0, 1.0]], [[False, True], [False, False]], "no IN reference model"),
    ],
)
def test_unusable_references_are_refused(target, references, included, message):
    with pytest.raises(ValueError, match=message):
        LiRA().score(target, references, np.array(included))


def test_offline_needs_no_model_trained_on_the_example():
    included = np.zeros((3, 2), dtype=bool)
    scores = LiRA(mode="offline", variance="shared").score([0.0, 5.0], np.random.rand(3, 2), included)
    assert scores[1] > scores[0]


def test_variances_of_single_models_are_refused():
    with pytest.raises(ValueError, match="fewer than 2 models on a side"):
        LiRA(variance="example").score([0.0, 1.0], [[0.0, 1.0], [0.0, 1.0]], INCLUDED)


@pytest.mark.parametrize("wrong", [{"mode": "both"}, {"variance": "global"}])
def test_unknown_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        LiRA(**wrong)
