"""Every example runs, offline, and shows what its docstring says; examples and documents name nothing private."""

import inspect
import re
import runpy
from pathlib import Path

import pytest

import redense

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
# the log says where things stood on its days, private modules included
PAGES = sorted([*(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "frameworks").glob("*.md")])
DOCUMENTS = [path for path in (ROOT / "README.md", *PAGES) if path.name != "log.md"]
INTEGRATIONS = ("keras", "lightning", "transformers")

SHOWS = {
    "audit.py": (r"gives away who was in its training data", r"8 reference models"),
    "hugging_face_data.py": (r"1347 and 450 images \(1, 8, 8\): zero, one", r"re-dense 50%"),
    "keras_fit.py": (r"epoch 3: .* 0.0% zeros", r"epoch 5: .* 50.0% zeros", r"epoch 7: .* \d\.\d% zeros"),
    "lightning_trainer.py": (
        r"epoch 3: dense, 0.0%",
        r"epoch 5: sparse 50%, 50.0%",
        r"epoch 7: re-dense 50%, \d+\.\d%",
    ),
    "own_loop.py": (r" 9  dense +0.0% zeros", r"14  sparse 50% +50.0% zeros", r"19  re-dense 50% +\d\.\d% zeros"),
    "sensitivity.py": (r"conv2d.weight", r"nothing pruned: 9\d"),
    "transformers_trainer.py": (r"epoch 3: dense, 0.0%", r"epoch 5: sparse 50%, 50.0%", r"epoch 7: re-dense 50%, 0.0%"),
}
WRITES = {"audit.py": ["audit.html"], "sensitivity.py": ["sensitivity.png"]}


@pytest.mark.filterwarnings("ignore")  # the frameworks' own
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_every_example_shows_what_it_says(example, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(example.parent)  # as `python examples/...` does
    monkeypatch.setattr("sys.argv", [str(example)])
    runpy.run_path(str(example), run_name="__main__")
    printed = capsys.readouterr().out
    for line in SHOWS[example.name]:
        assert re.search(line, printed), f"{line}\n{printed}"
    assert [path.name for path in tmp_path.iterdir()] == WRITES.get(example.name, [])


@pytest.mark.parametrize("path", [*EXAMPLES, *DOCUMENTS], ids=lambda path: path.name)
def test_only_public_names_are_named(path):
    private = [name for name in named(path.read_text()) if not is_public(name)]
    assert private == [], "name what redense.__all__ or redense.integrations offers, or make it public"


@pytest.mark.parametrize(
    ("name", "public"),
    [
        ("redense.DSD", True),
        ("redense.metrics.auc", True),
        ("redense.patterns.NofM", True),
        ("redense.integrations.keras.DSDCallback", True),
        ("redense.dsd.DSD", False),
        ("redense.metrics.roc.auc", False),
        ("redense.patterns.torch", False),
        ("redense.integrations.keras.np", False),
    ],
)
def test_what_counts_as_public(name, public):
    assert is_public(name) == public


def test_names_are_found_in_imports_and_in_prose():
    text = "from redense.a import b as c, d\nfrom redense import e\nprint(redense.f.g(1)); see `redense.h`"
    assert named(text) == ["redense.a.b", "redense.a.d", "redense.e", "redense.f.g", "redense.h"]


def named(text):
    """List all that a text imports from redense, then all that it writes out after a dot."""
    imported = re.compile(r"^ *from (redense[.\w]*) import \(?([\w, ]+)", re.MULTILINE)
    names = [
        f"{module}.{name.split()[0]}"
        for module, together in imported.findall(text)
        for name in together.split(",")
        if name.strip()
    ]
    return names + re.findall(r"(?<![\w./-])redense(?:\.[A-Za-z_]\w*)+", imported.sub("", text))


def is_public(name):
    """Whether a dotted name leads from one public name to the next."""
    _, first, *rest = name.split(".")
    if first == "integrations":
        return rest in [[], *([module, *own] for module in INTEGRATIONS for own in ([], ["DSDCallback"]))]
    if first not in redense.__all__:
        return False
    value = getattr(redense, first)
    for part in rest:
        attribute = getattr(value, part, None)
        listed = getattr(value, "__all__", None)
        if attribute is None or (part not in listed if listed else inspect.ismodule(attribute)):
            return False
        value = attribute
    return True
