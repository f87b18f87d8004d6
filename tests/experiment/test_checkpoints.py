import contextlib
import dataclasses
import hashlib
import json
import os
import shutil

import pytest
import torch
from folders import folder_bytes, resealed
from safetensors.torch import load, save

from redense.errors import FolderError
from redense.experiment.checkpoints import Store
from redense.experiment.trained import Checkpoint, Epoch, Progress
from redense.experiment.whole_folders import INDEX
from redense.files.writing import TEMPORARY
from redense.signals import Signals

MASK = torch.tensor([[True, False, True], [False, True, True]])
EPOCH = Epoch(1, 0.5, 0.25, 0.75)


def checkpoint(value=1.0):
    signals = Signals.of_phi([value, 2.0])
    return Checkpoint(
        model={"weight": torch.where(MASK, value, 0.0), "steps": torch.tensor(7)},
        masks={"weight": MASK},
        train=signals,
        test=signals,
        history=(EPOCH,),
        seconds=1.5,
    )


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path)
    store.save("key", {"phase": "dense"}, checkpoint(), {"torch": "x"})
    return store


def test_what_is_saved_comes_back(store):
    loaded = store.load("key")
    assert torch.equal(loaded.model["weight"], checkpoint().model["weight"])
    assert torch.equal(loaded.masks["weight"], checkpoint().masks["weight"])
    assert loaded.train.phi.tolist() == checkpoint().train.phi.tolist()
    assert loaded.history == checkpoint().history
    assert loaded.seconds == 1.5
    assert store.load("other") is None


def test_an_epoch_is_four_numbers_on_disk(store, tmp_path):
    index = json.loads((tmp_path / "checkpoints" / "key" / INDEX).read_text())
    assert index["history"] == [{"epoch": 1, "loss": 0.5, "test_accuracy": 0.25, "inference_accuracy": 0.75}]


FILES = ["model.safetensors", "signals.safetensors", "masks.safetensors", INDEX]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "empty"])
def test_damage_is_found_and_set_aside(store, tmp_path, name, damage):
    file = tmp_path / "checkpoints" / "key" / name
    content = bytearray(file.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    elif damage == "truncate":
        file.write_bytes(content[:-1])
    elif damage == "empty":
        file.write_bytes(b"")
    else:
        file.unlink()
    assert not store.has("key")
    assert store.load("key") is None
    assert name in store.set_aside[0]
    assert (tmp_path / "damaged" / "checkpoints-key.0").is_dir()
    assert not (tmp_path / "checkpoints" / "key").exists()


def test_every_flipped_bit_of_the_index_is_found(store, tmp_path):
    file = tmp_path / "checkpoints" / "key" / INDEX
    original = file.read_bytes()
    for position in range(0, len(original), 3):
        store.save("key", {"phase": "dense"}, checkpoint(), {})
        content = bytearray(original)
        content[position] ^= 1
        file.write_bytes(content)
        # a flip that only changes white space or the case of an escape leaves the same values
        same = False
        with contextlib.suppress(ValueError):
            same = json.loads(content) == json.loads(original)
        assert store.has("key") == same, position


def test_the_latest_progress_is_loaded_and_older_ones_go(store, tmp_path):
    for epoch in (1, 2):
        history = tuple(dataclasses.replace(EPOCH, epoch=each) for each in range(1, epoch + 1))
        state = Progress(epoch, {"w": torch.full((1,), float(epoch))}, {"0.step": torch.ones(())}, history, 0.5)
        store.save_progress("job", state)
    assert store.load_progress("job").epoch == 2
    assert [path.name for path in (tmp_path / "progress" / "job").iterdir()] == ["000002"]
    (tmp_path / "progress" / "job" / "000002" / "model.safetensors").write_bytes(b"")
    assert store.load_progress("job") is None


def test_finishing_drops_progress(store, tmp_path):
    store.save_progress("job", Progress(1, {}, {}, (EPOCH,), 0.0))
    store.save("job", {}, checkpoint(), {})
    assert not (tmp_path / "progress" / "job").exists()


def test_a_write_that_fails_leaves_nothing(store, tmp_path, monkeypatch):
    before = dict(folder_bytes(tmp_path))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(FolderError, match="No space"):
        store.save("key", {}, checkpoint(2.0), {})
    assert dict(folder_bytes(tmp_path)) == before
    assert torch.equal(store.load("key").model["weight"], checkpoint().model["weight"])


def test_half_written_folders_are_discarded(store, tmp_path):
    for folder in (tmp_path / "checkpoints", tmp_path / "progress" / "job"):
        (folder / f"{TEMPORARY}x").mkdir(parents=True)
    store.save_progress("key", Progress(1, {}, {}, (EPOCH,), 0.0))  # its job is finished
    store.discard_unfinished_writes()
    assert not list(tmp_path.rglob(f"{TEMPORARY}*"))
    assert not (tmp_path / "progress" / "key").exists()
    assert store.has("key")


@pytest.mark.parametrize(("seconds", "synced"), [(0.5, False), (1.5, True)])
def test_only_what_took_time_to_train_is_synced(tmp_path, monkeypatch, seconds, synced):
    calls = []
    monkeypatch.setattr("os.fsync", calls.append)
    Store(tmp_path).save("key", {}, dataclasses.replace(checkpoint(), seconds=seconds), {})
    assert bool(calls) == synced
    assert Store(tmp_path).has("key")


def test_a_folder_received_is_whole_or_not_there(store, tmp_path):
    with contextlib.suppress(KeyError), store.receiving("other") as folder:
        (folder / INDEX).write_text("{}")
        raise KeyError
    assert not store.finished_folder("other").exists()
    assert not list(tmp_path.rglob(f"{TEMPORARY}*"))


def is_set_aside(store, key="key"):
    before = len(store.set_aside)
    assert store.load(key) is None
    assert not store.has(key)
    assert store.load_signals(key) is None
    assert len(store.set_aside) == before + 1
    assert "trained again" in store.set_aside[-1]
    assert "\n" not in store.set_aside[-1]
    assert not store.finished_folder(key).exists()
    assert list((store.root / "damaged").iterdir())
    return store.set_aside[-1]


def test_swapped_and_copied_checkpoints_are_not_believed(store):
    store.save("other", {"phase": "sparse"}, checkpoint(2.0), {})
    first, second = store.finished_folder("key"), store.finished_folder("other")
    shutil.copytree(second, store.root / "copy")
    first.rename(store.root / "first")
    second.rename(first)
    (store.root / "first").rename(second)
    assert "another job, 'other'" in is_set_aside(store, "key")
    assert "another job, 'key'" in is_set_aside(store, "other")
    (store.root / "copy").rename(first)
    is_set_aside(store, "key")


def test_progress_of_another_job_is_not_believed(store, tmp_path):
    store.save_progress("job", Progress(1, {}, {}, (EPOCH,), 0.0))
    (tmp_path / "progress" / "job").rename(tmp_path / "progress" / "another")
    assert store.load_progress("another") is None
    assert "another job, 'job'" in store.set_aside[0]
    store.save_progress("job", Progress(1, {}, {}, (EPOCH,), 0.0))
    (tmp_path / "progress" / "job" / "000001").rename(tmp_path / "progress" / "job" / "000009")
    assert store.load_progress("job") is None


ODD = [
    None,
    True,
    7,
    -1,
    "x",
    [],
    {},
    [[]],
    {"weight": [2, 3, 1]},
    {"weight": [10**400]},
    {"weight": "x"},
    {"no": [2, 3]},
]


FITTING = {
    "format": (True,),
    "parent": (None,),
    "job": tuple(value for value in ODD if isinstance(value, dict)),  # says nothing of another key or parent
    "history": ([],),
    "not_finite": ([],),
}
MISFITS = [
    (name, value)
    for name in ("format", "key", "parent", "job", "history", "mask_shapes", "kept", "not_finite")
    for value in ODD
    if value not in FITTING.get(name, ())
]


@pytest.mark.parametrize(("name", "value"), MISFITS, ids=str)
def test_an_index_of_other_values_is_set_aside_whoever_made_its_checksum(store, name, value):
    resealed(store.finished_folder("key"), **{name: value})
    is_set_aside(store)


@pytest.mark.parametrize("name", ["key", "history", "mask_shapes"])
def test_an_index_that_lacks_something_is_set_aside(store, name):
    resealed(store.finished_folder("key"), **{name: ...})
    is_set_aside(store)


def test_checkpoints_from_before_there_was_a_format_are_believed_with_what_they_say(store):
    for name in ("format", "parent", "kept", "not_finite"):
        resealed(store.finished_folder("key"), **{name: ...})
    assert torch.equal(store.load("key").masks["weight"], MASK)
    shutil.copytree(store.finished_folder("key"), store.finished_folder("other"))
    is_set_aside(store, "other")


def weights(**tensors):
    return {"weight": torch.where(MASK, 1.0, 0.0), "steps": torch.tensor(7), **tensors}


SIGNALS = {
    f"{split}.{name}": torch.from_numpy(values).clone()
    for split in ("train", "test")
    for name, values in Signals.of_phi([1.0, 2.0]).arrays().items()
}


@pytest.mark.parametrize(
    ("file", "tensors"),
    [
        ("model", weights(weight=torch.ones(2, 3))),
        ("model", weights(weight=torch.zeros(3, 2))),
        ("model", weights(weight=torch.zeros(6))),
        ("model", weights(weight=torch.where(MASK, torch.inf, 0.0))),
        ("model", weights(weight=torch.where(MASK, torch.nan, 0.0))),
        ("model", {"steps": torch.tensor(7)}),
        ("masks", {"weight": torch.tensor([0b10101100, 0], dtype=torch.uint8)}),
        ("masks", {"weight": torch.tensor([], dtype=torch.uint8)}),
        ("masks", {"weight": torch.tensor([0b10001100], dtype=torch.uint8)}),
        ("masks", {"weight": torch.tensor([0b11111100], dtype=torch.uint8)}),
        ("masks", {"weight": torch.tensor([1.0])}),
        ("masks", {}),
        ("signals", {}),
        ("signals", {**SIGNALS, "train.phi": torch.tensor([1.0])}),
        ("signals", {**SIGNALS, "train.phi": torch.tensor([1.0, torch.nan], dtype=torch.float64)}),
        ("signals", {**SIGNALS, "train.phi": torch.tensor([1.0, 2.0])}),
        ("signals", {**SIGNALS, "test.correct": torch.tensor([1.0, 2.0], dtype=torch.float64)}),
        ("signals", {name: value[:, None].clone() for name, value in SIGNALS.items()}),
    ],
)
def test_tensors_that_do_not_fit_each_other_are_set_aside_whoever_made_the_checksum(store, file, tensors):
    folder = store.finished_folder("key")
    (folder / f"{file}.safetensors").write_bytes(save(tensors))
    resealed(folder)
    assert store.load("key") is None
    assert store.set_aside


def test_files_elsewhere_are_not_read(store, tmp_path):
    (tmp_path / "checkpoints" / "elsewhere").write_bytes(b"x")
    folder = store.finished_folder("key")
    resealed(folder, files={"../elsewhere": hashlib.sha256(b"x").hexdigest()})
    is_set_aside(store)


def test_a_buffer_that_is_not_finite_is_no_damage(store):
    mask = {"bias": torch.tensor([0.0, -torch.inf])}
    store.save("key", {}, dataclasses.replace(checkpoint(), model=weights(**mask)), {})
    assert torch.equal(store.load("key").model["bias"], mask["bias"])


@pytest.mark.parametrize("name", ["checkpoints/key", "progress/key", "checkpoints/.DS_Store", "progress/.DS_Store"])
@pytest.mark.parametrize("kind", ["file", "folder", "broken link", "link", "pipe"])
def test_odd_things_in_the_folder_do_no_harm(tmp_path, name, kind):
    store = Store(tmp_path)
    for place in (tmp_path / name, tmp_path / "checkpoints" / ".nfs01", tmp_path / f"{TEMPORARY}x"):
        place.parent.mkdir(exist_ok=True)
        if kind == "pipe":
            os.mkfifo(place)
        elif kind.endswith("link"):
            place.symlink_to(tmp_path / "nowhere" if kind == "broken link" else "/etc/hostname")
        else:
            place.mkdir() if kind == "folder" else place.write_text("x")
    store.discard_unfinished_writes()
    assert not os.path.lexists(tmp_path / f"{TEMPORARY}x")
    assert store.load("key") is None
    assert store.load_progress("key") is None
    store.save_progress("job", Progress(1, {}, {}, (EPOCH,), 0.0))
    store.save("key", {}, checkpoint(), {})
    assert store.has("key")


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_plain_file_is_damage(store, file, kind):
    place = store.finished_folder("key") / file
    place.unlink()
    if kind == "pipe":
        os.mkfifo(place)
    else:
        place.mkdir()
    is_set_aside(store)


@pytest.mark.parametrize("depth", [10, 400, 900, 3_000, 100_000])
def test_an_index_that_is_nested_deep_is_set_aside(store, depth):
    nested = "[" * depth + "]" * depth
    (store.finished_folder("key") / INDEX).write_text(f'{{"checksum": "x", "files": {{}}, "history": {nested}}}')
    is_set_aside(store)


def test_signals_of_no_examples_are_damage(store):
    folder = store.finished_folder("key")
    nothing = {name: value[:0].clone() for name, value in load((folder / "signals.safetensors").read_bytes()).items()}
    (folder / "signals.safetensors").write_bytes(save(nothing))
    resealed(folder)
    is_set_aside(store)


@pytest.mark.parametrize("name", ["test_accuracy", "inference_accuracy", "validation_accuracy"])
@pytest.mark.parametrize("value", [-0.5, 1.5])
def test_accuracies_of_epochs_that_are_no_shares_are_damage(store, name, value):
    resealed(store.finished_folder("key"), history=[{**vars(EPOCH), "validation_accuracy": 0.5, name: value}])
    is_set_aside(store)
