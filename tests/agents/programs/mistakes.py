"""What type checkers must find, one mistake to a line; the comment is the kind of the error."""

from greenroom import agents
from greenroom.agents import AgentServer, JobContext, WorkerOptions

server = AgentServer(load_treshold=0.5)  # call-arg
server = AgentServer(max_retry="many")  # arg-type
server.update_options(drain_timout=3)  # call-arg
WorkerOptions(entrypoint=None)  # call-arg
WorkerOptions(max_retry="many")  # arg-type


@server.rtc_session(agent_nam="x")  # call-overload
async def one(ctx: JobContext) -> None:
    print(ctx.rom)  # attr-defined
    await ctx.connect(auto_subscribe="some")  # arg-type


@server.rtc_session  # type-var
async def two(ctx: JobContext, more: int) -> None:
    await ctx.wait_for_participant(name="x")  # call-arg


server.run()  # unused-coroutine
agents.AgentSession()  # attr-defined
