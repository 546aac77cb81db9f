// Our own client against the host: `sdk/client/sc.js`, as browsers get it from /sc/client.js.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import WebSocket, { WebSocketServer } from 'ws';
import { connect } from '../../sdk/client/sc.js';
import { failing } from './failing.mjs';

const open = [];
const start = (t, options = {}) => {
  const client = connect({ url: `ws://127.0.0.1:${t.port}/socketcluster/`, WebSocket, ...options });
  open.push(client);
  return client;
};
const opened = async (t, options) => {
  const client = start(t, options);
  await client.opened();
  return client;
};

const closing = (scenario) => async (t) => {
  try {
    await scenario(t);
  } finally {
    open.splice(0).forEach((client) => client.disconnect());
  }
};
/** The next change of state to the wanted one. */
const becomes = (client, wanted) =>
  new Promise((resolve) => {
    const off = client.onState((state, details) => {
      if (state !== wanted) return;
      off();
      resolve(details);
    });
  });

export const eventsAndCalls = closing(async (t) => {
  const client = await opened(t);
  assert.match(client.id, /^[A-Za-z0-9_-]{20}$/);
  const reply = new Promise((resolve) => client.on('reply', resolve));
  client.emit('ev', 'hi');
  assert.deepEqual(await reply, { got: 'hi' });
  assert.equal(await client.invoke('proc', 1), 'success 1');
  const error = await failing(client.invoke('failextra', {}));
  assert.deepEqual([error.name, error.message, error.code, error.info], ['CustomError', 'Failed to do it', 42, { a: [1, 2] }]);
  assert.equal((await failing(client.invoke('failstr', {}))).message, 'just a string');
  assert.equal((await failing(client.invoke('noanswer', 1, { timeout: 100 }))).name, 'TimeoutError');
  client.answer('clientProc', async ({ q }) => {
    if (q === 2) throw Object.assign(new Error('nope'), { name: 'NopeError' });
    return { ok: q };
  });
  assert.deepEqual(await client.invoke('askme', { q: 1 }), { ok: 1 });
  assert.equal((await failing(client.invoke('askme', { q: 2 }))).name, 'NopeError');
});

export const heartbeats = closing(async (t) => {
  const client = await opened(t);
  await pause(4_500);
  assert.equal(client.state, 'open');
});

export const channels = closing(async (t) => {
  const [one, two] = [await opened(t), await opened(t)];
  const channel = one.subscribe('ours');
  await channel.subscribed();
  assert.equal(one.subscribe('ours'), channel);
  const heard = [];
  channel.on((data) => heard.push(data));
  const iterated = (async () => {
    const values = [];
    for await (const value of channel) values.push(value);
    return values;
  })();
  for (const value of [1, { two: 2 }, null]) await two.publishAndWait('ours', value);
  while (heard.length < 3) await pause(5);
  assert.deepEqual(heard, [1, { two: 2 }, null]);
  channel.unsubscribe();
  assert.deepEqual(await iterated, [1, { two: 2 }, null]);
  await two.publishAndWait('ours', 'unheard');
  await one.invoke('nodata');
  assert.equal(heard.length, 3);
  assert.equal(channel.state, 'unsubscribed');
});

export const kickedOut = closing(async (t) => {
  const client = await opened(t);
  const channel = client.subscribe('private');
  await channel.subscribed();
  const kicked = new Promise((resolve) => channel.on('kickOut', resolve));
  client.emit('kick', { channel: 'private', message: 'bye' });
  assert.equal(await kicked, 'bye');
  assert.equal(channel.state, 'unsubscribed');
});

export const whatIsIssuedEarlyKeepsItsOrder = closing(async (t) => {
  const client = start(t);
  const heard = [];
  client.emit('ev', 'first');
  client.on('reply', ({ got }) => heard.push(got));
  client.subscribe('early').on((data) => heard.push(data));
  client.publish('early', 'second');
  await client.invoke('nodata');
  while (heard.length < 2) await pause(5);
  assert.deepEqual(heard.sort(), ['first', 'second']);
});

export const theBufferIsBounded = closing(async (t) => {
  const client = start(t, { bufferMax: 3 });
  for (let n = 0; n < 3; n++) client.emit('ev', n);
  assert.throws(() => client.emit('ev', 3), { name: 'BufferFullError' });
  assert.equal((await failing(client.invoke('proc', 1))).name, 'BufferFullError');
  await client.opened();
  assert.equal(await client.invoke('proc', 1), 'success 1');
});

const storage = () => {
  const kept = new Map();
  return {
    kept,
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => void kept.set(key, value),
    removeItem: (key) => void kept.delete(key),
  };
};

export const tokens = closing(async (t) => {
  const shared = storage();
  const client = await opened(t, { storage: shared });
  const changes = [];
  client.onAuth((claims) => changes.push(claims?.username ?? null));
  const secret = client.subscribe('members', { waitForAuth: true });
  await client.invoke('nodata');
  assert.equal(secret.state, 'pending');
  await client.invoke('login', { username: 'bob' });
  assert.equal(client.authToken.username, 'bob');
  await secret.subscribed();
  assert.deepEqual([...shared.kept.keys()], [`socketcluster.authToken.127.0.0.1:${t.port}`]);

  const tab = await opened(t, { storage: shared });
  assert.equal(tab.isAuthenticated, true, 'another tab offers the stored token');
  tab.deauthenticate();
  assert.equal((await tab.invoke('whoami')).auth ?? null, null);
  assert.equal(shared.kept.size, 0);

  client.emit('deauth');
  await client.invoke('nodata');
  while (client.isAuthenticated) await pause(5);
  assert.deepEqual(changes, ['bob', null]);
  const error = await failing(client.authenticate('abc'));
  assert.equal(error.name, 'AuthTokenInvalidError');
});

export const aBadStoredTokenIsForgotten = closing(async (t) => {
  const shared = storage();
  shared.setItem(`socketcluster.authToken.127.0.0.1:${t.port}`, 'abc');
  const client = start(t, { storage: shared });
  const reported = new Promise((resolve) => client.onError(resolve));
  await client.opened();
  assert.equal((await reported).name, 'AuthTokenInvalidError');
  await client.invoke('nodata');
  assert.equal(shared.kept.size, 0);
});

export const itComesBackAfterItsWorkerDied = closing(async (t) => {
  let client;
  do client = await opened(t, { reconnect: { initialDelay: 50, randomness: 50 } });
  while ((await client.invoke('whoami')).worker !== 0);
  await client.invoke('login', { username: 'bob' });
  const channel = client.subscribe('lasting');
  await channel.subscribed();
  const pending = failing(client.invoke('noanswer', 1));
  const closed = becomes(client, 'closed');
  await t.host('kill worker 0');
  const { code, retryIn } = await closed;
  assert.equal(code, 1006);
  assert.ok(retryIn >= 50 && retryIn <= 100, `${retryIn}`);
  assert.equal((await pending).name, 'BadConnectionError');
  const meanwhile = client.invoke('proc', 'waits for the connection');
  assert.equal(await meanwhile, 'success waits for the connection');
  assert.equal(client.isAuthenticated, true);
  await channel.subscribed();
});

export const codesThatEndIt = closing(async (t) => {
  for (const code of [1000, 4500, 4999]) {
    const client = await opened(t, { reconnect: { initialDelay: 10, randomness: 0 } });
    const closed = becomes(client, 'closed');
    client.emit('bye', { code, reason: 'enough' });
    const details = await closed;
    assert.deepEqual([details.code, details.reason, details.retryIn], [code, 'enough', undefined]);
  }
  const client = await opened(t, { reconnect: { initialDelay: 10, randomness: 0 } });
  const back = becomes(client, 'open');
  client.emit('bye', { code: 4321, reason: 'come back' });
  await back;
});

// A server of our own that answers the handshake and then is mute, or refuses.
export const aMuteServerIsLeft = closing(async () => {
  const server = new WebSocketServer({ port: 0 });
  await once(server, 'listening');
  server.on('connection', (socket) => socket.on('message', (text) => {
    const { event, cid } = JSON.parse(text);
    if (event === '#handshake') {
      socket.send(JSON.stringify([{ rid: cid, data: { id: 'x', pingTimeout: 100, isAuthenticated: false } }]));
    }
  }));
  try {
    const client = await opened({ port: server.address().port });
    const { code, retryIn } = await becomes(client, 'closed');
    assert.deepEqual([code, retryIn], [4000, 0], 'after a missed ping the first attempt is at once');
  } finally {
    server.close();
  }
});

export const aRefusedHandshake = closing(async () => {
  const server = new WebSocketServer({ port: 0 });
  await once(server, 'listening');
  server.on('connection', (socket) => socket.on('message', (text) => {
    const { cid } = JSON.parse(text);
    socket.send(JSON.stringify({ rid: cid, error: { name: 'NotToday', message: 'go away', statusCode: 4501 } }));
    socket.close(4501);
  }));
  try {
    const client = start({ port: server.address().port });
    const errors = [];
    client.onError((error) => errors.push(error.name));
    assert.equal((await failing(client.opened())).code, 4501);
    assert.deepEqual(errors, ['NotToday']);
  } finally {
    server.close();
  }
});
