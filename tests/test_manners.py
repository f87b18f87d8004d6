"""What is said of the project in more than one place is said alike."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import redense

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PYTHONS = [line.rsplit(" ", 1)[1] for line in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", line)]
PINS = dict(re.findall(r"^([\w-]+)==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE))


def lowest(package):
    (found,) = (line for line in PROJECT["dependencies"] if re.match(rf"{package}>=", line))
    return found.partition(">=")[2]


def test_the_version_is_one():
    assert PROJECT["version"] == redense.__version__ == yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"]
    assert re.search(r"^## \[?" + re.escape(redense.__version__), (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_the_workflow_runs_every_python_and_the_lowest_torch():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    job = workflow["jobs"]["ci"]
    matrix = job["strategy"]["matrix"]
    (further,) = matrix["include"]
    assert matrix["python"] == PYTHONS
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"
    assert further == {
        "python": PYTHONS[0],
        "torch": f"{lowest('torch')}.0",
        "torchvision": f"{lowest('torchvision')}.0",
    }
    assert job["steps"][-1] == {"run": "bash .ci/run"}


def test_an_older_python_is_told_so_by_make():
    told = re.search(r"sys.version_info < \((\d+), (\d+)\)", (ROOT / "Makefile").read_text())
    assert ".".join(told.groups()) == PYTHONS[0]


def test_hooks_use_what_the_environment_holds():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    tools = {hook["entry"].split()[0].removeprefix(".venv/bin/") for hook in hooks}
    assert tools == {"ruff", "lint-imports"}
    assert {"ruff", "import-linter"} <= set(PINS)


def test_headings_of_the_changelog_are_those_of_keep_a_changelog():
    headings = re.findall(r"^### (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings
    assert set(headings) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


@pytest.mark.xdist_group("alone")
def test_groups_reach_pytest_xdist(request):
    """They do not under pytest 9.2: pytest-xdist 3.8 cannot set names there, and each process trains what is shared."""
    if getattr(request.config.option, "loadgroup", False):
        assert request.node.nodeid.endswith("@alone")
