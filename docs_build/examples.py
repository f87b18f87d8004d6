"""What the site needs to know of the package: examples in docstrings are code, and some modules stand for others."""

from __future__ import annotations

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"(?:^ *>>> .*\n?(?:^ *\S.*\n?)*)(?:\n+ *>>> .*\n?(?:^ *\S.*\n?)*)*", re.MULTILINE)
PUBLIC = {name: f"redense.sparsity.{name}" for name in ("patterns", "saliency", "schedules")}
"""Modules under their public names, which the package puts in place when it is imported."""


class Examples(griffe.Extension):
    """Fence every example, which Markdown would take for quotations, and find what is public under its public name."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of an object that has one."""
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Lead from public names of modules to the modules."""
        for name, home in PUBLIC.items():
            pkg.members[name] = griffe.Alias(name, home, parent=pkg)


def fenced(text: str) -> str:
    """Put a fence around each run of lines that begins with ``>>>``.

    >>> fenced("Add.\\n\\n>>> 1 + 1\\n2")
    'Add.\\n\\n```pycon\\n>>> 1 + 1\\n2\\n```\\n'
    """
    return EXAMPLE.sub(lambda found: f"```pycon\n{found.group().rstrip()}\n```\n", text)
