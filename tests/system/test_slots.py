"""Who is away: its log is kept for it by everybody, so that it goes on from whoever is primary then,
but never more than slot_max_bytes; above that it is made anew when it comes back."""

import shutil

import postgres
import scenarios
from cluster import Kind
from lab import wait_until

SEGMENT = 16 << 20
HASTY = Kind(timing='lan', also='replay_warn_seconds = 2;')
THREE = Kind(timing='lan', dbs=3, witnesses=0)
SMALL = Kind(timing='lan', own_disks=True, disk_mib=512,
             pg='wal_keep_size = 0\nmin_wal_size = 32MB\nmax_wal_size = 64MB\n')
LIMITED = Kind(timing='lan', slot_max='40MB')
SYNC = Kind(timing='lan', durability='sync')


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


def test_away_for_a_long_time(get_cluster, drop_cluster):
    """The slot is dropped at its limit, the disk does not fill, and the standby is made anew."""
    c = get_cluster(LIMITED)
    watch = scenarios.Watch(c)
    standby = next(n for n in c.db if n != watch.old)
    primary, host = c.server[watch.old], c.db[watch.old]
    try:
        keep_no_log(c)
        place = c.server[standby].data.stat().st_ino
        c.db[standby].freeze()
        write_log(primary, 5)
        wait_until('its slot is dropped', lambda: slots_of(primary, standby) == '', 60)
        told = f'dropped the slot of {standby} at '
        assert any(told in w for w in c.status(host)['warnings'])
        history = c.hamgr(host, 'history').stdout
        assert f'the slot of {standby} was dropped here' in ' '.join(history.split())
        write_log(primary, 3)
        kept = int(primary.query('SELECT count(*) FROM pg_ls_waldir() WHERE length(name) = 24'))
        assert kept * SEGMENT <= 96 << 20 # 8 segments were written, and some are there for reuse
        c.db[standby].thaw()
        c.wait_healthy(120)
        assert c.server[standby].data.stat().st_ino != place
        wait_until('nobody is told any more', lambda: not any(
            told in w for w in c.status(host)['warnings']), 30)
        for name, fact in ((watch.old, f'the slot of {standby} was dropped here'),
                           (standby, f'the clone from {watch.old} is done')):
            c.db[name].processes['hamgrd'].end()
            c.start_hamgrd(c.db[name])
            wait_until('the history outlives a restart', lambda n=name, f=fact: f in ' '.join(
                c.hamgr(c.db[n], 'history').stdout.split()), 30)
    finally:
        watch.stop()
    drop_cluster()


def member(cluster, host, name):
    service = cluster.service_status(host)
    return next(m for m in service['members'] if m['name'] == name)


def test_a_standby_that_replays_late_is_told(get_cluster):
    """It has everything, and somebody keeps it from replaying that."""
    c = get_cluster(HASTY)
    primary, standby = c.primary(), c.standby()
    c.server[primary].query('CREATE TABLE IF NOT EXISTS late (n int)')
    wait_until('all is replayed', lambda: member(c, c.db[primary], standby)['replay_lag_ms'] == 0 and
               member(c, c.db[standby], standby)['replay_lag_ms'] == 0, 20)
    c.server[standby].query('SELECT pg_wal_replay_pause()')
    c.server[primary].query('INSERT INTO late SELECT generate_series(1, 1000)')
    told = f'{standby} replays '
    for host, what in ((c.db[primary], 'look for long queries, or a paused replay, there'),
                       (c.db[standby], 'SELECT pg_wal_replay_resume() there')):
        wait_until('hamgr says so', lambda h=host, w=what: any(
            told in line and w in line for line in c.status(h)['warnings']), 30)
        seen = member(c, host, standby)
        assert seen['replay_lag_bytes'] > 10000 and seen['replay_lag_ms'] >= 2000
    assert member(c, c.db[primary], standby)['lag_bytes'] < 10000  # it has received all
    c.server[standby].query('SELECT pg_wal_replay_resume()')
    for host in (c.db[primary], c.db[standby]):
        wait_until('it has caught up', lambda h=host: member(c, h, standby)['replay_lag_ms'] == 0, 30)
        assert not any(told in line for line in c.status(host)['warnings'])


def test_a_small_disk_does_not_fill_up(get_cluster, drop_cluster):
    """A standby is away, and the log that is kept for it fills a disk of half a gigabyte in some
    seconds: its slot goes first, the primary goes on, and the standby is made anew."""
    c = get_cluster(SMALL)
    watch = scenarios.Watch(c)
    standby = next(n for n in c.db if n != watch.old)
    primary, host = c.server[watch.old], c.db[watch.old]
    writer = None
    try:
        place = c.server[standby].data.stat().st_ino
        pid = primary.postmaster_pid()
        c.db[standby].freeze()
        watch.mark()
        # nothing but log, so that no table grows by it; 80 MB/s at most, as this disk is memory
        writer = c.client.start('writer', [
            *primary.psql(), '-c', "DO $$BEGIN FOR i IN 1..700 LOOP PERFORM pg_logical_emit_message("
            "false, '', repeat('x', 1 << 20)), pg_sleep(0.0125); END LOOP; END$$"],
            user='postgres', in_group=False)
        assert writer.popen.wait(120) == 0, writer.text()
        wait_until('its slot is dropped', lambda: slots_of(primary, standby) == '', 30)
        told = 'the disk of the log runs short'
        assert any(told in w for w in c.status(host)['warnings'])
        assert 'slot dropped' in c.log_text(host) and told in c.log_text(host)
        watch.moving.wait_acks(20)
        assert primary.postmaster_pid() == pid
        c.db[standby].thaw()
        result = watch.finish(120)
        assert result.new == result.old and result.epochs == 0
        assert result.lost == 0 and result.pinned_troubles == []
        assert c.server[standby].data.stat().st_ino != place
    finally:
        watch.stop()
        if writer and writer.is_running():
            writer.end()
    drop_cluster()


def test_slots_of_former_copies_do_not_use_them_up(get_cluster):
    """As after many clones that never got so far as to stream: no slot is left for the next one."""
    c = get_cluster(Kind(timing='lan'))
    primary, standby = c.server[c.primary()], c.standby()
    host = c.db[standby]
    own = slots_of(primary, standby)
    primary.query("SELECT pg_create_physical_replication_slot("
                  f"'hamgr_{standby}_' || lpad(n::text, 16, '0'), true) FROM generate_series(2, "
                  "current_setting('max_replication_slots')::int) n")
    host.power_off()
    host.kill_all()
    shutil.rmtree(c.server[standby].data)
    host.link(True)
    c.boot(host)
    c.wait_healthy(120)
    wait_until('only the new one is left', lambda: len(slots_of(primary, standby).split()) == 1 and
               slots_of(primary, standby) != own, 60)


def test_a_stranger_with_the_name_of_a_member_is_cut_off(get_cluster):
    """A copy of a standby that somebody started elsewhere would confirm commits in its name."""
    c = get_cluster(SYNC)
    primary = c.primary()
    standby = next(n for n in c.db if n != primary)
    host = c.lab.hosts.get('copy') or c.lab.add_host('copy', 18)
    stranger = postgres.Server(host)
    stranger.copy_of(c.db[primary])
    own = c.server[standby].query('SHOW primary_conninfo')
    with open(stranger.data / 'postgresql.auto.conf', 'a', encoding='utf-8') as conf:
        conf.write("primary_conninfo = '%s'\nprimary_slot_name = ''\n" % own.replace("'", "''"))
    stranger.start()
    try:
        wait_until('it is told of', lambda: any(
            host.address in w and 'no member' in w for w in c.status(c.db[primary])['warnings']), 60)
        assert 'stranger cut off' in c.log_text(c.db[primary])
    finally:
        stranger.stop('immediate')
    assert c.wait_healthy(60) == primary


def test_commits_that_do_not_wait_are_told(get_cluster):
    """Whoever lowers synchronous_commit for everybody, or for a role, has lost what sync promises."""
    c = get_cluster(SYNC)
    server, host = c.server[c.primary()], c.db[c.primary()]

    def told(what):
        return lambda: any(what in w and "in spite of 'sync'" in w for w in c.status(host)['warnings'])
    server.query('CREATE ROLE hasty')
    server.query('ALTER ROLE hasty SET synchronous_commit = off')
    wait_until('the role is told', told('synchronous_commit is off for role hasty'), 30)
    server.query('ALTER SYSTEM SET synchronous_commit = local')
    server.query('SELECT pg_reload_conf()')
    wait_until('both are told', told('synchronous_commit is local for everybody, and 1 more'), 30)
    server.query('ALTER SYSTEM RESET synchronous_commit')
    server.query('SELECT pg_reload_conf()')
    server.query('DROP ROLE hasty')
    wait_until('all is well', lambda: not told('synchronous_commit')(), 30)
