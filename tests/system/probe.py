"""The measuring clients (client.c, redis_client.c) of a lab, and what their logs tell.

Write gap: the longest time between two acknowledgements in a row around a fault.
Overlap: how long the old primary still acknowledged to anybody after the new one's first
acknowledgement; it must be 0.
Lost: acknowledged numbers that the final primary does not have."""

import dataclasses
import errno
import os
import signal

import lab

BINARIES = {}  # service -> path of its client, set by whoever starts


@dataclasses.dataclass
class Ack:
    at: float  # seconds of CLOCK_MONOTONIC
    host: str
    number: int


class Probe:
    """One running client. It is no part of its host's group: a frozen host does not stop it."""

    _next_id = 0

    def __init__(self, host, targets, interval_ms=10, patience_ms=200, is_pinned=False, service='pg',
                 wait=0):
        Probe._next_id += 1
        self.id = Probe._next_id
        self.name = f'probe{self.id}'
        self.file = host.log_dir / f'{self.name}.acks'
        argv = [BINARIES[service], '--log', self.file, '--id', self.id, '--interval-ms', interval_ms,
                '--patience-ms', patience_ms]
        if is_pinned:
            argv.append('--only')
        if wait:  # Redis: each write is followed by WAIT
            argv += ['--wait', wait]
        argv += [f'{t.name}={t.address}' for t in targets]
        self.process = host.start(self.name, argv, in_group=False)

    def lines(self, word):
        try:
            text = self.file.read_text(errors='replace')
        except FileNotFoundError:
            return []
        return [line.split(' ', 3) for line in text[:text.rfind('\n') + 1].splitlines()
                if line.startswith(word + ' ')]

    def acks(self):
        return [Ack(int(t) / 1e6, host, int(number)) for _, t, host, number in self.lines('ack')]

    def confirmed(self):
        """What WAIT confirmed."""
        return [Ack(int(t) / 1e6, host, int(number)) for _, t, host, number in self.lines('confirmed')]

    def acks_n(self):
        return len(self.lines('ack'))

    def troubles(self, since=0.0):
        return [(int(f[1]) / 1e6, f[2], f[3] if len(f) > 3 else '')
                for f in self.lines('trouble') if int(f[1]) / 1e6 >= since]

    def wait_acks(self, n, limit_s=10):
        """Until that many more were acknowledged."""
        want = self.acks_n() + n
        lab.wait_until(f'{n} more acknowledgements of {self.name}', lambda: self.acks_n() >= want,
                       limit_s)

    def wait_ack_of(self, host, after, limit_s):
        """Until that host acknowledged something after that time; returns the first time."""
        def first():
            return next((a.at for a in self.acks() if a.host == host and a.at > after), None)
        return lab.wait_until(f'{host} acknowledges a write of {self.name}', first, limit_s)

    def wait_ack_after(self, after, limit_s, but_not_of=None):
        """Until somebody acknowledged something after that time; returns the acknowledgement."""
        def first():
            return next((a for a in self.acks() if a.at > after and a.host != but_not_of), None)
        return lab.wait_until(f'an acknowledgement for {self.name}', first, limit_s)

    def stop(self):
        if self.process.is_running():
            self.process.end(signal.SIGTERM)


def write_gap(acks, since):
    """The longest time between two acknowledgements in a row of which the later came after since."""
    longest = 0.0
    for before, after in zip(acks, acks[1:]):
        if after.at >= since:
            longest = max(longest, after.at - before.at)
    return longest


def overlap(acks, old, new, since):
    """How long `old` acknowledged after the first acknowledgement of `new` after since."""
    first = min((a.at for a in acks if a.host == new and a.at >= since), default=None)
    if first is None:
        return 0.0
    last = max((a.at for a in acks if a.host == old and a.at > first), default=first)
    return last - first


def lost(probes, server, only_confirmed=False):
    """Acknowledged numbers of the probes that are not there; server: the final primary's."""
    missing = []
    for probe in probes:
        there = server.numbers(probe.id)
        missing += [a for a in (probe.confirmed() if only_confirmed else probe.acks()) if a.number not in there]
    return missing


def fill(path):
    """Makes a file that leaves no room on its disk, without writing it."""
    size, block = 0, 1 << 30
    with open(path, 'wb') as file:
        while block:
            try:
                os.posix_fallocate(file.fileno(), size, block)
                size += block
            except OSError as e:
                if e.errno != errno.ENOSPC:
                    raise
                block //= 2
