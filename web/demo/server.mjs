// A server for this folder and the models, with the headers that make a page cross-origin isolated.

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, normalize, sep } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";

const WEB = fileURLToPath(new URL("../", import.meta.url));
const MODELS = fileURLToPath(new URL("../../models/", import.meta.url));

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
};

/** Without these headers a page has no SharedArrayBuffer, and the engine only one worker. */
const ISOLATION = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

/**
 * Serves on this port of this machine; 0 picks a free one. `files` are additional files, by URL path; `onReport`
 * receives what a page sends to `/report`. Returns the URL, the requests received (`METHOD /path`), and `close`.
 */
export async function serve({ port = 0, isolated = true, files = {}, onReport } = {}) {
  const requests = [];
  const server = createServer((request, response) => {
    const pathname = pathOf(request.url);
    requests.push(`${request.method} ${pathname}`);
    if (onReport && pathname === "/report") {
      text(request).then((report) => {
        response.writeHead(204).end();
        onReport(report);
      });
      return;
    }
    const path = files[pathname] ?? filePath(pathname);
    respond(request.method, pathname, path, response, isolated ? ISOLATION : {}).catch(() => response.destroy());
  });
  await new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  const url = `http://localhost:${server.address().port}/`;
  const close = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return { url, requests, close };
}

/** The path of a request's target. A target such as `//` is the address of no server, and its path is as it stands. */
function pathOf(target) {
  return target.replace(/^[a-z]+:\/\/[^/]*/i, "").replace(/[?#].*$/s, "") || "/";
}

async function respond(method, pathname, path, response, headers) {
  if (pathname === "/") {
    response.writeHead(302, { Location: "/demo/" }).end();
    return;
  }
  const found = path && (await stat(path).catch(() => undefined));
  if (!found?.isFile() || !["GET", "HEAD"].includes(method)) {
    response.writeHead(404, { ...headers, "Content-Type": "text/plain" }).end("not found\n");
    return;
  }
  response.writeHead(200, {
    ...headers,
    "Content-Type": TYPES[extname(path)] ?? "application/octet-stream",
    "Content-Length": found.size,
    "Cache-Control": "no-cache",
    ETag: `"${found.size}-${found.mtimeMs}"`,
  });
  if (method === "HEAD") {
    response.end();
    return;
  }
  const file = createReadStream(path);
  file.on("error", () => response.destroy());
  response.on("close", () => file.destroy());
  file.pipe(response);
}

/** Where the package is in a project that has installed it. */
const INSTALLED = "/node_modules/gust-llm/";

/** The file for a URL path, if it is in one of the served folders. */
function filePath(pathname) {
  let wanted;
  try {
    const path = pathname.startsWith(INSTALLED) ? pathname.slice(INSTALLED.length - 1) : pathname;
    wanted = normalize(decodeURIComponent(path.endsWith("/") ? `${path}index.html` : path));
  } catch {
    return undefined;
  }
  const [, folder, ...rest] = wanted.split(sep);
  if (["demo", "src", "dist", "drivers", "test"].includes(folder)) {
    return WEB + [folder, ...rest].join(sep);
  }
  return folder === "models" ? MODELS + rest.join(sep) : undefined;
}
