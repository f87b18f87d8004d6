"""No code stands in a guide that no test runs."""

import re
from pathlib import Path

import pytest
from foreign.guides import FOLDER

pytestmark = pytest.mark.foreign


def test_every_block_of_every_guide_is_run():
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("*.py"))
    run = set(re.findall(r'run_guide\(\s*"(\w+)",\s*"([^"]+)"', tests))
    written = set()
    for page in FOLDER.glob("*.md"):
        heading = ""
        for line in page.read_text().splitlines():
            heading = line.lstrip("# ") if re.match("#+ ", line) else heading
            if line.startswith("```python"):
                written.add((page.stem, heading))
    assert written == run
