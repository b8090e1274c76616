"""`explain.py URL KEY`: explain a row with the client that openapi-python-client made.

Prints the result as JSON.
"""

from __future__ import annotations

import json
import sys

from shapbox_client import AuthenticatedClient
from shapbox_client.api.explain import explain, get_job, get_result, submit_job
from shapbox_client.models import Job, JobStatus, Problem, ProblemType, Result, Rows

ROW = [47, 2, 22.5, 82, 131, 66.8, 41, 3, 4.7536, None]

client = AuthenticatedClient(base_url=sys.argv[1], token=sys.argv[2], raise_on_unexpected_status=True)

result = explain.sync(client=client, body=Rows(model="diabetes", rows=[ROW]))
assert isinstance(result, Result)

job = submit_job.sync(client=client, body=Rows(model="diabetes", rows=[ROW]))
assert isinstance(job, Job)
job = get_job.sync(job.id, client=client, wait=30)
assert isinstance(job, Job)
assert job.status is JobStatus.COMPLETED
same = get_result.sync(job.id, client=client)
assert isinstance(same, Result)
assert (same.values, same.base_values) == (result.values, result.base_values)

problem = explain.sync(client=client, body=Rows(model="diabetes", rows=[ROW[:3]]))
assert isinstance(problem, Problem)
assert problem.type_ is ProblemType.INVALID_ROWS

sys.stdout.write(json.dumps(result.to_dict()))
