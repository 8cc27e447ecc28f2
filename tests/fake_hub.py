"""A hub that keeps its files in a local folder, for the client of huggingface_hub.

It speaks as much of the hub's protocol as that client asks for when models are pushed and loaded.
"""

import base64
import contextlib
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlparse

COMMIT = "0" * 40


@contextlib.contextmanager
def serve(root):
    """Serve the folder `root`; yield the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Served", (_Hub,), {"root": root}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Hub(BaseHTTPRequestHandler):
    root: Path

    def do_POST(self):
        path = unquote(urlparse(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        base = f"http://{self.headers['Host']}"
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = "/".join(filter(None, [asked.get("organization"), asked["name"]]))
            (self.root / name).mkdir(parents=True, exist_ok=True)
            self.reply({"url": f"{base}/{name}"})
        elif path == "/api/validate-yaml":
            self.reply({"errors": [], "warnings": []})
        elif "/preupload/" in path:
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            self.reply({"files": files})
        elif "/commit/" in path:
            name = path.removeprefix("/api/models/").partition("/commit/")[0]
            for line in body.decode().splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    content = base64.b64decode(entry["value"]["content"])
                    (self.root / name / entry["value"]["path"]).write_bytes(content)
            self.reply({"commitUrl": f"{base}/{name}/commit/{COMMIT}", "commitOid": COMMIT})
        else:
            self.send_error(404)

    def do_HEAD(self):
        self.send_file(with_content=False)

    def do_GET(self):
        self.send_file(with_content=True)

    def send_file(self, *, with_content):
        name, _, file = unquote(urlparse(self.path).path).strip("/").partition("/resolve/main/")
        path = self.root / name / file
        if not path.is_file():
            self.send_response(404)
            missing = "EntryNotFound" if (self.root / name).is_dir() else "RepoNotFound"
            self.send_header("X-Error-Code", missing)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = path.read_bytes()
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_content:
            self.wfile.write(content)

    def reply(self, value):
        content = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format, *args):
        pass
