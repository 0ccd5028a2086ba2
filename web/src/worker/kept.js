// The models that are kept in the origin private file system (OPFS), in the folder `gust`.
//
// Each has two files: NAME.gguf, and NAME.json with what the server said about it and the SHA-256 of each of its pieces,
// which is written when the first is complete. A file without its record is left over from an interrupted fetch.

const FOLDER = "gust";

/** Bytes of a piece. Browsers have no SHA-256 of what does not fit in memory. */
const PIECE = 1 << 22;

/** The folder. Fails if there is no such file system, as in private windows of some browsers. */
export async function folder() {
  const root = await navigator.storage.getDirectory();
  return root.getDirectoryHandle(FOLDER, { create: true });
}

/** The handle of the model that is kept with this name. */
export async function opened(name) {
  return (await folder()).getFileHandle(modelFile(name));
}

/** The name for a URL. */
export async function nameOf(url) {
  return sha256(new TextEncoder().encode(url));
}

/** The record of a complete model, including its size; undefined if there is none. */
export async function recorded(gust, name) {
  try {
    const record = JSON.parse(await (await (await gust.getFileHandle(recordFile(name))).getFile()).text());
    const { size } = await (await gust.getFileHandle(modelFile(name))).getFile();
    return record.size === size ? record : undefined;
  } catch {
    return undefined;
  }
}

/** Whether a kept model still has the bytes that were fetched. */
export async function isWhole(gust, name, { size, pieces }) {
  const file = await (await gust.getFileHandle(modelFile(name))).getFile();
  if (file.size !== size || pieces?.length !== Math.ceil(size / PIECE)) {
    return false;
  }
  for (const [i, expected] of pieces.entries()) {
    const piece = await file.slice(i * PIECE, (i + 1) * PIECE).arrayBuffer();
    if ((await sha256(piece)) !== expected) {
      return false;
    }
  }
  return true;
}

/** Collects the hashes of the pieces of a file that arrives bit by bit. */
export class Pieces {
  #piece = new Uint8Array(PIECE);
  #length = 0;
  #hashes = [];

  async add(bytes) {
    for (let taken = 0; taken < bytes.length; ) {
      const part = bytes.subarray(taken, taken + PIECE - this.#length);
      this.#piece.set(part, this.#length);
      this.#length += part.length;
      taken += part.length;
      if (this.#length === PIECE) {
        await this.#end();
      }
    }
  }

  /** All of them, at the end of the file. */
  async all() {
    if (this.#length > 0) {
      await this.#end();
    }
    return this.#hashes;
  }

  async #end() {
    this.#hashes.push(await sha256(this.#piece.subarray(0, this.#length)));
    this.#length = 0;
  }
}

/** Records that a model is complete. */
export async function record(gust, name, what) {
  const file = await gust.getFileHandle(recordFile(name), { create: true });
  await written(file, (write) => write(new TextEncoder().encode(JSON.stringify(what))));
}

/** Lets `fill` write a model, which counts as incomplete until `record` is called. */
export async function write(gust, name, fill) {
  await gust.removeEntry(recordFile(name)).catch(() => undefined);
  await written(await gust.getFileHandle(modelFile(name), { create: true }), fill);
}

/** Calls `fill` with a function that appends bytes to an empty `file`. */
async function written(file, fill) {
  const handle = await file.createSyncAccessHandle();
  try {
    handle.truncate(0);
    let at = 0;
    await fill((bytes) => {
      const count = handle.write(bytes, { at });
      if (count < bytes.length) {
        throw new DOMException(`wrote ${at + count} bytes`, "QuotaExceededError");
      }
      at += count;
    });
    handle.flush();
  } finally {
    handle.close();
  }
}

async function sha256(bytes) {
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function modelFile(name) {
  return `${name}.gguf`;
}

function recordFile(name) {
  return `${name}.json`;
}
