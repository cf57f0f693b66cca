"""Client libraries of Redis (tests/clients) around a fault of a whole cluster: each finds the primary by the
Sentinel endpoints of all members, follows it, and reads from replicas.

    clients.py [--times N]     the table, also as build/clients/measured.json; node's are left out where
                               `npm install` cannot have them
    clients.py idle [--connections N]   what so many idle connections to one endpoint cost

Every answer carries the run id of the server that gave it, so that it is known who took a write."""

import argparse
import ctypes
import json
import pathlib
import resource
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time

import cluster as clusters
import lab
import scenarios
from lab import LabError, let_pass, now, wait_until

SENTINEL_PORT = 26379
PROGRAMS = clusters.REPOSITORY / 'tests' / 'clients'
NODE = clusters.REPOSITORY / 'build' / 'clients'
KIND = clusters.Kind(services=('cache',), dbs=3, witnesses=0)
LOST_S = 20  # how long a lost host is away: who has not moved by then is told to stay
HERE = ('hiredis', 'redis-py', 'redis-py-timeout')
OF_NODE = ('ioredis', 'ioredis-timeout', 'ioredis-detector', 'node-redis', 'node-redis-timeout')
TIMEOUT_S = '1'  # of those that are told one, to connect and to wait: docs/sentinel.md has the words


class Client:
    """A running client: a writer and a reader of replicas."""

    def __init__(self, c, name, binaries):
        self.name = name
        places = ','.join(f'{h.address}:{SENTINEL_PORT}' for h in c.db.values())
        library = name.removesuffix('-timeout')
        tail = ['', TIMEOUT_S] if name != library else []
        if library == 'hiredis':
            argv = [binaries / 'client-hiredis', places, 'cache']
        elif library == 'redis-py':
            argv = ['/usr/bin/python3', '-B', PROGRAMS / 'client.py', places, 'cache', *tail]
        else:
            argv = ['node', NODE / 'client.mjs', library, places, 'cache', *tail]
        self.lines = []
        self.process = subprocess.Popen(c.client.command(argv, in_group=False), stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True,
                                        cwd='/', bufsize=1)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip('\n').split(' '))

    def answers(self, what, since=0.0):
        """(seconds of the wall clock, run id, number or role), as they came."""
        return [(int(l[1]) / 1000, l[3], l[4]) for l in list(self.lines)
                if len(l) == 5 and l[0] == what and l[2] == 'ok' and int(l[1]) / 1000 >= since]

    def first(self, since, but_not_of):
        """When another server than that took a write."""
        return next((at for at, run, _ in self.answers('w', since) if run != but_not_of), None)

    def gap(self, since, but_not_of):
        """From the last write that the old server took to the first of another."""
        first = self.first(since, but_not_of)
        return first - max(at for at, run, _ in self.answers('w') if at < first and run == but_not_of)

    def reads_replica(self, since):
        return any(role == 'slave' for _, _, role in self.answers('r', since))

    def numbers(self):
        return {int(number) for _, _, number in self.answers('w')}

    def lost(self, server):
        """Acknowledged numbers that the server does not have."""
        mine = self.numbers()
        return mine - {int(n) for n in server.ask('SMEMBERS', f'hamgr_clients:{self.name}', timeout=30)}

    def last(self):
        return [' '.join(l) for l in self.lines[-3:]]

    def stop(self):
        self.process.kill()
        self.process.wait()


def run_id(server):
    return server.info()['run_id']


def wait_all(clients, what, fits, limit_s):
    def missing():
        return [k for k in clients if not fits(k)]
    try:
        wait_until(what, lambda: not missing(), limit_s)
    except LabError as e:
        raise LabError(f'{e}: ' + '; '.join(f'{k.name}: {k.last()}' for k in missing())) from None


class Around:
    """All clients at work before a fault, and what became of them."""

    def __init__(self, c, clients):
        self.cluster, self.clients = c, clients
        self.old = c.wait_healthy()
        self.run = run_id(c.server[self.old])
        ready = time.time()
        wait_all(clients, 'each client writes to the primary',
                 lambda k: any(run == self.run for _, run, _ in k.answers('w', ready)), 60)
        wait_all(clients, 'each client reads from a replica', lambda k: k.reads_replica(ready), 60)
        self.began = time.time()

    def moved(self, client):
        return client.first(self.began, self.run) is not None

    def results(self):
        """Of those that moved: milliseconds since the fault, and since its last write before."""
        return {k.name: (round((k.first(self.began, self.run) - self.began) * 1000),
                         round(k.gap(self.began, self.run) * 1000))
                for k in self.clients if self.moved(k)}

    def whole_again(self):
        """The cluster is, each client moved, and each reads from a replica."""
        primary = self.cluster.wait_healthy(60)
        wait_all(self.clients, 'each client moved', self.moved, 60)
        healthy = time.time()
        wait_all(self.clients, 'each client reads from a replica again', lambda k: k.reads_replica(healthy), 60)
        return primary


def server_killed(c, clients):
    around = Around(c, clients)
    c.server[around.old].kill()
    around.whole_again()
    return around.results()


def switched_over(c, clients):
    """Planned. Nothing that any of them was told to be written may be gone."""
    around = Around(c, clients)
    lost_before = {k.name: len(k.lost(c.server[around.old])) for k in clients}
    done = c.switchover()
    if done.returncode != 0:
        raise LabError(f'switchover: {done.stderr or done.stdout}')
    primary = around.whole_again()
    for k in clients:
        lost = len(k.lost(c.server[primary])) - lost_before[k.name]
        if lost > 0:
            raise LabError(f'{k.name}: {lost} acknowledged writes were lost by a switchover')
    return around.results()


def host_lost(c, clients):
    """Who has not moved after LOST_S hangs on a connection to a host that is not there any more."""
    around = Around(c, clients)
    host = c.db[around.old]
    host.power_off()
    try:
        wait_until('all moved', lambda: all(around.moved(k) for k in clients), LOST_S, 0.1)
    except LabError:
        pass  # the table tells who
    moved = around.results()
    scenarios.power_is_back(c, host)
    around.whole_again()
    return moved


FAULTS = (('server killed', server_killed), ('switchover', switched_over), ('host lost', host_lost))


# --- many that only listen --------------------------------------------------------------------------

CLONE_NEWNET = 0x40000000


def connect_from(host, address, port, n=1):
    """Connections that begin on that host: a thread goes there, so that everybody else stays here."""
    made = []

    def connect():
        with open(f'/run/netns/{host.netns}', encoding='ascii') as there:
            if ctypes.CDLL(None, use_errno=True).setns(there.fileno(), CLONE_NEWNET) != 0:
                return
        for _ in range(n):
            made.append(socket.create_connection((address, port), 10))
    thread = threading.Thread(target=connect)
    thread.start()
    thread.join()
    if len(made) != n:
        raise LabError(f'{len(made)} of {n} connections from {host.name} to {address} port {port}')
    return made


class Crowd:
    """Idle connections to one endpoint, of which each tenth subscribes, and one that never reads."""

    def __init__(self, c, host, n):
        self.sockets = connect_from(c.client, host.address, SENTINEL_PORT, n + 1)
        self.subscribers = self.sockets[1::10]
        self.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.sockets[0].sendall(b'PSUBSCRIBE *\r\n')
        for s in self.subscribers:
            s.sendall(b'SUBSCRIBE +switch-master\r\n')
        self.wait_told(b'subscribe')

    def wait_told(self, part, limit_s=60):
        """Until each subscriber heard of it."""
        selector = selectors.DefaultSelector()
        for s in self.subscribers:
            selector.register(s, selectors.EVENT_READ)
        end = now() + limit_s
        while selector.get_map():
            if now() >= end:
                raise LabError(f'{len(selector.get_map())} subscribers heard nothing')
            for key, _ in selector.select(1):
                data = key.fileobj.recv(65536)
                if not data:
                    raise LabError('a subscriber was cut off')
                if part in data:
                    selector.unregister(key.fileobj)

    def close(self):
        for s in self.sockets:
            s.close()


def pss_kib(pid):
    with open(f'/proc/{pid}/smaps_rollup', encoding='utf-8') as f:
        return next(int(l.split()[1]) for l in f if l.startswith('Pss:'))


def crowded(c, n, idle_s=3):
    """So many clients come, are idle, and are told of a switchover: what that costs the primary's hamgrd.

    The loop's longest stall is one since the daemon began, so that nothing is hidden by it being reset."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    primary = c.wait_healthy()
    host = c.db[primary]
    pid = host.processes['hamgrd'].pid
    epoch, memory = c.epoch(host), pss_kib(pid)
    stall = c.status(host)['loop']['stall_longest_ms']
    crowd = Crowd(c, host, n)
    try:
        let_pass(idle_s)
        result = {'bytes': round((pss_kib(pid) - memory) * 1024 / n), 'stall_before_ms': stall,
                  'changes_idle': c.epoch(host) - epoch}
        if c.switchover().returncode != 0:
            raise LabError('the switchover failed')
        crowd.wait_told(b'switch-master')
        c.wait_healthy()
        result['changes'] = c.epoch(host) - epoch
        result['stall_ms'] = c.status(host)['loop']['stall_longest_ms']
        return result
    finally:
        crowd.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def show_crowded(n):
    c = clusters.Cluster(KIND, 'release')
    try:
        c.start()
        r = crowded(c, n)
        print(f'{n} idle connections, a tenth of them subscribed, one that does not read: {r["bytes"]} bytes each; the '
              f'loop\'s longest stall {r["stall_ms"]} ms ({r["stall_before_ms"]} ms before they came); '
              f'{r["changes_idle"]} failovers, one switchover told to all')
    finally:
        c.close()
    return 0


# --- the table --------------------------------------------------------------------------------------

def install_node():
    """Whether ioredis and node-redis are there."""
    NODE.mkdir(parents=True, exist_ok=True)
    for name in ('package.json', 'client.mjs'):
        shutil.copy(PROGRAMS / name, NODE)
    if not shutil.which('node') or not shutil.which('npm'):
        return False
    try:
        return subprocess.run(['npm', 'install', '--no-audit', '--no-fund', '--silent'], cwd=NODE, timeout=120,
                              check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def show(measured, names, times):
    print(f'{"median (worst) of " + str(times) + ", ms":22}' + ''.join(f'{what:>24}' for what, _ in FAULTS))
    for name in names:
        cells = []
        for what, _ in FAULTS:
            # planned: what it felt; a fault: from its moment on
            values = [r[name][what == 'switchover'] for r in measured[what] if name in r]
            cell = f'{statistics.median(values):.0f} ({max(values)})' if values else 'stays'
            cells.append(cell + (f', {times - len(values)} stayed' if values and len(values) < times else ''))
        print(f'{name:22}' + ''.join(f'{cell:>24}' for cell in cells), flush=True)


def table(times):
    names = HERE + (OF_NODE if install_node() else ())
    c = clusters.Cluster(KIND, 'release')
    clients = []
    try:
        c.start()
        clients += [Client(c, name, clusters.REPOSITORY / 'build' / 'release') for name in names]
        measured = {what: [] for what, _ in FAULTS}
        for what, fault in FAULTS:
            for _ in range(times):
                measured[what].append(fault(c, clients))
                print(f'{what}: {measured[what][-1]}', file=sys.stderr, flush=True)
    finally:
        for k in clients:
            k.stop()
        c.close()
    show(measured, names, times)
    pathlib.Path(NODE / 'measured.json').write_text(json.dumps(measured, indent=1) + '\n')
    return 0


def main():
    parser = argparse.ArgumentParser(description='How long clients take to follow the primary.')
    parser.add_argument('--times', type=int, default=5)
    parser.add_argument('--connections', type=int, default=10000)
    parser.add_argument('what', nargs='?', choices=['table', 'idle'], default='table')
    args = parser.parse_args()
    lab.guard_exit()
    lab.sweep()
    return show_crowded(args.connections) if args.what == 'idle' else table(args.times)


if __name__ == '__main__':
    sys.exit(main())
