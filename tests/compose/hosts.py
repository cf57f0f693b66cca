"""Hosts that boot a real systemd: containers of docker-compose.test.yml, of a docker of our own.

The daemon runs in a network namespace of its own, with directories of its own: neither another docker
of this machine nor its packet filter is touched. What costs minutes to make, a root file system of
Debian with PostgreSQL, stays in its cache; everything else is removed by close()."""

import hashlib
import json
import os
import pathlib
import secrets
import shutil
import signal
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tests/system'))
import lab  # noqa: E402
from lab import LabError, run, wait_until  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get('HAMGR_TEST_CACHE', '/var/cache/hamgr-compose'))
DATA = '/var/lib/postgresql/15/main'
UNIT = 'postgresql@15-main'


class Docker:
    """A docker daemon, from close to close."""

    def __init__(self):
        self.id = secrets.token_hex(2)
        self.netns = f'{lab.PREFIX}compose-{self.id}'
        self.dir = pathlib.Path(f'/run/{lab.PREFIX}compose-{self.id}')
        self.project = f'hamgr{self.id}'
        self.daemon = None
        self.env = {**os.environ, 'DOCKER_HOST': f'unix://{self.dir}/docker.sock',
                    'DOCKER_BUILDKIT': '0', 'COMPOSE_PROJECT_NAME': self.project}

    def start(self):
        CACHE.mkdir(parents=True, exist_ok=True)
        self.dir.mkdir(mode=0o700)
        run(['ip', 'netns', 'add', self.netns])
        run(['ip', '-n', self.netns, 'link', 'set', 'lo', 'up'])
        log = self.dir / 'dockerd.log'
        with open(log, 'wb') as file:
            popen = subprocess.Popen(
                ['nsenter', f'--net=/run/netns/{self.netns}', 'dockerd', '--bridge=none',
                 f'--host=unix://{self.dir}/docker.sock', f'--data-root={CACHE}/docker',
                 f'--exec-root={self.dir}/exec', f'--pidfile={self.dir}/docker.pid'],
                stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                start_new_session=True)
        self.daemon = lab.Process(popen, 'dockerd', log, False)

        def is_up():
            if not self.daemon.is_running():
                raise LabError(f'dockerd ended: {self.daemon.text()[-800:]}')
            return self('info', check=False).returncode == 0
        wait_until('dockerd answers', is_up, 60, 0.3)

    def __call__(self, *args, check=True, timeout=120):
        return run(['docker', *args], timeout=timeout, check=check, env=self.env)

    def compose(self, *args, image='none', timeout=300, check=True):
        return run(['docker-compose', '-f', ROOT / 'docker-compose.test.yml', *args],
                   timeout=timeout, check=check, env={**self.env, 'HAMGR_TEST_IMAGE': image})

    def base_image(self):
        """Its name; made where it is missing, or made by another image.sh."""
        version = hashlib.sha256((HERE / 'image.sh').read_bytes()).hexdigest()[:12]
        name = f'hamgr-test-base:{version}'
        if self('image', 'inspect', name, check=False).returncode != 0:
            root = CACHE / 'root'
            print('compose: makes the base image, once, which takes minutes', flush=True)
            run([HERE / 'image.sh', root], timeout=1800)
            run(['sh', '-c', f'tar -C {root} -c . | docker import - {name}'], timeout=300,
                env=self.env)
            shutil.rmtree(root)
        return name

    def image(self, mode):
        """The base with this tree's hamgr on it; returns its name."""
        base = self.base_image()
        context = self.dir / 'context'
        run(['make', '-s', '-C', ROOT, 'install', f'MODE={mode}', f'DESTDIR={context}/root'],
            timeout=900)
        name = f'hamgr-test-host:{self.id}'
        self('build', '--build-arg', f'BASE={base}', '-t', name, '-f', HERE / 'Dockerfile', context,
             timeout=300)
        shutil.rmtree(context)
        return name

    def close(self, image):
        try:
            if image:
                self.compose('down', '-v', '-t', '2', image=image, check=False)
                self('image', 'rm', '-f', image, check=False)
        finally:
            if self.daemon:
                self.daemon.end(signal.SIGTERM, 60)
            run(['ip', 'netns', 'del', self.netns], check=False)
            shutil.rmtree(self.dir, ignore_errors=True)


class Client:
    """Where the measuring clients run: this machine, on the hosts' network."""

    def __init__(self, docker):
        self.docker = docker
        self.log_dir = docker.dir
        self.processes = []

    def start(self, name, argv, in_group=False):
        log = self.log_dir / f'{name}.log'
        with open(log, 'wb') as file:
            popen = subprocess.Popen(
                ['nsenter', f'--net=/run/netns/{self.docker.netns}', *map(str, argv)], stdout=file,
                stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)
        self.processes.append(lab.Process(popen, name, log, in_group))
        return self.processes[-1]

    def end_all(self):
        for process in self.processes:
            if process.is_running():
                process.end()


class Host:
    """One container."""

    def __init__(self, docker, name, address):
        self.docker = docker
        self.name = name
        self.address = address
        self.container = f'{docker.project}_{name}_1'
        self.network = f'{docker.project}_private'

    def sh(self, script, user='root', check=True, timeout=60):
        """Runs a script on the host; returns what it printed."""
        return self.docker('exec', '-u', user, self.container, 'sh', '-euc', script, check=check,
                           timeout=timeout).stdout.strip()

    def write(self, path, text, owner='root', mode='644'):
        self.sh(f"cat >{path} <<'END'\n{text}\nEND\nchown {owner}: {path}; chmod {mode} {path}")

    def wait_booted(self, limit_s=90):
        def state():
            return self.sh('systemctl is-system-running || true', check=False) in ('running', 'degraded')
        wait_until(f'{self.name} has booted', state, limit_s, 0.3)

    def show(self, unit, *properties):
        """Properties of a unit, in the order asked for."""
        lines = self.sh(f'systemctl show -p {",".join(properties)} {unit}').splitlines()
        found = dict(line.split('=', 1) for line in lines)
        return [found[p] for p in properties]

    def main_pid(self, unit):
        return self.show(unit, 'MainPID')[0]

    def postmaster(self):
        """As the server wrote it: systemd knows it only when pg_ctlcluster has ended."""
        return self.sh(f'head -n 1 {DATA}/postmaster.pid')

    def query(self, sql, check=True):
        return self.sh(f'psql -XAtq -d postgres -c "{sql}"', user='postgres', check=check)

    def service(self):
        """What hamgr status says here of the one service; None: nothing."""
        try:
            return json.loads(self.sh('hamgr status --json', check=False))['services'][0]
        except (ValueError, KeyError, IndexError):
            return None

    def disconnect(self):
        self.docker('network', 'disconnect', self.network, self.container)

    def connect(self):
        self.docker('network', 'connect', '--ip', self.address, self.network, self.container)
