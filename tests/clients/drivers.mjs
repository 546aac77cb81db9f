// One face for the real clients of both generations, so that a scenario is written once. Nothing of them is changed;
// every option but the address is the client's default, unless a scenario says otherwise.
import client20 from 'client20';
import client14 from 'client14';
import client0937 from 'client0937';
import client100 from 'client100';
import client107 from 'client107';

/** The classic generation's clients, by their versions without dots. */
export const CLASSIC = { 937: client0937, 100: client100, 107: client107 };

const LOCAL = [
  'connecting', 'connect', 'connectAbort', 'disconnect', 'close', 'error', 'authStateChange', 'authenticate',
  'deauthenticate', 'removeAuthToken', 'kickOut', 'subscribe', 'subscribeFail', 'unsubscribe', 'raw',
];
const SOON = 10_000;

/** A queue of events by name: what happened before it was awaited is not lost. */
class Inbox {
  log = [];
  #taken = new Map();
  #waiting = new Set();

  add(name, value) {
    this.log.push([name, value]);
    for (const look of [...this.#waiting]) look();
  }

  names(...of) {
    return this.log.map(([name]) => name).filter((name) => of.length === 0 || of.includes(name));
  }

  all(name) {
    return this.log.filter(([of]) => of === name).map(([, value]) => value);
  }

  /** The next event of that name that no earlier call took. */
  next(name, timeout = SOON) {
    return new Promise((resolve, reject) => {
      const look = () => {
        const taken = this.#taken.get(name) ?? 0;
        const all = this.all(name);
        if (all.length <= taken) return;
        this.#taken.set(name, taken + 1);
        this.#waiting.delete(look);
        clearTimeout(timer);
        resolve(all[taken]);
      };
      const timer = setTimeout(() => {
        this.#waiting.delete(look);
        const error = new Error(`no ${name} within ${timeout} ms; so far: ${this.names().join(' ') || 'nothing'}`);
        reject(Object.assign(error, { name: 'NothingCame' }));
      }, timeout);
      this.#waiting.add(look);
      look();
    });
  }
}

export function create(generation, options) {
  if (CLASSIC[generation]) return new ClassicSocket(generation, options);
  return generation === 14 ? new Socket14(options) : new Socket20(options);
}

/** A client of the classic generation. It reports errors that its calls report too: these are only noted. */
class ClassicSocket {
  events = new Inbox();
  #received = new Map();

  constructor(generation, options) {
    this.generation = generation;
    const autoReconnectOptions = { delay: 100, randomness: 100 };
    this.real = CLASSIC[generation].connect({ autoReconnectOptions, ...options });
    for (const name of ['connect', 'disconnect', 'error', 'raw', 'fail', 'upgrade', 'subscribeFail', 'kickOut']) {
      this.real.on(name, (...values) => this.events.add(name, values.length > 1 ? values : values[0]));
    }
  }

  get id() { return this.real.id; }
  get state() { return this.real.connected ? 'open' : 'closed'; }
  get transport() { return this.real.transport.name; }

  connect() { this.real.connect(); }
  disconnect() { this.real.disconnect(); }
  async connected() { return this.events.next('connect'); }

  transmit(event, data) { this.real.emit(event, data); }
  invoke(event, data) { return promised((done) => this.real.emit(event, data, done)); }
  publish(channel, data) { return promised((done) => this.real.publish(channel, data, done)); }

  /** The events of that name that the server sends, from now on. */
  received(name) {
    if (!this.#received.has(name)) {
      const inbox = new Inbox();
      this.#received.set(name, inbox);
      this.real.on(name, (value) => inbox.add('event', value));
    }
    return this.#received.get(name);
  }

  answer(name, answerer) {
    this.real.on(name, (data, response) => {
      try {
        response.end(answerer(data));
      } catch (error) {
        response.error(error);
      }
    });
  }

  subscribe(name) {
    const inbox = new Inbox();
    if (this.generation === 937) {
      this.real.on(name, (value) => inbox.add('data', value));
      this.real.subscribe(name, (error) => inbox.add(error ? 'subscribeFail' : 'subscribe', error ?? name));
    } else {
      const channel = this.real.subscribe(name);
      channel.watch((value) => inbox.add('data', value));
      channel.on('subscribe', (value) => inbox.add('subscribe', value));
      channel.on('subscribeFail', (error) => inbox.add('subscribeFail', error));
    }
    return new ClassicChannel(this.real, name, inbox);
  }
}

class ClassicChannel {
  constructor(real, name, inbox) {
    Object.assign(this, { real, name, inbox });
  }

  get messages() { return this.inbox.all('data'); }
  next(timeout) { return this.inbox.next('data', timeout); }
  unsubscribe() { return new Promise((done) => this.real.emit('unsubscribe', this.name, done)); }

  async ready() {
    await this.inbox.next('subscribe');
    return this;
  }
}

class Socket20 {
  generation = 20;
  events = new Inbox();
  #received = new Map();

  constructor(options) {
    this.real = client20.create(options);
    for (const name of LOCAL) this.#pump(this.real.listener(name), (value) => this.events.add(name, value));
  }

  async #pump(stream, use) {
    for await (const value of stream) use(value);
  }

  get state() { return this.real.state; }
  get id() { return this.real.id; }
  get authState() { return this.real.authState; }
  get authToken() { return this.real.authToken; }
  get signedAuthToken() { return this.real.signedAuthToken; }

  connect(options) { this.real.connect(options); }
  disconnect(code, reason) { this.real.disconnect(code, reason); }
  reconnect(code, reason) { this.real.reconnect(code, reason); }
  async connected() { return this.events.next('connect'); }

  transmit(event, data) { return this.real.transmit(event, data); }
  invoke(event, data, options) { return this.real.invoke(event, data, options); }
  publish(channel, data) { return this.real.invokePublish(channel, data); }
  transmitPublish(channel, data) { return this.real.transmitPublish(channel, data); }
  authenticate(token) { return this.real.authenticate(token); }
  deauthenticate() { return this.real.deauthenticate(); }

  /** The events of that name that the server sends, from now on. */
  received(name) {
    if (!this.#received.has(name)) {
      const inbox = new Inbox();
      this.#received.set(name, inbox);
      this.#pump(this.real.receiver(name), (value) => inbox.add('event', value));
    }
    return this.#received.get(name);
  }

  answer(name, answerer) {
    this.#pump(this.real.procedure(name), (request) => {
      try {
        request.end(answerer(request.data));
      } catch (error) {
        request.error(error);
      }
    });
  }

  subscribe(name, options) {
    const real = this.real.subscribe(name, options);
    const inbox = new Inbox();
    this.#pump(real, (value) => inbox.add('data', value));
    for (const event of ['subscribe', 'subscribeFail', 'kickOut', 'unsubscribe']) {
      this.#pump(real.listener(event), (value) => inbox.add(event, value));
    }
    return new Channel(real, inbox);
  }
}

class Socket14 {
  generation = 14;
  events = new Inbox();
  #received = new Map();

  constructor(options) {
    // Without this one option, two clients of one process would share a connection.
    this.real = client14.create({ multiplex: false, ...options });
    const shapes = {
      disconnect: (code, reason) => ({ code, reason }),
      connectAbort: (code, reason) => ({ code, reason }),
      close: (code, reason) => ({ code, reason }),
      error: (error) => ({ error }),
      authStateChange: ({ oldState, newState, ...rest }) => ({ oldAuthState: oldState, newAuthState: newState, ...rest }),
      authenticate: (signedAuthToken) => ({ signedAuthToken, authToken: this.real.authToken }),
      kickOut: (message, channel) => ({ message, channel }),
      subscribe: (channel) => ({ channel }),
      subscribeFail: (error, channel) => ({ error, channel }),
      unsubscribe: (channel) => ({ channel }),
    };
    for (const name of LOCAL) {
      const shape = shapes[name] ?? ((value) => value);
      this.real.on(name, (...values) => this.events.add(name, shape(...values)));
    }
  }

  get state() { return this.real.state; }
  get id() { return this.real.id; }
  get authState() { return this.real.authState; }
  get authToken() { return this.real.authToken; }
  get signedAuthToken() { return this.real.signedAuthToken; }

  connect() { this.real.connect(); }
  disconnect(code, reason) { this.real.disconnect(code, reason); }
  reconnect(code, reason) { this.real.reconnect(code, reason); }
  async connected() { return this.events.next('connect'); }

  transmit(event, data) { this.real.emit(event, data); }
  invoke(event, data) { return promised((done) => this.real.emit(event, data, done)); }
  publish(channel, data) { return promised((done) => this.real.publish(channel, data, done)); }
  transmitPublish(channel, data) { this.real.publish(channel, data); }
  authenticate(token) { return promised((done) => this.real.authenticate(token, done)); }
  deauthenticate() { return promised((done) => this.real.deauthenticate(done)); }

  received(name) {
    if (!this.#received.has(name)) {
      const inbox = new Inbox();
      this.#received.set(name, inbox);
      this.real.on(name, (value) => inbox.add('event', value));
    }
    return this.#received.get(name);
  }

  answer(name, answerer) {
    this.real.on(name, (data, respond) => {
      try {
        respond(null, answerer(data));
      } catch (error) {
        respond(error);
      }
    });
  }

  subscribe(name, options) {
    const real = this.real.subscribe(name, options);
    const inbox = new Inbox();
    real.watch((value) => inbox.add('data', value));
    for (const event of ['subscribe', 'subscribeFail', 'kickOut', 'unsubscribe']) {
      real.on(event, (value) => inbox.add(event, event === 'kickOut' ? { message: value } : value));
    }
    return new Channel(real, inbox);
  }
}

class Channel {
  constructor(real, inbox) {
    this.real = real;
    this.inbox = inbox;
  }

  get state() { return this.real.state; }
  get messages() { return this.inbox.all('data'); }
  next(timeout) { return this.inbox.next('data', timeout); }
  unsubscribe() { this.real.unsubscribe(); }

  async ready() {
    if (this.state !== 'subscribed') await this.inbox.next('subscribe');
    return this;
  }
}

function promised(call) {
  return new Promise((resolve, reject) => call((error, value) => (error ? reject(error) : resolve(value))));
}
