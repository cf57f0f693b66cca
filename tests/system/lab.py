"""Hosts made of network namespaces on one bridge, each with its own files and its own freezer group.

    lab = Lab()
    db1 = lab.add_host('db1', 11)
    db1.start('postgres', ['/usr/lib/.../postgres', '-D', ...], user='postgres')
    lab.cut('db1', 'db2')        # packets of db1 do not reach db2
    db1.freeze()                 # every process of the host stands still
    lab.close()

Everything has the lab's own random name: the namespaces, the groups, the directory. Nothing outside
is touched, several labs run side by side, and what a killed test left behind is removed by the next
one (sweep()). Root only."""

import atexit
import ctypes
import errno
import grp
import os
import pathlib
import pwd
import secrets
import select
import shutil
import signal
import struct
import subprocess
import threading
import time

PREFIX = 'hamgr-test-'
NET = '10.77.0'
SERVER_USER = 'postgres'


class LabError(Exception):
    """The lab itself does not work, or what was waited for did not come."""


def run(argv, timeout=30, check=True, **options):
    """Runs a command to its end; its output is returned, and told when it fails."""
    done = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=timeout, stdin=subprocess.DEVNULL, **options)
    if check and done.returncode != 0:
        raise LabError(f'{" ".join(map(str, argv))}: exit code {done.returncode}: '
                       f'{done.stderr.strip() or done.stdout.strip()}')
    return done


def now():
    """Seconds on the clock that the clients' logs use."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def let_pass(seconds):
    """A fault lasts: lets that much time go by."""
    end = now() + seconds
    while (left := end - now()) > 0:
        select.select([], [], [], left)


def wait_until(what, condition, limit_s, every_s=0.02):
    """Asks `condition` until it answers something true, and returns that."""
    end = now() + limit_s
    while True:
        answer = condition()
        if answer:
            return answer
        if now() >= end:
            raise LabError(f'not within {limit_s:g} s: {what}')
        let_pass(every_s)


# --- freezer groups: version 1 has a controller of that name, version 2 a file in each group --------

def _freezer_root():
    for root, mark in (('/sys/fs/cgroup/freezer', 'cgroup.procs'),
                       ('/sys/fs/cgroup', 'cgroup.controllers')):
        if os.path.exists(os.path.join(root, mark)) and os.access(root, os.W_OK):
            return pathlib.Path(root)
    raise LabError('no control group to freeze processes with: neither version 1 nor 2 is mounted')


class Group:
    """The processes of one host."""

    def __init__(self, path):
        self.path = path
        self.is_v1 = path.parent.parent.name == 'freezer'

    def make(self):
        self.path.mkdir(parents=True, exist_ok=True)

    def pids(self):
        try:
            return [int(p) for p in (self.path / 'cgroup.procs').read_text().split()]
        except OSError as e:
            if e.errno in (errno.ENOENT, errno.ENODEV):
                return []
            raise

    def _freeze(self, is_frozen):
        if self.is_v1:
            file, word, shown = 'freezer.state', ('THAWED', 'FROZEN')[is_frozen], 'freezer.state'
        else:
            file, word, shown = 'cgroup.freeze', str(int(is_frozen)), 'cgroup.events'
        (self.path / file).write_text(word)

        def is_done():
            text = (self.path / shown).read_text()
            return word in text.split() if self.is_v1 else f'frozen {word}' in text
        wait_until(f'{self.path.name} is {"frozen" if is_frozen else "thawed"}', is_done, 5, 0.0005)

    def freeze(self):
        self._freeze(True)

    def thaw(self):
        self._freeze(False)

    def kill_all(self):
        """Every process is gone when it returns, frozen or not."""
        if not self.path.exists():
            return

        def is_empty():
            pids = self.pids()
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            return not pids
        self.freeze()  # nobody does anything between the first signal and the last
        is_empty()
        self.thaw()
        wait_until(f'no process is left in {self.path.name}', is_empty, 10, 0.005)

    def remove(self):
        if self.path.exists():
            self.kill_all()
            wait_until(f'{self.path} is removed', self._try_rmdir, 5)

    def _try_rmdir(self):
        try:
            self.path.rmdir()
        except OSError:
            return False
        return True


# --- hosts ------------------------------------------------------------------------------------------

class Process:
    """A process that the lab started; its output goes to a log file."""

    def __init__(self, popen, name, log, is_in_group):
        self.popen = popen
        self.is_in_group = is_in_group
        self.name = name
        self.log = log

    @property
    def pid(self):
        return self.popen.pid

    def is_running(self):
        return self.popen.poll() is None

    def send(self, number):
        if self.is_running():
            self.popen.send_signal(number)

    def end(self, number=signal.SIGTERM, limit_s=10):
        """Sends the signal and waits for the end; returns the exit code."""
        self.send(number)
        try:
            return self.popen.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait(limit_s)
            raise LabError(f'{self.name} did not end within {limit_s} s of signal {number}') from None

    def text(self):
        return self.log.read_text(errors='replace') if self.log.exists() else ''


class Host:
    """A network namespace with one address, one directory and one group of processes."""

    def __init__(self, lab, name, number):
        self.lab = lab
        self.name = name
        self.address = f'{NET}.{number}'
        self.netns = f'{PREFIX}{lab.id}-{name}'
        self.dir = lab.dir / name
        self.log_dir = self.dir / 'log'
        self.disk = self.dir  # where its servers keep their data: a mount of its own with mount_disk()
        self.group = Group(lab.group_dir / name)
        self.processes = {}
        self.is_frozen = False
        self.environment = {}  # of everything that is started on it from now on
        self.etc = self.dir / 'etc'  # its own files of /etc, if there are any

    def make(self):
        net = self.lab.netns
        run(['ip', 'netns', 'add', self.netns])
        run(['ip', '-n', net, 'link', 'add', self.name, 'type', 'veth',
             'peer', 'name', 'eth0', 'netns', self.netns])
        run(['ip', '-n', net, 'link', 'set', self.name, 'master', 'br0', 'up'])
        run(['ip', '-n', self.netns, 'addr', 'add', f'{self.address}/24', 'dev', 'eth0'])
        run(['ip', '-n', self.netns, 'link', 'set', 'eth0', 'up'])
        run(['ip', '-n', self.netns, 'link', 'set', 'lo', 'up'])
        self.group.make()
        self.log_dir.mkdir(parents=True)
        shutil.chown(self.dir, SERVER_USER, SERVER_USER)
        shutil.chown(self.log_dir, SERVER_USER, SERVER_USER)

    def command(self, argv, user='root', in_group=True):
        """The command line that runs argv on this host as that user.

        Outside the group it does not stand still when the host is frozen: a client or a question."""
        line = ['nsenter', f'--net=/run/netns/{self.netns}', f'--ipc={self.lab.dir}/ipc']
        if self.etc.exists():
            line += ['unshare', '--mount', 'sh', '-c',
                     'for f in "$0"/*; do mount --bind "$f" "/etc/${f##*/}" || exit 1; done; exec "$@"',
                     str(self.etc)]
        if user != 'root':
            line += ['setpriv', '--reuid', user, '--regid', f'{group_of(user)}', '--init-groups']
        if self.environment:
            line += ['env'] + [f'{k}={v}' for k, v in self.environment.items()]
        line += [str(a) for a in argv]
        # the group is joined before anything else happens, so that no child escapes
        group = self.group if in_group else self.lab.outside
        return ['sh', '-c', 'echo $$ >"$0" && exec "$@"', str(group.path / 'cgroup.procs')] + line

    def run(self, argv, user='root', timeout=30, check=True, in_group=False, **options):
        return run(self.command(argv, user, in_group), timeout=timeout, check=check,
                   cwd='/', **options)

    def start(self, name, argv, user='root', in_group=True, **options):
        """Starts a process that goes on running; one of each name at a time."""
        log = self.log_dir / f'{name}.log'
        with open(log, 'ab') as file:
            out = subprocess.PIPE if self.lab.has_times else file
            popen = subprocess.Popen(self.command(argv, user, in_group), stdout=out,
                                     stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd='/',
                                     start_new_session=True, **options)
        if self.lab.has_times:
            threading.Thread(target=_stamp, args=(popen.stdout, log), daemon=True).start()
        self.processes[name] = Process(popen, name, log, in_group)
        return self.processes[name]

    def preload_faults(self, library, directory):
        """Its programs get a wall clock of their own, and a disk below directory that can fail."""
        (self.dir / 'faults').write_bytes(bytes(16))
        self.environment = {'LD_PRELOAD': library, 'FAULTS_FILE': self.dir / 'faults',
                            'FAULTS_DIR': directory}

    def set_faults(self, wall_s=0, disk_errno=0):
        """From now on the wall clock is off by that much, and the disk fails with that error."""
        with open(self.dir / 'faults', 'r+b', buffering=0) as f:
            f.write(struct.pack('qq', wall_s, disk_errno))

    def write_etc(self, name, text):
        """Its own /etc/NAME, for programs started later; for those that have it at once."""
        self.etc.mkdir(exist_ok=True)
        (self.etc / name).write_text(text)  # in place: it is mounted somewhere

    def link(self, is_up):
        run(['ip', '-n', self.lab.netns, 'link', 'set', self.name, 'up' if is_up else 'down'])

    def freeze(self):
        self.group.freeze()
        self.is_frozen = True

    def thaw(self):
        self.is_frozen = False
        self.group.thaw()

    def power_off(self):
        """As seen from everybody else: from one moment to the next there is nothing any more."""
        self.freeze()
        self.link(False)

    def kill_all(self):
        """The power is gone: no process is left, files stay."""
        self.group.kill_all()
        self.is_frozen = False
        for name, process in list(self.processes.items()):
            if process.is_in_group:
                process.popen.wait(10)
                del self.processes[name]

    def log_files(self):
        """The daemons', the clients' and the servers' logs."""
        return sorted([*self.log_dir.iterdir(), *self.disk.glob('*server.log')])

    def flush_rules(self):
        """A kernel that has just booted has no packet filter."""
        self.run(['nft', 'flush', 'ruleset'])


def _stamp(stream, path):
    """Copies lines to a file, each with the time when it came, on the clients' clock."""
    with stream, open(path, 'ab', buffering=0) as log:
        for line in stream:
            log.write(b'%.4f ' % now() + line)


def group_of(user):
    """The name of the user's own group."""
    return grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name


# --- the lab ----------------------------------------------------------------------------------------

RUN = pathlib.Path('/run')  # where the labs' file systems are mounted
DISK = pathlib.Path('/var/tmp')  # where files are of a lab that shall feel the disk


def start_time(pid):
    """When a process started, so that a pid used again is not mistaken; '' if it is gone."""
    try:
        return pathlib.Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[19]
    except (OSError, IndexError):
        return ''


class Lab:
    """A bridge and the hosts on it."""

    _open = {}

    def __init__(self, lab_id=None, has_times=True, on_disk=False):
        if os.geteuid() != 0:
            raise LabError('the lab needs root: it makes network namespaces')
        self.id = lab_id or secrets.token_hex(2)
        self.has_times = has_times  # lines of the logs begin with one; not when a lab is detached
        self.netns = f'{PREFIX}{self.id}-net'
        self.dir = RUN / f'{PREFIX}{self.id}'
        self.group_dir = _freezer_root() / f'{PREFIX}{self.id}'
        self.hosts = {}
        self.cuts = {}
        if self.dir.exists():
            raise LabError(f'there is a lab of the name {self.id} already')
        Lab._open[self.id] = self
        self.dir.mkdir(mode=0o755)
        if on_disk:
            backing = DISK / self.dir.name
            backing.mkdir(mode=0o755)
            run(['mount', '--bind', backing, self.dir])
        else:  # files are in memory: what is measured is hamgr, not the disk of this machine
            run(['mount', '-t', 'tmpfs', '-o', 'size=75%,mode=0755', 'hamgr-test', self.dir])
        run(['mount', '--make-private', self.dir])
        # and so is shared memory that a killed server leaves behind
        (self.dir / 'ipc').touch()
        run(['unshare', f'--ipc={self.dir}/ipc', 'true'])
        (self.dir / 'owner').write_text(f'{os.getpid()} {start_time(os.getpid())}')
        self.group_dir.mkdir()
        self.outside = Group(self.group_dir / 'outside')
        self.outside.make()
        run(['ip', 'netns', 'add', self.netns])
        run(['ip', '-n', self.netns, 'link', 'add', 'br0', 'type', 'bridge', 'mcast_snooping', '0'])
        run(['ip', '-n', self.netns, 'link', 'set', 'br0', 'up'])
        self._nft('add table bridge lab; '
                  'add chain bridge lab cuts { type filter hook forward priority 0; }')

    @classmethod
    def opened(cls):
        """The labs of this process."""
        return list(cls._open.values())

    def add_host(self, name, number):
        host = Host(self, name, number)
        self.hosts[name] = host
        host.make()
        return host

    def _nft(self, text):
        run(['nsenter', f'--net=/run/netns/{self.netns}', 'nft', text])

    def _write_cuts(self):
        lines = ['flush chain bridge lab cuts']
        lines += [f'add rule bridge lab cuts {match} drop' for match in self.cuts.values()]
        self._nft('; '.join(lines)) # one transaction: the cuts begin and end together

    def cut(self, source, target):
        """Packets from one host to the other, or with None to and from all others, get lost."""
        match = []
        if source:
            match.append(f'iifname "{source}"')
        if target:
            match.append(f'oifname "{target}"')
        self.cuts[source, target] = ' '.join(match)
        self._write_cuts()

    def cut_port(self, source, target, port):
        """What one host's server on that port sends to the other gets lost."""
        self.cuts[source, target, port] = (f'iifname "{source}" oifname "{target}" '
                                           f'tcp sport {port}')
        self._write_cuts()

    def cut_many(self, pairs):
        for source, target in pairs:
            self.cuts[source, target] = ' '.join(
                ([f'iifname "{source}"'] if source else []) + ([f'oifname "{target}"'] if target else []))
        self._write_cuts()

    def uncut_many(self, pairs):
        for pair in pairs:
            self.cuts.pop(pair, None)
        self._write_cuts()

    def make_lossy(self, host, percent):
        """That part of the packets from and to the host gets lost, each by chance."""
        for side in ('iifname', 'oifname'):
            self.cuts[side, host] = f'{side} "{host}" numgen random mod 100 < {percent}'
        self._write_cuts()

    def heal(self):
        self.cuts = {}
        self._write_cuts()

    def mount_small(self, path, size_kib, user=SERVER_USER):
        """A file system of that size, to be filled or made read-only."""
        path.mkdir(parents=True, exist_ok=True)
        run(['mount', '-t', 'tmpfs', '-o', f'size={size_kib}k,mode=0700', 'hamgr-test', path])
        shutil.chown(path, user, group_of(user))

    def mount_disk(self, host, size_mib=8192, user=SERVER_USER):
        """The host's data are on a disk of their own, which can hang."""
        image = self.dir / f'{host.name}.disk'
        run(['truncate', '-s', f'{size_mib}M', image])
        run(['mkfs.ext4', '-q', '-m', '0', '-E', 'nodiscard', image])
        host.disk = host.dir / 'disk'
        host.disk.mkdir()
        run(['mount', '-o', 'loop,noatime', image, host.disk])
        (host.disk / 'lost+found').rmdir()
        shutil.chown(host.disk, user, group_of(user))

    @staticmethod
    def hang_disk(host):
        """From now on nobody's write to it ends, and who waits for one cannot be killed."""
        run(['fsfreeze', '-f', host.disk])

    @staticmethod
    def let_disk_go(host):
        run(['fsfreeze', '-u', host.disk], check=False)

    def remount(self, path, options):
        run(['mount', '-o', f'remount,{options}', path])

    def detach(self):
        """The lab goes on when this process has ended; remove(id) ends it."""
        Lab._open.pop(self.id, None)
        (self.dir / 'owner').write_text('detached')

    def close(self):
        Lab._open.pop(self.id, None)
        remove(self.id, self.dir)

    def logs(self, lines=40):
        """The ends of all log files, for a test that failed."""
        text = []
        for host in self.hosts.values():
            for log in host.log_files():
                if log.suffix != '.log':
                    continue
                tail = log.read_text(errors='replace').splitlines()[-lines:]
                text.append(f'--- {host.name}/{log.name}\n' + '\n'.join(tail))
        return '\n'.join(text)


def remove(lab_id, directory):
    """Takes a lab away, by its name alone; what is not there is fine."""
    for disk in directory.glob('*/disk'):  # nobody who waits for a hung one could be ended
        run(['fsfreeze', '-u', disk], check=False)
    group_dir = _freezer_root() / f'{PREFIX}{lab_id}'
    if group_dir.exists():
        for group in [g for g in group_dir.iterdir() if g.is_dir()]:
            Group(group).remove()
        group_dir.rmdir()
    names = run(['ip', 'netns', 'list']).stdout
    for line in names.splitlines():
        netns = line.split()[0] if line.split() else ''
        if netns.startswith(f'{PREFIX}{lab_id}-'):
            run(['ip', 'netns', 'del', netns])
    with open('/proc/self/mounts', encoding='utf-8') as mounts:
        inside = [m.split()[1] for m in mounts
                  if m.split()[1] == str(directory) or m.split()[1].startswith(f'{directory}/')]
    for mount in reversed(inside):
        run(['umount', '-l', mount])
    shutil.rmtree(directory, ignore_errors=True)
    shutil.rmtree(DISK / directory.name, ignore_errors=True)


def sweep():
    """Removes labs whose owner was killed before it could; those of living owners stay."""
    for directory in RUN.glob(f'{PREFIX}*'):
        try:
            pid, started = (directory / 'owner').read_text().split()
        except (OSError, ValueError):
            continue
        if start_time(pid) != started:
            remove(directory.name[len(PREFIX):], directory)


def close_all():
    for lab in Lab.opened():
        lab.close()


def _on_signal(number, _frame):
    raise SystemExit(128 + number)


# What servers and daemons leave behind; nothing that this process starts and waits for by itself.
ORPHANS = {'postgres', 'redis-server', 'valkey-server', 'pg_rewind', 'pg_basebackup', 'pg_ctl', 'rm'}
PR_SET_CHILD_SUBREAPER = 36


def _reap():
    """A killed server must not stay as a zombie: the next one would take it for a living one. Not
    every machine that runs tests has an init process that sees to it, or at once."""
    children = pathlib.Path(f'/proc/{os.getpid()}/task/{os.getpid()}/children')
    while True:
        for pid in children.read_text().split():
            try:
                comm, rest = pathlib.Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)
                if rest.split()[0] == 'Z' and comm.split('(', 1)[1] in ORPHANS:
                    os.waitpid(int(pid), os.WNOHANG)
            except (OSError, IndexError):
                pass  # gone meanwhile
        let_pass(0.02)


def guard_exit():
    """Whatever ends this process short of SIGKILL, its labs go with it."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    threading.Thread(target=_reap, daemon=True).start()
    atexit.register(close_all)
    signal.signal(signal.SIGTERM, _on_signal)
    signal.signal(signal.SIGHUP, _on_signal)
