"""Real FTP servers over a tree: vsftpd, which has no MLSD, with or without TLS, and pyftpdlib, which has it."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.master_servers import Server
from tests.postgres import free_port
from tests.servers import Certificate


class Vsftpd(Server):
    """vsftpd for anonymous users. With a certificate it speaks TLS from the first byte (ftps://)."""

    def __init__(self, top: Path, certificate: Certificate | None = None, *options: str) -> None:
        directory, port = Path(tempfile.mkdtemp(prefix="mm-vsftpd-")), free_port()
        (directory / "empty").mkdir()
        config = directory / "vsftpd.conf"
        lines = [
            *("listen=YES", "listen_address=127.0.0.1", f"listen_port={port}", "background=NO"),
            *("run_as_launching_user=YES", "anonymous_enable=YES", f"anon_root={top}", "no_anon_password=YES"),
            *(f"secure_chroot_dir={directory}/empty", "seccomp_sandbox=NO", "xferlog_enable=YES"),
            *("log_ftp_protocol=YES", f"vsftpd_log_file={directory}/log", "use_localtime=NO", *options),
        ]
        if certificate:
            lines += ["ssl_enable=YES", "implicit_ssl=YES", "allow_anon_ssl=YES", "require_ssl_reuse=NO"]
            lines += [f"rsa_cert_file={certificate.certificate}", f"rsa_private_key_file={certificate.key}"]
        config.write_text("\n".join([*lines, ""]))
        self.url = f"{'ftps' if certificate else 'ftp'}://127.0.0.1:{port}"
        super().__init__(["/usr/sbin/vsftpd", str(config)], directory, port)

    def commands(self) -> list[str]:
        """What clients said so far."""
        lines = (self.directory / "log").read_text().splitlines()
        return [line.rpartition('"')[0].rpartition('"')[2] for line in lines if "FTP command" in line]


class Pyftpdlib(Server):
    """pyftpdlib's own server for anonymous users; without the commands that are named."""

    def __init__(self, top: Path, *without: str) -> None:
        directory, port = Path(tempfile.mkdtemp(prefix="mm-pyftpdlib-")), free_port()
        self.url = f"ftp://127.0.0.1:{port}"
        program = (
            "from pyftpdlib.__main__ import main; from pyftpdlib.handlers import FTPHandler;"
            f"[FTPHandler.proto_cmds.pop(name) for name in {without!r}];"
            f"main(['-i', '127.0.0.1', '-p', '{port}', '-d', {str(top)!r}])"
        )
        super().__init__([sys.executable, "-c", program], directory, port)
