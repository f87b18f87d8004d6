"""From a template and values to one HTML file that may load nothing and run no script but its own two."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache, partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from redense.page.chart import Chart
from redense.page.words import WORDS, Word, words_of
from redense.text import NO_BREAK, together, visible

if TYPE_CHECKING:
    from markupsafe import Markup

PACKAGE = "redense.page"
PLOTLY = "4.1.1"
"""Version of what stands in ``vendor``."""
_UNSAFE = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}
"""Characters that could end a script or begin a tag; in JSON they stand in strings alone, which may escape them."""


def embedded_json(value: Any) -> str:
    r"""Write JSON that may stand inside a ``<script>`` element: nothing in it ends the element.

    >>> embedded_json({"name": "</script>"})
    '{"name":"\\u003c/script\\u003e"}'
    """
    return json.dumps(value, separators=(",", ":"), allow_nan=False).translate(_UNSAFE)


def render(
    template: str, packages: Sequence[str], charts: Sequence[Chart], words: Sequence[Word] = WORDS, **values: Any
) -> str:
    """Render a template of one of these packages, with charts and those of `words` that it uses, as one HTML file.

    Every value is escaped, and letters that nobody sees are written out: no name steers a terminal that shows the file,
    or turns around what follows. The page's policy (Content-Security-Policy) forbids the network, and all scripts but
    the drawing library and the page's own, which it names by their hashes.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(name) for name in (*packages, PACKAGE)]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_visible,
    )
    environment.filters["prose"] = _prose
    scripts = [_script("vendor/plotly-basic.min.js"), _script("static/page.js")] if charts else []
    allowed = " ".join(f"'sha256-{_digest(script)}'" for script in scripts) or "'none'"
    return environment.get_template(template).render(
        **values,
        policy=f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'",
        style=_safe(_text("static/page.css")),
        scripts=[_safe(script) for script in scripts],
        words_of=partial(words_of, words=words),
        axes=" ".join(f" {chart.x.title} {chart.y.title}" for chart in charts),
        chart_data=_safe(embedded_json({chart.key: chart.to_mapping() for chart in charts})),
    )


@cache
def _text(name: str) -> str:
    return files(PACKAGE).joinpath(name).read_text(encoding="utf-8")


def _script(name: str) -> str:
    text = _text(name)
    if "</script" in text.lower() or "<!--" in text or "\r" in text:
        raise ValueError(f"{name}: cannot stand inside a page; it would end its element, or be read otherwise")
    return text


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _visible(value: Any) -> Any:
    """Write out what is invisible in a text; what has been escaped already went through here."""
    return visible(value, keep="\n") if type(value) is str else value


def _prose(text: str) -> Markup:
    """Escape running text; lines break neither inside of an interval nor of a p-value, as in the terminal."""
    from markupsafe import Markup, escape

    return escape(together(_visible(text))).replace(NO_BREAK, Markup("&nbsp;"))


def _safe(text: str) -> Markup:
    from markupsafe import Markup

    return Markup(text)
