"""What clients see of each fault, measured again and again; and what hamgr costs when idle.

    bench.py [--times N] [ROW...]     the table, also as build/bench.json
    bench.py rejoin [--times N] [--mib N]   how long a copy with 1 GiB takes to come back, on a disk
    bench.py soak [--minutes N]       full load on all cores and the disk: no change of primary
    bench.py overload [--minutes N]   the primary's host alone, far more than it can do: the same
    bench.py --list"""

import argparse
import json
import math
import os
import signal
import subprocess
import sys

import cluster as clusters
import lab
import rejoin
import scenarios
from cluster import Kind
from lab import let_pass, now

DEFAULT, LAN = Kind(), Kind(timing='lan')
SYNC, SYNC_LAN = Kind(durability='sync'), Kind(durability='sync', timing='lan')

REDIS, REDIS_LAN = Kind(services=('cache',)), Kind(services=('cache',), timing='lan')
REDIS_THREE = Kind(services=('cache',), dbs=3, witnesses=0)
REDIS_SYNC = Kind(services=('cache',), durability='sync')

DISKS = Kind(durability='sync', own_disks=True, with_votes=True)

CUT_S = 30  # long enough for every time limit of TCP and of PostgreSQL that matters

# name, what, kind of cluster, scenario, its arguments, target of the median and of the worst in ms
ROWS = [
    ('killed', 'postmaster killed, async', DEFAULT, scenarios.postmaster_killed, {}, 150, None),
    ('killed-loaded', 'postmaster killed, full load', DEFAULT, scenarios.postmaster_killed_loaded, {},
     250, None),
    ('killed-behind', '... and its standby behind', DEFAULT, scenarios.postmaster_killed_loaded,
     {'behind': 40}, 250, None),
    ('lost', 'host lost, async', DEFAULT, scenarios.host_lost, {}, 1600, 2200),
    ('cut-both', 'host cut off, both directions', DEFAULT, scenarios.partitioned,
     {'direction': 'both', 'seconds': CUT_S}, 1600, 2200),
    ('cut-out', 'host cut off, cannot send', DEFAULT, scenarios.partitioned,
     {'direction': 'out', 'seconds': CUT_S}, 1600, 2200),
    ('cut-in', 'host cut off, cannot hear', DEFAULT, scenarios.partitioned,
     {'direction': 'in', 'seconds': CUT_S}, 1600, 2200),
    ('switchover', 'switchover, async', DEFAULT, scenarios.switched_over,
     {'interval_ms': 3}, 150, None),
    ('lost-lan', 'host lost, async, timing lan', LAN, scenarios.host_lost, {}, 700, None),
    ('killed-sync', 'postmaster killed, sync', SYNC, scenarios.postmaster_killed, {}, 150, None),
    ('switchover-sync', 'switchover, sync', SYNC, scenarios.switched_over,
     {'interval_ms': 3}, 150, None),
    ('lost-sync', 'host lost, sync', SYNC, scenarios.host_lost, {}, 1600, 2200),
    ('lost-sync-lan', 'host lost, sync, timing lan', SYNC_LAN, scenarios.host_lost, {}, 700, None),
    # the lease times
    ('standby-lost', 'standby lost, sync', SYNC, scenarios.standby_lost, {'seconds': 4}, 1500, None),
    ('standby-lost-lan', 'standby lost, sync, timing lan', SYNC_LAN, scenarios.standby_lost,
     {'seconds': 4}, 600, None),
    ('standby-killed', 'postmaster of the standby killed, sync', SYNC, scenarios.standby_killed, {},
     1500, None),
    ('standby-killed-lan', '... timing lan', SYNC_LAN, scenarios.standby_killed, {}, 600, None),
    ('redis-killed', 'Redis: redis-server killed, async', REDIS, scenarios.server_killed, {}, 100, None),
    ('redis-lost', 'Redis: host lost, async', REDIS, scenarios.host_lost, {}, 1600, 2200),
    ('redis-cut', 'Redis: host cut off 30 s', REDIS, scenarios.partitioned, {'seconds': CUT_S}, 1600, 2200),
    ('redis-paused', 'Redis: host paused 5 s', REDIS, scenarios.host_paused, {'seconds': 5}, 1600, 2200),
    # check_timeout_ms is 3000
    ('redis-stopped', 'Redis: its process stopped 5 s', REDIS, scenarios.server_stopped,
     {'seconds': 5}, 4000, None),
    ('redis-replaced', 'Redis: killed, an empty one started', REDIS, scenarios.server_replaced, {},
     100, None),
    ('redis-switchover', 'Redis: switchover', REDIS, scenarios.switched_over,
     {'interval_ms': 1}, 50, None),
    ('redis-switchover3', 'Redis: switchover, full load, 3 data', REDIS_THREE,
     scenarios.switched_over_loaded, {'interval_ms': 1}, 50, None),
    ('redis-lost-lan', 'Redis: host lost, timing lan', REDIS_LAN, scenarios.host_lost, {}, 700, None),
    ('redis-killed-sync', 'Redis: killed, sync, with WAIT 1', REDIS_SYNC, scenarios.server_killed,
     {'wait': 1}, 100, None),
    ('redis-lost-sync', 'Redis: host lost, sync, with WAIT 1', REDIS_SYNC, scenarios.host_lost,
     {'wait': 1}, 1600, 2200),
    # stall_timeout_ms is 5000
    ('hung', 'disk hung, sync', DISKS, scenarios.disk_hung, {}, 6000, 6000),
]
IDLE_S = 30
# in async too: the host lives, so nothing may be lost; or it was planned
LOSSLESS = {'killed-loaded', 'killed-behind', 'redis-switchover', 'redis-switchover3'}


def quantile(values, part):
    """The smallest value that at least that part of all does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def ms(seconds):
    return round(seconds * 1000, 1)


def summary(results):
    gaps = [r.gap_s for r in results]
    return {'runs': len(results), 'min_ms': ms(min(gaps)), 'median_ms': ms(quantile(gaps, 0.5)),
            'p95_ms': ms(quantile(gaps, 0.95)), 'max_ms': ms(max(gaps)),
            'acknowledged': sum(r.acknowledged for r in results),
            'lost': sum(r.lost for r in results),
            'confirmed': sum(r.confirmed for r in results),
            'lost_confirmed': sum(r.lost_confirmed for r in results),
            'both_ms': ms(max(r.overlap_s for r in results)),
            'gaps_ms': [ms(g) for g in gaps]}


HEAD = (f'{"fault":37}{"runs":>5}{"min":>8}{"median":>8}{"p95":>8}{"max":>8}'
        f'{"lost":>6}{"both":>6}  target')


def line(what, s, target, worst):
    is_met = s['median_ms'] <= target and (worst is None or s['max_ms'] <= worst)
    limit = f'<= {target}' + (f', worst <= {worst}' if worst else '')
    return (f'{what:37}{s["runs"]:5}{s["min_ms"]:8.0f}{s["median_ms"]:8.0f}{s["p95_ms"]:8.0f}'
            f'{s["max_ms"]:8.0f}{s["lost"]:6}{s["both_ms"]:6.0f}  {limit} ms: '
            f'{"met" if is_met else "missed"}')


class Holder:
    """One cluster at a time, of the kind that the row wants."""

    def __init__(self):
        self.current = None

    def get(self, kind):
        if not self.current or self.current.kind != kind:
            self.drop()
            self.current = clusters.Cluster(kind, 'release')
            self.current.start()
        return self.current

    def drop(self):
        if self.current:
            self.current.close()
            self.current = None


def measure(holder, row, times):
    name, _, kind, scenario, arguments, _, _ = row
    results = []
    failures = []
    while len(results) + len(failures) < times:
        try:
            results.append(scenario(holder.get(kind), **arguments))
        except (lab.LabError, subprocess.SubprocessError) as e:
            failures.append(str(e))
            print(f'{name}: run failed: {e}', file=sys.stderr)
            keep_logs(holder, name, len(failures))
            holder.drop()
    return results, failures


def keep_logs(holder, name, number):
    if not holder.current:
        return
    to = clusters.REPOSITORY / 'build' / 'bench-failed' / f'{name}-{number}'
    to.mkdir(parents=True, exist_ok=True)
    for host in holder.current.lab.hosts.values():
        for log in host.log_files():
            (to / f'{host.name}-{log.name}').write_bytes(log.read_bytes())


# --- idle cost --------------------------------------------------------------------------------------

def pss_kib(pid):
    with open(f'/proc/{pid}/smaps_rollup', encoding='utf-8') as f:
        return next(int(l.split()[1]) for l in f if l.startswith('Pss:'))


def cpu_s(pid):
    with open(f'/proc/{pid}/stat', encoding='utf-8') as f:
        fields = f.read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def idle(c):
    """Memory and CPU of the daemons while nothing happens."""
    pids = {}
    for host in [*c.db.values(), *c.witness.values()]:
        for name, process in host.processes.items():
            if name.startswith('hamgr') and process.is_running():
                pids[host.name, name] = process.pid
    let_pass(5)
    began, before = now(), {k: cpu_s(p) for k, p in pids.items()}
    let_pass(IDLE_S)
    passed = now() - began
    return {f'{host} {name}': {'pss_mib': round(pss_kib(pid) / 1024, 2),
                               'cpu_percent': round((cpu_s(pid) - before[host, name]) / passed * 100, 2)}
            for (host, name), pid in pids.items()}


def table(args):
    rows = [r for r in ROWS if not args.rows or r[0] in args.rows]
    unknown = set(args.rows) - {r[0] for r in ROWS} - {'idle'}
    if unknown:
        sys.exit(f"bench: no such row: {', '.join(sorted(unknown))}; --list shows them")
    holder = Holder()
    document = {'times': args.times, 'rows': {}, 'idle': {}}
    has_failed = False
    print('Write gap that a client saw, in ms. lost: acknowledged writes that are gone;')
    print('both: longest time that two primaries acknowledged, in ms.\n')
    print(HEAD)
    try:
        for row in rows:
            results, failures = measure(holder, row, args.times)
            has_failed = has_failed or bool(failures)
            if not results:
                print(f'{row[1]:37}  no run succeeded')
                continue
            s = summary(results)
            s['failures'] = failures
            document['rows'][row[0]] = s
            # of Redis only what WAIT confirmed is promised
            is_redis = row[2].services == ('cache',)
            is_lossless = (row[2].durability == 'sync' and not is_redis) or row[0] in LOSSLESS
            has_failed = (has_failed or s['both_ms'] > 0 or (is_lossless and s['lost'])
                          or s['lost_confirmed'])
            print(line(row[1], s, row[5], row[6]), flush=True)
        if not args.rows or 'idle' in args.rows:
            document['idle'] = idle(holder.get(DEFAULT))
            print('\nidle, on each host                  PSS MiB   CPU %')
            for who, cost in document['idle'].items():
                print(f'{who:34}{cost["pss_mib"]:9.2f}{cost["cpu_percent"]:8.2f}')
    finally:
        holder.drop()
    (clusters.REPOSITORY / 'build' / 'bench.json').write_text(json.dumps(document, indent=1) + '\n')
    return 1 if has_failed else 0


# --- soak -------------------------------------------------------------------------------------------

def soak(minutes):
    """All cores and the disk are busy with other things; nobody may lose the lease for that."""
    c = clusters.Cluster(Kind(on_disk=True), 'release')
    scratch = clusters.REPOSITORY / 'build' / f'soak-{c.lab.id}'
    try:
        primary = c.start()
        host = c.db[primary]
        epoch = c.epoch(host)
        moving = scenarios.probes.Probe(c.client, c.db.values())
        moving.wait_acks(50)
        for i in range(2 * os.cpu_count()):
            c.client.start(f'burn{i}', ['sh', '-c', 'while :; do :; done'], in_group=False)
        for i in range(2):
            c.client.start(f'disk{i}', [
                'sh', '-c', 'while :; do dd if=/dev/zero of="$0" bs=1M count=256 conv=fsync; done',
                f'{scratch}-{i}'], in_group=False)
        end = now() + minutes * 60
        while now() < end:
            let_pass(min(60.0, max(0.0, end - now())))
            at = c.epoch(host)
            print(f'{minutes - max(0.0, end - now()) / 60:6.1f} min: epoch {at}, longest gap '
                  f'{ms(scenarios.probes.write_gap(moving.acks(), 0))} ms, {moving.acks_n()} writes, '
                  f'load {os.getloadavg()[0]:.1f}', flush=True)
            if at != epoch:
                print('soak: a false failover')
                keep = Holder()
                keep.current = c
                keep_logs(keep, 'soak', 1)
                return 1
        moving.stop()
        print(f'soak: no false failover in {minutes:g} minutes; {moving.process.text().strip()}')
        return 0
    finally:
        c.close()
        for i in range(2):
            scratch.with_name(f'{scratch.name}-{i}').unlink(missing_ok=True)


def come_back(times, mib):
    """Copies of some size come back: by a rewind, by a clone, and though they are killed meanwhile."""
    cluster = clusters.Cluster(Kind(on_disk=True), 'release')
    cluster.start()
    rejoin.fill(cluster, mib)
    size = cluster.query("SELECT pg_size_pretty(pg_database_size('postgres'))")
    print(f'copy of {size}; seconds from the boot of its host until it streams')
    is_met = True
    for what, scenario, target in (('rewound', rejoin.rewound, 5), ('cloned', rejoin.not_rewound, None),
                                   ('killed thrice while cloned', rejoin.killed_meanwhile, None)):
        backs = [scenario(cluster).back_s for _ in range(times)]
        median = quantile(backs, 0.5)
        is_met = is_met and (target is None or median <= target)
        print(f'{what:28}runs {times}  min {min(backs):.1f}  median {median:.1f}  max {max(backs):.1f}'
              + (f'  target <= {target}: {"met" if median <= target else "missed"}' if target else ''),
              flush=True)
    cluster.close()
    return 0 if is_met else 1


# --- overload ---------------------------------------------------------------------------------------

def overload(minutes):
    """One processor for the primary's host, and 64 others that want it; nobody may take over."""
    c = clusters.Cluster(DISKS, 'release')
    try:
        c.start()
        result = scenarios.overloaded(c, seconds=minutes * 60, processes=64)
        print(f'overload: {result.epochs} changes of primary in {minutes:g} minutes; longest gap '
              f'{ms(result.gap_s)} ms, {result.acknowledged} writes, {result.lost} lost')
        return 0 if result.epochs == 0 and result.lost == 0 else 1
    finally:
        c.close()


def main():
    parser = argparse.ArgumentParser(description='What clients see of each fault.')
    parser.add_argument('--times', type=int, default=10)
    parser.add_argument('--mib', type=int, default=1024)
    parser.add_argument('--minutes', type=float)
    parser.add_argument('--list', action='store_true')
    parser.add_argument('rows', nargs='*')
    args = parser.parse_args()
    if args.list:
        for row in ROWS:
            print(f'{row[0]:18}{row[1]}')
        print(f'{"idle":18}memory and CPU of idle daemons')
        return 0
    lab.guard_exit()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    lab.sweep()
    if args.rows == ['rejoin']:
        return come_back(min(args.times, 3), args.mib)
    if args.rows == ['soak']:
        return soak(args.minutes or 30)
    if args.rows == ['overload']:
        return overload(args.minutes or 10)
    return table(args)


if __name__ == '__main__':
    sys.exit(main())
