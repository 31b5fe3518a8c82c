"""Downloads from mirrors that may lie, stall and break.

A file is asked from one mirror after the other. What arrives is kept in NAME.part, so that the next
mirror, or the next start, goes on from there; it becomes NAME only when size and SHA-256 are right.
"""

import hashlib
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tiebreak.errors import DataError
from tiebreak.files import sync_file, sync_folder

if TYPE_CHECKING:
    import httpx

Progress = Callable[[str, int, int], None]  # name of the file, bytes there, bytes in all


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file whose content is known before it is there."""

    name: str
    size: int  # bytes
    sha256: str
    urls: tuple[str, ...]  # mirrors, the best first


@dataclass(frozen=True, kw_only=True)
class Patience:
    """When a mirror is left for the next one."""

    stall: float = 15.0  # seconds without a byte, or to connect
    window: float = 10.0  # seconds over which speed is measured
    fast: int = 200_000  # bytes a second: below it, the next mirror is tried
    least: int = 10_000  # bytes a second: when no mirror was fast, a slow one is put up with down to this


class _MirrorError(Exception):
    """Why a mirror was left; `slow` if it only took long."""

    def __init__(self, why: str, *, slow: bool = False) -> None:
        super().__init__(why)
        self.slow = slow


def fetch_file(
    file: RemoteFile, folder: Path, *, progress: Progress | None = None, patience: Patience | None = None
) -> Path:
    """The path of the file in `folder`, downloaded unless it is there with the right content.

    Redirects are followed, but not from https to http; the content is checked wherever it came from.

    Raises: DataError (which names what was tried) if no mirror gave the right file, or if `folder`
    cannot be written.
    """
    target = folder / file.name
    try:
        if target.is_file() and _is_right(target, file):
            return target
        folder.mkdir(parents=True, exist_ok=True)
        failures = _try_mirrors(file, target, progress, patience or Patience())
    except OSError as error:
        raise DataError(f"{file.name} could not be kept in {folder} ({error.strerror}).") from None
    if failures:
        tried = "; ".join(f"{url}: {why}" for url, why in failures.items())
        raise DataError(
            f"{file.name} could not be downloaded ({tried}). Try again, which goes on where it stopped, "
            "or get the file by hand and name its folder with --data-dir."
        )
    return target


def _try_mirrors(
    file: RemoteFile, target: Path, progress: Progress | None, patience: Patience
) -> dict[str, str]:
    """Why each mirror failed; empty if the file is in place."""
    part = target.with_name(f"{file.name}.part")
    failures: dict[str, str] = {}
    slow: list[str] = []
    for url in file.urls:
        try:
            _from_mirror(url, file, part, progress, patience, patience.fast)
            return _put_in_place(part, target)
        except _MirrorError as error:
            failures[url] = str(error)
            slow += [url] if error.slow else []
    for url in slow:
        try:
            _from_mirror(url, file, part, progress, patience, patience.least)
            return _put_in_place(part, target)
        except _MirrorError as error:
            failures[url] = str(error)
    return failures


def _put_in_place(part: Path, target: Path) -> dict[str, str]:
    part.replace(target)
    sync_folder(target.parent)
    return {}


def _from_mirror(
    url: str, file: RemoteFile, part: Path, progress: Progress | None, patience: Patience, floor: int
) -> None:
    """Complete `part` from one mirror and check it; from the start if its head turns out to be wrong."""
    started_with = _size(part)
    if started_with > file.size:
        part.unlink()
    if _size(part) < file.size:
        _download(url, file, part, progress, patience, floor)
    if _is_right(part, file):
        return
    part.unlink()
    if started_with:
        _from_mirror(url, file, part, progress, patience, floor)
        return
    raise _MirrorError("the right size but wrong content (SHA-256 differs)")


def _download(
    url: str, file: RemoteFile, part: Path, progress: Progress | None, patience: Patience, floor: int
) -> None:
    """Append to `part` until it has the size of the file. Raises: _MirrorError, OSError."""
    there = _size(part)
    with _asking(url, there, patience.stall) as response:
        there = _check_answer(response, file, there)
        speed = _SpeedCheck(patience.window, floor)
        with part.open("r+b" if there else "wb") as output:
            output.truncate(there)
            output.seek(there)
            try:
                for chunk in response.iter_raw():
                    there += len(chunk)
                    if there > file.size:
                        break
                    output.write(chunk)
                    if progress:
                        progress(file.name, there, file.size)
                    speed.count(len(chunk))
            finally:
                sync_file(output)
    if there > file.size:
        part.unlink()
        raise _MirrorError(f"more than the expected {file.size:,} bytes")
    if there < file.size:
        raise _MirrorError(f"ended after {there:,} of {file.size:,} bytes")


@contextmanager
def _asking(url: str, offset: int, stall: float) -> "Iterator[httpx.Response]":
    """The answer of a mirror, its body not yet read; network errors within become `_MirrorError`."""
    generator = random.getstate()
    import httpx  # costs 0.1 s and is needed by nothing else; its import draws from the global generator

    random.setstate(generator)

    headers = {"Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    try:
        with (
            httpx.Client(follow_redirects=True, max_redirects=5, timeout=stall) as client,
            client.stream("GET", url, headers=headers) as response,
        ):
            yield response
    except httpx.TimeoutException:
        raise _MirrorError(f"nothing came for {stall:g} s") from None
    except httpx.TooManyRedirects:
        raise _MirrorError("redirects without end") from None
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise _MirrorError(f"connection failed or broke off ({type(error).__name__})") from None


def _check_answer(response: "httpx.Response", file: RemoteFile, offset: int) -> int:
    """The offset at which the body of the answer starts. Raises: _MirrorError if it cannot be the file."""
    urls = [answer.url for answer in (*response.history, response)]
    if urls[0].scheme == "https" and any(url.scheme != "https" for url in urls):
        raise _MirrorError("redirects to an address without encryption")
    if response.status_code not in (200, 206, 416):
        raise _MirrorError(f"HTTP status {response.status_code}")
    kind = response.headers.get("Content-Type", "")
    if kind.startswith("text/html"):
        raise _MirrorError("a web page instead of the file")
    if response.status_code == 416:
        raise _MirrorError("cannot go on from what is there")
    start = 0
    if response.status_code == 206:
        start = offset
        if not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
            raise _MirrorError("another part of the file than asked for")
    announced = response.headers.get("Content-Length")
    if announced is not None and announced != str(file.size - start):
        raise _MirrorError(f"announces {announced} bytes, expected {file.size - start}")
    return start


class _SpeedCheck:
    """Raises `_MirrorError` when fewer than `floor` bytes a second came over a window."""

    def __init__(self, window: float, floor: int) -> None:
        self.window, self.floor = window, floor
        self.start, self.received = time.monotonic(), 0

    def count(self, size: int) -> None:
        self.received += size
        elapsed = time.monotonic() - self.start
        if elapsed < self.window:
            return
        if self.received / elapsed < self.floor:
            raise _MirrorError(f"slower than {self.floor / 1000:g} kB/s", slow=True)
        self.start, self.received = time.monotonic(), 0


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _is_right(path: Path, file: RemoteFile) -> bool:
    if _size(path) != file.size:
        return False
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest() == file.sha256
