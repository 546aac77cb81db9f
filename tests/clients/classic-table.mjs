// Those of the original's own tests that clients can see, with the client of one version. Their names begin with
// the rows of COVERAGE.md; what only stores show is in the test around this script.
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';

const SOON = { transports: ['polling', 'websocket'] };

export async function A1_theFirstEventIsExactlyWhatWasSent(t) {
  const socket = t.create(SOON);
  const greet = socket.received('greet');
  await socket.connected();
  assert.equal(await greet.next('event'), 'hello world');
}

export async function A2_A4_aChannel(t) {
  const socket = await t.connected(SOON);
  const pong = socket.subscribe('pong');
  await pong.ready();
  // The worker publishes what it was asked to, and the client does so itself.
  socket.transmit('publishFromServer', { channel: 'pong', data: { message: 'This is pong data' } });
  assert.deepEqual(await pong.next(), { message: 'This is pong data' });
  socket.publish('pong', { message: 'published pong' });
  assert.deepEqual(await pong.next(), { message: 'published pong' });
}

export async function B1_manyClientsOneByOne(t) {
  for (let number = 0; number < 200; number++) {
    const socket = await t.connected({ transports: [number % 2 ? 'polling' : 'websocket'] });
    assert.equal(socket.real.connected, true);
    assert.equal(typeof socket.id, 'string');
  }
}

export async function D1_D2_D5_subscriptionsComeAndGo(t) {
  const clients = [];
  for (let number = 0; number < 6; number++) clients.push(await t.connected(SOON));
  for (const client of clients) await client.subscribe('foo').ready();
  for (const client of clients) assert.deepEqual(client.real.subscriptions(), ['foo']);
  for (const client of clients) {
    client.real.unsubscribe('foo');
    client.real.subscribe('bar');
  }
  const modern = await t.connected({}, 20);
  await modern.subscribe('foo').ready();
  for (const client of clients) {
    for (let left = 500; left > 0 && client.real.subscriptions().join() !== 'bar'; left--) await pause(10);
    assert.deepEqual(client.real.subscriptions(), ['bar']);
  }
  await modern.publish('foo', 1);
  await clients[0].invoke('echo', 1);
}

export async function D3_D4_aWorkersDeath(t) {
  const client = await t.connected({ transports: ['polling', 'websocket'], autoReconnectOptions: { delay: 50, randomness: 50 } });
  const foo = client.subscribe('foo');
  await foo.ready();
  const { worker } = await client.invoke('whoami');
  const modern = await t.onWorker(1 - worker, {}, 20);
  await t.host(`kill worker ${worker}`);
  await client.events.next('disconnect');
  await client.connected();
  await client.invoke('echo', 1);
  // It is subscribed once a store has said so.
  for (let left = 500; left > 0 && client.real.subscriptions().length === 0; left--) {
    await new Promise((done) => setTimeout(done, 10));
  }
  assert.deepEqual(client.real.subscriptions(), ['foo']);
  await modern.publish('foo', 'again');
  assert.equal(await foo.next(), 'again');
}

// There a target that failed gets no connections for a while; here a worker that is away, until it is back.
export async function E1_aWorkerThatIsAwayGetsNoClients(t) {
  // From the second death in a row on each is followed by a pause, twice as long as the one before: here of 2 s.
  for (let deaths = 0; deaths < 4; deaths++) {
    (await t.onWorker(1, SOON)).disconnect();
    await t.host('kill worker 1');
  }
  const isReady = async () => {
    const { processes } = JSON.parse(await t.host('sc-host status --json'));
    return processes.some(({ role, id, phase }) => role === 'worker' && id === 1 && phase === 'ready');
  };
  while (await isReady());
  let [others, back] = [0, false];
  for (let left = 500; left > 0 && !back; left--) {
    const socket = await t.connected(SOON);
    back = (await socket.invoke('whoami')).worker === 1;
    assert.deepEqual(socket.events.names('error', 'disconnect'), []);
    if (!back && !(await isReady())) others++;
    socket.disconnect();
  }
  assert.ok(back && others > 0, `${others} clients went to the other worker`);
}

export async function middlewareBlocksWithItsError(t) {
  const { generation } = t;
  for (const transports of [['polling'], ['websocket']]) {
    const socket = await t.connected({ transports });
    await assert.rejects(socket.invoke('blocked', 1), { name: 'BlockedInvokeError', message: 'This is blocked' });
    await assert.rejects(socket.invoke('blocked by text', 1), (error) => error === 'no');
    await assert.rejects(socket.publish('held', 1), { name: 'BlockedError', message: 'Publish blocked' });
    assert.equal(await socket.invoke('echo', 1), 2);
    const secret = socket.subscribe('secret');
    assert.equal((await secret.inbox.next('subscribeFail')).name, 'SubscribeBlockedError');
    const written = socket.subscribe('written.1');
    const slow = socket.subscribe('slow');
    await Promise.all([slow.ready(), written.ready()]);
    await socket.publish('written.1', 'a');
    assert.equal(await written.next(), 'a by middleware');
    // Several channels by one message, of which one is decided about late, have one answer.
    const answers = [];
    const together = new Promise((done) => {
      socket.real.emit('subscribe', ['one', 'slow', 'two'], (error) => done(answers.push(error)));
    });
    assert.equal(await socket.invoke('echo', 5), 6);
    await together;
    await socket.invoke('echo', 5);
    assert.deepEqual(answers, [undefined]);
    const failed = await new Promise((done) => socket.real.emit('subscribe', ['three', 'secret', 'slow'], done));
    assert.equal(failed.name, 'SubscribeBlockedError');
    socket.disconnect();
  }

  // A handshake is blocked: the client is told by `fail`, and closed.
  const lazy = t.create({ query: { lazy: true }, autoReconnect: false }, generation);
  assert.equal(await lazy.events.next('error'), 'AG handshake failed because the server was too lazy');
  await lazy.events.next('disconnect');
  // A request is blocked, or a WebSocket: no more than an error of the transport.
  for (const transports of [['polling'], ['websocket']]) {
    const unwelcome = t.create({ transports, query: { unwelcome: true }, autoReconnect: false });
    assert.match((await unwelcome.events.next('error')).message, /(xhr poll|websocket) error/);
  }
  const began = performance.now();
  const delayed = t.create({ query: { delay: true } });
  await delayed.connected();
  assert.ok(performance.now() - began > 400);
}
