"""client.py - the same as client.mjs with redis-py: client.py SENTINEL-PLACES NAME [PASSWORD]"""
import sys
import threading
import time

import redis
from redis.sentinel import Sentinel

PLACES = [(place if ":" in place else "127.0.0.1:" + place).rsplit(":", 1) for place in sys.argv[1].split(",")]
NAME = sys.argv[2]
PASSWORD = sys.argv[3] if len(sys.argv) > 3 else None


def tell(what, text):
    sys.stdout.write("%s %d %s\n" % (what, time.time() * 1000, text))
    sys.stdout.flush()


def count(what, ask):
    while True:
        try:
            ask()
            tell(what, "ok")
        except redis.RedisError as error:
            tell(what, str(error).split("\n")[0])
        time.sleep(0.01)


def main():
    sentinel = Sentinel([(host, int(port)) for host, port in PLACES],
                        sentinel_kwargs={"password": PASSWORD} if PASSWORD else None)
    writer = sentinel.master_for(NAME)
    reader = sentinel.slave_for(NAME)
    threading.Thread(target=count, args=("r", lambda: reader.get("count")), daemon=True).start()
    count("w", lambda: writer.incr("count"))


main()
