"""Networks that give away who was in their training data are found: the verdict is "leak"."""

from itertools import product

import pytest
from auditing.digits import sides, trained
from claims.counts import record
from claims.repeated import line

import redense

SETTINGS = tuple(product((150, 300, 600), (10, 25, 40)))
"""Members and epochs of networks on digits, a tenth of whose labels is wrong: the strongest attack on them is right in
54 to 81%."""
SEEDS = 20


def found(members, epochs, seeds):
    """Count the networks on random halves of digits, a seed each, whose audit with thresholds alone says "leak"."""
    hits = 0
    for seed in range(seeds):
        inside, outside = sides(seed, members)
        model = trained(*inside, epochs=epochs, seed=seed)
        result = redense.audit(model, members=inside, nonmembers=outside, attacks=("threshold",))
        hits += result.verdict.kind == "leak"
    return hits


def test_leaky_models_are_found_in_few_runs(monkeypatch):
    monkeypatch.setattr("redense.auditing.audit.sides_alike", lambda *_: "left out, for it takes most of the time")
    hits = found(150, 10, SEEDS)
    record("leaky models are found", "networks on digits, 150 members, 10 epochs", hits, SEEDS, quick=True)
    assert hits == SEEDS, "of 88%, all of 20 would be found with probability .08"


@pytest.mark.evidence
def test_leaky_models_are_found(capsys):
    networks = SEEDS * len(SETTINGS)
    hits = sum(found(members, epochs, SEEDS) for members, epochs in SETTINGS)
    record("leaky models are found", "networks on digits, 150 to 600 members, 10 to 40 epochs", hits, networks)
    with capsys.disabled():
        print("\n" + line(hits, networks, "leaks found"))
    assert hits >= 175, "of 180; of a true 95%, 175 or more would be found with probability .1"
