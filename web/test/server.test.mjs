// The demo's server: what is not a file of its folders is not found, and no request ends it.

import assert from "node:assert/strict";
import { connect } from "node:net";
import test from "node:test";
import { text } from "node:stream/consumers";
import { serve } from "../demo/server.mjs";

/** The status of the answer to a request whose target is sent as it stands. */
async function status(url, target, method = "GET") {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.write(`${method} ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
  return Number((await text(socket)).match(/^HTTP\/1\.1 (\d+)/)?.[1]);
}

test("odd targets are not found", async () => {
  const server = await serve();
  try {
    const odd = ["//", "///", "//[", "*", "/%", "/%00", "/demo/%00", "/../../etc/passwd", "//etc/passwd"];
    const climbing = ["/models/../../etc/passwd", "/demo/..%2f..%2f..%2fetc%2fpasswd", "/models/%2e%2e/Cargo.toml"];
    for (const target of [...odd, ...climbing, "/demo", "/package.json", "/?x", "/x?//", "http://[/"]) {
      for (const method of ["GET", "HEAD"]) {
        const expected = ["/?x", "http://[/"].includes(target) ? 302 : 404;
        assert.equal(await status(server.url, target, method), expected, `${method} ${target}`);
      }
    }
    for (const target of ["/demo/", "/demo/?model=//", `${server.url}demo/index.html`, "/src/load.js#x"]) {
      assert.equal(await status(server.url, target), 200, target);
    }
  } finally {
    await server.close();
  }
});
