"""A sample of the examples that an audit reads: what can be told of each without any model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from redense.data.batches import scaled

MOST_EXAMPLES = 5_000
"""Examples a side that are kept."""
MOST_VALUES = 1_024
"""Numbers that are kept of one input; of longer ones the means of as many stretches."""
TOKENS = 512
"""Counts that are kept of tokens: those with the same remainder share one."""
MASK = "attention_mask"
"""What of a mapping tells tokens from padding."""


@dataclass(frozen=True)
class Described:
    """A sample of n examples without a model's answers.

    `values` float32 [n, v] are their inputs, where they are numbers; v is 0 where inputs differ in length.
    `features` float32 [n, f] are summaries of the inputs: of numbers the mean, standard deviation, minimum, maximum and
    roughness (mean step between neighbours), of integers the counts of tokens and the length. `labels` [n] are
    the classes, `groups` [n] equal for equal inputs.
    """

    values: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    groups: npt.NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.labels)

    def distinct(self) -> Described:
        """Return the first of all equal inputs: copies are no further evidence of anything."""
        first = np.sort(np.unique(self.groups, return_index=True)[1])
        return Described(self.values[first], self.features[first], self.labels[first], self.groups[first])


class Sample:
    """At most `most` of the examples that are added batch by batch, each with the same chance, in one pass.

    Every example draws a number, and the smallest numbers stay. The draw has a fixed seed.

    >>> sample = Sample(most=3)
    >>> for start in (0, 4):
    ...     inputs = torch.arange(start, start + 4).reshape(4, 1).float()
    ...     sample.add(inputs, np.arange(start, start + 4), np.arange(4).astype("S16"))
    >>> len(sample.described()), sample.described().values.shape
    (3, (3, 1))
    """

    def __init__(self, most: int = MOST_EXAMPLES) -> None:
        self.most = most
        self._generator = np.random.default_rng(0)
        self._bound = np.inf
        self._parts: list[tuple[npt.NDArray[Any], ...]] = []
        self._one_width = True

    def add(self, inputs: Any, labels: npt.NDArray[np.int64], digests: npt.NDArray[np.bytes_]) -> None:
        """Add a batch: inputs as the model gets them, a tensor or a mapping of such, classes and fingerprints [b]."""
        drawn = self._generator.random(len(labels))
        if len(drawn) > self.most:
            self._bound = min(self._bound, float(np.partition(drawn, self.most)[self.most]))
        stays = np.flatnonzero(drawn < self._bound)
        if not len(stays):
            return
        values, features = _describe(_taken(inputs, torch.from_numpy(stays)))
        self._one_width &= not self._parts or self._parts[0][1].shape[1] == values.shape[1]
        if not self._one_width:
            values = values[:, :0]
            self._parts = [(part[0], part[1][:, :0], *part[2:]) for part in self._parts]
        self._parts.append((drawn[stays], values, features, labels[stays], digests[stays].astype("S16")))
        if sum(len(part[0]) for part in self._parts) > 2 * self.most:
            self._parts = [self._smallest()]
            self._bound = self._parts[0][0].max()

    def described(self) -> Described:
        """Return the sample."""
        _, values, features, labels, digests = self._smallest()
        groups = np.ascontiguousarray(digests).view(np.uint64).reshape(len(digests), 2)[:, 0]
        return Described(values, features, labels, groups)

    def _smallest(self) -> tuple[npt.NDArray[Any], ...]:
        columns = [np.concatenate(column) for column in zip(*self._parts, strict=True)]
        chosen = np.sort(np.argsort(columns[0], kind="stable")[: self.most])
        return tuple(column[chosen] for column in columns)


def _taken(inputs: Any, places: torch.Tensor) -> Any:
    if isinstance(inputs, Mapping):
        return {name: torch.as_tensor(value).cpu()[places] for name, value in inputs.items()}
    return torch.as_tensor(inputs).cpu()[places]


def _describe(inputs: Any) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the values [b, v] and the summaries [b, f] of a batch of inputs."""
    columns = dict(inputs) if isinstance(inputs, Mapping) else {"": inputs}
    mask = columns.pop(MASK, None)
    values, features = [], []
    for column in columns.values():
        flat = column.reshape(len(column), -1)
        if _is_token(column):
            features.append(_tokens(flat, mask if mask is not None and mask.shape == column.shape else None))
        else:
            numbers = scaled(flat).float().nan_to_num()
            values.append(_shortened(numbers))
            features.append(_summary(numbers))
    kept = torch.cat(values, 1) if values else torch.zeros(len(features[0]), 0)
    return kept.numpy(), torch.cat(features, 1).numpy()


def _is_token(column: torch.Tensor) -> bool:
    return not (column.is_floating_point() or column.dtype in (torch.uint8, torch.bool))


def _shortened(flat: torch.Tensor) -> torch.Tensor:
    if flat.shape[1] <= MOST_VALUES:
        return flat
    return torch.nn.functional.adaptive_avg_pool1d(flat[:, None], MOST_VALUES)[:, 0]


def _summary(flat: torch.Tensor) -> torch.Tensor:
    steps = flat.diff(dim=1).abs().mean(1) if flat.shape[1] > 1 else torch.zeros(len(flat))
    columns = [flat.mean(1), flat.std(1, correction=0), flat.amin(1), flat.amax(1), steps]
    return torch.stack(columns, 1)


def _tokens(flat: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Count tokens [b, length], and tell the length.

    Without a mask the equal tokens at the end, but one, are padding: how many there are depends on the batch.
    """
    if mask is None:
        differs = (flat != flat[:, -1:]).long()
        kept = differs.flip(1).cumsum(1).flip(1) > 0
        kept[:, 1:] |= kept[:, :-1].clone()
        kept[:, 0] = True
    else:
        kept = mask.bool()
    counts = torch.zeros(len(flat), TOKENS).scatter_add_(1, flat.long() % TOKENS, kept.float())
    return torch.cat((counts, kept.sum(1, keepdim=True).float()), 1)
