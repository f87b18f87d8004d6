"""Repeated experiments: ``--fail-above`` and the verdict's interval, over all attacks and targets of a call."""

import numpy as np
import pytest
from claims.counts import record
from claims.noise import noise
from scipy.stats import binomtest, norm

from redense.auditing.audit import audit_evidence
from redense.auditing.evidence import Evidence
from redense.auditing.verdict import JUDGED, refuse_leak
from redense.errors import DataError, LeakFound
from redense.metrics.intervals import halves_of
from redense.signals import Signals


def shifted(generator, shift, n):
    """Scaled logits N(shift * member, 1): no threshold is more accurate than Phi(shift / 2)."""
    members = np.arange(2 * n) < n
    phi = generator.normal(size=2 * n) + shift * members
    return Evidence(Signals.of_phi(phi), np.zeros(2 * n, dtype=int), members, phi_only=True)


def fails(results, limit):
    """Tell whether a call says that the limit is exceeded; one that has no verdict to go by does not."""
    try:
        refuse_leak([("", result) for result in results], limit)
    except LeakFound:
        return True
    except DataError:
        assert any(result.verdict.kind not in JUDGED for result in results)
    return False


def calls_that_fail(calls, n, shift, targets, above=0.0):
    """Count calls that fail at a limit so much below the truth, each about so many targets."""
    generator = np.random.default_rng([calls, n, int(10 * shift)])
    limit = norm.cdf(shift / 2) - above
    return sum(
        fails([audit_evidence(shifted(generator, shift, n)) for _ in range(targets)], limit) for _ in range(calls)
    )


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_a_limit_that_is_not_exceeded_in_few_calls(shift):
    # a true error of 12% gives more than 21 in 96 of 100 such tests, one of 5% in fewer than 1
    found = calls_that_fail(250, 200, shift, targets=1)
    record("fail above", f"200 a side, shift {shift}, 1 targets", 250 - found, 250, quick=True)
    assert found <= 21


def test_a_limit_that_is_exceeded_in_few_calls():
    # a true power of 80% gives fewer than 52 of 60 in 87 of 100 such tests, one of 95% in fewer than 1
    found = calls_that_fail(60, 2_000, 0.5, targets=1, above=0.05)
    record("fail above, five points", "2,000 a side, shift 0.5", found, 60, quick=True)
    assert found >= 52


CALLS = [(1_000, n, shift, 1) for n in (60, 500, 2_000) for shift in (0.0, 0.5, 1.0, 2.0)]


@pytest.mark.evidence
@pytest.mark.parametrize(("calls", "n", "shift", "targets"), [*CALLS, (300, 200, 0.0, 6), (300, 200, 1.0, 6)])
def test_a_limit_that_is_not_exceeded(calls, n, shift, targets, capsys):
    told(calls_that_fail(calls, n, shift, targets), calls, f"{n} a side, shift {shift}, {targets} targets", capsys)


@pytest.mark.evidence
@pytest.mark.parametrize("models", [0, 8])
@pytest.mark.parametrize("ties", [False, True])
def test_a_limit_of_one_half_on_noise_with_all_attacks(models, ties, capsys):
    calls = 500
    families = ("threshold", "label-only", "rmia", "lira")
    found = sum(
        fails([audit_evidence(noise(run, 250, 250, models, ties=ties), attacks=families)], 0.5) for run in range(calls)
    )
    told(found, calls, f"all attacks, {models} reference models{', ties' * ties}", capsys)


def told(found, calls, what, capsys):
    low, high = binomtest(found, calls).proportion_ci(0.95)
    record("fail above", what, calls - found, calls)
    with capsys.disabled():
        print(f"\n# --fail-above, {what}: fails {100 * found / calls:.1f}% [{100 * low:.1f}, {100 * high:.1f}]")
    assert binomtest(found, calls).proportion_ci(0.999).low <= 0.05


@pytest.mark.evidence
@pytest.mark.parametrize("shift", [0.3, 0.5, 1.0, 2.0])
def test_a_limit_that_is_exceeded_by_five_points(shift):
    found = calls_that_fail(300, 2_000, shift, targets=1, above=0.05)
    record("fail above, five points", f"2,000 a side, shift {shift}", found, 300)
    assert binomtest(found, 300).proportion_ci(0.999).high >= 0.9, found


@pytest.mark.evidence
def test_a_limit_that_is_exceeded_by_five_points_with_all_attacks():
    results = [
        audit_evidence(noise(run, 2_000, 2_000, 8, leak=2.0), attacks=("threshold", "label-only", "rmia", "lira"))
        for run in range(200)
    ]
    # an attack's accuracy is that of its thresholds, without bias
    truth = np.mean([[attack.accuracy for attack in result.attacks] for result in results], axis=0).max()
    assert 0.55 < truth < 0.95
    found = sum(fails([result], truth - 0.05) for result in results)
    record("fail above, five points", "2,000 a side, all attacks, 8 reference models", found, 200)
    assert binomtest(found, 200).proportion_ci(0.999).high >= 0.9, found


def headlines_that_hold(runs, n, shift):
    """Count verdicts whose interval holds the accuracy, on fresh examples, of the very thresholds that were learnt."""
    generator = np.random.default_rng([runs, n, int(10 * shift)])
    held = 0
    for _ in range(runs):
        evidence = shifted(generator, shift, n)
        verdict = audit_evidence(evidence).verdict
        halves = halves_of(evidence.target.phi.astype(np.float64), evidence.members)
        learnt = np.array([half.thresholds[half.best] for half in (halves.first, halves.second)])
        truth = np.mean(norm.cdf(shift - learnt) + norm.cdf(learnt)) / 2
        held += verdict.interval[0] <= truth <= verdict.interval[1]
    return held


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_the_verdicts_interval_in_few_runs(shift):
    # a true coverage of 88% gives fewer than 229 of 250 in 96 of 100 such tests, one of 95% in fewer than 1
    held = headlines_that_hold(250, 200, shift)
    record("headline", f"200 a side, shift {shift}", held, 250, quick=True)
    assert held >= 229


@pytest.mark.evidence
@pytest.mark.parametrize("n", [60, 500, 2_000])
@pytest.mark.parametrize("shift", [0.0, 0.5, 1.0, 2.0])
def test_the_verdicts_interval(n, shift, capsys):
    runs = 1_000
    held = headlines_that_hold(runs, n, shift)
    record("headline", f"{n} a side, shift {shift}", held, runs)
    with capsys.disabled():
        print(f"\n# verdict's interval, {n} a side, shift {shift}: holds {100 * held / runs:.1f}%")
    assert binomtest(held, runs).proportion_ci(0.999).high >= 0.95
