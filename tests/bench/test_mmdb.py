"""The benchmarks' writer of MMDB files makes files that maxminddb reads right."""

from ipaddress import IPv6Address, ip_address, ip_network
from pathlib import Path

import maxminddb

from tests.bench import mmdb

NETWORKS = ("1.0.0.0/24", "1.0.1.0/24", "1.0.2.0/23", "8.0.0.0/7", "223.255.255.255/32", "2001:db8::/32", "2a00::/128")


def _network(text: str, record: int) -> mmdb.Network:
    network = ip_network(text)
    address = int(network.network_address)
    return mmdb.Network(address, network.prefixlen + (96 if network.version == 4 else 0), record)


def test_each_network_is_found_with_its_record_and_length_and_nothing_else_is(tmp_path: Path) -> None:
    records = [{"autonomous_system_number": 1_000 * n, "name": "n" * n * 20} for n in range(len(NETWORKS))]
    mmdb.write(tmp_path / "t.mmdb", [_network(text, n) for n, text in enumerate(NETWORKS)], records, "Test")
    with maxminddb.open_database(tmp_path / "t.mmdb", maxminddb.MODE_MMAP_EXT) as reader:
        for text, record in zip(NETWORKS, records, strict=True):
            network = ip_network(text)
            for address in (network[0], network[-1]):
                assert reader.get_with_prefix_len(str(address)) == (record, network.prefixlen)
        for outside in ("0.255.255.255", "1.0.4.0", "10.0.0.0", "2001:db9::", str(IPv6Address("2a00::1"))):
            assert reader.get(str(ip_address(outside))) is None
        assert reader.metadata().database_type == "Test"
