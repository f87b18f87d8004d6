"""Errors a user can act on, grouped by what there is to act on, and warnings.

Every message says what was got, what was expected and what to do. The command line prints it
without a traceback and leaves with `exit_code`.
"""

import sys
import traceback
import warnings
from itertools import takewhile

BETWEEN = {"redense", "torch", "keras", "lightning", "pytorch_lightning", "transformers", "accelerate"}
"""Packages whose frames stand between the user's own line and a warning: ours, and those that call ours."""


def warn_caller(message: str) -> None:
    """Warn whoever called redense: the warning names their own line, however deep it arises."""
    frames = (frame for frame, _ in traceback.walk_stack(sys._getframe()))
    between = takewhile(lambda frame: frame.f_globals.get("__name__", "").partition(".")[0] in BETWEEN, frames)
    warnings.warn(message, stacklevel=1 + sum(1 for _ in between))


FOREIGN = (Exception, SystemExit)
"""What code of others may raise when it is called: an exit status of its own would be taken for ours."""


class RedenseError(Exception):
    """Base of all errors that redense raises on purpose; `exit_code` is the status with which the command leaves.

    >>> from redense import RedenseError, data
    >>> try:
    ...     data.load("digts")
    ... except RedenseError as error:
    ...     print(type(error).__name__, error.exit_code)
    DataError 2
    """

    exit_code = 2


class ArgumentError(RedenseError, ValueError):
    """An argument of a function is none that it can work with: correct the call.

    >>> import redense
    >>> redense.metrics.auc([1, 2], [0.5, 1])
    Traceback (most recent call last):
    ...
    redense.errors.ArgumentError: members: got an array of float64 [2]; expected bool [n], True = member
    """


class UnknownName(RedenseError, KeyError):
    """Nothing has that name: choose one that the message lists.

    >>> import torch, redense
    >>> sides = [(torch.randn(60, 2, generator=torch.manual_seed(seed)), torch.zeros(60).long()) for seed in (0, 1)]
    >>> result = redense.audit(torch.nn.Linear(2, 2), members=sides[0], nonmembers=sides[1])
    >>> result.attack("lira")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    redense.errors.UnknownName: name: got 'lira', which is not in this audit; expected one of ...
    """

    __str__ = Exception.__str__  # that of KeyError puts quotes around the message


class RecipeError(RedenseError):
    """A setting is wrong: correct the recipe, the flag or the argument.

    >>> import redense
    >>> redense.Recipe(sparsities=(1.5,))
    Traceback (most recent call last):
    ...
    redense.errors.RecipeError: sparsities: got 1.5; expected a fraction from 0 (included) to 1 (excluded)
    """


class DataError(RedenseError):
    """The data are missing, damaged or do not fit: correct the data or where they are looked for.

    >>> import redense
    >>> redense.data.load("nowhere.npz")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    redense.errors.DataError: data nowhere.npz: no such file or folder; expected FILE.npz with arrays x and y, ...
    """


class ModelError(RedenseError):
    """The model cannot be built or does not fit the data: correct the factory or the name.

    >>> import redense
    >>> redense.load_sparse("nowhere.safetensors")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    redense.errors.ModelError: nowhere.safetensors: ...
    """


class FolderError(RedenseError):
    """A run's folder cannot be used or read: choose another or free it.

    >>> import redense
    >>> redense.Results.load("nowhere")
    Traceback (most recent call last):
    ...
    redense.errors.FolderError: nowhere: no such folder; expected a run's folder with the results of a run
    """


class TrainingError(RedenseError):
    """Some jobs of a run failed; those that finished are kept, and the same command tries the others again.

    >>> from redense import RedenseError, TrainingError
    >>> issubclass(TrainingError, RedenseError), TrainingError.exit_code
    (True, 2)
    """


class LeakFound(RedenseError):
    """An audit found a leak above the limit that the user asked to be warned about.

    >>> from redense import LeakFound
    >>> LeakFound.exit_code
    1
    """

    exit_code = 1


class Interrupted(RedenseError):
    """The run was stopped from outside; the same command goes on where it stopped.

    >>> from redense import Interrupted
    >>> Interrupted.exit_code
    3
    """

    exit_code = 3
