// The `collective` import without jco: the functions that the core module calls, in the canonical ABI.
//
// The engine calls them many times per layer, and a call through jco takes several microseconds and three copies: a
// quarter of the time that a small model takes for a token. So these four are written by hand. The last argument points
// to the result: a byte that is 0 for success and 1 for an error, and at offset 4 the payload: for success an address
// and a length, for an error its case in a byte and, another 4 bytes on, an address and a length.

const utf8 = new TextEncoder();

/** `gust:llm/collective` for the instance that `exports` returns the exports of: its memory and `cabi_realloc`. */
export function collective(member, exports) {
  const memory = () => exports().memory.buffer;
  const allocate = (length) => exports().cabi_realloc(0, 0, 1, length) >>> 0;

  const succeed = (result) => new DataView(memory()).setUint8(result >>> 0, 0);
  const setList = (at, address, length) => {
    const view = new DataView(memory());
    view.setUint32(at, address, true);
    view.setUint32(at + 4, length, true);
  };
  const fail = (result, error) => {
    if (error?.payload?.tag !== "aborted") {
      throw error;
    }
    const reason = utf8.encode(error.payload.val);
    const address = allocate(reason.length);
    const view = new Uint8Array(memory());
    view.set(reason, address);
    view[result] = 1;
    view[result + 4] = 0;
    setList(result + 8, address, reason.length);
  };

  return {
    rank: () => member.rank(),
    size: () => member.size(),
    "all-gather"(part, partLength, result) {
      try {
        let address;
        const gathered = member.allGather(new Uint8Array(memory(), part >>> 0, partLength >>> 0), (length) => {
          address = allocate(length);
          return new Uint8Array(memory(), address, length);
        });
        succeed(result);
        setList((result >>> 0) + 4, address, gathered.length);
      } catch (error) {
        fail(result >>> 0, error);
      }
    },
    checkpoint(result) {
      try {
        member.checkpoint();
        succeed(result);
      } catch (error) {
        fail(result >>> 0, error);
      }
    },
  };
}
