"""A world without a leak, unless one is asked for: what a target says does not depend on what it was trained on."""

import numpy as np
from scipy.stats import binomtest

from redense.auditing.audit import audit_evidence
from redense.auditing.evidence import Evidence, References
from redense.signals import Signals

CLASSES = 3


def noise(seed, members, nonmembers, models, *, protocol="all", ties=False, leaky_references=False, leak=0.0):
    """Draw evidence: members and non-members alike; reference models may leak, which says nothing about the target.

    With a `leak`, target and reference models are so much surer of the examples that they were trained on.
    """
    generator = np.random.default_rng([seed, members, nonmembers, models])
    n = members + nonmembers
    labels = generator.integers(0, CLASSES, n)
    difficulty = 2 * generator.normal(size=n)

    def says(inside):
        z = generator.normal(size=(n, CLASSES))
        z[np.arange(n), labels] += difficulty + (leak or 2 * leaky_references) * inside
        return Signals.of_logits(np.round(z) if ties else z, labels)

    is_member = np.arange(n) < members
    if protocol == "half":
        is_member = generator.random(n) < 0.5
        is_member[:2] = True, False
    references = None
    if models:
        first = generator.random((models // 2, n)).argsort(axis=1) < n // 2
        included = np.concatenate([first, ~first])
        references = References(Signals.stack([says(inside) for inside in included]), included)
    augmented = generator.random((n, 5)) < 0.7
    return Evidence(says(is_member if leak else 0), labels, is_member, references, augmented)


FAST = ("threshold", "label-only", "rmia", "lira")


def audits(runs, *sizes, attacks=FAST, variance="shrunk", protocol="all", **world):
    """Audit that many worlds; yield the results."""
    for run in range(runs):
        evidence = noise(run, *sizes, protocol=protocol, **world)
        randomized = protocol == "half"
        yield audit_evidence(evidence, attacks=attacks, variance=variance, protocol=protocol, randomized=randomized)


class Tally:
    """Counts, attack by attack, how often intervals hold 0.5 and how often something is claimed that is not there.

    `surprising` counts an attack's own p below .05, `leaks` verdicts and `epsilons` bounds above 0.
    """

    def __init__(self):
        self.runs = self.leaks = self.epsilons = 0
        self.held, self.accuracies, self.surprising = {}, {}, {}

    def add(self, result):
        self.runs += 1
        self.leaks += result.verdict.kind == "leak"
        self.epsilons += bool(result.attack(result.primary).epsilon)
        for measured in result.attacks:
            for figure in ("accuracy", "oracle"):
                low, high = getattr(measured, f"{figure}_interval")
                key = f"{measured.attack}, {figure}"
                self.accuracies[key] = self.accuracies.get(key, 0) + (low <= 0.5 <= high)
            self.surprising[measured.attack] = self.surprising.get(measured.attack, 0) + (measured.p_value < 0.05)
            low, high = measured.auc_interval
            self.held[measured.attack] = self.held.get(measured.attack, 0) + (low <= 0.5 <= high)

    def check(self):
        """Fail when a share is beyond what it promises by more than chance (99.9%) allows."""
        for attack, held in (*self.held.items(), *self.accuracies.items()):
            assert binomtest(held, self.runs).proportion_ci(0.999).high >= 0.95, f"{attack}: {held} of {self.runs}"
        for attack, count in self.surprising.items():
            assert binomtest(count, self.runs).proportion_ci(0.999).low <= 0.05, f"{attack}, p below .05: {count}"
        assert binomtest(self.leaks, self.runs).proportion_ci(0.999).low <= 0.05, f"verdicts of a leak: {self.leaks}"
        assert binomtest(self.epsilons, self.runs).proportion_ci(0.999).low <= 0.05, f"epsilon: {self.epsilons}"

    def lines(self):
        """Say what was seen: the share of intervals that hold 0.5 with its own 95% interval, and of false claims."""
        for attack, held in self.held.items():
            low, high = binomtest(held, self.runs).proportion_ci(0.95)
            yield f"{attack}: {100 * held / self.runs:.1f}% [{100 * low:.1f}, {100 * high:.1f}]"
        claims = (100 * count / self.runs for count in (self.leaks, self.epsilons))
        yield "leak verdicts {:.1f}%, epsilon above 0 {:.1f}% of {} runs".format(*claims, self.runs)
