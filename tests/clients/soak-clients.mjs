// One face for the clients of the soak: those of npm of all generations, over each of their transports, and our own.
// Each can be closed politely or torn from its connection, and forgets then what it heard.
import http from 'node:http';
import https from 'node:https';
import WebSocket from 'ws';
import { connect } from '../../sdk/client/sc.js';
import { create } from './drivers.mjs';

const port = Number(process.env.SC_PORT);
const secure = process.env.SC_SECURE !== undefined;
const SOON = 20_000;

const { Agent } = secure ? https : http;
const proxy = new Agent({ keepAlive: true });

const classic = (generation, ...transports) => ({ generation, transports });
const MAKERS = {
  '0.9 polling': classic(937, 'polling'),
  // Requests of many sockets come over one connection, as from a proxy.
  '0.9 proxied': { ...classic(937, 'polling'), isProxied: true },
  '0.9 websocket': classic(937, 'websocket'),
  '0.9 upgrade': classic(937, 'polling', 'websocket'),
  '1.0 polling': classic(100, 'polling'),
  '1.0 websocket': classic(107, 'websocket'),
  '1.0 upgrade': classic(107, 'polling', 'websocket'),
  14: { generation: 14 },
  20: { generation: 20 },
  ours: {},
};

export const KINDS = Object.keys(MAKERS);

/** A connected client of that kind. */
export async function open(kind) {
  const { generation } = MAKERS[kind];
  return generation ? new Theirs(MAKERS[kind]).opened() : Ours.open();
}

/** Waits for a value that fits among those that come. */
class Ear {
  #values = [];
  #look = () => {};

  hear(value) {
    // Nobody asks for older ones.
    if (this.#values.push(value) > 200) this.#values.shift();
    this.#look();
  }

  heard(fits) {
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error('a publication did not come')), SOON);
      this.#look = () => {
        if (!this.#values.some(fits)) return;
        clearTimeout(late);
        this.#look = () => {};
        resolve();
      };
      this.#look();
    });
  }
}

class Theirs {
  constructor({ generation, transports, isProxied }) {
    this.generation = generation;
    const options = { hostname: '127.0.0.1', port, secure, autoReconnect: false };
    if (transports) {
      this.agent = isProxied ? undefined : new Agent({ keepAlive: true });
      Object.assign(options, { transports, agent: this.agent ?? proxy });
    }
    this.socket = create(generation, options);
    this.real = this.socket.real;
  }

  async opened() {
    await this.socket.events.next('connect', SOON);
    return this;
  }

  invoke(event, data) { return this.socket.invoke(event, data); }
  publish(channel, data) { return this.socket.publish(channel, data); }

  async subscribe(name, listener) {
    const ear = new Ear();
    const use = listener ?? ((value) => ear.hear(value));
    if (this.generation === 937) {
      this.real.on(name, use);
      await new Promise((done, failed) => this.real.subscribe(name, (error) => (error ? failed(error) : done())));
    } else if (this.generation === 20) {
      const channel = this.real.subscribe(name);
      (async () => {
        for await (const value of channel) use(value);
      })();
      await channel.listener('subscribe').once(SOON);
    } else {
      const channel = this.real.subscribe(name);
      channel.watch(use);
      await new Promise((done, failed) => {
        channel.on('subscribe', done);
        channel.on('subscribeFail', failed);
      });
    }
    return (fits) => ear.heard(fits);
  }

  /** Done once the server has heard of it. */
  async unsubscribe(name) {
    this.real.unsubscribe(name);
    await this.invoke('echo', null);
  }

  onEnd(listener) {
    this.socket.events.next('disconnect', 2 ** 31 - 1).then((why) => listener(JSON.stringify(why)), () => {});
  }

  async close() {
    this.socket.disconnect();
    await this.#forget();
  }

  /** Ends the connection without a word, as a network does that is gone. */
  async tear() {
    const { agent, real } = this;
    const own = agent ? Object.values({ ...agent.sockets, ...agent.freeSockets }).flat() : [];
    const transport = real.transport;
    for (const stream of [...own, transport?.ws?._socket, transport?.socket?._socket]) stream?.destroy();
    await this.#forget();
  }

  async #forget() {
    const { agent, real, generation } = this;
    // What it still has to say goes out first.
    await new Promise((done) => setTimeout(done, 200));
    this.socket.disconnect();
    agent?.destroy();
    if (generation === 20) for (const kind of ['Listeners', 'Receivers', 'Procedures', 'Channels']) real[`killAll${kind}`]();
  }
}

class Ours {
  static async open() {
    const ours = new Ours();
    const Kept = class extends WebSocket {
      constructor(url) {
        super(url);
        ours.socket = this;
      }
    };
    ours.client = connect({ host: `127.0.0.1:${port}`, secure, reconnect: false, storage: null, WebSocket: Kept });
    await ours.client.opened();
    return ours;
  }

  invoke(event, data) { return this.client.invoke(event, data, { timeout: SOON }); }
  publish(channel, data) { return this.client.publishAndWait(channel, data); }

  async subscribe(name, listener) {
    const ear = new Ear();
    const channel = this.client.subscribe(name);
    channel.on(listener ?? ((value) => ear.hear(value)));
    await channel.subscribed();
    return (fits) => ear.heard(fits);
  }

  async unsubscribe(name) {
    this.client.unsubscribe(name);
    await this.invoke('echo', null);
  }

  onEnd(listener) {
    this.client.onState((state, why) => state === 'closed' && listener(JSON.stringify(why)));
  }

  async close() { this.client.disconnect(); }

  async tear() {
    this.socket.terminate();
    this.client.disconnect();
  }
}
