"""ROC curves on logarithmic axes."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from redense.auditing.curves import LONG, on_log_axes

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
