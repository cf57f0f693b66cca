#!/usr/bin/python3
"""load.py - strangers at the Sentinel endpoint must not delay what shares its loop: the lease.

10,000 connections, of which half subscribe, a reader that does not read, a crowd that asks at once, and
failovers that are told to all of them. The endpoint is hamgr's own (build/MODE/sentinel-made); a timer of
its loop, of the priority that the lease has, says by how much it was late, and how much of that the loop
was at work itself: what else the machine does is not its fault.

    load.py [--clients N] [--limit MS]     prints what it measured; fails above the limit
"""
import argparse
import os
import resource
import selectors
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.join(os.path.dirname(os.path.dirname(HERE)), "build", os.environ.get("MODE", "release"))
PATIENCE_S = 60
SUBSCRIBE = b"PSUBSCRIBE switch-master [-+]sdown +slave +sentinel [-+]odown +slave-reconf-done\r\n"
ASK = b"SENTINEL MASTERS\r\nSENTINEL REPLICAS cache\r\nSENTINEL SENTINELS cache\r\n"


class Endpoint:
    def __init__(self, clients):
        self.process = subprocess.Popen(
            [os.path.join(BUILD, "sentinel-made"), "--clients", str(clients), "cache", "10.0.0.1:6379",
             "10.0.0.2:6379", "10.0.0.3:6379"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, bufsize=1)
        self.port = int(self.process.stdout.readline().split()[1])

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def stats(self):
        return {k: int(v) for k, v in (pair.split("=") for pair in self.say("stats").split()[1:])}

    def pss(self):
        with open("/proc/%d/smaps_rollup" % self.process.pid, encoding="ascii") as rollup:
            return next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))


class Crowd:
    """Many connections; what they hear is counted, not kept."""

    def __init__(self, port, n):
        self.selector = selectors.DefaultSelector()
        self.sockets = []
        self.heard = {}
        for i in range(n):
            s = socket.create_connection(("127.0.0.%d" % (1 if i < 20000 else 2), port))
            s.setblocking(False)
            self.sockets.append(s)
            self.heard[s] = 0
            self.selector.register(s, selectors.EVENT_READ)

    def hear(self, part, sockets, times):
        """Reads until each of them heard that part so often."""
        end = time.monotonic() + PATIENCE_S
        missing = set(s for s in sockets if self.heard[s] < times)
        while missing:
            assert time.monotonic() < end, "%d clients did not hear %s" % (len(missing), part)
            for key, _ in self.selector.select(1):
                data = key.fileobj.recv(1 << 16)
                assert data, "a client was cut off"
                self.heard[key.fileobj] += data.count(part)
                if self.heard[key.fileobj] >= times:
                    missing.discard(key.fileobj)

    def forget(self):
        for s in self.sockets:
            self.heard[s] = 0


def measure(endpoint, what, limit_ms, work):
    """Of a lateness only what the loop did itself counts: others on the machine may take the processor."""
    endpoint.stats()
    began = time.monotonic()
    work()
    took = time.monotonic() - began
    stats = endpoint.stats()
    print("%-42s late at worst %6.1f ms, by itself %5.1f ms, in %5.2f s" %
          (what, stats["late_us"] / 1000, stats["own_us"] / 1000, took), flush=True)
    return stats["own_us"] / 1000 <= limit_ms


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=10000)
    parser.add_argument("--limit", type=float, default=10.0)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    endpoint = Endpoint(options.clients + 100)
    fine = True
    try:
        endpoint.say("sentinel 0 up")
        before, heap = endpoint.pss(), endpoint.stats()["heap"]
        fine &= measure(endpoint, "nobody there", options.limit, lambda: time.sleep(2))
        crowd = []
        fine &= measure(endpoint, "%d clients connect" % options.clients, options.limit,
                        lambda: crowd.append(Crowd(endpoint.port, options.clients)))
        crowd = crowd[0]
        end = time.monotonic() + PATIENCE_S
        idle = endpoint.stats()
        while idle["clients"] < options.clients:
            assert time.monotonic() < end, idle
            idle = endpoint.stats()
        print("an idle client costs %d bytes of heap, %d of PSS" %
              ((idle["heap"] - heap) / options.clients, (endpoint.pss() - before) * 1024 / options.clients))
        fine &= measure(endpoint, "all of them idle", options.limit, lambda: time.sleep(3))
        subscribers = crowd.sockets[::2]

        def subscribe():
            for s in subscribers:
                s.send(SUBSCRIBE)
            crowd.hear(b"psubscribe", subscribers, 6)
        fine &= measure(endpoint, "%d of them subscribe" % len(subscribers), options.limit, subscribe)

        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", endpoint.port))
        slow.send(b"PSUBSCRIBE *\r\n")

        def fail_over():
            crowd.forget()
            for i in range(3):
                assert endpoint.say("switch %d" % (i % 2 + 1)) == "ok"
            crowd.hear(b"+slave\r\n$", subscribers, 6)
        fine &= measure(endpoint, "3 failovers told, one reader does not read", options.limit, fail_over)

        def ask():
            crowd.forget()
            for s in crowd.sockets[1::2]:
                s.send(ASK)
            crowd.hear(b"voted-leader-epoch", crowd.sockets[1::2], 1)
        fine &= measure(endpoint, "the other half asks at once", options.limit, ask)

        def flood():
            end = time.monotonic() + 3
            greedy = [s for s in crowd.sockets[1:2001:2]]
            while time.monotonic() < end:
                for s in greedy:
                    try:
                        s.send(ASK * 50)
                    except BlockingIOError:
                        pass
        fine &= measure(endpoint, "1,000 ask without a pause and do not read", options.limit, flood)
        for i in range(400):
            endpoint.say("switch %d" % (i % 2 + 1))
            if endpoint.stats()["slow"]:
                break
            crowd.selector.select(0)
        after = endpoint.stats()
        print("slow readers cut off: %d, buffers of all: %d KB" % (after["slow"], after["buffered"] / 1024))
    finally:
        endpoint.process.kill()
        endpoint.process.wait()
    print("cases: passed=%d failed=%d" % (1 if fine else 0, 0 if fine else 1))
    return 0 if fine else 1


sys.exit(main())
