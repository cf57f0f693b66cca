"""PostgreSQL on the hosts of a lab, as an administrator would set it up: what hamgr then finds."""

import pathlib
import shutil
import subprocess

import lab

PORT = 5432


def bin_dir():
    """The newest PostgreSQL that Debian installed."""
    found = sorted(pathlib.Path('/usr/lib/postgresql').glob('*/bin/postgres'),
                   key=lambda p: int(p.parts[-3]))
    if not found:
        raise lab.LabError("PostgreSQL's server is not installed: run 'make deps' as root")
    return found[-1].parent


# A clone gets these settings, too, so that they name no host's own directory: the server's working
# directory is the data directory.
SETTINGS = f"""
listen_addresses = '*'
port = {PORT}
unix_socket_directories = '../sock'
wal_log_hints = on
hot_standby = on
max_wal_senders = 10
max_replication_slots = 10
wal_keep_size = 256MB
max_wal_size = 256MB
min_wal_size = 64MB
shared_buffers = 32MB
max_connections = 60
fsync = on
dynamic_shared_memory_type = mmap
log_line_prefix = '%m [%p] %b %a '
log_min_messages = info
"""

ACCESS = f"""
local all all trust
host all all {lab.NET}.0/24 trust
host replication all {lab.NET}.0/24 trust
host all all 127.0.0.1/32 trust
host replication all 127.0.0.1/32 trust
"""


class Server:
    """The place of one copy on one host: its directories and how to ask it."""

    kind = 'postgres'

    def __init__(self, host, more=''):
        self.host = host
        self.more = more  # lines of postgresql.conf
        self.data = host.disk / 'data'
        self.sockets = host.disk / 'sock'
        for path in (self.data, self.sockets):
            path.mkdir(mode=0o700, exist_ok=True)
            shutil.chown(path, lab.SERVER_USER, lab.SERVER_USER)

    def _program(self, name, *args, timeout=60, check=True, in_group=True):
        return self.host.run([bin_dir() / name, *args], user=lab.SERVER_USER, timeout=timeout,
                             check=check, in_group=in_group)

    def init(self):
        """A new, empty database cluster."""
        self._program('initdb', '-D', self.data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8',
                      '--locale=C', '--no-sync', in_group=False)
        with open(self.data / 'postgresql.conf', 'a', encoding='utf-8') as conf:
            conf.write(SETTINGS + self.more)
        (self.data / 'pg_hba.conf').write_text(ACCESS)

    @staticmethod
    def bench_program():
        return bin_dir() / 'pgbench'

    def copy_of(self, host):
        """A standby of the server on that host, without hamgr."""
        self._program('pg_basebackup', '-D', self.data, '-h', host.address, '-U', 'postgres',
                      '-R', '-X', 'stream', '-c', 'fast')

    def start(self, wait=True):
        self._program('pg_ctl', '-D', self.data, '-w' if wait else '-W', '-t', '30', '-s', '-l',
                      self.host.log_dir / 'postgres.log', 'start')

    def start_first(self):
        """A new server that runs before there is hamgr, with the table of the measuring clients."""
        self.init()
        self.start()
        self.query('CREATE TABLE hamgr_probe (client int, n bigint, PRIMARY KEY (client, n))')

    def stop(self, mode='fast'):
        self._program('pg_ctl', '-D', self.data, '-w', '-t', '30', '-s', '-m', mode, 'stop')

    def psql(self, database='postgres'):
        """The command line of psql; over the unix socket, which no gate closes."""
        return [bin_dir() / 'psql', '-XAtq', '-h', self.sockets, '-p', PORT, '-U', 'postgres',
                '-d', database, '-v', 'ON_ERROR_STOP=1']

    def stop_autovacuum(self):
        """It commits transactions of its own at any time; where they are counted, nobody else may."""
        self.query('ALTER SYSTEM SET autovacuum = off')
        self.query('SELECT pg_reload_conf()')

    def query(self, sql, timeout=10, check=True, database='postgres'):
        """The rows, unaligned; with check=False '' instead of an error, or of no answer."""
        try:
            return self.host.run([*self.psql(database), '-c', sql], user=lab.SERVER_USER,
                                 timeout=timeout, check=check).stdout.strip()
        except subprocess.TimeoutExpired:
            if check:
                raise
            return ''

    def is_primary(self):
        return self.query('SELECT pg_is_in_recovery()', timeout=2, check=False) == 'f'

    def is_standby(self):
        return self.query('SELECT pg_is_in_recovery()', timeout=2, check=False) == 't'

    def followers(self, _hosts):
        """Names of the hosts whose copy streams from here."""
        names = self.query(
            "SELECT application_name FROM pg_stat_replication WHERE state = 'streaming'", check=False)
        return {n.removeprefix('hamgr_') for n in names.split()}

    def numbers(self, client):
        """What a measuring client wrote."""
        return {int(n) for n in self.query(f'SELECT n FROM hamgr_probe WHERE client = {client}').split()}

    def main_pid(self):
        return self.postmaster_pid()

    def postmaster_pid(self):
        try:
            return int((self.data / 'postmaster.pid').read_text().splitlines()[0])
        except (OSError, ValueError, IndexError):
            return 0
