#!/usr/bin/python3
"""check.py - real clients against the Sentinel endpoint: each finds the master, reads from a replica,
and follows a planned change and a loss of the master, with its default settings.

The endpoint is hamgr's own (build/MODE/sentinel-made), the servers are real; who is master is said by
this script, so that it shows the clients' part alone. What they do in a whole cluster is measured by
the system tests. Prints a row for each client: the longest gap between two writes that succeeded.

    check.py [CLIENT...]      redis-py ioredis ioredis-detector node-redis
"""
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(ROOT, "build", os.environ.get("MODE", "debug"))
NODE = os.path.join(ROOT, "build", "clients")
PASSWORD = "open sesame"
PATIENCE_S = 30  # generous: the machine may be busy
PYTHON = "/usr/bin/python3"


class Lines:
    """A program whose lines are collected while it runs."""

    def __init__(self, words, **options):
        self.lines = []
        self.changed = threading.Condition()
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, bufsize=1, **options)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            with self.changed:
                self.lines.append(line.rstrip("\n"))
                self.changed.notify_all()

    def wait(self, what, fits, since=0):
        """The first line from number `since` on that fits; fails loudly when none comes."""
        end = time.monotonic() + PATIENCE_S
        with self.changed:
            while True:
                for number in range(since, len(self.lines)):
                    if fits(self.lines[number]):
                        return number
                if not self.changed.wait(end - time.monotonic()) and time.monotonic() >= end:
                    raise AssertionError("%s did not come: %s" % (what, self.lines[-5:]))

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Server:
    """A redis-server of our own, in a directory of its own."""

    def __init__(self, port):
        self.port = port
        self.dir = tempfile.mkdtemp(prefix="hamgr-clients-")
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.dir, "--save", "",
             "--repl-diskless-sync-delay", "0"], stdout=subprocess.DEVNULL)
        self.until("PING", "PONG")

    def ask(self, *words):
        done = subprocess.run(["redis-cli", "-p", str(self.port), *words], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
        return done.stdout.strip()

    def until(self, words, part):
        end = time.monotonic() + PATIENCE_S
        while part not in self.ask(*words.split()):
            assert time.monotonic() < end, "%s of port %d does not say %s" % (words, self.port, part)
            time.sleep(0.02)

    def follow(self, other):
        self.ask("REPLICAOF", "127.0.0.1", str(other.port))
        self.until("INFO replication", "master_link_status:up")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)


class Endpoint:
    def __init__(self, servers, password):
        words = [os.path.join(BUILD, "sentinel-made")] + (["--password", password] if password else [])
        self.run = Lines(words + ["cache"] + ["127.0.0.1:%d" % s.port for s in servers], stdin=subprocess.PIPE,
                         stderr=subprocess.DEVNULL)
        self.port = int(self.run.lines[self.run.wait("the port", lambda l: l.startswith("port "))].split()[1])

    def say(self, line):
        since = len(self.run.lines)
        self.run.process.stdin.write(line + "\n")
        self.run.process.stdin.flush()
        self.run.wait(line, lambda l: l == "ok", since)


def start_client(client, endpoint, password):
    places = str(endpoint.port)
    secret = [password] if password else []
    if client == "redis-py":
        return Lines([PYTHON, os.path.join(HERE, "client.py"), places, "cache"] + secret)
    return Lines(["node", os.path.join(NODE, "client.mjs"), client, places, "cache"] + secret)


def succeeds(kind, after_ms):
    def fits(line):
        words = line.split(" ", 2)
        return words[0] == kind and words[2].startswith("ok ") and int(words[1]) > after_ms
    return fits


def longest_gap(lines, kind, from_ms):
    good = [int(l.split(" ")[1]) for l in lines if l.startswith(kind + " ") and l.split(" ")[2] == "ok"]
    good = [good[i] for i in range(len(good)) if i + 1 == len(good) or good[i + 1] >= from_ms]
    return max(b - a for a, b in zip(good, good[1:]))


def now_ms():
    return int(time.time() * 1000)


def planned(a, b, endpoint, run):
    """a hands over to b: what hamgr does of it that clients see, also that it ends their connections."""
    began = now_ms()
    endpoint.say("begin")
    a.ask("CLIENT", "PAUSE", "10000", "WRITE")
    b.ask("REPLICAOF", "NO", "ONE")
    a.ask("REPLICAOF", "127.0.0.1", str(b.port))
    a.ask("CLIENT", "UNPAUSE")
    endpoint.say("switch %d planned" % (b.port - min(a.port, b.port)))
    a.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    run.wait("a write after the switchover", succeeds("w", now_ms()), 0)
    a.until("INFO replication", "master_link_status:up")
    run.wait("a read after the switchover", succeeds("r", now_ms()), 0)
    return longest_gap(run.lines, "w", began)


def lost(a, b, endpoint, run):
    began = now_ms()
    a.kill()
    endpoint.say("down")
    b.ask("REPLICAOF", "NO", "ONE")
    endpoint.say("replica %d down" % (a.port - min(a.port, b.port)))
    endpoint.say("switch %d" % (b.port - min(a.port, b.port)))
    run.wait("a write after the failover", succeeds("w", now_ms()), 0)
    gap = longest_gap(run.lines, "w", began)
    a.start()
    a.follow(b)
    endpoint.say("replica %d up" % (a.port - min(a.port, b.port)))
    run.wait("a read after the failover", succeeds("r", now_ms()), 0)
    return gap


def check(client, first_port, password):
    servers = [Server(first_port), Server(first_port + 1)]
    endpoint = run = None
    try:
        servers[1].follow(servers[0])
        endpoint = Endpoint(servers, password)
        run = start_client(client, endpoint, password)
        run.wait("the first write", succeeds("w", 0))
        run.wait("the first read", succeeds("r", 0))
        a = planned(servers[0], servers[1], endpoint, run)
        b = lost(servers[1], servers[0], endpoint, run)
        print("%-18s %12d %12d" % (client, a, b), flush=True)
        return True
    except AssertionError as error:
        print("%-18s failed: %s" % (client, error), flush=True)
        return False
    finally:
        for thing in (run, endpoint.run if endpoint else None):
            if thing:
                thing.stop()
        for server in servers:
            server.close()


def main():
    clients = sys.argv[1:] or ["redis-py", "ioredis", "ioredis-detector", "node-redis"]
    passed = 0
    print("%-18s %12s %12s" % ("longest gap in ms", "switchover", "failover"), flush=True)
    for number, client in enumerate(clients):
        passed += check(client, 27400 + 4 * number, PASSWORD if number % 2 else None)
    print("cases: passed=%d failed=%d" % (passed, len(clients) - passed))
    return 0 if passed == len(clients) else 1


if __name__ == "__main__":
    sys.exit(main())
