"""What the tests of hamgr-fence stand on: two network namespaces, a real PostgreSQL in one of them,
clients that speak its protocol from the other, and the helper's own socket."""
import contextlib
import ctypes
import os
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.path.join(ROOT, "build", os.environ.get("MODE", "debug"), "hamgr-fence")
BIN = "/usr/lib/postgresql/15/bin"
PORT = 15432
HERE, MEMBER, CLIENT = "10.77.0.1", "10.77.0.2", "10.77.0.3"
HM_OK, HM_FAILED, HM_BAD_INPUT, HM_REFUSED = 0, 1, 2, 3
STATUS, MODE, THAW, KILL, START, DISTRUST, HELLO, PEERS = range(8)
NONE, SUSPENDED, LEASE, STANDBY, PAUSED = range(5)
libc = ctypes.CDLL(None, use_errno=True)


def now_ms():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000000


def wait_for(what, limit_s=5, every_s=0.002):
    """Polls a condition; returns its value once it is true."""
    end = time.monotonic() + limit_s
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < end, f"not within {limit_s} s: {what}"
        threading.Event().wait(every_s)


def run(*argv, **more):
    return subprocess.run(argv, check=True, capture_output=True, text=True, **more)


class Net:
    """Two hosts: here, and one that has the addresses of a member and of a client."""

    def __init__(self):
        self.here = f"hamgrf{os.getpid()}a"
        self.there = f"hamgrf{os.getpid()}b"

    def open(self):
        for name in (self.here, self.there):
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "link", "add", "v0", "netns", self.here, "type", "veth", "peer", "name", "v0",
            "netns", self.there)
        for name, addresses in ((self.here, [HERE]), (self.there, [MEMBER, CLIENT])):
            for address in addresses:
                run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", "v0")
            run("ip", "-n", name, "link", "set", "v0", "up")

    def close(self):
        for name in (self.here, self.there):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)

    @contextlib.contextmanager
    def inside(self, name):
        """Sockets that this thread makes inside belong to that host for ever."""
        with open("/proc/thread-self/ns/net", "rb") as own, \
                open(f"/run/netns/{name}", "rb") as other:
            assert libc.setns(other.fileno(), 0x40000000) == 0
            try:
                yield
            finally:
                assert libc.setns(own.fileno(), 0x40000000) == 0


class Postgres:
    """A real server, in the namespace `here`, reachable by TCP and by a unix socket."""

    def __init__(self, net, base):
        self.net, self.base, self.data = net, base, os.path.join(base, "data")
        self.process = None

    def as_user(self, *argv):
        return ["ip", "netns", "exec", self.net.here, "setpriv", "--reuid", "postgres",
                "--regid", "postgres", "--init-groups", *argv]

    def make(self):
        shutil.chown(self.base, "postgres", "postgres")
        run(*self.as_user(f"{BIN}/initdb", "-D", self.data, "-A", "trust", "--no-sync"))
        with open(f"{self.data}/pg_hba.conf", "a", encoding="ascii") as f:
            f.write("host all all 0.0.0.0/0 trust\n")
        with open(f"{self.data}/postgresql.conf", "a", encoding="ascii") as f:
            f.write(f"port = {PORT}\nlisten_addresses = '*'\nunix_socket_directories = "
                    f"'{self.base}'\nmax_connections = 80\nshared_buffers = 16MB\nfsync = off\n")

    def ensure(self):
        """Runs, whatever the test before left behind."""
        if self.process and self.process.poll() is None and not self.stopped():
            return
        self.kill()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.data}/postmaster.pid")
        log = open(f"{self.base}/log", "ab")  # pylint: disable=consider-using-with
        self.process = subprocess.Popen(self.as_user(f"{BIN}/postgres", "-D", self.data),
                                        stdout=log, stderr=log)
        log.close()
        wait_for(lambda: subprocess.run([f"{BIN}/pg_isready", "-q", "-h", self.base, "-p",
                                         str(PORT)], check=False).returncode == 0, 20, 0.05)
        self.sql("CREATE TABLE IF NOT EXISTS t (x bigint)")

    def sql(self, text):
        return run(*self.as_user("psql", "-X", "-h", self.base, "-p", str(PORT), "-Atc", text,
                                 "postgres")).stdout.strip()

    def processes(self):
        """{pid: state} of all that work in the data directory, by other means than the product."""
        found = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.path.samefile(f"/proc/{pid}/cwd", self.data):
                    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
                        found[int(pid)] = f.read().rpartition(")")[2].split()[0]
            except OSError:
                pass
        return {p: s for p, s in found.items() if s != "Z"}

    def stopped(self):
        return "T" in self.processes().values()

    def kill(self):
        for _ in range(100):
            pids = self.processes()
            if not pids:
                break
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            threading.Event().wait(0.01)
        if self.process:
            self.process.wait(10)


class Redis:
    """A real server with threads of its own, in the namespace `here`."""

    def __init__(self, net, base):
        self.net, self.data = net, os.path.join(base, "redis")
        os.mkdir(self.data)
        shutil.chown(self.data, "postgres", "postgres")
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", net.here, "setpriv", "--reuid", "postgres", "--regid",
             "postgres", "--init-groups", "redis-server", "--port", str(PORT), "--bind", "0.0.0.0",
             "--protected-mode", "no", "--dir", self.data, "--save", "", "--io-threads", "4",
             "--logfile", os.path.join(self.data, "log")])
        wait_for(lambda: os.path.exists(f"/proc/{self.process.pid}/task") and self.answers(), 10)

    def connect(self, source=CLIENT):
        with self.net.inside(self.net.there):
            s = socket.socket()
        s.settimeout(1)
        s.bind((source, 0))
        try:
            s.connect((HERE, PORT))
        except OSError:
            s.close()
            raise
        return s

    def answers(self, source=CLIENT):
        """Whether a new connection is answered."""
        try:
            with self.connect(source) as s:
                s.sendall(b"PING\r\n")
                return s.recv(100) == b"+PONG\r\n"
        except OSError:
            return False

    def threads(self):
        """The state of each."""
        states = []
        for task in os.listdir(f"/proc/{self.process.pid}/task"):
            with open(f"/proc/{self.process.pid}/task/{task}/stat", encoding="ascii") as f:
                states.append(f.read().rpartition(")")[2].split()[0])
        return states

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)


class Session:
    """One connection that speaks the protocol of version 3, not blocking once it is connected."""

    def __init__(self, net, source=CLIENT, host=HERE, where=None, timeout=5):
        with net.inside(where or net.there):
            self.socket = socket.socket()
        self.socket.settimeout(timeout)
        if source:
            self.socket.bind((source, 0))
        self.inbox = b""
        try:
            self.socket.connect((host, PORT))
            body = struct.pack("!i", 196608) + b"user\0postgres\0database\0postgres\0\0"
            self.socket.sendall(struct.pack("!i", len(body) + 4) + body)
            self.read_ready()
        except BaseException:
            self.socket.close()
            raise

    def take(self, data):
        """Adds bytes; the types of the messages that are complete now."""
        self.inbox += data
        kinds = b""
        while len(self.inbox) >= 5:
            size = struct.unpack("!i", self.inbox[1:5])[0] + 1
            if len(self.inbox) < size:
                break
            kinds += self.inbox[:1]
            self.inbox = self.inbox[size:]
        return kinds

    def read_ready(self):
        kinds = b""
        while b"Z" not in kinds:
            data = self.socket.recv(8192)
            if not data:
                raise ConnectionError("closed")
            kinds += self.take(data)
        assert b"E" not in kinds
        return kinds

    def send(self, text):
        self.socket.sendall(b"Q" + struct.pack("!i", len(text) + 5) + text.encode() + b"\0")

    def query(self, text):
        self.send(text)
        return self.read_ready()

    def close(self):
        self.socket.close()


class Load(threading.Thread):
    """Clients that commit one row after the other and note when each was acknowledged."""

    def __init__(self, net, n):
        super().__init__(daemon=True)
        self.sessions = [Session(net) for _ in range(n)]
        self.acks = [[] for _ in range(n)]  # in ns of boot time
        self.lost = []
        self.ending = threading.Event()
        self.start()

    def run(self):
        select = selectors.DefaultSelector()
        for i, session in enumerate(self.sessions):
            session.socket.setblocking(False)
            select.register(session.socket, selectors.EVENT_READ, i)
            session.send(f"INSERT INTO t VALUES ({i})")
        while not self.ending.is_set():
            for key, _ in select.select(0.02):
                session = self.sessions[key.data]
                try:
                    data = session.socket.recv(8192)
                except OSError:
                    data = b""
                at = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
                if not data:
                    self.lost.append(key.data)
                    select.unregister(session.socket)
                elif b"Z" in session.take(data):
                    self.acks[key.data].append(at)
                    session.send(f"INSERT INTO t VALUES ({key.data})")

    def newest(self):
        return max(a[-1] for a in self.acks if a)

    def everyone_since(self, ns):
        return all(a and a[-1] > ns for a in self.acks)

    def end(self):
        self.ending.set()
        self.join(5)
        for session in self.sessions:
            session.close()


class Fence:
    """A running helper and a connection to it."""

    REQUEST = struct.Struct("@IIi32siqq?64s576s0q")
    REPORT = struct.Struct("@II32siiqq??????IIq120s0q")
    FIELDS = ("version", "seq", "service", "rc", "mode", "suspend_ms", "until_ms", "is_gate_open",
              "is_held", "has_gate", "has_lock", "has_priority", "has_watchdog", "processes", "stopped",
              "scanned_ms", "why")

    def __init__(self, net, base, data, gate=True, child=False, control="pg_ctl",
                 redis=False):
        self.net, self.base, self.child = net, base, child
        self.run_dir = f"{base}/run"
        self.socket = self.process = None
        self.seq = 0
        self.heard = []
        os.makedirs(self.run_dir, exist_ok=True)
        shutil.chown(self.run_dir, "postgres", "postgres")
        self.file = f"{base}/hamgr.conf"
        members = "\n".join(f'  {{ name = "{n}"; address = "{a}:7420"; }}'
                            f'{"," if n != "db2" else ""}'
                            for n, a in (("db1", HERE), ("db2", MEMBER)))
        with open(self.file, "w", encoding="ascii") as f:
            f.write(f'cluster = "test";\nkey_file = "{base}/no.key";\nnode = "db1";\n'
                    f'members = (\n{members}\n);\nrun_dir = "{self.run_dir}";\n'
                    f'state_dir = "{base}";\ngate = {"true" if gate else "false"};\n'
                    + (f'services = ( {{ type = "redis"; name = "pg"; data_dir = "{data}"; '
                       f'port = {PORT}; config_file = "/etc/redis.conf"; socket = "{data}/sock"; }} );\n' if redis else
                       f'services = ( {{ type = "postgres"; name = "pg"; data_dir = "{data}"; '
                       f'port = {PORT}; control = "{control}"; }} );\n'))
        os.chmod(self.file, 0o644)

    def start(self):
        argv = [PROGRAM, "-c", self.file] + (["--child"] if self.child else [])
        before = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups"]
        self.log = open(f"{self.base}/fence.log", "ab")
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", self.net.here] + (before if self.child else []) + argv,
            stderr=self.log)
        wait_for(self.connect, 10)
        return self

    def connect(self):
        assert self.process is None or self.process.poll() is None, self.text()
        self.disconnect()
        s = self.raw()
        try:
            s.connect(f"{self.run_dir}/fence.sock")
        except OSError:
            s.close()
            return False
        self.socket = s
        self.heard = []
        return True

    @staticmethod
    def raw():
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.settimeout(5)
        return s

    def disconnect(self):
        if self.socket:
            self.socket.close()
        self.socket = None

    def text(self):
        with open(f"{self.base}/fence.log", encoding="utf-8") as f:
            return f.read()

    def pid(self):
        return self.process.pid

    def signal(self, number):
        os.kill(self.pid(), number)
        if number == signal.SIGKILL:
            self.process.wait(5)
            self.disconnect()

    def read(self):
        packet = self.socket.recv(4096)
        if not packet:
            raise ConnectionError("the helper closed the connection")
        report = dict(zip(self.FIELDS, self.REPORT.unpack(packet)))
        for key in ("service", "why"):
            report[key] = report[key].split(b"\0")[0].decode()
        return report

    def packet(self, verb, service="pg", mode=NONE, suspend=0, until=0, gate=False, peer="",
               peers=(), version=3):
        self.seq += 1
        return self.REQUEST.pack(version, self.seq, verb, service.encode(), mode, suspend, until,
                                 gate, peer.encode(),
                                 b"".join(p.encode().ljust(64, b"\0") for p in peers))

    def ask(self, verb, **more):
        """Sends a request and returns the answer; what comes by itself is kept in `heard`."""
        self.socket.send(self.packet(verb, **more))
        while True:
            report = self.read()
            if report["seq"] == self.seq:
                return report
            self.heard.append(report)

    def lease(self, suspend_in, until_in, gate=True):
        now = now_ms()
        return self.ask(MODE, mode=LEASE, suspend=now + suspend_in, until=now + until_in,
                        gate=gate)

    def hear(self, fits):
        """The next report that came by itself and fits."""
        while True:
            report = self.heard.pop(0) if self.heard else self.read()
            if fits(report):
                return report

    def stop(self):
        self.disconnect()
        if self.process and self.process.poll() is None:
            os.kill(self.pid(), signal.SIGCONT)
            self.process.kill()
            self.process.wait(5)
        run("ip", "netns", "exec", self.net.here, PROGRAM, "-c", self.file, "--remove-gate")


def make_base():
    base = tempfile.mkdtemp(prefix="hamgr-fence-")
    os.chmod(base, 0o755)
    return base
