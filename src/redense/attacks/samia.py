"""SAMIA, the self-attention attack on pruned models: confidences and how they tremble, class by class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from redense.arguments import Count, Numbers, at_most, validated
from redense.attacks.references import Array
from redense.errors import ArgumentError

Tokens = Annotated[npt.ArrayLike, Numbers("[n, classes, 3]", (3,), finite=True)]
Inside = Annotated[npt.ArrayLike, Numbers("[n], True = trained on it", (1,), truths=True)]
WIDTH = 32
MOST_CLASSES = 10
BATCH = 256


def tokens(probabilities: npt.ArrayLike, sensitivities: npt.ArrayLike, labels: npt.ArrayLike) -> Array:
    """Put what a model says about n examples into the attack's form, float64 [n, min(classes, 10), 3].

    A token a class, the most probable first: its probability, how much that changes when the input is changed a little,
    and whether it is the true class; probabilities [n, classes], sensitivities likewise, labels [n]. The first two are
    given as logarithms, since the probabilities of a sure model are nearly all 0 or 1.

    >>> tokens([[0.1, 0.9]], [[0.5, 0.6]], [0]).round(1).tolist()
    [[[-0.1, -0.5, 0.0], [-2.3, -0.7, 1.0]]]
    """
    p, s, y = np.asarray(probabilities), np.asarray(sensitivities), np.asarray(labels)
    if p.ndim != 2 or s.shape != p.shape or y.shape != p.shape[:1]:
        raise ArgumentError(f"got {p.shape}, {s.shape} and labels {y.shape}; expected [n, classes] twice, and [n]")
    classes = np.argsort(-p, axis=1, kind="stable")[:, :MOST_CLASSES]
    p, s = (np.take_along_axis(values, classes, axis=1) for values in (p, s))
    smallest = 1e-30
    return np.stack([np.log(p + smallest), np.log(s + smallest), classes == y[:, None]], axis=2).astype(np.float64)


class _Attention(nn.Module):
    """A transformer over the classes' tokens and one output, the log odds of membership."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(classes * 3)
        self.embed = nn.Linear(3, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 2 * WIDTH, dropout=0.1, activation="gelu", batch_first=True)
        self.encode = nn.TransformerEncoder(layer, num_layers=2, enable_nested_tensor=False)
        self.decide = nn.Sequential(nn.Linear(WIDTH * classes, WIDTH), nn.GELU(), nn.Linear(WIDTH, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = self.norm(x.flatten(1)).view_as(x)
        encoded = self.encode(nn.functional.gelu(self.embed(flat)))
        logits: torch.Tensor = self.decide(encoded.flatten(1)).squeeze(1)
        return logits


@dataclass(frozen=True)
class FittedSAMIA:
    """What a `SAMIA` has learnt."""

    network: _Attention

    @validated()
    def score(self, target: Tokens) -> Array:
        """Score a target's `tokens` [n, classes, 3]."""
        own = torch.from_numpy(np.asarray(target)).float()
        classes = self.network.norm.num_features // 3
        if own.shape[1:] != (classes, 3):
            raise ArgumentError(
                f"target: got {tuple(own.shape)}; expected [n, {classes}, 3] as from the reference models"
            )
        with torch.inference_mode():
            parts = [self.network(part) for part in own.split(4096)]
        return np.asarray(torch.cat(parts).double().numpy())


@validated()
@dataclass(frozen=True)
class SAMIA:
    """The attack of Yuan & Zhang, "Membership Inference Attacks and Defenses in Neural Network Pruning", 2022.

    A self-attention network learns from reference models, pruned as the target was, to tell IN from OUT by the
    probabilities of the classes, their sensitivity to noise on the input, and the true class (section 5). It is
    smaller than the paper's (2 layers of width 32, the ten most probable classes), learns with Adam, and keeps the
    weights of the epoch with the least loss on a tenth of the examples, from which it does not learn.
    """

    epochs: Annotated[int, at_most(100_000)] = 12
    seed: Count = 0

    @validated()
    def score(self, target: Tokens, answers: Tokens, inside: Inside) -> Array:
        """Score n examples by log odds; higher = member, 0 = undecided.

        Args:
            target: `tokens` of what the target says, [n, classes, 3].
            answers: `tokens` of what reference models say about some examples, [r, classes, 3].
            inside: whether the model was trained on the example, bool [r].

        Raises `ArgumentError` when shapes do not fit or one side is missing.
        """
        return self.fit(answers, inside).score(target)

    @validated()
    def fit(self, answers: Tokens, inside: Inside) -> FittedSAMIA:
        """Learn from the reference models once, for any number of targets; arguments as in `score`."""
        others, member = np.asarray(answers), np.asarray(inside)
        if others.ndim != 3 or others.shape[2] != 3 or not others.shape[1] or member.shape != others.shape[:1]:
            raise ArgumentError(
                f"got answers {others.shape} and inside {member.shape}; expected [r, classes, 3] and [r]"
            )
        if member.dtype != np.bool_ or not member.any() or member.all():
            raise ArgumentError("inside: expected bool with answers of models trained with and without the example")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return FittedSAMIA(self._fit(torch.from_numpy(others).float(), torch.from_numpy(member).float()))

    def _fit(self, x: torch.Tensor, y: torch.Tensor) -> _Attention:
        order = torch.randperm(len(y))
        held, learnt = order[: max(1, len(y) // 10)], order[max(1, len(y) // 10) :]
        network = _Attention(x.shape[1])
        optimizer = torch.optim.Adam(network.parameters(), 1e-3, fused=True)
        criterion = nn.BCEWithLogitsLoss()
        best, kept = float("inf"), network.state_dict()
        for _ in range(self.epochs):
            network.train()
            for batch in learnt[torch.randperm(len(learnt))].split(BATCH):
                if len(batch) < 2:  # batch normalisation needs two
                    continue
                optimizer.zero_grad()
                criterion(network(x[batch]), y[batch]).backward()
                optimizer.step()
            network.eval()
            with torch.inference_mode():
                loss = float(criterion(network(x[held]), y[held]))
            if loss < best:
                best, kept = loss, {name: value.clone() for name, value in network.state_dict().items()}
        network.load_state_dict(kept)
        network.eval()
        return network
