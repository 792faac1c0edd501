"""What holds for every test."""

import os

from hypothesis import HealthCheck, settings

# Time decides no test: a busy machine is no reason to fail. Nor does chance: it is the same
# examples each time. `HYPOTHESIS_PROFILE=hunt` looks for others; a failure prints what replays it.
settings.register_profile(
    "charm",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("hunt", settings.get_profile("charm"), derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "charm"))
