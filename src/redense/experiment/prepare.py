"""The first step of a run: find, build, check and plan everything that a recipe names."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from redense import data
from redense.data.batches import examples_to_try
from redense.data.dataset import Dataset
from redense.errors import ModelError
from redense.experiment.checkpoints import Store
from redense.experiment.cost import disk_bytes
from redense.experiment.engines.choose import Choice, choose
from redense.experiment.expected import Form
from redense.experiment.plan import Fingerprints, Job, identities, plan
from redense.experiment.precision import check_precision
from redense.experiment.recipe import Recipe
from redense.experiment.resources import Resources
from redense.models.integers import begins_with_embedding
from redense.models.registry import architecture, build, check_fit, resolve
from redense.phases import Phase
from redense.sparsity.masks import check_selection
from redense.sparsity.select import prunable

DEFAULT_RESOURCES = Resources()


@dataclass(frozen=True)
class Prepared:
    """A recipe with everything it names found, built, checked and planned; nothing is written yet."""

    recipe: Recipe
    dataset: Dataset
    model_name: str
    model: torch.nn.Module
    fingerprints: Fingerprints
    jobs: tuple[Job, ...]
    choice: Choice

    @property
    def shown(self) -> list[Phase]:
        """The phases of the plan that tables show and audits are made of."""
        return self.recipe.chosen_method.shown(job.phase for job in self.jobs)

    @property
    def form(self) -> Form:
        """What the checkpoints of all jobs have in common."""
        return Form.of_network(self.model, len(self.dataset.y_train), len(self.dataset.y_test))

    def left(self, store: Store) -> list[Job]:
        """List the jobs that have no checkpoint yet (whether those that have are whole, the engine finds out)."""
        return [job for job in self.jobs if not store.is_finished(job.key)]

    def needed_bytes(self, store: Store) -> int:
        """Bound the disk space that the jobs that are left will take."""
        return disk_bytes(self.left(store), self.model, self.dataset, self.choice.processes)


def prepare(
    recipe: Recipe,
    data_root: str | Path | None = None,
    resources: Resources = DEFAULT_RESOURCES,
    *,
    arithmetic: str | None = None,
) -> Prepared:
    """Find the data, build the model, plan the jobs, and raise a `RedenseError` if anything does not fit.

    `arithmetic` is that of jobs already trained; by default it is the chosen engine's.
    """
    stored = data.load(recipe.data, data_root, recipe.layout, integers=True)
    model_name, model, dataset = fitting_model(recipe.model, stored.parted(recipe.validation))
    for sparsity in recipe.sparsities:  # an emptied layer shows now rather than after the dense phase
        check_selection(model, sparsity, {"exclude": recipe.exclude, "distribution": recipe.distribution})
    check_precision(recipe.precision, model_name, model, examples_to_try(dataset))
    models = len(identities(recipe)) * len(recipe.sparsities)
    choice = choose(resources, model, dataset, recipe.batch_size, models, recipe.precision, recipe.optimizer)
    fingerprints = Fingerprints(dataset.fingerprint, _structure(model), arithmetic or choice.arithmetic)
    jobs = plan(recipe, model_name, fingerprints)
    return Prepared(recipe, dataset, model_name, model, fingerprints, jobs, choice)


def _structure(model: torch.nn.Module) -> str:
    """Fingerprint a model and which of its parameters are pruned, where these are not all of two or more dimensions.

    What counts as a layer's weight may come to be told otherwise; masks under a key must not change with it.
    """
    weights = list(prunable(model))
    if weights == list(prunable(model, preset="everything")):
        return architecture(model)
    return hashlib.sha256("\n".join([architecture(model), *weights]).encode()).hexdigest()


def fitting_model(name: str, stored: Dataset) -> tuple[str, torch.nn.Module, Dataset]:
    """Build the model of a recipe for data that may hold integers, and give these the form in which it takes them.

    Returns the model's name, ``auto`` resolved, the model and the data, whose forms are tried as audits try them:
    integers where the model begins with an embedding, numbers, grey images with one channel, integers. Raises
    `ModelError` where the model takes none.
    """

    @cache
    def built(shape: tuple[int, ...]) -> tuple[str, torch.nn.Module]:
        resolved = resolve(name, shape)
        return resolved, build(resolved, shape, stored.num_classes)

    refused = []
    for dataset in _forms(stored, built):
        try:
            resolved, model = built(dataset.input_shape)
            check_fit(resolved, model, examples_to_try(dataset), dataset.num_classes)
        except ModelError as error:
            refused.append(error)
        else:
            return resolved, model, dataset
    raise refused[0]


def _forms(stored: Dataset, built: Callable[[tuple[int, ...]], tuple[str, torch.nn.Module]]) -> Iterator[Dataset]:
    """Yield data in the forms in which a model may take them, the likeliest first."""
    numbers, embeds = stored.as_numbers(), False
    with suppress(ModelError):  # raised again where the numbers' turn comes
        _, model = built(numbers.input_shape)
        embeds = begins_with_embedding(model, torch.zeros(2, *stored.input_shape, dtype=torch.int64))
    if embeds and (whole := stored.as_integers()):
        yield whole
    yield numbers
    if numbers.is_grey:
        yield numbers.grey()  # a folder of grey images, for a model of one channel
    if stored is not numbers and not embeds:
        yield stored  # integers, for a model that makes one-hot vectors of them, say
