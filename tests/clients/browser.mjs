// The page of examples/ping in headless Chromium: waits for live values of `rand` and `pong`, and takes a picture.
import { chromium } from 'playwright-core';
import assert from 'node:assert/strict';

const [picture] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.SC_CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync',
  ],
});
try {
  const page = await browser.newPage({ viewport: { width: 900, height: 600 } });
  const problems = [];
  page.on('pageerror', (error) => problems.push(`page error: ${error}`));
  page.on('console', (message) => message.type() === 'error' && problems.push(`console: ${message.text()}`));
  await page.goto(`http://127.0.0.1:${process.env.SC_PORT}/`, { waitUntil: 'load' });

  const text = (id) => page.locator(`#${id}`).textContent();
  const number = (id) => page.waitForFunction(
    (id) => /\d+/.exec(document.getElementById(id)?.textContent ?? '')?.[0], id, { timeout: 15_000 },
  ).then((value) => value.jsonValue());

  const rand = Number(await number('rand'));
  assert.ok(rand >= 0 && rand < 100, `rand is ${rand}`);
  const first = Number(await number('pong'));
  await page.waitForFunction(
    ([before]) => Number(/\d+/.exec(document.getElementById('pong').textContent)[0]) > before, [first], { timeout: 15_000 },
  );
  console.log(`rand ${await text('rand')}, pong ${await text('pong')}`);
  assert.deepEqual(problems, []);
  await page.screenshot({ path: picture });
} finally {
  await browser.close();
}
