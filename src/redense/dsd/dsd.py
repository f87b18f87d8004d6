"""Dense -> Sparse -> Dense around anybody's model, optimizer and loop."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Unpack

import torch
from torch import nn, optim

from redense.arguments import CHECKED, Sparsity, validated
from redense.dsd.endings import in_words, warn_of_end
from redense.dsd.hooks import StepHooks, take_over
from redense.dsd.listing import listed_phases, plan_in_words, three_phases, told_plan
from redense.dsd.loop import IDLE, Loop, Unit
from redense.dsd.states import FORMAT, check_state, check_weights
from redense.dsd.turns import Turns
from redense.dsd.words import prunable_now, say
from redense.errors import ModelError, RecipeError, TrainingError
from redense.methods.lists import THREE
from redense.phases import Phase, running
from redense.sparsity.bits import packed, unpacked
from redense.sparsity.enforce import Enforcement, apply_masks
from redense.sparsity.masks import Masks, Selection, check_selection, choose_masks, lasting
from redense.sparsity.moments import moves_nothing
from redense.sparsity.optimizers import AnyOptimizer, Optimizers
from redense.sparsity.parameters import named
from redense.sparsity.schedules import OneShot, Schedule, chosen, on_the_way
from redense.sparsity.trial import Moments, step_counters
from redense.text import html_text


class DSD(Loop):
    """Take a model through dense, sparse and re-dense phases, or any list of phases; the training loop stays as it is.

    At every boundary the optimizer's moments are cleared, the learning rate gets the phase's factor, and the
    mask comes or goes. The factor multiplies whatever rate a scheduler has set, and the scheduler never sees it.
    In the sparse phase pruned weights and their moments are exactly 0 after every ``optimizer.step()``, and
    gradients of pruned weights are 0 after ``backward()``; in the re-dense phase they start again from 0. The model
    is not wrapped, and `remove` leaves nothing behind.

    Phases are counted in `epochs` (iterate over `epochs()`) or in `steps` of the optimizer (iterate over
    `steps()`, or call `start` and train: steps count themselves).

    At each boundary one line says which phase begins, at which rate, how many weights are held at zero, and which large
    parameters stay dense; ``print(dsd)`` says the same. It goes to the logger ``redense`` (INFO) or, where no logging
    is set up and stderr is a terminal or a notebook, to stderr.

    Args:
        model: any module, sharded by `fully_shard` or not.
        optimizer: an optimizer that holds the model's parameters, or several of which each weight is in one; `steps`
            counts the first one's. Wrappers (Lookahead, SAM, Accelerate's, Lightning's, Opacus') are seen through. What
            a DSD that is over, or that nobody holds, has left on it goes.
        sparsity: fraction of zeros, in [0, 1).
        phases: instead of sparsity, epochs or steps, rates and rounds: a list of `redense.phases.dense(epochs, rate)`
            and `sparse(epochs, sparsity, rate)`, or what one of `redense.methods` lists. It may begin sparse, and after
            one that ends sparse the masks stay in force until `remove`.
        unit: what the lengths of a list of phases count, ``epochs`` or ``steps``.
        epochs: epochs of the dense, sparse and re-dense phase; 0 dense epochs for a model already trained.
        steps: or optimizer steps of the three.
        rounds: how often sparse and re-dense are repeated.
        rates: factors on the learning rate, as in the paper's last phase: 1, 1, 0.1.
        moments: ``reset`` clears the optimizer's state and step counters between phases, ``keep`` the moments of pruned
            weights alone.
        schedule: `redense.schedules.OneShot` or `Cubic`, in sparse phases without ``masks`` of their own; of these
            ``random`` does without ``saliency``, too.
        on_phase_end: called with this object when a phase is over, before anything changes: to save the dense model,
            for instance. Phases in steps call it within the optimizer's step (of several: at the end of the turn); who
            resumes from a state that was taken there iterates over `steps()` or calls `start` before training.
        verbose: whether to say a line at each boundary.
        selection: which weights are pruned: include, exclude, preset, distribution, saliency, pattern (see
            `choose_masks`).

    Raises `RecipeError` for settings that make no sense or do not fit the model, and `ModelError` for an
    optimizer that does not hold what is to be pruned, that has another DSD which is not over, or whose state can be
    neither dropped nor masked (tried out on a stand-in, see `redense.sparsity.trial`).

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

    @validated(RecipeError)
    def __init__(
        self,
        model: nn.Module,
        optimizer: AnyOptimizer,
        *,
        sparsity: Sparsity | None = None,
        epochs: Annotated[Sequence[int], THREE] | None = None,
        steps: Annotated[Sequence[int], THREE] | None = None,
        phases: Annotated[Sequence[Phase], CHECKED] | None = None,
        unit: Unit = "epochs",
        rounds: int = 1,
        rates: Sequence[float] = (1.0, 1.0, 0.1),
        moments: Moments = "reset",
        schedule: Schedule | None = None,
        on_phase_end: Callable[[DSD], object] | None = None,
        verbose: bool = True,
        **selection: Unpack[Selection],
    ) -> None:
        if phases is None:
            super().__init__(*three_phases(sparsity, epochs, steps, tuple(rates), rounds, unit))
        else:
            three = {"sparsity": sparsity, "epochs": epochs, "steps": steps, "rounds": rounds, "rates": tuple(rates)}
            super().__init__(*listed_phases(phases, unit, three))
        self.model = model
        self.optimizer = optimizer
        self._optimizers = Optimizers(optimizer)
        self.moments = moments
        self.schedule = OneShot() if schedule is None else schedule
        self.on_phase_end = on_phase_end
        self.verbose = verbose
        self.selection = lasting(selection)
        self._enforcement: Enforcement | None = None
        self._rehearsal = False
        self._turns = Turns(len(self._optimizers.inner), max(self.total, IDLE))
        self._check_model()
        take_over(self._optimizers.inner)
        self._hooks = [StepHooks(inner, self) for inner in self._optimizers.inner]
        if self.unit == "steps":
            self._register(hold=True)  # steps count themselves, whoever holds this object
        else:
            for hooks in self._hooks:
                hooks.check(self._refuse_early_step)

    @property
    def masks(self) -> Masks:
        """The masks in force: parameter name -> bool tensor, True = kept; empty outside sparse phases.

        After a list of phases that ends sparse they are the last ones, until `remove`.
        """
        return self._enforcement.masks if self._enforcement else {}

    @property
    def rate(self) -> float:
        """The learning rate of the next step in the optimizer's first group, the phase's factor, if any, included."""
        return self.rates[0]

    @property
    def rates(self) -> list[float]:
        """The learning rates of the next step, the phase's factor included, in all groups of all optimizers."""
        factor = self._factor()
        return [rate for hooks in self._hooks for rate in hooks.rates(factor)]

    @validated(ModelError)
    def apply_masks(self, other: nn.Module) -> None:
        """Set to zero in another model what `masks` prune here; in a phase without masks it stays as it is.

        For averages of weights (EMA), which hold what was not zero before the sparse phase, copies, and models whose
        adapters were merged. Either model may be wrapped. Raises `ModelError` for one without these parameters.
        """
        apply_masks(other, self.masks)

    def remove(self) -> None:
        """End DSD where it is: masks and hooks go, and nothing of it is left on model and optimizer."""
        self._drop_masks()
        for hooks in self._hooks:
            hooks.remove()
        self._leave()

    @validated(TrainingError)
    def state_dict(self, *, within_epoch: bool = False) -> dict[str, Any]:
        """Return what `load_state_dict` needs besides the model's and the optimizer's own states.

        When the optimizer has made a step in this epoch, it counts as over, as at the end of a loop's body. With
        `within_epoch` it does not: the script knows at which batch it goes on. Steps that were made always count.

        Tensors, numbers and strings only; masks as bits, packed row by row and sharded like the weights. The names
        of the tensors are always the same, so that `torch.distributed.checkpoint` can load it on any number of ranks.
        """
        parameters, masks = named(self.model), self.masks
        # layers may have been frozen or thawed since
        names = dict.fromkeys([*self._names, *masks, *prunable_now(self.model, self.selection)])
        return {
            "format": FORMAT,
            "plan": told_plan(self.phases, self.unit),
            "progress": self.progress,
            "started": self._started,
            "over": (self._stepped or self._turns.due) and not (within_epoch and self.unit == "epochs"),
            "told": self._told,
            "masks": packed({name: masks.get(name) for name in names}, parameters),
        }

    @validated(TrainingError)
    def load_state_dict(self, state: Annotated[Mapping[str, Any], CHECKED]) -> None:
        """Go on where `state_dict` was taken; load the model and the optimizer too.

        Raises `TrainingError` when a phase is running already or the state is of other phases, and `ModelError` when it
        is of another model; then nothing is changed.
        """
        if self._started:
            raise TrainingError("load_state_dict: got a DSD that is running; load into a new one, before it starts")
        check_state(state, told_plan(self.phases, self.unit))
        masks = self._unpacked(state["masks"])
        place = {name: bool(state[name]) for name in ("started", "over", "told")}
        runs = self._resume(state["progress"], **place)
        held = self.finished and bool(masks)
        if runs or held:
            self._register(hold=held)
            if self.phase.kind == "sparse":
                self._enforce(masks)

    __str__ = in_words
    _warn_of_end = warn_of_end

    def __repr__(self) -> str:
        done = f"{self.progress} of {self.total} {self.unit} done, {self.phase.label}"
        return f"DSD({plan_in_words(self.phases, self.unit)}; {done})"

    def _repr_html_(self) -> str:
        return html_text(str(self))

    def _begin(self) -> None:
        self._register()
        self._choose_masks()

    def _end_phase(self) -> None:
        if self.on_phase_end is not None:
            self.on_phase_end(self)

    def _moved(self, ended: bool) -> None:
        if ended and self.finished and self._enforcement:  # a list that ends sparse: the masks stay until `remove`
            self._register(hold=True)
            return
        if ended:
            self._drop_masks()
            if not self.finished and self.moments == "reset":
                self._optimizers.reset(self._counters)
        self._choose_masks()

    def _say(self) -> None:
        line = str(self)  # counts on all processes together
        if self.verbose:
            say(line)

    def _choose_masks(self) -> None:
        """Choose masks where the schedule says so."""
        phase, since = running(self.phases, self.progress)
        if phase.kind != "sparse":
            return
        sparsity = self._updates(phase).get(since)
        if sparsity is not None:
            masks = choose_masks(self.model, sparsity=sparsity, **self._selection_at(phase, sparsity))
            frozen = {name: mask for name, mask in self.masks.items() if name not in masks}  # since the last choice
            self._drop_masks()
            self._enforce({**frozen, **masks})

    def _chosen(self, phase: Phase) -> tuple[Schedule, Selection]:
        """Say when a sparse phase chooses masks, and by what; chance differs from round to round."""
        return chosen(phase.masks, phase.epochs, phase.round, self.schedule, self.selection)

    def _updates(self, phase: Phase) -> Mapping[int, float]:
        return self._chosen(phase)[0].updates(phase.sparsity or 0.0, phase.epochs)

    def _selection_at(self, phase: Phase, sparsity: float) -> Selection:
        """Say by what a phase chooses the masks of a sparsity, with those in force."""
        selection = self._chosen(phase)[1]
        if sparsity == phase.sparsity and not self._enforcement:
            return selection
        return on_the_way(selection, sparsity / phase.sparsity if phase.sparsity else 1.0, self.masks)

    def _enforce(self, masks: Masks) -> None:
        self._enforcement = Enforcement(self.model, self._optimizers, masks)
        self._abandoned = weakref.finalize(self, self._enforcement.remove)

    def _drop_masks(self) -> None:
        if self._enforcement:
            self._abandoned.detach()
            self._enforcement.remove()
        self._enforcement = None

    def _end(self) -> None:
        if self._enforcement and self.phase is self.phases[-1]:  # a list that ends sparse
            self._register(hold=True)
            self._leave()
        else:
            self.remove()

    def _factor(self) -> float:
        """Return the phase's factor on the rates of the next step."""
        phase, since = running(self.phases, self.progress)
        return 1.0 if self.finished else phase.factor(since)

    def _register(self, hold: bool = False) -> None:
        """Work around every step; with `hold` also when nobody but the optimizers holds this object."""
        for hooks in self._hooks:
            hooks.around(self._before_step, self._after_step)
            hooks.held = self if hold else hooks.held

    def _refuse_early_step(self, optimizer: optim.Optimizer) -> None:
        if self.unit == "epochs" and not (self.begun or self.finished or moves_nothing(optimizer)):
            raise TrainingError(
                "the optimizer makes a step, and DSD's loop has not begun; expected training in the body of "
                "`for epoch in dsd.epochs():`"
            )

    def _before_step(self, optimizer: optim.Optimizer) -> float:
        """Prepare a step; return the factor on its rates."""
        self._rehearsal = moves_nothing(optimizer)
        if self._rehearsal:
            return 1.0
        if not self.finished:
            self._refuse_early_step(optimizer)
            self.start()
            if self._turns.due and optimizer is self._optimizers.inner[0]:
                self._end_turn()  # the others made no step
        if self._enforcement:
            self._enforcement.before_step()
        return self._factor()

    def _after_step(self, optimizer: optim.Optimizer) -> None:
        if self._enforcement:
            self._enforcement.after_step()
        if self._rehearsal:
            return
        if self.finished:
            self.beyond += optimizer is self._optimizers.inner[0]
        elif self.unit == "epochs":
            self._count_step()
        elif self._turns.note(self._optimizers.inner.index(optimizer), self._tells_turns):
            self._end_turn()

    def _end_turn(self) -> None:
        if self._turns.end() and not self.finished:
            self._count_step()

    def _check_model(self) -> None:
        """Raise, before anything is changed, for what would otherwise fail in the middle of training."""
        for phase in self.phases:
            for sparsity in dict.fromkeys(self._updates(phase).values() if phase.kind == "sparse" else ()):
                parameters, _ = check_selection(self.model, sparsity, self._selection_at(phase, sparsity))
        self._optimizers.refuse_unheld(parameters)
        self._optimizers.refuse_without_rates()
        self._counters = step_counters(self._optimizers, self.moments)
        self._names = list(parameters)

    def _unpacked(self, bits: Mapping[str, torch.Tensor]) -> Masks:
        """Turn a state's bits into masks of this model."""
        check_weights(self.model, self.selection, self._names, bits)
        return unpacked(bits, named(self.model))
