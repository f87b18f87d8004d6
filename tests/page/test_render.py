"""Pages: what stands in them, and what may never get out of its place."""

import base64
import hashlib
import html
import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redense.page import render as rendering
from redense.page.chart import Axis, Chart, Series, View
from redense.page.render import PLOTLY, embedded_json, render

NASTY = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["</script><script>alert(1)</script>", "<!--<script>", "]]>", "\u2028", "' onload='x", '"><img src=x>']
    ),
)


class Elements(HTMLParser):
    """Collects the names of elements and the text of scripts, as a browser finds them."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.names, self.scripts, self.attributes, self.inside = [], [], [], None

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        self.inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside == "script":
            self.scripts[-1] += data


def elements(page):
    parser = Elements()
    parser.feed(page)
    return parser


def chart(text):
    series = Series(text, [0.0, 1.0], [0.5, 0.25], 0, places=[text, text])
    return Chart(
        "key", text, text, Axis(text, ticks=((0.0, text),)), Axis(text), (View(text, (series,), ((0.5, text),)),), text
    )


@given(st.recursive(NASTY, lambda each: st.lists(each, max_size=3) | st.dictionaries(NASTY, each, max_size=3)))
def test_embedded_json_says_the_same_and_ends_no_element(value):
    written = embedded_json(value)
    assert json.loads(written) == value
    assert not set(written) & set("<>&\u2028\u2029")


def test_what_is_no_number_in_json_is_refused():
    with pytest.raises(ValueError, match="JSON compliant"):
        embedded_json(float("nan"))


@settings(max_examples=30)  # a page has more than a megabyte
@given(NASTY)
def test_strings_from_outside_make_no_element(text):
    plain, nasty = (page(name) for name in ("name", text))
    assert elements(nasty).names == elements(plain).names
    assert elements(nasty).scripts[1:] == elements(plain).scripts[1:]
    assert json.loads(elements(nasty).scripts[0])["key"] == chart(text).to_mapping()


def test_running_text_is_escaped_and_its_intervals_kept_together():
    assert "<p>\\x1b&lt;b&gt; [0.1,&nbsp;0.2] (p&nbsp;&lt;&nbsp;.001)</p>" in page("\x1b<b> [0.1, 0.2] (p < .001)")


def page(text):
    return render(
        "one.html", ["chart_page"], [chart(text)], (), title=text, chart=chart(text), head=[text], rows=[[text, text]]
    )


def test_the_policy_allows_the_two_scripts_of_the_page_alone_and_no_network():
    found = elements(page("name"))
    (policy,) = (
        value for tag, name, value in found.attributes if (tag, name) == ("meta", "content") and "src" in value
    )
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in found.scripts[1:]]
    assert rules == {
        "default-src": "'none'",
        "script-src": " ".join(f"'sha256-{digest}'" for digest in digests),
        "style-src": "'unsafe-inline'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    outside = [
        value
        for tag, name, value in found.attributes
        if name in ("src", "href") and not value.startswith(("#", "data:"))
    ]
    assert outside == []


def test_the_library_is_what_its_file_says():
    text = rendering._text("vendor/plotly-basic.min.js")
    assert f"plotly.js (basic - minified) v{PLOTLY}" in text
    assert f"version {PLOTLY}" in rendering._text("vendor/README.md")
    assert "MIT License" in rendering._text("vendor/LICENSE-plotly")
    assert not re.search(r"\beval\(|new Function\b", text)  # which the policy forbids


def test_a_script_that_would_end_its_element_is_refused(monkeypatch):
    monkeypatch.setattr(rendering, "_text", lambda name: "let a = '</SCRIPT>'")
    with pytest.raises(ValueError, match="cannot stand inside a page"):
        rendering._script("static/page.js")


def test_a_chart_in_json_leaves_out_what_is_left_at_its_default():
    written = chart("name").to_mapping()
    assert written["views"][0]["series"] == [
        {"name": "name", "x": [0.0, 1.0], "y": [0.5, 0.25], "look": 0, "places": ["name", "name"]}
    ]
    assert html.escape("name") in page("name")
