"""Mail, on a real SMTP server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mm_lib.model.accounts import User
from mm_lib.model.outbox import DeliveryState
from mm_lib.outbox import message
from mm_lib.services.outbox import Kind
from mm_lib.settings import MailSettings
from tests.outbox.conftest import World
from tests.outbox.receivers import MailServer
from tests.postgres import free_port
from tests.servers import make_certificate


@pytest.fixture
def database_url(sqlite_template: Path, tmp_path: Path) -> str:
    """What is mailed does not depend on the database."""
    (tmp_path / "test.sqlite").write_bytes(sqlite_template.read_bytes())
    return f"sqlite:///{tmp_path / 'test.sqlite'}"


@pytest.fixture
def server() -> Iterator[MailServer]:
    with MailServer() as server:
        yield server


@pytest.fixture
def mailing(world: World, server: MailServer) -> World:
    """A world whose mail goes to the server."""
    world.set("mail", server="127.0.0.1", port=server.port, security="none", sender="mirrors@example.net")
    world.set("frontend", public_url="https://mirrors.example.net/")
    return world


def test_those_who_speak_for_the_site_and_the_robot_get_a_mail_each(mailing: World, server: MailServer) -> None:
    mailing.happens()
    assert mailing.deliver() == {"delivered": 3}
    assert sorted(server.receivers) == [["ann@example.org"], ["bob@example.org"], ["robot@example.org"]]


def test_a_mail_says_what_happened_why_what_to_do_and_where_to_look(mailing: World, server: MailServer) -> None:
    mailing.happens(Kind.DISABLED)
    mailing.deliver()
    mail = server.mails[0]
    assert mail["Subject"] == "[MirrorManager] mirror.example.org was switched off"
    assert (mail["From"], mail["Auto-Submitted"]) == ("MirrorManager <mirrors@example.net>", "auto-generated")
    text = mail.get_content().replace("\r\n", "\n")
    assert "was switched off: clients are not sent to it any more" in " ".join(text.split())
    assert "Why:\n  could not be reached: https://mirror.example.org/fedora: no connection\n" in text
    assert "asked: https://mirror.example.org/fedora/" in text
    assert "What to do:" in text
    assert f"https://mirrors.example.net/host/{mailing.host.id}\n" in text


def test_what_a_mirror_answers_cannot_add_lines_to_a_mail(mailing: World, server: MailServer) -> None:
    mailing.happens()
    mailing.deliver()
    assert "found: 503  not what you think" in server.mails[0].get_content()


def test_a_host_whose_name_holds_a_line_end_adds_no_header(mailing: World, server: MailServer) -> None:
    mailing.host.name = "mirror\r\nBcc: all@example.org"
    mailing.happens()
    mailing.deliver()
    assert server.mails[0]["Bcc"] is None
    assert server.receivers[0] == ["ann@example.org"]


@pytest.mark.parametrize("kind", message.LETTERS)
def test_there_is_a_letter_for_every_kind(mailing: World, server: MailServer, kind: Kind) -> None:
    mailing.happens(kind)
    mailing.deliver()
    assert "{" not in str(server.mails[0]["Subject"]) + server.mails[0].get_content()


def test_who_may_only_look_or_is_switched_off_gets_no_mail(mailing: World, server: MailServer) -> None:
    bob = mailing.session.query(User).filter_by(name="bob").one()
    bob.active = False
    mailing.host.robot_email = "ANN@example.org"
    mailing.happens()
    mailing.deliver()
    assert server.receivers == [["ann@example.org"]]


def test_an_address_that_is_refused_for_ever_is_given_up_and_costs_no_other(mailing: World, server: MailServer) -> None:
    server.answers["ann@example.org"] = "550 5.1.1 No such user"
    mailing.happens()
    assert mailing.deliver() == {"delivered": 2, "dead": 1}
    (dead,) = [each for each in mailing.deliveries() if each.state is DeliveryState.DEAD]
    assert (dead.target, dead.attempts) == ("ann@example.org", 1)
    assert "550" in dead.last_error


def test_an_address_that_is_refused_for_now_is_tried_again(mailing: World, server: MailServer) -> None:
    server.answers["ann@example.org"] = "451 4.7.1 Greylisted"
    mailing.happens()
    assert mailing.deliver() == {"delivered": 2, "waiting": 1}
    server.answers.clear()
    assert mailing.deliver() == {}
    mailing.later(minutes=2)
    assert mailing.deliver() == {"delivered": 1}
    first, second = server.mails[0]["Message-ID"], server.mails[-1]["Message-ID"]
    assert first == second


def test_an_address_that_is_none_is_given_up(mailing: World, server: MailServer) -> None:
    mailing.host.robot_email = "nobody at home"
    mailing.happens()
    assert mailing.deliver() == {"delivered": 2, "dead": 1}


def test_a_mail_server_that_is_down_is_asked_once_per_round(world: World) -> None:
    world.set("mail", server="127.0.0.1", port=free_port(), security="none", sender="mirrors@example.net")
    world.happens()
    assert world.deliver() == {"waiting": 1}
    assert sorted(each.attempts for each in world.deliveries()) == [0, 0, 1]


def test_mail_is_encrypted_and_the_password_checked(world: World, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    with MailServer(certificate, sign_in=True) as server:
        options = {"server": "localhost", "port": server.port, "sender": "mirrors@example.net"}
        world.set("mail", **options, user="mm", password="wrong", ca_file=certificate.certificate)
        world.happens()
        assert world.deliver() == {"waiting": 1}
        assert "535" in "".join(each.last_error for each in world.deliveries())
        world.set("mail", password="right")
        world.later(hours=1)
        assert world.deliver() == {"delivered": 3}
    assert set(server.signed_in) == {b"mm"}


def test_a_server_whose_certificate_is_not_trusted_gets_nothing(world: World, tmp_path: Path) -> None:
    with MailServer(make_certificate(tmp_path)) as server:
        world.set("mail", server="localhost", port=server.port, sender="mirrors@example.net")
        world.happens()
        assert world.deliver() == {"waiting": 1}
        assert server.mails == []


def test_without_a_mail_server_nobody_is_mailed(world: World) -> None:
    world.happens()
    assert world.deliver() == {}
    assert world.deliveries() == []


def test_a_mail_server_without_a_sender_is_refused() -> None:
    with pytest.raises(ValueError, match=r"mail\.sender must be"):
        MailSettings(server="localhost")
