"""`leadgraph send`: a small sender of e-mails. It uses the API alone; any number of them share the work."""

import asyncio
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

import aiosmtplib
import httpx2
import orjson
import typer

from app.commands.documents import KEY_WANTED, PATIENCE, URL, endpoint
from app.commands.terminal import Failure
from app.errors import Code, shown
from app.settings import QUERIES

#: Seconds that the mail server has for each answer, and that must be left of a lease for another e-mail to be begun.
SMTP_PATIENCE = 30.0
MARGIN = 60.0
#: How long an e-mail is tried again that the mail server puts off.
PUT_OFF = timedelta(days=1)
#: Seconds between two tries to report: what was sent must be known, or somebody sends it again.
REPORT_WAITS = (0.5, 1, 2, 5, 10, 20, 30, 60)

commands = typer.Typer(add_completion=False)


@commands.command()
def send(
    *,
    smtp: Annotated[str, typer.Option(envvar="LEADGRAPH_SMTP", help="smtp://[USER:PASSWORD@]HOST[:PORT], or smtps://... for TLS at once.")],
    sender: Annotated[str, typer.Option("--from", help="Whom the e-mails are from: `Ann <ann@example.com>`.")],
    url: Annotated[str, typer.Option(envvar="LEADGRAPH_URL", help="The server's GraphQL endpoint.")] = URL,
    key: Annotated[str | None, typer.Option(envvar="LEADGRAPH_KEY", help="An API key of an EDITOR.", show_envvar=True)] = None,
    once: Annotated[bool, typer.Option(help="Send what is due, and end.")] = False,
    poll: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks for what is due.")] = 10.0,
    batch: Annotated[int, typer.Option(min=1, max=200, help="E-mails claimed at a time.")] = 20,
    lease: Annotated[int, typer.Option(min=90, max=86_400, help="Seconds that they are this sender's alone.")] = 300,
) -> None:
    """Send the e-mails that are due, and report what became of each; several at once share the work.

    No e-mail is sent twice, but for one: where a sender dies after the mail server took an e-mail and before it could report that,
    the next sender sends it again, under the same Message-ID.
    """
    _, address = parseaddr(sender)
    if "@" not in address:
        raise typer.BadParameter(f"--from {shown(sender)}: must be an address, as in `Ann <ann@example.com>`")
    job = Sender(_mail_server(smtp), sender, _Api(endpoint(url), key), batch, lease)
    count = asyncio.run(_until_stopped(job, None if once else poll))
    typer.echo(f"{count} sent")


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where e-mails are handed in, and how."""

    host: str
    port: int
    tls: bool
    user: str | None = None
    password: str | None = None

    def client(self) -> aiosmtplib.SMTP:
        """Make a client: with STARTTLS where the server offers it; a password is never sent without."""
        start_tls = None if self.tls or self.user is None else True
        return aiosmtplib.SMTP(
            hostname=self.host,
            port=self.port,
            username=self.user,
            password=self.password,
            use_tls=self.tls,
            start_tls=False if self.tls else start_tls,
            timeout=SMTP_PATIENCE,
        )


def _mail_server(url: str) -> MailServer:
    wrong = typer.BadParameter("--smtp: must be smtp://[USER:PASSWORD@]HOST[:PORT] or smtps://...")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise wrong from error
    if parts.scheme not in ("smtp", "smtps") or not host:
        raise wrong
    tls = parts.scheme == "smtps"
    user = None if parts.username is None else unquote(parts.username)
    return MailServer(host, port or (465 if tls else 25), tls, user, None if parts.password is None else unquote(parts.password))


class Refused(Failure):
    """The server answers, and does not let this sender in."""


class Unreachable(Failure):
    """The server cannot be asked right now."""


class _Api:
    """The server's GraphQL, as far as a sender needs it."""

    def __init__(self, url: str, key: str | None) -> None:
        self.url = url
        self._headers = {"Content-Type": "application/json"} | ({} if key is None else {"Authorization": f"Bearer {key}"})
        self._texts = {name: (QUERIES / "emails" / f"{name}.graphql").read_text(encoding="utf-8") for name in ("claim", "report")}

    async def ask(self, name: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Run a document of `queries/emails` and give its data."""
        try:
            async with httpx2.AsyncClient(timeout=PATIENCE) as client:
                content = orjson.dumps({"query": self._texts[name], "variables": variables})
                answer = orjson.loads((await client.post(self.url, content=content, headers=self._headers)).content)
        except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeError, orjson.JSONDecodeError) as error:
            raise Unreachable(f"{self.url} cannot be asked: {error or type(error).__name__}") from error
        for told in answer.get("errors") or ():
            passing = told["extensions"]["code"] in ("UNAVAILABLE", "TIMEOUT", "RATE_LIMITED", "INTERNAL")
            wrong = KEY_WANTED if told["extensions"]["code"] == Code.UNAUTHENTICATED else told["message"]
            raise (Unreachable if passing else Refused)(f"{self.url}: {wrong}")
        data: dict[str, Any] = answer["data"]
        return data


@dataclass(slots=True)
class Sender:
    """Claims e-mails, hands them to a mail server, and reports."""

    server: MailServer
    sender: str
    api: _Api
    batch: int
    lease: int
    stopping: bool = False

    async def round(self) -> tuple[int, int]:
        """Claim once and send: how many there were, and how many were sent. The mail server is asked first: a claim holds e-mails up."""
        smtp = self.server.client()
        try:
            await smtp.connect()
        except (aiosmtplib.SMTPException, OSError) as error:
            raise Unreachable(f"{self.server.host}:{self.server.port} takes no mail: {_line(error)}") from error
        try:
            held_until = time.monotonic() + self.lease
            claim = (await self.api.ask("claim", {"first": self.batch, "leaseSeconds": self.lease}))["emailClaim"]
            sent = 0
            for email in claim["emails"]:
                if self.stopping or time.monotonic() > held_until - MARGIN:
                    break
                sent += await self._send(smtp, claim["claimId"], email)
            return len(claim["emails"]), sent
        finally:
            with suppress(aiosmtplib.SMTPException, OSError):
                await smtp.quit()

    async def _send(self, smtp: aiosmtplib.SMTP, claim_id: str, email: dict[str, Any]) -> bool:
        """Hand in one e-mail; one that the mail server puts off stays claimed, and comes again when the lease is over."""
        try:
            if not smtp.is_connected:
                await smtp.connect()
        except (aiosmtplib.SMTPException, OSError) as error:
            raise Unreachable(f"{self.server.host}:{self.server.port} takes no mail: {_line(error)}") from error
        failed: Exception | None = None
        try:
            await smtp.send_message(message(self.sender, email), recipients=[email["toAddress"]])
        except aiosmtplib.SMTPRecipientsRefused as error:
            failed = error.recipients[0] if error.recipients else error
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            failed = error
        code = getattr(failed, "code", 0)
        if failed is not None and 400 <= code < 500 and datetime.now(UTC) - datetime.fromisoformat(email["scheduledAt"]) < PUT_OFF:
            typer.echo(f"{email['id']} put off: {code}")
            return False
        # A connection that broke may have been too late to stop the mail: it is not sent again, but reported with what happened.
        report: dict[str, Any] = {"id": email["id"], "claimId": claim_id}
        report |= {"sentAt": datetime.now(UTC).isoformat()} if failed is None else {"error": _line(failed)}
        await self._report(report)
        typer.echo(f"{email['id']} {'sent' if failed is None else 'failed'}")
        return failed is None

    async def _report(self, report: dict[str, Any]) -> None:
        for wait in self._waits():
            try:
                await self.api.ask("report", report)
            except Unreachable:
                await asyncio.sleep(wait)
            except Refused as error:
                typer.echo(f"{report['id']} not noted: {error.message}", err=True)
                return
            else:
                return
        await self.api.ask("report", report)

    @staticmethod
    def _waits() -> Iterator[float]:
        yield from REPORT_WAITS


def message(sender: str, email: dict[str, Any]) -> EmailMessage:
    """Write an e-mail as it goes out; its Message-ID is always the same, so that readers know a second copy."""
    name, address = parseaddr(sender)
    made = EmailMessage()
    made["From"] = Address(name, addr_spec=address)
    made["To"] = Address(addr_spec=email["toAddress"])
    made["Subject"] = email["subject"]
    made["Date"] = format_datetime(datetime.now(UTC))
    made["Message-ID"] = f"<{email['id']}@{address.rpartition('@')[2]}>"
    made.set_content(email["body"])
    return made


def _line(error: object) -> str:
    return " ".join(str(error).split())[:1_000] or type(error).__name__


async def _until_stopped(sender: Sender, poll: float | None) -> int:
    """Send round by round; without `poll`, until nothing more is due. A signal lets the e-mail under way be sent and reported."""
    stop = asyncio.Event()

    def end() -> None:
        sender.stopping = True
        stop.set()

    # Only the main thread hears signals.
    for name in (signal.SIGTERM, signal.SIGINT) if threading.current_thread() is threading.main_thread() else ():
        asyncio.get_running_loop().add_signal_handler(name, end)
    count = 0
    while not stop.is_set():
        claimed = 0
        try:
            claimed, sent = await sender.round()
            count += sent
        except Unreachable as error:
            if poll is None:
                raise
            typer.echo(error.message, err=True)
        if not claimed:
            if poll is None:
                break
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), poll)
    return count
