"""Copies that come back by themselves, by whatever way is left; and by order."""

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


def test_log_gone(get_cluster):
    check(rejoin.log_gone(get_cluster(ASYNC)), ['clone'])


def test_by_order(get_cluster):
    check(rejoin.by_order(get_cluster(ASYNC)), ['clone'])


def test_by_command(get_cluster):
    command = ('$HAMGR_BIN_DIR/pg_basebackup -D $HAMGR_TARGET -h $HAMGR_SOURCE_HOST '
               '-p $HAMGR_SOURCE_PORT -U $HAMGR_SOURCE_USER -c fast -X none')
    check(rejoin.by_command(get_cluster(ASYNC), command), ['clone'])
