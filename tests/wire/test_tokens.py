import datetime

import jwt
import pytest
from livekit import api

from greenroom.errors import TokenError
from greenroom.wire import messages as m
from greenroom.wire.tokens import Claims, VideoGrants, decode_token, encode_token

NOW = 1_800_000_000.0
SECRET = "secret-secret-secret-secret-secret"
KEYS = {"devkey": SECRET, "other": "another-secret-another-secret-1234"}
EVERYTHING = Claims(
    identity="ada",
    name="Ada",
    kind="agent",
    kind_details=("forwarded",),
    metadata="{}",
    attributes={"a": "1"},
    video=VideoGrants(
        room_join=True,
        room="lab",
        can_publish=False,
        can_subscribe=True,
        can_publish_sources=("microphone",),
        hidden=True,
        agent=True,
    ),
    others={"sip": {"admin": True}},
    room_preset="big",
    room_config=m.RoomConfiguration(empty_timeout=7, agents=[m.RoomAgentDispatch(agent_name="bot")]),
)


def test_a_token_says_what_was_put_into_it():
    token = encode_token(EVERYTHING, "devkey", SECRET, now=NOW, lifetime=60)
    claims = decode_token(token, KEYS, now=NOW)
    assert claims.api_key == "devkey"
    assert claims.expires_at == NOW + 60
    for name in ("identity", "name", "kind", "kind_details", "metadata", "attributes", "video", "others"):
        assert getattr(claims, name) == getattr(EVERYTHING, name), name
    assert claims.room_preset == "big"
    assert claims.room_config == EVERYTHING.room_config


def test_the_official_library_reads_ours_and_we_read_its():
    now = datetime.datetime.now(datetime.UTC).timestamp()
    claims = api.TokenVerifier("devkey", SECRET).verify(encode_token(EVERYTHING, "devkey", SECRET, now=now))
    assert claims.identity == "ada"
    assert claims.video is not None and claims.video.room == "lab" and claims.video.can_publish is False
    token = (
        api.AccessToken("devkey", SECRET)
        .with_identity("bob")
        .with_kind("agent")
        .with_attributes({"x": "y"})
        .with_grants(api.VideoGrants(room_join=True, room="lab", can_publish_sources=["camera"]))
        .with_room_config(m.RoomConfiguration(max_participants=3))
        .to_jwt()
    )
    ours = decode_token(token, KEYS, now=now)
    assert (ours.identity, ours.kind, dict(ours.attributes)) == ("bob", "agent", {"x": "y"})
    assert ours.video is not None and tuple(ours.video.can_publish_sources) == ("camera",)
    assert ours.room_config is not None and ours.room_config.max_participants == 3


@pytest.mark.parametrize(
    ("payload", "secret", "algorithm", "complaint"),
    [
        ({"iss": "devkey", "exp": NOW + 60}, "wrong" * 8, "HS256", "invalid authorization token"),
        ({"iss": "devkey", "exp": NOW - 61}, SECRET, "HS256", "expired"),
        ({"iss": "devkey"}, SECRET, "HS256", "no expiry"),
        ({"iss": "devkey", "exp": NOW + 600, "nbf": NOW + 61}, SECRET, "HS256", "not valid yet"),
        ({"iss": "nobody", "exp": NOW + 60}, SECRET, "HS256", "invalid API key"),
        ({"iss": "other", "exp": NOW + 60}, SECRET, "HS256", "invalid authorization token"),
        ({"exp": NOW + 60}, SECRET, "HS256", "invalid API key"),
        ({"iss": "devkey", "exp": NOW + 60}, "", "none", "invalid authorization token"),
        ({"iss": "devkey", "exp": NOW + 60}, SECRET + SECRET, "HS512", "invalid authorization token"),
        ({"iss": "devkey", "exp": NOW + 60, "video": {"roomJoin": "yes"}}, SECRET, "HS256", "roomJoin"),
        ({"iss": "devkey", "exp": NOW + 60, "name": 5}, SECRET, "HS256", "string"),
    ],
)
def test_a_token_that_is_not_right_is_refused(payload, secret, algorithm, complaint):
    token = jwt.encode(payload, secret or None, algorithm=algorithm)
    with pytest.raises(TokenError, match=complaint):
        decode_token(token, KEYS, now=NOW)


@pytest.mark.parametrize("skew", [-59, 59])
def test_clocks_may_differ_by_a_minute(skew):
    token = jwt.encode({"iss": "devkey", "sub": "a", "nbf": NOW + 59, "exp": NOW + 59 + skew}, SECRET)
    assert decode_token(token, KEYS, now=NOW).identity == "a"


@pytest.mark.parametrize("junk", ["", "a.b.c", "é", "....", "e30.e30.e30"])
def test_junk_is_not_a_token(junk):
    with pytest.raises(TokenError):
        decode_token(junk, KEYS, now=NOW)


def test_a_token_to_join_needs_an_identity_and_a_room():
    with pytest.raises(TokenError, match="identity and a room"):
        encode_token(Claims(identity="a", video=VideoGrants(room_join=True)), "k", "s", now=NOW)
