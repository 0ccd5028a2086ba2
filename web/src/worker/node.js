// The worker in Node.

import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { parentPort } from "node:worker_threads";
import { bytesBlob } from "./bytes.js";
import { serve } from "./member.js";

const port = {
  post: (message) => parentPort.postMessage(message),
  receive: (listener) => parentPort.on("message", listener),
};

serve(port, (source) => ("path" in source ? fileBlob(source.path) : bytesBlob(source.bytes)));

function fileBlob(path) {
  const file = openSync(path);
  return {
    size: fstatSync(file).size,
    read: (target, offset) => readSync(file, target, 0, target.length, offset),
    close: () => closeSync(file),
  };
}
