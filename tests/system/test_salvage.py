"""What a failover in async would lose: fetched from the dead server's host where that lives, else
kept and named when the host comes back."""

import json
import os
import pathlib
import shutil
import signal
import subprocess

import pytest

import lab
import postgres
import scenarios
from cluster import Kind

ASYNC = Kind()


def rescues(cluster):
    return sum(cluster.log_text(h).count('notice rescued service=') for h in cluster.db.values())


@pytest.mark.parametrize('behind', [0, 15], ids=['streaming', 'behind'])
def test_nothing_is_lost_while_the_host_lives(get_cluster, behind):
    """kill -9 of the postmaster under full load; once with a standby that is far behind."""
    c = get_cluster(ASYNC)
    before = rescues(c)
    result = scenarios.postmaster_killed_loaded(c, behind=behind)
    assert result.new != result.old
    assert result.lost == 0
    assert result.overlap_s == 0
    assert result.gap_s <= 2.5
    if behind:
        assert rescues(c) == before + 1


def rows_of_a_lost_host(cluster, name):
    """The probes' rows in the files of a host that is off, with the transaction of each: a copy of
    its data directory is started apart from everything."""
    server = cluster.server[name]
    tmp = cluster.lab.dir / 'apart'
    tmp.mkdir()
    data = tmp / 'data'
    shutil.copytree(server.data, data, ignore=shutil.ignore_patterns('postmaster.pid', 'standby.signal'))
    (data / 'postgresql.auto.conf').write_text(
        f"port = 5999\nlisten_addresses = ''\nunix_socket_directories = '{tmp}'\n")
    subprocess.run(['chown', '-R', f'{lab.SERVER_USER}:', tmp], check=True)
    as_user = ['setpriv', '--reuid', lab.SERVER_USER, '--regid', lab.group_of(lab.SERVER_USER),
               '--init-groups']
    pg_ctl = [*as_user, postgres.bin_dir() / 'pg_ctl', '-D', data, '-s', '-w', '-t', '60']
    subprocess.run([*pg_ctl, '-l', tmp / 'log', 'start'], check=True, cwd='/')
    try:
        text = subprocess.run([*as_user, postgres.bin_dir() / 'psql', '-XAtq', '-F', ' ', '-h', tmp, '-p',
                               '5999', '-U', 'postgres', '-d', 'postgres', '-c',
                               'SELECT xmin, client, n FROM hamgr_probe'], check=True, cwd='/',
                              capture_output=True, text=True).stdout
    finally:
        subprocess.run([*pg_ctl, '-m', 'immediate', 'stop'], check=True, cwd='/')
        shutil.rmtree(tmp)
    return {(int(client), int(n)): int(xid)
            for xid, client, n in (line.split() for line in text.splitlines())}


def make_log_ahead(data, files=32):
    """Files of the log as a server makes them before it needs them: full of zeros."""
    newest = max(p.name for p in (data / 'pg_wal').iterdir() if len(p.name) == 24)
    for i in range(files):
        path = data / 'pg_wal' / f'{newest[:16]}{0x80 + i:08X}'
        path.touch(0o600)
        os.truncate(path, 16 << 20)
        shutil.chown(path, lab.SERVER_USER, lab.group_of(lab.SERVER_USER))


def test_what_is_lost_with_a_host_is_named(get_cluster):
    """async, the host lost under load and behind its standby: what the salvage lists is exactly what
    clients find missing, transaction by transaction."""
    c = get_cluster(ASYNC)
    c.server[c.primary()].stop_autovacuum()
    watch = scenarios.Watch(c)
    try:
        os.kill(int(c.server[watch.old].query('SELECT pid FROM pg_stat_replication LIMIT 1')),
                signal.SIGSTOP)
        watch.moving.wait_acks(60)
        watch.mark()
        watch.old_host.power_off()
        new = watch.wait_new_primary(scenarios.LIMIT_S)
        rows = rows_of_a_lost_host(c, watch.old)
        make_log_ahead(pathlib.Path(c.server[watch.old].data))
        scenarios.power_is_back(c, watch.old_host)
        result = watch.finish(40)
    finally:
        watch.stop()
    assert result.new == new != result.old
    assert result.lost > 0

    there = c.server[new].query("SELECT client || ' ' || n FROM hamgr_probe")
    there = {tuple(map(int, line.split())) for line in there.splitlines()}
    missing = {xid for row, xid in rows.items() if row not in there}
    acknowledged = {(p.id, a.number) for p in watch.all() for a in p.acks()}
    assert {rows[row] for row in acknowledged - there} <= missing

    shown = json.loads(c.hamgr(watch.old_host, 'diverged', 'show', '--json', check=True).stdout)['diverged']
    assert {commit['xid'] for commit in shown['commits']} == missing
    assert shown['committed'] == len(missing) and shown['why'] == ''
    assert [t['inserted'] for t in shown['tables'] if t['table'] == 'public.hamgr_probe'] == [len(missing)]
    listed = json.loads(c.hamgr(watch.old_host, 'diverged', 'list', '--json').stdout)['diverged']
    assert [d['id'] for d in listed][-1] == shown['id']
    warnings = c.status(watch.old_host)['warnings']
    assert any(shown['id'] in w for w in warnings), warnings
    segments = [p.name for p in pathlib.Path(shown['dir']).iterdir() if len(p.name) == 24]
    assert segments and shown['kept_bytes'] >= shown['bytes']

    assert c.hamgr(watch.old_host, 'diverged', 'purge', shown['id']).returncode == 0
    assert not pathlib.Path(shown['dir']).exists()
