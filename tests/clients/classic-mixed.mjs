// All generations in one channel, on three workers, over each transport of the classic ones: each hears all others.
import assert from 'node:assert/strict';

export async function eachHearsAllOthers(t) {
  const members = [
    await t.onWorker(0, { transports: ['polling'] }, 937),
    await t.onWorker(1, { transports: ['websocket'] }, 937),
    await t.onWorker(2, { transports: ['polling'] }, 100),
    await t.onWorker(0, { transports: ['polling', 'websocket'] }, 107),
    await t.onWorker(1, { transports: ['polling'] }, 107),
    await t.onWorker(1, {}, 14),
    await t.onWorker(2, {}, 14),
    await t.onWorker(0, {}, 20),
    await t.onWorker(2, {}, 20),
  ];
  const channels = members.map((member) => member.subscribe('all'));
  for (const channel of channels) await channel.ready();
  const expected = [];
  for (let round = 0; round < 3; round++) {
    for (const [from, member] of members.entries()) {
      const said = { round, from, text: 'é 😀' };
      expected.push(said);
      await member.publish('all', said);
      for (const channel of channels) assert.deepEqual(await channel.next(), said);
    }
  }
  // Once each and in one order, whichever shapes a client got.
  for (const channel of channels) assert.deepEqual(channel.messages, expected);
}
