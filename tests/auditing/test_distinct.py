"""Equal inputs count once: what is left out, what is kept, and where it stands in what comes back."""

import dataclasses

import numpy as np
import pytest
import torch
from auditing.models import leaky, with_references
from hypothesis import given
from hypothesis import strategies as st

import redense
from redense.auditing.distinct import Distinct
from redense.auditing.evidence import Evidence, NoisyAnswers, References, SampledAnswers
from redense.auditing.outputs import LogitsSeen
from redense.errors import DataError
from redense.signals import Signals

EXAMPLES = st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=40)


def named(examples):
    inputs, sides = zip(*examples, strict=True)
    return np.array([f"input {number}" for number in inputs], dtype="S16"), np.array(sides)


@given(EXAMPLES)
def test_of_equal_inputs_the_first_counts_and_those_of_both_sides_do_not(examples):
    expected = [
        (number, not side) not in examples and (number, side) not in examples[:place]
        for place, (number, side) in enumerate(examples)
    ]
    distinct = Distinct.of(*named(examples))
    assert distinct.counts.tolist() == expected
    assert distinct.places.tolist() == [place for place, counts in enumerate(expected) if counts]
    assert distinct.repeated.tolist() == [place for place in distinct.places if examples.count(examples[place]) > 1]
    firsts = [examples.index(example) for example in examples]
    assert distinct.first.tolist() == firsts


@given(EXAMPLES, st.data())
def test_what_is_on_both_sides_is_counted_for_any_sides(examples, data):
    digests, side = named(examples)
    members = np.array(data.draw(st.lists(st.booleans(), min_size=len(side), max_size=len(side))))
    mine, theirs = (
        {digest for digest, inside in zip(digests, members, strict=True) if inside == one} for one in (1, 0)
    )
    common, smaller = len(mine & theirs), min(len(mine), len(theirs))
    distinct = Distinct.of(digests, side)
    if common > 0.01 * smaller:
        with pytest.raises(DataError, match=f"^{common} inputs are among .*, more than 1% of {smaller}; expected"):
            distinct.refuse_overlap(members)
    else:
        distinct.refuse_overlap(members)


def random_evidence(generator, members, models=3):
    n = len(members)
    asked = np.unique(generator.integers(0, models * n, 2 * n))
    answers = NoisyAnswers(generator.random((len(asked), 2)), generator.random((len(asked), 2)))
    references = References(
        Signals.of_phi(generator.normal(size=(models, n))),
        generator.random((models, n)) < 0.5,
        SampledAnswers(asked // n, asked % n, answers),
    )
    return Evidence(
        Signals.of_phi(generator.normal(size=n)),
        generator.integers(0, 3, n),
        members,
        references,
        augmented=generator.random((n, 4)) < 0.5,
        noisy=NoisyAnswers(generator.random((n, 2)), generator.random((n, 2))),
    )


@given(EXAMPLES, st.integers(0, 2**32))
def test_everything_about_an_example_is_kept_or_left_out_together(examples, seed):
    digests, members = named([*examples, (10, True), (11, False)])
    whole = random_evidence(np.random.default_rng(seed), members)
    distinct = Distinct.of(digests, members)
    kept, places = distinct.evidence(whole), distinct.places
    own, answers = kept.references, whole.references.noisy
    assert kept.names is None if distinct.counts.all() else [int(name) for name in kept.names] == places.tolist()
    pairs = {}
    for place, model, example in zip(range(len(answers.model)), answers.model, answers.example, strict=True):
        if example in places:
            pairs[model, places.tolist().index(example)] = answers.answers.probabilities[place].tolist()
    found = zip(own.noisy.model, own.noisy.example, own.noisy.answers.probabilities.tolist(), strict=True)
    assert {(model, example): values for model, example, values in found} == pairs
    for number, place in enumerate(places):
        assert kept.target.phi[number] == whole.target.phi[place]
        assert (kept.labels[number], kept.members[number]) == (whole.labels[place], whole.members[place])
        assert kept.augmented[number].tolist() == whole.augmented[place].tolist()
        assert kept.noisy.sensitivities[number].tolist() == whole.noisy.sensitivities[place].tolist()
        assert own.signals.phi[:, number].tolist() == whole.references.signals.phi[:, place].tolist()
        copies = [other for other, digest in enumerate(digests) if digest == digests[place]]
        # a model that was trained on any copy knows the example
        assert own.included[:, number].tolist() == whole.references.included[:, copies].any(1).tolist()


def test_an_audit_of_repeated_examples_is_that_of_distinct_ones():
    model, members, nonmembers, references, included = with_references()
    options = {"references": references, "randomized": True, "attacks": ("threshold", "rmia", "lira")}
    once = redense.audit(model, members=members, nonmembers=nonmembers, included=included, **options)
    generator = np.random.default_rng(0)
    places = [np.concatenate([np.arange(120), generator.integers(0, 120, more)]) for more in (300, 7)]
    sides = [(x[place], y[place]) for (x, y), place in zip((members, nonmembers), places, strict=True)]
    both = np.concatenate([places[0], 120 + places[1]])
    result = redense.audit(
        model,
        members=sides[0],
        nonmembers=sides[1],
        included=included[:, both],
        names=[f"number {place}" for place in both],
        **options,
    )
    assert once.verdict.kind == "leak"
    assert once.attack(once.primary).epsilon > 0
    assert (result.attacks, result.verdict, result.alike) == (once.attacks, once.verdict, once.alike)
    assert (result.members, result.members_left_out) == (120, 300)
    assert (result.nonmembers, result.nonmembers_left_out) == (120, 7)
    assert (once.members_left_out, once.nonmembers_left_out) == (0, 0)
    assert result.members_accuracy == once.members_accuracy
    assert [(one.example, one.name) for one in result.exposed] == [
        (one.example, f"number {one.example}") for one in once.exposed
    ]
    counts = np.r_[:120, 420:540]
    assert result.risks[counts].tolist() == once.risks.tolist()
    assert np.isnan(np.delete(result.risks, counts)).all()
    assert [warning.partition(" are repetitions of others (equal inputs), ")[0] for warning in result.warnings] == [
        "300 of 420 members",
        "7 of 127 non-members",
    ]


def test_exposed_examples_stand_where_they_were_given():
    model, (x, y), nonmembers, references, included = with_references()
    again = np.repeat(np.arange(120), 2)
    both = np.concatenate([again, np.arange(120, 240)])
    result = redense.audit(
        model,
        members=(x[again], y[again]),
        nonmembers=nonmembers,
        references=references,
        included=included[:, both],
        attacks=("lira",),
    )
    assert result.exposed
    for one in result.exposed:
        assert one.name == str(one.example)
        assert one.example % 2 == 0, "the first of two"
        assert one.label == y[one.example // 2]
        assert one.risk == result.risks[one.example]


def test_equal_inputs_with_other_labels_are_repetitions_and_the_first_counts():
    """The entropy of an answer does not look at the label: it would count the same answer many times."""
    model, members, (x, y) = leaky()
    once = redense.audit(model, members=members, nonmembers=(x, y))
    others = np.concatenate([x, x]), np.concatenate([y, (y + 1) % 3])
    result = redense.audit(model, members=members, nonmembers=others)
    assert (result.nonmembers, result.nonmembers_left_out) == (120, 120)
    assert result.attacks == once.attacks


def test_what_is_on_both_sides_is_in_neither():
    model, (x, y), (others, theirs) = leaky(n=300)
    without = redense.audit(model, members=(x[1:], y[1:]), nonmembers=(others[:-1], theirs[:-1]))
    others, theirs = others.copy(), theirs.copy()
    others[-1], theirs[-1] = x[0], y[0]
    result = redense.audit(model, members=(x, y), nonmembers=(others, theirs))
    assert (result.attacks, result.verdict) == (without.attacks, without.verdict)
    assert (result.members, result.members_left_out, result.nonmembers, result.nonmembers_left_out) == (299, 1, 299, 1)
    assert np.flatnonzero(np.isnan(result.risks)).tolist() == [0, 599]
    (warning,) = result.warnings
    assert warning.startswith("2 examples have inputs that are among the members and among the non-members (1 of them ")


def test_few_distinct_examples_are_too_few_however_often_they_are_given():
    model, (x, y), (others, theirs) = leaky()
    sides = [(part[:40].repeat(9, axis=0), of[:40].repeat(9)) for part, of in ((x, y), (others, theirs))]
    result = redense.audit(model, members=sides[0], nonmembers=sides[1])
    assert result.verdict.kind == "too few"
    assert "40 members and 40 non-members" in result.verdict.sentence


def chance(generator, n=120):
    """A model that has learnt nothing, and examples."""
    model = torch.nn.Linear(4, 3)
    torch.nn.init.normal_(model.weight, generator=generator)
    return model, torch.randn(n, 4, generator=generator), torch.randint(0, 3, (n,), generator=generator)


def test_repetitions_do_not_make_labels_look_as_if_they_were_counted_from_elsewhere():
    """A few more of 60 agree with the label + 1 by chance, which would be certain if each counted ten times."""
    generator, first = torch.Generator().manual_seed(0), np.arange(600) % 10 == 0
    for _ in range(100):
        model, x, y = chance(generator)
        seen = LogitsSeen("members")
        with torch.no_grad():
            seen.add(model(x[:60].repeat_interleave(10, 0)), y[:60].repeat_interleave(10).numpy())
        assert not seen.warnings(first)
        if seen.warnings():
            break
    else:
        pytest.fail("chance never looked certain")
    repeated = x[:60].repeat_interleave(10, 0), y[:60].repeat_interleave(10)
    result = redense.audit(model, members=repeated, nonmembers=(x[60:], y[60:]), attacks=("threshold",))
    assert not any("agrees with the label" in warning for warning in result.warnings)


def test_results_say_how_many_were_left_out_in_json():
    model, (x, y), nonmembers = leaky()
    result = redense.audit(model, members=(x.repeat(2, axis=0), y.repeat(2)), nonmembers=nonmembers)
    written = result.to_mapping()
    assert (written["members_left_out"], written["nonmembers_left_out"]) == (120, 0)
    read = redense.AuditResult.from_mapping(written)
    assert read == dataclasses.replace(result, risks=None)
