// The package as others see it: the README's example, the types, what a program needs to end.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import test from "node:test";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import * as gustLlm from "gust-llm";
import { gust, readmeExample, withModel } from "./helpers.mjs";

const path = (name) => fileURLToPath(new URL(name, import.meta.url));

test("the README's example for Node runs as it stands there, and the program ends by itself", () => {
  const { stdout, stderr, status } = spawnSync(process.execPath, ["--input-type=module", "-e", readmeExample("js")], {
    cwd: path(".."),
    encoding: "utf8",
    timeout: 30_000,
  });
  assert.equal(stderr, "");
  assert.equal(status, 0);
  assert.equal(stdout, gust("run", "--quiet", "--no-echo", "--seed", "42", "-n", "100", "Once upon a time").join("\n"));
});

test("the types hold for a program that uses them", () => {
  const program = ts.createProgram([path("usage.ts")], {
    strict: true,
    noEmit: true,
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    lib: ["lib.es2022.d.ts", "lib.dom.d.ts"],
    types: [],
  });
  const host = { getCanonicalFileName: (name) => name, getCurrentDirectory: () => path(".."), getNewLine: () => "\n" };
  assert.equal(ts.formatDiagnostics(ts.getPreEmitDiagnostics(program), host), "");
});

test("everything that the types promise is there, and nothing else", async () => {
  const source = ts.createSourceFile(
    "index.d.ts",
    readFileSync(path("../src/index.d.ts"), "utf8"),
    ts.ScriptTarget.ES2022,
  );
  // A method with several signatures is one.
  const members = (name) => {
    const { members } = source.statements.find((statement) => statement.name?.text === name);
    return [...new Set(members.map((member) => member.name.text))].sort();
  };
  const names = (object) =>
    [...Object.keys(object), ...Object.getOwnPropertyNames(Object.getPrototypeOf(object))]
      .filter((name) => name !== "constructor")
      .sort();
  await withModel({}, async (model) => {
    assert.deepEqual(names(model), members("Model"));
    assert.deepEqual(names(await model.session()), members("Session"));
    const info = Object.keys(model.info).sort();
    assert.deepEqual(info, members("ModelInfo"));
    assert.deepEqual(Object.keys(await (await model.session()).usage()).sort(), members("Usage"));
  });
  assert.deepEqual(Object.keys(gustLlm).sort(), ["GustError", "load"]);
});
