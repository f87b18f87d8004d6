"""Anybody's examples, in whatever form they come, read once by all models under audit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from redense.attacks.references import Included, sample_pairs
from redense.auditing.evidence import NoisyAnswers, refuse_unreal
from redense.data.batches import as_input
from redense.data.examples import batches
from redense.errors import DataError, ModelError
from redense.models.evaluation import evaluating
from redense.signals import Query, Signals

NOISE = 0.001
NOISY_QUERIES = 3
NOISY_PAIRS = 12_000
"""Noisy queries are slow: reference models are asked about so many of all pairs (model, example)."""


Watch = Callable[[Any, npt.NDArray[np.int64], npt.NDArray[np.bytes_], torch.Tensor], None]
"""Is shown a batch as it passes: inputs, labels [b], fingerprints [b], the target's logits [b, classes]."""


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

    `name` stands in errors. With `noisy`, the models are also asked noisy queries. `watch` is shown every batch.

    Raises `DataError` when there are no examples, labels do not fit the logits, or logits are not finite; `ModelError`
    when a model's output is no logits.
    """
    parts: list[Examples] = []
    before = 0
    with ExitStack() as stack:
        for model in models:
            stack.enter_context(evaluating(model))
        for inputs, labels in batches(data, name, batch_size):
            placed = [_placed(inputs, device or _device(model)) for model in models]
            logits = [_logits(model, own, labels, name, before) for model, own in zip(models, placed, strict=True)]
            before += len(labels)
            fingerprints = digests(inputs)
            if watch is not None:
                watch(inputs, labels, fingerprints, logits[0])
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


def _placed(inputs: Any, device: torch.device | str) -> Any:
    if isinstance(inputs, Mapping):
        return {key: torch.as_tensor(value).to(device) for key, value in inputs.items()}
    return as_input(torch.as_tensor(inputs).to(device))


def _ask(model: nn.Module, inputs: Any) -> torch.Tensor:
    output = model(**inputs) if isinstance(inputs, Mapping) else model(inputs)
    logits = getattr(output, "logits", output)
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or logits.shape[1] < 2:
        got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ModelError(f"the model's output is {got}; expected logits [batch, classes] of two classes or more")
    return logits


def _logits(model: nn.Module, inputs: Any, labels: npt.NDArray[np.int64], name: str, before: int) -> torch.Tensor:
    logits = _ask(model, inputs)
    if len(logits) != len(labels):
        raise DataError(f"{name}: the model gives {len(logits)} answers to {len(labels)} examples; expected as many")
    wrong = np.flatnonzero((labels < 0) | (labels >= logits.shape[1]))
    if len(wrong):
        raise DataError(
            f"{name}: example {before + wrong[0]} has the label {labels[wrong[0]]}, and the model knows "
            f"{logits.shape[1]} classes; expected 0 to {logits.shape[1] - 1}"
        )
    return logits


def _augmented(
    model: nn.Module, inputs: Any, labels: npt.NDArray[np.int64], queries: Sequence[Query]
) -> npt.NDArray[np.bool_]:
    if not isinstance(inputs, torch.Tensor) or inputs.ndim != 4:
        raise DataError("queries: the inputs are no images [n, channels, height, width]; leave them out")
    answers = [_ask(model, query(inputs)).argmax(1).cpu().numpy() == labels for query in queries]
    return np.stack(answers, axis=1)


def _noisy(model: nn.Module, inputs: Any, logits: torch.Tensor) -> NoisyAnswers:
    probabilities = logits.double().softmax(1)
    return NoisyAnswers(probabilities.cpu().numpy(), sensitivity(model, inputs, probabilities).cpu().numpy())


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
        total += (_ask(model, inputs + NOISE * noise).double().softmax(1) - probabilities).abs()
    return total / (NOISE * NOISY_QUERIES)


def digests(inputs: Any) -> npt.NDArray[np.bytes_]:
    """Fingerprint every example of a batch by the bytes of its inputs, [n] of 16 bytes."""
    tensors = [torch.as_tensor(value) for value in (inputs.values() if isinstance(inputs, Mapping) else (inputs,))]
    flat = [tensor.detach().cpu().contiguous().reshape(len(tensor), -1).numpy() for tensor in tensors]
    return np.array(
        [
            hashlib.blake2b(b"".join(rows[index].tobytes() for rows in flat), digest_size=16).digest()
            for index in range(len(flat[0]))
        ],
        dtype="S16",
    )


def _device(model: nn.Module) -> torch.device:
    parameter = next(model.parameters(), None)
    return parameter.device if parameter is not None else torch.device("cpu")
