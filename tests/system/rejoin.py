"""How a copy comes back: rewound, cloned, killed while it is, for want of its log, by a command."""

import dataclasses
import os
import pathlib
import signal

import lab
import scenarios
from lab import now, wait_until

LIMIT_S = 60


@dataclasses.dataclass
class Result:
    """How one copy came back."""
    back_s: float   # from the boot of its host, or from the order, until it streams
    began: list     # the operations that its hamgrd began, in order
    epochs: int     # changes of primary meanwhile


def member(cluster, seen_by, name):
    """What that member's hamgrd tells of another one, or of itself."""
    service = cluster.service_status(cluster.db[seen_by]) or {}
    return next((m for m in service.get('members', []) if m['name'] == name), {})


def streams(cluster, primary, name):
    return name in cluster.streaming_to(primary) and cluster.server[name].is_standby()


def operations(cluster, name, since=0):
    """Rewinds and clones that its log tells of."""
    words = [line.split(' operation service=')[1].split()[1]
             for line in cluster.log_text(cluster.db[name])[since:].splitlines()
             if ' operation service=' in line]
    return [w for w in words if w in ('rewind', 'clone')]


def fill(cluster, mib):
    """So much data, on every copy."""
    primary = cluster.server[cluster.primary()]
    primary.query('CREATE TABLE IF NOT EXISTS filler (n int, t text)')
    if mib:
        primary.query('INSERT INTO filler SELECT n, repeat(md5(n::text), 32) '
                      f'FROM generate_series(1, {mib * 975}) n', timeout=600)
        primary.query('CHECKPOINT', timeout=600)
    cluster.wait_healthy(600)


def lose(cluster, name):
    """The power of the primary's host goes with something that nobody else has, and another takes over."""
    host = cluster.db[name]
    others = [s for n, s in cluster.server.items() if n != name]
    host.link(False)
    # by the unix socket: until the lease ends it commits what it cannot stream
    cluster.server[name].query('INSERT INTO filler SELECT n FROM generate_series(1, 100) n', check=False)
    host.power_off()
    wait_until('another is the primary', lambda: any(s.is_primary() for s in others), LIMIT_S)


def come_back(cluster, name, act=None, limit_s=LIMIT_S):
    """The host boots; `act` does something meanwhile. Until the copy streams."""
    host = cluster.db[name]
    primary = next(n for n in cluster.db if n != name and cluster.server[n].is_primary())
    epoch = cluster.epoch(cluster.db[primary])
    since = len(cluster.log_text(host))
    began = now()
    scenarios.power_is_back(cluster, host)
    if act:
        act(primary)
    wait_until(f'{name} streams', lambda: streams(cluster, primary, name), limit_s)
    back_s = now() - began
    cluster.wait_healthy(limit_s)
    return Result(back_s, operations(cluster, name, since), cluster.epoch() - epoch)


def rewound(cluster):
    """A primary lost with its host comes back and is rewound."""
    name = cluster.primary()
    fill(cluster, 0)
    lose(cluster, name)
    return come_back(cluster, name)


def without_rewind(cluster, name):
    """What pg_rewind reads on its target is gone."""
    wal = cluster.server[name].data / 'pg_wal'
    for entry in wal.iterdir():
        if len(entry.name) == 24:
            entry.unlink()


def not_rewound(cluster):
    """The same, and pg_rewind cannot do it: it is cloned."""
    name = cluster.primary()
    fill(cluster, 0)
    lose(cluster, name)
    without_rewind(cluster, name)
    return come_back(cluster, name)


def workers(cluster, name):
    """Processes that make that member's copy anew: not those that tidy up before, or rewind."""
    mark = f'HAMGR_REBUILDS={cluster.server[name].data}'.encode()
    found = []
    for pid in cluster.db[name].group.pids():
        try:
            process = pathlib.Path(f'/proc/{pid}')
            if (mark in (process / 'environ').read_bytes().split(b'\0')
                    and (process / 'comm').read_text().strip() == 'pg_basebackup'):
                found.append(pid)
        except OSError:
            pass
    return found


def killed_meanwhile(cluster, kills=('clone', 'hamgrd', 'both')):
    """The clone, hamgrd, and both are killed in the middle of it, one after the other."""
    name = cluster.primary()
    host = cluster.db[name]
    fill(cluster, 0)
    lose(cluster, name)
    without_rewind(cluster, name)

    def act(_primary):
        for kill in kills:
            pids = wait_until('it is being cloned', lambda: workers(cluster, name), LIMIT_S, 0.001)
            if kill != 'clone':
                host.processes['hamgrd'].end(signal.SIGKILL)
            if kill != 'hamgrd':
                for pid in pids:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
            if kill != 'clone':
                cluster.start_hamgrd(host)
    return come_back(cluster, name, act, 3 * LIMIT_S)


def forged(cluster, is_ended=True):
    """A standby is started as a primary past every guard: hamgr is stopped, standby.signal removed, pg_ctl
    called. It gets rows of its own while the real primary gets others, and hamgr comes back. Returns the
    Result, and how many rows were written there."""
    primary, name = cluster.primary(), cluster.standby()
    host, server = cluster.db[name], cluster.server[name]
    fill(cluster, 0)
    server.stop_autovacuum()
    for process in ('hamgrd', 'hamgr-fence'):
        host.processes[process].end()
    if is_ended:  # the logs part where a segment begins, after one that was ended early
        end = cluster.server[primary].query('SELECT pg_switch_wal()')
        wait_until('the standby has it', lambda: server.query(
            f"SELECT pg_last_wal_receive_lsn() >= '{end}'") == 't', LIMIT_S)
    server.stop()
    (server.data / 'standby.signal').unlink()
    server.start()
    wait_until('it is writable', server.is_primary, LIMIT_S)
    for n in range(3):
        server.query(f"INSERT INTO filler VALUES ({-1 - n}, 'alone')")
    if is_ended:
        server.stop()
    cluster.server[primary].query("INSERT INTO filler VALUES (1, 'rightful')", timeout=30)
    since = len(cluster.log_text(host))
    epoch = cluster.epoch(cluster.db[primary])
    began = now()
    cluster.start_fence(host)
    cluster.start_hamgrd(host)
    wait_until(f'{name} streams', lambda: streams(cluster, primary, name), LIMIT_S)
    back_s = now() - began
    cluster.wait_healthy(LIMIT_S)
    return Result(back_s, operations(cluster, name, since), cluster.epoch() - epoch), name, 3


def log_gone(cluster):
    """A standby was away for so long that nobody has the log that it needs."""
    primary = cluster.primary()
    name = cluster.standby()
    server = cluster.server[primary]
    fill(cluster, 0)
    server.query("ALTER SYSTEM SET wal_keep_size = 0")
    server.query("SELECT pg_reload_conf()")
    cluster.db[name].power_off()
    cluster.db[name].kill_all()

    def is_dropped():
        server.query('SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots', check=False)
        server.query('SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots '
                     'WHERE NOT active', check=False)
        return server.query('SELECT count(*) FROM pg_replication_slots') == '0'
    wait_until('its slot is dropped', is_dropped, LIMIT_S, 0.2)
    for _ in range(3):
        server.query('INSERT INTO filler SELECT n FROM generate_series(1, 1000) n')
        server.query('SELECT pg_switch_wal()')
        server.query('CHECKPOINT')
    try:
        return come_back(cluster, name)
    finally:
        server.query('ALTER SYSTEM RESET wal_keep_size')
        server.query('SELECT pg_reload_conf()')


def by_order(cluster, is_killed=False):
    """The operator has the standby's copy made anew, from the primary's host; perhaps hamgrd there ends
    meanwhile."""
    primary, name = cluster.primary(), cluster.standby()
    since = len(cluster.log_text(cluster.db[name]))
    epoch = cluster.epoch()
    refused = cluster.hamgr(cluster.db[name], 'rebuild', primary, '--yes')
    if refused.returncode != 3 or 'is the primary' not in refused.stderr:
        raise lab.LabError(f'rebuilding the primary: exit code {refused.returncode}: {refused.stderr}')
    copy = cluster.server[name].data.stat().st_ino
    began = now()
    cluster.hamgr(cluster.db[primary], 'rebuild', name, '--yes', check=True)
    order = cluster.db[name].dir / 'state' / f'{cluster.kind.services[0]}.rebuild'
    if is_killed:
        wait_until('the order is on the disk', order.exists, LIMIT_S, 0.001)
        cluster.db[name].processes['hamgrd'].end(signal.SIGKILL)
        cluster.start_hamgrd(cluster.db[name])
    wait_until(f'{name} is another copy and streams', lambda: cluster.server[name].data.exists() and
               cluster.server[name].data.stat().st_ino != copy and streams(cluster, primary, name),
               LIMIT_S)
    back_s = now() - began
    cluster.wait_healthy(LIMIT_S)
    wait_until('the order is over', lambda: not order.exists(), LIMIT_S)
    return Result(back_s, operations(cluster, name, since), cluster.epoch() - epoch)


def by_command(cluster, command):
    """The same, with a command of the administrator's."""
    name = cluster.standby()
    host = cluster.db[name]
    conf = cluster.conf(host)
    text = conf.read_text()
    conf.write_text(text.replace('control = "pg_ctl";', f'control = "pg_ctl"; rebuild_command = "{command}";'))
    try:
        host.processes['hamgrd'].end(signal.SIGKILL)
        cluster.start_hamgrd(host)
        cluster.wait_healthy()
        return by_order(cluster)
    finally:
        conf.write_text(text)
        host.processes['hamgrd'].end(signal.SIGKILL)
        cluster.start_hamgrd(host)
