"""Full and failing disks under the voters' state: on the standby, and on the holder itself."""

import contextlib
import errno
import os
import signal

import pytest

import scenarios
from cluster import Kind
from lab import let_pass, wait_until
from test_failover import LOST_MAX

FAULTS = Kind(with_faults=True)
SYNC = Kind(with_faults=True, durability='sync')
FAILED = 1


def fill(directory):
    """Not a byte more fits."""
    with open(directory / 'ballast', 'wb', buffering=0) as f:
        try:
            while True:
                f.write(bytes(4096))
        except OSError:
            pass


@contextlib.contextmanager
def bad_disk(cluster, host, how):
    """Nothing can be written below the host's state directory; then it can again."""
    state = host.dir / 'state'
    if how == 'full':
        fill(state)
    elif how == 'read-only':
        cluster.lab.remount(state, 'ro')
    else:
        host.set_faults(disk_errno=errno.EIO)
    try:
        yield
    finally:
        if how == 'full':
            (state / 'ballast').unlink(missing_ok=True)
        elif how == 'read-only':
            cluster.lab.remount(state, 'rw')
        else:
            host.set_faults()


HOWS = pytest.mark.parametrize('how', ['full', 'read-only', 'failing'])
SAID = {'full': 'No space left', 'read-only': 'Read-only file system', 'failing': 'Input/output error'}


def warned(cluster, host, how):
    return wait_until('status says which disk', lambda: next(
        (w for w in cluster.status(host).get('warnings', [])
         if 'cannot write its votes' in w and SAID[how] in w and 'state' in w), None), 20)


@HOWS
def test_state_disk_of_the_standby(get_cluster, how):
    """A voter that cannot write promises nothing, says so, and goes on when it can again."""
    c = get_cluster(FAULTS)
    primary, standby = c.primary(), c.standby()
    host = c.db[standby]
    hamgrd = host.processes['hamgrd']
    watch = scenarios.Watch(c)
    try:
        with bad_disk(c, host, how):
            if how == 'full':  # takes as long as an order may take
                assert c.hamgr(c.db[primary], 'switchover', '--to', standby).returncode != 0
            else:  # the witness accepts it, and two are enough
                assert c.hamgr(c.db[primary], 'pause').returncode == 0
                assert c.hamgr(c.db[primary], 'resume').returncode == 0
            watch.moving.wait_acks(20, 30)  # whoever is primary now
            warned(c, host, how)
            assert 'vote refused' in c.log_text(host)
        wait_until('the disk is known to be good', lambda: not any(
            'votes' in w for w in c.status(host).get('warnings', [])), 20)
        result = watch.finish(60)
        assert result.overlap_s == 0 and result.lost <= LOST_MAX
        assert hamgrd.is_running()
    finally:
        watch.stop()
    result = scenarios.switched_over(c)
    assert result.overlap_s == 0 and result.lost == 0


@HOWS
def test_state_disk_of_the_holder(get_cluster, how):
    """It renews, which needs no disk, so no client notices; what must be written is refused at once,
    with the reason. When its server dies all the same, the standby takes over."""
    c = get_cluster(SYNC if how == 'failing' else FAULTS)
    watch = scenarios.Watch(c)
    host = watch.old_host
    hamgrd = host.processes['hamgrd']
    try:
        with bad_disk(c, host, how):
            let_pass(2)
            done = c.hamgr(host, 'switchover', timeout=90)
            assert done.returncode == FAILED and 'disk' in done.stderr, done.stderr
            warned(c, host, how)
            assert 'look at the disk of' in c.log_text(host)
            watch.moving.wait_acks(20)
            assert watch.moving.troubles() == []
            assert c.epoch(host) == watch.epoch
            watch.mark()
            os.kill(c.server[watch.old].postmaster_pid(), signal.SIGKILL)
            watch.wait_new_primary(30)
        result = watch.finish(60)
        assert result.new != result.old and result.epochs == 1
        assert result.overlap_s == 0
        assert result.lost <= (0 if how == 'failing' else LOST_MAX)
        assert result.gap_s <= 16
        assert hamgrd.is_running()
        assert not any('votes' in w for w in c.status(host).get('warnings', []))
    finally:
        watch.stop()


def test_switchover_to_a_host_that_has_just_died(get_cluster):
    """Nobody waits for it: the primary goes on, and says why."""
    c = get_cluster(FAULTS)
    watch = scenarios.Watch(c)
    standby = c.db[next(n for n in c.db if n != watch.old)]
    try:
        watch.mark()
        standby.power_off()
        done = c.hamgr(watch.old_host, 'switchover', '--to', standby.name, timeout=90)
        assert done.returncode != 0
        watch.wait_goes_on(30)
        scenarios.power_is_back(c, standby)
        result = watch.finish(60)
        assert result.new == result.old and result.epochs == 0
        assert result.lost == 0 and result.gap_s <= 16
        print(f'gap {result.gap_s}')
    finally:
        watch.stop()
