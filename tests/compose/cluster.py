"""A cluster on such hosts, set up as docs/install.md tells an administrator to, and what must hold."""

import hosts
import probe as probes
from hosts import DATA, ROOT, UNIT
from lab import now, wait_until

SETTINGS = f'''cluster  = "shop";
key_file = "/etc/hamgr/cluster.key";
durability = "sync";
members  = ( {{ name = "db1"; address = "10.79.0.11:7420"; role = "db"; }},
             {{ name = "db2"; address = "10.79.0.12:7420"; role = "db"; }},
             {{ name = "w1";  address = "10.79.0.20:7420"; role = "witness"; }} );
services = ( {{ type = "postgres"; name = "pg"; port = 5432; control = "systemd:{UNIT}";
               data_dir = "{DATA}";
               config_file = "/etc/postgresql/15/main/postgresql.conf"; }} );'''
POSTGRES = """listen_addresses = '*'
wal_log_hints = on
shared_buffers = 32MB"""
ACCESS = 'host all,replication all 10.79.0.0/24 trust'


class Cluster:
    def __init__(self, mode):
        self.mode = mode
        self.docker = hosts.Docker()
        self.image = None
        self.client = hosts.Client(self.docker)
        self.db = {n: hosts.Host(self.docker, n, a)
                   for n, a in (('db1', '10.79.0.11'), ('db2', '10.79.0.12'))}
        self.witness = hosts.Host(self.docker, 'witness', '10.79.0.20')
        probes.BINARY = ROOT / 'build' / mode / 'probe-client'

    def all(self):
        return [*self.db.values(), self.witness]

    def boot(self):
        self.docker.start()
        self.image = self.docker.image(self.mode)
        self.docker.compose('up', '-d', image=self.image)
        for host in self.all():
            host.wait_booted()

    def close(self):
        try:
            self.client.end_all()
        finally:
            self.docker.close(self.image)

    def set_up(self):
        """As in docs/install.md: db1 has a database that runs, db2 is to become its copy."""
        db1, db2 = self.db.values()
        for host in (db1, db2):
            host.write('/etc/postgresql/15/main/conf.d/hamgr.conf', POSTGRES)
            host.sh(f"echo '{ACCESS}' >>/etc/postgresql/15/main/pg_hba.conf")
        db1.sh(f'systemctl restart {UNIT}')
        db2.sh(f'systemctl stop {UNIT}; rm -r {DATA}')
        db1.sh('hamgr keygen /etc/hamgr/cluster.key')
        key = db1.sh('cat /etc/hamgr/cluster.key')
        for host in (db1, db2):
            host.write('/etc/hamgr/cluster.key', key, 'postgres', '600')
            host.write('/etc/hamgr/hamgr.conf', SETTINGS)
            host.sh('hamgr config check')
        self.witness.write('/etc/hamgr/shop.key', key, 'hamgr-witness', '600')
        self.witness.write('/etc/hamgr/witness.conf',
                           'clusters = ( { name = "shop"; key_file = "/etc/hamgr/shop.key"; } );')
        self.witness.sh('systemctl enable --now hamgr-witness')
        for host in (db1, db2):
            host.sh('systemctl enable --now hamgr-fence hamgrd')

    def is_whole(self):
        """The name of the primary if every hamgrd says that all is well, and it is, else None."""
        told = [h.service() for h in self.db.values()]
        if not all(told) or len({s['holder'] for s in told}) != 1 or told[0]['holder'] not in self.db:
            return None
        primary = told[0]['holder']
        for service in told:
            if not service['pairs'] or not all(p['need'] > 0 for p in service['pairs']):
                return None
            if not all(m['is_streaming'] and m['is_healthy'] and m['follows'] == primary
                       for m in service['members'] if m['name'] in self.db and m['name'] != primary):
                return None
        roles = {n: h.query('SELECT pg_is_in_recovery()', check=False) for n, h in self.db.items()}
        return primary if all(r == ('f' if n == primary else 't') for n, r in roles.items()) else None

    def wait_whole(self, limit_s=120):
        return wait_until('one primary, its standby in sync, and every hamgrd says so',
                          self.is_whole, limit_s, 0.3)

    def epoch(self, name):
        return self.db[name].service()['epoch']


class Watch:
    """Clients around a fault: one that goes where the primary is, one that stays where it was."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.old = cluster.wait_whole()
        self.host = cluster.db[self.old]
        self.other = next(h for n, h in cluster.db.items() if n != self.old)
        self.epoch = cluster.epoch(self.old)
        self.moving = probes.Probe(cluster.client, cluster.db.values())
        self.pinned = probes.Probe(cluster.client, [self.host], patience_ms=0, is_pinned=True)
        for p in (self.moving, self.pinned):
            p.wait_acks(20, 30)
        self.began = now()

    def stop(self):
        for p in (self.moving, self.pinned):
            p.stop()

    def wait_taken_over(self, limit_s=60):
        self.moving.wait_ack_of(self.other.name, self.began, limit_s)

    def finish(self, moves):
        """Whole again; one writer; nothing lost. Returns a line about it."""
        new = self.cluster.wait_whole()
        self.moving.wait_acks(20, 30)
        self.stop()
        acks = [a for p in (self.moving, self.pinned) for a in p.acks()]
        overlap = probes.overlap(acks, self.old, new, self.began) if new != self.old else 0.0
        lost = probes.lost([self.moving, self.pinned], self.cluster.db[new].query)
        epochs = self.cluster.epoch(new) - self.epoch
        gap = probes.write_gap(self.moving.acks(), self.began)
        told = (f'{self.old} -> {new}, {epochs} epochs, gap {gap * 1000:.0f} ms, '
                f'{len(acks)} acknowledged, {len(lost)} lost')
        if overlap > 0 or lost:
            raise AssertionError(f'{told}; two writers for {overlap * 1000:.1f} ms; lost: {lost[:5]}')
        if moves is not None and moves != (new != self.old):
            raise AssertionError(f'{told}; troubles: {self.moving.troubles(self.began)[:5]}')
        return told
