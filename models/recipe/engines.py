"""What engines make of a file: the logits of gust and llama.cpp at every position of a text, against PyTorch's.

Both engines round activations to 8 bits, in blocks of 32 that share a scale, before each matrix product. An element is off
by up to half a step of max/127, that is max/440 root mean square; as the largest of 32 is two to four times their root mean
square, an activation, and so a dot product, is off by 0.5 to 0.9 percent, which we call 1. Each layer has two stages that
add to the stream (attention and the feed-forward part), and the output matrix is one more stage: 2 layers + 1 errors,
independent of each other, add up to sqrt(2 layers + 1) percent. That is the bound asserted on the root mean square of the
difference, in parts of the logits' standard deviation. Wrong arithmetic is off by far more: with the positions' pairs rotated
in another order, for example, by 37 percent (gust-tiny) to 71 percent (gust-stories).
"""

import json
import subprocess
from pathlib import Path

import numpy as np

STAGE = 0.01  # the error of one stage, see above
SURE = 6.0  # where the first choice leads the second by so many root mean squares of the difference, it must be the same


def agree(engine: str, logits: np.ndarray, ours: np.ndarray, layers: int) -> None:
    """Both are [length, vocab]."""
    difference = logits - ours
    rms = float(np.sqrt((difference**2).mean()))
    relative, bound = rms / float(ours.std()), STAGE * (2 * layers + 1) ** 0.5
    second, first = np.sort(ours, 1)[:, -2:].T
    same = logits.argmax(1) == ours.argmax(1)
    print(f"  {engine}: logits differ by {relative:.2%} of their spread (at most {bound:.2%} allowed), "
          f"{np.abs(difference).max():.3f} at most; top choice same {same.mean():.0%}")
    assert relative <= bound, f"{engine} and PyTorch differ by {relative:.2%} of the logits' spread, more than {bound:.2%}"
    assert same[first - second > SURE * rms].all(), f"{engine} has another top choice where PyTorch's is clear"


def check_gust(gust: Path, path: Path, ids: list[int], ours: np.ndarray, layers: int) -> None:
    """`gust logits` gives those after the last token, so it is asked once for each position."""
    if not gust.exists():
        print(f"  gust is not built at {gust}: not compared")
        return
    rows = []
    for end in range(1, len(ids) + 1):
        tokens = ",".join(map(str, ids[:end]))
        made = subprocess.run([gust, "logits", "--model", path, "--json", "--tokens", tokens], capture_output=True, text=True)
        assert made.returncode == 0, f"gust logits failed: {made.stderr}"
        rows.append(json.loads(made.stdout)["logits"])
    agree("gust", np.array(rows), ours, layers)


def check_llama_cpp(path: Path, text: str, ids: list[int], ours: np.ndarray, layers: int) -> None:
    try:
        from llama_cpp import Llama
    except ImportError:
        print("  llama-cpp-python is not installed: not compared")
        return
    engine = Llama(str(path), logits_all=True, n_ctx=512, verbose=False)
    assert engine.tokenize(text.encode(), add_bos=True) == ids, "llama.cpp makes other tokens"
    engine.eval(ids)
    agree("llama.cpp", np.array(engine.scores[: len(ids)]), ours, layers)
