import http.client
import shutil
import tarfile
import tempfile
import urllib.error
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from factories import arrays
from hypothesis import given
from hypothesis.extra import numpy as of_numpy
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.datasets.mnist import read_sn3_pascalvincent_tensor

from redense.data.batches import as_input
from redense.data.catalogue import catalogue
from redense.data.dataset import checked
from redense.data.folders import split_folder
from redense.data.loading import load, sides
from redense.data.named import LOCATION30_FILE, NAMED, _idx_array
from redense.errors import DataError

X, Y = np.zeros((4, 3), dtype=np.float32), np.array([0, 1, 2, 1])


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ((X, Y[:3]), (X, Y), "mine, training: got 4 inputs and 3 labels"),
        ((X, Y), (X[:0], Y[:0]), "mine, test: got no examples"),
        ((X[:0], Y[:0]), (X, Y), "mine, training: got no examples"),
        ((X, Y), (X[:, :2], Y), "wrong shape: training .3,., test .2,."),
        ((np.full_like(X, np.nan), Y), (X, Y), "training: 12 values of the inputs are NaN or infinite"),
        ((X, Y), (np.where(X == 0, np.inf, X), Y), "test: 12 values of the inputs are NaN or infinite"),
        ((X, Y - 1), (X, Y), "training: label -1 is out of range"),
        ((X, Y), (X, Y + 1), "test: label 3 is out of range; expected 0 to 2"),
        ((X, Y.astype(float)), (X, Y), "expected one integer class an example"),
        ((X, Y[:, None, None]), (X, Y), "expected one integer class an example"),
        ((X[:, 0], Y), (X, Y), "wrong shape"),
        ((np.array(["a"] * 4), Y), (X, Y), "expected numbers"),
        ((X, Y * 0), (X, Y * 0), "got one class"),
        ((X.astype(np.uint8), Y), (X, Y), "expected one type"),
        ((X.astype(float) + 1e300, Y), (X, Y), "training: 12 values of the inputs are NaN or infinite in float32"),
    ],
)
def test_arrays_that_do_not_fit(train, test, message):
    with pytest.raises(DataError, match=message):
        checked("mine", train, test)


def test_the_fingerprint_follows_the_contents():
    base = checked("a", (X, Y), (X, Y))
    assert base.fingerprint == checked("renamed", (X.copy(), Y), (X, Y)).fingerprint
    other = X.copy()
    other[3, 2] = 1e-9
    assert base.fingerprint != checked("a", (other, Y), (X, Y)).fingerprint
    assert base.fingerprint != checked("a", (X, Y), (X, Y), num_classes=4).fingerprint


def test_digits_are_the_fixed_stratified_split():
    digits = load("digits")
    assert digits.x_train.shape == (1000, 1, 28, 28)
    assert len(digits.y_test) == 797
    assert 0 <= digits.x_train.min() < digits.x_train.max() <= 1
    shares = [np.bincount(y, minlength=10) / len(y) for y in (digits.y_train, digits.y_test)]
    np.testing.assert_allclose(*shares, atol=0.002)
    assert digits.fingerprint == load("digits").fingerprint


def test_fashion_mnist(fashion_mnist):
    data = load("fashion-mnist", Path(fashion_mnist))
    assert data.x_train.shape == (60_000, 1, 28, 28)
    assert data.x_train.dtype == np.uint8
    assert np.bincount(data.y_train).tolist() == [6000] * 10
    assert np.bincount(data.y_test).tolist() == [1000] * 10


@given(of_numpy.arrays(np.uint8, of_numpy.array_shapes(min_dims=1, max_dims=3, max_side=5)))
def test_idx_files_are_read_as_torchvision_does(values):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "some-ubyte"
        dimensions = np.array(values.shape, dtype=">i4").tobytes()
        path.write_bytes(bytes([0, 0, 8, values.ndim]) + dimensions + values.tobytes())
        np.testing.assert_array_equal(_idx_array(path), read_sn3_pascalvincent_tensor(str(path)).numpy())


def test_location30(fashion_mnist):
    data = load("location30", Path(fashion_mnist))
    assert data.x_train.shape == (1600, 446)
    assert data.x_test.shape == (3410, 446)
    assert data.num_classes == 30
    assert set(np.unique(data.x_train)) == {0.0, 1.0}


def test_roots_are_searched_in_order(fashion_mnist, tmp_path, monkeypatch):
    monkeypatch.setenv("REDENSE_DATA", fashion_mnist)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert load("location30").num_classes == 30  # from $REDENSE_DATA
    (tmp_path / "mine" / "location30").mkdir(parents=True)
    (tmp_path / "mine" / LOCATION30_FILE).write_bytes(b"not this")
    with pytest.raises(DataError, match="SHA256 is .* expected 927203f8"):
        load("location30", tmp_path / "mine")  # --data-root comes first
    with pytest.raises(DataError, match="no such folder"):
        load("location30", tmp_path / "nowhere")


def test_a_truncated_file_is_named_with_its_checksum(fashion_mnist, tmp_path):
    for name in NAMED["fashion-mnist"].files:
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(Path(fashion_mnist) / name)
    broken = tmp_path / "FashionMNIST/raw/t10k-labels-idx1-ubyte"
    content = broken.read_bytes()
    broken.unlink()
    broken.write_bytes(content[:-1])
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte: damaged or truncated: MD5 is .*15d48437"):
        load("fashion-mnist", tmp_path)


def test_a_file_without_a_published_checksum_is_checked_by_its_structure(tmp_path):
    for name in NAMED["mnist"].files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\0\x08\x01\0\0\0\x05abc")
    with pytest.raises(DataError, match="data mnist: cannot be read from"):
        load("mnist", tmp_path)


@pytest.mark.parametrize("name", ["fashion-mnist", "cifar10", "location30"])
def test_no_network_names_the_files_and_where_to_put_them(name, tmp_path, monkeypatch):
    def offline(*_args, **_kwargs):
        raise urllib.error.URLError("no network")

    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "other").touch()
    monkeypatch.setattr("urllib.request.urlopen", offline)
    monkeypatch.delenv("REDENSE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(DataError, match="the download failed") as caught:
        load(name, tmp_path / "new")
    for file in NAMED[name].files:
        assert str(tmp_path / "new" / file) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["other"]


@pytest.mark.parametrize(
    "error", [http.client.BadStatusLine("<html>"), EOFError("compressed file ended"), tarfile.ReadError("no archive")]
)
def test_a_download_that_fails_in_any_way_is_one_line(error, tmp_path, monkeypatch):
    def fail(_root):
        raise error

    monkeypatch.setitem(NAMED, "location30", replace(NAMED["location30"], fetch=fail))
    monkeypatch.setenv("REDENSE_DATA", str(tmp_path))
    (tmp_path / "other").touch()
    with pytest.raises(DataError, match="the download failed"):
        load("location30", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


@pytest.mark.parametrize("leads", ["a file elsewhere", "a folder elsewhere"])
def test_a_download_goes_through_no_link(leads, fashion_mnist, tmp_path, monkeypatch):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    file = root / LOCATION30_FILE
    for folder in (root, elsewhere):
        folder.mkdir()
    if leads == "a file elsewhere":
        file.parent.mkdir()
        file.symlink_to(elsewhere / "not there yet")
    else:
        file.parent.symlink_to(elsewhere)

    def fetch(place):
        (place / LOCATION30_FILE).parent.mkdir()
        shutil.copy(Path(fashion_mnist) / LOCATION30_FILE, place / LOCATION30_FILE)

    monkeypatch.setitem(NAMED, "location30", replace(NAMED["location30"], fetch=fetch))
    monkeypatch.setenv("REDENSE_DATA", str(root))
    with pytest.raises(DataError, match="is a link to"):
        load("location30", root)
    assert not list(elsewhere.iterdir())
    (file if leads == "a file elsewhere" else file.parent).unlink()
    assert load("location30", root).num_classes == 30
    assert [path.name for path in root.iterdir()] == [file.parent.name]


def test_a_file_that_may_not_be_read_is_one_line(fashion_mnist, monkeypatch):
    def refused(*_args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("hashlib.file_digest", refused)
    with pytest.raises(DataError, match=r"cannot be read from .*Permission denied"):
        load("location30", Path(fashion_mnist))


def test_npz(npz):
    data = load(str(npz))
    assert data.x_train.shape == (96, 6)
    assert data.num_classes == 3


def test_npz_without_a_test_split(tmp_path):
    (x, y), _ = arrays()
    np.savez(tmp_path / "one.npz", x=x, y=y)
    data = load(str(tmp_path / "one.npz"))
    assert len(data.y_test) == 19
    assert sorted([*data.x_train[:, 0], *data.x_test[:, 0]]) == sorted(x[:, 0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"x": X}, "expected arrays x and y"),
        ({"x": X, "y": Y, "x_test": X}, "one of x_test and y_test"),
        ({"x": np.array([object()] * 4), "y": Y}, "without objects"),
        ({"x": X, "y": Y[:2]}, "got 4 inputs and 2 labels"),
    ],
)
def test_npz_files_that_do_not_fit(tmp_path, content, message):
    np.savez(tmp_path / "bad.npz", **content)
    with pytest.raises(DataError, match=message):
        load(str(tmp_path / "bad.npz"))


def test_npz_files_that_are_damaged_or_missing(npz, tmp_path):
    damaged = tmp_path / "damaged.npz"
    damaged.write_bytes(npz.read_bytes()[:100])
    with pytest.raises(DataError, match="cannot be read"):
        load(str(damaged))
    with pytest.raises(DataError, match="no such file"):
        load(str(tmp_path / "none.npz"))


def images(folder, classes=("cat", "dog"), count=5, size=(9, 8)):
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            Image.new("RGB", size, (label * 100, index, 0)).save(folder / name / f"{index}.png")


def test_class_folders(tmp_path):
    images(tmp_path / "all")
    data = load(str(tmp_path / "all"))
    assert data.x_train.shape == (8, 3, 8, 9)
    assert data.x_train.dtype == np.uint8
    assert all(image[0, 0, 0] == 100 * label for image, label in zip(data.x_train, data.y_train, strict=True))


def test_class_folders_with_a_split(tmp_path):
    images(tmp_path / "train")
    images(tmp_path / "test", count=2)
    data = load(str(tmp_path))
    assert (len(data.y_train), len(data.y_test)) == (10, 4)
    images(tmp_path / "test", classes=("eel",))
    with pytest.raises(DataError, match=r"test \['cat', 'dog', 'eel'\]; expected the same"):
        load(str(tmp_path))


def test_class_folders_that_do_not_fit(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="expected folders named like the classes"):
        load(str(tmp_path / "empty"))
    images(tmp_path / "mixed")
    Image.new("RGB", (3, 3)).save(tmp_path / "mixed" / "dog" / "small.png")
    with pytest.raises(DataError, match="expected images of one size"):
        load(str(tmp_path / "mixed"))


def test_images_are_those_of_torchvision_in_its_order(tmp_path):
    images(tmp_path, count=2)
    for name in ("cat/b/deep", "cat/a", "dog/Z"):
        images(tmp_path / name, classes=("x",), count=2)
    (tmp_path / "cat" / "notes.txt").touch()
    expected = [(np.asarray(image).transpose(2, 0, 1).tolist(), label) for image, label in ImageFolder(tmp_path)]
    train, _ = split_folder(tmp_path, "data")
    assert [(pixels.tolist(), label) for pixels, label in train] == expected


@pytest.mark.parametrize("among", ["images", "nothing"])
def test_links_that_lead_round_in_circles(among, tmp_path):
    """Two of them open a folder of folders without end."""
    images(tmp_path)
    place = tmp_path / "cat" if among == "images" else tmp_path / "cat" / "below"
    place.mkdir(exist_ok=True)
    for link in ("first", "second"):
        (place / link).symlink_to(".")
    with pytest.raises(DataError, match="first: a link leads to .*, whose images would be there twice"):
        load(str(tmp_path))


@pytest.mark.parametrize("name", ["factories:data", "factories:torch_data"])
def test_functions(name):
    data = load(name)
    assert data.x_train.shape == (96, 6)
    np.testing.assert_array_equal(data.x_train, arrays()[0][0])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("factories:failing_data", "raised FileNotFoundError: the disk is elsewhere"),
        ("factories:one_dataset", "expected a training and a test part: two sets"),
        ("factories:nothing", "has no function"),
        ("fashionmnist", "did you mean 'fashion-mnist'"),
    ],
)
def test_functions_and_names_that_do_not_work(name, message):
    with pytest.raises(DataError, match=message):
        load(name)


def test_a_name_of_nothing_is_refused_alike_wherever_data_are_named():
    ways = (load, lambda name: sides(name, "digits"), catalogue)
    for named in ways:
        with pytest.raises(DataError, match=r"unknown \w+ 'fashionmnist'; .*did you mean 'fashion-mnist'\?$"):
            named("fashionmnist")


def test_pixels_become_fractions():
    batch = as_input(torch.tensor([[[[0, 51, 255]]]], dtype=torch.uint8))
    torch.testing.assert_close(batch, torch.tensor([[[[0.0, 0.2, 1.0]]]]))
    assert as_input(torch.ones(2, 3, 4, 4)).is_contiguous(memory_format=torch.channels_last)


def test_the_catalogue_says_what_is_on_disk(fashion_mnist, tmp_path):
    ((table, _),) = catalogue("location30", Path(fashion_mnist)).tables
    assert list(map(str, table.columns[2].cells)) == [fashion_mnist]
    with pytest.raises(DataError, match="did you mean 'mnist'"):
        catalogue("mnits")
