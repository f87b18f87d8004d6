"""The shape of the project itself; what import-linter holds stands in pyproject.toml."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import redense

ROOT = Path(redense.__file__).parent
FORMER_NAMES = [
    *("AuditResult", "DSD", "Evidence", "Recipe", "RedenseError", "References", "Results", "Row", "Signals"),
    *("attacks", "audit", "audit_evidence", "choose_masks", "image_queries", "load_sparse", "magnitude_masks"),
    *("masked", "measure_sparsity", "metrics", "patterns", "read_signals", "run", "save_sparse", "schedules"),
    *("scores", "sensitivity"),
]
"""What `redense.__all__` held before the three wings."""


def test_public_names_are_the_same_in_all_three_lists():
    tree = ast.parse((ROOT / "__init__.py").read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    typed = {
        alias.asname: f"{node.module}.{alias.name}"
        for node in block.body
        for alias in node.names  # every import is written "from module import name as name"
    }
    lazy = {name: f"{home}.{name}" for name, home in redense._HOMES.items()} | redense._MODULES
    assert typed == lazy
    assert sorted(redense.__all__) == sorted(lazy)


def test_every_public_name_is_there_and_says_what_it_is():
    for name in redense.__all__:
        assert getattr(redense, name).__doc__, name


def test_former_names_go_on_working():
    assert set(FORMER_NAMES) <= set(redense.__all__)
    assert redense.scores is redense.saliency
    assert redense.saliency.saliency is redense.saliency.gradient


def test_public_modules_are_the_same_however_they_are_imported():
    lines = [
        f"import redense.{name} as one; from redense import {name} as two; assert one is two is redense.{name}"
        for name in redense._MODULES
    ]
    script = "import redense\n" + "\n".join(lines) + "\nfrom redense.scores import magnitude"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_root_is_small():
    modules = [path.name for path in ROOT.glob("*.py") if path.name not in ("__init__.py", "__main__.py")]
    assert len(modules) <= 12


def test_no_file_is_too_long_to_be_one_idea():
    for path in ROOT.rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 380, path


def test_every_attack_has_a_test():
    tested = set()
    for path in Path(__file__).parent.glob("attacks/test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("redense.attacks"):
                home = importlib.import_module(node.module)
                tested |= {node.module, *(getattr(home, alias.name).__module__ for alias in node.names)}
    assert {f"redense.attacks.{path.stem}" for path in (ROOT / "attacks").glob("[a-z]*.py")} <= tested


def test_imports_by_string_are_these_and_no_others():
    """import-linter sees no module that is named in a string; so each of them is named here."""
    found = {}
    for path in ROOT.rglob("*.py"):
        strings = (node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant))
        # the constant part of an f-string, too: "redense.commands."
        named = {text for text in strings if isinstance(text, str) and _is_module(text.removesuffix("."))}
        if named:
            found[str(path.relative_to(ROOT))] = named
    assert set(found.pop("__init__.py")) == {*redense._HOMES.values(), *redense._MODULES.values()}
    assert found == {
        "data/__init__.py": {"redense.data.dataset", "redense.data.loading"},
        "auditing/page.py": {"redense.auditing"},
        "commands/main.py": {"redense.commands."},
        "experiment/idle_cores.py": {"redense.models."},
        "experiment/engines/fork_server.py": {
            "redense.experiment.engines.fork_server",
            "redense.experiment.engines.worker",
        },
        "experiment/report/page.py": {"redense.auditing", "redense.experiment.report"},
        "page/render.py": {"redense.page"},
        "experiment/recipe.py": {"redense.experiment.recipes"},
    }


def test_nobody_goes_through_the_root():
    """Its names load from all wings, which import-linter cannot follow; only the version is asked for there."""
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "redense" and path != ROOT / "__init__.py":
                for alias in node.names:
                    assert alias.name == "__version__" or find_spec(f"redense.{alias.name}") is not None, path
            if isinstance(node, ast.Import):
                assert "redense" not in [alias.name for alias in node.names], path


def test_the_command_is_there():
    scripts = tomllib.loads((ROOT.parents[1] / "pyproject.toml").read_text())["project"]["scripts"]
    for target in scripts.values():
        module, _, name = target.partition(":")
        assert callable(getattr(importlib.import_module(module), name))


def _is_module(text):
    return re.fullmatch(r"redense(\.\w+)+", text) is not None and find_spec(text) is not None


def test_whatever_is_written_for_a_run_is_checked_to_lie_in_its_folder():
    """Every call of a writer in the researcher's wing says inside which folder; export checks by itself."""
    writers = {"write_whole", "write_png", "write_kept", "make_folder"}
    found = 0
    for path in (ROOT / "experiment").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in writers:
                found += 1
                inside = any(keyword.arg == "inside" for keyword in node.keywords)
                assert inside or path.name == "export_formats.py", f"{path}:{node.lineno}"
    assert found > 15
