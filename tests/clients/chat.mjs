// The pages of examples/chat in headless Chromium: Ann with two tabs, Bob on a phone in the dark, and Cleo who comes
// late. Lines `@...` have the test do something to the host meanwhile.
import assert from 'node:assert/strict';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { withBrowser } from './chromium.mjs';

const [pictures] = process.argv.slice(2);
const input = createInterface({ input: process.stdin });
const answers = input[Symbol.asyncIterator]();
const host = async (request) => {
  console.log(`@${request}`);
  assert.equal((await answers.next()).value, 'done', request);
};

/** One page, and what somebody does there. */
class Page {
  static async open(context, problems, hash = '') {
    const page = await context.newPage();
    page.setDefaultTimeout(15_000);
    page.on('pageerror', (error) => problems.push(`page error: ${error}`));
    // A connection that breaks is reported by the browser itself; here processes are killed.
    page.on('console', (message) => message.type() === 'error' && !/WebSocket|ERR_/.test(message.text())
      && problems.push(`console: ${message.text()}`));
    await page.addInitScript(() => {
      window.sockets = 0;
      window.WebSocket = class extends WebSocket {
        constructor(...address) {
          super(...address);
          window.sockets += 1;
          window.socket = this;
          // What the page is deaf to is lost on its way to it.
          this.addEventListener('message', (event) => {
            if (!window.deaf?.test(event.data)) return;
            window.missed = event.data;
            event.stopImmediatePropagation();
          });
        }
      };
    });
    await page.goto(`http://127.0.0.1:${process.env.SC_PORT}/${hash}`);
    return new Page(page);
  }

  constructor(page) {
    this.page = page;
  }

  async login(name, problem) {
    await this.page.fill('#name', name);
    await this.page.click('#login button');
    await this.shows(problem ?? name, problem ? '#name-problem' : '#my-name', { visible: false });
  }

  /** Waits for a text in an element; of a panel that is closed on a phone it need not be seen. */
  async shows(text, within = 'body', { visible = true } = {}) {
    const state = visible ? 'visible' : 'attached';
    await this.page.locator(within).filter({ hasText: text }).first().waitFor({ state });
  }

  async say(text) {
    await this.page.fill('#text', text);
    await this.page.press('#text', 'Enter');
  }

  hears(text, by) {
    const message = this.page.locator('.message:not(.pending):not(.failed)').filter({ hasText: text });
    return (by ? message.filter({ has: this.page.locator('.person', { hasText: by }) }) : message).first().waitFor();
  }

  /** Waits for the names in the list of people. */
  sees(...names) {
    return this.page.waitForFunction((expected) => {
      const names = [...document.querySelectorAll('#people-list .person')].map((name) => name.textContent);
      return names.join() === expected;
    }, names.join());
  }

  texts() {
    return this.page.locator('.message:not(.failed) .text').allTextContents();
  }

  async enter(room) {
    await this.page.evaluate((room) => (location.hash = room), room);
  }

  token() {
    return this.page.evaluate(() => localStorage.getItem('chat.token'));
  }

  isLoggedOut() {
    return this.page.locator('#login').waitFor();
  }

  picture(name) {
    return this.page.screenshot({ path: join(pictures, `${name}.png`) });
  }
}

/** What a client without our page could try, in that page's browser: what came of each. */
const attempts = (page) => page.evaluate(async () => {
  const { connect } = await import('/sc/client.js');
  const outcome = (promise) => promise.then(() => 'done', (error) => error.name);
  const known = connect({ authTokenName: 'chat.token' });
  const nobody = connect({ storage: null });
  const outcomes = [
    await outcome(nobody.publishAndWait('room.general', { text: 'I am nobody', tag: '1' })),
    await outcome(nobody.subscribe('room.general').subscribed()),
    await outcome(nobody.invoke('history', { room: 'general' })),
    await outcome(known.subscribe('room.backstage').subscribed()),
    await outcome(known.invoke('history', { room: 'backstage' })),
    await outcome(known.publishAndWait('last.general', 1e9)),
    await outcome(known.publishAndWait('rooms', { id: 'forged' })),
    await outcome(known.publishAndWait('room.general', { text: 'forged', by: 'Ann', at: 0, id: 1e9, tag: '2' })),
    await outcome(known.publishAndWait('room.general', { text: 'forged', tag: '2' })), // sent again
    await outcome(known.invoke('create', '\u3164\u3164')), // letters that nobody sees
    await outcome(known.invoke('create', 'प्रिया')), // with a sign that is no letter
  ];
  known.disconnect();
  nobody.disconnect();
  return outcomes;
});

/** Two pages show the same, and each text once. */
async function alike(one, other) {
  const texts = await one.texts();
  assert.deepEqual(texts, await other.texts());
  assert.deepEqual(texts, [...new Set(texts)]);
}

await withBrowser(async (browser) => {
  const problems = [];
  const context = (width, height, options) =>
    browser.newContext({ viewport: { width, height }, reducedMotion: 'reduce', ...options });
  const phone = { isMobile: true, hasTouch: true, deviceScaleFactor: 2, colorScheme: 'dark' };
  const [ofAnn, ofBob, ofCleo] = [await context(1280, 800), await context(390, 844, phone), await context(1280, 800)];

  // Somebody logs in, and is gone before the answer comes.
  const ofDan = await context(100, 100);
  const dan = await ofDan.newPage();
  await dan.goto(`http://127.0.0.1:${process.env.SC_PORT}/style.css`);
  await dan.evaluate(async () => {
    const { connect } = await import('/sc/client.js');
    const client = connect({ storage: null });
    await client.invoke('login', 'Dan');
    client.disconnect();
  });
  const danLeft = Date.now();

  // Two tabs follow one login; a name is somebody's, and has a shape.
  const [ann, tab] = [await Page.open(ofAnn, problems), await Page.open(ofAnn, problems)];
  await ann.page.locator('#login').waitFor();
  await ann.picture('login-light');
  await ann.login('<b>', 'A name has');
  await ann.login('Ann');
  await tab.shows('Ann', '#my-name');
  await tab.page.close();
  const bob = await Page.open(ofBob, problems);
  await bob.login('ann', 'Somebody is called ann');
  await bob.login('Dan', 'Somebody is called Dan');
  await bob.picture('login-phone-dark');
  await bob.login('Bob');
  await ann.sees('Ann', 'Bob');
  await bob.sees('Bob', 'Ann');

  // Messages go both ways, as text whatever they hold.
  await ann.say('Hello Bob! Did anybody tell you why the server is so quiet today?');
  await bob.hears('Hello Bob!', 'Ann');
  await bob.page.locator('#text').pressSequentially('So');
  await ann.shows('Bob is typing', '#typing');
  const markup = '<img src=x onerror="document.title=1"> is only text';
  for (const text of ['It was killed a minute ago. Nobody noticed.', markup, '🎉']) {
    await bob.say(text);
    await ann.hears(text, 'Bob');
  }
  await ann.say('مرحبا بالجميع');
  await ann.say(`and a word: ${'Donaudampfschifffahrts'.repeat(5)}gesellschaft`);
  await bob.hears('gesellschaft');
  assert.equal(await ann.page.locator('.message img').count(), 0);
  for (const { page } of [ann, bob]) {
    const fits = await page.evaluate(() => ['#scroller', 'html'].every((part) => {
      const { scrollWidth, clientWidth } = document.querySelector(part);
      return scrollWidth <= clientWidth;
    }));
    assert.ok(fits, 'nothing is wider than the page, a long word neither');
  }

  // Who comes late reads it all; what must not be is blocked, and shown.
  const cleo = await Page.open(ofCleo, problems);
  await cleo.login('Cleo');
  await cleo.hears('Hello Bob!', 'Ann');
  await cleo.sees('Cleo', 'Ann', 'Bob');
  assert.deepEqual(await attempts(cleo.page), [
    'NotLoggedInError', 'NotLoggedInError', 'NotLoggedInError', 'MembersOnlyError', 'MembersOnlyError', 'NoRoomError',
    'NoRoomError', 'done', 'done', 'NameError', 'done',
  ]);
  await bob.hears('forged', 'Cleo');
  await cleo.say('x'.repeat(1_003));
  await cleo.shows('too long by 3', '.status');
  await cleo.page.getByRole('button', { name: 'Edit' }).click();
  assert.equal((await cleo.page.inputValue('#text')).length, 1_003);
  for (let n = 0; n < 60 && !(await cleo.page.locator('.status').count()); n++) await cleo.say(`flood ${n}`);
  await cleo.shows('too fast', '.status');
  await cleo.picture('blocked-light');

  // Rooms: one for members, one that somebody opens, and what is unread elsewhere.
  await cleo.enter('backstage');
  await cleo.page.fill('#secret', 'wrong');
  await cleo.page.press('#secret', 'Enter');
  await cleo.shows('not the word', '#word-problem');
  await cleo.picture('members-light');
  await cleo.page.fill('#secret', 'encore');
  await cleo.page.press('#secret', 'Enter');
  await cleo.shows('No messages yet', '#note');
  await cleo.sees('Cleo');
  await cleo.shows('Not sent', '#room-list .unsent');

  // A member's token, copied, opens no door for long: with the next token its rooms are left.
  const ofCleoNow = await cleo.token();
  assert.equal(await bob.page.evaluate(async (token) => {
    const { connect } = await import('/sc/client.js');
    const client = connect({ storage: null });
    await client.authenticate(token);
    const backstage = client.subscribe('room.backstage');
    await backstage.subscribed();
    const left = new Promise((resolve) => backstage.on('kickOut', resolve));
    await client.authenticate(localStorage.getItem('chat.token'));
    await Promise.race([left, new Promise((resolve) => setTimeout(resolve, 5_000))]);
    client.disconnect();
    return backstage.state;
  }, ofCleoNow), 'unsubscribed');

  await ann.page.fill('#title', 'Film club');
  await ann.page.press('#title', 'Enter');
  await ann.shows('Film club', '#room-title');
  await ann.say('Which film?');
  await bob.shows('Film club1', '#room-list a', { visible: false });
  await bob.page.click('[popovertarget=rooms]');
  await bob.picture('rooms-phone-dark');
  await bob.page.getByRole('link', { name: 'Film club' }).click();
  await bob.hears('Which film?', 'Ann');
  for (const page of [ann, bob]) await page.enter('general');
  await bob.hears('Hello Bob!');

  // What one tab has shown, the other knows to be read. An address that names no room is mended.
  const second = await Page.open(ofAnn, problems, '#100%');
  await second.hears('Hello Bob!');
  await second.enter('100%');
  await second.page.waitForFunction(() => location.hash === '#general');
  await second.enter('ideas');
  await second.shows('No messages yet', '#note');
  await bob.say('read in one tab');
  await ann.hears('read in one tab');
  await bob.enter('film-club');
  await bob.say('read in the other');
  for (const page of [ann, second]) await page.shows('Film club1', '#room-list .unread');
  await second.enter('film-club');
  await second.hears('read in the other');
  await ann.page.locator('#room-list .unread').waitFor({ state: 'detached' });
  await second.page.reload();
  await second.hears('read in the other');
  assert.equal(await second.page.locator('#room-list .unread').count(), 0);
  await bob.enter('general');

  // Who missed more than is kept sees that there was more.
  await second.enter('ideas');
  await second.say('before it all');
  await second.hears('before it all');
  await second.page.evaluate(() => (window.deaf = /"text":/));
  await dan.evaluate(async () => {
    const { connect } = await import('/sc/client.js');
    for (let one = 0; one < 11; one++) {
      const client = connect({ storage: null });
      await client.invoke('login', `One of ${one}`);
      const say = (n) => client.publishAndWait('room.ideas', { text: `${n} of ${one}`, tag: `${n}` });
      await Promise.all(Array.from({ length: 10 }, (_, n) => say(n)));
      client.disconnect();
    }
  });
  await second.page.evaluate(() => {
    window.deaf = null;
    window.socket.close();
  });
  await second.hears('9 of 10');
  await second.shows('in between is not kept', '.line');
  await second.enter('film-club');

  // Workers are killed one after the other. What is said meanwhile arrives, once, in one order.
  for (const worker of [0, 1]) {
    await host(`kill ${worker}`);
    await ann.say(`Ann after ${worker}`);
    await bob.say(`Bob after ${worker}`);
    for (const page of [ann, bob]) for (const who of ['Ann', 'Bob']) await page.hears(`${who} after ${worker}`, who);
  }
  for (const page of [ann, bob]) await page.sees(...(page === ann ? ['Ann', 'Bob'] : ['Bob', 'Ann']));
  await alike(ann, bob);

  // New code: nobody is disconnected.
  const sockets = await ann.page.evaluate(() => window.sockets);
  await host('reload');
  await bob.say('said to new code');
  await ann.hears('said to new code', 'Bob');
  assert.equal(await ann.page.evaluate(() => window.sockets), sockets);

  // Answers are lost: what was not fetched is said, and can be; what was said is said again, and heard once.
  await ann.page.evaluate(() => {
    window.deaf = /"text":/;
    window.socket.close();
  });
  await ann.page.waitForFunction(() => window.missed?.includes('"rid":')); // the history
  await ann.say('said by one who hears nothing');
  await bob.hears('said by one who hears nothing');
  await ann.page.evaluate(() => (window.deaf = /./));
  await ann.say('said twice');
  await bob.hears('said twice');
  await ann.page.evaluate(() => (window.deaf = null));
  await ann.shows('could not be fetched', '#banner');
  await ann.picture('unfetched-light');
  await ann.hears('said twice');
  await ann.page.click('#banner button');
  await ann.hears('said by one who hears nothing');
  await ann.page.locator('#banner').waitFor({ state: 'hidden' });
  await alike(ann, bob);

  // The whole host is killed, and started again: all are still who they were.
  await cleo.say('Only members hear this');
  await cleo.hears('Only members hear this');
  await host('stop');
  await ann.shows('Reconnecting', '#banner');
  await ann.say('said to nobody');
  await ann.page.locator('.pending').waitFor();
  await ann.picture('offline-light');
  await ann.enter('film-club');
  await ann.say('said there to nobody');
  await host('start');
  await bob.hears('said to nobody', 'Ann');
  await ann.hears('said there to nobody');
  await second.hears('said there to nobody', 'Ann');
  await ann.enter('general');
  await ann.hears('said to nobody');
  await ann.page.reload();
  await ann.hears('Hello Bob!');
  await alike(ann, bob);
  await ann.sees('Ann', 'Bob');

  // The room for members is not in the configuration any more. Nobody opens it anew and reads what they said.
  await bob.page.evaluate(() => document.querySelector('#rooms').showPopover());
  await bob.page.fill('#title', 'Backstage');
  await bob.page.press('#title', 'Enter');
  await bob.shows('There is, or was', '#title-problem');
  await bob.page.evaluate(() => document.querySelector('#rooms').hidePopover());

  for (const [page, where] of [[ann, 'desk'], [bob, 'phone']]) {
    for (const colorScheme of ['light', 'dark']) {
      await page.page.emulateMedia({ colorScheme });
      await page.picture(`${where}-${colorScheme}`);
    }
  }

  // Two tabs log out together, and a copy of the token elsewhere with them, which hears nothing more. The name is
  // free.
  const token = await second.token();
  await bob.page.evaluate(async (token) => {
    const { connect } = await import('/sc/client.js');
    window.copy = connect({ storage: null });
    await window.copy.authenticate(token);
    window.copied = window.copy.subscribe('room.general');
    await window.copied.subscribed();
  }, token);
  await second.page.click('#logout');
  await second.isLoggedOut();
  await ann.isLoggedOut();
  await bob.page.waitForFunction(() => !window.copy.isAuthenticated && window.copied.state === 'unsubscribed');
  await bob.sees('Bob');
  const again = (token) => window.copy.authenticate(token).catch((error) => error.name);
  assert.equal(await bob.page.evaluate(again, token), 'NotLoggedInError');
  await ann.login('Ann');
  await bob.sees('Bob', 'Ann');

  // The name that nobody ever used is free.
  await new Promise((resolve) => setTimeout(resolve, danLeft + 31_000 - Date.now()));
  await (await Page.open(ofDan, problems)).login('Dan');
  assert.deepEqual(problems, []);
  input.close();
});
