import gzip
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiebreak.data.archive import read_members
from tiebreak.errors import DataError

WANTED = {"set/data": 1_000, "set/names": 100}


def info(name, kind=tarfile.REGTYPE, size=0, link=""):
    member = tarfile.TarInfo(name)
    member.type, member.size, member.linkname = kind, size, link
    return member


def packed(*members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for member, content in members:
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def plain():
    return packed(
        (info("set", tarfile.DIRTYPE), b""),
        (info("set/readme", size=2), b"hi"),
        (info("set/data", size=4), b"data"),
    )


def read(tmp_path, content):
    path = tmp_path / "set.tar.gz"
    path.write_bytes(content)
    return read_members(path, WANTED)


def test_reads_the_named_members_and_leaves_the_others(tmp_path):
    assert read(tmp_path, plain()) == {"set/data": b"data"}
    assert [path.name for path in tmp_path.iterdir()] == ["set.tar.gz"]


def corrupted():
    content = bytearray(plain())
    content[-6] ^= 1  # of the checksum at gzip's end
    return bytes(content)


def bomb():
    """50 MB of zeros that gzip makes small."""
    return packed((info("set/readme", size=50_000_000), bytes(50_000_000)))


def announcing(size):
    """A member's header that announces a size, and nothing behind it."""
    return gzip.compress(info("set/readme", size=size).tobuf())


HOSTILE = {
    "absolute path": (packed((info("/etc/passwd"), b"")), "refused, it holds the path '/etc/passwd' outside"),
    "climbing path": (packed((info("set/../../x"), b"")), "refused, it holds the path 'set/../../x' outside"),
    "symbolic link": (packed((info("set/data", tarfile.SYMTYPE, link="/etc/passwd"), b"")), "link or device"),
    "hard link": (packed((info("set/data", tarfile.LNKTYPE, link="set/names"), b"")), "link or device"),
    "device": (packed((info("set/data", tarfile.CHRTYPE), b"")), "link or device"),
    "pipe": (packed((info("set/data", tarfile.FIFOTYPE), b"")), "link or device"),
    "line break in a name": (packed((info("set/\n/../x"), b"")), r"'set/\\n/../x'"),
    "too large a member": (
        packed((info("set/names", size=101), bytes(101))),
        "has 101 bytes, expected at most 100",
    ),
    "a terabyte announced": (announcing(2**43), "unpacks to more than the 4,195,404 bytes"),
    "a gigabyte announced": (announcing(2**30), "unpacks to more than the 4,195,404 bytes"),
    "bomb": (bomb(), "unpacks to more than the 4,195,404 bytes"),
    "web page": (
        b"<html>not found</html>",
        "expected a whole .tar.gz archive, found a damaged one \\(22 bytes\\)",
    ),
    "empty file": (b"", "damaged one \\(0 bytes\\)"),
    "gzip of text": (gzip.compress(b"hello" * 500), "expected a whole .tar.gz archive"),
    "cut short": (plain()[:-30], "expected a whole .tar.gz archive"),
    "wrong checksum": (corrupted(), "expected a whole .tar.gz archive"),
}


@pytest.mark.parametrize(("content", "message"), HOSTILE.values(), ids=HOSTILE)
def test_refuses_in_one_line(tmp_path, content, message):
    with pytest.raises(DataError, match=message) as e:
        read(tmp_path, content)
    assert str(e.value).startswith("set.tar.gz: ") and len(str(e.value).splitlines()) == 1


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.tar\.gz: cannot be read \(No such file"):
        read_members(tmp_path / "gone.tar.gz", WANTED)


@given(
    st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 255)), min_size=1, max_size=8), st.booleans()
)
def test_mutated_archives_give_nothing_but_data_errors(tmp_path, changes, inside):
    content = bytearray(gzip.decompress(plain()) if inside else plain())
    for position, byte in changes:
        content[position % len(content)] = byte
    try:
        found = read(tmp_path, gzip.compress(content, 1) if inside else bytes(content))
    except DataError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert set(found) <= set(WANTED)
