"""K models of one architecture as one: their weights in one tensor, their steps in one kernel each.

The gradients come from `torch.func`, the update from PyTorch's own fused optimizer with a row of weights as one
parameter. So a step does what K plain steps do, up to the order of sums in convolutions and products.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import nn
from torch.func import functional_call, grad_and_value, vmap

from redense.data.batches import scaled
from redense.experiment.plan import Training
from redense.experiment.precision import logits_in
from redense.experiment.recipe import Precision
from redense.experiment.trainer import make_optimizer, trainable
from redense.experiment.whole_folders import Tensors
from redense.models.evaluation import evaluating

EVALUATED = 1 << 12
"""Examples evaluated at once, over all models together."""
WARM_UP = 3
"""Steps on CUDA before one is captured: libraries choose their kernels and buffers in them."""


class Stack:
    """K models in training on one device.

    `weights` is [K, p]: all trainable parameters of a model in a row. The pool of examples x [n, ...], y [n] is shared
    by all; each model is told its own examples by their places in it.
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
        self.gradients = torch.zeros_like(self.weights)
        self.rows = [nn.Parameter(row) for row in self.weights]
        for row, gradient in zip(self.rows, self.gradients, strict=True):
            row.grad = gradient
        groups = [{"params": [row], "lr": training.lr} for row, training in zip(self.rows, trainings, strict=True)]
        self.optimizer = make_optimizer(_by_rate(groups), trainings[0])
        for group in self.optimizer.param_groups:
            if "capturable" in group:
                group["capturable"] = x.device.type == "cuda"
        self.losses = torch.zeros(len(states), dtype=torch.float64, device=x.device)
        self._differentiate = vmap(grad_and_value(self._loss), randomness="error")
        self._forward = vmap(self._logits, randomness="error")
        self._warm_up = WARM_UP
        self._captured: tuple[torch.cuda.CUDAGraph, torch.Tensor] | None = None

    def train_epoch(self, orders: torch.Tensor, batch_size: int) -> list[float]:
        """Train one epoch; `orders` [K, n] are the places of each model's examples. Returns the mean losses."""
        self.template.train()
        self.losses.zero_()
        for batch in orders.to(self.x.device).split(batch_size, dim=1):
            if self.x.device.type == "cuda" and batch.shape[1] == batch_size:
                self._step_on_cuda(batch)
            else:
                self._step(batch)
        losses: list[float] = (self.losses / orders.shape[1]).tolist()
        return losses

    def logits(self, places: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Evaluate every model on its own examples, given by their places; returns one [n, classes] a model."""
        longest = max(map(len, places))
        # shorter lists are filled up with an example that is there, and cut again
        padded = torch.stack([nn.functional.pad(each, (0, longest - len(each))) for each in places]).to(self.x.device)
        with evaluating(self.template):
            parts = [
                self._forward(self.weights, self.fixed, scaled(self.x[batch]))
                for batch in padded.split(max(1, EVALUATED // len(places)), dim=1)
            ]
        answers = torch.cat(parts, dim=1)
        return [answer[: len(each)] for answer, each in zip(answers, places, strict=True)]

    def state(self, model: int) -> Tensors:
        """Return a model's state_dict, copied."""
        return {name: value.detach().clone() for name, value in self.model(model).state_dict().items()}

    def model(self, model: int) -> nn.Module:
        """Return a model by itself, a copy."""
        own = {**self._named(self.weights[model]), **{name: value[model] for name, value in self.fixed.items()}}
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
        self._captured = None  # a captured step holds its rates

    def optimizer_state(self, model: int) -> Tensors:
        """Return the optimizer's state of a model as plain training stores it: "<index>.<name>" -> tensor."""
        found: Tensors = {}
        for name, value in self.optimizer.state[self.rows[model]].items():
            parts = value.split(self.sizes) if value.dim() else [value] * len(self.sizes)
            for index, (part, shape) in enumerate(zip(parts, self.shapes, strict=True)):
                found[f"{index}.{name}"] = part.view(shape).clone() if value.dim() else part.clone()
        return found

    def load_optimizer_state(self, model: int, tensors: Tensors) -> None:
        """Undo `optimizer_state`."""
        for name in {key.partition(".")[2] for key in tensors}:
            parts = [tensors[f"{index}.{name}"].to(self.x.device) for index in range(len(self.sizes))]
            value = torch.cat([part.flatten() for part in parts]) if parts[0].shape == self.shapes[0] else parts[0]
            self.optimizer.state[self.rows[model]][name] = value

    def _step(self, places: torch.Tensor) -> None:
        """Make one step of every model on the examples at `places` [K, b]."""
        batch = scaled(self.x[places])
        gradients, losses = self._differentiate(self.weights, self.fixed, batch, self.y[places])
        if self.mask is None:
            self.gradients.copy_(gradients)
        else:
            torch.mul(gradients, self.mask, out=self.gradients)
        self.optimizer.step()
        self.losses += losses.detach() * places.shape[1]

    def _step_on_cuda(self, places: torch.Tensor) -> None:
        """Replay a captured step: hundreds of kernels of a few microseconds for the price of one launch."""
        if self._warm_up > 0:
            self._warm_up -= 1
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                self._step(places)
            torch.cuda.current_stream().wait_stream(side)
            return
        if self._captured is None:
            graph, buffer = torch.cuda.CUDAGraph(), places.clone()
            with torch.cuda.graph(graph):
                self._step(buffer)
            self._captured = graph, buffer
        graph, buffer = self._captured
        buffer.copy_(places)
        graph.replay()

    def _loss(self, row: torch.Tensor, fixed: Tensors, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        logits = logits_in(self.precision, lambda inputs: self._logits(row, fixed, inputs), x)
        return nn.functional.cross_entropy(logits, y)

    def _logits(self, row: torch.Tensor, fixed: Tensors, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = functional_call(self.template, {**self._named(row), **fixed}, (x,))
        return logits

    def _named(self, row: torch.Tensor) -> Tensors:
        """Cut a row of weights into parameters; `split` is one node of the graph, whose backward is one copy."""
        parts = zip(self.names, row.split(self.sizes), self.shapes, strict=True)
        return {name: part.view(shape) for name, part, shape in parts}

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


def why_not_stacked(model: nn.Module, input_shape: tuple[int, ...], precision: Precision = "fp32") -> str | None:
    """Say why a model cannot be trained in a stack, or return None where it can.

    Two examples are run through a copy of the model: it must not change its buffers (as BatchNorm does with its
    running statistics), not draw random numbers (as Dropout does), and use what `torch.func.vmap` knows.
    """
    model = deepcopy(model).cpu().train()
    if len({parameter.dtype for parameter in trainable(model)}) > 1:
        return "its parameters have several types"
    x, y = torch.zeros(2, *input_shape), torch.zeros(2, dtype=torch.int64)
    before = {name: value.clone() for name, value in model.named_buffers()}
    with torch.random.fork_rng(devices=[]):
        model(x)
    for name, value in model.named_buffers():
        if not torch.equal(value, before[name]):
            return f"it changes its buffer {name} in training"
    state = model.state_dict()
    training = Training("", 2, "sgd", 0.0, 0.0, 0.0, precision)
    try:
        stack = Stack(model, [state, state], [{}, {}], [training, training], x, y)
        stack.train_epoch(torch.zeros(2, 2, dtype=torch.int64), 2)
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
