"""Headless Chromium over its own debugging protocol: pages that Python calls functions of."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Pages of one browser run side by side, so none may be throttled for being in the background.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--remote-debugging-port=0",
)


class PageError(Exception):
    """The page threw, or refused a command."""


class Chromium:
    """One browser process, for as long as the `with` block lasts."""

    def __init__(self, executable: str) -> None:
        self.executable = executable
        self.endpoint = ""

    def __enter__(self) -> Chromium:
        self.profile = tempfile.mkdtemp(prefix="greenroom-chromium-")
        self.process = subprocess.Popen(
            [self.executable, *FLAGS, f"--user-data-dir={self.profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        said: list[str] = []
        for line in self.process.stderr:
            said.append(line)
            if "DevTools listening on " in line:
                self.endpoint = line.split("DevTools listening on ", 1)[1].strip()
                break
        else:
            raise PageError(f"{self.executable} did not start:\n{''.join(said)}")
        # Chromium goes on writing warnings: an unread pipe would block it.
        self._drain = subprocess.Popen(["cat"], stdin=self.process.stderr, stdout=subprocess.DEVNULL)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._drain.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()
        shutil.rmtree(self.profile, ignore_errors=True)

    @asynccontextmanager
    async def pages(self, script: Path) -> AsyncIterator[Callable[..., Awaitable[Page]]]:
        """A maker of pages that run `script`, or are at another address; each has its own storage, all are closed."""
        async with aiohttp.ClientSession() as session, serve(script) as address:
            async with session.ws_connect(self.endpoint, max_msg_size=0) as socket:
                connection = Connection(socket)
                reader = asyncio.create_task(connection.read())
                contexts: list[str] = []

                async def page(other: str = "") -> Page:
                    context = (await connection.command("Target.createBrowserContext"))["browserContextId"]
                    contexts.append(context)
                    return await connection.open(other or address, context)

                try:
                    yield page
                finally:
                    for context in contexts:
                        await connection.command("Target.disposeBrowserContext", browserContextId=context)
                    reader.cancel()


@asynccontextmanager
async def serve(script: Path) -> AsyncIterator[str]:
    """An HTTP address on the loopback interface (a secure context) whose only page loads the script."""

    async def index(_: web.Request) -> web.Response:
        body = '<!doctype html><meta charset="utf-8"><body><script src="page.js"></script>'
        return web.Response(text=body, content_type="text/html")

    async def code(_: web.Request) -> web.FileResponse:
        return web.FileResponse(script, headers={"content-type": "text/javascript"})

    app = web.Application()
    app.add_routes([web.get("/", index), web.get("/page.js", code)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


@dataclass
class Connection:
    """Commands and their replies over the browser's one debugging socket."""

    socket: aiohttp.ClientWebSocketResponse
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _waiting: dict[int, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)
    _pages: dict[str, Page] = field(default_factory=dict)

    async def read(self) -> None:
        """Route every message until the socket closes; then fail what still waits."""
        async for message in self.socket:
            data = json.loads(message.data)
            if future := self._waiting.pop(data.get("id", 0), None):
                if not future.done():
                    future.set_result(data)
            elif page := self._pages.get(data.get("sessionId", "")):
                page.notice(data["method"], data["params"])
        for future in self._waiting.values():
            future.set_exception(PageError("the browser went away"))

    async def command(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        """Send one command and return its result."""
        number = next(self._ids)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self.socket.send_str(json.dumps(message))
        reply = await future
        if "error" in reply:
            raise PageError(f"{method}: {reply['error']['message']}")
        result: dict[str, Any] = reply["result"]
        return result

    async def open(self, address: str, context: str) -> Page:
        """A page at the address, its script loaded."""
        target = await self.command("Target.createTarget", url="about:blank", browserContextId=context)
        attached = await self.command("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        page = self._pages[attached["sessionId"]] = Page(self, attached["sessionId"])
        for domain in ("Page", "Runtime"):
            await self.command(f"{domain}.enable", page.session)
        await self.command("Page.navigate", page.session, url=address)
        await page.loaded.wait()
        return page


@dataclass
class Page:
    """One tab."""

    connection: Connection
    session: str
    loaded: asyncio.Event = field(default_factory=asyncio.Event)
    #: What the page logged and the exceptions nobody caught, for failing tests to show.
    console: list[str] = field(default_factory=list)

    def notice(self, method: str, params: dict[str, Any]) -> None:
        """Take in one event of the debugging protocol."""
        match method:
            case "Page.loadEventFired":
                self.loaded.set()
            case "Runtime.consoleAPICalled":
                words = [str(arg.get("value", arg.get("description", ""))) for arg in params["args"]]
                self.console.append(f"{params['type']}: {' '.join(words)}")
            case "Runtime.exceptionThrown":
                self.console.append(f"uncaught: {_thrown(params['exceptionDetails'])}")

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited if it is a promise."""
        reply = await self.connection.command(
            "Runtime.evaluate", self.session, expression=expression, awaitPromise=True, returnByValue=True
        )
        if details := reply.get("exceptionDetails"):
            log = "\n  ".join(self.console[-12:])
            raise PageError(f"{expression[:120]}: {_thrown(details)}\n  {log}")
        return reply["result"].get("value")

    async def call(self, function: str, *args: Any) -> Any:
        """Call one of the page's own functions (page.ts: `api`)."""
        return await self.evaluate(f"greenroom.{function}({', '.join(json.dumps(arg) for arg in args)})")

    async def screenshot(self) -> bytes:
        """The page as a PNG."""
        reply = await self.connection.command("Page.captureScreenshot", self.session, format="png")
        return base64.b64decode(reply["data"])

    async def until(self, function: str, *args: Any, accept: Callable[[Any], bool], within: float = 20) -> Any:
        """Call the function until its value is accepted, and return that.

        Raises:
            PageError: it was not accepted in time; says what the last value was.
        """
        value = None
        try:
            async with asyncio.timeout(within):
                while True:
                    value = await self.call(function, *args)
                    if accept(value):
                        return value
                    await self.evaluate("new Promise((done) => setTimeout(done, 50))")
        except TimeoutError:
            log = "\n  ".join(self.console[-12:])
            raise PageError(f"{function}{args}: last was {value!r} after {within} s\n  {log}") from None

    async def event(self, name: str, /, within: float = 20, **detail: Any) -> dict[str, Any]:
        """The detail of the first recorded room event of that name whose detail has these values."""

        def wanted(event: dict[str, Any]) -> bool:
            return event["name"] == name and detail.items() <= event["detail"].items()

        events = await self.until("events", accept=lambda events: any(map(wanted, events)), within=within)
        found: dict[str, Any] = next(event["detail"] for event in events if wanted(event))
        return found


def _thrown(details: dict[str, Any]) -> str:
    exception = details.get("exception", {})
    return str(exception.get("description") or exception.get("value") or details.get("text"))
