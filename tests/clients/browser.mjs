// The page of examples/ping in headless Chromium: waits for live values of `rand` and `pong`, and takes a picture.
import assert from 'node:assert/strict';
import { fine, open, withBrowser } from './chromium.mjs';

const [picture] = process.argv.slice(2);
await withBrowser(async (browser) => {
  const problems = [];
  const page = await open(browser, problems);
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
  fine(problems);
  await page.screenshot({ path: picture });
});
