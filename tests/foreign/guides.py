"""The code in docs/frameworks, which is run here as it stands there."""

import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs" / "frameworks"


def run_guide(name, heading=None, /, **names):
    """Run the Python of a page, or of the part under a heading, with what it takes as given; return all names."""
    text = (FOLDER / f"{name}.md").read_text()
    parts = {part.partition("\n")[0]: part for part in re.split(r"^#+ ", text, flags=re.MULTILINE)}
    blocks = re.findall(r"^```python\n(.*?)^```", text if heading is None else parts[heading], re.MULTILINE | re.DOTALL)
    assert blocks, f"no Python in {name}.md under {heading}"
    for number, block in enumerate(blocks):
        exec(compile(block, f"{name}.md, block {number}", "exec"), names)
    return names
