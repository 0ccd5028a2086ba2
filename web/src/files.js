// The files of a model: one, or several that belong together, which llama.cpp's `gguf-split` writes and names
// `x-00001-of-00003.gguf` and so on.
//
// Here they are found and put in order. The engine reads the first one, asks for the others by their numbers
// (worker/weights.js), and checks that each is the one that it should be.

import { GustError, invalidArgument } from "./error.js";

/** The number in a file's name, before the extension. */
const NUMBER = /-(\d{5})-of-(\d{5})(?=(\.[^./\\]*)?$)/;

/** More files than this are no model. */
const MOST = 999;

/**
 * The files of a source, as the host's addresses: of a list its files, the first one first; of the first of several,
 * those after it too, where the host can find them. No other file is looked for.
 */
export async function filesOf(source, host) {
  if (Array.isArray(source)) {
    return inOrder(source.map(host.address), host);
  }
  const first = host.address(source);
  const { number, count } = numbers(host.nameOf(first)) ?? {};
  const files = [first];
  if (number !== 1 || count > MOST) {
    return files;
  }
  for (let other = 2; other <= count; other++) {
    const file = await host.neighbour(first, (name) => withNumber(name, other));
    if (file === undefined) {
      return [first];
    }
    files.push(file);
  }
  return files;
}

/** What the engine's name for a file, such as `model-00002-of-00003`, says: the model's name, and the number. */
export function asked(name) {
  const found = numbers(name);
  return found ? { name: found.whole, number: found.number } : { name, number: 1 };
}

/** What to call a file that is missing: like the first one, if it has a name, otherwise as the engine does. */
export function missing(first, engineName) {
  const [suffix] = NUMBER.exec(engineName) ?? [""];
  if (first === undefined || suffix === "") {
    return first ?? engineName;
  }
  return NUMBER.test(first) ? first.replace(NUMBER, suffix) : `${first}${suffix}`;
}

/** The name of another file of the same model. */
function withNumber(name, number) {
  return name.replace(NUMBER, (_, __, count) => `-${String(number).padStart(5, "0")}-of-${count}`);
}

/** The number, from 1, and the count in a name, and the name without them, in any folder. */
function numbers(name) {
  const [, number, count] = NUMBER.exec(name ?? "")?.map(Number) ?? [];
  const isOne = number >= 1 && number <= count;
  return isOne ? { number, count, whole: name.replace(NUMBER, "").replace(/^.*[/\\]/s, "") } : undefined;
}

/** A list in the order of the numbers in its names. Without numbers, the order that it has is the one. */
function inOrder(files, host) {
  if (files.length === 0) {
    throw invalidArgument("source", "at least one file", "an empty list");
  }
  const named = files.map((file) => ({ file, name: host.nameOf(file), ...numbers(host.nameOf(file)) }));
  if (files.length === 1 || named.some(({ number }) => number === undefined)) {
    return files;
  }
  const [{ name, count, whole }] = named;
  const stranger = named.find((other) => other.whole !== whole || other.count !== count);
  if (stranger) {
    throw invalidArgument("source", `files of one model, as ${name} is`, stranger.name);
  }
  const ordered = [];
  for (const { file, name, number } of named) {
    if (ordered[number] !== undefined) {
      throw invalidArgument("source", "each file once", `${name} twice`);
    }
    ordered[number] = file;
  }
  for (let number = 1; number <= count; number++) {
    if (ordered[number] === undefined) {
      throw new GustError("not-found", withNumber(name, number));
    }
  }
  return ordered.slice(1);
}
