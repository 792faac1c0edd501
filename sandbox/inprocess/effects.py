"""What one hook did, counted where it was done."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Effects:
    """Everything a hook did outside its own process. `number` counts hooks of a run from 0."""

    unit: str
    hook: str
    number: int = 0
    at: float = 0.0
    ok: bool = True
    error: str = ""
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
