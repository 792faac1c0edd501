"""What one unit does about its role: pure, no I/O, no clock of its own.

    state, actions = step(state, desired, seen, now)

Call it about twice a second, carry out the actions, look again. Actions are
orders that hold ("this shall run"), not events: they come again at every step
until `seen` shows them done, so one that got lost or was done twice does no
harm. `now` is any clock that only goes forward, in seconds. `status(state)` is
what this unit tells its peers and its charm; a peer hands it to its own machine
as an `Answer` with `heard` set to its own clock.

A move: the new master *claims* under a newer epoch; whoever hears of it writes
the epoch to its volume, ends enrolment and says `released`; the claimant
gathers client.keys, merges, and only then starts as master.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from . import parts
from .parts import NOTHING, Parts
from .times import REAL, Times

ENROLMENT = "wazuh-authd"
API = "wazuh-apid"
CLUSTER = "wazuh-clusterd"
#: What makes a unit look like a master to agents, people and workers.
FRONT = frozenset({ENROLMENT, API, CLUSTER})
#: What changes client.keys.
WRITERS = frozenset({ENROLMENT, CLUSTER})
#: What an agent that is enrolled already needs.
SESSIONS = frozenset({"wazuh-remoted", "wazuh-analysisd", "wazuh-db"})
#: Ids left free when the old master may have given some that nobody has heard of. One that still
#: reaches Kubernetes goes on for as long as it is cut off: 20 enrolments a second for 8 minutes.
#: Wazuh takes ids of up to eight digits (src/addagent/validate.c, OS_IsValidID).
GAP = 10_000
#: Seconds between two times of taking in what returning units keep.
FOLD_EVERY = 600.0

Role = Literal["master", "worker"]
Phase = Literal[
    "waiting",
    "starting",
    "serving",
    "claiming",
    "gathering",
    "releasing",
    "released",
    "following",
    "fenced",
    "refused",
    "failed",
]


@dataclass(frozen=True, slots=True, order=True)
class Term:
    """Who is master (a node's name) from which epoch on. Epoch 0: nobody yet."""

    epoch: int = 0
    master: str = ""


@dataclass(frozen=True, slots=True)
class Keys:
    """A summary of one client.keys: agents in use and removed, highest id of any line, digest.

    A gap's line counts as neither.
    """

    agents: int = 0
    highest: int = 0
    digest: str = ""
    removed: int = 0

    @property
    def known(self) -> int:
        """How many agents it knows of; none at all: nobody ever enrolled, or the file is lost."""
        return self.agents + self.removed


@dataclass(frozen=True, slots=True, order=True)
class Edition:
    """Which copy of what people made through the API: the master's epoch, and its count."""

    epoch: int = 0
    counter: int = 0


@dataclass(frozen=True, slots=True)
class Memory:
    """What the volume remembers."""

    term: Term = Term()  # the newest heard of
    served: int = 0  # the newest epoch this unit itself took over
    serving: Term = Term()  # the newest whose master is known to have taken over
    incarnation: str = ""  # names that takeover; differs when it was done again
    synchronised: bool = False  # has had the cluster's keys once


@dataclass(frozen=True, slots=True)
class Desired:
    """The part of the charm's order that the machine needs."""

    epoch: int
    role: Role
    node: str
    master: str
    enrolment: bool = True
    high_water: int = 0
    regardless: bool = False  # serve although keys below the high-water are missing
    wake: int = 0
    parts: Parts = NOTHING

    @property
    def term(self) -> Term:
        """The charm's view of who is master."""
        return Term(self.epoch, self.master)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a unit says of itself. `heard`: by the listener's clock."""

    node: str
    term: Term = Term()
    served: int = 0
    serving: Term = Term()
    phase: Phase = "waiting"
    released: int = 0  # the epoch for which nothing here writes client.keys
    keys: Keys = Keys()
    incarnation: str = ""
    rbac: Edition = Edition()
    hears_master: bool = False  # the master of `term` shows this unit itself that it lives
    leaving: bool = False  # being removed from the application
    version: str = ""  # of Wazuh, as it says itself; empty: not started yet
    wanted: Parts = NOTHING
    parts: Parts = NOTHING  # in force
    tree: str = ""  # the repository's commit that everything here runs with, or that was refused
    offer: str = ""  # as master: the one that every unit is to have
    deleted: str = ""  # digest of the record of agents that were deleted for good
    returns: str = ""  # digest of the agents that it keeps, too many to be told one by one
    heard: float = 0.0

    @property
    def claims(self) -> bool:
        """On its way to take over."""
        return self.term.master == self.node and self.served < self.term.epoch

    @property
    def serves(self) -> bool:
        """Has taken over and answers as master."""
        return self.served == self.term.epoch > 0 and self.phase == "serving"


@dataclass(frozen=True, slots=True)
class Seen:
    """What this unit sees of itself and of the others right now."""

    memory: Memory | None = None  # as it is on the volume; None: not readable
    keys: Keys = Keys()
    quiet: float = 0.0  # seconds since client.keys last changed
    database: bool = False  # wazuh-db answers
    running: frozenset[str] = frozenset()  # daemons that live
    role: Role | None = None  # as what they were started; None: nothing was
    complete: bool = False  # the start has ended well and nothing needed is missing
    connected: bool | None = None  # a worker's question answered by its master
    peers: int | None = None  # other units' addresses; None: the name did not resolve
    answers: tuple[Answer, ...] = ()  # the last one of each
    gathered: Mapping[str, Keys] = field(default_factory=dict)  # node → keys held whole
    merged: int = 0  # the last `Merge.attempt` that is on the volume
    rbac: Edition = Edition()  # the newest copy of what people made that is held here
    restored: Keys | None = Keys()  # the keys in `master-state`; None: the charm did not say yet
    known: int = 0  # the highest id that `master-state` knows of, with its key or not
    kubernetes: bool = False  # the Kubernetes API takes a connection
    api: bool = False  # port 55000 listens
    disk: bool = True  # enough is free
    leaving: bool = False  # the charm says that this unit is being removed
    version: str = ""  # of Wazuh, once it was started
    token: str = ""  # differs from one process of this unit to the next
    wake: int = 0  # the last wake-up notice that Pebble took
    parts: Parts = NOTHING  # what the daemons that run were started with
    returns: str = ""  # as `Answer.returns`: a master may keep some itself
    forgotten: bool = False  # every agent in client.keys here was deleted for good
    failure: str | None = None  # why the tree does not start or stay


@dataclass(frozen=True, slots=True)
class Run:
    """What shall run. Role None: whatever runs already, nothing is started."""

    role: Role | None = None
    master: str = ""  # the node that `<node>` names
    without: frozenset[str] = frozenset()  # stopped, and kept so
    hold: frozenset[str] = frozenset()  # left as they run, whatever else the order says
    shut: bool = False  # enrolment lets nobody in, while authd goes on writing


@dataclass(frozen=True, slots=True)
class Remember:
    """Write this to the volume (fsync); `Seen.memory` shows it afterwards."""

    memory: Memory


@dataclass(frozen=True, slots=True)
class Ask:
    """Fetch client.keys whole from these nodes into `Seen.gathered`."""

    nodes: frozenset[str]
    epoch: int


@dataclass(frozen=True, slots=True)
class Merge:
    """Merge what was gathered into client.keys, then reserve an id (None: no gap)."""

    attempt: int
    reserve: int | None


@dataclass(frozen=True, slots=True)
class Wake:
    """Send the charm the wake-up notice it asked for."""

    value: int


Action = Run | Remember | Ask | Merge | Wake


@dataclass(frozen=True, slots=True)
class State:
    """Where this unit is. Begin a process with `begin`."""

    node: str
    started: float
    memory: Memory = Memory()
    recalled: bool = False  # the volume's memory has been read
    phase: Phase = "waiting"
    sentence: str | None = "waiting for the charm's configuration"
    since: float = 0.0
    ready: bool = False
    keys: Keys = Keys()
    rbac: Edition = Edition()
    released: int = 0
    peers: int | None = None  # the last that resolved
    contact: float | None = None  # when anybody else was last reached
    reached: float | None = None  # since when that goes on without a break
    stepped: float | None = None  # when the last step was taken
    fenced: bool = False
    claimed: float | None = None  # since when this claim goes on
    attempt: int = 0
    asks: bool = False  # the charm is to give what `master-state` holds
    releasing: float | None = None
    folding: float | None = None  # since when this master stops to take in what units keep
    folded: frozenset[str] = frozenset()  # what it has taken in
    folded_at: float | None = None
    returns: str = ""
    adopted: float | None = None  # when the master was last seen to change
    accepted: str = ""  # the takeover that this worker follows
    goal: int | None = None  # highest id of the master when it was first heard
    contested: bool = False  # another unit holds itself to be master of the same epoch
    watched: Term = Term()  # the master that is listened for
    sign: float = 0.0  # when it last showed that it lives
    hears_master: bool = False  # it showed it to this unit itself, and just now
    orphaned: bool = False  # it is away for too long, or is being removed
    answering: tuple[str, ...] = ()  # the other nodes that are heard
    leaving: bool = False
    version: str = ""
    wake: int = 0
    wake_since: float = 0.0
    wanted: Parts = NOTHING
    wanted_since: float = 0.0
    parts: Parts = NOTHING
    in_force: Parts = NOTHING  # at the master that serves, as far as this unit knows


@dataclass(frozen=True, slots=True)
class Look:
    """One step's input, with what follows from it at once."""

    desired: Desired
    seen: Seen
    now: float
    times: Times
    heard: tuple[Answer, ...]  # answers that are fresh
    durable: bool  # the volume knows this epoch

    def peer(self, node: str) -> Answer | None:
        """Return the fresh answer of that node."""
        return next((a for a in self.heard if a.node == node), None)


def begin(node: str, now: float) -> State:
    """Make the state of a supervisor process that has just started."""
    return State(node=node, started=now, since=now)


def status(state: State) -> Answer:
    """Say what this unit tells its peers."""
    memory = state.memory
    return Answer(
        node=state.node,
        term=memory.term,
        served=memory.served,
        serving=memory.serving,
        phase=state.phase,
        released=state.released,
        keys=state.keys,
        incarnation=memory.incarnation,
        rbac=state.rbac,
        hears_master=state.hears_master,
        leaving=state.leaving,
        version=state.version,
        wanted=state.wanted,
        parts=state.parts,
        returns=state.returns,
    )


def step(
    state: State, desired: Desired | None, seen: Seen, now: float, times: Times = REAL
) -> tuple[State, list[Action]]:
    """Take one step. Returns the new state and the orders that hold from now on."""
    if not state.recalled and seen.memory is not None:
        state = replace(state, memory=seen.memory, recalled=True)
    state = replace(state, keys=seen.keys, rbac=seen.rbac, peers=_peers(state, seen))
    state = replace(state, leaving=seen.leaving, version=seen.version, asks=False)
    state = replace(state, returns=seen.returns)
    if desired is None or not state.recalled:
        return _unready(state, seen, now)
    heard = tuple(
        a for a in seen.answers if now - a.heard <= times.hearing and a.node != state.node
    )
    state, rivals = _learn(replace(state, node=desired.node), desired, heard, now)
    state = replace(state, contested=state.node in rivals)
    look = Look(desired, seen, now, times, heard, _durable(state, seen))
    state, actions = _duty(_touch(state, look), look, rivals)
    state = _judge(_note_parts(_watch(state, look), look), look)
    actions = [_in_turn(action, state, look) for action in actions]
    state, wake = _wake(state, look)
    if seen.memory != state.memory:
        actions = [Remember(state.memory), *actions]
    return state, [*actions, *wake]


def writes(state: State, role: Role | None) -> str:
    """Name the takeover since which authd here is all that writes client.keys; empty: it is not.

    `role`: as what the daemons were started.
    """
    memory = state.memory
    alone = memory.serving == Term(memory.served, state.node)
    mine = role == "master" and alone and state.phase not in ("claiming", "gathering")
    return memory.incarnation if mine else ""


def has_to_give(state: State) -> bool:
    """Tell whether this unit was the last to serve as master, as far as anybody has said.

    One that is being removed stays for the next to take its keys: its volume goes with it.
    """
    serving = state.memory.serving
    return serving.epoch > 0 and serving.master == state.node and state.peers != 0


def _peers(state: State, seen: Seen) -> int | None:
    return state.peers if seen.peers is None else seen.peers


def _unready(state: State, seen: Seen, now: float) -> tuple[State, list[Action]]:
    """Hold everything back until there is an order and the volume can be read."""
    sentence = "waiting for the charm's configuration"
    if seen.memory is None:
        sentence = "waiting for the volume"
    return replace(_enter(state, "waiting", sentence, now), ready=False), [Run()]


def _durable(state: State, seen: Seen) -> bool:
    known = seen.memory
    return known is not None and (known.term, known.served) == (
        state.memory.term,
        state.memory.served,
    )


def _enter(state: State, phase: Phase, sentence: str | None, now: float) -> State:
    since = state.since if state.phase == phase else now
    return replace(state, phase=phase, sentence=sentence, since=since)


# What is known of the cluster ------------------------------------------------------------


def _learn(
    state: State, desired: Desired, heard: tuple[Answer, ...], now: float
) -> tuple[State, tuple[str, ...]]:
    """Take over the newest term from charm, volume or peer, whichever is first."""
    memory = state.memory
    terms = {desired.term, memory.term, *(a.term for a in heard)}
    epoch = max(t.epoch for t in terms)
    masters = tuple(sorted(t.master for t in terms if t.epoch == epoch))
    if memory.term.epoch < epoch:
        newest = desired.term if desired.epoch == epoch else Term(epoch, masters[0])
        state = replace(
            state,
            adopted=now,
            claimed=None,
            releasing=None,
            folding=None,
            goal=None,
            accepted="",
            released=0,
            in_force=NOTHING,
        )
    else:
        newest = memory.term
    serving = max([memory.serving, *(a.serving for a in heard)])
    state = replace(state, memory=replace(memory, term=newest, serving=serving))
    return state, masters if len(masters) > 1 else ()


def _touch(state: State, look: Look) -> State:
    """Note whether anybody else is reached; a unit without peers counts as reached.

    A process that was frozen reached nobody meanwhile. What it knows is as old as its last step:
    as master it stays closed until its peers had the time to tell of a newer one.
    """
    gap = look.now - (look.now if state.stepped is None else state.stepped)
    state = replace(state, stepped=look.now)
    if gap > look.times.hearing:
        serves = state.memory.served == state.memory.term.epoch
        fenced = state.fenced or (serves and state.peers != 0 and gap > look.times.fence)
        state = replace(state, reached=None, fenced=fenced)
    alone = state.peers == 0
    if not (alone or look.heard or look.seen.kubernetes):
        return replace(state, reached=None)
    reached = look.now if state.reached is None else state.reached
    return replace(state, contact=look.now, reached=reached)


def _cut_off(state: State, look: Look) -> bool:
    """Tell whether nobody was reached for longer than the fence allows."""
    return state.contact is None or look.now - state.contact > look.times.fence


def _settled(state: State, look: Look) -> bool:
    """Tell whether peers have had the time to say that there is a newer epoch."""
    if state.reached is None:
        return False
    return look.now - max(state.reached, state.started) >= look.times.settle


def _watch(state: State, look: Look) -> State:
    """Notice a master that is gone, whom Juju replaces by itself only where it leads too.

    A unit that is cut off says nothing: it would take a master that lives to be gone. Neither
    does one as long as another unit hears the master, nor before a pod had the time to be made
    again elsewhere.
    """
    term = state.memory.term
    answer = look.peer(term.master)
    hears = term.master == state.node or _acts(answer, term) or look.seen.connected is True
    others = (a for a in look.heard if a.node != term.master)
    told = any(a.hears_master and a.term == term for a in others)
    fresh = hears or told or state.watched != term
    state = replace(
        state,
        watched=term,
        sign=look.now if fresh else state.sign,
        hears_master=hears,
        answering=tuple(sorted(a.node for a in look.heard)),
    )
    away = look.now - state.sign >= look.times.orphan
    leaves = answer is not None and answer.leaving
    orphaned = term.master != state.node and (away or leaves) and _settled(state, look)
    return replace(state, orphaned=orphaned)


def _acts(answer: Answer | None, term: Term) -> bool:
    """Tell whether a unit has taken the master's role up, served or on its way.

    One that its own charm does not reach hears of it from its peers alone, and never begins.
    """
    if answer is None or answer.term != term:
        return False
    return answer.served == term.epoch or answer.phase in ("claiming", "gathering", "refused")


# What changes while all runs -----------------------------------------------------------


def _note_parts(state: State, look: Look) -> State:
    """Note what is wanted and had here, and what the master has brought into force."""
    wanted, term = look.desired.parts, state.memory.term
    if wanted != state.wanted:
        state = replace(state, wanted=wanted, wanted_since=look.now)
    state = replace(state, parts=look.seen.parts)
    if term.master == state.node:
        serves, heard = state.phase == "serving", state.parts
    else:
        answer = look.peer(term.master)
        serves, heard = (answer.serves, answer.parts) if answer else (False, NOTHING)
    if not serves:
        return state
    return replace(state, in_force=parts.known(state.in_force, heard))


def _in_turn(action: Action, state: State, look: Look) -> Action:
    """Hold back what other units have to do first; a start of the whole tree waits for nobody."""
    if not isinstance(action, Run) or action.role is None or action.role != look.seen.role:
        return action
    scene = parts.Scene(
        own=parts.Unit(state.node, state.wanted, state.parts),
        master=state.memory.term.master,
        others=[parts.Unit(a.node, a.wanted, a.parts) for a in look.heard],
        peers=len(look.heard) if state.peers is None else state.peers,
        waited=look.now - state.wanted_since,
        times=look.times,
    )
    waiting = {CLUSTER: parts.cluster_waits(scene), API: parts.api_waits(scene)}
    hold = frozenset(name for name, waits in waiting.items() if waits)
    early = CLUSTER in hold and parts.cluster_stops(scene)
    without = action.without | {CLUSTER} if early else action.without
    return replace(action, hold=hold, without=without)


# Which duty ------------------------------------------------------------------------------


def _duty(state: State, look: Look, rivals: tuple[str, ...]) -> tuple[State, list[Action]]:
    term = state.memory.term
    mine = look.desired.role == "master" and look.desired.term == term
    if rivals and state.node in rivals:
        return _contested(state, look, rivals)
    if mine and state.memory.served < term.epoch:
        return _claim(state, look)
    if mine:
        return _serve(state, look)
    if look.desired.role == "master":
        return _release(state, look)
    return _follow(state, look)


def _contested(state: State, look: Look, rivals: tuple[str, ...]) -> tuple[State, list[Action]]:
    sentence = (
        f"epoch {state.memory.term.epoch} names two masters ({' and '.join(rivals)}): neither "
        "serves until the application's leader publishes a newer epoch"
    )
    return _enter(state, "refused", sentence, look.now), [Run(None, without=FRONT)]


# The master's side -----------------------------------------------------------------------


def _claim(state: State, look: Look) -> tuple[State, list[Action]]:
    """Ask for the role, gather every key there is, and take over."""
    term, seen = state.memory.term, look.seen
    if state.claimed is None:
        state = replace(state, claimed=look.now, attempt=max(state.attempt, seen.merged) + 1)
    state = replace(state, released=_released(state, look))
    hold: list[Action] = [Run(None, without=FRONT)]
    acks = {a.node for a in look.heard if a.term == term and a.released == term.epoch}
    missing = frozenset(
        n for n in acks if n not in seen.gathered or seen.gathered[n] != _keys_of(look, n)
    )
    if missing and seen.merged != state.attempt:
        hold.append(Ask(missing, term.epoch))
    if seen.merged == state.attempt:
        return _taken(state, look), hold
    ordered = _ordered(state, look, acks - missing)
    if not _may_take_over(state, look, acks, missing, ordered):
        phase: Phase = "gathering" if seen.gathered else "claiming"
        return _enter(state, phase, _claiming(state, look, acks), look.now), hold
    restored = seen.restored or Keys()
    found = max(k.highest for k in (seen.keys, restored, *seen.gathered.values()))
    known = 0 if ordered else max(look.desired.high_water, seen.known)
    if seen.restored is None and (found < known or _new(state)):
        sentence = "asking for what the secret master-state holds"
        return _enter(replace(state, asks=True), "gathering", sentence, look.now), hold
    if found < known and not look.desired.regardless:
        return _enter(state, "refused", _too_few(state, found, known), look.now), hold
    state = _enter(state, "gathering", "merging the agents' keys", look.now)
    if seen.running & FRONT:
        return state, hold
    highest = max(found, known)
    missed = not ordered and (highest or state.memory.serving.epoch)
    reserve = highest + GAP if missed else None
    return state, [*hold, Merge(state.attempt, reserve)]


def _new(state: State) -> bool:
    """Tell whether nobody here has ever heard of a master: a new application, or lost volumes."""
    return not state.memory.serving.epoch


def _keys_of(look: Look, node: str) -> Keys:
    answer = look.peer(node)
    return answer.keys if answer else Keys()


def _taken(state: State, look: Look) -> State:
    """Become master: from the next step on, once the volume knows."""
    term = state.memory.term
    memory = replace(
        state.memory,
        served=term.epoch,
        serving=term,
        incarnation=f"{term.epoch}-{look.seen.token}-{state.attempt}",
        synchronised=True,
    )
    state = replace(state, memory=memory, claimed=None, folding=None)
    return _enter(state, "starting", "starting as master", look.now)


def _ordered(state: State, look: Look, gathered: set[str] | frozenset[str]) -> bool:
    """Tell whether the old master itself handed over: then nothing is missing."""
    old = state.memory.serving
    if state.folding is not None:
        return True
    if old.master == state.node:
        return 0 < old.epoch == state.memory.served
    answer = look.peer(old.master)
    return answer is not None and old.master in gathered and answer.served == old.epoch > 0


def _may_take_over(
    state: State, look: Look, acks: set[str], missing: frozenset[str], ordered: bool
) -> bool:
    """Decide whether nobody else can be serving, and nobody has keys to give."""
    if missing or not look.durable or _cut_off(state, look):
        return False
    waited = _waited(state, look)
    if _behind(look) and waited < look.times.patience:
        return False
    if ordered and state.folding is not None:
        return len(acks) >= len(look.heard) or waited >= look.times.patience
    if ordered:
        return True
    if state.peers is None:
        return waited >= look.times.takeover
    if waited < look.times.settle and state.peers:
        return False
    old = state.memory.serving
    if len(acks) >= state.peers and (not old.epoch or old.master in acks | {state.node}):
        return True
    return waited >= _longest_wait(state, look)


def _waited(state: State, look: Look) -> float:
    """Tell for how long an answer could have come: not while this unit itself was cut off.

    Otherwise it takes over as it comes back, from a master that was never fenced.
    """
    if state.claimed is None or state.reached is None:
        return 0.0
    return look.now - max(state.claimed, state.reached)


def _behind(look: Look) -> bool:
    """Tell whether another unit has a newer copy of what people made through the API."""
    return any(a.rbac > look.seen.rbac for a in look.heard)


def _longest_wait(state: State, look: Look) -> float:
    """Tell how long to wait for keys: longer for a master that has heard and is on its way."""
    answer = look.peer(state.memory.serving.master)
    if answer is not None and answer.term == state.memory.term:
        return look.times.patience
    return look.times.takeover if _precedent(state, look) else look.times.settle


def _precedent(state: State, look: Look) -> bool:
    """Tell whether there can have been a master before, or keys anywhere."""
    memory = state.memory
    known = memory.serving.epoch or look.desired.high_water or memory.term.epoch > 1
    return bool(known) or any(a.keys.highest for a in look.heard)


def _claiming(state: State, look: Look, acks: set[str]) -> str:
    if _cut_off(state, look):
        return "waiting to reach another unit or the Kubernetes API before taking over"
    if state.peers is None:
        return "waiting for the other units' addresses before taking over"
    old = state.memory.serving.master
    if old and old != state.node and old not in acks:
        return f"waiting for {old} to hand over"
    return f"gathering the agents' keys: {len(acks)} of {state.peers} units answered"


def _too_few(state: State, found: int, wanted: int) -> str:
    old = state.memory.serving.master
    whom = f"{old} or another unit" if old and old != state.node else "a unit"
    application, _, number = state.node.rpartition("-")
    unit = f"{application}/{number}"
    return (
        f"refusing to be master: agents up to id {wanted} were known, only up to {found} were "
        f"found; bring back {whom} whose volume has them, it goes on by itself then; or give "
        f"the others up: juju run {application}/leader promote unit={unit} force=true"
    )


def _serve(state: State, look: Look) -> tuple[State, list[Action]]:
    """Serve as master, or stand back while nobody else can be reached."""
    state = replace(state, released=0)
    if not look.durable:
        sentence = "writing the epoch to the volume"
        return _enter(state, "starting", sentence, look.now), [Run(None, without=FRONT)]
    if look.seen.role != "master" and not _settled(state, look):
        sentence = "waiting to reach another unit or the Kubernetes API"
        return _enter(state, "starting", sentence, look.now), [Run(None, without=FRONT)]
    if _robbed(state, look):
        memory = replace(state.memory, served=0)
        state = replace(state, memory=memory, claimed=None)
        return _claim(state, look)
    if state.folding is not None or _is_given_many(state, look):
        return _fold(state, look)
    fenced = _cut_off(state, look) or (state.fenced and not _settled(state, look))
    state = replace(state, fenced=fenced)
    without = FRONT if fenced else _closed(look)
    return _tell_master(state, look), [Run("master", state.node, without)]


def _is_given_many(state: State, look: Look) -> bool:
    """Tell whether units keep more agents than they could tell one by one.

    What was taken in already is not taken again; it takes a while to arrive where it was kept.
    """
    recent = state.folded_at is not None and look.now - state.folded_at < FOLD_EVERY
    able = look.seen.role == "master" and look.seen.complete and not state.fenced
    if recent or not able or _cut_off(state, look):
        return False
    return bool(_many(state, look) - state.folded)


def _many(state: State, look: Look) -> frozenset[str]:
    """Name what is kept here and where others follow this master."""
    there = {a.returns for a in look.heard if a.term == state.memory.term}
    return frozenset({state.returns, *there} - {""})


def _fold(state: State, look: Look) -> tuple[State, list[Action]]:
    """Take over from itself, with what every unit keeps: nobody writes client.keys meanwhile.

    A process that ends half-way goes on as one that takes over from a master that is gone.
    """
    since = look.now if state.folding is None else state.folding
    state = replace(state, folding=since)
    if look.seen.running & FRONT:
        without = _wound_down(since, look)
        sentence = "taking in the agents that returning units keep"
        run = Run(None, without=without, shut=True)
        return _enter(state, "releasing", sentence, look.now), [run]
    state = replace(state, folded=state.folded | _many(state, look), folded_at=look.now)
    memory = replace(state.memory, served=0)
    return _claim(replace(state, memory=memory, claimed=None), look)


def _wound_down(since: float, look: Look) -> frozenset[str]:
    """Name what is stopped already of a master's front: enrolment goes last, once it is quiet."""
    waited = look.now - since
    quiet = min(look.seen.quiet, waited) >= look.times.quiet and look.seen.database
    return FRONT if quiet or waited >= look.times.release else FRONT - {ENROLMENT}


def _closed(look: Look) -> frozenset[str]:
    return frozenset() if look.desired.enrolment else frozenset({ENROLMENT})


def _robbed(state: State, look: Look) -> bool:
    """Tell whether a worker refuses to follow because the keys here are gone."""
    if look.seen.keys.known or look.seen.role != "master":
        return False
    return any(
        a.term == state.memory.term and a.phase == "refused" and a.keys.agents for a in look.heard
    )


def _tell_master(state: State, look: Look) -> State:
    if state.fenced:
        sentence = (
            "cut off: neither another unit nor the Kubernetes API answers, so enrolment, API and "
            "cluster are closed until one does"
        )
        return _enter(state, "fenced", sentence, look.now)
    return _tell_run(state, look, "master")


def _tell_run(state: State, look: Look, role: Role) -> State:
    if look.seen.failure:
        return _enter(state, "failed", look.seen.failure, look.now)
    if look.seen.role != role or not look.seen.complete:
        return _enter(state, "starting", f"starting as {role}", look.now)
    return _enter(state, "serving", None, look.now)


def _release(state: State, look: Look) -> tuple[State, list[Action]]:
    """Stand down for a newer master; agents' sessions stay until the charm follows.

    Enrolment acknowledges before it writes, so its door is shut first, and it is stopped
    only once client.keys has been quiet for a while with wazuh-db answering.
    """
    running = look.seen.running
    since = look.now if state.releasing is None else state.releasing
    state = replace(state, releasing=since, fenced=False, released=_released(state, look))
    if not running & FRONT:
        return _tell_released(state, look), [Run(None, without=FRONT)]
    without = _wound_down(since, look)
    term = state.memory.term
    sentence = f"handing over to {term.master} (epoch {term.epoch})"
    run = Run(None, without=without, shut=True)
    return _enter(state, "releasing", sentence, look.now), [run]


def _tell_released(state: State, look: Look) -> State:
    term = state.memory.term
    if state.memory.served and term.master != state.node:
        sentence = f"handed over to {term.master} (epoch {term.epoch}), waiting for the charm"
        return _enter(state, "released", sentence, look.now)
    sentence = (
        f"refusing to be master of epoch {look.desired.epoch}: epoch {term.epoch} "
        f"(master {term.master}) is known already; it goes on when the application's leader "
        "publishes a newer one"
    )
    return _enter(state, "refused", sentence, look.now)


def _released(state: State, look: Look) -> int:
    """Name the epoch for which nothing that writes keys or users is left here.

    A worker's authd and API only pass requests on.
    """
    writers = frozenset({CLUSTER}) if look.seen.role == "worker" else FRONT
    free = look.durable and not look.seen.running & writers
    return state.memory.term.epoch if free else 0


# The worker's side -----------------------------------------------------------------------


def _follow(state: State, look: Look) -> tuple[State, list[Action]]:
    """Serve as worker of the newest master, from the charm or from a peer."""
    master = state.memory.term.master
    answer = look.peer(master)
    state = replace(state, fenced=False, released=_released(state, look))
    state = _accept(state, answer)
    empty = _empty_master(state, look, answer)
    apart = empty or _between_masters(state, look, answer)
    without = WRITERS if apart else _closed(look)
    actions: list[Action] = [Run("worker", master, without)]
    if empty:
        sentence = (
            f"not following {master}: it has no agent's key, this unit has {look.seen.keys.agents}"
        )
        return _enter(state, "refused", sentence, look.now), actions
    state = _tell_run(state, look, "worker")
    if state.phase == "serving" and (apart or look.seen.connected is False):
        sentence = f"waiting for {master} to take over" if apart else _apart(master, answer, look)
        state = _enter(state, "following", sentence, look.now)
    return _synchronise(state, look, answer), actions


def _apart(master: str, answer: Answer | None, look: Look) -> str:
    """Say why there is no connection: a master takes no worker of another version (error 3031)."""
    here, there = look.seen.version, answer.version if answer else ""
    if not here or not there or here == there:
        return f"no connection to {master}"
    ours, theirs = here.lstrip("v"), there.lstrip("v")
    return (
        f"Wazuh {ours} here, but {theirs} on the master {master}, which takes no worker of "
        "another version: new agents are known here when both run the same"
    )


def _accept(state: State, answer: Answer | None) -> State:
    """Follow a takeover for good once its master has shown keys, or there are none to lose."""
    if answer is None or not answer.serves:
        return state
    goal = answer.keys.highest if state.goal is None else state.goal
    if answer.keys.known or not state.keys.agents:
        return replace(state, accepted=answer.incarnation, goal=goal, adopted=None)
    return replace(state, goal=goal, adopted=None)


def _empty_master(state: State, look: Look, answer: Answer | None) -> bool:
    """Tell whether following would delete every key here (workers mirror their master)."""
    if answer is None or not answer.serves or answer.incarnation == state.accepted:
        return False
    return look.seen.keys.agents > 0 and answer.keys.known == 0 and not look.seen.forgotten


def _between_masters(state: State, look: Look, answer: Answer | None) -> bool:
    """Tell whether the old master is done with and the new one does not serve yet."""
    if state.memory.term.master == state.node:
        return True
    if answer is not None and answer.term == state.memory.term and answer.claims:
        return True
    return state.adopted is not None and look.now - state.adopted < look.times.patience


def _synchronise(state: State, look: Look, answer: Answer | None) -> State:
    """Note that the master's keys have arrived, which is asked for once ever."""
    if state.memory.synchronised or answer is None or not answer.serves:
        return state
    keys = look.seen.keys
    arrived = keys.digest == answer.keys.digest or keys.highest >= (state.goal or 0)
    if not (look.seen.connected and arrived):
        return state
    return replace(state, memory=replace(state.memory, synchronised=True))


# What the charm and Kubernetes see --------------------------------------------------------


def _judge(state: State, look: Look) -> State:
    """Ready as the Service needs it; a lost master never changes it.

    A unit that is being removed takes no new connections.
    """
    ready = (
        state.memory.synchronised
        and look.seen.running >= SESSIONS
        and look.seen.api
        and look.seen.disk
        and not (state.fenced or state.leaving)
    )
    return replace(state, ready=ready)


def _wake(state: State, look: Look) -> tuple[State, list[Action]]:
    """Send the wake-up the charm asked for, not before the charm's own hook has ended."""
    value = look.desired.wake
    if value == look.seen.wake or not value:
        return state, []
    if state.wake != value:
        return replace(state, wake=value, wake_since=look.now), []
    return state, [Wake(value)] if look.now - state.wake_since >= look.times.wake else []
