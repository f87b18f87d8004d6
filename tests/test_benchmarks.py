"""Benchmarks time in one place and in one way; what they measure is not tested here."""

import ast
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(BENCHMARKS.glob("*.py"))


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_only_the_module_for_timing_has_a_clock(script):
    assert bool({"time", "timeit", "statistics"} & set(imported(script))) == (script.name == "timing.py")


def test_the_published_network_stands_once():
    assert [path.name for path in SCRIPTS if "Conv2d(1, 32" in path.read_text()] == ["published.py"]
