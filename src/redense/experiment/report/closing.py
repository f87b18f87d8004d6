"""What a run amounts to, in one sentence: what DSD gained, against what, and what the network gives away."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from redense.text import p_text

if TYPE_CHECKING:
    from redense.experiment.results import Results, Row
    from redense.phases import Phase

CONTROLS = "no control of the same budget was trained beside it (--controls longer llr)"


def closing_sentence(results: Results) -> str:
    """Say what the best last phase gained over the dense one and the best control, and what it gives away.

    Empty where there is no last phase yet.
    """
    groups = results.shown()
    final = results.recipe.final_phase
    last = [group for group in groups if _ends(group[0].phase, final)]
    if not last:
        return ""
    best = max(last, key=_test)
    chosen = f", the best of {len(last)} sparsities on these test examples," if len(last) > 1 else ""
    dense = [group for group in groups if group[0].phase.kind == "dense"]
    over_dense = f", {_points(_test(best) - _test(dense[0]))} over dense" if dense and final.kind != "dense" else ""
    return (
        f"In short: {best[0].phase.label}{chosen} has {_percent(_test(best))} test accuracy{over_dense}; "
        f"{_against_control(results, best)}; it gives away {_leak(best)}{_leak_before(dense)}."
    )


def _ends(phase: Phase, final: Phase) -> bool:
    """Tell whether a phase is the last of its lineage, at whatever sparsity."""
    return (phase.lineage, phase.kind, phase.round) == (final.lineage, final.kind, final.round)


def _against_control(results: Results, best: Sequence[Row]) -> str:
    """Compare with the control beside the same phase that has the highest test accuracy."""
    phase = best[0].phase
    beside = [group for group in results.shown() if _stands_beside(group[0].phase, phase)]
    if not beside:
        return CONTROLS
    control = max(beside, key=_test)
    difference = _points(_test(best) - _test(control))
    return f"{difference} against {control[0].phase.label}, of the same budget ({_evidence(results, control, best)})"


def _stands_beside(control: Phase, phase: Phase) -> bool:
    return (control.beside, control.round) == (phase.kind, phase.round)


def _evidence(results: Results, control: Sequence[Row], best: Sequence[Row]) -> str:
    """Say what stands behind a difference."""
    for one in results.comparisons:
        if (one.quantity, one.first, one.second) == ("test_accuracy", control[0].phase, best[0].phase) and one.claimed:
            return p_text(one.p) if one.p is not None and one.shown else f"no more than {one.seeds} seeds can show"
    return "one seed, which cannot tell which is better"


def _leak(group: Sequence[Row]) -> str:
    return f"who was in its training data to a guesser who is right in {_percent(_inference(group))} (50%: nothing)"


def _leak_before(dense: Sequence[Sequence[Row]]) -> str:
    return f", dense in {_percent(_inference(dense[0]))}" if dense else ""


def _test(group: Sequence[Row]) -> float:
    return statistics.fmean(row.test_accuracy for row in group)


def _inference(group: Sequence[Row]) -> float:
    return statistics.fmean(row.inference_accuracy for row in group)


def _percent(value: float) -> str:
    return f"{100 * value:.2f}%"


def _points(value: float) -> str:
    return f"{100 * value:+z.2f} points"
