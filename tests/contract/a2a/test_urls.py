"""Which addresses are led to and which are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.a2a.rpc import owner_of
from services.contract.a2a.urls import UrlPolicy, refusal


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/",
        "file:///etc/passwd",
        "http://",
        "host:80",
        "http://user:pw@host/",
        "http://@host/",
        "http://host:99999/",
    ],
)
@pytest.mark.parametrize("policy", ["any", "public", "host"])
def test_what_is_no_plain_http_url_is_refused_by_every_policy(url: str, policy: str) -> None:
    assert UrlPolicy.parse(policy).url_fault(url) is not None


METADATA = """
    169.254.169.254 [fd00:ec2::254] [::ffff:169.254.169.254] [64:ff9b::169.254.169.254] [2002:a9fe:a9fe::]
    ①⑥⑨.254.169.254
"""


@pytest.mark.parametrize("host", METADATA.split())
@pytest.mark.parametrize("policy", ["any", "public", "*"])
def test_metadata_addresses_are_refused_by_every_policy(host: str, policy: str) -> None:
    assert "metadata address" in (UrlPolicy.parse(policy).url_fault(f"http://{host}/") or "")


NOT_PUBLIC = """
    127.0.0.1 10.0.0.1 192.168.1.1 172.16.0.1 100.64.0.1 0.0.0.0 224.0.0.1 240.0.0.1
    ::1 fe80::1 fc00::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 :: ff02::1 64:ff9b::10.0.0.1 2002:0a00:0001::
"""


@pytest.mark.parametrize("address", NOT_PUBLIC.split())
def test_public_refuses_what_is_not_public_and_any_takes_it(address: str) -> None:
    assert UrlPolicy.parse("public").address_fault(address) == f"{address} is not a public address"
    assert UrlPolicy.parse("any").address_fault(address) is None


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1"])
def test_public_takes_public_addresses(address: str) -> None:
    assert UrlPolicy.parse("public").address_fault(address) is None


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("http://purple:9009/", True),
        ("http://purple:9010/", False),
        ("http://agent-7.test/", True),
        ("https://agent-7.test:444/", True),
        ("http://agent.test/", False),
        ("http://127.0.0.1:80/", False),
    ],
)
def test_a_list_names_hosts_and_ports(url: str, taken: bool) -> None:  # noqa: FBT001 - a case, not a flag
    assert (UrlPolicy.parse("purple:9009, agent-*.test").url_fault(url) is None) is taken


def test_an_empty_list_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="expected any, public or a list"):
        UrlPolicy.parse(" , ")


async def test_names_are_resolved_before_they_are_taken() -> None:
    assert await refusal("http://localhost:1/", UrlPolicy.parse("any")) is None
    assert "not a public address" in (await refusal("http://localhost:1/", UrlPolicy.parse("public")) or "")
    assert await refusal("http://no-such-host.invalid/", UrlPolicy.parse("public")) is None


@given(st.text(max_size=60))
def test_no_text_makes_the_check_raise(text: str) -> None:
    fault = UrlPolicy.parse("public").url_fault(text)

    assert fault is None or isinstance(fault, str)


@pytest.mark.parametrize(
    ("address", "owner"),
    [
        ("127.0.0.1", "loopback"),
        ("127.8.8.8", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("10.1.2.3", "10.1.2.3"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("", "unknown"),
    ],
)
def test_loopback_is_one_owner(address: str, owner: str) -> None:
    assert owner_of(address) == owner


@pytest.mark.parametrize("host", ["a" * 64 + ".test", "a..test"])
async def test_a_name_that_can_be_none_is_refused(host: str) -> None:
    assert "is not a host name" in (await refusal(f"http://{host}/", UrlPolicy()) or "")
