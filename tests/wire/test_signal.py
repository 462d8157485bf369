import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.errors import ProtocolError
from greenroom.wire import messages as m
from greenroom.wire.candidates import PUBLISHER, decode_candidate, encode_candidate
from greenroom.wire.data import decode_packet, encode_packet
from greenroom.wire.sids import make_sid, pack_stream_id, track_prefix, unpack_stream_id
from greenroom.wire.signal import decode_request, decode_response, encode, encode_text


def test_requests_and_responses_survive_both_kinds_of_frame():
    request = m.SignalRequest(mute=m.MuteTrackRequest(sid="TR_1", muted=True))
    response = m.SignalResponse(refresh_token="t")
    assert decode_request(encode(request)) == decode_request(encode_text(request)) == request
    assert decode_response(encode(response)) == decode_response(encode_text(response)) == response


@pytest.mark.parametrize("frame", [b"\xff", b"\x0a\xff", "{", '{"offer": 5}', "[" * 100_000])
def test_frames_that_are_no_message_raise(frame):
    with pytest.raises(ProtocolError):
        decode_request(frame)


@given(st.binary())
def test_no_bytes_break_the_readers(frame):
    for reader in (decode_request, decode_response, decode_packet):
        try:
            reader(frame)
        except ProtocolError:
            pass


def test_fields_of_newer_clients_survive_a_relay():
    unknown = b"\xfa\x3f\x03abc"
    packet = m.DataPacket(user=m.UserPacket(payload=b"hi")).SerializeToString() + unknown
    assert encode_packet(decode_packet(packet)).endswith(unknown)


def test_candidates_always_carry_mid_and_index():
    trickle = encode_candidate("candidate:1 1 udp 1 127.0.0.1 7 typ host", PUBLISHER)
    assert json.loads(trickle.candidateInit)["sdpMid"] == "0"
    assert json.loads(trickle.candidateInit)["sdpMLineIndex"] == 0
    assert decode_candidate(trickle).startswith("candidate:1")


@pytest.mark.parametrize("init", ["{", '{"candidate": 3}', "[" * 100_000])
def test_broken_candidates_raise(init):
    with pytest.raises(ProtocolError):
        decode_candidate(m.TrickleRequest(candidateInit=init))


def test_sids_have_their_prefix_and_no_look_alikes():
    sid = make_sid("PA_", bytes(range(16)))
    assert sid.startswith("PA_") and len(sid) == 15
    assert not set(sid[3:]) & set("01IlO")
    assert track_prefix("audio", m.TrackSource.MICROPHONE) == "TR_AM"
    assert track_prefix("video", m.TrackSource.SCREEN_SHARE) == "TR_VS"


def test_stream_ids_name_the_participant_and_the_track():
    assert unpack_stream_id(pack_stream_id("PA_1", "TR_2")) == ("PA_1", "TR_2")
    assert unpack_stream_id("-") == ("-", "")
