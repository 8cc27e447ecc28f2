"""push_to_hub and from_pretrained over HTTP, against a hub that keeps its files in a local folder.

The client is huggingface_hub's own, from `push_to_hub` to the last byte; the server here speaks as
much of the hub's protocol as that client asks for. Nothing of ours or of the client is replaced.
"""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlparse

import huggingface_hub.constants
import pytest
import torch

from robopref.policies.diffusion import DiffusionPolicy, DiffusionPolicyConfig
from robopref.policies.mlp_denoiser import MLPDenoiserConfig
from robopref.types import STATE

COMMIT = "0" * 40


class Hub(BaseHTTPRequestHandler):
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
            self.send_error(404)
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


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Return the folder of a hub that the client talks to."""
    root = tmp_path / "hub"
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Served", (Hub,), {"root": root}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(
        huggingface_hub.constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        endpoint + "/{repo_id}/resolve/{revision}/{filename}",
    )
    # Its transfer service is another protocol; without it the client sends the files itself.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield root
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_pushed_policy_comes_back_the_same(hub, tmp_path, generator):
    config = DiffusionPolicyConfig(denoiser=MLPDenoiserConfig(width=32, num_blocks=1))
    policy = config.build({STATE: (3,)}, 2, generator).eval()
    policy.push_to_hub("someone/toy", token="hf_of_nobody")
    assert {path.name for path in (hub / "someone" / "toy").iterdir()} == {
        "config.json", "model.safetensors", "README.md",
    }  # fmt: skip
    assert "library_name: robopref" in (hub / "someone" / "toy" / "README.md").read_text()
    again = DiffusionPolicy.from_pretrained("someone/toy", cache_dir=tmp_path / "cache")
    obs = {STATE: torch.randn(2, 2, 3, generator=generator)}
    expected = policy.sample(obs, 3, torch.Generator().manual_seed(1))
    assert torch.equal(again.sample(obs, 3, torch.Generator().manual_seed(1)), expected)


def test_a_repository_that_is_not_there(hub):
    with pytest.raises(FileNotFoundError) as error:
        DiffusionPolicy.from_pretrained("someone/none")
    assert str(error.value) == (
        "No policy at 'someone/none': there is no such folder, and no such repository on the hub "
        "could be read."
    )
