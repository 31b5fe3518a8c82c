"""A pickle can run code: nothing but the official files is opened, and they get three names of NumPy."""

import hashlib
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import python_2
from tiebreak.data.unpickle import read_official_pickle
from tiebreak.errors import DataError


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


DATA = np.arange(200, 224, dtype=np.uint8).reshape(2, 12)
OFFICIAL = python_2.dumps({"data": DATA, "labels": [3, 1], "filenames": ["a.png", "\xfc.png"]})


def test_reads_what_python_2_wrote():
    value = read_official_pickle(OFFICIAL, md5(OFFICIAL), "batch")
    assert np.array_equal(value["data"], DATA) and value["data"].dtype == np.uint8
    assert value["labels"] == [3, 1] and value["filenames"] == ["a.png", "\xfc.png"]


def refused(content):
    with pytest.raises(DataError, match=r"^data_batch_3: not the official file .* pickle is not opened") as e:
        read_official_pickle(content, md5(OFFICIAL), "data_batch_3")
    assert len(str(e.value).splitlines()) == 1


FOREIGN = {
    "empty": b"",
    "web page": b"<!DOCTYPE html><html></html>",
    "cut short": OFFICIAL[:-20],
    "longer": OFFICIAL + b"x",
    "another data set": python_2.dumps({"data": DATA[:1], "labels": [3]}),
    "written by Python 3": pickle.dumps({"data": DATA}),
    "huge memo number": b"\x80\x02}r\xff\xff\xff\x7f.",
    "huge announced bytes": b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7fabc.",
    "huge array": b"cnumpy\nndarray\n(I1000000000000\ntR.",
    "nested tuples": b"\x80\x02})q\x00"
    + b"".join(b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(40))
    + b"K\x01s.",
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_what_is_not_official_is_refused_in_one_line(content):
    refused(content)


def test_a_pickle_that_calls_the_shell_is_never_opened(tmp_path):
    mark = tmp_path / "mark"
    refused(pickle.dumps({"data": Calls(os.system, f"touch {mark}")}))
    assert not mark.exists()


@given(st.binary(max_size=300))
def test_random_bytes_are_refused(content):
    refused(content)


@given(
    st.lists(st.tuples(st.integers(0, 2_000), st.integers(1, 255)), min_size=1, max_size=6),
    st.integers(0, 30),
)
def test_mutated_pickles_are_refused(changes, cut):
    content = bytearray(OFFICIAL[: len(OFFICIAL) - cut])
    for position, change in changes:
        content[position % len(content)] ^= change
    if bytes(content) != OFFICIAL:
        refused(bytes(content))


# The second wall, as if a foreign file had the right sum.
NAMES = {
    "the shell": b"cposix\nsystem\n(S'true'\ntR.",
    "eval": b"cbuiltins\neval\n(S'1+1'\ntR.",
    "torch": b"ctorch\nload\n(S'x'\ntR.",
    "an attribute of what is allowed": b"\x80\x04\x8c\x05numpy\x8c\x0dndarray.dumps\x93.",
    "an instance": b"(ios\nsystem\n.",
    "NumPy's loader": b"cnumpy\nload\n(S'x'\ntR.",
}


@pytest.mark.parametrize("content", NAMES.values(), ids=NAMES)
def test_no_other_name_is_given_to_a_pickle(content):
    with pytest.raises(pickle.UnpicklingError, match="is not for pickles"):
        read_official_pickle(content, md5(content), "batch")


def test_a_module_that_a_pickle_names_is_not_imported():
    program = (
        "import sys, pickle, hashlib; from tiebreak.data.unpickle import read_official_pickle\n"
        "content = b'cantigravity\\ngeohash\\n.'\n"
        "try: read_official_pickle(content, hashlib.md5(content).hexdigest(), 'batch')\n"
        "except pickle.UnpicklingError: print('antigravity' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"
