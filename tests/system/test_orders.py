"""What operators ask for, what is refused, and who may ask."""

import json
import os

import cluster as clusters
import scenarios
from cluster import Kind
from lab import let_pass, wait_until

ASYNC = Kind()
SYNC = Kind(durability='sync')
REFUSED = 3
NO_QUORUM = 4


def test_switchover_ten_times(get_cluster):
    c = get_cluster(ASYNC)
    for _ in range(10):
        result = scenarios.switched_over(c, interval_ms=3, with_pinned=False)
        assert result.overlap_s == 0
        assert result.lost == 0
        assert result.epochs == 1
        assert result.gap_s <= 1.5


def test_switchover_is_refused_with_a_reason(get_cluster):
    c = get_cluster(ASYNC)
    primary, standby = c.primary(), c.standby()
    c.db[standby].power_off()
    wait_until('the loss is noticed', lambda: not next(
        m for m in c.service_status(c.db[primary])['members'] if m['name'] == standby)['is_up'], 20)
    done = c.hamgr(c.db[primary], 'switchover')
    assert done.returncode == REFUSED
    assert done.stderr.strip(), 'refused without a reason'
    assert c.server[primary].is_primary()
    scenarios.power_is_back(c, c.db[standby])
    assert c.wait_healthy(60) == primary


def test_what_would_be_is_what_is(get_cluster):
    c = get_cluster(ASYNC)
    primary, standby = c.primary(), c.standby()

    def told():
        asked = c.hamgr(c.db[standby], 'what-if', 'lose', primary, '--json')
        assert asked.returncode == 0, asked.stderr
        return json.loads(asked.stdout)['services'][0]

    # a voter that has just started may not yet
    wait_until('the standby could take over', lambda: told()['outcome'] == 'takeover', 20)
    assert told()['successor'] == standby
    both = c.hamgr(c.db[primary], 'what-if', 'lose', primary, standby)
    assert 'no majority' in both.stdout
    c.db[primary].power_off()
    wait_until('the one that was named takes over', lambda: c.server[standby].is_primary(), 30)
    alone = json.loads(c.hamgr(c.db[standby], 'explain', '--json').stdout)['services'][0]
    assert {m['name']: m['verdict'] for m in alone['members']} == {primary: 'silent', standby: 'leads'}
    scenarios.power_is_back(c, c.db[primary])
    c.wait_healthy(60)


def test_paused_cluster_does_nothing(get_cluster):
    c = get_cluster(ASYNC)
    primary = c.primary()
    host = c.db[primary]
    assert c.hamgr(host, 'pause').returncode == 0
    os.kill(c.server[primary].postmaster_pid(), 9)
    let_pass(4)
    assert not any(c.server[n].is_primary() for n in c.db if n != primary)
    assert c.hamgr(host, 'resume').returncode == 0
    c.wait_healthy(60)


def test_guard(get_cluster):
    """Nobody starts a writable primary by hand on a host that does not hold the lease."""
    c = get_cluster(ASYNC)
    old = c.primary()
    host, server = c.db[old], c.server[old]
    host.power_off()
    wait_until('the other takes over', lambda: c.server[next(n for n in c.db if n != old)].is_primary(), 30)
    host.kill_all()
    host.link(True)
    for entry in (host.dir / 'run').iterdir():
        entry.unlink()
    guarded = c.hamgr(host, 'guard', '--service', 'pg')
    server.start(wait=False)
    wait_until('the server answers', lambda: server.query('SELECT 1', timeout=2, check=False) == '1', 20)
    assert server.is_standby(), f'a second writable primary: guard said {guarded}'
    server.stop()
    c.start_host(host)
    assert c.wait_healthy(60) != old


def test_control_socket_refuses_strangers(get_cluster):
    c = get_cluster(ASYNC)
    host = c.db[c.primary()]
    done = c.hamgr(host, 'switchover', user='nobody')
    assert done.returncode != 0
    asked = "import socket,sys;s=socket.socket(socket.AF_UNIX);s.connect(sys.argv[1]);" \
            "s.sendall(b'{\"command\":\"pause\"}\\n');print(s.makefile().read())"
    direct = host.run(['/usr/bin/python3', '-c', asked, host.dir / 'run' / 'hamgrd.sock'],
                      user='nobody', check=False)
    assert '"rc": 0' not in direct.stdout and '"rc":0' not in direct.stdout
    assert not c.service_status(host)['is_paused']


def test_wrong_key_is_refused(get_cluster):
    """A member with another key is none: nobody hears it, and nobody notices it."""
    c = get_cluster(ASYNC)
    primary, standby = c.primary(), c.standby()
    host = c.db[standby]
    host.processes['hamgrd'].end()
    c.write_key(host, os.urandom(32).hex())
    epoch = c.epoch(c.db[primary])
    process = c.start_hamgrd(host)
    let_pass(4)
    members = c.service_status(c.db[primary])['members']
    assert not next(m for m in members if m['name'] == standby)['is_up']
    assert c.epoch(c.db[primary]) == epoch
    assert c.server[primary].is_primary()
    if process.is_running():
        process.end()
    c.write_key(host, c.key)
    c.start_hamgrd(host)
    assert c.wait_healthy(60) == primary


def test_a_primary_lost_during_a_pause_can_be_replaced(get_cluster, drop_cluster):
    """Nobody takes over by itself, and only the primary could resume: what is said leads out of it."""
    c = get_cluster(SYNC)
    primary, standby = c.primary(), c.standby()
    host, name = c.db[standby], c.name
    assert c.hamgr(host, 'pause').returncode == 0
    refused = c.hamgr(host, 'failover', '--force', '--cluster', name)
    assert refused.returncode == REFUSED, refused.stderr
    c.db[primary].power_off()
    wait_until('the loss is told, and the way out', lambda: any(
        f'{primary} is lost' in w and 'failover --force' in w
        for w in c.status(host).get('warnings', [])), 30)
    resumed = c.hamgr(host, 'resume')
    assert resumed.returncode == NO_QUORUM and 'failover --force' in resumed.stderr, resumed.stderr
    wait_until('it is forced', lambda: c.hamgr(
        host, 'failover', '--force', '--cluster', name).returncode == 0, 30)
    wait_until('it goes on alone', c.server[standby].is_primary, 30)
    assert not c.service_status(host)['is_paused']
    scenarios.power_is_back(c, c.db[primary])
    wait_until('the old primary stops', lambda: 'newer incarnation' in c.hamgr(
        c.db[primary], 'status').stdout, 30)
    assert not c.server[primary].is_primary()
    drop_cluster()


def test_a_lost_majority_can_be_forced(get_cluster, drop_cluster):
    """Only with the cluster's name, only without a majority; what comes back later stops by itself."""
    c = get_cluster(SYNC)
    primary, standby = c.primary(), c.standby()
    host, name = c.db[standby], c.name
    refused = c.hamgr(host, 'failover', '--force', '--cluster', name)
    assert refused.returncode == REFUSED and 'there is a primary' in refused.stderr
    lost = [c.db[primary], *c.witness.values()]
    for other in lost:
        other.power_off()
    wait_until('the loss is noticed', lambda: 'stops' in c.hamgr(host, 'explain', '--json').stdout, 30)
    assert not c.server[standby].is_primary()
    wrong = c.hamgr(host, 'failover', '--force', '--cluster', 'another')
    assert wrong.returncode == REFUSED and not c.server[standby].is_primary()
    forced = c.hamgr(host, 'failover', '--force', '--cluster', name)
    assert forced.returncode == 0, forced.stderr
    assert 'nothing that was acknowledged' in forced.stdout and primary in forced.stdout
    wait_until('it goes on alone', c.server[standby].is_primary, 30)
    assert 'forced by the operator' in c.hamgr(host, 'history').stdout
    for other in lost:
        scenarios.power_is_back(c, other)
    wait_until('the old primary stops', lambda: 'newer incarnation' in c.hamgr(c.db[primary], 'status').stdout, 30)
    assert not c.server[primary].is_primary()
    assert c.server[standby].is_primary()
    # whoever has votes of the time before would never vote again: not made a member
    for other, role in zip(lost, ('db', 'witness')):
        port = f'{other.address}:{clusters.PORT}'
        done = c.hamgr(host, 'member', 'add', other.name, port, '--role', role)
        assert done.returncode == REFUSED, done.stderr
        assert 'before a failover was forced' in done.stderr and 'next: ' in done.stderr, done.stderr
    rebuilt = c.hamgr(c.db[primary], 'rebuild', primary, '--yes')
    assert rebuilt.returncode == REFUSED and 'hamgr join' in rebuilt.stderr, rebuilt.stderr
    assert c.service_status(host)['voters']['n'] == 1
    drop_cluster()  # members of the old incarnation cannot be mended
