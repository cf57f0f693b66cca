"""Who is away: its log is kept for it by everybody, so that it goes on from whoever is primary then,
but never more than slot_max_bytes; above that it is made anew when it comes back."""

import postgres
from cluster import Kind
from lab import wait_until

THREE = Kind(timing='lan', dbs=3, witnesses=0)


def keep_no_log(cluster):
    """Only slots keep log: neither wal_keep_size nor room for segments to come."""
    for server in cluster.server.values():
        with open(server.data / 'postgresql.conf', 'a', encoding='utf-8') as conf:
            conf.write('wal_keep_size = 0\nmin_wal_size = 32MB\nmax_wal_size = 64MB\n')
        server.query('SELECT pg_reload_conf()')
        wait_until('no log is kept', lambda s=server: s.query('SHOW wal_keep_size') == '0', 10)


def write_log(server, segments):
    server.query('CREATE TABLE IF NOT EXISTS far (n int)')
    for n in range(segments):
        server.query(f'INSERT INTO far VALUES ({n})')
        server.query('SELECT pg_switch_wal()')
    server.query('CHECKPOINT')
    server.query('INSERT INTO far VALUES (-1)')


def position(server):
    return server.query('SELECT pg_current_wal_lsn()')


def slots_of(server, member):
    return server.query("SELECT slot_name FROM pg_replication_slots "
                        f"WHERE slot_name LIKE 'hamgr\\_{member}\\_%'")


def test_third_member_goes_on_from_the_new_primary(get_cluster, drop_cluster):
    """It received nothing for a while; then the primary's host is lost. What it lacks is only where
    the other standby kept it."""
    c = get_cluster(THREE)
    first = c.primary()
    second, third = (n for n in c.db if n != first)
    keep_no_log(c)
    wait_until('the second keeps a slot for the third', lambda: slots_of(c.server[second], third), 30)
    copy, place = slots_of(c.server[first], third), c.server[third].data.stat().st_ino
    c.lab.cut_port(first, third, postgres.PORT)
    write_log(c.server[first], 6)
    upto = position(c.server[first])
    wait_until('the second replayed it', lambda: c.server[second].query(
        f"SELECT pg_last_wal_replay_lsn() >= '{upto}'") == 't', 30)
    c.server[second].query('CHECKPOINT')
    c.db[first].freeze()
    wait_until('the second takes over', lambda: c.server[second].is_primary(), 30)
    wait_until('the third streams from it', lambda: third in c.streaming_to(second), 60)
    wait_until('nothing is missing', lambda: c.server[third].query(
        'SELECT count(*) FROM far', check=False) == '7', 30)
    assert slots_of(c.server[second], third) == copy
    assert c.server[third].data.stat().st_ino == place
    c.mend()
    drop_cluster() # others want their log
