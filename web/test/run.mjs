// `npm test`: every test, in this Node and, where it is there, in Node 24, which has relaxed SIMD.
//
// `npm run node24` puts it where this looks for it. The variable NODE24 names another one.

import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

const path = (name) => fileURLToPath(new URL(name, import.meta.url));
const NODE24 = process.env.NODE24 ?? path("../../target/node24/node_modules/node/bin/node");

const tests = readdirSync(path("."))
  .filter((name) => name.endsWith(".test.mjs"))
  .map(path);
const hosts = [process.execPath];
if (existsSync(NODE24)) {
  hosts.push(NODE24);
} else {
  console.error(
    `Node 24 is not at ${NODE24}: only ${process.version} is tested. \`npm run node24\` installs it there.`,
  );
}
let status = 0;
for (const node of hosts) {
  const { stdout } = spawnSync(node, ["--version"], { encoding: "utf8" });
  console.error(`\n== Node ${stdout?.trim()}`);
  // One file after the other: each has workers that want all cores.
  const run = spawnSync(node, ["--test", "--test-concurrency=1", "--test-reporter=spec", ...tests], {
    stdio: "inherit",
  });
  status ||= run.status ?? 1;
}
process.exit(status);
