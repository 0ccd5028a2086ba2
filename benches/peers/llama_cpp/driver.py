"""Measures llama.cpp through its C interface: python driver.py MODEL THREADS CONTEXT. See ../README.md.

The settings are llama.cpp's own defaults; only threads and the context's length are set. With `no-repack` behind these, it
does not repack weights while it loads, as if built with GGML_CPU_REPACK=OFF. With `first-token`, it instead says how long it
takes from here to the first token of a short prompt.
"""

import ctypes
import json
import os
import resource
import sys
import time

import llama_cpp as ll
import numpy as np

# Where a program written in C would begin: what Python and numpy took until here is not llama.cpp's.
START = time.perf_counter()
BEFORE = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@ll.llama_log_callback
def quiet(_level, _text, _data):
    pass


def say(**answer):
    print(json.dumps(answer), flush=True)


class Session:
    """A loaded model and one sequence of tokens."""

    def __init__(self, path, threads, context, options):
        model_params = ll.llama_model_default_params()
        model_params.use_extra_bufts = "no-repack" not in options
        self.model = ll.llama_model_load_from_file(path.encode(), model_params)
        if not self.model:
            raise RuntimeError(f"llama.cpp does not load {path}")
        params = ll.llama_context_default_params()
        params.n_ctx = context
        params.n_threads = params.n_threads_batch = self.threads = threads
        self.ctx = ll.llama_init_from_model(self.model, params)
        self.batch_size = params.n_batch
        self.vocab = ll.llama_model_get_vocab(self.model)
        self.n_vocab = ll.llama_vocab_n_tokens(self.vocab)
        self.used = 0

    def truncate(self, length):
        ll.llama_memory_seq_rm(ll.llama_get_memory(self.ctx), 0, length, -1)
        self.used = length

    def feed(self, tokens):
        for at in range(0, len(tokens), self.batch_size):
            part = tokens[at : at + self.batch_size]
            array = (ll.llama_token * len(part))(*part)
            if ll.llama_decode(self.ctx, ll.llama_batch_get_one(array, len(part))) != 0:
                raise RuntimeError("llama_decode failed")
            self.used += len(part)
        ll.llama_synchronize(self.ctx)

    def best(self):
        """The most probable next token."""
        logits = ll.llama_get_logits_ith(self.ctx, -1)
        return int(np.argmax(np.ctypeslib.as_array(logits, (self.n_vocab,))))

    def filler(self, count):
        return [(i * 7919) % self.n_vocab for i in range(count)]

    def prefill(self, count):
        self.truncate(0)
        tokens = self.filler(count)
        start = time.perf_counter()
        self.feed(tokens)
        return time.perf_counter() - start

    def decode(self, count, depth):
        depth = max(depth, 1)
        self.truncate(min(self.used, depth))
        if self.used < depth:
            # Not timed, so all processors may help.
            cores = len(os.sched_getaffinity(0))
            ll.llama_set_n_threads(self.ctx, self.threads, cores)
            self.feed(self.filler(depth)[self.used :])
            ll.llama_set_n_threads(self.ctx, self.threads, self.threads)
        else:
            # Computed again, for its logits.
            self.truncate(depth - 1)
            self.feed(self.filler(depth)[-1:])
        token = self.best()
        start = time.perf_counter()
        for _ in range(count):
            self.feed([token])
            token = self.best()
        return time.perf_counter() - start


def main():
    path, threads, context = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    ll.llama_log_set(quiet, ctypes.c_void_p(0))
    ll.llama_backend_init()
    options = sys.argv[4:]
    session = Session(path, threads, context, options)
    if "first-token" in options:
        prompt = b"Once upon a time"
        tokens = (ll.llama_token * 32)()
        count = ll.llama_tokenize(session.vocab, prompt, len(prompt), tokens, 32, True, False)
        session.feed(list(tokens)[:count])
        session.best()
        say(seconds=time.perf_counter() - START)
        return
    load_ms = 1000 * (time.perf_counter() - START)
    features = [name.split(" = ")[0] for name in ll.llama_print_system_info().decode().strip(" |").split(" | ")]
    repacking = ", without repacking" if "no-repack" in options else ""
    version = f"llama.cpp of llama-cpp-python {ll.__version__} ({', '.join(features)}){repacking}"
    say(ready=True, version=version, load_ms=load_ms, before_bytes=BEFORE)
    for line in sys.stdin:
        match line.split():
            case ["prefill", count]:
                say(seconds=session.prefill(int(count)))
            case ["decode", count, depth]:
                say(seconds=session.decode(int(count), int(depth)))
            case _:
                say(error=f"expected prefill or decode, found {line!r}")


main()
