"""Models and data that tests name as ``factories:...``, the way users name their own."""

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from redense.experiment import idle_cores


def small(input_shape, num_classes):
    """A perceptron with one hidden layer, batch norm and dropout: buffers and randomness to resume."""
    features = int(np.prod(input_shape))
    return torch.nn.Sequential(
        torch.nn.Flatten(),
        torch.nn.Linear(features, 12),
        torch.nn.BatchNorm1d(12),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.2),
        torch.nn.Linear(12, num_classes),
    )


def convolution(input_shape, num_classes):
    """For images: batch norm over all places of all of them."""
    channels, height, width = input_shape
    return torch.nn.Sequential(
        torch.nn.Conv2d(channels, 2, 3),
        torch.nn.BatchNorm2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(2 * (height - 2) * (width - 2), num_classes),
    )


def tells_its_cores(input_shape, num_classes):
    """`small`, in a process that writes down on how many cores it evaluates, each time, and may die there."""
    told = os.environ.get("REDENSE_TEST_CORES")

    def threads(cores, initializer):
        def begin():
            die_if_allowed()
            initializer()

        with open(told, "a") as file:
            file.write(f"{cores}\n")
        return ThreadPoolExecutor(cores, initializer=begin)

    if told:
        idle_cores.ThreadPoolExecutor = threads
    return small(input_shape, num_classes)


def failing(input_shape, num_classes):
    raise ZeroDivisionError("no luck")


EVIL = "x\x1b[31m\x07\u202e[/x][bold]$y$\n"
"""A name that would steer a terminal, be markup, turn around what follows and begin a line."""


def evil(input_shape, num_classes):
    model = torch.nn.Sequential(torch.nn.Flatten())
    model.add_module(EVIL, torch.nn.Linear(int(np.prod(input_shape)), num_classes))
    return model


def no_module(input_shape, num_classes):
    return "a string"


def without_arguments():
    """For the examples of `arrays`."""
    return torch.nn.Linear(6, 3)


def with_classes_alone(num_classes):
    return torch.nn.Linear(6, num_classes)


def with_anything(**given):
    (features,) = given["input_shape"]
    return torch.nn.Linear(features, given["num_classes"])


def too_few_outputs(input_shape, num_classes):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(int(np.prod(input_shape)), num_classes - 1))


class _Linear(torch.nn.Module):
    """One linear layer; something may happen before it is asked."""

    def __init__(self, input_shape, num_classes):
        super().__init__()
        self.linear = torch.nn.Linear(int(np.prod(input_shape)), num_classes)

    def before(self):
        """What a kind does first."""

    def forward(self, x):
        self.before()
        return self.linear(x)


def die_if_allowed():
    """Kill this process, as the system does when memory runs out, if a file says that there are deaths left."""
    allowed = Path(os.environ.get("REDENSE_TEST_DEATHS", "/nonexistent"))
    if allowed.exists():
        deaths = int(allowed.read_text())
        if deaths > 0:
            allowed.write_text(str(deaths - 1))
            os.kill(os.getpid(), signal.SIGKILL)


class _DiesInTraining(_Linear):
    def before(self):
        if self.training:
            die_if_allowed()


def dies_in_training(input_shape, num_classes):
    return _DiesInTraining(input_shape, num_classes)


class _RaisesInTraining(_Linear):
    def before(self):
        if self.training:
            raise ArithmeticError("out of cheese")


def raises_in_training(input_shape, num_classes):
    return _RaisesInTraining(input_shape, num_classes)


class _Recurrent(torch.nn.Module):
    def __init__(self, kind, features, num_classes):
        super().__init__()
        self.rnn = kind(1, 8, batch_first=True)
        self.start = torch.nn.Parameter(torch.zeros(features, 1))
        self.head = torch.nn.Linear(8, num_classes)

    def forward(self, x):
        return self.head(self.rnn(x.unsqueeze(-1) + self.start)[0][:, -1])


def lstm(input_shape, num_classes):
    return _Recurrent(torch.nn.LSTM, input_shape[0], num_classes)


def gru(input_shape, num_classes):
    return _Recurrent(torch.nn.GRU, input_shape[0], num_classes)


def arrays(n_train=96, n_test=48, features=6, classes=3, seed=0):
    """A noisy linear problem."""
    generator = np.random.default_rng(seed)
    weights = generator.normal(size=(features, classes))
    x = generator.normal(size=(n_train + n_test, features)).astype(np.float32)
    y = np.argmax(x @ weights + generator.normal(size=(n_train + n_test, classes)), axis=1)
    y[:classes] = np.arange(classes)
    return (x[:n_train], y[:n_train]), (x[n_train:], y[n_train:])


def data():
    return arrays()


def more_data():
    """As many that true-positive rates at 10% are shown under both protocols."""
    return arrays(240, 160)


def torch_data():
    (x, y), (x_test, y_test) = arrays()
    return (
        torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y)),
        torch.utils.data.TensorDataset(torch.from_numpy(x_test), torch.from_numpy(y_test)),
    )


def failing_data():
    raise FileNotFoundError("the disk is elsewhere")


def one_dataset():
    return arrays()[0][0]


class _HangsOnce(_Linear):
    """Sleeps for ever in the second epoch if a flag file says so, which it deletes; or always."""

    evaluations = 0

    def before(self):
        flag = os.environ.get("REDENSE_TEST_HANG", "")
        if not self.training:
            self.evaluations += 1
        if self.training and (flag == "always" or (self.evaluations and flag and Path(flag).exists())):
            if flag != "always":
                Path(flag).unlink()
            time.sleep(1000)


def hangs_once(input_shape, num_classes):
    return _HangsOnce(input_shape, num_classes)


class _Sleeps(_Linear):
    """Takes time in training without any work."""

    def before(self):
        if self.training:
            time.sleep(float(os.environ.get("REDENSE_TEST_SLEEP", "0")))


def sleeps(input_shape, num_classes):
    return _Sleeps(input_shape, num_classes)


class _Tells(_Linear):
    """Writes down, once a process, what this has from its caller."""

    told = False

    def before(self):
        if self.training and not type(self).told:
            type(self).told = True
            opened = [os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
            names = [name.rpartition("/fd/")[2] if "pipe:" in name or "socket:" in name else name for name in opened]
            values = {
                "process": os.getpid(),
                "threads": os.environ["OMP_NUM_THREADS"],
                "folder": os.getcwd(),
                "open": names,
            }
            with open(os.environ["REDENSE_TEST_TELLS"], "a") as file:
                file.write(json.dumps(values) + "\n")


def tells_what_its_process_has(input_shape, num_classes):
    return _Tells(input_shape, num_classes)
