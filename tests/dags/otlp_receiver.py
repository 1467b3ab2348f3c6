"""A receiver of metrics: OTLP over HTTP on loopback, decoded by OpenTelemetry's own messages."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)


@dataclass(frozen=True)
class Point:
    """A value of a gauge that arrived."""

    service: str
    name: str
    tags: tuple[tuple[str, str], ...]
    value: float


def points(body: bytes) -> Iterator[Point]:
    """The gauges' values of a request."""
    for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
        named = {each.key: each.value.string_value for each in resource.resource.attributes}
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.gauge.data_points:
                    tags = tuple(sorted((each.key, each.value.string_value) for each in point.attributes))
                    value = point.as_int if point.HasField("as_int") else point.as_double
                    yield Point(named["service.name"], metric.name, tags, value)


@contextmanager
def receiver(port: int = 0) -> Iterator[tuple[str, list[Point]]]:
    """Receive until the block is left; gives the address, and the list that what comes is put into."""
    received: list[Point] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/metrics"
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.extend(points(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.end_headers()
            self.wfile.write(ExportMetricsServiceResponse().SerializeToString())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", received
    finally:
        server.shutdown()
        server.server_close()
