"""`./sandbox/juju`: the commands people know from Juju, on the sandbox."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape

from sandbox import cluster, tables
from sandbox.cluster import Model, SandboxError
from sandbox.talk import ask

DEFAULT_MODEL = "wazuh"
DEFAULT_FACTOR = 10.0
_GRACE = 20.0
# Juju wraps no table, so neither do we: the terminal does.
_WIDTH = 240

Command = Callable[[argparse.Namespace], int | None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command line; return its exit code."""
    # Debian leaves the system's programs (nft, ip) off an ordinary user's path.
    os.environ["PATH"] = f"{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"
    given = parser().parse_args(arguments)
    try:
        return given.run(given) or 0
    except (SandboxError, FileNotFoundError) as error:
        Console(stderr=True).print(
            f"[red]ERROR[/red] {escape(str(error))}", highlight=False, soft_wrap=True
        )
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Who read our output has had enough of it; Python must not try to write the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


# -- deploying and ending ---


def deploy(given: argparse.Namespace) -> None:
    """Start the model if there is none, and add the application."""
    model = _model(given)
    if model.process() is None:
        options = cluster.Options(
            factor=given.clock_factor,
            wazuh=_path(given.wazuh) if given.wazuh else None,
            watch=given.watch_arguments,
            one_uid=given.one_uid,
            seed=given.seed,
            commit_mode=given.juju_version,
            order=tuple(int(number) for number in given.start_order.split(",") if number),
        )
        cluster.start(model, options, _say)
    charm = _path(given.charm)
    app = ask(
        model,
        "deploy",
        charm=charm,
        units=given.num_units,
        config=dict(_pair(pair) for pair in given.config),
        name=given.name,
        trust=given.trust,
    )
    own = ask(model, "status")["sandbox"]
    print(
        f'Deployed "{app}" from {charm}, {given.num_units} units, on the sandbox '
        f"({own['workload']}; clock factor {own['clock-factor']:g})."
    )


def destroy_model(given: argparse.Namespace) -> None:
    """End a model, or all, with everything that runs in them."""
    chosen = cluster.models(given.root) if given.all else [_model(given)]
    for model in chosen:
        if model.process() is not None:
            try:
                ask(model, "destroy")
            except SandboxError:
                cluster.end(model, grace=0)
        cluster.end(model, grace=_GRACE)
        print(f'Destroyed the model "{model.name}".')


def refresh(given: argparse.Namespace) -> None:
    """Roll out the charm as it is now."""
    ask(_model(given), "refresh", app=given.app, charm=_path(given.path))


# -- looking ---


def status(given: argparse.Namespace) -> None:
    """Print the status once, or again and again."""
    model, console = _model(given), Console(width=_WIDTH)
    if given.format == "json":
        print(json.dumps(ask(model, "status"), indent=1))
        return
    tables.status(console, ask(model, "status"))
    while given.watch:
        time.sleep(given.watch)
        console.clear()
        tables.status(console, ask(model, "status"))


def debug_log(given: argparse.Namespace) -> None:
    """Print the last lines of the log, and go on with --tail."""
    model = _model(given)
    path = model.home / "debug.log"
    with path.open(errors="replace") as log:
        lines = log.readlines()
        sys.stdout.writelines(lines if given.replay else lines[-given.lines :])
        while given.tail and model.process() is not None:
            sys.stdout.write(log.read())
            sys.stdout.flush()
            time.sleep(0.2)


def show_unit(given: argparse.Namespace) -> None:
    """Print what a unit knows."""
    _print(given, ask(_model(given), "show-unit", unit=given.unit))


def effects(given: argparse.Namespace) -> None:
    """Print Pebble requests, starts of services, hooks and hook tools, by unit."""
    _print(given, ask(_model(given), "effects"))


def wait_for(given: argparse.Namespace) -> int:
    """Wait until all units are active, idle and ready; 1 when that takes too long."""
    model, end = _model(given), time.monotonic() + given.timeout
    with Live(console=Console(stderr=True), transient=True) as live:
        while time.monotonic() < end:
            value = ask(model, "status")
            if tables.is_settled(value) and _scaled(value):
                return 0
            live.update(_progress(value))
            time.sleep(0.3)
    tables.status(Console(width=_WIDTH), ask(model, "status"))
    return 1


def _scaled(value: dict[str, Any]) -> bool:
    return all(len(app["units"]) == app["scale"] for app in value["applications"].values())


def _progress(value: dict[str, Any]) -> str:
    units = [pair for app in value["applications"].values() for pair in app["units"].items()]
    return "  ".join(
        f"{name}: {unit['workload-status']['current']}/{unit['juju-status']['message'] or 'idle'}"
        for name, unit in units
    )


# -- operators' commands ---


def scale_application(given: argparse.Namespace) -> None:
    """Ask for a number of units."""
    ask(_model(given), "scale", app=given.app, units=given.units)
    print(f"{given.app} scaled to {given.units} units")


def config(given: argparse.Namespace) -> None:
    """Show options, one option, or set them."""
    pairs = [_pair(item) for item in given.items if "=" in item]
    asked = [item for item in given.items if "=" not in item]
    reset = given.reset.split(",") if given.reset else []
    values = {key: _content(value) for key, value in pairs}
    options = ask(_model(given), "config", app=given.app, values=values, reset=reset)
    if values or reset:
        return
    if len(asked) == 1:
        if asked[0] not in options:
            raise SandboxError(f'key "{asked[0]}" not found in "{given.app}" application config')
        value = options[asked[0]]["value"]
        print("" if value is None else value)
        return
    _print(given, {"application": given.app, "settings": options})


def integrate(given: argparse.Namespace) -> None:
    """Relate two applications."""
    ask(_model(given), "integrate", left=given.left, right=given.right)


def remove_relation(given: argparse.Namespace) -> None:
    """End a relation."""
    ask(_model(given), "remove-relation", left=given.left, right=given.right)


def remove_application(given: argparse.Namespace) -> None:
    """Remove an application."""
    ask(_model(given), "remove-application", app=given.app)


def resolve(given: argparse.Namespace) -> None:
    """Run a failed hook again, or skip it."""
    ask(_model(given), "resolve", unit=given.unit, retry=not given.no_retry)


def run(given: argparse.Namespace) -> int:
    """Run an action and print what it says; 1 when it failed."""
    params = {key: _value(value) for key, value in map(_pair, given.params)}
    record = ask(
        _model(given),
        "run",
        unit=given.unit,
        action=given.action,
        params=params,
        wait=given.wait,
    )
    if given.format == "json":
        print(json.dumps({record["unit"]: record}, indent=1))
        return int(record["status"] == "failed")
    number = record["id"]
    print(f"Running operation {number} with 1 task\n  - task {number} on {record['unit']}\n")
    for line in record["log"]:
        print(line)
    if record["status"] == "failed":
        print(f"Action id {number} failed: {record['message']}")
        return 1
    if record["status"] != "completed":
        raise SandboxError(f"action {number} is {record['status']} after {given.wait:.0f} s")
    print(tables.plain(record["results"]) if record["results"] else "")
    return 0


# -- secrets ---


def add_secret(given: argparse.Namespace) -> None:
    """Add a user's secret and print its URI."""
    content = dict(_secret_pair(pair) for pair in given.content)
    print(ask(_model(given), "add-secret", name=given.name, content=content))


def update_secret(given: argparse.Namespace) -> None:
    """Give a user's secret new content."""
    content = dict(_secret_pair(pair) for pair in given.content)
    ask(_model(given), "update-secret", name=given.name, content=content)


def grant_secret(given: argparse.Namespace) -> None:
    """Let applications read a user's secret."""
    for app in given.apps.split(","):
        ask(_model(given), f"{given.verb}-secret", name=given.name, app=app)


def remove_secret(given: argparse.Namespace) -> None:
    """Remove a user's secret."""
    ask(_model(given), "remove-secret", name=given.name)


def secrets(given: argparse.Namespace) -> None:
    """List all secrets."""
    found = ask(_model(given), "secrets")
    if given.format == "json":
        print(json.dumps({secret["uri"]: secret for secret in found}, indent=1))
        return
    tables.secrets(Console(width=_WIDTH), found)


def show_secret(given: argparse.Namespace) -> None:
    """Print one secret, by id, name or label; its content with --reveal."""
    found = [
        secret
        for secret in ask(_model(given), "secrets", reveal=given.reveal)
        if given.name in {secret["uri"], secret["uri"].removeprefix("secret:"), secret["label"]}
    ]
    if not found:
        raise SandboxError(f'secret "{given.name}" not found')
    secret = found[0]
    shown = {key: secret[key] for key in ("revision", "owner", "description", "label", "rotation")}
    if given.reveal:
        shown["content"] = secret["content"]
    _print(given, {secret["uri"].removeprefix("secret:"): shown})


# -- programs and faults ---


def execute(given: argparse.Namespace) -> int:
    """Run a program in a container, or on the clients' host."""
    if not given.unit and not given.client:
        raise SandboxError("say where: --unit UNIT or --client")
    environment = {"PYTHONPATH": str(cluster.PROJECT)} if given.client else {}
    command = given.program[1:] if given.program[:1] == ["--"] else given.program
    return ask(
        _model(given),
        "exec",
        files=(0, 1, 2),
        program=command,
        unit=None if given.client else given.unit,
        container=given.container,
        environment=environment,
    )


def kill(given: argparse.Namespace) -> None:
    """Delete a pod, or kill a container or a daemon."""
    fields = {"container": given.container, "daemon": given.daemon}
    print(ask(_model(given), "kill", unit=given.unit, **fields))


def lose_node(given: argparse.Namespace) -> None:
    """Lose a unit's node; another one takes the pod later."""
    back = None if given.never else given.back_after
    fields = {"keep_volume": given.keep_volume, "back_after": back}
    ask(_model(given), "lose-node", unit=given.unit, **fields)
    print(f"The node of {given.unit} is gone.")


def volumes(given: argparse.Namespace) -> None:
    """Say what becomes of removed units' volumes from now on."""
    ask(_model(given), "volumes", removed=given.removed)
    print(f"Volumes of removed units are {given.removed} from now on.")


def restore_node(given: argparse.Namespace) -> None:
    """Have a lost pod made again now."""
    ask(_model(given), "restore-node", unit=given.unit)


def pause(given: argparse.Namespace) -> None:
    """Freeze a unit."""
    hooks = ask(_model(given), "pause", unit=given.unit, agent_only=given.agent)
    print(f"{given.unit} stands still{', in a hook' if hooks else ''}.")


def resume(given: argparse.Namespace) -> None:
    """Let a unit go on."""
    ask(_model(given), "resume", unit=given.unit)


def partition(given: argparse.Namespace) -> None:
    """Cut a unit off."""
    ask(_model(given), "partition", unit=given.unit, away=given.away or ["all"])


def heal(given: argparse.Namespace) -> None:
    """Undo a partition."""
    ask(_model(given), "heal", unit=given.unit)


# -- reading the command line ---


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    top = argparse.ArgumentParser(
        prog="./sandbox/juju",
        description="Juju's commands on a cluster of one machine: no controller, no Kubernetes.",
    )
    top.add_argument(
        "--root", type=Path, default=cluster.PROJECT / ".sandbox", help="where models lie"
    )
    known = top.add_subparsers(required=True, metavar="COMMAND")
    _deploying(known)
    _looking(known)
    _operating(known)
    _keeping_secrets(known)
    _breaking(known)
    return top


def _command(
    known: Any, name: str, run: Command, text: str, *words: str
) -> argparse.ArgumentParser:
    found = known.add_parser(name, help=text, description=text)
    found.add_argument("-m", "--model", default=os.environ.get("SANDBOX_MODEL", DEFAULT_MODEL))
    found.set_defaults(run=run)
    for word in words:
        found.add_argument(word)
    return found


def _formatted(found: argparse.ArgumentParser, *others: str) -> argparse.ArgumentParser:
    found.add_argument("--format", choices=[*others, "json"], default=others[0])
    return found


def _deploying(known: Any) -> None:
    found = _command(known, "deploy", deploy, "deploy the charm of a directory", "charm")
    found.add_argument("name", nargs="?", help="the application's name")
    found.add_argument("-n", "--num-units", type=int, default=1)
    found.add_argument("--config", action="append", default=[], metavar="KEY=VALUE")
    found.add_argument("--trust", action="store_true")
    found.add_argument("--wazuh", metavar="DIR", help="run this Wazuh instead of the stand-in")
    found.add_argument(
        "--clock-factor",
        type=float,
        default=float(os.environ.get("SANDBOX_CLOCK_FACTOR", DEFAULT_FACTOR)),
        help="how many times faster Juju's, Kubernetes' and the workload's delays pass",
    )
    found.add_argument(
        "--watch-arguments", action="store_true", help="record every program that is executed"
    )
    found.add_argument(
        "--one-uid", action="store_true", help="do as if no sub-ids were given to you"
    )
    found.add_argument(
        "--start-order",
        default="",
        metavar="N,N…",
        help="have first pods start one after the other, by units' numbers",
    )
    found.add_argument("--juju-version", choices=["3.6", "4"], default="4")
    found.add_argument("--seed", type=int, default=0, help="what decides chance in the model")
    found = _command(known, "destroy-model", destroy_model, "end a model and all that is in it")
    found.add_argument("--all", action="store_true", help="every model")
    found.add_argument("--no-prompt", action="store_true", help="accepted, nothing is asked")
    found = _command(known, "refresh", refresh, "roll out the charm as it is now", "app")
    found.add_argument("--path", default=".")


def _looking(known: Any) -> None:
    found = _formatted(_command(known, "status", status, "show applications and units"), "tabular")
    found.add_argument("--watch", type=float, nargs="?", const=1.0, metavar="SECONDS")
    found = _command(known, "debug-log", debug_log, "show the log")
    found.add_argument("-n", "--lines", type=int, default=10)
    found.add_argument("--replay", action="store_true", help="all of it")
    found.add_argument("--tail", action="store_true", help="go on until interrupted")
    _formatted(_command(known, "show-unit", show_unit, "show a unit's relations", "unit"), "yaml")
    _formatted(_command(known, "effects", effects, "show what hooks did, by unit"), "yaml")
    found = _command(known, "wait-for", wait_for, "wait until all units are active and idle")
    found.add_argument("--timeout", type=float, default=300.0)


def _operating(known: Any) -> None:
    found = _command(
        known, "scale-application", scale_application, "set the number of units", "app"
    )
    found.add_argument("units", type=int)
    found = _formatted(_command(known, "config", config, "show or set options", "app"), "yaml")
    found.add_argument("items", nargs="*", metavar="KEY[=VALUE]")
    found.add_argument("--reset", metavar="KEYS")
    _command(known, "integrate", integrate, "relate two applications", "left", "right")
    _command(known, "remove-relation", remove_relation, "end a relation", "left", "right")
    found = _command(
        known, "remove-application", remove_application, "remove an application", "app"
    )
    found.add_argument("--no-prompt", action="store_true", help="accepted, nothing is asked")
    found = _command(known, "resolve", resolve, "run a failed hook again", "unit")
    found.add_argument("--no-retry", action="store_true")
    found = _formatted(_command(known, "run", run, "run an action", "unit", "action"), "plain")
    found.add_argument("params", nargs="*", metavar="KEY=VALUE")
    found.add_argument("--wait", type=float, default=60.0, metavar="SECONDS")


def _keeping_secrets(known: Any) -> None:
    for name, run_, text in (
        ("add-secret", add_secret, "add a user's secret"),
        ("update-secret", update_secret, "give a user's secret new content"),
    ):
        found = _command(known, name, run_, text, "name")
        found.add_argument("content", nargs="+", metavar="KEY=VALUE or KEY#file=PATH")
    for verb in ("grant", "revoke"):
        found = _command(known, f"{verb}-secret", grant_secret, f"{verb} reading a secret", "name")
        found.add_argument("apps", metavar="APP[,APP…]")
        found.set_defaults(verb=verb)
    _command(known, "remove-secret", remove_secret, "remove a user's secret", "name")
    _formatted(_command(known, "secrets", secrets, "list secrets"), "tabular")
    found = _formatted(
        _command(known, "show-secret", show_secret, "show a secret", "name"), "yaml"
    )
    found.add_argument("--reveal", action="store_true")


def _breaking(known: Any) -> None:
    found = _command(known, "exec", execute, "run a program in a container")
    found.add_argument("--unit", "-u")
    found.add_argument("--container", "-c", help="a workload container, or `charm`")
    found.add_argument("--client", action="store_true", help="on the host where clients run")
    found.add_argument("program", nargs=argparse.REMAINDER)
    found = _command(known, "kill", kill, "delete a pod, or kill a part of it", "unit")
    found.add_argument("--container", help="a workload container, or `charm`")
    found.add_argument("--daemon", help="for instance wazuh-analysisd")
    found = _command(known, "lose-node", lose_node, "switch a unit's node off", "unit")
    found.add_argument("--keep-volume", action="store_true", help="the volume is not on the node")
    found.add_argument(
        "--back-after",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="when another node takes the pod, on the model's clock",
    )
    found.add_argument("--never", action="store_true", help="no other node takes it")
    found.add_argument("--yes", action="store_true", help="accepted, nothing is asked")
    found = _command(known, "volumes", volumes, "have volumes of removed units kept, or lost")
    found.add_argument("removed", choices=["kept", "lost"], help="Juju loses them, unless told")
    _command(known, "restore-node", restore_node, "have a lost pod made again now", "unit")
    found = _command(known, "pause", pause, "freeze a unit", "unit")
    found.add_argument("--agent", action="store_true", help="the charm container alone")
    _command(known, "resume", resume, "let a frozen unit go on", "unit")
    found = _command(known, "partition", partition, "cut a unit off", "unit")
    found.add_argument(
        "--from",
        dest="away",
        action="append",
        choices=["controller", "kubernetes", "peers", "clients", "all"],
    )
    _command(known, "heal", heal, "undo a unit's partition", "unit")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _model(given: argparse.Namespace) -> Model:
    return Model(given.model, given.root)


def _path(text: str) -> str:
    """Return a path as it was meant where the command was typed."""
    return str(Path(os.environ.get("SANDBOX_CALLED_FROM", "."), text).resolve())


def _pair(text: str) -> tuple[str, str]:
    key, found, value = text.partition("=")
    if not found:
        raise SandboxError(f'expected "key=value", got "{text}"')
    return key, value


def _secret_pair(text: str) -> tuple[str, str]:
    key, value = _pair(text)
    if key.endswith("#file"):
        return key.removesuffix("#file"), Path(_path(value)).read_text()
    return key, value


def _content(value: str) -> str:
    """Return an option's value, read from a file when it begins with @."""
    return Path(_path(value[1:])).read_text() if value.startswith("@") else value


def _value(text: str) -> Any:
    """Return an action's parameter with the type it looks like, as Juju reads it."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _print(given: argparse.Namespace, value: Any) -> None:
    print(json.dumps(value, indent=1) if given.format == "json" else tables.plain(value))


if __name__ == "__main__":
    sys.exit(main())
