"""A real OpenLDAP server for tests, with people and groups, on loopback and with TLS."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import ldap

from tests.postgres import free_port
from tests.servers import make_certificate

SLAPD = "/usr/sbin/slapd"
BASE = "dc=example,dc=org"
PEOPLE = f"ou=people,{BASE}"
READER = (f"cn=reader,{BASE}", "reader-secret")

_CONFIG = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
moduleload back_mdb
moduleload memberof
pidfile {folder}/slapd.pid
TLSCertificateFile {certificate}
TLSCertificateKeyFile {key}
allow bind_anon_cred bind_anon_dn
database mdb
suffix "dc=example,dc=org"
rootdn "cn=root,dc=example,dc=org"
rootpw root-secret
directory {folder}/data
overlay memberof
access to attrs=userPassword by anonymous auth by * none
access to *
  by dn.exact="cn=reader,dc=example,dc=org" read
  by dn.subtree="ou=people,dc=example,dc=org" read
  by * none
"""

_DATA = """\
dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: cn=reader,dc=example,dc=org
objectClass: applicationProcess
objectClass: simpleSecurityObject
cn: reader
userPassword: reader-secret

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people

dn: ou=groups,dc=example,dc=org
objectClass: organizationalUnit
ou: groups

dn: uid=alice,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: alice
cn: Alice Example
sn: Example
mail: alice@example.org
userPassword: alice-secret

dn: uid=bob,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: bob
cn: Bob (Builder)
sn: Builder
userPassword: bob-secret

dn: uid=twin,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: twin
cn: One
sn: One
userPassword: twin-secret

dn: cn=two,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: twin
cn: two
sn: Two
userPassword: twin-secret

dn: ou=elsewhere,ou=people,dc=example,dc=org
objectClass: referral
objectClass: extensibleObject
ou: elsewhere
ref: ldap://127.0.0.1:9/ou=people,dc=example,dc=org
"""

_GROUP = f"cn=Mirror Admins,ou=groups,{BASE}"


class Slapd:
    """A running server: `plain` is its ldap:// address (with StartTLS), `tls` its ldaps:// address.

    `other_name` is another address of the same, for which its certificate was not made.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mm-slapd-"))
        (self.folder / "data").mkdir()
        self.certificate, key = make_certificate(self.folder)
        config = self.folder / "slapd.conf"
        config.write_text(_CONFIG.format(folder=self.folder, certificate=self.certificate, key=key))
        (self.folder / "data.ldif").write_text(_DATA)
        add = ("/usr/sbin/slapadd", "-f", str(config), "-l", str(self.folder / "data.ldif"))
        subprocess.run(add, check=True, capture_output=True)
        ports = free_port(), free_port()
        # Not localhost: libldap looks for this machine's own name in the certificate then.
        self.plain, self.tls = f"ldap://127.0.0.1:{ports[0]}", f"ldaps://127.0.0.1:{ports[1]}"
        self.other_name = f"ldaps://127.0.0.2:{ports[1]}"
        self._process = subprocess.Popen(
            [SLAPD, "-f", str(config), "-h", f"{self.plain}/ {self.tls}/ {self.other_name}/", "-d", "0"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for port in ports:
            self._wait(port)
        self._add_group()

    def stop(self) -> None:
        """End the server and remove its files."""
        self._process.terminate()
        self._process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _add_group(self) -> None:
        """The server itself notes memberOf; slapadd would not."""
        connection = ldap.initialize(self.plain)
        connection.simple_bind_s(f"cn=root,{BASE}", "root-secret")
        member = f"uid=alice,{PEOPLE}".encode()
        connection.add_s(_GROUP, [("objectClass", [b"groupOfNames"]), ("member", [member])])
        connection.unbind_s()

    def _wait(self, port: int) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.02)  # nothing tells when a foreign process listens
        raise RuntimeError("slapd did not start")
