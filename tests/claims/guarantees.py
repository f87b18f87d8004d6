"""Repeated experiments for each guarantee of a printed interval, and the files in which their results are kept."""

import ast
import csv
import hashlib
import inspect
import io
import sys
import textwrap
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from claims.files import locked
from claims.worlds import true_auc, true_best, true_tpr
from scipy.special import ndtr
from scipy.stats import binom

from redense.attacks.threshold import score_by_other_half
from redense.auditing.attack_result import FPRS, judged, rate_at
from redense.auditing.evidence import Evidence
from redense.auditing.standing_out import by_class
from redense.metrics import clopper_pearson
from redense.metrics.accuracy import balanced_accuracy_interval_of
from redense.metrics.intervals import auc_interval_of, split_halves
from redense.metrics.roc import Halves
from redense.signals import Signals

FOLDER = Path(__file__).parents[2] / "docs/results/guarantees"
FEWEST = 0.94
"""The least share of repeated experiments in which an interval has to hold."""
CLASSES = 5
BEHIND = {
    "accuracy": (judged, score_by_other_half, Halves),
    "auc": (auc_interval_of, Halves),
    "classes": (by_class,),
    "fpr": (rate_at, Halves),
    "oracle": (balanced_accuracy_interval_of, Halves),
    "tpr": (rate_at, Halves),
}
"""Guarantees that are measured cell by cell, a file each, and what they test."""
GRIDS = tuple(BEHIND)
CLASS_CELLS = 8


@dataclass(frozen=True)
class Row:
    """In how many of `repeats` experiments an interval held the truth, with Clopper-Pearson's interval of that share.

    `at` tells settings of one guarantee apart: the false-positive rate, or how a threshold was learnt.
    """

    guarantee: str
    at: str
    scores: str
    shift: float
    members: int
    nonmembers: int
    repeats: int
    hits: int
    low: float
    high: float
    mean_width: float

    @property
    def coverage(self):
        return self.hits / self.repeats


def fingerprint(guarantee):
    """Return a hash of the code, docstrings apart, that the results of one guarantee depend on."""
    parts = sorted(code_behind(*BEHIND[guarantee]).items())
    return hashlib.sha256("\n".join(f"{name}: {text}" for name, text in parts).encode()).hexdigest()[:16]


def code_behind(*starts):
    """Return the code of these functions and classes, and of those of redense that they name, by name."""
    found, waiting = {}, list(starts)
    while waiting:
        part = inspect.unwrap(waiting.pop())
        if f"{part.__module__}.{part.__qualname__}" in found:
            continue
        tree = _without_docstrings(ast.parse(textwrap.dedent(inspect.getsource(part))))
        found[f"{part.__module__}.{part.__qualname__}"] = ast.unparse(tree)
        names = vars(sys.modules[part.__module__])
        for name in {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} & names.keys():
            if isinstance(names[name], int | float | str | tuple):
                found[f"{part.__module__}.{name}"] = repr(names[name])
            elif _is_ours(names[name]):
                waiting.append(names[name])
    return found


def _without_docstrings(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def _is_ours(value):
    """Tell whether results depend on its code: how arguments are checked, and what errors say, changes none."""
    module = getattr(value, "__module__", None) or ""
    other = ("redense.arguments", "redense.errors")
    return hasattr(value, "__qualname__") and module.startswith("redense.") and not module.startswith(other)


def stamps(folder=FOLDER):
    """Return the fingerprint of the code that made each guarantee's file."""
    stamp = folder / "code.txt"
    lines = stamp.read_text(encoding="utf-8").splitlines() if stamp.exists() else []
    return dict(line.split() for line in lines)


def is_current(guarantee, folder=FOLDER):
    """Tell whether a guarantee's file was made by this version of the code."""
    return stamps(folder).get(guarantee) == fingerprint(guarantee)


def forget_results_of_other_code(folder=FOLDER):
    """Delete files that another version of the code behind them has made: those of this one are gone on with."""
    folder.mkdir(parents=True, exist_ok=True)
    for guarantee in GRIDS:
        if not is_current(guarantee, folder):
            (folder / f"{guarantee}.csv").unlink(missing_ok=True)
    lines = [f"{guarantee} {fingerprint(guarantee)}\n" for guarantee in GRIDS]
    (folder / "code.txt").write_text("".join(lines), encoding="utf-8")


def read(guarantee, folder=FOLDER):
    """Return the rows of one guarantee's file: none where there is no file."""
    path = folder / f"{guarantee}.csv"
    if not path.exists():
        return []
    kinds = {field.name: field.type for field in fields(Row)}
    lines = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))
    return [Row(guarantee, **{name: kinds[name](value) for name, value in line.items()}) for line in lines]


def read_all(folder=FOLDER):
    """Return the rows of all guarantees."""
    return [row for guarantee in GRIDS for row in read(guarantee, folder)]


def write(rows, folder=FOLDER):
    """Put rows into their guarantees' files, in place of those of the same cells."""
    with locked(folder):
        _write(rows, folder)


def _write(rows, folder):
    for guarantee in {row.guarantee for row in rows}:
        kept = {_cell(row): row for row in [*read(guarantee, folder), *rows] if row.guarantee == guarantee}
        text = io.StringIO()
        names = [field.name for field in fields(Row) if field.name != "guarantee"]
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        for row in sorted(kept.values(), key=_cell):
            writer.writerow({name: value for name, value in asdict(row).items() if name != "guarantee"})
        (folder / f"{guarantee}.csv").write_text(text.getvalue(), encoding="utf-8")


def _cell(row):
    return (row.guarantee, row.at, row.scores, row.shift, row.members, row.nonmembers)


def expected(nonmembers):
    """Return the guarantees that a cell with so many non-members has: a rate is shown from 100 of them on."""
    return {"auc", "oracle", "accuracy"} | ({"tpr", "fpr"} if nonmembers >= 100 else set())


class Count:
    """Counts how often each of several intervals holds, and how wide they are."""

    def __init__(self):
        self.hits, self.width, self.repeats = {}, {}, 0

    def add(self, guarantee, at, interval, truth):
        low, high = interval
        key = guarantee, at
        self.hits[key] = self.hits.get(key, 0) + bool(low - 1e-12 <= truth <= high + 1e-12)
        self.width[key] = self.width.get(key, 0.0) + high - low

    def rows(self, scores, shift, members, nonmembers):
        for (guarantee, at), hits in self.hits.items():
            low, high = (round(end, 5) for end in clopper_pearson(hits, self.repeats))
            width = round(self.width[guarantee, at] / self.repeats, 6)
            yield Row(guarantee, at, scores, shift, members, nonmembers, self.repeats, hits, low, high, width)


def experiments(world, members, nonmembers, repeats, confidence=0.95, seed=0, only=GRIDS):
    """Draw scores anew so often and hold what an audit prints of them against the truth; return the rows.

    The same scores are drawn whichever guarantees are asked for (`only`).
    Guarantees: `auc`; `oracle`, the best balanced accuracy; `accuracy` of thresholds fixed beforehand, cross-fitted,
    and cross-fitted in each of `CLASSES` classes; `tpr` and `fpr` at the rates that are printed for so many others.
    """
    count = Count()
    is_member = np.arange(members + nonmembers) < members
    first = split_halves(is_member)
    generator = np.random.default_rng([seed, members, nonmembers, *world.settings])
    for _ in range(repeats):
        count.repeats += 1
        scores = world.draw(generator, members, nonmembers)
        halves = Halves.of(scores, is_member, first)
        labels = generator.integers(0, CLASSES, len(scores))
        if "auc" in only:
            count.add("auc", "", auc_interval_of(halves.whole, confidence), true_auc(world))
        if "oracle" in only:
            count.add("oracle", "", balanced_accuracy_interval_of(halves, confidence), true_best(world))
        if "accuracy" in only:
            _add_accuracies(count, world, scores, is_member, halves, confidence, labels)
        for rate in FPRS if "tpr" in only or "fpr" in only else ():
            point = rate_at(halves.whole, rate, confidence).point
            if point is not None:
                count.add("tpr", f"{100 * rate:g}%", point.tpr_interval, true_tpr(world, rate))
                count.add("fpr", f"{100 * rate:g}%", point.fpr_interval, world.rates(point.threshold)[1])
    return [row for row in count.rows(world.name, world.shift, members, nonmembers) if row.guarantee in only]


def _add_accuracies(count, world, scores, is_member, halves, confidence, labels):
    """Add the accuracies of learnt thresholds: what they are about is what these very thresholds reach."""
    fixed = world.best_threshold
    _, interval = judged(halves, is_member, scores >= fixed, confidence)
    count.add("accuracy", "fixed", interval, world.accuracy(fixed))
    _, interval = judged(halves, is_member, None, confidence)
    learnt = [half.thresholds[half.best] for half in (halves.first, halves.second)]
    count.add("accuracy", "cross-fitted", interval, world.accuracy(learnt).mean())
    per_class = score_by_other_half(scores, is_member, labels, per_class=True)
    _, interval = judged(halves, is_member, per_class >= 0, confidence)
    # every example shows the threshold that its class has in its half; halves and classes weigh alike
    half_and_class = labels + CLASSES * split_halves(is_member)
    _, shown = np.unique(half_and_class, return_index=True)
    count.add("accuracy", "per class", interval, world.accuracy(scores[shown] - per_class[shown]).mean())


def class_experiments(classes, each, shift, repeats, confidence=0.95, seed=0):
    """Draw so many classes with so many members and non-members each, so often; count when all intervals hold.

    Classes leak more and more, the last one by `shift`. All hold, so that of the highest class holds. The width is the
    mean over the classes. In a row, `scores` says how many classes there are.
    """
    count = Count()
    shifts = np.linspace(0.0, shift, classes)
    truths = ndtr(shifts / np.sqrt(2))
    labels = np.repeat(np.arange(classes), 2 * each)
    is_member = np.tile(np.arange(2 * each) < each, classes)
    evidence = Evidence(Signals.of_phi(np.zeros(len(labels))), labels, is_member, phi_only=True)
    generator = np.random.default_rng([seed, classes, each, int(10 * shift)])
    for _ in range(repeats):
        count.repeats += 1
        scores = generator.normal(size=len(labels)) + shifts[labels] * is_member
        ends = np.array([risk.auc_interval for risk in by_class(scores, evidence, confidence)])
        held = bool(((ends[:, 0] <= truths) & (truths <= ends[:, 1])).all())
        width = float((ends[:, 1] - ends[:, 0]).mean())
        count.add("classes", "all", (0.0, width) if held else (2.0, 2.0 + width), 0.0)
    return list(count.rows(f"{classes} classes", shift, each, each))


def bound(repeats, coverage=0.88, power=0.9):
    """Return the fewest hits that pass: a true `coverage` so low fails with a probability of at least `power`."""
    return int(binom.ppf(power, repeats, coverage)) + 1


def assert_holds(row):
    """Fail unless the row's interval held often enough in few repeats: see `bound`."""
    assert row.hits >= bound(row.repeats), f"held in {row.hits} of {row.repeats}, {bound(row.repeats)} needed: {row}"
