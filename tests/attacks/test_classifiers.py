import numpy as np
import pytest
import torch

from redense.attacks import SAMIA, ShadowClassifier
from redense.attacks.references import sample_pairs
from redense.attacks.samia import tokens
from redense.metrics import auc


def problem(n=600, m=4, shift=1.5, seed=0):
    """Answers of two features, of which IN are higher in the first; classes differ in what is usual."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, n)
    included = generator.random((m, n)) < 0.5
    members = generator.random(n) < 0.5

    def answer(inside):
        features = generator.normal(size=(n, 2))
        features[:, 0] += shift * inside * np.where(labels == 1, -1, 1)  # in class 1 members are lower
        return features

    return answer(members), np.stack([answer(inside) for inside in included]), included, labels, members


def test_classes_have_classifiers_of_their_own():
    target, references, included, labels, members = problem(n=2000)
    scores = ShadowClassifier().score(target, references, included, labels)
    # the optimum is Phi(1.5 / sqrt 2) = 0.856 in each class; one rule for all would be right in two and wrong in one
    for label in range(3):
        assert auc(scores[labels == label], members[labels == label]) > 0.8


def test_the_same_seed_gives_the_same_scores():
    target, references, included, labels, _ = problem(n=300)
    first, second = (ShadowClassifier().score(target, references, included, labels) for _ in range(2))
    assert (first == second).all()


def test_rows_are_as_many_of_either_side_and_drawn_once():
    included = np.zeros((4, 100), dtype=bool)
    included[0] = True
    model, example = sample_pairs(included, most=80, seed=0)
    assert included[model, example].sum() == 40
    assert len(set(zip(model.tolist(), example.tolist(), strict=True))) == 80


def test_labels_of_another_length_are_refused():
    target, references, included, labels, _ = problem(n=50)
    with pytest.raises(ValueError, match="labels: got"):
        ShadowClassifier().score(target, references, included, labels[:-1])


def answers(n, members, generator):
    """Logits of three classes whose true one is higher for members, with less sensitivity."""
    labels = generator.integers(0, 3, n)
    z = generator.normal(size=(n, 3))
    z[np.arange(n), labels] += 1 + 2.5 * members
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    own = p[np.arange(n), labels]
    return tokens(p, p * (1 - p), labels), np.log(own / (1 - own))


def test_samia_learns_what_members_look_like():
    generator = np.random.default_rng(0)
    inside, members = generator.random(4000) < 0.5, generator.random(1000) < 0.5
    learnt, _ = answers(4000, inside, generator)
    target, plain = answers(1000, members, generator)
    before = torch.random.get_rng_state()
    scores = SAMIA().score(target, learnt, inside)
    assert torch.equal(before, torch.random.get_rng_state())
    assert auc(scores, members) > auc(plain, members) - 0.02
    assert (scores == SAMIA().score(target, learnt, inside)).all()


def test_tokens_keep_ten_classes_in_order_of_probability():
    p = np.random.default_rng(0).dirichlet(np.ones(30), size=5)
    found = tokens(p, np.ones_like(p), p.argmax(1))
    assert found.shape == (5, 10, 3)
    assert (np.diff(found[:, :, 0], axis=1) <= 0).all()
    assert found[:, 0, 2].tolist() == [1.0] * 5


@pytest.mark.parametrize(
    ("target", "learnt", "inside", "message"),
    [
        (np.zeros((4, 3, 3)), np.zeros((6, 3, 2)), np.arange(6) < 3, r"expected \[r, classes, 3\]"),
        (np.zeros((4, 3, 3)), np.zeros((6, 3, 3)), np.ones(6, dtype=bool), "with and without"),
        (np.zeros((4, 2, 3)), np.zeros((6, 3, 3)), np.arange(6) < 3, "as from the reference models"),
    ],
)
def test_unusable_tokens_are_refused(target, learnt, inside, message):
    with pytest.raises(ValueError, match=message):
        SAMIA(epochs=1).score(target, learnt, inside)


def test_tokens_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"expected \[n, classes\] twice"):
        tokens(np.zeros((2, 3)), np.zeros((2, 2)), [0, 1])
