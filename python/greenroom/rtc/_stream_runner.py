"""Hands incoming text and byte streams to the handlers of their topics."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable
from typing import Any

from greenroom.errors import ConfigError
from greenroom.protocol.client_streams import IncomingStreams, StreamClosed, StreamData, StreamEvent, StreamOpened
from greenroom.rtc._stream_content import Content, Unread
from greenroom.rtc.data_stream import ByteStreamReader, TextStreamReader
from greenroom.runtime.tasks import TaskSet
from greenroom.wire import messages as m

__all__ = ["StreamRunner"]

log = logging.getLogger("greenroom.rtc")

#: Bytes that may wait to be read; the engine hands over up to 60 MB at a time.
MOST_UNREAD = 128 * 1024 * 1024

_Reader = TextStreamReader | ByteStreamReader
_Handler = Callable[[Any, str], Any]


class StreamRunner:
    """The incoming streams of one room."""

    def __init__(self, tasks: TaskSet) -> None:
        self._tasks = tasks
        self._machine = IncomingStreams()
        self._unread = Unread(MOST_UNREAD)
        self._text_handlers: dict[str, _Handler] = {}
        self._byte_handlers: dict[str, _Handler] = {}
        self._readers: dict[str, _Reader] = {}

    def limit(self, max_payload: int | None, max_unread: int | None) -> None:
        """The longest stream to take, and what may wait to be read of all together, in bytes, from now on."""
        self._machine = IncomingStreams(max_payload)
        self._unread = Unread(MOST_UNREAD if max_unread is None else max_unread)

    def register(self, topic: str, handler: _Handler, *, text: bool) -> None:
        """Set the handler of a topic.

        Raises:
            ConfigError: it has one.
        """
        handlers = self._text_handlers if text else self._byte_handlers
        if topic in handlers:
            kind = "text" if text else "byte"
            raise ConfigError(f"a {kind} stream handler for topic {topic!r} is already set; unregister it first")
        handlers[topic] = handler

    def unregister(self, topic: str, *, text: bool) -> None:
        """Remove the handler of a topic, if there is one."""
        (self._text_handlers if text else self._byte_handlers).pop(topic, None)

    def packet(self, sender: str, packet: m.DataPacket) -> None:
        """A stream's packet arrived."""
        self._apply(self._machine.packet(sender, packet))

    def sender_left(self, sender: str) -> None:
        """Their streams stay incomplete."""
        self._apply(self._machine.sender_left(sender))

    def end(self) -> None:
        """The room is over."""
        self._apply(self._machine.abandon("the room was left before the stream was complete"))

    def _apply(self, events: Iterable[StreamEvent]) -> None:
        for event in events:
            match event:
                case StreamOpened():
                    self._open(event)
                case StreamData(stream_id=stream_id, content=content):
                    reader = self._readers.get(stream_id)
                    if reader is not None:
                        reader._content.push(content)
                case StreamClosed(stream_id=stream_id, error=error, attributes=attributes):
                    reader = self._readers.pop(stream_id, None)
                    if reader is not None:
                        reader._finish(error, attributes)

    def _open(self, opened: StreamOpened) -> None:
        header = opened.header
        handler = (self._text_handlers if header.text else self._byte_handlers).get(header.topic)
        if handler is None:
            log.info("a stream of %s was dropped: topic %r has no handler", opened.sender, header.topic)
            return
        stream_id = header.stream_id

        def on_close() -> None:
            self._readers.pop(stream_id, None)
            self._machine.cancel(stream_id)

        content = Content(self._unread, on_close)
        reader = TextStreamReader(header, content) if header.text else ByteStreamReader(header, content)
        self._readers[stream_id] = reader
        try:
            result = handler(reader, opened.sender)
        except Exception:
            log.exception("the stream handler of topic %r failed", header.topic)
            return
        if inspect.iscoroutine(result):
            self._tasks.spawn(result, name=f"stream handler of topic {header.topic}")
