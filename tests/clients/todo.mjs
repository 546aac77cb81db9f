// The page of examples/todo in headless Chromium: two tabs of one browser, and another browser. What one does, the
// others see; the login holds for the browser and for nobody else.
import assert from 'node:assert/strict';
import { fine, open, withBrowser } from './chromium.mjs';

const [picture, part] = process.argv.slice(2);
const shown = (page, text) => page.getByText(text, { exact: true }).waitFor({ timeout: 15_000 });
const hidden = (page, selector) => page.locator(selector).waitFor({ state: 'hidden', timeout: 15_000 });
const visible = (page, selector) => page.locator(selector).waitFor({ state: 'visible', timeout: 15_000 });
const add = async (page, text) => {
  await page.fill('#text', text);
  await page.click('#add button');
};
const login = async (page, name, password) => {
  await page.fill('#login input[name=name]', name);
  await page.fill('#login input[name=password]', password);
  await page.click('#login button');
};

await withBrowser(async (browser) => {
  const problems = [];
  const [mine, other] = [await browser.newContext(), await browser.newContext()];
  const [one, two] = [await open(mine, problems), await open(mine, problems)];
  const stranger = await open(other, problems);
  if (part === 'again') {
    // The host was killed and started again: a fresh browser finds the list.
    await shown(stranger, 'buy milk');
    await shown(stranger, 'feed the cat');
    await visible(stranger, '#login');
    fine(problems);
    return;
  }
  await visible(one, '#login');
  await login(one, 'Ann', 'beer');
  await visible(one, '#wrong');
  await login(one, 'Ann', 'milk');
  await visible(one, '#add');
  await shown(two, 'Ann');
  await visible(two, '#add');
  await visible(stranger, '#login');

  await add(one, 'buy milk');
  await add(two, 'feed the cat');
  for (const page of [one, two, stranger]) {
    await shown(page, 'buy milk');
    await shown(page, 'feed the cat');
  }
  await two.getByLabel('buy milk', { exact: true }).check();
  for (const page of [one, stranger]) await page.locator('li.done', { hasText: 'buy milk' }).waitFor({ timeout: 15_000 });
  await stranger.getByLabel('feed the cat', { exact: true }).click();
  await visible(stranger, '#problem');
  assert.match(await stranger.locator('#problem').textContent(), /log in/);
  await one.screenshot({ path: picture });

  await two.click('#logout button');
  await visible(one, '#login');
  await hidden(one, '#add');
  fine(problems);
  console.log('two tabs and a stranger saw the same list');
});
