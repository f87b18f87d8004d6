"""Twenty groups of 16 models trained on Location-30: the mean of the other groups lies in each group's interval.

320 models of three phases; about half an hour on two free cores.
"""

import os

import numpy as np
import pytest
from claims.counts import record
from folders import carried_out
from scipy.stats import binom

import redense
from redense.auditing.attacks import ATTACKS
from redense.auditing.evidence import Evidence, References
from redense.experiment.auditor import RunAuditor
from redense.experiment.checkpoints import Store
from redense.experiment.engines.local import LocalEngine
from redense.experiment.prepare import prepare
from redense.experiment.replicates import compare_replicates, replicate_phases
from redense.experiment.resources import Resources
from redense.methods import METHODS
from redense.metrics import auc
from redense.text import percent

MODELS = 16
LIRA = next(attack for attack in ATTACKS if attack.name == "LiRA online")


def recipe(groups):
    """The published recipe with fewer epochs than its 20 a phase, for the sake of time."""
    settings = {"sparsities": (0.5,), "epochs": (8, 4, 4), "audit": ("lira",), "protocols": ("half",)}
    return redense.Recipe(data="location30", references=MODELS * groups, **settings)


def auditors(folder, groups):
    """An auditor for each group of models."""
    ready = prepare(recipe(groups), resources=Resources(workers=0))
    for group in range(groups):
        jobs = [
            job
            for job in ready.jobs
            if job.member_set and job.member_set.role == "reference" and job.member_set.index // MODELS == group
        ]
        yield RunAuditor(ready.model_name, ready.dataset, Store(folder), jobs, ("lira",))


def further(auditor, other):
    """The AUC on each model of another group, attacked by all of a group but one pair: [models] by phase."""
    found = {}
    for phase in auditor.phases:
        attackers, targets = (one.of_phase(phase).evidence for one in (auditor, other))
        attackers = References(attackers.signals[np.arange(2, MODELS)], attackers.included[2:])
        found[phase] = np.array(
            [
                auc(LIRA.score(evidence, None, variance="shrunk"), evidence.members)
                for evidence in (
                    Evidence(targets.signals[target], auditor.examples.labels, targets.included[target], attackers)
                    for target in range(MODELS)
                )
            ]
        )
    return found


def measure(folder, groups):
    """By contrast: in how many groups the interval holds the others' mean, and how many targets are predicted.

    Targets are the models of the next group, `MODELS` for each group. Groups share the mean of the others and targets
    their attackers, so that an interval of a share that takes them for independent is too narrow.
    """
    all_of = list(auditors(folder, groups))
    found = [compare_replicates(list(replicate_phases(auditor)), METHODS["dsd"]) for auditor in all_of]
    outside = [further(all_of[group], all_of[(group + 1) % groups]) for group in range(groups)]
    shares = {}
    for place, contrast in enumerate(found[0]):
        of_groups = [one[place] for one in found]
        means = np.array([one.difference for one in of_groups])
        others = (means.sum() - means) / (groups - 1)
        held = sum(one.interval[0] <= value <= one.interval[1] for one, value in zip(of_groups, others, strict=True))
        predicted = None
        if contrast.quantity == "auc":
            differences = [one[contrast.second] - one[contrast.first] for one in outside]
            inside = [
                (one.prediction[0] <= values) & (values <= one.prediction[1])
                for one, values in zip(of_groups, differences, strict=True)
            ]
            predicted = int(np.sum(inside))
        figure = "AUC" if contrast.fpr is None else f"TPR at {percent(contrast.fpr)}"
        name = f"{contrast.second.label} - {contrast.first.label}, {figure}"
        shares[name] = held, predicted, float(means.mean())
    return shares


@pytest.mark.evidence
def test_the_mean_of_the_other_groups_lies_in_the_interval(tmp_path):
    if not os.environ.get("REDENSE_DATA"):
        pytest.skip("needs Location-30 in $REDENSE_DATA")
    groups = 20
    # each group is audited by itself: a run would take every one of the 320 in turn, without every pair
    carried_out(LocalEngine(2), prepare(recipe(groups), resources=Resources(workers=0)), tmp_path)
    found = measure(tmp_path, groups)
    assert sum(predicted is not None for _, predicted, _ in found.values()) == len(found) // 2  # AUCs, not TPRs
    for name, (held, predicted, mean) in found.items():
        print(f"{name}: {mean:+.4f}, held in {held} of {groups}, further trainings predicted {predicted}")
        record("replicates, mean", f"Location-30, {name}", held, groups)
        if predicted is not None:
            record("replicates, one further training", f"Location-30, {name}", predicted, groups * MODELS)
    for held, predicted, _ in found.values():
        assert held >= binom.ppf(0.01, groups, 0.94)
        assert predicted is None or predicted >= 0.94 * groups * MODELS
