"""DSD in a Lightning `Trainer`; needs the extra ``redense[lightning]``."""

from __future__ import annotations

import math
from typing import Any

from redense.dsd import DSD
from redense.dsd.trainings import check_epochs, dsd_of_training
from redense.errors import TrainingError
from redense.phases import check_fill

try:
    import lightning.pytorch as pl
    from lightning.pytorch.callbacks import StochasticWeightAveraging
except ImportError as missing:
    raise ImportError("lightning is not installed; pip install 'redense[lightning]'") from missing


class DSDCallback(pl.Callback):
    """Take the module through dense, sparse and re-dense phases; takes the settings of `redense.DSD`.

    The phases must fill the training: `epochs` add up to the trainer's ``max_epochs``, or `steps` to its
    optimizer steps. Checkpoints of the trainer hold the state of the phases, and ``fit(ckpt_path=...)`` goes on
    from it. One optimizer, or several with manual optimization; `steps` are then those of the first one. After a list
    of phases that ends sparse the masks stay in force until ``callback.dsd.remove()``.

    Raises, at the start of training, `RecipeError` for phases that do not add up, and whatever `redense.DSD` raises.

    >>> callback = DSDCallback(sparsity=0.5, epochs=(2, 1, 1))
    """

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.dsd: DSD | None = None
        """The phases, from the start of training on."""
        self._state: dict[str, Any] = {}
        """What a checkpoint holds, until training starts, or what one is to hold that is made after an exception."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Forget the training before: the checkpoint of this one, if there is any, is read after this."""
        if stage == "fit":
            self._state = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Make the phases, or go on in them: model and optimizer are restored by now."""

        def prepare(dsd: DSD) -> None:
            _check(dsd, trainer, pl_module)
            if self._state:
                dsd.load_state_dict(self._state)
            elif trainer.global_step:
                raise TrainingError(
                    f"DSDCallback: training goes on after step {trainer.global_step} without a state of the phases; "
                    "expected a checkpoint (ckpt_path) that was made with this callback, or a new Trainer"
                )

        self.dsd = dsd_of_training(trainer, pl_module, trainer.optimizers, self.settings, prepare)
        self._state = {}

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Enter the phase of this epoch. Not at the last one's end: a checkpoint made there ends an epoch, too."""
        assert self.dsd is not None
        self.dsd.advance_to(trainer.current_epoch)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Enter the phase here, too: an epoch that training goes on in is not started again."""
        assert self.dsd is not None
        self.dsd.advance_to(trainer.current_epoch)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End the last phase, before an average takes the model's place."""
        assert self.dsd is not None
        self.dsd.end_epoch(trainer.current_epoch)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave nothing on model and optimizer, but for the masks of phases that end sparse."""
        assert self.dsd is not None
        self.dsd.end_training()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Leave nothing there either, for the module may be trained again; checkpoints are still to be written."""
        if self.dsd is not None and not self.dsd.finished:
            self._state = self.dsd.state_dict()
            self.dsd.remove()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the phases for the trainer's checkpoint."""
        return self._state if self._state or self.dsd is None else self.dsd.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state until the optimizer is there."""
        self._state = state_dict


def _check(dsd: DSD, trainer: pl.Trainer, module: pl.LightningModule) -> None:
    """Raise `RecipeError` where phases do not add up to what the trainer makes."""
    name, by_hand = f"the trainer{_added(trainer, module)}", not module.automatic_optimization
    if dsd.unit == "steps":
        if not by_hand:  # which steps are made by hand shows at the end
            check_fill(dsd.phases, "steps", trainer.estimated_stepping_batches, name)
        return
    batches = trainer.num_training_batches
    an_epoch = None if batches == math.inf else math.ceil(batches / trainer.accumulate_grad_batches)
    max_steps = trainer.max_steps
    if by_hand and max_steps > 0:  # of all optimizers together: they limit epochs, too, and nobody can tell where
        an_epoch, max_steps = None, 0
        if trainer.max_epochs == -1:
            return
    check_epochs(dsd, name, trainer.max_epochs, max_steps, an_epoch)


def _added(trainer: pl.Trainer, module: pl.LightningModule) -> str:
    """Say where an epoch comes from that nobody asked for."""
    callbacks = trainer.callbacks  # type: ignore[attr-defined]  # all trainers have them
    averages = any(isinstance(callback, StochasticWeightAveraging) for callback in callbacks)
    if averages and StochasticWeightAveraging.pl_module_contains_batch_norm(module):
        return " (with the epoch that StochasticWeightAveraging adds for batch norms)"
    return ""
