// Texts as vectors: what is done here besides calling the engine.

import { GustError, about } from "./error.js";

/** Calls `work` with each of `inputs`, one after the other. An error of one of a list says which. */
export async function embedEach(inputs, { isList, signal, onProgress }, work) {
  const results = [];
  const total = inputs.length;
  for (const [index, input] of inputs.entries()) {
    signal?.throwIfAborted();
    try {
      results.push(await work(input));
    } catch (error) {
      throw isOfInput(error) ? ofInput(error, isList ? `text ${index}` : undefined) : error;
    }
    onProgress?.({ done: index + 1, total });
  }
  return results;
}

function isOfInput(error) {
  return error instanceof GustError && ["invalid-argument", "prompt-too-long"].includes(error.code);
}

function ofInput(error, subject) {
  const isLong = error.code === "prompt-too-long";
  return about(error, subject, isLong ? "split the text: the model reads no more at once" : undefined);
}

/** The same `count` vectors, one after the other, each of length 1 unless it is zero. */
export function normalized(vectors, count) {
  const width = vectors.length / count;
  for (let start = 0; start < vectors.length; start += width) {
    const vector = vectors.subarray(start, start + width);
    const length = Math.sqrt(vector.reduce((sum, x) => sum + x * x, 0));
    if (length > 0) {
      vector.forEach((x, i) => (vector[i] = x / length));
    }
  }
  return vectors;
}

/** The documents with their scores, the most relevant first. */
export function ranked(documents, scores) {
  const all = documents.map((document, index) => ({ index, score: scores[index], document }));
  return all.sort((a, b) => b.score - a.score || a.index - b.index);
}
