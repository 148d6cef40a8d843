"""A small Civitai on this machine: the real one's routes and JSON shapes, a file store on another host, and faults.

`python -m tests.civitai_site` runs it with a hypernetwork or two, to try commands by hand:
CIVITAI_SITE=http://127.0.0.1:8765 hypernet search
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import hypernet
from hypernet.civitai import Civitai
from hypernet.civitai.http import Http
from tests.unets import network

KEY = "0123456789abcdef0123456789abcdef"
SIGNATURE = "X-Amz-Signature=5ec2e7"
ADVICE = (
    "<p>Trained for <b>20000 steps</b> on 60 pictures.</p><p>Hypernet Str. 0.55 to 1.0, .7 works well.</p>"
    "<ul><li>DPM++ SDE Karras, 15 steps, CFG 7</li></ul><script>alert(1)</script>"
)


@dataclass
class Asked:
    """One request as it arrived."""

    host: str
    """'site' or 'store'."""
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes


Fault = Callable[[Any, Asked], bool]
"""Answers a request in its own way, and says whether it did."""


@dataclass
class Site:
    """The state of both hosts; tests change it as they like."""

    models: list[dict[str, Any]] = field(default_factory=list)
    contents: dict[int, bytes] = field(default_factory=dict)
    """Of each version's file."""
    pictures: dict[str, bytes] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    needs_key: bool = False
    # the store's manners
    etag: str | None = '"v1"'
    ignores_range: bool = False
    cuts: list[int] = field(default_factory=list)
    """For each next answer of the store, after how many bytes of the body the connection breaks."""
    says_length: int | None = None
    url: str = ""
    store: str = ""

    def add(self, number: int, name: str, content: bytes, **changes: Any) -> dict[str, Any]:
        """A model with one version, numbered a hundred times as high. changes: keys of the model."""
        version = self.version(number * 100, content, f"{name}.pt")
        model = {
            "id": number,
            "name": name,
            "description": ADVICE,
            "type": "Hypernetwork",
            "poi": False,
            "nsfw": False,
            "allowNoCredit": True,
            "creator": {"username": "painter", "image": None},
            "stats": {"downloadCount": 1234, "thumbsUpCount": 56, "rating": 5},
            "tags": ["style", "ink"],
            "modelVersions": [version],
        }
        model.update(changes)
        self.models.append(model)
        return model

    def version(self, number: int, content: bytes, file: str, **changes: Any) -> dict[str, Any]:
        """A version as the site tells of it within its model."""
        digest = hashlib.sha256(content).hexdigest().upper()
        self.contents[number] = content
        picture = f"/image/{number}/original=true/{number}.jpeg"
        self.pictures[picture] = png(512)
        self.pictures[picture.replace("original=true", "width=512")] = png(8)
        made: dict[str, Any] = {
            "id": number,
            "name": "v1.0",
            "createdAt": f"2023-01-01T00:00:{number % 60:02}.000Z",
            "publishedAt": f"2023-01-02T00:00:{number % 60:02}.000Z",
            "baseModel": "SD 1.5",
            "trainedWords": ["ink style", "black ink"],
            "description": None,
            "nsfwLevel": 1,
            "files": [
                {
                    "id": number * 10,
                    "name": file,
                    "sizeKB": len(content) / 1024,
                    "type": "Model",
                    "metadata": {"fp": "fp16", "size": "full", "format": "PickleTensor"},
                    "pickleScanResult": "Success",
                    "pickleScanMessage": "No Pickle imports",
                    "virusScanResult": "Success",
                    "scannedAt": "2023-01-01T00:00:01.000Z",
                    "hashes": {"AutoV2": digest[:10], "SHA256": digest, "CRC32": f"{zlib.crc32(content):08X}"},
                    "primary": True,
                    "downloadUrl": f"https://civitai.com/api/download/models/{number}",
                }
            ],
            "images": [self.image(picture)],
            "downloadUrl": f"https://civitai.com/api/download/models/{number}",
        }
        made.update(changes)
        return made

    def image(self, path: str, **changes: Any) -> dict[str, Any]:
        """A picture as the site lists it."""
        listed = {"nsfwLevel": 1, "width": 512, "height": 512, "type": "image", "meta": None}
        return {"url": f"{self.store}{path}", **listed, **changes}

    def versions(self) -> Iterator[dict[str, Any]]:
        """Every version as the site tells of it by itself."""
        for model in self.models:
            about = {"name": model["name"], "type": model["type"], "nsfw": model["nsfw"], "poi": False}
            for version in model["modelVersions"]:
                yield {**version, "modelId": model["id"], "model": about}

    def client(self, key: str = "") -> Civitai:
        """A client of it that does not wait long."""
        store = frozenset((urlsplit(self.store).netloc,))
        return Civitai(http=Http(self.url, key, private=store, pause=0.01))

    def paths(self, host: str = "site") -> list[str]:
        return [asked.path for asked in self.asked if asked.host == host]

    def refuses(self, status: int, times: int, path: str = "", body: Any = None, **headers: str) -> None:
        """The next requests for paths that begin so are answered with a status."""
        left = [times]

        def fault(handler: Any, asked: Asked) -> bool:
            if not asked.path.startswith(path) or not left[0]:
                return False
            left[0] -= 1
            said = {name.replace("_", "-"): value for name, value in headers.items()}
            handler.answer(status, json.dumps(body or {}).encode(), headers=said)
            return True

        self.faults.append(fault)

    def redirects(self, path: str, target: str, status: int = 307) -> None:
        """Requests for this path are sent on."""

        def fault(handler: Any, asked: Asked) -> bool:
            if asked.path != path:
                return False
            handler.answer(status, b"", headers={"Location": target})
            return True

        self.faults.append(fault)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site
    host = ""

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._take()

    def do_POST(self) -> None:
        self._take()

    def _take(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = Asked(self.host, self.command, parts.path, parse_qs(parts.query), dict(self.headers), body)
        self.site.asked.append(asked)
        with suppress(BrokenPipeError, ConnectionResetError):
            if not any(fault(self, asked) for fault in self.site.faults):
                self.respond(asked)

    def respond(self, asked: Asked) -> None:
        raise NotImplementedError

    def json(self, content: Any, status: int = 200) -> None:
        self.answer(status, json.dumps(content).encode(), "application/json; charset=utf-8")

    def answer(
        self, status: int, body: bytes, kind: str = "application/json", headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class _StoreHandler(_Handler):
    """Like Cloudflare's R2: signed addresses, ranges, and no patience with a second kind of authorization."""

    host = "store"

    def respond(self, asked: Asked) -> None:
        if "Authorization" in asked.headers:
            return self.answer(400, b"<Error>InvalidRequest</Error>", "application/xml")
        return self.stored(asked)

    def stored(self, asked: Asked) -> None:
        if asked.path in self.site.pictures:
            return self.answer(200, self.site.pictures[asked.path], "image/jpeg")
        found = re.fullmatch(r"/file/(\d+)", asked.path)
        if not found or SIGNATURE.partition("=")[0] not in asked.query:
            return self.answer(403 if found else 404, b"<Error/>", "application/xml")
        return self._file(asked, self.site.contents[int(found[1])])

    def _file(self, asked: Asked, content: bytes) -> None:
        site, headers = self.site, {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
        if site.etag:
            headers["ETag"] = site.etag
        wanted = re.fullmatch(r"bytes=(\d+)-", asked.headers.get("Range", ""))
        stale = "If-Range" in asked.headers and asked.headers["If-Range"] != site.etag
        status, start = 200, 0
        if wanted and not site.ignores_range and not stale:
            status, start = 206, int(wanted[1])
            if start >= len(content):
                return self.answer(416, b"", headers={"Content-Range": f"bytes */{len(content)}"})
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        body = content[start:]
        self.send_response(status)
        length = len(body) if site.says_length is None else site.says_length
        for name, value in {"Content-Length": str(length), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        cut = site.cuts.pop(0) if site.cuts else None
        self.wfile.write(body[:cut])
        if cut is not None or length != len(body):
            self.wfile.flush()
            self.close_connection = True
        return None


class _SiteHandler(_StoreHandler):
    host = "site"

    def respond(self, asked: Asked) -> None:
        site, path = self.site, asked.path
        if path == "/api/v1/models":
            return self._list(asked)
        if found := re.fullmatch(r"/api/v1/models/(\d+)", path):
            model = next((one for one in site.models if one["id"] == int(found[1])), None)
            return self.json(model) if model else self.json({"error": f"No model with id {found[1]}"}, 404)
        if path == "/api/v1/model-versions/by-hash" and asked.method == "POST":
            return self._by_hashes(asked)
        if found := re.fullmatch(r"/api/v1/model-versions/by-hash/(\w+)", path):
            return self._version(lambda one: found[1].upper() in one["files"][0]["hashes"].values())
        if found := re.fullmatch(r"/api/v1/model-versions/(\d+)", path):
            return self._version(lambda one: one["id"] == int(found[1]))
        if found := re.fullmatch(r"/api/download/models/(\d+)", path):
            return self._download(asked, int(found[1]))
        if site.store == site.url:
            return self.stored(asked)
        return self.json({"error": "Not found"}, 404)

    def _list(self, asked: Asked) -> None:
        query = asked.query
        found = self.site.models
        if "ids" in query:
            found = [model for model in found if str(model["id"]) in query["ids"][0].split(",")]
        if "types" in query:
            found = [model for model in found if model["type"] in query["types"]]
        if "query" in query:
            found = [model for model in found if query["query"][0].lower() in model["name"].lower()]
        if query.get("nsfw") != ["true"]:
            found = [model for model in found if not model["nsfw"]]
        start, limit = int(query.get("cursor", ["0"])[0]), int(query.get("limit", ["100"])[0])
        metadata: dict[str, Any] = {}
        if start + limit < len(found):
            metadata = {
                "nextCursor": str(start + limit),
                "nextPage": f"https://civitai.com/api/v1/models?cursor={start + limit}",
            }
        self.json({"items": found[start : start + limit], "metadata": metadata})

    def _by_hashes(self, asked: Asked) -> None:
        wanted = json.loads(asked.body)
        if not isinstance(wanted, list) or len(wanted) > 100 or any(len(digest) != 64 for digest in wanted):
            return self.json({"error": "Request must include an array of SHA256 Hashes. Too many hashes"}, 400)
        every = list(self.site.versions())
        self.json([one for one in every for file in one["files"] if file["hashes"].get("SHA256") in wanted])
        return None

    def _version(self, fits: Callable[[dict[str, Any]], bool]) -> None:
        version = next(filter(fits, self.site.versions()), None)
        return self.json(version) if version else self.json({"error": "Model not found"}, 404)

    def _download(self, asked: Asked, number: int) -> None:
        if self.site.needs_key and asked.headers.get("Authorization") != f"Bearer {KEY}":
            message = "The creator of this asset requires you to be logged in to download it"
            return self.json({"error": "Unauthorized", "message": message}, 401)
        if number not in self.site.contents:
            return self.json({"error": "File not found"}, 404)
        return self.answer(307, b"", headers={"Location": f"{self.site.store}/file/{number}?{SIGNATURE}"})


def png(side: int) -> bytes:
    """A grey picture."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = zlib.compress(b"".join(b"\0" + b"\x80" * side for _ in range(side)))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
        + chunk(b"IDAT", rows)
        + chunk(b"IEND", b"")
    )


def pickled(seed: int = 1) -> bytes:
    """A hypernetwork as people upload it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "made.pt")
        hypernet.save(network(seed=seed, widths=(16, 24)), path)
        return path.read_bytes()


@contextmanager
def running(port: int = 0, *, one_host: bool = False) -> Iterator[Site]:
    """Both hosts, on ports of their own; the store goes by another name than the site, unless they are one host."""
    site = Site()
    servers = []
    for base in (_SiteHandler, _StoreHandler):
        handler = type(base.__name__, (base,), {"site": site})
        server = ThreadingHTTPServer(("127.0.0.1", port if base is _SiteHandler else 0), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        servers.append(server)
    site.url = f"http://127.0.0.1:{servers[0].server_port}"
    site.store = site.url if one_host else f"http://localhost:{servers[1].server_port}"
    try:
        yield site
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


if __name__ == "__main__":
    with running(8765, one_host=True) as here:
        for place, title in enumerate(("Ink wash", "Water", "Pencil"), 1):
            here.add(place, title, pickled(place))
        print(f"CIVITAI_SITE={here.url}", flush=True)
        while True:
            time.sleep(3600)
