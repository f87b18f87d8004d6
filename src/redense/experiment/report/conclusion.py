"""What a run found, in two sentences: what the method gained, and what it gives away."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from redense.auditing.verdict import leaks_among
from redense.experiment.comparison import Comparison
from redense.experiment.grouping import gathered
from redense.experiment.report.comparisons import with_opponent
from redense.experiment.report.protocols import audited_name
from redense.experiment.report.seeds import best_group, inference_interval, last_groups, mean_over_seeds
from redense.experiment.wording import difference_interval, difference_text
from redense.phases import NAMES, Phase, PhaseKind
from redense.text import interval_text, p_text

if TYPE_CHECKING:
    from redense.experiment.audit_rows import AuditRow
    from redense.experiment.results import Results

ALONE = "no control of the same budget was trained beside it (--controls longer llr)"


def conclusion(results: Results, audits: Sequence[AuditRow] = ()) -> tuple[str, str]:
    """Say what the method's last phase gained against what has the same budget, and what it gives away.

    Each is one sentence. A gain is claimed only for a phase that several seeds show to beat every control of the run.

    >>> from redense.experiment.recipe import Recipe
    >>> from redense.experiment.results import Results
    >>> conclusion(Results(Recipe(), 0, 0, ()))[0]
    'No phase is measured yet.'
    """
    if not results.rows:
        return "No phase is measured yet.", "So nothing is known of what the network gives away."
    return gain(results), leak(results, audits)


def gain(results: Results) -> str:
    """Say whether any last phase beats all controls, or how far the best one is from them.

    What the recipe asks for and is not compared over all of its seeds is named: nobody has beaten that yet.
    """
    best = best_group(results)
    if best is None:
        return "The method's last phase is not measured yet at any sparsity."
    against = results.opponent()
    found = [one for one in with_opponent(results, results.comparisons) if one.quantity == "test_accuracy"]
    accuracy = f"{100 * mean_over_seeds(best, 'test_accuracy'):.2f}%"
    several = len(last_groups(results)) > 1
    reached = f"{_one_of('the best', best[0].phase, several)} reaches a test accuracy of {accuracy}"
    if len(results.recipe.seeds) == 1:
        says = f"One seed does not show which phase is more accurate: {reached}{_beside(results)}"
    elif against is None or not any(one.claimed for one in found):
        says = f"Nothing is compared with the last phase over several seeds: {reached}{_beside(results)}"
    else:
        says = _held_against(results, against, found)
    return f"{says}{_dense_too(results, best[0].phase)}."


def _held_against(results: Results, against: PhaseKind, found: Sequence[Comparison]) -> str:
    """Say which last phase beats what it has to beat, of comparisons over seeds; else how near the nearest comes."""
    by_phase = gathered((one.second, one) for one in found if one.claimed)
    winners = {phase: each for phase, each in by_phase.items() if all(one.outcome == "higher" for one in each)}
    missing = _missing(results, found)
    whole = {phase: each for phase, each in winners.items() if phase not in missing}
    every = "every control of the same budget" if against == "control" else f"{NAMES[against]} training"
    if not winners:
        nearest = max(by_phase.values(), key=_margin)
        least = min(nearest, key=_difference)
        so_far = "So far at" if missing else "At"
        return (
            f"{so_far} no sparsity is {NAMES[results.recipe.final_phase.kind]} training shown to beat {every}: "
            f"{_one_of('the nearest', least.second, len(by_phase) > 1)} lies {_points(least)} {_side(least)} "
            f"{short_name(least.first)}{_rests(least)}{_alone(against)}{_awaited(missing)}"
        )
    best = max(whole or winners, key=lambda phase: _margin(winners[phase]))
    least = min(winners[best], key=_difference)
    names = " and ".join(dict.fromkeys(short_name(one.first) for one in winners[best]))
    what = every if best in whole else f"so far {names}"
    more = len(whole) - 1
    others = f" (and so do{'es' * (more == 1)} {more} more sparsit{'y' if more == 1 else 'ies'})" if more > 0 else ""
    against_whom = f"the nearest, {short_name(least.first)}" if len(winners[best]) > 1 else short_name(least.first)
    return (
        f"{best.label[:1].upper()}{best.label[1:]} beats {what}{others}: by {_points(least)} against {against_whom}"
        f"{_rests(least)}{_alone(against)}{_awaited(missing)}"
    )


def _missing(results: Results, found: Sequence[Comparison]) -> dict[Phase, dict[str, None]]:
    """Name, by last phase, what is not yet compared over all seeds that the recipe asks for."""
    recipe, seeds = results.recipe, len(results.recipe.seeds)
    planned = dict.fromkeys(phase for phases in recipe.lineages() for phase in phases)
    pairs = [
        (first, second)
        for first, second in recipe.chosen_method.compared(planned)
        if first.kind == results.opponent() and recipe.is_final(second)
    ]
    whole = {(one.first, one.second) for one in found if one.seeds == seeds}
    trained = {group[0].phase for group in results.groups() if len(group) == seeds}
    missing: dict[Phase, dict[str, None]] = {}
    for first, second in pairs:
        if (first, second) not in whole:
            missing.setdefault(second, {})[short_name(first if second in trained else second)] = None
    return missing


def _awaited(missing: Mapping[Phase, Mapping[str, None]]) -> str:
    """Say what is missing, each once."""
    names = list(dict.fromkeys(name for of_phase in missing.values() for name in of_phase))
    if not names:
        return ""
    return f"; {' and '.join(names)} {'is' if len(names) == 1 else 'are'} not measured in every seed yet"


def _dense_too(results: Results, last: Phase) -> str:
    """Say what the dense network reaches, where a method that ends sparse yields one besides."""
    groups = {group[0].phase: group for group in results.groups()}
    other = results.recipe.chosen_method.besides(last, groups)
    if other is None:
        return ""
    accuracy = 100 * mean_over_seeds(groups[other], "test_accuracy")
    return f"; the dense network that comes with it, {other.label}, reaches {accuracy:.2f}%"


def leak(results: Results, audits: Sequence[AuditRow] = ()) -> str:
    """Say what the best of the last phases gives away: by its audit, else by the confidence threshold alone."""
    group = best_group(results) or results.groups()[0]
    phase = group[0].phase
    audited = [row for row in audits if row.phase == phase]
    if audited:
        row = audited[0]
        says = _as_one(row.result.verdict.sentence)
        protocol = f", protocol {row.protocol}" if len({one.protocol for one in audits}) > 1 else ""
        first = f" (the first of {len(audited)} audits of that phase)" if len(audited) > 1 else ""
        name = f"{audited_name(row, audits)}{protocol}{first}"
        return f"In the audit of {name}: {says}{_warned(row)}{_all(results, audits)}."
    accuracy, interval = mean_over_seeds(group, "inference_accuracy"), inference_interval(group)
    ends = "" if interval is None else f" {interval_text(interval, 100, 2)}"
    return (
        f"Who sees how sure {phase.label} is of an example tells training from other examples with an accuracy of "
        f"{100 * accuracy:.2f}%{ends}, where guessing is right in 50%; stronger attacks exist, and an audit makes them."
    )


def _one_of(which: str, phase: Phase, several: bool) -> str:
    """Name a phase, and which it is of several."""
    return f"{which}, {phase.label}," if several else phase.label


def _as_one(sentences: str) -> str:
    """Join sentences to a part of one.

    >>> _as_one("No leak (p = .31). Stronger attacks may exist.")
    'no leak (p = .31); stronger attacks may exist'
    """
    first_letters = re.compile(r"(?:^|[.] )([A-Z])")
    return first_letters.sub(lambda found: found.group().replace(".", ";").lower(), sentences).removesuffix(".")


def _warned(row: AuditRow) -> str:
    """Point to what the audit warns of, before which its verdict is not to be believed."""
    many = len(row.result.warnings)
    return f"; that audit has {many} warning{'s' * (many > 1)}, to be read first" if many else ""


def _all(results: Results, audits: Sequence[AuditRow]) -> str:
    """Say in how many audits of the run there is a leak, and in how many no verdict: one may differ from the next."""
    verdicts = [row.result.verdict for row in audits]
    found, kinds = leaks_among(verdicts), {verdict.kind for verdict in verdicts}
    finer = (
        "; phases that are said to leak more or less than others differ in pairs, seed by seed, by less than one audit "
        "can see"
        if "none shown" in kinds and "leak" not in kinds and any(one.shown for one in results.audits)
        else ""
    )
    return f"; {found}{finer}" if found else ""


def _difference(one: Comparison) -> float:
    return one.difference or 0.0


def _margin(each: Sequence[Comparison]) -> float:
    """Return by how much a phase is above the nearest of what it has to beat."""
    return min(map(_difference, each))


def _above(one: Comparison) -> bool:
    return _difference(one) > 0


def _side(one: Comparison) -> str:
    return "above" if _above(one) else "below" if one.difference else "from"


def _points(one: Comparison) -> str:
    return f"{difference_text(one).lstrip('+-')}{one.of.unit} of {one.of.figure}"


def _rests(one: Comparison) -> str:
    """Say in brackets how sure a difference is."""
    interval = "" if one.interval is None else f"95% interval of the difference {difference_interval(one)}, "
    p = "" if one.p is None else f"{p_text(one.p)}, "
    return f" ({interval}{p}{one.seeds} seeds)"


def _alone(against: str) -> str:
    return "" if against == "control" else f"; {ALONE}"


def short_name(phase: Phase) -> str:
    """Call a phase of a comparison: a control by its name alone, since beside what it stands is plain."""
    return phase.lineage if phase.kind == "control" else phase.label


def _beside(results: Results) -> str:
    """Name what stands beside the last phase: the controls of the same budget, else dense training."""
    beside = [
        group
        for group in results.groups()
        if results.recipe.is_beside_final(group[0].phase)
        or (group[0].phase.kind == "dense" and not results.recipe.controls)
    ]
    named = [f"{short_name(group[0].phase)} {100 * mean_over_seeds(group, 'test_accuracy'):.2f}%" for group in beside]
    return f"; {' and '.join(named)}" if named else ""
