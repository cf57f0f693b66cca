// client.mjs - a client of the service, by its library's Sentinel support and its default settings.
//   node client.mjs LIBRARY SENTINEL-PLACE[,PLACE...] NAME [PASSWORD [VARIANT [KEY]]]
// LIBRARY is ioredis, ioredis-detector or node-redis; a place is HOST:PORT, or a port of this host;
// VARIANT is timeout: as docs/redis-clients.md advises.
// It writes numbers without a pause, and prints a line for each write and each read from a replica,
// with the run id of the server that answered and the role that it had, after one when it begins:
//   b MS begins
//   w MS ok RUN-ID NUMBER|ERROR        r MS ok RUN-ID ROLE|ERROR
import { setTimeout as wait } from 'node:timers/promises';

const [library, places, name, password, variant, keyName = library] = process.argv.slice(2);
const sentinels = places.split(',').map((place) => {
  const [host, port] = place.includes(':') ? place.split(':') : ['127.0.0.1', place];
  return { host, port: Number(port) };
});
const key = `hamgr_clients:${keyName}`;
const WRITE = "redis.call('SADD', KEYS[1], ARGV[1]) return redis.call('INFO', 'server'):match('run_id:(%x+)')";
const READ = "redis.call('SCARD', KEYS[1]) return redis.call('INFO', 'server'):match('run_id:(%x+)') " +
  ".. ' ' .. redis.call('INFO', 'replication'):match('role:(%a+)')";
const tell = (what, text) => process.stdout.write(`${what} ${Date.now()} ${text}\n`);

async function count(what, ask) {
  for (let number = 1; ; number++) {
    try {
      const answer = await Promise.race([ask(number), wait(1000)]);
      tell(what, answer === undefined ? 'no answer in a second' : `ok ${answer}`);
    } catch (error) {
      tell(what, String(error.message).split('\n')[0]);
    }
    await wait(10);
  }
}

async function ioredis(failoverDetector) {
  const { Redis } = await import('ioredis');
  tell('b', 'begins');
  const options = { sentinels, name, failoverDetector, sentinelPassword: password || undefined };
  if (variant === 'timeout') Object.assign(options, { socketTimeout: 1000, connectTimeout: 1000 });
  const writer = new Redis(options);
  const reader = new Redis({ ...options, role: 'slave' });
  writer.on('error', () => {});
  reader.on('error', () => {});
  count('w', async (number) => `${await writer.eval(WRITE, 1, key, number)} ${number}`);
  count('r', () => reader.eval_ro(READ, 1, key));
}

async function nodeRedis() {
  const { createSentinel } = await import('redis');
  tell('b', 'begins');
  const limits = { socket: { connectTimeout: 1000, socketTimeout: 1000 }, pingInterval: 500 };
  const client = createSentinel({
    name,
    sentinelRootNodes: sentinels,
    replicaPoolSize: 1,
    nodeClientOptions: variant === 'timeout' ? limits : undefined,
    sentinelClientOptions: { password: password || undefined, ...(variant === 'timeout' ? limits : {}) },
  });
  client.on('error', () => {});
  await client.connect();
  count('w', async (number) => `${await client.eval(WRITE, { keys: [key], arguments: [String(number)] })} ${number}`);
  count('r', () => client.evalRo(READ, { keys: [key] }));
}

if (library === 'ioredis') await ioredis(false);
else if (library === 'ioredis-detector') await ioredis(true);
else await nodeRedis();
