"""A running server and bare websockets against it, without any client library."""

import asyncio
from contextlib import asynccontextmanager

import aiohttp
import pytest

from greenroom.server import Server
from greenroom.wire import messages as m
from greenroom.wire.join import encode_v1
from greenroom.wire.signal import decode_response, encode

KEYS = {"devkey": "a secret that is long enough to be one"}
PATIENCE = 10.0


@pytest.fixture
async def server():
    async with Server(host="127.0.0.1", port=0, keys=KEYS) as running:
        yield running


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as session:
        yield session


def base(server):
    return server.url.replace("ws://", "http://")


class Raw:
    """One bare signalling socket."""

    def __init__(self, socket):
        self.socket = socket
        self.seen = []

    async def receive(self, name):
        """The next message of this kind; others before it are kept in `seen`."""
        async with asyncio.timeout(PATIENCE):
            while True:
                frame = await self.socket.receive()
                if frame.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING):
                    raise ConnectionError(f"closed with {frame.data}")
                message = decode_response(frame.data)
                kind = message.WhichOneof("message")
                self.seen.append(kind)
                if kind == name:
                    return getattr(message, name)

    async def send(self, **message):
        await self.socket.send_bytes(encode(m.SignalRequest(**message)))

    async def closed(self):
        """Wait until the server has closed the socket; returns the close code."""
        async with asyncio.timeout(PATIENCE):
            while not self.socket.closed:
                await self.socket.receive()
        return self.socket.close_code


@asynccontextmanager
async def raw_join(server, identity, *, path="/rtc/v1", token=None, request=None, **query):
    """A bare signalling socket that has joined, or tries to."""
    if path.endswith("v1"):
        query["join_request"] = encode_v1(request or m.JoinRequest(client_info=m.ClientInfo(protocol=17)))
    headers = {"Authorization": f"Bearer {token or server.token(identity, 'lab')}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        url = base(server) + path
        async with session.ws_connect(url, params=query, max_msg_size=0, compress=0) as socket:
            yield Raw(socket)


async def until(condition, patience=PATIENCE):
    """Wait until something holds that no event tells of."""
    async with asyncio.timeout(patience):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
