"""The sample for logrotate: the log goes on in a new file, and no line is lost."""

from __future__ import annotations

import subprocess
from datetime import date
from pathlib import Path

from mm_redirector.access_log import AccessLog, Entry
from tests.redirector.serving import wait_until

SAMPLE = Path(__file__).parents[2] / "utils" / "logrotate" / "mirrormanager"
FOLDER = "/var/log/mirrormanager/redirector"


def rotate(folder: Path) -> None:
    text = SAMPLE.read_text().replace("    su mirrormanager mirrormanager\n", "").replace(FOLDER, str(folder))
    (folder / "sample").write_text(text)
    (folder / "sample").chmod(0o644)
    command = ["/usr/sbin/logrotate", "--force", "--state", folder / "state", folder / "sample"]
    subprocess.run(command, check=True, capture_output=True, timeout=30)


def test_a_rotated_log_goes_on_in_a_new_file_and_no_line_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "redirector.log"
    log = AccessLog(path, interval=0.01)
    log.start()
    for number in range(2):
        log.write(Entry(date(2026, 3, 1), f"192.0.2.{number}", "US", "f44", "x86_64"))
        wait_until(lambda: path.exists() and path.read_text(), bool)
        if not number:
            rotate(tmp_path)
    log.close()
    assert "192.0.2.1" in path.read_text()
    (rotated,) = tmp_path.glob("redirector.log-*")
    assert "192.0.2.0" in rotated.read_text()
