import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redense.data.batches import TensorData
from redense.data.members import MemberSet, places, split


def tensor_data(n_train=12, n_test=8):
    x = torch.arange(n_train + n_test, dtype=torch.float32)[:, None]
    y = torch.arange(n_train + n_test)
    return TensorData(x[:n_train], y[:n_train], x[n_train:], y[n_train:], num_classes=n_train + n_test)


@given(st.integers(0, 50), st.integers(2, 300))
def test_pairs_of_references_are_complementary_halves(pair, size):
    even, odd = (MemberSet("reference", 2 * pair + second).included(size) for second in (0, 1))
    assert (even ^ odd).all()
    assert even.sum() == size // 2


def test_counts_of_references_say_nothing():
    # where reference sets are balanced with the target counted in, the number of IN models gives membership away
    included = np.stack([MemberSet("reference", index).included(1000) for index in range(16)])
    assert set(included.sum(0).tolist()) == {8}


def test_targets_are_independent_coins():
    halves = np.stack([MemberSet("target", index).included(2000) for index in range(50)])
    assert abs(halves.mean() - 0.5) < 0.01
    assert abs(np.corrcoef(halves)[np.triu_indices(50, 1)]).max() < 0.12
    assert halves.sum(1).std() > 10, "the number of members varies"
    references = np.stack([MemberSet("reference", index).included(2000) for index in range(50)])
    assert abs(np.corrcoef(halves, references)[:50, 50:]).max() < 0.12


def test_halves_are_always_the_same():
    assert (MemberSet("target", 3).included(100) == MemberSet("target", 3).included(100)).all()
    assert not (MemberSet("target", 3).included(100) == MemberSet("target", 4).included(100)).all()


def test_members_come_from_both_splits_and_held_out_examples_from_none_of_them():
    data = tensor_data()
    half = MemberSet("reference", 0)
    parts = split(data, half)
    members = set(np.flatnonzero(half.included(20)).tolist())
    assert set(parts.y.tolist()) == members
    assert set(parts.y_held_out.tolist()) == set(range(12, 20)) - members
    assert parts.x[:, 0].tolist() == parts.y.tolist()
    assert parts.x_held_out[:, 0].tolist() == parts.y_held_out.tolist()


def test_without_a_member_set_all_training_data_are_members():
    parts = split(tensor_data(), None)
    assert parts.y.tolist() == list(range(12))
    assert parts.y_held_out.tolist() == list(range(12, 20))


@pytest.mark.parametrize("member_set", [None, MemberSet("reference", 1), MemberSet("target", 2)])
def test_places_are_those_of_the_split(member_set):
    data = tensor_data()
    parts, (members, held_out) = split(data, member_set), places(data, member_set)
    pool = torch.cat((data.y_train, data.y_test))
    assert torch.equal(pool[members], parts.y)
    assert torch.equal(pool[held_out], parts.y_held_out)
