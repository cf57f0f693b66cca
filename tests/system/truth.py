"""What must be true of a cluster after faults, asked of the databases, the processes and the logs.

Each check returns a list of sentences: what is wrong; nothing when all is well."""

import json
import pathlib
import re

from lab import LabError, now, wait_until

TABLE = 'hamgr_probe'


# --- one writer -------------------------------------------------------------------------------------

def holders_since(cluster, host, epoch, service=None):
    """Who became primary after that epoch, in order, as the record's history tells."""
    done = cluster.hamgr(host, 'history', '--json', '--service', service or cluster.kind.services[0],
                         timeout=10)
    changes = json.loads(done.stdout)['services'][0]['changes']
    return [c['holder'] for c in changes if c['epoch'] > epoch]


def two_writers(acks, holders):
    """For how long, in seconds, an earlier primary acknowledged after a later one's first
    acknowledgement. holders: who was primary, one after the other."""
    at, since, longest = 0, None, 0.0
    for ack in sorted(acks, key=lambda a: a.at):
        if ack.host == holders[at]:
            continue
        later = next((i for i in range(at + 1, len(holders)) if holders[i] == ack.host), None)
        if later is not None:
            at, since = later, ack.at
        else:
            longest = max(longest, ack.at - (since or 0.0))
    return longest


# --- nothing lost, everywhere the same --------------------------------------------------------------

class Ledger:
    """Every number that was ever acknowledged, as runs of numbers in a row."""

    def __init__(self):
        self.runs = []  # (client, first, last)
        self.n = 0

    def add(self, client, numbers):
        self.n += len(numbers)
        first = last = None
        for n in sorted(numbers):
            if last is not None and n == last + 1:
                last = n
                continue
            if last is not None:
                self.runs.append((client, first, last))
            first = last = n
        if last is not None:
            self.runs.append((client, first, last))

    def missing(self, server):
        """How many of them that copy does not have."""
        if not self.runs:
            return 0
        if server.kind == 'redis':
            return server.missing(self.runs)
        values = ','.join(f'({c},{a}::bigint,{b}::bigint)' for c, a, b in self.runs)
        answer = server.query(
            'SELECT coalesce(sum(b - a + 1 - n), 0) FROM (SELECT a, b, (SELECT count(*) '
            f'FROM {TABLE} t WHERE t.client = v.c AND t.n BETWEEN v.a AND v.b) AS n '
            f'FROM (VALUES {values}) AS v(c, a, b)) AS found', timeout=30)
        return int(answer)


def wait_replayed(cluster, primary, limit_s=20):
    """Until every standby shows what the primary has now."""
    if cluster.server[primary].kind == 'redis':
        at = cluster.server[primary].position()
        for name, server in cluster.server.items():
            wait_until(f'{name} has {at}', lambda s=server: s.has_reached(at), limit_s)
        return
    at = cluster.server[primary].query('SELECT pg_current_wal_insert_lsn()')
    for name, server in cluster.server.items():
        if name != primary:
            wait_until(f'{name} replayed {at}', lambda s=server: s.query(
                f"SELECT pg_last_wal_replay_lsn() >= '{at}'", check=False) == 't', limit_s)


def contents(server):
    """The same for copies with the same data; None: no answer."""
    return server.contents() if server.kind == 'redis' else server.query(CONTENTS, timeout=30, check=False)


CONTENTS = f'SELECT count(*), sum(n), sum(n * client), sum(hashint8(n) # client) FROM {TABLE}'


def same_everywhere(cluster, primary, limit_s=20):
    """No client writes any more: every copy shows the same rows."""
    def differing():
        want = contents(cluster.server[primary])
        return [n for n, s in cluster.server.items() if contents(s) != want]
    try:
        wait_until('the same rows everywhere', lambda: not differing(), limit_s, 0.2)
        return []
    except LabError:
        return [f'{n} shows other rows than {primary}' for n in differing()]


def _history(server, timeline):
    """Where each timeline before that one ended: [(timeline, position)]."""
    file = server.data / 'pg_wal' / f'{timeline:08X}.history'
    if timeline == 1 or not file.exists():
        return [] if timeline == 1 else None
    return [tuple(line.split()[:2]) for line in file.read_text().splitlines()
            if line.strip() and not line.startswith('#')]


def no_fork(cluster, primary):
    """Every copy's own timeline, by its control file, is on the history of the primary's."""
    if cluster.server[primary].kind == 'redis':
        ids = {n: s.info().get('master_replid') for n, s in cluster.server.items()}
        return [f'{n} has replication id {i}, {primary} {ids[primary]}' for n, i in ids.items()
                if i != ids[primary]]
    control = 'SELECT timeline_id FROM pg_control_checkpoint()'
    line = int(cluster.server[primary].query(
        "SELECT ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int"))
    mine = _history(cluster.server[primary], line)
    if mine is None:
        return [f'{primary} has no history of its timeline {line}']
    past = [int(t) for t, _ in mine] + [line]
    wrong = []
    for name, server in cluster.server.items():
        at = int(server.query(control))
        if at not in past:
            wrong.append(f'{name} is on timeline {at}, which is no part of the history of {line}')
        elif at == line and _history(server, line) not in (None, mine):
            wrong.append(f'{name} tells another history of timeline {line}')
        if name != primary:
            received = server.query('SELECT received_tli FROM pg_stat_wal_receiver', check=False)
            if received != str(line):
                wrong.append(f'{name} receives timeline {received or "none"}, not {line}')
    return wrong


# --- processes --------------------------------------------------------------------------------------

def state(pid):
    try:
        return pathlib.Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0]
    except OSError:
        return ''


def nobody_stands_still(cluster):
    """No process of a host is stopped any more."""
    return [f'{host.name}: process {pid} is stopped' for host in cluster.lab.hosts.values()
            for pid in host.group.pids() if state(pid) in ('T', 't')]


def daemons_run(cluster):
    """Whoever is not there now died of something that was no fault of the campaign."""
    wrong = []
    for host in [*cluster.db.values(), *cluster.witness.values()]:
        names = ('hamgr-witness',) if host.name in cluster.witness else ('hamgrd', 'hamgr-fence')
        for name in names:
            process = host.processes.get(name)
            if not process or not process.is_running():
                code = process.popen.returncode if process else None
                wrong.append(f'{host.name}: {name} ended by itself, exit code {code}')
    return wrong


def daemons(cluster):
    """Which daemons run: a set that changes when one ends and another takes its place."""
    return {(host.name, name): p.pid for host in cluster.lab.hosts.values()
            for name, p in host.processes.items() if name.startswith('hamgr') and p.is_running()}


# --- words ------------------------------------------------------------------------------------------

# Warnings that only tell what the campaign has just done.
PASSING = re.compile(r'stood still for|set aside: |: full in \d|server ended \d+ times in a row')


def warnings(cluster):
    """What hamgr worries about, as every member tells."""
    found = []
    for host in cluster.db.values():
        status = cluster.status(host)
        if not status:
            found.append(f'{host.name}: no status')
        found += [f'{host.name}: {w}' for w in status.get('warnings', []) if not PASSING.search(w)]
    return found


def nominal(cluster, limit_s=20):
    """hamgr status says that there is nothing to worry about."""
    try:
        wait_until('no warnings', lambda: not warnings(cluster), limit_s, 0.3)
        return []
    except LabError:
        return [f'still warned of: {w}' for w in warnings(cluster)]


SANITIZER = re.compile(r'AddressSanitizer|LeakSanitizer|runtime error:|HM_BUG|\bbug\b')
# What a server's log must never say; 9 is the campaign's or the fence's own signal.
BROKEN = re.compile(r'PANIC|was terminated by signal (?!9\b)|invalid page|could not read block|'
                    r'unexpected pageaddr .* in log segment .* corrupt')
ERROR = re.compile(r'(\S+ )?[a-z-]+: error ')
# An error of hamgrd, and the faults that explain it.
EXPLAINED = [
    (re.compile(r'server (died|killed)'), None),  # by the campaign or by the fence: its log says which
    (re.compile(r'vote refused'), {'full-state-disk'}),
    (re.compile(r'note-failed|unguarded'), {'full-state-disk'}),
]


class Logs:
    """All logs of a lab; what is new in them since the last look."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.read_to = {}
        self.fresh()

    def fresh(self):
        """[(host, file name, line)] that were written since."""
        lines = []
        for host in self.cluster.lab.hosts.values():
            for path in host.log_files():
                if path.suffix != '.log':
                    continue
                at = self.read_to.get(path, 0)
                with open(path, 'rb') as file:
                    if file.seek(0, 2) < at:  # begun anew
                        at = 0
                    file.seek(at)
                    text = file.read()
                whole = text[:text.rfind(b'\n') + 1]
                self.read_to[path] = at + len(whole)
                lines += [(host.name, path.name, l) for l in whole.decode(errors='replace').splitlines()]
        return lines

    def complaints(self, faults):
        """Errors that none of those faults explains, reports of sanitizers, corruption."""
        found = []
        for host, file, line in self.fresh():
            if file.startswith('hamgr'):
                if SANITIZER.search(line):
                    found.append(f'{host}/{file}: {line}')
                elif ERROR.match(line) and not any(
                        p.search(line) and (names is None or names & faults) for p, names in EXPLAINED):
                    found.append(f'{host}/{file}: {line}')
            elif BROKEN.search(line):
                found.append(f'{host}/{file}: {line}')
        return found[:20]


# --- together ---------------------------------------------------------------------------------------

def full_strength(cluster, limit_s):
    """Until the cluster is whole, and still is when its members have heard of it; returns the
    primary, and when that was."""
    end = now() + limit_s
    while True:
        primary = cluster.wait_healthy(max(0.1, end - now()))
        at = now()
        standing = nobody_stands_still(cluster)
        if not standing and cluster.healthy_primary() == primary:
            return primary, at
        if now() >= end:
            raise LabError(f'not whole within {limit_s:g} s: {"; ".join(standing) or "it did not last"}')
