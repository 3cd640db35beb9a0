"""Pipelines by their name on a hub, from a server on this machine that speaks its protocol. python -m pytest tests/test_export_hub.py"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

import pytest

from export.hub import Repository, repository_of

MODELS = Path(__file__).parents[1]
COMMIT = "c0ffee0000000000000000000000000000000001"
INDEX = {
    "_class_name": "WanPipeline", "_diffusers_version": "0.33.0", "transformer": ["diffusers", "X"], "vae": ["diffusers", "Y"],
    "image_encoder": [None, None], "tokenizer": ["transformers", "Z"],
}  # fmt: skip
WANTED = {
    "model_index.json": json.dumps(INDEX).encode(),
    "README.md": b"---\nlicense: mit\n---\n",
    "transformer/config.json": b"{}",
    "transformer/diffusion_pytorch_model.safetensors": b"weights",
    "tokenizer/spiece.model": b"pieces",
    "tokenizer/merges.txt": b"a b",
    "vae/config.json": b'{"a": 1}',
}
OTHERS = {
    "transformer/diffusion_pytorch_model.bin": b"a pickle",
    "transformer/diffusion_pytorch_model.fp16.safetensors": b"half",
    "transformer/modeling.py": b"raise SystemExit",
    "vae/model.ckpt": b"a pickle",
    "image_encoder/model.safetensors": b"of no component",
    "checkpoint.safetensors": b"the authors' own",
    ".gitattributes": b"",
}


class Hub(ThreadingHTTPServer):
    """A hub with one repository, `org/name`, at one commit that `main` names."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files = WANTED | OTHERS
        self.fetched: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        api, resolve = "/api/models/org/name/", f"/org/name/resolve/{COMMIT}/"
        listed = [{"type": "file", "path": name, "size": len(data), "oid": oid(data)} for name, data in self.server.files.items()]
        if path == f"{api}revision/main":
            files = [{"rfilename": one["path"]} for one in listed]
            self.send(json.dumps({"_id": "1", "id": "org/name", "sha": COMMIT, "siblings": files}).encode())
        elif path == f"{api}tree/{COMMIT}":
            self.send(json.dumps(listed).encode())
        elif path.startswith(resolve) and path.removeprefix(resolve) in self.server.files:
            name = path.removeprefix(resolve)
            if self.command == "GET":
                self.server.fetched.append(name)
            self.send(self.server.files[name], {"ETag": f'"{oid(self.server.files[name])}"', "X-Repo-Commit": COMMIT})
        else:
            self.send(b"", {"X-Error-Code": "RevisionNotFound" if path.startswith(api) else "RepoNotFound"}, 404)

    def send(self, content: bytes, headers: dict[str, str] | None = None, status: int = 200) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@pytest.fixture()
def hub() -> Iterator[Hub]:
    with Hub() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


# huggingface_hub reads its settings when it is imported.
FETCH = """
import sys
from pathlib import Path
from export.errors import ExportError
from export.hub import fetch_pipeline, repository_of
def check(folder):
    if "refuse" in sys.argv: raise ExportError(",".join(sorted(place.name for place in folder.iterdir())))
try: print(fetch_pipeline(repository_of(sys.argv[1]), check))
except ExportError as error: print(error, file=sys.stderr)
"""


def fetch(hub: Hub, cache: Path, *arguments: str, **environment: str) -> tuple[str, str]:
    """What is written to stdout and stderr."""
    command = [sys.executable, "-c", FETCH, *arguments]
    done = subprocess.run(command, env=settings(hub, cache) | environment, cwd=MODELS, capture_output=True, text=True, check=True)
    return done.stdout.strip(), done.stderr.strip()


def settings(hub: Hub, cache: Path) -> dict[str, str]:
    own = {"HF_ENDPOINT": hub.url, "HF_HOME": str(cache), "HF_HUB_OFFLINE": "0"}
    return {**os.environ, **own, **dict.fromkeys(("HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_PROGRESS_BARS"), "1")}


def test_what_a_pipeline_is_made_of_is_fetched_and_nothing_that_could_run(hub: Hub, tmp_path: Path) -> None:
    out, error = fetch(hub, tmp_path, "org/name")
    folder = Path(out)
    assert folder.name == COMMIT, error
    found = {place.relative_to(folder).as_posix(): place.read_bytes() for place in folder.rglob("*") if place.is_file()}
    assert found == WANTED
    assert sorted(hub.fetched) == sorted(WANTED)
    # Without the hub it is the same folder, and nothing is asked for.
    hub.fetched.clear()
    assert fetch(hub, tmp_path, "org/name", HF_HUB_OFFLINE="1") == (out, "")
    assert hub.fetched == []


def test_a_pipeline_is_refused_by_its_index_before_its_weights_are_fetched(hub: Hub, tmp_path: Path) -> None:
    assert fetch(hub, tmp_path, "org/name", "refuse") == ("", "model_index.json")
    assert hub.fetched == ["model_index.json"]


def test_the_exporter_takes_the_name_of_a_pipeline(hub: Hub, tmp_path: Path) -> None:
    hub.files = {**WANTED, "model_index.json": json.dumps({**INDEX, "_class_name": "WanPipelin"}).encode()}
    arguments = ["-m", "export", "--pipeline", "org/name", "--out", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, *arguments], env=settings(hub, tmp_path), cwd=MODELS, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "got WanPipelin in " in done.stderr and "The nearest is WanPipeline." in done.stderr, done.stderr
    assert hub.fetched == ["model_index.json"]


def test_what_can_not_be_fetched_is_told(hub: Hub, tmp_path: Path) -> None:
    def refusal(*arguments: str, **environment: str) -> str:
        out, error = fetch(hub, tmp_path, *arguments, **environment)
        assert out == "" and "Traceback" not in error
        return error

    assert f"org/other to be a folder, or a model on {hub.url} that may be read" in refusal("org/other")
    assert "org/name to have the branch, tag or commit 'v9'. Leave out @v9" in refusal("org/name@v9")
    assert "org/name to be on this machine" in refusal("org/name", HF_HUB_OFFLINE="1")
    assert "org/name to be on this machine" in refusal("org/name", HF_ENDPOINT="http://127.0.0.1:9")
    hub.files = {"README.md": b""}
    assert "org/name to be a pipeline of diffusers, with a model_index.json, but it has none" in refusal("org/name")


def test_names_of_repositories_are_told_from_folders() -> None:
    assert repository_of("Wan-AI/Wan2.1-T2V-1.3B-Diffusers") == Repository("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", "main")
    assert repository_of("org/name@refs/pr/1") == Repository("org/name", "refs/pr/1")
    assert [repository_of(text) for text in ("./org/name", "../name", "/org/name", "name", "a/b/c", "a/b@", "a/b@/c")] == [None] * 7
