"""What happens to one host besides a crash: its data directory goes, its clock jumps, its resolver
hangs, somebody promotes by hand, its daemons crash again and again or are replaced."""

import shutil
import signal

import pytest

import postgres
import probe
import scenarios
from cluster import Kind
from lab import let_pass, now, wait_until
from test_failover import ASYNC, check_nobody_noticed, check_takeover

FAULTS = Kind(with_faults=True)
NAMES = Kind(with_names=True)
HOUR_S = 3600


def other(cluster, name):
    return next(n for n in cluster.db if n != name)


# --- the data directory -----------------------------------------------------------------------------

@pytest.mark.parametrize('what', ['', 'global/pg_control'], ids=['all', 'control-file'])
def test_data_directory_of_the_primary_removed(get_cluster, what):
    """It cannot be started again from what is left, so another takes over, and it is cloned anew."""
    c = get_cluster(ASYNC)
    check_takeover(scenarios.data_removed(c, what), 40)


def test_data_directory_of_a_standby_removed(get_cluster):
    """PostgreSQL would go on streaming into nothing for up to a minute."""
    c = get_cluster(ASYNC)
    watch = scenarios.Watch(c)
    try:
        standby = other(c, watch.old)
        watch.mark()
        shutil.rmtree(c.server[standby].data, ignore_errors=True)
        wait_until('hamgr notices', lambda: 'data directory damaged' in c.log_text(c.db[standby]), 10)
        c.wait_healthy(60)
        check_nobody_noticed(watch.finish())
    finally:
        watch.stop()


def test_a_start_that_fails_says_why(get_cluster):
    """Status quotes what the server said last, and nobody needs to look for its log."""
    c = get_cluster(ASYNC)
    standby = c.standby()
    conf = c.server[standby].data / 'postgresql.conf'
    good = conf.read_text()
    conf.write_text(good + "shared_buffers = 'nonsense'\n")
    c.server[standby].stop('immediate')
    told = wait_until('status quotes the server', lambda: next(
        (w for w in c.status(c.db[standby]).get('warnings', []) if 'FATAL: ' in w), None), 30)
    assert 'configuration file' in told
    conf.write_text(good)
    c.wait_healthy(60)


# --- by hand ----------------------------------------------------------------------------------------

def test_a_standby_promoted_by_hand_acknowledges_nothing(get_cluster):
    """In async nothing else would keep it from it until the next probe."""
    c = get_cluster(ASYNC)
    watch = scenarios.Watch(c)
    standby = other(c, watch.old)
    host, server = c.db[standby], c.server[standby]
    eager = probe.Probe(c.client, [host], interval_ms=1, patience_ms=0, is_pinned=True)
    try:
        watch.mark()
        host.run([postgres.bin_dir() / 'pg_ctl', '-D', server.data, '-W', 'promote'], user='postgres')
        wait_until('hamgr says what it did', lambda: 'promotes it by hand' in c.log_text(host), 10)
        c.wait_healthy(60)
        assert eager.acks() == []
        check_nobody_noticed(watch.finish())
    finally:
        eager.stop()
        watch.stop()


# --- the wall clock ---------------------------------------------------------------------------------

@pytest.mark.parametrize('role', ['primary', 'standby'])
def test_wall_clock_jumps(get_cluster, role):
    """Leases count on another clock. A leap forward looks like a pause of the machine: the primary is
    suspended until a round of renewals came back, which takes a moment."""
    c = get_cluster(FAULTS)
    watch = scenarios.Watch(c)
    host = c.db[watch.old if role == 'primary' else other(c, watch.old)]
    try:
        watch.mark()
        for wall_s in (HOUR_S, -HOUR_S, 0):
            host.set_faults(wall_s=wall_s)
            let_pass(1.5)
            watch.moving.wait_acks(20)
        check_nobody_noticed(watch.finish())
    finally:
        host.set_faults()
        watch.stop()
    suspended = c.log_text(c.db[watch.old], 'hamgr-fence').count('the clocks disagree')
    assert suspended > 0 or role == 'standby'


def test_orders_outlive_a_wrong_clock(get_cluster):
    """Orders are numbered by the clock: what was ordered an hour ahead keeps nothing out later."""
    c = get_cluster(FAULTS)
    first = c.primary()
    try:
        c.db[first].set_faults(wall_s=HOUR_S)
        assert scenarios.switched_over(c, with_pinned=False).overlap_s == 0
    finally:
        c.db[first].set_faults()
    result = scenarios.switched_over(c, with_pinned=False)
    assert result.new == first and result.lost == 0
    done = c.hamgr(c.db[first], 'history')
    assert done.returncode == 0 and done.stdout.count('switchover') >= 2


# --- names ------------------------------------------------------------------------------------------

DEAF_RESOLVER = ("import socket,time;s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);"
                 "s.bind(('',53));print('bound',flush=True);"
                 "[s.recv(512) for _ in iter(int,1)]")


def test_names_and_a_resolver_that_hangs(get_cluster):
    """Members have names. When nobody can look them up any more, nothing that runs notices, and a
    hamgrd that starts then does its work: the others know the way to it."""
    c = get_cluster(NAMES)
    check_takeover(scenarios.postmaster_killed(c), 1.5)
    resolver = c.client.start('resolver', ['/usr/bin/python3', '-c', DEAF_RESOLVER], in_group=False)
    wait_until('the resolver hears, and says nothing', lambda: 'bound' in resolver.text(), 10)
    watch = scenarios.Watch(c)
    try:
        watch.mark()
        c.know_names(watch.old_host, resolver=c.client.address)
        watch.old_host.processes['hamgrd'].end(signal.SIGKILL)
        c.start_hamgrd(watch.old_host)
        let_pass(6)
        watch.moving.wait_acks(20)
        stall_ms = c.status(watch.old_host)['loop']['stall_longest_ms']
        assert stall_ms < 1000, 'the loop waited for the resolver'
        c.know_names(watch.old_host)
        check_nobody_noticed(watch.finish())
    finally:
        c.know_names(watch.old_host)
        watch.stop()
        resolver.end(signal.SIGKILL)


# --- the daemons ------------------------------------------------------------------------------------

def test_hamgrd_in_a_crash_loop(get_cluster):
    """It dies again and again, as soon as it runs or before; each time within the lease."""
    check_nobody_noticed(scenarios.hamgrd_restarts(get_cluster(ASYNC), times=25, acks=8))


def test_everything_upgraded(get_cluster):
    """New programs take the place of the old ones, and are started one after the other."""
    c = get_cluster(ASYNC)
    check_nobody_noticed(scenarios.upgraded(c), 3.0)
