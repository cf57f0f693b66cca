"""Faults as functions: each does one thing to a healthy cluster under load, waits until clients can
write again and the cluster is whole again, and returns what the clients saw. Tests check the
results, the benchmark repeats them."""

import dataclasses
import os
import shutil
import signal

import cluster as clusters
import probe as probes
from lab import LabError, let_pass, now, start_time, wait_until


@dataclasses.dataclass
class Result:
    """What clients saw of one fault."""
    gap_s: float        # longest time without an acknowledgement for the client that may move
    overlap_s: float    # how long the old primary still acknowledged after the new one's first
    lost: int           # acknowledged numbers that the final primary does not have
    lost_confirmed: int  # ... that WAIT had confirmed
    confirmed: int
    acknowledged: int
    old: str            # the primary before
    new: str            # ... and after
    epochs: int         # changes of primary
    troubles: list      # errors that the client that may move saw
    pinned_troubles: list  # ... and the patient ones that do not move


def power_is_back(cluster, host):
    """A host that was powered off boots."""
    host.kill_all()
    host.link(True)
    cluster.boot(host)


class Watch:
    """Clients around a fault: one that goes where the primary is, and two that never leave the
    primary they began with: one on its own host, one elsewhere."""

    def __init__(self, cluster, interval_ms=10, with_pinned=True, service=None, wait=0):
        self.cluster = cluster
        self.service = service or cluster.kind.services[0]
        self.servers = cluster.servers(service)
        self.old = cluster.wait_healthy(service=service)
        self.old_host = cluster.db[self.old]
        self.epoch = cluster.epoch(self.old_host, self.service)
        what = {'service': self.service, 'wait': wait}
        self.moving = probes.Probe(cluster.client, cluster.db.values(), interval_ms=interval_ms, **what)
        self.pinned = []
        if with_pinned:
            self.pinned = [probes.Probe(h, [self.old_host], patience_ms=0, is_pinned=True, **what)
                           for h in (self.old_host, cluster.client)]
        for p in self.all():
            p.wait_acks(20)
        self.began = now()

    def all(self):
        return [self.moving, *self.pinned]

    def mark(self):
        """The fault strikes now."""
        self.began = now()
        return self.began

    def wait_new_primary(self, limit_s):
        """Until another host than before acknowledges writes; returns its name."""
        ack = self.moving.wait_ack_after(self.began, limit_s, but_not_of=self.old)
        self.moving.wait_acks(20)
        return ack.host

    def wait_goes_on(self, limit_s, after=None):
        """Until somebody acknowledges again, whoever."""
        self.moving.wait_ack_after(after or now(), limit_s)
        self.moving.wait_acks(20)

    def finish(self, limit_s=25, gap_of=None):
        """Waits for the cluster to be whole and looks at everything that was acknowledged. gap_of:
        whose gap, where not that of the client that moves."""
        new = self.cluster.wait_healthy(limit_s, self.service)
        self.moving.wait_acks(20)
        epoch = self.cluster.epoch(self.cluster.db[new], self.service)
        for p in self.all():
            p.stop()
        acks = [a for p in self.all() for a in p.acks()]
        gaps = [probes.write_gap(p.acks(), self.began) for p in gap_of or [self.moving]]
        return Result(gap_s=max(gaps),
                      overlap_s=probes.overlap(acks, self.old, new, self.began) if new != self.old else 0.0,
                      lost=len(probes.lost(self.all(), self.servers[new])),
                      lost_confirmed=len(probes.lost(self.all(), self.servers[new], True)),
                      confirmed=sum(len(p.confirmed()) for p in self.all()),
                      acknowledged=len(acks), old=self.old, new=new, epochs=epoch - self.epoch,
                      troubles=self.moving.troubles(self.began),
                      pinned_troubles=[t for p in self.pinned for t in p.troubles(self.began)])

    def stop(self):
        for p in self.all():
            p.stop()


def watched(scenario):
    """Clients end with the scenario, however that ends."""
    def run(cluster, *args, **options):
        pinned = options.pop('with_pinned', True)
        watch = Watch(cluster, options.pop('interval_ms', 10), pinned, options.pop('service', None),
                      options.pop('wait', 0))
        try:
            return scenario(cluster, watch, *args, **options)
        finally:
            watch.stop()
    run.__doc__ = scenario.__doc__
    run.__name__ = scenario.__name__
    return run


LIMIT_S = 30  # for a new primary; what is too slow is told by numbers, not by a broken test


@watched
def postmaster_killed(cluster, watch):
    """kill -9 of the postmaster alone: its backends live on as orphans that could acknowledge."""
    pid = cluster.server[watch.old].postmaster_pid()
    watch.mark()
    os.kill(pid, signal.SIGKILL)
    watch.wait_new_primary(LIMIT_S)
    return watch.finish()


def pgbench(cluster, to):
    """Full load on that server: eight clients that write as fast as they can."""
    program = cluster.server[to].bench_program()
    if cluster.server[to].query("SELECT to_regclass('pgbench_history')") == '':
        cluster.client.run([program, '-i', '-q', '-s', '5', '-h', cluster.db[to].address,
                            '-U', 'postgres', 'postgres'], timeout=60)
    return cluster.client.start('pgbench', [program, '-n', '-c', '8', '-j', '2', '-T', '600', '-h',
                                            cluster.db[to].address, '-U', 'postgres', 'postgres'],
                                in_group=False)


@watched
def postmaster_killed_loaded(cluster, watch, behind=0):
    """The same under full load; behind: so many acknowledgements does the standby not hear of
    before, because what sends to it stands still."""
    load = pgbench(cluster, watch.old)
    server = cluster.server[watch.old]
    try:
        watch.moving.wait_acks(50)
        pid = server.postmaster_pid()
        sender = int(server.query("SELECT pid FROM pg_stat_replication WHERE state = 'streaming' LIMIT 1"))
        if behind:
            os.kill(sender, signal.SIGSTOP)
            watch.moving.wait_acks(behind)
        watch.mark()
        os.kill(pid, signal.SIGKILL)
        watch.wait_new_primary(LIMIT_S)
    finally:
        if load.is_running():
            load.end(signal.SIGKILL)
    return watch.finish()


@watched
def server_killed(cluster, watch):
    """kill -9 of the server's main process; of Redis that is all there is."""
    pid = watch.servers[watch.old].main_pid()
    watch.mark()
    os.kill(pid, signal.SIGKILL)
    watch.wait_new_primary(LIMIT_S)
    return watch.finish()


@watched
def server_replaced(cluster, watch):
    """kill -9, and somebody starts the server again at once: Redis without persistence is empty then."""
    server = watch.servers[watch.old]
    watch.mark()
    server.kill()
    server.start('again')
    watch.wait_new_primary(LIMIT_S)
    return watch.finish()


@watched
def server_stopped(cluster, watch, seconds=5.0):
    """The server's main process hangs for a while, and goes on if nobody ended it."""
    pid = watch.servers[watch.old].main_pid()
    started = start_time(pid)
    watch.mark()
    os.kill(pid, signal.SIGSTOP)
    let_pass(seconds)
    if start_time(pid) == started:
        os.kill(pid, signal.SIGCONT)
    watch.wait_new_primary(LIMIT_S)
    return watch.finish()


@watched
def host_lost(cluster, watch):
    """The power of the primary's host goes; it comes back, booted, when another has taken over."""
    watch.mark()
    watch.old_host.power_off()
    watch.wait_new_primary(LIMIT_S)
    power_is_back(cluster, watch.old_host)
    return watch.finish()


CUTS = {
    'both': lambda h: [(h, None), (None, h)],
    'out': lambda h: [(h, None)],   # it hears, and nobody hears it
    'in': lambda h: [(None, h)],    # it is heard, and hears nobody
    # the primary is cut off from the members, but not from the clients
    'members': lambda h: [(h, 'db1'), (h, 'db2'), (h, 'db3'), (h, 'w1'),
                          ('db1', h), ('db2', h), ('db3', h), ('w1', h)],
}


@watched
def partitioned(cluster, watch, direction='both', seconds=6.0):
    """The primary's host is cut off for a while."""
    watch.mark()
    cluster.lab.cut_many(CUTS[direction](watch.old))
    watch.wait_new_primary(LIMIT_S)
    let_pass(max(0.0, watch.began + seconds - now()))
    cluster.lab.heal()
    return watch.finish()


@watched
def host_paused(cluster, watch, seconds=10.0):
    """The whole host stands still for a while and goes on as if nothing had happened."""
    watch.mark()
    watch.old_host.freeze()
    watch.wait_new_primary(LIMIT_S)
    let_pass(max(0.0, watch.began + seconds - now()))
    watch.old_host.thaw()
    return watch.finish()


@watched
def stopped(cluster, watch, names=('hamgrd',), seconds=6.0):
    """SIGSTOP to daemons of the primary's host, PostgreSQL runs on; SIGCONT later."""
    watch.mark()
    for name in names:
        watch.old_host.processes[name].send(signal.SIGSTOP)
    try:
        let_pass(seconds)
        watch.wait_goes_on(LIMIT_S)
    finally:
        for name in names:
            watch.old_host.processes[name].send(signal.SIGCONT)
    return watch.finish()


@watched
def replay_blocked(cluster, watch):
    """The standby's replay waits for a long query when the primary's host is lost."""
    standby = cluster.server[next(n for n in cluster.db if n != watch.old)]
    primary = cluster.server[watch.old]
    primary.query('CREATE TABLE IF NOT EXISTS blocked (n int)')
    primary.query('TRUNCATE blocked')
    wait_until('the table is on the standby',
               lambda: standby.query('SELECT count(*) FROM blocked', check=False) == '0', 10)
    reader = standby.host.start('reader', [
        *standby.psql(), '-c', 'BEGIN', '-c', 'SELECT count(*) FROM blocked',
        '-c', 'SELECT pg_sleep(120)'], user='postgres', in_group=False)
    try:
        wait_until('the reader reads', lambda: standby.query(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == '1', 10)
        primary.query('DROP TABLE blocked')  # its replay needs a lock that the reader holds
        wait_until('replay waits for the reader', lambda: standby.query(
            'SELECT count(*) FROM pg_locks WHERE NOT granted') == '1', 10)
        watch.mark()
        watch.old_host.power_off()
        watch.wait_new_primary(LIMIT_S)
    finally:
        if reader.is_running():
            reader.end(signal.SIGKILL)
    power_is_back(cluster, watch.old_host)
    return watch.finish()


@watched
def acks_queued(cluster, watch):
    """Acknowledgements wait in the old primary's kernel behind a dead link, when another takes over;
    then the link comes back. They must not reach a client."""
    watch.mark()
    cluster.lab.cut(watch.old, None)
    watch.wait_new_primary(LIMIT_S)
    cluster.lab.heal()
    return watch.finish()


@watched
def blip(cluster, watch, seconds=0.8):
    """Nobody hears anybody for a moment: longer than the lease, or shorter."""
    watch.mark()
    cluster.lab.cut_many([(n, m) for n in [*cluster.db, *cluster.witness]
                          for m in [*cluster.db, *cluster.witness] if n != m])
    let_pass(seconds)
    cluster.lab.heal()
    watch.wait_goes_on(LIMIT_S)
    return watch.finish()


@watched
def hamgrd_restarts(cluster, watch, times=5, number=signal.SIGKILL, acks=30):
    """hamgrd of the primary's host dies again and again, under load."""
    watch.mark()
    for _ in range(times):
        watch.old_host.processes['hamgrd'].end(number)
        cluster.start_hamgrd(watch.old_host)
        watch.moving.wait_acks(acks)
    return watch.finish()


@watched
def upgraded(cluster, watch):
    """Every program is replaced by another file, as a package does it, and every daemon started
    anew, under load: first where nobody writes."""
    watch.mark()
    for name in clusters.PROGRAMS:
        draft = cluster.bin / f'{name}.new'
        shutil.copy(cluster.bin / name, draft)
        draft.rename(cluster.bin / name)
    for host in [*cluster.witness.values(), *(h for h in cluster.db.values() if h != watch.old_host),
                 watch.old_host]:
        for daemon, start in (('hamgr-witness', cluster.start_witness),
                              ('hamgr-fence', cluster.start_fence), ('hamgrd', cluster.start_hamgrd)):
            if daemon in host.processes:
                host.processes[daemon].end()
                start(host)
                watch.moving.wait_acks(30)
    return watch.finish()


@watched
def data_removed(cluster, watch, what=''):
    """Somebody removes the primary's data directory, or one of its files, under the server."""
    path = cluster.server[watch.old].data / what
    watch.mark()
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)  # the server still makes files
    else:
        path.unlink()
    watch.wait_new_primary(LIMIT_S)
    return watch.finish(60)


@watched
def fence_restarts(cluster, watch, times=3, number=signal.SIGKILL):
    """The helper of the primary's host dies again and again, under load."""
    watch.mark()
    for _ in range(times):
        watch.old_host.processes['hamgr-fence'].end(number)
        cluster.start_fence(watch.old_host)
        watch.moving.wait_acks(30)
    return watch.finish()


@watched
def witness_lost(cluster, watch, seconds=4.0):
    """The witness goes; nobody needs it as long as both databases are there."""
    watch.mark()
    host = cluster.witness['w1']
    host.processes['hamgr-witness'].end(signal.SIGKILL)
    warned = wait_until('hamgr says that it is one failure away from an outage',
                        lambda: any('one failure away' in w
                                    for w in cluster.status(watch.old_host).get('warnings', [])), 30)
    let_pass(max(0.0, watch.began + seconds - now()))
    assert warned
    cluster.start_witness(host)
    return watch.finish()


@watched
def standby_lost(cluster, watch, seconds=5.0):
    """The standby's host is gone for a while. Patient clients see for how long no commit returns."""
    standby = next(h for n, h in cluster.db.items() if n != watch.old)
    watch.mark()
    standby.power_off()
    let_pass(seconds)
    power_is_back(cluster, standby)
    return watch.finish(gap_of=watch.pinned)


@watched
def standby_killed(cluster, watch):
    """kill -9 of the standby's postmaster: hamgr starts it again, and it streams again."""
    standby = next(n for n in cluster.db if n != watch.old)
    pid = cluster.server[standby].postmaster_pid()
    watch.mark()
    os.kill(pid, signal.SIGKILL)
    wait_until('it was started again',
               lambda: cluster.server[standby].postmaster_pid() not in (0, pid), LIMIT_S, 0.05)
    return watch.finish(gap_of=watch.pinned)


@watched
def rebooted(cluster, watch, names):
    """Those hosts lose their power at once, and boot."""
    watch.mark()
    hosts = [cluster.lab.hosts[n] for n in names]
    for host in hosts:
        host.freeze()
    for host in hosts:
        host.kill_all()
    for host in hosts:
        cluster.boot(host)
    watch.wait_goes_on(2 * LIMIT_S)
    return watch.finish(2 * LIMIT_S)


@watched
def switched_over(cluster, watch, to=None):
    """A planned change of primary."""
    target = to or next(n for n in cluster.db if n != watch.old)
    watch.mark()
    done = cluster.hamgr(watch.old_host, 'switchover', '--service', watch.service, '--to', target)
    if done.returncode != 0:
        raise LabError(f'switchover: exit code {done.returncode}: {done.stderr}{done.stdout}')
    watch.wait_new_primary(LIMIT_S)
    result = watch.finish()
    if result.new != target:
        raise LabError(f'switchover to {target} ended with {result.new}')
    return result


@watched
def switched_over_loaded(cluster, watch):
    """A planned change under full load: of Redis, twenty clients that write as fast as they can, into
    keys of their own."""
    target = next(n for n in cluster.db if n != watch.old)
    load = cluster.client.start('load', [
        'redis-benchmark', '-h', watch.old_host.address, '-c', '20', '-n', '100000000', '-r', '100000',
        '-t', 'set', '-q'], in_group=False)
    try:
        watch.moving.wait_acks(100)
        watch.mark()
        done = cluster.hamgr(watch.old_host, 'switchover', '--service', watch.service, '--to', target)
        if done.returncode != 0:
            raise LabError(f'switchover: exit code {done.returncode}: {done.stderr}{done.stdout}')
        watch.wait_new_primary(LIMIT_S)
    finally:
        load.end(signal.SIGKILL)
    return watch.finish()


@watched
def disk_hung(cluster, watch, seconds=9.0):
    """The disk of the primary's host hangs: data, log and hamgrd's votes; whoever writes there waits
    where no signal reaches it. It comes back when another has taken over."""
    watch.mark()
    cluster.lab.hang_disk(watch.old_host)
    try:
        watch.wait_new_primary(LIMIT_S)
        let_pass(max(0.0, watch.began + seconds - now()))
    finally:
        cluster.lab.let_disk_go(watch.old_host)
    return watch.finish(2 * LIMIT_S)


@watched
def disk_full(cluster, watch):
    """Somebody fills the disk of the primary's host; there is room again when another has taken over."""
    hog = watch.old_host.disk / 'hog'
    watch.mark()
    try:
        probes.fill(hog)
        watch.wait_new_primary(LIMIT_S)
    finally:
        hog.unlink()
    return watch.finish(2 * LIMIT_S)


@watched
def postmaster_stopped(cluster, watch):
    """The main process hangs: connections that are open work on, new ones wait for ever."""
    pid = cluster.server[watch.old].postmaster_pid()
    watch.mark()
    os.kill(pid, signal.SIGSTOP)
    wait_until('another host is the primary',
               lambda: [n for n in cluster.primaries() if n != watch.old], 2 * LIMIT_S, 0.1)
    watch.wait_new_primary(LIMIT_S)
    return watch.finish(2 * LIMIT_S)


def pin(pids, cpus):
    """Those processes, each of their threads, and what they start later run there only."""
    for pid in pids:
        try:
            for task in os.listdir(f'/proc/{pid}/task'):
                os.sched_setaffinity(int(task), cpus)
        except (FileNotFoundError, ProcessLookupError):
            pass  # it ended meanwhile


BUSY = 'while :; do :; done'
WRITE = 'while :; do dd if=/dev/zero of="$0" bs=64k count=64 conv=fsync status=none; done'


@watched
def overloaded(cluster, watch, seconds=600.0, processes=32, writers=0):
    """Nothing but load: the primary's host has one processor, and far more processes that compute;
    or its disk has some that write and sync as fast as they can."""
    host = watch.old_host
    all_cpus = os.sched_getaffinity(0)
    cpu = max(all_cpus)
    files = [host.dir / 'disk' / f'load{i}' for i in range(writers)]
    load = []
    watch.mark()
    pin(host.group.pids(), {cpu})
    try:
        for i in range(processes):
            load.append(host.start(f'busy{i}', ['taskset', '-c', cpu, 'sh', '-c', BUSY], in_group=False))
        for i, file in enumerate(files):
            load.append(host.start(f'writer{i}', ['sh', '-c', WRITE, file], in_group=False))
        let_pass(seconds)
    finally:
        for process in load:
            process.end(signal.SIGKILL)
            del host.processes[process.name]
        pin(host.group.pids(), all_cpus)
        for file in files:
            file.unlink(missing_ok=True)
    return watch.finish(2 * LIMIT_S)
