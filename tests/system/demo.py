"""A small cluster to look at: two databases, a witness, a client, each a network namespace.

    demo.py          builds it, kills the primary under load, and leaves it running
    demo.py stop     takes it away"""

import os
import signal
import sys

import cluster as clusters
import lab
import postgres
import probe
from lab import now

NAME = 'demo'
DIR = lab.RUN / f'{lab.PREFIX}{NAME}'
WRAPPER = DIR / 'hamgr'
SQL = DIR / 'psql'


def bold(text):
    return f'\033[1m{text}\033[0m' if sys.stdout.isatty() else text


def say(text=''):
    print(text, flush=True)


def write_wrappers(c):
    """hamgr and psql on a host, for people."""
    scripts = {
        WRAPPER: f'exec nsenter --net=/run/netns/{lab.PREFIX}{NAME}-"$host" '
                 f'{c.bin}/hamgr -c {DIR}/"$host"/hamgr.conf "$@"',
        SQL: f'exec nsenter --net=/run/netns/{lab.PREFIX}{NAME}-"$host" '
             f'{postgres.bin_dir()}/psql -h {DIR}/"$host"/sock -U postgres "$@"',
    }
    for path, command in scripts.items():
        path.write_text(f'#!/bin/sh\n# {path.name} on a host of the demo: {path} db1|db2 ARGUMENTS\n'
                        f'host=${{1:?which host: db1 or db2}}\nshift\n{command}\n')
        path.chmod(0o755)


def show_status(c, host):
    say(c.hamgr(host, 'status').stdout.rstrip())
    say()


def start():
    if DIR.exists():
        say('The demo of before is taken away first.')
        lab.remove(NAME, DIR)
    began = now()
    say('Hosts db1, db2 (PostgreSQL), w1 (witness) and client: network namespaces on one bridge.')
    c = clusters.Cluster(clusters.Kind(durability='sync'), 'release', lab_id=NAME)
    say('db1 has a primary that runs already: hamgr adopts it, and clones it to db2.')
    primary = c.start()
    write_wrappers(c)
    say(f'Ready after {now() - began:.0f} s. The status on {primary}:\n')
    show_status(c, c.db[primary])

    writer = probe.Probe(c.client, c.db.values())
    writer.wait_acks(200)
    say(bold(f'A client writes every 10 ms. Now: kill -9 of the primary on {primary}.'))
    before = now()
    os.kill(c.server[primary].postmaster_pid(), signal.SIGKILL)
    writer.wait_ack_after(before, 30, but_not_of=primary)
    writer.wait_acks(100)
    new = c.wait_healthy(60)
    writer.wait_acks(100)
    writer.stop()
    acks = writer.acks()
    gone = probe.lost([writer], c.server[new])
    say(f'The new primary is {new}; {primary} is a standby again. The status now:\n')
    show_status(c, c.db[new])
    say(bold(f'Longest time without a write for the client: {probe.write_gap(acks, before) * 1000:.0f} ms.'))
    say(bold(f'Writes acknowledged: {len(acks)}. Lost of these: {len(gone)}.'))
    say(f'''
It goes on running. To play with it:
    {WRAPPER} {new} status
                also: switchover, pause, history, check, help
    {SQL} {new}
                SQL on that host
    ip -n {lab.PREFIX}{NAME}-net link set {new} down
                cuts a host off; "up" mends it
    make demo-stop
                takes it all away''')
    c.lab.detach()
    return 1 if gone else 0


def main():
    if os.geteuid() != 0:
        sys.exit('demo: run it as root: it makes network namespaces')
    if sys.argv[1:] == ['stop']:
        lab.remove(NAME, DIR)
        return 0
    lab.guard_exit()
    return start()


if __name__ == '__main__':
    try:
        sys.exit(main())
    except lab.LabError as e:
        for open_lab in lab.Lab.opened():
            print(open_lab.logs(15), file=sys.stderr)
        sys.exit(f'demo: {e}')
