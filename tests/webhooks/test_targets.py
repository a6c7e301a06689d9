"""Where webhooks may go: the public internet, and what the shop has named besides."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from pipeline.errors import ConfigurationError, InvalidInput
from pipeline.webhooks.targets import Allowed, TargetRefused, choose, parse_allowed, valid_url

NOBODY = Allowed()


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1",
        "169.254.169.254", "100.64.0.1", "192.0.0.8", "192.0.2.1", "198.18.0.1", "224.0.0.1",
        "240.0.0.1", "255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
        "::127.0.0.1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd12:3456::1", "ff02::1",
        "2001:db8::1", "2002:7f00:1::", "2001:0:7f00:1::", "64:ff9b::7f00:1", "64:ff9b::10.0.0.1",
        "64:ff9b:1::1", "100::1", "5f00::1", "::ffff:0:127.0.0.1",
    ],
)  # fmt: skip
def test_what_is_not_public_is_refused(address: str) -> None:
    with pytest.raises(TargetRefused, match="is not of the public internet"):
        choose("shop.example", [ip_address(address)], NOBODY)


@pytest.mark.parametrize(
    "address",
    ["93.184.216.34", "1.1.1.1", "2606:4700::1111", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"],
)
def test_what_is_public_is_called(address: str) -> None:
    assert choose("shop.example", [ip_address(address)], NOBODY) == [ip_address(address)]


def test_of_a_name_that_means_both_the_private_address_is_left_out() -> None:
    private, public = ip_address("10.0.0.1"), ip_address("93.184.216.34")

    assert choose("shop.example", [private, public, public], NOBODY) == [public]


def test_no_address_at_all_is_refused() -> None:
    with pytest.raises(TargetRefused):
        choose("shop.example", [], NOBODY)


def test_what_the_shop_names_is_called() -> None:
    allowed = parse_allowed("10.1.0.0/16, ERP.internal, ::1")

    assert choose("a.example", [ip_address("10.1.2.3")], allowed, "http")
    assert choose("erp.internal", [ip_address("192.168.0.7")], allowed, "http")
    assert choose("b.example", [ip_address("::1")], allowed)
    with pytest.raises(TargetRefused):
        choose("a.example", [ip_address("10.2.2.3")], allowed)


def test_by_http_only_to_what_the_shop_names() -> None:
    with pytest.raises(TargetRefused, match="expected https"):
        choose("shop.example", [ip_address("93.184.216.34")], NOBODY, "http")


@pytest.mark.parametrize("setting", ["10.0.0.0/99", "http://erp.internal", "10.0.0.1/8", "a b"])
def test_what_names_nothing_is_refused_by_name(setting: str) -> None:
    with pytest.raises(ConfigurationError, match="ORDERMILL_WEBHOOK_ALLOW: got"):
        parse_allowed(setting)


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example/hooks", "https://shop.example:8443/hooks?token=a%20b",
        "https://xn--mnchen-3ya.example/", "https://93.184.216.34/hook", "https://[2606:4700::1111]/",
    ],
)  # fmt: skip
def test_a_good_url_is_taken_as_it_is(url: str) -> None:
    assert valid_url(url, NOBODY) == url


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "expected at most 2,000"),
        ("https://shop.example/" + "x" * 2000, "expected at most 2,000"),
        ("https://münchen.example/", "printable ASCII"),
        ("https://shop.example/a\nb", "printable ASCII"),
        ("shop.example/hooks", "expected one such as"),
        ("ftp://shop.example/", "expected one such as"),
        ("https:///hooks", "expected one such as"),
        ("https://[::1", "expected one such as"),
        ("https://shop.example:99999/", "expected one such as"),
        ("https://shop.example:x/", "expected one such as"),
        ("https://shop%2eexample/", "expected one such as"),
        ("https://a b/", "expected one such as"),
        ("https://ada:hunter2@shop.example/", "no user, no password"),
        ("https://shop.example/#there", "no #fragment"),
        ("https://shop.example/4111111111111111", "no payment card number"),
        ("http://shop.example/", "expected https"),
        ("http://93.184.216.34/", "expected https"),
        ("https://127.0.0.1/", "is not of the public internet"),
        ("https://127.1/", "is not of the public internet"),
        ("https://0x7f000001/", "is not of the public internet"),
        ("https://2130706433/", "is not of the public internet"),
        ("https://0177.0.0.1/", "expected one such as"),
        ("https://[::ffff:10.0.0.1]/", "is not of the public internet"),
        ("https://169.254.169.254/latest/meta-data", "is not of the public internet"),
    ],
)
def test_what_is_wrong_with_a_url_is_said(url: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=r"^url: ") as refused:
        valid_url(url, NOBODY)

    assert says in str(refused.value)
    assert "hunter2" not in str(refused.value)
