"""Audits of what lies in files: a saved model with examples, or nothing but signals."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from redense.auditing.asking import answer, the_first
from redense.auditing.audit import audit, audit_evidence
from redense.auditing.evidence import Evidence, References
from redense.auditing.outputs import LogitsSeen
from redense.auditing.page import audit_html
from redense.auditing.result import AuditResult
from redense.auditing.verdict import FEWEST
from redense.data.examples import batches, int64, rereadable
from redense.data.layout import Layout, images
from redense.data.loading import sides
from redense.data.npz import held, read_npz
from redense.errors import DataError, FolderError
from redense.files.writing import check_inside, make_folder, png_bytes, write_whole
from redense.models.evaluation import evaluating
from redense.models.registry import build, load_weights
from redense.signals import Signals, image_queries

Values = npt.NDArray[Any]

SIGNALS = ("logits", "phi", "loss")
FILES = ("audit.json", "audit.csv", "audit.png", "audit.html")
"""What `write_audit` writes."""
RUN = "recipe.json"
"""What every run's folder holds."""
BATCH = 500
NUMBERS = "biuf"
"""NumPy's kinds of real numbers."""


def audit_files(
    model: str,
    weights: Path,
    members: Any,
    nonmembers: Any,
    *,
    references: Sequence[Path] = (),
    included: Path | None = None,
    classes: int | None = None,
    data_root: Path | None = None,
    layout: Layout = "auto",
    **options: Any,
) -> AuditResult:
    """Audit a saved model; `options` are those of `redense.audit`.

    Args:
        model: ``package.module:factory``, called with those of `input_shape` and `num_classes` that it takes, or the
            name of a model of redense.
        weights: its state_dict, safetensors.
        members: FILE.npz, a folder of class folders, ``package.module:function``, a data set of redense, or what
            `redense.audit` takes; `nonmembers` likewise.
        references: the state_dicts of reference models.
        included: NPZ with ``included``, bool [references, members + nonmembers].
        classes: number of classes, by default that of the class folders or one more than the largest label.
        data_root: a folder in which to look for named data first.
        layout: as in `redense.data.load`.
    """
    both = sides(members, nonmembers, root=data_root, layout=layout)
    opened = dict(zip(("members", "nonmembers"), both, strict=True))
    examples = {what: rereadable(side, what, BATCH) for what, side in opened.items()}
    first, _ = next(batches(examples["members"], "members", BATCH))
    shape, known = _shape(first), _classes(examples) if classes is None else classes

    def loaded(path: Path) -> nn.Module:
        built = build(model, shape, known)
        load_weights(model, built, path)
        return built

    target = loaded(weights)
    with evaluating(target):
        asked = answer(target, first, options.get("device")).inputs
    return audit(
        target,
        members=examples["members"],
        nonmembers=examples["nonmembers"],
        references=[loaded(path) for path in references],
        included=read_npz(included, "included", ("included",))["included"] if included else None,
        queries=image_queries() if getattr(asked, "ndim", 0) == 4 else (),
        **options,
    )


def _shape(inputs: Any) -> tuple[int, ...]:
    """Tell the shape of one example as a model in training would see it; () of mappings of several arrays."""
    if isinstance(inputs, Mapping) and len(inputs) > 1:
        return ()
    return tuple(images(the_first(inputs)).shape[1:])


def _classes(examples: dict[str, Any]) -> int:
    """Tell the number of classes: that of the class folders, or one more than the largest label."""
    if all(hasattr(side, "classes") for side in examples.values()):
        return len(examples["members"].classes)
    return 1 + max(int(labels.max()) for what, side in examples.items() for _, labels in batches(side, what, BATCH))


def audit_signals_file(path: Path, **options: Any) -> AuditResult:
    """Audit from an NPZ of signals alone; `options` are those of `redense.auditing.audit.audit_evidence`.

    It holds ``members`` bool [n] and one of ``logits`` [n, classes] with ``labels`` [n], ``phi`` (scaled logits) [n] or
    ``loss`` [n]; for reference models the same with ``reference_`` before its name, [m, ...], and ``included`` bool
    [m, n]. ``labels`` may come with any, and ``names`` [n], what reports call the examples.
    """
    arrays = read_npz(path, "signals", ("members",))
    kind = next((name for name in SIGNALS if name in arrays), None)
    if kind is None:
        raise DataError(f"{path}: holds {held(arrays)}; expected one of {', '.join(SIGNALS)}")
    of_examples = ("members", kind, "labels", f"reference_{kind}", "included", "names")
    single = [name for name in of_examples if _is_single(arrays, name)]
    if single:
        raise DataError(f"{path}: {', '.join(single)} is a single value; expected one an example")
    for name in (kind, f"reference_{kind}"):
        if name in arrays and (arrays[name].dtype.kind not in NUMBERS or not arrays[name].size):
            raise DataError(
                f"{path}: {name} is an array of {arrays[name].dtype} {arrays[name].shape}; expected numbers, of one "
                "example at least"
            )
    if kind == "logits" and "labels" not in arrays:
        raise DataError(f"{path}: holds logits but no labels; expected both")
    target = arrays[kind]
    labels = arrays.get("labels", np.zeros(len(target), dtype=np.int64))
    if labels.shape != target.shape[:1] or labels.dtype.kind not in "iu":
        raise DataError(f"{path}: labels are {labels.dtype} {labels.shape}; expected {len(target)} integers")
    references, asked = None, np.empty((0, *target.shape))
    if f"reference_{kind}" in arrays:
        if "included" not in arrays:
            raise DataError(f"{path}: holds reference models but no included; expected bool [models, examples]")
        asked = arrays[f"reference_{kind}"]
        if asked.shape[1:] != target.shape:
            raise DataError(
                f"{path}: reference_{kind} is {asked.shape}, {kind} {target.shape}; expected [models, "
                f"{', '.join(map(str, target.shape))}]"
            )
        signals = [_signals(kind, values, labels, path) for values in asked]
        references = References(Signals.stack(signals), arrays["included"])
    evidence = Evidence(
        _signals(kind, target, labels, path),
        int64(labels, str(path)),
        arrays["members"],
        references=references,
        phi_only=kind != "logits",
        names=arrays["names"].tolist() if "names" in arrays else None,
    )
    return audit_evidence(evidence, warnings=_noticed(kind, target, asked, evidence), **options)


def _noticed(kind: str, target: Values, references: Values, evidence: Evidence) -> list[str]:
    """Warn of logits that are none, of classes in another order, and of confidences in place of phi."""
    found = []
    if kind == "phi" and len(target) >= FEWEST and np.all((target >= 0) & (target <= 1)):
        found.append(
            "phi looks like probabilities (always from 0 to 1), and was taken as scaled logits; give "
            "log p - log(1 - p) of the true class"
        )
    if kind == "logits":
        for side, what in ((evidence.members, "members"), (~evidence.members, "nonmembers")):
            if not side.any():  # which the audit refuses
                continue
            seen = LogitsSeen(what)
            logits, *others = (torch.from_numpy(one[side].astype(np.float64)) for one in (target, *references))
            seen.add(logits, evidence.labels[side], others)
            found += seen.warnings()
    return found


def _is_single(arrays: dict[str, Any], name: str) -> bool:
    return name in arrays and arrays[name].ndim == 0


def _signals(kind: str, values: Any, labels: Any, path: Path) -> Signals:
    if kind == "phi":
        return Signals.of_phi(values)
    if kind == "loss":
        if np.any(values < 0):
            raise DataError(f"{path}: {int(np.sum(values < 0))} losses are below 0; expected cross-entropies")
        return Signals.of_loss(values)
    if values.ndim != 2 or len(values) != len(labels) or labels.min() < 0 or labels.max() >= values.shape[1]:
        raise DataError(
            f"{path}: logits {values.shape} and labels from {labels.min()} to {labels.max()} do not fit; expected "
            f"[{len(labels)}, classes] and labels from 0 to classes - 1"
        )
    return Signals.of_logits(values.astype(np.float64), labels)  # whatever its byte order and width


def check_targets(folder: Path) -> None:
    """Raise `FolderError` for a run's folder, which has audits of its own under the names that `write_audit` writes.

    Likewise where one of these names is a link out of the folder, a pipe or a device.
    """
    if os.path.lexists(folder / RUN):
        raise FolderError(
            f"--out: got {folder}, a run's folder (it holds {RUN}), whose audits would be replaced; expected another"
        )
    for name in FILES if os.path.isdir(folder) else ():
        check_inside(folder, folder / name)


def write_audit(result: AuditResult, folder: Path, sources: Sequence[tuple[str, str]] = ()) -> list[str]:
    """Write audit.json, audit.csv, audit.png and audit.html into a folder, made if need be; return what was written.

    The page names the `sources`: (what it is, its name) of the model and of the files. The folder may come from
    somebody else: see `check_targets`.
    """
    make_folder(folder, f"--out {folder}")
    check_targets(folder)
    contents: tuple[str | bytes, ...] = (
        result.to_json(),
        result.to_csv(),
        png_bytes(result.figure()),
        audit_html([("", result)], "Privacy audit", sources),
    )
    for name, content in zip(FILES, contents, strict=True):
        write_whole(folder / name, content, inside=folder)
    return [str(folder / FILES[0]), *FILES[1:]]
