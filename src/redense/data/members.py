"""Which examples a model is trained on: all training data, or a random half of everything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from redense.seeding import derive

if TYPE_CHECKING:  # plans and results are read without PyTorch
    import torch

    from redense.data.batches import TensorData


Role = Literal["target", "reference"]


@dataclass(frozen=True)
class MemberSet:
    """A random half of the pool, which is the training examples followed by the test examples.

    It depends on role and index alone: those of reference models say nothing about any target's. A target has each
    example with probability 1/2, independently of all others, as an audit in one training run assumes. Reference models
    come in pairs of complementary halves, so that with an even number of them every example is in exactly half: their
    counts say nothing either, and no example lacks an IN or an OUT.
    """

    role: Role
    index: int

    def included(self, size: int) -> npt.NDArray[np.bool_]:
        """Tell for each of `size` examples whether it is in the half; bool [size].

        >>> first, second = (MemberSet("reference", index).included(10) for index in (0, 1))
        >>> int(first.sum()), bool((first ^ second).all())
        (5, True)
        """
        if self.role == "target":
            return np.random.default_rng(derive(self.index, "members", "target")).random(size) < 0.5
        pair, second = divmod(self.index, 2)
        shuffled = np.random.default_rng(derive(pair, "members", "reference")).permutation(size)
        included = np.zeros(size, dtype=bool)
        included[shuffled[: size // 2]] = True
        return ~included if second else included


def included(member_set: MemberSet | None, training: int, size: int) -> npt.NDArray[np.bool_]:
    """Tell for each of `size` examples, the `training` ones first, whether a model is trained on it; bool [size].

    >>> included(None, 2, 3).tolist()
    [True, True, False]
    """
    return np.arange(size) < training if member_set is None else member_set.included(size)


@dataclass(frozen=True)
class Split:
    """Examples a model is trained on (x, y) and test examples it never sees."""

    x: torch.Tensor
    y: torch.Tensor
    x_held_out: torch.Tensor
    y_held_out: torch.Tensor


def split(data: TensorData, member_set: MemberSet | None) -> Split:
    """Part the data into members and held-out test examples; without a member set, all training data are members."""
    import torch

    if member_set is None:
        return Split(data.x_train, data.y_train, data.x_test, data.y_test)
    included = torch.from_numpy(member_set.included(len(data.y_train) + len(data.y_test))).to(data.y_train.device)
    of_train, of_test = included[: len(data.y_train)], included[len(data.y_train) :]
    return Split(
        torch.cat((data.x_train[of_train], data.x_test[of_test])),
        torch.cat((data.y_train[of_train], data.y_test[of_test])),
        data.x_test[~of_test],
        data.y_test[~of_test],
    )


def places(data: TensorData, member_set: MemberSet | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Return where the members and the held-out test examples of `split` stand, in its order.

    Two int64 tensors on the CPU, of places among the training, then the test examples.
    """
    import torch

    training = len(data.y_train)
    member = included(member_set, training, training + len(data.y_test))
    outside = np.flatnonzero(~member)
    return torch.from_numpy(np.flatnonzero(member)), torch.from_numpy(outside[outside >= training])
