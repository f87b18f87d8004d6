"""Pages read back, as their own script reads them."""

import json
import re
from html.parser import HTMLParser
from itertools import pairwise


def charts(page):
    """The charts of a page, by key."""
    (text,) = re.findall(r'<script type="application/json" id="charts">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)


class _Paragraphs(HTMLParser):
    """Collects what stands in running text."""

    def __init__(self):
        super().__init__()
        self.texts, self.inside = [], False

    def handle_starttag(self, tag, attributes):
        if tag in ("p", "li"):
            self.inside = True
            self.texts.append("")

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("p", "li")

    def handle_data(self, data):
        if self.inside:
            self.texts[-1] += data


def paragraphs(page):
    """The running text of a page, a paragraph each."""
    found = _Paragraphs()
    found.feed(page)
    return found.texts


class _Outline(HTMLParser):
    """Collects how deep each heading is, and what those who hear a page are told that its tables and charts are."""

    def __init__(self):
        super().__init__()
        self.depths, self.names = [], []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if re.fullmatch("h[1-6]", tag):
            self.depths.append(int(tag[1]))
        if attributes.get("role") == "region":
            self.names.append(attributes["aria-label"])
        if "data-chart" in attributes:
            self.names.append((attributes["data-chart"], attributes["data-of"]))


def is_in_order(page):
    """Whether no heading lies two steps or more below the one before it, and no two tables or charts have one name."""
    outline, titles = _Outline(), {key: chart["title"] for key, chart in charts(page).items()}
    outline.feed(page)
    names = [name if isinstance(name, str) else f"Table of {titles[name[0]]}{name[1]}" for name in outline.names]
    steps = [later - earlier for earlier, later in pairwise(outline.depths)]
    return outline.depths[0] == 1 and max(steps) == 1 and len(set(names)) == len(names) > 1


def library():
    """The text of the drawing library, which stands in every page."""
    from redense.page.render import _text

    return _text("vendor/plotly-basic.min.js")
