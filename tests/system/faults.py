"""What a campaign does to a cluster: drawn from a seed, told as text, begun and ended on the real thing.

A step is one fault, or two of which the second begins while the first lasts or while the cluster mends
what it left. Whom a fault strikes is a role ('primary', 'standby', 'second' standby, 'witness'): who has it
is looked up when the step begins, so the list depends on the seed and the kind of cluster alone, and any
part of it can be played again."""

import dataclasses
import math
import os
import pathlib
import random
import shutil
import signal
import subprocess

import lab
from lab import LabError, let_pass, now, wait_until

TTL_S = {'default': 1.5, 'lan': 0.6}
SWITCHOVER_LIMIT_S = 60


@dataclasses.dataclass(frozen=True)
class Fault:
    """One of a step's faults."""
    what: str       # a name in FAULTS
    whom: str       # the role of the host, as it is when the step begins
    after_s: float  # since the step began
    hold_s: float   # how long it lasts; 0: it is over at once

    def text(self):
        hold = f' for {self.hold_s:.2f} s' if self.hold_s else ''
        return f'{self.what} {self.whom}{hold}'


@dataclasses.dataclass(frozen=True)
class Step:
    """Faults that belong together: afterwards the cluster has to become whole again."""
    number: int
    faults: tuple

    def text(self):
        first, *more = self.faults
        return first.text() + ''.join(f'; after {f.after_s:.2f} s {f.text()}' for f in more)

    def names(self):
        """The kind of the step in a summary."""
        return ' + '.join(sorted(f.what for f in self.faults)) if len(self.faults) > 1 else (
            f'{self.faults[0].what} {self.faults[0].whom}'.replace('second', 'standby'))


# --- processes --------------------------------------------------------------------------------------

def _children(pid):
    """The processes of a server: [(pid, command line)], by what /proc says."""
    found = []
    for path in pathlib.Path('/proc').glob('[0-9]*'):
        try:
            stat = (path / 'stat').read_text().rsplit(')', 1)[1].split()
            if int(stat[1]) == pid:
                found.append((int(path.name), (path / 'cmdline').read_text().replace('\0', ' ')))
        except (OSError, IndexError):
            continue
    return found


def _postmaster(cluster, host):
    """The pid of the server's main process, if there is one."""
    if cluster.server[host.name].kind == 'redis':
        return cluster.server[host.name].main_pid()
    pid = cluster.server[host.name].postmaster_pid()
    try:
        return pid if pid and pathlib.Path(f'/proc/{pid}/comm').read_text() == 'postgres\n' else 0
    except OSError:
        return 0


def _signal(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


# --- each fault: begins at once, returns what ends it -----------------------------------------------

def _nothing():
    pass


def power_off(cluster, host):
    """From one moment to the next there is nothing; in the end the host boots."""
    host.power_off()

    def boot():
        host.kill_all()
        host.link(True)
        cluster.boot(host)
    return boot


def power_all(cluster, _host):
    """Every host loses its power at once."""
    hosts = [*cluster.db.values(), *cluster.witness.values()]
    for host in hosts:
        host.freeze()
    for host in hosts:
        host.kill_all()

    def boot():
        for host in hosts:
            cluster.boot(host)
    return boot


def freeze(_cluster, host):
    """The whole host stands still, and goes on as if nothing had happened."""
    host.freeze()
    return host.thaw


def _cut(cluster, pairs):
    cluster.lab.cut_many(pairs)
    return lambda: cluster.lab.uncut_many(pairs)


def cut_both(cluster, host):
    return _cut(cluster, [(host.name, None), (None, host.name)])


def cut_out(cluster, host):
    """It hears, and nobody hears it."""
    return _cut(cluster, [(host.name, None)])


def cut_in(cluster, host):
    """It is heard, and hears nobody."""
    return _cut(cluster, [(None, host.name)])


def _members(cluster):
    return [*cluster.db, *cluster.witness]


def cut_members(cluster, host):
    """Cut off from the members, but not from the clients."""
    others = [n for n in _members(cluster) if n != host.name]
    return _cut(cluster, [(host.name, n) for n in others] + [(n, host.name) for n in others])


def cut_pair(cluster, host):
    """Two databases do not hear each other; everybody else hears both."""
    other = next(n for n in cluster.db if n != host.name)
    return _cut(cluster, [(host.name, other), (other, host.name)])


def blip(cluster, _host):
    """Nobody hears anybody."""
    names = _members(cluster)
    return _cut(cluster, [(n, m) for n in names for m in names if n != m])


def lossy(cluster, host):
    """A third of its packets gets lost, both ways: connections crawl, and do not end."""
    cluster.lab.make_lossy(host.name, 33)
    return lambda: cluster.lab.uncut_many([('iifname', host.name), ('oifname', host.name)])


def new_disk(cluster, host):
    """It is powered off, gets an empty disk for its data, and boots."""
    boot = power_off(cluster, host)

    def replace():
        host.kill_all()
        for entry in host.disk.iterdir():
            if entry.name == 'redis':  # Redis makes no directory of its own: the administrator does
                for file in entry.iterdir():
                    file.unlink()
            elif entry.name != 'sock':
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        boot()
    return replace


def kill_postmaster(cluster, host):
    """Its backends live on as orphans that could acknowledge."""
    if pid := _postmaster(cluster, host):
        _signal(pid, signal.SIGKILL)
    return _nothing


def kill_server(cluster, host):
    """Every process of the server at once."""
    if pid := _postmaster(cluster, host):
        for victim in [pid] + [p for p, _ in _children(pid)]:
            _signal(victim, signal.SIGKILL)
    return _nothing


def kill_backend(cluster, host):
    """One process of the server: it recovers in place, all its connections are lost."""
    children = _children(_postmaster(cluster, host) or -1)
    for wanted in (cluster.client.address, 'walreceiver', 'checkpointer'):
        for pid, line in children:
            if wanted in line:
                _signal(pid, signal.SIGKILL)
                return _nothing
    return _nothing


def end_server(cluster, host):
    """Somebody stops the server by hand, without asking hamgr: a fast shutdown. Over when it has
    ended: Redis first waits for its replicas, seemingly whole, up to a second."""
    pid = _postmaster(cluster, host)
    if not pid:
        return _nothing
    started = lab.start_time(pid)
    _signal(pid, signal.SIGINT)
    return lambda: wait_until(f'the server of {host.name} has ended',
                              lambda: lab.start_time(pid) != started, 60)


def stop_postmaster(cluster, host):
    """It takes no connection any more; those that are there go on."""
    pid = _postmaster(cluster, host)
    if not pid:
        return _nothing
    started = lab.start_time(pid)
    _signal(pid, signal.SIGSTOP)

    def go_on():
        def may_go_on():  # what hamgr suspended is hamgr's to thaw
            service = cluster.service_status(host)
            return (lab.start_time(pid) != started or
                    bool(service) and service['fence']['mode'] != 'suspended')
        wait_until(f'the server of {host.name} is not suspended', may_go_on, 60, 0.1)
        if lab.start_time(pid) == started:
            _signal(pid, signal.SIGCONT)
    return go_on


def _daemons(cluster, host, names):
    if host.name in cluster.witness:
        return ('hamgr-witness',)
    return names


def _start(cluster, host, name):
    if name in host.processes and host.processes[name].is_running():
        return
    {'hamgrd': cluster.start_hamgrd, 'hamgr-fence': cluster.start_fence,
     'hamgr-witness': cluster.start_witness}[name](host)


def _end_daemons(*names, number=signal.SIGKILL):
    def begin(cluster, host):
        mine = _daemons(cluster, host, names)
        for name in mine:
            host.processes[name].end(number)
        return lambda: [_start(cluster, host, name) for name in mine]
    return begin


def _stop_daemons(*names):
    def begin(cluster, host):
        stopped = [host.processes[n] for n in _daemons(cluster, host, names)]
        for process in stopped:
            process.send(signal.SIGSTOP)
        return lambda: [process.send(signal.SIGCONT) for process in stopped]
    return begin


def full_state_disk(_cluster, host):
    """The voter cannot write what it would promise."""
    ballast = host.dir / 'state' / 'ballast'
    with open(ballast, 'wb', buffering=0) as f:
        try:
            while True:
                f.write(bytes(4096))
        except OSError:
            pass
    return lambda: ballast.unlink(missing_ok=True)


def hang_disk(cluster, host):
    """No write to the disk of the data ends, and who waits for one cannot be killed. The disk of the
    voter's state is another."""
    cluster.lab.hang_disk(host)
    return lambda: cluster.lab.let_disk_go(host)


def switchover(cluster, host):
    """The operator's order; host is the new primary that he wants."""
    asked = cluster.db[cluster.asked]
    order = asked.start('order', [cluster.bin / 'hamgr', '-c', cluster.conf(asked), 'switchover',
                                  '--to', host.name], user=lab.SERVER_USER, in_group=False)

    def ended():
        try:
            cluster.order_rc = order.popen.wait(SWITCHOVER_LIMIT_S)
        except subprocess.TimeoutExpired:
            order.end(signal.SIGKILL)
            raise LabError(f'the order to switch over did not end within {SWITCHOVER_LIMIT_S} s') from None
    return ended


# --- what can be drawn ------------------------------------------------------------------------------

DB, ANY, STANDBYS, ONE = ('primary', 'standby'), ('primary', 'standby', 'witness'), ('standby',), ('primary',)


@dataclasses.dataclass(frozen=True)
class Row:
    """A fault that may be drawn."""
    begin: object
    weight: int
    roles: tuple
    lasts: bool = True
    costs: int = 1         # votes, while it lasts
    is_alone: bool = False


FAULTS = {
    'kill-postmaster': Row(kill_postmaster, 8, DB, lasts=False, costs=0),
    'kill-server': Row(kill_server, 4, DB, lasts=False, costs=0),
    'kill-backend': Row(kill_backend, 4, DB, lasts=False, costs=0),
    'end-server': Row(end_server, 3, DB, lasts=False, costs=0),
    'stop-postmaster': Row(stop_postmaster, 3, DB, costs=0),
    'power-off': Row(power_off, 8, ANY),
    'power-all': Row(power_all, 2, ONE, is_alone=True),
    'freeze': Row(freeze, 10, ANY),
    'cut-both': Row(cut_both, 7, ANY),
    'cut-out': Row(cut_out, 6, ANY),
    'cut-in': Row(cut_in, 6, ANY),
    'cut-members': Row(cut_members, 5, DB),
    'cut-pair': Row(cut_pair, 4, ONE),
    'blip': Row(blip, 3, ONE, is_alone=True),
    'kill-hamgrd': Row(_end_daemons('hamgrd'), 5, ANY),
    'end-hamgrd': Row(_end_daemons('hamgrd', number=signal.SIGTERM), 3, ANY),
    'kill-fence': Row(_end_daemons('hamgr-fence'), 3, DB),
    'kill-daemons': Row(_end_daemons('hamgrd', 'hamgr-fence'), 3, DB),
    'stop-hamgrd': Row(_stop_daemons('hamgrd'), 5, ANY),
    'stop-fence': Row(_stop_daemons('hamgr-fence'), 3, DB),
    'stop-daemons': Row(_stop_daemons('hamgrd', 'hamgr-fence'), 3, DB),
    'full-state-disk': Row(full_state_disk, 2, DB),
    'lossy': Row(lossy, 5, ANY),
    'new-disk': Row(new_disk, 2, STANDBYS, is_alone=True),
    'hang-disk': Row(hang_disk, 6, DB),
    'switchover': Row(switchover, 8, STANDBYS, lasts=False, costs=0),
}


def _draw_fault(rng, dbs, witnesses, ttl_s, names):
    name = rng.choices(names, [FAULTS[n].weight for n in names])[0]
    row = FAULTS[name]
    roles = [r for r in row.roles if r != 'witness' or witnesses]
    roles += ['second'] * (dbs > 2 and 'standby' in roles)
    # most strike where it hurts
    whom = rng.choices(roles, [3 if r == 'primary' else 1 for r in roles])[0]
    # from well within a lease to many of them, each length as likely as its double
    hold = round(ttl_s * 2 ** rng.uniform(-2.5, 3.5), 2) if row.lasts else 0.0
    return Fault(name, whom, 0.0, hold)


# What Redis has is in its memory: whoever ends a server ends a copy, and a second fault before there is
# another one may take the last. Such a fault comes alone, and not to all hosts; nothing waits for a disk.
ENDS_REDIS = {'kill-postmaster', 'kill-server', 'end-server', 'stop-postmaster', 'power-off', 'new-disk'}
NOT_OF_REDIS = {'kill-backend', 'hang-disk', 'power-all'}


def names_of(kind):
    """What can be drawn for that kind of cluster."""
    return [n for n in FAULTS if kind.services == ('pg',) or n not in NOT_OF_REDIS]


def _fits(first, second):
    """Two hosts, and a majority stays."""
    rows = FAULTS[first.what], FAULTS[second.what]
    if 'switchover' in (first.what, second.what):
        return first.what != second.what
    # the other end of cut-pair is a standby
    if 'cut-pair' in (first.what, second.what):
        return False
    return first.whom != second.whom and rows[0].costs + rows[1].costs <= 1


def draw_step(seed, number, kind):
    """The step of that number; it does not depend on the others."""
    rng = random.Random(f'{seed}/{kind.dbs}/{kind.witnesses}/{number}')
    ttl_s = TTL_S[kind.timing]
    args = rng, kind.dbs, kind.witnesses, ttl_s
    first = _draw_fault(*args, names_of(kind))
    together = [n for n in names_of(kind) if not FAULTS[n].is_alone]
    if kind.services != ('pg',):
        together = [n for n in together if n not in ENDS_REDIS]
        if first.what in ENDS_REDIS:
            return Step(number, (first,))
    chance = rng.random()
    if chance < 0.3 and not FAULTS[first.what].is_alone:
        while not _fits(first, second := _draw_fault(*args, together)):
            pass
        # just after the first, in the middle of what it causes, or at any time while it lasts
        limit = rng.choice((0.02, 0.3, max(0.3, first.hold_s)))
        after = rng.uniform(0, limit)
    elif chance < 0.5:
        # in the middle of what has to be mended after the first
        second = _draw_fault(*args, together)
        after = first.hold_s + rng.uniform(0.1, 6 * ttl_s)
    else:
        return Step(number, (first,))
    return Step(number, (first, dataclasses.replace(second, after_s=round(after, 2))))


def draw(seed, numbers, kind):
    return [draw_step(seed, n, kind) for n in numbers]


# --- carried out ------------------------------------------------------------------------------------

def roles(cluster, primary):
    """Who is what now: role -> host."""
    standbys = [h for n, h in cluster.db.items() if n != primary]
    who = {'primary': cluster.db[primary], 'standby': standbys[0]}
    if len(standbys) > 1:
        who['second'] = standbys[1]
    for host in cluster.witness.values():
        who['witness'] = host
    return who


def strike(cluster, step, primary):
    """Begins every fault of the step, holds it, ends it. Returns when the first began and the last
    ended."""
    who = roles(cluster, primary)
    cluster.asked, cluster.order_rc = primary, None
    began = now()
    # (when, order in the list, what is done then)
    due = [(began + f.after_s, i, f, None) for i, f in enumerate(step.faults)]
    while due:
        due.sort(key=lambda d: d[:2])
        at, i, fault, end = due.pop(0)
        let_pass(max(0.0, at - now()))
        if end:
            end()
        else:
            due.append((now() + fault.hold_s if fault.hold_s else math.inf, i, fault,
                        FAULTS[fault.what].begin(cluster, who[fault.whom])))
        if due and all(d[0] == math.inf for d in due):
            due = [(now(), *d[1:]) for d in due]
    return began, now()
