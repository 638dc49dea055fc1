"""How much is tried: the same few trials in every run of the tests, thousands of new ones with `make oracle`."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings

from app.database import Database

_ALL = {"deadline": None, "suppress_health_check": list(HealthCheck), "print_blob": True}

settings.register_profile("large", max_examples=1_000, **_ALL)
settings.register_profile("small", max_examples=8, derandomize=True, database=None, phases=[Phase.generate], **_ALL)


@pytest.fixture(autouse=True)
def _patience(database: Database) -> Iterator[None]:
    """What is asked here takes milliseconds; but of thousands of questions one may wait for seconds on a busy machine."""
    seconds, database.readers.seconds = database.readers.seconds, 120
    yield
    database.readers.seconds = seconds
