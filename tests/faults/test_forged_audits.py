"""What is kept of audits, under sound checksums, that is not what was made of a run's examples: made again."""

import dataclasses
import hashlib
import json
import os
import shutil
import struct

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import load_file, save

from redense.auditing.attacks import PLAIN_FAMILIES
from redense.experiment.audit import audit_run
from redense.experiment.auditor import RunAuditor
from redense.experiment.checkpoints import Store
from redense.experiment.folder import Trust
from redense.experiment.prepare import prepare
from redense.files.kept import read_kept, write_kept

pytestmark = pytest.mark.xdist_group("forged_audits")  # `audited` is made once


def audit(folder):
    return audit_run(folder, (), data_root=None, device="cpu", console=Console(quiet=True), trust=Trust(all=True))


@pytest.fixture(scope="module")
def audited(undisturbed, tmp_path_factory):
    """A copy of a finished run that has been audited, to be read."""
    folder = shutil.copytree(undisturbed, tmp_path_factory.mktemp("audited") / "run")
    audit(folder)
    return folder


@pytest.fixture(scope="module")
def auditor(audited, recipe):
    prepared = prepare(recipe)
    return RunAuditor(prepared.model_name, prepared.dataset, Store(audited), prepared.jobs, PLAIN_FAMILIES)


def of_risks(change):
    """Return what changes the risks, and computes all checksums anew; `change` gives an array, or a whole file."""

    def forge(place, key):
        name = f"risks {key}"
        changed = change(load_file(place / f"{key}.safetensors")[name])
        content = changed if isinstance(changed, bytes) else save({name: changed})
        (place / f"{key}.safetensors").write_bytes(content)
        resealed(place, key, risks=hashlib.sha256(content).hexdigest())

    return forge


def of_result(**changes):
    """Return what changes values of the result; a function is given the value that was there."""

    def forge(place, key):
        result = read_kept(place / f"{key}.json", key)["result"]
        new = {name: change(result[name]) if callable(change) else change for name, change in changes.items()}
        resealed(place, key, result={**result, **new})

    return forge


def resealed(place, key, **changes):
    values = {**read_kept(place / f"{key}.json", key), **changes}
    del values["key"]
    write_kept(place / f"{key}.json", key, {name: value for name, value in values.items() if value is not ...})


def of_a_type_without_arrays(risks):
    """Eight bits of an exponent: safetensors takes them, NumPy and PyTorch do not."""
    values = {"dtype": "F8_E8M0", "shape": [len(risks)], "data_offsets": [0, len(risks)]}
    header = json.dumps({"risks": values}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(len(risks))


FORGED = {
    "risks of few": of_risks(lambda risks: risks[:-1].copy()),
    "risks of more": of_risks(lambda risks: np.append(risks, 0.5)),
    "no risks": of_risks(lambda risks: risks[:0].copy()),
    "risks in a row": of_risks(lambda risks: risks[None].copy()),
    "float32": of_risks(lambda risks: risks.astype(np.float32)),
    "integers": of_risks(lambda risks: risks.astype(np.int64)),
    "a type without arrays": of_risks(of_a_type_without_arrays),
    "a file of a terabyte": lambda place, key: os.truncate(place / f"{key}.safetensors", 2**40),
    "no result": lambda place, key: resealed(place, key, result=...),
    "a result that is none": lambda place, key: resealed(place, key, result=[7]),
    "no checksum of risks": lambda place, key: resealed(place, key, risks=...),
    "no curves": of_result(curves={}),
    "a curve less": of_result(curves=lambda curves: {name: curves[name] for name in [*curves][1:]}),
    "no attacks": of_result(attacks=[]),
    "another primary": of_result(primary="LiRA"),
    "another verdict": of_result(verdict=lambda verdict: {**verdict, "attack": "LiRA"}),
    "members more": of_result(members=lambda members: members + 1),
    "non-members fewer": of_result(nonmembers=0),
    "an example more": of_result(exposed=[{"example": 10**6, "name": "x", "label": 0, "risk": 1.0}]),
    "an attack of no name": of_result(
        attacks=lambda attacks: [*attacks[1:], {**attacks[0], "attack": "x"}],
        curves=lambda curves: {**{name: curves[name] for name in [*curves][1:]}, "x": [[0, 1], [0, 1]]},
    ),
}


def is_believed(auditor, job):
    kept = auditor._kept(auditor._key(job, []))
    return kept is not None and auditor._fit(*kept, auditor.examples.members(None))


def test_what_was_made_is_kept(auditor):
    assert all(is_believed(auditor, job) for job in auditor.finished)


@pytest.mark.parametrize("kind", FORGED)
def test_what_is_kept_of_other_examples_or_attacks_is_not_believed(kind, auditor, audited, tmp_path):
    shutil.copytree(audited / "audit", tmp_path / "audit")
    job = auditor.finished[0]
    FORGED[kind](tmp_path / "audit", auditor._key(job, []))
    assert not is_believed(dataclasses.replace(auditor, store=Store(tmp_path)), job)


def test_an_audit_makes_again_what_was_forged(auditor, audited, tmp_path):
    folder = shutil.copytree(audited, tmp_path / "run")
    kinds = "risks of few", "a type without arrays", "a file of a terabyte", "a result that is none", "a curve less"
    for kind, job in zip(kinds, auditor.finished, strict=True):
        FORGED[kind](folder / "audit", auditor._key(job, []))
    audit(folder)
    for name in ("audit.json", "risks.csv"):
        assert (folder / name).read_bytes() == (audited / name).read_bytes()
    for path in (audited / "audit").iterdir():
        assert (folder / "audit" / path.name).read_bytes() == path.read_bytes()
