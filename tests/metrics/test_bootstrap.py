import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redense.metrics import auc, auc_interval, bootstrap, tpr_at_fpr


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(2, 30), st.integers(2, 30), st.sampled_from([1, 3, 100]))
def test_each_resample_has_the_plain_metrics_figures(seed, m, n, levels):
    generator = np.random.default_rng(seed)
    scores = np.round(levels * generator.normal(size=m + n))
    members = np.arange(m + n) % 2 == 0 if m == n else np.arange(m + n) < m
    fprs = (0.0, 0.1, 0.5, 1.0)
    result = bootstrap(scores, members, fprs=fprs, repeats=5, seed=seed % 1000)
    replay = np.random.default_rng(seed % 1000)
    mine, others = scores[members], scores[~members]
    for repeat in range(5):
        drawn_others = others[replay.integers(0, len(others), len(others), dtype=np.int32)]
        drawn = mine[replay.integers(0, len(mine), len(mine), dtype=np.int32)]
        both = np.concatenate([drawn, drawn_others])
        is_member = np.arange(len(both)) < len(drawn)
        assert result.auc[repeat] == pytest.approx(auc(both, is_member), abs=1e-12)
        for column, fpr in enumerate(fprs):
            assert result.tpr[repeat, column] == pytest.approx(tpr_at_fpr(both, is_member, fpr), abs=1e-12)


def test_its_interval_is_near_delongs():
    generator = np.random.default_rng(0)
    members = np.arange(3000) < 2000
    scores = generator.normal(size=3000) + 0.5 * members
    result = bootstrap(scores, members, repeats=2000)
    assert result.interval(result.auc) == pytest.approx(auc_interval(scores, members), abs=0.004)
