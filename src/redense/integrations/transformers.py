"""DSD in a Hugging Face `Trainer`; needs the extra ``redense[transformers]``."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from redense.dsd import DSD
from redense.dsd.trainings import check_epochs, dsd_of_training
from redense.errors import TrainingError
from redense.files.reading import Unread, mapping, plain_bytes
from redense.files.tensors import metadata_of, tensors_of
from redense.files.writing import write_whole
from redense.phases import check_fill
from redense.sparsity.parameters import named
from redense.sparsity.shards import local
from redense.text import one_line

try:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
    from transformers.trainer_utils import has_length
except ImportError as missing:
    raise ImportError("transformers is not installed; pip install 'redense[transformers]'") from missing

FILE = "dsd.safetensors"
"""What lies in every checkpoint folder beside the trainer's own files."""


class DSDCallback(TrainerCallback):
    """Take the model through dense, sparse and re-dense phases; takes the settings of `redense.DSD`.

    The phases must fill the training: `epochs` add up to ``num_train_epochs``, or `steps` to the optimizer steps.
    Every checkpoint folder gets the state of the phases, and ``train(resume_from_checkpoint=...)`` goes on
    from there: from `resume_from`, if it is given, else from the folder in the arguments' ``resume_from_checkpoint``,
    else from the one in ``output_dir``. (The trainer does not tell its callbacks which folder it has read.)
    After a list of phases that ends sparse the masks stay in force until ``callback.dsd.remove()``.

    Raises, at the start of training, `RecipeError` for phases that do not add up, `TrainingError` for a checkpoint
    without the phases' state or with that of another one, and whatever `redense.DSD` raises.

    >>> callback = DSDCallback(sparsity=0.5, epochs=(2, 1, 1))
    """

    def __init__(self, *, resume_from: str | Path | None = None, **settings: Any) -> None:
        self.settings = settings
        self.resume_from = resume_from
        self.dsd: DSD | None = None
        """The phases, from the start of training on."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **objects: Any
    ) -> None:
        """Make the phases, or go on in them: model and optimizer are restored by now."""

        def prepare(dsd: DSD) -> None:
            if dsd.unit == "steps":
                check_fill(dsd.phases, "steps", state.max_steps, "the trainer")
            else:  # with max_steps, num_train_epochs counts for nothing
                epochs = -1 if args.max_steps > 0 else args.num_train_epochs
                an_epoch = _steps_an_epoch(args, objects["train_dataloader"])
                check_epochs(dsd, "the trainer", epochs, args.max_steps, an_epoch)
            if state.global_step > 0:
                self._load(dsd, self._resumed(args, state) / FILE)

        self.dsd = dsd_of_training(state, objects["model"], objects["optimizer"], self.settings, prepare)

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **objects: Any
    ) -> None:
        """Enter the phase of this epoch. Not at the last one's end: a checkpoint made there ends an epoch, too."""
        assert self.dsd is not None
        self.dsd.advance_to(int(state.epoch or 0))

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **objects: Any
    ) -> None:
        """End the last phase, before the trainer loads its best model."""
        assert self.dsd is not None
        self.dsd.end_epoch(int(state.epoch or 0) - 1)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **objects: Any) -> None:
        """Add the state of the phases to the checkpoint just written."""
        assert self.dsd is not None
        if state.is_world_process_zero:
            values = self.dsd.state_dict()
            masks = values.pop("masks")
            write_whole(_folder(args, state) / FILE, save(masks, {"dsd": json.dumps(values)}))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **objects: Any
    ) -> None:
        """Leave nothing on model and optimizer, but for the masks of phases that end sparse."""
        assert self.dsd is not None
        self.dsd.end_training()

    @staticmethod
    def _load(dsd: DSD, path: Path) -> None:
        """Go on where a checkpoint was made, of which the trainer has loaded the model."""
        before = _nonzero(dsd.model)
        dsd.load_state_dict(_read(path))
        if _nonzero(dsd.model) != before:
            raise TrainingError(
                f"DSDCallback: the masks in {path} are not those of the model that was resumed; give "
                "DSDCallback(resume_from=folder), the folder that train(resume_from_checkpoint=folder) got"
            )

    def _resumed(self, args: TrainingArguments, state: TrainerState) -> Path:
        """Return the folder of the checkpoint that the trainer has read, as far as anybody knows."""
        if self.resume_from is not None:
            return Path(self.resume_from)
        told = args.resume_from_checkpoint
        return Path(told) if told is not None and Path(told).is_dir() else _folder(args, state)


def _steps_an_epoch(args: TrainingArguments, loader: Any) -> int | None:
    """Count the optimizer's steps in an epoch, the last one of fewer batches; None for a loader without a length."""
    return max(math.ceil(len(loader) / args.gradient_accumulation_steps), 1) if has_length(loader) else None


def _folder(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"


def _read(path: Path) -> dict[str, Any]:
    if not os.path.exists(path):  # unlike Path.exists, also where the name is too long
        raise TrainingError(
            f"DSDCallback: {path} is missing; expected a checkpoint that was made with this callback, and where its "
            "folder has moved, DSDCallback(resume_from=folder)"
        )
    try:
        content = plain_bytes(path)
        masks, values = tensors_of(content), dict(mapping(json.loads(metadata_of(content)["dsd"])))
    except (OSError, KeyError, ValueError, RecursionError, Unread) as error:
        raise TrainingError(
            f"DSDCallback: {path} cannot be read ({type(error).__name__}: {one_line(error)}); expected what this "
            "callback wrote there: go on from another checkpoint"
        ) from error
    return {**values, "masks": masks}


def _nonzero(model: nn.Module) -> dict[str, int]:
    """Count, in this process, the weights that train and are not zero; frozen ones need not lie in a checkpoint."""
    trained = {name: parameter for name, parameter in named(model).items() if parameter.requires_grad}
    return {name: int(torch.count_nonzero(local(parameter.detach()))) for name, parameter in trained.items()}
