"""How a phase of a recipe's list is written on the command line: as JSON, with the keys of ``[[phases]]`` in TOML."""

from __future__ import annotations

import json

from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from redense.errors import RecipeError
from redense.phases import Phase, of_table, to_table

REGISTRY = ConstructorRegistry()


@REGISTRY.primitive_rule
def _phase(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Phase] | None:
    if info.type is not Phase:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="JSON",
        instance_from_str=lambda words: of_table(_json(words[0])),
        is_instance=lambda value: isinstance(value, Phase),
        str_from_instance=lambda phase: [json.dumps(to_table(phase))],
    )


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except RecursionError:
        raise RecipeError("--phases: got JSON that is nested too deep; expected a table for each phase") from None
