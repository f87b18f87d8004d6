"""The site: what its navigation and reference leave out, and, of the built pages, that they fetch nothing."""

import re
import tomllib
from html.parser import HTMLParser

import pytest
from documents.pages import DOCS, ROOT

import redense

BUILT = ROOT / "site"
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
"""Elements that fetch, with the attribute that says what."""


def pages(entries):
    for entry in entries:
        for where in entry.values():
            yield from pages(where) if isinstance(where, list) else [where]


def test_every_page_stands_in_the_navigation_once():
    listed = list(pages(tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]))
    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def test_every_public_name_stands_in_the_reference():
    told = re.findall(r"^::: redense\.([\w.]+)$", (DOCS / "api.md").read_text(), re.MULTILINE)
    modules = {name for name in redense._MODULES if name != "scores"}  # a former name
    assert set(redense.__all__) - modules - {"scores"} == {name for name in told if "." not in name}
    for module in modules:
        names = {name.partition(".")[2] for name in told if name.startswith(f"{module}.")}
        assert names, module
        assert set(getattr(getattr(redense, module), "__all__", names)) - names <= UNTOLD.get(module, set()), module


UNTOLD = {"methods": {"CONTROLS", "METHODS", "MOST_ROUNDS", "Control", "Method", "Phases", "control_of"}}
"""What `redense run` is made of."""


class Fetched(HTMLParser):
    """Collects what a page fetches when it is opened."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        value = dict(attributes).get(LOADED.get(tag, ""))
        if value and dict(attributes).get("rel") not in ("canonical", "next", "prev"):
            self.found.append(value)


@pytest.mark.docs
def test_pages_fetch_nothing_from_elsewhere():
    built = list(BUILT.rglob("*.html"))
    assert len(built) > 30
    for page in built:
        fetched = Fetched()
        fetched.feed(page.read_text())
        assert fetched.found, page
        assert [one for one in fetched.found if "//" in one] == [], page
    for sheet in BUILT.rglob("*.css"):
        assert re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//", sheet.read_text()) == [], sheet


@pytest.mark.docs
def test_examples_of_docstrings_are_code():
    text = (BUILT / "api/index.html").read_text()
    assert text.count('class="gp"') > 50  # prompts, as the highlighter of code marks them
    assert "<blockquote>" not in text
