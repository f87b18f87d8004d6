from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from auditing.models import leaky, with_references
from hypothesis import given
from hypothesis import strategies as st
from pages import charts
from scipy.special import ndtri

import redense
from redense.auditing.attack_result import evaluate
from redense.auditing.audit import audit_evidence
from redense.auditing.evidence import Evidence
from redense.auditing.figure import MARKS, roc_figure
from redense.auditing.verdict import GRADES, JUDGED, KINDS, judge, refuse_leak, simultaneous
from redense.errors import DataError, LeakFound
from redense.signals import Signals
from redense.text import p_text

MEMBERS = np.arange(4000) < 2000
TINY = np.arange(400) % 2 == 0


def attack(name, scores):
    return evaluate(name, scores, MEMBERS, decides=False)[0]


def shifted(shift, seed=0):
    return np.random.default_rng(seed).normal(size=4000) + shift * MEMBERS


def guesses(accuracy):
    """Scores of an attack that is right about so many of either side, and has two answers only."""
    place = np.arange(4000) % 2000 / 2000
    return np.where(MEMBERS, place < accuracy, place >= accuracy).astype(float)


def audited(shift, n=200, seed=0):
    members = np.arange(2 * n) < n
    phi = np.random.default_rng(seed).normal(size=2 * n) + shift * members
    return audit_evidence(Evidence(Signals.of_phi(phi), np.zeros(2 * n, dtype=int), members, phi_only=True))


def test_the_headline_names_the_strongest_attack_not_the_smallest_p():
    # a few members stand out for sure, which no chance would give; guesses about all are right less often
    few = shifted(0.0)
    few[:60] += 50
    found = [attack("few", few), attack("many", guesses(0.55))]
    assert found[0].p_value < found[1].p_value
    verdict = judge(found, 2000, 2000, 0.95)
    assert (verdict.kind, verdict.attack) == ("leak", "many")
    assert verdict.accuracy == found[1].accuracy == pytest.approx(0.55, abs=0.001)
    assert verdict.interval == simultaneous(found[1], 2, 0.95)
    assert verdict.p == KINDS * 2 * min(one.p_value for one in found)
    low, high = (100 * end for end in verdict.interval)
    assert f"is right in 55.0% [{low:.1f}, {high:.1f}] where guessing is right in 50%" in verdict.sentence
    assert "the strongest of 2 attacks" in verdict.sentence
    assert "over all 2 attacks, p < .001" in verdict.sentence


@pytest.mark.parametrize(
    ("accuracy", "grade"), [(0.54, "barely"), (0.56, "barely"), (0.6, "clearly"), (0.76, "clearly"), (0.8, "strongly")]
)
def test_the_words_follow_the_lower_end_that_limits_are_held_against(accuracy, grade):
    found = [attack("a", guesses(accuracy)), attack("b", guesses(0.5))]
    verdict = judge(found, 2000, 2000, 0.95)
    assert verdict.grade == grade
    assert f"This model {grade} gives away who was in its training data" in verdict.sentence
    least = dict(GRADES)
    assert verdict.interval[0] >= least[grade]
    assert not any(least[grade] < other <= verdict.interval[0] for other in least.values())


def crossing(n=1000, seed=0):
    """Scores by which half of the members come first and half last: no area and no top, but right in two of three."""
    generator = np.random.default_rng(seed)
    halves = generator.normal(1.9, 0.5, n // 2), generator.normal(-2.0, 0.5, n // 2)
    others = np.where(generator.random(n) < 0.03, generator.normal(3.6, 0.3, n), generator.normal(size=n))
    return np.concatenate([*halves, others])


def test_an_accuracy_that_no_ranking_shows_is_a_leak():
    members = np.arange(2000) < 1000
    phi = Signals.of_phi(crossing())
    result = audit_evidence(Evidence(phi, np.zeros(2000, dtype=int), members, phi_only=True))
    assert min(one.p_value for one in result.attacks) > 0.5
    assert result.verdict.interval[0] > 0.6
    assert (result.verdict.kind, result.verdict.grade) == ("leak", "clearly")
    assert result.verdict.p < 0.001
    assert "ranks highest" not in result.verdict.sentence


@cache
def guessed(accuracy, confidence):
    return replace(evaluate("a", guesses(accuracy), MEMBERS, decides=False, confidence=confidence)[0], p_value=1.0)


@given(
    st.lists(st.sampled_from([0.49, 0.51, 0.52, 0.525, 0.53, 0.56]), min_size=1, max_size=14),
    st.sampled_from([0.3, 0.5, 0.8, 0.95, 0.99]),
)
def test_the_verdict_never_denies_what_its_interval_shows_nor_is_less_sure_than_the_limit(accuracies, confidence):
    found = [guessed(one, confidence) for one in accuracies]
    verdict = judge(found, 2000, 2000, confidence)
    assert (verdict.kind == "leak") == (verdict.interval[0] > 0.5)
    assert (verdict.kind == "leak") == (verdict.p < 1 - max(confidence, 0.95))
    assert ("which chance alone may give" in verdict.sentence) == (verdict.interval[0] <= 0.5)
    assert verdict.interval[0] == max(simultaneous(one, len(found), confidence)[0] for one in found)


def of_no_skill(generator, n=200):
    """Scores that say nothing about membership."""
    return Evidence(Signals.of_phi(generator.normal(size=2 * n)), np.zeros(2 * n, dtype=int), TINY, phi_only=True)


def of_few_mistakes(generator, members=60, others=4000):
    """A model that is right about 96% of either side: of few members it is often right about all."""
    labels = np.zeros(members + others, dtype=int)
    logits = generator.normal([[3.0, 0.0]], [[0.5, 1.6]], size=(len(labels), 2))
    return Evidence(Signals.of_logits(logits, labels), labels, np.arange(len(labels)) < members)


@pytest.mark.parametrize("confidence", [0.5, 0.95])
@pytest.mark.parametrize("world", [of_no_skill, of_few_mistakes])
def test_noise_is_called_a_leak_and_fails_limits_in_5_percent_however_little_confidence_is_asked_for(world, confidence):
    results = [audit_evidence(world(np.random.default_rng(seed)), confidence=confidence) for seed in range(300)]
    failed = 0
    for result in results:
        try:
            refuse_leak([("", result)], 0.5)
        except LeakFound:
            failed += 1
    leaks = sum(result.verdict.kind == "leak" for result in results)
    assert all(result.verdict.kind in JUDGED for result in results)
    for found in (failed, leaks):  # a true 11% gives fewer than 22 in 3 of 100 such tests, a true 5% in 95
        assert found < 22
    assert failed <= leaks


def test_a_leak_that_no_accuracy_shows_says_what_does():
    few = shifted(0.0)
    few[:40] += 50
    verdict = judge([attack("few", few)], 2000, 2000, 0.95)
    assert verdict.kind == "leak"
    assert verdict.interval[0] <= 0.5
    assert "barely" in verdict.sentence
    assert "which examples 'few' ranks highest" in verdict.sentence
    assert "the only attack made" in verdict.sentence


def test_no_leak_gives_the_size_too_and_no_grade():
    result = audited(0.0)
    verdict = result.verdict
    assert (verdict.kind, verdict.grade) == ("none shown", None)
    assert verdict.attack in ("confidence", "loss")
    assert f"{100 * verdict.interval[1]:.1f}]" in verdict.sentence
    assert p_text(verdict.p) in verdict.sentence


def test_too_few_examples_have_no_headline():
    verdict = audited(2.0, n=49).verdict
    assert (verdict.kind, verdict.attack, verdict.accuracy, verdict.interval, verdict.p, verdict.grade) == (
        "too few",
        *[None] * 5,
    )


def test_simultaneous_intervals_share_the_permitted_error():
    one = attack("a", guesses(0.6))
    assert simultaneous(one, 1, 0.95) == pytest.approx(one.accuracy_interval)
    low, high = simultaneous(one, 14, 0.95)
    expected = ndtri(1 - 0.025 / 14) / ndtri(0.975)
    assert (one.accuracy - low) / (one.accuracy - one.accuracy_interval[0]) == pytest.approx(expected)
    assert (high - one.accuracy) / (one.accuracy_interval[1] - one.accuracy) == pytest.approx(expected)
    low, high = simultaneous(attack("a", guesses(0.999)), 1000, 0.95)
    assert 0 <= low < high == 1


def test_a_limit_is_held_against_all_attacks_of_all_targets():
    strong, weak = audited(2.0), audited(0.0)
    alone = strong.verdict.interval[0]
    together = simultaneous(strong.attack(strong.verdict.attack), 2 * 10, 0.95)[0]
    assert together < alone
    limit = (together + alone) / 2
    with pytest.raises(LeakFound, match=r"confidence is right in .* \(over all 2 attacks\): more than --fail-above"):
        refuse_leak([("", strong)], limit)
    refuse_leak([("dense", strong), *[("sparse", weak)] * 9], limit)
    with pytest.raises(LeakFound, match=r"^dense: confidence is right in .* \(over all 20 attacks\)"):
        refuse_leak([("dense", strong), *[("sparse", weak)] * 9], together - 1e-6)


def test_no_verdict_never_passes_for_no_leak():
    strong, weak, few = audited(2.0), audited(0.0), audited(2.0, n=49)
    with pytest.raises(
        DataError, match="--fail-above 0.6: sparse: No verdict: 49 members and 49 non-members"
    ) as caught:
        refuse_leak([("dense", weak), ("sparse", few)], 0.6)
    assert caught.value.exit_code == 2
    with pytest.raises(DataError, match="--fail-above 0.6: No verdict"):
        refuse_leak([("", few)], 0.6)
    with pytest.raises(LeakFound, match="over all 2 attacks"):  # what is known to leak is said first
        refuse_leak([("", few), ("", strong)], 0.6)


def test_the_same_attack_is_marked_in_table_picture_and_page(tmp_path):
    model, members, nonmembers, references, included = with_references(n=200)
    given = {"members": members, "nonmembers": nonmembers, "references": references, "included": included}
    left_out = []
    for families in (("threshold", "lira", "rmia"), ("threshold", "samia"), ("samia",)):
        result = redense.audit(model, **given, attacks=families)
        name = result.verdict.attack
        assert [line.split(" *")[0] for line in str(result).splitlines() if " * " in line] == [name]
        result.to_html(tmp_path / "audit.html")
        page = (tmp_path / "audit.html").read_text()
        assert page.count('class="strong"') == page.count(f'<th scope="row">{name} *</th>') == 1
        series = charts(page)["roc"]["views"][0]["series"]
        assert [one["name"] for one in series if one.get("strong")] == [f"{name} (strongest)"]
        (axes,) = roc_figure([("dense", result)]).axes
        thick = [line.get_label() for line in axes.get_lines() if line.get_linewidth() > 2]
        assert thick == [name]
        title, *some = axes.get_title().split("\nthick: ")[1].split("\n")
        assert title == f"{name}, the strongest"
        lines, attacks = len(axes.get_lines()) - 1, len(result.attacks)  # one guesses
        assert lines == len(series) - 1
        assert some == ([f"{lines} of {attacks} attacks are drawn"] if lines < attacks else [])
        caption = charts(page)["roc"]["caption"]
        assert (f"Drawn are {lines} of {attacks} attacks; the table has all." in caption) == (lines < attacks)
        assert ("Drawn are" in caption) == (lines < attacks)
        left_out.append(attacks - lines)
    assert min(left_out) == 0 < max(left_out)


def test_an_attack_has_one_colour_in_all_panels_and_the_strongest_is_always_drawn():
    model, members, nonmembers, references, included = with_references(n=200)
    given = {"members": members, "nonmembers": nonmembers, "references": references, "included": included}
    results = [redense.audit(model, **given), redense.audit(model, **given, attacks=("threshold",))]
    panels = roc_figure([("a", results[0]), ("b", results[1])]).axes
    colours = [{line.get_label(): line.get_color() for line in axes.get_lines()} for axes in panels]
    shared = colours[0].keys() & colours[1].keys()
    assert len(shared) > 2
    assert all(colours[0][name] == colours[1][name] for name in shared)
    every = {line.get_label(): line for axes in panels for line in axes.get_lines()}
    guessing = every.pop("guessing")
    looks = {(str(line._unscaled_dash_pattern), line.get_marker()) for line in every.values()}
    assert len(looks) == len({marker for _, marker in looks}) == len({dashes for dashes, _ in looks}) == len(every) > 2
    assert guessing.get_marker() == "None"
    for line in every.values():
        assert 2 <= len(line.get_markevery()) <= MARKS  # few, and apart
    for axes, result in zip(panels, results, strict=True):
        assert result.verdict.attack in [line.get_label() for line in axes.get_lines()]


def test_a_model_that_leaks_says_so_on_its_page(tmp_path):
    model, members, nonmembers = leaky(n=200)
    result = redense.audit(model, members=members, nonmembers=nonmembers)
    result.to_html(tmp_path / "audit.html")
    page = (tmp_path / "audit.html").read_text()
    assert "none are named, because confidence ranks easy examples highest" in page
    assert "for certain" not in page
