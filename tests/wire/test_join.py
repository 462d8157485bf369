import base64
import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.errors import ProtocolError
from greenroom.wire import messages as m
from greenroom.wire.join import decode_v0, decode_v1, encode_v0, encode_v1

REQUEST = m.JoinRequest(
    client_info=m.ClientInfo(
        sdk=m.ClientInfo.PYTHON, protocol=17, client_protocol=2, version="1.1.21", capabilities=[1, 2]
    ),
    connection_settings=m.ConnectionSettings(auto_subscribe=True, adaptive_stream=True),
    participant_attributes={"a": "b"},
    add_track_requests=[m.AddTrackRequest(cid="c1")],
    publisher_offer=m.SessionDescription(type="offer", sdp="v=0\r\n", id=3),
)


@pytest.mark.parametrize("compress", [True, False])
def test_a_join_request_arrives_as_it_was_sent(compress):
    parameters = decode_v1(encode_v1(REQUEST, compress=compress))
    assert parameters.single
    assert parameters.client == REQUEST.client_info
    assert (parameters.auto_subscribe, parameters.adaptive_stream) == (True, True)
    assert parameters.attributes == {"a": "b"}
    assert parameters.offer == REQUEST.publisher_offer
    assert [each.cid for each in parameters.add_tracks] == ["c1"]


def test_a_join_without_an_offer_is_allowed():
    assert decode_v1(encode_v1(m.JoinRequest())).offer is None


def test_the_old_query_says_the_same():
    parameters = decode_v0(encode_v0(REQUEST))
    assert not parameters.single
    assert parameters.client == REQUEST.client_info
    assert (parameters.auto_subscribe, parameters.adaptive_stream) == (True, True)


def test_a_resume_says_who_it_was():
    request = m.JoinRequest(reconnect=True, participant_sid="PA_1", reconnect_reason=1)
    for parameters in (decode_v1(encode_v1(request, compress=False)), decode_v0(encode_v0(request))):
        assert (parameters.reconnect, parameters.sid, parameters.reconnect_reason) == (True, "PA_1", 1)


def test_the_old_query_defaults_to_subscribing():
    assert decode_v0({}).auto_subscribe
    assert not decode_v0({"auto_subscribe": "0"}).auto_subscribe


def test_attributes_of_the_old_query_are_base64_json():
    encoded = base64.urlsafe_b64encode(json.dumps({"k": "v"}).encode()).decode()
    assert decode_v0({"attributes": encoded}).attributes == {"k": "v"}


def test_a_bomb_is_refused_before_it_is_unpacked():
    bomb = m.WrappedJoinRequest(compression=1, join_request=gzip.compress(bytes(64 * 1024 * 1024)))
    with pytest.raises(ProtocolError, match="too large"):
        decode_v1(base64.urlsafe_b64encode(bomb.SerializeToString()).decode())


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("", "join_request is required"),
        ("%%%", "cannot base64 decode wrapped join request"),
        (base64.urlsafe_b64encode(b"\xff\xff").decode(), "cannot unmarshal wrapped join request"),
        (base64.urlsafe_b64encode(b"\x12\x02\xff\xff").decode(), "cannot unmarshal join request"),
        (base64.urlsafe_b64encode(b"\x08\x01\x12\x02\x1f\x8b").decode(), "cannot decompress join request"),
    ],
)
def test_what_cannot_be_read_is_named(value, complaint):
    with pytest.raises(ProtocolError, match=complaint):
        decode_v1(value)


@given(st.text())
def test_no_text_breaks_the_reader(value):
    try:
        decode_v1(value)
    except ProtocolError:
        pass


@given(st.dictionaries(st.sampled_from(["sdk", "protocol", "attributes", "capabilities", "sid"]), st.text()))
def test_no_query_breaks_the_reader(query):
    try:
        decode_v0(query)
    except ProtocolError:
        pass
