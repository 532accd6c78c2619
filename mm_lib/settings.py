"""The typed, frozen settings of every program: one TOML file, MM_* environment variables, *_FILE secrets.

An unknown, misspelt or wrong key stops the program with a message that names it (SettingsError).
Later sources win: defaults, the TOML file, MM_SECTION__KEY, and MM_SECTION__KEY_FILE (a file that holds the value).
Relative paths are relative to the folder of the configuration file.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    model_validator,
)

PREFIX = "MM_"
CONFIG_VARIABLE = "MM_CONFIG"
SEARCH_PATH = (Path("mirrormanager.toml"), Path("/etc/mirrormanager/mirrormanager.toml"))
MIN_SECRET_LENGTH = 32
USER_AGENT = "mirrormanager-crawler/0.1"

Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
Minutes = Annotated[float, Field(gt=0)]
_NoneIfEmpty = BeforeValidator(lambda value: None if value == "" else value)
OptionalPath = Annotated[Path | None, _NoneIfEmpty]
Gateway = Annotated[Annotated[str, Field(pattern=r"^https?://[^\s@?#]+$")] | None, _NoneIfEmpty]
OptionalSecret = Annotated[SecretStr | None, _NoneIfEmpty]
MOST_DAYS = 36_525  # a century; far more is beyond what dates can hold
Days = Annotated[float, Field(gt=0, le=MOST_DAYS)]
OptionalDays = Annotated[Annotated[float, Field(ge=0, le=MOST_DAYS)] | None, _NoneIfEmpty]


def _network(text: str) -> str:
    return str(ip_network(text))


Network = Annotated[str, AfterValidator(_network)]  # CIDR


def _http_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path in ("", "/"):
        raise ValueError("must be http:// or https:// with a host and a path")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("must have no user, query or fragment: it is logged, and names other files by an ending")
    return text


def _words(value: Any) -> Any:
    """A list may be given as text, with spaces or commas between: environment variables know nothing else."""
    return value.replace(",", " ").split() if isinstance(value, str) else value


def _page_address(text: str) -> str:
    parts = urlsplit(text)
    if text and (parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment):
        raise ValueError("must be http:// or https:// with a host, and neither query nor fragment")
    return text.rstrip("/")


PageAddress = Annotated[str, AfterValidator(_page_address)]  # paths are put behind it
WebAddress = Annotated[str, Field(pattern=r"^https?://\S+$|^mailto:\S+$")]
OptionalColour = Annotated[str, Field(pattern="^$|^#[0-9a-fA-F]{6}$")]
HttpUrls = Annotated[list[Annotated[str, AfterValidator(_http_url)]], BeforeValidator(_words)]


class SettingsError(Exception):
    """The settings cannot be used; the message names each wrong key and says what to do."""


def contrast(one: str, other: str) -> float:
    """How well two colours (#rrggbb) can be told apart: 1 to 21, as WCAG 2.2 counts."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


class Section(BaseModel):
    """Frozen, and refuses keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DatabaseSettings(Section):
    """Where the registry lives."""

    url: str = Field("sqlite:///mirrormanager.sqlite", description="sqlite:///FILE or postgresql://USER@HOST/NAME")
    pool_size: int = Field(5, ge=1, description="connections that a process keeps open (PostgreSQL)")


class CacheSettings(Section):
    """The file that redirectors answer from."""

    file: Path = Field(Path("mirrorlist.cache"), description="written by `mm-admin cache build`")
    signing_key: OptionalPath = Field(
        None, description="`mm-admin cache build` signs with it (`mm-admin cache keygen` makes one); none: no signature"
    )


class WeightsSettings(Section):
    """What a host's bandwidth is multiplied by in a draw, besides what a request decides."""

    suspect: float = Field(0.5, ge=0, le=1, description="for a mirror whose last crawl gave no clear answer")
    probation: float = Field(0.25, ge=0, le=1, description="for a mirror that has to show that it is back for good")
    slow_start_hours: float = Field(24.0, ge=0, description="a new or returned mirror grows so long; 0: it does not")
    slow_start_floor: float = Field(0.1, gt=0, le=1, description="what a new or returned mirror begins with")
    max_share: float = Field(0.5, gt=0, le=1, description="largest share of its country that one mirror gets; 1: any")
    share_floor: float = Field(
        0.25, ge=0, le=1, description="max_share cuts no weight below this part: its small neighbours would drown"
    )


class GeoSettings(Section):
    """Which country, place and network an address belongs to. Files that are not named are not used."""

    country_database: OptionalPath = Field(
        None, description="MMDB with countries (GeoLite2-Country, or made by `mm-admin geodata update`)"
    )
    city_database: OptionalPath = Field(None, description="MMDB with coordinates (GeoLite2-City)")
    asn_database: OptionalPath = Field(None, description="MMDB with autonomous system numbers (GeoLite2-ASN)")
    embedded: bool = Field(True, description="without a country database, use the countries that iptocc carries")


class LogSettings(Section):
    """Diagnostic messages; they go to standard error."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="the least severe that is shown")
    format: Literal["auto", "text", "json"] = Field("auto", description="auto: text on a terminal, JSON lines else")


class RedirectorSettings(Section):
    """How clients are answered."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: Port = Field(3000, description="port to listen on")
    workers: int = Field(2, ge=1, description="processes; one per core")
    server: Literal["granian", "gunicorn"] = Field("granian", description="what serves; gunicorn: slower, plain Python")
    trusted_proxies: int = Field(
        0, ge=0, le=10, description="reverse proxies in front that append to X-Forwarded-For; 0: the peer is the client"
    )
    allow_ip_parameter: bool = Field(False, description="let clients choose the address they are judged by, with ip=")
    policy: Literal["balanced", "classic"] = Field(
        "balanced", description="balanced: by all factors, a list that is long enough; classic: as MirrorManager did"
    )
    factors: Annotated[
        list[Literal["bandwidth", "health", "slow_start", "share", "nearness"]], BeforeValidator(_words)
    ] = Field(
        ["bandwidth", "health", "slow_start", "share", "nearness"],
        description="what the weight of a host in the draw is made of (balanced)",
    )
    max_hosts: int = Field(20, ge=0, description="an answer ends at this many hosts (balanced); 0: never")
    minimum_hosts: int = Field(5, ge=0, description="below this many hosts an answer is filled up from all the world")
    nearness_km: float = Field(500.0, gt=0, description="at this distance a host is drawn half as often as next door")
    stable: bool = Field(False, description="a client network gets the same order until the next cache")
    explain: Literal["off", "networks", "public"] = Field("off", description="who may ask /explain")
    explain_networks: Annotated[list[Network], BeforeValidator(_words)] = Field(
        [], description="administrators' networks, that may ask when explain is set to networks"
    )
    explain_per_minute: int = Field(60, ge=1, description="explanations per minute and worker")
    max_cache_age_hours: float = Field(0.0, ge=0, description="an older cache makes /healthz/ready say no; 0: never")
    reload_interval: Seconds = Field(1.0, description="seconds between looks for a new cache file")
    cache_urls: HttpUrls = Field([], description="where the cache is fetched from, the first that works; none: nowhere")
    cache_public_key: OptionalPath = Field(None, description="fetch only what is signed by its key; none: anything")
    fetch_interval: Seconds = Field(60.0, description="seconds between fetches, give or take a fifth")
    fetch_timeout: Seconds = Field(120.0, description="seconds for one download of the cache")
    fetch_max_bytes: int = Field(1 << 30, ge=1024, description="largest cache that is fetched")
    fetch_ca_file: OptionalPath = Field(None, description="certificates to trust instead of the system's (PEM)")
    access_log: OptionalPath = Field(None, description="one line per answered repository request; none: not written")
    access_log_format: Literal["classic", "json"] = Field(
        "classic", description="classic: MirrorManager's line; json: every request, with ECS field names"
    )
    log_networks: bool = Field(False, description="log clients as their networks only (IPv4 /24, IPv6 /48)")


class CrawlerSettings(Section):
    """How mirrors are asked. Be polite: they are run by volunteers."""

    user_agent: str = Field(
        USER_AGENT,
        description="what mirrors see; as it is, frontend.public_url adds the page that explains the crawler",
    )
    connections_per_host: int = Field(2, ge=1, le=16, description="connections to one mirror at once")
    requests_per_second: float = Field(10.0, gt=0, description="requests to one mirror in a second")
    connections: int = Field(200, ge=1, description="connections in all")
    hosts: int = Field(50, ge=1, description="mirrors crawled at once")
    connect_timeout: Seconds = Field(10.0, description="seconds to connect")
    request_timeout: Seconds = Field(30.0, description="seconds for one answer")
    host_timeout: Seconds = Field(3600.0, description="seconds for one mirror")
    total_timeout: Seconds = Field(21600.0, description="seconds for a whole run")
    tries: int = Field(3, ge=1, le=10, description="tries for an answer that is neither yes nor no")
    max_metadata_bytes: int = Field(64 << 20, ge=1024, description="largest repomd.xml that is fetched")
    fail_hosts_after: int = Field(
        4, ge=1, description="failed full and incremental crawls in a row after which a host is switched off"
    )
    probation_crawls: int = Field(3, ge=1, description="good crawls in a row that end the probation of a mirror")
    probation_hours: float = Field(6.0, ge=0, description="a mirror that was gone is on probation for at least so long")
    unknown_after_tries: int = Field(4, ge=1, description="crawls in a row without an answer that a directory may have")
    unknown_after_hours: float = Field(48.0, gt=0, description="how long a directory may be without an answer")
    canary_minutes: Minutes = Field(15.0, description="--due: between looks whether a mirror is there")
    metadata_minutes: Minutes = Field(10.0, description="--due: least time between looks at changed metadata")
    metadata_max_minutes: Minutes = Field(120.0, description="--due: most time between looks at metadata that is late")
    incremental_minutes: Minutes = Field(60.0, description="--due: least time between incremental crawls")
    incremental_max_minutes: Minutes = Field(480.0, description="--due: most time between incremental crawls")
    full_hours: float = Field(24.0, gt=0, description="--due: least time between full crawls")
    full_max_hours: float = Field(72.0, gt=0, description="--due: most time between full crawls, of quiet mirrors")
    retry_hours: float = Field(12.0, gt=0, description="--due: between crawls of a mirror that could not be crawled")
    sample_parts: int = Field(24, ge=1, description="an incremental crawl looks at one of so many parts of the rest")
    max_stale_days: float = Field(4.0, ge=0, description="how long an older repomd.xml still counts as good")
    max_propagation_days: OptionalDays = Field(
        None, description="while the newest is younger, the one before it counts, however old; none: a day less"
    )
    max_vanished_share: float = Field(
        0.05, ge=0, le=1, description="larger part of a master that may not vanish at once without --force"
    )
    ca_file: OptionalPath = Field(None, description="certificates to trust instead of the system's (PEM)")
    log_directory: OptionalPath = Field(None, description="a log per mirror and run goes there; none: not written")
    log_keep: int = Field(15, ge=1, description="logs kept of each mirror, the newest")
    log_max_bytes: int = Field(1 << 20, ge=4096, description="largest log of one mirror and run")
    keep_results_days: Days = Field(
        90.0, description="results of crawls are kept so long, and the last of each mirror for ever"
    )
    worker_jobs: int = Field(4, ge=1, le=100, description="jobs that a worker does at once")
    worker_grace: Seconds = Field(30.0, description="a worker that has to end waits so long for its jobs")
    worker_heartbeat: Seconds = Field(10.0, description="seconds between signs of life of a worker")
    worker_stalled: Seconds = Field(60.0, description="a worker without signs of life for so long has its jobs taken")
    propagation_days: Days = Field(30.0, description="measurements of propagation are kept so long")
    propagation_version_days: Days = Field(
        1100.0, description="it is kept so long how each version of metadata reached the mirrors"
    )
    propagation_alarm_percent: float = Field(
        80.0, ge=0, le=100, description="mirrors that should have new metadata in time; else a warning; 0: none"
    )
    propagation_alarm_hours: float = Field(24.0, gt=0, le=24 * MOST_DAYS, description="the time that they have for it")
    metrics_directory: OptionalPath = Field(
        None, description="each run leaves its figures there, for node_exporter's textfile collector; none: not written"
    )
    metrics_push_url: Gateway = Field(
        None, description="a Prometheus Pushgateway that each run sends its figures to; none: not sent"
    )
    keep_jobs_days: Days = Field(7.0, description="jobs that have ended are kept so long")
    check_again_minutes: Minutes = Field(10.0, description="a mirror is checked on request no more often than that")
    private_mirrors: bool = Field(
        False,
        description="mirrors may have addresses that are not on the Internet: owners enter them, the crawler asks",
    )

    @model_validator(mode="after")
    def _patient(self) -> Self:
        if self.worker_stalled < 2 * self.worker_heartbeat:
            raise ValueError("worker_stalled must be at least twice worker_heartbeat, or live workers lose their jobs")
        return self


class FrontendSettings(Section):
    """The web pages."""

    secret_key: SecretStr | None = Field(None, description="signs sessions; `mm-admin init` makes one")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: Port = Field(5000, description="port to listen on")
    workers: int = Field(2, ge=1, description="processes")
    trusted_proxies: int = Field(0, ge=0, le=10, description="reverse proxies in front")
    https: bool = Field(True, description="pages are reached by https: cookies are Secure, HSTS is sent")
    metrics_networks: Annotated[list[Network], BeforeValidator(_words)] = Field(
        [], description="networks whose clients may read /metrics; to others there is no such page"
    )
    session_hours: float = Field(8.0, gt=0, description="a sign-in ends after this many hours")
    page_size: int = Field(25, ge=5, le=100, description="rows per page")
    site_name: str = Field("MirrorManager", description="shown on every page")
    contact: str = Field("", description="e-mail address or URL shown in the footer; empty: none")
    redirector_url: str = Field("", description="public address of the redirector, shown in examples; empty: none")
    explain_url: str = Field(
        "",
        pattern=r"^$|^https?://\S+$",
        description="the redirector's /explain, as this machine reaches it; empty: none",
    )
    max_netblock_ipv4: int = Field(16, ge=1, le=32, description="largest network that owners of mirrors may claim: /16")
    max_netblock_ipv6: int = Field(32, ge=1, le=128, description="the same for IPv6: /32")
    approve_sites: bool = Field(False, description="new sites wait until an administrator has approved them")
    public_url: PageAddress = Field("", description="public address of these pages, for links in mail; empty: no links")
    cache_seconds: float = Field(60.0, ge=0, description="public pages show mirrors as they were so long ago at most")
    language: Literal["en", "de", "es"] = Field("en", description="of readers whose browser asks for none that we have")


class BrandSettings(Section):
    """Whose pages these are, beside frontend.site_name and frontend.contact."""

    logo: OptionalPath = Field(None, description="picture (SVG, PNG or WebP) instead of our mark")
    accent: OptionalColour = Field("", description="colour of links and buttons, as #0a6456; empty: ours")
    accent_dark: OptionalColour = Field("", description="the same in dark mode, as #63d4bd; empty: ours")
    legal: str = Field("", description="text at the foot of every page, such as the publisher")
    privacy: str = Field("", description="further text on the privacy page: who is responsible, whom to ask")
    links: dict[str, WebAddress] = Field({}, description="further links at the foot of pages, an address for each text")
    security_contact: str = Field(
        "", pattern=r"^$|^(https://|mailto:)\S+$", description="https: or mailto: address of security.txt; empty: none"
    )
    banner: str = Field("", description="message at the top of every page, such as an announced outage; empty: none")

    @model_validator(mode="after")
    def _readable(self) -> Self:
        for key, text, ground in (("accent", self.accent, "#dff0eb"), ("accent_dark", self.accent_dark, "#12372f")):
            if text and contrast(text, ground) < 4.5:
                raise ValueError(f"brand.{key} cannot be read on our pages: its contrast with {ground} is below 4.5")
        return self


class LoginSettings(Section):
    """Who may sign in with an account of this installation, and for how long; see also ldap and oidc."""

    local: bool = Field(True, description="people sign in with accounts of this installation")
    registration: bool = Field(
        False, description="people make such accounts themselves; needs mail.server and frontend.public_url"
    )
    admin_code: bool = Field(
        False, description="administrators and auditors with such an account need a one-time code for their rights"
    )
    idle_hours: float = Field(2.0, gt=0, description="a sign-in that is not used for so long ends")
    link_hours: float = Field(2.0, gt=0, le=72, description="links in mails (new account, new password) work so long")
    limits_storage: str = Field(
        "memory://",
        pattern=r"^(memory|redis|rediss|memcached)://",
        description="where tries are counted: memory:// (each process for itself), redis:// or memcached://HOST:PORT",
    )


def _directory_server(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("ldap", "ldaps") or not parts.hostname or parts.path not in ("", "/"):
        raise ValueError("must be ldap://HOST or ldaps://HOST, with :PORT if it is another than usual")
    return text.rstrip("/")


def _one_name(text: str) -> str:
    if text and "{name}" not in text:
        raise ValueError("must contain {name}, which stands for what was typed")
    return text


Words = Annotated[list[str], BeforeValidator(_words)]


class LdapSettings(Section):
    """A directory that knows names and passwords; needs mirrormanager[ldap]."""

    servers: Annotated[list[Annotated[str, AfterValidator(_directory_server)]], BeforeValidator(_words)] = Field(
        [], description="ldaps://HOST or ldap://HOST, tried in this order; none: people do not sign in by LDAP"
    )
    label: str = Field("Directory account", description="what the sign-in page calls it")
    start_tls: bool = Field(True, description="encrypt ldap:// connections; without, passwords travel in clear")
    ca_file: OptionalPath = Field(None, description="certificates to trust instead of the system's (PEM)")
    timeout: Seconds = Field(5.0, description="seconds for a connection, and for each answer; then the next server")
    bind_dn: str = Field("", description="account that searches for people; empty: anonymous")
    bind_password: OptionalSecret = Field(None, description="its password")
    base: str = Field("", description="where people are, such as ou=people,dc=example,dc=org")
    user_filter: Annotated[str, AfterValidator(_one_name)] = Field(
        "(uid={name})", description="finds the one entry of a person"
    )
    user_dn: Annotated[str, AfterValidator(_one_name)] = Field(
        "", description="bind at once as this, such as uid={name},ou=people,dc=example,dc=org; empty: search first"
    )
    subject_attribute: str = Field(
        "entryUUID", description="never changes for a person (FreeIPA: ipaUniqueID, Active Directory: objectGUID)"
    )
    name_attribute: str = Field("uid", description="user name (Active Directory: sAMAccountName)")
    display_name_attribute: str = Field("cn", description="name as people write it")
    email_attribute: str = Field("mail", description="mail address")
    member_of_attribute: str = Field("memberOf", description="groups, in a person's entry; empty: none there")
    group_base: str = Field("", description="search for groups below this; empty: they are not searched")
    group_filter: str = Field("(member={dn})", description="finds a person's groups; {dn} and {name} are the person's")
    required_groups: list[str] = Field([], description="only members of one of these sign in; none: everybody does")
    admin_groups: list[str] = Field([], description="members are administrators; a group is its cn or whole DN")
    auditor_groups: list[str] = Field([], description="members are auditors")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.servers and not self.base and not self.user_dn:
            raise ValueError("ldap.servers is set, so ldap.base (where people are) or ldap.user_dn must be, too")
        if self.servers and not self.base and "=" not in self.user_dn:
            raise ValueError("ldap.user_dn is no DN, so ldap.base is needed to find a person's entry")
        return self


def _issuer(text: str) -> str:
    parts = urlsplit(text)
    loopback = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if parts.scheme != "https" and not (parts.scheme == "http" and loopback):
        raise ValueError("must begin with https://")
    if not parts.hostname or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("must be the provider's address as it writes it itself, without query or fragment")
    return text


class OidcProvider(Section):
    """One OpenID provider."""

    label: str = Field(description="what the sign-in page calls it")
    issuer: Annotated[str, AfterValidator(_issuer)] = Field(
        description="address of the provider, as its discovery document writes it"
    )
    client_id: str = Field(description="what the provider calls this installation")
    client_secret: OptionalSecret = Field(None, description="password of this installation at the provider")
    client_secret_file: OptionalPath = Field(None, description="file that holds it instead")
    scopes: Words = Field(["openid", "profile", "email"], description="what is asked for; openid is always")
    name_claim: str = Field("preferred_username", description="user name; a path has dots: a.b is b in a")
    display_name_claim: str = Field("name", description="name as people write it")
    email_claim: str = Field("email", description="mail address")
    groups_claim: str = Field("groups", description="list of groups; people without it sign in as users")
    required_groups: list[str] = Field([], description="only members of one of these sign in; none: everybody does")
    admin_groups: list[str] = Field([], description="members are administrators")
    auditor_groups: list[str] = Field([], description="members are auditors")
    admin_acr: Words = Field(
        [], description="acr values, one of which administrators and auditors need for their rights; none: any"
    )
    sign_out: bool = Field(True, description="signing out here leads to the provider's sign-out, where it has one")
    timeout: Seconds = Field(10.0, description="seconds for each answer of the provider")
    ca_file: OptionalPath = Field(None, description="certificates to trust instead of the system's (PEM)")

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        if self.client_secret and self.client_secret_file:
            raise ValueError("client_secret and client_secret_file are both set: keep one of them")
        return self

    def secret(self) -> str:
        """The client's secret; empty: a public client. Raises SettingsError when its file cannot be read."""
        if self.client_secret_file:
            return _read_secret("client_secret_file", str(self.client_secret_file))
        return self.client_secret.get_secret_value() if self.client_secret else ""


def _table(value: Any) -> Any:
    """A table may be given as JSON: environment variables know only text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError("must be a table, or JSON in an environment variable") from None


ProviderName = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")]


class OidcSettings(Section):
    """OpenID providers that people may sign in with; needs frontend.public_url and mirrormanager[oidc]."""

    providers: Annotated[dict[ProviderName, OidcProvider], BeforeValidator(_table)] = Field(
        {}, description="a table [oidc.providers.NAME] for each, see below; none: people do not sign in by OpenID"
    )


class OutboxSettings(Section):
    """How events reach people and programs."""

    tries: int = Field(12, ge=1, description="tries of a delivery before a person has to look")
    first_pause: Seconds = Field(60.0, description="seconds after the first failure; each further one doubles them")
    longest_pause: Seconds = Field(21600.0, description="seconds between tries at most")
    lease: Seconds = Field(900.0, description="seconds until a delivery whose deliverer was killed is tried again")
    timeout: Seconds = Field(15.0, description="seconds to connect, and for each answer of a mail server or webhook")
    keep_days: Days = Field(30.0, description="events whose deliveries are done are kept so long")
    flapping_changes: int = Field(
        4, ge=1, description="further changes of a mirror within flapping_hours are told in a digest"
    )
    flapping_hours: float = Field(24.0, gt=0, description="see flapping_changes")
    digest_hours: float = Field(24.0, gt=0, description="hours between digests of one mirror")
    private_webhooks: bool = Field(
        False, description="webhooks of sites may lead to private addresses, such as those of this machine"
    )
    ca_file: OptionalPath = Field(None, description="certificates to trust for webhooks instead of the system's (PEM)")


class MailSettings(Section):
    """The server that takes mail to sites."""

    server: str = Field("", description="name of the SMTP server; empty: no mail is sent")
    port: Port = Field(587, description="port of the SMTP server")
    security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="starttls, tls (port 465), or none (a server on this machine)"
    )
    user: str = Field("", description="name to sign in with; empty: without")
    password: OptionalSecret = Field(None, description="password to sign in with")
    sender: str = Field("", description="address that mail comes from; needed for mail")
    ca_file: OptionalPath = Field(None, description="certificates to trust instead of the system's (PEM)")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.server and not self.sender:
            raise ValueError("mail.server is set, so mail.sender must be, too")
        return self


class AmqpSettings(Section):
    """A message broker that hears of events; needs mirrormanager[amqp]."""

    url: OptionalSecret = Field(None, description="amqp:// or amqps://USER:PASSWORD@HOST/VHOST; none: no messages")
    exchange: str = Field("amq.topic", description="exchange that messages are published to")
    topic_prefix: str = Field("", description="put before topics, with a dot: org.fedoraproject.prod")
    ca_file: OptionalPath = Field(None, description="certificates to trust instead of the system's (PEM)")
    certificate: OptionalPath = Field(None, description="certificate to sign in with (PEM)")
    key: OptionalPath = Field(None, description="private key of the certificate (PEM)")


class StatisticsSettings(Section):
    """What is counted of the redirector's access log, and for how long figures are kept."""

    embargoed_countries: Annotated[list[Annotated[str, Field(pattern=r"^[A-Z]{2}$")]], BeforeValidator(_words)] = Field(
        ["CU", "IR", "KP", "SD", "SY"], description="countries whose requests are counted as of unknown country"
    )
    minimum_requests: int = Field(
        10,
        ge=0,
        description="countries and ASNs with fewer requests in a day are counted together as other; 0: none are",
    )
    open_days: Days = Field(
        3.0, description="a day is closed, and its salt and hashes are deleted, so long after its last new line"
    )
    processes: int = Field(2, ge=1, le=64, description="processes that count lines; one per core")
    keep_days: OptionalDays = Field(1100.0, description="figures of days are kept so many days; none: for ever")
    keep_weeks: OptionalDays = Field(1100.0, description="days that figures of weeks are kept; none: for ever")
    keep_months: OptionalDays = Field(3660.0, description="days that figures of months are kept; none: for ever")
    keep_years: OptionalDays = Field(None, description="days that figures of years are kept; none: for ever")
    keep_logs: Days = Field(
        100.0, description="days that a log is remembered after it was last read; later it would count again"
    )

    @model_validator(mode="after")
    def _long_enough(self) -> Self:
        """Ranges are made of the longest periods that fit in."""
        kept = {name: getattr(self, name) for name in ("keep_days", "keep_weeks", "keep_months", "keep_years")}
        lengths = [float("inf") if length is None else length for length in kept.values()]
        if lengths != sorted(lengths):
            raise ValueError(f"{', '.join(kept)} must not get shorter: ranges are added up from the longest periods")
        return self


class Settings(Section):
    """Everything, section by section."""

    database: DatabaseSettings = DatabaseSettings()
    cache: CacheSettings = CacheSettings()
    weights: WeightsSettings = WeightsSettings()
    geo: GeoSettings = GeoSettings()
    log: LogSettings = LogSettings()
    redirector: RedirectorSettings = RedirectorSettings()
    crawler: CrawlerSettings = CrawlerSettings()
    frontend: FrontendSettings = FrontendSettings()
    brand: BrandSettings = BrandSettings()
    login: LoginSettings = LoginSettings()
    ldap: LdapSettings = LdapSettings()
    oidc: OidcSettings = OidcSettings()
    outbox: OutboxSettings = OutboxSettings()
    mail: MailSettings = MailSettings()
    amqp: AmqpSettings = AmqpSettings()
    statistics: StatisticsSettings = StatisticsSettings()

    _sources: dict[str, str] = PrivateAttr(default_factory=dict)  # "section.key" -> where it was set

    def source(self, key: str) -> str:
        """Where a value ("section.key") comes from; "default" when nothing sets it."""
        return self._sources.get(key, "default")

    @model_validator(mode="after")
    def _links_lead_here(self) -> Self:
        """Never by what a request calls this host: whoever sends the request chooses that."""
        mail = self.mail.server and self.frontend.public_url
        if self.login.registration and not (self.login.local and mail):
            raise ValueError("login.registration needs login.local, mail.server and frontend.public_url")
        if self.oidc.providers and not self.frontend.public_url:
            raise ValueError("oidc.providers needs frontend.public_url: providers send people back there")
        return self


def sections() -> Iterator[tuple[str, type[Section]]]:
    """Every section's name and type, in the order of the file."""
    for name, info in Settings.model_fields.items():
        assert isinstance(info.annotation, type) and issubclass(info.annotation, Section)
        yield name, info.annotation


def find_config(explicit: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The configuration file: as named, else $MM_CONFIG, else the first of SEARCH_PATH that exists, else none."""
    named = explicit or (Path(environ[CONFIG_VARIABLE]) if environ.get(CONFIG_VARIABLE) else None)
    if named is not None:
        if not named.is_file():
            raise SettingsError(
                f"{named}: no such configuration file. Run `mm-admin --config {named} init` to make it."
            )
        return named
    return next((path for path in SEARCH_PATH if path.is_file()), None)


def load(explicit: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read and check all sources. Raises SettingsError naming every key that is wrong."""
    path = find_config(explicit, environ)
    values = _read_toml(path) if path else {}
    sources = _keys_of(values, f"file {path}")
    for (section, key), (value, source) in _from_environment(environ).items():
        target = values.setdefault(section, {})
        if isinstance(target, dict):
            target[key] = value
            sources[f"{section}.{key}"] = source
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(_explain(error, path)) from None
    settings._sources.update(sources)
    return _introduced(_absolute(settings, path.parent.absolute() if path else Path.cwd()))


def _keys_of(values: Mapping[str, Any], source: str) -> dict[str, str]:
    """Every key of a file -> the file."""
    tables = {name: table for name, table in values.items() if isinstance(table, dict)}
    return {f"{section}.{key}": source for section, table in tables.items() for key in table}


def require_secret(settings: Settings) -> str:
    """The front end's secret key. Raises SettingsError when it is missing, a placeholder or too short."""
    secret = settings.frontend.secret_key
    text = secret.get_secret_value() if secret else ""
    if len(text) < MIN_SECRET_LENGTH or len(set(text)) < 8:
        raise SettingsError(
            f"frontend.secret_key is {'missing' if not text else 'too weak'}: put at least {MIN_SECRET_LENGTH} random "
            "characters there (`mm-admin init` makes a configuration with one), or name a file with it in "
            "MM_FRONTEND__SECRET_KEY_FILE."
        )
    return text


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}") from None


def _from_environment(environ: Mapping[str, str]) -> dict[tuple[str, str], tuple[str, str]]:
    """(section, key) -> value and source, for MM_SECTION__KEY and MM_SECTION__KEY_FILE; unknown names are refused."""
    known = {f"{PREFIX}{name}__{key}".upper(): (name, key) for name, kind in sections() for key in kind.model_fields}
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for variable in sorted(environ):  # sorted: KEY comes before KEY_FILE, so the file wins
        if not variable.startswith(PREFIX) or variable == CONFIG_VARIABLE:
            continue
        if variable in known:
            found[known[variable]] = environ[variable], f"environment {variable}"
        elif variable.removesuffix("_FILE") in known:
            value = _read_secret(variable, environ[variable])
            found[known[variable.removesuffix("_FILE")]] = value, f"file of {variable}: {environ[variable]}"
        else:
            raise SettingsError(f"{variable}: unknown environment variable; settings are named MM_SECTION__KEY.")
    return found


def _read_secret(variable: str, name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{variable}: {name} cannot be read: {error}") from None


def _explain(error: ValidationError, path: Path | None) -> str:
    lines = [f"The settings{f' in {path}' if path else ''} cannot be used:"]
    for problem in error.errors(include_input=False, include_url=False):
        key = ".".join(str(part) for part in problem["loc"])
        unknown = problem["type"] == "extra_forbidden"
        lines.append(f"  {key}: {'unknown key' if unknown else problem['msg']}")
    return "\n".join(lines)


def _introduced(settings: Settings) -> Settings:
    """The crawler names the page that explains it, where there is one and nobody chose another name."""
    if settings.crawler.user_agent != USER_AGENT or not settings.frontend.public_url:
        return settings
    user_agent = f"{USER_AGENT} (+{settings.frontend.public_url}/crawler)"
    return settings.model_copy(update={"crawler": settings.crawler.model_copy(update={"user_agent": user_agent})})


def _absolute(settings: Settings, base: Path) -> Settings:
    """Relative files resolved against the folder of the configuration file."""
    changes: dict[str, Section] = {}
    for name, _ in sections():
        section: Section = getattr(settings, name)
        if paths := _paths(section, base):
            changes[name] = section.model_copy(update=paths)
    providers = {name: each.model_copy(update=_paths(each, base)) for name, each in settings.oidc.providers.items()}
    changes["oidc"] = settings.oidc.model_copy(update={"providers": providers})
    changes["database"] = settings.database.model_copy(update={"url": _absolute_sqlite(settings.database.url, base)})
    return settings.model_copy(update=changes)


def _paths(section: Section, base: Path) -> dict[str, Path]:
    return {
        key: base / value
        for key in type(section).model_fields
        if isinstance(value := getattr(section, key), Path) and not value.is_absolute()
    }


def _absolute_sqlite(url: str, base: Path) -> str:
    relative = "sqlite:///"
    if url.startswith(relative) and not url.startswith(relative + "/") and url not in (relative, relative + ":memory:"):
        return relative + str(base / url.removeprefix(relative))
    return url
