"""client.py - the same as client.mjs with redis-py: client.py SENTINEL-PLACES NAME [PASSWORD [VARIANT [KEY]]]

VARIANT is timeout or keepalive: as docs/redis-clients.md advises."""
import socket
import sys
import threading
import time

import redis
from redis.sentinel import Sentinel

PLACES = [(place if ":" in place else "127.0.0.1:" + place).rsplit(":", 1) for place in sys.argv[1].split(",")]
NAME = sys.argv[2]
PASSWORD = sys.argv[3] if len(sys.argv) > 3 else ""
MORE = {
    "": {},
    "timeout": {"socket_timeout": 1},
    "keepalive": {"socket_keepalive": True,
                  "socket_keepalive_options": {socket.TCP_KEEPIDLE: 1, socket.TCP_USER_TIMEOUT: 1000}},
}[sys.argv[4] if len(sys.argv) > 4 else ""]
KEY = "hamgr_clients:" + (sys.argv[5] if len(sys.argv) > 5 else "redis-py")
WRITE = "redis.call('SADD', KEYS[1], ARGV[1]) return redis.call('INFO', 'server'):match('run_id:(%x+)')"
READ = ("redis.call('SCARD', KEYS[1]) return redis.call('INFO', 'server'):match('run_id:(%x+)') "
        ".. ' ' .. redis.call('INFO', 'replication'):match('role:(%a+)')")


def tell(what, text):
    sys.stdout.write("%s %d %s\n" % (what, time.time() * 1000, text))
    sys.stdout.flush()


def count(what, ask):
    number = 0
    while True:
        number += 1
        try:
            tell(what, "ok " + ask(number))
        except redis.RedisError as error:
            tell(what, str(error).split("\n")[0])
        time.sleep(0.01)


def main():
    tell("b", "begins")
    secret = {"password": PASSWORD} if PASSWORD else {}
    sentinel = Sentinel([(host, int(port)) for host, port in PLACES],
                        sentinel_kwargs={**secret, **MORE} if secret else None, **MORE)
    writer = sentinel.master_for(NAME)
    reader = sentinel.slave_for(NAME)

    def write(number):
        return "%s %d" % (writer.eval(WRITE, 1, KEY, number).decode(), number)

    def read(_):
        return reader.execute_command("EVAL_RO", READ, 1, KEY).decode()
    threading.Thread(target=count, args=("r", read), daemon=True).start()
    count("w", write)


main()
