"""A fault inside the media engine ends the room it happened in; everybody there is told, and nobody else notices."""

from __future__ import annotations

import pytest

from greenroom import rtc, testing
from greenroom.runtime.bridge import bridge_for_loop

from .conftest import House

pytestmark = pytest.mark.loopback


async def test_a_fault_in_a_room_ends_that_room_only(house: House):
    stage = house.stage
    async with house.bob.keeps_hearing(testing.tone(440), of="ada", gap=1.0):
        cleo, dora = await stage.join("cleo", room="broken"), await stage.join("dora", room="broken")
        await cleo.speak(testing.tone(600))
        await dora.hears(testing.tone(600))
        broken = stage.server.rooms["broken"]
        stage.server._core.bridge.engine._fault(broken.handle)
        for person in (cleo, dora):
            await person.happens("disconnected", about="SERVER_SHUTDOWN")
            assert not person.room.isconnected()
        assert list(stage.server.rooms) == ["lobby"]
    again = await stage.join("cleo", room="broken")
    await again.speak(testing.tone(600))


async def test_a_fault_in_a_client_is_told_as_its_end(house: House):
    """The caller's own engine: its other rooms go on."""
    cleo = await house.stage.join("cleo", room="elsewhere")
    async with house.bob.keeps_hearing(testing.tone(440), of="ada", gap=1.0):
        peer = next(iter(cleo.room._connection.peers._handles.values()))
        bridge_for_loop().engine._fault(peer)
        await cleo.happens("disconnected")
        assert cleo.room.connection_state == rtc.ConnectionState.CONN_DISCONNECTED
