// Headless Chromium, and pages that fail their test when they report an error.
import { chromium } from 'playwright-core';
import assert from 'node:assert/strict';

/** Launches the browser, hands it over and closes it. */
export async function withBrowser(work) {
  const browser = await chromium.launch({
    executablePath: process.env.SC_CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync',
    ],
  });
  try {
    await work(browser);
  } finally {
    await browser.close();
  }
}

/** Opens the host's page in a browser or one of its contexts; `problems` collects what it reports. */
export async function open(context, problems) {
  const page = await context.newPage({ viewport: { width: 900, height: 600 } });
  page.on('pageerror', (error) => problems.push(`page error: ${error}`));
  page.on('console', (message) => message.type() === 'error' && problems.push(`console: ${message.text()}`));
  await page.goto(`http://127.0.0.1:${process.env.SC_PORT}/`, { waitUntil: 'load' });
  return page;
}

/** Fails when a page reported something. */
export const fine = (problems) => assert.deepEqual(problems, []);
