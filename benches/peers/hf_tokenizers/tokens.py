"""What Python's `tokenizers` makes of texts: a peer of `cargo xtask parity --tokenizers`.

    tokens.py TOKENIZER.json TEXTS OUT

TEXTS is, for each text, its length in bytes as a 32-bit number and then its bytes, in UTF-8. OUT becomes, for each, the
number of its tokens and then these, in 32 bits each. Nothing is added around a text, and names of control tokens in it are
parsed.
"""

import struct
import sys

from tokenizers import Tokenizer


def main(file, texts, out):
    tokenizer = Tokenizer.from_file(file)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    data = open(texts, "rb").read()
    at = 0
    with open(out, "wb") as written:
        while at < len(data):
            (length,) = struct.unpack_from("<I", data, at)
            at += 4 + length
            ids = tokenizer.encode(data[at - length : at].decode(), add_special_tokens=False).ids
            written.write(struct.pack(f"<{1 + len(ids)}I", len(ids), *ids))


if __name__ == "__main__":
    main(*sys.argv[1:])
