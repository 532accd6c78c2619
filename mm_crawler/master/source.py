"""A category's `source` column opened: what reads the master tree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mm_crawler.curl import CurlOptions
from mm_crawler.master import filelist, listing, rsync
from mm_crawler.master.contents import Contents, LocalContents, NoContents
from mm_crawler.master.filelist import ListTree
from mm_crawler.master.namelist import NamedTree
from mm_crawler.master.scanned import Excludes, Source, SourceError
from mm_crawler.master.walk import DirectoryTree
from mm_crawler.master.web import WebContents, WebTree
from mm_lib.services import sources
from mm_lib.services.errors import InvalidValue
from mm_lib.settings import CrawlerSettings

_CONNECTIONS = 8  # to one master


def parse_source(value: dict[str, Any]) -> sources.Source:
    """The source of a category. Raises SourceError naming each wrong key."""
    try:
        return sources.parse_source(value)
    except InvalidValue as error:
        raise SourceError(f"source.{error.message} (`mm-admin category set --source`)") from None


def open_source(source: sources.Source, settings: CrawlerSettings) -> Source:
    """What reads it; to be closed. Raises SourceError."""
    excludes = Excludes(source.excludes)
    match source:
        case sources.DirectorySource():
            return DirectoryTree(source.path, excludes)
        case sources.TimeListSource():
            return ListTree(source.path, _contents(source.content, settings), excludes, prefix=source.prefix)
        case sources.NameListSource():
            return NamedTree(source.path, source.prefix, source.content, excludes)
        case sources.RsyncSource():
            return rsync.RsyncTree(source.url, source.timeout, settings, excludes)
        case sources.ListingSource():
            contents = _contents(source.content, settings)
            return listing.saved_listing(source.path, contents, excludes, prefix=source.prefix)
        case sources.HttpSource():
            return WebTree(
                source.url,
                curl_options(settings),
                excludes,
                max_depth=source.max_depth,
                max_page_bytes=source.max_page_bytes,
            )


def fingerprint(source: sources.Source) -> bytes | None:
    """What changes with the list that a source reads, or with the source; None where only the tree itself can tell."""
    if isinstance(source, sources.TimeListSource | sources.ListingSource):
        return filelist.fingerprint(source.path, f"1 {source.model_dump_json()}".encode())
    return None


def _contents(place: str, settings: CrawlerSettings) -> Contents:
    if not place:
        return NoContents()
    if place.startswith("rsync:"):
        return rsync.RsyncContents(place if place.endswith("/") else f"{place}/", settings)
    if "://" in place:
        return WebContents(place if place.endswith("/") else f"{place}/", curl_options(settings))
    return LocalContents(Path(place))


def curl_options(settings: CrawlerSettings) -> CurlOptions:
    """The settings, as libcurl wants them."""
    return CurlOptions(
        settings.user_agent, settings.connect_timeout, settings.request_timeout, _CONNECTIONS, settings.ca_file
    )
