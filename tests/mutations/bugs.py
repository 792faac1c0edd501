"""The bugs: what to change, in which file, and the smallest tests that must then fail."""

from dataclasses import dataclass

CHARM, CLUSTER, DIGESTS, FILES = "src/charm.py", "src/cluster.py", "src/digests.py", "src/files.py"
LEADER = "src/leader.py"
PICTURE, KEYS, MACHINE = "src/picture.py", "rock/supervisor/keys.py", "rock/supervisor/machine.py"
RETURNERS = "rock/supervisor/returners.py"
RULES = "tests/unit/charm/test_rules.py"
INPROCESS, SUPERVISOR = "tests/unit/inprocess", "tests/unit/supervisor"


@dataclass(frozen=True, slots=True)
class Bug:
    """One change of one place. `tests` are pytest's arguments."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def plant(self, source: str) -> str:
        """Return the source with the bug. Raises ValueError where the place is not there once."""
        if source.count(self.old) != 1:
            raise ValueError(f"{self.name}: its place in {self.file} is not there, or not once")
        return source.replace(self.old, self.new)


BUGS = (
    Bug(
        "a secret's id in the databag",
        LEADER,
        "relation.data[model.app].update(values)",
        "relation.data[model.app].update(values | "
        '{"key-id": str(model.get_secret(label="cluster-key").get_info().id)})',
        (RULES, "-k", "no_secrets_id"),
    ),
    Bug(
        "unit 0 is master",
        CLUSTER,
        "first = Decision(FIRST_EPOCH, outlook.leader, decided_by",
        'first = Decision(FIRST_EPOCH, outlook.leader.split("/")[0] + "/0", decided_by',
        (f"{INPROCESS}/test_deployment.py", "-k", "any_starting_order"),
    ),
    Bug(
        "acting on what is not committed yet",
        CLUSTER,
        "        return published\n    return committed",
        "        return published\n    return published or committed",
        (f"{INPROCESS}/test_moves.py", "-k", "only_a_later_hook"),
    ),
    Bug(
        "the API's passwords changed before the secret is",
        "src/secrets.py",
        "    return Kept(acted_on, told)",
        "    return Kept({k: v | {n.removeprefix('next-'): x for n, x in v.items() "
        "if n.startswith('next-')} for k, v in told.items()}, told)",
        ("tests/unit/charm/test_rotation.py", "-k", "when_it_rotates"),
    ),
    Bug(
        "a deferred event",
        CHARM,
        "ops.ConfigChangedEvent) -> None:\n",
        "ops.ConfigChangedEvent) -> None:\n        event.defer()\n",
        (RULES, "-k", "deferred"),
    ),
    Bug(
        "an alive check",
        FILES,
        '    "level": "ready",',
        '    "level": "alive",',
        (RULES, "-k", "none_is_for_life"),
    ),
    Bug(
        "a digest of what is not sorted",
        DIGESTS,
        "    text = json.dumps(value, sort_keys=True",
        "    text = json.dumps(value",
        (RULES, "-k", "another_order"),
    ),
    Bug(
        "the role from leadership",
        PICTURE,
        "            decision=decision,\n",
        "            decision=dataclasses.replace(decision, master=self.juju.unit)\n"
        "            if self.juju.leader\n            else decision,\n",
        ("tests/unit/charm/test_promote.py", "-k", "does_not_undo"),
    ),
    Bug(
        "an empty master is followed",
        MACHINE,
        "    return look.seen.keys.agents > 0 and answer.keys.known == 0",
        "    return False",
        (f"{SUPERVISOR}/test_machine.py",),
    ),
    Bug(
        "demotion after promotion: nobody is waited for",
        MACHINE,
        "    if ordered:\n        return True\n    if state.peers is None:",
        "    if look.durable:\n        return True\n    if state.peers is None:",
        (f"{SUPERVISOR}/test_machine.py",),
    ),
    Bug(
        "no fence",
        MACHINE,
        "    return state.contact is None or look.now - state.contact > look.times.fence",
        "    return False",
        (f"{INPROCESS}/test_moves.py", "-k", "fences_itself"),
    ),
    Bug(
        "no gap for ids that nobody heard of",
        MACHINE,
        "    reserve = highest + GAP if missed else None",
        "    reserve = None",
        (f"{SUPERVISOR}/test_machine.py",),
    ),
    Bug(
        "enrolment stopped before it has written",
        MACHINE,
        "    return FRONT if quiet or waited >= look.times.release else FRONT - {ENROLMENT}",
        "    return FRONT",
        (f"{SUPERVISOR}/test_machine.py",),
    ),
    Bug(
        "a removed agent comes back with an older copy",
        KEYS,
        "    gone = [line for line in lines if line.removed and not line.gap]",
        "    gone: list[Line] = []",
        (f"{SUPERVISOR}/test_keys.py",),
    ),
    Bug(
        "a deleted agent is put back by a returning unit",
        RETURNERS,
        " or (deleted is not None and deleted.gone(line)):",
        ":",
        (f"{SUPERVISOR}/test_returners.py", "-k", "deleted_for_good_meanwhile"),
    ),
    Bug(
        "a deleted agent comes back with an older copy",
        "rock/supervisor/deletions.py",
        "return text\n        deleted = {one.text",
        "return text\n        return text\n        deleted = {one.text",
        (f"{SUPERVISOR}/test_deletions.py", "-k", "older_copy"),
    ),
    Bug(
        "a removal of somebody unknown is forgotten",
        RETURNERS,
        "        self._deleted.delete(_unheard(self._shelf.kept(name), self._shelf.current()))\n",
        "",
        (f"{SUPERVISOR}/test_returners.py", "-k", "removal_of_somebody_unknown"),
    ),
    Bug(
        "a damaged record of what was put back counts as none",
        RETURNERS,
        "return Record(doubtful=tuple(shelf.names()))",
        "return Record()",
        (f"{SUPERVISOR}/test_returners.py", "-k", "damaged_record"),
    ),
    Bug(
        "what returning units keep is left out of a merge",
        "sandbox/inprocess/workload.py",
        "text = returners.fold(text, kept, self.disk.deleted)",
        "text = returners.fold(text, [], self.disk.deleted)",
        (f"{INPROCESS}/test_faults.py", "-k", "hundreds"),
    ),
    Bug(
        "removed agents make a master look empty",
        MACHINE,
        "        return self.agents + self.removed",
        "        return self.agents",
        (f"{INPROCESS}/test_moves.py", "-k", "only_agent_removed"),
    ),
    Bug(
        "a secret in the log",
        CHARM,
        "        return _Opened(vault",
        "        logger.info('opened %s', kept.told)\n        return _Opened(vault",
        ("tests/unit/charm/test_leaks.py", "-k", "units_life"),
    ),
)
QUICK = (
    "an alive check",
    "an empty master is followed",
    "a deleted agent is put back by a returning unit",
    "a deleted agent comes back with an older copy",
    "a removal of somebody unknown is forgotten",
)
"""Those that CI plants at every change; a workflow of its own plants all of them each week."""
