"""A server on this machine that does all that mirrors do wrong."""

import hashlib
import http.server
import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from filelock import FileLock

from tiebreak.data.fetch import Patience, RemoteFile, fetch_file
from tiebreak.errors import DataError

CONTENT = bytes(itertools.islice(itertools.cycle(range(251)), 300_000))
HALF = len(CONTENT) // 2
QUICK = Patience(stall=1.5, window=0.05, fast=20_000, least=10_000)


class Mirror(http.server.BaseHTTPRequestHandler):
    """What a path's last part says is what goes wrong; `asked` keeps (path, Range header)."""

    asked: list[tuple[str, str | None]]
    stop: threading.Event

    def do_GET(self):
        self.asked.append((self.path, self.headers["Range"]))
        getattr(self, f"answer_{self.path.strip('/')}")()

    def reply(self, body, status=200, length=None, **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def answer_good(self):
        offset = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        if offset:
            where = f"bytes {offset}-{len(CONTENT) - 1}/{len(CONTENT)}"
            self.reply(CONTENT[offset:], 206, Content_Range=where)
        else:
            self.reply(CONTENT)

    def answer_without_ranges(self):
        self.reply(CONTENT)

    def answer_wrong_bytes(self):
        self.reply(bytes(len(CONTENT)))

    def answer_short(self):
        self.reply(CONTENT[:HALF])

    def answer_short_without_length(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(CONTENT[:HALF])

    def answer_too_long(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(CONTENT + b"more")

    def answer_lying_length(self):
        self.reply(CONTENT, length=len(CONTENT) + 1)

    def answer_drop(self):
        self.reply(CONTENT[:HALF], length=len(CONTENT))

    def answer_other_part(self):
        self.reply(CONTENT[5:], 206, Content_Range=f"bytes 5-{len(CONTENT) - 1}/{len(CONTENT)}")

    def answer_html(self):
        self.reply(b"<html>Sorry</html>", Content_Type="text/html; charset=utf-8")

    def answer_missing(self):
        self.send_error(404)

    def answer_broken(self):
        self.send_error(500)

    def answer_elsewhere(self):
        self.reply(b"", 302, Location="/good")

    def answer_to_a_page(self):
        self.reply(b"", 302, Location="/html")

    def answer_round(self):
        self.reply(b"", 302, Location="/round")

    def answer_to_no_server(self):
        self.reply(b"", 302, Location="file:///etc/passwd")

    def answer_drip(self):
        """Half of the file, then a byte now and then until the test is over."""
        self.reply(CONTENT[:HALF], length=len(CONTENT))
        while not self.stop.wait(0.02):
            self.wfile.write(b"\0")

    def answer_drip_head(self):
        """A head that goes on and on, a byte at a time."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-More: ")
        while not self.stop.wait(0.02):
            self.wfile.write(b"x")

    def answer_not_yet(self):
        """Answers before the answer, for ever."""
        while not self.stop.wait(0.02):
            self.wfile.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")

    def answer_drip_chunk(self):
        """A piece whose length is never said to the end."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;")
        while not self.stop.wait(0.02):
            self.wfile.write(b"x")

    def answer_elsewhere_without_end(self):
        """A redirect whose body never ends."""
        self.reply(b"", 302, Location="/good", length=10**12)
        while not self.stop.wait(0.02):
            self.wfile.write(bytes(1_000))

    def answer_refuse_to_continue(self):
        if self.headers["Range"]:
            self.reply(b"", 416, Content_Range=f"bytes */{len(CONTENT)}")
        else:
            self.reply(CONTENT)

    def answer_continue_elsewhere(self):
        """What is asked to go on goes on five bytes too late."""
        if self.headers["Range"]:
            self.reply(CONTENT[5:], 206, Content_Range=f"bytes 5-{len(CONTENT) - 1}/{len(CONTENT)}")
        else:
            self.reply(CONTENT)

    def answer_stall(self):
        self.reply(CONTENT[:HALF], length=len(CONTENT))
        self.stop.wait()

    def answer_slow(self):
        """All of the file, at less than 1 MB/s."""
        self.reply(b"", length=len(CONTENT))
        for start in range(0, len(CONTENT), 10_000):
            self.wfile.write(CONTENT[start : start + 10_000])
            self.stop.wait(0.01)

    def handle(self):
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True  # who asked has gone, as it should

    def log_message(self, *_):
        pass


@pytest.fixture
def mirror() -> Iterator[tuple[str, type[Mirror]]]:
    handler = type("Handler", (Mirror,), {"asked": [], "stop": threading.Event()})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", handler
    handler.stop.set()
    server.shutdown()
    server.server_close()
    thread.join()


def remote(base, *paths):
    digest = hashlib.sha256(CONTENT).hexdigest()
    return RemoteFile(
        name="set.tar.gz", size=len(CONTENT), sha256=digest, urls=tuple(base + path for path in paths)
    )


FAILURES = {
    "wrong_bytes": "the right size but wrong content",
    "short": "announces 150000 bytes, expected 300000",
    "short_without_length": "ended after 150,000 of 300,000 bytes",
    "too_long": "more than the expected 300,000 bytes",
    "lying_length": "announces 300001 bytes, expected 300000",
    "drop": "connection failed or broke off",
    "other_part": "another part of the file than asked for",
    "html": "a web page instead of the file",
    "missing": "HTTP status 404",
    "broken": "HTTP status 500",
    "to_a_page": "a web page instead of the file",
    "round": "redirects without end",
    "to_no_server": "connection failed or broke off",
    "drip": "slower than 10 kB/s",
    "stall": "nothing came for 1.5 s",
    "drip_head": "nothing came for 1.5 s",
    "not_yet": "nothing came for 1.5 s",
    "drip_chunk": "nothing came for 1.5 s",
}


@pytest.mark.parametrize("path", FAILURES)
def test_a_bad_mirror_is_left_for_the_next(mirror, tmp_path, path):
    base, handler = mirror
    target = fetch_file(remote(base, path, "good"), tmp_path, patience=QUICK)
    assert target.read_bytes() == CONTENT
    assert [file.name for file in sorted(tmp_path.iterdir())] == [".set.tar.gz.lock", "set.tar.gz"]
    assert handler.asked[0][0] == f"/{path}" and "/good" in dict(handler.asked)


@pytest.mark.parametrize(("path", "why"), FAILURES.items())
def test_only_bad_mirrors_are_one_line_that_says_what_was_tried(mirror, tmp_path, path, why):
    base, _ = mirror
    with pytest.raises(DataError) as e:
        fetch_file(remote(base, path), tmp_path, patience=QUICK)
    message = str(e.value)
    assert f"{base}{path}: {why}" in message and "by hand and name its folder with --data-dir" in message
    assert len(message.splitlines()) == 1
    assert not (tmp_path / "set.tar.gz").exists()


def test_no_server_at_all_is_said(tmp_path):
    with pytest.raises(DataError, match=r"connection failed or broke off \(ConnectError\)"):
        fetch_file(remote("http://127.0.0.1:9/", "x"), tmp_path, patience=QUICK)


@pytest.mark.parametrize("path", ["elsewhere", "elsewhere_without_end"])
def test_a_redirect_is_followed_and_its_body_not_read(mirror, tmp_path, path):
    assert fetch_file(remote(mirror[0], path), tmp_path, patience=QUICK).read_bytes() == CONTENT


@pytest.mark.parametrize("path", ["refuse_to_continue", "continue_elsewhere"])
def test_where_going_on_is_refused_the_same_mirror_starts_over(mirror, tmp_path, path):
    base, handler = mirror
    (tmp_path / "set.tar.gz.part").write_bytes(CONTENT[:1_000])
    assert fetch_file(remote(base, path), tmp_path).read_bytes() == CONTENT
    assert handler.asked == [(f"/{path}", "bytes=1000-"), (f"/{path}", None)]


def test_of_several_processes_one_fetches_and_the_others_wait(mirror, tmp_path):
    base, handler = mirror
    program = (
        "import sys; from pathlib import Path; from tiebreak.data.fetch import RemoteFile, fetch_file\n"
        f"fetch_file({remote(base, 'slow')!r}, Path(sys.argv[1]))"
    )
    processes = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert (tmp_path / "set.tar.gz").read_bytes() == CONTENT
    assert handler.asked == [("/slow", None)]


def test_who_waits_for_another_process_is_told(mirror, tmp_path, caplog):
    locked = threading.Event()

    def hold():
        with FileLock(tmp_path / ".set.tar.gz.lock"):
            locked.set()
            while "waiting for it" not in caplog.text:
                time.sleep(0.01)

    holder = threading.Thread(target=hold)
    holder.start()
    locked.wait()
    assert fetch_file(remote(mirror[0], "good"), tmp_path).read_bytes() == CONTENT
    holder.join()
    assert "Another process is fetching set.tar.gz; waiting for it." in caplog.text


def test_what_was_interrupted_goes_on_at_the_next_mirror(mirror, tmp_path):
    base, handler = mirror
    seen = []
    fetch_file(
        remote(base, "drop", "good"), tmp_path, progress=lambda *state: seen.append(state), patience=QUICK
    )
    offset = int(handler.asked[1][1].removeprefix("bytes=").rstrip("-"))
    assert handler.asked == [("/drop", None), ("/good", f"bytes={offset}-")] and 0 < offset <= HALF
    there = [state[1] for state in seen]
    assert there == sorted(there) and seen[-1] == ("fetching set.tar.gz (0 MiB)", len(CONTENT), len(CONTENT))


def test_what_was_interrupted_goes_on_at_the_next_start(mirror, tmp_path):
    base, handler = mirror
    (tmp_path / "set.tar.gz.part").write_bytes(CONTENT[:1_000])
    fetch_file(remote(base, "good"), tmp_path)
    assert handler.asked == [("/good", "bytes=1000-")]


def test_a_mirror_without_ranges_starts_over(mirror, tmp_path):
    (tmp_path / "set.tar.gz.part").write_bytes(b"x" * 1_000)
    target = fetch_file(remote(mirror[0], "without_ranges"), tmp_path)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("size", [1_000, len(CONTENT), len(CONTENT) + 1])
def test_a_beginning_that_was_wrong_is_thrown_away(mirror, tmp_path, size):
    base, handler = mirror
    (tmp_path / "set.tar.gz.part").write_bytes(b"x" * size)
    assert fetch_file(remote(base, "good"), tmp_path).read_bytes() == CONTENT
    assert handler.asked[-1] == ("/good", None)


def test_a_slow_mirror_is_used_when_there_is_no_faster(mirror, tmp_path):
    base, handler = mirror
    patience = Patience(stall=1.0, window=0.05, fast=10_000_000, least=1_000)
    assert fetch_file(remote(base, "slow", "missing"), tmp_path, patience=patience).read_bytes() == CONTENT
    assert [path for path, _ in handler.asked] == ["/slow", "/missing", "/slow"]


def test_a_file_that_is_there_is_not_asked_for(mirror, tmp_path):
    base, handler = mirror
    (tmp_path / "set.tar.gz").write_bytes(CONTENT)
    fetch_file(remote(base, "good"), tmp_path)
    assert handler.asked == []


def test_a_file_that_rotted_is_fetched_again(mirror, tmp_path):
    (tmp_path / "set.tar.gz").write_bytes(bytes(len(CONTENT)))
    assert fetch_file(remote(mirror[0], "good"), tmp_path).read_bytes() == CONTENT


def test_a_place_that_cannot_be_written_is_said(mirror, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"set\.tar\.gz could not be kept in .*file"):
        fetch_file(remote(mirror[0], "good"), tmp_path / "file")
