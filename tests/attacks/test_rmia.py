import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redense.attacks import RMIA, Population
from redense.attacks.rmia import share_exceeded


def every_pair(ratios, population, gamma):
    """The n x z comparison as the paper writes it."""
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        return (ratios[:, None] / population[None, :] > gamma).mean(1)


positive = st.floats(1e-300, 1e300, allow_nan=False)
nearby = st.integers(0, 40).map(lambda k: 1.0 + k * np.finfo(float).eps)
few = st.sampled_from([0.5, 1.0, 1.5, 2.0, 3.0])


@given(
    st.one_of(*(st.lists(kind, min_size=1, max_size=30) for kind in (positive, nearby, few))),
    st.one_of(*(st.lists(kind, min_size=1, max_size=30) for kind in (positive, nearby, few))),
    st.one_of(st.sampled_from([0.5, 1.0, 1.5, 2.0]), st.floats(1e-3, 1e3), nearby),
)
def test_bits_are_those_of_every_pair(ratios, population, gamma):
    ratios, population = np.array(ratios), np.array(population)
    found = share_exceeded(ratios, population, gamma)
    assert (found == every_pair(ratios, population, gamma)).all()


def test_bits_are_those_of_every_pair_in_large():
    generator = np.random.default_rng(0)
    ratios, population = np.exp(generator.normal(size=3000)), np.exp(generator.normal(size=2500))
    for gamma in (1.0, 2.0, 1.1):
        assert (share_exceeded(ratios, population, gamma) == every_pair(ratios, population, gamma)).all()


@st.composite
def case(draw):
    n, pairs = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    first = generator.random((pairs, n)) < 0.5
    unpaired = generator.random((draw(st.integers(0, 3)), n)) < 0.3
    included = np.concatenate([first, ~first, unpaired])
    return generator.random(n), generator.random(included.shape), included


@given(case(), st.floats(0, 1))
def test_ratios_are_the_papers_by_loop(values, a):
    target, references, included = values
    for example in range(len(target)):
        inside, out = references[included[:, example], example], references[~included[:, example], example]
        online = target[example] / ((inside.mean() + out.mean()) / 2)
        offline = target[example] / (((1 + a) * out.mean() + (1 - a)) / 2)
        assert RMIA().ratio(target, references, included)[example] == pytest.approx(online)
        assert RMIA(mode="offline", a=a).ratio(target, references, included)[example] == pytest.approx(offline)


def test_in_and_out_count_alike_whatever_their_numbers():
    included = np.array([[True], [False], [False], [False]])
    references = np.array([[0.8], [0.2], [0.2], [0.2]])
    assert RMIA().ratio([0.5], references, included) == pytest.approx([1.0])  # not 0.5 / 0.35, the plain mean


@given(case())
def test_the_score_grows_with_the_ratio(values):
    target, references, included = values
    ratios, scores = RMIA().ratio(target, references, included), RMIA(gamma=1.0).score(target, references, included)
    order = np.argsort(ratios, kind="stable")
    assert (np.diff(scores[order]) >= 0).all()


def test_a_population_of_its_own():
    generator = np.random.default_rng(0)
    included = np.array([[True, False], [False, True]])
    target, references = np.array([0.9, 0.1]), np.array([[0.5, 0.5], [0.5, 0.5]])
    population = Population(generator.random(50), generator.uniform(0.2, 0.9, (2, 50)))
    found = RMIA(gamma=1.0).score(target, references, included, population)
    usual = population.target / population.references.mean(0)
    assert found.tolist() == [(0.9 / 0.5 / usual > 1).mean(), (0.1 / 0.5 / usual > 1).mean()]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": [1.5, 0.5]}, "expected probabilities"),
        ({"references": [[-0.1, 0.5], [0.5, 0.5]]}, "expected probabilities"),
        ({"references": [[0.5, 0.5]]}, "one for each model"),
        ({"included": np.array([[True, True], [True, False]])}, "no OUT"),
    ],
)
def test_unusable_values_are_refused(change, message):
    usual = {
        "target": [0.5, 0.5],
        "references": [[0.5, 0.5], [0.5, 0.5]],
        "included": np.array([[True, False], [False, True]]),
    }
    with pytest.raises(ValueError, match=message):
        RMIA().score(**{**usual, **change})


@pytest.mark.parametrize("wrong", [{"mode": "both"}, {"gamma": 0.0}, {"a": 2.0}])
def test_unknown_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        RMIA(**wrong)
