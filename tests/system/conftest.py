"""One cluster at a time, shared by tests that follow each other and want the same kind."""

import pathlib
import shutil

import pytest

import cluster as clusters
import lab

LOGS = clusters.REPOSITORY / 'build' / 'system'


class Pool:
    """The cluster that is there now."""

    def __init__(self):
        self.current = None

    def get(self, kind):
        """A healthy cluster of that kind: the last one if it is and can be mended, else a new one."""
        if self.current and self.current.kind == kind:
            try:
                self.current.mend()
                return self.current
            except (lab.LabError, KeyError, OSError):
                self.drop()
        self.drop()
        self.current = clusters.Cluster(kind)
        self.current.start()
        return self.current

    def drop(self):
        if self.current:
            self.current.close()
            self.current = None


POOL = Pool()


@pytest.fixture(scope='session', autouse=True)
def _labs():
    lab.guard_exit()
    lab.sweep()
    shutil.rmtree(LOGS, ignore_errors=True)
    yield
    POOL.drop()


@pytest.fixture
def get_cluster():
    """get_cluster(kind): a healthy cluster of that kind."""
    return POOL.get


@pytest.fixture
def make_cluster():
    """make_cluster(kind): one that was not started yet."""
    def make(kind):
        POOL.drop()
        POOL.current = clusters.Cluster(kind)
        return POOL.current
    return make


@pytest.fixture
def drop_cluster():
    """drop_cluster(): the next test gets another one."""
    return POOL.drop


def _keep_logs(name):
    """All logs of the lab, for later; nothing of the databases."""
    to = LOGS / name.replace('/', '-')
    for host in POOL.current.lab.hosts.values():
        target = to / host.name
        target.mkdir(parents=True, exist_ok=True)
        for log in host.log_files():
            shutil.copy(log, target)
    return to


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed and POOL.current:
        kept = _keep_logs(item.name)
        report.sections.append((f'ends of the logs; all of them: {pathlib.Path(kept)}',
                                POOL.current.lab.logs()))
        POOL.drop()  # the next test gets a cluster that nothing happened to


def pytest_terminal_summary(terminalreporter):
    stats = terminalreporter.stats
    failed = len(stats.get('failed', [])) + len(stats.get('error', []))
    terminalreporter.write_line(f"cases: passed={len(stats.get('passed', []))} failed={failed}")
