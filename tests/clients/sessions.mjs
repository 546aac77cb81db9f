// One session of a client of each generation, on different workers, over HTTP and from another process.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);
const cookieOf = (response) => response.headers.get('set-cookie')?.split(';')[0];
const post = (t, cookie, path, body) =>
  fetch(`http://127.0.0.1:${t.port}${path}`, { method: 'POST', body, headers: { cookie } }).then((response) => response.text());

/** A client of that generation and session on that worker: without balancing by session, its address decides. */
async function onWorker(t, generation, worker, cookie) {
  for (let last = 1; last < 50; last++) {
    // The older client gives its own options to `ws`, the other one `wsOptions`.
    const options = { headers: { cookie }, localAddress: `127.0.0.${last}` };
    const socket = await t.connected({ ...options, wsOptions: options }, generation);
    if ((await socket.invoke('whoami')).worker === worker) return socket;
    socket.disconnect();
  }
  throw new Error(`no address leads to worker ${worker}`);
}

export async function oneSessionOfTwoGenerations(t) {
  const cookie = cookieOf(await fetch(`http://127.0.0.1:${t.port}/hello/x`));
  const [one, two] = [await onWorker(t, 20, 0, cookie), await onWorker(t, 14, 1, cookie)];
  const id = cookie.split('=')[1];
  for (const socket of [one, two]) assert.equal((await socket.invoke('who')).session, id);
  const [atOne, atTwo] = [one.received('told'), two.received('told')];

  // A third process reaches both.
  const emit = `fetch('http://127.0.0.1:${t.port}/emit/told', { method: 'POST', body: 'hello', headers: { cookie: '${cookie}' } })`;
  const { stdout } = await run(process.execPath, ['-e', `${emit}.then((answer) => answer.text()).then(console.log)`]);
  assert.equal(stdout.trim(), '2');
  for (const inbox of [atOne, atTwo]) assert.equal(await inbox.next('event'), 'hello');

  await one.invoke('do', { op: 'set', of: 'session', path: ['cart'], value: [1, 2] });
  const get = { op: 'get', of: 'session', path: ['cart'] };
  assert.deepEqual(await two.invoke('do', get), [1, 2]);
  assert.equal(await post(t, cookie, '/do', JSON.stringify(get)), '[1,2]');
  two.transmit('transmit', 'only one');
  assert.equal(await atOne.next('event'), 'only one');

  const watcher = await t.connected({}, 20);
  const ends = watcher.subscribe('sessions');
  await ends.ready();
  one.disconnect();
  await pause(600);
  assert.deepEqual(ends.messages.filter((told) => told.session === id && told.what === 'end'), []);
  two.disconnect();
  for (let told; told?.what !== 'end' || told.session !== id;) told = await ends.next();
  await pause(600);
  const told = ends.messages.filter(({ session, what }) => session === id && what === 'end');
  assert.equal(told.length, 1);
  assert.deepEqual(told[0].data.cart, [1, 2]);
}

export async function presenceOfTwoGenerations(t) {
  const [one, two] = [await t.connected({}, 20), await t.connected({}, 14)];
  for (const socket of [one, two]) await socket.subscribe('room.1').ready();
  const heard = [one, two].map((socket) => socket.received('#presence'));
  for (const socket of [one, two]) {
    const { count } = await socket.invoke('#presence', { channel: 'room.1', watch: true });
    assert.equal(count, 2);
  }
  const three = await t.connected({}, 20);
  await three.subscribe('room.1').ready();
  for (const inbox of heard) {
    assert.deepEqual(await inbox.next('event'), { channel: 'room.1', event: 'join', member: { id: three.id } });
  }
  const { id } = three;
  three.disconnect();
  for (const inbox of heard) {
    assert.deepEqual(await inbox.next('event'), { channel: 'room.1', event: 'leave', member: { id } });
  }
}
