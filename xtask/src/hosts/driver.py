"""Asks gust in Python, through the class of `examples/python`, for what every host is asked; prints one line of JSON.

    python driver.py gust-solo.wasm models/gust-stories-q8_0.gguf "Once upon a time"

The speed is the median of five answers after the first one.
"""

import json
import platform
import statistics
import sys
import time
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "examples/python"))

from gust import Gust  # noqa: E402

component, model, prompt = sys.argv[1:]
gust = Gust(component, model)
texts, speeds = set(), []
for _ in range(6):
    pieces, start = [], None
    for piece in gust.generate(prompt, seed=42, max_tokens=64):
        # The prompt was fed and the first token came.
        start = start or time.perf_counter()
        pieces.append(piece)
    texts.add("".join(pieces))
    # The last piece is the end, the time of the first token is not known.
    speeds.append((len(pieces) - 2) / (time.perf_counter() - start))
if len(texts) != 1:
    sys.exit(f"error: the answers differ among themselves: {texts}")
print(
    json.dumps(
        {
            "host": "Python",
            "version": f"{version('wasmtime')}, Python {platform.python_version()}",
            "build": "relaxed",
            "text": texts.pop(),
            "tokens_per_second": statistics.median(speeds[1:]),
            "notes": "`examples/python`, `gust-solo.wasm`",
        }
    )
)
