// The `weights` import: where a model's bytes come from.
//
// A blob is what the environment opened: a file, a file of the page's own file system, a `Blob`, bytes. It has `size` and
// `read(target, offset)`, which fills `target` and says how many bytes it had.
//
// `map-pages` reads the bytes to where the engine wants them. No page can be shared with a file here, but they are read
// once, in place, where `read` would have them copied twice on their way.

/** `gust:llm/weights` over the blobs of these names. `onRead` is told how many bytes were read or put in place. */
export function weights(blobs, memory, onRead) {
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

    /** Reads in pieces, so that progress can be told and no piece of a large blob needs room twice. */
    #fill(target, offset) {
      const PIECE = 1 << 22;
      for (let done = 0; done < target.length; ) {
        const piece = target.subarray(done, done + PIECE);
        const count = readSome(this.blob, piece, offset + done);
        if (count === 0) {
          refuse(
            "io",
            `${target.length} bytes at ${offset} were expected, found the end after ${done}: the file was cut short`,
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
      const blob = blobs[name];
      return blob ? new Blob(blob) : refuse("not-found", name);
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

/** An error of an import: jco takes what a thrown error has as its payload. */
function refuse(tag, val) {
  throw Object.assign(new Error(tag), { payload: { tag, val } });
}
