// What clients of both generations see of a middleware that decides about their actions: rows S60 to S76 and their
// kin.
import assert from 'node:assert/strict';
import jsonwebtoken from 'jsonwebtoken';
import { failing } from './failing.mjs';

const query = (word) => ({ query: { [word]: true }, autoReconnect: false });
const sign = (username) => jsonwebtoken.sign({ username }, 'testkey');

/** The middleware takes 1.5 s for who asks with that word. */
async function othersDoNotWait(t, word) {
  const began = performance.now();
  const slow = t.create(query(word)).connected();
  const first = await Promise.race([t.connected().then(() => 'another'), slow.then(() => word)]);
  assert.equal(first, 'another');
  await slow;
  assert.ok(performance.now() - began > 1_400);
}

export async function S59_delayedUpgrade(t) {
  await othersDoNotWait(t, 'delayMe');
}

// Neither generation is shown status or text of a refused upgrade: it is a connection that failed.
export async function aBlockedUpgrade(t) {
  const socket = t.create(query('unwelcome'));
  const abort = await socket.events.next('connectAbort');
  assert.equal(abort.code, 1006);
}

export async function S77_publicationsForOneOfThem(t) {
  const [one, two] = [await t.connected(), await t.connected()];
  const [heard, other] = [one, two].map((socket) => socket.subscribe('private.1'));
  await Promise.all([heard.ready(), other.ready()]);
  await one.publish('private.1', two.id);
  await one.publish('private.1', one.id);
  assert.equal(await heard.next(), one.id);
  assert.equal(await other.next(), two.id);
  assert.deepEqual([heard.messages, other.messages], [[one.id], [two.id]]);
}

export async function S60_S61_blockedHandshake(t) {
  const socket = t.create(query('lazy'));
  const { error } = await socket.events.next('error');
  assert.equal(error.name, 'TooLazyHandshakeError');
  const abort = await socket.events.next('connectAbort');
  assert.equal(abort.code, 4008);
  assert.match(String(abort.reason), /TooLazyHandshakeError: AG handshake failed because the server was too lazy/);
}

export async function S62_blockedWithACode(t) {
  const socket = t.create(query('badkey'));
  const abort = await socket.events.next('connectAbort');
  assert.equal(abort.code, 4501);
  assert.match(String(abort.reason), /InvalidAuthQueryHandshakeError: AG handshake failed because of invalid query/);
}

export async function S63_S65_delayedHandshake(t) {
  await othersDoNotWait(t, 'delay');
}

export async function aHandshakeThatAsksTheStore(t) {
  const [{ error }] = await Promise.all([t.create(query('members')).events.next('error')]);
  assert.equal(error.name, 'NotAuthorizedError');
}

export async function S66_S67_invoke(t) {
  const socket = await t.connected();
  assert.equal(await socket.invoke('proc', 123), 'success 123');
  assert.equal(await socket.invoke('echo', 1), 2);
  const blocked = await failing(socket.invoke('blocked', 1));
  assert.deepEqual([blocked.name, blocked.message], ['BlockedInvokeError', 'This is blocked']);
  const silent = await failing(socket.invoke('blocked silently', 1));
  assert.equal(silent.name, 'SilentMiddlewareBlockedError');
  const text = await failing(socket.invoke('blocked by text', 1));
  assert.match(String(text.message ?? text), /^no$/);
}

export async function S68_S69_authenticate(t) {
  const socket = await t.connected();
  assert.equal((await socket.authenticate(sign('bob'))).isAuthenticated, true);
  const banned = await failing(socket.authenticate(sign('banned')));
  assert.equal(banned.name, 'BannedError');
  assert.equal(socket.authState, 'unauthenticated');
}

export async function S70_S71_publishIn(t) {
  const socket = await t.connected();
  const held = socket.subscribe('held');
  await held.ready();
  const blocked = await failing(socket.publish('held', 'x'));
  assert.equal(blocked.name, 'BlockedError');
  assert.deepEqual(held.messages, []);
}

export async function S73_S74_changedPublications(t) {
  const socket = await t.connected();
  const written = socket.subscribe('written.1');
  await written.ready();
  await socket.publish('written.1', 'one');
  socket.transmitPublish('written.1', 'two');
  assert.equal(await written.next(), 'one by middleware');
  assert.equal(await written.next(), 'two by middleware');
}

export async function S75_S76_subscribe(t) {
  const socket = await t.connected();
  const secret = socket.subscribe('secret');
  const refused = await secret.inbox.next('subscribeFail');
  assert.equal((refused.error ?? refused).name, 'SubscribeBlockedError');
  // What is sent behind a subscription that has to wait is done behind it.
  const slow = socket.subscribe('slow');
  await socket.publish('slow', 'hello');
  assert.equal(await slow.next(), 'hello');
}

export async function aMiddlewareThatTraps(t) {
  const [one, two] = [await t.connected(), await t.connected()];
  const trapped = await failing(one.invoke('trap', 1));
  assert.equal(trapped.name, 'MiddlewareError');
  for (const socket of [one, two]) assert.equal(await socket.invoke('proc', 123), 'success 123');
  assert.deepEqual(one.events.names('close', 'disconnect'), []);
}
