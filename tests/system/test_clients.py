"""Clients of Redis that know only the Sentinel endpoints: they follow, and what they left lets go of them."""

import os

import pytest

import clients
from cluster import REPOSITORY
from redis_server import PORT

IDLE = 1000  # ten times as many are measured by `make bench-clients`
STALL_MAX_MS = 250  # a heartbeat; of the 10 ms that are wanted a machine with much to do may take more


@pytest.fixture(name='running')
def _running(get_cluster):
    """A cluster and the clients that need nothing but Debian."""
    c = get_cluster(clients.KIND)
    binaries = REPOSITORY / 'build' / os.environ.get('MODE', 'debug')
    running = []
    try:
        running += [clients.Client(c, name, binaries) for name in clients.HERE]
        yield c, running
    finally:
        for k in running:
            k.stop()


def test_clients_follow(running):
    """Whatever happens to the server; each reads from a replica before and after."""
    for fault in (clients.server_killed, clients.switched_over):
        moved = fault(*running)
        assert set(moved) == set(clients.HERE)
        assert max(since_fault for since_fault, _ in moved.values()) <= 10000


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
