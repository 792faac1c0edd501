"""What holds for every test."""

from hypothesis import HealthCheck, settings

# Time decides no test: a busy machine is no reason to fail. A failure prints what replays it.
settings.register_profile(
    "charm", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("charm")
