"""Redis on the hosts of a lab, as an administrator would set it up: what hamgr then finds.

The server is asked over its unix socket, which no gate closes, with the few words of its protocol that
tests need."""

import os
import pathlib
import shutil
import signal
import socket

import lab

PORT = 6379
NAME = 'cache'
# Another one, such as valkey-server, is named in the environment; then a lab has a directory with only
# that, so that hamgr must find it.
DEBIANS = pathlib.Path('/usr/bin/redis-server')
PROGRAM = pathlib.Path(os.environ.get('REDIS_SERVER') or DEBIANS)

CONF = """
port {port}
bind 0.0.0.0
protected-mode no
unixsocket {dir}/redis.sock
unixsocketperm 777
dir {dir}
daemonize no
save ""
appendonly no
repl-backlog-size 64mb
repl-diskless-sync-delay 0
loglevel notice
{more}
include {run}/redis-{name}.conf
"""


class RedisError(Exception):
    """The server answered with an error."""


class Connection:
    """An open connection: commands out, replies in."""

    def __init__(self, path, timeout):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        try:
            self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise
        self.stream = self.socket.makefile('rb')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()
        self.socket.close()

    def ask(self, *words):
        words = [str(w).encode() for w in words]
        self.socket.sendall(b'*%d\r\n' % len(words) + b''.join(b'$%d\r\n%s\r\n' % (len(w), w) for w in words))
        return self._reply()

    def _reply(self):
        line = self.stream.readline()
        if not line.endswith(b'\r\n'):
            raise OSError('the server closed the connection')
        kind, text = line[:1], line[1:-2].decode(errors='replace')
        if kind == b'-':
            raise RedisError(text)
        if kind == b':':
            return int(text)
        if kind == b'$':
            return None if text == '-1' else self.stream.read(int(text) + 2)[:-2].decode(errors='replace')
        if kind == b'*':
            return [self._reply() for _ in range(int(text))]
        return text


class Server:
    """The place of one copy on one host: its directory and how to ask it."""

    kind = 'redis'

    def __init__(self, host, bin_dir, more=''):
        self.host = host
        self.bin_dir = bin_dir
        self.dir = host.disk / 'redis'
        self.conf = host.dir / 'redis.conf'
        self.dir.mkdir(mode=0o700, exist_ok=True)
        shutil.chown(self.dir, lab.SERVER_USER, lab.SERVER_USER)
        self.conf.write_text(CONF.format(port=PORT, dir=self.dir, run=host.dir / 'run', name=NAME, more=more))
        self.socket = self.dir / 'redis.sock'

    @staticmethod
    def settings(host, bin_dir):
        """The entry of hamgr.conf."""
        return (f'{{ type = "redis"; name = "{NAME}"; data_dir = "{host.disk}/redis"; port = {PORT};\n'
                f'      bin_dir = "{bin_dir}"; config_file = "{host.dir}/redis.conf";\n'
                f'      socket = "{host.disk}/redis/redis.sock"; }}')

    def start(self, name='redis', conf=None):
        """By hand, past hamgr, in the foreground of the lab."""
        argv = ['env', '-C', '/', self.bin_dir / PROGRAM.name, conf or self.conf]
        return self.host.start(name, argv, user=lab.SERVER_USER)

    def start_first(self):
        """As it ran before there was hamgr: a master."""
        plain = self.host.dir / 'redis-before.conf'
        plain.write_text(''.join(l for l in self.conf.read_text().splitlines(True)
                                 if not l.startswith('include ')))
        self.start(conf=plain)
        lab.wait_until(f'Redis answers on {self.host.name}', self.is_primary, 10)

    def ask(self, *words, timeout=10):
        with Connection(self.socket, timeout) as c:
            return c.ask(*words)

    def try_ask(self, *words, timeout=2):
        """None instead of an error, or of no answer."""
        try:
            return self.ask(*words, timeout=timeout)
        except (OSError, RedisError):
            return None

    def info(self, timeout=2):
        """INFO as a dictionary; empty: no answer."""
        text = self.try_ask('INFO', timeout=timeout) or ''
        return dict(line.split(':', 1) for line in text.split('\r\n') if ':' in line)

    def role(self):
        answer = self.try_ask('ROLE')
        return answer[0] if answer else ''

    def is_primary(self):
        return self.role() == 'master'

    def is_standby(self):
        return self.role() == 'slave'

    def followers(self, hosts):
        """Names of the hosts whose copy has all data from here and streams."""
        info = self.info()
        found = set()
        for key, value in info.items():
            if key.startswith('slave') and key[5:].isdigit():
                fields = dict(f.split('=', 1) for f in value.split(','))
                found |= {h.name for h in hosts if h.address == fields['ip'] and fields['state'] == 'online'}
        return found

    def main_pid(self):
        """By what /proc says, so that a server that hangs has one, too."""
        for path in pathlib.Path('/proc').glob('[0-9]*'):
            try:
                if (path / 'comm').read_text().strip() == PROGRAM.name and \
                        os.readlink(path / 'cwd') == str(self.dir) and \
                        os.path.samefile(f'/proc/{path.name}/ns/net', f'/run/netns/{self.host.netns}'):
                    if (path / 'stat').read_text().rsplit(')', 1)[1].split()[0] not in 'ZX':
                        return int(path.name)
            except OSError:
                continue
        return 0

    def kill(self):
        os.kill(self.main_pid(), signal.SIGKILL)

    # --- what the clients wrote --------------------------------------------------------------------

    def numbers(self, client):
        return {int(n) for n in self.ask('SMEMBERS', f'hamgr_probe:{client}', timeout=30)}

    def missing(self, runs):
        """How many of those numbers it does not have: [(client, first, last)]."""
        lost = 0
        for client in {c for c, _, _ in runs}:
            there = self.numbers(client)
            lost += sum(n not in there for c, a, b in runs if c == client for n in range(a, b + 1))
        return lost

    def contents(self):
        """The same for copies with the same data."""
        keys = sorted(self.ask('KEYS', '*', timeout=30))
        return [(k, self.ask('SCARD', k), sum(map(int, self.ask('SMEMBERS', k, timeout=30)))) for k in keys]

    def position(self):
        """Of its log: a primary's is beyond every acknowledged write."""
        return int(self.info()['master_repl_offset'])

    def has_reached(self, position):
        info = self.info()
        return int(info.get('slave_repl_offset', info.get('master_repl_offset', -1))) >= position
