"""What a run and an audit print: every field of JSON, column of tables and sentence, under a name for its kind.

Names have the place first: ``results.json: rows[].test_accuracy``, ``table phase: test %``, ``says: Paired over ...``.
Numbers are written #, attacks <attack>, phases <phase>, so that all of one kind have one name.
"""

import ast
import csv
import io
import json
import re
from html.parser import HTMLParser

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from redense.auditing.attacks import ATTACKS
from redense.terminal import ByWidth, Continued, Fitting, Prose

_NAMES = "|".join(sorted((re.escape(attack.name) for attack in ATTACKS), key=len, reverse=True))
_ATTACK = re.compile(
    rf"'({_NAMES})'|(?:(?<=\bof )|(?<=\bby )|(?<=\bin )|^)({_NAMES})(?![\w-])|(RMIA|LiRA) (on|off)line|SAMIA"
)
"""Some are called by words that mean other things, too: they count where a name has to stand."""
_NUMBER = re.compile(r"(?<![\w.-])[+-]?(\d+(,\d{3})*(\.\d+)?|\.\d+)(?!\w)")
_PHASE = re.compile(
    r"[Cc]ontrol-\w+ beside (sparse|re-dense)|([Ss]parse|[Rr]e-dense) #%|[Tt]he equal-budget control \([\w-]+\)"
    r"|(?<![\w-])[Dd]ense(?![\w-])"
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Zpε\d\"'*])")


def kind(text):
    """Write a text as all of its kind are written.

    >>> kind("re-dense 50% beats dense by 1.2 points [0.3, 2.1], LiRA online")
    '<phase> beats <phase> by # points [#, #], <attack>'
    """
    text = _NUMBER.sub("#", " ".join(text.replace(r"\[", "[").split()))
    return _ATTACK.sub("<attack>", _PHASE.sub("<phase>", text))


def sentences(text, place="says"):
    """Name the kind of each sentence of a text."""
    return {f"{place}: {kind(part)}" for part in _SENTENCE.split(" ".join(text.split())) if part}


def fields_of(values, place, path=""):
    """Name each field of JSON by its path; one that is None or empty ends in ``?``, for it may hide further fields."""
    if isinstance(values, dict) and values:
        found = [fields_of(value, place, f"{path}.{name}" if path else name) for name, value in values.items()]
    elif isinstance(values, list) and any(isinstance(value, dict | list) for value in values):
        found = [fields_of(value, place, f"{path}[]") for value in values]
    else:
        hidden = values is None or values in ([], {})
        return {f"{place}: {path.removesuffix('[]')}{'?' * hidden}"}
    return set().union(*found)


def kind_of_comparison(one):
    """Tell apart what a comparison of results.json rests on."""
    if one["replicates"] is not None:
        return "replicates"
    what = {"auc": "AUC", "inference_accuracy_at_equal_test_accuracy": "curves"}.get(one["quantity"], "accuracy")
    return f"{what}, {'seeds' if one['seeds'] + one['apart'] > 1 else 'one seed'}"


def of_results(values):
    found = set()
    for name in ("comparisons", "at_equal_accuracy", "audits"):
        for one in values.pop(name):
            found |= fields_of(one, f"results.json, {kind_of_comparison(one)}")
            found |= sentences(one["verdict"][:1].upper() + one["verdict"][1:] + ".")
    return found | fields_of(values, "results.json")


def of_audit_result(values):
    """An audit's own JSON, also within that of a run."""
    values = {**values, "curves": dict(zip(["<attack>"], values["curves"].values(), strict=False))}
    found = sentences(values["verdict"]["sentence"])
    for warning in values["warnings"]:
        found |= sentences(f"Warning: {warning}.")
    return found | fields_of(values, "audit")


def of_audits(values):
    found = set()
    for row in values["rows"]:
        found |= of_audit_result(row.pop("result"))
    return found | fields_of(values, "audit.json")


def of_csv(text, place):
    return {f"{place}: {kind(name)}" for name in next(csv.reader(io.StringIO(text)))}


def of_table(table):
    """Name columns, one without a name after the one before it, and rows by what their first column calls them."""
    headers = [kind(str(column.header)) for column in table.columns]
    assert all(headers[:1]), "a table's first column names it"
    named = [header or f"after {headers[place - 1]}" for place, header in enumerate(headers)]
    rows = {f"table {named[0]}: row {kind(str(cell))}" for cell in table.columns[0].cells}
    return {f"table {named[0]}: {name}" for name in named} | rows


def of_printed(one):
    """Name what rich is given to print."""
    if isinstance(one, Group):
        return set().union(*map(of_printed, one.renderables)) if one.renderables else set()
    if isinstance(one, Fitting):  # in any width
        left_out = (sentences(f"Left out at this width: {names}.") for _, names in one.tables if names)
        return set().union(*(of_table(table) for table, _ in one.tables), *left_out)
    if isinstance(one, Continued):
        return of_table(one.draw(0, one.columns))
    if isinstance(one, Prose):
        return sentences(one.text)
    if isinstance(one, ByWidth):
        return set().union(*(sentences(one.text(width)) for width in (60, 80, 200)))
    if isinstance(one, Table):
        return of_table(one)
    if isinstance(one, str | Text):
        return sentences(str(one))
    raise TypeError(f"got {type(one)}; tell here what it prints")


class Recorder(Console):
    """Keeps what it is given to print."""

    def __init__(self):
        super().__init__(file=io.StringIO(), width=200)
        self.printed = []

    def print(self, *objects, **_):
        self.printed += objects


class _Page(HTMLParser):
    """Collects tables, titles and texts of a page, and what stands beside pictures and cells."""

    KEPT = ("title", "h1", "h2", "h3", "p", "li", "summary", "caption", "th")

    def __init__(self):
        super().__init__()
        self.captions, self.columns, self.texts, self.shapes = [], [], [], []
        self.inside, self.scope, self.held = None, None, ""

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.texts += [attributes[name] for name in ("alt", "title") if attributes.get(name)]
        if tag == "table":
            self.captions.append("")
            self.columns.append([])
            self.shapes.append([])
        if tag == "tr":
            self.shapes[-1].append(0)
        if tag in ("th", "td"):
            self.shapes[-1][-1] += 1
        if tag in self.KEPT and (self.inside is None or tag == "p"):
            self.inside, self.scope, self.held = tag, attributes.get("scope"), ""

    def handle_endtag(self, tag):
        if tag != self.inside:
            return
        if tag == "caption":
            self.captions[-1] = self.held
        elif tag == "th":
            assert self.scope in ("col", "row"), "a header says whose it is, for those who hear the page"
            self.columns[-1] += [self.held] if self.scope == "col" else []
        else:
            self.texts.append(self.held)
        self.inside = None

    def handle_data(self, data):
        if self.inside:
            self.held += data


def of_page(text):
    """Name tables, their columns and the sentences of a page; every cell has to stand under a header.

    Tables of facts, a name and a value to a row, have no columns; what they list is what is asked for, as in `INPUTS`.
    """
    page, found = _Page(), set()
    page.feed(text)
    for caption, columns, cells in zip(page.captions, page.columns, page.shapes, strict=True):
        assert set(cells) == {len(columns) or 2}, f"{caption}: {cells} cells under {columns}"
        found |= sentences(caption, "page")
        found |= {f"page, table {kind(columns[0])}: {kind(name)}" for name in columns}
    return found.union(*(sentences(one, "page") for one in page.texts if one.strip()))


def of_shown(values):
    """What charts of trainings and weights are drawn from; some of it under the names of checkpoints."""
    return fields_of(values | {name: list(values[name].values()) for name in ("losses", "environments")}, "shown.json")


INPUTS = ("recipe.json", "plan.json")
"""Files of a run that say what was asked for."""
OF_FILES = {
    "results.json": lambda text: of_results(json.loads(text)),
    "audit.json": lambda text: of_audits(json.loads(text)),
    "replicates.json": lambda text: fields_of(json.loads(text), "replicates.json"),
    "shown.json": lambda text: of_shown(json.loads(text)),
    "audit.html": of_page,
    "report.html": of_page,
}


def of_folder(folder):
    """Name all that stands in the files of a run's folder, pictures apart."""
    found = set()
    for path in sorted(path for path in folder.iterdir() if path.is_file() and path.name not in INPUTS):
        if path.suffix == ".csv":
            found |= of_csv(path.read_text(), path.name)
        elif path.suffix != ".png" and path.name != "lock":
            found |= OF_FILES[path.name](path.read_text())
    return found


def of_audit(result, folder):
    """Name what one audit prints, in all forms."""
    from redense.auditing.saved import write_audit
    from redense.auditing.table import audit_table

    write_audit(result, folder, [("the model", "mine:build"), ("members from", "members.npz")])
    files = of_audit_result(json.loads((folder / "audit.json").read_text()))
    files |= of_csv((folder / "audit.csv").read_text(), "audit.csv") | of_page((folder / "audit.html").read_text())
    return files | of_printed(audit_table(result))


SPEAKING = ("auditing", "experiment/report", "experiment/wording.py", "experiment/auditor.py", "terminal.py")
"""Where sentences about members, and about which phase is better, are made."""


def makers(root):
    """Name the functions that make sentences, in `SPEAKING` below the package's folder: ``auditing.verdict:judge``.

    A sentence is a string, also one with gaps, of four words or more; docstrings and what is raised are left out.
    """
    found = set()
    for path in (path for name in SPEAKING for path in _modules(root / name)):
        module = ".".join(path.relative_to(root).with_suffix("").parts)
        for node in ast.parse(path.read_text()).body:
            parts = node.body if isinstance(node, ast.ClassDef) else [node]
            prefix = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
            found |= {f"made by: {module}:{prefix}{getattr(part, 'name', 'module')}" for part in parts if _speaks(part)}
    return found


def _modules(path):
    return [path] if path.suffix == ".py" else path.rglob("*.py")


def _speaks(node):
    """Tell whether a statement holds a sentence that is no docstring and is not raised."""
    if isinstance(node, ast.Raise | ast.Assert):
        return False
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return False
    if isinstance(node, ast.Constant | ast.JoinedStr):
        parts = node.values if isinstance(node, ast.JoinedStr) else [node]
        text = " ".join(part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str))
        return len(re.findall(r"[a-z]{2,}", text)) >= 4
    return any(map(_speaks, ast.iter_child_nodes(node)))
