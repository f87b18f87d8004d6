"""Errors a user can act on, grouped by what there is to act on.

Every message says what was got, what was expected and what to do. The command line prints it
without a traceback and leaves with `exit_code`.
"""


class RedenseError(Exception):
    """Base of all errors that redense raises on purpose."""

    exit_code = 2


class ArgumentError(RedenseError, ValueError):
    """An argument of a function is none that it can work with: correct the call."""


class UnknownName(RedenseError, KeyError):
    """Nothing has that name: choose one that the message lists."""

    __str__ = Exception.__str__  # that of KeyError puts quotes around the message


class RecipeError(RedenseError):
    """A setting is wrong: correct the recipe, the flag or the argument."""


class DataError(RedenseError):
    """The data are missing, damaged or do not fit: correct the data or where they are looked for."""


class ModelError(RedenseError):
    """The model cannot be built or does not fit the data: correct the factory or the name."""


class FolderError(RedenseError):
    """The output folder cannot be used: choose another or free it."""


class TrainingError(RedenseError):
    """Some jobs of a run failed; those that finished are kept."""


class LeakFound(RedenseError):
    """An audit found a leak above the limit that the user asked to be warned about."""

    exit_code = 1


class Interrupted(RedenseError):
    """The run was stopped from outside; the same command goes on where it stopped."""

    exit_code = 3
