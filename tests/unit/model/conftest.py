"""A driver that stands for a runner: pods start when told, every hook succeeds unless told."""

import copy

import pytest

from sandbox.model import Hook, Model

METADATA = {
    "name": "app",
    "containers": {
        "box": {"resource": "image", "mounts": [{"storage": "data", "location": "/data"}]}
    },
    "storage": {"data": {"type": "filesystem"}},
    "peers": {"peers": {"interface": "app_peers"}},
    "requires": {"logs": {"interface": "logs"}},
    "provides": {"front": {"interface": "web"}},
    "config": {
        "options": {
            "text": {"type": "string"},
            "size": {"type": "int", "default": 3},
            "fast": {"type": "boolean"},
            "key": {"type": "secret"},
        }
    },
    "actions": {
        "work": {
            "params": {"name": {"type": "string"}, "days": {"type": "integer", "default": 7}},
            "required": ["name"],
            "additionalProperties": False,
        }
    },
}
REMOTE = {
    "name": "remote",
    "provides": {"logs": {"interface": "logs"}},
    "requires": {"web": {"interface": "web"}},
}


class Driver:
    """A model of one application with the few steps that tests repeat."""

    def __init__(self, mode: str = "4", units: int = 1, seed: int = 0, **settings) -> None:
        self.model = Model(seed, "3.6" if mode == "3.6" else "4", **settings)
        self.model.add_application(copy.deepcopy(METADATA), units=units)
        self.ran: list[tuple[str, str, str | None]] = []

    def start(self, *numbers: int) -> None:
        """Start pods; their containers answer and are ready."""
        for number in numbers:
            unit = f"app/{number}"
            self.model.pod_started(unit)
            self.model.container_ready(unit, "box", f"boot {self.model.now}")
            self.model.readiness(unit, ready=True)

    def start_pending(self) -> None:
        """Start every pod that waits for it."""
        for unit, pod in self.model.pods().items():
            if pod.phase == "pending":
                self.start(int(unit.partition("/")[2]))

    def next(self, unit: str) -> Hook:
        """Begin a unit's next hook."""
        return self.model.begin(unit)

    def once(self, unit: str) -> str:
        """Run one hook of a unit, give its name."""
        hook = self.model.begin(unit)
        self.ran.append((unit, hook.spec.name, hook.spec.remote_unit))
        self.model.finish(hook, ok=True)
        return hook.spec.name

    def drain(self, *units: str) -> list[tuple[str, str, str | None]]:
        """Run what is due now (of some units only), without time passing."""
        before = len(self.ran)
        while due := [one for one in self.model.due() if not units or one in units]:
            self.once(due[0])
        return self.ran[before:]

    def pass_time(self, seconds: float) -> list[tuple[str, str, str | None]]:
        """Let time pass, starting pods and running hooks when they are due."""
        before = len(self.ran)
        end = self.model.now + seconds
        while True:
            self.start_pending()
            if self.drain():
                continue
            deadline = self.model.next_deadline()
            if deadline is None or deadline > end:
                break
            self.model.advance(deadline - self.model.now)
        self.model.advance(end - self.model.now)
        self.drain()
        return self.ran[before:]

    def until(self, unit: str, name: str) -> Hook:
        """Run a unit's hooks up to one of this name, which is begun and given."""
        for _ in range(60):
            spec = self.model.peek(unit)
            if spec is None:
                deadline = self.model.next_deadline()
                assert deadline is not None, f"{name} never comes"
                self.model.advance(deadline - self.model.now)
            elif spec.name == name:
                return self.model.begin(unit)
            else:
                self.once(unit)
        raise AssertionError(f"{name} never comes")


def names(ran, unit=None):
    """Give the hooks' names, of one unit."""
    return [name for one, name, _ in ran if unit in {None, one}]


@pytest.fixture
def driver():
    """Make a driver."""
    return Driver


@pytest.fixture(params=["3.6", "4"])
def mode(request):
    """Give each commit mode."""
    return request.param


@pytest.fixture
def settled(mode):
    """Give a maker of settled applications."""

    def make(units: int = 1, seed: int = 0) -> Driver:
        driver = Driver(mode, units, seed)
        driver.pass_time(20)
        return driver

    return make


@pytest.fixture
def hooks():
    """Give the function that takes names out of what ran."""
    return names


@pytest.fixture
def remote():
    """Give the metadata of an application to relate to."""
    return copy.deepcopy(REMOTE)
