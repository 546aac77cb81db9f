// Clients of all generations that come and go: `node soak.mjs SECONDS`. A fixed number of seats, each of which is one
// client after the other; residents, who stay for the whole time and must hear everything; now and then a process full
// of clients that is killed. It says at the end how many there were, and fails if one of them saw what it should not.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { KINDS, open } from './soak-clients.mjs';

const SEATS = 40;
/** How long a session without sockets keeps its data, in ms; as the test configures it. */
const SESSION_LIVES = 3_000;
/** Clients of a process that is killed. */
const CROWD = 8;
const RESIDENTS = ['0.9 polling', '0.9 websocket', '1.0 upgrade', '14', '20', 'ours'];
const MEMBER = { username: 'bob', password: 'let me in' };
const TEXT = 'Grüße, мир, γειά, שלום, 你好, नमस्ते 😀';

const site = `${process.env.SC_SECURE ? 'https' : 'http'}://127.0.0.1:${process.env.SC_PORT}`;
const counts = { lives: 0, polite: 0, torn: 0, killed: 0, requests: 0, publications: 0, answers: 0, failures: 0 };
let over = false;
let rooms = 0;

const between = (least, most) => least + Math.random() * (most - least);

async function noting(what, doing) {
  try {
    await doing();
  } catch (error) {
    counts.failures++;
    if (counts.failures <= 10) console.log(`${what}: ${error.stack ?? JSON.stringify(error)}`);
  }
}

function expect(is, what) {
  if (!is) throw new Error(what);
}

async function inClub(kind) {
  const client = await open(kind);
  await client.invoke('login', MEMBER);
  return client;
}

/** One client from its first to its last moment. */
async function life(kind) {
  const client = await inClub(kind);
  try {
    const room = `room.${process.pid}.${rooms++}`;
    const [heardClub, heardRoom] = [await client.subscribe('members'), await client.subscribe(room)];
    await client.publish(room, { text: TEXT });
    await client.publish('members', { from: kind });
    counts.publications += 2;
    await heardRoom((data) => data?.text === TEXT);
    await heardClub((data) => data?.from === kind);
    for (let order = 1; order < 3; order++) {
      const ordered = await client.invoke('order', { what: kind, order });
      expect(ordered.length === order && ordered.at(-1).order === order, `ordered ${JSON.stringify(ordered)}`);
      expect((await client.invoke('echo', TEXT)) === TEXT, 'an echo of something else');
      counts.answers += 2;
    }
    if (Math.random() < 0.3) await client.invoke('speak', TEXT);
    if (Math.random() < 0.3) await client.unsubscribe(room);
    if (Math.random() < 0.3) await client.invoke('logout', null);
    await pause(between(0, 3_000));
  } finally {
    const isTorn = Math.random() < 0.4;
    counts[isTorn ? 'torn' : 'polite']++;
    await (isTorn ? client.tear() : client.close());
    counts.lives++;
  }
}

/** Two requests of a session that no socket ever has. */
async function visit() {
  const began = Date.now();
  const first = await fetch(`${site}/visit`);
  const one = await first.json();
  expect(one === 1, `the first visit was number ${one}`);
  const headers = { cookie: first.headers.get('set-cookie').split(';')[0] };
  const second = await fetch(`${site}/visit`, { headers });
  const [two, took] = [await second.json(), Date.now() - began];
  // Who was held up for as long as such a session lives begins another.
  const isLate = two === 1 && took >= SESSION_LIVES;
  const renewed = second.headers.get('set-cookie');
  expect(two === 2 || isLate, `the second visit was number ${two} after ${took} ms, status ${second.status}, ${renewed}`);
  counts.requests += 2;
}

async function seat(number) {
  await pause(between(0, 3_000));
  for (let turn = number; !over; turn++) {
    const kind = KINDS[turn % KINDS.length];
    await noting(kind, () => life(kind));
    await noting('visit', visit);
    await pause(between(200, 1_500));
  }
}

/** Hears the numbers of the feed, each once and in order, for as long as the others come and go. */
async function resident(kind) {
  const client = await inClub(kind);
  let [last, heard] = [undefined, 0];
  client.onEnd((why) => over || noting(kind, () => expect(false, `a resident's connection ended: ${why}`)));
  await client.subscribe('feed', (number) => {
    if (last !== undefined && number !== last + 1) noting(kind, () => expect(false, `${number} after ${last}`));
    [last, heard] = [number, heard + 1];
  });
  while (!over) {
    const before = heard;
    await pause(between(4_000, 6_000));
    await noting(kind, async () => {
      expect((await client.invoke('echo', TEXT)) === TEXT, 'an echo of something else');
      expect(heard > before, 'a resident hears nothing');
    });
    counts.answers++;
  }
  await client.close();
}

/** A process of clients that is killed while they talk. */
async function crowd() {
  const child = fork(new URL(import.meta.url), ['crowd'], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const ended = once(child, 'exit');
  await Promise.race([once(child, 'message'), ended]);
  await pause(between(500, 2_000));
  child.kill('SIGKILL');
  const [code, signal] = await ended;
  expect(signal === 'SIGKILL', `a process that was to be killed ended with ${code}`);
  counts.killed += CROWD;
}

async function crowds(apart) {
  while (!over) {
    await pause(between(0.5, 1.5) * apart);
    if (!over) await noting('crowd', crowd);
  }
}

if (process.argv[2] === 'crowd') {
  const clients = await Promise.all(Array.from({ length: CROWD }, (_, number) => inClub(KINDS[number % KINDS.length])));
  for (const client of clients) await client.subscribe('members');
  process.send('all are there');
  for (;;) {
    await Promise.all(clients.map((client) => client.publish('members', { from: 'a crowd' })));
    await pause(500);
  }
}

process.on('unhandledRejection', (error) => noting('unhandled', () => Promise.reject(error)));
const seconds = Number(process.argv[2]);
const all = [
  ...Array.from({ length: SEATS }, (_, number) => seat(number)),
  ...RESIDENTS.map((kind) => noting(kind, () => resident(kind))),
  crowds(Math.min(20_000, seconds * 200)),
];
await pause(seconds * 1_000);
over = true;
await Promise.all(all);
const { user, system } = process.cpuUsage();
const cores = ((user + system) / 1e6 / process.uptime()).toFixed(2);
console.log(JSON.stringify({ ...counts, cores, megabytes: Math.round(process.memoryUsage().rss / 1e6) }));
process.exit(counts.failures > 0 ? 1 : 0);
