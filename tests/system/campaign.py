"""A campaign of random faults against the real thing.

    campaign.py [--seed N] [--kind two|three|two-lan|three-lan|redis-two|redis-three] [--faults 200]
        [--from 1]
    campaign.py --seed N --kind two --play 17,40-42     that part of the list again
    campaign.py --seed N --kind two --list              print the list, touch nothing
    campaign.py summary [FILE...]                       tables of all that was run

The list of faults depends on the seed and the kind alone. Each step begins with a whole cluster under
load, ends every fault that it began, waits for full strength, and then looks at everything that was ever
acknowledged, on every copy. Results go line by line to build/campaign/KIND-SEED.jsonl, so that a
campaign may be run in pieces; the logs of a step that went wrong are kept beside it."""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys

import cluster as clusters
import faults
import lab
import probe as probes
import truth
from bench import ms, quantile
from cluster import Kind
from lab import LabError, now

KINDS = {
    'two': Kind(durability='sync', own_disks=True),
    'three': Kind(durability='sync', dbs=3, witnesses=0, own_disks=True),
    'two-lan': Kind(durability='sync', timing='lan', own_disks=True),
    'three-lan': Kind(durability='sync', timing='lan', dbs=3, witnesses=0, own_disks=True),
    # each write is confirmed by WAIT 1; only what was confirmed may not be lost
    'redis-two': Kind(services=('cache',), durability='sync', own_disks=True),
    'redis-three': Kind(services=('cache',), durability='sync', dbs=3, witnesses=0, own_disks=True),
}
RESULTS = clusters.REPOSITORY / 'build' / 'campaign'
STRENGTH_LIMIT_S = 90  # for the cluster to be whole again; whoever needs longer has failed
CLIENT_NICE = -15      # an acknowledgement is noted when it comes, on a busy machine, too


def started(kind, mode=None):
    """A new cluster of that kind; under load, it is whole within a minute."""
    c = clusters.Cluster(kind, mode)
    c.start(120)
    return c


class Clients:
    """One that goes where the primary is, and two that never leave the primary they began with: one
    on its own host, one elsewhere."""

    def __init__(self, cluster, primary):
        host = cluster.db[primary]
        self.is_redis = cluster.server[primary].kind == 'redis'
        what = {'service': 'cache', 'wait': 1} if self.is_redis else {}
        self.moving = probes.Probe(cluster.client, cluster.db.values(), **what)
        self.all = [self.moving]
        self.all += [probes.Probe(h, [host], patience_ms=0, is_pinned=True, **what)
                     for h in (host, cluster.client)]
        for p in self.all:
            os.setpriority(os.PRIO_PROCESS, p.process.pid, CLIENT_NICE)
        for p in self.all:
            p.wait_acks(20, 30)

    def stop(self):
        for p in self.all:
            p.stop()

    def acks(self):
        return [a for p in self.all for a in p.acks()]

    def promised(self, probe):
        """What of that client's writes may not be lost."""
        return probe.confirmed() if self.is_redis else probe.acks()


class Campaign:
    """One cluster, and what was acknowledged since it was made."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.ledger = truth.Ledger()
        self.logs = truth.Logs(cluster)

    def play(self, step):
        """Carries one step out; returns the line of results. Only a broken lab raises."""
        c = self.cluster
        result = {'number': step.number, 'text': step.text(), 'name': step.names(), 'problems': []}
        primary, _ = truth.full_strength(c, STRENGTH_LIMIT_S)
        epoch = c.epoch(c.db[primary])
        # A database that does something: else each change of primary leaves a segment for ever.
        if c.server[primary].kind == 'postgres':
            c.server[primary].query('SELECT pg_switch_wal()')
        clients = Clients(c, primary)
        try:
            began, ended = faults.strike(c, step, primary)
            new, whole = truth.full_strength(c, STRENGTH_LIMIT_S)
            clients.moving.wait_acks(20, 30)
        finally:
            clients.stop()
        holders = [primary] + truth.holders_since(c, c.db[new], epoch)
        acks = clients.acks()
        result |= {'old': primary, 'new': new, 'epochs': len(holders) - 1,
                   'gap_ms': ms(probes.write_gap(clients.moving.acks(), began)),
                   'held_ms': ms(ended - began), 'whole_ms': ms(max(0.0, whole - ended)),
                   'both_ms': ms(truth.two_writers(acks, holders)), 'acknowledged': len(acks),
                   'promised': sum(len(clients.promised(p)) for p in clients.all)}
        if result['both_ms']:
            result['problems'].append(f"two writers for {result['both_ms']} ms: {holders}")
        self._check(step, new, clients, result)
        return result

    def _check(self, step, new, clients, result):
        c = self.cluster
        for p in clients.all:
            self.ledger.add(p.id, [a.number for a in clients.promised(p)])
        truth.wait_replayed(c, new)
        result['lost'] = 0
        for name, server in c.server.items():
            if missing := self.ledger.missing(server):
                result['lost'] = max(result['lost'], missing)
                result['problems'].append(f'{missing} acknowledged rows are not on {name}')
        wrong = truth.same_everywhere(c, new)
        wrong += truth.no_fork(c, new)
        wrong += truth.daemons_run(c)
        wrong += truth.nominal(c)
        wrong += self.logs.complaints({f.what for f in step.faults})
        if c.order_rc is not None:
            result['order'] = c.order_rc
            if len(step.faults) == 1 and c.order_rc != 0:
                wrong.append(f'nothing was in the way, and the order ended with {c.order_rc}')
        result['problems'] += wrong


def failed(step, error):
    """The line of a step after which the cluster did not become whole."""
    return {'number': step.number, 'text': step.text(), 'name': step.names(),
            'problems': [f'{type(error).__name__}: {error}'], 'is_stuck': True}


def keep(cluster, directory):
    """The logs, what every member says, and what its data directory holds."""
    for host in cluster.lab.hosts.values():
        to = directory / host.name
        to.mkdir(parents=True, exist_ok=True)
        for log in host.log_files():
            (to / log.name).write_bytes(log.read_bytes())
    for host in cluster.db.values():
        for args in (('status',), ('status', '--json'), ('history',)):
            try:
                done = cluster.hamgr(host, *args, timeout=10)
                (directory / host.name / ('-'.join(args) + '.txt')).write_text(done.stdout + done.stderr)
            except subprocess.TimeoutExpired:
                pass
        ps = '\n'.join(f'{p} {truth.state(p)} ' + _cmdline(p) for p in host.group.pids())
        (directory / host.name / 'processes.txt').write_text(ps + '\n')
    # what the clients wait for
    clients = [f'{p} {truth.state(p)} {_proc(p, "wchan")} ' + _cmdline(p)
               for p in cluster.lab.outside.pids()]
    (directory / 'outside.txt').write_text('\n'.join([*clients, _proc('loadavg'), '']))


def _proc(*names):
    try:
        return pathlib.Path('/proc', *map(str, names)).read_text(errors='replace').strip()
    except OSError:
        return ''


def _cmdline(pid):
    return _proc(pid, 'cmdline').replace('\0', ' ')


def shown(result):
    """One line for people."""
    line = f"{result['number']:4}  {result['text']:70.70}"
    if 'gap_ms' in result:
        line += (f"  {result['old']} -> {result['new']}  gap {result['gap_ms']:7.0f}  whole "
                 f"{result['whole_ms']:6.0f}  lost {result['lost']}  both {result['both_ms']:.0f}")
    return '\n'.join([line] + [f'      ! {p}' for p in result['problems']])


def go(kind_name, seed, numbers, mode, report, keeps_all=False):
    """Plays those steps; a cluster that is stuck is replaced by a new one. Returns the results."""
    kind = KINDS[kind_name]
    results, campaign = [], None
    try:
        for step in faults.draw(seed, numbers, kind):
            if not campaign:
                campaign = Campaign(started(kind, mode))
            try:
                result = campaign.play(step)
            except (LabError, subprocess.SubprocessError, OSError, KeyError, TypeError) as e:
                result = failed(step, e)
            results.append(result)
            report(result)
            if result['problems'] or keeps_all:
                keep(campaign.cluster, RESULTS / f'{kind_name}-{seed}-{step.number}')
            if result.get('is_stuck'):
                campaign.cluster.close()
                campaign = None
    finally:
        if campaign:
            campaign.cluster.close()
    return results


# --- summary ----------------------------------------------------------------------------------------

def read_results(paths):
    """The newest result of each step."""
    newest = {}
    for path in paths:
        for line in open(path, encoding='utf-8'):
            result = json.loads(line)
            newest[path.name, result['number']] = result
    return list(newest.values())


GROUPS = {  # faults that are shown together
    'server killed or ended': ('kill-postmaster', 'kill-server', 'kill-backend', 'end-server'),
    'daemons killed or ended': ('kill-hamgrd', 'end-hamgrd', 'kill-fence', 'kill-daemons'),
    'daemons or postmaster stopped': ('stop-hamgrd', 'stop-fence', 'stop-daemons', 'stop-postmaster'),
    'host frozen': ('freeze',),
    'host without power': ('power-off',),
    'all hosts without power': ('power-all',),
    'cut off': ('cut-both', 'cut-out', 'cut-in', 'cut-members'),
    'two databases cut off from each other': ('cut-pair',),
    'nobody hears anybody': ('blip',),
    'a third of the packets lost': ('lossy',),
    'disk hangs': ('hang-disk',),
    'voter disk full': ('full-state-disk',),
    'disk replaced': ('new-disk',),
    'switchover': ('switchover',),
}


def group_of(result):
    """The line of the summary that a step belongs to."""
    if ' + ' in result['name']:
        return 'two faults'
    what, whom = result['name'].split(' ')
    group = next(g for g, names in GROUPS.items() if what in names)
    return group if what in ('power-all', 'blip', 'switchover', 'cut-pair') else f'{group}, {whom}'


def _row(name, results):
    ended = [r for r in results if 'gap_ms' in r]
    cells = [name, len(results)]
    for field in ('gap_ms', 'whole_ms'):
        values = [r[field] for r in ended]
        cells += [round(quantile(values, 0.5)), round(max(values))] if values else ['-', '-']
    cells += [sum(r['lost'] for r in ended), round(max((r['both_ms'] for r in ended), default=0)),
              sum(bool(r['problems']) for r in results)]
    return '| ' + ' | '.join(map(str, cells)) + ' |'


def summary(results):
    """A table in the form of docs/campaign.md: faults by kind, all of them in the last line."""
    groups = {}
    for r in results:
        groups.setdefault(group_of(r), []).append(r)
    lines = ['| fault | times | gap median | max | whole median | max | lost | both | wrong |',
             '|---|---:|---:|---:|---:|---:|---:|---:|---:|']
    lines += [_row(name, groups[name]) for name in sorted(groups)]
    acknowledged = sum(r.get('acknowledged', 0) for r in results)
    takeovers = sum(r.get('epochs', 0) for r in results)
    lines += [_row('**all**', results), '', f'{acknowledged} acknowledged writes, {takeovers} changes of '
              f'primary, {sum(r.get("held_ms", 0) for r in results) / 60000:.0f} minutes of faults.']
    return '\n'.join(lines)


# --- command line -----------------------------------------------------------------------------------

def numbers_of(text):
    """'3,7-9' -> [3, 7, 8, 9]"""
    numbers = []
    for part in text.split(','):
        first, _, last = part.partition('-')
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def main():
    parser = argparse.ArgumentParser(description='Random faults against a real cluster.')
    parser.add_argument('what', nargs='*', metavar='summary [FILE...]')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--kind', choices=KINDS, default='two')
    parser.add_argument('--faults', type=int, default=200, help='how many steps')
    parser.add_argument('--from', type=int, default=1, dest='first', help='number of the first')
    parser.add_argument('--play', help='these numbers of the list, such as 17,40-42')
    parser.add_argument('--keep', action='store_true', help='keep all logs, not only of what went wrong')
    parser.add_argument('--list', action='store_true', help='print the list only')
    args = parser.parse_args()
    if args.what:
        if args.what[0] != 'summary':
            parser.error(f"'{args.what[0]}' is unknown, only 'summary' is not")
        paths = [pathlib.Path(p) for p in args.what[1:]] or sorted(RESULTS.glob('*.jsonl'))
        for path in paths:
            print(f'\n{path.stem}\n\n{summary(read_results([path]))}')
        return 0
    numbers = numbers_of(args.play) if args.play else range(args.first, args.first + args.faults)
    if args.list:
        for step in faults.draw(args.seed, numbers, KINDS[args.kind]):
            print(f'{step.number:4}  {step.text()}')
        return 0
    # hamgrd leaves a server behind that it started and still watches: no leak
    os.environ.setdefault('ASAN_OPTIONS', 'detect_leaks=0')
    lab.guard_exit()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    lab.sweep()
    RESULTS.mkdir(parents=True, exist_ok=True)
    file = RESULTS / f'{args.kind}-{args.seed}.jsonl'
    began = now()

    def report(result):
        with open(file, 'a', encoding='utf-8') as f:
            f.write(json.dumps(result) + '\n')
        print(shown(result), flush=True)

    results = go(args.kind, args.seed, numbers, os.environ.get('MODE', 'release'), report,
                 args.keep)
    wrong = [r for r in results if r['problems']]
    print(f'\n{summary(results)}\n\ncampaign: {len(results)} steps of {args.kind}, seed {args.seed}, in '
          f'{(now() - began) / 60:.0f} minutes: {len(wrong)} went wrong')
    for r in wrong:
        print(f"  make campaign KIND={args.kind} SEED={args.seed} PLAY={r['number']}   # {r['text']}")
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
