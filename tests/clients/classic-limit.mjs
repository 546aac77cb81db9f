// A host that allows two sockets of an address: what the classic client makes of a third.
import assert from 'node:assert/strict';

const REASON = 'Failed to bind socket to io cluster - Reached connection limit for the address 127.0.0.1';

export async function theThirdSocketFails(t) {
  for (const transports of [['polling'], ['websocket'], ['polling', 'websocket']]) {
    const two = [await t.connected({ transports }), await t.connected({ transports })];
    // What changes its transport is still one socket.
    if (transports.length === 2) for (const socket of two) await socket.events.next('upgrade');
    const third = t.create({ transports });
    // The event `fail` is an `error` to who uses it.
    assert.equal(await third.events.next('error'), REASON);
    assert.deepEqual(third.events.names('connect'), []);
    // It tries again, and is let in once another has gone.
    two[0].disconnect();
    await third.connected();
    assert.equal(await third.invoke('echo', 'hello'), 'hello');
    for (const socket of [two[1], third]) socket.disconnect();
  }
}
