"""HTTP as uvicorn speaks it, with a bound on what comes beside bodies: addresses, headers, trailers, marks of chunks.

The parser keeps all of that until it is complete, before any code of the application runs; it has no bound of its own.
"""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from tilth.server.sending import WholeAnswers

MOST = 1 << 16  # bytes of one request
_PER_MARK = 8  # bytes of a body for each byte of the marks between its chunks
_ANSWER = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class BoundedHeads(WholeAnswers):
    """Ends a connection whose request has too much beside its body."""

    _received = _of_body = 0  # bytes of the request that is being read

    def data_received(self, data: bytes) -> None:
        """Called with what has come."""
        self._received += len(data)
        super().data_received(data)
        if self._received - self._of_body > MOST + self._of_body // _PER_MARK:
            cycle: RequestResponseCycle | None = self.cycle  # None before the first request
            if (cycle is None or cycle.response_complete) and not self.transport.is_closing():
                self.transport.write(_ANSWER)
            self.transport.close()

    def on_body(self, body: bytes) -> None:
        """Called with a part of a body."""
        self._of_body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Called at the end of a request."""
        self._received = self._of_body = 0
        super().on_message_complete()
