"""Pages read back, as their own script reads them."""

import json
import re


def charts(page):
    """The charts of a page, by key."""
    (text,) = re.findall(r'<script type="application/json" id="charts">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)


def library():
    """The text of the drawing library, which stands in every page."""
    from redense.page.render import _text

    return _text("vendor/plotly-basic.min.js")
