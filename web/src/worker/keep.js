// A worker that fetches a model and keeps it (see kept.js). It receives one message, the URL, and answers with
//   { done, total }            repeatedly while it fetches, in bytes; `total` only if the server reports it
//   { kept: { name, size } }   when the model is kept; `kept` is undefined if there is no file system to keep it in
//   { code, detail }           when it failed: the parts of a GustError
//
// A kept model is checked with a HEAD request and against the hashes of what was fetched, and fetched again only if the
// server's answer or a hash has changed. Without a network, the kept model is used.

import { Pieces, folder, isWhole, nameOf, record, recorded, write } from "./kept.js";

addEventListener("message", async ({ data: url }) => {
  try {
    postMessage({ kept: await kept(url) });
  } catch (error) {
    postMessage(
      error instanceof Failure ? { code: error.code, detail: error.message } : { code: "io", detail: why(error) },
    );
  }
});

class Failure extends Error {
  constructor(code, detail) {
    super(detail);
    this.code = code;
  }
}

async function kept(url) {
  let gust;
  try {
    gust = await folder();
  } catch {
    return undefined;
  }
  const name = await nameOf(url);
  // Several pages may load the same model at the same time: one fetches it, and the others wait.
  return navigator.locks.request(`gust ${name}`, async () => {
    const known = await recorded(gust, name);
    const isCurrent = known !== undefined && (await isFresh(known, url));
    if (isCurrent && (await isWhole(gust, name, known))) {
      return { name, size: known.size };
    }
    const response = await fetch(url).catch((error) => {
      throw isCurrent ? new Failure("io", `the copy of ${url} that was kept is damaged, and ${why(error)}`) : error;
    });
    if (!response.ok) {
      throw new Failure(response.status === 404 ? "not-found" : "io", `${url}: status ${response.status}`);
    }
    const found = await fetchInto(gust, name, response);
    await record(gust, name, { url, ...found, ...said(response) });
    return { name, size: found.size };
  });
}

async function fetchInto(gust, name, response) {
  const length = Number(response.headers.get("content-length"));
  const isPlain = !response.headers.has("content-encoding");
  const total = isPlain && length > 0 ? length : undefined;
  const pieces = new Pieces();
  let done = 0;
  await write(gust, name, async (append) => {
    const reader = response.body.getReader();
    for (;;) {
      const { value, done: isOver } = await reader.read();
      if (isOver) {
        return;
      }
      append(value);
      await pieces.add(value);
      done += value.length;
      postMessage({ done, total });
    }
  });
  return { size: done, pieces: await pieces.all() };
}

async function isFresh(known, url) {
  try {
    const response = await fetch(url, { method: "HEAD", cache: "no-cache" });
    const now = said(response);
    return (
      !response.ok ||
      Object.keys(now).every((name) => known[name] === null || now[name] === null || known[name] === now[name])
    );
  } catch {
    return true;
  }
}

/** The headers that distinguish versions of a file. */
function said({ headers }) {
  return {
    etag: headers.get("etag"),
    modified: headers.get("last-modified"),
    length: headers.get("content-length"),
  };
}

function why(error) {
  switch (error?.name) {
    case "QuotaExceededError":
      return `the browser has no storage left for the model (${error.message}); free some, or load the model as a file`;
    case "NoModificationAllowedError":
      return "the model at this URL has changed, and another page is using the old version; close that page";
    default:
      return String(error?.message ?? error);
  }
}
