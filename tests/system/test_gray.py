"""Gray failures: a server that runs and does not do its work, and one that is only late.

Times are ten times what the benchmark must reach, as everywhere."""

import scenarios
from cluster import Kind

SYNC = Kind(durability='sync', own_disks=True, with_votes=True)
STALL_S = 5  # stall_timeout_ms


def check_handed_over(result, why, cluster):
    assert result.new != result.old
    assert result.overlap_s == 0, 'two primaries acknowledged'
    assert result.lost == 0
    assert result.gap_s <= 10 * (STALL_S + 1)
    assert why in cluster.log_text(cluster.db[result.old])


def test_disk_hung(get_cluster):
    """Storage that hangs, and hamgrd's votes on it, too."""
    c = get_cluster(SYNC)
    check_handed_over(scenarios.disk_hung(c), 'the server hangs', c)


def test_postmaster_stopped(get_cluster):
    c = get_cluster(SYNC)
    check_handed_over(scenarios.postmaster_stopped(c), 'the server hangs', c)


def test_disk_full(get_cluster):
    """Whether the server dies of it or goes on refusing: a standby with room takes over."""
    c = get_cluster(SYNC)
    result = scenarios.disk_full(c)
    assert result.new != result.old
    assert result.overlap_s == 0
    assert result.lost == 0


def test_overloaded(get_cluster):
    """A short form of `make overload`."""
    c = get_cluster(SYNC)
    result = scenarios.overloaded(c, seconds=8, processes=16)
    assert result.new == result.old
    assert result.epochs == 0
    assert result.lost == 0
