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
    assert c.epoch() == 1
    forget_the_old_slot(c, c.db['db1'])
    assert c.hamgr(c.db['db1'], 'check').returncode == 0
    wait_until('it is known that datagrams arrive', lambda: 'UDP from db2: arrives' in c.hamgr(
        c.db['db1'], 'check').stdout, 30)


def forget_the_old_slot(c, host):
    """The standby streams by hamgr's slot now; its former one would keep log for ever."""
    drop = "SELECT pg_drop_replication_slot('by_hand')"
    c.query('CREATE TABLE later AS SELECT generate_series(1, 1000)')
    wait_until('status tells of the slot', lambda: any(
        'a slot that nobody uses keeps' in w and drop in w for w in c.status(host)['warnings']), 30)
    told = c.service_status(host)['foreign_slots']
    assert [s['name'] for s in told] == ['by_hand'] and told[0]['held_bytes'] > 0
    assert f'drop it with: {drop}' in c.log_text(host)
    checked = c.hamgr(host, 'check')
    assert checked.returncode == FAILED and 'FAIL  slot by_hand' in checked.stdout, checked.stdout
    assert drop in checked.stdout, checked.stdout
    c.query(drop)
    wait_until('nobody is told any more', lambda: not any(
        'by_hand' in w for w in c.status(host)['warnings']), 30)


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
