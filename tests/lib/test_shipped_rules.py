"""The shipped rules against real layouts, among them every row of the reference's table of prefixes."""

from __future__ import annotations

from importlib import resources

import pytest

from mm_lib.rules.checking import unreachable
from mm_lib.rules.repositories import Match, NoMatch, Reason, Rule, decide
from mm_lib.services.rule_checks import examples
from mm_lib.services.rules import parse_rules, rule_of

FOLDER = resources.files("mm_lib.data").joinpath("rules")
FILES = sorted(entry.name for entry in FOLDER.iterdir() if entry.name.endswith(".toml"))
SHIPPED: dict[str, list[Rule]] = {
    category: [rule_of(category, position, entry) for position, entry in enumerate(entries, start=1)]
    for file in FILES
    for category, entries in parse_rules(FOLDER.joinpath(file).read_text(encoding="utf-8")).items()
}

NO_KEY = ""  # a repository that only says that a version has an arch

Row = tuple[str, str, str, str]  # path, prefix, version, arch
FEDORA: list[Row] = [
    ("releases/41/Everything/x86_64/os", "fedora-41", "41", "x86_64"),
    ("releases/41/Everything/aarch64/debug/tree", "fedora-debug-41", "41", "aarch64"),
    ("releases/41/Everything/source/tree", "fedora-source-41", "41", "source"),
    ("releases/20/Everything/x86_64/debug", "fedora-debug-20", "20", "x86_64"),
    ("releases/20/Everything/source/SRPMS", "fedora-source-20", "20", "source"),
    ("development/42/Everything/x86_64/os", "fedora-42", "42", "x86_64"),
    ("development/42/Everything/x86_64/debug/tree", "fedora-debug-42", "42", "x86_64"),
    ("development/42/Everything/source/tree", "fedora-source-42", "42", "source"),
    ("development/rawhide/Everything/x86_64/os", "rawhide", "development", "x86_64"),
    ("development/rawhide/Everything/x86_64/debug/tree", "rawhide-debug", "development", "x86_64"),
    ("development/rawhide/Everything/source/tree", "rawhide-source", "development", "source"),
    ("releases/28/Modular/x86_64/os", "fedora-modular-28", "28", "x86_64"),
    ("releases/28/Modular/x86_64/debug/tree", "fedora-modular-debug-28", "28", "x86_64"),
    ("releases/28/Modular/source/tree", "fedora-modular-source-28", "28", "source"),
    ("development/rawhide/Modular/x86_64/os", "rawhide-modular", "development", "x86_64"),
    ("development/rawhide/Modular/x86_64/debug/tree", "rawhide-modular-debug", "development", "x86_64"),
    ("development/rawhide/Modular/source/tree", "rawhide-modular-source", "development", "source"),
    ("updates/41/Everything/x86_64", "updates-released-f41", "41", "x86_64"),
    ("updates/41/Everything/x86_64/debug", "updates-released-debug-f41", "41", "x86_64"),
    ("updates/41/Everything/source/tree", "updates-released-source-f41", "41", "source"),
    ("updates/testing/41/Everything/x86_64", "updates-testing-f41", "41", "x86_64"),
    ("updates/testing/41/Everything/x86_64/debug", "updates-testing-debug-f41", "41", "x86_64"),
    ("updates/testing/41/Everything/source/tree", "updates-testing-source-f41", "41", "source"),
    ("updates/41/Modular/x86_64", "updates-released-modular-f41", "41", "x86_64"),
    ("updates/testing/41/Modular/x86_64", "updates-testing-modular-f41", "41", "x86_64"),
    ("updates/41/x86_64", NO_KEY, "41", "x86_64"),
    ("releases/20/Fedora/x86_64/os", "fedora-install-20", "20", "x86_64"),
    ("releases/20/Fedora/source/SRPMS", NO_KEY, "20", "source"),
    ("development/22/x86_64/os", NO_KEY, "22", "x86_64"),
    ("atomic/21", "atomic-21", "21", "x86_64"),
    ("atomic/rawhide", "atomic-rawhide", "development", "x86_64"),
]
EPEL: list[Row] = [
    ("9/Everything/x86_64", "epel-9", "9", "x86_64"),
    ("9/Everything/x86_64/debug", "epel-debug-9", "9", "x86_64"),
    ("9/Everything/source/tree", "epel-source-9", "9", "source"),
    ("7/SRPMS", "epel-source-7", "7", "source"),
    ("9/x86_64", "epel-9", "9", "x86_64"),
    ("7/x86_64/debug", "epel-debug-7", "7", "x86_64"),
    ("testing/7/SRPMS", "testing-source-epel7", "7", "source"),
    ("testing/7/x86_64", "testing-epel7", "7", "x86_64"),
    ("testing/9/Everything/x86_64", "testing-epel9", "9", "x86_64"),
    ("testing/9/Everything/x86_64/debug", "testing-debug-epel9", "9", "x86_64"),
    ("testing/9/Everything/source/tree", "testing-source-epel9", "9", "source"),
    ("testing/10/Everything/x86_64", "epel-testing-10", "10", "x86_64"),
    ("8/Modular/x86_64", "epel-modular-8", "8", "x86_64"),
    ("testing/8/Modular/x86_64", "testing-modular-epel8", "8", "x86_64"),
    ("playground/8/Everything/x86_64/os", "playground-epel8", "8", "x86_64"),
    ("playground/8/Everything/source/tree", "playground-source-epel8", "8", "source"),
    ("next/9/Everything/x86_64", "epel-next-9", "9", "x86_64"),
    ("next/9/Everything/x86_64/debug", "epel-next-debug-9", "9", "x86_64"),
    ("next/9/Everything/source/tree", "epel-next-source-9", "9", "source"),
    ("testing/next/9/Everything/x86_64", "epel-testing-next-9", "9", "x86_64"),
    ("10.0/Everything/x86_64", "epel-z-10.0", "10.0", "x86_64"),
    ("10.0z/Everything/x86_64", "epel-z-10.0", "10.0", "x86_64"),
    ("10.0/Everything/x86_64/debug", "epel-z-debug-10.0", "10.0", "x86_64"),
    ("testing/10.0/Everything/x86_64", "epel-z-testing-10.0", "10.0", "x86_64"),
    ("testing/10.0/Everything/source/tree", "epel-z-testing-source-10.0", "10.0", "source"),
]
ARCHIVE: list[Row] = [
    ("fedora/linux/releases/20/Everything/x86_64/os", "fedora-20", "20", "x86_64"),
    ("fedora/linux/updates/27/x86_64", NO_KEY, "27", "x86_64"),
    ("fedora/linux/updates/30/Everything/x86_64/debug", "updates-released-debug-f30", "30", "x86_64"),
    ("fedora-secondary/releases/30/Everything/ppc64le/os", "fedora-30", "30", "ppc64le"),
]
CODECS: list[Row] = [
    ("openh264/41/x86_64/os", "fedora-cisco-openh264-41", "41", "x86_64"),
    ("openh264/41/x86_64/debug", "fedora-cisco-openh264-debug-41", "41", "x86_64"),
    ("openh264/41/x86_64/debug/tree", "fedora-cisco-openh264-debug-41", "41", "x86_64"),
    ("openh264/41/x86_64/source", "fedora-cisco-openh264-source-41", "41", "x86_64"),
    ("openh264/rawhide/x86_64/os", "fedora-cisco-openh264-rawhide", "development", "x86_64"),
    ("openh264/epel/9/x86_64/os", "epel-cisco-openh264-9", "9", "x86_64"),
    ("openh264/epel/9/x86_64/debug", "epel-cisco-openh264-debug-9", "9", "x86_64"),
]
ELN: list[Row] = [
    ("1/BaseOS/x86_64/os", "eln-baseos-1", "1", "x86_64"),
    ("1/AppStream/aarch64/debug/tree", "eln-appstream-debug-1", "1", "aarch64"),
    ("1/Extras/source/tree", "eln-extras-source-1", "1", "source"),
]
CENTOS: list[Row] = [
    ("7.9.2009/updates/x86_64", "updates", "7.9.2009", "x86_64"),
    ("7.9.2009/os/x86_64", "os", "7.9.2009", "x86_64"),
    ("altarch/7.9.2009/extras/aarch64", "extras", "7.9.2009", "aarch64"),
    ("9-stream/AppStream/x86_64/os", "centos-appstream-9-stream", "9-stream", "x86_64"),
    ("9-stream/BaseOS/x86_64/debug/tree", "centos-baseos-debug-9-stream", "9-stream", "x86_64"),
    ("9-stream/CRB/source/tree", "centos-crb-source-9-stream", "9-stream", "source"),
    ("10-stream/HighAvailability/s390x/os", "centos-highavailability-10-stream", "10-stream", "s390x"),
    ("9-stream/NFV/x86_64/os", "centos-nfv-9-stream", "9-stream", "x86_64"),
    ("9-stream/RT/x86_64/os", "centos-rt-9-stream", "9-stream", "x86_64"),
    ("9-stream/ResilientStorage/ppc64le/os", "centos-resilientstorage-9-stream", "9-stream", "ppc64le"),
    ("SIGs/9-stream/infra/x86_64/infra-common", "centos-infra-sig-infra-common-9-stream", "9-stream", "x86_64"),
    ("SIGs/9-stream/extras/x86_64/extras-common", "centos-extras-sig-extras-common-9-stream", "9-stream", "x86_64"),
    (
        "SIGs/9-stream/extras/source/extras-common",
        "centos-extras-sig-extras-common-source-9-stream",
        "9-stream",
        "source",
    ),
    ("SIGs/9/cloud/x86_64/openstack-yoga", "centos-cloud-sig-openstack-yoga-9", "9", "x86_64"),
    (
        "SIGs/10-stream/hyperscale/aarch64/packages-main/debug",
        "centos-hyperscale-sig-packages-main-debug-10-stream",
        "10-stream",
        "aarch64",
    ),
]
ALMALINUX: list[Row] = [
    ("9.6/BaseOS/x86_64/os", "almalinux-baseos-9.6", "9.6", "x86_64"),
    ("9.6/CRB/aarch64/os", "almalinux-crb-9.6", "9.6", "aarch64"),
    ("8/AppStream/x86_64/os", "almalinux-appstream-8", "8", "x86_64"),
    ("9.6/BaseOS/debug/x86_64", "almalinux-baseos-debug-9.6", "9.6", "x86_64"),
    ("9.6/BaseOS/x86_64/debug/tree", "almalinux-baseos-debug-9.6", "9.6", "x86_64"),
    ("9.6/BaseOS/Source", "almalinux-baseos-source-9.6", "9.6", "source"),
    ("10.0-beta/synergy/x86_64_v2/os", "almalinux-synergy-10.0-beta", "10.0-beta", "x86_64_v2"),
]
KITTEN: list[Row] = [
    ("10-kitten/BaseOS/x86_64/os", "almalinux-baseos-10-kitten", "10-kitten", "x86_64"),
    ("10-kitten/AppStream/debug/x86_64", "almalinux-appstream-debug-10-kitten", "10-kitten", "x86_64"),
    ("10-kitten/AppStream/Source", "almalinux-appstream-source-10-kitten", "10-kitten", "source"),
]
ROCKY: list[Row] = [
    ("9.6/BaseOS/x86_64/os", "BaseOS-9.6", "9.6", "x86_64"),
    ("8.10/PowerTools/aarch64/os", "PowerTools-8.10", "8.10", "aarch64"),
    ("9.6/AppStream/x86_64/debug/tree", "AppStream-9.6-debug", "9.6", "x86_64"),
    ("9.6/devel/source/tree", "devel-9.6-source", "9.6", "source"),
    ("10.0-beta/CRB/riscv64/os", "CRB-10.0-beta", "10.0-beta", "riscv64"),
]
ROCKY_SIG: list[Row] = [
    ("9/kernel/x86_64/kernel-mainline", "rocky-kernel-kernel-mainline-9", "9", "x86_64"),
    ("9/kernel/source/kernel-mainline", "rocky-kernel-kernel-mainline-9-source", "9", "source"),
]
RPMFUSION: list[Row] = [
    ("free/fedora/releases/41/Everything/x86_64/os", "free-fedora-41", "41", "x86_64"),
    ("nonfree/fedora/releases/41/Everything/x86_64/debug", "nonfree-fedora-debug-41", "41", "x86_64"),
    ("free/fedora/releases/41/Everything/source/SRPMS", "free-fedora-source-41", "41", "source"),
    ("free/fedora/updates/41/x86_64", "free-fedora-updates-released-41", "41", "x86_64"),
    ("free/fedora/updates/41/SRPMS", "free-fedora-updates-released-source-41", "41", "source"),
    ("free/fedora/updates/testing/41/x86_64/debug", "free-fedora-updates-testing-debug-41", "41", "x86_64"),
    ("free/fedora/updates/testing/41/SRPMS", "free-fedora-updates-testing-source-41", "41", "source"),
    ("free/fedora/development/rawhide/Everything/x86_64/os", "free-fedora-rawhide", "development", "x86_64"),
    ("free/fedora/development/rawhide/Everything/x86_64/debug", "free-fedora-rawhide-debug", "development", "x86_64"),
    ("free/fedora/development/42/Everything/x86_64/os", "free-fedora-42", "42", "x86_64"),
    ("nonfree/el/updates/9/x86_64", "nonfree-el-updates-released-9", "9", "x86_64"),
    ("nonfree/el/updates/testing/9/x86_64", "nonfree-el-updates-testing-9", "9", "x86_64"),
    ("free/fedora/tainted/41/x86_64", "free-fedora-tainted-41", "41", "x86_64"),
    ("free/el/tainted/9/SRPMS", "free-el-tainted-source-9", "9", "source"),
]
RHEL: list[Row] = [
    ("server/7/x86_64/HighAvailability/os", "rhel-7-highavailability", "7", "x86_64"),
    ("server/7/x86_64/optional/source/SRPMS", "rhel-optional-source-7", "7", "source"),
    ("7-beta/x86_64/HighAvailability/os", "rhel-7-highavailability-beta", "7", "x86_64"),
]
OPENSUSE: list[Row] = [
    ("tumbleweed/repo/oss", "opensuse-tumbleweed-oss", "tumbleweed", "x86_64"),
    ("tumbleweed/repo/non-oss", "opensuse-tumbleweed-non-oss", "tumbleweed", "x86_64"),
    ("tumbleweed/repo/debug", "opensuse-tumbleweed-debug", "tumbleweed", "x86_64"),
    ("tumbleweed/repo/src-oss", "opensuse-tumbleweed-oss-source", "tumbleweed", "source"),
    ("debug/tumbleweed/repo/oss", "opensuse-tumbleweed-oss-debug", "tumbleweed", "x86_64"),
    ("source/tumbleweed/repo/oss", "opensuse-tumbleweed-oss-source", "tumbleweed", "source"),
    ("update/tumbleweed", "opensuse-tumbleweed-update", "tumbleweed", "x86_64"),
    ("ports/aarch64/tumbleweed/repo/oss", "opensuse-tumbleweed-oss", "tumbleweed", "aarch64"),
    ("distribution/leap/15.6/repo/oss", "opensuse-leap-oss-15.6", "15.6", "x86_64"),
    ("debug/distribution/leap/15.6/repo/oss", "opensuse-leap-oss-debug-15.6", "15.6", "x86_64"),
    ("source/distribution/leap/15.6/repo/oss", "opensuse-leap-oss-source-15.6", "15.6", "source"),
    ("distribution/leap/16.0/repo/oss/aarch64", "opensuse-leap-oss-16.0", "16.0", "aarch64"),
    ("update/leap/15.6/sle", "opensuse-leap-update-sle-15.6", "15.6", "x86_64"),
    ("update/leap/15.6/backports_debug", "opensuse-leap-update-backports-debug-15.6", "15.6", "x86_64"),
    ("ports/armv7hl/distribution/leap/15.6/repo/oss", "opensuse-leap-oss-15.6", "15.6", "armv7hl"),
]
DEBIAN: list[Row] = [
    ("dists/trixie/main/binary-amd64", "debian-trixie", "trixie", "amd64"),
    ("dists/trixie/non-free-firmware/binary-riscv64", "debian-trixie", "trixie", "riscv64"),
    ("dists/trixie/main/source", "debian-trixie", "trixie", "source"),
    ("dists/trixie-updates/main/binary-arm64", "debian-trixie-updates", "trixie", "arm64"),
    ("dists/bookworm-backports-sloppy/contrib/binary-i386", "debian-bookworm-backports-sloppy", "bookworm", "i386"),
    ("dists/sid/main/binary-loong64", "debian-sid", "sid", "loong64"),
]
DEBIAN_SECURITY: list[Row] = [
    ("dists/trixie-security/main/binary-amd64", "debian-trixie-security", "trixie", "amd64"),
    ("dists/buster/updates/main/binary-amd64", "debian-buster-security", "buster", "amd64"),
]
UBUNTU: list[Row] = [
    ("dists/noble/main/binary-amd64", "ubuntu-noble", "noble", "amd64"),
    ("dists/noble-security/universe/binary-i386", "ubuntu-noble-security", "noble", "i386"),
    ("dists/noble-proposed/restricted/source", "ubuntu-noble-proposed", "noble", "source"),
]
TABLE: dict[str, list[Row]] = {
    "Fedora Linux": FEDORA,
    "Fedora Secondary Arches": FEDORA,
    "Fedora EPEL": EPEL,
    "Fedora Archive": ARCHIVE,
    "Fedora Codecs": CODECS,
    "Fedora ELN": ELN,
    "CentOS": CENTOS,
    "AlmaLinux": ALMALINUX,
    "AlmaLinux Kitten": KITTEN,
    "Rocky Linux": ROCKY,
    "Rocky Linux SIG": ROCKY_SIG,
    "RPM Fusion": RPMFUSION,
    "RHEL": RHEL,
    "openSUSE": OPENSUSE,
    "Debian": DEBIAN,
    "Debian Security": DEBIAN_SECURITY,
    "Ubuntu": UBUNTU,
    "Ubuntu Ports": [("dists/noble/main/binary-arm64", "ubuntu-noble", "noble", "arm64")],
}
SKIPPED = [
    ("Fedora Linux", "releases/41/Server/x86_64/os"),
    ("Fedora Linux", "releases/44/Workstation/x86_64/os"),
    ("Fedora Linux", "Cloud/44"),
    ("Fedora Linux", "releases/test/x"),
    ("Fedora Archive", "fedora/linux/core/6/i386/os"),
    ("Fedora Archive", "fedora/linux/extras/6/i386"),
    ("Fedora Archive", "epel/7/x86_64"),
    ("CentOS", "7.9.2009/sclo/x86_64/rh"),
    ("AlmaLinux", "9.6/BaseOS/x86_64/kickstart"),
    ("Rocky Linux", "9.6/BaseOS/x86_64/kickstart"),
    ("Debian", "dists/trixie/main/debian-installer/binary-amd64"),
    ("Debian", "dists/trixie/main/binary-all"),
    ("Ubuntu", "dists/noble/main/debian-installer/binary-amd64"),
]


@pytest.mark.parametrize(("category", "row"), [(name, row) for name, rows in TABLE.items() for row in rows])
def test_a_path_is_the_repository_that_clients_of_the_distribution_ask_for(category: str, row: Row) -> None:
    path, prefix, version, arch = row
    decision = decide(SHIPPED[category], path)
    assert isinstance(decision, Match)
    assert (decision.prefix, decision.version, decision.arch) == (prefix, version, arch)
    assert not decision.is_test and decision.display


@pytest.mark.parametrize(("category", "path"), SKIPPED)
def test_these_are_known_to_be_no_repositories(category: str, path: str) -> None:
    decision = decide(SHIPPED[category], path)
    assert isinstance(decision, NoMatch) and decision.reason is Reason.SKIPPED


@pytest.mark.parametrize("path", ["", "core/6/i386/os", "epel/7/x86_64", "releases/41/Everything/x86_64"])
def test_other_layouts_match_no_rule(path: str) -> None:
    assert decide(SHIPPED["Fedora Linux"], path) == NoMatch(Reason.NO_RULE)


@pytest.mark.parametrize("folder", ["releases/test", "stage"])
def test_a_test_release_has_no_key_and_is_not_displayed(folder: str) -> None:
    decision = decide(SHIPPED["Fedora Linux"], f"{folder}/42_Beta/Everything/x86_64/os")
    assert isinstance(decision, Match)
    assert (decision.prefix, decision.version, decision.is_test, decision.display) == ("", "42_Beta", True, False)


@pytest.mark.parametrize(
    ("category", "path", "directory"),
    [
        ("Debian", "dists/trixie-updates/main/binary-arm64", "dists/trixie-updates"),
        ("Debian Security", "dists/buster/updates/main/binary-amd64", "dists/buster/updates"),
        ("Ubuntu", "dists/noble/universe/source", "dists/noble"),
        ("Fedora Linux", "releases/41/Everything/x86_64/os", ""),
    ],
)
def test_an_apt_repository_stands_at_its_suite(category: str, path: str, directory: str) -> None:
    decision = decide(SHIPPED[category], path)
    assert isinstance(decision, Match) and decision.directory == directory


@pytest.mark.parametrize("category", SHIPPED)
def test_no_shipped_rule_is_hidden_by_another(category: str) -> None:
    assert list(unreachable(category, SHIPPED[category], examples)) == []


@pytest.mark.parametrize("category", sorted(SHIPPED.keys() - {"Fedora Archive", "Debian Security", "Ubuntu Ports"}))
def test_no_shipped_rule_is_without_a_path_that_it_decides(category: str) -> None:
    """Rules that are included from another category are tried there."""
    paths = [row[0] for row in TABLE[category]] + [path for name, path in SKIPPED if name == category]
    if category in ("Fedora Linux", "Fedora Secondary Arches"):
        paths += ["releases/41/Server/x86_64/os", "stage/42_Beta/Everything/x86_64/os", "releases/test/x"]
    decided = {decide(SHIPPED[category], path).position for path in paths}
    assert {rule.position for rule in SHIPPED[category]} - decided == set()
