"""What the documents hold: fenced blocks, with page and line, and commands outside of fences."""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FENCE = re.compile(
    r"^(?: *<!-- not run: (?P<reason>.+?) -->\n\n?)?(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$",
    re.M | re.S,
)
INDENTED = re.compile(r"^ {4}((?:redense|pip install) .*)$", re.M)


@dataclass(frozen=True)
class Block:
    """A fenced block; `reason` says why it is not run, where it is not."""

    page: Path
    line: int
    language: str
    text: str
    reason: str | None = None


def documents():
    """List README and the pages; of the log, which tells what was so on its days, and of guides to frameworks, which
    have tests of their own, none."""
    pages = sorted(path for path in DOCS.rglob("*.md") if path.name != "log.md" and "frameworks" not in path.parts)
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *pages]


def blocks(page):
    """List the blocks of a page in order."""
    text = page.read_text()
    return [
        Block(
            page,
            text.count("\n", 0, found.start("language")) + 1,
            found["language"],
            textwrap.dedent(found["text"]),
            found["reason"],
        )
        for found in FENCE.finditer(text)
    ]


def commands(page):
    """List all lines of a page that are commands: of fenced shell blocks, and indented ones."""
    fenced = [line for block in blocks(page) if block.language == "sh" for line in block.text.splitlines()]
    outside = FENCE.sub("", page.read_text())
    return [line.split("  #")[0].strip() for line in (*fenced, *INDENTED.findall(outside)) if line.strip()]


def name(page):
    """Call a page as a person would."""
    return str(page.relative_to(ROOT))
