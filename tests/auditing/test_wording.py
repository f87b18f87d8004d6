"""What audits say of themselves: figures in explanations, and the words of pages and glossary."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redense.auditing.page import TERMS
from redense.auditing.verdict import GRADES, Verdict, in_figures, leaks_among
from redense.auditing.wording import grades_text, risk_is
from redense.metrics.paired import shares_below
from redense.page.words import Word, words_of

GLOSSARY = Path(__file__).parents[2] / "docs/glossary.md"


def test_as_many_members_stand_above_all_others_by_chance_as_is_said():
    """Counted over scores that know nothing, within four standard deviations of a binomial count."""
    members = np.arange(120) < 40
    draws = np.random.default_rng(0)
    found = sum((shares_below(draws.normal(size=120), members)[:40] == 1).sum() for _ in range(2000))
    said = int(re.search(r"about 1 of (\d+) members", risk_is([80]))[1])
    expected = 2000 * 40 / said
    assert said == 81
    # members of one audit stand above the same others together: one audit is one case
    assert abs(found - expected) < 4 * np.sqrt(2 * expected)
    assert "1 of 71 to 81 members" in risk_is([80, 70])


@given(st.floats(0.3, 1.0), st.floats(0.0, 0.3), st.floats(0.0, 0.3))
def test_an_end_above_one_half_reads_so(accuracy, below, above):
    interval = max(0.0, accuracy - below), min(1.0, accuracy + above)
    shown, ends = in_figures(accuracy, interval)
    low, high = map(float, ends.strip("[]").split(", "))
    digits = len(ends.split(",")[0].partition(".")[2])
    assert (digits, float(shown)) == (len(shown.partition(".")[2]), pytest.approx(100 * accuracy, abs=0.051))
    assert (low, high) == pytest.approx((100 * interval[0], 100 * interval[1]), abs=0.051)
    if interval[0] > 0.5 + 1e-5:
        assert low > 50
    assert digits == 1 or 50 < 100 * interval[0] < 50.06


def test_grades_are_those_of_the_rule():
    assert [float(share) / 100 for share in re.findall(r"from (\d+)%", grades_text())] == [0.75, 0.55]
    assert all(f'"{grade}"' in grades_text() for grade, _ in GRADES)


def test_one_model_has_its_own_verdict():
    assert leaks_among([Verdict("leak", "")]) == ""
    assert leaks_among([Verdict("leak", "")] * 2) == "all 2 models audited in this run show a leak"


def _glossary():
    """Definitions by term, each in one line."""
    for block in GLOSSARY.read_text(encoding="utf-8").split("\n\n**")[1:]:
        term, _, text = block.partition("**\n:   ")
        yield term, " ".join(text.split())


def test_the_glossary_says_what_pages_say():
    said = dict(_glossary())
    for word in TERMS:
        assert said[word.term].startswith(word.says), word.term


def test_words_are_explained_where_they_are_used_and_only_there():
    for word in TERMS:
        used = {"phase": "a phase", "dense, sparse, re-dense": "re-dense 50%", "member, non-member": "members"}
        text = used.get(word.term, {"epsilon, ε": "ε", "Holm's correction": "Holm's"}.get(word.term, word.term))
        assert word.term in [term for term, _ in words_of(f"<p class='x'>of {text}.</p>", TERMS)]
    assert words_of("<p class='AUC mask'>a pip of unmasked things</p>", TERMS) == []
    assert not Word("p", "").is_in("help, p-values")
    assert [term for term, _ in words_of("<th>p</th><td>Holm&#39;s</td>")] == ["p", "Holm's correction"]
