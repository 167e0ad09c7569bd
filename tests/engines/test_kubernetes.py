"""The manual's Kubernetes job is one that Kubernetes takes, by its published schema."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from manual.test_engines_page import kubernetes_job
from support.programs import missing

OLDEST = "1.33"  # the first one in which all that the job says is stable


def validate(job: Any, version: str) -> None:
    if importlib.util.find_spec("kubernetes_validate") is None:
        missing("no package 'kubernetes-validate': run make test-engines")
    import kubernetes_validate

    kubernetes_validate.validate(job, version, strict=True)


@pytest.mark.parametrize("version", [OLDEST, "1.37"])
def test_job_is_valid(version: str) -> None:
    validate(kubernetes_job(), version)


def test_schema_notices_a_wrong_name() -> None:
    job = kubernetes_job()
    with pytest.raises(Exception, match="backoffLimitPerIdx"):
        validate({**job, "spec": {**job["spec"], "backoffLimitPerIdx": 3}}, OLDEST)
