"""ROC curves on logarithmic axes."""

import dataclasses

import numpy as np
import pytest
from claims.noise import noise
from hypothesis import example, given
from hypothesis import strategies as st

from redense.auditing.audit import audit_evidence
from redense.auditing.curves import LONG, on_log_axes, pictured
from redense.auditing.result import AuditResult
from redense.text import visible

STEPS = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)).filter(any), min_size=1, max_size=12)


@given(STEPS)
@example([(0, 1), (2, 105), (17, 0)])
def test_a_curve_drawn_on_log_axes_is_the_curve(steps):
    """Every point that is drawn lies on the curve in rates, and no long part is left to a straight line on logs."""
    counts = np.cumsum([(0, 0), *steps], axis=0).T.astype(float)
    if not counts[:, -1].all():
        counts[:, -1] += 1
    fpr, tpr = counts / counts[:, -1:]
    least = 1 / 1000
    x, y = map(np.array, on_log_axes(fpr.tolist(), tpr.tolist(), least))
    assert (x[-1], y[-1]) == (1, 1)
    assert min(x.min(), y.min()) >= least
    assert (np.diff(x) >= 0).all()
    assert (np.diff(y) >= 0).all()
    inside = (x > least) & (y > least)
    for a, b in zip(x[inside], y[inside], strict=True):
        assert _distance(a, b, fpr, tpr) < 1e-9
    longest = max([1.0, *(x[1:] / x[:-1]), *(y[1:] / y[:-1])])
    assert longest <= max(LONG, 1000 ** (1 / 7)) * (1 + 1e-9)


def _distance(a, b, fpr, tpr):
    """The distance from a point to the nearest part of a curve, slowly."""
    start, end = np.array([fpr[:-1], tpr[:-1]]).T, np.array([fpr[1:], tpr[1:]]).T
    along = end - start
    share = np.clip((([a, b] - start) * along).sum(axis=1) / (along**2).sum(axis=1), 0, 1)
    return np.hypot(*([a, b] - start - share[:, None] * along).T).min()


@pytest.mark.parametrize("name", [r"$\frac$", "$", "_hidden", "a\nb", "\ud800", "\x1b[31m"])
def test_an_attack_of_any_name_has_its_picture_its_page_and_its_line(name, tmp_path):
    found = audit_evidence(noise(0, 60, 60, 0), attacks=("threshold",))
    strongest = found.verdict.attack
    called = {one.attack: name if one.attack == strongest else one.attack for one in found.attacks}
    result = dataclasses.replace(
        found,
        attacks=tuple(dataclasses.replace(one, attack=called[one.attack]) for one in found.attacks),
        curves={called[each]: curve for each, curve in found.curves.items()},
        primary=called[found.primary],
        verdict=dataclasses.replace(found.verdict, attack=name),
    )
    assert AuditResult.from_json(result.to_json()) == result
    result.save_figure(tmp_path / "roc.png")
    result.to_html(tmp_path / "page.html")
    result.to_csv(tmp_path / "audit.csv")
    assert len((tmp_path / "audit.csv").read_text(encoding="utf-8").splitlines()) == 1 + len(found.attacks) + (
        name == "a\nb"
    )
    texts = [text.get_text() for text in result.figure().legends[0].get_texts()]
    assert len(texts) == 1 + len(pictured(result.curves, name))
    assert any(visible(name) in text for text in texts)


@pytest.mark.parametrize("members", [1, 60])
def test_an_audit_with_one_nonmember_has_its_picture_and_its_page(members, tmp_path):
    """Neither axis begins where it ends; matplotlib would warn."""
    result = audit_evidence(noise(0, members, 1, 0), attacks=("threshold",))
    result.save_figure(tmp_path / "roc.png")
    result.to_html(tmp_path / "page.html")
    for axes in result.figure().axes:
        assert axes.get_xlim() == axes.get_ylim() == (0.5, 1)
