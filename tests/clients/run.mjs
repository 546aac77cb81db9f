// Runs scenarios: `node run.mjs FILE GENERATION [WORD]`. Each export of FILE whose name holds WORD is one scenario;
// one that fails is told with its stack, and the others still run.
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import jsonwebtoken from 'jsonwebtoken';
import { create } from './drivers.mjs';

const [file, generation, word = ''] = process.argv.slice(2);
const port = Number(process.env.SC_PORT);
// Trusted by NODE_EXTRA_CA_CERTS.
const secure = process.env.SC_SECURE !== undefined;
const SCENARIO = 180_000;

// A failing client reports through these; a scenario that expects an error listens to it.
process.on('unhandledRejection', (error) => {
  console.error('unhandled rejection:', error);
  process.exitCode = 1;
});

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Asks the test around this script to do something: `kill worker 1`. */
async function host(request) {
  console.log(`@${request}`);
  const { value } = await answers.next();
  if (!value?.startsWith('ok')) throw new Error(`${request}: ${value}`);
  return value.slice(3);
}

class Scenario {
  host = host;
  port = port;
  generation = Number(generation);
  #sockets = [];

  create(options = {}, of = this.generation) {
    const socket = create(of, { hostname: '127.0.0.1', port, secure, ...options });
    this.#sockets.push(socket);
    return socket;
  }

  async connected(options, of) {
    const socket = this.create(options, of);
    await socket.connected();
    return socket;
  }

  /** A client on that worker. */
  async onWorker(worker, options, of) {
    for (let attempt = 0; attempt < 500; attempt++) {
      const socket = await this.connected(options, of);
      if ((await socket.invoke('whoami')).worker === worker) return socket;
      socket.disconnect();
    }
    throw new Error(`no connection came to worker ${worker}`);
  }

  /** Replaces the key of tokens; done once both workers verify with it. */
  async setAuthKey(socket, key) {
    await socket.invoke('setAuthKey', key);
    for (const worker of [0, 1]) {
      const probe = await this.onWorker(worker);
      const token = jsonwebtoken.sign({ username: 'probe' }, key);
      const verifies = () => probe.authenticate(token).then((status) => status.isAuthenticated, () => false);
      for (let attempt = 0; !(await verifies()); attempt++) {
        if (attempt === 500) throw new Error(`worker ${worker} did not hear of the new key`);
        await pause(10);
      }
      probe.disconnect();
    }
  }

  end() {
    this.#sockets.forEach((socket) => socket.disconnect());
  }
}

let failures = 0;
for (const [name, scenario] of Object.entries(await import(`./${file}`))) {
  if (typeof scenario !== 'function' || !name.includes(word)) continue;
  const t = new Scenario();
  const began = performance.now();
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not over after ${SCENARIO} ms`)), SCENARIO);
  });
  try {
    await Promise.race([scenario(t), late]);
    console.log(`ok   ${name} (${Math.round(performance.now() - began)} ms)`);
  } catch (error) {
    failures++;
    console.log(`FAIL ${name}: ${error.stack}`);
  } finally {
    clearTimeout(timer);
    t.end();
  }
}
console.log(`${failures} failures`);
process.exit(failures > 0 ? 1 : process.exitCode ?? 0);
