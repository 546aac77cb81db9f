// What both generations must be able to do with the same host. The host runs two workers and pings each 100 ms.
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import jsonwebtoken from 'jsonwebtoken';
import { failing } from './failing.mjs';

const KEY = 'testkey';
const sign = (claims, options) => jsonwebtoken.sign(claims, KEY, options);

export async function connects(t) {
  const socket = t.create();
  const status = await socket.connected();
  assert.match(status.id, /^[A-Za-z0-9_-]{20}$/);
  assert.equal(status.id, socket.id);
  assert.equal(status.isAuthenticated, false);
  assert.equal(status.authError, undefined);
  assert.equal(socket.state, 'open');
}

// The host's deadline for pongs is 4 s, and so is the client's for pings: many intervals and more than one deadline.
export async function heartbeatsKeepItOpen(t) {
  const socket = await t.connected();
  await pause(4_500);
  assert.equal(socket.state, 'open');
  assert.deepEqual(socket.events.names('disconnect', 'close', 'error'), []);
  const foreign = socket.events.all('raw').length;
  await pause(500);
  assert.equal(socket.events.all('raw').length, foreign, 'pings of the other version ended with the first answer');
}

export async function transmitsBothWays(t) {
  const socket = await t.connected();
  const replies = socket.received('reply');
  socket.transmit('ev', 'hi');
  assert.deepEqual(await replies.next('event'), { got: 'hi' });
}

export async function invokesAndGetsResults(t) {
  const socket = await t.connected();
  assert.equal(await socket.invoke('proc', 123), 'success 123');
  assert.equal(await socket.invoke('nodata'), undefined);
  const value = { text: 'é\u0000"\\', list: [1, null, true], deep: { a: { b: 1.5 } } };
  assert.deepEqual(await socket.invoke('echo', value), value);
}

export async function getsErrorsWithTheirMembers(t) {
  const socket = await t.connected();
  const error = await failing(socket.invoke('failextra', { x: 1 }));
  assert.equal(error.name, 'CustomError');
  assert.equal(error.message, 'Failed to do it');
  assert.equal(error.code, 42);
  assert.deepEqual(error.info, { a: [1, 2] });
  assert.equal(await failing(socket.invoke('failstr', {})), 'just a string');
}

export async function timesOutWithoutAnAnswer(t) {
  const socket = await t.connected({ ackTimeout: 300 });
  for (const event of ['noanswer', 'nobodyHasThis']) {
    assert.equal((await failing(socket.invoke(event, 1))).name, 'TimeoutError');
  }
  // An answer that comes too late hurts nothing.
  assert.equal((await failing(socket.invoke('slow', { ms: 600 }))).name, 'TimeoutError');
  await pause(600);
  assert.equal(await socket.invoke('proc', 1), 'success 1');
}

export async function answersTheServersQuestions(t) {
  const socket = await t.connected();
  socket.answer('clientProc', ({ q }) => {
    if (q === 2) throw Object.assign(new Error('nope'), { name: 'NopeError' });
    return { ok: q };
  });
  assert.deepEqual(await socket.invoke('askme', { q: 1 }), { ok: 1 });
  const error = await failing(socket.invoke('askme', { q: 2 }));
  assert.equal(error.name, 'NopeError');
  assert.equal(error.message, 'nope');
}

export async function publishesAcrossWorkers(t) {
  const one = await t.onWorker(0);
  const two = await t.onWorker(1);
  const channel = await one.subscribe('across').ready();
  for (let n = 0; n < 20; n++) await two.publish('across', { n });
  for (let n = 0; n < 20; n++) assert.deepEqual(await channel.next(), { n });
  two.transmitPublish('across', 'last');
  assert.equal(await channel.next(), 'last');
  assert.equal(channel.messages.length, 21);
}

export async function subscribesInABatch(t) {
  const socket = await t.connected();
  const channels = ['batch0', 'batch1', 'batch2'].map((name) => socket.subscribe(name, { batch: true }));
  await Promise.all(channels.map((channel) => channel.ready()));
  await socket.publish('batch1', 'to the middle');
  assert.equal(await channels[1].next(), 'to the middle');
}

export async function publishersHearThemselves(t) {
  const socket = await t.connected();
  const channel = socket.subscribe('self');
  socket.transmitPublish('self', 1);
  assert.equal(await channel.next(), 1);
  await socket.publish('self', 2);
  assert.equal(await channel.next(), 2);
}

export async function unsubscribes(t) {
  const one = await t.onWorker(0);
  const two = await t.onWorker(1);
  const channel = await one.subscribe('left').ready();
  const other = await two.subscribe('left').ready();
  await two.publish('left', 1);
  assert.equal(await channel.next(), 1);
  channel.unsubscribe();
  await one.invoke('nodata');
  await two.publish('left', 2);
  assert.equal(await other.next(), 1);
  assert.equal(await other.next(), 2);
  await one.invoke('nodata');
  assert.deepEqual(channel.messages, [1]);
  assert.equal(channel.state, 'unsubscribed');
}

export async function isKickedOut(t) {
  const socket = await t.connected();
  const channel = await socket.subscribe('private').ready();
  socket.transmit('kick', { channel: 'private', message: 'go away' });
  assert.equal((await channel.inbox.next('kickOut')).message, 'go away');
  await channel.inbox.next('unsubscribe');
  assert.equal(channel.state, 'unsubscribed');
  await socket.publish('private', 1);
  assert.deepEqual(channel.messages, []);
}

export async function logsInAndReconnectsWithTheToken(t) {
  const socket = await t.connected();
  await socket.invoke('login', { username: 'alice' });
  assert.equal(socket.authState, 'authenticated');
  assert.equal(socket.authToken.username, 'alice');
  const day = 24 * 3600;
  assert.ok(Math.abs(socket.authToken.exp - Date.now() / 1000 - day) < 60, 'the default expiry is a day');
  socket.disconnect();
  await socket.events.next('disconnect');
  socket.connect();
  const status = await socket.connected();
  assert.equal(status.isAuthenticated, true);
  assert.equal(status.authError, undefined);
  assert.equal(socket.authToken.username, 'alice');
}

export async function aFailedLoginChangesNothing(t) {
  const socket = await t.connected();
  const error = await failing(socket.invoke('login', { username: 'mallory' }));
  assert.equal(error.name, 'FailedLoginError');
  assert.equal(socket.authState, 'unauthenticated');
}

export async function badTokensAreRemoved(t) {
  const socket = await t.connected();
  const bad = jsonwebtoken.sign({ username: 'bob' }, 'another key');
  const error = await failing(socket.authenticate(bad));
  assert.equal(error.name, 'AuthTokenInvalidError');
  assert.equal(socket.authState, 'unauthenticated');
  const expired = await failing(socket.authenticate(sign({ username: 'bob' }, { expiresIn: -5 })));
  assert.equal(expired.name, 'AuthTokenExpiredError');
  assert.match(expired.expiry, /^20\d\d-\d\d-\d\dT/);
  assert.equal(await socket.invoke('proc', 1), 'success 1', 'the connection lives');
}

export async function earlyTokensAreKept(t) {
  const socket = await t.connected();
  const status = await socket.authenticate(sign({ username: 'bob' }, { notBefore: 3600 }));
  assert.equal(status.isAuthenticated, false);
  assert.equal(status.authError.name, 'AuthTokenNotBeforeError');
  assert.equal(socket.authState, 'unauthenticated');
}

export async function takesAllAlgorithmsOfASecret(t) {
  const socket = await t.connected();
  for (const algorithm of ['HS256', 'HS384', 'HS512']) {
    const status = await socket.authenticate(sign({ username: algorithm }, { algorithm }));
    assert.equal(status.isAuthenticated, true, algorithm);
    assert.equal(socket.authToken.username, algorithm);
  }
}

export async function isDeauthenticatedByEitherSide(t) {
  const socket = await t.connected();
  await socket.invoke('login', { username: 'bob' });
  await socket.deauthenticate();
  assert.equal(socket.authState, 'unauthenticated');
  assert.equal((await socket.invoke('whoami')).auth ?? null, null, 'the server knows');

  await socket.invoke('login', { username: 'bob' });
  socket.transmit('deauth');
  await socket.events.next('deauthenticate');
  await socket.invoke('nodata');
  assert.equal(socket.authState, 'unauthenticated');
  assert.equal(socket.signedAuthToken, null);
}

export async function isClosedByTheServer(t) {
  const socket = await t.connected();
  socket.transmit('bye', { code: 4567, reason: 'enough' });
  const { code, reason } = await socket.events.next('disconnect');
  assert.equal(code, 4567);
  assert.equal(reason, 'enough');
  assert.equal(socket.state, 'closed');
  assert.equal(socket.real.pendingReconnect, false, '4500 and above are for good');
}

export async function aRotatedKeyEndsOldTokens(t) {
  const socket = await t.connected();
  await socket.invoke('login', { username: 'bob' });
  await t.setAuthKey(socket, 'another key');
  try {
    socket.disconnect();
    await socket.events.next('disconnect');
    socket.connect();
    const status = await socket.connected();
    assert.equal(status.isAuthenticated, false);
    assert.equal(status.authError.name, 'AuthTokenInvalidError');
    assert.equal(socket.authState, 'unauthenticated');
    // The other worker has the new key too.
    for (const worker of [0, 1]) {
      const other = await t.onWorker(worker);
      const good = jsonwebtoken.sign({ username: 'bob' }, 'another key');
      assert.equal((await other.authenticate(good)).isAuthenticated, true, `worker ${worker}`);
    }
  } finally {
    await t.setAuthKey(await t.connected(), KEY);
  }
}

// The default pause before a reconnection is 10 to 20 s; here it is shorter, so that the test is.
export async function comesBackAfterItsWorkerDied(t) {
  const options = { autoReconnectOptions: { initialDelay: 100, randomness: 100 } };
  const socket = await t.onWorker(0, options);
  await socket.invoke('login', { username: 'bob' });
  const channel = await socket.subscribe('lasting').ready();
  const before = socket.id;
  await t.host('kill worker 0');
  assert.equal((await socket.events.next('disconnect')).code, 1006);
  const status = await socket.connected();
  assert.notEqual(status.id, before);
  assert.equal(status.isAuthenticated, true, 'the token outlived the worker');
  while (channel.state !== 'subscribed') await pause(5);
  const other = await t.onWorker(1);
  await other.publish('lasting', 'still there');
  assert.equal(await channel.next(), 'still there');
}

export async function bothGenerationsMeet(t) {
  const old = await t.onWorker(0, {}, 14);
  const young = await t.onWorker(1, {}, 20);
  const [atOld, atYoung] = [await old.subscribe('meeting').ready(), await young.subscribe('meeting').ready()];
  await old.publish('meeting', { from: 14 });
  await young.publish('meeting', { from: 20 });
  for (const channel of [atOld, atYoung]) {
    assert.deepEqual(await channel.next(), { from: 14 });
    assert.deepEqual(await channel.next(), { from: 20 });
  }
}
