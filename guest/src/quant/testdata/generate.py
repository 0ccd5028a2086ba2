"""Writes NAME.bin (blocks of random bits with sane scales) and NAME.f32 (what gguf-py makes of them) beside itself.

Run with the PyPI packages gguf and numpy: python generate.py
"""

from pathlib import Path

import gguf
import numpy as np

# Where each block has f16 numbers, in bytes from its start: random bits there would mostly be absurd numbers.
HALVES = {
    "BF16": [], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82],
    "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0],
}

for name, halves in HALVES.items():
    rng = np.random.default_rng(list(name.encode()))
    ty = gguf.GGMLQuantizationType[name]
    block_len, block_bytes = gguf.GGML_QUANT_SIZES[ty]
    blocks = rng.integers(0, 256, (512 // block_len, block_bytes), dtype=np.uint8)
    if name == "BF16":
        blocks = (rng.standard_normal(512).astype("<f4").view("<u4") >> 16).astype("<u2").view(np.uint8)
    for at in halves:
        scale = rng.uniform(-2, 2, len(blocks)).astype("<f2")
        blocks[:, at:at + 2] = scale.view(np.uint8).reshape(-1, 2)
    values = gguf.quants.dequantize(blocks.reshape(1, -1), ty)
    assert values.size == 512 and np.isfinite(values).all()
    here = Path(__file__).parent
    (here / f"{name}.bin").write_bytes(blocks.tobytes())
    (here / f"{name}.f32").write_bytes(values.astype("<f4").tobytes())
