// Model files for tests: the shipped one in several files, as llama.cpp's `gguf-split` writes them, a tiny encoder and
// an adapter with random weights.

const ALIGNMENT = 32;
const [U16, U32, I32, F32, BOOL, STRING, ARRAY] = [2, 4, 5, 6, 7, 8, 9];

/** The file in `count` files, with the metadata in the first. */
export function split(file, count) {
  const { metadata, tensors } = read(file);
  const perFile = Math.ceil(tensors.length / count);
  return Array.from({ length: count }, (_, number) => {
    const numbers = [
      ["split.no", U16, number],
      ["split.count", U16, count],
      ["split.tensors.count", I32, tensors.length],
    ];
    const own = number === 0 ? metadata : [];
    return write([...own, ...numbers.map(entry)], tensors.slice(number * perFile, (number + 1) * perFile));
  });
}

/** An adapter of a model: a LoRA of rank 4 for all projections of attention. */
export function lora(model, { architecture, seed, norms = [] }) {
  const rank = 4;
  const random = randomNumbers(seed);
  const tensor = (name, shape) => {
    const numbers = Float32Array.from({ length: shape[0] * shape[1] }, () => random() / 4);
    return { name, shape, type: 0, data: Buffer.from(numbers.buffer) };
  };
  const changed = read(model).tensors.filter(({ name }) => /\.attn_(q|k|v|output)\.weight$/.test(name));
  const tensors = changed.flatMap(({ name, shape: [cols, rows] }) => [
    tensor(`${name}.lora_a`, [cols, rank]),
    tensor(`${name}.lora_b`, [rank, rows]),
  ]);
  tensors.push(...norms.map((name) => tensor(name, [64, 1])));
  const metadata = [
    ["general.type", STRING, "adapter"],
    ["general.architecture", STRING, architecture],
    ["adapter.type", STRING, "lora"],
    ["adapter.lora.alpha", F32, 2 * rank],
  ];
  return write(metadata.map(entry), tensors);
}

/** What the files of a model in `count` files are called. */
export function names(count) {
  const digits = (number) => String(number).padStart(5, "0");
  return Array.from({ length: count }, (_, i) => `x-${digits(i + 1)}-of-${digits(count)}.gguf`);
}

/** A tiny BERT, or with `ranks` a reranker. A token is five bytes; the context has 96 tokens. The file asks for `pooling`. */
export function encoder({ ranks = false, pooling = ranks ? 4 : 1 } = {}) {
  const [width, hidden, vocabulary, context] = [64, 96, 64, 96];
  const tokens = Array.from({ length: vocabulary }, (_, id) => `tok_${id}`);
  const key = (name) => `bert.${name}`;
  const metadata = [
    ["general.architecture", STRING, "bert"],
    [key("context_length"), U32, context],
    [key("embedding_length"), U32, width],
    [key("block_count"), U32, 2],
    [key("feed_forward_length"), U32, hidden],
    [key("attention.head_count"), U32, 4],
    [key("attention.layer_norm_epsilon"), F32, 1e-5],
    [key("attention.causal"), BOOL, 0],
    [key("pooling_type"), U32, pooling],
    ["tokenizer.ggml.token_type_count", U32, 2],
    ["tokenizer.ggml.model", STRING, "test"],
    ["tokenizer.ggml.tokens", ARRAY, [STRING, tokens]],
    ["tokenizer.ggml.scores", ARRAY, [F32, tokens.map(() => 0)]],
  ];
  const layer = {
    "attn_q.weight": [width, width],
    "attn_k.weight": [width, width],
    "attn_v.weight": [width, width],
    "attn_output.weight": [width, width],
    "attn_output_norm.weight": [width],
    "attn_output_norm.bias": [width],
    "ffn_up.weight": [width, hidden],
    "ffn_down.weight": [hidden, width],
    "layer_output_norm.weight": [width],
    "layer_output_norm.bias": [width],
  };
  const shapes = {
    "token_embd.weight": [width, vocabulary],
    "token_embd_norm.weight": [width],
    "token_embd_norm.bias": [width],
    "position_embd.weight": [width, context],
    "token_types.weight": [width, 2],
  };
  for (const number of [0, 1]) {
    for (const [name, shape] of Object.entries(layer)) {
      shapes[`blk.${number}.${name}`] = shape;
    }
  }
  if (ranks) {
    Object.assign(shapes, {
      "cls.weight": [width, width],
      "cls.bias": [width],
      "cls.output.weight": [width],
      "cls.output.bias": [1],
    });
  }
  const random = randomNumbers();
  const tensors = Object.entries(shapes).map(([name, shape]) => {
    const length = shape.reduce((product, dim) => product * dim, 1);
    return { name, shape, type: 0, data: Buffer.from(Float32Array.from({ length }, random).buffer) };
  });
  return write(metadata.map(entry), tensors);
}

/** Numbers from -0.5 to 0.5, always the same for a seed. */
function randomNumbers(seed = 1) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
}

/** The entries of the metadata as they are in the file, and the tensors with their data. */
function read(file) {
  let at = 8;
  const u32 = () => file.readUInt32LE((at += 4) - 4);
  const u64 = () => Number(file.readBigUInt64LE((at += 8) - 8));
  const text = () => file.toString("utf8", at + 8, (at += 8 + Number(file.readBigUInt64LE(at))));
  const skip = (type) => {
    if (type === STRING) {
      text();
    } else if (type === ARRAY) {
      const inner = u32();
      for (let left = u64(); left > 0; left--) {
        skip(inner);
      }
    } else {
      at += [1, 1, 2, 2, 4, 4, 4, 1, , , 8, 8, 8][type];
    }
  };
  const [tensorCount, entryCount] = [u64(), u64()];
  const metadata = Array.from({ length: entryCount }, () => {
    const start = at;
    text();
    skip(u32());
    return file.subarray(start, at);
  });
  const tensors = Array.from({ length: tensorCount }, () => {
    const name = text();
    const shape = Array.from({ length: u32() }, u64);
    return { name, shape, type: u32(), offset: u64() };
  });
  const data = file.subarray(aligned(at));
  const ends = [...tensors.map(({ offset }) => offset), data.length].sort((a, b) => a - b);
  for (const tensor of tensors) {
    tensor.data = data.subarray(
      tensor.offset,
      ends.find((end) => end > tensor.offset),
    );
  }
  return { metadata, tensors };
}

function write(metadata, tensors) {
  let offset = 0;
  const table = [];
  const data = [];
  for (const tensor of tensors) {
    const dims = Buffer.concat(tensor.shape.map(u64));
    table.push(text(tensor.name), u32(tensor.shape.length), dims, u32(tensor.type), u64(offset));
    data.push(padded(tensor.data));
    offset += data.at(-1).length;
  }
  const counts = [u32(3), u64(tensors.length), u64(metadata.length)];
  const header = Buffer.concat([Buffer.from("GGUF"), ...counts, ...metadata, ...table]);
  return Buffer.concat([padded(header), ...data]);
}

function entry([key, type, value]) {
  return Buffer.concat([text(key), u32(type), plain(type, value)]);
}

function plain(type, value) {
  switch (type) {
    case STRING:
      return text(value);
    case ARRAY:
      return Buffer.concat([u32(value[0]), u64(value[1].length), ...value[1].map((one) => plain(value[0], one))]);
    case F32:
      return Buffer.from(Float32Array.of(value).buffer);
    default:
      return u32(value).subarray(0, { [BOOL]: 1, [U16]: 2 }[type] ?? 4);
  }
}

function u32(value) {
  return Buffer.from(Uint32Array.of(value).buffer);
}

function u64(value) {
  return Buffer.from(BigUint64Array.of(BigInt(value)).buffer);
}

function text(value) {
  return Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);
}

function padded(bytes) {
  return Buffer.concat([bytes, Buffer.alloc(aligned(bytes.length) - bytes.length)]);
}

function aligned(length) {
  return Math.ceil(length / ALIGNMENT) * ALIGNMENT;
}
