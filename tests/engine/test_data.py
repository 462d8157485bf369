"""Data between two engines: it arrives as fast as the network takes it, and what nobody takes is bounded."""

import asyncio

import pytest

from greenroom import _engine as native

pytestmark = pytest.mark.loopback

PIECE = bytes(60_000)


async def test_bursts_of_data_arrive_without_waiting_for_retransmissions(call):
    alice = await call.join()
    await alice.link.next(alice.peer, native.DataOpen)
    engine = alice.link.engine
    before = engine.statistics()["bytes_out"]
    for _ in range(100):
        engine.send_data([alice.peer], "_reliable", PIECE)
    for _ in range(100):
        assert len((await call.server.next(alice.far, native.Data, within=30)).payload) == len(PIECE)
    # Loopback loses nothing, so next to nothing is sent twice unless our own end drops it.
    assert engine.statistics()["bytes_out"] - before < 1.3 * 100 * len(PIECE)


async def test_who_sends_data_that_nobody_takes_is_cut(call):
    alice = await call.join()
    await alice.link.next(alice.peer, native.DataOpen)
    loop, engine = asyncio.get_running_loop(), call.server.engine
    loop.remove_reader(engine.fileno())  # the program is busy with something else
    sent = None
    while not (sent and sent.error):
        for _ in range(200):
            alice.link.engine.send_data([alice.peer], "_reliable", PIECE)
        alice.link.engine.send_data([alice.peer], "_reliable", PIECE, request=1)
        sent = await alice.link.next(alice.peer, native.DataSent, within=60)
    assert "ended" in sent.error
    ended, taken = None, 0
    while events := engine.drain():
        for event in map(native.parse_event, events):
            taken += len(event.payload) if isinstance(event, native.Data) else 0
            ended = event if isinstance(event, native.PeerState) else ended
    assert ended is not None and ended.state == "failed"
    assert "does not take the data" in ended.detail
    assert 64 << 20 < taken < 66 << 20
    loop.add_reader(engine.fileno(), lambda: None)
