// The demo: loads the shipped model or the user's own, and streams its answers.
//
// Each answer leaves spans in the browser's Performance panel, on a track named gust: loading, reading the prompt, the
// first token, every token and the whole answer.

import { load } from "gust-llm";

const SHIPPED = "../models/gust-stories-q8_0.gguf";
const at = (id) => document.getElementById(id);

let model;
let loading;
let answering;

at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  answer();
});
at("prompt").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    answer();
  }
});
at("stop").addEventListener("click", () => answering?.abort());
at("file").addEventListener("change", () => {
  const files = [...at("file").files];
  at("file").value = "";
  open(picked(files));
});
acceptDrops();
openLinked();

/** Opens the model that the page's address names, ?model=https://…, and asks before it is fetched from elsewhere. */
function openLinked() {
  const linked = new URLSearchParams(location.search).get("model");
  const isElsewhere = linked !== null && new URL(location.href).origin !== originOf(linked);
  if (isElsewhere) {
    at("linked").textContent = linked;
    at("fetch").addEventListener("click", () => {
      at("ask").hidden = true;
      open(linked);
    });
    at("ask").hidden = false;
  }
  open(linked === null || isElsewhere ? SHIPPED : linked);
}

function originOf(address) {
  try {
    return new URL(address, location.href).origin;
  } catch {
    return undefined;
  }
}

/** A file, or the files of a model that was split. */
function picked(files) {
  return files.length > 1 ? files : files[0];
}

/** Loads a file, several or a URL in place of the current model and of one that is still loading. */
async function open(source) {
  if (source === undefined) {
    return;
  }
  answering?.abort();
  loading?.abort();
  loading = new AbortController();
  const { signal } = loading;
  at("go").disabled = true;
  at("trouble").hidden = true;
  const [first] = [source].flat();
  at("name").textContent = first instanceof File ? first.name : String(first).split("/").pop();
  at("facts").textContent = "Loading";
  try {
    const loaded = await measured("load", () => load(source, { onProgress: showProgress, signal }));
    model?.close();
    model = loaded;
    // The shipped model tells stories; most others are chat models.
    at("chat").checked = source !== SHIPPED;
  } catch (error) {
    if (signal.aborted) {
      return;
    }
    showTrouble(error);
  }
  at("progress").hidden = true;
  if (model) {
    showModel(model);
  }
}

/** Continues the text in the prompt field, until the model ends, the limit is reached or the user presses Stop. */
async function answer() {
  if (model === undefined || answering) {
    return;
  }
  answering = new AbortController();
  const { signal } = answering;
  const prompt = at("prompt").value;
  const asMessage = model.info.chatTemplate !== undefined && at("chat").checked;
  begin(asMessage ? "" : prompt);
  let session;
  try {
    session = await model.session();
    await session.configure(options());
    const tokens = await (asMessage ? messageTokens(prompt) : model.tokenize(prompt));
    const start = performance.now();
    await measured("prompt", () => session.feed(tokens, { signal }));
    await stream(session, signal, start);
  } catch (error) {
    if (!signal.aborted) {
      showTrouble(error);
    }
  } finally {
    session?.close().catch(() => undefined);
    answering = undefined;
    end();
  }
}

function options() {
  const seed = at("seed").value;
  return {
    maxTokens: Number(at("max-tokens").value),
    temperature: Number(at("temperature").value),
    seed: seed === "" ? crypto.getRandomValues(new Uint32Array(1))[0] : Number(seed),
  };
}

/** The prompt in the model's chat format. */
async function messageTokens(content) {
  return (await model.render([{ role: "user", content }])).tokens;
}

/** Shows tokens as they arrive. `start` is when feeding the prompt began. */
async function stream(session, signal, start) {
  const characters = new TextDecoder("utf-8", { ignoreBOM: true });
  const page = pager();
  let first;
  let count = 0;
  let last = performance.now();
  for await (const { id, bytes } of session.tokens({ signal })) {
    const now = performance.now();
    span(first === undefined ? "first token" : "token", first === undefined ? start : last, now);
    last = now;
    first ??= now;
    count += id === undefined ? 0 : 1;
    page.add(characters.decode(bytes, { stream: true }));
    page.figures({
      first: `${(first - start).toFixed(first - start < 10 ? 1 : 0)} ms`,
      // The first token counts towards the prompt.
      speed: count > 1 ? ((count - 1) / ((now - first) / 1000)).toFixed(now - first < 100 * count ? 0 : 1) : "–",
      count: String(count),
    });
  }
  page.add(characters.decode());
  span("answer", start, performance.now());
}

/** Updates text and figures on the page once per frame, however fast they arrive. */
function pager() {
  let text = "";
  let figures = {};
  let isPlanned = false;
  const plan = () => {
    if (!isPlanned) {
      isPlanned = true;
      requestAnimationFrame(() => {
        isPlanned = false;
        // If no prompt precedes it, drop the space before the first word.
        at("made").append(at("given").textContent + at("made").textContent === "" ? text.trimStart() : text);
        text = "";
        for (const [id, figure] of Object.entries(figures)) {
          at(id).textContent = figure;
        }
      });
    }
  };
  return {
    add(more) {
      text += more;
      plan();
    },
    figures(now) {
      figures = now;
      plan();
    },
  };
}

function begin(given) {
  performance.clearMeasures();
  at("trouble").hidden = true;
  at("given").textContent = given;
  at("made").textContent = "";
  for (const id of ["speed", "first", "count"]) {
    at(id).textContent = "–";
  }
  at("answer").ariaBusy = "true";
  at("go").hidden = true;
  at("stop").hidden = false;
  at("stop").focus();
}

function end() {
  const hadFocus = document.activeElement === at("stop");
  at("answer").ariaBusy = "false";
  at("go").hidden = false;
  at("stop").hidden = true;
  if (hadFocus) {
    at("go").focus();
  }
}

function showModel({ info, threads, build }) {
  const facts = [
    `${count(info.parameters)} parameters`,
    `${(info.weightBytes / 1e6).toFixed(info.weightBytes < 1e8 ? 1 : 0)} MB`,
    `context ${info.contextLength.toLocaleString("en")}`,
    info.architecture,
  ];
  at("name").textContent = info.name || "unnamed model";
  at("facts").textContent = facts.join(" · ");
  at("workers").textContent = threads;
  at("build").textContent = build === "relaxed" ? "relaxed SIMD" : "SIMD";
  at("chat-option").hidden = info.chatTemplate === undefined;
  at("asks").textContent = info.chatTemplate === undefined ? "Prompt" : "Prompt or message";
  at("go").disabled = false;
}

function count(parameters) {
  return parameters >= 1e9 ? `${(parameters / 1e9).toFixed(1)} billion` : `${(parameters / 1e6).toFixed(1)} million`;
}

function showProgress({ stage, done, total, file, files }) {
  at("progress").hidden = false;
  if (total === undefined) {
    at("progress").removeAttribute("value");
  } else {
    at("progress").value = done / total;
  }
  const what = stage === "fetching" ? "Fetching" : "Loading";
  const which = files === undefined ? "" : ` file ${file} of ${files}`;
  at("facts").textContent = `${what}${which} · ${(done / 1e6).toFixed(1)} MB`;
}

function showTrouble(error) {
  const hint = error.hint ? ` Hint: ${error.hint}.` : "";
  at("trouble").textContent = `${error.message}.${hint}`;
  at("trouble").hidden = false;
}

async function measured(name, work) {
  const start = performance.now();
  const result = await work();
  span(name, start, performance.now());
  return result;
}

/** A span that Chromium's DevTools show on a separate track. */
function span(name, start, end) {
  performance.measure(`gust: ${name}`, {
    start,
    end,
    detail: { devtools: { dataType: "track-entry", track: "gust" } },
  });
}

function acceptDrops() {
  // Moving from one element to another within the page does not leave the page.
  let depth = 0;
  const show = (change) => {
    depth = change === 0 ? 0 : depth + change;
    at("drop").hidden = depth <= 0;
  };
  addEventListener("dragenter", () => show(1));
  addEventListener("dragleave", () => show(-1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    show(0);
    open(picked([...event.dataTransfer.files]));
  });
}
