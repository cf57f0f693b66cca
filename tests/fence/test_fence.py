"""hamgr-fence with a real server: every rung of the ladder that it owns."""
# pylint: disable=missing-function-docstring
import contextlib
import os
import pwd
import re
import signal
import socket
import threading

import pytest

import world
from world import (CLIENT, DISTRUST, HELLO, HM_BAD_INPUT, HM_OK, HM_REFUSED, KILL, LEASE,
                   MEMBER, MODE, NONE, PAUSED, PEERS, PORT, STANDBY, START, STATUS, SUSPENDED, THAW,
                   Session, now_ms, wait_for)


def is_suspended(report):
    return report["processes"] > 0 and report["stopped"] == report["processes"]


def all_stopped(postgres):
    states = postgres.processes()
    return states and set(states.values()) == {"T"}


def is_dead(postgres):
    """No process has a program any more; some may still be on their last way in the kernel."""
    for pid in postgres.processes():
        with contextlib.suppress(OSError):
            os.readlink(f"/proc/{pid}/exe")
            return False
    return True


def is_shut_out(net, **more):
    try:
        Session(net, timeout=0.5, **more).close()
    except (TimeoutError, ConnectionError):
        return True
    return False


def passes(net, **more):
    Session(net, **more).close()
    return True


def rest(seconds):
    threading.Event().wait(seconds)


# --- Redis ---------------------------------------------------------------------------------------


def test_every_thread_of_redis_is_stopped(make_fence, redis):
    """One process, several threads; Debian's program is a link to another name."""
    fence = make_fence(data=redis.data, redis=True).start()
    fence.lease(30000, 30000)
    assert len(redis.threads()) > 4
    assert redis.answers()
    fence.ask(MODE, mode=SUSPENDED)
    report = fence.hear(is_suspended)
    assert (report["processes"], report["is_held"]) == (1, True)
    assert set(redis.threads()) == {"T"}
    assert not redis.answers()
    fence.lease(30000, 30000)
    fence.ask(THAW)
    wait_for(redis.answers)
    wait_for(lambda: not fence.ask(STATUS)["is_held"])


def test_who_stopped_redis_is_told(make_fence, redis):
    """What somebody else stopped is not held."""
    fence = make_fence(data=redis.data, redis=True).start()
    fence.lease(30000, 30000)
    os.kill(redis.process.pid, signal.SIGSTOP)
    wait_for(lambda: fence.ask(STATUS)["stopped"] == 1)
    assert not fence.ask(STATUS)["is_held"]
    os.kill(redis.process.pid, signal.SIGCONT)


def test_a_client_of_a_killed_redis_hears_of_it_and_members_pass(make_fence, redis):
    fence = make_fence(data=redis.data, redis=True).start()
    fence.lease(30000, 30000, gate=False)
    assert redis.answers(MEMBER) and not redis.answers()  # a replica passes, a client does not
    fence.lease(30000, 30000)
    with redis.connect() as client:
        client.sendall(b"PING\r\n")
        assert client.recv(100) == b"+PONG\r\n"
        fence.ask(MODE, mode=SUSPENDED)
        fence.hear(is_suspended)
        client.sendall(b"SET a 1\r\n")
        fence.ask(KILL)
        with pytest.raises(ConnectionResetError):
            client.settimeout(5)
            client.recv(100)
    wait_for(lambda: redis.process.poll() is not None)


# --- suspending ----------------------------------------------------------------------------------


def test_it_suspends_at_the_deadline_with_nobody_asking(fence, postgres, load):
    wait_for(lambda: load.everyone_since(0))
    until = fence.lease(400, 500)["suspend_ms"]
    fence.disconnect()  # hamgrd is gone
    wait_for(lambda: all_stopped(postgres))
    rest(0.3)
    assert len(postgres.processes()) > 40
    assert 0 <= load.newest() / 1e6 - until + 400 < 500, "it was acknowledging before"
    late = load.newest() / 1e6 - until
    took = int(re.search(r"suspended .*took_us=(\d+)", fence.text()).group(1)) / 1000
    print(f"newest acknowledgement {late:.1f} ms behind the deadline, suspending took {took} ms")
    assert late < 50
    assert took <= 20
    assert fence.connect()
    report = fence.read()  # whoever connects hears it
    assert (report["seq"], report["mode"], is_suspended(report)) == (0, LEASE, True)


def test_thawed_clients_have_lost_no_connection(fence, postgres, load):
    wait_for(lambda: load.everyone_since(0))
    fence.ask(MODE, mode=SUSPENDED)
    fence.hear(is_suspended)
    assert all_stopped(postgres)
    fence.lease(30000, 30000)
    assert all_stopped(postgres), "an extension alone thaws nobody"
    before = load.newest()
    assert fence.ask(THAW)["rc"] == HM_OK
    fence.hear(lambda r: r["stopped"] == 0)
    wait_for(lambda: load.everyone_since(before))
    assert not load.lost


def test_a_thaw_is_refused_behind_the_deadline(fence, postgres):
    fence.lease(50, 100)
    fence.hear(is_suspended)
    answer = fence.ask(THAW)
    assert answer["rc"] == HM_REFUSED
    assert "not extended" in answer["why"] or "has ended" in answer["why"]
    assert all_stopped(postgres)
    fence.ask(MODE, mode=SUSPENDED)
    assert fence.ask(THAW)["rc"] == HM_REFUSED


def test_a_process_that_somebody_continues_is_stopped_again(fence, postgres):
    fence.ask(MODE, mode=SUSPENDED)
    fence.hear(is_suspended)
    os.kill(postgres.process.pid, signal.SIGCONT)
    wait_for(lambda: all_stopped(postgres))


def test_a_deadline_of_the_past_suspends_at_once(fence, postgres):
    assert fence.lease(-10, -5)["is_gate_open"] is False
    wait_for(lambda: all_stopped(postgres))


def test_a_standby_and_a_pause_have_no_deadline(fence, postgres):
    fence.lease(100, 150)
    fence.ask(MODE, mode=PAUSED, gate=True)
    rest(0.3)
    assert fence.ask(STATUS)["stopped"] == 0
    fence.lease(100, 150)
    fence.ask(MODE, mode=STANDBY, gate=True)
    rest(0.3)
    assert fence.ask(STATUS)["stopped"] == 0
    assert postgres.sql("SELECT 1") == "1"


def test_everything_is_killed_the_stopped_and_the_running(fence, postgres, load):
    wait_for(lambda: load.everyone_since(0))
    fence.ask(MODE, mode=SUSPENDED)
    fence.hear(is_suspended)
    assert fence.ask(KILL)["rc"] == HM_OK
    fence.hear(lambda r: r["processes"] == 0)
    assert is_dead(postgres)


def test_orphans_of_a_dead_postmaster_are_killed(fence, postgres, load):
    wait_for(lambda: load.everyone_since(0))
    os.kill(postgres.process.pid, signal.SIGKILL)
    assert fence.ask(KILL)["rc"] == HM_OK
    if fence.ask(STATUS)["processes"]:
        fence.hear(lambda r: r["processes"] == 0)
    assert is_dead(postgres)
    newest = load.newest()
    rest(0.2)
    assert load.newest() == newest


def test_a_server_that_starts_after_a_suspension_is_left_alone(fence, postgres):
    fence.ask(KILL)
    wait_for(lambda: not postgres.processes())
    fence.ask(MODE, mode=SUSPENDED)
    fence.ask(MODE, mode=STANDBY, gate=True)
    postgres.ensure()
    rest(0.8)  # longer than the pause between two looks at what stays stopped
    assert fence.ask(STATUS)["stopped"] == 0
    assert postgres.sql("SELECT 1") == "1"


def test_such_a_server_is_suspended_at_its_own_deadline(fence, postgres):
    fence.ask(KILL)
    wait_for(lambda: not postgres.processes())
    fence.ask(MODE, mode=SUSPENDED)
    wait_for(lambda: "suspended service=" in fence.text())  # that there is none is proved
    fence.ask(MODE, mode=STANDBY, gate=True)
    postgres.ensure()
    fence.lease(400, 500)
    wait_for(lambda: all_stopped(postgres))


# --- the helper's own restart --------------------------------------------------------------------


def test_a_new_helper_takes_over_the_deadline(fence, postgres):
    told = fence.lease(800, 900)
    fence.signal(signal.SIGKILL)
    fence.start()
    report = fence.ask(STATUS)
    assert (report["mode"], report["until_ms"]) == (LEASE, told["until_ms"])
    assert report["stopped"] == 0
    fence.hear(is_suspended)
    assert now_ms() >= told["suspend_ms"]
    assert all_stopped(postgres)


def test_a_new_helper_suspends_what_ran_past_its_deadline(fence, postgres):
    fence.lease(100, 150)
    fence.signal(signal.SIGKILL)
    rest(0.3)
    assert not all_stopped(postgres)
    fence.start()
    wait_for(lambda: all_stopped(postgres))


@pytest.mark.parametrize("how", ["removed", "garbled"])
def test_a_lost_file_suspends(fence, postgres, how):
    fence.lease(30000, 30000)
    fence.signal(signal.SIGKILL)
    if how == "removed":
        os.unlink(f"{fence.run_dir}/pg.lease")
    else:
        with open(f"{fence.run_dir}/pg.lease", "r+b") as f:
            f.write(b"garbage" * 40)
    fence.start()
    assert fence.ask(STATUS)["mode"] == SUSPENDED
    wait_for(lambda: all_stopped(postgres))
    fence.lease(30000, 30000)
    assert fence.ask(THAW)["rc"] == HM_OK
    wait_for(lambda: not postgres.stopped())


def test_a_directory_that_was_emptied_suspends_because_the_gate_remembers(fence, postgres):
    fence.lease(30000, 30000)
    fence.signal(signal.SIGKILL)
    for name in os.listdir(fence.run_dir):
        os.unlink(f"{fence.run_dir}/{name}")
    fence.start()
    assert fence.ask(STATUS)["mode"] == SUSPENDED
    wait_for(lambda: all_stopped(postgres))


def test_a_first_start_leaves_the_server_alone_and_so_does_the_second(fence, postgres):
    assert fence.ask(STATUS)["mode"] == NONE
    assert fence.ask(THAW)["rc"] == HM_REFUSED
    fence.signal(signal.SIGKILL)
    fence.start()
    assert fence.ask(STATUS)["mode"] == NONE
    rest(0.1)
    assert not postgres.stopped()


# --- the gate ------------------------------------------------------------------------------------


def test_before_the_role_is_known_only_members_pass(fence, net):
    report = fence.ask(STATUS)
    assert report["has_gate"] and not report["is_gate_open"]
    assert passes(net, source=MEMBER)
    assert is_shut_out(net, source=CLIENT)
    assert is_shut_out(net, source=None, host="127.0.0.1", where=net.here)


def test_members_change_while_the_helper_runs(fence, net):
    fence.lease(30000, 30000, gate=False)
    assert fence.ask(PEERS, peers=[CLIENT, "not.literal"])["rc"] == HM_OK
    assert passes(net, source=CLIENT)
    assert is_shut_out(net, source=MEMBER)
    assert fence.ask(PEERS, peers=[MEMBER])["rc"] == HM_OK
    assert passes(net, source=MEMBER)
    assert is_shut_out(net, source=CLIENT)
    fence.lease(30000, 30000, gate=True)
    assert passes(net, source=CLIENT)


def test_members_pass_when_clients_do_not(fence, net):
    fence.lease(30000, 30000, gate=False)
    assert is_shut_out(net, source=CLIENT)
    assert passes(net, source=MEMBER)
    fence.lease(30000, 30000, gate=True)
    assert passes(net, source=CLIENT)
    assert passes(net, source=None, host="127.0.0.1", where=net.here)


def test_nobody_passes_once_it_is_suspended(fence, net, postgres):
    fence.lease(30000, 30000)
    sessions = [Session(net, source=a) for a in (MEMBER, CLIENT)]
    fence.ask(MODE, mode=SUSPENDED)
    fence.hear(is_suspended)
    for session in sessions:
        session.send("SELECT 1")
    os.kill(fence.pid(), signal.SIGSTOP)
    for pid in postgres.processes():
        os.kill(pid, signal.SIGCONT)  # the gate alone must do
    for session in sessions:
        session.socket.settimeout(0.4)
        with pytest.raises(TimeoutError):
            session.read_ready()
        session.close()


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
def test_the_gate_closes_by_itself(fence, postgres, load, how):
    wait_for(lambda: load.everyone_since(0))
    until = fence.lease(600, 600)["until_ms"]
    fence.signal(how)
    rest(1.2)
    assert not all_stopped(postgres), "the servers still run"
    late = load.newest() / 1e6 - until
    print(f"newest acknowledgement {late:.1f} ms behind the end of the lease")
    assert -400 < late < 5


def test_renewals_keep_the_gate_open(fence, load):
    for _ in range(12):
        fence.lease(300, 300)
        rest(0.1)
    at = load.newest()
    fence.lease(2000, 2000)
    wait_for(lambda: load.everyone_since(at))
    assert not load.lost


def hold_back(fence, net):
    """A session whose commit is acknowledged, with the acknowledgement held back by the gate."""
    fence.lease(30000, 30000)
    session = Session(net)
    session.query("CREATE TABLE IF NOT EXISTS held (x int)")
    session.query("TRUNCATE held")
    fence.lease(30000, 30000, gate=False)
    session.send("INSERT INTO held VALUES (1)")
    return session


def test_what_the_kernel_held_back_does_not_arrive_from_a_killed_server(fence, net, postgres):
    session = hold_back(fence, net)
    wait_for(lambda: postgres.sql("SELECT count(*) FROM held") == "1")
    fence.ask(KILL)
    if fence.ask(STATUS)["processes"]:
        fence.hear(lambda r: r["processes"] == 0)
    assert fence.ask(MODE, mode=STANDBY, gate=True)["is_gate_open"]
    session.socket.settimeout(3)
    data = b""
    with contextlib.suppress(TimeoutError, ConnectionError):
        data = session.socket.recv(100)
    assert data == b""
    session.close()


def test_a_client_learns_of_the_kill_though_the_gate_is_closed(fence, net, postgres):
    fence.lease(30000, 30000)
    session = Session(net, timeout=2)
    fence.ask(MODE, mode=SUSPENDED)
    fence.hear(is_suspended)
    fence.ask(KILL)
    wait_for(lambda: not postgres.processes())
    with pytest.raises(ConnectionError):
        session.query("SELECT 1")
    session.close()


def test_without_the_helper_it_would_have_arrived(fence, net, postgres):
    """The control of the test above: killed by others, and the gate opened under a lease."""
    session = hold_back(fence, net)
    wait_for(lambda: postgres.sql("SELECT count(*) FROM held") == "1")
    postgres.kill()
    fence.lease(30000, 30000)
    session.socket.settimeout(5)
    assert b"C" in session.take(session.socket.recv(100))
    session.close()


def test_a_standby_has_its_sockets_destroyed_before_the_gate_opens(fence, net, postgres):
    session = hold_back(fence, net)
    wait_for(lambda: postgres.sql("SELECT count(*) FROM held") == "1")
    postgres.kill()
    assert fence.ask(MODE, mode=STANDBY, gate=True)["rc"] == HM_OK
    session.socket.settimeout(3)
    with pytest.raises((TimeoutError, ConnectionError)):
        assert session.socket.recv(100) == b""
        raise ConnectionError
    session.close()


def test_telling_a_standby_again_leaves_its_clients_alone(fence, net):
    fence.ask(MODE, mode=STANDBY, gate=True)
    session = Session(net)
    for _ in range(3):
        assert fence.ask(MODE, mode=STANDBY, gate=True)["rc"] == HM_OK
    session.query("SELECT 1")
    session.close()


def test_sockets_to_a_dead_server_elsewhere_are_destroyed(fence, net):
    with net.inside(net.there):
        listeners = [socket.create_server((a, PORT)) for a in (MEMBER, CLIENT)]
    with net.inside(net.here):
        other, kept = (socket.create_connection((a, PORT)) for a in (MEMBER, CLIENT))
    assert fence.ask(DISTRUST, peer="no address")["rc"] == HM_BAD_INPUT
    assert fence.ask(DISTRUST, peer=MEMBER)["rc"] == HM_OK
    with pytest.raises(ConnectionAbortedError):
        other.recv(1)
    kept.send(b"x")
    for s in (other, kept, *listeners):
        s.close()


def test_sockets_of_the_own_port_are_destroyed_on_demand(fence, net):
    fence.ask(MODE, mode=PAUSED, gate=True)
    session = Session(net)
    assert fence.ask(DISTRUST)["rc"] == HM_OK
    with pytest.raises(ConnectionError):
        session.query("SELECT 1")
    session.close()


def test_a_restart_of_the_helper_keeps_the_gate_as_it_was(fence, load):
    wait_for(lambda: load.everyone_since(0))
    fence.signal(signal.SIGKILL)
    fence.start()
    at = load.newest()
    wait_for(lambda: load.everyone_since(at))
    assert fence.ask(STATUS)["is_gate_open"]
    assert not load.lost


# --- who may ask, and what -----------------------------------------------------------------------


def test_a_stranger_is_refused(fence):
    os.chmod(f"{fence.run_dir}/fence.sock", 0o666)
    ends = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        s = fence.raw()
        word = b"?"
        try:
            s.connect(f"{fence.run_dir}/fence.sock")
            s.send(fence.packet(STATUS))
            word = b"closed" if s.recv(4096) == b"" else b"answered"
        except ConnectionError:
            word = b"closed"
        finally:
            os.write(ends[1], word)
            os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(ends[0], 20) == b"closed"
    assert "stranger refused uid=65534" in fence.text()
    for end in ends:
        os.close(end)


def test_the_socket_is_for_its_user_only(fence):
    info = os.stat(f"{fence.run_dir}/fence.sock")
    assert (info.st_mode & 0o777, info.st_uid) == (0o660, pwd.getpwnam("postgres").pw_uid)


def test_an_unknown_service_is_refused(fence):
    answer = fence.ask(KILL, service="other")
    assert answer["rc"] == HM_BAD_INPUT
    assert "other" in answer["why"]


def test_a_unit_is_started_only_where_systemd_controls(fence):
    assert fence.ask(START)["rc"] == HM_REFUSED


def test_systemctl_is_asked_and_its_failure_told(make_fence, postgres):
    """No systemd runs here, so it fails; that it was called, and reaped, can be seen."""
    assert postgres.process.poll() is None
    fence = make_fence(control="systemd:hamgr-test-none.service").start()
    assert fence.ask(START)["rc"] == HM_OK
    wait_for(lambda: "systemctl failed pid=" in fence.text())
    assert fence.ask(HELLO)["rc"] == HM_OK


def test_a_greeting_is_answered_without_looking(fence):
    looked = fence.ask(STATUS)["scanned_ms"]
    rest(0.01)
    assert fence.ask(HELLO)["scanned_ms"] == looked
    assert fence.ask(STATUS)["scanned_ms"] > looked


@pytest.mark.parametrize("wrong", [{"version": 1}, {"verb": 99}, {"mode": 77}])
def test_a_wrong_packet_ends_the_connection(fence, wrong):
    packet = fence.packet(**({"verb": STATUS} | wrong))
    fence.read()  # the greeting
    fence.socket.send(packet)
    with pytest.raises(ConnectionError):
        fence.read()
    assert fence.connect() and fence.ask(STATUS)["rc"] == HM_OK


def test_the_newest_connection_takes_the_place_of_the_one_before(fence):
    fence.ask(STATUS)
    older = fence.socket
    fence.socket = None
    fence.connect()
    fence.ask(STATUS)
    assert older.recv(4096) == b""
    older.close()


def test_a_second_helper_does_not_start_beside_it(fence):
    second = world.subprocess.run([world.PROGRAM, "-c", fence.file], check=False,
                                  capture_output=True, text=True)
    assert second.returncode == 1
    assert "another hamgr-fence" in second.stderr
    assert fence.ask(STATUS)["rc"] == HM_OK


# --- as a child, without root's rights -----------------------------------------------------------


def test_a_child_suspends_without_root(make_fence, postgres):
    fence = make_fence(child=True).start()
    report = fence.lease(200, 250)
    assert not report["has_gate"]
    fence.hear(is_suspended)
    assert all_stopped(postgres)
    fence.lease(30000, 30000)
    assert fence.ask(THAW)["rc"] == HM_OK
    fence.hear(lambda r: r["stopped"] == 0)
    assert fence.ask(MODE, mode=STANDBY, gate=True)["is_gate_open"]


def test_a_child_told_to_end_stays_until_the_lease_is_over(make_fence, postgres):
    fence = make_fence(child=True).start()
    fence.lease(500, 600)
    fence.disconnect()
    fence.signal(signal.SIGTERM)
    rest(0.2)
    assert fence.process.poll() is None
    assert fence.process.wait(2) == 0
    assert all_stopped(postgres)


def test_root_ends_at_once_and_leaves_the_file(fence, postgres):
    fence.lease(30000, 30000)
    fence.signal(signal.SIGTERM)
    assert fence.process.wait(2) == 0
    fence.start()
    assert fence.ask(STATUS)["mode"] == LEASE
    assert not postgres.stopped()


# --- what it costs -------------------------------------------------------------------------------


def cpu_s(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_renewals_are_cheap(fence):
    before = cpu_s(fence.pid())
    for _ in range(4000):
        fence.lease(30000, 30000)
    each_us = (cpu_s(fence.pid()) - before) / 4000 * 1e6
    print(f"a renewal costs {each_us:.0f} us: {each_us * 4 / 1e4:.4f} % of a core at four a second")
    assert each_us < 250  # 0.1 % of a core


def test_it_is_small(fence):
    fence.lease(30000, 30000)
    with open(f"/proc/{fence.pid()}/smaps_rollup", encoding="ascii") as f:
        numbers = dict(re.findall(r"(\w+):\s+(\d+) kB", f.read()))
    print(f"PSS {numbers['Pss']} kB, locked {numbers['Locked']} kB")
    assert int(numbers["Pss"]) < (30000 if os.environ.get("MODE") == "asan" else 3000)
