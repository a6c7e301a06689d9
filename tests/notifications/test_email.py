"""Mails, sent to a real SMTP server or laid into a folder."""

from __future__ import annotations

import base64
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from email import message_from_bytes
from email.errors import MessageError
from email.generator import BytesGenerator
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword

from benchmarks.ports import free_port
from pipeline.errors import ConfigurationError
from pipeline.notifications.email import EmailSender, FileMailbox
from pipeline.notifications.message import Delivered, Failed, Notification

SENDER = "Mug Shop <orders@shop.example>"
CERTIFICATE = Path(__file__).with_name("localhost.pem")


def payload(**changes: Any) -> dict[str, Any]:
    order = {
        "order_id": 42,
        "external_id": "web-1001",
        "customer_name": "Ada Lovelace",
        "currency": "EUR",
        "lines": [
            {"sku": "MUG-01", "quantity": 2, "discount": "5.00", "net": "42.02", "gross": "50.00"},
            {"sku": "TEA-07", "quantity": 1, "discount": "0.00", "net": "3.92", "gross": "4.67"},
        ],
        "shipping": {"method": "post", "discount": "0.00", "net": "4.12", "gross": "4.90"},
        "totals": {
            "net": "50.06", "tax": "9.51", "shipping": "4.90", "discount": "5.00", "gross": "59.57",
        },
        "shipment": {
            "reference": "P-1", "carrier": None, "tracking": "JD01",
            "lines": [{"line": 1, "sku": "MUG-01", "units": 2}],
        },
    }  # fmt: skip
    return order | changes


def mail(
    target: str = "ada@example.com",
    id_: str = "msg_42_confirmed",
    topic: str = "order.confirmed",
    **changes: Any,
) -> Notification:
    return Notification(id_, 42, "web", "email", topic, target, payload(**changes))


class Server:
    """What the tests tell an SMTP server to answer, and what it took; the hooks are aiosmtpd's."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.raw: list[bytes] = []
        self.recipients: list[str] = []
        self.connections = 0
        self.encrypted: list[bool] = []
        self.logins: list[tuple[bytes, bytes]] = []
        self.answers: list[str] = []
        self.port = 0

    async def handle_EHLO(
        self, server: Any, session: Any, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        self.connections += 1
        session.host_name = hostname
        return responses

    async def handle_RCPT(
        self, server: Any, session: Any, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("nobody@"):
            return "550 5.1.1 no such user here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:
        answer = self.answers.pop(0) if self.answers else "250 OK"
        if answer.startswith("250"):
            assert isinstance(envelope.content, bytes)
            self.raw.append(envelope.content)
            received = message_from_bytes(envelope.content, policy=default)
            assert isinstance(received, EmailMessage)
            self.mails.append(received)
            self.recipients.extend(envelope.rcpt_tos)
            self.encrypted.append(session.ssl is not None)
        return answer

    def authenticate(self, server: Any, session: Any, envelope: Any, *how: Any) -> AuthResult:
        mechanism, data = how
        assert isinstance(data, LoginPassword), mechanism
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == b"p@ss", handled=False)


Start = Callable[..., Server]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts an SMTP server; the options are aiosmtpd's."""
    running: list[Controller] = []

    def run(**options: Any) -> Server:
        server = Server()
        server.port = free_port()
        if options.pop("logins", False):
            options |= {"authenticator": server.authenticate, "auth_required": True}
        running.append(Controller(server, "127.0.0.1", server.port, **options))
        running[-1].start()
        server.connections = 0
        return server

    yield run
    for controller in running:
        controller.stop(no_assert=True)


def tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def sender(server: Server, login: str = "", scheme: str = "smtp") -> EmailSender:
    return EmailSender(f"{scheme}://{login}127.0.0.1:{server.port}", SENDER, timeout=2)


def part(message: EmailMessage, kind: str) -> str:
    body = message.get_body((kind,))
    assert body is not None
    return str(body.get_content())


def test_a_confirmed_order_is_mailed_as_text_and_html(start: Start) -> None:
    """The customer reads what was ordered and what it costs, in either form."""
    server = start()

    results = list(sender(server).send([mail()]))

    assert results == [Delivered()]
    (received,) = server.mails
    assert received["Subject"] == "Your order web-1001 is confirmed"
    assert received["From"] == SENDER
    assert received["To"] == "Ada Lovelace <ada@example.com>"
    for body in (part(received, "plain"), part(received, "html")):
        assert "Ada Lovelace" in body
        assert "MUG-01" in body
        assert "50.00" in body
        assert "59.57" in body


def test_what_is_shipped_and_what_was_taken_off_is_told_where_there_is_any(start: Start) -> None:
    """No line about shipping that nobody pays, nor about a discount that nobody had."""
    server = start()
    plain = {
        "net": "50.06",
        "tax": "9.51",
        "shipping": "0.00",
        "discount": "0.00",
        "gross": "59.57",
    }

    list(sender(server).send([mail(), mail(shipping=None, totals=plain)]))

    with_both, with_neither = server.mails
    for kind in ("plain", "html"):
        assert all(
            word in part(with_both, kind) for word in ("Shipping", "4.90", "Taken off", "5.00")
        )
        assert "Shipping" not in part(with_neither, kind)
        assert "Taken off" not in part(with_neither, kind)


@pytest.mark.parametrize("topic", ["order.confirmed", "order.shipped"])
def test_each_topic_has_a_mail_and_does_without_a_name(start: Start, topic: str) -> None:
    """A customer who left no name is greeted without one."""
    server = start()

    results = list(sender(server).send([mail(topic=topic, customer_name=None)]))

    assert results == [Delivered()]
    assert part(server.mails[0], "plain").startswith("Hello,")
    assert "None" not in part(server.mails[0], "html")


def test_a_doubled_delivery_can_be_recognised(start: Start) -> None:
    """The same notification has the same Message-ID, another has another."""
    server = start()

    list(sender(server).send([mail(id_="msg_1")]))
    list(sender(server).send([mail(id_="msg_1"), mail(id_="msg 2")]))

    assert [received["Message-ID"] for received in server.mails] == [
        "<msg_1@shop.example>",
        "<msg_1@shop.example>",
        "<msg%202@shop.example>",
    ]


def test_a_batch_goes_over_one_connection(start: Start) -> None:
    """Three mails, one connection."""
    server = start()

    results = list(sender(server).send([mail(id_=f"msg_{n}") for n in range(3)]))

    assert results == [Delivered()] * 3
    assert server.connections == 1


def test_a_451_fails_that_mail_only(start: Start) -> None:
    """A temporary refusal is reported for the mail it was about; the others get through."""
    server = start()
    server.answers = ["250 OK", "451 4.3.0 try again later", "250 OK"]

    results = list(sender(server).send([mail(id_=f"msg_{n}") for n in range(3)]))

    assert results == [
        Delivered(),
        Failed("the mail server answered 451 4.3.0 try again later"),
        Delivered(),
    ]


def test_a_refused_recipient_fails_that_mail_only(start: Start) -> None:
    """An address the server doesn't know is named in the failure; the others get through."""
    server = start()

    results = list(sender(server).send([mail("nobody@example.com"), mail("ada@example.com")]))

    assert results == [
        Failed(
            "the mail server refused the recipient nobody@example.com: 550 5.1.1 no such user here"
        ),
        Delivered(),
    ]


def test_a_server_that_hangs_up_is_called_again(start: Start) -> None:
    """A 421 in mid-batch costs one mail, not the rest."""
    server = start()
    server.answers = ["250 OK", "421 4.7.0 too many mails on this connection"]

    results = list(sender(server).send([mail(id_=f"msg_{n}") for n in range(3)]))

    assert [type(result) for result in results] == [Delivered, Failed, Delivered]
    assert server.connections == 2


def test_a_server_that_is_away_fails_the_batch_with_one_attempt() -> None:
    """A refused connection is reported for each mail, without knocking again for each."""
    away = EmailSender(f"smtp://127.0.0.1:{free_port()}", SENDER)

    first, second = away.send([mail(id_="msg_1"), mail(id_="msg_2")])

    assert isinstance(first, Failed)
    assert "refused" in first.error
    assert isinstance(second, Failed)
    assert second.error.startswith("not tried")


def test_a_server_that_says_nothing_is_given_up() -> None:
    """The time-out bounds how long a silent server is waited for."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        waiting = EmailSender(f"smtp://127.0.0.1:{port}", SENDER, timeout=0.2)

        (result,) = waiting.send([mail()])

    assert isinstance(result, Failed)
    assert "timed out" in result.error


def test_starttls_is_used_where_it_is_offered(start: Start) -> None:
    """Mail to a relay with a certificate of its own making is encrypted."""
    server = start(tls_context=tls())

    results = list(sender(server).send([mail()]))

    assert results == [Delivered()]
    assert server.encrypted == [True]


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # smtps is TLS
@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_it_logs_in_over_tls(start: Start, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """User and password come from the URL, percent-decoded, and travel encrypted."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    how = {"tls_context": tls()} if scheme == "smtp" else {"ssl_context": tls()}
    server = start(logins=True, auth_require_tls=scheme == "smtp", **how)

    results = list(sender(server, "shop:p%40ss@", scheme).send([mail()]))

    assert results == [Delivered()]
    assert server.logins == [(b"shop", b"p@ss")]


def test_a_password_is_not_shown_to_a_server_that_can_not_prove_itself(start: Start) -> None:
    """With a login, a certificate nobody vouches for ends it before the password is sent."""
    server = start(logins=True, tls_context=tls())

    (result,) = sender(server, "shop:p%40ss@").send([mail()])

    assert isinstance(result, Failed)
    assert "certificate verify failed" in result.error
    assert server.logins == []


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
@pytest.mark.parametrize("login", ["shop:p%40ss@", "shop@"])
def test_a_password_is_never_sent_in_clear(start: Start, login: str) -> None:
    """Who hides that the server offers STARTTLS would read it."""
    server = start(logins=True, auth_require_tls=False)

    (result,) = sender(server, login).send([mail()])

    assert isinstance(result, Failed)
    assert "it offers no STARTTLS, and the password is not sent in clear" in result.error
    assert (server.logins, server.encrypted) == ([], [])


def test_a_wrong_password_is_told(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's refusal of the login reaches the operator."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    server = start(logins=True, tls_context=tls())

    (result,) = sender(server, "shop:wrong@").send([mail()])

    assert isinstance(result, Failed)
    assert "535" in result.error


HOSTILE_NAMES = [
    "Ada\r\nBcc: everyone@example.com",
    "Ada\nBcc: everyone@example.com",
    "Ada\r\n\r\nClick http://evil.example",
    "Ada\u2028Bcc: everyone@example.com",
    "Ada\x00\x0bBcc: everyone@example.com",
    'Ada" <everyone@example.com>, "',
    "Ada, everyone@example.com",
    "=?utf-8?q?x=0d=0aBcc:_everyone@example.com=0d=0a=0d=0aClick?=",
    "=?utf-8?b?eA0KQmNjOiBldmVyeW9uZUBleGFtcGxlLmNvbQ==?=",
]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("field", ["customer_name", "external_id"])
def test_a_name_can_not_make_headers(start: Start, field: str, name: str) -> None:
    """Whatever a customer calls themselves, the mail goes to one address with our headers only."""
    server = start()

    results = list(sender(server).send([mail(**{field: name})]))

    assert results == [Delivered()]
    (received,) = server.mails
    assert server.recipients == ["ada@example.com"]
    assert [address.addr_spec for address in received["To"].addresses] == ["ada@example.com"]
    assert "Bcc" not in received
    assert not any(
        line.startswith(("Bcc", "Click")) for line in part(received, "plain").splitlines()
    )


#: What a mail program would take for a header, or the beginning of a text, if it got there whole.
ATTACK = "x\r\nReply-To: thief@evil.example\r\nContent-Type: text/html\r\n\r\n<h1>Pay here</h1>"
_Q = "".join(f"={byte:02x}" for byte in ATTACK.encode())
_B = base64.b64encode(ATTACK.encode()).decode()
VARIANTS = {
    "q": f"=?utf-8?q?{_Q}?=",
    "Q, capitals": f"=?UTF-8?Q?{_Q.upper().replace('X', 'x')}?=",
    "as found": "=?utf-8?q?x=0d=0aReply-To:_thief@evil.example=0d=0aContent-Type:_text/html"
    "=0d=0a=0d=0a<h1>Pay_here:_evil.example</h1>?=",
    "base64": f"=?utf-8?b?{_B}?=",
    "base64 without its end": f"=?utf-8?B?{_B.rstrip('=')}?=",
    "latin-1": f"=?iso-8859-1?q?{_Q}?=",
    "ascii": f"=?us-ascii?q?{_Q}?=",
    "utf-16": f"=?utf-16?b?{base64.b64encode(ATTACK.encode('utf-16')).decode()}?=",
    "utf-7": "=?utf-7?q?x+AA0ACg-Reply-To:_thief@evil.example+AA0ACgANAAo-Pay?=",
    "unknown charset": f"=?x-nothing?q?{_Q}?=",
    "with a language": f"=?utf-8*en?q?{_Q}?=",
    "line feed alone": "=?utf-8?q?x=0aReply-To:_thief@evil.example=0a=0aPay?=",
    "carriage return alone": "=?utf-8?q?x=0dReply-To:_thief@evil.example=0d=0dPay?=",
    "two words": f"=?utf-8?q?{_Q[:60]}?= =?utf-8?q?{_Q[60:]}?=",
    "behind a name": f"Ada =?utf-8?q?{_Q}?= Lovelace",
    "in quotes": f'"=?utf-8?q?{_Q}?="',
    "one in another": f"=?utf-8?q?=3d?utf-8?q?{_Q}?=?=",
    "a second mark": f"==??utf-8?q?{_Q}?=",
    "parted by a tab": f"=\t?utf-8?q?{_Q}?=",
    "parted by nothing seen": f"=\u200b?utf-8?q?{_Q}?=",
    "without its end": f"=?utf-8?q?{_Q}",
    "plain": ATTACK,
    "unicode breaks": ATTACK.replace("\r\n", "\u2028"),
    "next line": ATTACK.replace("\r\n", "\x85"),
    "percent": ATTACK.replace("\r\n", "%0d%0a"),
    "quoted-printable": ATTACK.replace("\r\n", "=0D=0A"),
    "the end of the data": "x\r\n.\r\nMAIL FROM:<a@evil.example>\r\n",
    "addresses, folded": "a@evil.example, " * 15,
    "an address in quotes, folded": 'Ada" <a@evil.example>, "' * 10,
    "long": "Ada " * 60 + f"=?utf-8?q?{_Q}?=",
}
OURS = ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version",
        "Content-Type"]  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=list(VARIANTS))
@pytest.mark.parametrize("field", ["customer_name", "external_id"])
def test_headers_and_body_are_exactly_ours_whatever_a_shopper_writes(
    start: Start, field: str, variant: str
) -> None:
    """As the server was sent them, byte by byte: a text of theirs adds no line to either."""
    server = start()
    on_one_line = re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", variant).strip()
    harmless = part_of(server, mail(**{field: "SIGN"})).replace("SIGN", on_one_line)

    results = list(sender(server).send([mail(**{field: variant})]))

    assert results == [Delivered()]
    assert set(server.recipients) == {"ada@example.com"}
    head, _, _ = server.raw[-1].partition(b"\r\n\r\n")
    names = [line.partition(b":")[0].decode() for line in head.split(b"\r\n") if line[:1] != b" "]
    assert sorted(names) == sorted(OURS)
    assert part(server.mails[-1], "plain") == harmless
    assert server.mails[-1].get_content_type() == "multipart/alternative"
    assert [p.get_content_type() for p in server.mails[-1].iter_parts()] == [
        "text/plain",
        "text/html",
    ]
    assert "<h1" not in part(server.mails[-1], "html")
    # What it names, and where it goes, is read as it was written.
    to = server.mails[-1]["To"].addresses
    assert [address.addr_spec for address in to] == ["ada@example.com"]
    said = to[0].display_name if field == "customer_name" else server.mails[-1]["Subject"]
    assert letters(on_one_line) in letters(str(said))


def letters(text: str) -> str:
    return re.sub(r"[^\w=?]", "", text)


def part_of(server: Server, one: Notification) -> str:
    """The text of a mail that is sent first, to compare with."""
    assert list(sender(server).send([one])) == [Delivered()]
    return part(server.mails[-1], "plain")


def test_a_header_that_this_python_refuses_to_write_fails_that_mail_only(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Newer Pythons look for line breaks in what they write: HeaderWriteError."""
    flatten = BytesGenerator.flatten

    def refusing(self: Any, message: Any, *given: Any, **named: Any) -> Any:
        if "Eve" in str(message["To"]):
            raise MessageError("Header contains an embedded newline")
        return flatten(self, message, *given, **named)

    monkeypatch.setattr(BytesGenerator, "flatten", refusing)
    server = start()

    first, second, third = sender(server).send(
        [mail(id_="a"), mail(id_="b", customer_name="Eve"), mail(id_="c")]
    )

    assert (first, third) == (Delivered(), Delivered())
    assert isinstance(second, Failed)
    assert "embedded newline" in second.error


@pytest.mark.parametrize(
    "target",
    [
        "ada@example.com\r\nBcc: everyone@example.com",
        "ada@example.com, everyone@example.com",
        "Ada <ada@example.com>",
        "ada",
        "ada@",
        "@example.com",
        "",
    ],
)
def test_what_is_no_address_is_not_sent_to(start: Start, target: str) -> None:
    """A target that isn't one plain address fails, and the next mail goes out."""
    server = start()

    first, second = sender(server).send([mail(target), mail()])

    assert first == Failed(f"the mail can't be made: {target!r} is not an address")
    assert second == Delivered()


@pytest.mark.parametrize(
    "target", ["taro..y@docomo.ne.jp", "taro.@docomo.ne.jp", '"taro."@docomo.ne.jp']
)
def test_an_address_that_the_rules_allow_in_quotes_alone_is_written_in_quotes(
    start: Start, target: str
) -> None:
    server = start()

    (result,) = sender(server).send([mail(target, customer_name="Taro, Y")])

    assert result == Delivered()
    local, _, domain = target.replace('"', "").rpartition("@")
    (to,) = server.mails[0]["To"].addresses
    assert (to.display_name, to.username, to.domain) == ("Taro Y", local, domain)
    assert server.recipients == [f"{local}@{domain}"]


@pytest.mark.parametrize(
    "target",
    ["ada@example..com", "=?utf-8?q?a=0d=0aBcc=3a_b?=@shop.local", "用户@例子..广告", "a@exa<b.c"],
)
def test_an_address_that_no_mail_can_be_made_for_fails_alone_and_is_told(
    start: Start, target: str
) -> None:
    server = start()

    first, second = sender(server).send([mail(target), mail()])

    assert first == Failed(f"the mail can't be made: {target!r} is not an address")
    assert second == Delivered()
    assert server.recipients == ["ada@example.com"]


def test_an_address_in_another_script_is_reached(start: Start) -> None:
    """A domain with an umlaut is written as DNS knows it."""
    server = start()

    results = list(sender(server).send([mail("ada@münchen.example")]))

    assert results == [Delivered()]
    assert server.recipients == ["ada@xn--mnchen-3ya.example"]


def test_a_name_is_text_in_html(start: Start) -> None:
    """Markup in a customer's name is shown, not obeyed; the plain text has it as it was written."""
    server = start()

    list(sender(server).send([mail(customer_name='<script>alert("x")</script> & Söhne')]))

    (received,) = server.mails
    assert "<script>" not in part(received, "html")
    assert "&lt;script&gt;" in part(received, "html")
    assert '<script>alert("x")</script> & Söhne' in part(received, "plain")


def test_a_payload_that_lacks_something_is_not_mailed(start: Start) -> None:
    """A template that misses a value fails by its name, rather than leave a hole in the mail."""
    server = start()
    incomplete = payload()
    del incomplete["totals"]
    notification = Notification(
        "msg_1", 42, "web", "email", "order.confirmed", "ada@example.com", incomplete
    )

    (result,) = sender(server).send([notification])

    assert isinstance(result, Failed)
    assert "'totals' is undefined" in result.error


def test_a_topic_without_a_template_is_told(start: Start) -> None:
    """A topic nobody wrote a mail for fails by its name."""
    server = start()

    (result,) = sender(server).send([mail(topic="order.teleported")])

    assert isinstance(result, Failed)
    assert "order.teleported" in result.error


@pytest.mark.parametrize(
    "url", ["", "mail.example", "http://mail.example", "smtp://", "smtp://mail.example:mail"]
)
def test_an_smtp_url_that_is_none_is_refused(url: str) -> None:
    """The deployer is told what it looks like; it may hold a password, so it isn't repeated."""
    with pytest.raises(ConfigurationError, match="smtp://user:password@host:port"):
        EmailSender(url, SENDER)


@pytest.mark.parametrize("address", ["", "Mug Shop", "orders@"])
def test_a_sender_that_is_no_address_is_refused(address: str) -> None:
    """The deployer is told that an address is wanted."""
    with pytest.raises(ConfigurationError, match="an address is wanted"):
        EmailSender("smtp://mail.example", address)


def test_without_smtp_mails_are_laid_into_a_folder(tmp_path: Path) -> None:
    """Each mail is a file that a mail program opens; delivered twice, it is there once."""
    mailbox = FileMailbox(tmp_path / "mails")

    results = list(mailbox.send([mail(id_="msg_1"), mail(id_="../msg_2"), mail(id_="msg_1")]))

    assert results == [Delivered()] * 3
    files = sorted((tmp_path / "mails").iterdir())
    assert [file.name for file in files] == ["..%2Fmsg_2.eml", "msg_1.eml"]
    received = message_from_bytes(files[1].read_bytes(), policy=default)
    assert received["Subject"] == "Your order web-1001 is confirmed"


def test_a_folder_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    """A full disk or a wrong path fails the mail, in words."""
    (tmp_path / "mails").write_text("a file, where a folder is wanted")

    first, second = FileMailbox(tmp_path / "mails").send([mail(), mail("no address")])

    assert isinstance(first, Failed)
    assert str(tmp_path) in first.error
    assert second == Failed("the mail can't be made: 'no address' is not an address")
