// The behaviours that SocketCluster's own suites ask of a server, told anew. Each name begins with the ids of the rows
// it covers, S for the server's suite and C for the client's; COVERAGE.md has the list and what is left out.
// The host runs one worker with the key `testkey` and default pings; generation 20 only.
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import jsonwebtoken from 'jsonwebtoken';
import { failing } from './failing.mjs';

const KEY = 'testkey';
const FAR = 3163758979080310;
const bob = jsonwebtoken.sign({ username: 'bob', exp: FAR }, KEY);
const kate = jsonwebtoken.sign({ username: 'kate', exp: FAR }, KEY);
const GARBAGE = 'fakebGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ1c2VybmFtZSI6ImJvYiJ9.GLf_jqi_qUSCRahxe2D2I9kD8iVIs0d4xTbiZMRiQq4';

/** Storage of tokens that several clients of one scenario share, as tabs of a browser do. */
function withStorage(t, token) {
  const kept = new Map();
  if (token) kept.set('token', token);
  const authEngine = {
    saveToken: async (_, value) => void kept.set('token', value),
    removeToken: async () => {
      const value = kept.get('token') ?? null;
      kept.delete('token');
      return value;
    },
    loadToken: async () => kept.get('token') ?? null,
  };
  return { kept, options: { authEngine } };
}

const cameBack = async (socket) => {
  socket.disconnect();
  await socket.events.next('disconnect');
  socket.connect();
  return socket.connected();
};

// --- tokens ---------------------------------------------------------------------------------------------------------

export async function S1_C4_noTokenIsNoError(t) {
  const status = await t.create().connected();
  assert.equal(status.isAuthenticated, false);
  assert.ok(!('authError' in status) || status.authError === undefined);
}

export async function S2_S11_C10_aLoginLastsOverAReconnection(t) {
  const socket = await t.connected();
  await socket.invoke('login', { username: 'bob' });
  const status = await cameBack(socket);
  assert.equal(status.isAuthenticated, true);
  assert.equal(status.authError, undefined);
  assert.equal(socket.authToken.username, 'bob');
}

export async function S3_C6_aTokenOfAnOldKeyIsBad(t) {
  const socket = await t.connected();
  await socket.invoke('login', { username: 'bob' });
  await socket.invoke('setAuthKey', 'testkey2');
  try {
    const status = await cameBack(socket);
    assert.equal(status.isAuthenticated, false);
    assert.equal(status.authError.name, 'AuthTokenInvalidError');
    await socket.invoke('nodata');
    assert.equal(socket.signedAuthToken, null);
    assert.equal(socket.authToken, null);
  } finally {
    await socket.invoke('setAuthKey', KEY);
  }
}

export async function S4_C7_anotherUserTakesOver(t) {
  const socket = await t.connected(withStorage(t, bob).options);
  assert.equal(socket.authToken.username, 'bob');
  const before = socket.events.names('authStateChange').length;
  await socket.invoke('login', { username: 'alice' });
  assert.equal(socket.authToken.username, 'alice');
  assert.equal(socket.events.names('authStateChange').length, before, 'authenticated before and after');
  assert.equal(socket.events.names('deauthenticate').length, 0);
  const { auth, name } = await socket.invoke('whoami');
  assert.equal(auth?.username, 'alice', 'the controller sees the last user');
  assert.equal(name, socket.id);
}

export async function S5_theServerForgetsWhoLeaves(t) {
  const socket = await t.connected(withStorage(t, bob).options);
  assert.equal((await socket.invoke('whoami')).auth.username, 'bob');
  await socket.deauthenticate();
  assert.equal((await socket.invoke('whoami')).auth ?? null, null);
  assert.deepEqual(socket.events.all('authStateChange').map((change) => change.newAuthState), ['authenticated', 'unauthenticated']);
}

export async function S9_S10_C8_C9_theAuthenticateEventHasTheClaims(t) {
  const socket = await t.connected();
  socket.invoke('login', { username: 'bob' });
  await socket.events.next('authenticate');
  assert.equal(socket.authToken.username, 'bob');
}

export async function S12_S13_S14_expiries(t) {
  const socket = await t.connected();
  const inTenDays = Date.now() / 1000 + 10 * 24 * 3600;
  for (const event of ['loginWithTenDayExpiry', 'loginWithTenDayExp', 'loginWithTenDayExpAndExpiry']) {
    await socket.invoke(event, { username: 'bob' });
    assert.ok(Math.abs(socket.authToken.exp - inTenDays) < 5, `${event}: ${socket.authToken.exp}`);
  }
}

export async function S21_C16_authenticatingWithoutACallIdCloses(t) {
  const socket = await t.connected({ autoReconnect: false });
  socket.real.send(JSON.stringify({ event: '#authenticate', data: bob }));
  const { code, reason } = await socket.events.next('close');
  assert.equal(code, 4008);
  assert.equal(reason, 'Server rejected handshake from client', "the client's own text: the wire has none");
}

export async function C5_aStoredTokenAuthenticatesAtOnce(t) {
  const status = await t.create(withStorage(t, bob).options).connected();
  assert.equal(status.isAuthenticated, true);
}

export async function C11_nothingChangesWithoutAToken(t) {
  const socket = await t.connected();
  await socket.invoke('nodata');
  assert.equal(socket.authState, 'unauthenticated');
  assert.deepEqual(socket.events.names('authStateChange'), []);
}

export async function C12_theTokenCountsEvenIfTheClientCannotStoreIt(t) {
  const socket = await t.connected({
    authEngine: {
      saveToken: () => Promise.reject(new Error('no room')),
      removeToken: async () => null,
      loadToken: async () => null,
    },
  });
  const status = await socket.authenticate(kate);
  assert.equal(status.isAuthenticated, true);
  assert.equal((await socket.invoke('whoami')).auth.username, 'kate');
}

export async function C13_authenticatingAndLeaving(t) {
  const socket = await t.connected();
  const authenticating = failing(socket.authenticate(bob));
  socket.disconnect();
  assert.equal((await authenticating).name, 'BadConnectionError');
}

export async function C14_C15_authStateOverDisconnections(t) {
  const socket = await t.connected();
  await socket.invoke('login', { username: 'bob' });
  const token = socket.signedAuthToken;
  assert.equal((await socket.events.next('authStateChange')).newAuthState, 'authenticated');
  socket.disconnect();
  await socket.events.next('disconnect');
  assert.equal(socket.authState, 'authenticated', 'leaving changes nothing');
  const status = await socket.authenticate(token);
  assert.equal(status.isAuthenticated, true);
  assert.equal(socket.events.all('authStateChange').length, 1);
  await socket.deauthenticate();
  await socket.authenticate(token);
  socket.disconnect();
  await socket.deauthenticate();
  assert.deepEqual(
    socket.events.all('authStateChange').map(({ newAuthState }) => newAuthState),
    ['authenticated', 'unauthenticated', 'authenticated', 'unauthenticated'],
  );
}

export async function C16_garbageDeauthenticates(t) {
  const socket = await t.connected(withStorage(t, bob).options);
  const error = await failing(socket.authenticate(GARBAGE));
  assert.equal(error.name, 'AuthTokenInvalidError');
  assert.equal(socket.authState, 'unauthenticated');
  assert.equal((await socket.invoke('whoami')).auth ?? null, null);
}

export async function C17_oneUserAfterTheOther(t) {
  const socket = await t.connected(withStorage(t, bob).options);
  await socket.authenticate(kate);
  assert.equal(socket.authToken.username, 'kate');
  assert.equal(socket.events.all('authStateChange').length, 1);
  assert.deepEqual(
    socket.events.all('authenticate').map(({ authToken }) => authToken.username),
    ['bob', 'kate'],
  );
}

// Subscribing waits for the login; the login's answer comes after its token.
export async function C18_waitForAuth(t) {
  const socket = await t.connected();
  const channel = socket.subscribe('priv', { waitForAuth: true });
  await socket.invoke('nodata');
  assert.equal(channel.state, 'pending');
  await socket.invoke('login', { username: 'bob' });
  assert.equal(socket.authState, 'authenticated', 'the token came before the answer');
  await channel.ready();
  await cameBack(socket);
  await channel.ready();
  assert.equal(channel.state, 'subscribed');
}

export async function C19_subscriptionsGoBeforeAuthentication(t) {
  const socket = t.create(withStorage(t, bob).options);
  const before = socket.subscribe('before', { waitForAuth: true });
  const failed = failing(socket.authenticate(GARBAGE));
  await before.ready();
  assert.equal((await failed).name, 'AuthTokenInvalidError');
  const after = socket.subscribe('after', { waitForAuth: true });
  await socket.invoke('nodata');
  assert.equal(after.state, 'pending');
}

// --- handshake and connection ---------------------------------------------------------------------------------------

export async function S23_S24_somethingBeforeTheHandshake(t) {
  for (const early of [Buffer.alloc(0), '']) {
    const socket = t.create({ autoReconnect: false });
    const { transport } = socket.real;
    const { onopen } = transport.socket;
    transport.socket.onopen = (event) => {
      transport.socket.send(early);
      onopen?.(event);
    };
    const { code, reason } = await socket.events.next('close');
    assert.equal(code, 4009);
    assert.equal(reason, 'Server received a message before the client handshake');
  }
}

export async function S25_aHandshakeWithoutACallId(t) {
  const socket = t.create({ autoReconnect: false });
  socket.real.transport._handshake = async () => {
    socket.real.transport.socket.send(JSON.stringify({ event: '#handshake', data: { authToken: null } }));
    return new Promise(() => {});
  };
  const { code, reason } = await socket.events.next('close');
  assert.equal(code, 4008);
  assert.equal(reason, 'Server rejected handshake from client');
}

export async function S27_whatTheConnectEventHolds(t) {
  const status = await t.create().connected();
  assert.match(status.id, /^[A-Za-z0-9_-]{20}$/);
  assert.equal(status.isAuthenticated, false);
  assert.equal(status.authError, undefined);
  assert.equal(typeof status.pingTimeout, 'number');
}

export async function S28_S29_aHundredAtOnceEachCalling(t) {
  const sockets = Array.from({ length: 100 }, () => t.create());
  const answers = await Promise.all(sockets.map((socket) => socket.invoke('greeting', {})));
  assert.equal(answers.length, 100);
  assert.equal(new Set(sockets.map((socket) => socket.id)).size, 100);
  assert.ok(answers.every((answer) => answer === answers[0] && answer !== undefined));
}

// The controller's on-close has the client's own code and reason.
export async function S31_S33_theServerHearsHowAClientLeft(t) {
  const watcher = await t.connected();
  const leaver = await t.connected();
  const { id } = leaver;
  leaver.disconnect(4445, 'done here');
  for (let attempt = 0; ; attempt++) {
    const closes = JSON.stringify(await watcher.invoke('seen', 'closes'));
    if (closes.includes(id) && closes.includes('4445') && closes.includes('done here')) return;
    assert.ok(attempt < 200, closes);
    await pause(10);
  }
}

export async function S56_C35_aMuteClientIsClosed(t) {
  const socket = await t.connected({ autoReconnect: false });
  socket.real.transport.pingTimeout = 300;
  socket.real.transport._resetPingTimeout();
  const { code, reason } = await socket.events.next('close');
  assert.equal(code, 4000);
  assert.equal(reason, 'Server ping timed out');
}

export async function S57_C36_aClientMayWaitForEver(t) {
  const socket = await t.connected({ pingTimeoutDisabled: true });
  await socket.invoke('nodata');
  assert.equal(socket.state, 'open');
}

export async function C1_C2_C20_C21_theClientsOwnStates(t) {
  const idle = t.create({ autoConnect: false });
  assert.equal(idle.state, 'closed');
  const early = t.create();
  assert.equal(early.state, 'connecting');
  early.disconnect();
  await early.events.next('close');
  assert.deepEqual(early.events.names('disconnect', 'connectAbort', 'close'), ['connectAbort', 'close']);
  const late = await t.connected();
  late.disconnect();
  await late.events.next('close');
  assert.deepEqual(late.events.names('disconnect', 'connectAbort', 'close'), ['disconnect', 'close']);
}

export async function C25_C26_C28_reconnecting(t) {
  const socket = await t.connected();
  socket.reconnect();
  assert.equal((await socket.events.next('disconnect')).code, 1000);
  await socket.connected();
  socket.reconnect(1000, 'About to reconnect');
  assert.equal((await socket.events.next('disconnect')).reason, 'About to reconnect');
  await socket.connected();
  socket.connect({ hostname: '127.0.0.1', port: t.port });
  assert.equal((await socket.events.next('disconnect')).code, 1000);
  await socket.connected();
}

export async function C27_connectingTwiceIsNothing(t) {
  const socket = await t.connected();
  const { id } = socket;
  socket.connect();
  await socket.invoke('nodata');
  assert.equal(socket.id, id);
  assert.deepEqual(socket.events.names('disconnect'), []);
}

export async function C29_unsubscribeComesBeforeDisconnect(t) {
  const socket = await t.connected();
  await socket.subscribe('ends').ready();
  socket.disconnect();
  await socket.events.next('disconnect');
  assert.deepEqual(socket.events.names('unsubscribe', 'disconnect'), ['unsubscribe', 'disconnect']);
}

// An error answered at once would break this: what nobody knows is not answered.
export async function C30_C31_unknownCallsStayOpenUntilTheEnd(t) {
  const socket = await t.connected();
  const channel = socket.subscribe('some');
  const failed = failing(socket.invoke('someEvent', 123));
  socket.disconnect();
  assert.equal((await failed).name, 'BadConnectionError');
  assert.deepEqual(channel.inbox.names('subscribeFail'), []);
}

export async function C32_transmittingReconnects(t) {
  const socket = await t.connected();
  const replies = socket.received('reply');
  socket.disconnect();
  await socket.events.next('close');
  socket.transmit('ev', 'after');
  assert.deepEqual(await replies.next('event'), { got: 'after' });
  assert.deepEqual(
    socket.events.names('connect', 'disconnect', 'close', 'connecting').slice(-5),
    ['connect', 'disconnect', 'close', 'connecting', 'connect'],
  );
}

export async function C33_connectAndDisconnectInARow(t) {
  const socket = await t.connected();
  socket.disconnect(1000, 'One');
  socket.connect();
  await socket.connected();
  socket.disconnect(4444, 'Two');
  await pause(20);
  socket.connect();
  await socket.connected();
  socket.disconnect(4455, 'Three');
  await pause(20);
  assert.deepEqual(socket.events.all('disconnect').map(({ code, reason }) => [code, reason]), [
    [1000, 'One'], [4444, 'Two'], [4455, 'Three'],
  ]);
}

// --- calls ----------------------------------------------------------------------------------------------------------

export async function S38_results(t) {
  const socket = await t.connected();
  assert.equal(await socket.invoke('customProc', { good: true }), 'Success');
  assert.equal((await failing(socket.invoke('customProc', { bad: true }))).name, 'BadCustomError');
}

export async function S39_events(t) {
  const socket = await t.connected();
  const replies = socket.received('reply');
  socket.transmit('ev', 'This is data');
  assert.deepEqual(await replies.next('event'), { got: 'This is data' });
}

export async function C22_anAnswerThatIsTooLate(t) {
  const socket = await t.connected({ ackTimeout: 200 });
  assert.equal((await failing(socket.invoke('performTask', 123))).name, 'TimeoutError');
  await pause(1_100);
  assert.equal(await socket.invoke('proc', 1), 'success 1');
  assert.deepEqual(socket.events.names('error', 'disconnect'), []);
}

// --- channels -------------------------------------------------------------------------------------------------------

export async function S43_S44_subscribeThenPublishIsHeard(t) {
  for (const closed of [false, true]) {
    const socket = closed ? t.create({ autoConnect: false }) : await t.connected();
    const channel = socket.subscribe('foo');
    await socket.publish('foo', 'hello');
    assert.equal(await channel.next(), 'hello');
    assert.equal(channel.messages.length, 1);
  }
}

export async function S45_noSubscriptionBeforeTheHandshake(t) {
  const socket = t.create({ autoReconnect: false });
  const { transport } = socket.real;
  const { onopen } = transport.socket;
  transport.socket.onopen = (event) => {
    transport.socket.send(JSON.stringify({ event: '#subscribe', data: { channel: 'someChannel' }, cid: 1 }));
    onopen?.(event);
  };
  assert.equal((await socket.events.next('close')).code, 4009);
}

export async function S46_malformedChannelPackets(t) {
  const socket = await t.connected();
  const calls = [
    ['#subscribe', [null]], ['#subscribe', { channel: { hello: 123 } }], ['#subscribe', { channel: null }],
    ['#unsubscribe', [null]], ['#publish', null], ['#publish', { channel: { hello: 123 } }], ['#publish', { channel: null }],
  ];
  for (const [event, data] of calls) {
    assert.equal((await failing(socket.invoke(event, data))).name, 'InvalidActionError', event);
  }
  assert.equal(socket.state, 'open');
}

export async function S48_S49_theControllersExchange(t) {
  const socket = await t.connected();
  await socket.invoke('watch', 'foo');
  await socket.publish('foo', { a: 'from a client' });
  for (let attempt = 0; !JSON.stringify(await socket.invoke('seen', 'foo')).includes('from a client'); attempt++) {
    assert.ok(attempt < 200, 'the controller did not hear it');
    await pause(10);
  }
  const channel = await socket.subscribe('bar').ready();
  for (let n = 0; n < 5; n++) await socket.invoke('publishFromServer', { channel: 'bar', data: n });
  for (let n = 0; n < 5; n++) assert.equal(await channel.next(), n);
}

export async function S51_unsubscribingFromNothing(t) {
  const socket = await t.connected();
  assert.equal((await failing(socket.invoke('#unsubscribe', 'bar'))).name, 'BrokerError');
}

export async function S53_kickedOut(t) {
  const socket = await t.connected();
  const channel = await socket.subscribe('foo').ready();
  socket.transmit('kick', { channel: 'foo', message: 'Just because' });
  assert.equal((await channel.inbox.next('kickOut')).message, 'Just because');
  assert.equal((await failing(socket.invoke('#unsubscribe', 'foo'))).name, 'BrokerError', 'the server forgot it too');
}

export async function S54_S55_batches(t) {
  const socket = t.create({ batchOnHandshake: true, batchOnHandshakeDuration: 100 });
  const channels = Array.from({ length: 20 }, (_, n) => socket.subscribe(`batched${n}`));
  socket.transmitPublish('batched3', 'hello');
  await Promise.all(channels.map((channel) => channel.ready()));
  assert.equal(await channels[3].next(), 'hello');
}

export async function C23_C24_publicationsInOrderAndWhole(t) {
  const [one, two] = [await t.connected(), await t.connected()];
  const channel = await one.subscribe('foo').ready();
  const values = ['first', { second: [1, 2, 3] }, 3];
  for (const value of values) two.transmitPublish('foo', value);
  for (const value of values) await two.publish('foo', value);
  for (const value of [...values, ...values]) assert.deepEqual(await channel.next(), value);
}

export async function C39_fiftyPublicationsToOneself(t) {
  const socket = await t.connected();
  const channel = await socket.subscribe('self').ready();
  for (let n = 0; n < 50; n++) socket.transmitPublish('self', n);
  for (let n = 0; n < 50; n++) assert.equal(await channel.next(), n);
}
