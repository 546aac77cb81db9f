// Hosts that serve classic clients by one transport only.
import assert from 'node:assert/strict';

/** A client that would upgrade stays with its polls: the host does not offer the other. */
export async function pollingOnly(t) {
  const socket = await t.connected({ transports: ['polling', 'websocket'] });
  assert.equal(await socket.invoke('echo', 'hello'), 'hello');
  assert.equal(socket.transport, 'polling');
  assert.deepEqual(socket.events.names('upgrade', 'error'), []);
  const refused = t.create({ transports: ['websocket'] });
  await refused.events.next('error');
  assert.deepEqual(refused.events.names('connect'), []);
}

/** A client by default begins with a poll, and is refused; one that is told to use WebSockets is served. */
export async function websocketOnly(t) {
  const socket = await t.connected({ transports: ['websocket'] });
  assert.equal(await socket.invoke('echo', 'hello'), 'hello');
  const refused = t.create({ transports: ['polling', 'websocket'] });
  await refused.events.next('error');
  assert.deepEqual(refused.events.names('connect'), []);
}

/** Which transports classic clients may use is nothing to the others. */
export async function modernClients(t) {
  for (const generation of [14, 20]) {
    const socket = await t.connected({}, generation);
    assert.equal(await socket.invoke('echo', 'hello'), 'hello');
  }
}
