// A program that uses the types; package.test.mjs has it checked and nobody runs it.

import { type Adapter, type ErrorCode, GustError, type Model, type Session, type Token, load } from "gust-llm";

const controller = new AbortController();
const model: Model = await load(new URL("model.gguf", import.meta.url), {
  threads: 2,
  draft: new Blob([]),
  onProgress: ({ stage, done, total }) => `${stage} ${done / (total ?? done)}`,
  signal: controller.signal,
});
const session: Session = await model.session({ contextLength: 512, kvType: "q8-0" });
await session.configure({ seed: 2n ** 63n, temperature: 0.7, stop: ["\n"], logprobs: 3 });
await session.feed(await model.tokenize("Once", { addSpecial: false }), { signal: controller.signal });

const tokens: Token[] = [];
for await (const token of session.tokens({ signal: controller.signal })) {
  tokens.push(token);
}
for await (const text of session.text()) {
  text.trim();
}
const event = await session.nextEvent();
const said: Uint8Array = event.bytes;
if (event.type === "finished") {
  const reason: "end-of-sequence" | "stop" | "length" = event.reason;
  reason.trim();
} else {
  const best: number | undefined = event.top[0]?.logprob;
  best?.toFixed();
}
try {
  await session.restore(said);
} catch (error) {
  const code: ErrorCode | undefined = error instanceof GustError ? error.code : undefined;
  code?.trim();
}

await load(["x-00001-of-00002.gguf", new URL("x-00002-of-00002.gguf", import.meta.url)], { draft: [new Blob([])] });
declare const handle: FileSystemFileHandle;
await load(handle);
await load([handle, new Uint8Array()], { onProgress: ({ file, files }) => `${file ?? 1}/${files ?? 1}` });

const vector: Float32Array = await model.embed("a cat", { pooling: "mean", normalize: false });
const vectors: Float32Array[] = await model.embed(["a cat", await model.tokenize("a mat")], {
  signal: controller.signal,
});
vectors.push(vector);
const [best] = await model.rerank("what cats sit on", ["a mat", "a tree"], { top: 1 });
best?.document.trim().at(best.index + best.score);
const { pooling, embedsOnly, labels } = await model.embeddingInfo();
labels.push(`${pooling} ${embedsOnly}`, `${(await model.tokenizePair("a query", "a document")).length}`);

const adapter: Adapter = await model.loadAdapter("lora.gguf", { signal: controller.signal });
await session.setAdapters([{ adapter, scale: -0.5 }, { adapter }]);
const leftOut: string[] = adapter.leftOut;
await load("a.gguf", { tokenizer: new URL("https://example.org/tokenizer.json") });
await adapter.close();

// @ts-expect-error: an adapter is in one file
await model.loadAdapter(["a.gguf", "b.gguf"]);
// @ts-expect-error: a list
await session.setAdapters({ adapter });
// @ts-expect-error: no such pooling
await model.embed("a cat", { pooling: "max" });
// @ts-expect-error: tokens are a Uint32Array
await model.embed([1, 2, 3]);
// @ts-expect-error: no such option
await session.configure({ max_tokens: 5 });
// @ts-expect-error: a path, an address, bytes or a Blob
await load(5);
