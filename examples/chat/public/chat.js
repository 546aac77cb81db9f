// What this page knows: who I am, the rooms, and the one that is open. No DOM in here: the page listens to its events
// `state`, `me`, `rooms`, `room`, `messages`, `people` and `typing`, and reads the fields.
import { connect } from '/sc/client.js';

const TYPING_SAID = 2_000;
const TYPING_SHOWN = 5_000;
/** Messages of the open room that are kept here. */
const SHOWN = 300;

/** Where the page's address says which room is open. */
export const hashOf = ({ id }) => `#${encodeURIComponent(id)}`;

export class Chat extends EventTarget {
  /** `connecting`, `open` or `closed`; then with the time in ms until the next attempt. */
  state = 'connecting';
  retryIn = undefined;
  /** My name; null while nobody is logged in. */
  me = null;
  /** id → { id, title, topic, locked, last } */
  rooms = new Map();
  room = null;
  /** { id, by, at, text, tag }, those with `id: null` are mine and on their way; with `problem` they failed. */
  messages = [];
  /** Why the open room does not show all yet: `loading`, an Error, or null. */
  waits = null;
  /** The first message that was new when the room was opened. */
  newFrom = null;
  typing = new Map();

  #client = connect({ authTokenName: 'chat.token' });
  #members = new Map();
  #read = {};
  #pending = new Set();
  #typed = 0;
  #recounting = null;

  constructor() {
    super();
    const client = this.#client;
    client.onState((state, { retryIn }) => {
      Object.assign(this, { state, retryIn });
      this.#changed('state');
      if (state === 'open') this.#sync();
      else this.#nobodyTypes();
    });
    client.onAuth((claims) => this.#authenticated(claims));
    client.onError((error) => console.info('chat:', error.message));
    // The other tabs of this browser.
    client.on('token', (token) => client.authenticate(token).catch(() => {}));
    client.on('gap', () => this.#catchUp());
    client.on('#presence', (change) => this.#presence(change));
    addEventListener('online', () => client.connect());
    addEventListener('storage', () => this.#mergeRead());
  }

  // --- what people do ---------------------------------------------------------------------------------------------

  login(name) {
    return this.#client.invoke('login', name);
  }

  async logout() {
    try {
      await this.#client.invoke('logout', undefined, { timeout: 2_000 });
    } finally {
      this.#client.deauthenticate();
    }
  }

  /** Connects; or fetches again what could not be fetched. */
  refresh() {
    this.#client.connect();
    this.#catchUp();
  }

  /** Opens the room that the address names; if none, the first, unless there is one open. */
  follow() {
    const rooms = [...this.rooms.values()];
    const room = rooms.find((room) => hashOf(room) === location.hash) ?? this.room ?? rooms[0];
    if (room && room !== this.room) this.enter(room.id);
  }

  enter(id) {
    const room = this.rooms.get(id);
    if (!room) return;
    this.#leave();
    Object.assign(this, { room, messages: this.#ofRoom(id), waits: 'loading', newFrom: null });
    this.#changed('room');
    this.#catchUp();
  }

  async join(word) {
    const { id } = this.room;
    await this.#client.invoke('join', { room: id, word });
  }

  async create(title) {
    const id = await this.#client.invoke('create', title);
    await this.#sync();
    this.enter(id);
  }

  /** Shown at once; sent now or, while there is no connection, with the next one. */
  send(text) {
    const tag = Date.now().toString(36) + Math.random().toString(36).slice(2);
    const message = { id: null, room: this.room.id, by: this.me, at: Date.now(), text, tag };
    this.#pending.add(message);
    this.messages.push(message);
    this.#deliver(message);
  }

  retry(message) {
    message.problem = undefined;
    this.#deliver(message);
  }

  takeBack(message) {
    this.#pending.delete(message);
    this.messages = this.messages.filter((other) => other !== message);
    this.#changed('messages');
  }

  isTyping() {
    if (this.state !== 'open' || Date.now() - this.#typed < TYPING_SAID) return;
    this.#typed = Date.now();
    this.#client.invoke('typing', this.room.id).catch(() => {});
  }

  /** Everything in the open room has been seen. */
  seen() {
    const { id, last } = this.room;
    if (this.#read[id] >= last) return;
    this.#read[id] = last;
    this.#mergeRead();
    try {
      localStorage.setItem(`chat.read.${this.me}`, JSON.stringify(this.#read));
    } catch {
      // A browser that stores nothing shows what is unread until the next reload.
    }
  }

  unread({ id, last, locked }) {
    return locked ? 0 : Math.max(0, last - (this.#read[id] ?? 0));
  }

  /** Whether something that I said there was refused. */
  hasFailed({ id }) {
    return this.#ofRoom(id).some(({ problem }) => problem);
  }

  /** The names of those in the open room, each once, mine first. */
  get people() {
    if (this.#members.size === 0) return [];
    const others = new Set(this.#members.values());
    others.delete(this.me);
    return [this.me, ...[...others].sort((one, other) => one.localeCompare(other))];
  }

  // --- what comes in ----------------------------------------------------------------------------------------------

  #authenticated(claims) {
    if (claims?.name === this.me) return void this.#sync(); // a new token, for one more room
    for (const id of this.rooms.keys()) this.#client.unsubscribe(`last.${id}`);
    this.#client.unsubscribe('rooms');
    this.#leave();
    this.rooms.clear();
    this.#pending.clear();
    Object.assign(this, { me: claims?.name ?? null, room: null });
    this.#read = {};
    this.#mergeRead();
    this.#changed('me');
    this.#sync();
  }

  /** Brings everything up to date, on each connection and login. */
  async #sync() {
    if (!this.me || this.state !== 'open') return;
    try {
      const isFirst = this.rooms.size === 0 && Object.keys(this.#read).length === 0;
      for (const room of await this.#client.invoke('rooms')) {
        if (isFirst) this.#read[room.id] = room.last; // what was said before I came is not unread
        this.#learn(room);
      }
      this.#subscribe('rooms', (room) => this.#learn(room));
    } catch (error) {
      return console.info('chat:', error.message); // the next connection tries again
    }
    if (this.room) await this.#catchUp();
    else this.follow();
    // What still waits did not arrive; or it went to another room, and then the server knows its tag.
    this.#pending.forEach((message) => message.problem || this.#deliver(message));
  }

  #learn(room) {
    const known = this.rooms.get(room.id) ?? { last: 0 };
    this.rooms.set(room.id, Object.assign(known, room, { last: Math.max(known.last, room.last) }));
    if (!room.locked) {
      this.#subscribe(`last.${room.id}`, (last) => {
        known.last = Math.max(known.last, last);
        this.#changed('rooms');
      });
      if (!known.isHeard) this.#recount();
      known.isHeard = true;
    }
    this.#changed('rooms');
  }

  /** Asks once more after new subscriptions, which come first: somebody may have spoken since rooms were listed. */
  #recount() {
    this.#recounting ??= setTimeout(async () => {
      this.#recounting = null;
      const rooms = await this.#client.invoke('rooms').catch(() => []);
      rooms.forEach((room) => this.#learn(room));
    });
  }

  #subscribe(name, listener) {
    const channel = this.#client.subscribe(name);
    if (channel.known) return channel;
    channel.known = true;
    channel.on(listener);
    return channel;
  }

  #leave() {
    if (this.room) this.#client.unsubscribe(`room.${this.room.id}`);
    this.#members.clear();
    this.#nobodyTypes();
    this.messages = [];
  }

  /** Enters the open room, or comes back to it, and fetches what was said and who is there. */
  async #catchUp() {
    const { room } = this;
    if (!room || this.state !== 'open') return;
    if (room.locked) return this.#waits(null);
    const name = `room.${room.id}`;
    try {
      const channel = this.#subscribe(name, (data) => this.#heard(data));
      await channel.subscribed();
      // Numbers are given out before messages are published, so the last ones may come in another order.
      const after = Math.max(0, ...this.messages.map(({ id }) => id ?? 0)) - 10;
      const [history, { members }] = await Promise.all([
        this.#client.invoke('history', { room: room.id, after }),
        this.#client.invoke('#presence', { channel: name, watch: true }),
      ]);
      if (room !== this.room) return;
      if (this.waits) this.newFrom = this.#firstUnread(history);
      history.forEach((message) => this.#put(message));
      this.#members = new Map(members.map(({ id, data }) => [id, data?.name ?? '…']));
      this.#waits(null);
      this.#changed('people');
    } catch (error) {
      if (room === this.room && error.name !== 'BadConnectionError') this.#waits(error);
    }
  }

  #firstUnread(history) {
    const read = this.#read[this.room.id] ?? 0;
    const isNew = ({ id, by }) => id > read && by !== this.me;
    return history.some(({ id }) => id <= read) ? history.find(isNew)?.id ?? null : null;
  }

  #waits(waits) {
    this.waits = waits;
    this.#changed('messages');
    this.#changed('state');
  }

  async #deliver(message) {
    this.#changed('messages');
    if (this.state !== 'open' || message.isSent) return;
    message.isSent = true;
    try {
      const { room, text, tag } = message;
      await this.#client.publishAndWait(`room.${room}`, { text, tag });
      this.#pending.delete(message);
    } catch (error) {
      message.isSent = false;
      // The next connection tells whether it arrived.
      if (error.name === 'BadConnectionError' || !this.#pending.has(message)) return;
      if (error.name === 'TimeoutError') return void this.#deliver(message); // what arrives twice is said once
      message.problem = error.message;
      this.#changed('messages');
      this.#changed('rooms');
    }
  }

  #heard(data) {
    if (data.typing) return this.#types(data.typing);
    this.#types(data.by, 0);
    this.#put(data);
    this.#changed('messages');
  }

  /** Puts a message into its place; one of mine takes the place of what was shown meanwhile. */
  #put(message) {
    const mine = this.messages.find(({ id, tag, by }) => id === null && tag === message.tag && by === message.by);
    if (mine) this.#pending.delete(Object.assign(mine, message, { problem: undefined }));
    else if (!this.messages.some(({ id }) => id === message.id)) this.messages.push(message);
    const order = ({ id }) => id ?? Infinity;
    this.messages.sort((one, other) => (order(one) === order(other) ? 0 : order(one) - order(other)));
    this.messages.splice(0, this.messages.length - SHOWN);
    this.room.last = Math.max(this.room.last, message.id);
  }

  /** Takes over what other tabs have seen. */
  #mergeRead() {
    try {
      const stored = JSON.parse(localStorage.getItem(`chat.read.${this.me}`)) ?? {};
      for (const [id, last] of Object.entries(stored)) this.#read[id] = Math.max(this.#read[id] ?? 0, last);
    } catch {
      // Nothing can be stored, or something else is: then nothing is known to be read.
    }
    this.#changed('rooms');
  }

  #ofRoom(id) {
    return [...this.#pending].filter(({ room }) => room === id);
  }

  #presence({ channel, event, member }) {
    if (channel !== `room.${this.room?.id}`) return;
    if (event === 'gap') return void this.#catchUp();
    if (event === 'leave') this.#members.delete(member.id);
    else this.#members.set(member.id, member.data?.name ?? '…');
    this.#changed('people');
  }

  #types(name, time = TYPING_SHOWN) {
    clearTimeout(this.typing.get(name));
    this.typing.delete(name);
    if (time > 0 && name !== this.me) {
      this.typing.set(name, setTimeout(() => this.#types(name, 0), time));
    }
    this.#changed('typing');
  }

  #nobodyTypes() {
    this.typing.forEach((timer) => clearTimeout(timer));
    this.typing.clear();
    this.#changed('typing');
  }

  #changed(what) {
    this.dispatchEvent(new Event(what));
  }
}
