"""An agent's file under `greenroom dev`: run, and run anew when it is saved, in rooms that stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from greenroom import rtc
from tests.cli.test_commands import mistake
from tests.cli.test_serving import line_with, running

pytestmark = [pytest.mark.loopback, pytest.mark.timeout(120)]

AGENT = """
from greenroom.agents import AgentServer, JobContext, cli

server = AgentServer()


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    await ctx.room.local_participant.set_attributes({"version": "1"})


if __name__ == "__main__":
    cli.run_app(server)
"""


async def attribute(room: rtc.Room, value: str) -> None:
    """Return when an agent is there whose version is that one."""

    def there(*_: object) -> bool:
        return any(each.attributes.get("version") == value for each in room.remote_participants.values())

    if not there():
        await room.wait_for("participant_attributes_changed", there, timeout=40)


async def test_an_agent_is_run_anew_when_its_file_is_saved_and_its_room_stays(tmp_path: Path):
    file = tmp_path / "agent.py"
    file.write_text(AGENT)
    with running("dev", str(file), "--port", "0") as process:
        url = line_with(process, "at ws://").split(" at ", 1)[1].split()[0]
        line_with(process, "join 'lobby' as 'guest'")
        assert process.stderr is not None
        token = process.stderr.readline().strip()
        async with rtc.Room() as room:
            await room.connect(url, token)
            await attribute(room, "1")
            sid = await room.sid
            file.write_text(AGENT.replace('"1"', '"2"'))
            await attribute(room, "2")
            assert await room.sid == sid


def test_a_file_that_is_not_there_gets_one_line():
    assert "nowhere.py" in mistake("start", "nowhere.py")
    assert "nowhere.py" in mistake("run", "nowhere.py", "dev")
