"""`leadgraph send`: the sender that comes with the service, against a mail server that takes, refuses, puts off or hangs up."""

import asyncio
import email as mail
import sys
from asyncio.subprocess import PIPE
from datetime import UTC, datetime, timedelta
from email import policy
from types import SimpleNamespace

import pytest
from aiosmtpd.controller import Controller
from program import free_port, leadgraph

FROM = "Ann Lee <ann@sales.example.com>"


class Mailbox:
    """A mail server's inside: keeps what it takes, and answers as it was told for a recipient."""

    def __init__(self):
        self.taken = []
        self.answers = {}

    async def handle_RCPT(self, server, session, envelope, address, _options):  # noqa: N802  (the library's name)
        answer = self.answers.get(address, "250 OK")
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        self.taken.append(SimpleNamespace(to=envelope.rcpt_tos, message=mail.message_from_bytes(envelope.content, policy=policy.default)))
        return "250 OK"


@pytest.fixture
def mailbox():
    return Mailbox()


@pytest.fixture
def smtp(mailbox):
    port = free_port()
    controller = Controller(mailbox, hostname="127.0.0.1", port=port)
    controller.start()
    yield f"smtp://127.0.0.1:{port}"
    controller.stop()


@pytest.fixture
def sending(server_url, api, smtp):
    """Runs the sender once, beside this test's loop."""

    async def run(*more, to=smtp):
        arguments = ["send", "--smtp", to, "--from", FROM, "--url", server_url, "--key", api.key, "--once", *more]
        return await asyncio.to_thread(leadgraph, *arguments)

    return run


async def scheduled(api, *names, **more):
    """Schedule an e-mail to each of these, and give their ids."""
    ids = []
    for name in names:
        await api("leads/upsert_many", input={"leads": [{"email": f"{name}@example.com"}]})
        given = {"lead": {"email": f"{name}@example.com"}, "subject": f"Grüße, {name}", "body": "Hello\n\n.\nFrom us: ünïcode", **more}
        reply = await api("emails/schedule", input={"scheduledAt": "2026-01-20T10:00:00Z", **given})
        ids.append(reply["emailSchedule"]["email"]["id"])
    return ids


async def statuses(api):
    return {node["id"]: (node["status"], node["error"]) for node in (await api("emails/list"))["emails"]["nodes"]}


async def test_what_is_due_is_sent_and_reported(api, mailbox, sending):
    ada, bob = await scheduled(api, "ada", "bob")
    [waiting] = await scheduled(api, "cleo", scheduledAt="2999-01-01T00:00:00Z")
    ended = await sending()
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == f"{ada} sent\n{bob} sent\n2 sent\n"
    first = mailbox.taken[0]
    assert first.to == ["ada@example.com"]
    assert (str(first.message["from"]), str(first.message["to"]), str(first.message["subject"])) == (FROM, "ada@example.com", "Grüße, ada")
    assert first.message["message-id"] == f"<{ada}@sales.example.com>"
    assert first.message.get_content().splitlines() == ["Hello", "", ".", "From us: ünïcode"]
    assert await statuses(api) == {ada: ("SENT", None), bob: ("SENT", None), waiting: ("SCHEDULED", None)}
    assert (await sending()).out == "0 sent\n"
    assert len(mailbox.taken) == 2


async def test_what_the_mail_server_refuses_has_failed_and_the_others_go_out(api, mailbox, sending):
    ada, bob = await scheduled(api, "ada", "bob")
    mailbox.answers["ada@example.com"] = "550 no such user"
    assert (await sending()).out == f"{ada} failed\n{bob} sent\n1 sent\n"
    found = await statuses(api)
    assert (found[ada][0], found[bob][0]) == ("FAILED", "SENT")
    assert "no such user" in found[ada][1]


async def test_what_the_mail_server_puts_off_stays_claimed_for_a_day(api, mailbox, sending):
    recent = datetime.now(UTC) - timedelta(hours=1)
    [ada] = await scheduled(api, "ada", scheduledAt=recent.isoformat())
    [bob] = await scheduled(api, "bob", scheduledAt=(recent - timedelta(days=1)).isoformat())
    mailbox.answers |= {f"{name}@example.com": "451 later" for name in ("ada", "bob")}
    assert (await sending()).out == f"{bob} failed\n{ada} put off: 451\n0 sent\n"
    found = await statuses(api)
    assert (found[ada][0], found[bob][0]) == ("SENDING", "FAILED")


async def test_several_senders_share_the_work(api, mailbox, server_url, smtp):
    ids = await scheduled(api, *[f"lead{number}" for number in range(9)])
    arguments = ["send", "--smtp", smtp, "--from", FROM, "--url", server_url, "--key", api.key, "--once", "--batch", "2"]
    senders = [await asyncio.create_subprocess_exec(sys.executable, "-m", "app", *arguments, stdout=PIPE, stderr=PIPE) for _ in range(3)]
    said = [await sender.communicate() for sender in senders]
    assert [(sender.returncode, err) for sender, (_, err) in zip(senders, said, strict=True)] == [(0, b"")] * 3
    assert sorted(each.message["message-id"].partition("@")[0][1:] for each in mailbox.taken) == sorted(ids)
    assert set((await statuses(api)).values()) == {("SENT", None)}


async def test_without_a_mail_server_nothing_is_claimed(api, sending):
    [ada] = await scheduled(api, "ada")
    ended = await sending(to=f"smtp://127.0.0.1:{free_port()}")
    assert "takes no mail" in ended.refusal
    assert await statuses(api) == {ada: ("SCHEDULED", None)}


async def test_a_password_is_not_sent_in_the_clear(api, mailbox, sending, smtp):
    [ada] = await scheduled(api, "ada")
    ended = await sending(to=smtp.replace("smtp://", "smtp://ann:secret@"))
    assert "takes no mail" in ended.refusal
    assert "secret" not in ended.err
    assert await statuses(api) == {ada: ("SCHEDULED", None)}


async def test_what_is_wrong_is_one_line(server_url, smtp):
    for arguments, words in (
        (["--smtp", "http://127.0.0.1", "--from", FROM], "--smtp"),
        (["--smtp", smtp, "--from", "Ann"], "--from"),
        (
            ["--smtp", smtp, "--from", FROM, "--once", "--url", server_url, "--key", "lg_none"],
            "give a valid key with --key or in LEADGRAPH_KEY",
        ),
        (["--smtp", smtp, "--from", FROM, "--once", "--url", f"http://127.0.0.1:{free_port()}"], "cannot be asked"),
    ):
        assert words in (await asyncio.to_thread(leadgraph, "send", *arguments)).refusal
