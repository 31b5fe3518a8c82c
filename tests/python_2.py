"""Pickles as Python 2 wrote them, which is how CIFAR is published: texts are byte strings, arrays name
NumPy's old module.
"""

import struct
from typing import Any

import numpy as np

ARRAY = (
    b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    b"(K\x01%bcnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89%btb"
)


def dumps(value: dict[str, Any]) -> bytes:
    """A dictionary of arrays of bytes, lists, strings and whole numbers from 0."""
    return b"\x80\x02" + piece(value) + b"."


def piece(value: Any) -> bytes:
    if isinstance(value, dict):
        return b"}(" + b"".join(piece(key) + piece(entry) for key, entry in value.items()) + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(piece, value)) + b"e"
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, np.ndarray):
        shape = b"(" + b"".join(map(piece, value.shape)) + b"t"
        return ARRAY % (shape, piece(value.tobytes()))
    content = value.encode("latin1") if isinstance(value, str) else value
    return b"T" + struct.pack("<i", len(content)) + content
