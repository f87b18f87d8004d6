"""Files of any bytes: every reader gives what was written or one error of one line, in bounded time and memory.

Where a format has a checksum (folders of ours, NPZ, bitmask files) nothing is read that was not written.
"""

import contextlib
import dataclasses
import hashlib
import io
import json
import resource
import tarfile
import time
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from experiment.test_checkpoints import checkpoint
from folders import resealed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import save as save_arrays
from safetensors.torch import save, save_file

import redense
from redense.auditing.result import AuditResult
from redense.auditing.saved import audit_signals_file
from redense.data.folders import FORMATS, _Pixels
from redense.data.named import LOCATION30_FILE, NAMED, load_named
from redense.data.npz import read_npz
from redense.errors import RedenseError
from redense.experiment.auditor import RunAuditor
from redense.experiment.checkpoints import Store
from redense.experiment.expected import Form
from redense.experiment.folder import read_plan, read_recipe
from redense.experiment.recipe import load_recipe
from redense.experiment.shown import Shown, read_shown
from redense.experiment.trained import Epoch, Progress
from redense.files.kept import read_kept, write_kept
from redense.models.registry import build, load_weights

SECONDS, BYTES = 20, 10**9
"""No reading takes longer or more, on however busy a machine."""
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "set", "insert", "delete", "cut", "repeat"]),
        st.floats(0, 1),
        st.integers(0, 255),
        st.integers(1, 40),
    ),
    min_size=1,
    max_size=4,
)


def edited(content, edits):
    """Do something to bytes at some places."""
    new = bytearray(content)
    for kind, where, value, length in edits:
        place = min(int(where * len(new)), max(0, len(new) - 1))
        match kind:
            case "flip" if new:
                new[place] ^= 1 << value % 8
            case "set" if new:
                new[place] = value
            case "insert":
                new[place:place] = bytes([value]) * length
            case "delete":
                del new[place : place + length]
            case "cut":
                del new[place:]
            case "repeat":
                new[place:place] = new[place : place + length] * value
    return bytes(new)


@dataclass(frozen=True)
class Reader:
    """A kind of file: how one is made at a path, how it is read, and whether what was read must be what was written."""

    make: Any
    read: Any
    sealed: bool = False


def arrays(path, save=np.savez):
    x = np.arange(48, dtype=np.float32).reshape(12, 4)
    with path.open("wb") as file:
        save(file, x=x, y=np.arange(12) % 3, x_test=x[:5], y_test=np.arange(5) % 3)


def weights(path):
    save_file(build("mlp", (2,), 2, 0).state_dict(), path)


def into_a_model(path):
    model = build("mlp", (2,), 2, 0)
    load_weights("mlp", model, path)
    return model.state_dict()


def sparse(path):
    redense.save_sparse({"w": torch.eye(20), "b": torch.ones(3), "v": torch.eye(9)[::2]}, path)


def recipe(path):
    path.write_text('data = "digits"\nsparsities = [0.3, 0.5]\nseeds = [1, 2]\nepochs = [1, 2, 3]\nlr = 1e-3\n')


def image(kind):
    def make(path):
        pixels = np.random.default_rng(0).integers(0, 256, (8, 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path, format=kind)

    return make


def finished(name):
    def make(path):
        store = Store(path.parent)
        store.save("key", {}, checkpoint(), {"torch": "x"})
        path.write_bytes((store.finished_folder("key") / name).read_bytes())

    def read(path):
        store = Store(path.parent)
        store.save("key", {}, checkpoint(), {"torch": "x"})
        (store.finished_folder("key") / name).write_bytes(path.read_bytes())
        found = store.load("key")
        assert (found is None) == bool(store.set_aside)
        return found

    return Reader(make, read, sealed=True)


def forged(name):
    """A file of a checkpoint under checksums that are computed anew: what is believed has the form of its run."""
    original = finished(name)

    def read(path):
        store = Store(path.parent)
        store.save("key", {}, checkpoint(), {"torch": "x"})
        folder = store.finished_folder("key")
        (folder / name).write_bytes(path.read_bytes())
        with contextlib.suppress(ValueError, RecursionError, TypeError, KeyError, OSError):  # else left as it is
            resealed(folder)
        form = Form.of_checkpoint(checkpoint())
        found = store.expecting(form).load("key")
        assert (found is None) == bool(store.set_aside)
        assert found is None or Form.of_checkpoint(found) == form
        assert found is None or not np.isnan(found.train.margin).any()
        return found

    return Reader(original.make, read)


def of_a_run(name, read):
    values = {
        "plan.json": '{"format": 1, "data": "a", "architecture": "b", "arithmetic": "cpu"}',
        "recipe.json": json.dumps(redense.Recipe().to_mapping()),
        "results.json": redense.Results(redense.Recipe(epochs=(1, 1, 1)), 10, 10, (ROW,)).to_json(),
        "shown.json": json.dumps(
            {"format": 1, **dataclasses.asdict(Shown(0, ("key",), {"key": (0.5,)}, {}, (), {"cpu": "one"}))}
        ),
    }

    def make(path):
        path.write_text(values[name])

    def of(path):
        (path.parent / name).write_bytes(path.read_bytes())
        return read(path.parent)

    return Reader(make, of)


def in_progress(name):
    """A file of a phase in progress; one that is damaged is set aside, and the phase begins anew."""
    weights = {"w": torch.eye(3)}
    written = Progress(1, weights, {"m": torch.ones(3)}, (Epoch(1, 0.5, 0.5, 0.5),), 1.0)

    def place(path):
        Store(path.parent).save_progress("key", written)
        return path.parent / "progress" / "key" / "000001" / name

    def read(path):
        place(path).write_bytes(path.read_bytes())
        store = Store(path.parent)
        found = store.load_progress("key")
        assert (found is None) == bool(store.set_aside)
        return found

    return Reader(lambda path: path.write_bytes(place(path).read_bytes()), read, sealed=True)


def signals(path):
    phi = np.linspace(-1, 2, 40)
    with path.open("wb") as file:
        np.savez(file, phi=phi, members=np.arange(40) % 2 > 0, labels=np.arange(40) % 3)


def audited(path):
    return audit_signals_file(path, attacks=("threshold",)).to_mapping()


def risks(path):
    path.write_bytes(save_arrays({"risks key": np.linspace(0, 1, 40)}))


def of_a_kept_audit(path):
    """Read an audit that a run keeps, whose risks are in this file."""
    one_audit(path.parent / "audit")
    result = json.loads((path.parent / "audit").read_text())
    folder = path.parent / "run" / "audit"
    folder.mkdir(parents=True, exist_ok=True)
    checksum = hashlib.sha256((path.parent / "original").read_bytes()).hexdigest()
    write_kept(folder / "key.json", "key", {"result": result, "risks": checksum})
    (folder / "key.safetensors").write_bytes(path.read_bytes())
    (path.parent / "audit").unlink()
    return RunAuditor("mlp", None, Store(path.parent / "run"), (), ())._kept("key")


def of_a_trainer(path):
    path.write_bytes(save({"weight": torch.ones(3, dtype=torch.uint8)}, {"dsd": '{"format": 1, "progress": 3}'}))


def read_of_a_trainer(path):
    pytest.importorskip("transformers")
    from redense.integrations.transformers import _read

    return _read(path)


def one_audit(path):
    phi = np.linspace(-1, 2, 40)
    evidence = redense.Evidence(redense.Signals.of_phi(phi), np.arange(40) % 3, np.arange(40) % 2 > 0, phi_only=True)
    path.write_text(redense.audit_evidence(evidence, attacks=("threshold",)).to_json())


def idx(path):
    path.write_bytes(bytes([0, 0, 8, 3, 0, 0, 0, 20, 0, 0, 0, 2, 0, 0, 0, 3]) + bytes(range(120)))


def of_idx_files(path):
    """Read a catalogue entry of four IDX files, one of them this."""
    files = dict.fromkeys(f"MNIST/raw/{part}-ubyte" for part in PARTS)
    for name in files:
        (path.parent / name).parent.mkdir(parents=True, exist_ok=True)
        labels = bytes([0, 0, 8, 1, 0, 0, 0, 20]) + bytes(range(10)) * 2
        (path.parent / name).write_bytes(path.read_bytes() if "images" in name else labels)
    return load_named("mnist", path.parent).arrays


PARTS = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")


def archive(path):
    rows = "".join(
        f"{1 + place % 30}," + ",".join("01"[place * k % 2] for k in range(446)) + "\n" for place in range(1700)
    )
    with tarfile.open(path, "w:gz") as opened:
        info = tarfile.TarInfo("dataset_location")
        info.size = len(rows)
        opened.addfile(info, io.BytesIO(rows.encode()))


def of_the_catalogue(path):
    """Read an archive of the catalogue, with the checksum of the one that was made first as the published one."""
    place = path.parent / LOCATION30_FILE
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(path.read_bytes())
    published = hashlib.sha256((path.parent / "original").read_bytes()).hexdigest()
    entry = dataclasses.replace(NAMED["location30"], files={LOCATION30_FILE: published})
    with patch.dict(NAMED, location30=entry):
        return load_named("location30", path.parent).arrays


ROW = redense.Row(redense.Phase("dense", 1, 1.0, None, 0), 0.0, 0, 0.9, 0.8, 0.6, 0.55, (0.5, 0.7), 1.0, "key")
READERS = {
    "npz": Reader(arrays, lambda path: read_npz(path, "data"), sealed=True),
    "compressed npz": Reader(
        lambda path: arrays(path, np.savez_compressed), lambda path: read_npz(path, "data"), sealed=True
    ),
    "data set": Reader(
        arrays, lambda path: redense.data.load(path.rename(path.with_suffix(".npz"))).arrays, sealed=True
    ),
    "weights": Reader(weights, into_a_model),
    "bitmask file": Reader(sparse, redense.load_sparse, sealed=True),
    "recipe": Reader(recipe, lambda path: load_recipe(str(path.rename(path.with_suffix(".toml"))))),
    **{kind: Reader(image(kind), lambda path: _Pixels("data")(str(path))) for kind in FORMATS},
    "index": finished("checkpoint.json"),
    "model": finished("model.safetensors"),
    "masks": finished("masks.safetensors"),
    "signals": finished("signals.safetensors"),
    "forged index": forged("checkpoint.json"),
    "forged model": forged("model.safetensors"),
    "forged masks": forged("masks.safetensors"),
    "forged signals": forged("signals.safetensors"),
    "kept": Reader(
        lambda path: write_kept(path, "key", {"a": [1.5, None, "x"]}), lambda path: read_kept(path, "key"), sealed=True
    ),
    "progress": in_progress("checkpoint.json"),
    "optimizer": in_progress("optimizer.safetensors"),
    "signals file": Reader(signals, audited, sealed=True),
    "audit": Reader(one_audit, lambda path: AuditResult.from_json(path.read_bytes().decode(errors="replace"))),
    "risks of an audit": Reader(risks, of_a_kept_audit, sealed=True),
    "phases of a trainer": Reader(of_a_trainer, read_of_a_trainer),
    "index file": Reader(idx, of_idx_files),
    "archive": Reader(archive, of_the_catalogue, sealed=True),
    "results.json": of_a_run("results.json", redense.Results.load),
    "shown.json": of_a_run("shown.json", read_shown),
    "recipe.json": of_a_run("recipe.json", read_recipe),
    "plan.json": of_a_run("plan.json", read_plan),
}
TEST, EVIDENCE = (-(-total // len(READERS)) for total in (500, 10_000))


def plain(value):
    """Return a value that can be compared: types, shapes and bytes for arrays and tensors."""
    if isinstance(value, torch.Tensor):
        return plain(value.contiguous().numpy())
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, (tuple, list)) else value


def fuzz(name, folder, examples):
    reader = READERS[name]
    reader.make(folder / "original")
    content = (folder / "original").read_bytes()
    (folder / "copy").write_bytes(content)
    expected = plain(reader.read(folder / "copy"))

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(edits=EDITS)
    def check(edits):
        (folder / "file").write_bytes(edited(content, edits))
        started, used = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            found = reader.read(folder / "file")
        except RedenseError as refused:
            found = None
            said = str(refused)
        else:
            said = ""
        assert "\n" not in said
        assert time.monotonic() - started < SECONDS
        assert 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used) < BYTES
        assert found is None or not reader.sealed or plain(found) == expected

    check()


@pytest.mark.filterwarnings("ignore")  # Pillow's and NumPy's own, about odd files
@pytest.mark.parametrize("name", READERS)
def test_any_bytes_are_read_as_written_or_refused(name, tmp_path):
    fuzz(name, tmp_path, TEST)


@pytest.mark.evidence
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", READERS)
def test_ten_thousand_files_are_read_as_written_or_refused(name, tmp_path):
    fuzz(name, tmp_path, EVIDENCE)
