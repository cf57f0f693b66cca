"""Who the server lets in: what a person is told when it is nobody, or not hamgr."""

import signal

from cluster import Kind
from lab import wait_until

FAILED, USAGE = 1, 2
ASYNC = Kind(timing='lan')
SESSIONS = 57  # max_connections less those that are reserved
REFUSED = "let hamgr's user in"


def warned(c, host, what):
    return any(what in w for w in c.status(host).get('warnings', []))


def test_taken_connections_are_told(get_cluster):
    """hamgr itself has its connections in advance, and nothing else would tell."""
    c = get_cluster(ASYNC)
    name = c.healthy_primary()
    host, server = c.db[name], c.server[name]
    server.query('DO $$ BEGIN CREATE ROLE app LOGIN; EXCEPTION WHEN duplicate_object THEN END $$')
    argv = ['/usr/bin/env', 'PGUSER=app', 'sh', '-c',
            f'for i in $(seq {SESSIONS}); do "$@" -c "SELECT pg_sleep(60)" & done; wait', 'sh',
            *server.psql(), '-U', 'app']
    crowd = host.start('crowd', argv, user='postgres')
    try:
        wait_until('taken connections are told', lambda: warned(
            c, host, 'connections that clients may have'), 60)
    finally:
        server.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
        crowd.popen.wait(30)
    wait_until('nobody is refused any more', lambda: not warned(
        c, host, 'connections that clients may have'), 60)


def test_a_refused_login_is_told(get_cluster):
    """pg_hba.conf changed, and hamgrd started anew: the server says why, so hamgr must, too."""
    c = get_cluster(ASYNC)
    name = c.standby()
    host, server = c.db[name], c.server[name]
    access = server.data / 'pg_hba.conf'
    before = access.read_text()
    try:
        access.write_text('local all all reject\n' + before)
        server.host.run(['kill', '-HUP', str(server.main_pid())])
        host.processes['hamgrd'].popen.send_signal(signal.SIGKILL)
        host.processes['hamgrd'].popen.wait(10)
        c.start_hamgrd(host)
        wait_until('the reason is told', lambda: warned(c, host, REFUSED), 60)
        found = c.hamgr(host, 'check').stdout
        assert 'pg_hba.conf rejects' in ' '.join(found.split()), found
    finally:
        access.write_text(before)
        server.host.run(['kill', '-HUP', str(server.main_pid())])
    wait_until('it is let in again', lambda: not warned(c, host, REFUSED), 60)


def test_a_file_with_a_fault_is_told_before_it_is_needed(get_cluster):
    """The settings of before stay in force; SIGHUP, `check` and `config check` name what is wrong."""
    c = get_cluster(ASYNC)
    host = c.db[c.standby()]
    hamgrd = host.processes['hamgrd']
    conf = c.conf(host)
    before = conf.read_text()
    fault = "passfile: '/nowhere/pass' cannot be read: No such file or directory"
    try:
        conf.write_text(before.replace('control = "pg_ctl";', 'control = "pg_ctl"; passfile = "/nowhere/pass";'))
        hamgrd.popen.send_signal(signal.SIGHUP)
        wait_until('the log names the file', lambda: fault in c.log_text(host), 30)
        checked = c.hamgr(host, 'check')
        assert checked.returncode == FAILED and 'FAIL  hamgr.conf' in checked.stdout, checked.stdout
        checked = c.hamgr(host, 'config', 'check')
        assert checked.returncode == USAGE and fault in checked.stderr, checked.stderr
    finally:
        conf.write_text(before)
    hamgrd.popen.send_signal(signal.SIGHUP)
    wait_until('it is sound again', lambda: 'is sound, and so is what it names' in c.log_text(host), 30)
    assert hamgrd.popen.poll() is None
