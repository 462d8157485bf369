import pytest

from greenroom import _engine as engine
from greenroom.protocol import outputs
from greenroom.wire import messages as m
from tests.protocol.conftest import section

CAMERA = {"kind": m.TrackType.VIDEO, "source": m.TrackSource.CAMERA}
LAYERS = [
    m.VideoLayer(quality=m.VideoQuality.HIGH, width=1280, height=720, bitrate=1_700_000),
    m.VideoLayer(quality=m.VideoQuality.LOW, width=320, height=180, bitrate=160_000),
    m.VideoLayer(quality=m.VideoQuality.MEDIUM, width=640, height=360, bitrate=450_000),
]


def bind(stage, actor, mid="3"):
    """Let the newest subscription of an actor be negotiated."""
    command = [each for each in stage.commands(outputs.Subscribe) if each.peer == actor.data_peer][-1]
    stage.step(engine.SubscriptionBound(actor.data_peer, command.track, mid))
    return command


def test_add_track_is_answered_at_once_with_a_sid(stage):
    ada = stage.join("ada")
    info = ada.announce("c1", width=0)
    assert info.sid.startswith("TR_AM") and info.name == "c1"
    assert ada.told("track_published")[0].cid == "c1"
    assert not stage.commands(outputs.AddTrack)


def test_a_track_is_published_when_its_section_comes(stage):
    ada, bob = stage.join("ada"), stage.join("bob")
    sid = ada.publish("c1", mid="7")
    (command,) = stage.commands(outputs.AddTrack)
    assert (command.peer, command.mid, command.kind, command.detect_speaker) == (ada.publisher, "7", "audio", True)
    info = bob.told("update")[-1].participants[0]
    assert info.is_publisher and [each.sid for each in info.tracks] == [sid]
    assert (info.tracks[0].mime_type, info.tracks[0].mid) == ("audio/opus", "7")
    assert not ada.told("update")[-1:] or ada.told("update")[-1].participants[0].identity != "ada"


def test_the_update_comes_before_the_subscription(stage):
    ada, bob = stage.join("ada"), stage.join("bob")
    ada.publish("c1")
    kinds = [type(each).__name__ for each in stage.log]
    update = max(
        index
        for index, each in enumerate(stage.log)
        if isinstance(each, outputs.SendSignal)
        and bob.connection in each.connections
        and each.message.WhichOneof("message") == "update"
    )
    assert kinds.index("AddTrack") < update < kinds.index("Subscribe")


def test_the_subscription_names_participant_and_track(stage):
    ada, bob = stage.join("ada"), stage.join("bob")
    sid = ada.publish()
    command = bind(stage, bob)
    assert (command.stream_id, command.track_id, command.cname) == (f"{ada.sid}|{sid}", sid, ada.sid)
    assert command.peer == bob.data_peer


def test_answers_and_offers_map_sections_to_tracks(stage):
    ada = stage.join("ada")
    single, dual = stage.join("bob"), stage.join("eve", single=False)
    sid = ada.publish()
    handle = stage.commands(outputs.AddTrack)[0].track
    stage.step(engine.Answer(single.publisher, 0, "v=0", [section("2", sending=handle), section("3")]))
    stage.step(engine.Offer(dual.data_peer, 9, "v=0", [section("x", sending=handle)]))
    assert dict(single.told("answer")[-1].mid_to_track_id) == {"2": sid}
    assert dict(dual.told("offer")[-1].mid_to_track_id) == {"x": sid}


def test_needed_sections_are_asked_for_even_when_none_is_missing(stage):
    ada = stage.join("ada")
    stage.step(engine.SectionsNeeded(ada.publisher, 2, 1))
    stage.step(engine.SectionsNeeded(ada.publisher, 0, 0))
    found = [(each.num_audios, each.num_videos) for each in ada.told("media_sections_requirement")]
    assert found == [(2, 1), (0, 0)]


def test_tracks_match_their_section_by_cid_and_else_by_kind(stage):
    ada = stage.join("ada")
    first = ada.announce("c1")
    second = ada.announce("c2")
    picture = ada.announce("c3", **CAMERA)
    ada.negotiate(section("7", "audio", "c2"), section("8", "video", "rewritten"), section("9", "audio", "rewritten"))
    mids = {track.sid: track.info.mid for track in ada.member.tracks.values()}
    assert mids == {second.sid: "7", picture.sid: "8", first.sid: "9"}


def test_a_section_without_an_announced_track_publishes_nothing(stage):
    ada = stage.join("ada")
    ada.negotiate(section("7", "audio", "c1"))
    assert not ada.member.tracks
    info = ada.announce("c1")
    ada.negotiate(section("7", "audio", "c1"))
    assert list(ada.member.tracks) == [info.sid]


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
def test_simulcast_layers_are_sorted_whatever_their_order(stage, order):
    ada = stage.join("ada")
    ada.publish("c1", **CAMERA, rids=["f", "q", "h"], layers=[LAYERS[each] for each in order])
    (command,) = stage.commands(outputs.AddTrack)
    assert command.layers == (("q", 0, 320, 180), ("h", 1, 640, 360), ("f", 2, 1280, 720))
    info = next(iter(ada.member.tracks.values())).info
    assert info.simulcast and [each.rid for each in info.layers] == ["q", "h", "f"]


def test_without_rids_there_is_one_layer(stage):
    ada = stage.join("ada")
    ada.publish("c1", **CAMERA, layers=[LAYERS[0]], width=1280, height=720)
    assert stage.commands(outputs.AddTrack)[0].layers == (("", 2, 1280, 720),)


def test_a_section_that_stops_sending_ends_its_track(stage):
    ada, bob = stage.join("ada"), stage.join("bob")
    ada.publish("c1", mid="7")
    handle = stage.commands(outputs.AddTrack)[0].track
    ada.negotiate(section("7", "audio"))
    assert stage.commands(outputs.RemoveTrack) == [outputs.RemoveTrack(handle)]
    assert not bob.told("update")[-1].participants[0].tracks
    assert not bob.member.subscriptions.active and not stage.room.state.tracks
    sid = ada.publish("c2", mid="7")
    assert list(ada.member.tracks) == [sid]


def test_a_section_that_brings_another_announced_track_changes_hands(stage):
    ada, bob = stage.join("ada"), stage.join("bob")
    first = ada.publish("c1", mid="7")
    handle = stage.commands(outputs.AddTrack)[0].track
    second = ada.publish("c2", mid="7")
    assert stage.commands(outputs.RemoveTrack) == [outputs.RemoveTrack(handle)]
    assert list(ada.member.tracks) == [second] != [first]
    assert [track.sid for track in bob.told("update")[-1].participants[0].tracks] == [second]
    # The same offer again, or one of a client that names its track anew without announcing another, changes nothing.
    for track_id in ("c2", "c3"):
        ada.negotiate(section("7", "audio", track_id))
        assert list(ada.member.tracks) == [second]


def test_what_a_client_announces_shapes_the_answers_to_its_offers(stage):
    ada = stage.join("ada")
    peer = ada.publisher
    ada.publish("plain", mid="1")
    ada.publish("bare", mid="2", disable_red=True, disable_dtx=True, stereo=True)
    ada.publish("film", **CAMERA, mid="3", simulcast_codecs=[m.SimulcastCodec(codec="h264", cid="film")])
    assert stage.commands(outputs.PreferTrack) == [
        outputs.PreferTrack(peer, "plain", (), False, True),
        outputs.PreferTrack(peer, "bare", ("audio/opus",), True, False),
        outputs.PreferTrack(peer, "film", ("video/H264",), False, True),
    ]
    # Each of these negotiations is about one section, so that the track before has ended.
    assert stage.commands(outputs.ForgetPreference) == [
        outputs.ForgetPreference(peer, cid) for cid in ("plain", "bare")
    ]


@pytest.mark.parametrize(
    ("grants", "request_fields", "reason"),
    [
        ({"can_publish": False}, {}, m.RequestResponse.NOT_ALLOWED),
        ({"can_publish_sources": ["camera"]}, {}, m.RequestResponse.NOT_ALLOWED),
        ({}, {"type": m.TrackType.DATA}, m.RequestResponse.UNSUPPORTED_TYPE),
        ({}, {"cid": ""}, m.RequestResponse.INVALID_REQUEST),
        ({}, {"sid": "TR_nothing"}, m.RequestResponse.NOT_FOUND),
        ({}, {"name": "x" * 300}, m.RequestResponse.LIMIT_EXCEEDED),
    ],
)
def test_tracks_that_cannot_be_are_refused_with_the_reason(stage, grants, request_fields, reason):
    ada = stage.join("ada", grants=grants)
    request = m.AddTrackRequest(cid="c1", type=m.TrackType.AUDIO, source=m.TrackSource.MICROPHONE)
    request.MergeFrom(m.AddTrackRequest(**{key: value for key, value in request_fields.items() if value}))
    if request_fields.get("cid") == "":
        request.cid = ""
    ada.send(add_track=request)
    response = ada.told("request_response")[0]
    assert (response.reason, response.add_track) == (reason, request)
    assert not ada.told("track_published")


def test_ten_thousand_announced_tracks_are_capped(stage):
    ada = stage.join("ada")
    for number in range(10_000):
        ada.send(add_track=m.AddTrackRequest(cid=f"c{number}", type=m.TrackType.AUDIO))
    assert len(ada.told("track_published")) == len(ada.member.desk.pending) == 20
    assert ada.told("request_response")[-1].reason == m.RequestResponse.LIMIT_EXCEEDED


def test_the_same_track_announced_twice_is_one(stage):
    ada = stage.join("ada")
    assert ada.announce("c1").sid == ada.announce("c1").sid
    assert len(ada.member.desk.pending) == 1


def test_mute_is_told_to_all_and_to_the_muter(stage):
    ada, bob = stage.join("ada"), stage.join("bob")
    sid = ada.publish()
    ada.send(mute=m.MuteTrackRequest(sid=sid, muted=True))
    for actor in (ada, bob):
        assert actor.told("update")[-1].participants[0].tracks[0].muted
    assert stage.commands(outputs.MuteTrack)[-1].muted
    before = len(stage.log)
    ada.send(mute=m.MuteTrackRequest(sid=sid, muted=True))
    assert len(stage.log) == before


def test_a_track_muted_before_it_is_published_stays_muted(stage):
    ada = stage.join("ada")
    info = ada.announce("c1")
    ada.send(mute=m.MuteTrackRequest(sid=info.sid, muted=True))
    ada.negotiate(section("7", "audio", "c1"))
    assert ada.member.tracks[info.sid].info.muted
    assert stage.commands(outputs.MuteTrack)[-1].muted


def test_muting_an_unknown_track_is_not_found(stage):
    ada, bob = stage.join("ada"), stage.join("bob")
    sid = ada.publish()
    bob.send(mute=m.MuteTrackRequest(sid=sid, muted=True))
    assert bob.told("request_response")[0].reason == m.RequestResponse.NOT_FOUND
    assert not ada.member.tracks[sid].info.muted


def test_only_the_first_subscriber_is_told_to_the_publisher_and_hidden_ones_never(stage):
    ada = stage.join("ada")
    hidden = stage.join("spy", grants={"hidden": True})
    sid = ada.publish()
    bind(stage, hidden)
    assert not ada.told("track_subscribed")
    bob, eve = stage.join("bob"), stage.join("eve")
    for actor in (bob, eve):
        bind(stage, actor)
    assert [each.track_sid for each in ada.told("track_subscribed")] == [sid]


def test_subscribing_by_hand(stage):
    ada = stage.join("ada")
    bob = stage.join("bob", auto_subscribe=False)
    sid = ada.publish()
    assert not bob.member.subscriptions.active
    bob.send(subscription=m.UpdateSubscription(track_sids=[sid], subscribe=True))
    bind(stage, bob)
    bob.send(subscription=m.UpdateSubscription(track_sids=[sid], subscribe=False))
    assert stage.commands(outputs.Unsubscribe) == [
        outputs.Unsubscribe(stage.commands(outputs.AddTrack)[0].track, bob.data_peer)
    ]


def test_a_track_taken_back_comes_again_only_after_the_client_saw_it_go(stage):
    ada, bob = stage.join("ada"), stage.join("bob")
    sid = ada.publish()
    bind(stage, bob, "2")
    bob.send(subscription=m.UpdateSubscription(track_sids=[sid], subscribe=False))
    bob.send(subscription=m.UpdateSubscription(track_sids=[sid], subscribe=True))
    assert len(stage.commands(outputs.Subscribe)) == 1
    bob.negotiate(section("2", "audio"))
    assert len(stage.commands(outputs.Subscribe)) == 2


def test_what_was_unsubscribed_stays_so_when_other_tracks_come(stage):
    ada, bob = stage.join("ada"), stage.join("bob")
    sid = ada.publish("c1", mid="7")
    bob.send(subscription=m.UpdateSubscription(track_sids=[sid], subscribe=False))
    info = ada.announce("c2")
    ada.negotiate(section("7", "audio", "c1"), section("8", "audio", "c2"))
    assert list(bob.member.subscriptions.active) == [info.sid]


def test_a_track_that_does_not_appear_is_given_up(stage):
    bob = stage.join("bob", auto_subscribe=False)
    bob.send(subscription=m.UpdateSubscription(track_sids=["TR_later"], subscribe=True))
    stage.wait(59)
    assert not bob.told("subscription_response")
    stage.wait(2)
    (response,) = bob.told("subscription_response")
    assert (response.track_sid, response.err) == ("TR_later", m.SubscriptionError.SE_TRACK_NOTFOUND)


def test_without_the_grant_nothing_is_received(stage):
    ada = stage.join("ada")
    sid = ada.publish()
    bob = stage.join("bob", grants={"can_subscribe": False})
    bob.send(subscription=m.UpdateSubscription(track_sids=[sid], subscribe=True))
    assert not stage.commands(outputs.Subscribe)
    dual = stage.join("eve", single=False, grants={"can_subscribe": False})
    assert dual.member.link.subscriber == 0 and not dual.told("join")[0].subscriber_primary


def test_a_publisher_chooses_who_may_have_its_tracks(stage):
    ada, bob, eve = stage.join("ada"), stage.join("bob"), stage.join("eve")
    sid = ada.publish()
    only_bob = m.TrackPermission(participant_identity="bob", track_sids=[sid])
    ada.send(subscription_permission=m.SubscriptionPermission(track_permissions=[only_bob]))
    assert list(bob.member.subscriptions.active) == [sid] and not eve.member.subscriptions.active
    assert [(each.track_sid, each.allowed) for each in eve.told("subscription_permission_update")] == [(sid, False)]
    recorder = stage.join("rec", grants={"recorder": True})
    late = stage.join("late")
    assert list(recorder.member.subscriptions.active) == [sid] and not late.member.subscriptions.active
    ada.send(subscription_permission=m.SubscriptionPermission(all_participants=True))
    for actor in (eve, late):
        assert list(actor.member.subscriptions.active) == [sid]
        assert actor.told("subscription_permission_update")[-1].allowed


def test_tracks_of_somebody_hidden_reach_nobody(stage):
    stage.join("ada")
    spy = stage.join("spy", grants={"hidden": True})
    sid = spy.publish()
    bob = stage.join("bob")
    bob.send(subscription=m.UpdateSubscription(track_sids=[sid], subscribe=True))
    assert not stage.commands(outputs.Subscribe)


def test_the_permission_that_clients_send_unprompted_changes_nothing(stage):
    ada = stage.join("ada")
    stage.join("bob")
    ada.publish()
    assert ada.send(subscription_permission=m.SubscriptionPermission(all_participants=True)) == []


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"disabled": True}, (True, 0, 0)),
        ({"quality": m.VideoQuality.MEDIUM, "fps": 15}, (False, 1, 15)),
        ({"quality": m.VideoQuality.OFF}, (True, 2, 0)),
        ({"quality": m.VideoQuality.LOW, "width": 600, "height": 300}, (False, 1, 0)),
        ({"quality": m.VideoQuality.LOW, "width": 180, "height": 320}, (False, 0, 0)),
        ({"quality": m.VideoQuality.LOW, "width": 4000, "height": 3000}, (False, 2, 0)),
    ],
)
def test_track_settings_limit_what_is_sent(stage, settings, expected):
    ada, bob = stage.join("ada"), stage.join("bob")
    sid = ada.publish("c1", **CAMERA, rids=["q", "h", "f"], layers=LAYERS)
    bob.send(track_setting=m.UpdateTrackSettings(track_sids=[sid], **settings))
    command = stage.commands(outputs.SetSubscription)[-1]
    assert (command.paused, command.quality, command.fps) == expected


def test_settings_said_before_the_subscription_are_kept(stage):
    ada = stage.join("ada")
    bob = stage.join("bob", auto_subscribe=False)
    sid = ada.publish("c1", **CAMERA, rids=["q", "h", "f"], layers=LAYERS)
    bob.send(track_setting=m.UpdateTrackSettings(track_sids=[sid], quality=m.VideoQuality.LOW))
    bob.send(subscription=m.UpdateSubscription(track_sids=[sid], subscribe=True))
    assert stage.commands(outputs.SetSubscription)[-1].quality == 0


def test_adaptive_stream_begins_low(stage):
    ada = stage.join("ada")
    stage.join("bob", adaptive_stream=True)
    ada.publish("c1", **CAMERA, rids=["q", "h", "f"], layers=LAYERS)
    assert stage.commands(outputs.SetSubscription)[-1].quality == 0


def test_a_publisher_hears_which_layers_are_wanted(stage):
    ada, bob = stage.join("ada"), stage.join("bob")
    sid = ada.publish("c1", **CAMERA, rids=["q", "h", "f"], layers=LAYERS)
    bob.send(track_setting=m.UpdateTrackSettings(track_sids=[sid], quality=m.VideoQuality.LOW))
    assert not ada.told("subscribed_quality_update")
    stage.wait(6)
    enabled = [
        [each.enabled for each in update.subscribed_qualities] for update in ada.told("subscribed_quality_update")
    ]
    assert enabled == [[True, False, False]]
    assert ada.told("subscribed_quality_update")[0].subscribed_codecs[0].codec == "vp8"
    bob.send(track_setting=m.UpdateTrackSettings(track_sids=[sid], quality=m.VideoQuality.HIGH))
    assert all(each.enabled for each in ada.told("subscribed_quality_update")[-1].subscribed_qualities)
    bob.send(leave=m.LeaveRequest())
    stage.wait(11)
    assert not any(each.enabled for each in ada.told("subscribed_quality_update")[-1].subscribed_qualities)


def test_the_first_packet_corrects_the_codec(stage):
    ada, bob = stage.join("ada"), stage.join("bob")
    ada.publish()
    handle = stage.commands(outputs.AddTrack)[0].track
    stage.step(engine.TrackMedia(handle, "audio/red"))
    assert bob.told("update")[-1].participants[0].tracks[0].mime_type == "audio/red"
    before = len(stage.log)
    stage.step(engine.TrackMedia(handle, "audio/red"))
    assert len(stage.log) == before


def test_speakers_are_told_to_those_who_hear_them_and_to_themselves(stage):
    ada, bob = stage.join("ada"), stage.join("bob")
    deaf = stage.join("deaf", auto_subscribe=False)
    ada.publish()
    handle = stage.commands(outputs.AddTrack)[0].track
    stage.step(engine.Speakers(0, [(handle, 0.3, True)]))
    stage.step(engine.Speakers(0, [(handle, 0.31, True)]))
    stage.step(engine.Speakers(0, [(handle, 0.0, False)]))
    for actor in (ada, bob):
        said = [(each.speakers[0].level, each.speakers[0].active) for each in actor.told("speakers_changed")]
        assert said == [(0.375, True), (0.0, False)]
    assert not deaf.told("speakers_changed")


def test_a_speaker_whose_track_ends_is_said_to_be_silent(stage):
    ada, bob = stage.join("ada"), stage.join("bob")
    ada.publish()
    stage.step(engine.Speakers(0, [(stage.commands(outputs.AddTrack)[0].track, 0.5, True)]))
    ada.negotiate(section("7", "audio"))
    assert not bob.told("speakers_changed")[-1].speakers[0].active


def test_whoever_subscribes_hears_who_speaks_and_how_the_connection_is(stage):
    ada = stage.join("ada")
    ada.publish()
    stage.step(engine.Speakers(0, [(stage.commands(outputs.AddTrack)[0].track, 0.5, True)]))
    stage.step(engine.Quality(0, [(ada.publisher, 0.02, 0.0, 0.0, 0.001)]))
    bob = stage.join("bob")
    bind(stage, bob)
    assert bob.told("speakers_changed")[0].speakers[0].sid == ada.sid
    assert bob.told("connection_quality")[0].updates[0].quality == m.ConnectionQuality.EXCELLENT


def test_connection_quality_falls_fast_recovers_slowly_and_is_told_when_it_changes(stage):
    ada, bob = stage.join("ada"), stage.join("bob")
    ada.publish()
    told = []
    for loss in (0.0, 0.0, 0.3, 0.3, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0):
        stage.step(engine.Quality(0, [(ada.publisher, 0.02, loss, 0.0, 0.001), (bob.publisher, 0.02, 0.0, 0.0, 0.001)]))
    for update in bob.told("connection_quality"):
        told += [each.quality for each in update.updates if each.participant_sid == ada.sid]
    quality = m.ConnectionQuality
    assert told[0] == quality.EXCELLENT and quality.POOR in told and told[-1] == quality.EXCELLENT
    assert len(told) == len([each for each, after in zip(told, [*told[1:], None], strict=True) if each != after])
    stage.step(engine.Quality(0, [(bob.publisher, 0.02, 0.0, 0.0, 0.001)]))
    assert bob.told("connection_quality")[-1].updates[0].quality == quality.LOST


def test_track_features_and_sizes_are_told_on(stage):
    ada, bob = stage.join("ada"), stage.join("bob")
    sound = ada.publish("c1", mid="7")
    picture = ada.announce("c2", **CAMERA)
    ada.negotiate(section("7", "audio", "c1"), section("8", "video", "c2"))
    ada.send(update_audio_track=m.UpdateLocalAudioTrack(track_sid=sound, features=[1]))
    ada.send(update_video_track=m.UpdateLocalVideoTrack(track_sid=picture.sid, width=99, height=55))
    tracks = {each.sid: each for each in bob.told("update")[-1].participants[0].tracks}
    assert list(tracks[sound].audio_features) == [1]
    assert (tracks[picture.sid].width, tracks[picture.sid].height) == (99, 55)


def test_trickled_candidates_are_not_needed_and_hurt_nobody(stage):
    ada = stage.join("ada", single=False)
    for init in ('{"candidate":"candidate:1 1 udp 1 127.0.0.1 9 typ host"}', "{", ""):
        assert ada.send(trickle=m.TrickleRequest(candidateInit=init, target=m.SignalTarget.SUBSCRIBER)) == []


@pytest.mark.parametrize("sdp", ["v=0" + "\r\nm=audio 9 x 0" * 10_000, "v=0\r\n" + "a" * 2_000_000])
def test_an_offer_beyond_all_measure_ends_the_participant(stage, sdp):
    ada = stage.join("ada")
    ada.send(offer=m.SessionDescription(type="offer", sdp=sdp))
    assert not stage.commands(outputs.AcceptOffer)
    assert ada.told("leave")[0].action == m.LeaveRequest.DISCONNECT


def test_a_description_that_cannot_be_used_means_a_full_reconnect(stage):
    ada = stage.join("ada")
    stage.step(engine.NegotiationFailed(ada.publisher, 3, "bad sdp"))
    leave = ada.told("leave")[0]
    assert (leave.action, leave.reason) == (m.LeaveRequest.RECONNECT, m.DisconnectReason.STATE_MISMATCH)
    assert stage.room.member("ada") is None
