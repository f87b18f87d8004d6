"""Published numbers to stand beside ours."""

from __future__ import annotations

from redense.experiment.recipe import Recipe

PhaseName = tuple[str, float | None]
"""A phase and its sparsity (None where dense)."""
Accuracies = tuple[float, float, float]
"""Train, test and inference accuracy in percent."""

# Duddu et al., "Towards Privacy Aware Deep Learning for Embedded Systems", SAC 2022. It trained 50 epochs a phase, one
# network, and left 70% and 90% blank. Its inference column comes from code that read the wrong probability for most
# examples, so it is approximate.
_FASHION_MNIST: dict[PhaseName, Accuracies] = {
    ("dense", None): (99.77, 90.89, 57.89),
    ("sparse", 0.3): (99.89, 91.17, 56.95),
    ("redense", 0.3): (100.0, 91.59, 57.02),
    ("sparse", 0.5): (99.88, 90.85, 57.07),
    ("redense", 0.5): (100.0, 91.61, 57.6),
}


def published(recipe: Recipe, model: str) -> dict[PhaseName, Accuracies]:
    """Return the published study's numbers for a recipe's data and model, empty where it has none.

    >>> published(Recipe(data="fashion-mnist"), "fmnist-cnn")["dense", None]
    (99.77, 90.89, 57.89)
    """
    return _FASHION_MNIST if (recipe.method, recipe.data, model) == ("dsd", "fashion-mnist", "fmnist-cnn") else {}
