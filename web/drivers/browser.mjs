// Runs the shipped model in a browser, for the table that `cargo xtask hosts` prints, and writes one line of JSON.
//
//   node drivers/browser.mjs [--browser chromium|firefox] [--threads N] [--no-isolation]
//
// The browser is only started with the address of a page, which reports to the server: nothing has to know how to steer
// it, and npm's packages are not needed.

import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { serve } from "../demo/server.mjs";
import { BROWSERS, findBrowser } from "./browsers.mjs";

const PATIENCE = 60_000; // milliseconds

const { values } = parseArgs({
  options: {
    browser: { type: "string", default: "chromium" },
    threads: { type: "string" },
    "no-isolation": { type: "boolean", default: false },
  },
});

try {
  const program = findBrowser(values.browser);
  const report = await run(program);
  if (report.error) {
    throw new Error(`${program}: ${report.error}`);
  }
  const { host } = BROWSERS[values.browser];
  console.log(JSON.stringify({ host, version: version(program), ...report }));
} catch (error) {
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
}

async function run(program) {
  let report;
  const reported = new Promise((resolve) => (report = resolve));
  const server = await serve({ isolated: !values["no-isolation"], onReport: (text) => report(JSON.parse(text)) });
  const folder = mkdtempSync(join(tmpdir(), "gust-browser-"));
  const address = `${server.url}drivers/report.html${values.threads ? `?threads=${values.threads}` : ""}`;
  const browser = spawn(program, [...BROWSERS[values.browser].flags(folder), address], { stdio: "ignore" });
  const ended = new Promise((resolve) => {
    browser.on("error", (error) => resolve({ error: `it could not be started: ${error.code}` }));
    browser.on("exit", (code) => resolve({ error: `it ended with exit code ${code}` }));
  });
  const late = setTimeout(() => report({ error: `no report within ${PATIENCE / 1000} s` }), PATIENCE);
  const found = await Promise.race([reported, ended]);
  clearTimeout(late);
  browser.kill();
  await ended;
  await server.close();
  await remove(folder);
  return found;
}

/** What the browser started may still be writing there when it has ended itself. What is left after a second stays. */
async function remove(folder) {
  for (let attempt = 0; attempt < 10; attempt++) {
    try {
      return rmSync(folder, { recursive: true, force: true });
    } catch {
      await sleep(100);
    }
  }
}

function version(program) {
  const { stdout } = spawnSync(program, ["--version"], { encoding: "utf8" });
  return stdout.match(/\d[\d.]*/)?.[0];
}
