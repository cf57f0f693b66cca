// client.mjs - a client of the service, by its library's Sentinel support and its default settings.
//   node client.mjs LIBRARY SENTINEL-PORT[,PORT...] NAME [PASSWORD]
// It counts without a pause, and prints a line for each write and each read from a replica:
//   w MS ok|ERROR        r MS ok|ERROR
import { setTimeout as wait } from 'node:timers/promises';

const [library, ports, name, password] = process.argv.slice(2);
const sentinels = ports.split(',').map((place) => {
  const [host, port] = place.includes(':') ? place.split(':') : ['127.0.0.1', place];
  return { host, port: Number(port) };
});
const tell = (what, text) => process.stdout.write(`${what} ${Date.now()} ${text}\n`);

async function count(what, ask) {
  for (;;) {
    try {
      const answer = await Promise.race([ask(), wait(1000, 'no answer in a second')]);
      tell(what, answer === 'no answer in a second' ? answer : 'ok');
    } catch (error) {
      tell(what, String(error.message).split('\n')[0]);
    }
    await wait(10);
  }
}

async function ioredis(failoverDetector) {
  const { Redis } = await import('ioredis');
  const options = { sentinels, name, failoverDetector, sentinelPassword: password || undefined };
  const writer = new Redis(options);
  const reader = new Redis({ ...options, role: 'slave' });
  writer.on('error', () => {});
  reader.on('error', () => {});
  count('w', () => writer.incr('count'));
  count('r', () => reader.get('count'));
}

async function nodeRedis() {
  const { createSentinel } = await import('redis');
  const client = createSentinel({
    name,
    sentinelRootNodes: sentinels,
    replicaPoolSize: 1,
    sentinelClientOptions: password ? { password } : undefined,
  });
  client.on('error', () => {});
  await client.connect();
  count('w', () => client.incr('count'));
  count('r', () => client.get('count'));
}

if (library === 'ioredis') await ioredis(false);
else if (library === 'ioredis-detector') await ioredis(true);
else await nodeRedis();
