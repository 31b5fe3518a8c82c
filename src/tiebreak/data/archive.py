"""Read named files out of a .tar.gz without unpacking it to the disk."""

import gzip
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from tiebreak.errors import DataError

SPARE = 4 << 20  # bytes of headers and small other files (a readme) that an archive may hold on top
CHUNK = 1 << 20


class _Limited:
    """A stream that refuses to give more than `limit` bytes, whatever an archive announces."""

    def __init__(self, stream: gzip.GzipFile, limit: int) -> None:
        self.stream, self.left = stream, limit

    def read(self, size: int) -> bytes:
        if size > self.left:
            raise _TooLargeError
        content = self.stream.read(size)
        self.left -= len(content)
        return content


class _TooLargeError(Exception):
    """An archive unpacks to more than its format can hold."""


def read_members(path: Path, wanted: Mapping[str, int]) -> dict[str, bytes]:
    """The content of some members of a .tar.gz, by full member name; those not there are left out.

    `wanted` gives the largest size in bytes of each. The whole archive is looked at: it may hold
    nothing but plain files and folders below it.

    Raises: DataError if it is damaged, holds a link, device, absolute or climbing path, or is too large.
    """
    found: dict[str, bytes] = {}
    limit = sum(wanted.values()) + SPARE
    try:
        with gzip.open(path) as stream:
            limited = _Limited(stream, limit)
            with tarfile.open(fileobj=limited, mode="r|") as tar:  # type: ignore[call-overload]
                for member in tar:
                    _check_member(path, member)
                    if member.size > limited.left:  # tarfile would look for its end, past that of the file
                        raise _TooLargeError
                    if member.isfile() and member.name in wanted:
                        found[member.name] = _read_member(path, tar, member, wanted[member.name])
            while limited.read(CHUNK):  # to the end, where gzip keeps its checksum
                pass
    except _TooLargeError:
        raise DataError(
            f"{path.name}: unpacks to more than the {limit:,} bytes that its format can hold. "
            "Take the official file."
        ) from None
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, OverflowError, MemoryError) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
        raise DataError(
            f"{path.name}: expected a whole .tar.gz archive, found a damaged one "
            f"({path.stat().st_size:,} bytes). Delete it and fetch it again."
        ) from None
    return found


def _check_member(path: Path, member: tarfile.TarInfo) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        raise DataError(f"{path.name}: refused, it holds the path {member.name!r} outside of its own folder.")
    if not (member.isfile() or member.isdir()) or member.issparse():
        raise DataError(f"{path.name}: refused, {member.name!r} in it is a link or device, not a plain file.")


def _read_member(path: Path, tar: tarfile.TarFile, member: tarfile.TarInfo, largest: int) -> bytes:
    if member.size > largest:
        raise DataError(
            f"{path.name}: {member.name!r} in it has {member.size:,} bytes, expected at most {largest:,}."
        )
    file = tar.extractfile(member)
    if file is None:
        raise EOFError
    content = file.read()
    if len(content) != member.size:
        raise EOFError
    return content
