// How each generation of clients logs in, listens, and learns that it was blocked or thrown out: its own calls and
// events, as its documentation has them. Each function fails unless the client itself says what it should.
import assert from 'node:assert/strict';

const SOON = 10_000;

/** The promise's value, or an error that says what did not come. */
function soon(what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} within ${SOON} ms`)), SOON);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** What an emitter's event brings the next time. */
const event = (emitter, name) =>
  soon(`event ${name}`, new Promise((resolve) => emitter.once(name, (...values) => resolve(values))));
/** What a call's callback is told. */
const called = (what, call) => soon(`callback of ${what}`, new Promise((resolve) => call((...values) => resolve(values))));
/** The same of a call that must fail. */
const failed = async (what, call) => (await called(what, call))[0];

/** The publications that a client heard, to be taken one by one. */
class Heard {
  all = [];
  #taken = 0;
  #wake = () => {};

  add(data) {
    this.all.push(data);
    this.#wake();
  }

  async next() {
    while (this.all.length <= this.#taken) {
      await soon('publication', new Promise((resolve) => {
        this.#wake = resolve;
      }));
    }
    return this.all[this.#taken++];
  }
}

/** 0.9.37: channels are events; a callback tells how things went. */
class Idiom09 {
  heard = new Heard();

  constructor(socket) {
    this.real = socket.real;
    this.listen();
  }

  listen() { this.real.on('members', (data) => this.heard.add(data)); }

  async login(credentials) {
    const [error] = await called('login', (done) => this.real.emit('login', credentials, done));
    assert.ok(!error);
  }

  async subscribe() {
    const [error] = await called('subscribe', (done) => this.real.subscribe('members', done));
    assert.ok(!error);
    assert.deepEqual(this.real.subscriptions(), ['members']);
  }

  refusedLogin(credentials) { return failed('login', (done) => this.real.emit('login', credentials, done)); }
  publish(data) { return called('publish', (done) => this.real.publish('members', data, done)).then(([error]) => assert.ok(!error)); }
  speak(data) { return called('speak', (done) => this.real.emit('speak', data, done)).then(([error]) => assert.ok(!error)); }

  async blockedSubscribe() {
    const told = event(this.real, 'error');
    const error = await failed('subscribe', (done) => this.real.subscribe('members', done));
    assert.deepEqual(await told, [error]);
    assert.deepEqual(this.real.subscriptions(), []);
    return error;
  }

  async blockedPublish() {
    const told = event(this.real, 'error');
    const error = await failed('publish', (done) => this.real.publish('members', 'hello', done));
    assert.deepEqual(await told, [error]);
    return error;
  }

  blockedEmit() { return failed('speak', (done) => this.real.emit('speak', 'hello', done)); }

  /** It knows no kicks. It is told by an event of that name, and hears the channel no more. */
  async kicked() {
    const [{ channel, message }] = await event(this.real, 'kickOut');
    assert.deepEqual(this.real.subscriptions(), ['members']);
    return { channel, message };
  }

  async disconnected() {
    await event(this.real, 'disconnect');
    assert.equal(this.real.connected, false);
  }
}

/** 1.0.0: channels are objects with events of their own. Kicks came with 1.0.2. */
class Idiom100 extends Idiom09 {
  listen() { this.real.watch('members', (data) => this.heard.add(data)); }

  async subscribe() {
    // As it knows no kicks, it may think that it is subscribed.
    if (this.real.isSubscribed('members')) {
      this.real.unsubscribe('members');
      await event(this.channel, 'unsubscribe');
    }
    this.channel = this.real.subscribe('members');
    assert.equal((await event(this.channel, 'subscribe'))[0], 'members');
    assert.equal(this.real.isSubscribed('members'), true);
  }

  async blockedSubscribe() {
    this.channel = this.real.subscribe('members');
    const [[error], [again, name]] = await Promise.all([event(this.channel, 'subscribeFail'), event(this.real, 'subscribeFail')]);
    assert.deepEqual([again, name], [error, 'members']);
    assert.equal(this.real.isSubscribed('members'), false);
    return error;
  }
}

class Idiom107 extends Idiom100 {
  async kicked() {
    const all = [event(this.real, 'kickOut'), event(this.channel, 'kickOut'), event(this.channel, 'unsubscribe')];
    const [[message, channel], ofChannel, [left]] = await Promise.all(all);
    assert.deepEqual(ofChannel, [message, channel]);
    assert.equal(left, channel);
    assert.deepEqual(this.real.subscriptions(), []);
    return { channel, message };
  }
}

/** 14: callbacks and events; logging in brings a token. */
class Idiom14 extends Idiom107 {
  async login(credentials) {
    assert.equal(this.real.authState, 'unauthenticated');
    const all = [event(this.real, 'authenticate'), event(this.real, 'authStateChange'), super.login(credentials)];
    const [[signed], [change]] = await Promise.all(all);
    assert.equal(signed, this.real.signedAuthToken);
    assert.deepEqual([change.oldState, change.newState], ['unauthenticated', 'authenticated']);
    assert.equal(this.real.getAuthToken().username, credentials.username);
  }

  async blockedPublish() { return failed('publish', (done) => this.real.publish('members', 'hello', done)); }

  async disconnected() {
    const [code, reason] = await event(this.real, 'disconnect');
    assert.equal(this.real.state, 'closed');
    return { code, reason };
  }
}

/** 20: streams and promises. */
class Idiom20 {
  heard = new Heard();

  constructor(socket) {
    this.real = socket.real;
    this.#listen(this.real.channel('members'));
  }

  async #listen(channel) {
    for await (const data of channel) this.heard.add(data);
  }

  #once(stream, what) { return soon(what, stream.once()); }

  async login(credentials) {
    const told = ['authenticate', 'authStateChange'].map((name) => this.#once(this.real.listener(name), name));
    await this.real.invoke('login', credentials);
    const [{ signedAuthToken, authToken }, change] = await Promise.all(told);
    assert.deepEqual([signedAuthToken, authToken.username], [this.real.signedAuthToken, credentials.username]);
    assert.deepEqual([change.oldAuthState, change.newAuthState], ['unauthenticated', 'authenticated']);
  }

  refusedLogin(credentials) { return this.#rejected(this.real.invoke('login', credentials)); }
  publish(data) { return this.real.invokePublish('members', data); }
  speak(data) { return this.real.invoke('speak', data); }

  async subscribe() {
    this.channel = this.real.subscribe('members');
    await this.#once(this.channel.listener('subscribe'), 'subscribe');
    assert.equal(this.channel.state, 'subscribed');
  }

  #rejected(promise) { return promise.then(() => assert.fail('it was not refused'), (error) => error); }

  async blockedSubscribe() {
    this.channel = this.real.subscribe('members');
    const told = [this.channel.listener('subscribeFail'), this.real.listener('subscribeFail')].map((of) => this.#once(of, 'subscribeFail'));
    const [{ error }, ofSocket] = await Promise.all(told);
    assert.deepEqual([ofSocket.channel, ofSocket.error.name], ['members', error.name]);
    assert.equal(this.channel.state, 'unsubscribed');
    return error;
  }

  blockedPublish() { return this.#rejected(this.real.invokePublish('members', 'hello')); }
  blockedEmit() { return this.#rejected(this.real.invoke('speak', 'hello')); }

  async kicked() {
    const told = [this.real.listener('kickOut'), this.channel.listener('kickOut')].map((of) => this.#once(of, 'kickOut'));
    const [{ channel, message }, ofChannel] = await Promise.all(told);
    assert.equal(ofChannel.message, message);
    assert.equal(this.channel.state, 'unsubscribed');
    return { channel, message };
  }

  async disconnected() {
    const { code, reason } = await this.#once(this.real.listener('disconnect'), 'disconnect');
    assert.equal(this.real.state, 'closed');
    return { code, reason };
  }
}

const IDIOMS = { 937: Idiom09, 100: Idiom100, 107: Idiom107, 14: Idiom14, 20: Idiom20 };

export const idiomOf = (socket) => new IDIOMS[socket.generation](socket);
