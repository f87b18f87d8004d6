"""Fixtures: a small recipe that trains in a fraction of a second."""

import os

import numpy as np
import pytest
from factories import arrays
from hypothesis import settings

from redense.experiment.recipe import Recipe

# no deadline: how long an example takes depends on what else the machine does
settings.register_profile("redense", deadline=None)
settings.load_profile("redense")


@pytest.fixture
def npz(tmp_path):
    (x, y), (x_test, y_test) = arrays()
    path = tmp_path / "small.npz"
    np.savez(path, x=x, y=y, x_test=x_test, y_test=y_test)
    return path


@pytest.fixture
def recipe(npz):
    return Recipe(data=str(npz), model="factories:small", sparsities=(0.3, 0.9), epochs=(2, 2, 2), batch_size=16)


@pytest.fixture
def fashion_mnist():
    root = os.environ.get("REDENSE_DATA")
    if not root:
        pytest.skip("needs Fashion-MNIST in $REDENSE_DATA")
    return root
