"""The code in docs/frameworks, which is run here as it stands there."""

import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs" / "frameworks"


def run_guide(name, heading, block=None, /, **names):
    """Run the Python under a heading of a page, or one block of it, with what it takes as given; return all names."""
    text = (FOLDER / f"{name}.md").read_text()
    parts = {part.partition("\n")[0]: part for part in re.split(r"^#+ ", text, flags=re.MULTILINE)}
    blocks = re.findall(r"^```python\n(.*?)^```", parts[heading], re.MULTILINE | re.DOTALL)
    assert blocks, f"no Python in {name}.md under {heading}"
    for code in blocks if block is None else [blocks[block]]:
        exec(compile(code, f"{name}.md, {heading}", "exec"), names)
    return names
