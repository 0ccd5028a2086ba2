// A blob (see weights.js) whose bytes are already in memory.

export function bytesBlob(bytes) {
  return {
    size: bytes.length,
    read(target, offset) {
      const found = bytes.subarray(offset, offset + target.length);
      target.set(found);
      return found.length;
    },
    close: () => undefined,
  };
}
