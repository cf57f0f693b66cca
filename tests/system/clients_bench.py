"""How long client libraries of Redis take to follow a primary: the tables of docs/redis-clients.md.

    clients_bench.py [--times N]      all clients, as build/clients/measured.json, too; those of node are left
                                      out where `npm install` cannot have them
    clients_bench.py sentinel         the same clients with three real Redis Sentinels instead of hamgr
    clients_bench.py idle [--connections N]   what so many idle connections to one endpoint cost"""

import argparse
import json
import statistics
import sys

import clients as made
import cluster as clusters
import lab
import redis_server

BINARIES = clusters.REPOSITORY / 'build' / 'release'
KERNEL = 'net.ipv4.tcp_retries2=5', 'net.ipv4.tcp_syn_retries=2'
FAULTS = {'server killed': made.server_killed, 'switchover': made.switched_over, 'host lost': made.host_lost}


def first_connections(c, names):
    """Milliseconds from its first call of the library to its first write, and to its first read."""
    result = {}
    for name in names:
        client = made.Client(c, name, BINARIES)
        try:
            lab.wait_until(f'{name} writes and reads', lambda k=client: k.answers('w') and k.reads(0), 30)
            begun = client.begun()
            result[name] = {'fault': round((client.answers('w')[0][0] - begun) * 1000),
                            'read': round((client.reads(0)[0] - begun) * 1000)}
        finally:
            client.stop()
    return result


# --- Redis Sentinel ---------------------------------------------------------------------------------

SENTINEL_CONF = """
port 26379
bind 0.0.0.0
protected-mode no
dir {dir}
sentinel monitor cache {master} 6379 2
sentinel down-after-milliseconds cache 30000
sentinel failover-timeout cache 180000
sentinel parallel-syncs cache 1
"""


class Sentinels:
    """Three hosts with a Redis and a Sentinel each, with the numbers of Debian's sentinel.conf: as much of
    cluster.Cluster as the clients' faults want of it."""

    def __init__(self):
        self.lab = lab.Lab()
        self.db = {f'db{i + 1}': self.lab.add_host(f'db{i + 1}', 11 + i) for i in range(3)}
        self.client = self.lab.add_host('client', 31)
        self.server = {name: redis_server.Server(h) for name, h in self.db.items()}

    def start(self):
        master = self.db['db1']
        for name, host in self.db.items():
            self.server[name].start_first()
            if host is not master:
                self.server[name].ask('REPLICAOF', master.address, '6379')
            conf = host.dir / 'sentinel.conf'
            conf.write_text(SENTINEL_CONF.format(dir=host.dir, master=master.address))
            conf.chmod(0o666)
            host.start('sentinel', ['redis-server', conf, '--sentinel'])
        lab.wait_until('the Sentinels know each other and the replicas', self._is_known, 40)

    def _ask(self, host, *words):
        return host.run(['redis-cli', '-p', '26379', 'sentinel', *words], check=False).stdout

    def _is_known(self):
        known = [self._ask(h, 'master', 'cache').split('\n') for h in self.db.values()]
        return all('num-other-sentinels' in k and k[k.index('num-other-sentinels') + 1] == '2' and
                   k[k.index('num-slaves') + 1] == '2' for k in known)

    def wait_healthy(self, limit_s=60):
        lab.wait_until('one primary', lambda: len(self._primaries()) == 1, limit_s)
        return self._primaries()[0]

    def _primaries(self):
        return [name for name, s in self.server.items() if s.is_primary()]

    def failover(self):
        """Planned, as far as Sentinel knows that word: the old one takes writes that are lost."""
        self.db['db2'].run(['redis-cli', '-p', '26379', 'sentinel', 'failover', 'cache'])

    def close(self):
        self.lab.close()


def sentinel_once(names, what, limit_s):
    """One fault in a new lab."""
    c = Sentinels()
    running = []
    try:
        c.start()
        running += [made.Client(c, name, BINARIES) for name in names]
        around = made.Around(c, running)
        if what == 'SENTINEL FAILOVER':
            c.failover()
        else:
            c.db[around.old].power_off()
        try:
            lab.wait_until('all moved', lambda: all(around.moved(k) for k in running), limit_s, 0.1)
        except lab.LabError:
            pass  # the table tells who
        return around.results()
    finally:
        for k in running:
            k.stop()
        c.close()


def sentinel(times):
    names = made.DEFAULT[1:] + (made.DEFAULT_NODE if made.install_node() else ())
    measured = {'SENTINEL FAILOVER': [], 'host lost': []}
    for what, results in measured.items():
        for _ in range(times):
            results.append(sentinel_once(names, what, 100))
            print(f'{what}: {results[-1]}', file=sys.stderr, flush=True)
    show(measured, names, 'write')
    return 0


# --- tables -----------------------------------------------------------------------------------------

def cell(results, name, which):
    values = [r[name][which] for r in results if name in r]
    text = f'{statistics.median(values):.0f} ({max(values)})' if values else 'stays'
    return text + (f', {len(results) - len(values)} stay' if values and len(values) < len(results) else '')


def show(measured, names, title):
    print(f'{title:20}' + ''.join(f'{what:>22}' for what in measured))
    for name in names:
        # planned: what it felt; a fault: from its moment on
        row = [cell(r, name, 'read' if title == 'read' else 'gap' if what == 'switchover' else 'fault')
               for what, r in measured.items()]
        print(f'{name:20}' + ''.join(f'{text:>22}' for text in row), flush=True)


def measure(c, names, faults, times, where=None):
    """Few clients at once, so that they do not wait for each other's share of this machine."""
    measured = {}
    if not where:
        measured['first connection'] = [first_connections(c, names) for _ in range(times)]
    running = [made.Client(c, name, BINARIES, where) for name in names]
    try:
        for what in faults:
            measured[what] = []
            for _ in range(times):
                measured[what].append(FAULTS[what](c, running))
                print(f'{what}: {measured[what][-1]}', file=sys.stderr, flush=True)
    finally:
        for k in running:
            k.stop()
    show(measured, names, 'write')
    show(measured, names, 'read')
    return measured


def table(times):
    has_node = made.install_node()
    default = made.DEFAULT + (made.DEFAULT_NODE if has_node else ())
    advised = made.ADVISED[1:] + (made.ADVISED_NODE if has_node else ())
    c = clusters.Cluster(made.KIND, 'release')
    try:
        tuned = c.lab.add_host('tuned', 32)
        for setting in KERNEL:
            tuned.run(['sysctl', '-w', setting])
        c.start()
        measured = [measure(c, default, FAULTS, times),
                    measure(c, advised, FAULTS, times),
                    measure(c, [f'{n}/kernel' for n in default if n != 'hiredis'], ['host lost'], times, tuned)]
    finally:
        c.close()
    (made.NODE / 'measured.json').write_text(json.dumps(measured, indent=1) + '\n')
    return 0


def idle(n):
    c = clusters.Cluster(made.KIND, 'release')
    try:
        c.start()
        r = made.crowded(c, n)
        print(f'{n} idle connections, a tenth of them subscribed, one that does not read: {r["bytes"]} bytes each; the '
              f'loop\'s longest stall {r["stall_ms"]} ms ({r["stall_before_ms"]} ms before they came); '
              f'{r["changes_idle"]} failovers, one switchover told to all')
    finally:
        c.close()
    return 0


def main():
    parser = argparse.ArgumentParser(description='How long clients take to follow the primary.')
    parser.add_argument('--times', type=int, default=5)
    parser.add_argument('--connections', type=int, default=10000)
    parser.add_argument('what', nargs='?', choices=['table', 'sentinel', 'idle'], default='table')
    args = parser.parse_args()
    lab.guard_exit()
    lab.sweep()
    if args.what == 'idle':
        return idle(args.connections)
    return sentinel(args.times) if args.what == 'sentinel' else table(args.times)


if __name__ == '__main__':
    sys.exit(main())
