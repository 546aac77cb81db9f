// The client of sc-host: SocketCluster's modern protocol, version 2, for browsers and Node.
// Invariant: messages leave in the order of the calls that issued them, subscriptions first after a reconnect, and
// nothing that waits does so without a bound or a deadline.
// Price: a connection that breaks loses what was sent but not answered; its calls fail with BadConnectionError.

/**
 * Connects to a host. In a browser no option is needed: the page's own host is meant.
 * @param {import('./sc.js').Options} [options]
 */
export function connect(options = {}) {
  return new Client(options);
}

/** What failed calls reject with: the server's own error objects, and those of this client. */
export class ClientError extends Error {
  constructor(name, message, extra) {
    super(message);
    Object.assign(this, extra);
    this.name = name;
  }
}

const DEFAULTS = {
  path: '/socketcluster/',
  autoConnect: true,
  connectTimeout: 20_000,
  ackTimeout: 10_000,
  bufferMax: 1_000,
  pingTimeoutDisabled: false,
};
const RECONNECT = { initialDelay: 1_000, randomness: 1_000, multiplier: 1.5, maxDelay: 60_000 };
const PING_TIMED_OUT = 4000;
const HANDSHAKE_FAILED = 4003;
const CONNECT_TIMED_OUT = 4007;
const NO_STATUS = 1005;
const PERMANENT = 4500;
const ITERATOR_QUEUE = 1_000;

class Client {
  /** `closed`, `connecting` or `open`. */
  state = 'closed';
  /** The socket's id, as the server calls it; null while not open. */
  id = null;
  /** The claims of the token that the server took; null while unauthenticated. */
  authToken = null;
  /** Whether the server took our token. Survives a broken connection. */
  isAuthenticated = false;
  /** Where this client connects to. */
  url;

  #options;
  #WebSocket;
  #reconnect;
  #tokens;
  #socket = null;
  #generation = 0;
  #attempts = 0;
  #retry = null;
  #deadline = null;
  #pingTimeout = 0;
  #pingTimer = null;
  #cid = 0;
  #calls = new Map();
  #buffer = [];
  #channels = new Map();
  #answers = new Map();
  #events = new Listeners();
  #states = new Listeners();

  constructor(options) {
    this.#options = { ...DEFAULTS, ...options };
    this.#WebSocket = options.WebSocket ?? globalThis.WebSocket;
    if (!this.#WebSocket) {
      throw new TypeError('this runtime has no WebSocket: pass a class as the option WebSocket');
    }
    this.#reconnect = options.reconnect === false ? null : { ...RECONNECT, ...options.reconnect };
    this.url = addressOf(this.#options);
    const name = this.#options.authTokenName ?? `socketcluster.authToken.${new URL(this.url).host}`;
    this.#tokens = tokenStorage(name, options.storage);
    if (this.#options.autoConnect) this.connect();
  }

  // --- connection -----------------------------------------------------------------------------------------------

  /** Connects now, if it is not connected or connecting. */
  connect() {
    if (this.state !== 'closed') return;
    clearTimeout(this.#retry);
    this.#retry = null;
    this.#setState('connecting');
    this.#open();
  }

  /** Closes for good: no reconnection until `connect()`, `emit()` or another call asks for one. */
  disconnect(code = 1000, reason = '') {
    this.#lose(code, reason, { permanent: true });
  }

  /** Resolves when the connection is open; rejects when it has closed for good. */
  opened() {
    if (this.state === 'open') return Promise.resolve();
    return new Promise((resolve, reject) => {
      const off = this.onState((state, { code, reason, retryIn }) => {
        if (state === 'open') resolve();
        else if (state === 'closed' && retryIn === undefined) reject(connectionError('the connection', code, reason));
        else return;
        off();
      });
    });
  }

  /** Calls back at each change of state with (state, {code, reason, retryIn}). Returns what ends that. */
  onState(listener) {
    return this.#states.add('state', listener);
  }

  /** Calls back at each authentication, with the claims, and at each deauthentication, with null. */
  onAuth(listener) {
    return this.#states.add('auth', listener);
  }

  /** Calls back with errors that belong to no call: a bad token, a listener that threw. */
  onError(listener) {
    return this.#states.add('error', listener);
  }

  // --- events ---------------------------------------------------------------------------------------------------

  /** Calls back with each event of that name. Returns what ends that. */
  on(event, listener) {
    return this.#events.add(event, listener);
  }

  /** Ends what `on` began; without a listener, all of that event's. */
  off(event, listener) {
    this.#events.remove(event, listener);
  }

  /** Sends an event; nothing answers it. */
  emit(event, data) {
    this.#send({ event, data });
  }

  /** Asks the server. Resolves with its answer, rejects with its error, a TimeoutError or a BadConnectionError. */
  invoke(event, data, { timeout = this.#options.ackTimeout } = {}) {
    return this.#call({ event, data }, timeout);
  }

  /** Answers the server's questions of that name with what the function returns, or with the error it throws. */
  answer(event, answerer) {
    this.#answers.set(event, answerer);
    return () => this.#answers.get(event) === answerer && this.#answers.delete(event);
  }

  // --- channels -------------------------------------------------------------------------------------------------

  /** Subscribes, and again after each reconnection. The same name gives the same channel. */
  subscribe(name, options = {}) {
    let channel = this.#channels.get(name);
    if (channel) return channel;
    channel = new Channel(name, options, () => this.#unsubscribe(channel), (error) => this.#report(error));
    this.#channels.set(name, channel);
    if (this.state === 'closed' && this.#retry === null) this.connect();
    this.#trySubscribe(channel);
    return channel;
  }

  /** Ends a subscription. */
  unsubscribe(name) {
    this.#channels.get(name)?.unsubscribe();
  }

  /** Publishes without waiting. */
  publish(channel, data) {
    this.#send({ event: '#publish', data: { channel, data } });
  }

  /** Publishes and resolves when the server took it. */
  publishAndWait(channel, data) {
    return this.#call({ event: '#publish', data: { channel, data } }, this.#options.ackTimeout);
  }

  // --- authentication -------------------------------------------------------------------------------------------

  /** The stored token as text, or null. */
  get signedAuthToken() {
    return this.#tokens.load();
  }

  /** Authenticates with a token. Rejects when it is bad; resolves with whether the server took it. */
  async authenticate(token) {
    try {
      const status = await this.#call({ event: '#authenticate', data: token }, this.#options.ackTimeout);
      this.#tokens.save(token);
      this.#setAuth(Boolean(status?.isAuthenticated), token);
      if (status?.authError) this.#report(hydrate(status.authError));
      return this.isAuthenticated;
    } catch (error) {
      if (error.name !== 'BadConnectionError' && error.name !== 'TimeoutError') this.#dropToken();
      throw error;
    }
  }

  /** Gives the token up, here and on the server. */
  deauthenticate() {
    this.#dropToken();
    if (this.state === 'open') this.#write({ event: '#removeAuthToken' });
  }

  // --- a connection's life --------------------------------------------------------------------------------------

  #open() {
    const generation = ++this.#generation;
    const current = (handler) => (event) => generation === this.#generation && handler(event);
    this.#deadline = setTimeout(() => this.#lose(CONNECT_TIMED_OUT, 'no connection in time'), this.#options.connectTimeout);
    try {
      this.#socket = new this.#WebSocket(this.url);
    } catch (error) {
      this.#report(error);
      this.#lose(1006, 'the address cannot be used', { permanent: true });
      return;
    }
    this.#socket.onopen = current(() => this.#handshake());
    this.#socket.onmessage = current(({ data }) => this.#receive(data));
    this.#socket.onclose = current(({ code, reason }) => this.#lose(code, reason, { closed: true }));
    this.#socket.onerror = () => {}; // onclose follows, and says all that a browser may know
  }

  #handshake() {
    const data = { authToken: this.#tokens.load() };
    const cid = ++this.#cid;
    this.#calls.set(cid, {
      event: '#handshake',
      resolve: (status) => this.#opened(status),
      reject: (error) => {
        this.#report(error);
        this.#lose(sendable(error.statusCode) ?? HANDSHAKE_FAILED, `${error.name}: ${error.message}`);
      },
    });
    this.#write({ event: '#handshake', data, cid });
  }

  #opened(status) {
    clearTimeout(this.#deadline);
    this.id = status?.id ?? null;
    this.#attempts = 0;
    this.#pingTimeout = status?.pingTimeout ?? 0;
    this.#heard();
    this.#setAuth(Boolean(status?.isAuthenticated), this.#tokens.load());
    if (status?.authError) this.#report(hydrate(status.authError));
    this.#setState('open');
    for (const channel of this.#channels.values()) this.#trySubscribe(channel);
    const waiting = this.#buffer;
    this.#buffer = [];
    waiting.forEach((packet) => this.#write(packet));
  }

  #lose(code, reason, { permanent = false, closed = false } = {}) {
    if (this.state === 'closed') {
      clearTimeout(this.#retry);
      this.#retry = null;
      if (permanent) this.#abandon(code, reason);
      return;
    }
    ++this.#generation; // whatever the old socket still says is nobody's
    const socket = this.#socket;
    this.#socket = null;
    if (socket && !closed) close(socket, code, reason);
    clearTimeout(this.#deadline);
    clearTimeout(this.#pingTimer);
    this.id = null;
    for (const channel of this.#channels.values()) channel._lost();

    const retryIn = permanent ? undefined : this.#pause(code);
    const waiting = new Set(this.#buffer.map(({ cid }) => cid));
    this.state = 'closed';
    for (const [cid, call] of [...this.#calls]) {
      if (retryIn !== undefined && waiting.has(cid)) continue; // not sent: the next connection takes it
      this.#calls.delete(cid);
      clearTimeout(call.timer);
      if (call.event !== '#handshake') call.reject(connectionError(call.event, code, reason));
    }
    if (retryIn === undefined) this.#buffer = [];
    else this.#retry = setTimeout(() => this.connect(), retryIn);
    this.#states.call('state', (error) => this.#report(error), 'closed', { code, reason, retryIn });
  }

  /** Fails what still waits for a connection that will not come. */
  #abandon(code, reason) {
    this.#buffer = [];
    for (const [cid, call] of [...this.#calls]) {
      this.#calls.delete(cid);
      clearTimeout(call.timer);
      call.reject(connectionError(call.event, code, reason));
    }
  }

  /** Milliseconds until the next attempt; undefined for never. */
  #pause(code) {
    const rules = this.#reconnect;
    if (!rules || code === 1000 || code >= PERMANENT) return undefined;
    const attempt = this.#attempts++;
    if (attempt === 0 && [PING_TIMED_OUT, 4001, NO_STATUS].includes(code)) return 0;
    const first = Math.round(rules.initialDelay + rules.randomness * Math.random());
    return Math.min(first * rules.multiplier ** attempt, rules.maxDelay);
  }

  #heard() {
    clearTimeout(this.#pingTimer);
    if (!this.#pingTimeout || this.#options.pingTimeoutDisabled) return;
    this.#pingTimer = setTimeout(() => this.#lose(PING_TIMED_OUT, ''), this.#pingTimeout);
  }

  #setState(state, details = {}) {
    this.state = state;
    this.#states.call('state', (error) => this.#report(error), state, details);
  }

  #report(error) {
    if (this.#states.call('error', () => {}, error) === 0) console.error('sc-host client:', error);
  }

  // --- packets --------------------------------------------------------------------------------------------------

  #receive(text) {
    if (text === '') {
      this.#heard();
      this.#socket.send('');
      return;
    }
    if (typeof text !== 'string' || !/^[ \n\r\t]*[[{]/.test(text)) return; // raw messages are none of ours
    let packets;
    try {
      packets = JSON.parse(text);
    } catch {
      return;
    }
    const generation = this.#generation;
    for (const packet of Array.isArray(packets) ? packets : [packets]) {
      if (generation !== this.#generation) return;
      if (typeof packet?.event === 'string') this.#event(packet);
      else if (typeof packet?.rid === 'number') this.#answered(packet);
    }
  }

  #event({ event, data, cid }) {
    switch (event) {
      case '#publish':
        this.#channels.get(data?.channel)?._deliver(data.data);
        break;
      case '#kickOut':
        this.#kickedOut(data);
        break;
      case '#setAuthToken':
        this.#tokenSet(data, cid);
        break;
      case '#removeAuthToken':
        this.#dropToken();
        if (typeof cid === 'number') this.#write({ rid: cid });
        break;
      default:
        if (typeof cid === 'number') this.#asked(event, data, cid);
        else this.#events.call(event, (error) => this.#report(error), data);
    }
  }

  async #asked(event, data, cid) {
    const answerer = this.#answers.get(event);
    if (!answerer) return; // the protocol leaves unknown questions to time out
    const generation = this.#generation;
    let packet;
    try {
      packet = { rid: cid, data: await answerer(data) };
    } catch (error) {
      packet = { rid: cid, error: dehydrate(error) };
    }
    if (generation === this.#generation) this.#write(packet);
  }

  #answered({ rid, error, data }) {
    const call = this.#calls.get(rid);
    if (!call) return;
    this.#calls.delete(rid);
    clearTimeout(call.timer);
    if (error) call.reject(hydrate(error));
    else call.resolve(data);
  }

  #call(packet, timeout) {
    return new Promise((resolve, reject) => {
      const cid = ++this.#cid;
      const call = { event: packet.event, resolve, reject };
      if (timeout) {
        call.timer = setTimeout(() => {
          this.#calls.delete(cid);
          this.#buffer = this.#buffer.filter((waiting) => waiting.cid !== cid);
          reject(new ClientError('TimeoutError', `no answer to ${packet.event} within ${timeout} ms`));
        }, timeout);
      }
      this.#calls.set(cid, call);
      try {
        this.#send({ ...packet, cid });
      } catch (error) {
        this.#calls.delete(cid);
        clearTimeout(call.timer);
        reject(error);
      }
    });
  }

  #send(packet) {
    if (this.state === 'open') {
      this.#write(packet);
      return;
    }
    if (this.#buffer.length >= this.#options.bufferMax) {
      throw new ClientError('BufferFullError', `${this.#buffer.length} messages already wait for the connection`);
    }
    this.#buffer.push(packet);
    // While a next attempt is due, what is sent does not bring it forward: a crowd would return at once.
    if (this.state === 'closed' && this.#retry === null) this.connect();
  }

  #write(packet) {
    this.#socket.send(JSON.stringify(packet));
  }

  // --- subscriptions and tokens ---------------------------------------------------------------------------------

  #trySubscribe(channel) {
    const { waitForAuth, data } = channel._options;
    if (this.state !== 'open' || channel._asked || (waitForAuth && !this.isAuthenticated)) return;
    channel._asked = true;
    const request = { channel: channel.name, waitForAuth: waitForAuth || undefined, data };
    const generation = this.#generation;
    this.#call({ event: '#subscribe', data: request }, 0).then(
      () => generation === this.#generation && channel._subscribed(),
      (error) => {
        if (error.name === 'BadConnectionError' || generation !== this.#generation) return;
        if (this.#channels.get(channel.name) === channel) this.#channels.delete(channel.name);
        channel._ended('subscribeFail', error);
      },
    );
  }

  #unsubscribe(channel) {
    if (this.#channels.get(channel.name) !== channel) return;
    this.#channels.delete(channel.name);
    if (this.state === 'open' && channel._asked) this.#write({ event: '#unsubscribe', data: channel.name });
    channel._ended('unsubscribe');
  }

  #kickedOut(data) {
    const channel = this.#channels.get(data?.channel);
    if (!channel) return;
    this.#channels.delete(channel.name);
    channel._ended('kickOut', data.message);
  }

  #tokenSet(data, cid) {
    if (typeof data?.token !== 'string') {
      const error = { message: 'No token data provided by #setAuthToken event', name: 'InvalidMessageError' };
      if (typeof cid === 'number') this.#write({ rid: cid, error });
      return;
    }
    this.#tokens.save(data.token);
    this.#setAuth(true, data.token);
    if (typeof cid === 'number') this.#write({ rid: cid });
  }

  #dropToken() {
    this.#tokens.remove();
    this.#setAuth(false, null);
  }

  #setAuth(isAuthenticated, token) {
    const before = this.isAuthenticated;
    this.isAuthenticated = isAuthenticated;
    this.authToken = isAuthenticated ? claimsOf(token) : null;
    if (before || isAuthenticated) this.#states.call('auth', (error) => this.#report(error), this.authToken);
    if (isAuthenticated) for (const channel of this.#channels.values()) this.#trySubscribe(channel);
  }
}

/** A subscription. Iterate it, or give `on` a listener. */
class Channel {
  /** The channel's name. */
  name;
  /** `pending`, `subscribed` or `unsubscribed`. */
  state = 'pending';
  _options;
  _asked = false;
  #leave;
  #report;
  #listeners = new Listeners();
  #iterators = new Set();
  #waiting = [];
  #failure = null;

  constructor(name, options, leave, report) {
    this.name = name;
    this._options = options;
    this.#leave = leave;
    this.#report = report;
  }

  /**
   * Calls back with each publication; or, with a name before the listener, at `subscribe`, `subscribeFail`,
   * `kickOut` and `unsubscribe`. Returns what ends that.
   */
  on(event, listener) {
    return typeof event === 'function' ? this.#listeners.add('data', event) : this.#listeners.add(event, listener);
  }

  /** Resolves when the server took the subscription; rejects when it refused, or the channel was left before. */
  subscribed() {
    if (this.state === 'subscribed') return Promise.resolve();
    if (this.state === 'unsubscribed') return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /** Leaves the channel; its iterators end. */
  unsubscribe() {
    this.#leave();
  }

  /** Publications from now on. A loop that is more than 1,000 behind loses the oldest. */
  [Symbol.asyncIterator]() {
    const queue = [];
    const iterator = { wake: null, push: null, done: this.state === 'unsubscribed' };
    iterator.push = (value) => {
      queue.push(value);
      if (queue.length > ITERATOR_QUEUE) queue.shift();
    };
    this.#iterators.add(iterator);
    const end = () => {
      iterator.done = true;
      this.#iterators.delete(iterator);
      iterator.wake?.();
    };
    return {
      next: async () => {
        while (queue.length === 0 && !iterator.done) await new Promise((wake) => (iterator.wake = wake));
        return queue.length > 0 ? { value: queue.shift(), done: false } : { value: undefined, done: true };
      },
      return: async () => {
        end();
        return { value: undefined, done: true };
      },
    };
  }

  _deliver(data) {
    for (const iterator of this.#iterators) {
      iterator.push(data);
      iterator.wake?.();
    }
    this.#listeners.call('data', this.#report, data);
  }

  _subscribed() {
    if (this.state !== 'pending') return;
    this.state = 'subscribed';
    this.#waiting.splice(0).forEach(({ resolve }) => resolve());
    this.#listeners.call('subscribe', this.#report);
  }

  _lost() {
    this._asked = false;
    if (this.state === 'subscribed') this.state = 'pending';
  }

  _ended(event, detail) {
    this.state = 'unsubscribed';
    this.#failure = detail instanceof Error ? detail : new ClientError('InvalidActionError', `channel ${this.name} was left`);
    this.#waiting.splice(0).forEach(({ reject }) => reject(this.#failure));
    for (const iterator of this.#iterators) {
      iterator.done = true;
      iterator.wake?.();
    }
    this.#iterators.clear();
    this.#listeners.call(event, this.#report, detail);
    if (event === 'kickOut') this.#listeners.call('unsubscribe', this.#report);
  }
}

class Listeners {
  #of = new Map();

  add(event, listener) {
    if (typeof listener !== 'function') throw new TypeError('a listener is a function');
    if (!this.#of.has(event)) this.#of.set(event, new Set());
    this.#of.get(event).add(listener);
    return () => this.remove(event, listener);
  }

  remove(event, listener) {
    if (listener) this.#of.get(event)?.delete(listener);
    else this.#of.delete(event);
  }

  /** Calls all listeners; one that throws stops no other. Returns how many there were. */
  call(event, report, ...values) {
    const listeners = [...(this.#of.get(event) ?? [])];
    for (const listener of listeners) {
      try {
        listener(...values);
      } catch (error) {
        report(error);
      }
    }
    return listeners.length;
  }
}

function addressOf({ url, host, secure, path, query }) {
  const page = globalThis.location;
  const address = url ? new URL(url, page?.href) : new URL(path, `ws://${host ?? page?.host ?? 'localhost:8000'}`);
  const safe = secure ?? (url ? ['wss:', 'https:'].includes(address.protocol) : page?.protocol === 'https:');
  address.protocol = safe ? 'wss:' : 'ws:';
  for (const [key, value] of Object.entries(query ?? {})) {
    for (const one of Array.isArray(value) ? value : [value]) address.searchParams.append(key, one);
  }
  return address.href;
}

/** Where the token lives: the given storage, the browser's, or memory when there is none or it refuses. */
function tokenStorage(name, given) {
  let memory = null;
  const usable = () => {
    try {
      return given === undefined ? globalThis.localStorage : given;
    } catch {
      return null; // a browser that denies storage throws already here
    }
  };
  const attempt = (action) => {
    try {
      const storage = usable();
      return storage ? action(storage) : undefined;
    } catch {
      return undefined;
    }
  };
  return {
    // Memory counts only where the storage failed: another tab may have changed what is stored.
    load: () => memory ?? attempt((storage) => storage.getItem(name)) ?? null,
    save: (token) => {
      const kept = attempt((storage) => {
        storage.setItem(name, token);
        return true;
      });
      memory = kept ? null : token;
    },
    remove: () => {
      memory = null;
      attempt((storage) => storage.removeItem(name));
    },
  };
}

function claimsOf(token) {
  try {
    const body = token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/');
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(body), (char) => char.charCodeAt(0))));
  } catch {
    return null;
  }
}

function hydrate(error) {
  if (typeof error !== 'object') return new ClientError('Error', String(error));
  const { message, name, ...extra } = error;
  return new ClientError(typeof name === 'string' ? name : 'Error', message ?? 'Invalid error message format', extra);
}

function dehydrate(error) {
  if (!(error instanceof Error)) return error || { message: 'Error' };
  const named = error.name === 'Error' ? {} : { name: error.name };
  return { message: error.message, ...named, ...error };
}

function connectionError(what, code, reason) {
  return new ClientError('BadConnectionError', `${what} was aborted: the connection closed`, { code, reason });
}

function sendable(code) {
  return code === 1000 || (code >= 3000 && code <= 4999) ? code : undefined;
}

function close(socket, code, reason) {
  try {
    socket.close(sendable(code) ?? 1000, reason.slice(0, 40));
  } catch {
    socket.close();
  }
}
