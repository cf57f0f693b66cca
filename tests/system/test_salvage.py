"""What a failover in async would lose: fetched from the dead server's host where that lives."""

import pytest

import scenarios
from cluster import Kind

ASYNC = Kind()


def rescues(cluster):
    return sum(cluster.log_text(h).count('notice rescued service=') for h in cluster.db.values())



@pytest.mark.parametrize('behind', [0, 40], ids=['streaming', 'behind'])
def test_nothing_is_lost_while_the_host_lives(get_cluster, behind):
    """kill -9 of the postmaster under full load; once with a standby that is far behind."""
    c = get_cluster(ASYNC)
    before = rescues(c)
    result = scenarios.postmaster_killed_loaded(c, behind=behind)
    assert result.new != result.old
    assert result.lost == 0
    assert result.overlap_s == 0
    assert result.gap_s <= 2.5
    if behind:
        assert rescues(c) == before + 1
