import collections
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tiebreak.data.unpickle import read_pickle
from tiebreak.errors import DataError


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def batch(protocol=2, dtype=np.uint8):
    data = np.arange(24, dtype=dtype).reshape(2, 12)
    return pickle.dumps({b"data": data, b"labels": [3, 1], b"filenames": [b"a.png", "b.png"]}, protocol)


def by_python_2():
    """As Python 2 wrote it: byte strings for keys and content, NumPy's old module name."""
    content = bytes(range(200, 224))
    return (
        b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04"
        b"K\x00\x85q\x05U\x01bq\x06\x87q\x07Rq\x08(K\x01K\x02K\x0c\x86q\tcnumpy\ndtype\nq\nU\x02u1q\x0b"
        b"K\x00K\x01\x87q\x0cRq\r(K\x03U\x01|q\x0eNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x0fb\x89"
        b"U\x18" + content + b"q\x10tq\x11bU\x06labelsq\x12]q\x13(K\x03K\x01eu."
    )


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, ">i4"])
def test_reads_what_python_3_writes(protocol, dtype):
    value = read_pickle(batch(protocol, dtype), "batch")
    assert np.array_equal(value["data"], np.arange(24, dtype=dtype).reshape(2, 12))
    assert value["data"].dtype == np.dtype(dtype)
    assert value["labels"] == [3, 1] and value["filenames"] == [b"a.png", "b.png"]


def test_reads_what_python_2_wrote():
    value = read_pickle(by_python_2(), "batch")
    assert np.array_equal(value["data"], np.arange(200, 224, dtype=np.uint8).reshape(2, 12))
    assert value["labels"] == [3, 1]


def test_reads_fortran_order():
    data = np.asfortranarray(np.arange(6, dtype=np.uint8).reshape(2, 3))
    assert np.array_equal(read_pickle(pickle.dumps({"data": data}, 2), "batch")["data"], data)


def test_a_pickle_that_calls_the_shell_does_nothing_but_raise(tmp_path):
    mark = tmp_path / "mark"
    with pytest.raises(DataError, match=r"asks for '(posix|nt)\.system', which no CIFAR file needs"):
        read_pickle(pickle.dumps({"data": Calls(os.system, f"touch {mark}")}), "batch")
    assert not mark.exists()


def test_a_pickle_that_names_a_module_does_not_import_it():
    program = (
        "import sys; from tiebreak.data.unpickle import read_pickle; from tiebreak.errors import DataError\n"
        "try: read_pickle(b'cantigravity\\ngeohash\\n.', 'batch')\n"
        "except DataError: print('antigravity' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"


def test_a_pickle_that_asks_for_torch_is_refused():
    with pytest.raises(DataError, match=r"asks for 'torch\.load', which no CIFAR file needs"):
        read_pickle(b"ctorch\nload\n(S'x'\ntR.", "batch")


def nested_tuples():
    """Forty tuples, each twice in the next: as the key of a dictionary it would be hashed 2**40 times."""
    levels = b"".join(b"h%ch%c\x86q%c" % (level, level, level + 1) for level in range(40))
    return b"\x80\x02})q\x00" + levels + b"K\x01s."


MALFORMED = {
    "empty": b"",
    "text": b"hello, world",
    "web page": b"<!DOCTYPE html><html></html>",
    "cut short": batch()[:-20],
    "a list": pickle.dumps([1, 2]),
    "a number": pickle.dumps(7),
    "a set": pickle.dumps({"data": {1}}, 4),
    "a float": pickle.dumps({"data": 1.5}),
    "an ordered dictionary": pickle.dumps(collections.OrderedDict(a=1)),
    "a partial function": pickle.dumps(Calls(print, "x")),
    "eval": b"cbuiltins\neval\n(S'1+1'\ntR.",
    "an attribute path": b"\x80\x04\x8c\x05numpy\x8c\x0dndarray.dumps\x93.",
    "object array": pickle.dumps({"data": np.array([None, 1])}),
    "float array": pickle.dumps({"data": np.ones(3)}),
    "time array": pickle.dumps({"data": np.array(["2020-01-01"], "M8[D]")}),
    "number as key": pickle.dumps({1: 2}),
    "instance": b"(ios\nsystem\n.",
    "persistent id": b"Pname\n.",
    "extension": b"\x80\x02\x82\x01.",
    "huge memo number": b"\x80\x02}r\xff\xff\xff\x7f.",
    "huge announced bytes": b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7fabc.",
    "huge array": b"cnumpy\nndarray\n(I1000000000000\ntR.",
    "shape larger than content": batch().replace(b"K\x02K\x0c\x86", b"K\x02K\x0d\x86"),
    "array without content": b"\x80\x02}U\x04datacnumpy.core.multiarray\n_reconstruct\n)Rs.",
    "changes a stand-in": b"cnumpy\nndarray\n}S'call'\nS'x'\nsb.",
    "other encoding": b"\x80\x02}U\x04datac_codecs\nencode\nX\x01\x00\x00\x00aX\x04\x00\x00\x00zlib\x86Rs.",
    "odd escape": b"cos\\ystem\nx\n.",
    "nested tuples": nested_tuples(),
    "unhashable key": b"\x80\x02}]K\x01s.",
    "no end": b"\x80\x02}",
    "nothing on the stack": b".",
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
def test_anything_else_is_one_line_that_names_the_file(content):
    with pytest.raises(
        DataError, match=r"^data_batch_3: (expected a pickled dictionary|this pickle asks)"
    ) as e:
        read_pickle(content, "data_batch_3")
    assert len(str(e.value).splitlines()) == 1


def only_data_errors(content):
    try:
        value = read_pickle(content, "batch")
    except DataError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert isinstance(value, dict)


@given(st.binary(max_size=300))
@example(b"\x80\x02}(K\x01u.")
def test_random_bytes_give_nothing_but_data_errors(content):
    only_data_errors(content)


VALID = [by_python_2(), *(batch(protocol) for protocol in range(5))]


@given(
    st.sampled_from(VALID),
    st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(0, 30),
)
def test_mutated_pickles_give_nothing_but_data_errors(valid, changes, cut):
    content = bytearray(valid[: len(valid) - cut])
    for position, byte in changes:
        content[position % len(content)] = byte
    only_data_errors(bytes(content))
