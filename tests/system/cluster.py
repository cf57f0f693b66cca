"""A hamgr cluster in a lab: its configuration, its daemons, and what it looks like from outside.

What is true about the databases is asked of the databases themselves, not of hamgr."""

import dataclasses
import json
import os
import pathlib
import shutil
import signal

import lab
import postgres
import probe
import redis_server
from lab import SERVER_USER, wait_until

PROGRAMS = ('hamgrd', 'hamgr', 'hamgr-fence', 'hamgr-witness', 'probe-client', 'probe-redis', 'faults.so')
PORT = 7420
WITNESS_USER = 'nobody'
REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent

CONF = """
cluster = "{cluster}";
node = "{node}";
key_file = "{dir}/key";
members = (
{members}
);
services = (
    {services}
);
timing = "{timing}";
durability = "{durability}";
state_dir = "{state}";
run_dir = "{dir}/run";
lost_wal_dir = "{dir}/lost";
user = "{user}";
{also}
"""

POSTGRES = """{{ type = "postgres"; name = "pg"; data_dir = "{disk}/data"; port = {port};
      control = "pg_ctl"; socket_dir = "{disk}/sock"; bin_dir = "{bin_dir}"; {more}}}"""

WITNESS_CONF = """
listen = "{address}:{port}";
state_dir = "{dir}/state";
clusters = (
    {{ name = "{cluster}"; key_file = "{dir}/key"; }}
);
"""


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a cluster is like; two tests that want the same kind may share one."""
    timing: str = 'default'
    durability: str = 'async'
    dbs: int = 2
    witnesses: int = 1
    on_disk: bool = False  # files on this machine's disk instead of in memory
    with_faults: bool = False  # hosts have a wall clock of their own, and a state disk that can fail
    with_names: bool = False  # members are configured by names, which each host's /etc/hosts knows
    slot_max: str = ''  # slot_max_bytes
    also: str = ''  # further settings for all services
    pg: str = ''  # further lines of postgresql.conf
    own_disks: bool = False  # each database host has a disk for its data that can hang
    disk_mib: int = 8192
    with_votes: bool = False  # ... and hamgrd's votes lie on it, too
    services: tuple = ('pg',)  # and, or, 'cache': PostgreSQL and Redis
    redis_conf: str = ''  # more of redis.conf


class Cluster:
    """The daemons and databases of one lab."""

    def __init__(self, kind=Kind(), mode=None, lab_id=None):
        self.kind = kind
        built = REPOSITORY / 'build' / (mode or os.environ.get('MODE', 'debug'))
        self.lab = lab.Lab(lab_id, has_times=not lab_id, on_disk=kind.on_disk)
        # the servers' user need not be able to read the source tree
        self.bin = self.lab.dir / 'bin'
        self.bin.mkdir()
        for name in PROGRAMS:
            shutil.copy(built / name, self.bin)
        self.redis_bin = redis_server.PROGRAM.parent
        if redis_server.PROGRAM != redis_server.DEBIANS:
            self.redis_bin = self.lab.dir / 'redis'
            self.redis_bin.mkdir()
            shutil.copy(redis_server.PROGRAM, self.redis_bin)
        probe.BINARIES = {'pg': self.bin / 'probe-client', 'cache': self.bin / 'probe-redis'}
        self.name = f'lab-{self.lab.id}'
        self.key = os.urandom(32).hex()
        self.db = {}
        self.witness = {}
        self.copies = {name: {} for name in kind.services}  # of each service: host -> its server
        self.server = self.copies[kind.services[0]]
        for i in range(kind.dbs):
            self.db[f'db{i + 1}'] = self.lab.add_host(f'db{i + 1}', 11 + i)
        for i in range(kind.witnesses):
            self.witness[f'w{i + 1}'] = self.lab.add_host(f'w{i + 1}', 21 + i)
        self.client = self.lab.add_host('client', 31)
        for name, host in self.db.items():
            if kind.own_disks:
                self.lab.mount_disk(host, kind.disk_mib)
            self._add_copies(host)
        for host in [*self.db.values(), *self.witness.values()]:
            if kind.with_names:
                self.know_names(host)
            if kind.with_faults:
                host.preload_faults(self.bin / 'faults.so', host.dir / 'state')
            self._configure(host)
        for host in self.db.values():
            self.lab.mount_small(host.dir / 'state', 16384)

    def _add_copies(self, host):
        for service, servers in self.copies.items():
            servers[host.name] = (postgres.Server(host, self.kind.pg) if service == 'pg' else
                                  redis_server.Server(host, self.redis_bin, self.kind.redis_conf))

    # --- configuration ---------------------------------------------------------------------------

    def _services(self, host):
        pg = POSTGRES.format(disk=host.disk, port=postgres.PORT, bin_dir=postgres.bin_dir(),
                             more=f'slot_max_bytes = "{self.kind.slot_max}"; ' if self.kind.slot_max else '')
        return ',\n    '.join(pg if name == 'pg' else redis_server.Server.settings(host, self.redis_bin)
                              for name in self.kind.services)

    def _address(self, host):
        return f'{host.name}.shop.test' if self.kind.with_names else host.address

    def know_names(self, host, resolver=None):
        """With a resolver the names are not in /etc/hosts any more, and it is asked instead."""
        known = [] if resolver else [*self.db.values(), *self.witness.values()]
        host.write_etc('hosts', '127.0.0.1 localhost\n' +
                       ''.join(f'{h.address} {self._address(h)}\n' for h in known))
        host.write_etc('resolv.conf', f'nameserver {resolver}\n' if resolver else '')

    def _members(self):
        lines = [f'    {{ name = "{h.name}"; address = "{self._address(h)}:{PORT}"; role = "{role}"; }}'
                 for role, hosts in (('db', self.db), ('witness', self.witness))
                 for h in hosts.values()]
        return ',\n'.join(lines)

    def _state(self, host):
        """Where the host keeps its votes."""
        if not self.kind.with_votes or host.name in self.witness:
            return host.dir / 'state'
        state = host.disk / 'state'
        state.mkdir(mode=0o755, exist_ok=True)
        shutil.chown(state, SERVER_USER, SERVER_USER)
        return state

    def _configure(self, host, key=None):
        user = WITNESS_USER if host.name in self.witness else SERVER_USER
        for name in ('state', 'run'):
            (host.dir / name).mkdir(mode=0o755, exist_ok=True)
            shutil.chown(host.dir / name, user, lab.group_of(user))
        self.write_key(host, key or self.key)
        conf = WITNESS_CONF if host.name in self.witness else CONF
        self.conf(host).write_text(conf.format(
            cluster=self.name, node=host.name, dir=host.dir, state=self._state(host),
            members=self._members(), services=self._services(host), port=PORT, address=host.address,
            timing=self.kind.timing, durability=self.kind.durability, user=SERVER_USER,
            also=self.kind.also))

    def write_key(self, host, key):
        user = WITNESS_USER if host.name in self.witness else SERVER_USER
        path = host.dir / 'key'
        path.write_text(key + '\n')
        path.chmod(0o600)
        shutil.chown(path, user, lab.group_of(user))

    def conf(self, host):
        return host.dir / ('witness.conf' if host.name in self.witness else 'hamgr.conf')

    # --- daemons ---------------------------------------------------------------------------------

    def start_fence(self, host):
        return host.start('hamgr-fence', [self.bin / 'hamgr-fence', '-c', self.conf(host)])

    def start_hamgrd(self, host):
        return host.start('hamgrd', [self.bin / 'hamgrd', '-c', self.conf(host)], user=SERVER_USER)

    def start_witness(self, host):
        return host.start('hamgr-witness', [self.bin / 'hamgr-witness', '-c', self.conf(host)],
                          user=WITNESS_USER)

    def start_host(self, host):
        if host.name in self.witness:
            self.start_witness(host)
        else:
            self.start_fence(host)
            self.start_hamgrd(host)

    def start(self, limit_s=60):
        """db1 has a database that runs already, the others have nothing: adopted and cloned."""
        for servers in self.copies.values():
            servers['db1'].start_first()
        (self.db['db1'].dir / 'hamgr.started').touch()
        for host in [*self.witness.values(), *self.db.values()]:
            self.start_host(host)
        return self.wait_healthy(limit_s)

    def reboot(self, hosts):
        """The power goes and comes back: no process, no packet filter, an empty /run; files stay."""
        for host in hosts:
            host.kill_all()
        for host in hosts:
            self.boot(host)

    def boot(self, host):
        """Daemons start on a host whose processes are gone."""
        if host.name in self.db:
            host.flush_rules()
        for entry in (host.dir / 'run').iterdir():
            entry.unlink()
        self.start_host(host)

    def close(self):
        self.lab.close()

    # --- members that come and go ----------------------------------------------------------------

    def join(self, name, number, via=None, options=(), limit_s=60):
        """A new host becomes a database member by `hamgr join` alone. Returns what it printed."""
        host = self.lab.hosts.get(name) or self.lab.add_host(name, number)
        done = self.try_join(host, via, options)
        if done.returncode != 0:
            raise lab.LabError(f'hamgr join: exit code {done.returncode}: {done.stderr}')
        self.db[name] = host
        self._add_copies(host)
        self.start_host(host)
        self.wait_healthy(limit_s)
        return done

    def try_join(self, host, via=None, options=(), key=None):
        for directory in ('state', 'run'):  # what the package would make
            (host.dir / directory).mkdir(mode=0o755, exist_ok=True)
            shutil.chown(host.dir / directory, SERVER_USER, lab.group_of(SERVER_USER))
        given = host.dir / 'given.key'
        given.write_text((key or self.key) + '\n')
        given.chmod(0o600)
        via = via or self.db[self.primaries()[0]]
        # the hosts of a lab share one file system, so each has its directories elsewhere
        own = ''.join(f'{what}_dir = "{host.dir}/{name}"; ' for what, name in
                      (('state', 'state'), ('run', 'run'), ('socket', 'sock'), ('data', 'data')))
        return host.run([self.bin / 'hamgr', '-c', self.conf(host), 'join', f'{via.address}:{PORT}',
                         '--key', given, '--name', host.name, '--set', own, *options],
                        timeout=60, check=False)

    def add_witness(self, name, number, limit_s=60):
        """A new witness runs with the cluster's key, and is then made a member."""
        self.witness[name] = host = self.lab.add_host(name, number)
        self._configure(host)
        self.start_witness(host)
        done = self.hamgr(self.db[self.primary()], 'member', 'add', name,
                          f'{host.address}:{PORT}', '--role', 'witness', timeout=limit_s)
        if done.returncode != 0:
            raise lab.LabError(f'member add: exit code {done.returncode}: {done.stderr}')
        return host

    def remove(self, name, limit_s=60):
        """Takes a member out, then its host down."""
        host = self.db[self.primary()]
        done = self.hamgr(host, 'member', 'remove', name, timeout=limit_s)
        if done.returncode != 0:
            raise lab.LabError(f'member remove: exit code {done.returncode}: {done.stderr}')
        gone = self.db.pop(name)
        for servers in self.copies.values():
            servers.pop(name)
        return gone

    # --- what is true ----------------------------------------------------------------------------

    def primaries(self, service=None):
        return [n for n, s in self.servers(service).items() if not self.db[n].is_frozen and s.is_primary()]

    def servers(self, service=None):
        """Of that service, or of the first."""
        return self.copies[service] if service else self.server

    def streaming_to(self, primary, service=None):
        """Names of the members whose copy streams from the primary."""
        return self.servers(service)[primary].followers(self.db.values())

    def healthy_primary(self, service=None):
        """The name of the service's primary if all is as it should be with every service, else None."""
        found = {name: self._healthy_primary_of(name) for name in self.copies}
        return found[service or self.kind.services[0]] if all(found.values()) else None

    def _healthy_primary_of(self, service):
        servers = self.copies[service]
        primaries = self.primaries(service)
        if len(primaries) != 1:
            return None
        others = set(self.db) - set(primaries)
        if not others <= self.streaming_to(primaries[0], service):
            return None
        if not all(servers[n].is_standby() for n in others):
            return None
        # hamgr sees it the same way, at every member
        for host in self.db.values():
            status = self.service_status(host, service)
            if not status or status.get('holder') != primaries[0]:
                return None
            if not all(m['is_streaming'] and m['is_healthy'] and m['follows'] == primaries[0]
                       for m in status['members'] if m['name'] in others):
                return None
            if not all(m['is_up'] for m in status['members'] if m['name'] in self.db):
                return None
            if others and self.kind.durability != 'async' and not self._is_synchronous(status):
                return None
        return primaries[0]

    def _is_synchronous(self, service):
        """Promised, and not only wished: every commit waits for a standby."""
        return (service['durability'] == self.kind.durability and service['pairs'] and
                all(pair['need'] > 0 for pair in service['pairs']))

    def wait_healthy(self, limit_s=30, service=None):
        return wait_until('one primary, all others stream from it, and every hamgrd says so',
                          lambda: self.healthy_primary(service), limit_s, 0.1)

    def primary(self, service=None):
        """The primary of a cluster that is healthy."""
        return self.wait_healthy(service=service)

    def standby(self, service=None):
        primary = self.primary(service)
        return next(n for n in self.db if n != primary)

    def query(self, sql):
        """Of the primary, wherever it is."""
        return self.server[self.primary()].query(sql)

    # --- hamgr's own word ------------------------------------------------------------------------

    def hamgr(self, host, *args, user=SERVER_USER, timeout=60, check=False):
        """Runs the command line on that host; returns the finished process."""
        return host.run([self.bin / 'hamgr', '-c', self.conf(host), *args], user=user,
                        timeout=timeout, check=check)

    def status(self, host, limit_s=5):
        done = self.hamgr(host, 'status', '--json', timeout=limit_s)
        try:
            return json.loads(done.stdout)
        except ValueError:
            return {}

    def service_status(self, host, service=None):
        services = self.status(host).get('services') or []
        return next((s for s in services if s['name'] == (service or self.kind.services[0])), None)

    def epoch(self, host=None, service=None):
        return self.service_status(host or self.db[self.primary(service)], service)['epoch']

    def switchover(self, to=None, limit_s=60, service=None):
        host = self.db[self.primary(service)]
        args = ['switchover', '--service', service or self.kind.services[0]] + (['--to', to] if to else [])
        return self.hamgr(host, *args, timeout=limit_s)

    # --- after a test ----------------------------------------------------------------------------

    def mend(self, limit_s=45):
        """Ends every fault that a test may have left, and waits for the cluster."""
        self.lab.heal()
        for host in self.db.values() if self.kind.own_disks else ():
            self.lab.let_disk_go(host)
        for host in self.lab.hosts.values():
            if host.is_frozen:
                host.thaw()
            host.link(True)
            for name, process in list(host.processes.items()):
                if name.startswith('probe') and process.is_running():
                    process.end()
                elif not name.startswith('probe') and process.is_running():
                    process.send(signal.SIGCONT)
        for host in self.witness.values():
            if not self._runs(host, 'hamgr-witness'):
                self.start_witness(host)
        for host in self.db.values():
            if not self._runs(host, 'hamgr-fence'):
                self.start_fence(host)
            if not self._runs(host, 'hamgrd'):
                self.start_hamgrd(host)
        return self.wait_healthy(limit_s)

    @staticmethod
    def _runs(host, name):
        return name in host.processes and host.processes[name].is_running()

    def log_text(self, host, name='hamgrd'):
        log = host.log_dir / f'{name}.log'
        return log.read_text(errors='replace') if log.exists() else ''
