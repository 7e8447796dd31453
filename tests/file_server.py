"""A web server on this machine, as a fixture: it serves files from memory."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


class Server(ThreadingHTTPServer):
    """Serves `files`; `answers` keeps the status of every answer."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {"/a.wav": b"sound " * 1000}
        self.answers: list[int] = []
        self.claimed = 0  # bytes that a length promises too much
        self.refusals: list[int] = []  # what the next uploads are answered
        self.patience = 0  # bytes of an upload that is refused, which are read before the answer

    def address(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        content = self.server.files.get(self.path.partition("?")[0])
        tag = f'"{hash(content)}"'
        status = 403 if content == b"secret" else 200 if content is not None else 404
        if self.headers.get("If-None-Match") == tag:
            status, content = 304, None
        self.server.answers.append(status)
        self.send_response(status)
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(content or b"") + self.server.claimed))
        self.end_headers()
        self.wfile.write(content or b"")

    def do_PUT(self) -> None:
        refusal = self.server.refusals.pop(0) if self.server.refusals else 0
        size = int(self.headers["Content-Length"])
        content = self.rfile.read(min(size, self.server.patience) if refusal else size)
        if not refusal and len(content) == size:  # a request that breaks off is none
            self.server.files[self.path.partition("?")[0]] = content
        self.server.answers.append(refusal or 201)
        self.send_response(refusal or 201)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(name="server")
def serving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("HALLO_CACHE", str(tmp_path / "cache"))
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield running
        running.shutdown()
