"""The worker machine: offers, slots, assignments, lost connections, draining; and jobs from start to end."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.protocol import worker_io as io
from greenroom.protocol.worker import ANSWER_TIMEOUT, ASSIGNMENT_TIMEOUT, JobPhase, Worker, WorkerSettings
from greenroom.wire import messages as m


def worker(**settings) -> Worker:
    registration = m.RegisterWorkerRequest(agent_name="x")
    return Worker(WorkerSettings(registration, **{"load_threshold": 0.7, **settings}), random=lambda: 1.0)


def registered(**settings) -> Worker:
    made = worker(**settings)
    assert made.start() == [io.Connect(0.0)]
    (sent,) = made.opened(0.0)
    assert sent.message.register.agent_name == "x"
    welcome = made.received(0.0, m.ServerMessage(register=m.RegisterWorkerResponse(worker_id="AW_1")))
    assert isinstance(welcome[0], io.Registered)
    return made


def offer(job_id: str) -> m.ServerMessage:
    return m.ServerMessage(availability=m.AvailabilityRequest(job=m.Job(id=job_id)))


def assignment(job_id: str) -> m.ServerMessage:
    return m.ServerMessage(assignment=m.JobAssignment(job=m.Job(id=job_id), token="t"))


def sent(outputs: list[io.Output], kind: str) -> list:
    messages = [each.message for each in outputs if isinstance(each, io.Send)]
    return [getattr(each, kind) for each in messages if each.WhichOneof("message") == kind]


def run(machine: Worker, job_id: str, now: float = 1.0) -> None:
    assert machine.received(now, offer(job_id)) == [io.Ask(m.Job(id=job_id))]
    assert sent(machine.accept(now, job_id, io.Acceptance(identity="me")), "availability")[0].available
    (launch,) = machine.received(now, assignment(job_id))
    assert isinstance(launch, io.Launch) and launch.acceptance.identity == "me"


def test_jobs_that_another_worker_takes_over_are_let_go_of():
    machine = registered()
    run(machine, "kept")
    run(machine, "ending")
    machine.job_outcome("ending", "")
    machine.received(1.0, offer("asked"))
    (full,) = sent(machine.retire(2.0), "update_worker")
    assert full.status == m.WorkerStatus.WS_FULL
    assert not sent(machine.received(2.0, offer("late")), "availability")[0].available
    assert machine.unfinished == ["kept"]
    (withdrawn,) = machine.release()
    assert isinstance(withdrawn, io.Withdrawn) and withdrawn.job_id == "asked"
    assert machine.lost("closed") == [] and machine.refused("gone", final=False) == [] and machine.opened(3.0) == []
    assert machine.deadline is None
    assert machine.job_ended(4.0, "ending", "") == []
    assert machine.job_ended(5.0, "kept", "") == [io.Drained()]


def test_a_worker_without_jobs_ends_when_it_is_replaced():
    machine = registered()
    machine.retire(1.0)
    assert machine.release() == [io.Drained()]


def test_a_taken_over_job_is_told_of_and_reported_like_any_other():
    machine = worker()
    machine.adopt("taken")
    machine.start()
    machine.opened(0.0)
    welcome = machine.received(0.0, m.ServerMessage(register=m.RegisterWorkerResponse(worker_id="AW_2")))
    assert [list(each.job_ids) for each in sent(welcome, "migrate_job")] == [["taken"]]
    assert sent(machine.job_started("taken"), "update_job")[0].status == m.JobStatus.JS_RUNNING
    assert sent(machine.job_ended(1.0, "taken", ""), "update_job")[0].status == m.JobStatus.JS_SUCCESS


def test_a_job_from_offer_to_report():
    machine = registered()
    run(machine, "j")
    assert machine.phase("j") is JobPhase.RUNNING
    assert sent(machine.job_started("j"), "update_job")[0].status == m.JobStatus.JS_RUNNING
    (report,) = sent(machine.job_outcome("j", ""), "update_job")
    assert report.status == m.JobStatus.JS_SUCCESS
    assert machine.phase("j") is JobPhase.RUNNING
    assert sent(machine.job_ended(2.0, "j", ""), "update_job") == []
    assert machine.phase("j") is JobPhase.ENDED


def test_a_failure_is_reported_with_its_words():
    machine = registered()
    run(machine, "j")
    (report,) = sent(machine.job_ended(2.0, "j", "boom"), "update_job")
    assert (report.status, report.error) == (m.JobStatus.JS_FAILED, "boom")


def test_offers_beyond_the_slots_are_declined_at_once():
    machine = registered(max_jobs=1)
    machine.received(0.0, offer("a"))
    (declined,) = sent(machine.received(0.0, offer("b")), "availability")
    assert (declined.job_id, declined.available, declined.terminate) == ("b", False, False)
    machine.decline(0.0, "a", terminate=False)
    assert machine.received(0.0, offer("c"))[0] == io.Ask(m.Job(id="c"))


def test_becoming_full_and_free_is_told_at_once():
    machine = registered()
    (update,) = sent(machine.set_load(1.0, 0.9), "update_worker")
    assert update.status == m.WorkerStatus.WS_FULL and update.load == pytest.approx(0.9)
    assert machine.set_load(1.1, 0.8) == []
    (update,) = sent(machine.set_load(1.2, 0.1), "update_worker")
    assert update.status == m.WorkerStatus.WS_AVAILABLE


def test_a_worker_that_takes_jobs_at_any_load_tells_none_that_would_keep_a_server_from_giving_it_one():
    machine = registered(load_threshold=math.inf)
    machine.set_load(1.0, 0.9)
    (update,) = sent(machine.tick(10.0), "update_worker")
    assert update.load == pytest.approx(0.5) and machine.load == pytest.approx(0.9)
    assert update.status == m.WorkerStatus.WS_AVAILABLE


def test_an_assignment_that_does_not_come_frees_the_slot_and_is_refused_later():
    machine = registered(max_jobs=1)
    machine.received(0.0, offer("a"))
    machine.accept(1.0, "a", io.Acceptance())
    assert machine.deadline is not None
    outputs = machine.tick(1.0 + ASSIGNMENT_TIMEOUT)
    assert [each.job_id for each in outputs if isinstance(each, io.Withdrawn)] == ["a"]
    (late,) = sent(machine.received(9.0, assignment("a")), "update_job")
    assert late.status == m.JobStatus.JS_FAILED and not machine.running


def test_jobs_survive_a_lost_connection_and_are_told_of_afterwards():
    machine = registered()
    run(machine, "kept")
    machine.job_started("kept")
    run(machine, "ended")
    machine.received(1.0, offer("offered"))
    outputs = machine.lost("cut")
    assert [each.job_id for each in outputs if isinstance(each, io.Withdrawn)] == ["offered"]
    assert any(isinstance(each, io.Connect) for each in outputs)
    assert machine.job_ended(2.0, "ended", "boom") == []
    machine.opened(3.0)
    outputs = machine.received(3.0, m.ServerMessage(register=m.RegisterWorkerResponse(worker_id="AW_2")))
    assert set(sent(outputs, "migrate_job")[0].job_ids) == {"kept", "ended"}
    assert [(each.job_id, each.status) for each in sent(outputs, "update_job")] == [
        ("kept", m.JobStatus.JS_RUNNING),
        ("ended", m.JobStatus.JS_FAILED),
    ]


def test_attempts_back_off_and_end_unless_jobs_run():
    machine = worker(max_retry=4)
    delays = [machine.refused("no", final=False)[0].delay for _ in range(4)]
    assert delays == [0.25, 0.5, 1.0, 2.0]
    (gave_up,) = machine.refused("no", final=False)
    assert isinstance(gave_up, io.GaveUp) and "no" in gave_up.message
    machine = registered(max_retry=1)
    run(machine, "j")
    machine.lost("cut")
    for _ in range(20):
        (again,) = machine.refused("no", final=True)
        assert isinstance(again, io.Connect) and again.delay <= 10.0


def test_a_wrong_key_ends_it_at_once():
    (gave_up,) = worker().refused("wrong key", final=True)
    assert isinstance(gave_up, io.GaveUp)


def test_draining_declines_and_ends_with_the_last_job():
    machine = registered()
    run(machine, "j")
    outputs = machine.drain(2.0)
    assert sent(outputs, "update_worker")[0].status == m.WorkerStatus.WS_FULL
    assert not sent(machine.received(2.0, offer("k")), "availability")[0].available
    assert machine.job_ended(3.0, "j", "")[-1] == io.Drained()
    assert registered().drain(0.0)[-1] == io.Drained()


def test_a_termination_ends_a_running_job_only():
    machine = registered()
    run(machine, "j")
    ended = m.ServerMessage(termination=m.JobTermination(job_id="j"))
    assert machine.received(2.0, ended) == [io.Shutdown("j", "ended by the server")]
    unknown = m.ServerMessage(termination=m.JobTermination(job_id="k"))
    assert machine.received(2.0, unknown) == []


EVENTS = st.sampled_from(
    ["offer", "accept", "decline", "assign", "started", "outcome", "ended", "lost", "up", "tick", "drain"]
)


@given(st.lists(st.tuples(EVENTS, st.integers(0, 2)), max_size=80), st.integers(1, 2))
def test_no_order_of_events_exceeds_the_slots_or_reports_a_job_twice(events, slots):
    machine = registered(max_jobs=slots)
    now = 0.0
    launched: set[str] = set()
    final: list[str] = []
    for name, number in events:
        now += 0.5
        job = f"j{number}"
        match name:
            case "offer":
                outputs = machine.received(now, offer(job)) if machine.worker_id else []
            case "accept":
                outputs = machine.accept(now, job, io.Acceptance())
            case "decline":
                outputs = machine.decline(now, job, terminate=False)
            case "assign":
                outputs = machine.received(now, assignment(job)) if machine.worker_id else []
            case "started":
                outputs = machine.job_started(job)
            case "outcome":
                outputs = machine.job_outcome(job, "")
            case "ended":
                outputs = machine.job_ended(now, job, "")
                launched.discard(job)
            case "lost":
                outputs = machine.lost("cut") if machine.worker_id else []
            case "up":
                outputs = []
                if not machine.worker_id:
                    machine.opened(now)
                    outputs = machine.received(now, m.ServerMessage(register=m.RegisterWorkerResponse(worker_id="AW")))
            case "tick":
                now += 5
                outputs = machine.tick(now)
            case _:
                outputs = machine.drain(now)
        launched |= {each.job.id for each in outputs if isinstance(each, io.Launch)}
        assert machine.running == len(launched) <= slots
        done = (m.JobStatus.JS_SUCCESS,)
        final += [each.job_id for each in sent(outputs, "update_job") if each.status in done]
        if name == "offer" and io.Ask(m.Job(id=job)) in outputs and job in final:
            final.remove(job)
        assert len(final) == len(set(final))


def test_a_request_that_nobody_answers_frees_its_slot():
    machine = registered(max_jobs=1)
    machine.received(0.0, offer("a"))
    outputs = machine.tick(ANSWER_TIMEOUT)
    assert [each.job_id for each in outputs if isinstance(each, io.Withdrawn)] == ["a"]
    messages = [each.message.WhichOneof("message") for each in outputs if isinstance(each, io.Send)]
    assert messages == ["update_worker", "update_worker", "availability"] and not machine.full
    assert machine.accept(11.0, "a", io.Acceptance()) == []


def test_a_server_may_take_back_what_was_accepted():
    machine = registered(max_jobs=1)
    machine.received(0.0, offer("a"))
    machine.accept(0.0, "a", io.Acceptance())
    outputs = machine.received(1.0, m.ServerMessage(termination=m.JobTermination(job_id="a")))
    assert [each.job_id for each in outputs if isinstance(each, io.Withdrawn)] == ["a"]
    assert sent(outputs, "update_worker")[0].status == m.WorkerStatus.WS_AVAILABLE
    assert not any(isinstance(each, io.Launch) for each in machine.received(1.0, assignment("a")))


def test_a_report_that_may_not_have_arrived_is_sent_again():
    machine = registered()
    run(machine, "j")
    machine.job_ended(2.0, "j", "boom")
    machine.lost("cut")
    machine.opened(3.0)
    welcome = m.ServerMessage(register=m.RegisterWorkerResponse(worker_id="AW_2"))
    again = machine.received(3.0, welcome)
    assert sent(again, "migrate_job")[0].job_ids == ["j"]
    assert [(each.job_id, each.error) for each in sent(again, "update_job")] == [("j", "boom")]
    machine.tick(1000.0)
    machine.lost("cut")
    machine.opened(1001.0)
    assert sent(machine.received(1001.0, welcome), "update_job") == []


@pytest.mark.parametrize("load", [float("nan"), float("inf")])
def test_a_load_that_is_no_number_counts_as_busy(load):
    machine = registered()
    (update,) = sent(machine.set_load(1.0, load), "update_worker")
    assert update.status == m.WorkerStatus.WS_FULL


def test_a_servers_job_ids_cannot_reach_the_workers_own_timers():
    machine = registered()
    for name in ("status", "register", ""):
        machine.received(0.0, offer(name))
    outputs = machine.tick(ANSWER_TIMEOUT)
    assert {each.job_id for each in outputs if isinstance(each, io.Withdrawn)} == {"status", "register", ""}
    assert not any(isinstance(each, io.Connect) for each in outputs)
