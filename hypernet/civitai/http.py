"""Requests to Civitai and to where it redirects us: with retries and limits, and safe for the user's key and network.

The only file that goes online, and only when a method is called.
"""

from __future__ import annotations

import email.utils
import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from urllib.parse import urljoin, urlsplit

import requests

from hypernet import __version__
from hypernet.civitai.connection import CivitaiError, PublicAdapter, Refused, looks_private
from hypernet.civitai.progress import Watch
from hypernet.text import printable

AGENT = f"hypernet/{__version__} (hypernetworks for Stable Diffusion; python-requests)"
"""How requests name this program."""
MAX_JSON = 32 << 20
"""Bytes. A page of a hundred models has about two million."""
TIMEOUT = (15.0, 30.0)
"""Seconds to connect, and to wait for the next bytes of an answer."""
MAX_ANSWER_TIME = 120.0
"""Seconds for a whole answer, except for downloads."""
TRIES = 5
"""How often a request is tried."""
MAX_PATIENCE = 60.0
"""Seconds. If the site asks for a longer wait, the user is told instead."""
_BUSY = (429, 500, 502, 503, 504, 520, 521, 522, 523, 524)
_MOVED = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 5
_MAX_MESSAGE = 1 << 16
_CHUNK = 1 << 16

Query = Sequence[tuple[str, str]]


class NotThere(CivitaiError):
    """Civitai has nothing under this number or hash."""


class KeyNeeded(CivitaiError):
    """Civitai wants an API key, or a different one."""


class Unreachable(CivitaiError):
    """No connection could be made in several tries."""


class Interrupted(CivitaiError):
    """An answer broke off; the request can be repeated."""


class Http:
    """Speaks to one site.

    site: origin, such as `https://civitai.com`. key: the user's API key, sent to that origin only, in a header.
    private: further addresses, each `host:port`, that may be in the user's own network. pause: seconds before the
    first retry; doubled each time.
    """

    def __init__(self, site: str, key: str = "", *, private: frozenset[str] = frozenset(), pause: float = 1.0) -> None:
        self.site = _checked_site(site)
        self._key = _checked_key(key)
        self.pause = pause
        self._session = requests.Session()
        self._session.headers.update({"User-Agent": AGENT, "Accept": "*/*"})
        self._session.auth = self._sign  # also keeps requests from looking for a password in ~/.netrc
        adapter = PublicAdapter(private | {_host_and_port(self.site)})
        self._private = private | {_host_and_port(self.site)}
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, adapter)

    def close(self) -> None:
        """Closes the connections that were kept open."""
        self._session.close()

    def get_json(self, path: str, query: Query = (), watch: Watch | None = None) -> object:
        """What the site's API answers. Raises CivitaiError, Cancelled."""
        return self._json("GET", path, query, None, watch or Watch())

    def post_json(self, path: str, body: object, watch: Watch | None = None) -> object:
        """The same for a request with a JSON body."""
        return self._json("POST", path, (), body, watch or Watch())

    def content(self, url: str, limit: int, watch: Watch | None = None) -> bytes:
        """A small file from anywhere on the internet, at most `limit` bytes. Raises CivitaiError, Cancelled."""
        watch = watch or Watch()
        with self.opened(url, {"Accept-Encoding": "identity"}, watch) as response:
            return _whole(response, limit, watch)

    @contextmanager
    def opened(self, url: str, headers: Mapping[str, str], watch: Watch) -> Iterator[requests.Response]:
        """The answer to GET, of status 200, 206 or 416, its body unread. Raises CivitaiError, Cancelled."""
        response = self._answer("GET", url, (), headers, None, watch, anywhere=True)
        try:
            yield response
        finally:
            response.close()

    def _json(self, method: str, path: str, query: Query, body: object, watch: Watch) -> object:
        headers = {"Accept": "application/json"}
        data = None if body is None else json.dumps(body)
        if data is not None:
            headers["Content-Type"] = "application/json"
        response = self._answer(method, f"{self.site}{path}", query, headers, data, watch, anywhere=False)
        try:
            text = self._without_key(_whole(response, MAX_JSON, watch).decode("utf-8", "replace"))
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise CivitaiError("Civitai sent something that is no JSON: try again later.") from error
        finally:
            response.close()

    def _answer(
        self,
        method: str,
        url: str,
        query: Query,
        headers: Mapping[str, str],
        data: str | None,
        watch: Watch,
        *,
        anywhere: bool,
    ) -> requests.Response:
        """Sends a request, follows redirects, and retries where that helps.

        anywhere: whether a redirect may leave the site.
        """
        for attempt in range(TRIES):
            last = attempt + 1 == TRIES
            try:
                response = self._followed(method, url, query, headers, data, watch, anywhere)
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
                if last:
                    raise Unreachable(_unreachable(error)) from None
                wait = self._backoff(attempt)
            else:
                if response.status_code in (200, 206, 416):
                    return response
                asked = _retry_after(response)
                if last or response.status_code not in _BUSY or asked > MAX_PATIENCE:
                    raise self._problem(response, asked)
                response.close()
                wait = asked or self._backoff(attempt)
            watch.sleep(wait)
        raise AssertionError("unreachable")

    def _followed(
        self,
        method: str,
        url: str,
        query: Query,
        headers: Mapping[str, str],
        data: str | None,
        watch: Watch,
        anywhere: bool,
    ) -> requests.Response:
        for _ in range(_MAX_REDIRECTS + 1):
            watch.check()
            prepared = self._prepared(requests.Request(method, url, headers=dict(headers), params=query, data=data))
            assert prepared.url is not None
            if not anywhere and _origin(prepared.url) != self.site:
                raise Refused("Civitai's API sent us to another site: it was not asked.")
            settings = self._session.merge_environment_settings(prepared.url, {}, True, None, None)
            # Not Session.send, which keeps cookies and follows redirects before we can check them.
            response = self._session.get_adapter(prepared.url).send(prepared, timeout=TIMEOUT, **settings)
            target = response.headers.get("Location")
            if response.status_code not in _MOVED or target is None:
                return response
            response.close()
            url, query = _joined(prepared.url, target), ()
            if _origin(url) == self.site and urlsplit(url).path.startswith("/login"):
                raise self._key_needed("")
        raise CivitaiError("Civitai sends us round in circles: try again later.")

    def _prepared(self, request: requests.Request) -> requests.PreparedRequest:
        """The request, ready to be sent. Raises Refused for an address that must not be contacted."""
        try:
            prepared = self._session.prepare_request(request)
            assert prepared.url is not None
            parts = urlsplit(prepared.url)
            address = _host_and_port(prepared.url)
        except (requests.RequestException, ValueError) as error:
            raise Refused("Civitai sent us to an address that is none.") from error
        if parts.scheme not in ("https", urlsplit(self.site).scheme):
            raise Refused(f"Civitai sent us to an address that is not secure ({parts.scheme}): it was not asked.")
        if "@" in parts.netloc:
            raise Refused("Civitai sent us to an address with a password in it: it was not asked.")
        if address not in self._private and looks_private(parts.hostname or ""):
            host = printable(parts.hostname or "nowhere")
            raise Refused(f"Civitai sent us to {host}, which is not on the internet: it was not asked.")
        return prepared

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Adds the key, for the site itself only. The key is used nowhere else."""
        if self._key and _origin(request.url or "") == self.site:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def _backoff(self, attempt: int) -> float:
        return float(self.pause * 2**attempt * random.uniform(0.75, 1.25))

    def _without_key(self, text: str) -> str:
        """Removes the key from a text, so that a site that echoes it can't get it into files or messages."""
        return text.replace(self._key, "…") if self._key else text

    def _problem(self, response: requests.Response, asked: float) -> CivitaiError:
        """The error for an answer that is a refusal."""
        status, said = response.status_code, self._message(response)
        response.close()
        if status == 401:
            return self._key_needed(said)
        if status == 403:
            return KeyNeeded(f"Civitai does not give this to you{said or ': an API key may be needed.'}")
        if status in (404, 410):
            return NotThere(f"Civitai has no such thing{said or '.'}")
        if status == 429 or asked > MAX_PATIENCE:
            wait = f" in {asked / 60:.0f} minutes" if asked > MAX_PATIENCE else " later"
            return CivitaiError(f"Civitai is asked too much{said or '.'} Try again{wait}.")
        if status >= 500:
            return CivitaiError(f"Civitai has a problem of its own (error {status}). Try again later.")
        return CivitaiError(f"Civitai did not answer (error {status}){said or '.'}")

    def _key_needed(self, said: str) -> KeyNeeded:
        if self._key:
            return KeyNeeded(f"Civitai did not accept your API key for this{said or '.'}")
        return KeyNeeded(
            f"Civitai gives this only to those who are logged in{said or '.'} Make an API key in your account there, "
            "and set it as CIVITAI_API_KEY."
        )

    def _message(self, response: requests.Response) -> str:
        """': what the site says.', or nothing."""
        try:
            text = _whole(response, _MAX_MESSAGE, Watch()).decode("utf-8", "replace")
            answer = json.loads(self._without_key(text))
        except (CivitaiError, requests.RequestException, ValueError, RecursionError):
            return ""
        if not isinstance(answer, dict):
            return ""
        texts = [answer[key] for key in ("message", "error") if isinstance(answer.get(key), str)]
        said = " ".join(printable(texts[0]).split())[:200].rstrip(".!") if texts else ""
        return f": {said}." if said else ""


def _whole(response: requests.Response, limit: int, watch: Watch) -> bytes:
    """The body. Raises CivitaiError if it is longer than `limit` bytes or takes too long; Interrupted; Cancelled."""
    chunks, size, end = [], 0, time.monotonic() + MAX_ANSWER_TIME
    try:
        for chunk in response.iter_content(_CHUNK):
            watch.check()
            chunks.append(chunk)
            size += len(chunk)
            if size > limit:
                raise CivitaiError(f"Civitai's answer is longer than the {limit >> 10} kB that are taken.")
            if time.monotonic() > end:
                raise Interrupted("Civitai's answer takes too long: try again later.")
    except requests.RequestException as error:
        raise Interrupted(_unreachable(error)) from None
    return b"".join(chunks)


def _joined(url: str, target: str) -> str:
    """Where a redirect leads. Raises Refused."""
    try:
        return urljoin(url, target.encode("latin-1", "replace").decode("utf-8", "replace"))
    except ValueError as error:
        raise Refused("Civitai sent us to an address that is none.") from error


def _retry_after(response: requests.Response) -> float:
    """Seconds that the site asks us to wait, 0 if it does not say."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdigit() and len(value) < 10:
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _unreachable(error: requests.RequestException) -> str:
    """A sentence for the user. The library's own text would show signed addresses."""
    if isinstance(error, requests.exceptions.ProxyError):
        return "The proxy in your settings (HTTPS_PROXY) does not answer."
    if isinstance(error, requests.exceptions.SSLError):
        return "Civitai's certificate could not be checked: is your clock right, or does a proxy need its own?"
    if isinstance(error, requests.Timeout):
        return "Civitai does not answer: try again later."
    return "The connection to Civitai could not be made or broke off: are you online?"


def _checked_site(site: str) -> str:
    parts = urlsplit(site)
    loopback = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if parts.scheme != "https" and not (parts.scheme == "http" and loopback):
        raise CivitaiError(f"{site}: the site's address must begin with https://.")
    return _origin(site)


def _checked_key(key: str) -> str:
    key = key.strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise CivitaiError("The Civitai API key holds characters that no key has: copy it again.")
    return key


def _origin(url: str) -> str:
    """Scheme, host and port; nothing for what is no address."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port not in (None, {"http": 80, "https": 443}.get(parts.scheme)) else ""
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}"


def _host_and_port(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or {'http': 80, 'https': 443}.get(parts.scheme)}"
