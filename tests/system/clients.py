"""Client libraries of Redis (tests/clients) around a fault of a whole cluster: each finds the primary by the
Sentinel endpoints of all members, follows it, and reads from replicas. clients_bench.py prints the table.

Every answer carries the run id of the server that gave it, so that it is known who took a write."""

import ctypes
import json
import resource
import selectors
import shutil
import socket
import subprocess
import threading
import time

import cluster as clusters
import scenarios
from lab import LabError, let_pass, now, wait_until

SENTINEL_PORT = 26379
PROGRAMS = clusters.REPOSITORY / 'tests' / 'clients'
NODE = clusters.REPOSITORY / 'build' / 'clients'
KIND = clusters.Kind(services=('cache',), dbs=3, witnesses=0)
# With their default settings; and as docs/redis-clients.md advises, for hosts that are lost. hiredis,
# which has no support for Sentinel, is told a time-out by the program that does it by hand.
DEFAULT = ('hiredis', 'redis-py')
ADVISED = ('hiredis', 'redis-py/timeout', 'redis-py/keepalive')
DEFAULT_NODE = ('ioredis', 'ioredis-detector', 'node-redis')
ADVISED_NODE = ('ioredis/timeout', 'node-redis/timeout')


class Client:
    """A running client, LIBRARY or LIBRARY/VARIANT, somewhere: a writer and a reader of replicas."""

    def __init__(self, c, name, binaries, where=None):
        self.name = name
        places = ','.join(f'{h.address}:{SENTINEL_PORT}' for h in c.db.values())
        library, _, variant = name.partition('/')
        tail = [places, 'cache', '', '' if where else variant, name]
        if library == 'hiredis':
            argv = [binaries / 'client-hiredis', *tail[:2]]
        elif library == 'redis-py':
            argv = ['/usr/bin/python3', '-B', PROGRAMS / 'client.py', *tail]
        else:
            argv = ['node', NODE / 'client.mjs', library, *tail]
        self.lines = []
        self.process = subprocess.Popen((where or c.client).command(argv, in_group=False), stdout=subprocess.PIPE,
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

    def reads(self, since):
        """When it read from a replica."""
        return [at for at, _, role in self.answers('r', since) if role == 'slave']

    def longest_unread(self, since):
        """The longest time between two such reads, from a moment before until now."""
        times = self.reads(since - 1)
        return max((b - a for a, b in zip(times, times[1:]) if b >= since), default=0)

    def reads_replica(self, since):
        return bool(self.reads(since))

    def begun(self):
        return next((int(l[1]) / 1000 for l in list(self.lines) if l[0] == 'b'), None)

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
        """Of those that moved, milliseconds: from the fault, and from its last write before, to its first
        write on the new primary; and the longest time without a read from a replica."""
        return {k.name: {'fault': round((k.first(self.began, self.run) - self.began) * 1000),
                         'gap': round(k.gap(self.began, self.run) * 1000),
                         'read': round(k.longest_unread(self.began) * 1000)}
                for k in self.clients if self.moved(k)}

    def whole_again(self, limit_s=60):
        """The cluster is, each client moved, and each reads from a replica."""
        primary = self.cluster.wait_healthy(60)
        wait_all(self.clients, 'each client moved', self.moved, limit_s)
        healthy = time.time()
        wait_all(self.clients, 'each client reads from a replica again', lambda k: k.reads_replica(healthy), limit_s)
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


def host_lost(c, clients, limit_s=50):
    """Who has not moved and does not read after that stays on a connection to a host that is not there."""
    around = Around(c, clients)
    host = c.db[around.old]
    host.power_off()

    def follows(client):
        return around.moved(client) and client.reads_replica(client.first(around.began, around.run))
    try:
        wait_until('all follow', lambda: all(follows(k) for k in clients), limit_s, 0.1)
    except LabError:
        pass  # the results tell who
    stay = [k.name for k in clients if not follows(k)]
    results = around.results()
    scenarios.power_is_back(c, host)
    around.whole_again(limit_s=150)  # a kernel that tries again ever more seldom hears that it has ended
    return {name: r for name, r in results.items() if name not in stay}


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


# --- libraries that are not in Debian ---------------------------------------------------------------

def is_installed():
    """As package.json wants it."""
    wanted = json.loads((PROGRAMS / 'package.json').read_text(encoding='utf-8'))['dependencies']
    try:
        return all(json.loads((NODE / 'node_modules' / name / 'package.json').read_text(encoding='utf-8'))['version'] ==
                   version for name, version in wanted.items())
    except (OSError, ValueError):
        return False


def install_node():
    """Whether ioredis and node-redis are there."""
    NODE.mkdir(parents=True, exist_ok=True)
    for name in ('package.json', 'client.mjs'):
        shutil.copy(PROGRAMS / name, NODE)
    if not shutil.which('node') or not shutil.which('npm'):
        return False
    try:
        return is_installed() or subprocess.run(
            ['npm', 'install', '--no-audit', '--no-fund', '--silent', '--fetch-retries=1'], cwd=NODE, timeout=60,
            check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False
