"""Which cases of each guarantee are counted, in full and in few repeats: a count of any other case is refused."""

from itertools import product

LEAKS = ("no leak", "a leak")
PROTOCOLS = ("all", "half")
WORLDS = ("unequal", "equal", "ties", "leaky references")
"""Of noise: see test_calm.py."""
CURVES = ("rising", "rising and falling", "level", "one above the other", "overfit")
BY_CLASS = ("confidence", "loss", "entropy", "modified entropy")
THRESHOLDS = ("gap", *BY_CLASS, *(f"{name}, per class" for name in BY_CLASS))
CALIBRATED = ("RMIA offline", "RMIA online", "LiRA offline", "LiRA online")
FAST = (*THRESHOLDS, "label-only", *CALIBRATED)
LEARNING = ("shadow classifier", "SAMIA")
PRIMARY = ("LiRA online", "RMIA online", "confidence")
SCORES = ("continuous", "rounded to 1", "60% at the top")
SIZES = ("60 and 60", "500 and 500", "60 and 1,000")
TRAININGS = ("normal", "trainings on digits", "trainings on Location-30")
"""How trainings vary: see test_over_seeds.py."""
SPLITS = ("tabular", "tokens", "pixels", "classes")
REPEATED = ("each eight times", "one to twenty times", "bags with replacement")
CONTRASTS = ("sparse 50% - dense", "re-dense 50% - sparse 50%", "re-dense 50% - dense")


def each(text, *axes):
    """Return the text filled in with every choice of one value an axis."""
    return tuple(text.format(*values) for values in product(*axes))


def _repeated():
    named = (name + labels for name in REPEATED for labels in ("", ", labels of their own"))
    claims = [f"{name}: no {what}" for name in named for what in ("leak", "epsilon above 0")]
    # bags are drawn without coins, so that they have no epsilon
    kept = [case for case in claims if not (case.startswith("bags") and case.endswith("epsilon above 0"))]
    return (*kept, *each("{}: a leak is found", REPEATED))


_OVER_SEEDS = each("{}, {} seeds", TRAININGS, (3, 5, 10))
_GROUPS = each("{}, {} models, {}, {}", PRIMARY, (8, 16), ("mean", "difference"), ("AUC", "TPR at 10%"))
_MIDDLES = each("middle of means, {} models, {}", (8, 16), ("mean", "difference"))
_SOUND = each("simulated, {}", LEAKS)

FULL = {
    "accuracy over seeds": each(
        "{}, shift {}, {} shared, {} seeds",
        ("1,437 and 360", "200 and 200"), (0.0, 0.5, 1.5), ("0%", "50%", "95%"), (2, 3, 5, 10),
    ),
    "area without the model": each("{}, {} a side", ("alike", "a column", "columns", "classes"), (100, 500)),
    "curves at equal accuracy": each("{}, {} held out, {} seeds", CURVES, ("800", "10,000"), (3, 5, 10)),
    "difference of two areas": each("{}, shift {}", SIZES, (0.0, 0.5, 2.0)),
    "difference over seeds": _OVER_SEEDS,
    "fail above": (
        *each("{} a side, shift {}, 1 targets", (60, 500, 2_000), (0.0, 0.5, 1.0, 2.0)),
        *each("200 a side, shift {}, 6 targets", (0.0, 1.0)),
        *each("all attacks, {} reference models{}", (0, 8), ("", ", ties")),
    ),
    "fail above, five points": (
        *each("2,000 a side, shift {}", (0.3, 0.5, 1.0, 2.0)),
        "2,000 a side, all attacks, 8 reference models",
    ),
    "headline": (
        *each("{} a side, shift {}", (60, 500, 2_000), (0.0, 0.5, 1.0, 2.0)),
        *each("all attacks, {} a side, {}", (60, 200, 500), LEAKS),
    ),
    "leaky models are found": ("networks on digits, 150 to 600 members, 10 to 40 epochs",),
    "no false claim": (
        *each("nothing to find, {}, {} seeds", ("simulated", "digits", "location30"), (3, 5, 10)),
        *each("some contrasts are real, {} seeds", (3, 5, 10)),
    ),
    "no leak is claimed": (
        *each("{}, {}, {} reference models", WORLDS, PROTOCOLS, (0, 2, 4, 8, 16, 64)),
        *each("LiRA, variance example, {} reference models", (4, 16, 64)),
        *each("LiRA, variance shared, {} reference models", (2, 4, 16, 64)),
        *each("shadow classifier, {} reference models", (2, 8, 64)),
    ),
    "one-run epsilon": each(
        "{}, {} canaries",
        ("noise", "ties", "randomized response", "Laplace"), ("500", "1,000", "5,000", "20,000", "70,000"),
    ),
    "p of one attack": (*each("{}, {}", SCORES, SIZES), *each("whole audit, {}, {}", WORLDS, FAST)),
    "random splits": each("{}, {} a side", SPLITS, (60, 500)),
    "repeated examples": _repeated(),
    "replicates, mean": (*_GROUPS, *each("Location-30, {}, {}", CONTRASTS, ("AUC", "TPR at 1%"))),
    "replicates, one further training": (*_GROUPS, *each("Location-30, {}, AUC", CONTRASTS)),
    "sound audits are not warned": (*_SOUND, "networks on random halves of digits"),
    "test accuracy over seeds": _OVER_SEEDS,
    "told apart": each("{}, 500 a side", ("columns", "a column", "classes", "faint classes", "lengths")),
    "true differences are claimed": ("two deviations, one of 72 claims, 10 seeds",),
    "whole audit": (
        *each("{}, {}, {}", FAST, ("AUC", "accuracy", "TPR at 10%"), LEAKS),
        *each("{}, {}, {}", LEARNING, ("AUC", "accuracy"), LEAKS),
        "SAMIA, AUC, answers at random",
    ),
}  # fmt: skip
"""Cases of evidence (`make evidence`)."""

QUICK = {
    "accuracy over seeds": each(
        "360 and 120, shift {}, {} seeds", ("0.0, 0% shared", "0.0, 95% shared", "0.5, 95% shared"), (3, 10)
    ),
    "area without the model": ("labels alone, classes, 100 a side",),
    "curves at equal accuracy": each(
        "{}, 2,000 held out, {} seeds", ("rising and falling", "one above the other"), (3, 10)
    ),
    "difference of two areas": each("{}, shift 0.5", SIZES),
    "difference over seeds": _OVER_SEEDS,
    "fail above": each("200 a side, shift {}, 1 targets", (0.0, 0.5)),
    "fail above, five points": ("2,000 a side, shift 0.5",),
    "headline": (*each("200 a side, shift {}", (0.0, 1.0)), *each("all attacks, 60 a side, {}", LEAKS)),
    "leaky models are found": ("networks on digits, 150 members, 10 epochs",),
    "no false claim": (
        *each("nothing to find, {}, 3 seeds", ("simulated", "digits")),
        "nothing to find, location30, 5 seeds",
        "some contrasts are real, 5 seeds",
    ),
    "no leak is claimed": (
        *each("ties, {}, 0 reference models", PROTOCOLS),
        *each("leaky references, {}, {} reference models", PROTOCOLS, (2, 8)),
    ),
    "one-run epsilon": each("{}, 1,000 canaries", ("noise", "ties", "randomized response", "Laplace")),
    "p of one attack": each("{}, {}", SCORES, SIZES),
    "repeated examples": ("in turns: no leak", "in turns: no epsilon above 0"),
    "replicates, mean": (*_MIDDLES, "middle of means, 8 models, phases alike"),
    "replicates, one further training": _MIDDLES,
    "sound audits are not warned": _SOUND,
    "test accuracy over seeds": _OVER_SEEDS,
    "true differences are claimed": ("two deviations, one of 72 claims, 10 seeds",),
    "whole audit": each("{}, {}, {}, 60 a side", FAST, ("AUC", "accuracy"), LEAKS),
}  # fmt: skip
"""Cases of the fast tests (`make test`): they stand until all full ones are counted."""
