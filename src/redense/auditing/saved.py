"""Audits of what lies in files: a saved model with examples, or nothing but signals."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from redense.auditing.audit import audit, audit_evidence
from redense.auditing.evidence import Evidence, References
from redense.auditing.result import AuditResult
from redense.errors import DataError, FolderError, ModelError
from redense.files import write_whole
from redense.models.registry import MODELS, build
from redense.signals import Signals, image_queries
from redense.user_code import is_object_name, load_object

Arrays = dict[str, Any]
SIGNALS = ("logits", "phi", "loss")


def audit_files(
    model: str,
    weights: Path,
    members: Path,
    nonmembers: Path,
    *,
    references: Sequence[Path] = (),
    included: Path | None = None,
    classes: int | None = None,
    **options: Any,
) -> AuditResult:
    """Audit a saved model; `options` are those of `redense.audit`.

    Args:
        model: ``package.module:factory``, called with `input_shape` and `num_classes` if it takes them, or the name of
            a model of redense.
        weights: its state_dict, safetensors.
        members: NPZ with ``x`` and ``y``; `nonmembers` likewise.
        references: the state_dicts of reference models.
        included: NPZ with ``included``, bool [references, members + nonmembers].
        classes: number of classes, by default one more than the largest label.
    """
    sides = [_examples(path) for path in (members, nonmembers)]
    shape = tuple(sides[0][0].shape[1:])
    known = classes if classes is not None else 1 + max(int(y.max()) for _, y in sides)
    target, *others = (_load(model, path, shape, known) for path in (weights, *references))
    return audit(
        target,
        members=sides[0],
        nonmembers=sides[1],
        references=others,
        included=_read(included, ("included",))["included"] if included else None,
        queries=image_queries() if len(shape) == 3 else (),
        **options,
    )


def audit_signals_file(path: Path, **options: Any) -> AuditResult:
    """Audit from an NPZ of signals alone; `options` are those of `redense.auditing.audit.audit_evidence`.

    It holds ``members`` bool [n] and one of ``logits`` [n, classes] with ``labels`` [n], ``phi`` (scaled logits) [n] or
    ``loss`` [n]; for reference models the same with ``reference_`` before its name, [m, ...], and ``included`` bool
    [m, n]. ``labels`` may come with any.
    """
    arrays = _read(path, ("members",))
    kind = next((name for name in SIGNALS if name in arrays), None)
    if kind is None:
        raise DataError(f"{path}: holds {', '.join(arrays)}; expected one of {', '.join(SIGNALS)}")
    if kind == "logits" and "labels" not in arrays:
        raise DataError(f"{path}: holds logits but no labels; expected both")
    target = arrays[kind]
    labels = arrays.get("labels", np.zeros(len(target), dtype=np.int64))
    if labels.shape != target.shape[:1] or labels.dtype.kind not in "iu":
        raise DataError(f"{path}: labels are {labels.dtype} {labels.shape}; expected {len(target)} integers")
    references = None
    if f"reference_{kind}" in arrays:
        if "included" not in arrays:
            raise DataError(f"{path}: holds reference models but no included; expected bool [models, examples]")
        signals = [_signals(kind, values, labels, path) for values in arrays[f"reference_{kind}"]]
        references = References(Signals.stack(signals), arrays["included"])
    evidence = Evidence(
        _signals(kind, target, labels, path),
        labels.astype(np.int64),
        arrays["members"],
        references=references,
        phi_only=kind != "logits",
    )
    return audit_evidence(evidence, **options)


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
    return Signals.of_logits(values, labels)


def _examples(path: Path) -> tuple[Any, Any]:
    arrays = _read(path, ("x", "y"))
    x, y = arrays["x"], arrays["y"]
    if y.ndim != 1 or y.dtype.kind not in "iu" or len(y) != len(x) or len(y) == 0:
        raise DataError(f"{path}: y is {y.dtype} {y.shape} and x {x.shape}; expected one integer class an example")
    return x[:, None] if x.ndim == 3 else x, y


def _read(path: Path, names: Sequence[str]) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot be read as NPZ ({error}); expected arrays without objects") from None
    missing = [name for name in names if name not in arrays]
    if missing:
        raise DataError(f"{path}: holds {', '.join(arrays) or 'nothing'}; expected {', '.join(missing)}, too")
    return arrays


def _load(model: str, weights: Path, shape: tuple[int, ...], classes: int) -> nn.Module:
    """Build a model and load its weights."""
    built = _build(model, shape, classes)
    try:
        state = load_file(weights)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{weights}: cannot be read as safetensors ({error}); expected a state_dict") from None
    try:
        built.load_state_dict(state)
    except RuntimeError as error:
        first = " ".join(str(error).split())[:300]
        raise ModelError(f"{weights}: does not fit {model}: {first}; name the model it was saved from") from None
    return built


def _build(model: str, shape: tuple[int, ...], classes: int) -> nn.Module:
    if model in MODELS or not is_object_name(model):
        return build(model, shape, classes)
    factory = load_object(model, ModelError, "model")
    if inspect.signature(factory).parameters:
        return build(model, shape, classes)
    try:
        built = factory()
    except Exception as error:
        raise ModelError(f"model {model}: the factory raised {type(error).__name__}: {error}") from error
    if not isinstance(built, nn.Module):
        raise ModelError(f"model {model}: the factory returned {type(built).__name__}; expected a torch.nn.Module")
    return built


def write_audit(result: AuditResult, folder: Path) -> list[str]:
    """Write audit.json, audit.csv, audit.png and audit.html into a folder, made if need be; return what was written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FolderError(f"--out {folder}: cannot be made ({error.strerror}); choose another folder") from None
    write_whole(folder / "audit.json", result.to_json())
    write_whole(folder / "audit.csv", result.to_csv())
    result.save_figure(folder / "audit.png")
    result.to_html(folder / "audit.html")
    return [str(folder / "audit.json"), "audit.csv", "audit.png", "audit.html"]
