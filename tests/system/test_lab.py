"""The lab itself: that its faults strike, and that its clients see what they must.

Two plain servers without hamgr, promoted by hand: a second writable primary is made on purpose, and
must be found."""

import os
import signal

import pytest

import cluster
import lab
import postgres
import probe


@pytest.fixture
def pair(tmp_path):
    """db1, a primary; db2, its standby; client."""
    probe.BINARIES['pg'] = cluster.REPOSITORY / 'build' / os.environ.get('MODE', 'debug') / 'probe-client'
    hosts = lab.Lab()
    db1, db2 = hosts.add_host('db1', 11), hosts.add_host('db2', 12)
    hosts.add_host('client', 31)
    first, second = postgres.Server(db1), postgres.Server(db2)
    first.init()
    first.start()
    first.query('CREATE TABLE hamgr_probe (client int, n bigint, PRIMARY KEY (client, n))')
    second.copy_of(db1)
    second.start()
    yield hosts, first, second
    hosts.close()


def test_a_second_primary_is_found(pair):
    hosts, first, second = pair
    db1, db2, client = hosts.hosts.values()
    moving = probe.Probe(client, [db1, db2])
    pinned = probe.Probe(client, [db1], patience_ms=0, is_pinned=True)
    moving.wait_acks(20)
    pinned.wait_acks(20)
    before = lab.now()
    db1.power_off()
    second.query('SELECT pg_promote()')
    moving.wait_ack_of('db2', before, 10)
    assert 0.1 < probe.write_gap(moving.acks(), before) < 5
    db1.thaw()
    db1.link(True)
    pinned.wait_acks(20)
    moving.wait_acks(20)
    acks = moving.acks() + pinned.acks()
    assert probe.overlap(acks, 'db1', 'db2', before) > 0
    assert len(probe.lost([moving, pinned], second)) >= 20
    assert probe.lost([moving], first)


def test_cuts_go_one_way(pair):
    hosts, _, _ = pair
    db1, _, client = hosts.hosts.values()
    pinned = probe.Probe(client, [db1], patience_ms=0, is_pinned=True)
    for pairs in ([('db1', None)], [(None, 'db1')], [('client', 'db1')]):
        pinned.wait_acks(5)
        hosts.cut_many(pairs)
        cut_at = lab.now()
        lab.let_pass(0.3)
        hosts.heal()
        pinned.wait_acks(5)
        assert probe.write_gap(pinned.acks(), cut_at) >= 0.25
    assert pinned.troubles() == []


def test_nothing_is_left_behind(pair):
    hosts, first, _ = pair
    pid = first.postmaster_pid()
    hosts.hosts['db1'].freeze()
    hosts.close()
    # whoever inherited it takes note of its end
    lab.wait_until('the server is gone', lambda: lab.start_time(pid) == '', 10)
    assert not hosts.dir.exists()
    assert not hosts.group_dir.exists()
    assert hosts.id not in lab.run(['ip', 'netns', 'list']).stdout


def test_a_killed_owner_leaves_what_can_be_swept():
    code = ('import sys, os, signal; sys.path.insert(0, sys.argv[1]); import lab; l = lab.Lab();'
            'l.add_host("db1", 11).start("x", ["sleep", "100"]); print(l.id, flush=True);'
            'os.kill(os.getpid(), signal.SIGKILL)')
    done = lab.run(['/usr/bin/python3', '-c', code, os.path.dirname(__file__)], check=False)
    assert done.returncode == -signal.SIGKILL
    left = lab.RUN / f'{lab.PREFIX}{done.stdout.strip()}'
    assert left.exists()
    lab.sweep()
    assert not left.exists()
