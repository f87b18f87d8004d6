"""Small files that claim to be large, and large ones: refused in one line, before memory or time is spent on them."""

import io
import os
import struct
import time
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

import redense
from redense.data.folders import PIXELS, _Pixels
from redense.data.named import NAMED
from redense.data.npz import read_npz
from redense.data.origin import origin
from redense.errors import DataError, RedenseError
from redense.experiment.checkpoints import Store
from redense.experiment.folder import read_plan, read_recipe
from redense.experiment.recipe import load_recipe
from redense.files.kept import read_kept
from redense.models.registry import build, load_weights

TERABYTE, LARGE = 2**40, 2**24


def sparse_file(path, size):
    """Make a file of so many bytes that takes no room on the disk."""
    with path.open("wb") as file:
        file.truncate(size)
    return path


def header(shape):
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return content.getvalue()


def swelling_npz(path):
    """An archive whose directory tells the truth: zeros, a thousandth of their size."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as file:
        file.write(header((LARGE // 8,)))
        file.write(bytes(LARGE))


def lying_npz(path):
    """An array whose header claims a petabyte."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", header((2**47,)) + bytes(80))


def png(width, height):
    """The beginning of a picture of any size."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    shape = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + shape + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def safetensors(path):
    """A header that claims as many bytes as there are atoms in a grain."""
    path.write_bytes(struct.pack("<Q", 2**60) + b"{}")


BOMBS = {
    "npz that swells": (swelling_npz, lambda path: read_npz(path, "data")),
    "npz that lies": (lying_npz, lambda path: read_npz(path, "data")),
    "image": (lambda path: path.write_bytes(png(2**15, 2**15)), lambda path: _Pixels("data")(str(path))),
    "image of too many pixels": (
        lambda path: path.write_bytes(png(PIXELS // 4096 + 1, 4096)),
        lambda path: _Pixels("data")(str(path)),
    ),
    "header of safetensors": (safetensors, redense.load_sparse),
    "bitmask file": (lambda path: sparse_file(path, TERABYTE), redense.load_sparse),
    "weights": (
        lambda path: sparse_file(path, TERABYTE),
        lambda path: load_weights("mlp", build("mlp", (2,), 2), path),
    ),
    "recipe": (lambda path: sparse_file(path, TERABYTE), lambda path: load_recipe(f"{path}")),
    "recipe of a folder": (lambda path: sparse_file(path, 2**23), lambda path: read_recipe(path.parent)),
    "plan": (lambda path: sparse_file(path, 2**23), lambda path: read_plan(path.parent)),
    "results": (lambda path: sparse_file(path, TERABYTE), lambda path: redense.Results.load(path.parent)),
}
NAMES = {
    "recipe": "recipe.toml",
    "results": "results.json",
    "recipe of a folder": "recipe.json",
    "plan": "plan.json",
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_claims_too_much_is_refused_at_once(name, tmp_path, monkeypatch):
    monkeypatch.setattr("redense.data.npz.SMALL", LARGE // 2)  # as large an archive takes a while to be made
    make, read = BOMBS[name]
    path = tmp_path / NAMES.get(name, "file")
    make(path)
    started = time.monotonic()
    with pytest.raises(RedenseError) as refused:
        read(path)
    assert "\n" not in str(refused.value)
    assert time.monotonic() - started < 10


def test_no_picture_starts_a_program(tmp_path, monkeypatch):
    """Pillow reads PostScript by starting Ghostscript."""
    Image.new("RGB", (9, 8)).save(tmp_path / "image.png", format="EPS")
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_, **__: pytest.fail("a program was started"))
    with pytest.raises(DataError, match="cannot identify image file"):
        _Pixels("data")(str(tmp_path / "image.png"))


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "location30", "file.npz"])
def test_data_that_are_too_large_are_refused_before_a_byte_is_read(name, tmp_path):
    """Also by what a finished run asks first: whether its data are as they were."""
    files = NAMED[name].files if name in NAMED else {name: None}
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        sparse_file(tmp_path / file, TERABYTE)
    asked, root = (name, tmp_path) if name in NAMED else (str(tmp_path / name), None)
    started = time.monotonic()
    assert origin(asked, root) is None
    with pytest.raises(RedenseError) as refused:
        redense.data.load(asked, root)
    assert "\n" not in str(refused.value)
    assert time.monotonic() - started < 10


def test_small_images_that_swell_beyond_memory_are_refused_before_the_second_is_decoded(tmp_path, monkeypatch):
    for place in ("a/0", "a/1", "b/2", "b/3"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        Image.new("RGB", (1000, 1000)).save(tmp_path / f"{place}.png")
    decoded = []
    monkeypatch.setattr("redense.data.folders.memory", lambda: 10**7)
    monkeypatch.setattr("PIL.Image.Image.convert", lambda image, _: decoded.append(image) or image)
    with pytest.raises(DataError, match="4 images of 1000x1000 take 12,000,000 bytes, more than memory holds"):
        redense.data.load(str(tmp_path))
    assert len(decoded) == 1
    monkeypatch.setattr("PIL.Image.Image.convert", lambda *_: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(DataError, match=r"cannot be read \(MemoryError\)"):
        redense.data.load(str(tmp_path))


@pytest.mark.parametrize(
    ("x", "label", "message"),
    [(np.zeros((40, 0)), 1, "hold no numbers"), (np.zeros((40, 3)), 2**40, "label 1099511627776 is out of range")],
)
def test_data_of_no_numbers_or_of_too_many_classes(x, label, message, tmp_path, recwarn):
    y = np.where(np.arange(40) % 2, label, 0)
    np.savez(tmp_path / "odd.npz", x=x, y=y, x_test=x, y_test=y)
    with pytest.raises(DataError, match=message):
        redense.data.load(tmp_path / "odd.npz")
    assert not recwarn.list


def test_checkpoints_and_kept_files_that_are_too_large_are_made_again(undisturbed, tmp_path):
    sparse_file(tmp_path / "kept", TERABYTE)
    assert read_kept(tmp_path / "kept", "key") is None
    store = Store(tmp_path / "run")
    source = next((undisturbed / "checkpoints").iterdir())
    folder = store.finished_folder(source.name)
    folder.mkdir(parents=True)
    for entry in source.iterdir():
        os.link(entry, folder / entry.name)
    (folder / "checkpoint.json").unlink()
    sparse_file(folder / "checkpoint.json", TERABYTE)
    assert store.load(source.name) is None
    assert len(store.set_aside) == 1
