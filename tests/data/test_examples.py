"""One way in: the same sources through `run` and `audit` give the same examples and the same errors."""

import re
import types
import warnings
import zipfile
from typing import ClassVar

import factories
import numpy as np
import pytest
import torch
from factories import tensors
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import redense
from redense.data.batches import as_input
from redense.data.dataset import checked
from redense.data.examples import arrays, batches
from redense.data.layout import images as channels_first
from redense.data.layout import images_of_file
from redense.data.loading import sides
from redense.errors import DataError

X = np.random.default_rng(0).integers(0, 256, (12, 3, 8, 9), dtype=np.uint8)
Y = np.repeat([0, 1], 6)
OTHERS = np.random.default_rng(1).integers(0, 256, (12, 3, 8, 9), dtype=np.uint8), Y


class Listens(torch.nn.Module):
    """Keeps the inputs that it is asked about."""

    def __init__(self):
        super().__init__()
        self.heard = []

    def forward(self, x):
        self.heard.append(x)
        return torch.zeros(len(x), 2)


class Stream(IterableDataset):
    def __iter__(self):
        return zip(torch.from_numpy(X), Y.tolist(), strict=True)


class Raises(torch.utils.data.Dataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        raise FileNotFoundError("gone with\nthe wind")


def npz(folder, **content):
    np.savez(folder / "data.npz", **content)
    return folder / "data.npz"


def quantized():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch means to give them up
        return torch.quantize_per_tensor(torch.zeros(12, 2), 0.1, 0, torch.quint8)


def patched(folder, offset, value):
    """An NPZ file whose zip entries say something else: at 0 the flags, at 2 the compression."""
    path = npz(folder, x=X, y=Y)
    content = path.read_bytes()
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        for place in (found.start() for found in re.finditer(re.escape(signature), content)):
            at = place + flags + offset
            content = content[:at] + value.to_bytes(2, "little") + content[at + 2 :]
    path.write_bytes(content)
    return path


def with_a_note(folder):
    with zipfile.ZipFile(npz(folder, x=X, y=Y), "a") as file:
        file.writestr("note.txt", "hello")
    return folder / "data.npz"


def images(folder, x=X, y=Y):
    for number, (image, label) in enumerate(zip(x, y, strict=True)):
        (folder / "ab"[label]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / "ab"[label] / f"{number:02}.png")
    return folder


def odd_images(folder, size=None):
    images(folder)
    if size:
        Image.new("RGB", size).save(folder / "b" / "odd.png")
    else:
        (folder / "b" / "odd.png").write_text("no image")
    return folder


def empty_class(folder):
    (images(folder) / "c" / "deep").mkdir(parents=True)
    (folder / "c" / "deep" / "readme.txt").touch()
    return folder


WAYS = {
    "arrays": lambda _: (X, Y),
    "a list of arrays": lambda _: [X, Y],
    "tensors": lambda _: (torch.from_numpy(X), torch.from_numpy(Y)),
    "lists": lambda _: (X.tolist(), Y.tolist()),
    "arrays that are read-only, backward and of the other byte order": lambda _: (
        np.frombuffer(X[::-1].astype(">f8").tobytes(), ">f8").reshape(X.shape)[::-1],
        Y.astype(">i4"),
    ),
    "a data set": lambda _: tensors(X, Y),
    "a sequence": lambda _: list(zip(X, Y.tolist(), strict=True)),
    "a sequence of lists": lambda _: [(x.tolist(), int(y)) for x, y in zip(X, Y, strict=True)],
    "a loader": lambda _: DataLoader(tensors(X, Y), batch_size=5),
    "a stream": lambda _: Stream(),
    "a generator": lambda _: (pair for pair in zip(X, Y.tolist(), strict=True)),
    "a mapping": lambda _: {"label": Y, "x": X},
    "a sequence of mappings": lambda _: [{"x": x, "labels": int(y)} for x, y in zip(X, Y, strict=True)],
    "a loader of mappings": lambda _: DataLoader([{"x": x, "y": y} for x, y in zip(X, Y, strict=True)], batch_size=5),
    "NPZ": lambda folder: npz(folder, x=X, y=Y),
    "NPZ, named by a string": lambda folder: str(npz(folder, x=X, y=Y)),
    "NPZ of Keras": lambda folder: npz(folder, x_train=X.transpose(0, 2, 3, 1), y_train=Y),
    "NPZ of Keras, labels in a column": lambda folder: npz(
        folder, x_train=X.transpose(0, 2, 3, 1), y_train=Y.astype(np.uint8)[:, None]
    ),
    "labels in a column": lambda _: (X, Y[:, None]),
    "a loader of labels in columns": lambda _: DataLoader([*zip(X, Y[:, None], strict=True)], batch_size=5),
    "a folder": images,
}

WRONG = {
    "a number": (lambda _: 5, ": got int; expected a data set, a loader of batches, or arrays (x, y), or the name of"),
    "no labels": (lambda _: [1.0, 2.0], ": got batches of Tensor; expected (inputs, labels) or a mapping"),
    "no labels in mappings": (lambda _: [{"x": 1.0}], ": batches hold x; expected labels under one of labels, label"),
    "no labels in a mapping": (lambda _: {"x": X}, ": batches hold x; expected labels under one of labels, label"),
    "too few labels": (lambda _: (X, Y[:5]), ": got 12 inputs and 5 labels; expected as many"),
    "too few labels in NPZ": (lambda folder: npz(folder, x=X, y=Y[:5]), ": got 12 inputs and 5 labels"),
    "too few labels in batches": (lambda _: DataLoader([(X, Y[:5])], batch_size=None), ": got 12 inputs and 5 labels"),
    "labels with a fraction": (lambda _: (X, Y + 0.5), ": labels are float64 (12,); expected one integer class an"),
    "labels in NPZ with a fraction": (lambda folder: npz(folder, x=X, y=Y + 0.5), ": labels are float64 (12,)"),
    "labels one-hot": (lambda _: (X, np.eye(2, dtype=int)[Y]), ": labels are int64 (12, 2)"),
    "not a number": (lambda _: (X * np.nan, Y), ": 2592 values of the inputs are NaN or infinite in float32"),
    "words": (lambda _: (np.full(12, "word"), Y), ": inputs are of type <U4; expected numbers"),
    "words one by one": (lambda _: [("word", 0)], ": inputs are of type <U4; expected numbers"),
    "not a number in a mapping": (lambda _: {"x": X * np.nan, "y": Y}, ": x: 2592 values of the inputs are NaN"),
    "words in a mapping": (lambda _: [{"x": "word", "y": 0}], ": x: inputs are of type <U4; expected numbers"),
    "an iterator at its end": (lambda _: iter([]), ": got no examples; expected at least one"),
    "complex": (lambda _: (torch.zeros(12, 2, dtype=torch.complex64), Y), ": inputs are of type torch.complex64"),
    **{
        str(dtype): (
            lambda _, dtype=dtype: (torch.zeros(12, 2).to(dtype), Y),
            f": inputs are of type {dtype}; expected",
        )
        for dtype in (torch.float8_e4m3fn, torch.float8_e5m2)
    },
    "quantized": (lambda _: (quantized(), Y), ": inputs are of type torch.quint8; expected numbers"),
    "quantized in batches": (
        lambda _: DataLoader([(quantized(), torch.from_numpy(Y))], batch_size=None),
        ": inputs are of type torch.quint8; expected numbers",
    ),
    "float8 in a data set": (
        lambda _: TensorDataset(torch.zeros(12, 2).to(torch.float8_e4m3fn), torch.from_numpy(Y)),
        ": inputs are of type torch.float8_e4m3fn; expected numbers",
    ),
    "sparse in batches": (
        lambda _: DataLoader([(torch.eye(12).to_sparse(), torch.from_numpy(Y))], batch_size=None),
        ": inputs are a tensor of the layout torch.sparse_coo; expected a dense one",
    ),
    "labels beyond int64": (
        lambda _: (X, Y.astype(np.uint64) + np.uint64(2**63)),
        ": label 9223372036854775809 is out of range",
    ),
    "nothing": (lambda _: (X[:0], Y[:0]), ": got no examples; expected at least one"),
    "an empty sequence": (lambda _: [], ": got no examples; expected at least one"),
    "values without axes": (lambda folder: npz(folder, x=1.0, y=0), ": got an array without axes; expected inputs [n"),
    "shapes that differ": (
        lambda _: [(X[0], 0), (X[0, :1], 1)],
        ": reading the examples raised RuntimeError: stack expects each tensor to be equal size",
    ),
    "a data set that fails": (
        lambda _: Raises(),
        ": reading the examples raised FileNotFoundError: gone with the wind; expected pairs (input, label)",
    ),
    "no file": (lambda folder: folder / "none.npz", "none.npz: no such file or folder; expected FILE.npz"),
    "no NPZ": (lambda folder: odd_images(folder) / "b" / "odd.png", "odd.png: cannot be read as NPZ"),
    "objects": (lambda folder: npz(folder, x=np.array([{}]), y=Y), "expected plain arrays, without objects"),
    "encrypted": (lambda folder: patched(folder, 0, 1), "cannot be read as NPZ (File 'x.npy' is encrypted"),
    "compressed otherwise": (lambda folder: patched(folder, 2, 99), "cannot be read as NPZ (That compression method"),
    "files of other kinds": (with_a_note, "data.npz: holds note.txt, which are no arrays; expected NPZ"),
    "other names": (
        lambda folder: npz(folder, images=X),
        "data.npz: holds images; expected arrays x and y, or x_train",
    ),
    "half a test part": (
        lambda folder: npz(folder, x=X, y=Y, x_test=X),
        "holds one of x_test and y_test; expected both",
    ),
    "two training parts": (
        lambda folder: npz(folder, x=X, y=Y, x_train=X, y_train=Y),
        "holds x_train, y_train beside x, y, and nothing would read them; expected one training and one test part",
    ),
    "a validation part": (
        lambda folder: npz(folder, x_train=X, y_train=Y, x_val=X, y_val=Y),
        "holds x_val, y_val beside x_train, y_train, and nothing would read them; expected one training and one test "
        "part: take them out, or join them to one of the two (--validation takes",
    ),
    "axes in doubt": (
        lambda folder: npz(folder, x=np.zeros((12, 3, 5, 4)), y=Y),
        "data.npz: x is (12, 3, 5, 4), which may be [n, channels, height, width] or [n, height, width, channels]",
    ),
    "axes that nothing tells": (
        lambda folder: npz(folder, x=np.zeros((12, 9, 8, 8)), y=Y),
        "data.npz: x is (12, 9, 8, 8), which may be [n, channels, height, width] or [n, height, width, channels]; "
        "expected to be told: --layout channels-first or --layout channels-last",
    ),
    "an empty folder": (lambda folder: folder, "expected folders named like the classes, with images in them"),
    "a class without images": (empty_class, "no image is in"),
    "what is no image": (odd_images, "odd.png: cannot be read (cannot identify image file"),
    "an image of another size": (lambda folder: odd_images(folder, (4, 5)), "odd.png is 4x5, the first image 9x8"),
}


def through_run(make, monkeypatch):
    monkeypatch.setattr(factories, "given", lambda: (make(), make()), raising=False)
    return redense.data.load("factories:given")


@pytest.mark.parametrize("way", WAYS)
def test_run_and_audit_get_the_same_examples(way, tmp_path, monkeypatch):
    def make():
        return WAYS[way](tmp_path)

    data = through_run(make, monkeypatch)
    np.testing.assert_array_equal(data.x_train, X)
    np.testing.assert_array_equal(data.y_train, Y)
    monkeypatch.setattr(factories, "given", make)
    others = OTHERS[0].astype(data.x_train.dtype), Y
    for members in (make(), "factories:given"):
        model = Listens()
        result = redense.audit(model, members=members, nonmembers=others, attacks=("threshold",))
        heard = torch.cat(model.heard)[:12].numpy()
        bytes_are_scaled = heard.max() <= 1
        np.testing.assert_allclose(heard * (255 if bytes_are_scaled else 1), X, rtol=1e-6)
        assert [(one.label, one.members) for one in result.classes] == [(0, 6), (1, 6)]


@pytest.mark.parametrize("case", WRONG)
def test_run_and_audit_raise_the_same_error(case, tmp_path, monkeypatch):
    make, message = WRONG[case]
    source = make(tmp_path)
    with pytest.raises(DataError) as by_run:
        through_run(lambda: source, monkeypatch)
    with pytest.raises(DataError) as by_audit:
        redense.audit(Listens(), members=source, nonmembers=OTHERS)
    text = str(by_audit.value)
    assert message in text
    assert text.startswith("members")
    assert "\n" not in text
    assert text.removeprefix("members") == str(by_run.value).removeprefix("data factories:given, training")


class Network(torch.nn.Module):
    """Has a floating type, answers by what it sees, and keeps the inputs that it is asked about."""

    def __init__(self, dtype=torch.float32):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(2, dtype=dtype))
        self.heard = []

    def forward(self, x):
        self.heard.append(x)
        return x.flatten(1).mean(1, keepdim=True) * self.weight


KINDS = {
    "arrays": lambda x, y, _: (x, y),
    "tensors": lambda x, y, _: (torch.from_numpy(x), torch.from_numpy(y)),
    "a data set": lambda x, y, _: tensors(x, y),
    "a sequence": lambda x, y, _: list(zip(x, y.tolist(), strict=True)),
    "a loader": lambda x, y, _: DataLoader(tensors(x, y), batch_size=5),
    "a generator": lambda x, y, _: zip(torch.from_numpy(x), y.tolist(), strict=True),
    "a mapping": lambda x, y, _: {"pixels": x, "label": y},
    "mappings": lambda x, y, _: [{"pixels": one, "label": int(label)} for one, label in zip(x, y, strict=True)],
    "NPZ": lambda x, y, folder: npz(folder, x=x, y=y),
}
LAYOUTS = {
    (12, 6): (6,),
    (12, 8, 9): (1, 8, 9),
    (12, 8, 9, 1): (1, 8, 9),
    (12, 8, 9, 3): (3, 8, 9),
    (12, 8, 9, 4): (4, 8, 9),
    (12, 1, 8, 9): (1, 8, 9),
    (12, 3, 8, 9): (3, 8, 9),
    (12, 8, 9, 5): (8, 9, 5),
}
TYPES = [np.float16, np.float32, np.float64, np.int8, np.uint16, np.int32, np.int64, np.uint8, bool]


def stored(shape, dtype, seed=0):
    return np.random.default_rng(seed).normal(40, 20, shape).clip(0, 100).astype(dtype)


def both_ways(source, monkeypatch, model):
    """What training and an audit make of a source."""
    data = through_run(source, monkeypatch)
    monkeypatch.setattr(factories, "given", source)
    others = (stored(data.x_train.shape, data.x_train.dtype, seed=1), Y)
    redense.audit(model, members="factories:given", nonmembers=others, attacks=("threshold",))
    trained = as_input(torch.from_numpy(data.x_train))
    heard = [x for x in model.heard if x.shape[1:] == trained.shape[1:]]  # another order of axes may be tried, too
    return trained, torch.cat(heard)[:12]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("dtype", "layout"),
    [*((dtype, (12, 8, 9, 3)) for dtype in TYPES), *((np.float64, layout) for layout in LAYOUTS)],
    ids=str,
)
def test_run_and_audit_give_a_model_the_same_inputs(kind, layout, dtype, tmp_path, monkeypatch):
    if kind == "NPZ" and layout == (12, 8, 9, 5):
        return  # files of such shapes have to say their layout
    x = stored(layout, dtype)
    trained, audited = both_ways(lambda: KINDS[kind](x, Y, tmp_path), monkeypatch, Network())
    assert trained.shape == audited.shape == (12, *LAYOUTS[layout])
    assert trained.dtype == audited.dtype == torch.float32
    torch.testing.assert_close(trained, audited, rtol=0, atol=0)
    turned = np.moveaxis(x, 3, 1) if layout[3:] and layout[3] < 5 and layout[1] > 4 else x
    expected = turned.reshape(audited.shape).astype(np.float32) / (255 if dtype is np.uint8 else 1)
    np.testing.assert_allclose(audited, expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
@pytest.mark.parametrize("given", [np.float16, np.float64, np.int64, np.uint8], ids=lambda dtype: dtype.__name__)
def test_an_audit_speaks_a_models_own_floating_type(dtype, given, monkeypatch):
    trained, audited = both_ways(lambda: (stored((12, 6), given), Y), monkeypatch, Network(dtype))
    assert audited.dtype == dtype
    precision = 1e-6 if given is np.float64 and dtype is torch.float64 else 0  # training keeps float32
    torch.testing.assert_close(trained.to(dtype), audited, rtol=precision, atol=0)


def test_both_parts_of_a_file_or_folder_are_loaded(tmp_path, monkeypatch):
    images(tmp_path / "images" / "train")
    images(tmp_path / "images" / "test", *OTHERS)
    test = {"x_test": OTHERS[0].transpose(0, 2, 3, 1), "y_test": Y}
    sources = [str(tmp_path / "images"), str(npz(tmp_path, x_train=X.transpose(0, 2, 3, 1), y_train=Y, **test))]
    loaded = [redense.data.load(source) for source in sources]
    for parts in ((f"{sources[0]}/train", f"{sources[0]}/test"), (sources[1], sources[1])):
        monkeypatch.setattr(factories, "given", lambda parts=parts: parts, raising=False)
        loaded.append(redense.data.load("factories:given"))
    assert len({data.fingerprint for data in loaded}) == 1
    np.testing.assert_array_equal(loaded[0].x_test, OTHERS[0])


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ((5, 28, 28), (5, 1, 28, 28)),
        ((5, 28, 28, 1), (5, 1, 28, 28)),
        ((5, 32, 30, 3), (5, 3, 32, 30)),
        ((5, 3, 32, 30), (5, 3, 32, 30)),
        ((5, 7), (5, 7)),
    ],
)
def test_images_in_files_become_channels_first(stored, read, tmp_path):
    x = np.arange(np.prod(stored)).reshape(stored)
    found, _ = arrays(npz(tmp_path, x=x, y=np.arange(5)), "data")
    assert found.shape == read
    channels_last = len(stored) == 4 and stored != read
    np.testing.assert_array_equal(found, (np.moveaxis(x, 3, 1) if channels_last else x).reshape(read))


@given(st.tuples(*[st.integers(1, 6)] * 3), st.sampled_from(["auto", "channels-first", "channels-last"]))
def test_layouts_of_files(shape, told):
    """Channels are last where only that dimension is 1, 3 or 4, first where only the second is, else it has to be told;
    and nothing is returned that would be turned a second time."""
    first, last = (size in (1, 3, 4) for size in (shape[0], shape[2]))
    shown = {(True, False): "channels-first", (False, True): "channels-last"}.get((first, last))
    x = np.arange(5 * np.prod(shape)).reshape(5, *shape)
    expected = np.moveaxis(x, 3, 1) if (shown if told == "auto" else told) == "channels-last" else x
    if (told == "auto" and shown is None) or channels_first(expected).shape != expected.shape:
        with pytest.raises(DataError, match="x is"):
            images_of_file(x, "x", told)
    else:
        np.testing.assert_array_equal(images_of_file(x, "x", told), expected)


@pytest.mark.parametrize("layout", ["channels-first", "channels-last"])
def test_run_and_audit_are_told_the_layout_of_files(layout, tmp_path):
    x = np.random.default_rng(0).random((12, 9, 8, 8)).astype(np.float32)
    turned = np.moveaxis(x, 3, 1) if layout == "channels-last" else x
    file = str(npz(tmp_path, x=x, y=Y, x_test=x + 1, y_test=Y))
    data = redense.data.load(file, layout=layout)
    np.testing.assert_array_equal(data.x_train, turned)
    model = Listens()
    redense.audit(model, members=file, nonmembers=file, layout=layout, attacks=("threshold",))
    np.testing.assert_array_equal(torch.cat(model.heard)[:12].numpy(), turned)


def test_a_layout_is_refused_where_it_would_not_be_heeded(tmp_path, monkeypatch):
    monkeypatch.setattr(factories, "given", lambda: ((X, Y), OTHERS), raising=False)
    against = str(npz(tmp_path, x=np.zeros((12, 9, 8, 3)), y=Y))
    images(tmp_path / "images")
    for name in ("digits", "factories:given", str(tmp_path / "images")):
        with pytest.raises(DataError, match="got the layout channels-first, which is said of NPZ files alone"):
            redense.data.load(name, layout="channels-first")
    with pytest.raises(DataError, match=r"x is \(12, 9, 8, 3\), which channels-first makes"):
        redense.data.load(against, layout="channels-first")


class Rows(list):
    """Stands for a data set of Hugging Face: mappings with images, and features that name the classes."""

    features: ClassVar = {"image": None, "label": types.SimpleNamespace(names=["cat", "dog"])}


def rows(x=X, y=Y):
    return Rows(
        {"image": Image.fromarray(one.transpose(1, 2, 0)), "label": int(label)} for one, label in zip(x, y, strict=True)
    )


def test_data_sets_of_hugging_face_are_taken_as_they_are(monkeypatch):
    monkeypatch.setattr(factories, "given", lambda: {"train": rows(), "test": rows(*OTHERS)}, raising=False)
    data = redense.data.load("factories:given")
    np.testing.assert_array_equal(data.x_train, X)
    np.testing.assert_array_equal(data.x_test, OTHERS[0])
    assert data.classes == ("cat", "dog")
    result = redense.audit(Network(), members="factories:given", nonmembers="factories:given")
    assert [result.class_name(one.label) for one in result.classes] == ["cat", "dog"]


def test_classes_of_folders_keep_their_names(tmp_path):
    """Also where a random fifth of the examples becomes the test, and in what is written and printed."""
    source = str(images(tmp_path / "in", np.tile(X, (8, 1, 1, 1)), np.tile(Y, 8)))
    assert redense.data.load(source).classes == ("a", "b")
    result = redense.audit(Network(), members=source, nonmembers=images(tmp_path / "out", *OTHERS))
    assert redense.AuditResult.from_json(result.to_json()).class_names == ("a", "b")


@pytest.mark.parametrize(
    ("x", "named"),
    [
        (X.astype(np.float32), True),
        (X.astype(np.int64), True),
        (X, False),
        (X / np.float32(255), False),
        (X.astype(np.float32) - 127, False),
        (X.reshape(12, -1).astype(np.float32), False),
    ],
)
def test_pixels_that_nobody_scaled_are_named_with_the_remedy(x, named):
    warning = checked("mine", (x, Y), (x, Y)).warning
    assert ("store them as uint8, which is scaled to [0, 1], or divide them by 255" in warning) == named


@pytest.mark.parametrize("factor", [1.01, 257])
def test_pixels_of_more_than_a_byte_are_named_too(factor):
    x = X.astype(np.float32) * np.float32(factor * 255 / X.max())
    warning = checked("mine", (x, Y), (x, Y)).warning
    assert f"images have values from {x.min():g} to {x.max():g}, and reach the network so; divide them by" in warning


def test_arrays_that_are_no_pair_may_stand_beside_examples(tmp_path):
    """Such as means that somebody keeps with their images."""
    path = npz(tmp_path, x=X, y=Y, x_mean=X.mean(0), names=np.array(["cat", "dog"]))
    ((inputs, _),) = redense.data.examples.batches(path, "mine", 100)
    np.testing.assert_array_equal(inputs, X)


def test_a_functions_error_names_it(monkeypatch):
    monkeypatch.setattr(factories, "given", factories.failing_data, raising=False)
    for load in (redense.data.load, lambda name: redense.audit(Listens(), members=name, nonmembers=OTHERS)):
        with pytest.raises(DataError, match="factories:given: the function raised FileNotFoundError: the disk is"):
            load("factories:given")


@given(
    np_st.arrays(st.sampled_from([np.uint8, np.float32, bool]), st.tuples(st.integers(1, 9), st.just(2))).map(
        np.nan_to_num
    ),
    st.integers(1, 10),
)
def test_batches_are_the_whole_in_order(x, size):
    y = np.arange(len(x))
    for source in ((x, y), list(zip(x, y, strict=True)), {"y": y, "x": x}):
        parts = list(batches(source, "data", size))
        assert [len(labels) for _, labels in parts[:-1]] == [size] * (len(parts) - 1)
        np.testing.assert_array_equal(np.concatenate([labels for _, labels in parts]), y)
        inputs = [part["x"] if isinstance(part, dict) else part for part, _ in parts]
        joined = np.concatenate([np.asarray(part) for part in inputs])
        assert joined.dtype == x.dtype
        np.testing.assert_array_equal(joined, x)


def test_mappings_of_several_arrays_are_for_audits_alone():
    with pytest.raises(DataError, match="data: inputs are mappings of tokens, mask; expected one array of inputs"):
        arrays({"labels": Y, "tokens": Y, "mask": Y}, "data")


SETS = {
    "arrays": lambda x, y: (x, y),
    "lists": lambda x, y: (x.tolist(), y.tolist()),
    "a data set": tensors,
    "a loader": lambda x, y: DataLoader(tensors(x, y), batch_size=5),
    "a sequence": lambda x, y: list(zip(x, y.tolist(), strict=True)),
    "two examples": lambda x, y: [(x[0], int(y[0])), (x[6], int(y[6]))],
    "a generator": lambda x, y: zip(torch.from_numpy(x), y.tolist(), strict=True),
    "a mapping": lambda x, y: {"x": x, "y": y},
    "mappings": lambda x, y: [{"x": one, "y": int(label)} for one, label in zip(x, y, strict=True)],
}


@pytest.mark.parametrize("container", [tuple, list])
@pytest.mark.parametrize("kind", SETS)
def test_functions_return_one_set_or_two_parts(kind, container, monkeypatch):
    def two_parts():
        return container((SETS[kind](X, Y), SETS[kind](*OTHERS)))

    def one_set():
        return SETS[kind](X, Y)

    monkeypatch.setattr(factories, "given", two_parts, raising=False)
    data = redense.data.load("factories:given")
    found = [arrays(side, "data")[0] for side in sides("factories:given", "factories:given")]
    np.testing.assert_array_equal(found[0], data.x_train)
    np.testing.assert_array_equal(found[1], data.x_test)
    monkeypatch.setattr(factories, "given", one_set)
    found = [arrays(side, "data")[0] for side in sides("factories:given", "factories:given")]
    np.testing.assert_array_equal(found[0], data.x_train)
    np.testing.assert_array_equal(found[1], data.x_train)


def two_files(folder):
    """Two files with two parts each, and what these hold: x of a, x_test of b."""
    paths = []
    for name, first in (("a", 0), ("b", 100)):
        inputs = {part: np.full((4, 2), first + add, np.float32) for part, add in (("x", 1), ("x_test", 2))}
        paths.append(folder / f"{name}.npz")
        np.savez(paths[-1], **inputs, y=[0, 1] * 2, y_test=[0, 1] * 2)
    return paths


def named(folder, monkeypatch):
    """What a function may return in names, with the first numbers of its training and its test part."""
    a, b = two_files(folder)
    monkeypatch.setattr(factories, "inner", lambda: (str(a), str(b)), raising=False)
    digits = redense.data.load("digits")
    of_digits = digits.x_train.sum(), digits.x_test.sum()
    return {
        "two files": ((str(a), str(b)), (8, 8 * 102)),
        "paths": ([a, b], (8, 8 * 102)),
        "a file twice": ((a, a), (8, 16)),
        "one file": (str(a), (8, 16)),
        "one path": (b, (8 * 101, 8 * 102)),
        "two functions": (("factories:inner", "factories:inner"), (8, 8 * 102)),
        "one function": ("factories:inner", (8, 8 * 102)),
        "a file and arrays": ((a, (np.full((3, 2), 5.0), np.arange(3) % 2)), (8, 30)),
        "data of redense twice": (("digits", "digits"), of_digits),
        "data of redense": ("digits", of_digits),
    }


def test_names_that_a_function_returns_mean_the_same_to_run_and_audit(tmp_path, monkeypatch):
    """The first is opened for its training part, the second for its test part where it has one."""
    for case, (result, expected) in named(tmp_path, monkeypatch).items():
        monkeypatch.setattr(factories, "given", lambda result=result: result, raising=False)
        data = redense.data.load("factories:given")
        audited = sides("factories:given", "factories:given")
        for x, side, total in zip((data.x_train, data.x_test), audited, expected, strict=True):
            np.testing.assert_array_equal(arrays(side, "data")[0], x, err_msg=case)
            assert x.sum() == total, case


class Hub:
    """Stands for a data set of Hugging Face that is no list: it has a shape, and is no array."""

    def __init__(self, x, y):
        self.rows = [{"values": list(one), "label": int(label)} for one, label in zip(x, y, strict=True)]
        self.shape = (len(y), 2)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, place):
        return self.rows[place]


TRAIN, TEST = factories.arrays()


def by_name(make=np.asarray, first=("x", "y"), test=("x_test", "y_test")):
    arrays = dict(zip((*first, *test), (*TRAIN, *TEST)[: len(first) + len(test)], strict=True))
    return {name: make(array) for name, array in arrays.items()}


@pytest.mark.parametrize(
    "result",
    [
        by_name(),
        by_name(torch.from_numpy),
        by_name(list),
        by_name(first=("x_train", "y_train")),
        {"train": by_name(test=()), "test": dict(zip("xy", TEST, strict=True))},
        (Hub(*TRAIN), Hub(*TEST)),
        {"train": Hub(*TRAIN), "test": Hub(*TEST)},
    ],
)
def test_parts_that_a_function_returns_are_the_same_to_run_and_audit(result, monkeypatch):
    monkeypatch.setattr(factories, "given", lambda: result, raising=False)
    data = redense.data.load("factories:given")
    given_itself = sides(result, result) if "x_test" in result else ()
    for audited in filter(None, (sides("factories:given", "factories:given"), given_itself)):
        for (x, y), part in zip(((data.x_train, data.y_train), (data.x_test, data.y_test)), audited, strict=True):
            found = arrays(part, "data")
            np.testing.assert_allclose(found[0], x)
            np.testing.assert_array_equal(found[1], y)
    np.testing.assert_array_equal(data.x_train, TRAIN[0])
    np.testing.assert_array_equal(data.x_test, TEST[0])


@pytest.mark.parametrize("first", [("x", "y"), ("x_train", "y_train")])
def test_arrays_by_name_without_a_test_part_are_split_as_those_of_a_file(first, monkeypatch, tmp_path):
    result = by_name(first=first, test=())
    np.savez(tmp_path / "data.npz", **result)
    monkeypatch.setattr(factories, "given", lambda: result, raising=False)
    data, of_file = redense.data.load("factories:given"), redense.data.load(tmp_path / "data.npz")
    assert data.fingerprint == of_file.fingerprint
    members, _ = sides("factories:given", TEST)
    np.testing.assert_array_equal(arrays(members, "data")[0], TRAIN[0])


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (TRAIN, "arrays (x, y), 96 inputs and 96 labels, which are one set of examples"),
        (list(TRAIN), "arrays (x, y), 96 inputs and 96 labels"),
        (([[0.0], [1.0]], [0, 1]), "arrays (x, y), 2 inputs and 2 labels"),
        (tensors(X, Y), "a TensorDataset of 12 examples, which is one set"),
        (Hub(*TRAIN), "a Hub of 96 examples, which is one set"),
        ({"pixels": TRAIN[0], "label": TRAIN[1]}, "a mapping with pixels, label"),
        ({}, "a mapping with nothing"),
        ((*TRAIN, *TEST), "a tuple of 4"),
        (None, "None"),
        (TRAIN[0], "an array of float32 [96, 6]"),
    ],
)
def test_a_run_says_what_a_function_returned_that_is_no_two_parts_and_what_it_needs(result, said, monkeypatch):
    monkeypatch.setattr(factories, "given", lambda: result, raising=False)
    expected = f"data factories:given: the function returns {said}"
    with pytest.raises(DataError, match=re.escape(expected) + ".*; expected a training and a test part: two sets"):
        redense.data.load("factories:given")


def test_half_a_test_part_by_name_is_refused_by_run_and_audit(monkeypatch):
    monkeypatch.setattr(factories, "given", lambda: by_name(test=("x_test",)), raising=False)
    for load in (redense.data.load, lambda name: sides(name, name)):
        with pytest.raises(DataError, match="holds one of x_test and y_test; expected both or neither"):
            load("factories:given")


def test_a_function_that_returns_its_own_name_is_refused(monkeypatch):
    for result in ("factories:given", ("factories:given", "digits")):
        monkeypatch.setattr(factories, "given", lambda result=result: result, raising=False)
        for load in (redense.data.load, lambda name: sides(name, name)):
            with pytest.raises(DataError, match="factories:given: the function returns its own name"):
                load("factories:given")


@pytest.mark.parametrize("kind", KINDS)
def test_run_and_audit_refuse_bytes_on_one_side_alone(kind, tmp_path, monkeypatch):
    """They alone would be scaled to [0, 1], and the two sides could be told apart by that."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()

    def two_types():
        pixels, numbers = stored((12, 8, 9, 3), np.uint8), stored((12, 8, 9, 3), np.float32)
        return KINDS[kind](pixels, Y, tmp_path / "one"), KINDS[kind](numbers, Y, tmp_path / "two")

    monkeypatch.setattr(factories, "given", two_types, raising=False)
    expected = " inputs are uint8, .* inputs float32; expected one type"
    with pytest.raises(DataError, match="training" + expected):
        redense.data.load("factories:given")
    for members, nonmembers in (two_types(), ("factories:given", "factories:given")):
        with pytest.raises(DataError, match="members'" + expected):
            redense.audit(Network(), members=members, nonmembers=nonmembers, attacks=("threshold",))


def test_a_function_named_on_both_sides_is_called_once(monkeypatch):
    calls = []
    monkeypatch.setattr(factories, "given", lambda: calls.append(1) or factories.arrays(), raising=False)
    sides("factories:given", "factories:given")
    assert len(calls) == 1


def test_names_of_data_sets_are_read_by_audits_as_by_runs():
    data = redense.data.load("digits")
    (x, y), (x_test, y_test) = sides("digits", "digits")
    np.testing.assert_array_equal(x, data.x_train)
    np.testing.assert_array_equal(x_test, data.x_test)
    result = redense.audit(
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10)), members="digits", nonmembers="digits"
    )
    assert (result.members, result.nonmembers) == (len(y), len(y_test)) == (1000, 797)
