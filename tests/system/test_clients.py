"""Clients of Redis that know only the Sentinel endpoints: they follow, and what they left lets go of them."""

import os

import pytest

import clients
from cluster import REPOSITORY
from redis_server import PORT

IDLE = 1000  # ten times as many are measured by `make bench-clients`
STALL_MAX_MS = 250  # a heartbeat; of the 10 ms that are wanted a machine with much to do may take more


@pytest.fixture(name='has_node', scope='module')
def _has_node():
    return clients.install_node()


@pytest.fixture(name='begin')
def _begin(has_node):
    """begin(cluster, names, of_node): these clients at work, and those of node where npm can have them."""
    running = []

    def begin(c, names, of_node):
        binaries = REPOSITORY / 'build' / os.environ.get('MODE', 'debug')
        running.extend(clients.Client(c, name, binaries) for name in names + (of_node if has_node else ()))
        return running
    yield begin
    for k in running:
        k.stop()


def test_clients_follow(get_cluster, begin):
    """With their default settings, whatever happens to the server; each reads from a replica before and after."""
    c = get_cluster(clients.KIND)
    running = begin(c, clients.DEFAULT, clients.DEFAULT_NODE)
    for fault in (clients.server_killed, clients.switched_over):
        moved = fault(c, running)
        assert set(moved) == {k.name for k in running}
        assert max(r['fault'] for r in moved.values()) <= 10000


def test_clients_leave_a_lost_host(get_cluster, begin):
    """No word comes from there: with the settings that docs/redis-clients.md advises."""
    c = get_cluster(clients.KIND)
    running = begin(c, clients.ADVISED, clients.ADVISED_NODE)
    moved = clients.host_lost(c, running)
    assert set(moved) == {k.name for k in running}
    assert max(r['fault'] for r in moved.values()) <= 30000


def test_old_primary_lets_go_of_its_clients(get_cluster):
    """Whatever they do there: they would never learn of the new one."""
    c = get_cluster(clients.KIND)
    old = c.db[c.primary()]
    left = clients.connect_from(c.client, old.address, PORT, 3)
    for s, words in zip(left, (b'PING', b'SUBSCRIBE news', b'PING')):
        s.sendall(words + b'\r\n')
        assert s.recv(4096)
    left[2].sendall(b'BLPOP nothing 0\r\n')
    assert c.switchover().returncode == 0
    for s in left:
        with s:
            try:
                while s.recv(4096):  # fails when nothing comes for ten seconds
                    pass
            except ConnectionResetError:
                pass


def test_idle_clients_do_not_delay_the_loop(get_cluster):
    c = get_cluster(clients.KIND)
    result = clients.crowded(c, IDLE)
    assert result['changes_idle'] == 0 and result['changes'] == 1
    assert result['stall_ms'] <= max(STALL_MAX_MS, result['stall_before_ms'])
