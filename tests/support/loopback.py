"""A web server on loopback that can misbehave."""

import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BODY = bytes(range(256)) * 400
SHA256 = hashlib.sha256(BODY).hexdigest()
HALF = len(BODY) // 2


class Server(ThreadingHTTPServer):
    """Serves ``body`` as ``mood`` says and keeps the Range header of each request.

    Attributes:
        length: The Content-Length that it states, if not the right one.
        location: Where it redirects to in that mood.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body = BODY
        self.mood = "good"
        self.length: str | None = None
        self.location = ""
        self.ranges: list[str | None] = []
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/file.tar"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        mood, body, asked = self.server.mood, self.server.body, self.headers["Range"]
        self.server.ranges.append(asked)
        if mood == "absent":
            self.send_error(404)
            return
        if mood == "silent":
            self.server.released.wait()
            return
        if mood == "redirecting":
            self.send_response(302)
            self.send_header("Location", self.server.location)
            self.end_headers()
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked else 0
        if mood == "rangeless":
            start = 0
        if start >= len(body):
            self.send_error(416)
            return
        if start:
            self.send_response(206)
            shift = 1 if mood == "shifted" else 0
            self.send_header("Content-Range", f"bytes {start + shift}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        if mood != "lengthless":
            self.send_header("Content-Length", self.server.length or str(len(body) - start))
        self.end_headers()
        stop = HALF if mood in ("stalling", "truncating") else len(body)
        self.wfile.write(body[start:stop])
        if mood == "stalling":
            self.wfile.flush()
            self.server.released.wait()

    def log_message(self, *_: object) -> None:
        pass
