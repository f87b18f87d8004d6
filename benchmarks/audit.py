"""Attacks and metrics against scikit-learn and, where installed, ART and PrivacyGuard; one thread.

Goals: all threshold attacks and ROC metrics for 60,000 + 10,000 examples in 100 ms, for 1 M + 1 M in 15 s; ROC metrics
of 10 M scores in 3 s; RMIA with 60,000 examples and as many population points in 0.1 s and O(N) memory; LiRA online of
64 models and 70,000 examples in 0.5 s; 1,000 bootstraps of AUC and TPR of 70,000 in 2 s. Ways that do the same take
turns.

    python benchmarks/audit.py [--repeats 9] [--part 1.0]
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.metrics import roc_auc_score, roc_curve
from threadpoolctl import threadpool_limits
from timing import Ways, machine, show, timings

from redense.attacks import RMIA, LiRA
from redense.attacks.lira import Variance
from redense.attacks.rmia import share_exceeded
from redense.auditing.attack_result import FPRS, evaluate
from redense.auditing.attacks import PLAIN_FAMILIES, Attack, possible_attacks
from redense.auditing.evidence import Evidence
from redense.metrics import auc_interval, balanced_accuracy_interval, bootstrap, roc
from redense.metrics.intervals import split_halves
from redense.signals import Signals

MEMBERS, NONMEMBERS, MILLION, POPULATION, MANY = 60_000, 10_000, 1_000_000, 60_000, 10_000_000
"""Members, non-members, each of many of them, RMIA's population points, and the scores of the largest comparison."""


def compare(title: str, ways: Ways, repeats: int, goal: str) -> None:
    """Time all ways in turns and print them beside the goal."""
    show(f"{title} (goal {goal})", timings(ways, repeats))


def threshold_loop(scores: npt.NDArray[np.float64], members: npt.NDArray[np.bool_]) -> float:
    """The naive way: try each of 1,000 thresholds on all examples; the full loop would take 70 times as long."""
    best = 0.5
    for threshold in np.quantile(scores, np.linspace(0, 1, 1000)):
        guesses = scores >= threshold
        best = max(best, (guesses[members].mean() + 1 - guesses[~members].mean()) / 2)
    return best


def bootstrap_by_sorting(scores: npt.NDArray[np.float64], members: npt.NDArray[np.bool_], repeats: int) -> None:
    """The usual way: draw examples, sort them, compute the curve; for `repeats` draws."""
    generator = np.random.default_rng(0)
    for _ in range(repeats):
        drawn = generator.integers(0, len(scores), len(scores))
        roc_auc_score(members[drawn], scores[drawn])


def noise(n: int, members: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Scores that are a little higher for members."""
    is_member = np.arange(n) < members
    return np.random.default_rng(0).normal(size=n) + 0.3 * is_member, is_member


def logits(among_members: int, n: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Logits [n, 10] and labels, of which members' are a little more often right."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 10, n)
    z = generator.normal(size=(n, 10))
    z[np.arange(n), labels] += 3 + 0.3 * (np.arange(n) < among_members)
    return z, labels


def evaluated(evidence: Evidence, attacks: list[Attack]) -> None:
    """Make all threshold attacks, with all that an audit prints of them."""
    first = split_halves(evidence.members)
    for attack in attacks:
        scores, decides = attack.score(evidence, None), attack.decides(evidence)
        evaluate(attack.name, scores, evidence.members, decides=decides, first=first)


def thresholds_and_metrics(repeats: int, part: float) -> None:
    among_members, n = int(part * MEMBERS), int(part * (MEMBERS + NONMEMBERS))
    z, labels = logits(among_members, n)
    evidence = Evidence(Signals.of_logits(z, labels), labels, np.arange(n) < among_members)
    phi, members = evidence.target.phi, evidence.members
    attacks = possible_attacks(PLAIN_FAMILIES, evidence)

    ways: dict[str, Callable[[], Any]] = {
        f"redense: {len(attacks)} threshold attacks, all metrics": lambda: evaluated(evidence, attacks),
        "redense: attacks and curves alone": lambda: [roc(a.score(evidence, None), members) for a in attacks],
        "redense: one curve": lambda: roc(phi, members),
        "redense: AUC and accuracy with intervals": lambda: (
            auc_interval(phi, members),
            balanced_accuracy_interval(phi, members),
        ),
        "scikit-learn: roc_curve": lambda: roc_curve(members, phi),
        "scikit-learn: roc_curve and roc_auc_score": lambda: (roc_curve(members, phi), roc_auc_score(members, phi)),
        "a loop over 1,000 thresholds": lambda: threshold_loop(phi, members),
    }
    ways |= other_tools(z, labels, members)
    compare(f"{among_members:,} members and {n - among_members:,} non-members", ways, repeats, "100 ms for the first")
    million = int(part * MILLION)
    z, labels = logits(million, 2 * million)
    of_millions = Evidence(Signals.of_logits(z, labels), labels, np.arange(2 * million) < million)
    ways = {f"redense: {len(attacks)} threshold attacks, all metrics": lambda: evaluated(of_millions, attacks)}
    compare(f"{million:,} members and as many non-members", ways, min(repeats, 3), "15 s")


def other_tools(
    z: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], members: npt.NDArray[np.bool_]
) -> dict[str, Callable[[], Any]]:
    """What other packages take for part of it, where they are installed."""
    ways: dict[str, Callable[[], Any]] = {}
    if importlib.util.find_spec("art"):
        from art.metrics.privacy.worst_case_mia_score import get_roc_for_fpr

        p = np.exp(z - z.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        own = p[np.arange(len(labels)), labels]
        ways["ART: get_roc_for_fpr, one score, 4 rates"] = lambda: [
            get_roc_for_fpr(attack_proba=own, attack_true=members, targeted_fpr=fpr) for fpr in FPRS
        ]
    else:
        print("ART is not installed: pip install adversarial-robustness-toolbox to compare")
    if importlib.util.find_spec("privacy_guard"):
        from privacy_guard.analysis.mia.analysis_node import AnalysisNode

        scores = Signals.of_logits(z, labels).phi
        import pandas

        tables = [pandas.DataFrame({"score": scores[side]}) for side in (members, ~members)]
        ways["PrivacyGuard: AnalysisNode, 10 bootstraps"] = lambda: AnalysisNode(
            *tables, delta=1e-6, n_users_for_eval=10_000, num_bootstrap_resampling_times=10
        ).compute_outputs()
    else:
        print("PrivacyGuard is not installed")
    return ways


def many_scores(repeats: int, part: float) -> None:
    count = int(part * MANY)
    scores, members = noise(count, count // 2)
    compare(
        f"{count:,} scores",
        {
            "redense: all metrics": lambda: evaluate("scores", scores, members, decides=False),
            "redense: one curve": lambda: roc(scores, members),
            "NumPy: argsort alone": lambda: np.argsort(scores),
            "scikit-learn: roc_curve": lambda: roc_curve(members, scores),
        },
        min(3, repeats),
        "3 s",
    )


def rmia(repeats: int, part: float) -> None:
    generator = np.random.default_rng(0)
    n = int(part * POPULATION)
    ratios, population = np.exp(generator.normal(size=n)), np.exp(generator.normal(size=n))
    some = slice(0, 2000)

    def every_pair() -> Any:
        return (ratios[some, None] / population[None, :] > 2.0).mean(1)

    same = bool((share_exceeded(ratios[some], population, 2.0) == every_pair()).all())
    tracemalloc.start()
    share_exceeded(ratios, population, 2.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    print(f"\nRMIA: the bits of up to 2,000 x {n:,} pairs: {same}; extra memory {peak / 2**20:.1f} MiB")
    references, included = generator.random((16, n)), generator.random((16, n)) < 0.5
    included[0], included[1] = True, False
    compare(
        f"RMIA, {n:,} examples and {n:,} population points",
        {
            "redense: the comparison": lambda: share_exceeded(ratios, population, 2.0),
            "redense: 16 reference models, all": lambda: RMIA().score(references[0], references, included),
            "every pair, 2,000 of the examples": every_pair,
        },
        repeats,
        "100 ms",
    )


def lira(repeats: int, part: float) -> None:
    generator = np.random.default_rng(0)
    n = int(part * (MEMBERS + NONMEMBERS))
    first = generator.random((32, n)) < 0.5
    included = np.concatenate([first, ~first])
    references, target = generator.normal(size=included.shape), generator.normal(size=n)

    def masked_arrays() -> Any:
        """The usual way: masked arrays for either side, per-example variance."""
        sides = [np.ma.array(references, mask=~side) for side in (included, ~included)]
        densities = [-0.5 * ((target - side.mean(0)) ** 2 / side.var(0) + np.log(side.var(0))) for side in sides]
        return densities[0] - densities[1]

    variances: tuple[Variance, ...] = ("example", "shared", "shrunk")
    ways: dict[str, Callable[[], Any]] = {
        f"redense: online, {variance}": partial(LiRA(variance=variance).score, target, references, included)
        for variance in variances
    }
    ways["redense: offline, shrunk"] = lambda: LiRA(mode="offline").score(target, references, included)
    ways["one read of all values (sum)"] = lambda: references.sum(0)
    ways["NumPy masked arrays, example"] = masked_arrays
    compare(f"LiRA, 64 models x {n:,} examples", ways, repeats, "500 ms")


def bootstraps(repeats: int, part: float) -> None:
    n = int(part * (MEMBERS + NONMEMBERS))
    scores, members = noise(n, int(part * MEMBERS))
    compare(
        f"bootstrap of AUC and TPR at 1% and 0.1%, {n:,} examples",
        {
            "redense: 1,000 resamples": lambda: bootstrap(scores, members, fprs=(0.01, 0.001), repeats=1000),
            "scikit-learn, AUC alone: 20 resamples": lambda: bootstrap_by_sorting(scores, members, 20),
        },
        min(3, repeats),
        "2,000 ms",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--part", type=float, default=1.0, help="fraction of all sizes, for a quick look")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine())
    with threadpool_limits(1):
        for measured in (thresholds_and_metrics, rmia, lira, bootstraps, many_scores):
            measured(options.repeats, options.part)
    print(f"\npeak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB")


if __name__ == "__main__":
    main()
