"""One server and its two namespaces for all tests; a fresh helper for each."""
import os
import shutil
import tempfile

import pytest

import world

if os.geteuid() != 0:
    pytest.exit("the tests of hamgr-fence need root: they make network namespaces", 1)


@pytest.fixture(scope="session", name="net")
def make_net():
    net = world.Net()
    try:
        net.open()
        yield net
    finally:
        net.close()


@pytest.fixture(scope="session", name="server")
def make_server(net):
    base = world.make_base()
    server = world.Postgres(net, base)
    try:
        server.make()
        yield server
    finally:
        server.kill()
        shutil.rmtree(base, ignore_errors=True)


@pytest.fixture(name="postgres")
def running_server(server):
    server.ensure()
    return server


@pytest.fixture(name="make_fence")
def fences(net, server):
    """Makes helpers; all are gone afterwards, with their gates."""
    base = tempfile.mkdtemp(prefix="hamgr-fence-run-")
    os.chmod(base, 0o755)
    made = []

    def make(data=None, **more):
        made.append(world.Fence(net, base, data or server.data, **more))
        return made[-1]

    yield make
    for fence in made:
        fence.stop()
    shutil.rmtree(base, ignore_errors=True)


@pytest.fixture(name="fence")
def running_fence(postgres, make_fence):
    assert postgres.process.poll() is None
    return make_fence().start()


@pytest.fixture(name="redis")
def running_redis(net, server):
    server.kill()  # it has the same port
    base = world.make_base()
    redis = world.Redis(net, base)
    yield redis
    redis.kill()
    shutil.rmtree(base, ignore_errors=True)


@pytest.fixture(name="load")
def running_load(net, fence):
    """40 clients that commit without a pause, under a lease."""
    fence.lease(30000, 30000)
    load = world.Load(net, 40)
    yield load
    load.end()
