// `npm run screenshot`: takes docs/demo.png and docs/demo-dark.png of the demo page in Chromium, with a story in it.

import { fileURLToPath } from "node:url";
import { startChromium } from "../test/chromium.mjs";
import { serve } from "./server.mjs";

const server = await serve();
const browser = await startChromium();
try {
  for (const [colorScheme, name] of [
    ["light", "demo.png"],
    ["dark", "demo-dark.png"],
  ]) {
    const page = await browser.newPage({ colorScheme, viewport: { width: 960, height: 700 }, deviceScaleFactor: 2 });
    await page.goto(server.url);
    // Twice, because the browser is still compiling during the first answer.
    for (let round = 0; round < 2; round++) {
      await page.locator("#go:enabled").click();
      await page.waitForFunction(
        () => document.querySelector("#count").textContent > "1" && document.querySelector("#stop").hidden,
      );
    }
    await page.evaluate(() => document.activeElement.blur());
    await page.screenshot({ fullPage: true, path: fileURLToPath(new URL(`../../docs/${name}`, import.meta.url)) });
    await page.close();
  }
} finally {
  await browser.close();
  await server.close();
}
