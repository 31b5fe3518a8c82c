"""Downloads from mirrors that may lie, stall and break.

A file is asked from one mirror after the other. What arrives is kept in NAME.part, so that the next
mirror, or the next start, goes on from there; it becomes NAME only when size and SHA-256 are right. One
process at a time fetches a file; another waits for it.
"""

import hashlib
import logging
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from tiebreak.errors import DataError
from tiebreak.files import sync_file, sync_folder

if TYPE_CHECKING:
    import httpx

MAX_REDIRECTS = 5

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]  # what is done, how far it is, how far it goes


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

    stall: float = 15.0  # seconds to answer, all redirects together, and then without a byte of the file
    window: float = 10.0  # seconds over which speed is measured
    fast: int = 200_000  # bytes a second: below it, the next mirror is tried
    least: int = 10_000  # bytes a second: when no mirror was fast, a slow one is put up with down to this


class _MirrorError(Exception):
    """Why a mirror was left; `slow` if it only took long."""

    def __init__(self, why: str, *, slow: bool = False) -> None:
        super().__init__(why)
        self.slow = slow


class _CannotContinueError(_MirrorError):
    """A mirror does not go on from what is there."""


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
        if _is_right(target, file):
            return target
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(target):
            if _is_right(target, file):
                return target
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


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Wait until no other process fetches the file, and keep others waiting; a dead process keeps nobody."""
    lock = FileLock(target.with_name(f".{target.name}.lock"))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        log.warning("Another process is fetching %s; waiting for it.", target.name)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _try_mirrors(
    file: RemoteFile, target: Path, progress: Progress | None, patience: Patience
) -> dict[str, str]:
    """Why each mirror failed; empty if the file is in place."""
    part = target.with_name(f"{file.name}.part")
    failures: dict[str, str] = {}
    slow: list[str] = []
    for url, floor in chain(product(file.urls, [patience.fast]), ((url, patience.least) for url in slow)):
        try:
            _from_mirror(url, file, part, progress, patience, floor)
            part.replace(target)
            sync_folder(target.parent)
            return {}
        except _MirrorError as error:
            failures[url] = str(error)
            if error.slow and floor == patience.fast:
                slow.append(url)
    return failures


def _from_mirror(
    url: str, file: RemoteFile, part: Path, progress: Progress | None, patience: Patience, floor: int
) -> None:
    """Complete `part` from one mirror and check it; from the start if its head turns out to be wrong."""
    started_with = _size(part)
    if started_with > file.size:
        part.unlink()
    if _size(part) < file.size:
        with suppress(_CannotContinueError):
            _download(url, file, part, progress, patience, floor)
    if _is_right(part, file):
        return
    part.unlink(missing_ok=True)
    if started_with:
        _from_mirror(url, file, part, progress, patience, floor)
        return
    raise _MirrorError("the right size but wrong content (SHA-256 differs)")


def _download(
    url: str, file: RemoteFile, part: Path, progress: Progress | None, patience: Patience, floor: int
) -> None:
    """Append to `part` until it has the size of the file. Raises: _MirrorError, OSError."""
    there = _size(part)
    watch = _Watch(patience.stall)
    with _asking(url, there, watch) as response:
        there = _check_answer(response, file, there)
        speed = _SpeedCheck(patience.window, floor)
        with part.open("r+b" if there else "wb") as output:
            output.truncate(there)
            output.seek(there)
            try:
                for chunk in response.iter_raw():
                    there += len(chunk)
                    watch.hear()
                    if there > file.size:
                        break
                    output.write(chunk)
                    if progress:
                        progress(f"fetching {file.name} ({file.size / 2**20:,.0f} MiB)", there, file.size)
                    speed.count(len(chunk))
            finally:
                sync_file(output)
    if there > file.size:
        part.unlink()
        raise _MirrorError(f"more than the expected {file.size:,} bytes")
    if there < file.size:
        raise _MirrorError(f"ended after {there:,} of {file.size:,} bytes")


class _Watch:
    """One clock over a whole exchange: cuts the connection when nothing of the file comes, whatever else.

    A timeout for each read can be evaded by heads that come byte by byte, or by answers before the answer.
    """

    def __init__(self, patience: float) -> None:
        self.patience = patience  # seconds
        self.has_cut = False
        self._heard = time.monotonic()
        self._socket: socket.socket | None = None
        self._over = threading.Event()

    @contextmanager
    def watching(self) -> Iterator[None]:
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def hear(self) -> None:
        """Something of the file has come."""
        self._heard = time.monotonic()

    def note(self, event: str, details: dict[str, Any]) -> None:
        """Be told of each step of the exchange (httpcore's "trace"), to know its socket."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._socket = details["return_value"].get_extra_info("socket")
            if self.has_cut:
                self._cut()

    def _run(self) -> None:
        while not self._over.wait(max(0.0, self._heard + self.patience - time.monotonic())):
            if time.monotonic() - self._heard >= self.patience:
                self._cut()
                return

    def _cut(self) -> None:
        self.has_cut = True
        if self._socket is not None:
            with suppress(OSError):  # it has just been closed
                # Not the method of an encrypted socket, which would pull the state from under its reader.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


@contextmanager
def _asking(url: str, offset: int, watch: _Watch) -> "Iterator[httpx.Response]":
    """The answer of a mirror, its body not yet read; network errors within become `_MirrorError`."""
    generator = random.getstate()
    import httpx  # costs 0.1 s and is needed by nothing else; its import draws from the global generator

    random.setstate(generator)

    headers = {"Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    silence = f"nothing came for {watch.patience:g} s"
    try:
        with watch.watching(), httpx.Client(timeout=watch.patience) as client:
            request = client.build_request("GET", url, headers=headers, extensions={"trace": watch.note})
            with closing(_follow(client, request)) as response:
                yield response
    except httpx.TimeoutException:
        raise _MirrorError(silence) from None
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        why = silence if watch.has_cut else f"connection failed or broke off ({type(error).__name__})"
        raise _MirrorError(why) from None


def _follow(client: "httpx.Client", request: "httpx.Request") -> "httpx.Response":
    """The answer at the end of redirects, whose bodies are not read."""
    for _ in range(MAX_REDIRECTS + 1):
        response = client.send(request, stream=True)
        if response.next_request is None:
            return response
        response.close()
        if request.url.scheme == "https" and response.next_request.url.scheme != "https":
            raise _MirrorError("redirects to an address without encryption")
        request = response.next_request
    raise _MirrorError("redirects without end")


def _check_answer(response: "httpx.Response", file: RemoteFile, offset: int) -> int:
    """The offset at which the body of the answer starts. Raises: _MirrorError if it cannot be the file."""
    if response.status_code not in (200, 206, 416):
        raise _MirrorError(f"HTTP status {response.status_code}")
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise _MirrorError("a web page instead of the file")
    start = 0
    if response.status_code != 200:
        start = offset
        sent = response.headers.get("Content-Range", "")
        if response.status_code == 416 or not sent.startswith(f"bytes {offset}-"):
            why = "another part of the file than asked for"
            raise _CannotContinueError(why) if offset else _MirrorError(why)
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
