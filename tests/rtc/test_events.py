"""Handlers of any shape are called in order, with what they ask for, and their faults stay their own."""

from __future__ import annotations

import asyncio
import functools
import logging

import pytest

from greenroom.rtc import EventEmitter


@pytest.fixture
def emitter() -> EventEmitter[str]:
    return EventEmitter()


def test_handlers_run_once_each_in_the_order_of_registration(emitter):
    seen = []
    first, second = (lambda: seen.append(1)), (lambda: seen.append(2))
    for handler in (first, second, first):
        emitter.on("x", handler)
    emitter.emit("x")
    assert seen == [1, 2]


def test_on_works_as_a_decorator_and_gives_the_function_back(emitter):
    @emitter.on("x")
    def handler(value: int) -> int:
        return value + 1

    assert handler(1) == 2


def test_a_handler_gets_as_many_arguments_as_it_declares(emitter):
    seen = []
    emitter.on("x", lambda: seen.append(()))
    emitter.on("x", lambda a: seen.append((a,)))
    emitter.on("x", lambda a, b=0: seen.append((a, b)))
    emitter.on("x", lambda *rest: seen.append(rest))
    emitter.on("x", seen.append)
    emitter.emit("x", 1, 2, 3) if False else emitter.emit("x", 1)
    assert seen == [(), (1,), (1, 0), (1,), 1]
    seen.clear()
    emitter.off("x", seen.append)
    emitter.emit("x", 1, 2, 3)
    assert seen[:4] == [(), (1,), (1, 2), (1, 2, 3)]


def test_a_fault_is_logged_and_the_next_handler_runs(emitter, caplog):
    seen = []
    emitter.on("x", lambda: 1 / 0)
    emitter.on("x", lambda missing: None)
    emitter.on("x", lambda: seen.append("ran"))
    with caplog.at_level(logging.ERROR):
        emitter.emit("x")
    assert seen == ["ran"]
    assert [record.exc_info[0] for record in caplog.records] == [ZeroDivisionError, TypeError]


def test_once_runs_once_and_can_be_taken_back(emitter):
    seen = []
    emitter.once("x", seen.append)
    emitter.emit("x", 1)
    emitter.emit("x", 2)
    assert seen == [1]
    emitter.once("x", seen.append)
    emitter.off("x", seen.append)
    emitter.emit("x", 3)
    assert seen == [1]


def test_unknown_handlers_and_events_are_no_matter(emitter):
    emitter.off("x", print)
    emitter.emit("never heard of")


def test_only_what_can_be_called_is_a_handler(emitter):
    with pytest.raises(TypeError, match="callback must be a function"):
        emitter.on("x", 5)


class Handler:
    def __init__(self, seen: list[int]) -> None:
        self.seen = seen

    async def method(self, value: int) -> None:
        self.seen.append(value)

    async def __call__(self, value: int) -> None:
        self.seen.append(value)


async def test_every_shape_of_async_handler_runs(emitter):
    seen: list[int] = []

    async def function(value: int) -> None:
        seen.append(value)

    async def with_more(factor: int, value: int) -> None:
        seen.append(factor * value)

    handler = Handler(seen)
    for each in (function, handler.method, handler, functools.partial(with_more, 10), lambda value: function(value)):
        emitter.on("x", each)
    emitter.emit("x", 7)
    assert seen == []
    await emitter._handler_tasks.close(grace=5)
    assert seen == [7, 7, 7, 70, 7]


async def test_a_fault_of_an_async_handler_is_logged_once(emitter, caplog):
    async def fails() -> None:
        raise LookupError("lost")

    emitter.on("x", fails)
    emitter.emit("x")
    await emitter._handler_tasks.close(grace=5)
    assert [str(record.exc_info[1]) for record in caplog.records] == ["lost"]


async def test_a_handler_removed_by_another_one_still_runs_this_time(emitter):
    seen = []

    def second() -> None:
        seen.append(2)

    def first() -> None:
        emitter.off("x", second)

    emitter.on("x", first)
    emitter.on("x", second)
    emitter.emit("x")
    emitter.emit("x")
    assert seen == [2]
    await asyncio.sleep(0)
