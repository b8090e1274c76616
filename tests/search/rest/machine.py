"""The REST contract as a state machine: operations in any order, faults in between.

A model in Python (tracked.py) says what must be true of every job. The steps are drawn by Hypothesis from a seed and do not
depend on the appliance's timing, so a seed repeats them.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from typing import Any, ClassVar
from urllib.parse import urlencode

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ops.lab.reference import EXACT, distance
from ops.lab.rows import RESULTS, Form, PlannedJob, RowPool, read_result
from services.api.results.plots.kinds import KINDS
from shared.jobs.document import Method, Status
from tests.search.rest.box import Box
from tests.search.rest.caller import PATIENCE, Answer
from tests.search.rest.tracked import Document, Presence, Tracked, shape_of

#: Rows of a job, to which its number is added: one batch, or several, of 500 rows each.
SMALL, LARGE = (2, 300), (1200, 2400)
#: Rows that a pool must have for the largest job.
POOL_ROWS = 3000
#: Rows of an interventional job at most: shap takes milliseconds for each expected one.
INTERVENTIONAL = 40
#: Paths of the whole appliance that anyone may read at any time, and whether the admin's key is needed.
PLACES = {
    **dict.fromkeys(("/v1/models", "/v1/appliance", "/version", "/openapi.json", "/docs", "/"), False),
    **dict.fromkeys(("/healthz", "/readyz", "/console/main.js"), False),
    **dict.fromkeys(("/v1/workers", "/metrics"), True),
}
#: Requests that are wrong in every state: method, path, status and slug.
WRONG = (
    ("GET", "/v1/jobs/no-id", 404, "job-not-found"),
    ("GET", f"/v1/jobs/{'0' * 32}/result", 404, "job-not-found"),
    ("DELETE", f"/v1/jobs/{'0' * 32}", 404, "job-not-found"),
    ("GET", "/v1/jobs?cursor=x", 400, "bad-parameter"),
    ("GET", "/v1/jobs?limit=0", 400, "bad-parameter"),
    ("GET", "/v1/jobs?unknown=1", 400, "bad-parameter"),
    ("POST", "/v1/jobs?model=nobody", 404, "model-not-found"),
    ("GET", "/v1/models/nobody", 404, "model-not-found"),
    ("PUT", "/v1/jobs", 405, "method-not-allowed"),
    ("GET", "/v1/nowhere", 404, "not-found"),
    ("GET", "/v1/workers", 403, "forbidden"),
)

numbers = st.integers(0, 2**31)


def has_jobs(machine: RestMachine) -> bool:
    """Return whether a job was submitted, deleted or not."""
    return bool(machine.jobs)


class RestMachine(RuleBasedStateMachine):
    """One history. The appliance is shared by all, and empty at the start of each."""

    box: ClassVar[Box]
    pools: ClassVar[dict[str, RowPool]]

    def __init__(self) -> None:
        super().__init__()
        #: The jobs that rules pick from, in the order of their submission.
        self.jobs: list[Tracked] = []
        #: Jobs that come from an unanswered request, or from a repeated one after the first job was deleted.
        self.others: list[Tracked] = []
        #: The requests without a key whose answers were lost: each may have made one job.
        self.ghosts: Counter[tuple[str, str, int]] = Counter()
        self.sent = 0
        self.calm = True
        self.call = self.box.caller.call
        self.box.caller.history.clear()
        self.box.counts["histories"] += 1

    # --- Submitting ---

    @rule(
        pool=numbers,
        size=st.sampled_from((*SMALL, *LARGE)),
        form=st.sampled_from(Form),
        keyed=st.booleans(),
        interventional=st.booleans(),
        wait=st.sampled_from((0, 0, 0.05, 5)),
    )
    def submit(
        self, pool: int, size: int, form: Form, wait: float, *, keyed: bool, interventional: bool
    ) -> None:
        """Submit a job that must be accepted."""
        planned = self.plan(pool, size, form, keyed=keyed, interventional=interventional)
        answer = self.post(planned, "/v1/jobs", wait=wait)
        assert answer.status in ({200, 202} if wait else {202}), answer
        self.jobs.append(self.track(planned, answer.json))

    @precondition(has_jobs)
    @rule(number=numbers)
    def submit_again(self, number: int) -> None:
        """Repeat a request with its key: it is the same job, unless that was deleted."""
        job = self.pick(number)
        if not job.planned.key:
            return
        answer = self.post(job.planned, "/v1/jobs")
        assert answer.status == 202, answer
        if answer.json["id"] == job.id:
            job.found(answer.json)
            return
        job.missed()
        self.others.append(self.track(job.planned, answer.json))
        job.planned = self.plan(
            number, SMALL[0], Form.NPY, keyed=False
        )  # its key belongs to the other one now

    @precondition(has_jobs)
    @rule(number=numbers)
    def submit_another_with_its_key(self, number: int) -> None:
        """Use a key for another body: that is refused while its job exists."""
        job = self.pick(number)
        if not job.planned.key or job.presence is not Presence.THERE:
            return
        answer = self.post(job.planned, "/v1/jobs", body=b"1,2\n")
        assert (answer.status, answer.slug) == (422, "idempotency-conflict"), answer

    @rule(pool=numbers, rows=st.integers(1, 4), form=st.sampled_from(Form), accept=st.sampled_from(RESULTS))
    def explain(self, pool: int, rows: int, form: Form, accept: str) -> None:
        """Explain a few rows at once."""
        planned = self.plan(pool, rows, form, keyed=False)
        answer = self.post(planned, "/v1/explain", Accept=accept)
        assert answer.status in {200, 202}, answer
        if answer.status == 200:
            self.check_values(planned, answer)
            place = answer.response.headers.get("content-location")
            if place is None:
                return
            document = self.call("GET", place.removesuffix("/result")).json
        else:
            document = answer.json
        self.others.append(self.track(planned, document))

    @rule(pool=numbers, keyed=st.booleans(), reset=st.booleans())
    def cut_an_upload(self, pool: int, *, keyed: bool, reset: bool) -> None:
        """Break a connection off in the middle of a body, which makes no job."""
        planned = self.plan(pool, LARGE[1], Form.NPY, keyed=keyed)
        headers = {"Content-Type": str(planned.form), **self.key_of(planned)}
        self.box.caller.cut_upload(self.target("/v1/jobs", planned), self.body(planned), headers, reset=reset)

    # --- Reading ---

    @precondition(has_jobs)
    @rule(number=numbers, wait=st.sampled_from((0, 0, 0.1, 2)))
    def get(self, number: int, wait: float) -> None:
        """Read a job, or wait for its end."""
        self.look(self.pick(number), wait)

    @precondition(has_jobs)
    @rule(number=numbers)
    def see_the_end(self, number: int) -> None:
        """Wait until a job has ended, and check all of its values."""
        self.finish(self.pick(number))

    @precondition(has_jobs)
    @rule(
        number=numbers,
        accept=st.sampled_from(RESULTS),
        page=st.none() | st.tuples(st.integers(0, 3000), st.integers(1, 700)),
    )
    def result(self, number: int, accept: str, page: tuple[int, int] | None) -> None:
        """Read a result or a page of it, which must be exact."""
        job = self.pick(number)
        offset, limit = page or (0, job.planned.rows)
        offset %= job.planned.rows
        query = f"?offset={offset}&limit={limit}" if page else ""
        answer = self.read(job, f"/result{query}", Accept=accept)
        if answer.status == 200:
            self.check_values(job.planned, answer, slice(offset, offset + limit))

    @precondition(has_jobs)
    @rule(number=numbers, kind=st.sampled_from(sorted(KINDS)), accept=st.sampled_from(("svg+xml", "png")))
    def plot(self, number: int, kind: str, accept: str) -> None:
        """Draw a plot."""
        self.read(self.pick(number), f"/plots/{kind}", Accept=f"image/{accept}")

    @precondition(has_jobs)
    @rule(number=numbers)
    def summary(self, number: int) -> None:
        """Read a summary, which counts all rows."""
        job = self.pick(number)
        answer = self.read(job, "/summary")
        assert answer.status != 200 or answer.json["rows"] == job.planned.rows

    @rule(status=st.sampled_from(Status), limit=st.integers(1, 4))
    def list_by_status(self, status: Status, limit: int) -> None:
        """List the jobs in a status: an ended one stays in it."""
        listed = self.pages(f"/v1/jobs?status={status}&limit={limit}")
        for job in (*self.jobs, *self.others):
            if job.id in listed:
                job.found(listed[job.id])
                assert not status.ended or job.status is status
            else:
                assert job.status is not status or not status.ended or job.presence is not Presence.THERE

    @rule(place=st.sampled_from(sorted(PLACES)))
    def place(self, place: str) -> None:
        """Read a page of the whole appliance."""
        answer = self.box.once("GET", place, admin=PLACES[place])
        assert answer.status in ({200, 503} if place in {"/healthz", "/readyz"} else {200}), answer

    @rule(pool=numbers, part=st.sampled_from(("", "/examples", "/examples?limit=3")))
    def model(self, pool: int, part: str) -> None:
        """Read a model, or examples of its rows."""
        name = sorted(self.pools)[pool % len(self.pools)]
        assert self.call("GET", f"/v1/models/{name}{part}").status == 200

    @rule(wrong=st.sampled_from(WRONG))
    def wrong(self, wrong: tuple[str, str, int, str]) -> None:
        """Send what is refused in every state."""
        method, path, status, slug = wrong
        answer = self.call(method, path, b"1\n", headers={"Content-Type": "text/csv"})
        assert (answer.status, answer.slug) == (status, slug), answer

    # --- Cancelling and deleting ---

    @precondition(has_jobs)
    @rule(number=numbers)
    def cancel(self, number: int) -> None:
        """Cancel a job: one that has ended is not changed."""
        job = self.pick(number)
        job.may_be_cancelled |= not job.has_ended
        answer = self.call("DELETE", f"/v1/jobs/{job.id}?cancel=true")
        if answer.status == 404:
            job.missed()
        elif answer.status == 409:
            assert answer.slug == "conflict", answer
            job.ended_by_client = True
        else:
            assert answer.status == 204, answer
            assert not job.has_ended, (job, answer)
            job.ended_by_client = True

    @precondition(has_jobs)
    @rule(number=numbers)
    def delete(self, number: int) -> None:
        """Delete a job: an active one is cancelled, which a repeated request then deletes."""
        job = self.pick(number)
        had_ended = job.has_ended
        job.may_be_cancelled |= not had_ended
        answer = self.call("DELETE", f"/v1/jobs/{job.id}")
        if answer.unsure or not had_ended:
            job.presence = job.presence if job.presence is Presence.GONE else Presence.OPEN
        if answer.status == 404:
            job.missed()
        else:
            assert answer.status == 204, answer
            assert job.presence is not Presence.GONE, (job, answer)
            job.presence = Presence.GONE if had_ended else Presence.OPEN
            job.ended_by_client = True

    # --- Faults ---

    @rule(worker=st.integers(1, 2))
    def kill_worker(self, worker: int) -> None:
        """Kill a worker at any moment of its work."""
        self.strike(f"worker-{worker}")
        for job in (*self.jobs, *self.others):
            job.deaths += 1

    @rule(program=st.sampled_from(("api", "monitor", "redis")))
    def kill(self, program: str) -> None:
        """Kill a program that there is one of."""
        self.strike(program)

    @rule(worker=st.integers(1, 2))
    def hold_worker(self, worker: int) -> None:
        """Stop a worker without ending it, and let one that was held before go on."""
        self.box.release()
        self.box.hold(f"worker-{worker}")
        self.calm = False

    @rule()
    def release_worker(self) -> None:
        """Let a held worker go on: its batch may have another holder meanwhile."""
        self.box.release()

    @rule()
    def recycle(self) -> None:
        """Replace a worker, as an admin does."""
        answer = self.call("POST", "/v1/workers/recycle", key=self.box.appliance.admin_key)
        assert answer.status == 202, answer

    @rule(number=st.sampled_from((signal.SIGTERM, signal.SIGKILL)))
    def restart(self, number: signal.Signals) -> None:
        """Stop or kill the whole appliance, and start it again, now and then."""
        if self.box.may_restart():
            self.box.restart(number)
            self.calm = False

    # --- Invariants ---

    @invariant()
    def the_list_is_right(self) -> None:
        """Find exactly the jobs that exist, each of them as before or further."""
        if not self.calm:  # so that the next step meets the fault
            self.calm = True
            return
        listed = self.pages("/v1/jobs?limit=50")
        for job in (*self.jobs, *self.others):
            document = listed.pop(job.id, None)
            if document is None:
                job.missed()
            else:
                job.found(document)
        for document in listed.values():
            shape = (document["model"], document["method"], document["rows"])
            assert self.ghosts[shape] > 0, f"nobody has sent this job: {document}"
            self.ghosts[shape] -= 1
            self.others.append(Tracked(self.ghost(shape), document["id"]))
            self.others[-1].found(document)

    def teardown(self) -> None:
        """See every job end, compare every value, and delete everything."""
        self.box.release()
        self.calm = True
        self.the_list_is_right()
        for job in (*self.jobs, *self.others):
            self.finish(job)
            if job.presence is Presence.THERE:
                answer = self.call("DELETE", f"/v1/jobs/{job.id}")
                assert answer.status == 204 or (answer.unsure and answer.status == 404), answer
                job.presence = Presence.GONE
        assert self.pages("/v1/jobs") == {}
        self.box.check_nothing_is_left()

    # --- Helpers ---

    def plan(
        self, pool: int, size: int, form: Form, *, keyed: bool, interventional: bool = False
    ) -> PlannedJob:
        """Plan a job that no other one is like."""
        self.sent += 1
        rows, method = size + self.sent, Method.TREE_PATH_DEPENDENT
        if interventional:
            rows, method = 1 + self.sent % INTERVENTIONAL, Method.INTERVENTIONAL
        model = sorted(self.pools)[pool % len(self.pools)]
        last = INTERVENTIONAL if interventional else POOL_ROWS
        return PlannedJob(
            key=f"{self.box.run}-{id(self)}-{self.sent}" if keyed else "",
            model=model,
            first=pool % (last - rows + 1),
            rows=rows,
            method=method,
            form=form,
        )

    def ghost(self, shape: tuple[str, str, int]) -> PlannedJob:
        """Return the request of a job that no answer told of: its first row is not known."""
        model, method, rows = shape
        return PlannedJob(key="", model=model, first=-1, rows=rows, method=Method(method), checked=False)

    def pick(self, number: int) -> Tracked:
        """Return one of the jobs, those of late more often."""
        recent = self.jobs[-5:] if number % 2 else self.jobs
        return recent[number // 2 % len(recent)]

    def body(self, planned: PlannedJob) -> bytes:
        """Return the body of a planned job."""
        return self.pools[planned.model].body(planned)

    def target(self, path: str, planned: PlannedJob, wait: float = 0) -> str:
        """Return the path with the query of a planned job."""
        options = {"model": planned.model, "method": planned.method.value, **({"wait": wait} if wait else {})}
        return f"{path}?{urlencode(options)}"

    def key_of(self, planned: PlannedJob) -> dict[str, str]:
        """Return the headers that name a planned job's key."""
        return {"Idempotency-Key": planned.key} if planned.key else {}

    def post(
        self, planned: PlannedJob, path: str, wait: float = 0, body: bytes | None = None, **headers: str
    ) -> Answer:
        """Send rows until there is an answer, and note the jobs that this may make besides."""
        named = {"Content-Type": str(planned.form), **self.key_of(planned), **headers}
        sent = self.body(planned) if body is None else body
        answer = self.call("POST", self.target(path, planned, wait), sent, headers=named)
        if not planned.key:
            self.ghosts[shape_of(planned)] += answer.unsure
        return answer

    def track(self, planned: PlannedJob, document: Document) -> Tracked:
        """Begin to follow a job that an answer has told of."""
        assert document["id"] not in {job.id for job in (*self.jobs, *self.others)}
        job = Tracked(planned, document["id"])
        job.found(document)
        return job

    def look(self, job: Tracked, wait: float = 0) -> None:
        """Read a job's document."""
        answer = self.call("GET", f"/v1/jobs/{job.id}" + (f"?wait={wait}" if wait else ""))
        if answer.status == 404:
            assert answer.slug == "job-not-found", answer
            job.missed()
        else:
            assert answer.status == 200, answer
            job.found(answer.json)

    def finish(self, job: Tracked) -> None:
        """Wait for a job's end and check its values, if there are any."""
        deadline = time.monotonic() + PATIENCE
        while not job.has_ended and job.presence is not Presence.GONE:
            assert time.monotonic() < deadline, f"not ended after {PATIENCE} s: {job}"
            self.look(job, 5)
        if job.presence is Presence.THERE and job.planned.checked:
            answer = self.read(job, "/result", Accept=Form.NPY)
            if answer.status == 200:
                self.check_values(job.planned, answer)

    def read(self, job: Tracked, part: str, **headers: str) -> Answer:
        """Read what only a completed job has; check a refusal against the job's state."""
        answer = self.call("GET", f"/v1/jobs/{job.id}{part}", headers=headers)
        if answer.status == 404:
            job.missed()
        elif answer.status == 200:
            assert job.presence is not Presence.GONE, job
            assert job.status in {None, Status.QUEUED, Status.RUNNING, Status.COMPLETED}, job
        else:
            assert answer.status == 409, answer
            assert not job.has_ended or answer.slug == f"job-{job.status}", (job, answer)
            assert answer.slug != "result-not-ready" or "retry-after" in answer.response.headers
        return answer

    def check_values(self, planned: PlannedJob, answer: Answer, rows: slice = slice(None)) -> None:
        """Compare a result with the values of XGBoost and shap."""
        wanted = self.pools[planned.model].wanted(planned)[rows]
        media_type = answer.response.headers["content-type"].partition(";")[0]
        given = read_result(media_type, answer.response.body, wanted.shape[1])
        assert given.shape == wanted.shape, (given.shape, wanted.shape)
        assert distance(given, wanted) <= EXACT

    def pages(self, path: str) -> dict[str, Document]:
        """Return all jobs of a list by id, page by page: newest first, and each of them once."""
        found: dict[str, Any] = {}
        following: str | None = path
        while following:
            page = self.call("GET", following).json
            ids = [document["id"] for document in page["jobs"]]
            assert not found.keys() & set(ids)
            found |= zip(ids, page["jobs"], strict=True)
            following = page["next"]
        assert list(found) == sorted(found, reverse=True)
        return found

    def strike(self, program: str) -> None:
        """Kill a program, and let the next step meet the fault."""
        self.box.kill(program)
        self.calm = False
