// The classic clients of one version: what they do over each transport, next to modern ones.
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';

/** Polls alone, a WebSocket alone, and polls that become a WebSocket. */
const TRANSPORTS = [['polling'], ['websocket'], ['polling', 'websocket']];

/** Six scripts and emoji; text that double encoding would change; what JSON escapes. */
const TEXTS = [
  'Grüße, façade', 'Привет, мир', 'γειά σου', 'שלום', 'مرحبا', '你好，世界', 'こんにちは', '한국어', 'नमस्ते',
  '😀👩‍👩‍👧 🇳🇱', 'Ã©', 'Â', '\u2028\u2029', 'a\\nb \\\\n "c"', '\u0000\u001f', 'é'.repeat(3000), '€'.repeat(70_000),
];

async function over(t, transports) {
  const socket = await t.connected({ transports });
  if (transports.length === 2) await socket.events.next('upgrade');
  assert.equal(socket.transport, transports.at(-1));
  return socket;
}

export async function eventsAndAnswers(t) {
  for (const transports of TRANSPORTS) {
    const socket = await over(t, transports);
    assert.match(socket.id, /^_w[01]_\d+_0_[A-Za-z0-9_-]{40}$/);
    assert.equal(await socket.invoke('echo', 'hello'), 'hello');
    assert.equal(await socket.invoke('echo', null), null);
    assert.deepEqual(await socket.invoke('echo', { a: [1, { b: 2.5 }] }), { a: [1, { b: 2.5 }] });
    assert.equal(await socket.invoke('nodata', 1), undefined);
    assert.equal(await socket.invoke('greeting', 1), 'hello world');
    await assert.rejects(socket.invoke('failstr', 1), (error) => error === 'just a string');
    await assert.rejects(socket.invoke('failextra', 1), (error) => {
      assert.deepEqual(error, { name: 'CustomError', message: 'Failed to do it', code: 42, info: { a: [1, 2] } });
      return true;
    });
    // What is no request reaches the event's listener; a question of the server is answered.
    const reply = socket.received('reply');
    socket.transmit('ev', { n: 1 });
    assert.deepEqual(await reply.next('event'), { got: { n: 1 } });
    socket.answer('clientProc', (data) => ({ told: data }));
    assert.deepEqual(await socket.invoke('askme', [7]), { told: [7] });
    socket.disconnect();
  }
}

export async function textsOfManyScripts(t) {
  for (const transports of TRANSPORTS) {
    const socket = await over(t, transports);
    const other = await t.connected({}, 20);
    const channels = [socket.subscribe('texts'), other.subscribe('texts')];
    for (const channel of channels) await channel.ready();
    for (const text of TEXTS) {
      assert.equal(await socket.invoke('echo', text), text);
      await socket.publish('texts', { text, [text.slice(0, 20)]: 1 });
      await other.publish('texts', text);
      for (const channel of channels) {
        assert.deepEqual(await channel.next(), { text, [text.slice(0, 20)]: 1 });
        assert.equal(await channel.next(), text);
      }
    }
    socket.disconnect();
    other.disconnect();
  }
}

export async function channelsNextToModernClients(t) {
  for (const transports of TRANSPORTS) {
    const socket = await over(t, transports);
    const modern = [await t.connected({}, 14), await t.connected({}, 20)];
    const all = [socket, ...modern];
    const channels = all.map((one) => one.subscribe('mixed'));
    for (const channel of channels) await channel.ready();
    for (const [index, from] of all.entries()) {
      await from.publish('mixed', { index });
      for (const channel of channels) assert.deepEqual(await channel.next(), { index });
    }
    await channels[0].unsubscribe();
    await modern[0].publish('mixed', 'last');
    assert.equal(await channels[1].next(), 'last');
    await socket.invoke('echo', 1);
    assert.equal(channels[0].messages.length, 3);
    all.forEach((one) => one.disconnect());
  }
}
