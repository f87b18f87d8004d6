"""K models of one architecture as one: their weights in one tensor, their steps in one kernel each.

The losses come from `torch.func.vmap`, the update from PyTorch's own fused optimizer with a row of weights as one
parameter. So a step does what K plain steps do, up to the order of sums in convolutions and products, and what becomes
of a model does not depend on the others, but for rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from itertools import groupby
from typing import Any

import torch
from torch import nn
from torch.func import functional_call, vmap

from redense.data.batches import scaled
from redense.experiment.engines.stacked_layers import StackedLayers
from redense.experiment.optimizers import OPTIMIZERS, OptimizerName, make_optimizer
from redense.experiment.plan import Training
from redense.experiment.precision import logits_in
from redense.experiment.recipe import Precision
from redense.experiment.trainer import trainable
from redense.experiment.whole_folders import Tensors
from redense.models.evaluation import evaluating

EVALUATED = 1 << 12
"""Examples evaluated at once, over all models together."""
WARM_UP = 3
"""Steps on CUDA before one is captured: libraries choose their kernels and buffers in them."""
Models = tuple[int, int]
"""Neighbours in a stack: the first, and the one after the last."""


class Stack:
    """K models in training on one device.

    `weights` is [K, p]: all trainable parameters of a model in a row. The pool of examples x [n, ...], y [n] is shared
    by all; each model is told its own examples by their places in it, as many as it has.
    """

    def __init__(
        self,
        template: nn.Module,
        states: Sequence[Tensors],
        masks: Sequence[Tensors],
        trainings: Sequence[Training],
        x: torch.Tensor,
        y: torch.Tensor,
    ) -> None:
        """Start from a state_dict and masks (perhaps none) a model; trainings may differ in their rates alone."""
        self.template = template
        self.x, self.y = x, y
        self.precision = trainings[0].precision
        named = dict(template.named_parameters())
        self.names = [name for name, parameter in named.items() if parameter.requires_grad]
        self.shapes = [named[name].shape for name in self.names]
        self.sizes = [named[name].numel() for name in self.names]
        kept = [name for name in (*named, *dict(template.named_buffers())) if name not in self.names]
        self.fixed = {name: torch.stack([state[name] for state in states]).to(x.device) for name in kept}
        self.weights = torch.stack([self._row(state) for state in states]).to(x.device)
        self.mask = self._mask(masks)
        if self.mask is not None:
            self.weights.masked_fill_(self.mask == 0, 0.0)  # a product would leave -0.0
        self.rows = [nn.Parameter(row) for row in self.weights]
        groups = [{"params": [row], "lr": training.lr} for row, training in zip(self.rows, trainings, strict=True)]
        self.optimizer = make_optimizer(_by_rate(groups), trainings[0])
        self._counters = OPTIMIZERS[trainings[0].optimizer].counters
        for group in self.optimizer.param_groups:
            if "capturable" in group:
                group["capturable"] = x.device.type == "cuda"
        self.losses = torch.zeros(len(states), dtype=torch.float64, device=x.device)
        self._loss_of_each = vmap(self._loss, randomness="error")
        self._forward = vmap(self._logits, randomness="error")
        self._layers: AbstractContextManager[Any] = nullcontext() if x.device.type == "cuda" else StackedLayers()
        self._warm_up = WARM_UP
        self._captured: dict[Models, tuple[torch.cuda.CUDAGraph, torch.Tensor]] = {}

    def train_epoch(self, orders: Sequence[torch.Tensor], batch_size: int) -> list[float]:
        """Train one epoch; `orders` are the places of each model's examples, [n] of each. Returns the mean losses.

        Models may have different numbers of examples. A step is made together by neighbours whose batches are of one
        size; a model that is through makes no more: its weights, moments and their count of steps stay as they are.
        """
        self.template.train()
        self.losses.zero_()
        lengths = [len(order) for order in orders]
        padded = torch.stack([nn.functional.pad(order, (0, max(lengths) - len(order))) for order in orders])
        padded = padded.to(self.x.device)
        for start in range(0, max(lengths), batch_size):
            sizes = [min(batch_size, length - start) for length in lengths]
            batches = {at: padded[slice(*at), start : start + size] for at, size in _runs(sizes) if size > 0}
            whole = len(batches) == 1 and all(batch.shape[1] == batch_size for batch in batches.values())
            if self.x.device.type == "cuda" and whole:
                self._step_on_cuda(*batches.popitem())
            else:
                self._step(batches)
        return [loss / length for loss, length in zip(self.losses.tolist(), lengths, strict=True)]

    def logits(self, places: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Evaluate every model on its own examples, given by their places; returns one [n, classes] a model."""
        longest = max(map(len, places))
        # shorter lists are filled up with an example that is there, and cut again
        padded = torch.stack([nn.functional.pad(each, (0, longest - len(each))) for each in places]).to(self.x.device)
        weights = self.weights.split(self.sizes, dim=1)
        with evaluating(self.template), self._layers:
            parts = [
                self._forward(weights, self.fixed, scaled(self.x[batch]))
                for batch in padded.split(max(1, EVALUATED // len(places)), dim=1)
            ]
        answers = torch.cat(parts, dim=1)
        return [answer[: len(each)] for answer, each in zip(answers, places, strict=True)]

    def state(self, model: int) -> Tensors:
        """Return a model's state_dict, copied."""
        return {name: value.detach().clone() for name, value in self.model(model).state_dict().items()}

    def model(self, model: int) -> nn.Module:
        """Return a model by itself, a copy."""
        own = {
            **self._named(self.weights[model].split(self.sizes)),
            **{name: value[model] for name, value in self.fixed.items()},
        }
        copy = deepcopy(self.template)
        copy.load_state_dict(own, strict=False)  # tied names are loaded through the one that is listed
        return copy

    def load_state(self, model: int, state: Tensors) -> None:
        """Give a model the weights and buffers of a state_dict."""
        self.weights[model].copy_(self._row(state))
        for name, values in self.fixed.items():
            values[model].copy_(state[name])

    def mask_anew(self, model: int, masks: Tensors) -> None:
        """Put other masks on a model that has some; what these prune, weights and moments, becomes 0."""
        assert self.mask is not None
        kept = self._mask_row(masks).to(self.x.device)
        self.mask[model] = kept
        moments = (value for value in self.optimizer.state[self.rows[model]].values() if value.shape == kept.shape)
        for values in (self.weights[model], *moments):
            values.masked_fill_(kept == 0, 0.0)

    def set_rates(self, rates: Sequence[float]) -> None:
        """Set every model's learning rate."""
        now = {id(row): group["lr"] for group in self.optimizer.param_groups for row in group["params"]}
        if [now[id(row)] for row in self.rows] == list(rates):
            return
        common = {name: value for name, value in self.optimizer.param_groups[0].items() if name not in ("params", "lr")}
        groups = _by_rate([{"params": [row], "lr": rate} for row, rate in zip(self.rows, rates, strict=True)])
        self.optimizer.param_groups = [{**common, **group} for group in groups]
        self._captured.clear()  # a captured step holds its rates

    def optimizer_state(self, model: int) -> Tensors:
        """Return the optimizer's state of a model as plain training stores it: "<index>.<name>" -> tensor."""
        found: Tensors = {}
        for name, value in self.optimizer.state[self.rows[model]].items():
            parts = value.split(self.sizes) if value.dim() else [value] * len(self.sizes)
            for index, (part, shape) in enumerate(zip(parts, self.shapes, strict=True)):
                found[f"{index}.{name}"] = part.view(shape).clone() if value.dim() else part.clone()
        return found

    def load_optimizer_state(self, model: int, tensors: Tensors) -> None:
        """Undo `optimizer_state`; a parameter of which there is nothing has moments of 0, as in plain training."""
        for name in {key.partition(".")[2] for key in tensors}:
            parts = [tensors.get(f"{index}.{name}") for index in range(len(self.sizes))]
            value = next(part for part in parts if part is not None)
            if name not in self._counters:
                sizes = zip(parts, self.sizes, strict=True)
                value = torch.cat([value.new_zeros(size) if part is None else part.flatten() for part, size in sizes])
            self.optimizer.state[self.rows[model]][name] = value.to(self.x.device)

    def _step(self, batches: Mapping[Models, torch.Tensor]) -> None:
        """Make one step of some neighbours each on the examples at their places [m, b]; the others make none."""
        for row in self.rows:
            row.grad = None  # and then the optimizer does not touch it
        for models, places in batches.items():
            some = slice(*models)
            weights = self.weights[some].detach().requires_grad_()
            fixed = {name: values[some] for name, values in self.fixed.items()}
            with self._layers:
                losses = self._loss_of_each(
                    weights.split(self.sizes, dim=1), fixed, scaled(self.x[places]), self.y[places]
                )
            (gradients,) = torch.autograd.grad(losses.sum(), weights)
            if self.mask is not None:
                gradients.mul_(self.mask[some])
            for row, gradient in zip(self.rows[some], gradients, strict=True):
                row.grad = gradient
            self.losses[some] += losses.detach() * places.shape[1]
        self.optimizer.step()

    def _step_on_cuda(self, models: Models, places: torch.Tensor) -> None:
        """Replay a captured step: hundreds of kernels of a few microseconds for the price of one launch."""
        if self._warm_up > 0:
            self._warm_up -= 1
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                self._step({models: places})
            torch.cuda.current_stream().wait_stream(side)
            return
        if models not in self._captured:
            graph, buffer = torch.cuda.CUDAGraph(), places.clone()
            with torch.cuda.graph(graph):
                self._step({models: buffer})
            self._captured[models] = graph, buffer
        graph, buffer = self._captured[models]
        buffer.copy_(places)
        graph.replay()

    def _loss(self, parts: Sequence[torch.Tensor], fixed: Tensors, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        logits = logits_in(self.precision, lambda inputs: self._logits(parts, fixed, inputs), x)
        return nn.functional.cross_entropy(logits, y)

    def _logits(self, parts: Sequence[torch.Tensor], fixed: Tensors, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = functional_call(self.template, {**self._named(parts), **fixed}, (x,))
        return logits

    def _named(self, parts: Sequence[torch.Tensor]) -> Tensors:
        """Name and shape the parts of a row of weights, cut by `sizes`."""
        named = zip(self.names, parts, self.shapes, strict=True)
        return {name: part.view(shape) for name, part, shape in named}

    def _row(self, tensors: Tensors) -> torch.Tensor:
        return torch.cat([tensors[name].detach().flatten() for name in self.names])

    def _mask(self, masks: Sequence[Tensors]) -> torch.Tensor | None:
        """Return the masks as factors [K, p], or None where no model has any."""
        if not any(masks):
            return None
        return torch.stack([self._mask_row(each) for each in masks]).to(self.x.device)

    def _mask_row(self, masks: Tensors) -> torch.Tensor:
        ones = {name: torch.ones(shape) for name, shape in zip(self.names, self.shapes, strict=True)}
        return self._row({**ones, **{name: mask.float().cpu() for name, mask in masks.items()}})


def why_not_stacked(
    model: nn.Module, examples: torch.Tensor, precision: Precision = "fp32", optimizer: OptimizerName = "adam"
) -> str | None:
    """Say why a model cannot be trained in a stack, or return None where it can.

    Two examples [2, ...] are run through a copy of the model: it must not change its buffers (as BatchNorm does with
    its running statistics), not draw random numbers (as Dropout does), and use what `torch.func.vmap` knows. The
    optimizer is handed a model's weights as one row, and must not tell one tensor from another.
    """
    if not OPTIMIZERS[optimizer].elementwise:
        return f"{optimizer} updates every tensor as a whole"
    model = deepcopy(model).cpu().train()
    if len({parameter.dtype for parameter in trainable(model)}) > 1:
        return "its parameters have several types"
    y = torch.zeros(2, dtype=torch.int64)
    before = {name: value.clone() for name, value in model.named_buffers()}
    with torch.random.fork_rng(devices=[]):
        model(examples)
    for name, value in model.named_buffers():
        if not torch.equal(value, before[name]):
            return f"it changes its buffer {name} in training"
    state = model.state_dict()
    training = Training("", 2, "sgd", 0.0, 0.0, 0.0, precision)
    try:
        stack = Stack(model, [state, state], [{}, {}], [training, training], examples, y)
        stack.train_epoch([torch.zeros(2, dtype=torch.int64)] * 2, 2)
        stack.logits([torch.zeros(2, dtype=torch.int64)] * 2)
    except RuntimeError as error:
        return str(error).partition("\n")[0].partition(". ")[0]
    return None


def _by_rate(groups: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Merge parameter groups of one rate: an optimizer updates each group in one kernel."""
    merged: dict[float, dict[str, Any]] = {}
    for group in groups:
        merged.setdefault(group["lr"], {"params": [], "lr": group["lr"]})["params"] += group["params"]
    return list(merged.values())


def _runs(sizes: Sequence[int]) -> Iterator[tuple[Models, int]]:
    """Yield the longest runs of neighbours of one size, and the size."""
    first = 0
    for size, run in groupby(sizes):
        after = first + len(list(run))
        yield (first, after), size
        first = after
