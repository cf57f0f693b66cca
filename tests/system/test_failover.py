"""Unplanned changes of primary, in durability async with the default times.

Limits are ten times what the benchmark must reach: a test is about safety and convergence, on a
machine that may be busy with other things."""

import signal

import pytest

import scenarios
from cluster import Kind

ASYNC = Kind()
LOST_MAX = 500  # numbers of three clients; async may lose what was not streamed yet


def check_takeover(result, gap_max_s, lost_max=LOST_MAX):
    assert result.new != result.old
    assert result.overlap_s == 0, 'two primaries acknowledged'
    assert result.gap_s <= gap_max_s
    assert result.lost <= lost_max
    assert result.epochs == 1


def check_nobody_noticed(result, gap_max_s=1.0):
    assert result.new == result.old
    assert result.epochs == 0
    assert result.pinned_troubles == []
    assert result.lost == 0
    assert result.gap_s <= gap_max_s


def test_first_start(make_cluster):
    """A running primary was adopted, the empty host cloned; the primary was never restarted."""
    c = make_cluster(ASYNC)
    c.start()
    assert c.primary() == 'db1'
    # the lab started it before hamgr was there
    started = c.server['db1'].query("SELECT extract(epoch FROM pg_postmaster_start_time()) < "
                                    f"{(c.db['db1'].dir / 'hamgr.started').stat().st_mtime}")
    assert started == 't'
    assert 'there are no data here: a new copy is made' in c.log_text(c.db['db2'])
    assert 'diverged' not in c.log_text(c.db['db2'])


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM], ids=['killed', 'ended'])
def test_hamgrd_restarts_unnoticed(get_cluster, number):
    check_nobody_noticed(scenarios.hamgrd_restarts(get_cluster(ASYNC), number=number))


def test_fence_restarts(get_cluster):
    """A helper that comes back knows its deadline; what it suspends to be sure is thawed."""
    result = scenarios.fence_restarts(get_cluster(ASYNC))
    check_nobody_noticed(result, gap_max_s=3.0)


def test_witness_lost_unnoticed(get_cluster):
    check_nobody_noticed(scenarios.witness_lost(get_cluster(ASYNC)))


def test_postmaster_killed(get_cluster):
    check_takeover(scenarios.postmaster_killed(get_cluster(ASYNC)), 1.5)


def test_host_lost(get_cluster):
    check_takeover(scenarios.host_lost(get_cluster(ASYNC)), 16)


@pytest.mark.parametrize('direction', sorted(scenarios.CUTS))
def test_partition(get_cluster, direction):
    check_takeover(scenarios.partitioned(get_cluster(ASYNC), direction=direction), 16)


def test_queued_acknowledgements_never_arrive(get_cluster):
    check_takeover(scenarios.acks_queued(get_cluster(ASYNC)), 16)


def test_replay_blocked_by_a_query(get_cluster):
    check_takeover(scenarios.replay_blocked(get_cluster(ASYNC)), 16)


def test_host_paused(get_cluster):
    check_takeover(scenarios.host_paused(get_cluster(ASYNC)), 16)


def test_hamgrd_stopped(get_cluster):
    check_takeover(scenarios.stopped(get_cluster(ASYNC), names=('hamgrd',)), 16)


@pytest.mark.parametrize('names', [('hamgr-fence',), ('hamgrd', 'hamgr-fence')],
                         ids=['fence', 'both'])
def test_fence_stopped(get_cluster, names):
    """Then only the kernel's gate is left, and it must be enough."""
    result = scenarios.stopped(get_cluster(ASYNC), names=names)
    assert result.overlap_s == 0
    assert result.gap_s <= 16
    assert result.lost <= LOST_MAX


@pytest.mark.parametrize('names', [('db1', 'db2'), ('db1', 'db2', 'w1')], ids=['two', 'all'])
def test_rebooted_at_once(get_cluster, names):
    result = scenarios.rebooted(get_cluster(ASYNC), names=names)
    assert result.overlap_s == 0
    assert result.lost <= LOST_MAX
