// The `weights` import: where a model's bytes come from.
//
// A blob is what the environment opened: a file, a file in the origin private file system, a `Blob`, bytes. It has
// `size`, `read(target, offset)`, which fills `target` and returns the number of bytes read, and `close()`.
//
// `map-pages` reads the bytes directly to their address. Pages cannot be shared with a file here, but the bytes are
// read once, in place, whereas `read` would copy them twice.

import { asked, missing } from "../files.js";

/**
 * `gust:llm/weights` over models by name: a model's `name` is what its first file is called, if that is known, and its
 * `files` are blobs. `onRead` receives the number of bytes of each read.
 */
export function weights(models, memory, onRead) {
  class Blob {
    constructor(blob) {
      this.blob = blob;
    }

    size() {
      return BigInt(this.blob.size);
    }

    read(offset, length) {
      this.#check(offset, length);
      const bytes = new Uint8Array(length);
      this.#fill(bytes, Number(offset));
      return bytes;
    }

    mapPages(offset, length, address) {
      this.#check(offset, Number(length));
      const { buffer } = memory();
      if (address + length > BigInt(buffer.byteLength)) {
        refuse("out-of-range", BigInt(this.blob.size));
      }
      this.#fill(new Uint8Array(buffer, Number(address), Number(length)), Number(offset));
    }

    #check(offset, length) {
      if (offset + BigInt(length) > BigInt(this.blob.size)) {
        refuse("out-of-range", BigInt(this.blob.size));
      }
    }

    /** Reads in pieces, so that progress can be reported and a large blob does not take memory twice. */
    #fill(target, offset) {
      const PIECE = 1 << 22;
      for (let done = 0; done < target.length; ) {
        const piece = target.subarray(done, done + PIECE);
        const count = readSome(this.blob, piece, offset + done);
        if (count === 0) {
          refuse(
            "io",
            `expected ${target.length} bytes at offset ${offset}, found the end after ${done}: the file was cut short`,
          );
        }
        done += count;
        onRead(count);
      }
    }
  }

  return {
    Blob,
    open(name) {
      const file = asked(name);
      const model = models[file.name];
      const blob = model?.files[file.number - 1];
      return blob ? new Blob(blob) : refuse("not-found", missing(model?.name, name));
    },
  };
}

function readSome(blob, target, offset) {
  try {
    return blob.read(target, offset);
  } catch (error) {
    return refuse("io", String(error?.message ?? error));
  }
}

/** Fails an import: jco uses the payload of the thrown error. */
function refuse(tag, val) {
  throw Object.assign(new Error(tag), { payload: { tag, val } });
}
