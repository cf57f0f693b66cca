"""Redis: unplanned and planned changes of primary, alone and beside PostgreSQL.

Limits of time are ten times what the benchmark must reach, as everywhere."""

import pytest

import probe as probes
import scenarios
from cluster import Kind
from lab import let_pass, now, wait_until

ASYNC = Kind(services=('cache',))
SYNC = Kind(services=('cache',), durability='sync')
THREE = Kind(services=('cache',), dbs=3, witnesses=0)
BOTH = Kind(services=('pg', 'cache'))
SYNC_ON_DISK = Kind(services=('cache',), durability='sync', redis_conf='appendonly yes\nappendfsync always')
ON_DISK = Kind(services=('cache',), redis_conf='appendonly yes')
LOST_MAX = 500  # numbers of three clients; async may lose what was not streamed yet


def check_takeover(result, gap_max_s, lost_max=LOST_MAX):
    assert result.new != result.old
    assert result.overlap_s == 0, 'two primaries acknowledged'
    assert result.gap_s <= gap_max_s
    assert result.lost <= lost_max
    assert result.epochs == 1


def test_first_start(get_cluster):
    """The master that ran is adopted, never restarted, and its replica's server is hamgr's."""
    c = get_cluster(ASYNC)
    assert c.primary() == 'db1'
    assert c.server['db1'].main_pid() == c.db['db1'].processes['redis'].pid
    shown = c.hamgr(c.db['db1'], 'status').stdout
    assert 'cache (redis)  primary db1' in shown and 'nothing to worry about' in shown


def test_server_killed(get_cluster):
    check_takeover(scenarios.server_killed(get_cluster(ASYNC)), 1)


def test_host_lost(get_cluster):
    check_takeover(scenarios.host_lost(get_cluster(ASYNC)), 16)


def test_partition(get_cluster):
    check_takeover(scenarios.partitioned(get_cluster(ASYNC)), 16)


def test_host_paused(get_cluster):
    check_takeover(scenarios.host_paused(get_cluster(ASYNC), seconds=5), 16)


def test_server_replaced_by_an_empty_one(get_cluster):
    """The replica's data win; it is not wiped by the empty server that has its master's address."""
    result = scenarios.server_replaced(get_cluster(ASYNC))
    check_takeover(result, 3, lost_max=20)  # what was acknowledged last may not have been streamed
    assert result.lost < result.acknowledged / 2


def test_server_stopped(get_cluster):
    """A hung server is proved to hang, and another takes over; what it still had to say is not heard."""
    check_takeover(scenarios.server_stopped(get_cluster(ASYNC), seconds=8), 80)


def test_switchover(get_cluster):
    c = get_cluster(ASYNC)
    for _ in range(3):
        check_takeover(scenarios.switched_over(c, interval_ms=1), 0.5, lost_max=0)


def test_switchover_of_three(get_cluster):
    c = get_cluster(THREE)
    for _ in range(3):
        check_takeover(scenarios.switched_over(c, interval_ms=1), 0.5, lost_max=0)


def test_sync_loses_nothing_that_was_confirmed(get_cluster):
    c = get_cluster(SYNC)
    for scenario in (scenarios.server_killed, scenarios.host_lost, scenarios.partitioned):
        result = scenario(c, wait=1)
        check_takeover(result, 16)
        assert result.confirmed > 40 and result.lost_confirmed == 0


def test_sync_goes_on_alone(get_cluster):
    """Without its standby the primary refuses writes for a moment, and not for ever."""
    c = get_cluster(SYNC)
    primary = c.primary()
    standby = next(h for n, h in c.db.items() if n != primary)
    writer = probes.Probe(c.client, c.db.values(), service='cache')
    try:
        writer.wait_acks(20)
        standby.power_off()
        writer.wait_ack_after(now() + 3, 20)
        writer.wait_acks(50)
        scenarios.power_is_back(c, standby)
        assert c.wait_healthy() == primary
    finally:
        writer.stop()
    assert probes.lost([writer], c.server[primary]) == []


def test_started_by_hand_it_is_harmless(get_cluster):
    """Whoever starts a server while hamgrd is away starts a replica of nobody."""
    c = get_cluster(ASYNC)
    standby = c.standby()
    host, server = c.db[standby], c.server[standby]
    host.processes['hamgrd'].end()
    server.kill()
    wait_until('the server is gone', lambda: server.main_pid() == 0, 10)
    server.start('by-hand')
    wait_until('it answers', server.role, 10)
    assert server.is_standby()
    assert server.info()['master_port'] == '1'
    c.start_hamgrd(host)
    c.wait_healthy()


def test_all_hosts_lose_power(get_cluster):
    """In async, what the disks have is served again without anybody's help."""
    c = get_cluster(ON_DISK)
    writer = probes.Probe(c.client, c.db.values(), service='cache')
    try:
        writer.wait_acks(50)
        c.reboot(list(c.db.values()))
        primary = c.wait_healthy(60)
        writer.wait_acks(20, 30)
    finally:
        writer.stop()
    assert len(probes.lost([writer], c.server[primary])) <= 20


@pytest.mark.parametrize('service', ['pg', 'cache'])
def test_services_change_one_by_one(get_cluster, service):
    """An order concerns the service that it names."""
    c = get_cluster(BOTH)
    other = 'cache' if service == 'pg' else 'pg'
    before = c.primary(other), c.epoch(service=other)
    result = scenarios.switched_over(c, service=service)
    check_takeover(result, 5, lost_max=0)
    assert (c.primary(other), c.epoch(service=other)) == before
    unnamed = c.hamgr(c.db['db1'], 'switchover')
    assert unnamed.returncode != 0 and '--service NAME' in unnamed.stderr + unnamed.stdout


def test_both_services_move_from_a_lost_host(get_cluster):
    c = get_cluster(BOTH)
    primary = c.primary('pg')
    if c.primary('cache') != primary:
        assert c.switchover(primary, service='cache').returncode == 0
        wait_until('both have one primary', lambda: c.healthy_primary('cache') == primary, 30)
    watches = [scenarios.Watch(c, service=s, with_pinned=False) for s in ('pg', 'cache')]
    try:
        for w in watches:
            w.mark()
        c.db[primary].power_off()
        for w in watches:
            w.wait_new_primary(30)
        let_pass(1)
        scenarios.power_is_back(c, c.db[primary])
        for w in watches:
            check_takeover(w.finish(60), 16)
    finally:
        for w in watches:
            w.stop()


def test_a_second_master_is_taken_down(get_cluster):
    """Somebody makes a master of the replica by hand: hamgr ends it and has a replica again."""
    c = get_cluster(ASYNC)
    primary = c.primary()
    standby = c.server[c.standby()]
    pid, epoch = standby.main_pid(), c.epoch()
    standby.ask('REPLICAOF', 'NO', 'ONE')
    wait_until('it was ended', lambda: standby.main_pid() not in (0, pid), 20)
    assert c.wait_healthy() == primary
    assert c.epoch() == epoch


def test_replication_that_was_there_is_adopted(make_cluster):
    """Master and replica ran before hamgr: neither is restarted, no data is copied again."""
    c = make_cluster(ASYNC)
    one, two = c.server['db1'], c.server['db2']
    one.start_first()
    two.start_first()
    one.ask('SET', 'before', 'hamgr')
    two.ask('REPLICAOF', c.db['db1'].address, '6379')
    wait_until('it follows', lambda: one.followers(c.db.values()) == {'db2'}, 10)
    pids = one.main_pid(), two.main_pid()
    copied = one.info()['sync_full']
    for host in [*c.witness.values(), *c.db.values()]:
        c.start_host(host)
    assert c.wait_healthy(30) == 'db1'
    assert (one.main_pid(), two.main_pid()) == pids
    assert one.info()['sync_full'] == copied
    assert two.ask('GET', 'before') == 'hamgr'


def has_on_disk(server, word):
    try:
        return any(word in f.read_bytes() for f in (server.dir / 'appendonlydir').iterdir()
                   if not f.name.startswith('temp'))
    except FileNotFoundError:  # it is being written anew
        return False


def test_all_servers_restarted_go_on_by_force(get_cluster, drop_cluster):
    """Both hosts lose power: what was confirmed may be missing, so a person says whose data go on."""
    c = get_cluster(SYNC_ON_DISK)
    host, name = c.db['db2'], c.name
    c.server['db1'].ask('SET', 'kept', 'yes')
    refused = c.hamgr(host, 'failover', '--force', '--cluster', name)
    assert refused.returncode == 3 and 'there is a primary' in refused.stderr, refused.stderr
    wait_until('it is on both disks', lambda: all(has_on_disk(s, b'kept') for s in c.server.values()), 30)
    c.reboot(list(c.db.values()))
    wait_until('the reason and the way out are told', lambda: any(
        'was restarted' in w and 'failover --force' in w for w in c.status(host).get('warnings', [])), 60)
    assert not any(s.is_primary() for s in c.server.values())
    wait_until('it is forced', lambda: c.hamgr(
        host, 'failover', '--force', '--cluster', name).returncode == 0, 30)
    assert c.wait_healthy(60) == 'db2'
    assert [s.ask('GET', 'kept') for s in c.server.values()] == ['yes', 'yes']
    assert c.service_status(host)['voters']['n'] == 3
    assert 'forced by the operator' in c.hamgr(host, 'history').stdout
    drop_cluster()
