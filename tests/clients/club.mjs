// Clients of all generations in one channel on three workers. In their own idioms they log in, hear each other, get
// blocked and get kicked. The version of the command line is the one of 1.0.x.
import assert from 'node:assert/strict';
import http from 'node:http';
import { idiomOf } from './idioms.mjs';

/** How the two classic clients are connected. */
const TRANSPORTS = [['polling'], ['websocket'], ['polling', 'websocket']];
/** Six scripts, of which one is written from right to left, and emoji. */
const TEXTS = ['Grüße, façade', 'Привет, мир', 'γειά σου', 'שלום', '你好，世界', 'नमस्ते', '😀👩‍👩‍👧 🇳🇱'];
const MEMBER = { username: 'bob', password: 'let me in' };

/** One client of each generation: sockets, their idioms, and what the server says of them. */
async function gather(t, transports) {
  const options = { autoReconnect: false };
  const sockets = [
    await t.onWorker(0, { transports, ...options }, 937),
    await t.onWorker(1, { transports, ...options }),
    await t.onWorker(2, options, 14),
    await t.onWorker(0, options, 20),
  ];
  const members = [];
  for (const socket of sockets) members.push({ socket, idiom: idiomOf(socket), who: await socket.invoke('whoami') });
  assert.deepEqual(members.map(({ who }) => who.worker), [0, 1, 2, 0]);
  assert.deepEqual(members.map(({ who }) => who.protocol.split('-')[0]), ['classic', 'classic', 'modern', 'modern']);
  return members;
}

/** Each says something in a way of its own; all of `hearing` hear it, in one order, and nobody else. */
async function eachIsHeard(members, hearing, round) {
  const before = members.map(({ idiom }) => idiom.heard.all.length);
  const said = [];
  for (const [number, { idiom }] of hearing.entries()) {
    const text = { round, number, texts: TEXTS };
    await (number % 2 ? idiom.publish(text) : idiom.speak(text));
    said.push(number % 2 ? text : { speaker: text });
    for (const member of hearing) assert.deepEqual(await member.idiom.heard.next(), said.at(-1));
  }
  // What a client answers now, it answers behind what it was sent.
  for (const { socket } of members) await socket.invoke('echo', round);
  const now = members.map(({ idiom }, index) => idiom.heard.all.length - before[index]);
  assert.deepEqual(now, members.map((member) => (hearing.includes(member) ? said.length : 0)));
}

export async function inOneChannel(t) {
  const moderator = await t.connected({}, 20);
  for (const [index, transports] of TRANSPORTS.entries()) {
    const members = await gather(t, transports);
    for (const { idiom, socket } of members) {
      for (const [error, message] of [
        [await idiom.blockedSubscribe(), 'log in to listen'],
        [await idiom.blockedPublish(), 'log in to publish'],
        [await idiom.blockedEmit(), 'log in to speak'],
      ]) assert.deepEqual([error.name, error.message], ['NotAuthorizedError', message], `${socket.generation}`);
      const wrong = await idiom.refusedLogin({ ...MEMBER, password: 'guessed' });
      assert.deepEqual([wrong.name, wrong.message], ['FailedLoginError', 'wrong name or password']);
      await idiom.login(MEMBER);
      await idiom.subscribe();
    }
    await eachIsHeard(members, members, 'all');

    for (const byCommand of [false, true]) {
      for (const out of members) {
        const kicked = out.idiom.kicked();
        const message = `out-${out.socket.generation}`;
        if (byCommand) {
          const reached = await t.host(`sc-host kick members --socket ${out.who.name} --message ${message}`);
          assert.equal(reached, '1 socket');
        } else {
          await moderator.invoke('throwOut', { name: out.who.name, channel: 'members', message });
        }
        assert.deepEqual(await kicked, { channel: 'members', message });
        // The others go on without it.
        await eachIsHeard(members, members.filter((member) => member !== out), message);
        await out.idiom.subscribe();
        await eachIsHeard(members, members, 'again');
      }
    }

    const byCommand = index === 1;
    for (let left = [...members]; left.length > 0;) {
      const [out, ...others] = left;
      const gone = out.idiom.disconnected();
      // By its own id, which for a classic client is longer than its name.
      if (byCommand) await t.host(`sc-host disconnect --socket ${out.socket.id} --code 4403 --reason banned`);
      else await moderator.invoke('throwOut', { name: out.who.name, message: 'banned' });
      // Only later clients are told why.
      assert.deepEqual(await gone, out.socket.generation < 100 ? { code: 4403, reason: 'banned' } : undefined);
      await eachIsHeard(others, others, 'left');
      left = others;
    }
  }
}

/** Sends a session's cookie, as a browser does. */
class Browser extends http.Agent {
  constructor(cookie) {
    super();
    this.cookie = cookie;
  }

  addRequest(request, ...rest) {
    request.setHeader('cookie', this.cookie);
    super.addRequest(request, ...rest);
  }
}

// Who logs in by a page is let in at the handshake, and is logged in.
export async function theHandshakeLooksAtTheSession(t) {
  const why = 'the private entrance is for members';
  for (const generation of [937, t.generation]) {
    for (const transports of TRANSPORTS) {
      const options = { transports, query: { private: true }, autoReconnect: false };
      const stranger = t.create(options, generation);
      assert.equal(await stranger.events.next('error'), why);
      await stranger.events.next('disconnect');

      const body = JSON.stringify(MEMBER);
      const page = await fetch(`http://127.0.0.1:${t.port}/login`, { method: 'POST', body });
      assert.equal(await page.text(), 'welcome');
      const agent = new Browser(page.headers.get('set-cookie').split(';')[0]);
      const member = await t.connected({ ...options, agent }, generation);
      await idiomOf(member).subscribe();
      const { session } = await member.invoke('whoami');
      assert.ok(agent.cookie.endsWith(`=${session}`));
      member.disconnect();
      agent.destroy();
    }
  }
  for (const generation of [14, 20]) {
    const stranger = t.create({ query: { private: true }, autoReconnect: false }, generation);
    const { error } = await stranger.events.next('error');
    assert.deepEqual([error.name, error.message], ['NotAuthorizedError', why]);
    assert.equal((await stranger.events.next('connectAbort')).code, 4008);
  }
}
