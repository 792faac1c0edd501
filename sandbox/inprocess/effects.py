"""What one hook did, counted where it was done."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field


class Killed(BaseException):
    """Ends a process where it stands; nothing the process runs may catch it."""


@dataclass(slots=True)
class Effects:
    """Everything a hook did outside its own process. `number` counts hooks of a run from 0."""

    unit: str
    hook: str
    number: int = 0
    at: float = 0.0
    ok: bool = True
    error: str = ""
    deposed: bool = False
    """Whether the unit lost its lease while the hook ran, which no charm can help (R16, R18)."""
    tools: Counter[str] = field(default_factory=Counter)
    """Uses of hook tools, log lines among them."""
    pebble: Counter[str] = field(default_factory=Counter)
    """Requests to Pebble by kind."""
    pushes: list[str] = field(default_factory=list)
    execs: list[tuple[str, ...]] = field(default_factory=list)
    replans: int = 0
    started: list[str] = field(default_factory=list)
    """Services that a replan or a start brought up, or up again."""
    relation_writes: list[tuple[str, bool]] = field(default_factory=list)
    """(relation, application's side) of each relation-set."""
    secret_writes: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    """Every effect in its order: hook tools and Pebble requests."""
    gate: Callable[[str], None] | None = None
    """Called before each effect; it may raise `Killed`, or let time pass."""
    leaks: list[str] = field(default_factory=list)
    """Hook tools and layers that were given a secret in plain sight."""
    secrets: frozenset[str] = frozenset()
    """What must not be seen anywhere but in secrets and files."""

    def step(self, effect: str) -> None:
        """Number an effect that is about to happen."""
        self.steps.append(effect)
        if self.gate is not None:
            self.gate(effect)

    def shown(self, where: str, *texts: str) -> None:
        """Look for secrets in what others can see."""
        if any(secret in text for text in texts for secret in self.secrets):
            self.leaks.append(where)

    @property
    def quiet(self) -> bool:
        """Whether nothing was changed: not the container, no relation, no secret."""
        return not (
            self.pushes
            or self.execs
            or self.replans
            or self.started
            or self.relation_writes
            or self.secret_writes
        )

    def describe(self) -> str:
        """Say in a line what was changed; never a content."""
        return (
            f"{self.at:8.1f} {self.unit} {self.hook}: {'ok' if self.ok else self.error} "
            f"pushes={self.pushes} execs={self.execs} replans={self.replans} "
            f"started={self.started} relation_writes={self.relation_writes} "
            f"secret_writes={self.secret_writes}"
        )
