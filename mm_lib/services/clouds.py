"""Netblocks of clouds, from what the providers publish as JSON, for the hosts that stand in each region."""

from __future__ import annotations

import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, TypeAdapter, ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_lib.model.hosts import Host, HostNetblock
from mm_lib.rules.netblocks import parse_network
from mm_lib.services.changes import Change, Plan
from mm_lib.services.errors import InvalidValue
from mm_lib.services.hosts import find_host

MAX_BYTES = 64 << 20  # the largest of them, Azure's, has 5 MB
ANY = "*"
_SHORTEST = {4: 8, 6: 16}  # a shorter prefix is half of the world, not a region
_MARK = "(cloud sync)"

Network = IPv4Network | IPv6Network
Regions = dict[str, set[Network]]


def _network(text: str) -> str:
    network = ip_network(text, strict=False)
    if network.prefixlen < _SHORTEST[network.version]:
        raise ValueError(f"{text} is too large for a region of a cloud")
    return str(network)


Cidr = Annotated[str, Field(max_length=64), AfterValidator(_network)]
Region = Annotated[str, Field(max_length=100)]


class _Aws4(BaseModel):
    ip_prefix: Cidr
    region: Region
    service: str


class _Aws6(BaseModel):
    ipv6_prefix: Cidr
    region: Region
    service: str


class _Aws(BaseModel):
    """https://ip-ranges.amazonaws.com/ip-ranges.json."""

    prefixes: list[_Aws4]
    ipv6_prefixes: list[_Aws6]

    def regions(self, service: str) -> Regions:
        """GLOBAL is no region."""
        every = [(row.region, row.service, row.ip_prefix) for row in self.prefixes]
        every += [(row.region, row.service, row.ipv6_prefix) for row in self.ipv6_prefixes]
        return _grouped((region, cidr) for region, of, cidr in every if of == service and region != "GLOBAL")


class _AzureProperties(BaseModel):
    region: Region
    addressPrefixes: list[Cidr]  # noqa: N815 # as Azure spells it


class _AzureValue(BaseModel):
    name: str
    properties: _AzureProperties


class _Azure(BaseModel):
    """ServiceTags_Public_DATE.json, from https://www.microsoft.com/download/details.aspx?id=56519."""

    values: list[_AzureValue]

    def regions(self, service: str) -> Regions:
        """A service's tags of single regions, e.g. AzureCloud.westeurope."""
        return _grouped(
            (value.properties.region, cidr)
            for value in self.values
            if value.properties.region and value.name.partition(".")[0] == service
            for cidr in value.properties.addressPrefixes
        )


class _GcpPrefix(BaseModel):
    ipv4Prefix: Cidr | None = None  # noqa: N815 # as Google spells it
    ipv6Prefix: Cidr | None = None  # noqa: N815
    service: str
    scope: Region


class _Gcp(BaseModel):
    """https://www.gstatic.com/ipranges/cloud.json."""

    prefixes: list[_GcpPrefix]

    def regions(self, service: str) -> Regions:
        """The scope "global" is no region."""
        return _grouped(
            (row.scope, cidr)
            for row in self.prefixes
            if row.service == service and row.scope != "global"
            for cidr in (row.ipv4Prefix, row.ipv6Prefix)
            if cidr
        )


class _OciCidr(BaseModel):
    cidr: Cidr
    tags: list[str]


class _OciRegion(BaseModel):
    region: Region
    cidrs: list[_OciCidr]


class _Oci(BaseModel):
    """https://docs.oracle.com/iaas/tools/public_ip_ranges.json."""

    regions_: list[_OciRegion] = Field(alias="regions")

    def regions(self, service: str) -> Regions:
        """What has the service's tag."""
        return _grouped((of.region, row.cidr) for of in self.regions_ for row in of.cidrs if service in row.tags)


# Provider: its format, and the service whose addresses are those of customers' machines.
_PROVIDERS: dict[str, tuple[type[_Aws | _Azure | _Gcp | _Oci], str]] = {
    "aws": (_Aws, "EC2"),
    "azure": (_Azure, "AzureCloud"),
    "gcp": (_Gcp, "Google Cloud"),
    "oci": (_Oci, "OCI"),
}
PROVIDERS = tuple(_PROVIDERS)

_MAP_FILE = TypeAdapter(dict[str, dict[str, str]])


def _grouped(pairs: Iterable[tuple[str, str]]) -> Regions:
    found: Regions = defaultdict(set)
    for region, cidr in pairs:
        found[region].add(ip_network(cidr))
    return dict(found)


def parse(provider: str, data: bytes, service: str | None = None) -> Regions:
    """Region -> its networks. Raises InvalidValue when it is not the provider's format or has nothing of use."""
    model, usual = _PROVIDERS[provider]
    try:
        regions = model.model_validate_json(data).regions(service or usual)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise InvalidValue("source", f"not {provider}'s format: {where or 'document'}: {first['msg']}{more}") from None
    if not regions:
        raise InvalidValue("source", f"it holds no network of {service or usual} in any region")
    return regions


def parse_map_file(text: str, provider: str) -> dict[str, str]:
    """Region -> host, from the provider's table in a TOML file. Raises InvalidValue."""
    try:
        tables = _MAP_FILE.validate_python(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, ValidationError):
        raise InvalidValue("map-file", f'must have a table like [{provider}] with lines like region = "host"') from None
    return tables.get(provider, {})


def sync(session: Session, provider: str, regions: Regions, hosts: Mapping[str, str], site: str | None = None) -> Plan:
    """Give each region's host the region's networks, and take those that an earlier sync gave it and that are gone.

    `hosts` is region -> host; the region "*" stands for all others, with {region} in the name, and only there a host
    that does not exist is passed over. Networks that somebody gave a host by hand are left alone. Raises NotFound.
    """
    plan = Plan("netblock sync", provider)
    wanted: dict[int, dict[str, str]] = defaultdict(dict)
    chosen: dict[int, Host] = {}
    for region, host in _hosts(session, regions, hosts, site):
        chosen[host.id] = host
        if region not in regions:
            plan.notes.append(f"{provider} has no region {region}: {host.name} keeps what it has of it")
        for network in sorted(regions.get(region, ()), key=lambda one: (one.version, one)):
            wanted[host.id].setdefault(str(network), _name(provider, region))
        if region not in regions:
            kept = _name(provider, region)
            wanted[host.id].update({row.netblock: kept for row in host.netblocks if row.name == kept})
    for id_, host in sorted(chosen.items()):
        plan.changes.extend(_changes(host, wanted[id_], f"{provider} "))
    return plan


def _hosts(
    session: Session, regions: Iterable[str], hosts: Mapping[str, str], site: str | None
) -> Iterable[tuple[str, Host]]:
    for region, name in hosts.items():
        if region != ANY:
            yield region, find_host(session, name, site)
    if template := hosts.get(ANY):
        for region in sorted(set(regions) - set(hosts)):
            name = template.replace("{region}", region)
            if session.scalars(select(Host.id).where(Host.name == name)).first():
                yield region, find_host(session, name, site)


def _name(provider: str, region: str) -> str:
    return f"{provider} {region} {_MARK}"


def _changes(host: Host, wanted: Mapping[str, str], provider: str) -> Iterable[Change]:
    known = {row.netblock: row for row in host.netblocks}
    for netblock, name in wanted.items():
        row = known.get(netblock)
        if row is None:
            yield _change(host, netblock, None, name)
        elif row.name != name and _is_ours(row, provider):
            yield _change(host, netblock, row.name, name)
    for netblock, row in known.items():
        if netblock not in wanted and _is_ours(row, provider):
            yield _change(host, netblock, row.name, None)


def _is_ours(row: HostNetblock, provider: str) -> bool:
    return row.name.startswith(provider) and row.name.endswith(_MARK)


def _change(host: Host, netblock: str, was: str | None, becomes: str | None) -> Change:
    def values(name: str | None) -> dict[str, Any] | None:
        if name is None:
            return None
        bounds = parse_network(netblock)
        return {
            "name": name,
            "family": bounds.family,
            "first_address": bounds.first,
            "last_address": bounds.last,
        }

    key = {"host_id": host.id, "netblock": netblock}
    return Change(
        "netblock", key, values(was), values(becomes), f"{host.name} {netblock}", (was or "-", becomes or "-")
    )


def parse_pairs(given: Iterable[str]) -> dict[str, str]:
    """Region -> host from texts like "region=host". Raises InvalidValue."""
    pairs = {}
    for text in given:
        region, equals, host = text.partition("=")
        if not equals or not region or not host:
            raise InvalidValue("map", f"{text!r} does not look like region=host")
        pairs[region] = host
    return pairs
