"""Every public name says what each of its fields and arguments is, and shows how it is used."""

import dataclasses
import inspect
import re
import textwrap

import pytest

import redense
from redense.arguments import validated

WORDS = ("self", "cls")


def named():
    """All public names with what they stand for; modules stand for their own public names elsewhere."""
    values = {name: getattr(redense, name) for name in redense.__all__}
    return {name: value for name, value in values.items() if not inspect.ismodule(value)}


def parts(value):
    """The names of what a user gives or reads: fields of dataclasses and mappings, else arguments."""
    if dataclasses.is_dataclass(value):
        return [field.name for field in dataclasses.fields(value)]
    if getattr(value, "__total__", None) is not None:  # a TypedDict
        return list(value.__annotations__)
    if inspect.isclass(value) and issubclass(value, Exception):
        return []
    function = value.__init__ if inspect.isclass(value) else value
    return [name for name in inspect.signature(function).parameters if name not in WORDS]


def explained(value, part):
    """Whether a docstring, as `help` shows it, has a part in code quotes or in a list, or a function's as a word."""
    doc = f"{inspect.getdoc(value)}\n{inspect.getdoc(value.__init__) if inspect.isclass(value) else ''}"
    prose = doc if not dataclasses.is_dataclass(value) else " ".join(re.findall(r"`+[^`]+`+|^ *\w+:", doc, re.M))
    return re.search(rf"\b{part}\b", prose) is not None


@pytest.mark.parametrize("name", named())
def test_every_field_and_argument_is_explained(name):
    value = named()[name]
    assert [part for part in parts(value) if not explained(value, part)] == []


@pytest.mark.parametrize("name", named())
def test_every_public_name_has_an_example(name):
    """That it runs, the collection of doctests sees to."""
    assert ">>>" in inspect.getdoc(named()[name])


def test_rules_of_this_file_find_what_is_missing():
    @dataclasses.dataclass
    class Undocumented:
        """Has `a` but says nothing of its other field, b."""

        a: int
        b: int

    assert [explained(Undocumented, part) for part in parts(Undocumented)] == [True, False]


def test_dir_lists_public_names_alone():
    shown = [name for name in dir(redense) if not name.startswith("__")]
    assert shown == sorted(redense.__all__)


def test_all_errors_are_public():
    from redense import errors

    kinds = [name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)]
    assert set(kinds) <= set(redense.__all__)


def test_fields_are_explained_where_the_source_is_and_else_the_class_says_its_own():
    """A class made by `exec` has no source; `help` of it is what it would be of any class."""
    text = textwrap.dedent(
        '''
        @validated()
        @dataclasses.dataclass
        class Made:
            """What stands in the class itself."""

            one: int
            """A field of it."""
        '''
    )
    made = {"validated": validated, "dataclasses": dataclasses, "__name__": "nowhere"}
    exec(text, made)
    assert inspect.getdoc(made["Made"]) == "What stands in the class itself."
    assert re.search(r"^    workers: Worker processes", inspect.getdoc(redense.Resources), re.M)
