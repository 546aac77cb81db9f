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
  static async open(context, problems) {
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
        }
      };
    });
    await page.goto(`http://127.0.0.1:${process.env.SC_PORT}/`);
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
    await outcome(nobody.publishAndWait('room.general', { text: 'I am nobody' })),
    await outcome(nobody.subscribe('room.general').subscribed()),
    await outcome(nobody.invoke('history', { room: 'general' })),
    await outcome(known.subscribe('room.backstage').subscribed()),
    await outcome(known.invoke('history', { room: 'backstage' })),
    await outcome(known.publishAndWait('last.general', 1e9)),
    await outcome(known.publishAndWait('rooms', { id: 'forged' })),
    await outcome(known.publishAndWait('room.general', { text: 'forged', by: 'Ann', at: 0, id: 1e9 })),
  ];
  known.disconnect();
  nobody.disconnect();
  return outcomes;
});

await withBrowser(async (browser) => {
  const problems = [];
  const context = (width, height, options) =>
    browser.newContext({ viewport: { width, height }, reducedMotion: 'reduce', ...options });
  const phone = { isMobile: true, hasTouch: true, deviceScaleFactor: 2, colorScheme: 'dark' };
  const [ofAnn, ofBob, ofCleo] = [await context(1280, 800), await context(390, 844, phone), await context(1280, 800)];

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
    'NoRoomError', 'done',
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
  await ann.page.fill('#title', 'Film club');
  await ann.page.press('#title', 'Enter');
  await ann.shows('Film club', '#room-title');
  await ann.say('Which film?');
  await bob.shows('Film club1', '#room-list a', { visible: false });
  await bob.page.click('[popovertarget=rooms]');
  await bob.picture('rooms-phone-dark');
  await bob.page.getByRole('link', { name: 'Film club' }).click();
  await bob.hears('Which film?', 'Ann');
  for (const { page } of [ann, bob]) await page.evaluate(() => (location.hash = 'general'));
  await bob.hears('Hello Bob!');

  // Workers are killed one after the other. What is said meanwhile arrives, once, in one order.
  for (const worker of [0, 1]) {
    await host(`kill ${worker}`);
    await ann.say(`Ann after ${worker}`);
    await bob.say(`Bob after ${worker}`);
    for (const page of [ann, bob]) for (const who of ['Ann', 'Bob']) await page.hears(`${who} after ${worker}`, who);
  }
  for (const page of [ann, bob]) await page.sees(...(page === ann ? ['Ann', 'Bob'] : ['Bob', 'Ann']));
  assert.deepEqual(await ann.texts(), await bob.texts());
  for (const text of new Set(await ann.texts())) {
    assert.equal((await ann.texts()).filter((other) => other === text).length, 1, `${text} is there once`);
  }

  // New code: nobody is disconnected.
  const sockets = await ann.page.evaluate(() => window.sockets);
  await host('reload');
  await bob.say('said to new code');
  await ann.hears('said to new code', 'Bob');
  assert.equal(await ann.page.evaluate(() => window.sockets), sockets);

  // The whole host is killed, and started again: all are still who they were.
  await host('stop');
  await ann.shows('Reconnecting', '#banner');
  await ann.say('said to nobody');
  await ann.page.locator('.pending').waitFor();
  await ann.picture('offline-light');
  await host('start');
  await bob.hears('said to nobody', 'Ann');
  await ann.hears('said to nobody');
  await ann.page.reload();
  await ann.hears('Hello Bob!');
  assert.deepEqual(await ann.texts(), await bob.texts());
  await ann.sees('Ann', 'Bob');

  for (const [page, where] of [[ann, 'desk'], [bob, 'phone']]) {
    for (const colorScheme of ['light', 'dark']) {
      await page.page.emulateMedia({ colorScheme });
      await page.picture(`${where}-${colorScheme}`);
    }
  }

  // Two tabs log out together, and a copy of the token elsewhere with them, which hears nothing more. The name is free.
  const second = await Page.open(ofAnn, problems);
  await second.hears('Hello Bob!');
  const token = await second.page.evaluate(() => localStorage.getItem('chat.token'));
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
  assert.deepEqual(problems, []);
  input.close();
});
