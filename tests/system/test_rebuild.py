"""Copies that come back by themselves, by whatever way is left; and by order."""

import json

import pytest

import rejoin
from cluster import Kind

ASYNC = Kind()


def check(result, began, limit_s=60):
    assert result.epochs == 0
    assert result.back_s < limit_s
    assert [b for i, b in enumerate(result.began) if i == 0 or b != result.began[i - 1]] == began


def test_rewound(get_cluster):
    """The benchmark wants 5 s with 1 GiB of data."""
    check(rejoin.rewound(get_cluster(ASYNC)), ['rewind'], 50)


def test_cloned_where_a_rewind_is_impossible(get_cluster):
    assert rejoin.not_rewound(get_cluster(ASYNC)).began[-1] == 'clone'


def test_killed_meanwhile(get_cluster):
    cluster = get_cluster(ASYNC)
    assert rejoin.killed_meanwhile(cluster).began[-1] == 'clone'
    for server in cluster.server.values():
        assert server.data.exists()
        assert not list(server.data.parent.glob('data.hamgr-new'))


@pytest.mark.parametrize('is_ended', [True, False], ids=['ended', 'running'])
def test_primary_made_by_hand(get_cluster, is_ended):
    """It wrote on the timeline that it followed: no number, and not pg_rewind, shows what it has alone."""
    cluster = get_cluster(ASYNC)
    result, name, rows = rejoin.forged(cluster, is_ended)
    check(result, ['clone'])
    texts = cluster.server[name].query('SELECT DISTINCT t FROM filler WHERE length(t) < 20')
    assert 'rightful' in texts and 'alone' not in texts
    shown = json.loads(cluster.hamgr(cluster.db[name], 'diverged', 'show', '--json', check=True).stdout)
    assert shown['diverged']['why'] == ''
    assert shown['diverged']['committed'] == rows
    assert [t['inserted'] for t in shown['diverged']['tables'] if t['table'] == 'public.filler'] == [rows]


def test_log_gone(get_cluster):
    check(rejoin.log_gone(get_cluster(ASYNC)), ['clone'])


def test_by_order(get_cluster):
    check(rejoin.by_order(get_cluster(ASYNC), is_killed=True), ['clone'])


def test_by_command(get_cluster):
    command = ('$HAMGR_BIN_DIR/pg_basebackup -D $HAMGR_TARGET -h $HAMGR_SOURCE_HOST '
               '-p $HAMGR_SOURCE_PORT -U $HAMGR_SOURCE_USER -c fast -X none')
    check(rejoin.by_command(get_cluster(ASYNC), command), ['clone'])
