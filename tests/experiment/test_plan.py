import json

import pytest

from redense.auditing.protocols import OF_RUNS, OF_TABLE, PROTOCOLS, of_role
from redense.experiment.plan import Fingerprints, Job, critical_path, plan
from redense.experiment.recipe import Recipe

FINGERPRINTS = Fingerprints(data="d", architecture="a", arithmetic="cpu")


def keys(recipe=None, model="mlp", fingerprints=FINGERPRINTS):
    return {job.phase.label + str(job.seed): job.key for job in plan(recipe or Recipe(), model, fingerprints)}


def test_one_dense_phase_serves_all_sparsities():
    jobs = plan(Recipe(sparsities=(0.3, 0.5), seeds=(0, 1)), "mlp", FINGERPRINTS)
    assert [job.phase.kind for job in jobs].count("dense") == 2
    assert len(jobs) == 2 * (1 + 2 * 2)
    seen = set()
    for job in jobs:
        assert job.parent is None or job.parent in seen
        seen.add(job.key)


@pytest.mark.parametrize("name", OF_RUNS)
def test_every_protocol_of_runs_has_targets_that_no_other_has(name):
    recipe = Recipe(audit=("lira",), protocols=(name,), references=2, sparsities=(0.5,), seeds=(0, 7))
    targets = {}
    for job in plan(recipe, "mlp", FINGERPRINTS):
        targets.setdefault(of_role(job.member_set and job.member_set.role), set()).add(job.model_name)
    assert targets.pop(None) == {"reference 0", "reference 1"}
    assert targets.keys() == {*OF_TABLE, name}
    assert {len(models) for models in targets.values()} == {2}
    assert of_role(PROTOCOLS[name].role) == name


def test_more_sparsities_and_seeds_keep_every_key():
    few, many = keys(Recipe(sparsities=(0.5,))), keys(Recipe(sparsities=(0.3, 0.5), seeds=(0, 7)))
    assert few.items() <= many.items()


@pytest.mark.parametrize(
    ("change", "unchanged"),
    [
        ({"lr": 0.1}, set()),
        ({"batch_size": 7}, set()),
        ({"optimizer": "sgd"}, set()),
        ({"weight_decay": 0.1}, set()),
        ({"data": "elsewhere"}, {"dense0", "sparse 50%0", "re-dense 50%0"}),  # the fingerprint decides, not the name
        ({"momentum": 0.5}, {"dense0", "sparse 50%0", "re-dense 50%0"}),  # Adam has none
        ({"epochs": (20, 20, 21)}, {"dense0", "sparse 50%0"}),
        ({"rates": (1.0, 0.5, 0.1)}, {"dense0"}),
        ({"exclude": ("x",)}, {"dense0"}),
        ({"distribution": "global"}, {"dense0"}),
        ({"precision": "bf16"}, set()),
    ],
)
def test_a_key_changes_with_what_determines_the_result_and_with_nothing_else(change, unchanged):
    before, after = keys(Recipe(sparsities=(0.5,))), keys(Recipe(sparsities=(0.5,), **change))
    assert {name for name in before if before[name] == after[name]} == unchanged


@pytest.mark.parametrize("field", ["data", "architecture", "arithmetic"])
def test_keys_follow_the_fingerprints(field):
    changed = Fingerprints(**{**vars(FINGERPRINTS), field: "other"})
    assert not set(keys().values()) & set(keys(fingerprints=changed).values())


def test_keys_are_those_of_folders_that_there_are():
    """As code gave them that knew no precision: whoever changes one makes all that is trained unknown."""
    assert keys(Recipe(sparsities=(0.5,))) == {
        "dense0": "14d2eb07ea68537c3c3ba92658573008",
        "sparse 50%0": "45bbc5d73f916a991f3a1a3d4998bbf3",
        "re-dense 50%0": "4897696bee5d25c7079b0b82cfd42ec2",
    }


def test_integers_and_floats_that_are_equal_give_one_key():
    assert keys(Recipe(lr=1, weight_decay=0, rates=(1, 1, 1))) == keys(Recipe(lr=1.0, rates=(1.0, 1.0, 1.0)))


def test_a_second_round_starts_from_the_first():
    jobs = plan(Recipe(sparsities=(0.5,), rounds=2), "mlp", FINGERPRINTS)
    assert [job.phase.label for job in jobs][3:] == ["sparse 50% (round 2)", "re-dense 50% (round 2)"]
    assert jobs[3].parent == jobs[2].key


def test_jobs_survive_json():
    for job in plan(Recipe(exclude=("a", "b")), "mlp", FINGERPRINTS):
        assert Job.from_mapping(json.loads(json.dumps(job.to_mapping()))) == job


def test_critical_path_counts_the_epochs_that_wait():
    jobs = plan(Recipe(sparsities=(0.3, 0.5), epochs=(5, 3, 2)), "mlp", FINGERPRINTS)
    assert [critical_path(jobs)[job.key] for job in jobs] == [10, 5, 2, 5, 2]


def test_controls_share_the_dense_phase_and_repeat_its_chains_budget():
    recipe = Recipe(sparsities=(0.5,), epochs=(5, 3, 2), controls=("longer", "llr"), rounds=2)
    jobs = {job.phase.label: job for job in plan(recipe, "mlp", FINGERPRINTS)}
    dense, longer, llr = (
        jobs["dense"],
        jobs["control-longer beside sparse"],
        jobs["control-llr beside re-dense (round 2)"],
    )
    assert longer.parent == llr.parent == jobs["sparse 50%"].parent == dense.key
    assert llr.phase.epochs == 10
    assert llr.training.lr == jobs["re-dense 50%"].training.lr == pytest.approx(1e-4)
    for kind, name in (("sparse", "sparse 50%"), ("re-dense", "re-dense 50%")):
        for round_ in ("", " (round 2)"):
            control, phase = jobs[f"control-longer beside {kind}{round_}"], jobs[name + round_]
            # the same place in the chain is what makes the batches the same
            assert (control.position, control.phase.epochs, control.training) == (
                phase.position,
                phase.phase.epochs,
                phase.training,
            )


def test_controls_change_no_other_key():
    assert keys().items() <= keys(Recipe(controls=("longer", "llr"))).items()
