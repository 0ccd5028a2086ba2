// The worker in a browser.

import { opened } from "./kept.js";
import { serve } from "./member.js";

const port = {
  post: (message) => postMessage(message),
  receive: (listener) => addEventListener("message", ({ data }) => listener(data)),
};

serve(port, (source) => ("kept" in source ? keptBlob(source.kept) : blobBlob(source.blob)));

/** Reads with a sync access handle, or as a `File` if the browser gives a handle to one worker only. */
async function keptBlob(name) {
  const file = await opened(name);
  try {
    const handle = await file.createSyncAccessHandle({ mode: "read-only" });
    return {
      size: handle.getSize(),
      read: (target, offset) => handle.read(target, { at: offset }),
      close: () => handle.close(),
    };
  } catch (error) {
    if (error.name !== "NoModificationAllowedError") {
      throw error;
    }
    return blobBlob(await file.getFile());
  }
}

function blobBlob(blob) {
  const reader = new FileReaderSync();
  return {
    size: blob.size,
    read(target, offset) {
      const found = reader.readAsArrayBuffer(blob.slice(offset, offset + target.length));
      target.set(new Uint8Array(found));
      return found.byteLength;
    },
    close: () => undefined,
  };
}
