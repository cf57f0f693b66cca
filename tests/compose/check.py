"""make check-compose: hamgr's units on a real systemd. One cluster, one case after the other; each
ends with one primary, a standby in sync, and everything there that was acknowledged."""

import os
import sys
import traceback

import cluster as clusters
from hosts import DATA, UNIT
from lab import let_pass, now, wait_until

OWN_UNITS = ('hamgrd', 'hamgr-fence', 'hamgr-witness')


def expect(is_so, what):
    if not is_so:
        raise AssertionError(what)


# --- the cases --------------------------------------------------------------------------------------

def units_are_well_formed(c):
    files = ' '.join(f'{u}.service' for u in OWN_UNITS)
    done = c.docker('exec', c.db['db1'].container, 'sh', '-c',
                    f'systemd-analyze verify {files} {UNIT}.service 2>&1', check=False)
    expect(done.returncode == 0 and 'hamgr' not in done.stdout, done.stdout)


def installed_but_not_set_up_it_disturbs_nobody(c):
    host = c.db['db1']
    expect(host.sh('systemctl is-system-running') == 'running', host.sh('systemctl --failed'))
    host.sh(f'systemctl restart {UNIT}')
    wait_until('the server accepts writes', lambda: host.query(
        'SELECT pg_is_in_recovery()', check=False) == 'f', 60)
    for unit in ('hamgr-fence', 'hamgrd'):
        host.sh(f'systemctl start {unit}')
        expect(host.show(unit, 'ActiveState', 'ConditionResult') == ['inactive', 'no'], unit)


def a_running_primary_is_adopted_and_an_empty_host_cloned(c):
    host = c.db['db1']
    c.set_up()
    pid = host.main_pid(UNIT)
    primary = c.wait_whole()
    expect(primary == 'db1', f'{primary} became primary')
    expect(host.main_pid(UNIT) == pid, 'the adopted server was restarted')
    for h in c.db.values():
        for unit in (UNIT, 'hamgrd', 'hamgr-fence'):
            wait_until(f'{unit} of {h.name} is active',
                       lambda h=h, unit=unit: h.show(unit, 'ActiveState') == ['active'], 60)
        expect(h.show('hamgrd', 'NRestarts') == ['0'], f'hamgrd of {h.name} was restarted')
        server = h.sh(f'cat /proc/$(head -n 1 {DATA}/postmaster.pid)/cgroup')
        expect(UNIT in server and 'hamgrd' not in server, f'the server lives in {server}')
    host.query('CREATE TABLE hamgr_probe (client int, n bigint, PRIMARY KEY (client, n))')
    return f'status: {host.show("hamgrd", "StatusText")[0]}'


def a_killed_postmaster_fails_over(c):
    w = clusters.Watch(c)
    w.host.sh(f'kill -9 $(head -n 1 {DATA}/postmaster.pid)')
    w.wait_taken_over()
    return w.finish(True)


def a_paused_host_fails_over_and_is_no_second_writer(c):
    w = clusters.Watch(c)
    c.docker('pause', w.host.container)
    try:
        w.wait_taken_over()
    finally:
        c.docker('unpause', w.host.container)
    return w.finish(True)


def a_disconnected_host_fails_over_and_comes_back(c):
    w = clusters.Watch(c)
    w.host.disconnect()
    try:
        w.wait_taken_over()
    finally:
        w.host.connect()
    return w.finish(True)


def the_order_of_an_operator_hands_over(c):
    w = clusters.Watch(c)
    w.host.sh('hamgr switchover')
    return w.finish(True)


def no_client_sees_a_restart_of_the_daemons(c):
    w = clusters.Watch(c)
    pids = [h.postmaster() for h in c.db.values()]
    for host in (w.host, w.other):
        for units in ('hamgrd', 'hamgr-fence', 'hamgr-fence hamgrd'):
            host.sh(f'systemctl restart {units}')
            w.moving.wait_acks(50, 30)
            c.wait_whole()
    c.witness.sh('systemctl restart hamgr-witness')
    w.moving.wait_acks(50, 30)
    told = w.finish(False)
    troubles = w.moving.troubles(w.began) + w.pinned.troubles(w.began)
    expect(not troubles, f'{told}: clients saw {troubles[:5]}')
    expect([h.postmaster() for h in c.db.values()] == pids, 'a server was restarted')
    return told


def daemons_that_die_or_hang_are_started_again(c):
    w = clusters.Watch(c)
    for unit in ('hamgrd', 'hamgr-fence'):
        before = w.other.main_pid(unit)
        w.other.sh(f'kill -9 {before}')
        wait_until(f'{unit} runs again', lambda b=before, u=unit:
                   w.other.main_pid(u) not in ('0', b) and w.other.show(u, 'ActiveState') == ['active'], 60)
        before = w.other.main_pid(unit)
        w.other.sh(f'kill -STOP {before}')  # until systemd's watchdog ends it
        wait_until(f'{unit} runs again after it hung', lambda b=before, u=unit:
                   w.other.main_pid(u) not in ('0', b) and w.other.show(u, 'ActiveState') == ['active'], 120)
    return w.finish(False)


def what_starts_by_its_unit_meets_the_guard(c):
    w = clusters.Watch(c)
    for command in (f'systemctl restart {UNIT}', 'pg_ctlcluster 15 main restart -m fast'):
        w.other.sh(f'rm {DATA}/standby.signal; {command}')
        expect('t' == wait_until('the server answers', lambda: w.other.query(
            'SELECT pg_is_in_recovery()', check=False), 60), f'writable after "{command}"')
        c.wait_whole()
    return w.finish(False)


def a_primary_that_was_started_past_the_guard_acknowledges_nothing(c):
    """By pg_ctl, as postgres, on a host where hamgrd does not run: all that is left is the setting
    that hamgrd gives to every standby."""
    w = clusters.Watch(c)
    host = w.other
    host.sh(f'systemctl stop hamgrd; systemctl stop {UNIT}; rm {DATA}/standby.signal')
    host.sh(f'/usr/lib/postgresql/15/bin/pg_ctl -D {DATA} -w -l /tmp/by-hand.log '
            '-o "-c config_file=/etc/postgresql/15/main/postgresql.conf" start', user='postgres')
    expect(host.query('SELECT pg_is_in_recovery()') == 'f', 'it is a standby: nothing is tried')
    stranger = clusters.probes.Probe(c.client, [host], patience_ms=0, is_pinned=True)
    try:
        wait_until('a write waits there', lambda: host.query(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") != '0', 60)
        let_pass(2)
        expect(c.epoch(w.old) == w.epoch, 'another primary')
        w.moving.wait_acks(20, 30)
        host.sh('systemctl start hamgrd')
        wait_until('hamgrd has made it a standby', lambda: host.query(
            'SELECT pg_is_in_recovery()', check=False) == 't', 60)
        # What it wrote makes it no copy any more; as docs/install.md says, it is made anew by hand.
        host.sh(f'systemctl stop hamgrd {UNIT}; rm -r {DATA}; systemctl start hamgrd')
        c.wait_whole()
        expect(not stranger.acks(), f'{len(stranger.acks())} writes acknowledged by {host.name}')
    finally:
        stranger.stop()
    return w.finish(False)


def a_host_that_shuts_down_and_boots_finds_its_place(c):
    w = clusters.Watch(c)
    c.docker('restart', '-t', '60', w.host.container)
    w.wait_taken_over()
    w.host.wait_booted()
    return w.finish(True)


def a_host_that_loses_power_and_boots_finds_its_place(c):
    w = clusters.Watch(c)
    c.docker('kill', w.host.container)
    w.wait_taken_over()
    c.docker('start', w.host.container)
    w.host.wait_booted()
    return w.finish(True)


def the_whole_cluster_boots_by_itself(c):
    w = clusters.Watch(c)
    c.docker('kill', *(h.container for h in c.all()))
    w.stop()
    since = now()
    c.docker('start', *(h.container for h in c.all()))
    new = c.wait_whole(180)
    lost = clusters.probes.lost([w.moving, w.pinned], c.db[new].query)
    expect(not lost, f'lost: {lost[:5]}')
    return f'whole {now() - since:.0f} s after the power came back'


CASES = [units_are_well_formed, installed_but_not_set_up_it_disturbs_nobody,
         a_running_primary_is_adopted_and_an_empty_host_cloned, a_killed_postmaster_fails_over,
         a_paused_host_fails_over_and_is_no_second_writer, a_disconnected_host_fails_over_and_comes_back,
         the_order_of_an_operator_hands_over, no_client_sees_a_restart_of_the_daemons,
         daemons_that_die_or_hang_are_started_again,
         what_starts_by_its_unit_meets_the_guard,
         a_primary_that_was_started_past_the_guard_acknowledges_nothing,
         a_host_that_shuts_down_and_boots_finds_its_place,
         a_host_that_loses_power_and_boots_finds_its_place, the_whole_cluster_boots_by_itself]


def show_hosts(c):
    for host in c.all():
        print(f'--- {host.name}', host.sh(
            'hamgr status; systemctl --failed --no-legend; journalctl -n 60 --no-pager -o short-precise '
            '-u "hamgr*" -u "postgresql@*"', check=False), sep='\n', flush=True)


def main():
    passed = 0
    c = clusters.Cluster(os.environ.get('MODE', 'release'))
    try:
        c.boot()
        for case in CASES:
            since = now()
            told = case(c)
            passed += 1
            print(f'ok   {case.__name__} ({now() - since:.0f} s){": " + told if told else ""}', flush=True)
    except Exception:  # whatever it was, the hosts' state explains it
        traceback.print_exc()
        show_hosts(c)
    finally:
        c.close()
    print(f'cases: passed={passed} failed={len(CASES) - passed}')
    return 0 if passed == len(CASES) else 1


if __name__ == '__main__':
    sys.exit(main())
