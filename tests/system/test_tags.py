"""Standbys that are not like the others: one that follows a standby, one that is delayed."""

import contextlib

import scenarios
from cluster import Kind
from lab import wait_until

THREE_SYNC = Kind(durability='sync', timing='lan', dbs=3, witnesses=0)


def member(cluster, host, name):
    return next(m for m in cluster.service_status(host)['members'] if m['name'] == name)


def paired(cluster, host):
    return {name for pair in cluster.service_status(host)['pairs'] for name in pair['copies']}


@contextlib.contextmanager
def tagged(cluster, name, tag):
    """The member's own file says so while it lasts."""
    host = cluster.db[name]
    before = cluster.conf(host).read_text()
    line = f'name = "{name}"; '
    for text in (before.replace(line, line + tag + ' '), before):
        host.processes['hamgrd'].end()
        cluster.conf(host).write_text(text)
        cluster.start_hamgrd(host)
        if text != before:
            yield host


def test_a_cascade(get_cluster):
    c = get_cluster(THREE_SYNC)
    primary = c.primary()
    middle, last = (n for n in c.db if n != primary)

    def follows(whom):
        wait_until(f'{last} streams from {whom}', lambda: last in c.streaming_to(whom), 40, 0.1)

    with tagged(c, last, f'follow = "{middle}";') as host:
        follows(middle)
        wait_until('only the one that streams from the primary is waited for', lambda: paired(
            c, c.db[primary]) == {middle}, 20, 0.1)
        wait_until('status shows it', lambda: member(c, c.db[primary], last)['follows'] == middle, 20)
        c.db[middle].power_off()  # its upstream is lost: then the primary
        follows(primary)
        scenarios.power_is_back(c, c.db[middle])
        follows(middle)
        assert host.processes['hamgrd'].is_running()
        wait_until('it is in sync again', lambda: paired(c, c.db[primary]) == {middle}, 20, 0.1)
        assert c.hamgr(c.db[primary], 'switchover', '--to', middle).returncode == 0
        follows(middle)  # which is the primary now
    assert c.wait_healthy(60) == middle


def test_a_delayed_standby_never_takes_over(get_cluster):
    c = get_cluster(THREE_SYNC)
    primary = c.primary()
    _, last = (n for n in c.db if n != primary)
    host, server = c.db[primary], c.server[last]
    server.query("ALTER SYSTEM SET recovery_min_apply_delay = '1h'")
    server.query('SELECT pg_reload_conf()')
    try:
        wait_until('status says so', lambda: member(c, host, last)['is_delayed'], 20, 0.1)
        wait_until('nobody waits for it', lambda: last not in paired(c, host), 20, 0.1)
        done = c.hamgr(host, 'switchover', '--to', last)
        assert done.returncode != 0
        assert 'delayed' in c.hamgr(host, 'status').stdout
    finally:
        server.query('ALTER SYSTEM RESET recovery_min_apply_delay')
        server.query('SELECT pg_reload_conf()')
    assert c.wait_healthy(60) == primary
