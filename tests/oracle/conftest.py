"""How much is tried: the same few trials in every run of the tests, thousands of new ones with `make oracle`."""

from hypothesis import HealthCheck, Phase, settings

_ALL = {"deadline": None, "suppress_health_check": list(HealthCheck), "print_blob": True}

settings.register_profile("large", max_examples=1_000, **_ALL)
settings.register_profile("small", max_examples=8, derandomize=True, database=None, phases=[Phase.generate], **_ALL)
