"""Synchronous replication, short leases, three databases."""

import re

import scenarios
from cluster import Kind
from lab import let_pass, wait_until
from test_failover import check_nobody_noticed, check_takeover

SYNC = Kind(durability='sync')
LAN = Kind(timing='lan')
STRICT = Kind(durability='strict', timing='lan')
THREE = Kind(dbs=3, witnesses=0)


# --- short leases -----------------------------------------------------------------------------------

def test_blip_shorter_than_the_lease(get_cluster):
    result = scenarios.blip(get_cluster(LAN), seconds=0.2)
    check_nobody_noticed(result, 0.5)


def test_blip_longer_than_the_lease(get_cluster):
    """Nobody can take over: the primary is suspended, and thawed as it was."""
    c = get_cluster(LAN)
    result = scenarios.blip(c, seconds=0.8)
    assert result.new == result.old
    assert result.epochs == 0
    assert result.lost == 0
    assert result.pinned_troubles == [], 'a connection was lost'
    assert 0.05 <= result.gap_s <= 7


def test_host_lost_lan(get_cluster):
    check_takeover(scenarios.host_lost(get_cluster(LAN)), 7)


# --- synchronous ------------------------------------------------------------------------------------

def test_sync_postmaster_killed(get_cluster):
    check_takeover(scenarios.postmaster_killed(get_cluster(SYNC)), 1.5, lost_max=0)


def test_sync_host_lost(get_cluster):
    check_takeover(scenarios.host_lost(get_cluster(SYNC)), 16, lost_max=0)


def test_sync_partition(get_cluster):
    """As long as the benchmark's: the old primary comes back after TCP has given up."""
    check_takeover(scenarios.partitioned(get_cluster(SYNC), seconds=30), 16, lost_max=0)


def test_sync_paused(get_cluster):
    check_takeover(scenarios.host_paused(get_cluster(SYNC)), 16, lost_max=0)


def test_sync_standby_lost(get_cluster):
    """Commits stall until the standby is taken out, then the primary goes on alone, loudly."""
    result = scenarios.standby_lost(get_cluster(SYNC))
    assert result.new == result.old
    assert result.lost == 0
    assert result.gap_s <= 16


def test_sync_standby_killed(get_cluster):
    """It is back before anybody would be taken out."""
    result = scenarios.standby_killed(get_cluster(SYNC))
    assert result.new == result.old
    assert result.lost == 0
    assert result.gap_s <= 16
    assert result.pinned_troubles == []


def test_strict_standby_killed(get_cluster):
    """Commits wait, hamgr says so and what to do, and they return when the standby does."""
    c = get_cluster(STRICT)
    watch = scenarios.Watch(c)
    host, standby = watch.old_host, c.db[next(n for n in c.db if n != watch.old)]
    try:
        watch.mark()
        standby.power_off()
        # the client that moves gives up and comes again: its former sessions wait on
        said = wait_until('hamgr says who waits for whom', lambda: next(
            (w for w in c.status(host)['warnings'] if re.search(r'; \d+ sessions wait now', w)), None), 30)
        assert said.startswith('pg: commits wait: 1 standby must confirm them, and 0 stream; ')
        assert said.endswith(f": bring back {standby.name} ('hamgr status' there)")
        assert c.service_status(host)['waiting_commits'] >= 2
        wait_until('the log says so, too', lambda: 'commits wait service=pg' in c.log_text(host), 30)
        waits = [len(p.acks()) for p in watch.pinned]
        let_pass(4)  # longer than the lease: sync would go on
        assert [len(p.acks()) for p in watch.pinned] == waits
        scenarios.power_is_back(c, standby)
        for p in watch.pinned:
            p.wait_acks(20, 60)
        result = watch.finish(60)
        assert result.new == result.old and result.epochs == 0
        assert result.lost == 0 and result.pinned_troubles == []
        assert not any('commits wait' in w for w in c.status(host)['warnings'])
        assert 'commits wait no longer' in c.log_text(host)
    finally:
        watch.stop()


def test_sync_switchover(get_cluster):
    c = get_cluster(SYNC)
    for _ in range(2):
        result = scenarios.switched_over(c, interval_ms=3)
        assert result.overlap_s == 0 and result.lost == 0 and result.gap_s <= 1.5


def test_sync_rebooted_at_once(get_cluster):
    result = scenarios.rebooted(get_cluster(SYNC), names=('db1', 'db2', 'w1'))
    assert result.overlap_s == 0 and result.lost == 0


def test_sync_former_primary_alone(get_cluster):
    """It has a majority with the witness, but not what was acknowledged since: it must wait."""
    c = get_cluster(SYNC)
    old, new = c.primary(), c.standby()
    watch = scenarios.Watch(c, with_pinned=False)
    try:
        c.db[old].power_off()
        watch.mark()
        watch.wait_new_primary(30)
        watch.moving.wait_acks(50)
        c.db[new].power_off()
        scenarios.power_is_back(c, c.db[old])
        let_pass(6)
        assert not c.server[old].is_primary()
        scenarios.power_is_back(c, c.db[new])
        result = watch.finish()
    finally:
        watch.stop()
    assert result.lost == 0
    assert result.overlap_s == 0


# --- three databases --------------------------------------------------------------------------------

def test_three_databases(get_cluster):
    """The third follows the new primary, and a second failure in a row is survived, too."""
    c = get_cluster(THREE)
    check_takeover(scenarios.host_lost(c), 16)
    check_takeover(scenarios.postmaster_killed(c), 1.5)
