// The bundle of client 0.9.37 in headless Chromium with the sample's page: by polls alone, by scripts in their place,
// by a WebSocket alone, and with an upgrade; its session over tabs; and text both ways.
import assert from 'node:assert/strict';
import { fine, withBrowser } from './chromium.mjs';

const [picture] = process.argv.slice(2);
const address = `http://127.0.0.1:${process.env.SC_PORT}/`;

async function open(context, query, problems) {
  const page = await context.newPage();
  page.on('pageerror', (error) => problems.push(`page error: ${error}`));
  page.on('console', (message) => message.type() === 'error' && problems.push(`console: ${message.text()}`));
  // Scripts in place of polls keep a page from being loaded.
  await page.goto(address + query, { waitUntil: 'domcontentloaded' });
  return page;
}

const shows = (page, id, pattern) => page.waitForFunction(
  ([id, pattern]) => new RegExp(pattern).test(document.getElementById(id).textContent), [id, pattern], { timeout: 15_000 },
);
const cookies = async (context) => Object.fromEntries((await context.cookies()).map(({ name, value }) => [name.split('/').at(-1), value]));

await withBrowser(async (browser) => {
  for (const [query, transport] of [
    ['?transports=polling', 'polling'],
    ['?transports=polling&jsonp', 'polling'],
    ['?transports=websocket', 'websocket'],
    ['', 'websocket'],
  ]) {
    const context = await browser.newContext();
    const problems = [];
    const page = await open(context, query, problems);
    await shows(page, 'state', '^connected$');
    await shows(page, 'transport', `^${transport}$`);
    await shows(page, 'rand', '^\\d+$');
    await shows(page, 'pongs', '^\\d+$');
    const before = Number(await page.locator('#pongs').textContent());
    await page.waitForFunction((before) => Number(document.getElementById('pongs').textContent) > before, before);

    // Text both ways, over whatever it is.
    const text = 'Grüße Привет שלום 你好 こんにちは 한국어 😀👩‍👩‍👧 Ã© a\\nb\n\u2028';
    const heard = await page.evaluate((text) => new Promise((resolve, reject) => {
      socket.on('texts', resolve);
      socket.subscribe('texts', (error) => (error ? reject(error) : socket.publish('texts', { text })));
    }), text);
    assert.deepEqual(heard, { text });

    // The session is the cookie's, and a tab that comes later is in it.
    const { ssid, io } = await cookies(context);
    assert.match(ssid, /^_w[01]_\d+_0_[A-Za-z0-9_-]{40}$/);
    assert.equal(await page.evaluate(() => socket.ssid), ssid);
    assert.notEqual(ssid, await page.evaluate(() => socket.id));
    if (transport === 'polling') assert.equal(io, await page.evaluate(() => socket.id));
    const tab = await open(context, query, problems);
    await shows(tab, 'state', '^connected$');
    assert.equal(await tab.evaluate(() => socket.ssid), ssid);
    await shows(tab, 'rand', '^\\d+$');
    console.log(`${query || 'with an upgrade'}: ${transport}`);
    if (query === '') await page.screenshot({ path: picture });
    fine(problems);
    await context.close();
  }
});
