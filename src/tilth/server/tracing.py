"""Traces of requests, sent where an operator says: with OpenTelemetry, when `OTEL_EXPORTER_OTLP_ENDPOINT` is set.

The variables are OpenTelemetry's own: `OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER`, `OTEL_EXPORTER_OTLP_HEADERS` and so
on. Without the endpoint nothing of it is imported. A span says of a request what the log does: no query, no header.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from tilth import __version__
from tilth.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class Tracing:
    """Makes a span of each request, as part of the caller's trace when it tells one."""

    def __init__(self, provider: Any) -> None:
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind, Status, StatusCode

        self._provider = provider
        self._tracer = provider.get_tracer("tilth.server", __version__)
        self._extract, self._kind = extract, SpanKind.SERVER
        self._failed = Status(StatusCode.ERROR)

    @contextlib.contextmanager
    def span(self, method: str, headers: Mapping[str, str]) -> Iterator[Any]:
        """A span around what answers a request."""
        with self._tracer.start_as_current_span(
            method, context=self._extract(headers), kind=self._kind, record_exception=False
        ) as span:
            yield span

    def end(self, span: Any, *, method: str, route: str, status: int, request: str) -> None:
        """Say how a request was answered."""
        span.update_name(f"{method} {route}")
        span.set_attributes(
            {
                "http.request.method": method,
                "http.route": route,
                "http.response.status_code": status,
                "tilth.request_id": request,
            }
        )
        if status >= 500:
            span.set_status(self._failed)

    def close(self) -> None:
        """Send what is not sent yet."""
        self._provider.shutdown()


def open_tracing() -> Tracing | None:
    """What the variables ask for; None when they ask for none.

    Raises:
        SetupError: They do, and its packages are missing.
    """
    if not any(os.environ.get(name) for name in _ENDPOINTS):
        return None
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise SetupError(
            "traces need packages that are not installed",
            why=f"`OTEL_EXPORTER_OTLP_ENDPOINT` is set, and: {error}",
            mend="install `tilth[otel]`, or unset the variable",
        ) from error
    ours = Resource({SERVICE_NAME: "tilth-server", SERVICE_VERSION: __version__})
    provider = TracerProvider(resource=ours.merge(OTELResourceDetector().detect()))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider)
