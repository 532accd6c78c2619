"""Small documents from the web: verified, limited in size and time, never from https to http."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from mm_lib.services.errors import ServiceError

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

MAX_REDIRECTS = 3
_CHUNK = 1 << 16
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class DownloadError(ServiceError):
    """A document cannot be had; the message says why."""


def read_document(source: str, max_bytes: int, seconds: float, ca_file: Path | None = None) -> bytes:
    """A file, or what an https:// URL gives. Raises DownloadError, OSError."""
    if "://" in source:
        return _fetch(source, max_bytes, seconds, ca_file)
    with Path(source).open("rb") as stream:
        data = stream.read(max_bytes + 1)
    return _checked(source, data, max_bytes)


def _fetch(url: str, max_bytes: int, seconds: float, ca_file: Path | None) -> bytes:
    import urllib3  # slow to load, and few commands fetch

    deadline = time.monotonic() + seconds
    timeout = urllib3.Timeout(connect=min(10.0, seconds), read=seconds)
    with urllib3.PoolManager(timeout=timeout, retries=False, ca_certs=str(ca_file) if ca_file else None) as pool:
        for _ in range(1 + MAX_REDIRECTS):
            _refuse_unsafe(url)
            try:
                response = pool.request("GET", url, preload_content=False, redirect=False)
                try:
                    if location := response.get_redirect_location():
                        url = urljoin(url, location)
                        continue
                    if response.status != 200:
                        raise DownloadError(f"{url} answered {response.status}, not 200.")
                    return _body(response, url, max_bytes, deadline)
                finally:
                    response.release_conn()
                    response.close()
            except urllib3.exceptions.HTTPError as error:
                raise DownloadError(f"{url} cannot be fetched: {error}") from None
    raise DownloadError(f"{url}: more than {MAX_REDIRECTS} redirects.")


def _body(response: BaseHTTPResponse, url: str, max_bytes: int, deadline: float) -> bytes:
    data = bytearray()
    for chunk in response.stream(_CHUNK, decode_content=True):
        data += chunk
        if len(data) > max_bytes:
            break
        if time.monotonic() > deadline:
            raise DownloadError(f"{url} did not end in time.")
    return _checked(url, bytes(data), max_bytes)


def _checked(source: str, data: bytes, max_bytes: int) -> bytes:
    if len(data) > max_bytes:
        raise DownloadError(f"{source} is larger than the {max_bytes:,} bytes that are read.")
    return data


def _refuse_unsafe(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        return
    raise DownloadError(f"{url}: must be https, or anybody on the way could say what is in it.")
