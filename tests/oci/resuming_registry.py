"""A registry that takes uploads and keeps what came of a broken piece, as the specification wants.

The reference registry throws the whole upload away then. Only uploads are here: see `tests.services` for real ones.
"""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class ResumingRegistry(ThreadingHTTPServer):
    """Listens while the `with` block runs. `blobs` by digest, `uploads` that are not done."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.host = f"127.0.0.1:{self.server_address[1]}"
        self.blobs: dict[str, bytes] = {}
        self.uploads: dict[str, bytearray] = {}
        # One request at a time for an upload: of one that was cut off, all that came is taken before the next.
        self.turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections break here on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ResumingRegistry

    def do_POST(self) -> None:
        upload = uuid.uuid4().hex
        self.server.uploads[upload] = bytearray()
        self._answer(202, upload)

    def do_GET(self) -> None:
        upload = self._upload()
        with self.server.turns[upload]:
            self._answer(204 if upload in self.server.uploads else 404, upload)

    def do_HEAD(self) -> None:
        self._answer(200 if self.path.rpartition("/")[2] in self.server.blobs else 404)

    def do_PATCH(self) -> None:
        upload = self._upload()
        content = self.server.uploads[upload]
        begins = int(self.headers.get("Content-Range", "0-").partition("-")[0])
        with self.server.turns[upload]:
            if begins != len(content):
                return self._answer(416, upload)
            self._take(content)
            return self._answer(202, upload)

    def do_PUT(self) -> None:
        upload = self._upload()
        with self.server.turns[upload]:
            self._take(self.server.uploads[upload])
            content = bytes(self.server.uploads.pop(upload))
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.server.blobs[digest] = content
        self._answer(201)

    def _take(self, content: bytearray) -> None:
        left = int(self.headers["Content-Length"])
        while left:
            piece = self.rfile.read1(min(left, 65536))  # type: ignore[attr-defined]
            if not piece:
                raise ConnectionError("the client went away")
            content += piece
            left -= len(piece)

    def _upload(self) -> str:
        return self.path.partition("?")[0].rpartition("/")[2]

    def _answer(self, status: int, upload: str = "") -> None:
        self.send_response_only(status)
        if upload in self.server.uploads:
            self.send_header("Location", f"/v2/some/blobs/uploads/{upload}")
            self.send_header("Range", f"0-{max(len(self.server.uploads[upload]) - 1, 0)}")
        if status != 204:
            self.send_header("Content-Length", "0")
        self.end_headers()
