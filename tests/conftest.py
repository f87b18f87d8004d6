"""Fixtures: a small recipe that trains in a fraction of a second, and its run."""

import dataclasses
import os

import numpy as np
import pytest
from claims.printed import Recorder
from factories import arrays
from hypothesis import settings

from redense.experiment.recipe import Recipe
from redense.experiment.run import run

# no deadline: how long an example takes depends on what else the machine does
settings.register_profile("redense", deadline=None)
settings.load_profile("redense")


@pytest.fixture(scope="session")
def npz(tmp_path_factory):
    (x, y), (x_test, y_test) = arrays()
    path = tmp_path_factory.mktemp("data") / "small.npz"
    np.savez(path, x=x, y=y, x_test=x_test, y_test=y_test)
    return path


@pytest.fixture(scope="session")
def recipe(npz):
    return Recipe(data=str(npz), model="factories:small", sparsities=(0.3, 0.9), epochs=(2, 2, 2), batch_size=16)


@pytest.fixture(scope="session")
def undisturbed(recipe, tmp_path_factory):
    """The folder of a finished run of the recipe, to be read; copy it before anything is written there."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    run(recipe, folder, workers=0)
    return folder


@pytest.fixture(scope="session")
def audited_recipe():
    """Two seeds, a control, both protocols, and as many reference models as replicates need."""
    return Recipe(
        data="factories:more_data",
        model="factories:small",
        sparsities=(0.5,),
        epochs=(2, 1, 1),
        seeds=(0, 1),
        controls=("longer",),
        audit=("lira",),
        references=8,
        protocols=("all", "half"),
    )


@pytest.fixture(scope="session")
def audited_run(audited_recipe, tmp_path_factory):
    """The folder of a finished and audited run, to be read, and what it printed; copy it before you write there."""
    folder, console = tmp_path_factory.mktemp("audited") / "run", Recorder()
    run(audited_recipe, folder, workers=0, console=console)
    return folder, console.printed


@pytest.fixture(scope="session")
def audited_images(recipe, tmp_path_factory):
    """The folder of a finished run with controls, two seeds and audits, of images in a file, to be read."""
    folder = tmp_path_factory.mktemp("audited_images") / "run"
    every = dataclasses.replace(
        recipe, seeds=(0, 1), controls=("longer", "llr"), audit=("lira",), references=4, protocols=("all", "half")
    )
    run(every, folder, workers=0)
    return folder


@pytest.fixture
def fashion_mnist():
    root = os.environ.get("REDENSE_DATA")
    if not root:
        pytest.skip("needs Fashion-MNIST in $REDENSE_DATA")
    return root
