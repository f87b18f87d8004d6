"""Per-example numbers read off a model: what an attack sees of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import expit
from torch import nn

from redense.arguments import Count, Numbers, described, validated
from redense.data.batches import as_input
from redense.errors import FOREIGN, DataError, ModelError
from redense.models.evaluation import evaluating

EVALUATION_BATCH = 500
Array = npt.NDArray[np.float64]
OWN = Numbers("[n] or [n, q]")
Own = Annotated[npt.ArrayLike, OWN]
Query = Callable[[torch.Tensor], torch.Tensor]
"""Changes a batch of inputs without changing what they show: a flip, say."""
Batch = tuple[torch.Tensor, torch.Tensor]
InOrder = Callable[[Callable[[Batch], "Signals"], Sequence[Batch]], Iterable["Signals"]]
"""What `map` is: a function's answers to all batches, in their order."""


@validated(DataError)
@dataclass(frozen=True)
class Signals:
    """What a model says about n examples with known classes, each asked once or q times.

    All are float64 [n] or [n, q], `correct` is bool. With logits z, probabilities p and true class y:

    - `phi`: the scaled logit log p_y - log sum_{j != y} p_j, any real number (Carlini et al. 2022, section IV-A);
    - `entropy`: -sum_j p_j log p_j, 0 to log(classes);
    - `modified_entropy`: -(1 - p_y) log p_y - sum_{j != y} p_j log(1 - p_j), 0 or more; small for a sure and right
      answer, large for a sure and wrong one (Song & Mittal 2021, equation 3);
    - `margin`: z_y - max_{j != y} z_j;
    - `correct`: whether no other logit is larger than that of the true class (the first counts where equal).

    >>> signals = Signals.of_logits(torch.tensor([[2.0, 0.0], [2.0, 0.0]]), torch.tensor([0, 1]))
    >>> signals.margin.tolist(), signals.correct.tolist()
    ([2.0, -2.0], [True, False])
    """

    phi: Annotated[Array, OWN]
    entropy: Annotated[Array, OWN]
    modified_entropy: Annotated[Array, OWN]
    margin: Annotated[Array, OWN]
    correct: Annotated[npt.NDArray[np.bool_], Numbers("[n] or [n, q]", truths=True)]

    def __post_init__(self) -> None:
        shapes = {name: values.shape for name, values in self.arrays().items()}
        if len(set(shapes.values())) > 1 or not self.phi.ndim:
            given = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise DataError(f"signals: got {given}; expected one shape, [n] or [n, q]")

    @property
    def confidence(self) -> Array:
        """The probability of the true class, in [0, 1]; it rounds to 1 where `phi` exceeds 37."""
        confidence: Array = expit(self.phi)
        return confidence

    @property
    def loss(self) -> Array:
        """The cross-entropy -log p_y, 0 or more."""
        loss: Array = np.logaddexp(0.0, -self.phi)
        return loss

    def __len__(self) -> int:
        return len(self.phi)

    def __getitem__(self, places: int | npt.NDArray[np.int64]) -> Signals:
        """Choose along the first axis, of [m, n] the signals of some models or of one."""
        return Signals(
            self.phi[places],
            self.entropy[places],
            self.modified_entropy[places],
            self.margin[places],
            self.correct[places],
        )

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return the fields by name."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @classmethod
    @validated(DataError)
    def join(cls, parts: Iterable[Signals]) -> Signals:
        """Put the examples of several behind each other."""
        parts = list(parts)
        _refuse_unlike(parts, slice(1, None))
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})

    @classmethod
    @validated(DataError)
    def stack(cls, signals: Sequence[Signals], axis: int = 0) -> Signals:
        """Make one [m, n] of m models' signals [n] of the same examples; with `axis` 1 one [n, q] of q queries'."""
        _refuse_unlike(signals, slice(None))
        if not -signals[0].phi.ndim <= axis <= signals[0].phi.ndim:
            raise DataError(f"axis: got {axis}; expected 0 or 1")
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: np.stack([getattr(one, name) for one in signals], axis=axis) for name in names})

    @classmethod
    @validated(DataError)
    def of_phi(cls, phi: Own) -> Signals:
        """Make signals of scaled logits alone, as if there were two classes: what is known is all that counts.

        >>> Signals.of_phi([0.0]).entropy.round(4).tolist()
        [0.6931]
        """
        values = np.asarray(phi, dtype=np.float64)
        with np.errstate(invalid="ignore"):  # NaN stays NaN, and is reported where the signals are used
            p, q = expit(values), expit(-values)
            loss, other = np.logaddexp(0.0, -values), np.logaddexp(0.0, values)
            return cls(values, p * loss + q * other, 2 * q * loss, values, values >= 0)

    @classmethod
    @validated(DataError)
    def of_loss(cls, loss: Own) -> Signals:
        """Make signals of cross-entropies alone, each 0 or more.

        A loss of 0 stands for one that its type cannot tell from 0, and is taken as half of the type's precision.

        >>> Signals.of_loss([0.6931471805599453]).phi.round(12).tolist()
        [0.0]
        """
        given = np.asarray(loss)
        precision = np.finfo(given.dtype if given.dtype.kind == "f" else np.float64).eps / 2
        values = np.maximum(given.astype(np.float64), precision)
        return cls.of_phi(-values - np.log(-np.expm1(-values)))

    @classmethod
    @validated(DataError)
    def of_logits(
        cls,
        logits: Annotated[torch.Tensor | npt.NDArray[np.generic], Numbers("[n, classes]", (2,), tensors=True)],
        labels: Annotated[torch.Tensor | npt.ArrayLike, Numbers("[n], classes", (1,), integers=True, tensors=True)],
    ) -> Signals:
        """Compute the signals of logits [n, classes] for labels [n], in float64 and without rounding p to 0 or 1.

        >>> signals = Signals.of_logits(np.array([[0.0, 0.0], [200.0, 0.0]]), np.array([0, 0]))
        >>> signals.phi.tolist(), signals.entropy.round(4).tolist(), signals.correct.tolist()
        ([0.0, 200.0], [0.6931, 0.0], [True, True])
        """
        z = torch.as_tensor(logits).double()
        y = torch.as_tensor(np.asarray(labels) if not isinstance(labels, torch.Tensor) else labels)
        y = y.to(z.device, torch.int64)[:, None]
        if len(y) != len(z) or z.shape[1] < 2 or (len(y) and not 0 <= int(y.min()) <= int(y.max()) < z.shape[1]):
            ends = f" from {int(y.min())} to {int(y.max())}" if len(y) else ""
            raise DataError(
                f"logits: got {tuple(z.shape)} for {len(y)} labels{ends}; expected [n, classes], 2 classes or more, "
                "and for each of n a class from 0"
            )
        log_p = z.log_softmax(1)
        p = log_p.exp()
        others = z.scatter(1, y, -torch.inf)
        z_y = z.gather(1, y).squeeze(1)
        phi = z_y - others.logsumexp(1)
        largest = z.argmax(1, keepdim=True)
        # log(1 - p) loses everything where p rounds to 1, which only the largest can: there, sum what is left
        log_rest = z.scatter(1, largest, -torch.inf).logsumexp(1, keepdim=True) - z.logsumexp(1, keepdim=True)
        log_1mp = torch.log1p(-p.clamp(max=0.75)).scatter(1, largest, log_rest)
        wrong = (p * log_1mp).scatter(1, y, 0.0)
        modified = -torch.sigmoid(-phi) * log_p.gather(1, y).squeeze(1) - wrong.sum(1)
        entropy = -(p * log_p).masked_fill(log_p == -torch.inf, 0.0).sum(1)  # 0 log 0 = 0
        values = (phi, entropy, modified, z_y - others.amax(1), largest.squeeze(1) == y.squeeze(1))
        return cls(*(value.cpu().numpy() for value in values))


@validated(DataError)
def read_signals(model: nn.Module, x: torch.Tensor, y: torch.Tensor, queries: Sequence[Query] = ()) -> Signals:
    """Evaluate a model on stored examples x [n, ...] with labels y [n], in evaluation mode, without gradients.

    Each of q `queries` changes a batch of inputs before the model sees it; signals are then [n, q], without any [n].
    The model gives logits [batch, classes] as `redense.audit` takes them: a tensor or ``.logits``, or one logit an
    example. Raises `ModelError` when it refuses the inputs or gives something else, `DataError` for labels that are no
    classes of it.

    >>> read_signals(torch.nn.Linear(2, 3), torch.zeros(5, 2), torch.zeros(5, dtype=torch.long)).phi.shape
    (5,)
    """
    return read_in_batches(model, x, y, queries)


def read_in_batches(
    model: nn.Module, x: torch.Tensor, y: torch.Tensor, queries: Sequence[Query] = (), in_order: InOrder = map
) -> Signals:
    """Do as `read_signals` does, by another `map`: one that shares the batches out, say.

    Bits depend on which examples are in a batch and where, so batches are the same however they are shared out.
    """
    if not x.dim() or not y.dim():
        raise DataError("got a tensor without dimensions; expected examples [n, ...] and labels [n]")
    if len(x) != len(y) or not len(x):
        raise DataError(f"got {len(x)} examples and {len(y)} labels; expected one for each, and some")

    def read(batch: Batch) -> Signals:
        inputs = as_input(batch[0])
        answers = [Signals.of_logits(ask(model, query(inputs)), batch[1]) for query in queries or (_as_it_is,)]
        return Signals.stack(answers, axis=1) if queries else answers[0]

    batches = list(zip(x.split(EVALUATION_BATCH), y.split(EVALUATION_BATCH), strict=True))
    with evaluating(model):
        return Signals.join(in_order(read, batches))


def ask(model: nn.Module, inputs: Any) -> torch.Tensor:
    """Ask a model about a batch and return its logits [n, classes], of two classes or more.

    `inputs` are what it takes: a tensor, or a mapping that goes by keyword. Its output is a tensor or holds one as
    ``.logits``. One logit z an example, [n, 1] or [n], is that of the second of two classes: (0, z). Raises
    `ModelError` when the model refuses the inputs or its output is no logits.

    >>> ask(torch.nn.Flatten(0), torch.tensor([[1.0], [2.0]])).tolist()
    [[0.0, 1.0], [0.0, 2.0]]
    """
    try:
        given = _copied(inputs)
        output = model(**given) if isinstance(given, Mapping) else model(given)
    except FOREIGN as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise ModelError(
            f"the model raised {reason}; got {_described(inputs)} as inputs; expected such as in training"
            f"{_hint(model, inputs)}"
        ) from error
    logits = getattr(output, "logits", output)
    if isinstance(logits, torch.Tensor) and (logits.ndim < 2 or logits.shape[1:] == (1,)):
        single = logits.reshape(-1, 1)
        logits = torch.cat((torch.zeros_like(single), single), dim=1)
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or logits.shape[1] < 2:
        got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ModelError(
            f"the model's output is {got}; expected logits [batch, classes], or one logit an example for two classes"
        )
    if not logits.is_floating_point() or logits.layout != torch.strided or logits.is_meta:
        raise ModelError(f"the model's output is {described(logits)}; expected logits, floating-point numbers")
    return logits


def _hint(model: nn.Module, inputs: Any) -> str:
    """Say what is wrong with inputs of a model that begins with an embedding, as far as these tell."""
    embedding = next((one for one in model.modules() if isinstance(one, (nn.Embedding, nn.EmbeddingBag))), None)
    if embedding is None or not isinstance(inputs, torch.Tensor) or not inputs.numel():
        return ""
    if inputs.is_floating_point():
        return ": its embedding takes tokens, integers such as inputs.long()"
    low, high = int(inputs.min()), int(inputs.max())
    if low < 0 or high >= embedding.num_embeddings:
        return f": tokens go from {low} to {high}, and its embedding knows 0 to {embedding.num_embeddings - 1}"
    return ""


def _copied(inputs: Any) -> Any:
    """Copy what a model gets: it may normalise its inputs in place, and others are asked about the same ones."""
    if isinstance(inputs, Mapping):
        return {name: _copied(value) for name, value in inputs.items()}
    return inputs.clone() if isinstance(inputs, torch.Tensor) else inputs


def _described(inputs: Any) -> str:
    if isinstance(inputs, Mapping):
        return ", ".join(f"{name}: {described(value)}" for name, value in inputs.items())
    return described(inputs) + (", [n, channels, height, width]," if getattr(inputs, "ndim", 0) == 4 else "")


def _refuse_unlike(parts: Sequence[Signals], axes: slice) -> None:
    """Raise `DataError` unless there are some, whose shapes agree along these axes."""
    if not all(isinstance(part, Signals) for part in parts):
        raise DataError(f"signals: got {described(list(parts))}; expected a list of Signals")
    shapes = {part.phi.shape[axes] for part in parts}
    if len(shapes) != 1:
        raise DataError(f"signals: got {len(parts)} of {len(shapes)} shapes; expected one or more of one shape")


def _as_it_is(inputs: torch.Tensor) -> torch.Tensor:
    return inputs


def flip(inputs: torch.Tensor) -> torch.Tensor:
    """Mirror images [n, c, h, w] left to right.

    >>> flip(torch.tensor([[[[1, 2, 3]]]])).tolist()
    [[[[3, 2, 1]]]]
    """
    return inputs.flip(3)


def shift(down: int, right: int) -> Query:
    """Return a query that moves images [n, c, h, w] by some pixels; what comes in from outside is 0.

    >>> shift(0, 1)(torch.tensor([[[[1, 2, 3]]]])).tolist()
    [[[[0, 1, 2]]]]
    """

    def moved(inputs: torch.Tensor) -> torch.Tensor:
        height, width = inputs.shape[2:]
        by_down, by_right = (max(-size, min(size, step)) for size, step in ((height, down), (width, right)))
        padding = (max(by_right, 0), max(-by_right, 0), max(by_down, 0), max(-by_down, 0))
        padded = nn.functional.pad(inputs, padding)
        top, left = max(-by_down, 0), max(-by_right, 0)
        return padded[:, :, top : top + height, left : left + width]

    return moved


@validated(DataError)
def image_queries(pixels: Count = 1, flips: bool = True) -> tuple[Query, ...]:
    """Return the image as it is, shifted by `pixels` in four directions and, with `flips`, all of them mirrored.

    >>> len(image_queries()), len(image_queries(flips=False))
    (10, 5)
    """
    steps = ((0, 0), (pixels, 0), (-pixels, 0), (0, pixels), (0, -pixels))
    shifts = [shift(*step) for step in steps]
    mirrored = [lambda inputs, move=move: flip(move(inputs)) for move in shifts] if flips else []
    return (*shifts, *mirrored)
