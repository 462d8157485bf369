import itertools

import pytest

from greenroom.protocol import dispatch_records as r
from greenroom.protocol.dispatch import Dispatch
from greenroom.wire import messages as m

ADA = m.ParticipantInfo(sid="PA_ada", identity="ada")


class Stage:
    """A dispatch machine on virtual time."""

    def __init__(self, *, reoffer=False):
        numbers = itertools.count(1)
        self.machine = Dispatch(
            lambda prefix: f"{prefix}{next(numbers)}",
            wall=1_800_000_000.0,
            reoffer=reoffer,
            server_info=m.ServerInfo(version="1.9.0"),
        )
        self.now = 0.0
        self.log = []

    def step(self, event):
        found = self.machine.step(self.now, event)
        self.log += found
        return found

    def wait(self, seconds):
        end = self.now + seconds
        while (deadline := self.machine.deadline) is not None and deadline <= end:
            self.now = deadline
            self.step(r.Wake())
        self.now = end

    def room(self, name="lab", *agents):
        self.step(r.RoomOpened(m.Room(sid=f"RM_{name}", name=name), tuple(agents)))

    def worker(self, connection, name="", kind=m.JobType.JT_ROOM, **fields):
        self.step(r.WorkerOpened(connection))
        self.say(connection, register=m.RegisterWorkerRequest(type=kind, agent_name=name, **fields))
        return connection

    def say(self, connection, **message):
        return self.step(r.WorkerSaid(connection, m.WorkerMessage(**message)))

    def told(self, connection, name):
        return [
            getattr(each.message, name)
            for each in self.log
            if isinstance(each, r.SendWorker)
            and each.connection == connection
            and each.message.WhichOneof("message") == name
        ]

    def accept(self, connection, **fields):
        job = self.told(connection, "availability")[-1].job
        self.say(connection, availability=m.AvailabilityResponse(job_id=job.id, available=True, **fields))
        return job

    def assigned(self):
        return [each for each in self.log if isinstance(each, r.AssignJob)]

    def load(self, connection, load, status=None):
        update = m.UpdateWorkerStatus(load=load)
        if status is not None:
            update.status = status
        self.say(connection, update_worker=update)

    def jobs(self, room="lab"):
        return [job for dispatch in self.machine.dispatches(room) for job in dispatch.state.jobs]


@pytest.fixture
def stage():
    return Stage()


def test_the_first_answer_to_a_worker_is_its_registration(stage):
    stage.worker(1)
    first = next(each for each in stage.log if isinstance(each, r.SendWorker))
    assert first.message.register.worker_id.startswith("AW_")
    assert first.message.register.server_info.version == "1.9.0"


def test_a_worker_that_says_nothing_or_something_else_first_is_cut(stage):
    stage.step(r.WorkerOpened(1))
    stage.wait(11)
    assert r.CloseWorker(1) in stage.log
    stage.step(r.WorkerOpened(2))
    stage.say(2, ping=m.WorkerPing())
    assert r.CloseWorker(2) in stage.log


def test_a_room_job_is_offered_accepted_and_assigned(stage):
    permission = m.ParticipantPermission(can_publish=True)
    stage.worker(1, allowed_permissions=permission)
    stage.room()
    job = stage.accept(1, participant_identity="bot", participant_attributes={"x": "y"})
    assert (job.type, job.room.name, job.room.sid) == (m.JobType.JT_ROOM, "lab", "RM_lab")
    (assigned,) = stage.assigned()
    assert (assigned.connection, assigned.accepted.participant_identity) == (1, "bot")
    assert assigned.permission == permission
    (state,) = [each.state for each in stage.jobs()]
    assert (state.participant_identity, state.worker_id) == ("bot", stage.told(1, "register")[0].worker_id)


def test_the_agents_identity_is_made_from_the_job_when_the_worker_names_none(stage):
    stage.worker(1)
    stage.room()
    job = stage.accept(1)
    assert stage.assigned()[0].accepted.participant_identity == f"agent-{job.id}"


def test_named_workers_get_only_what_asks_for_them(stage):
    stage.worker(1, "bot")
    stage.worker(2, "other")
    stage.room("plain")
    assert not stage.told(1, "availability") and not stage.told(2, "availability")
    stage.room("asking", m.RoomAgentDispatch(agent_name="bot", metadata="m"))
    assert [each.job.metadata for each in stage.told(1, "availability")] == ["m"]
    stage.step(r.CreateDispatch(m.AgentDispatch(id="AD_x", agent_name="other", room="plain")))
    assert [each.job.room.name for each in stage.told(2, "availability")] == ["plain"]
    stage.step(r.CreateDispatch(m.AgentDispatch(id="AD_x", agent_name="other", room="plain")))
    assert len(stage.told(2, "availability")) == 1


def test_participants_and_publishers_bring_jobs_of_their_kind(stage):
    stage.worker(1, kind=m.JobType.JT_PARTICIPANT)
    stage.worker(2, kind=m.JobType.JT_PUBLISHER)
    stage.room()
    stage.step(r.ParticipantAppeared("lab", ADA))
    stage.step(r.TrackAppeared("lab", ADA))
    stage.step(r.TrackAppeared("lab", ADA))
    for connection in (1, 2):
        assert [each.job.participant.identity for each in stage.told(connection, "availability")] == ["ada"]


def test_the_least_loaded_worker_is_asked_and_jobs_count_before_loads_do(stage):
    for connection in (1, 2, 3):
        stage.worker(connection)
    stage.load(1, 0.9)
    stage.load(2, 0.12)
    stage.load(3, 0.09)
    for number in range(4):
        stage.room(f"room {number}")
    asked = {connection: len(stage.told(connection, "availability")) for connection in (1, 2, 3)}
    assert asked == {1: 0, 2: 2, 3: 2}


def test_a_full_worker_is_not_asked_until_it_is_free(stage):
    stage.worker(1)
    stage.load(1, 0.9, m.WorkerStatus.WS_FULL)
    stage.room()
    assert not stage.told(1, "availability")
    stage.load(1, 0.8)
    assert not stage.told(1, "availability")
    stage.load(1, 0.2, m.WorkerStatus.WS_AVAILABLE)
    assert len(stage.told(1, "availability")) == 1


@pytest.mark.parametrize("how", ["declines", "is silent", "dies"])
def test_when_one_worker_will_not_the_next_is_asked(stage, how):
    stage.worker(1)
    stage.worker(2)
    stage.load(2, 0.5)
    stage.room()
    job = stage.told(1, "availability")[0].job
    if how == "declines":
        stage.say(1, availability=m.AvailabilityResponse(job_id=job.id, available=False))
    elif how == "is silent":
        stage.wait(9)
        assert not stage.told(2, "availability")
        stage.wait(2)
    else:
        stage.step(r.WorkerClosed(1))
    assert stage.accept(2).id == job.id
    assert stage.assigned()[0].connection == 2


def test_a_late_answer_to_a_withdrawn_offer_counts_for_nothing(stage):
    stage.worker(1)
    stage.worker(2)
    stage.load(2, 0.5)
    stage.room()
    stage.wait(11)
    stage.accept(1)
    assert not stage.assigned()
    stage.accept(2)
    assert len(stage.assigned()) == 1


def test_a_worker_that_ends_a_job_instead_of_taking_it(stage):
    stage.worker(1)
    stage.room()
    job = stage.told(1, "availability")[0].job
    stage.say(1, availability=m.AvailabilityResponse(job_id=job.id, available=True, terminate=True))
    assert [each.state.status for each in stage.jobs()] == [m.JobStatus.JS_SUCCESS]
    assert not stage.assigned()


def test_a_room_that_no_worker_serves_waits_for_one(stage):
    stage.room()
    stage.wait(100)
    stage.worker(1)
    assert len(stage.told(1, "availability")) == 1


def test_a_waiting_job_for_somebody_who_left_is_forgotten(stage):
    stage.room()
    stage.step(r.ParticipantAppeared("lab", ADA))
    stage.step(r.ParticipantGone("lab", "ada"))
    stage.worker(1, kind=m.JobType.JT_PARTICIPANT)
    assert not stage.told(1, "availability")


def test_the_status_of_a_job_is_what_its_worker_says(stage):
    stage.worker(1)
    stage.worker(2, "other")
    stage.room()
    job = stage.accept(1)
    stage.say(2, update_job=m.UpdateJobStatus(job_id=job.id, status=m.JobStatus.JS_FAILED))
    stage.say(1, update_job=m.UpdateJobStatus(job_id=job.id, status=m.JobStatus.JS_RUNNING))
    assert stage.jobs()[0].state.status == m.JobStatus.JS_RUNNING
    stage.say(1, update_job=m.UpdateJobStatus(job_id=job.id, status=m.JobStatus.JS_FAILED, error="boom"))
    assert (stage.jobs()[0].state.status, stage.jobs()[0].state.error) == (m.JobStatus.JS_FAILED, "boom")
    assert [each.event for each in stage.log if isinstance(each, r.AgentAnnounce)] == [
        "agent_job_started",
        "agent_job_ended",
    ]


def test_an_agent_that_leaves_ends_its_job(stage):
    stage.worker(1)
    stage.room()
    job = stage.accept(1, participant_identity="bot")
    stage.step(r.ParticipantGone("lab", "bot"))
    assert [each.job_id for each in stage.told(1, "termination")] == [job.id]
    assert stage.jobs()[0].state.status == m.JobStatus.JS_FAILED


def test_a_deleted_dispatch_ends_its_jobs_and_takes_agents_out(stage):
    stage.worker(1, "bot")
    stage.room("lab", m.RoomAgentDispatch(agent_name="bot"))
    job = stage.accept(1, participant_identity="bot")
    dispatch = stage.machine.dispatches("lab")[0]
    stage.step(r.DeleteDispatch("lab", dispatch.id))
    assert [each.job_id for each in stage.told(1, "termination")] == [job.id]
    stage.wait(2)
    assert not [each for each in stage.log if isinstance(each, r.ReleaseAgent)]
    stage.wait(2)
    assert r.ReleaseAgent("lab", "bot", r.Release.ALWAYS) in stage.log
    assert not stage.machine.dispatches("lab")


def test_the_end_of_a_room_leaves_nothing_behind(stage):
    stage.worker(1)
    stage.room()
    stage.accept(1)
    stage.step(r.ParticipantAppeared("lab", ADA))
    stage.step(r.RoomGone("lab"))
    assert stage.machine.deadline is None and not stage.machine._jobs and not stage.machine.dispatches("lab")
    assert not stage.machine._workers[1].jobs


@pytest.mark.parametrize(
    ("reoffer", "policy", "again"),
    [
        (True, m.JobRestartPolicy.JRP_ON_FAILURE, True),
        (False, m.JobRestartPolicy.JRP_ON_FAILURE, False),
        (True, m.JobRestartPolicy.JRP_NEVER, False),
    ],
)
def test_the_job_of_a_dead_worker(reoffer, policy, again):
    stage = Stage(reoffer=reoffer)
    stage.worker(1, "bot")
    stage.worker(2, "bot")
    stage.load(2, 0.5)
    stage.room("lab", m.RoomAgentDispatch(agent_name="bot", restart_policy=policy, metadata="m"))
    job = stage.accept(1, participant_identity="bot")
    stage.step(r.WorkerClosed(1))
    assert not stage.told(2, "availability")
    stage.wait(4)
    assert r.ReleaseAgent("lab", "bot", r.Release.IF_LOST if again else r.Release.IF_ABSENT) in stage.log
    stage.step(r.ParticipantGone("lab", "bot"))
    offers = stage.told(2, "availability")
    assert bool(offers) == again
    if again:
        assert offers[0].job.id != job.id and offers[0].job.metadata == "m"


def test_a_job_that_kills_every_worker_is_given_up():
    stage = Stage(reoffer=True)
    stage.room()
    for connection in range(1, 8):
        stage.worker(connection)
        if not stage.told(connection, "availability"):
            break
        stage.accept(connection, participant_identity="bot")
        stage.step(r.WorkerClosed(connection))
        stage.step(r.ParticipantGone("lab", "bot"))
    assert connection == 5


def test_a_worker_that_comes_back_keeps_its_jobs():
    stage = Stage(reoffer=True)
    stage.worker(1)
    stage.room()
    job = stage.accept(1, participant_identity="bot")
    stage.step(r.WorkerClosed(1))
    stage.worker(2)
    stage.say(2, migrate_job=m.MigrateJobRequest(job_ids=[job.id, "AJ_unknown"]))
    assert [each.job_id for each in stage.told(2, "termination")] == ["AJ_unknown"]
    stage.wait(60)
    assert not [each for each in stage.log if isinstance(each, r.ReleaseAgent)]
    stage.say(2, update_job=m.UpdateJobStatus(job_id=job.id, status=m.JobStatus.JS_SUCCESS))
    assert stage.jobs()[0].state.status == m.JobStatus.JS_SUCCESS


def test_pings_are_answered(stage):
    stage.worker(1)
    stage.say(1, ping=m.WorkerPing(timestamp=42))
    assert stage.told(1, "pong")[0].last_timestamp == 42


def test_a_long_lived_dispatch_remembers_only_its_newest_jobs(stage):
    stage.worker(1, kind=m.JobType.JT_PARTICIPANT)
    stage.room()
    for number in range(300):
        who = m.ParticipantInfo(sid=f"PA_{number}", identity=f"p{number}")
        stage.step(r.ParticipantAppeared("lab", who))
        job = stage.accept(1)
        stage.say(1, update_job=m.UpdateJobStatus(job_id=job.id, status=m.JobStatus.JS_SUCCESS))
    assert len(stage.machine._jobs) <= 102


@pytest.mark.parametrize("load", [float("nan"), float("inf")])
def test_a_load_that_is_no_number_draws_no_jobs(stage, load):
    stage.worker(1)
    stage.worker(2)
    stage.load(1, load)
    stage.load(2, 0.9)
    stage.room()
    assert not stage.told(1, "availability") and len(stage.told(2, "availability")) == 1


def test_a_negative_load_is_none(stage):
    stage.worker(1)
    stage.worker(2)
    stage.load(1, -1000.0)
    for number in range(4):
        stage.room(f"room {number}")
    assert [len(stage.told(each, "availability")) for each in (1, 2)] == [2, 2]


def test_a_job_that_all_declined_is_offered_again_ever_more_rarely(stage):
    stage.worker(1)
    stage.room()
    times = []
    while stage.now < 300:
        if len(stage.told(1, "availability")) > len(times):
            times.append(stage.now)
            job = stage.told(1, "availability")[-1].job
            stage.say(1, availability=m.AvailabilityResponse(job_id=job.id, available=False))
        stage.wait(1.0)
    assert times == [0, 5, 15, 35, 75, 135, 195, 255]


def test_a_worker_that_declines_because_it_is_full_is_asked_when_it_is_free(stage):
    stage.worker(1)
    stage.room()
    job = stage.told(1, "availability")[0].job
    stage.load(1, 0.9, m.WorkerStatus.WS_FULL)
    stage.say(1, availability=m.AvailabilityResponse(job_id=job.id, available=False))
    stage.load(1, 0.1, m.WorkerStatus.WS_AVAILABLE)
    assert [each.job.id for each in stage.told(1, "availability")] == [job.id, job.id]


def test_an_acceptance_that_comes_too_late_is_told_so(stage):
    stage.worker(1)
    stage.room()
    job = stage.told(1, "availability")[0].job
    stage.step(r.RoomGone("lab"))
    stage.say(1, availability=m.AvailabilityResponse(job_id=job.id, available=True))
    assert [each.job_id for each in stage.told(1, "termination")] == [job.id] and not stage.assigned()


def test_a_room_that_ends_before_its_agent_has_come_ends_the_job(stage):
    """The agent would open the room again."""
    stage.worker(1)
    stage.room()
    job = stage.accept(1, participant_identity="bot")
    stage.room("other")
    stage.accept(1, participant_identity="bot")
    stage.step(r.AgentAppeared("other", "bot"))
    for name in ("lab", "other"):
        stage.step(r.RoomGone(name))
    assert [each.job_id for each in stage.told(1, "termination")] == [job.id]


@pytest.mark.parametrize("reports", [True, False])
def test_an_agent_that_takes_its_leave_has_not_failed_if_its_worker_says_so(reports):
    stage = Stage(reoffer=True)
    stage.worker(1)
    stage.room()
    job = stage.accept(1, participant_identity="bot")
    stage.step(r.WorkerClosed(1))
    stage.step(r.ParticipantGone("lab", "bot", said_so=True))
    stage.worker(2)
    if reports:
        stage.say(2, migrate_job=m.MigrateJobRequest(job_ids=[job.id]))
        stage.say(2, update_job=m.UpdateJobStatus(job_id=job.id, status=m.JobStatus.JS_SUCCESS))
    stage.wait(4)
    assert not stage.told(2, "availability")
    stage.wait(2)
    assert bool(stage.told(2, "availability")) != reports, "agents leave when their worker has died, too"
    assert stage.jobs()[0].state.status == (m.JobStatus.JS_SUCCESS if reports else m.JobStatus.JS_FAILED)


def test_a_worker_may_come_back_before_its_old_socket_is_seen_to_end(stage):
    stage.worker(1)
    stage.room()
    job = stage.accept(1, participant_identity="bot")
    stage.worker(2)
    stage.worker(3, "other")
    stage.say(3, migrate_job=m.MigrateJobRequest(job_ids=[job.id]))
    assert [each.job_id for each in stage.told(3, "termination")] == [job.id], "it is for workers of another name"
    stage.say(2, migrate_job=m.MigrateJobRequest(job_ids=[job.id]))
    stage.step(r.WorkerClosed(1))
    stage.wait(60)
    assert not [each for each in stage.log if isinstance(each, r.ReleaseAgent)]
    stage.say(2, update_job=m.UpdateJobStatus(job_id=job.id, status=m.JobStatus.JS_SUCCESS))
    assert stage.jobs()[0].state.status == m.JobStatus.JS_SUCCESS


def test_somebody_who_joins_again_and_again_leaves_no_jobs_behind(stage):
    stage.room()
    for number in range(1000):
        stage.step(r.ParticipantAppeared("lab", m.ParticipantInfo(sid=f"PA_{number}", identity="ada")))
    assert len(stage.machine._jobs) == 2


def test_an_endless_error_is_shortened(stage):
    stage.worker(1)
    stage.room()
    job = stage.accept(1)
    error = "begin" + "x" * 1_000_000 + "end"
    stage.say(1, update_job=m.UpdateJobStatus(job_id=job.id, status=m.JobStatus.JS_FAILED, error=error))
    kept = stage.jobs()[0].state.error
    assert len(kept) < 11_000 and kept.startswith("begin") and kept.endswith("end")
