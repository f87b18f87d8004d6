"""The examples that a run's audits are about: all of its data, and which of them count."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from redense.auditing.alike import Told, sides_alike
from redense.auditing.answers import digests
from redense.auditing.distinct import Distinct
from redense.auditing.sample import Sample
from redense.data.batches import TensorData
from redense.data.dataset import Dataset
from redense.data.members import MemberSet, included
from redense.metrics.roc import Members


@dataclass(frozen=True)
class AuditedExamples:
    """The training, then the test examples of a run, on a device."""

    dataset: Dataset
    device: str = "cpu"

    @cached_property
    def labels(self) -> Any:
        """The classes of the training, then the test examples."""
        return np.concatenate([self.dataset.y_train, self.dataset.y_test])

    @cached_property
    def names(self) -> list[str]:
        """What reports call the examples: train 0, train 1, ..., test 0, ..."""
        return [f"train {place}" for place in self.dataset.original_places] + [
            f"test {place}" for place in range(len(self.dataset.y_test))
        ]

    @cached_property
    def data(self) -> TensorData:
        """The examples as tensors."""
        return TensorData.of(self.dataset, self.device)

    @cached_property
    def digests(self) -> Any:
        """Fingerprints of the training, then the test examples."""
        return np.concatenate([digests(part) for part in (self.data.x_train, self.data.x_test)])

    @cached_property
    def distinct(self) -> Distinct:
        """Which examples count: the same ones in all audits of the run, which share what is learnt about them.

        Training and test data are the two sides.
        """
        return Distinct.of(self.digests, np.arange(len(self.labels)) < len(self.data.y_train))

    def members(self, member_set: MemberSet | None) -> Members:
        """Tell which of all examples a model was trained on."""
        return included(member_set, len(self.dataset.y_train), len(self.labels))

    @cached_property
    def sides(self) -> list[Told] | str:
        """How well inputs and labels alone tell the training from the test data, found once for all phases."""
        samples = Sample(), Sample()
        first = len(self.data.y_train)
        for sample, x, part in (
            (samples[0], self.data.x_train, slice(first)),
            (samples[1], self.data.x_test, slice(first, None)),
        ):
            sample.add(x, self.labels[part], self.digests[part])
        return sides_alike(*samples)

    def some(self, places: Any) -> torch.Tensor:
        """Return the inputs of some examples, [n, ...], by ascending places."""
        chosen = torch.from_numpy(places).to(self.device)
        first = len(self.data.y_train)
        return torch.cat((self.data.x_train[chosen[chosen < first]], self.data.x_test[chosen[chosen >= first] - first]))
