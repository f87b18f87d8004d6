"""Anybody's examples, in whatever form they come, read once by all models under audit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from redense.attacks.references import Included, sample_pairs
from redense.auditing.asking import Reading, answer
from redense.auditing.evidence import NoisyAnswers, refuse_unreal
from redense.data.examples import batches
from redense.data.order import draws_in_order, shuffles
from redense.errors import DataError
from redense.models.evaluation import evaluating
from redense.signals import Query, Signals, ask

NOISE = 0.001
NOISY_QUERIES = 3
NOISY_PAIRS = 12_000
"""Noisy queries are slow: reference models are asked about so many of all pairs (model, example)."""


Watch = Callable[[Any, Any, npt.NDArray[np.int64], npt.NDArray[np.bytes_], Sequence[torch.Tensor]], None]
"""Is shown a batch as it passes: inputs as they are stored and as the target gets them, labels [b], fingerprints [b] of
the latter, each model's logits [b, classes]."""


@dataclass(frozen=True)
class Examples:
    """What k models say about n examples.

    `signals` holds one [n] a model, `digests` [n] a fingerprint of each input, `augmented` the target's correctness
    under changed inputs, bool [n, q] or None, `noisy` the answers of each model to noisy queries, if they were asked.
    """

    labels: npt.NDArray[np.int64]
    digests: npt.NDArray[np.bytes_]
    signals: tuple[Signals, ...]
    augmented: npt.NDArray[np.bool_] | None
    noisy: tuple[NoisyAnswers, ...]

    @classmethod
    def join(cls, parts: Sequence[Examples]) -> Examples:
        """Put the examples of several behind each other."""
        augmented = [part.augmented for part in parts if part.augmented is not None]
        return cls(
            labels=np.concatenate([part.labels for part in parts]),
            digests=np.concatenate([part.digests for part in parts]),
            signals=tuple(Signals.join(of_model) for of_model in zip(*(part.signals for part in parts), strict=True)),
            augmented=np.concatenate(augmented) if augmented else None,
            noisy=tuple(NoisyAnswers.join(of_model) for of_model in zip(*(part.noisy for part in parts), strict=True)),
        )


def read_examples(
    models: Sequence[nn.Module],
    data: Any,
    name: str,
    *,
    queries: Sequence[Query] = (),
    noisy: bool = False,
    batch_size: int = 500,
    device: str | None = None,
    watch: Watch | None = None,
) -> Examples:
    """Read data once, a batch at a time, and ask all models about each batch; the first model is the target.

    `name` stands in errors. With `noisy`, the models are also asked noisy queries. `watch` is shown every batch. How
    each model takes the inputs is found on the first batch: see `redense.auditing.asking.answer`.

    Raises `DataError` when there are no examples, labels do not fit the logits, or logits are not finite; `ModelError`
    when a model refuses the inputs or its output is no logits.
    """
    parts: list[Examples] = []
    readings: list[Reading | None] = [None] * len(models)
    before = 0
    with ExitStack() as stack:
        for model in models:
            stack.enter_context(evaluating(model))
        for inputs, labels in batches(data, name, batch_size):
            answers = [answer(model, inputs, device, known) for model, known in zip(models, readings, strict=True)]
            readings = [one.reading for one in answers]
            placed, logits = [one.inputs for one in answers], [one.logits for one in answers]
            for z in logits:
                _check(z, labels, name, before)
            before += len(labels)
            fingerprints = digests(placed[0])  # as the target gets them: however they are stored, equal is equal
            if watch is not None:
                watch(inputs, placed[0], labels, fingerprints, logits)
            parts.append(
                Examples(
                    labels=labels,
                    digests=fingerprints,
                    signals=tuple(Signals.of_logits(z, labels) for z in logits),
                    augmented=_augmented(models[0], placed[0], labels, queries) if queries else None,
                    noisy=tuple(map(_noisy, models, placed, logits)) if noisy else (),
                )
            )
    examples = Examples.join(parts)
    for number, signals in enumerate(examples.signals):
        refuse_unreal(f"{name}: {'the model' if number == 0 else f'reference model {number - 1}'}", signals)
    return examples


def _check(logits: torch.Tensor, labels: npt.NDArray[np.int64], name: str, before: int) -> None:
    """Raise `DataError` unless labels fit logits; `before` examples came earlier."""
    if len(logits) != len(labels):
        raise DataError(f"{name}: the model gives {len(logits)} answers to {len(labels)} examples; expected as many")
    wrong = np.flatnonzero((labels < 0) | (labels >= logits.shape[1]))
    if len(wrong):
        raise DataError(
            f"{name}: example {before + wrong[0]} has the label {labels[wrong[0]]}, and the model knows "
            f"{logits.shape[1]} classes; expected 0 to {logits.shape[1] - 1}"
        )


def _augmented(
    model: nn.Module, inputs: Any, labels: npt.NDArray[np.int64], queries: Sequence[Query]
) -> npt.NDArray[np.bool_]:
    if not isinstance(inputs, torch.Tensor) or inputs.ndim != 4:
        raise DataError("queries: the inputs are no images [n, channels, height, width]; leave them out")
    answers = [ask(model, query(inputs)).argmax(1).cpu().numpy() == labels for query in queries]
    return np.stack(answers, axis=1)


def _noisy(model: nn.Module, inputs: Any, logits: torch.Tensor) -> NoisyAnswers:
    probabilities = logits.double().softmax(1)
    return NoisyAnswers(probabilities.cpu().numpy(), sensitivity(model, inputs, probabilities).cpu().numpy())


def refuse_disorder(data: Any, name: str) -> None:
    """Raise `DataError` for data whose order is not known: what reference models were trained on is told by it alone.

    Arrays and data sets have places. A loader has to draw those of its data set, from the first on; of a data set that
    can only be read on and on, or of an iterator, nobody knows in which order it will be read.
    """
    if isinstance(data, DataLoader):
        if draws_in_order(data):
            return
        got = "a loader that shuffles" if shuffles(data) else "a loader that may not give its data set in order"
    elif isinstance(data, (Iterator, IterableDataset)):
        got = "examples that can only be read one after the other, in an order that is not known"
    else:
        return
    raise DataError(
        f"{name}: got {got}, and reference models; `included` says by the place of an example which models were "
        "trained on it, so the order must be fixed: give the data set itself, arrays, or a loader with shuffle=False"
    )


def noisy_pairs(included: Included) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Draw the models [r] and examples [r] of noisy queries to reference models trained on `included` [m, n]."""
    return sample_pairs(included, NOISY_PAIRS, seed=0)


def sensitivity(model: nn.Module, inputs: Any, probabilities: torch.Tensor) -> torch.Tensor:
    """Return how much probabilities [n, classes] change with noise on the inputs, per unit of noise.

    The mean of |p(x + noise) - p(x)| / `NOISE` over `NOISY_QUERIES` draws of normal noise (Yuan & Zhang 2022, section
    4.2). 0 where the inputs are no floating-point tensor, such as text.
    """
    if not isinstance(inputs, torch.Tensor) or not inputs.is_floating_point():
        return torch.zeros_like(probabilities)
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros_like(probabilities)
    for _ in range(NOISY_QUERIES):
        noise = torch.randn(inputs.shape, generator=generator).to(inputs)
        total += (ask(model, inputs + NOISE * noise).double().softmax(1) - probabilities).abs()
    return total / (NOISE * NOISY_QUERIES)


def digests(inputs: Any) -> npt.NDArray[np.bytes_]:
    """Fingerprint every example of a batch by the bytes of its inputs, [n] of 16 bytes.

    Inputs with names are the same in any order of these, and in any width of their numbers.
    """
    names = sorted(inputs) if isinstance(inputs, Mapping) else [""]
    tensors = [_widened(inputs[name]) for name in names] if isinstance(inputs, Mapping) else [torch.as_tensor(inputs)]
    rows = [tensor.detach().cpu().contiguous().reshape(len(tensor), -1) for tensor in tensors]
    flat = [row.view(torch.uint8).numpy() for row in rows]  # as bytes, for NumPy knows no bfloat16
    found = []
    for parts in zip(*flat, strict=True):
        fingerprint = hashlib.blake2b(digest_size=16)
        for name, part in zip(names, parts, strict=True):
            fingerprint.update(name.encode())
            fingerprint.update(part)
        found.append(fingerprint.digest())
    return np.array(found, dtype="S16")


def _widened(values: Any) -> torch.Tensor:
    tensor = torch.as_tensor(values)
    return tensor.double() if tensor.is_floating_point() else tensor.long()
