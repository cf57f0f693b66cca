"""Members that come and go while clients write."""

import json
import os
import shutil
import subprocess

import probe as probes
import pytest
import scenarios
from cluster import Kind
from lab import let_pass, wait_until

GROWING = Kind(durability='sync', timing='lan', dbs=1, witnesses=0)
PAIR = Kind(timing='lan')
REFUSED = 3


def slots(cluster):
    return set(cluster.query('SELECT slot_name FROM pg_replication_slots').split())


def voters(cluster, host):
    return cluster.service_status(host)['voters']['n']


def fail_over(cluster, load, fault):
    """Some fault; the load of before goes on with whoever is primary then."""
    result = fault(cluster, with_pinned=False)
    assert result.overlap_s == 0
    assert result.lost == 0
    assert result.epochs == 1
    load.wait_acks(20)
    return result


def test_grows_fails_over_and_shrinks(get_cluster):
    """1, 2 with a witness, 3, then 2 again; every write that was acknowledged is there in the end."""
    c = get_cluster(GROWING)
    hosts = [c.lab.add_host(name, number) for name, number in (('db2', 12), ('db3', 13))]
    load = probes.Probe(c.client, [*c.db.values(), *hosts])
    try:
        load.wait_acks(20)
        c.join('db2', 12)
        c.add_witness('w1', 21)
        wait_until('everybody has three voters',
                   lambda: all(voters(c, h) == 3 for h in c.db.values()), 20)
        fail_over(c, load, scenarios.host_lost)
        c.join('db3', 13)
        fail_over(c, load, scenarios.postmaster_killed)
        standby = c.standby()
        gone = c.remove(standby)
        load.wait_acks(20)
        wait_until('its slots are dropped', lambda: not any(
            s.startswith(f'hamgr_{standby}_') for s in slots(c)), 40, 0.2)
        wait_until('it says that it was removed', lambda: any(
            'was removed' in w for w in c.status(gone).get('warnings', [])), 20, 0.2)
        assert c.wait_healthy() != standby
        done = c.try_join(gone, c.db[c.primary()])
        assert done.returncode == REFUSED and 'was removed' in done.stderr, done.stderr
        shown = c.hamgr(c.db[c.primary()], 'config', 'show').stdout
        assert f'"{standby}"' not in shown and '"w1"' in shown
    finally:
        load.stop()
    assert probes.lost([load], c.server[c.primary()]) == []


def test_a_host_that_cannot_join_is_told_why(get_cluster):
    c = get_cluster(GROWING)
    primary = c.db[c.primary()]
    epoch, members = c.epoch(primary), c.status(primary)['services'][0]['members']
    host = c.lab.hosts.get('late') or c.lab.add_host('late', 19)

    def refused(what, **options):
        done = c.try_join(host, primary, **options)
        assert done.returncode != 0, done.stdout
        assert what in done.stderr and 'next: ' in done.stderr, done.stderr
        assert not c.conf(host).exists()

    refused('key', key=os.urandom(32).hex())
    refused('already', options=('--address', primary.address))
    refused('no address of this host', options=('--address', '10.77.0.99'))
    refused('no number', options=('--priority', '5', '--address', '10.0.0.1:0'))
    (host.dir / 'data').mkdir(exist_ok=True)
    (host.dir / 'data' / 'precious').write_text('')
    refused('is not empty')
    (host.dir / 'data' / 'precious').unlink()
    # it may write its settings, but nobody reaches it there: it does not become a member
    done = c.hamgr(primary, 'member', 'add', 'late', f'{host.address}:7420', '--json')
    assert done.returncode != 0
    answer = json.loads(done.stdout)
    assert 'cannot be reached' in answer['error'] and answer['next']
    for name in ('db1', 'nobody'):
        done = c.hamgr(primary, 'member', 'remove', name)
        assert done.returncode != 0 and 'next: ' in done.stderr, done.stderr
    assert c.epoch(primary) == epoch
    assert len(c.status(primary)['services'][0]['members']) == len(members)


def test_the_primary_stays(get_cluster):
    c = get_cluster(GROWING)
    primary = c.primary()
    done = c.hamgr(c.db[primary], 'member', 'remove', primary)
    assert done.returncode == REFUSED
    assert 'switchover' in done.stderr
    assert c.primary() == primary


def test_another_address_is_not_ignored(get_cluster):
    """A second attempt goes on with the file of the first one: what it contradicts is refused."""
    c = get_cluster(GROWING)
    primary = c.db[c.primary()]
    host = c.lab.hosts.get('twice') or c.lab.add_host('twice', 20)
    assert c.try_join(host, primary).returncode == 0
    assert c.try_join(host, primary, options=('--address', host.address)).returncode == 0
    other = c.try_join(host, primary, options=('--address', '127.0.0.1'))
    assert other.returncode == REFUSED and host.address in other.stderr, other.stderr
    assert 'next: mv' in other.stderr


def make_twin(c, real, name, number, has_state):
    """A host like another one, with an address of its own; with its state, or set up anew."""
    twin = c.lab.hosts.get(name) or c.lab.add_host(name, number)
    conf = c.conf(real).read_text().replace(str(real.dir), str(twin.dir)).replace(
        f'{real.address}:', f'{twin.address}:')
    c.write_key(twin, c.key)
    for part in ('state', 'run', 'data', 'sock'):
        (twin.dir / part).mkdir(mode=0o700, exist_ok=True)
        shutil.chown(twin.dir / part, 'postgres', 'postgres')
    if has_state:
        subprocess.run(['cp', '-a', f'{real.dir}/state/.', f'{twin.dir}/state/'], check=True)
    c.conf(twin).write_text(conf)
    return twin


@pytest.mark.parametrize('has_state', [False, True], ids=['anew', 'copied'])
def test_two_hosts_of_one_name_do_not_take_it_from_each_other(get_cluster, has_state):
    """Somebody made a host from another one's image, and only gave it an address of its own."""
    c = get_cluster(PAIR)
    primary = c.primary()
    standby = next(n for n in c.db if n != primary)
    real = c.db[standby]
    twin = make_twin(c, real, f'twin{has_state:d}', 22 + has_state, has_state)
    epoch = c.epoch()
    ups = c.log_text(c.db[primary]).count(f'link_up cluster={c.name} member={standby}')
    c.start_host(twin)
    try:
        wait_until('the primary tells of it', lambda: any(
            f'two hosts say they are {standby}: {real.address}, which is heard, and {twin.address}'
            in w for w in c.status(c.db[primary]).get('warnings', [])), 30, 0.2)
        wait_until('the copy tells of it', lambda: any(
            f'another host, {real.address}, says it is {standby}, too' in w
            for w in c.status(twin).get('warnings', [])), 30, 0.2)
        let_pass(2)
        assert c.log_text(c.db[primary]).count(f'link_up cluster={c.name} member={standby}') <= ups + 1
        assert c.wait_healthy() == primary
        assert c.epoch() == epoch
    finally:
        for process in twin.processes.values():
            process.end()
