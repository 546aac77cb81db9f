// The page of a new app in headless Chromium, on a desktop and on a phone in the dark: figures live, pings counted for
// both, what one says heard by both, and what cannot be said refused. Takes pictures.
import assert from 'node:assert/strict';
import { fine, open, withBrowser } from './chromium.mjs';

const [picture] = process.argv.slice(2);
const shows = (page, id, pattern) => page.waitForFunction(
  ([id, pattern]) => new RegExp(pattern).test(document.getElementById(id).textContent), [id, pattern], { timeout: 15_000 },
);
const heard = (page, name, text) => page.locator('#messages li', { hasText: text }).locator('b', { hasText: name })
  .waitFor({ timeout: 15_000 });
const say = async (page, name, text) => {
  await page.fill('[name=name]', name);
  await page.fill('[name=text]', text);
  await page.click('#say button');
};

await withBrowser(async (browser) => {
  const problems = [];
  const desktop = await browser.newContext({ viewport: { width: 1100, height: 860 }, colorScheme: 'light' });
  const phone = await browser.newContext({
    viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true, colorScheme: 'dark',
  });
  const [one, two] = [await open(desktop, problems), await open(phone, problems)];
  for (const page of [one, two]) {
    await shows(page, 'state', '^connected$');
    await shows(page, 'greet', '^hello world$');
    await shows(page, 'rand', '^\\d{1,2}$');
  }
  await one.click('#ping');
  await shows(one, 'pong', '^1$');
  await two.click('#ping');
  await shows(two, 'pong', '^2$');

  await say(one, 'Ann', 'hello everybody');
  for (const page of [one, two]) await heard(page, 'Ann', 'hello everybody');
  assert.equal(await one.inputValue('[name=text]'), '');
  await say(two, 'Bob', '<b>hello</b> Ann, äöü 😀');
  for (const page of [one, two]) await heard(page, 'Bob', '<b>hello</b> Ann, äöü 😀');
  assert.ok(await one.locator('#messages .nothing').isHidden());
  await say(one, 'Ann', ' ');
  await shows(one, 'problem', '^the text is empty$');
  await two.screenshot({ path: `${picture}-phone-dark.png` });
  await one.screenshot({ path: `${picture}-desktop-problem.png` });
  await say(one, 'Ann', 'goodbye');
  await heard(two, 'Ann', 'goodbye');
  assert.ok(await one.locator('#problem').isHidden());

  // What is typed before the answer is there stays; what was refused comes back.
  await one.evaluate(() => {
    const { text } = document.getElementById('say').elements;
    text.value = 'one more thing';
    document.querySelector('#say button').click();
    text.value = 'begun meanwhile';
  });
  await heard(two, 'Ann', 'one more thing');
  assert.equal(await one.inputValue('[name=text]'), 'begun meanwhile');
  await say(one, 'Ann', 'x'.repeat(281));
  await shows(one, 'problem', '^the text has 281 characters');
  assert.equal(await one.inputValue('[name=text]'), 'x'.repeat(281));
  await say(one, 'Ann', 'so much for today');
  await heard(two, 'Ann', 'so much for today');

  // A page that stays open keeps what was said last.
  const kept = await two.evaluate(async () => {
    const { showMessage } = await import('/page.js');
    for (let number = 1; number <= 500; number += 1) showMessage({ name: 'Ann', text: `message ${number}` });
    return [...document.querySelectorAll('#messages li')].map((line) => line.textContent);
  });
  assert.deepEqual([kept.length, kept.at(0), kept.at(-1)], [200, 'Annmessage 301', 'Annmessage 500']);

  // Nothing lies outside a phone's screen.
  const [width, all] = await two.evaluate(() => [innerWidth, document.documentElement.scrollWidth]);
  assert.ok(all <= width, `the page is ${all} wide, the screen ${width}`);
  await one.screenshot({ path: `${picture}-desktop.png` });
  await one.emulateMedia({ colorScheme: 'dark' });
  await one.screenshot({ path: `${picture}-desktop-dark.png` });
  fine(problems);
  console.log('two pages counted, talked and were refused');
});
