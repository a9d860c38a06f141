"""A job in a project of RELION."""

from __future__ import annotations

from pathlib import Path

import pytest

from relion.jobs import Job


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)
