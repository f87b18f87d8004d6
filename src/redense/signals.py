"""Per-example numbers read off a model: what an attack sees of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from redense.data.batches import as_input

EVALUATION_BATCH = 500


@dataclass(frozen=True)
class Signals:
    """What a model says about n examples.

    `phi` is the scaled logit, float64 [n]; `correct`, bool [n], whether the largest logit is the true class's.
    """

    phi: torch.Tensor
    correct: torch.Tensor


def scaled_logit(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return log p_y - log sum_{j != y} p_j for logits [n, classes] and labels [n], float64 [n].

    Computed as z_y - logsumexp_{j != y} z_j, so that it still ranks examples whose probability is exactly 1 in
    float32. It grows with the probability p_y of the true class, so a threshold on one is a threshold on the other.
    Source: Carlini et al., "Membership Inference Attacks From First Principles", 2022, section IV-A.

    >>> phi = scaled_logit(torch.tensor([[0.0, 0.0], [200.0, 0.0]]), torch.tensor([0, 0]))
    >>> phi.tolist()
    [0.0, 200.0]
    """
    logits = logits.double()
    true_class = labels[:, None]
    others = logits.scatter(1, true_class, -torch.inf)
    return logits.gather(1, true_class).squeeze(1) - others.logsumexp(1)


def read_signals(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> Signals:
    """Evaluate a model on stored examples x [n, ...] with labels y [n], in evaluation mode, without gradients."""
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        batches = [
            (model(as_input(x_batch)), y_batch)
            for x_batch, y_batch in zip(x.split(EVALUATION_BATCH), y.split(EVALUATION_BATCH), strict=True)
        ]
        signals = Signals(
            phi=torch.cat([scaled_logit(logits, labels) for logits, labels in batches]).cpu(),
            correct=torch.cat([logits.argmax(1) == labels for logits, labels in batches]).cpu(),
        )
    model.train(was_training)
    return signals
