"""The commands for money after the sale, as a person types them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ordermill import output
from ordermill.main import main
from pipeline.payments.sandbox import SandboxGateway
from pipeline.source import Policy
from pipeline.storage.database import Database
from tests.support import Mill

AWAY = "the sandbox's book can't be used"


@pytest.fixture
def shop(sqlite_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mill:
    """A shop in the home that commands find, with a book that they share."""
    book = tmp_path / "sandbox.db"
    url = sqlite_database.url.render_as_string(hide_password=False)
    for name, value in (
        ("HOME", str(tmp_path / "home")),
        ("DATABASE_URL", url),
        ("SANDBOX_BOOK", str(book)),
    ):
        monkeypatch.setenv(f"ORDERMILL_{name}", value)
    monkeypatch.setattr(output.console, "width", 250)
    return Mill(sqlite_database, gateway=SandboxGateway(book)).stocked()


def bought(shop: Mill, **order: object) -> int:
    number = shop.accept(**order)
    shop.turn(impatient=False)
    return number


def run(capsys: pytest.CaptureFixture[str], command: str) -> tuple[int, str]:
    """Exit code and all that was printed."""
    sys.argv = ["ordermill", *command.split()]
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    code = ended.value.code
    return int(code or 0), (told.out + told.err).strip()


def test_a_refund_is_done_and_told(shop: Mill, capsys: pytest.CaptureFixture[str]) -> None:
    order = bought(shop)

    told = run(capsys, f"orders refund {order} --amount 5.00 --reason broken")

    assert told == (0, f"Order {order}: 5.00 EUR refunded.")
    assert [e.amount for e in shop.gateway.book() if e.kind == "refund"] == [500]
    assert "partially_refunded" in run(capsys, f"orders show {order}")[1]


def test_lines_and_shipping_and_all_that_is_left(
    shop: Mill, capsys: pytest.CaptureFixture[str]
) -> None:
    order = bought(shop)

    assert run(capsys, f"orders refund {order} --line 1=1") == (0, f"Order {order}: 10.00 EUR refunded.")  # fmt: skip
    assert run(capsys, f"orders refund {order}") == (0, f"Order {order}: 10.00 EUR refunded.")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--amount 20.01", "order 1: 20.00 EUR can be refunded, 20.01 were asked for"),
        ("--amount 1.005", "'1.005' has more decimal places than EUR (2)"),
        ("--amount lots", "'lots' is not a decimal number"),
        ("--line 1", "--line '1' is not N=UNITS, such as 2=1"),
        ("--line 4=1", "order 1 has no line 4; expected one from 1 to 1"),
        (
            "--amount 1 --line 1=1",
            "a refund is of an amount, or of lines and shipping, not of both",
        ),
    ],
)
def test_what_can_not_be_is_said_in_words(
    shop: Mill, capsys: pytest.CaptureFixture[str], options: str, said: str
) -> None:
    order = bought(shop)

    code, told = run(capsys, f"orders refund {order} {options}")

    assert (code, told) == (2, said)
    assert shop.query("SELECT * FROM payment_tasks") == []


def test_a_capture_is_done_and_told(shop: Mill, capsys: pytest.CaptureFixture[str]) -> None:
    shop.source = shop.another_source("later", Policy(capture="later"))
    order = bought(shop)

    told = run(capsys, f"orders capture {order} --amount 15")

    assert told == (0, f"Order {order}: 15.00 EUR captured.")


def test_what_the_gateway_refuses_is_told_with_its_word_for_it(
    shop: Mill, capsys: pytest.CaptureFixture[str]
) -> None:
    order = bought(shop)
    [authorized] = [e.reference for e in shop.gateway.book() if e.kind == "authorize"]
    assert isinstance(shop.gateway, SandboxGateway)
    shop.gateway.dispute(authorized, 2000)

    code, told = run(capsys, f"orders refund {order}")

    assert (code, told) == (1, f"order {order}: the refund of 20.00 EUR failed: charge_disputed")


def test_what_got_no_answer_is_under_way_and_the_job_goes_on(
    shop: Mill, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    order = bought(shop)
    with monkeypatch.context() as faulty:
        faulty.setenv("ORDERMILL_SANDBOX_TIMEOUT_AFTER", "1")
        code, told = run(capsys, f"orders refund {order}")
    assert (code, "the refund of 20.00 EUR is under way" in told) == (0, True)
    with shop.database.transaction() as tx:
        tx.exec_driver_sql("UPDATE payment_tasks SET due_at = '2020-01-01 00:00:00.000000'")

    done = run(capsys, "jobs run settle-payments")

    assert done == (0, 'settle-payments: {"succeeded": 1}')
    assert [e.amount for e in shop.gateway.book() if e.kind == "refund"] == [2000]


def test_money_by_hand_is_recorded(shop: Mill, capsys: pytest.CaptureFixture[str]) -> None:
    shop.source = shop.another_source("wholesale", Policy(gateway="manual"))
    order = bought(shop, method="invoice")

    paid = run(capsys, f"orders capture {order} --reference BANK-1")
    back = run(capsys, f"payments record-refund {order} --reference BANK-2 --amount 5.00")

    assert paid == (0, f"Order {order}: the payment is recorded.")
    assert back == (0, f"Order {order}: the refund is recorded.")
    assert "partially_refunded" in run(capsys, f"orders show {order} --json")[1]


def test_gateways_are_polled_by_a_job(shop: Mill, capsys: pytest.CaptureFixture[str]) -> None:
    order = bought(shop)
    [authorized] = [e.reference for e in shop.gateway.book() if e.kind == "authorize"]
    assert isinstance(shop.gateway, SandboxGateway)
    shop.gateway.refund_at_gateway(authorized, 700)

    done = run(capsys, "jobs run poll-gateways")

    assert done == (0, 'poll-gateways: {"processed": 3, "away": 0}')
    assert "partially_refunded" in run(capsys, f"orders show {order}")[1]
