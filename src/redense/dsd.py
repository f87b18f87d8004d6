"""Dense -> Sparse -> Dense around anybody's model, optimizer and loop."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Unpack

import torch
from torch import nn, optim

from redense.errors import ModelError, RecipeError, TrainingError
from redense.methods import dsd
from redense.phases import Phase, running, total
from redense.sparsity.bits import pack_bits, unpack_bits
from redense.sparsity.enforce import Enforcement, refuse_unheld, uncompiled
from redense.sparsity.masks import Masks, Selection, check_selection, choose_masks, lasting, saliency_of
from redense.sparsity.moments import reset_moments
from redense.sparsity.saliency import magnitude
from redense.sparsity.schedules import OneShot, Schedule
from redense.sparsity.shards import like, local
from redense.sparsity.zeros import all_zero

FORMAT = 1
"""Version of `DSD.state_dict`."""


class DSD:
    """Take a model through dense, sparse and re-dense phases; the training loop stays as it is.

    At every boundary the optimizer's moments are cleared, the learning rate gets the phase's factor, and the
    mask comes or goes. The factor multiplies whatever rate a scheduler has set, and the scheduler never sees it.
    In the sparse phase pruned weights and their moments are exactly 0 after every ``optimizer.step()``, and
    gradients of pruned weights are 0 after ``backward()``; in the re-dense phase they start again from 0. The model
    is not wrapped, and `remove` leaves nothing behind.

    Phases are counted in `epochs` (iterate over `epochs()`) or in `steps` of the optimizer (iterate over
    `steps()`, or call `start` and train: steps count themselves).

    Args:
        model: any module, sharded by `fully_shard` or not.
        optimizer: an optimizer that holds the model's parameters.
        sparsity: fraction of zeros, in [0, 1).
        epochs: epochs of the dense, sparse and re-dense phase; 0 dense epochs for a model already trained.
        steps: or optimizer steps of the three.
        rounds: how often sparse and re-dense are repeated.
        rates: factors on the learning rate, as in the paper's last phase: 1, 1, 0.1.
        moments: ``reset`` clears the optimizer's state between phases, ``keep`` only that of pruned weights.
        schedule: `redense.schedules.OneShot` or `Cubic`.
        selection: which weights are pruned: exclude, preset, distribution, saliency, pattern (see `choose_masks`).

    Raises `RecipeError` for settings that make no sense or do not fit the model, and `ModelError` for an
    optimizer that does not hold what is to be pruned.

    Source: Han et al., "DSD: Dense-Sparse-Dense Training for Deep Neural Networks", ICLR 2017.

    >>> net = torch.nn.Linear(10, 1)
    >>> sgd = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    >>> dsd = DSD(net, sgd, sparsity=0.5, epochs=(1, 1, 1))
    >>> for epoch in dsd.epochs():
    ...     net(torch.randn(4, 10)).square().mean().backward()
    ...     sgd.step()
    ...     print(epoch, dsd.phase.label, int((net.weight == 0).sum()))
    0 dense 0
    1 sparse 50% 5
    2 re-dense 50% 0
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: optim.Optimizer,
        *,
        sparsity: float,
        epochs: Sequence[int] | None = None,
        steps: Sequence[int] | None = None,
        rounds: int = 1,
        rates: Sequence[float] = (1.0, 1.0, 0.1),
        moments: Literal["reset", "keep"] = "reset",
        schedule: Schedule | None = None,
        **selection: Unpack[Selection],
    ) -> None:
        self.unit: Literal["epochs", "steps"] = "steps" if epochs is None else "epochs"
        if (epochs is None) == (steps is None):
            raise RecipeError("got both or neither of epochs and steps; expected one: (dense, sparse, re-dense)")
        if moments not in ("reset", "keep"):
            raise RecipeError(f"moments: got {moments!r}; expected reset or keep")
        lengths = tuple(epochs if epochs is not None else steps or ())
        phases = dsd(sparsity, lengths, tuple(rates), rounds, unit=self.unit)
        self.model = model
        self.optimizer = optimizer
        self.sparsity = sparsity
        self.moments = moments
        self.schedule = OneShot() if schedule is None else schedule
        self.selection = lasting(selection)
        self.phases = tuple(phase for phase in phases if phase.epochs)
        self.progress = 0
        """Epochs (or steps) that are over."""
        self._started = False
        self._enforcement: Enforcement | None = None
        self._rehearsal = False
        self._unscaled_rates: list[Any] = []
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._check_model()
        if self.unit == "steps":
            self._register()

    @property
    def total(self) -> int:
        """Epochs (or steps) of all phases together."""
        return total(self.phases)

    @property
    def finished(self) -> bool:
        """Whether all phases are over."""
        return self.progress >= self.total

    @property
    def phase(self) -> Phase:
        """The phase that is running; before the start the first, at the end the last."""
        return running(self.phases, self.progress)[0]

    @property
    def masks(self) -> Masks:
        """The masks in force: parameter name -> bool tensor, True = kept; empty outside the sparse phase."""
        return self._enforcement.masks if self._enforcement else {}

    def epochs(self) -> Iterator[int]:
        """Yield 0, 1, 2, ... over all phases, changing masks, rate and moments between them.

        After a break, or `load_state_dict`, another call goes on where it stopped.
        """
        return self._run("epochs")

    def steps(self) -> Iterator[int]:
        """Yield the number of the coming optimizer step until all phases are over.

        The optimizer's steps are counted, not the turns of the loop, so that a turn without a step (gradients that
        overflowed, accumulation) yields the same number again.
        """
        return self._run("steps")

    def start(self) -> None:
        """Enter the first phase, unless a phase is running. `epochs` and `steps` do this themselves."""
        if not self._started and not self.finished:
            self._started = True
            self._register()
            self._choose_masks()

    def advance(self) -> None:
        """Count an epoch (or step) as over and enter the next phase when its time has come.

        `epochs` and `steps` do this themselves. Raises `TrainingError` when no phase is running.
        """
        if not self._started or self.progress >= self.total:
            raise TrainingError(f"advance: got {self!r}; expected one that is running; call start first")
        before = self.phase
        self.progress += 1
        if self.finished:
            self._drop_masks()
        elif self.phase is not before:
            self._drop_masks()
            if self.moments == "reset":
                reset_moments(self.optimizer)
            self._choose_masks()
        else:
            self._choose_masks()

    def advance_to(self, epoch: int) -> None:
        """Start, and count epochs as over until `epoch` (from 0) is the coming one; phases in steps only start.

        For frameworks that number the epochs themselves: call it at the beginning of each.
        """
        self.start()
        while self.unit == "epochs" and self.progress < epoch:
            self.advance()

    def remove(self) -> None:
        """End DSD where it is: masks and hooks go, and nothing of it is left on model and optimizer."""
        self._drop_masks()
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._started = False
        self.progress = self.total

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs besides the model's and the optimizer's own states.

        Tensors, numbers and strings only; masks as bits, packed row by row and sharded like the weights. The names
        of the tensors are always the same, so that `torch.distributed.checkpoint` can load it on any number of ranks.
        """
        masks = self.masks
        bits = {}
        for name, parameter in check_selection(self.model, self.sparsity, self.selection)[0].items():
            mask = local(masks[name]) if name in masks else torch.ones_like(local(parameter), dtype=torch.bool)
            bits[name] = like(pack_bits(mask.flatten(1)).to(mask.device), parameter)
        return {
            "format": FORMAT,
            "plan": self._plan(),
            "progress": self.progress,
            "started": self._started,
            "masks": bits,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken, even within an epoch; load the model and the optimizer too.

        Raises `TrainingError` when a phase is running already or the state is of other phases, and `ModelError` when it
        is of another model; then nothing is changed.
        """
        if self._started:
            raise TrainingError("load_state_dict: got a DSD that is running; load into a new one, before it starts")
        if state.get("format") != FORMAT:
            raise TrainingError(f"load_state_dict: got format {state.get('format')}; expected {FORMAT}")
        if state["plan"] != self._plan():
            raise TrainingError(f"load_state_dict: got a state of {state['plan']}; expected {self._plan()}")
        masks = self._unpacked(state["masks"])
        self.progress = state["progress"]
        if state["started"] and not self.finished:
            self._started = True
            self._register()
            if self.phase.kind == "sparse":
                self._enforcement = Enforcement(self.model, self.optimizer, masks)

    def __repr__(self) -> str:
        return f"DSD({self._plan()}; {self.progress} of {self.total} {self.unit} done, {self.phase.label})"

    def _run(self, unit: str) -> Iterator[int]:
        if unit != self.unit:
            raise RecipeError(f"{unit}: got phases in {self.unit}; iterate over {self.unit}()")
        self.start()
        while not self.finished:
            yield self.progress
            if self.unit == "epochs" and not self.finished:
                self.advance()
        self.remove()

    def _choose_masks(self) -> None:
        """Choose masks where the schedule says so."""
        phase, since = running(self.phases, self.progress)
        if phase.kind != "sparse":
            return
        sparsity = self.schedule.updates(self.sparsity, phase.epochs).get(since)
        if sparsity is not None:
            masks = choose_masks(self.model, sparsity=sparsity, **self._selection_at(sparsity))
            self._drop_masks()
            self._enforcement = Enforcement(self.model, self.optimizer, masks)

    def _selection_at(self, sparsity: float) -> Selection:
        """Adapt the selection to a mask on the way: explicit sparsities in proportion, pruned weights stay pruned."""
        selection = self.selection.copy()
        distribution = selection.get("distribution", "uniform")
        if not isinstance(distribution, str) and sparsity != self.sparsity:
            share = sparsity / self.sparsity
            selection["distribution"] = {pattern: share * value for pattern, value in distribution.items()}
        saliency = saliency_of(selection)
        if saliency is not magnitude and self._enforcement:
            masks = self.masks
            selection["saliency"] = lambda model, parameters: {
                name: values * masks[name] for name, values in saliency(model, parameters).items()
            }
        return selection

    def _drop_masks(self) -> None:
        if self._enforcement:
            self._enforcement.remove()
        self._enforcement = None

    def _register(self) -> None:
        if not self._handles:
            self._handles = [
                self.optimizer.register_step_pre_hook(uncompiled(self._before_step)),
                self.optimizer.register_step_post_hook(uncompiled(self._after_step)),
            ]

    def _before_step(self) -> None:
        self._rehearsal = self.unit == "steps" and _moves_nothing(self.optimizer)
        if self.finished or self._rehearsal:
            return
        self.start()
        if self._enforcement:
            self._enforcement.before_step()
        groups = self.optimizer.param_groups
        self._restore_rates()  # in case the last step raised an exception
        if self.phase.rate != 1:
            self._unscaled_rates = [group["lr"] for group in groups]
            for group in groups:
                group["lr"] = group["lr"] * self.phase.rate

    def _after_step(self) -> None:
        self._restore_rates()
        if self.finished:
            return
        if self._enforcement:
            self._enforcement.after_step()
        if self.unit == "steps" and not self._rehearsal:
            self.advance()

    def _restore_rates(self) -> None:
        for group, rate in zip(self.optimizer.param_groups, self._unscaled_rates, strict=False):
            group["lr"] = rate
        self._unscaled_rates = []

    def _check_model(self) -> None:
        """Raise, before anything is changed, for what would otherwise fail in the middle of training."""
        phase = next(phase for phase in self.phases if phase.kind == "sparse")
        for sparsity in self.schedule.updates(self.sparsity, phase.epochs).values():
            parameters, _ = check_selection(self.model, sparsity, self._selection_at(sparsity))
        refuse_unheld(self.optimizer, parameters)
        if any("lr" not in group for group in self.optimizer.param_groups):
            raise ModelError("got an optimizer without a rate 'lr' in its parameter groups; expected one to multiply")

    def _plan(self) -> str:
        phases = ", ".join(f"{phase.label} {phase.epochs}" for phase in self.phases)
        return f"{phases} {self.unit}"

    def _unpacked(self, bits: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Turn a state's bits into masks of this model."""
        parameters = check_selection(self.model, self.sparsity, self.selection)[0]
        if set(bits) != set(parameters):
            odd = sorted(set(bits) ^ set(parameters))
            raise ModelError(f"load_state_dict: got the state of another model; {', '.join(odd)} not in both")
        masks = {}
        for name, parameter in parameters.items():
            columns = math.prod(parameter.shape[1:])
            if tuple(bits[name].shape) != (parameter.shape[0], -(-columns // 8)):
                raise ModelError(f"load_state_dict: got masks of another shape for {name} {tuple(parameter.shape)}")
            piece = local(parameter)
            rows = unpack_bits(local(bits[name]), (len(piece), columns))
            masks[name] = like(rows.view(piece.shape).to(piece.device), parameter)
        return masks


def _moves_nothing(optimizer: optim.Optimizer) -> bool:
    """Recognise the step by which `torch.distributed.checkpoint` makes an optimizer's state: no rate, no gradients.

    The rate it sets is a number, or a tensor on the CPU; one on a GPU is not waited for. All ranks answer alike.
    """
    for group in optimizer.param_groups:
        rate = group["lr"]
        if isinstance(rate, torch.Tensor) and rate.device.type != "cpu":
            return False
        if rate != 0:
            return False
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    return all_zero(gradients)
