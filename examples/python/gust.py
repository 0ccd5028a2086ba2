"""gust in Python: the PyPI package `wasmtime` and gust-solo.wasm, nothing else.

    cargo xtask compose            # once: makes gust-solo.wasm
    pip install wasmtime           # 50.0.1 is what it was tried with
    python examples/python/gust.py target/components/gust-solo.wasm models/gust-stories-q8_0.gguf "Once upon a time"

In a program of your own:

    from gust import Gust
    for text in Gust("gust-solo.wasm", "model.gguf").generate("Once upon a time", max_tokens=100, seed=42):
        print(text, end="", flush=True)
"""

import codecs
import os
import sys
from types import SimpleNamespace

from wasmtime import Engine, Store, WasiConfig
from wasmtime.component import Component, Linker, Variant


class Options(SimpleNamespace):
    """A record of the contract whose fields may be absent: `max_tokens=8` is its field `max-tokens`."""

    def __getattr__(self, field):
        return self.__dict__.get(field.replace("-", "_"))


class Gust:
    """A model in an instance of the engine."""

    def __init__(self, component, model):
        engine = Engine()
        self.store = Store(engine)
        wasi = WasiConfig()
        # The engine reads the file itself, through WASI: bytes that pass through Python cost microseconds each.
        folder, file = os.path.split(model)
        wasi.preopen_dir(folder or ".", "models", fs_mutable=False)
        wasi.inherit_stderr()
        self.store.set_wasi(wasi)
        linker = Linker(engine)
        linker.add_wasip2()
        self.instance = linker.instantiate(self.store, Component.from_file(engine, component))
        self.interface = self.instance.get_export_index(self.store, "gust:llm/engine@0.1.0")
        self.functions = {}
        self.model = self.call("load-model", "models/" + file, Options())

    def call(self, name, *args):
        """Calls a function of the interface; raises what it answers as an error."""
        if name not in self.functions:
            index = self.instance.get_export_index(self.store, name, self.interface)
            self.functions[name] = self.instance.get_func(self.store, index)
        function = self.functions[name]
        answer = function(self.store, *args)
        function.post_return(self.store)
        # A result whose two cases Python can tell apart comes as the value itself.
        if isinstance(answer, Variant) and answer.tag == "ok":
            return answer.payload
        if isinstance(answer, Variant) and answer.tag != "token" and answer.tag != "finished":
            error = answer.payload if answer.tag == "err" else answer
            details = getattr(error.payload, "__dict__", error.payload)
            raise RuntimeError(f"{error.tag}: {details}")
        return answer

    def generate(self, prompt, **options):
        """The text that follows on a prompt, a piece at a time."""
        tokens = self.call("[method]model.tokenize", self.model, prompt, Options())
        session = self.call("[method]model.new-session", self.model, Options())
        self.call("[method]session.configure", session, Options(**options))
        while tokens:
            tokens = tokens[self.call("[method]session.feed", session, tokens):]
        # A character may span two tokens.
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while True:
            event = self.call("[method]session.next-token", session)
            ended = event.tag == "finished"
            yield decoder.decode(bytes(event.payload.bytes), final=ended)
            if ended:
                break
        session.drop(self.store)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: gust.py COMPONENT MODEL PROMPT")
    component, model, prompt = sys.argv[1:]
    print(prompt, end="", flush=True)
    for text in Gust(component, model).generate(prompt, max_tokens=100, seed=42):
        print(text, end="", flush=True)
    print()
