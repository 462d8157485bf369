"""Where the client goes, and what it says when it is refused."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from greenroom.errors import ConfigError, ConnectError, RoomNotFoundError, UnauthorizedError, UnreachableError
from greenroom.protocol.client_urls import join_error, server_address, signal_url
from greenroom.wire import messages as m
from greenroom.wire.join import decode_v0, decode_v1

REQUEST = m.JoinRequest(
    client_info=m.ClientInfo(sdk=m.ClientInfo.SDK.PYTHON, protocol=17, client_protocol=2, version="1"),
    connection_settings=m.ConnectionSettings(auto_subscribe=True),
    publisher_offer=m.SessionDescription(type="offer", sdp="v=0 ünd so weiter" * 100, id=1),
)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("ws://host:7880", "ws://host:7880/rtc/v1"),
        ("http://host:7880/", "ws://host:7880/rtc/v1"),
        ("https://host/prefix/", "wss://host/prefix/rtc/v1"),
        ("wss://host", "wss://host/rtc/v1"),
        ("ws://[::1]:7880", "ws://[::1]:7880/rtc/v1"),
    ],
)
def test_every_way_to_write_the_address(given, expected):
    assert signal_url(given, REQUEST, single=True).partition("?")[0] == expected


def test_the_join_request_survives_the_url():
    query = parse_qs(urlsplit(signal_url("ws://h", REQUEST, single=True)).query)
    joined = decode_v1(query["join_request"][0])
    assert joined.offer == REQUEST.publisher_offer and joined.client == REQUEST.client_info and joined.auto_subscribe


def test_the_older_path_says_the_same():
    query = {
        name: values[0]
        for name, values in parse_qs(urlsplit(signal_url("ws://h", REQUEST, single=False)).query).items()
    }
    joined = decode_v0(query)
    assert (joined.client.sdk, joined.client.protocol, joined.client.client_protocol) == (
        REQUEST.client_info.sdk,
        17,
        2,
    )
    assert joined.auto_subscribe and not joined.single


@pytest.mark.parametrize("url", ["", "host:7880", "ftp://host", "ws://", "ws://host:99999", "ws:///path"])
def test_what_is_no_address_is_said_at_once(url):
    with pytest.raises(ConfigError, match=r"server URL|usable port"):
        server_address(url)


def test_ports_have_defaults():
    assert server_address("ws://h") == ("h", 80)
    assert server_address("https://h") == ("h", 443)
    assert server_address("ws://[::1]:7880") == ("::1", 7880)


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (0, "Connection refused", UnreachableError),
        (401, "invalid token", UnauthorizedError),
        (403, "", UnauthorizedError),
        (404, "requested room does not exist", RoomNotFoundError),
        (404, "page not found", UnreachableError),
        (503, "too busy", ConnectError),
    ],
)
def test_each_refusal_has_its_exception_and_keeps_the_servers_words(status, text, kind):
    error = join_error("ws://h", status, text)
    assert type(error) is kind
    assert text in str(error)
