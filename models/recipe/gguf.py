"""GGUF version 3, as much of it as the recipe needs: write a file, read it back, and the two block formats.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Little-endian; strings are a u64 length and bytes.
"""

import struct
from pathlib import Path
from typing import Any

import numpy as np

ALIGNMENT = 32
U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9  # value types
TENSOR_F32, TENSOR_Q4_0, TENSOR_Q8_0 = 0, 2, 8  # ggml types
FORMATS = {U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}


def quantise(x: np.ndarray, kind: int) -> bytes:
    """Rows of f32 to blocks of 32: the reference rounding of ggml-quants.c."""
    if kind == TENSOR_F32:
        return x.astype("<f4").tobytes()
    blocks = x.astype(np.float32).reshape(-1, 32)
    if kind == TENSOR_Q8_0:
        d = np.abs(blocks).max(1, keepdims=True) / 127
        inverse = np.divide(1, d, out=np.zeros_like(d), where=d > 0)
        scaled = blocks * inverse
        q = np.trunc(scaled + np.copysign(0.5, scaled)).astype(np.int8)  # roundf: halves away from zero
        return np.concatenate([d.astype("<f2").view(np.uint8), q.view(np.uint8)], 1).tobytes()
    assert kind == TENSOR_Q4_0, f"unknown tensor type {kind}"
    extreme = np.take_along_axis(blocks, np.abs(blocks).argmax(1)[:, None], 1)
    d = extreme / -8
    inverse = np.divide(1, d, out=np.zeros_like(d), where=d != 0)
    q = np.minimum(15, (blocks * inverse + 8.5).astype(np.int8)).astype(np.uint8)
    return np.concatenate([d.astype("<f2").view(np.uint8), q[:, :16] | q[:, 16:] << 4], 1).tobytes()


def dequantise(data: bytes, kind: int, shape: tuple[int, ...]) -> np.ndarray:
    if kind == TENSOR_F32:
        return np.frombuffer(data, "<f4").reshape(shape)
    size = {TENSOR_Q8_0: 34, TENSOR_Q4_0: 18}[kind]
    blocks = np.frombuffer(data, np.uint8).reshape(-1, size)
    d = blocks[:, :2].copy().view("<f2").astype(np.float32)
    q = blocks[:, 2:]
    if kind == TENSOR_Q8_0:
        return (d * q.view(np.int8)).reshape(shape)
    return (d * (np.concatenate([q & 15, q >> 4], 1).astype(np.float32) - 8)).reshape(shape)


def size_of(kind: int, shape: tuple[int, ...]) -> int:
    count = int(np.prod(shape))
    return {TENSOR_F32: 4 * count, TENSOR_Q8_0: count // 32 * 34, TENSOR_Q4_0: count // 32 * 18}[kind]


def write(path: Path, metadata: list[tuple[str, int, Any]], tensors: list[tuple[str, int, np.ndarray]]) -> None:
    """`metadata` is (key, value type, value), where an array's value is (element type, list)."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    for key, kind, value in metadata:
        head += _string(key) + struct.pack("<I", kind) + _value(kind, value)
    data = b""
    for name, kind, x in tensors:
        # GGUF lists the fastest-running dimension first.
        dims = x.shape[::-1]
        head += _string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, len(data))
        data += _padded(quantise(x, kind))
    path.write_bytes(_padded(head) + data)


def read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Metadata and dequantised tensors."""
    raw = path.read_bytes()
    at = 0

    def take(form: str) -> Any:
        nonlocal at
        values = struct.unpack_from(form, raw, at)
        at += struct.calcsize(form)
        return values[0] if len(values) == 1 else values

    def text() -> str:
        nonlocal at
        length = take("<Q")
        at += length
        return raw[at - length : at].decode()

    def value(kind: int) -> Any:
        if kind == STRING:
            return text()
        if kind == ARRAY:
            element, count = take("<I"), take("<Q")
            return [value(element) for _ in range(count)]
        return take(FORMATS[kind])

    assert raw[:4] == b"GGUF" and struct.unpack_from("<I", raw, 4)[0] == 3, "not a GGUF of version 3"
    at = 8
    n_tensors, n_keys = take("<QQ")
    metadata = {text(): value(take("<I")) for _ in range(n_keys)}
    infos = []
    for _ in range(n_tensors):
        name, n_dims = text(), take("<I")
        dims = tuple(take("<Q") for _ in range(n_dims))
        infos.append((name, dims[::-1], take("<I"), take("<Q")))
    base = -(-at // ALIGNMENT) * ALIGNMENT
    tensors = {}
    for name, shape, kind, offset in infos:
        assert offset % ALIGNMENT == 0 and base + offset + size_of(kind, shape) <= len(raw), f"{name} is out of the file"
        tensors[name] = dequantise(raw[base + offset : base + offset + size_of(kind, shape)], kind, shape)
    return metadata, tensors


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(kind: int, value: Any) -> bytes:
    if kind == STRING:
        return _string(value)
    if kind == ARRAY:
        element, items = value
        return struct.pack("<IQ", element, len(items)) + b"".join(_value(element, item) for item in items)
    return struct.pack(FORMATS[kind], value)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % ALIGNMENT)
