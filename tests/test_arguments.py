"""Every argument of every public callable, given what it is not: a RedenseError of one line, or a right result.

What is called, and with what it works, stands in `CALLS`; a public callable that is missing there, or one of its
parameters that is never given, fails. Where one call cannot have them all, more bear the same name and, after a comma,
what is different. From the value
that works follows what must be refused: a string where a number stands, NaN, tensors without values, and so on.
Whatever else is accepted must give what a call gives: a result of the same type, without NaN.
"""

import inspect
import io
import math
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

import redense
from redense.auditing.alike import without_inputs
from redense.auditing.evidence import NoisyAnswers, SampledAnswers
from redense.dsd.loop import Loop
from redense.errors import RedenseError
from redense.phases import dense

HUGE = 2**62
SCORES = np.linspace(0, 1, 40)
MEMBERS = np.arange(40) % 3 > 0
LABELS = np.arange(40) % 2
REFERENCES = np.stack([SCORES, SCORES[::-1], SCORES * 0.5, SCORES * 0.25])
INCLUDED = np.stack([LABELS == 0, LABELS == 1, LABELS == 0, LABELS == 1])
COUNTS = {"true_positives": 30, "members": 50, "false_positives": 10, "nonmembers": 50}
STATE = {"w": torch.eye(4), "b": torch.zeros(4)}


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))


def signals():
    return redense.Signals.of_phi(SCORES)


def evidence(**more):
    return {"target": signals(), "labels": LABELS, "members": MEMBERS, **more}


def references():
    return redense.References(redense.Signals.stack([signals() for _ in REFERENCES]), INCLUDED)


def noisy_answers():
    return NoisyAnswers(np.stack([SCORES, 1 - SCORES], 1), np.ones((40, 2)))


def sampled_answers():
    return SampledAnswers(np.arange(40) % 4, np.arange(40), noisy_answers())


def examples(start):
    x = torch.linspace(0, 1, 160).reshape(40, 4) + start
    return x, torch.arange(40) % 2


def images(start):
    x, y = examples(start)
    return x.reshape(40, 1, 2, 2), y


def of_images():
    return nn.Sequential(nn.Flatten(), net())


def row():
    return redense.Row(redense.Phase("dense", 1, 1.0, None, 0), 0.0, 0, 0.9, 0.8, 0.6, 0.55, (0.5, 0.7), 1.0, "key")


def results():
    return redense.Results(redense.Recipe(epochs=(1, 1, 1)), 10, 10, (row(),))


def tokens(n):
    return np.tile(np.linspace(-1, 0, 12).reshape(4, 3), (n, 1, 1)) + np.arange(n)[:, None, None] / n


def audit_result():
    return redense.audit_evidence(redense.Evidence(**evidence(phi_only=True)))


def optimizer(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


def with_model(**more):
    model = net()
    return {"model": model, "optimizer": optimizer(model), **more}


def dsd():
    return redense.DSD(**with_model(sparsity=0.5, epochs=[1, 1, 1], verbose=False))


class Worked:
    """Where files are read and written: a folder of its own with a run, weights and data."""

    def __init__(self, folder, run):
        self.folder, self.run = folder, run
        redense.save_sparse(STATE, folder / "sparse")
        np.savez(folder / "data.npz", x=examples(0)[0].numpy(), y=LABELS)


def curve():
    return redense.metrics.roc(SCORES, MEMBERS)


SCORED = {"scores": SCORES, "members": MEMBERS}
ATTACKED = {"target": SCORES, "references": REFERENCES, "included": INCLUDED}
MASKS = {"0.weight": torch.eye(4).bool()}
MATRIX = torch.arange(16.0).reshape(4, 4)
PATTERN = {"check": {"name": "w", "shape": (4, 4), "sparsity": 0.5}, "units": {"shape": (4, 4)}}
PATTERN |= {"importance": {"weights": MATRIX}}
FEATURES = {"references": REFERENCES[:, :, None], "included": INCLUDED, "labels": LABELS}
BY_REFERENCES = {**ATTACKED, "labels": LABELS, "per_class": False}


@dataclass
class Fields:
    """A class that is made with the values of one of its instances."""

    kind: type
    made: object

    def __call__(self, _):
        return {name: getattr(self.made, name) for name in inspect.signature(self.kind).parameters}


CALLS = {
    "AuditSettings": lambda _: {
        "attacks": ("lira",),
        "confidence": 0.9,
        "delta": 0.1,
        "variance": "shared",
        "randomized": True,
    },
    "AuditResult.class_name": lambda _: {"self": audit_result(), "label": 1},
    "AuditResult.attack": lambda _: {"self": audit_result(), "name": "confidence"},
    "AuditResult.from_json": lambda _: {"text": audit_result().to_json()},
    "AuditResult.from_mapping": lambda _: {"values": audit_result().to_mapping()},
    "AuditResult.save_figure": lambda at: {"self": audit_result(), "path": at.folder / "figure.png"},
    "AuditResult.to_html": lambda at: {"self": audit_result(), "path": at.folder / "page.html", "title": "Of mine"},
    "AuditResult.to_json": lambda at: {"self": audit_result(), "path": at.folder / "audit.json"},
    "AuditResult.to_csv": lambda at: {"self": audit_result(), "path": at.folder / "audit.csv"},
    "DSD": lambda _: with_model(
        sparsity=0.5,
        epochs=[1, 1, 1],
        rounds=1,
        rates=[1.0, 1.0, 0.1],
        moments="reset",
        schedule=redense.schedules.OneShot(),
        on_phase_end=print,
        verbose=False,
        exclude=["1"],
        include=["1.weight"],
        preset="default",
        distribution="uniform",
        saliency=redense.saliency.magnitude,
        pattern=redense.patterns.Block(2, 2),
    ),
    "DSD, in steps": lambda _: with_model(sparsity=0.5, steps=[1, 1, 1], verbose=False),
    "DSD, of phases": lambda _: with_model(
        phases=[dense(1), redense.phases.sparse(1, 0.5)], unit="steps", verbose=False
    ),
    "DSD.advance_to": lambda _: {"self": dsd(), "epoch": 1},
    "DSD.end_epoch": lambda _: {"self": dsd(), "epoch": 1},
    "DSD.apply_masks": lambda _: {"self": dsd(), "other": net()},
    "DSD.epochs": lambda _: {"self": dsd(), "start": 0, "first": 0},
    "DSD.load_state_dict": lambda _: {"self": dsd(), "state": dsd().state_dict()},
    "DSD.state_dict": lambda _: {"self": dsd(), "within_epoch": False},
    "Evidence": lambda _: evidence(
        references=references(),
        augmented=MEMBERS[:, None],
        phi_only=False,
        names=list(map(str, SCORES)),
        classes=("a", "b"),
    ),
    "Evidence, of noisy answers": lambda _: evidence(noisy=noisy_answers()),
    "ExportSettings": lambda _: {
        "phase": "sparse",
        "sparsity": 0.5,
        "seed": 0,
        "round": 1,
        "format": "onnx",
        "trust": True,
        "lineage": "dsd",
        "beside": "dense",
        "out": Path("exported"),
        "data_root": Path("data"),
        "model": "mlp",
        "data": "digits",
    },
    "ExportSettings.row": lambda _: {"self": redense.ExportSettings(), "rows": [row()]},
    "Phase": lambda _: {
        "kind": "sparse",
        "epochs": 1,
        "rate": 1.0,
        "sparsity": 0.5,
        "round": 1,
        "rate_end": 0.5,
        "lineage": "dsd",
        "beside": "dense",
        "masks": "random",
        "keeps": "best",
    },
    "Phase.factor": lambda _: {"self": dense(4, (1.0, 0.1)), "since": 1},
    "Phase.is_at": lambda _: {"self": dense(4), "sparsity": 0.5},
    "Phase.from_columns": lambda _: {"row": dense(4).to_columns()},
    "Recipe": lambda _: redense.Recipe().to_mapping() | {"phases": ()},
    "Recipe.from_mapping": lambda _: {"settings": {"lr": 0.1}, "source": "recipe"},
    "Recipe.is_final": lambda _: {"self": redense.Recipe(), "phase": dense(4)},
    "Recipe.is_beside_final": lambda _: {"self": redense.Recipe(), "phase": dense(4)},
    "Recipe.phases_at": lambda _: {"self": redense.Recipe(), "sparsity": 0.5},
    "References": lambda _: {"signals": references().signals, "included": INCLUDED},
    "References, of noisy answers": lambda _: {
        "signals": references().signals,
        "included": INCLUDED,
        "noisy": sampled_answers(),
    },
    "References.lacking": lambda _: {"self": references(), "side": "IN"},
    "Resources": lambda _: {
        "device": "cpu",
        "engine": "ray",
        "workers": 1,
        "time_limit": 9.0,
        "lock": True,
        "ray_address": "auto",
        "ray_storage": "memory://runs",
        "track": ("tensorboard",),
        "mixed": True,
    },
    "Results": lambda _: {
        "recipe": redense.Recipe(),
        "members": 10,
        "nonmembers": 10,
        "rows": (row(),),
        "comparisons": (),
        "at_equal_accuracy": (),
        "audits": (),
        "mixed": (),
    },
    "Results.compared": lambda _: {"self": results(), "correct": lambda key: MEMBERS},
    "Results.from_json": lambda _: {"text": results().to_json(), "source": "results.json"},
    "Results.joined": lambda _: {"self": results(), "audits": []},
    "Results.load": lambda at: {"folder": at.run},
    "Row": Fields(redense.Row, row()),
    "Row.from_mapping": lambda _: {"values": row().to_mapping()},
    "Signals": Fields(redense.Signals, signals()),
    "Signals.join": lambda _: {"parts": [signals(), signals()]},
    "Signals.of_logits": lambda _: {"logits": np.stack([SCORES, 1 - SCORES], 1), "labels": LABELS},
    "Signals.of_loss": lambda _: {"loss": SCORES},
    "Signals.of_phi": lambda _: {"phi": SCORES},
    "Signals.stack": lambda _: {"signals": [signals(), signals()], "axis": 0},
    "audit": lambda _: {
        "model": net(),
        "members": examples(0),
        "nonmembers": examples(1),
        "batch_size": 20,
        "device": "cpu",
        "attacks": ("threshold",),
        "confidence": 0.9,
        "delta": 0.1,
        "names": list(map(str, range(80))),
        "layout": "auto",
    },
    "audit, by references": lambda _: {
        "model": of_images(),
        "members": images(0),
        "nonmembers": images(1),
        "references": [of_images(), of_images()],
        "included": np.stack([np.arange(80) % 2 == place for place in (0, 1)]),
        "queries": [torch.neg],
        "attacks": ("label-only",),
    },
    "audit_evidence": lambda _: {
        "evidence": redense.Evidence(**evidence()),
        "attacks": ("threshold",),
        "warnings": [],
        "protocol": "half",
        "learnt": None,
        "compare": without_inputs,
    },
    "choose_masks": lambda _: {
        "model": net(),
        "sparsity": 0.5,
        "exclude": ["1"],
        "include": ["1.weight"],
        "preset": "default",
        "distribution": "uniform",
        "saliency": redense.saliency.magnitude,
        "pattern": redense.patterns.Block(2, 2),
    },
    "export": lambda at: {"run": at.run, "phase": "dense", "format": "safetensors", "out": at.folder / "exported"},
    "export_onnx": lambda at: {"model": net(), "example": torch.zeros(2, 4), "path": at.folder / "model.onnx"},
    "image_queries": lambda _: {"pixels": 1, "flips": True},
    "load_sparse": lambda at: {"path": at.folder / "sparse"},
    "magnitude_masks": lambda _: {
        "model": net(),
        "sparsity": 0.5,
        "exclude": ["1"],
        "preset": "default",
        "distribution": "uniform",
    },
    "masked": lambda _: with_model(masks=MASKS),
    "measure_sparsity": lambda _: {"model": net(), "exclude": ["1"], "preset": "default", "include": ["1.weight"]},
    "read_signals": lambda _: {"model": net(), "x": examples(0)[0], "y": examples(0)[1], "queries": [torch.neg]},
    "run": lambda at: {
        "recipe": None,
        "out": at.folder / "out",
        "data_root": at.folder,
        "engine": "inline",
        "device": "cpu",
        "console": Console(file=io.StringIO()),
        "progress": False,
    },
    "save_sparse": lambda at: {"model": STATE, "path": at.folder / "written"},
    "sensitivity": lambda _: {"model": net(), "evaluate": lambda _: 0.5, "sparsities": [0.5], "exclude": ["1"]},
    "attacks.RMIA": lambda _: {"mode": "online", "gamma": 2.0, "a": 0.3},
    "attacks.RMIA.ratio": lambda _: {"self": redense.attacks.RMIA(), **ATTACKED},
    "attacks.RMIA.score": lambda _: {
        "self": redense.attacks.RMIA(),
        **ATTACKED,
        "population": redense.attacks.Population(SCORES, REFERENCES),
    },
    "attacks.SAMIA": lambda _: {"epochs": 1, "seed": 0},
    "attacks.SAMIA.fit": lambda _: {"self": redense.attacks.SAMIA(1), "answers": tokens(20), "inside": MEMBERS[:20]},
    "attacks.SAMIA.score": lambda _: {
        "self": redense.attacks.SAMIA(1),
        "target": tokens(5),
        "answers": tokens(20),
        "inside": MEMBERS[:20],
    },
    "attacks.LiRA": lambda _: {"mode": "online", "variance": "shared", "two_sided": False},
    "attacks.LiRA.score": lambda _: {"self": redense.attacks.LiRA(), **ATTACKED},
    "attacks.Population": lambda _: {"target": SCORES, "references": REFERENCES, "included": INCLUDED},
    "attacks.ShadowClassifier": lambda _: {"seed": 0},
    "attacks.ShadowClassifier.fit": lambda _: {"self": redense.attacks.ShadowClassifier(), **FEATURES},
    "attacks.ShadowClassifier.score": lambda _: {
        "self": redense.attacks.ShadowClassifier(),
        "target": SCORES[:, None],
        **FEATURES,
    },
    "attacks.label_only": lambda _: {"correct": MEMBERS[:, None]},
    "attacks.score_by_other_half": lambda _: {
        "target": SCORES,
        "members": MEMBERS,
        "labels": LABELS,
        "per_class": True,
    },
    "attacks.score_by_references": lambda _: BY_REFERENCES,
    "data.Dataset": lambda _: {
        "name": "d",
        "x_train": examples(0)[0].numpy(),
        "y_train": LABELS,
        "x_test": examples(0)[0].numpy(),
        "y_test": LABELS,
        "num_classes": 2,
        "x_validation": examples(0)[0].numpy(),
        "y_validation": LABELS,
        "train_places": np.arange(40),
        "classes": ("a", "b"),
    },
    "data.Dataset.parted": lambda at: {"self": redense.data.load(at.folder / "data.npz"), "share": 0.25},
    "data.load": lambda at: {
        "name": at.folder / "data.npz",
        "root": at.folder,
        "layout": "channels-first",
        "integers": True,
    },
    "methods.acdc": lambda _: {"sparsity": 0.5, "epochs": 100, "rate": (1.0, 0.1)},
    "methods.dsd": lambda _: {
        "sparsity": 0.5,
        "epochs": [1, 1, 1],
        "rates": [1.0, 1.0, 0.1],
        "rounds": 1,
        "unit": "steps",
    },
    "methods.prune": lambda _: {"sparsity": 0.5, "epochs": 100, "rate": 1.0, "gradual": True},
    "methods.spdf": lambda _: {"sparsity": 0.5, "epochs": 100, "rate": 1.0, "masks": "random"},
    "metrics.Bootstrap": lambda _: {"auc": SCORES, "tpr": SCORES[:, None]},
    "metrics.Bootstrap.interval": lambda _: {
        "self": redense.metrics.Bootstrap(SCORES, SCORES[:, None]),
        "values": SCORES,
        "confidence": 0.9,
    },
    "metrics.OperatingPoint": lambda _: {
        "threshold": 0.5,
        "tpr": 0.5,
        "tpr_interval": (0.4, 0.6),
        "fpr": 0.5,
        "fpr_interval": (0.4, 0.6),
    },
    "metrics.Roc": Fields(redense.metrics.Roc, curve()),
    "metrics.Roc.index_at_fpr": lambda _: {"self": curve(), "fpr": 0.1},
    "metrics.accuracy_interval": lambda _: {**COUNTS, "confidence": 0.9, "cross_fitted": True},
    "metrics.advantage": lambda _: SCORED,
    "metrics.auc": lambda _: SCORED,
    "metrics.auc_interval": lambda _: {**SCORED, "confidence": 0.9},
    "metrics.balanced_accuracy": lambda _: SCORED,
    "metrics.balanced_accuracy_interval": lambda _: {**SCORED, "confidence": 0.9},
    "metrics.balanced_accuracy_of_noise": lambda _: {"members": 50, "nonmembers": 50},
    "metrics.bootstrap": lambda _: {**SCORED, "fprs": [0.1], "repeats": 3, "seed": 0},
    "metrics.clopper_pearson": lambda _: {"k": 3, "n": 10, "confidence": 0.9},
    "metrics.epsilon_lower_bound": lambda _: {**COUNTS, "delta": 0.1, "confidence": 0.9},
    "metrics.epsilon_of_best_threshold": lambda _: {**SCORED, "delta": 0.1, "confidence": 0.9},
    "metrics.epsilon_of_held_out_threshold": lambda _: {**SCORED, "delta": 0.1, "confidence": 0.9},
    "metrics.one_run_epsilon": lambda _: {
        "guesses": 50,
        "correct": 45,
        "canaries": 60,
        "delta": 0.01,
        "confidence": 0.9,
    },
    "metrics.one_run_epsilon_of_scores": lambda _: {
        "scores": SCORES,
        "included": MEMBERS,
        "delta": 0.01,
        "confidence": 0.9,
    },
    "metrics.operating_point": lambda _: {"curve": curve(), "index": 3, "confidence": 0.9},
    "metrics.point_at_fpr": lambda _: {"curve": curve(), "fpr": 0.1, "confidence": 0.9},
    "metrics.ratio_lower_bound": lambda _: {**COUNTS, "confidence": 0.9, "method": "katz-log"},
    "metrics.roc": lambda _: SCORED,
    "metrics.tpr_at_fpr": lambda _: {**SCORED, "fpr": 0.1},
    "metrics.tpr_interval": lambda _: {**SCORED, "fpr": 0.1, "confidence": 0.9},
    "patterns.Block": lambda _: {"rows": 2, "columns": 2},
    **{
        f"patterns.Block.{name}": lambda _, name=name: {"self": redense.patterns.Block(2, 2), **PATTERN[name]}
        for name in PATTERN
    },
    "patterns.Block.spread": lambda _: {
        "self": redense.patterns.Block(2, 2),
        "units": MEMBERS_OF_FOUR,
        "shape": (4, 4),
    },
    "patterns.NofM": lambda _: {"n": 2, "m": 4},
    "patterns.NofM.check": lambda _: {"self": redense.patterns.NofM(), **PATTERN["check"]},
    "patterns.NofM.pruned": lambda _: {"self": redense.patterns.NofM(), "importance": MATRIX},
    **{
        f"patterns.OutputChannels.{name}": lambda _, name=name: {
            "self": redense.patterns.OutputChannels(),
            **PATTERN[name],
        }
        for name in PATTERN
    },
    "patterns.OutputChannels.spread": lambda _: {
        "self": redense.patterns.OutputChannels(),
        "units": MEMBERS_OF_FOUR,
        "shape": (4, 4),
    },
    "phases.dense": lambda _: {"epochs": 5, "rate": (1.0, 0.1)},
    "phases.sparse": lambda _: {"epochs": 5, "sparsity": 0.5, "rate": 1.0, "masks": "random"},
    "saliency.gradient": lambda _: {"loss": lambda model, x: model(x).sum(), "batches": [torch.ones(1, 4)]},
    "saliency.magnitude": lambda _: {"model": net(), "parameters": dict(net().named_parameters())},
    "saliency.random": lambda _: {"seed": 0},
    "schedules.Cubic": lambda _: {"every": 1, "share": 0.5, "initial": 0.1},
    "schedules.Cubic.updates": lambda _: {"self": redense.schedules.Cubic(), "sparsity": 0.5, "length": 10},
    "schedules.OneShot.updates": lambda _: {"self": redense.schedules.OneShot(), "sparsity": 0.5, "length": 10},
}
MEMBERS_OF_FOUR = torch.tensor([True, False, True, False])
WITHOUT_ARGUMENTS = {"DSD.steps", "patterns.OutputChannels", "schedules.OneShot"}
NOT_FOR_USERS = {"AuditResult", "Recipe.from_written", "Dataset"}
"""Made by redense alone; read and checked in tests/files."""


def lazy_module():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that lazy modules are new
        return nn.LazyLinear(2)


def nested():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that nested tensors are new
        return torch.nested.nested_tensor([torch.zeros(3), torch.zeros(4)])


ODD = {
    "a string": "many",
    "no letters": "",
    "a NUL": "a\0b",
    "bytes": b"many",
    "complex": 1 + 2j,
    "a bool": True,
    "None": None,
    "a list": [1, 2],
    "an empty list": [],
    "strings": ["a", "b"],
    "a mapping": {},
    "a set": {1},
    "an object": object(),
    "a class": dict,
    "NaN": math.nan,
    "infinity": math.inf,
    "minus infinity": -math.inf,
    "negative": -1,
    "zero": 0,
    "a half": 0.5,
    "huge": HUGE,
    "beyond 64 bits": 10**400,
    "array of strings": np.array(["a", "b"]),
    "array of complex": np.array([1j, 2j]),
    "array of objects": np.array([object(), None]),
    "array of another shape": np.zeros((2, 3, 4)),
    "array without dimensions": np.array(0.5),
    "empty array": np.zeros(0),
    "array of NaN": np.full(40, math.nan),
    "array of infinities": np.full(40, math.inf),
    "array of negatives": np.full(40, -1),
    "array of huge": np.full(40, HUGE),
    "tensor": torch.zeros(40),
    "meta tensor": torch.zeros(40, device="meta"),
    "tensor without dimensions": torch.tensor(0.5),
    "masked array": np.ma.masked_array(np.linspace(0, 1, 40), np.arange(40) % 2 > 0),
    "array of odd integers": np.arange(40) + 2**53,
    "array beyond memory": np.broadcast_to(np.float64(0.5), (2**40,)),
    "8-bit floats": torch.zeros(40).to(torch.float8_e4m3fn),
    "nested tensor": nested(),
    "bool of NumPy": np.bool_(True),
    "half a character": "\ud800",
    "sparse tensor": torch.eye(4).to_sparse(),
    "complex tensor": torch.zeros(40, dtype=torch.complex64),
    "lazy parameter": nn.UninitializedParameter(),
    "lazy module": lazy_module(),
    "meta module": nn.Linear(4, 2, device="meta"),
}
STRINGS = {"a string", "no letters", "a NUL", "half a character"}
NUMBERS = {
    "infinity",
    "minus infinity",
    "negative",
    "zero",
    "a half",
    "huge",
    "beyond 64 bits",
    "array without dimensions",
    "tensor without dimensions",
}
LISTS = {"a list", "an empty list", "strings"}
ARRAYS = {name for name in ODD if name.startswith(("array of", "empty array"))} | {
    "tensor",
    "sparse tensor",
    "meta tensor",
}
NEVER = {
    "complex",
    "an object",
    "bytes",
    "a set",
    "complex tensor",
    "meta tensor",
    "lazy parameter",
    "array of complex",
}
NO_ARRAY = NEVER | STRINGS | {"strings", "a mapping", "a class", "lazy module", "meta module", "array of strings"}
INTEGERS = {"negative", "zero", "huge"}
ACCEPTED = {
    bool: {"a bool", "bool of NumPy"},
    int: INTEGERS,
    float: NUMBERS - {"beyond 64 bits"},
    str: STRINGS,
    Path: STRINGS,
    list: set(ODD) - NEVER - {"a bool", "NaN", "a class"},
    tuple: set(ODD) - NEVER - {"a bool", "NaN", "a class"},
    np.ndarray: set(ODD) - NO_ARRAY - {"array of objects", "beyond 64 bits"},
    torch.Tensor: set(ODD) - NO_ARRAY - {"array of objects"},
    dict: {"a mapping"},
}
"""By the type of what works, what may be accepted too; nothing else is."""
KEEPS_NAN = ("Signals", "attacks.Population", "metrics.Roc", "metrics.Bootstrap", "data.Dataset")
"""Hold what they are given; NaN is refused where it is used, and said there whose it is."""
RIGHT = {
    ("DSD", "distribution"): {"a mapping"},
    ("DSD", "pattern"): {"None"},
    ("choose_masks", "distribution"): {"a mapping"},
    ("magnitude_masks", "distribution"): {"a mapping"},
    ("choose_masks", "pattern"): {"None"},
    ("Row", "kept_epoch"): {"negative", "zero", "huge"},
    ("export", "out"): {"None"},
    ("methods.prune", "rate"): {"a list"},
    ("methods.spdf", "rate"): {"a list"},
    ("phases.sparse", "rate"): {"a list"},
    ("saliency.gradient", "batches"): {"a set"},
}
"""What else may be given, by callable and argument."""
SAYS = re.compile("expected|; |missing")
"""What is in every message: what is expected, what to do, or what is missing."""


def public():
    """Name every public function, class and method that takes arguments."""
    for name in redense.__all__:
        member = getattr(redense, name)
        if inspect.ismodule(member):
            if name != "scores":  # the former name of saliency
                yield from ((f"{name}.{inner}", getattr(member, inner)) for inner in member.__all__)
        else:
            yield name, member


def callables():
    seen = set()
    for name, member in public():
        if id(member) in seen:
            continue
        seen.add(id(member))
        if not callable(member) or (inspect.isclass(member) and issubclass(member, (Exception, dict))):
            continue
        if getattr(member, "_is_protocol", False):
            continue
        yield name
        if inspect.isclass(member):
            inherited = vars(Loop) if issubclass(member, Loop) else {}
            for method in {**inherited, **vars(member)}:
                value = getattr(member, method, None)
                if (inspect.isfunction(value) or inspect.ismethod(value)) and not method.startswith("_"):
                    yield from [f"{name}.{method}"] * bool(set(inspect.signature(value).parameters) - {"self"})


def test_every_public_callable_is_called():
    missing = set(callables()) - set(CALLS) - NOT_FOR_USERS - WITHOUT_ARGUMENTS
    assert not missing, f"add what works to CALLS: {sorted(missing)}"


def test_every_parameter_is_given(worked):
    given = {}
    for call, make in CALLS.items():
        given.setdefault(call.partition(",")[0], set()).update(make(worked))
    missing = {
        f"{name}({parameter.name})"
        for name in given
        for parameter in inspect.signature(found(name)).parameters.values()
        if parameter.name not in given[name] | {"self"}
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    }
    assert not missing, f"add what works to CALLS: {sorted(missing)}"


def found(name):
    member = redense
    for part in name.partition(",")[0].split("."):
        member = getattr(member, part)
    return member


def called(name, arguments):
    """Call it, and go into what it returns where it does its work only then."""
    arguments = dict(arguments)
    function = found(name)
    if "self" in arguments:
        function = getattr(arguments.pop("self"), found(name).__name__)
    result = function(**arguments)
    if name == "masked":
        with result:
            pass
    elif name == "DSD.epochs":
        next(result)
    return result


def unsound(result):
    """Tell whether a result holds NaN."""
    if isinstance(result, (float, np.floating)):
        return math.isnan(result)
    if isinstance(result, np.ndarray):
        return result.dtype.kind == "f" and bool(np.isnan(result).any())
    if isinstance(result, torch.Tensor):
        return result.is_floating_point() and bool(result.isnan().any())
    return isinstance(result, (tuple, list)) and any(map(unsound, result))


def may_be_accepted(name, argument, value, odd):
    parameter = inspect.signature(found(name)).parameters.get(argument)
    annotation = str(parameter.annotation) if parameter else ""
    if odd == "None" and ("None" in annotation or (parameter is not None and parameter.default is None)):
        return True
    return any(isinstance(value, kind) and odd in accepted for kind, accepted in ACCEPTED.items()) or (
        odd in RIGHT.get((name, argument), ())
    )


def wrong(name, argument, odd, arguments, kind):
    """Say what is wrong with what an odd value for an argument ends in; nothing where all is right."""
    value = arguments[argument]
    try:
        result = called(name, {**arguments, argument: ODD[odd]})
    except RedenseError as error:
        said = str(error)
        return "" if "\n" not in said and SAYS.search(said) else f"says {said!r}"
    except Exception as error:
        return f"raises {type(error).__name__}: {error}"
    if not may_be_accepted(name, argument, value, odd):
        return f"accepts it: {result!r:.80}"
    if type(result) is not kind and not isinstance(result, (int, float)):
        return f"gives a {type(result).__name__}, no {kind.__name__}"
    return "gives NaN" if unsound(result) and not name.startswith(KEEPS_NAN) else ""


@pytest.fixture(scope="module")
def worked(tmp_path_factory, undisturbed):
    return Worked(tmp_path_factory.mktemp("arguments"), undisturbed)


@pytest.mark.parametrize("name", CALLS)
def test_odd_arguments_are_refused_in_one_line_or_done_right(name, worked, recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for slow in ("write_pictures", "write_page"):  # of a run
        monkeypatch.setattr(f"redense.experiment.run.{slow}", lambda *_: [])

    def arguments():
        made = CALLS[name](worked)
        return {**made, "recipe": recipe} if name == "run" else made

    kind = type(called(name, arguments()))
    faults = []
    for argument in arguments().keys() - {"self"}:
        for odd, value in ODD.items():
            if inspect.isroutine(arguments()[argument]) and callable(value):
                continue  # what a function of the user's raises is the user's
            fault = wrong(name, argument, odd, arguments(), kind)
            faults += [f"{argument} = {odd}: {fault}"] * bool(fault)
    assert not faults, "\n".join(sorted(faults))
