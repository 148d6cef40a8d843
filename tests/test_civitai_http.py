"""How Civitai is spoken to: patience, redirects, the key, the user's own network, sizes."""

from __future__ import annotations

import itertools
import logging
import socket
import threading
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("requests")

from hypernet.civitai import (
    Cancelled,
    Civitai,
    CivitaiError,
    KeyNeeded,
    NotThere,
    Refused,
    Search,
    Unreachable,
    Watch,
    answers,
    get,
    http,
    key_from_environment,
)
from hypernet.civitai.connection import is_public, looks_private
from hypernet.civitai.http import Http
from tests.civitai_site import KEY, Asked, Site, pickled, running

MODEL = "/api/v1/models/4"
FILE = "/api/download/models/400"


@pytest.fixture
def site() -> Iterator[Site]:
    with running() as site:
        site.add(4, "Ink wash", pickled())
        yield site


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


# Nothing unasked, and honestly


def test_nothing_is_asked_before_a_call(site: Site) -> None:
    site.client(KEY).close()
    assert site.asked == []


def test_it_says_who_asks(site: Site) -> None:
    site.client().model(4)
    assert site.asked[0].headers["User-Agent"].startswith("hypernet/")


def test_no_cookie_is_kept(site: Site) -> None:
    site.refuses(503, 1, Set_Cookie="id=1")
    site.client().model(4)
    assert "Cookie" not in site.asked[-1].headers


# Patience


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 522])
def test_a_busy_site_is_asked_again(status: int, site: Site) -> None:
    site.refuses(status, 2, MODEL)
    assert site.client().model(4).name == "Ink wash"
    assert len(site.asked) == 3


def test_it_waits_as_long_as_the_site_asks(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(Watch, "sleep", lambda _, seconds: waited.append(seconds))
    site.refuses(429, 1, MODEL, Retry_After="7")
    site.refuses(503, 1, MODEL, Retry_After=formatdate(4102444800, usegmt=True))
    with pytest.raises(CivitaiError, match="Try again in"):
        site.client().model(4)
    assert waited == [7.0]


def test_its_waits_grow(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(Watch, "sleep", lambda _, seconds: waited.append(seconds))
    site.refuses(500, 99, MODEL, Retry_After="soon")
    with pytest.raises(CivitaiError, match=r"a problem of its own \(error 500\)"):
        site.client().model(4)
    assert len(waited) == http.TRIES - 1
    assert all(1.2 * earlier < later for earlier, later in itertools.pairwise(waited))


@pytest.mark.parametrize("status", [400, 404, 410])
def test_what_the_site_refuses_for_good_is_not_asked_again(status: int, site: Site) -> None:
    site.refuses(status, 9, MODEL, {"error": "gone\x1b[31m <b>!"})
    with pytest.raises(CivitaiError, match="gone�"):
        site.client().model(4)
    assert len(site.asked) == 1


def test_a_site_that_is_not_there_is_said(site: Site) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(Unreachable, match="are you online"):
        Civitai(http=Http(f"http://127.0.0.1:{port}", pause=0.001)).model(4)


def test_a_wait_ends_when_the_user_stops_it(site: Site) -> None:
    watch = Watch()
    site.refuses(429, 9, MODEL, Retry_After="50")
    site.faults.insert(0, lambda *_: bool(watch.cancel()))
    with pytest.raises(Cancelled):
        site.client().model(4, watch)


# Answers


@pytest.mark.parametrize("body", [b"", b"<html>", b"[" * 100_000, b"\xff\xfe", b'{"id": 1e999', b"nul"])
def test_an_answer_that_is_no_json_is_said(body: bytes, site: Site) -> None:
    site.faults.append(lambda handler, asked: handler.answer(200, body) or True)
    with pytest.raises(CivitaiError):
        site.client().model(4)


def test_an_answer_without_end_is_cut_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_JSON", 10_000)
    site.models[0]["description"] = "x" * 20_000
    with pytest.raises(CivitaiError, match="longer than"):
        site.client().model(4)


def test_an_answer_that_comes_drop_by_drop_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_ANSWER_TIME", -1.0)
    with pytest.raises(CivitaiError, match="takes too long"):
        site.client().model(4)


NAMES = (
    *("id", "modelId", "name", "type", "model", "modelVersions", "files", "images", "hashes", "SHA256", "url"),
    *("downloadUrl", "sizeKB", "tags", "items", "metadata", "nextCursor", "nextPage", "stats", "nsfw", "nsfwLevel"),
    *("trainedWords", "description", "creator", "publishedAt", "baseModel", "primary"),
)
ANSWERS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=8),
    max_leaves=40,
)


@given(answer=ANSWERS)
def test_whatever_the_site_sends_is_read_or_left(answer: Any) -> None:
    answers.page({"items": [answer], "metadata": answer})
    answers.page(answer)
    if model := answers.model({"id": 1, "modelVersions": [answer, {"id": 2, "files": answer, "images": [answer]}]}):
        assert all(file.download.startswith("/api/download/models/") for v in model.versions for file in v.files)
    answers.version(answer)


# Redirects


@pytest.mark.parametrize(
    "target",
    [
        "file:///etc/passwd",
        "ftp://example.com/x",
        "gopher://127.0.0.1/x",
        "//127.0.0.1:1/x",
        "http://127.0.0.1:1/x",
        "http://127.1:1/x",
        "http://2130706433:1/x",
        "http://0x7f.1:1/x",
        "http://0.0.0.0:1/x",
        "http://[::1]:1/x",
        "http://[::ffff:127.0.0.1]:1/x",
        "http://[64:ff9b::7f00:1]:1/x",
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/x",
        "http://192.168.0.1/x",
        "http://localhost:1/x",
        "http://router/x",
        "http://metadata.google.internal/x",
        "http://printer.local/x",
        "http://user:password@example.com/x",
        "http://[half/x",
        "http://a b/x",
    ],
)
def test_the_users_own_network_is_never_asked(target: str, site: Site, tmp_path: Path) -> None:
    site.redirects(FILE, target)
    with pytest.raises(Refused):
        get(site.client(), "4", tmp_path)
    assert not site.paths("store")


def test_a_public_name_that_leads_into_the_users_network_is_not_asked(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = urlsplit(site.store).port
    real = socket.getaddrinfo

    def resolve(host: Any, *arguments: Any, **options: Any) -> Any:
        return real("127.0.0.1" if host == "files.example.com" else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    site.redirects(FILE, f"http://files.example.com:{port}/file/400?X-Amz-Signature=1")
    with pytest.raises(Refused, match=r"files\.example\.com, which is not on the internet"):
        get(site.client(), "4", tmp_path)
    assert not site.paths("store")


def test_an_insecure_address_is_not_asked_for_a_secure_site() -> None:
    with pytest.raises(Refused, match="not secure"):
        Http("https://civitai.com").content("http://image.civitai.com/x.jpeg", 10)


def test_the_api_may_not_send_us_to_another_site(site: Site) -> None:
    site.redirects(MODEL, f"{site.store}{MODEL}")
    with pytest.raises(Refused, match="another site"):
        site.client(KEY).model(4)
    assert not site.paths("store")


def test_the_api_may_move_on_its_own_site(site: Site) -> None:
    site.redirects("/api/v1/models/5", "/api/v1/models/4", 308)
    assert site.client().model(5).id == 4


def test_going_round_in_circles_ends(site: Site) -> None:
    site.redirects(MODEL, MODEL)
    with pytest.raises(CivitaiError, match="in circles"):
        site.client().model(4)
    assert len(site.asked) < 10


def test_being_sent_to_the_login_page_means_that_a_key_is_needed(site: Site, tmp_path: Path) -> None:
    site.redirects(FILE, "/login?returnUrl=/model-versions/400&reason=download-auth")
    with pytest.raises(KeyNeeded, match="CIVITAI_API_KEY"):
        get(site.client(), "4", tmp_path)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("198.18.0.7", True),  # what Clash and its like give to public names
        ("127.0.0.1", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("0.0.0.0", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:10.0.0.1", False),
        ("2002:7f00:1::", False),
        ("64:ff9b::a00:1", False),
        ("64:ff9b::808:808", True),
    ],
)
def test_public_and_private_addresses_are_told_apart(address: str, public: bool) -> None:
    assert is_public(address) is public
    assert looks_private(address.partition("%")[0]) is not public


# The key


def test_the_key_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CIVITAI_API_KEY", "CIVITAI_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert key_from_environment() == ""
    monkeypatch.setenv("CIVITAI_TOKEN", f" {KEY}\n")
    assert key_from_environment() == KEY
    monkeypatch.setenv("CIVITAI_API_KEY", "other")
    assert key_from_environment() == "other"


@pytest.mark.parametrize("key", ["a\r\nX-Evil: 1", "schlüssel", "a b"])
def test_a_key_that_would_spoil_the_request_is_refused_without_repeating_it(key: str, site: Site) -> None:
    with pytest.raises(CivitaiError) as caught:
        site.client(key)
    assert key not in str(caught.value)


def test_a_file_for_those_logged_in_says_how_to_get_it(site: Site, tmp_path: Path) -> None:
    site.needs_key = True
    with pytest.raises(KeyNeeded, match=r"requires you to be logged in.*CIVITAI_API_KEY"):
        get(site.client(), "4", tmp_path)
    with pytest.raises(KeyNeeded, match="did not accept your API key"):
        get(site.client("wrong"), "4", tmp_path)


def test_the_key_is_nowhere_but_in_the_header(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    def echo(handler: Any, asked: Asked) -> bool:
        site.models[0]["description"] = f"<p>your key is {asked.headers.get('Authorization')}</p>"
        return False

    caplog.set_level(logging.DEBUG)
    site.needs_key = True
    site.faults.append(echo)
    site.refuses(500, 1, "/file/")
    client = site.client(KEY)
    get(client, "4", tmp_path)
    site.refuses(400, 1, MODEL, {"error": f"bad key {KEY}"})
    with pytest.raises(CivitaiError) as caught:
        client.model(4)
    told = caplog.text + "".join(capsys.readouterr()) + str(caught.value) + repr(client) + repr(vars(client))
    assert KEY not in told
    assert not any(KEY.encode() in file.read_bytes() for file in tmp_path.iterdir())


def test_no_password_from_a_netrc_is_sent(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\nmachine localhost login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    get(site.client(), "4", tmp_path / "here")
    assert not any("Authorization" in asked.headers for asked in site.asked)


@pytest.mark.parametrize("address", ["http://civitai.com", "ftp://civitai.com", "civitai.com", ""])
def test_a_site_without_encryption_is_refused(address: str) -> None:
    with pytest.raises(CivitaiError, match="https://"):
        Civitai(KEY, address)


# Behind a proxy


def test_a_proxy_from_the_environment_is_used(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            lines.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.server_port}")
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.server_port}")
        client = site.client()
        client.http.content(f"{site.url}/x", 10)
        assert lines == [f"{site.url}/x"] and not site.asked
        with pytest.raises(Refused):  # nor may a proxy be used to look around in the network
            client.http.content("http://10.0.0.1/", 10)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert client.model(4).id == 4
    finally:
        proxy.shutdown()
        proxy.server_close()


def test_a_proxy_that_does_not_answer_is_said(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with pytest.raises(Unreachable, match="proxy"):
        site.client().model(4)


# Search


def test_a_search_asks_for_hypernetworks_with_its_filters(site: Site) -> None:
    client = site.client()
    client.search(Search("ink", tag="style", creator="painter", base="SD 1.5", sort="Newest", period="Month", limit=5))
    assert site.asked[0].query == {
        "types": ["Hypernetwork"],
        "query": ["ink"],
        "tag": ["style"],
        "username": ["painter"],
        "baseModels": ["SD 1.5"],
        "sort": ["Newest"],
        "period": ["Month"],
        "nsfw": ["false"],
        "limit": ["5"],
    }


def test_a_search_goes_on_from_page_to_page(site: Site) -> None:
    for number in range(5, 9):
        site.add(number, f"Ink {number}", b"x")
    client, cursor, found = site.client(), "", []
    while True:
        page = client.search(Search(limit=2), cursor)
        found += [model.id for model in page.models]
        cursor = page.cursor
        if not cursor:
            break
    assert found == [4, 5, 6, 7, 8]


def test_models_for_adults_are_listed_only_where_that_is_wanted(site: Site) -> None:
    site.models[0]["nsfw"] = True
    assert site.client().search(Search()).models == ()
    assert len(site.client().search(Search(adult=True)).models) == 1


def test_a_card_has_what_a_page_shows(site: Site) -> None:
    (model,) = site.client().search(Search()).models
    assert (model.name, model.creator, model.downloads, model.likes, model.tags) == (
        "Ink wash",
        "painter",
        1234,
        56,
        ("style", "ink"),
    )
    assert model.preview is not None and model.preview.safe
    assert site.client().picture(model.preview)[1] == ".png"
    assert model.versions[0].base == "SD1"
    assert "Hypernet Str." in model.description and "<" not in model.description


def test_an_order_that_the_site_does_not_have_is_said(site: Site) -> None:
    with pytest.raises(CivitaiError, match="Most Downloaded"):
        site.client().search(Search(sort="Best"))


def test_a_number_without_a_model_is_not_there(site: Site) -> None:
    with pytest.raises(NotThere):
        site.client().version(1)
