"""Pages of a real run in a real browser, opened from disk: they draw, hold together, and everybody can read them."""

import dataclasses
import json
import re
import shutil
from importlib.resources import files

import pytest
from claims.noise import noise

from redense.auditing.audit import audit_evidence
from redense.experiment.audit_rows import read_rows
from redense.experiment.found import find
from redense.experiment.report.page import report_html

pytestmark = pytest.mark.browser
SIZES = {"desk": (1280, 900), "phone": (390, 844)}
PRINTED = 720
"""Pixels of a printed page's width, A4 without its margins."""


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium):
    """Opens a page from disk; what it complains of and asks for is told at the end."""
    contexts = []

    def open_page(path, size="desk", scheme="light", **options):
        width, height = SIZES[size]
        context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **options)
        page = context.new_page()
        page.complaints, page.asked = [], []
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-drawn]")
        contexts.append(context)
        return page

    yield open_page
    for context in contexts:
        context.close()


def _one_audit(path):
    """The widest table of an audit: as many non-members as three false-positive rates need."""
    result = audit_evidence(noise(0, 300, 12_000, 4, leak=1.0), attacks=("threshold", "lira"))
    assert len(result.attacks[0].shown_rates) == 3
    result.to_html(path)


PAGES = ("report.html", "audit.html", "one.html", "several.html")
"""A run's report and its audits, one audit by itself, and the report of several runs."""


@pytest.fixture(scope="module", params=PAGES)
def path(request, audited_images, undisturbed, tmp_path_factory):
    if request.param in PAGES[:2]:
        return audited_images / request.param
    path = tmp_path_factory.mktemp("pages") / request.param
    if request.param == "one.html":
        _one_audit(path)
    else:
        path.write_text(report_html([_long_cells(find(audited_images)), find(undisturbed)]))
    return path


def _long_cells(run):
    """The same run with the longest cells that the table of several has: intervals and the longest names."""
    audits = []
    for row in run.audits:
        names = [one.attack for one in row.result.attacks]
        found = dataclasses.replace(
            row.result.verdict, attack=max(names, key=len), accuracy=0.801, interval=(0.764, 0.835)
        )
        audits.append(dataclasses.replace(row, result=dataclasses.replace(row.result, verdict=found)))
    compared = [
        dataclasses.replace(one, difference=-0.016, interval=(-0.0634, 0.0314)) for one in run.results.comparisons
    ]
    results = dataclasses.replace(run.results, comparisons=tuple(compared))
    return dataclasses.replace(run, results=results, audits=tuple(audits))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_draws_every_chart_asks_for_nothing_and_fits(opened, path, size, scheme):
    page = opened(path, size, scheme)
    assert page.complaints == []
    assert page.asked == [path.as_uri()]
    drawn = page.locator("figure[data-chart]")
    assert drawn.count() == page.locator("figure[data-chart] svg.main-svg >> nth=0").count() * drawn.count() > 0
    for number in range(drawn.count()):
        traces = drawn.nth(number).locator(".trace")
        assert traces.count() > 0, drawn.nth(number).get_attribute("data-chart")
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]


def _axe(page, options):
    """Return what axe finds wrong, with all tables unfolded."""
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text())
    violations = page.evaluate(f"axe.run({{resultTypes: ['violations'], {options}}}).then((found) => found.violations)")
    return [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in violations]


def test_axe_finds_nothing(opened, path):
    # the page's own policy would not let a further script in
    page = opened(path, bypass_csp=True)
    assert _axe(page, "rules: {'color-contrast': {enabled: false}}") == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_all_text_easy_to_see(opened, path, scheme):
    page = opened(path, scheme=scheme, bypass_csp=True)
    # contrast takes axe milliseconds a cell: of rows that look alike, one a table will do
    page.evaluate("document.querySelectorAll('tbody tr:nth-child(n+2):not([class])').forEach((row) => row.remove())")
    assert _axe(page, "runOnly: ['color-contrast']") == []


def test_the_policy_lets_no_other_script_run(opened, path):
    page = opened(path)
    page.evaluate("""() => {
        const script = document.createElement("script");
        script.textContent = "document.title = 'taken over'";
        document.body.append(script);
    }""")
    assert page.title() != "taken over"
    assert "Content Security Policy" in page.complaints[0]


def test_lines_are_toggled_and_views_zoomed_by_keyboard(opened, audited_images):
    page = opened(audited_images / "report.html")
    figure = page.locator("figure[data-chart=accuracy]")
    button = figure.get_by_role("button", name="re-dense")
    before = figure.locator(".trace.scatter").count()
    button.focus()
    page.keyboard.press("Enter")
    assert button.get_attribute("aria-pressed") == "false"
    page.wait_for_function(
        "n => document.querySelectorAll('figure[data-chart=accuracy] .trace.scatter').length < n", arg=before
    )
    page.keyboard.press("Enter")
    assert button.get_attribute("aria-pressed") == "true"
    page.wait_for_function(
        "n => document.querySelectorAll('figure[data-chart=accuracy] .trace.scatter').length == n", arg=before
    )
    spans = [_span(page)]
    for name in ("Zoom in: Accuracy against sparsity", "Reset the view: Accuracy against sparsity"):
        figure.get_by_role("button", name=name).press("Enter")
        spans.append(_span(page))
    assert spans[1] == pytest.approx(0.6 * spans[0])
    assert spans[2] == pytest.approx(spans[0])
    assert page.complaints == []


def _span(page):
    return page.evaluate("""() => {
        const [low, high] = document.querySelector("figure[data-chart=accuracy] .plot")._fullLayout.yaxis.range;
        return high - low;
    }""")


def test_a_chart_says_what_it_holds_in_a_table_and_changes_with_its_view(opened, audited_images):
    page = opened(audited_images / "report.html")
    figure = page.locator("figure[data-chart=roc-attacks]")
    figure.locator("summary").press("Enter")
    row = next(row for row in read_rows(audited_images) if row.seed == 0)
    caption = figure.locator("caption")
    assert caption.inner_text() == f"ROC by attack, {row.phase.label}"
    names = {*figure.locator("tbody th").all_inner_texts()}
    assert any(name.startswith(row.result.verdict.attack or "LiRA") for name in names)
    figure.get_by_role("combobox").select_option("1")
    assert caption.inner_text() != f"ROC by attack, {row.phase.label}"


def test_a_level_is_one_line_of_a_charts_table(opened, audited_images):
    figure = opened(audited_images / "report.html").locator("figure[data-chart=accuracy]")
    figure.locator("summary").press("Enter")
    figure.locator("tbody th").first.wait_for()  # the table is made when it is opened
    names = figure.locator("tbody th").all_inner_texts()
    assert names.count("dense") == names.count("control-longer") == 1
    assert names.count("re-dense") == 2


def test_a_level_ends_in_a_marker_with_an_interval_or_without(opened, audited_images, tmp_path):
    text = (audited_images / "report.html").read_text()
    bare = re.sub(r'("kind":"level","intervals":)\[null,\[[^]]*\]\]', r"\1[null,null]", text)
    assert bare != text
    (tmp_path / "bare.html").write_text(bare)
    for path in (audited_images / "report.html", tmp_path / "bare.html"):
        figure = opened(path).locator("figure[data-chart=accuracy]")
        points = figure.locator(".trace.scatter .points path")
        shown = [points.nth(place).bounding_box() for place in range(points.count())]
        plot = figure.locator(".plot .nsewdrag").bounding_box()
        assert len([box for box in shown if box and box["width"] > 5]) >= 6  # four of sparse phases, two of levels
        assert all(box["x"] + box["width"] <= plot["x"] + plot["width"] for box in shown if box)


def test_words_are_explained_where_they_are_used(opened, path):
    page = opened(path)
    terms = page.locator("details.terms")
    assert terms.locator("dt").count() > 5
    assert not terms.locator("dl").is_visible()
    terms.locator("summary").press("Enter")
    assert terms.locator("dl").is_visible()


def test_a_table_that_does_not_fit_says_so_and_shows_its_first_figures(opened, audited_images):
    page = opened(audited_images / "report.html", "phone")
    table = page.locator(".wide").first
    hint = page.locator(".wide + .hint").first
    assert table.evaluate("one => one.scrollWidth > one.clientWidth")
    assert hint.is_visible()
    for column in (1, 2):  # test and inference accuracy
        box = table.locator("tbody tr").first.locator("td").nth(column - 1).bounding_box()
        assert box["x"] + box["width"] <= SIZES["phone"][0]
    page.set_viewport_size({"width": 1280, "height": 900})
    page.wait_for_function("() => !document.querySelector('.wide').classList.contains('more')")
    assert not hint.is_visible()


def test_paper_shows_what_is_collapsed_and_no_buttons(opened, path):
    page = opened(path)
    closed = page.locator("details:not([open])").count()
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    shown = page.locator("details:not([open])")
    assert all(shown.nth(place).evaluate("one => !!one.closest('figure')") for place in range(shown.count()))
    assert page.locator("select:visible, button.tools:visible").count() == 0
    assert page.locator(".chosen:visible").count() == page.locator("select").count()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details:not([open])").count() == closed


def test_names_with_dollars_and_directions_are_shown_and_every_bar_has_its_name(opened, audited_images, tmp_path):
    found = find(audited_images)
    (first, *_), named = found.shown.weights, "$x^2$\u202e\x1b[31m" + 40 * "long"
    weights = tuple(dataclasses.replace(first, name=f"{named}{place}") for place in range(6))
    shown = dataclasses.replace(found.shown, weights=weights)
    (tmp_path / "page.html").write_text(report_html([dataclasses.replace(found, shown=shown)]))
    text = (tmp_path / "page.html").read_text()
    assert "\x1b" not in text
    assert "\u202e" not in text
    page = opened(tmp_path / "page.html")
    assert page.complaints == []
    ticks = page.locator("figure[data-chart=kept] .xtick text").all_text_contents()
    assert len(ticks) == 6
    assert all(tick.startswith("$x^2$\\u202") for tick in ticks)


def test_a_printed_page_is_light_and_as_wide_as_paper(opened, path):
    page = opened(path, scheme="dark")
    page.set_viewport_size({"width": PRINTED, "height": 1000})
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("document.documentElement.scrollWidth") <= PRINTED
    assert page.locator(".hint:visible").count() == 0
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_names_from_outside_are_text(opened, audited_images, tmp_path):
    page = (audited_images / "report.html").read_text()
    nasty = json.dumps("<img src=x onerror=alert(1)>").replace("<", "\\u003c").replace(">", "\\u003e")
    (tmp_path / "page.html").write_text(page.replace('"re-dense"', nasty))
    shown = opened(tmp_path / "page.html")
    assert shown.locator("img").count() == 0
    assert shown.get_by_role("button", name="<img src=x onerror=alert(1)>").count() > 0
    assert shown.complaints == []
