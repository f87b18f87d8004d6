import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import redense
from redense.data.batches import TensorData
from redense.data.members import split
from redense.errors import RecipeError
from redense.experiment.dry_run import dry_run
from redense.experiment.last_batches import _leave_one, check_last_batches
from redense.experiment.prepare import prepare
from redense.experiment.recipe import Recipe

RECIPE = Recipe(data="factories:data", model="factories:small", sparsities=(0.5,), epochs=(1, 1, 1))
"""BatchNorm, and 96 training examples of 144 in all."""


@given(st.lists(st.integers(1, 300), max_size=3), st.integers(1, 100))
def test_which_batch_is_left_with_one(sizes, batch_size):
    last = [len(torch.arange(size).split(batch_size)[-1]) for size in sizes]
    assert _leave_one(sizes, batch_size) == (1 in last)


@pytest.mark.parametrize("batch_size", [1, 5, 19, 95])
def test_a_single_example_is_refused_before_anything_is_written(batch_size, tmp_path):
    recipe, out = replace(RECIPE, batch_size=batch_size), tmp_path / "run"
    expected = f"batch_size: got {batch_size}, which leaves one of the 96 training examples of seed 0 for the last"
    with pytest.raises(RecipeError, match=expected) as refused:
        redense.run(recipe, out, workers=0)
    with pytest.raises(RecipeError, match=expected):
        dry_run(recipe, out, console=Console(quiet=True))
    assert not out.exists()
    assert refused.value.exit_code == 2
    assert "Expected more than 1 value per channel" in str(refused.value)


def test_the_batch_size_that_is_proposed_trains():
    with pytest.raises(RecipeError) as refused:
        check_last_batches(prepare(replace(RECIPE, batch_size=19)))
    other = int(re.search(r"such as --batch-size (\d+)$", str(refused.value))[1])
    prepared = prepare(replace(RECIPE, batch_size=other))
    for batch in torch.from_numpy(prepared.dataset.x_train).split(other):
        prepared.model.train()(batch)  # BatchNorm raises where that cannot be done
    check_last_batches(prepared)


def test_halves_and_reference_models_are_seen_too():
    recipe = replace(RECIPE, seeds=(0, 1), audit=("lira",), references=2, protocols=("all", "half"))
    prepared = prepare(recipe)
    data = TensorData.of(prepared.dataset)
    sizes = {job.member_set: len(split(data, job.member_set).y) for job in prepared.jobs}
    named = {size: job.model_name for job in reversed(prepared.jobs) for size in [sizes[job.member_set]]}
    assert sorted(named.values()) == ["half, seed 0", "half, seed 1", "reference 0", "seed 0"], "references are of 72"
    for size, name in named.items():
        others = sum(other % (size - 1) == 1 for other in sizes.values()) - 1
        further = rf" \({others} further training sets alike\)" if others else ", and"
        expected = f"of the {size} training examples of {name} for the last batch{further}"
        with pytest.raises(RecipeError, match=expected):
            check_last_batches(replace(prepared, recipe=replace(recipe, batch_size=size - 1)))
    check_last_batches(prepared)


@pytest.mark.parametrize(
    "model",
    [
        "factories:with_anything",  # no BatchNorm: it trains on one example
        "factories:raises_in_training",  # on any number: no other batch size would help
    ],
)
def test_models_that_no_batch_size_changes_are_let_through(model):
    check_last_batches(prepare(replace(RECIPE, model=model, batch_size=19)))


def test_batch_norm_over_the_places_of_an_image_needs_no_second_example():
    recipe = Recipe(data="digits", model="factories:convolution", sparsities=(0.5,), batch_size=333)
    prepared = prepare(recipe)
    assert len(prepared.dataset.y_train) == 1 + 3 * recipe.batch_size
    check_last_batches(prepared)


def test_a_training_set_of_one_example_is_helped_by_no_batch_size():
    prepared = prepare(RECIPE)
    dataset = replace(prepared.dataset, x_train=prepared.dataset.x_train[:1], y_train=prepared.dataset.y_train[:1])
    with pytest.raises(RecipeError, match=r"one of the 1 training examples .*; expected more training examples$"):
        check_last_batches(replace(prepared, dataset=dataset))
