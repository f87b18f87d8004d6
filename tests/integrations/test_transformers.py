import os

import pytest
import torch
from safetensors.torch import save
from transformers import Trainer, TrainerCallback, TrainingArguments

from redense import RedenseError, TrainingError
from redense.integrations.transformers import FILE, DSDCallback, _read

pytestmark = pytest.mark.filterwarnings("ignore")  # the framework's own


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = torch.nn.Linear(6, 4)

    def forward(self, x, labels=None):
        return {"loss": self.net(x).square().mean()}


class Data(torch.utils.data.Dataset):
    x = torch.randn(24, 6, generator=torch.Generator().manual_seed(0))

    def __len__(self):
        return 24

    def __getitem__(self, index):
        return {"x": self.x[index], "labels": 0}


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        return (Data()[index] for index in range(24))


class Zeros(TrainerCallback):
    def __init__(self):
        self.seen = []

    def on_epoch_end(self, args, state, control, model, **objects):
        self.seen.append(int((model.net.weight == 0).sum()))


def fit(folder, resume=None, arguments=None, data=None, **settings):
    model, zeros = Model(), Zeros()
    options = {"num_train_epochs": 5, "save_strategy": "epoch", "learning_rate": 0.01, **(arguments or {})}
    trainer = Trainer(
        model,
        TrainingArguments(
            str(folder), per_device_train_batch_size=8, use_cpu=True, report_to=[], disable_tqdm=True, **options
        ),
        train_dataset=data or Data(),
        callbacks=[DSDCallback(sparsity=0.5, **settings), zeros],
    )
    trainer.train(resume_from_checkpoint=resume)
    return model.net.weight.detach(), zeros.seen


@pytest.mark.parametrize(
    ("settings", "expected"), [({"epochs": (2, 2, 1)}, [0, 0, 12, 12, 0]), ({"steps": (4, 7, 4)}, [0, 12, 12, 0, 0])]
)
def test_phases_and_resumption_from_every_checkpoint(settings, expected, tmp_path):
    """Three optimizer steps an epoch: in the second setting phases end within epochs."""
    whole, zeros = fit(tmp_path, **settings)
    assert zeros == expected
    for epoch in range(1, 5):
        resumed, rest = fit(tmp_path, resume=str(tmp_path / f"checkpoint-{3 * epoch}"), **settings)
        assert torch.equal(resumed, whole)
        assert rest == zeros[epoch:]


@pytest.mark.parametrize(
    ("settings", "arguments", "message"),
    [
        ({"epochs": (1, 1, 1)}, {}, "the phases take 3 epochs, the trainer makes 5; make them equal"),
        ({"steps": (1, 1, 1)}, {}, "the phases take 3 steps, the trainer makes 15; make them equal"),
        ({"steps": (1, 1, 1)}, {"max_steps": 4}, "the phases take 3 steps, the trainer makes 4; make them equal"),
        ({"epochs": (3, 1, 1), "exclude": ["nett"]}, {}, "'nett' matches no layer"),
    ],
)
def test_bad_settings(settings, arguments, message, tmp_path):
    with pytest.raises(RedenseError, match=message):
        fit(tmp_path, arguments=arguments, **settings)


@pytest.mark.parametrize(("accumulated", "max_steps"), [(1, 15), (2, 10), (3, 5)])
def test_max_steps_of_whole_epochs(accumulated, max_steps, tmp_path):
    """Three batches an epoch; ``num_train_epochs`` counts for nothing then."""
    arguments = {"max_steps": max_steps, "gradient_accumulation_steps": accumulated, "num_train_epochs": 7}
    assert fit(tmp_path, arguments=arguments, epochs=(2, 2, 1))[1] == [0, 0, 12, 12, 0]


@pytest.mark.parametrize(
    ("epochs", "max_steps", "accumulated", "message"),
    [
        ((20, 10, 10), 40, 1, "stops after 40 steps in epochs of 3; expected phases in steps"),
        ((20, 9, 10), 39, 1, r"take 39 epochs, the trainer \(max_steps=39, 3 steps an epoch\) makes 13; make them"),
        ((1, 1, 1), 3, 1, "makes 1; make them equal"),
        ((2, 2, 1), 15, 2, "stops after 15 steps in epochs of 2; expected"),
        ((2, 2, 1), 16, 1, "stops after 16 steps in epochs of 3; expected"),
    ],
)
def test_max_steps_of_other_epochs_than_the_phases(epochs, max_steps, accumulated, message, tmp_path):
    arguments = {"max_steps": max_steps, "gradient_accumulation_steps": accumulated}
    with pytest.raises(RedenseError, match=message):
        fit(tmp_path, arguments=arguments, epochs=epochs)


def test_max_steps_and_data_without_a_length(tmp_path):
    arguments = {"max_steps": 15}
    with pytest.raises(RedenseError, match=r"stops after 15 steps in epochs of unknown length; .*\(steps=\.\.\.\)"):
        fit(tmp_path, data=Stream(), arguments=arguments, epochs=(2, 2, 1))
    weight, _ = fit(tmp_path, data=Stream(), arguments=arguments, steps=(6, 6, 3))
    assert not (weight == 0).any()


def test_a_checkpoint_without_the_phases(tmp_path):
    fit(tmp_path, epochs=(2, 2, 1))
    (tmp_path / "checkpoint-6" / FILE).unlink()
    with pytest.raises(RedenseError, match="dsd.safetensors is missing; expected a checkpoint"):
        fit(tmp_path, resume=str(tmp_path / "checkpoint-6"), epochs=(2, 2, 1))


ODD = ("{", "[" * 100_000, "7", "null", "[1]")
"""What metadata may hold instead of a state."""


@pytest.mark.parametrize(
    "content", [b"", b"no tensors", save({"weight": torch.ones(1)}), *(save({}, {"dsd": odd}) for odd in ODD)]
)
def test_a_checkpoint_whose_phases_cannot_be_read(content, tmp_path):
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(
        TrainingError, match="dsd.safetensors cannot be read .*; expected what this callback wrote"
    ) as refused:
        _read(tmp_path / FILE)
    assert "\n" not in str(refused.value)


def test_a_pipe_is_no_checkpoint(tmp_path):
    """Nobody writes to it, and whoever opened it would wait for ever."""
    os.mkfifo(tmp_path / FILE)
    with pytest.raises(TrainingError, match="cannot be read .*no plain file"):
        _read(tmp_path / FILE)
