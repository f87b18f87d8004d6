import csv
import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
from consoles import printed
from factories import arrays
from pages import paragraphs
from rich.console import Console

import redense
from redense.attacks import ShadowClassifier
from redense.auditing import alike
from redense.auditing.attack_result import FPRS, rate_at
from redense.auditing.attacks import ATTACKS
from redense.auditing.result import AuditResult
from redense.data.members import MemberSet
from redense.errors import DataError, FolderError, RecipeError
from redense.experiment import audited_examples
from redense.experiment import auditor as auditor_module
from redense.experiment.audit import RunAuditor, audit_run
from redense.experiment.audit_comparison import compare_audits
from redense.experiment.audit_rows import read_rows, write_rows
from redense.experiment.checkpoints import Store
from redense.experiment.plan import identities
from redense.experiment.prepare import prepare
from redense.experiment.report.audits import audit_summary
from redense.experiment.report.charts import rate_chart
from redense.experiment.report.comparisons import with_opponent
from redense.experiment.resources import Resources
from redense.experiment.results import Results
from redense.experiment.write_report import write_report
from redense.methods import METHODS
from redense.metrics import auc, roc
from redense.metrics.paired import holm

pytestmark = pytest.mark.xdist_group("audited_run")  # `out`, too, is trained once

RECIPE = {
    "data": "factories:data",
    "model": "factories:small",
    "sparsities": (0.5,),
    "epochs": (2, 1, 1),
    "audit": ("lira", "rmia", "shadow"),
    "references": 4,
    "protocols": ("all", "half"),
}


def recipe(**changes):
    return redense.Recipe(**{**RECIPE, **changes})


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "out"
    redense.run(recipe(), out=folder, workers=0)
    return folder


def rows_of(folder, changes=(), attacks=("threshold", "lira", "rmia", "shadow")):
    prepared = prepare(recipe(**dict(changes)), resources=Resources(workers=0))
    auditor = RunAuditor(prepared.model_name, prepared.dataset, Store(folder), prepared.jobs, attacks)
    return auditor, list(auditor.rows())


def test_every_phase_of_both_targets_is_audited_with_references_of_its_own_phase(out):
    entries = json.loads((out / "audit.json").read_text())["rows"]
    assert [(entry["protocol"], entry["phase"]) for entry in entries] == [
        (protocol, phase) for protocol in ("all", "half") for phase in ("dense", "sparse", "redense")
    ]
    assert all(entry["result"]["references"] == 4 for entry in entries)
    assert entries[0]["result"]["members"] == 96
    assert entries[0]["result"]["nonmembers"] == 48
    assert entries[3]["result"]["members"] == MemberSet("target", 0).included(144).sum()
    assert [row["phase"] for row in json.loads((out / "results.json").read_text())["rows"]] == [
        "dense",
        "sparse",
        "redense",
    ], "the table has no references and no half targets"


def test_references_replay_the_targets_phases(out):
    auditor, _ = rows_of(out)
    store = Store(out)
    for job in auditor.jobs:
        checkpoint = store.load(job.key)
        assert bool(checkpoint.masks) == (job.phase.kind == "sparse")
    chains = {(job.member_set, job.seed): [] for job in auditor.jobs}
    for job in auditor.jobs:
        chains[job.member_set, job.seed].append((job.phase, job.parent is not None, job.training))
    assert len(chains) == 1 + 1 + 4
    assert all(chain == chains[None, 0] for chain in chains.values())


def test_a_target_is_trained_on_its_half_and_on_nothing_else(out):
    """The signals of the row are those of its checkpoint, and its members those of its member set."""
    auditor, rows = rows_of(out)
    for row in rows:
        member_set = MemberSet("target", 0) if row.protocol == "half" else None
        assert (row.members == auditor.examples.members(member_set)).all()
        signals = Store(out).load_signals(row.checkpoint)
        assert row.result.attack("confidence").auc == pytest.approx(
            auc(signals.phi, row.members), abs=1e-12
        )  # the same but for the threshold learnt on reference models, which changes no order
        trained_on = len(row.members) - len(auditor.dataset.y_test)
        held_out = ~row.members & (np.arange(len(row.members)) >= trained_on)
        assert row.test_accuracy == pytest.approx(signals.correct[held_out].mean())
        assert row.test_accuracy == pytest.approx(row.trace.points[-1][0])  # measured in training, on the same examples
        assert row.trace.held_out == held_out.sum()
        assert (row.trace.held_out < row.result.nonmembers) == (row.protocol == "half")


def test_a_second_look_makes_nothing_anew(out, monkeypatch):
    monkeypatch.setattr("redense.experiment.auditor.audit_evidence", lambda *a, **k: pytest.fail("made again"))
    before = (out / "audit.json").read_text()
    redense.run(recipe(), out=out, workers=0)
    assert (out / "audit.json").read_text() == before


def test_a_second_look_reads_no_evidence(out, monkeypatch):
    monkeypatch.setattr(Store, "load_signals", lambda *a: pytest.fail("signals were read"))
    monkeypatch.setattr(RunAuditor, "ask", lambda *a, **k: pytest.fail("a model was asked"))
    _, rows = rows_of(out)
    assert len(rows) == 6


def test_attacks_learn_once_a_phase_for_all_targets(out, tmp_path, monkeypatch):
    shutil.copytree(out, tmp_path / "run", ignore=shutil.ignore_patterns("audit"))
    times = []
    fit = ShadowClassifier.fit
    monkeypatch.setattr(ShadowClassifier, "fit", lambda *arguments: times.append(1) or fit(*arguments))
    _, rows = rows_of(tmp_path / "run")
    assert (len(times), len(rows)) == (3, 6)


def test_a_result_that_is_damaged_or_of_another_format_is_made_again(out):
    before = {path: path.read_bytes() for path in (out / "audit").iterdir()}
    results = sorted(path for path in before if path.suffix == ".json")
    assert len(results) == 6
    for path in results[:3]:
        for damaged in (path, path.with_suffix(".safetensors")):
            damaged.write_bytes(before[damaged][:-20])
    for path in results[3:]:
        kept = json.loads(before[path])
        path.write_text(json.dumps({**kept, "result": {**kept["result"], "format": 99}}))
    rows_of(out)
    assert {path: path.read_bytes() for path in (out / "audit").iterdir()} == before


def test_what_an_older_version_kept_is_made_again(out, monkeypatch):
    def made(*arguments):
        raise InterruptedError

    monkeypatch.setattr(RunAuditor, "_made", made)
    rows_of(out)  # all are kept
    monkeypatch.setattr(auditor_module, "FORMAT", auditor_module.FORMAT + 1)
    with pytest.raises(InterruptedError):
        rows_of(out)


def test_files_under_one_anothers_names_are_made_again(out):
    paths = sorted((out / "audit").glob("*.json"))[:2]
    before = [(path.read_text(), path.with_suffix(".safetensors").read_bytes()) for path in paths]
    for path, (text, risks) in zip(paths, reversed(before), strict=True):
        path.write_text(text)
        path.with_suffix(".safetensors").write_bytes(risks)
    rows_of(out)
    assert [(path.read_text(), path.with_suffix(".safetensors").read_bytes()) for path in paths] == before


def test_a_new_attack_is_made_for_runs_that_were_audited_before(out, monkeypatch):
    more = (*ATTACKS, dataclasses.replace(ATTACKS[1], name="confidence again"))
    monkeypatch.setattr("redense.auditing.attacks.ATTACKS", more)
    monkeypatch.setattr(auditor_module, "ATTACKS", more)
    before = set((out / "audit").glob("*.json"))
    _, rows = rows_of(out)
    assert all(row.result.attack("confidence again").auc == row.result.attack("confidence").auc for row in rows)
    for path in set((out / "audit").glob("*.json")) - before:
        path.unlink()


def test_audits_of_format_1_are_refused_and_made_again_by_the_same_command(out):
    """Their statistics do not hold: no folder may go on printing them."""
    before = {path: path.read_text() for path in [*(out / "audit").glob("*.json"), out / "audit.json"]}
    for path in (out / "audit").glob("*.json"):
        old = json.loads(path.read_text())["result"]
        old["verdict"] = {name: old["verdict"][name] for name in ("kind", "sentence")}
        old |= {"format": 1, "one_run_epsilon": 9.0, "attacks": [one | {"epsilon": 9.0} for one in old["attacks"]]}
        path.write_text(json.dumps(old))
        with pytest.raises(DataError, match="got format 1; expected 3; audit again with this version"):
            AuditResult.from_json(path.read_text())
    (out / "audit.json").write_text(json.dumps(json.loads(before[out / "audit.json"]) | {"format": 2}))
    with pytest.raises(FolderError, match="got format 2; expected 5; run `redense audit"):
        read_rows(out)
    redense.run(recipe(), out=out, workers=0)
    assert {path: path.read_text() for path in before} == before


def test_only_the_halves_that_coins_drew_prove_an_epsilon(out):
    for row in read_rows(out):
        epsilons = {attack.attack: attack.epsilon for attack in row.result.attacks}
        assert (epsilons.pop("LiRA online") is not None) == (row.protocol == "half")
        assert set(epsilons.values()) == {None}


def test_exposed_members_are_called_by_their_places_in_the_data(out):
    auditor, rows = rows_of(out)
    assert auditor.examples.names[0] == "train 0"
    assert auditor.examples.names[96:98] == ["test 0", "test 1"]
    for row in rows:
        assert all(one.name == auditor.examples.names[one.example] for one in row.result.exposed)


def test_more_references_train_only_the_new_ones(out, tmp_path):
    folder = shutil.copytree(out, tmp_path / "run")
    before = {path.name: path.stat().st_mtime_ns for path in (folder / "checkpoints").iterdir()}
    redense.run(recipe(references=6, audit=("lira",)), out=folder, workers=0)
    after = {path.name: path.stat().st_mtime_ns for path in (folder / "checkpoints").iterdir()}
    assert {name: after[name] for name in before} == before
    assert len(after) - len(before) == 2 * 3
    assert json.loads((folder / "audit.json").read_text())["rows"][0]["result"]["references"] == 6


def test_risks_follow_every_example_through_the_phases(out):
    with (out / "risks.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 144
    assert (lines[0]["split"], lines[0]["index"], lines[96]["split"], lines[96]["index"]) == ("train", "0", "test", "0")
    _, rows = rows_of(out)
    for row in rows:
        found = [float(line[f"risk {row.name}"]) for line in lines]
        assert found == pytest.approx(row.risks.tolist(), abs=1e-6)
        member = [line[f"member of {row.protocol} seed {row.seed}"] == "1" for line in lines]
        assert member == row.members.tolist()


def test_all_is_written(out):
    names = {"audit.json", "audit.csv", "risks.csv", "audit.png", "audit-accuracy.png", "audit.html"}
    assert names <= {path.name for path in out.iterdir()}
    with (out / "audit.csv").open() as file:
        attacks = sum(len(row.result.attacks) for row in read_rows(out))
        assert len(list(csv.DictReader(file))) == attacks >= 6 * 14
    given = recipe()
    told = [text for text in paragraphs((out / "audit.html").read_text()) if text.startswith("Audited: ")]
    assert told == [f"Audited: the network {given.model}, trained on {given.data}."]


def test_an_unpaired_reference_is_left_out(out):
    auditor, _ = rows_of(out)
    gone = [
        job.key for job in auditor.jobs if job.member_set == MemberSet("reference", 3) and job.phase.kind == "dense"
    ]
    hidden = out / "checkpoints" / gone[0]
    hidden.rename(out / "hidden")
    try:
        _, rows = rows_of(out)
        assert [row.result.references for row in rows if row.phase.kind == "dense"] == [2, 2]
        assert [row.result.references for row in rows if row.phase.kind == "sparse"] == [4, 4]
        for row in rows:
            lost = [warning for warning in row.result.warnings if "reference models of this phase" in warning]
            assert [warning.split(" are left out")[0] for warning in lost] == (
                ["2 of 4 reference models of this phase"] if row.phase.kind == "dense" else []
            )
    finally:
        (out / "hidden").rename(hidden)


def test_attacks_that_were_asked_for_and_not_made_are_named(out, tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(out, folder)
    auditor, _ = rows_of(folder)
    for job in auditor.jobs:
        if job.member_set and job.member_set.role == "reference" and job.phase.kind == "dense":
            shutil.rmtree(folder / "checkpoints" / job.key)
    _, rows = rows_of(folder, attacks=("threshold", "label-only", "lira", "rmia"))
    for row in rows:
        named = {warning.split(":")[0] for warning in row.result.warnings if "asked for and left out" in warning}
        assert named == ({"label-only", "lira", "rmia"} if row.phase.kind == "dense" else {"label-only"})
        assert (row.result.members_accuracy, row.result.nonmembers_accuracy) != (None, None)
    said = printed(audit_summary(rows), 400)
    assert "Warning: lira: asked for and left out, for there are no reference models." in said
    assert "accuracy on non-members, %" in said


def with_rates_at(row, seed, nonmembers):
    """Return the row as of a seed whose target has so many non-members."""
    scores = np.random.default_rng(seed).random(nonmembers + 1_000)
    rates = tuple(rate_at(roc(scores, np.arange(len(scores)) < 1_000), fpr) for fpr in FPRS)
    attacks = tuple(dataclasses.replace(attack, rates=rates) for attack in row.result.attacks)
    return dataclasses.replace(row, seed=seed, result=dataclasses.replace(row.result, attacks=attacks))


@pytest.mark.parametrize("nonmembers", [(1_000, 999), (999, 1_000), (1_000, 1_000), (99, 1_000)])
def test_over_seeds_the_lowest_rate_that_all_targets_have_is_shown(out, nonmembers):
    """Halves are drawn anew for every seed, and so are their numbers of non-members, which rates need enough of."""
    half = [row for row in read_rows(out) if row.protocol == "half"]
    rows = [with_rates_at(row, seed, number) for seed, number in enumerate(nonmembers) for row in half]
    said = printed(audit_summary(rows))
    shown = {rate: f"TPR, %, at {rate} FPR" in said for rate in ("10%", "1%", "0.1%")}
    fewest = min(nonmembers)  # 10 of them may be accused wrongly
    assert shown == {"10%": 100 <= fewest < 1_000, "1%": fewest >= 1_000, "0.1%": False}
    views = [view for chart in rate_chart(Results.load(out), rows) for view in chart.views]
    assert [view.title.split(" at ")[1] for view in views] == [f"{rate} FPR" for rate in shown if shown[rate]]


def test_the_sides_are_compared_once_for_all_phases(out, tmp_path, monkeypatch):
    times = []
    monkeypatch.setattr(audited_examples, "sides_alike", lambda *sides: times.append(1) or "as the test says")
    monkeypatch.setattr(alike, "FEWEST", 1)
    shutil.copytree(out, tmp_path / "run", ignore=shutil.ignore_patterns("audit"))
    _, rows = rows_of(tmp_path / "run")
    assert times == [1]
    assert {row.result.alike.unchecked for row in rows if row.protocol == "half"} == {
        "members were drawn at random from all examples"
    }
    assert {row.result.alike.unchecked for row in rows if row.protocol == "all"} == {"as the test says"}


def test_targets_share_reference_models():
    models = identities(recipe(seeds=(0, 1)))
    assert [model.member_set for model in models[:4]] == [None, None, MemberSet("target", 0), MemberSet("target", 1)]
    assert len(models) == 4 + 4
    assert len({identity.seed for identity in models[4:]}) == 4
    assert models[4:] == identities(recipe(seeds=(0,)))[2:]


def test_samia_and_label_only_ask_the_saved_models(tmp_path):
    x = np.random.default_rng(0).random((150, 1, 6, 6), dtype=np.float32)
    y = np.random.default_rng(1).integers(0, 3, 150)
    np.savez(tmp_path / "images.npz", x=x[:100], y=y[:100], x_test=x[100:], y_test=y[100:])
    settings = {"data": str(tmp_path / "images.npz"), "model": "factories:small", "sparsities": (0.5,)}
    made = redense.Recipe(**settings, epochs=(1, 1, 1), audit=("samia", "label-only"), references=2)
    redense.run(made, out=tmp_path / "out", workers=0)
    entries = json.loads((tmp_path / "out" / "audit.json").read_text())["rows"]
    assert [entry["result"]["attacks"][-1]["attack"] for entry in entries] == ["SAMIA"] * 3
    assert all(entry["result"]["attacks"][-2]["attack"] == "label-only" for entry in entries)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"audit": ("lyra",)},
            "audit: got 'lyra'; did you mean 'lira'.; expected some of label-only, shadow, samia, rmia, lira",
        ),
        ({"protocols": ("full",)}, "protocols: got 'full'"),
        ({"protocols": ()}, "protocols: got none"),
        ({"references": 5}, "references: got 5; expected an even number"),
        ({"references": 0}, "references: got 0; expected an even number"),
    ],
)
def test_wrong_settings_are_refused(change, message):
    with pytest.raises(RecipeError, match=message):
        recipe(**change)


def test_data_that_overlap_are_refused_before_anything_is_trained(tmp_path):
    x = np.random.default_rng(0).random((60, 6), dtype=np.float32)
    y = np.arange(60) % 3
    np.savez(tmp_path / "data.npz", x=x[:40], y=y[:40], x_test=x[35:], y_test=y[35:])
    with pytest.raises(DataError, match="5 inputs are among the members and among the non-members"):
        redense.run(recipe(data=str(tmp_path / "data.npz")), out=tmp_path / "out", workers=0)
    assert not (tmp_path / "out").exists()


def test_phases_are_compared_pairwise(out):
    _, rows = rows_of(out)
    compared = compare_audits(rows, METHODS["dsd"])
    found = [one for one in compared if one.quantity == "auc"]
    pairs = [("sparse 50%", "re-dense 50%"), ("dense", "re-dense 50%"), ("dense", "sparse 50%")]
    assert [(one.protocol, one.first.label, one.second.label) for one in found] == [
        (protocol, *pair) for protocol in ("all", "half") for pair in pairs
    ]
    first = next(
        one for one in found if (one.protocol, one.first.kind, one.second.kind) == ("half", "dense", "redense")
    )
    by_name = {(row.protocol, row.phase.kind): row for row in rows}
    dense, redense_row = by_name["half", "dense"], by_name["half", "redense"]
    assert first.difference == pytest.approx(
        auc(redense_row.risks, dense.members) - auc(dense.risks, dense.members), abs=1e-12
    )
    assert all(one.interval[0] <= one.difference <= one.interval[1] for one in found)
    # the curves of the protocol `all` are those of the run's own rows
    curves = [one for one in compared if one.quantity != "auc"]
    assert [(one.protocol, one.first.label, one.second.label) for one in curves] == [("half", *pair) for pair in pairs]
    assert not any("leaks more than" in one.verdict or "gives away more than" in one.verdict for one in compared)


def test_phases_whose_primary_attacks_differ_are_not_compared_by_their_areas(out):
    """One of them lacks reference models: the difference would be that of two attacks."""
    _, rows = rows_of(out)
    without = [
        dataclasses.replace(row, result=dataclasses.replace(row.result, primary="confidence"))
        if (row.protocol, row.phase.kind) == ("half", "dense")
        else row
        for row in rows
    ]
    found = [one for one in compare_audits(without, METHODS["dsd"]) if one.quantity == "auc"]
    assert [one.first.kind for one in found if one.protocol == "half"] == ["sparse"]
    assert len([one for one in found if one.protocol == "all"]) == 3


@pytest.mark.parametrize("protocols", [("all",), ("half",), ("all", "half")])
def test_the_protocols_that_were_asked_for_are_audited_and_no_other(out, protocols):
    prepared = prepare(recipe(), resources=Resources(workers=0))
    store = Store(out)
    auditor = RunAuditor(
        prepared.model_name, prepared.dataset, store, prepared.jobs, ("threshold",), protocols=protocols
    )
    rows = list(auditor.rows())
    assert {row.protocol for row in rows} == set(protocols)
    assert auditor.count() == len(rows)


def test_what_audits_compare_joins_the_claims_of_the_run(audited_recipe, audited_run, tmp_path):
    folder, shown = audited_run
    results = redense.Results.load(folder)
    claims = [one for one in (*results.comparisons, *results.at_equal_accuracy, *results.audits) if one.claimed]
    # five contrasts: two accuracies, curves, AUC of two protocols, curves of `half`
    assert len(claims) == 5 * 6 == {one.claims for one in claims}.pop()
    p_values = [(one.t.raw, one.t.holm) if one.t else (1.0, 1.0) for one in claims]
    assert [corrected for _, corrected in p_values] == holm([raw for raw, _ in p_values])
    said = " ".join("".join(map(printed, shown)).split())
    assert "correction over all 30 claims of this run" in said
    assert len(re.findall(r"over all \d+ claims", said)) == 1  # nothing is shown with fewer
    last = with_opponent(results, results.audits)  # `redense audit` says the others, too
    assert last
    assert [one for one in results.audits if " ".join(one.sentence.split()) in said] == last
    shutil.copytree(folder, tmp_path / "run")
    again = redense.run(dataclasses.replace(audited_recipe, audit=()), tmp_path / "run", workers=0)
    assert again.audits == results.audits
    assert again.comparisons == results.comparisons


def test_controls_are_audited_with_references_of_their_own(audited_recipe, audited_run):
    folder, _ = audited_run
    rows = [row for row in read_rows(folder) if (row.protocol, row.seed) == ("half", 0)]
    labels = ["dense", "sparse 50%", "re-dense 50%", "control-longer beside sparse", "control-longer beside re-dense"]
    assert [row.phase.label for row in rows] == labels
    assert {row.result.references for row in rows} == {8}
    for job in prepare(audited_recipe, resources=Resources(workers=0)).jobs:
        assert (job.phase.kind == "control") == job.phase.label.startswith("control")
    found = redense.Results.load(folder).audits
    compared = {(one.second.label, one.first.label) for one in found if one.quantity == "auc"}
    assert ("re-dense 50%", "control-longer beside re-dense") in compared
    assert ("sparse 50%", "control-longer beside sparse") in compared
    written = json.loads((folder / "audit.json").read_text())["rows"]
    lineages = [row["lineage"] for row in written if (row["protocol"], row["seed"]) == ("half", 0)]
    assert lineages == ["dsd"] * 3 + ["control-longer"] * 2


def test_a_folder_is_audited_with_the_arithmetic_that_trained_it(tmp_path):
    """Whatever engine would train here now: the folder says which one did."""
    data = tmp_path / "data.npz"
    (x, y), (x_test, y_test) = arrays()
    np.savez(data, x=x, y=y, x_test=x_test, y_test=y_test)
    settings = {"data": str(data), "model": "mlp", "audit": (), "epochs": (1, 1, 1)}
    for engine in ("vectorized", "inline"):
        folder = tmp_path / engine
        results = redense.run(recipe(**settings), folder, engine=engine)
        rows = audit_run(folder, (), data_root=None, device="cpu", console=Console(quiet=True))
        assert [row.checkpoint for row in rows] == [row.checkpoint for row in results.rows]
    np.savez(data, x=x + 1, y=y, x_test=x_test, y_test=y_test)
    with pytest.raises(FolderError, match="has changed since the run was trained"):
        audit_run(folder, (), data_root=None, device="cpu", console=Console(quiet=True))
    (folder / "plan.json").unlink()
    with pytest.raises(FolderError, match=r"no plan.json .* the same `redense run` command writes it"):
        audit_run(folder, (), data_root=None, device="cpu", console=Console(quiet=True))


def test_the_rows_of_an_audit_are_read_back(out, tmp_path):
    _, rows = rows_of(out)
    write_rows(rows, np.arange(len(rows[0].members) // 2), tmp_path)
    assert read_rows(tmp_path) == rows
    assert {row.phase.rate for row in read_rows(tmp_path)} == {1.0, 0.1}
    gradual = dataclasses.replace(rows[0].phase, rate_end=0.1, masks="gradual")  # as other methods' phases have
    write_rows([dataclasses.replace(rows[0], phase=gradual)], np.arange(len(rows[0].members) // 2), tmp_path)
    assert read_rows(tmp_path)[0].phase == gradual
    write_rows(rows, np.arange(len(rows[0].members) // 2), tmp_path)
    written = json.loads((tmp_path / "audit.json").read_text())
    for text, message in (
        (json.dumps({**written, "format": 99}), "got format 99; expected 5"),
        ("7", "cannot be read as the audits of a run .got 7"),
        (json.dumps({"format": 5, "rows": [{}]}), "cannot be read as the audits of a run .rows: 0: history is missing"),
    ):
        (tmp_path / "audit.json").write_text(text)
        with pytest.raises(FolderError, match=message):
            read_rows(tmp_path)


@pytest.mark.parametrize("method", METHODS)
def test_runs_of_every_method_are_audited_read_and_reported(method, tmp_path):
    phases = (redense.phases.dense(2, rate=(1.0, 0.5)), redense.phases.sparse(1, masks="random"))
    recipe = redense.Recipe(
        data="factories:data",
        model="factories:small",
        method=method,
        sparsities=(0.5,),
        epochs=(7, 7, 6) if method == "acdc" else (2, 2, 2),
        controls=("early",) if method == "dsd" else (),
        audit=("lira",),
        references=2,
        phases=phases if method == "phases" else (),
    )
    results = redense.run(recipe, tmp_path, workers=0)
    assert redense.Results.load(tmp_path) == results
    rows = read_rows(tmp_path)
    assert {row.phase for row in rows} == {group[0].phase for group in results.shown()}
    page = write_report([tmp_path]).read_text()
    for group in results.shown():
        assert f'<th scope="row">{group[0].phase.label}</th>' in page
