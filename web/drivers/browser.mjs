// Runs the shipped model in Chromium, for the table that `cargo xtask hosts` prints, and writes one line of JSON.
//
//   node drivers/browser.mjs [--threads N] [--no-isolation]
//
// The speed is the median of five answers after the first one, in which V8 still compiles.

import { parseArgs } from "node:util";
import { serve } from "../demo/server.mjs";
import { startChromium } from "./chromium.mjs";

const { values } = parseArgs({
  options: { threads: { type: "string" }, "no-isolation": { type: "boolean", default: false } },
});
const threads = values.threads && Number(values.threads);

const browser = await startChromium().catch((error) => {
  console.error(`error: ${error.message}`);
  process.exit(1);
});
const server = await serve({ isolated: !values["no-isolation"] });
try {
  const page = await browser.newPage();
  await page.goto(`${server.url}drivers/blank.html`);
  const found = await page.evaluate(async (threads) => {
    const { load } = await import("/src/browser.js");
    const { measure } = await import("/drivers/measure.js");
    const model = await load("/models/gust-stories-q8_0.gguf", { threads });
    const { build, threads: workers } = model;
    const measured = await measure(model);
    await model.close();
    return { ...measured, build, workers, isolated: crossOriginIsolated };
  }, threads);
  const notes = [
    `${found.workers} Web Worker${found.workers === 1 ? "" : "s"}`,
    found.isolated ? "cross-origin isolated" : "not cross-origin isolated",
    `first answer ${found.first.toFixed(0)} tokens/s`,
  ];
  console.log(
    JSON.stringify({
      host: "Chromium",
      version: browser.version(),
      build: found.build,
      tokens: found.tokens,
      tokens_per_second: found.speed,
      notes: notes.join("; "),
    }),
  );
} finally {
  await browser.close();
  await server.close();
}
