import hashlib

import pytest

from redense.experiment.prepare import prepare
from redense.experiment.recipe import Recipe
from redense.models.registry import MODELS, architecture


@pytest.mark.parametrize("name", sorted(MODELS))
def test_keys_of_our_own_networks_rest_on_their_structure_alone(name):
    prepared = prepare(Recipe(data="digits", model=name))
    assert prepared.fingerprints.architecture == architecture(prepared.model)


def test_keys_of_other_networks_name_what_is_pruned_where_not_all_is():
    prepared = prepare(Recipe(data="factories:data", model="factories:lstm"))
    weights = ["rnn.weight_ih_l0", "rnn.weight_hh_l0", "head.weight"]
    expected = hashlib.sha256("\n".join([architecture(prepared.model), *weights]).encode()).hexdigest()
    assert prepared.fingerprints.architecture == expected
