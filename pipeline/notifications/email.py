"""Mails: made from templates, sent by SMTP or, where none is configured, laid into a folder."""

from __future__ import annotations

import re
import smtplib
import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import parseaddr
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError, select_autoescape

from pipeline.errors import ConfigurationError
from pipeline.notifications.message import Delivered, Delivery, Failed, Notification

TIMEOUT_SECONDS = 10.0
PORTS = {"smtp": 25, "smtps": 465}
TEMPLATES = Path(__file__).parent / "templates"

#: Words of what needs no quotes, with points where none may stand: first, last, or two in a row.
_DOTTED = re.compile(r"\A(?=\.|.*\.\.|.*\.\Z)[\w.!#$%&'*+/=?^`{|}~-]+", re.ASCII)
#: What means something between addresses. In quotes it would not, but Python's writer of headers
#: takes the quotes off a name that is too long for one line.
_SPECIALS = re.compile(r"[()<>\[\]:;@\\,\"]")
_BREAKS = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")


def _on_one_line(value: Any) -> Any:
    """Text without line breaks or control characters; anything else as it is."""
    return _BREAKS.sub(" ", value).strip() if isinstance(value, str) else value


def _in_header(text: str) -> str:
    """Text in which a header's reader finds no encoded word, and so no line break inside one."""
    return str(_on_one_line(text)).replace("=?", "= ?")


#: `finalize` sees whatever a template inserts: a customer's name can't begin a line of its own,
#: neither among the headers nor in the text.
_templates = Environment(
    loader=FileSystemLoader(TEMPLATES),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    finalize=_on_one_line,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def compose(notification: Notification, sender: Address) -> EmailMessage:
    """The mail for `notification`, with a Message-ID that is the same each time it is made.

    Raises TemplateError (no such template, something missing in the payload) and ValueError
    (not an address).
    """
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = _recipient(notification)
    topic, payload = notification.topic, notification.payload
    message["Subject"] = _in_header(render(topic, "subject.txt", payload))
    message["Date"] = datetime.now(UTC)
    message["Message-ID"] = f"<{quote(notification.id, safe='')}@{sender.domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(render(topic, "txt", payload), cte="quoted-printable")
    html = render(topic, "html", payload)
    message.add_alternative(html, subtype="html", cte="quoted-printable")
    return message


def render(topic: str, part: str, payload: Mapping[str, Any]) -> str:
    """A part (subject.txt, txt, html) of the mail on `topic`; TemplateError if it can't be made."""
    return _templates.get_template(f"{topic}.{part}").render(payload)


def _recipient(notification: Notification) -> Address:
    name = _in_header(_SPECIALS.sub(" ", notification.payload.get("customer_name") or ""))
    return _address(name, notification.target)


class _Dotted(Address):
    """`taro..y@docomo.ne.jp`, as carriers gave them out: it may be written in quotes alone."""

    @property
    def addr_spec(self) -> str:
        return f'"{self.username}"@{self.domain}'


def _parse_sender(sender: str) -> Address:
    try:
        return _address(*parseaddr(sender))
    except ValueError:
        raise ConfigurationError(
            f"mails can't be sent from {sender!r}; an address is wanted, such as "
            "'Our Shop <orders@shop.example>'"
        ) from None


def _address(name: str, spec: str) -> Address:
    """One address, its domain in the form that DNS knows. Anything else raises ValueError."""
    local, _, domain = spec.rpartition("@")
    try:
        if "=?" in spec:
            raise ValueError
        if _DOTTED.fullmatch(local):
            return _Dotted(name, local, domain.encode("idna").decode("ascii"))
        address = Address(addr_spec=spec)
        return Address(name, address.username, address.domain.encode("idna").decode("ascii"))
    except (ValueError, IndexError, MessageError):
        raise ValueError(f"{spec!r} is not an address") from None


def discard(directory: Path, notification_ids: Iterable[str]) -> None:
    """Remove what a FileMailbox has laid into the folder of these; twice is once."""
    for name in notification_ids:
        _laid_into(directory, name).unlink(missing_ok=True)


def _laid_into(directory: Path, notification_id: str) -> Path:
    return directory / f"{quote(notification_id, safe='')}.eml"


class FileMailbox:
    """Lays each mail as `<id>.eml` into a folder: open it in any mail program.

    A mail delivered again replaces the first.
    """

    def __init__(self, directory: str | Path, sender: str = "Ordermill <orders@localhost>") -> None:
        self._directory = Path(directory)
        self._sender = _parse_sender(sender)

    def send(self, notifications: Sequence[Notification]) -> Iterator[Delivery]:
        """As in `Sender`."""
        for notification in notifications:
            yield self._keep(notification)

    def _keep(self, notification: Notification) -> Delivery:
        try:
            message = compose(notification, self._sender)
            self._directory.mkdir(parents=True, exist_ok=True)
            path = _laid_into(self._directory, notification.id)
            part = path.with_suffix(".part")
            part.write_bytes(message.as_bytes())
            part.replace(path)
        except OSError as error:
            return Failed(f"the mail can't be put into {self._directory}: {error}")
        except (TemplateError, ValueError, MessageError) as error:
            return Failed(_reason(error))
        return Delivered()


class EmailSender:
    """Sends by SMTP, one connection for each call of `send`.

    `smtp_url` is smtp://user:password@host:port, with STARTTLS where the server offers it, or
    smtps://…. User, password and port may be left out. `sender` is 'Name <address>'. `timeout` is
    in seconds, for each exchange with the server.
    """

    def __init__(self, smtp_url: str, sender: str, timeout: float = TIMEOUT_SECONDS) -> None:
        self._server = _Server(smtp_url, timeout)
        self._sender = _parse_sender(sender)

    def send(self, notifications: Sequence[Notification]) -> Iterator[Delivery]:
        """As in `Sender`."""
        conversation = _Conversation(self._server)
        try:
            for notification in notifications:
                try:
                    message = compose(notification, self._sender)
                except (TemplateError, ValueError, MessageError) as error:
                    yield Failed(_reason(error))
                else:
                    yield conversation.send(message)
        finally:
            conversation.close()


class _Server:
    """Where mails go, as the URL tells, and how to get a connection that is ready to send."""

    def __init__(self, url: str, timeout: float) -> None:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in PORTS or not parts.hostname or port == -1:
            raise ConfigurationError(
                "the SMTP URL must look like smtp://user:password@host:port or smtps://host"
            )
        self._host = parts.hostname
        self._port = port or PORTS[parts.scheme]
        self._encrypted = parts.scheme == "smtps"
        self._user = unquote(parts.username or "")
        self._password = unquote(parts.password or "")
        self._timeout = timeout

    def connect(self) -> smtplib.SMTP:
        """Encrypted where possible, logged in where asked for, and never in clear. Raises OSError."""
        if self._encrypted:
            smtp: smtplib.SMTP = smtplib.SMTP_SSL(
                self._host, self._port, timeout=self._timeout, context=ssl.create_default_context()
            )
        else:
            smtp = smtplib.SMTP(self._host, self._port, timeout=self._timeout)
        try:
            self._prepare(smtp)
        except BaseException:  # only to close it; it is raised again
            smtp.close()
            raise
        return smtp

    def _prepare(self, smtp: smtplib.SMTP) -> None:
        smtp.ehlo()
        if not self._encrypted and smtp.has_extn("starttls"):
            smtp.starttls(context=self._starttls_context())
            smtp.ehlo()
        if self._user and not isinstance(smtp.sock, ssl.SSLSocket):
            # Who hides that the server offers STARTTLS would read the password.
            raise smtplib.SMTPNotSupportedError(
                "it offers no STARTTLS, and the password is not sent in clear; set smtps://… or a "
                "server that encrypts"
            )
        if self._user:
            smtp.login(self._user, self._password)

    def _starttls_context(self) -> ssl.SSLContext:
        """Certificates are looked at where a password is at stake.

        Elsewhere any is taken, so that a relay with one it made itself works: who could forge a
        certificate could as well hide that the server offers STARTTLS.
        """
        context = ssl.create_default_context()
        if not self._user:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class _Conversation:
    """One connection, opened for the first mail and opened again if the server hangs up later.

    A server that can't be reached, or hangs up on the first mail, is away: the rest isn't tried.
    """

    def __init__(self, server: _Server) -> None:
        self._server = server
        self._smtp: smtplib.SMTP | None = None
        self._away: str | None = None

    def send(self, message: EmailMessage) -> Delivery:
        if self._away is not None:
            return Failed(f"not tried, as the mail server is away: {self._away}")
        fresh = self._smtp is None
        try:
            smtp = self._smtp = self._smtp or self._server.connect()
        except (OSError, ValueError) as error:
            self._away = _reason(error)
            return Failed(self._away)
        try:
            smtp.send_message(message)
        except (OSError, ValueError, MessageError) as error:
            self._after(error, smtp, fresh)
            return Failed(_reason(error))
        return Delivered()

    def close(self) -> None:
        if self._smtp is not None:
            with suppress(OSError):
                self._smtp.quit()

    def _after(self, error: Exception, smtp: smtplib.SMTP, fresh: bool) -> None:
        """Tell a mail that was refused from a connection that was lost."""
        if smtp.sock is not None and not _is_lost(error):
            return
        smtp.close()
        self._smtp = None
        if fresh and _is_lost(error):
            self._away = _reason(error)


def _is_lost(error: Exception) -> bool:
    """Whether the connection broke; smtplib's other errors are the server's answers."""
    return isinstance(error, smtplib.SMTPServerDisconnected) or (
        isinstance(error, OSError) and not isinstance(error, smtplib.SMTPException)
    )


def _reason(error: Exception) -> str:
    """A sentence for operators."""
    match error:
        case smtplib.SMTPRecipientsRefused():
            refusals = [
                f"{address}: {code} {_text(answer)}"
                for address, (code, answer) in error.recipients.items()
            ]
            return f"the mail server refused the recipient {'; '.join(refusals)}"
        case smtplib.SMTPResponseException():
            return f"the mail server answered {error.smtp_code} {_text(error.smtp_error)}"
        case TemplateError():
            return f"the mail can't be made from its template: {error}"
        case OSError():
            return f"the mail server can't be used: {error or type(error).__name__}"
        case _:
            return f"the mail can't be made: {error}"


def _text(answer: bytes | str) -> str:
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
    return str(_on_one_line(text))
