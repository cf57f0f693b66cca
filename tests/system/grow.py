"""Growing from 1 to 5 database members and back to 2 under load, with a failover at each size.

    grow.py [--durability sync|async|strict] [--timing lan|default]

Prints a table; ends with 0 when nothing acknowledged was lost and no two primaries wrote at once."""

import argparse
import sys

import cluster as clusters
import lab
import probe as probes
import scenarios

MOST = 5


def fault_for(size):
    """Two members are no majority without each other: there a server dies, not a host."""
    return scenarios.host_lost if size > 2 else scenarios.postmaster_killed


def fail_over(cluster, rows, load, how):
    size = len(cluster.db)
    if size == 1:
        return
    result = fault_for(size)(cluster, with_pinned=False)
    load.wait_acks(20)
    rows.append((how, size, fault_for(size).__name__.replace('_', ' '), f'{result.old} to {result.new}',
                 round(result.gap_s * 1000), result.lost, round(result.overlap_s * 1000)))
    print('%-8s %d  %-18s %-12s gap %5d ms  lost %d  overlap %d ms' % rows[-1], flush=True)


def run(kind):
    c = clusters.Cluster(kind)
    rows = []
    try:
        c.start()
        hosts = [c.lab.add_host(f'db{i}', 10 + i) for i in range(2, MOST + 1)]
        load = probes.Probe(c.client, [*c.db.values(), *hosts])
        load.wait_acks(20)
        for host in hosts:
            began = lab.now()
            c.join(host.name, int(host.address.rsplit('.', 1)[1]))
            print(f'{host.name} joined and streams after {lab.now() - began:.1f} s', flush=True)
            fail_over(c, rows, load, 'growing')
        while len(c.db) > 2:
            gone = c.standby()
            c.remove(gone)
            print(f'{gone} removed', flush=True)
            lab.wait_until('its slots are dropped', lambda g=gone: f'hamgr_{g}_' not in c.query(
                'SELECT slot_name FROM pg_replication_slots'), 60, 0.2)
            fail_over(c, rows, load, 'shrinking')
        load.stop()
        lost = probes.lost([load], c.server[c.primary()])
        acks = load.acks()
        print(f'{len(acks)} writes acknowledged to the load, {len(lost)} of them lost; '
              f'longest gap {probes.write_gap(acks, 0) * 1000:.0f} ms')
        return not lost and all(row[5] == 0 and row[6] == 0 for row in rows)
    except BaseException:
        print(c.lab.logs(), file=sys.stderr)
        raise
    finally:
        c.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--durability', default='sync')
    parser.add_argument('--timing', default='lan')
    options = parser.parse_args()
    lab.guard_exit()
    kind = clusters.Kind(durability=options.durability, timing=options.timing, dbs=1, witnesses=0)
    sys.exit(0 if run(kind) else 1)


if __name__ == '__main__':
    main()
