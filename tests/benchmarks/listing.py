"""A store that only lists, page by page and not at once: what planning a million objects takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from tests.benchmarks.recordings import key

PAGE = 1000
PAGE_S = 0.02


@contextmanager
def listing_store(bucket: str, n_objects: int) -> Iterator[str]:
    """Serve lists of so many recordings, each page after 20 ms; the address of the server."""
    keys = sorted(key(index) for index in range(n_objects))
    pages = [_page(bucket, keys, start) for start in range(0, n_objects, PAGE)]

    class Lists(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = parse_qs(urlsplit(self.path).query)
            wanted = asked.get("prefix", [""])[0]
            number = int(asked.get("continuation-token", ["0"])[0])
            content = pages[number] if pages and keys[0].startswith(wanted) else _page(bucket, [], 0)
            time.sleep(PAGE_S)
            self.send_response(200)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Lists)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _page(bucket: str, keys: list[str], start: int) -> bytes:
    part = keys[start : start + PAGE]
    more = start + PAGE < len(keys)
    listed = "".join(
        f"<Contents><Key>{each}</Key><LastModified>2026-11-21T00:10:00.000Z</LastModified>"
        f"<ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag><Size>4000000</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
        for each in part
    )
    token = f"<NextContinuationToken>{start // PAGE + 1}</NextContinuationToken>" if more else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>{bucket}</Name><KeyCount>{len(part)}</KeyCount><MaxKeys>{PAGE}</MaxKeys>"
        f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>{token}{listed}</ListBucketResult>"
    ).encode()
