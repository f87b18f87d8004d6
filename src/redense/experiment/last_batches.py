"""A last batch may be left with one example, on which some networks cannot be trained: found before any training."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from redense.data.batches import as_input
from redense.data.members import included
from redense.errors import FOREIGN, RecipeError
from redense.experiment.precision import logits_in
from redense.experiment.prepare import Prepared
from redense.models.registry import build
from redense.text import one_line


def check_last_batches(prepared: Prepared) -> None:
    """Raise `RecipeError` where a last batch of the plan has a single example, on which the model cannot be trained.

    BatchNorm, for one, knows no variance of a single value; and how many examples a random half has, nobody foresees.
    """
    sizes, batch_size = _training_sets(prepared), prepared.recipe.batch_size
    alone = [name for name, size in sizes.items() if _leave_one([size], batch_size)]
    if not alone:
        return
    reason = _why_not_trained(prepared, examples=1)
    if reason is None or _why_not_trained(prepared, examples=2) is not None:  # then no batch size would help
        return
    larger = range(batch_size + 1, max(sizes.values()) + 2)
    other = next((size for size in larger if not _leave_one(sizes.values(), size)), None)
    remedy = "more training examples" if other is None else f"another, such as --batch-size {other}"
    further = f" ({len(alone) - 1} further training sets alike)" if len(alone) > 1 else ""
    raise RecipeError(
        f"batch_size: got {batch_size}, which leaves one of the {sizes[alone[0]]:,} training examples of {alone[0]} "
        f"for the last batch{further}, and model {prepared.model_name} cannot be trained on one ({reason}); expected "
        f"{remedy}"
    )


def _training_sets(prepared: Prepared) -> dict[str, int]:
    """Count the examples of every training set of the plan, by the first model that is trained on it."""
    training = len(prepared.dataset.y_train)
    total = training + len(prepared.dataset.y_test)
    first = {job.member_set: job.model_name for job in reversed(prepared.jobs)}
    return {name: int(included(half, training, total).sum()) for half, name in reversed(first.items())}


def _leave_one(sizes: Iterable[int], batch_size: int) -> bool:
    """Tell whether any of so many examples, in batches of that size, are one in the last.

    >>> _leave_one([64], 32), _leave_one([64, 65], 32), _leave_one([64], 1)
    (False, True, True)
    """
    return any((size - 1) % batch_size == 0 for size in sizes)


def _why_not_trained(prepared: Prepared, examples: int) -> str | None:
    """Say why the recipe's model, in training, has no loss on so many examples, or return None where it has one."""
    dataset, name = prepared.dataset, prepared.model_name
    model = build(name, dataset.input_shape, dataset.num_classes).train()
    x, y = (torch.from_numpy(array[[0] * examples]) for array in (dataset.x_train, dataset.y_train))
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            nn.functional.cross_entropy(logits_in(prepared.recipe.precision, model, as_input(x)), y)
    except FOREIGN as error:
        return f"{type(error).__name__}: {one_line(error)}"
    return None
