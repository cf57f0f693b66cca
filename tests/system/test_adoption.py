"""Servers that an administrator set up before hamgr came: adopted as they run."""

from cluster import Kind
import probe as probes
from lab import wait_until

TABLE = 'CREATE TABLE hamgr_probe (client int, n bigint, PRIMARY KEY (client, n))'
FAILED = 1


def make_by_hand(c, settings=''):
    """A primary on db1 and its standby on db2, with a slot and a name of the administrator's."""
    primary, standby = c.server['db1'], c.server['db2']
    primary.init()
    with open(primary.data / 'postgresql.conf', 'a', encoding='utf-8') as conf:
        conf.write(settings)
    primary.start()
    primary.query(TABLE)
    primary.query("SELECT pg_create_physical_replication_slot('by_hand')")
    standby.copy_of(c.db['db1'])
    with open(standby.data / 'postgresql.auto.conf', 'a', encoding='utf-8') as conf:
        conf.write("primary_slot_name = 'by_hand'\n")
    standby.start()
    wait_until('the standby streams', lambda: primary.query(
        "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") == '1', 30)


def start_hamgr(c):
    for host in [*c.witness.values(), *c.db.values()]:
        c.start_host(host)


def test_running_servers_are_adopted_without_a_restart(make_cluster):
    """Nobody who is connected to either of them loses the connection."""
    c = make_cluster(Kind(durability='sync'))
    make_by_hand(c)
    before = {n: s.postmaster_pid() for n, s in c.server.items()}
    writer = probes.Probe(c.client, [c.db['db1']], patience_ms=0, is_pinned=True)
    reader = c.db['db2'].start('reader', [*c.server['db2'].psql(), '-c', 'SELECT pg_sleep(12)'],
                               user='postgres')
    writer.wait_acks(20)
    start_hamgr(c)
    assert c.wait_healthy(60) == 'db1'
    writer.wait_acks(100)
    assert {n: s.postmaster_pid() for n, s in c.server.items()} == before
    assert writer.troubles() == []
    assert reader.popen.wait(30) == 0, 'the reader on the standby lost its connection'
    writer.stop()
    assert probes.write_gap(writer.acks(), 0) < 10
    assert c.hamgr(c.db['db1'], 'check').returncode == 0
    assert c.epoch() == 1


def test_what_must_change_is_listed(make_cluster):
    """They are adopted all the same; each thing that is not as it must be comes with its command."""
    c = make_cluster(Kind(timing='lan'))
    make_by_hand(c, 'wal_log_hints = off\nmax_wal_senders = 3\nsynchronous_commit = off\n')
    before = c.server['db1'].postmaster_pid()
    start_hamgr(c)
    host = c.db['db1']
    wait_until('hamgrd leads', lambda: (c.service_status(host) or {}).get('holder') == 'db1', 60)
    checked = c.hamgr(host, 'check')
    assert checked.returncode == FAILED
    for name in ('wal_log_hints', 'max_wal_senders', 'synchronous_commit'):
        assert f'FAIL  {name}' in checked.stdout, checked.stdout
        assert f'ALTER SYSTEM SET {name} = ' in checked.stdout, checked.stdout
    assert 'then restart the server' in checked.stdout
    assert c.server['db1'].is_primary()
    assert c.server['db1'].postmaster_pid() == before
