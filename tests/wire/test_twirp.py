import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit import api

from greenroom.errors import ProtocolError, TokenError
from greenroom.wire import messages as m
from greenroom.wire.twirp import JSON, PROTOBUF, STATUS, TwirpError, decode_body, encode_body, encode_error, request_for
from greenroom.wire.webhooks import decode_webhook, encode_webhook

NOW = 1_800_000_000.0
KEYS = {"devkey": "secret-secret-secret-secret-secret"}


def test_methods_have_their_requests_and_unknown_ones_none():
    assert isinstance(request_for("livekit.RoomService/CreateRoom"), m.CreateRoomRequest)
    assert request_for("livekit.RoomService/Nothing") is None
    assert request_for("CreateRoom") is None


@pytest.mark.parametrize("content_type", [JSON, PROTOBUF])
def test_bodies_survive_both_encodings(content_type):
    room = m.Room(name="lab", empty_timeout=5)
    again = m.Room()
    decode_body(again, encode_body(room, content_type), content_type)
    assert again == room


def test_json_has_snake_case_names_and_every_field():
    body = json.loads(encode_body(m.Room(name="lab"), JSON))
    assert body["name"] == "lab" and body["empty_timeout"] == 0 and body["num_participants"] == 0


@pytest.mark.parametrize(
    ("body", "content_type"), [(b"{", JSON), (b'{"name": 5}', JSON), (b"\xff", PROTOBUF), (b"[" * 100_000, JSON)]
)
def test_bodies_that_are_no_request_raise(body, content_type):
    with pytest.raises(ProtocolError):
        decode_body(m.CreateRoomRequest(), body, content_type)


@given(st.binary(), st.sampled_from([JSON, PROTOBUF]))
def test_no_bytes_break_the_reader(body, content_type):
    try:
        decode_body(m.CreateRoomRequest(), body, content_type)
    except ProtocolError:
        pass


def test_errors_are_objects_with_a_known_code():
    error = TwirpError("not_found", "no room", {"a": "b"})
    assert json.loads(encode_error(error)) == {"code": "not_found", "msg": "no room", "meta": {"a": "b"}}
    assert STATUS["unauthenticated"] == 401 and STATUS["failed_precondition"] == 412


def test_a_webhook_is_accepted_by_the_official_receiver_and_by_ours():
    event = m.WebhookEvent(event="room_started", id="EV_1", room=m.Room(name="lab"))
    body, token = encode_webhook(event, "devkey", KEYS["devkey"], now=time.time())
    official = api.WebhookReceiver(api.TokenVerifier("devkey", KEYS["devkey"])).receive(body.decode(), token)
    assert official == decode_webhook(body, token, KEYS, now=time.time()) == event


def test_a_webhook_whose_body_was_changed_is_refused():
    body, token = encode_webhook(m.WebhookEvent(event="x"), "devkey", KEYS["devkey"], now=NOW)
    with pytest.raises(TokenError, match="another body"):
        decode_webhook(body + b" ", token, KEYS, now=NOW)
    with pytest.raises(TokenError, match="expired"):
        decode_webhook(body, token, KEYS, now=NOW + 600)
