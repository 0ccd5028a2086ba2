"""Writes NAME.bin (blocks of random bits with sane scales) and NAME.f32 (what gguf-py makes of them) beside itself, and
NAME.grid: gguf-py's codebooks, a byte per weight.

gguf-py cannot read Q1_0 and Q2_0: their values are computed here, from the definition in ggml's ggml-common.h.

Run with the PyPI packages gguf (0.19) and numpy: python generate.py
"""

from pathlib import Path

import gguf
import numpy as np

# Where each block has f16 numbers, in bytes from its start: random bits there would mostly be absurd numbers.
HALVES = {
    "BF16": [], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82],
    "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0],
    "IQ3_S": [0], "IQ3_XXS": [0], "IQ2_S": [0], "IQ2_XS": [0], "IQ2_XXS": [0], "IQ1_M": [], "IQ1_S": [0],
    "TQ2_0": [64], "TQ1_0": [52], "Q2_0": [0], "Q1_0": [0], "MXFP4": [], "NVFP4": [],
}

# What gguf-py cannot read: elements and bytes per block, bits per weight, and the weight is (quant - zero) * step * scale.
OWN = {"Q1_0": (128, 18, 1, 0.5, 2), "Q2_0": (64, 18, 2, 1, 1)}

CODEBOOKS = ["IQ3_S", "IQ3_XXS", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_S"]


def own_values(blocks, bits, zero, step):
    """Of blocks with an f16 scale, and then quants of so many bits each, the first in the lowest bits."""
    scales = blocks[:, :2].copy().view("<f2").astype(np.float32)
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    quants = blocks[:, 2:, None] >> shifts & (1 << bits) - 1
    return scales * ((quants.reshape(len(blocks), -1).astype(np.float32) - np.float32(zero)) * np.float32(step))


here = Path(__file__).parent
for name, halves in HALVES.items():
    rng = np.random.default_rng(list(name.encode()))
    if name in OWN:
        block_len, block_bytes = OWN[name][:2]
    else:
        ty = gguf.GGMLQuantizationType[name]
        block_len, block_bytes = gguf.GGML_QUANT_SIZES[ty]
    blocks = rng.integers(0, 256, (512 // block_len, block_bytes), dtype=np.uint8)
    if name == "BF16":
        blocks = (rng.standard_normal(512).astype("<f4").view("<u4") >> 16).astype("<u2").view(np.uint8)
    for at in halves:
        scale = rng.uniform(-2, 2, len(blocks)).astype("<f2")
        blocks[:, at:at + 2] = scale.view(np.uint8).reshape(-1, 2)
    if name == "IQ1_M":
        # Four bits of the scale in the highest bits of each number of `scales`.
        scale = rng.uniform(-2, 2, len(blocks)).astype("<f2").view("<u2")
        for i in range(4):
            high = (scale >> 4 * i & 15).astype(np.uint8) << 4
            blocks[:, 49 + 2 * i] = blocks[:, 49 + 2 * i] & 15 | high
    if name == "MXFP4":
        blocks[:, 0] = rng.integers(120, 132, len(blocks))
    if name in OWN:
        values = own_values(blocks, *OWN[name][2:])
    else:
        values = gguf.quants.dequantize(blocks.reshape(1, -1), ty)
    assert values.size == 512 and np.isfinite(values).all()
    (here / f"{name}.bin").write_bytes(blocks.tobytes())
    (here / f"{name}.f32").write_bytes(values.astype("<f4").tobytes())

for name in CODEBOOKS:
    codebook = getattr(gguf.quants, name)
    codebook.init_grid()
    (here / f"{name}.grid").write_bytes(codebook.grid.astype(np.int8).tobytes())
