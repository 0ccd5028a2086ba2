// `npm run demo [-- --port N] [-- --no-isolation]`: the demo page on this machine.

import { parseArgs } from "node:util";
import { serve } from "./server.mjs";

const { values } = parseArgs({
  options: { port: { type: "string", default: "8080" }, "no-isolation": { type: "boolean", default: false } },
});
const { url } = await serve({ port: Number(values.port), isolated: !values["no-isolation"] });
console.log(`gust's demo: ${url} (press Ctrl-C to stop)`);
