"""The life of a running job: whatever ends it, it ends once, in the same order, in limited time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from greenroom.protocol.job_run import (
    CANCEL_GRACE,
    CONNECT_WARNING,
    Abandon,
    CancelEntrypoint,
    Ended,
    JobRun,
    Leave,
    Limits,
    Phase,
    RunEntrypoint,
    WarnNotConnected,
)

LIMITS = Limits(entrypoint=5.0, callbacks=10.0)


def running() -> JobRun:
    job = JobRun(LIMITS)
    assert job.start(0.0) == [RunEntrypoint()]
    job.connected()
    return job


def test_returning_does_not_end_it():
    job = running()
    assert job.returned(1.0) == [] and job.phase is Phase.RUNNING and job.deadline is None
    assert job.room_ended(2.0, "room closed") == [Leave("room closed", "")]
    assert job.left() == [Ended("", "room closed")]


def test_an_entrypoint_may_finish_after_the_end_was_asked_for():
    job = running()
    assert job.shutdown(1.0, "bye") == []
    assert job.returned(3.0) == [Leave("bye", "")]


def test_a_crash_ends_it_with_its_error():
    job = running()
    assert job.failed(1.0, "trace") == [Leave("job crashed", "trace")]
    assert job.left() == [Ended("trace", "job crashed")]


def test_a_hung_entrypoint_is_cancelled_then_abandoned():
    job = running()
    job.shutdown(1.0, "bye")
    assert job.tick(5.9) == []
    assert job.tick(6.0) == [CancelEntrypoint()]
    assert job.tick(6.0 + CANCEL_GRACE) == [
        Abandon("entrypoint"),
        Leave("bye", "the entrypoint ignored its cancellation"),
    ]


def test_hanging_callbacks_are_abandoned():
    job = running()
    job.returned(0.5)
    job.shutdown(1.0, "bye")
    assert job.tick(11.0) == [
        Abandon("shutdown callbacks"),
        Ended("the shutdown callbacks did not end in time", "bye"),
    ]
    assert job.left() == []


def test_not_joining_is_worth_a_warning():
    job = JobRun(LIMITS)
    job.start(0.0)
    assert job.tick(CONNECT_WARNING) == [WarnNotConnected()] and job.phase is Phase.RUNNING


EVENTS = st.sampled_from(["returned", "failed", "room_ended", "shutdown", "left", "tick", "connected"])


@given(st.lists(EVENTS, max_size=30))
def test_it_leaves_once_and_ends_once_whatever_happens(events):
    job = JobRun(LIMITS)
    now, outputs, over = 0.0, list(job.start(0.0)), False
    for name in [*events, "shutdown", *["tick"] * 4]:
        if name in ("returned", "failed"):
            if over:
                continue
            over = True  # an entrypoint ends once
        now = max(now + 0.1, job.deadline or 0.0) if name == "tick" else now + 0.1
        match name:
            case "returned":
                outputs += job.returned(now)
            case "failed":
                outputs += job.failed(now, "trace")
            case "room_ended":
                outputs += job.room_ended(now, "room")
            case "shutdown":
                outputs += job.shutdown(now, "bye")
            case "left":
                outputs += job.left()
            case "tick":
                outputs += job.tick(now)
            case _:
                job.connected()
    kinds = [type(each) for each in outputs]
    assert kinds.count(Leave) == 1 and kinds.count(Ended) == 1
    assert kinds.index(Leave) < kinds.index(Ended) == len(kinds) - 1
    assert kinds.count(CancelEntrypoint) <= 1 and job.phase is Phase.ENDED and job.deadline is None
    assert now < 60.0
