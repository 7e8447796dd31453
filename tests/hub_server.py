"""A small hub on 127.0.0.1: lists one repository and sends its files, with ranges and on demand faults."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

COMMIT = "a" * 40
REPO = "fudan-generative-ai/hallo"
LARGE = 64  # bytes; files from here on are listed with a SHA-256, like the hub's large files


class HubServer(ThreadingHTTPServer):
    """Serves `files` as the repository; `requests` keeps every (method, path, range)."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files
        self.requests: list[tuple[str, str, str | None]] = []
        self.cut_after: dict[str, int] = {}  # path -> bytes of the next answer before the connection breaks
        self.corrupt: set[str] = set()
        self.ignores_ranges = False
        self.endless: set[str] = set()  # paths whose content goes on and on
        self.answer: bytes | None = None  # instead of the listing

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> HubServer:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def listing(self) -> dict[str, object]:
        siblings = []
        for path, content in self.files.items():
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            entry: dict[str, object] = {"rfilename": path, "size": len(content), "blobId": blob}
            if len(content) >= LARGE:
                digest = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 130}
            siblings.append(entry)
        return {"id": REPO, "sha": COMMIT, "siblings": siblings, "tags": [], "private": False}


class _Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        path = unquote(self.path.partition("?")[0])
        self.server.requests.append((self.command, path, self.headers.get("Range")))
        if re.fullmatch(r"/api/models/[\w.-]+/[\w.-]+/revision/[^/]+", path):
            self._listing(path.rpartition("/")[2])
        elif asked := re.fullmatch(rf"/[\w.-]+/[\w.-]+/resolve/{COMMIT}/(.+)", path):
            self._redirect(asked[1])
        elif path.startswith("/cdn/"):
            self._content(path.removeprefix("/cdn/"))
        else:
            self._error(404, "EntryNotFound")

    do_HEAD = do_GET

    def _listing(self, revision: str) -> None:
        if revision not in ("main", COMMIT):
            self._error(404, "RevisionNotFound")
            return
        body = (
            json.dumps(self.server.listing()).encode() if self.server.answer is None else self.server.answer
        )
        self._head(200, {"Content-Type": "application/json", "Content-Length": str(len(body))})
        self.wfile.write(body)

    def _redirect(self, path: str) -> None:
        if path not in self.server.files:
            self._error(404, "EntryNotFound")
            return
        etag = hashlib.sha256(self.server.files[path]).hexdigest()
        location = f"{self.server.endpoint}/cdn/{path}"
        size = str(len(self.server.files[path]))
        headers = {"X-Repo-Commit": COMMIT, "X-Linked-Etag": f'"{etag}"', "X-Linked-Size": size}
        self._head(302, {**headers, "Location": location, "Content-Length": "0"})

    def _content(self, path: str) -> None:
        content = self.server.files[path]
        if path in self.server.corrupt:
            content = bytes(255 - byte for byte in content)
        start = 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
        if asked and not self.server.ignores_ranges:
            start = int(asked[1])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if path in self.server.endless:
            self._head(200, {"Connection": "close"})
            with contextlib.suppress(OSError):
                while self.command == "GET":
                    self.wfile.write(bytes(1000))
            return
        headers["Content-Length"] = str(len(content) - start)
        self._head(206 if start else 200, headers)
        if self.command == "HEAD":
            return
        sent = content[start:]
        if path in self.server.cut_after:
            sent = sent[: self.server.cut_after[path]]
            self.close_connection = True
        self.wfile.write(sent)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _error(self, status: int, code: str) -> None:
        self._head(status, {"X-Error-Code": code, "Content-Length": "0"})
