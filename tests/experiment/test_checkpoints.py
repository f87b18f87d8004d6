import contextlib
import dataclasses
import json

import pytest
import torch
from folders import folder_bytes

from redense.errors import FolderError
from redense.experiment.checkpoints import INDEX, TEMPORARY, Checkpoint, Epoch, Progress, Store
from redense.signals import Signals


def checkpoint(value=1.0):
    signals = Signals.of_phi([value, 2.0])
    return Checkpoint(
        model={"weight": torch.full((2, 3), value), "steps": torch.tensor(7)},
        masks={"weight": torch.tensor([[True, False, True], [False, True, True]])},
        train=signals,
        test=signals,
        history=(Epoch(1, 0.5, 0.25, 0.75),),
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
        state = Progress(epoch, {"w": torch.full((1,), float(epoch))}, {"0.step": torch.ones(())}, (), 0.5)
        store.save_progress("job", state)
    assert store.load_progress("job").epoch == 2
    assert [path.name for path in (tmp_path / "progress" / "job").iterdir()] == ["000002"]
    (tmp_path / "progress" / "job" / "000002" / "model.safetensors").write_bytes(b"")
    assert store.load_progress("job") is None


def test_finishing_drops_progress(store, tmp_path):
    store.save_progress("job", Progress(1, {}, {}, (), 0.0))
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
    store.save_progress("key", Progress(1, {}, {}, (), 0.0))  # its job is finished
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
