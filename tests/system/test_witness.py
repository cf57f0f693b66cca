"""hamgr-witness as a program: options, signals, what it tells systemd, and many clusters at once."""

import os
import pathlib
import select
import signal
import socket
import subprocess
import tempfile

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BUILD = REPOSITORY / 'build' / os.environ.get('MODE', 'debug')
WITNESS = BUILD / 'hamgr-witness'
NOBODY = 65534
LIMIT_S = 20


def free_port():
    """One that nobody uses now."""
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def run(*options):
    return subprocess.run([WITNESS, *options], capture_output=True, text=True, timeout=LIMIT_S)


class Program:
    """A witness that runs as nobody, and the socket on which it tells systemd how it is."""

    def __init__(self, folder):
        self.folder = folder
        self.conf = folder / 'witness.conf'
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(folder / 'notify'))
        os.chmod(folder / 'notify', 0o777)
        (folder / 'state').mkdir()
        (folder / 'key').write_text('00112233445566778899aabbccddeeff' * 2 + '\n')
        (folder / 'key').chmod(0o600)
        for name in ('state', 'key'):
            os.chown(folder / name, NOBODY, NOBODY)
        self.port = free_port()
        self.told = ''
        self.process = None

    def write(self, *clusters):
        entries = ', '.join(f'{{ name = "{c}"; key_file = "{self.folder}/key"; }}' for c in clusters)
        self.conf.write_text(f'listen = "127.0.0.1:{self.port}";\nstate_dir = "{self.folder}/state";\n'
                             f'clusters = ( {entries} );\n')

    def start(self):
        environment = {'NOTIFY_SOCKET': str(self.folder / 'notify'), 'WATCHDOG_USEC': '600000'}
        self.process = subprocess.Popen([WITNESS, '-c', self.conf], stderr=subprocess.PIPE,
                                        env=environment, user=NOBODY, group=NOBODY, extra_groups=[])
        os.set_blocking(self.process.stderr.fileno(), False)
        self.log = ''

    def wait_told(self, what):
        """Until systemd was told so."""
        self.notify.settimeout(LIMIT_S)
        while what not in self.told:
            self.told += self.notify.recv(4096).decode() + '\n'

    def wait_logged(self, what):
        while what not in self.log:
            assert select.select([self.process.stderr], [], [], LIMIT_S)[0], self.log
            more = self.process.stderr.read()
            assert more, f'it ended without "{what}": {self.log}'
            self.log += more.decode()

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(LIMIT_S)
        self.process.stderr.close()
        return code

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.notify.close()


@pytest.fixture
def program():
    with tempfile.TemporaryDirectory(prefix='hamgr-witness-') as folder:
        os.chmod(folder, 0o755)
        p = Program(pathlib.Path(folder))
        yield p
        p.close()


def test_options():
    assert run('--version').stdout.startswith('hamgr-witness ')
    assert 'Usage: hamgr-witness' in run('--help').stdout
    for wrong in ('--bad', 'file'):
        ended = run(wrong)
        assert ended.returncode == 2 and 'Usage:' in ended.stderr and not ended.stdout


def test_check_tells_every_error(program):
    program.write('shop', 'shop')
    program.conf.write_text(program.conf.read_text() + 'hartbeat = 1;\n')
    ended = run('-c', program.conf, '--check')
    assert ended.returncode == 1
    assert 'shop' in ended.stderr and 'hartbeat' in ended.stderr
    program.write('shop', 'blog')
    ended = run('-c', program.conf, '--check')
    assert (ended.returncode, ended.stderr) == (0, '') and '2 clusters' in ended.stdout


def test_it_runs_without_rights_and_keeps_systemd_informed(program):
    program.write('shop', 'blog')
    program.start()
    program.wait_told('READY=1')
    program.wait_told('2 clusters')
    program.wait_told('WATCHDOG=1')
    assert sorted(d.name for d in (program.folder / 'state').iterdir()) == ['blog', 'shop']
    assert program.end() == 0
    program.wait_told('STOPPING=1')


def test_a_reload_adds_clusters_and_a_bad_file_changes_nothing(program):
    program.write('shop')
    program.start()
    program.wait_told('READY=1')
    program.write('blog')
    program.process.send_signal(signal.SIGHUP)
    program.wait_logged('cluster_removed cluster=shop')
    program.wait_told('2 clusters')
    program.conf.write_text('nonsense')
    program.process.send_signal(signal.SIGHUP)
    program.wait_logged('reload_refused')
    program.process.send_signal(signal.SIGUSR1)
    program.wait_logged('witness clusters=2')
    assert 'cluster name=shop state=served' in program.log
    assert program.end() == 0


def test_many_clusters_at_once():
    ended = subprocess.run([BUILD / 'witness-load', '--clusters', '200', '--seconds', '5',
                            '--max-pss', '40960', '--witness', WITNESS],
                           capture_output=True, text=True, timeout=180)
    print(ended.stdout)
    assert ended.returncode == 0, ended.stdout + ended.stderr
