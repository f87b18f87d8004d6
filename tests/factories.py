"""Models and data that tests name as ``factories:...``, the way users name their own."""

import gc
import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from redense.experiment import idle_cores


def tensors(x, y):
    return torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y))


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


class _LeavesInTraining(_Linear):
    """Ends its process in training, as a script that finds nothing to do might."""

    def forward(self, x):
        if self.training:
            raise SystemExit(0)
        return super().forward(x)


def leaves_in_training(input_shape, num_classes):
    return _LeavesInTraining(input_shape, num_classes)


class _InPlace(_Linear):
    """Normalises its inputs in place."""

    def forward(self, x):
        return super().forward(x.sub_(0.5).div_(0.25))


def in_place(input_shape, num_classes):
    return _InPlace(input_shape, num_classes)


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


class Tokens(torch.nn.Module):
    """Takes integers, and no other numbers, as a text model does; `mix` is what comes after its embedding."""

    def __init__(self, classes=3, vocabulary=20, mix=None):
        super().__init__()
        self.embedding, self.mix = torch.nn.Embedding(vocabulary, 8), mix
        self.head = torch.nn.Linear(8, classes)

    def forward(self, x):
        found = self.embedding(x)
        return self.head((found if self.mix is None else self.mix(found)[0]).mean(1))


class Cast(Tokens):
    """Takes any numbers for integers."""

    def forward(self, x):
        return super().forward(x.long())


class Table(torch.nn.Module):
    """Embeds the first column of a table, and normalises the others, which takes real numbers."""

    def __init__(self, classes=3):
        super().__init__()
        self.embedding, self.norm = torch.nn.Embedding(20, 4), torch.nn.BatchNorm1d(6)
        self.head = torch.nn.Linear(10, classes)

    def forward(self, x):
        return self.head(torch.cat((self.embedding(x[:, 0].long()), self.norm(x[:, 1:])), 1))


class OneHot(torch.nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.head = torch.nn.Linear(20, classes)

    def forward(self, x):
        return self.head(torch.nn.functional.one_hot(x, 20).float().mean(1))


def tokens(num_classes):
    return Tokens(num_classes)


def few_tokens(num_classes):
    return Tokens(num_classes, vocabulary=10)


def recurrent_tokens(num_classes):
    return Tokens(num_classes, mix=torch.nn.LSTM(8, 8, batch_first=True))


def cast_tokens(num_classes):
    return Cast(num_classes)


def table(num_classes):
    return Table(num_classes)


class Padded(torch.nn.Module):
    """A transformer that leaves out padding, token 0."""

    def __init__(self, classes=3):
        super().__init__()
        self.embedding = torch.nn.Embedding(20, 8, padding_idx=0)
        layer = torch.nn.TransformerEncoderLayer(8, 2, 8, batch_first=True)
        self.encoder, self.head = torch.nn.TransformerEncoder(layer, 1), torch.nn.Linear(8, classes)

    def forward(self, x):
        return self.head(self.encoder(self.embedding(x), src_key_padding_mask=x == 0).mean(1))


def padded_tokens(num_classes):
    return Padded(num_classes)


def sparse_gradients(num_classes):
    model = Tokens(num_classes)
    model.embedding.sparse = True
    return model


def one_hot(num_classes):
    return OneHot(num_classes)


def texts(n_train=96, n_test=48, dtype=np.int64):
    """Seven tokens an example, 0 to 19, of which the first tells the class, but for some."""
    generator = np.random.default_rng(0)
    x = generator.integers(0, 20, (n_train + n_test, 7))
    y = np.where(generator.random(len(x)) < 0.2, generator.integers(0, 3, len(x)), x[:, 0] % 3)
    x[0, 1], x[1, 1] = 0, 19
    return (x[:n_train].astype(dtype), y[:n_train]), (x[n_train:].astype(dtype), y[n_train:])


def one_channel(num_classes):
    convolution = torch.nn.Conv2d(1, 2, 3)
    return torch.nn.Sequential(convolution, torch.nn.Flatten(), torch.nn.Linear(2 * 6 * 6, num_classes))


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
            numbers = [int(name) for name in os.listdir("/proc/self/fd")]
            opened = {number: os.path.realpath(f"/proc/self/fd/{number}") for number in numbers}
            names = {
                number: name.rpartition("/fd/")[2] if "pipe:" in name or "socket:" in name else name
                for number, name in opened.items()
            }
            values = {
                "process": os.getpid(),
                "threads": os.environ["OMP_NUM_THREADS"],
                "folder": os.getcwd(),
                "open": [*names.values()],
                "collects": gc.isenabled(),
                "passed_on": [name for number, name in names.items() if _is_passed_on(number)],
            }
            with open(os.environ["REDENSE_TEST_TELLS"], "a") as file:
                file.write(json.dumps(values) + "\n")


def _is_passed_on(number):
    """Whether programs that are started inherit a descriptor, beside those that all have."""
    try:
        return number > 2 and os.get_inheritable(number)
    except OSError:  # that of the list itself
        return False


def tells_what_its_process_has(input_shape, num_classes):
    return _Tells(input_shape, num_classes)
