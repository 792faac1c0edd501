"""Hook tools: command lines as ops writes them, and answers as Juju prints them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.hook_tools import NAMES, Answer, Call, answer
from sandbox.model import ToolError


class Recorder:
    """A hook that notes what it is asked and answers what it was given."""

    def __init__(self, reply: Any = None) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self._reply = reply

    def environment(self) -> dict[str, str]:
        return {"JUJU_RELATION_ID": "peers:0", "JUJU_REMOTE_UNIT": "app/1"}

    def __getattr__(self, name: str) -> Any:
        def method(*args: Any, **kwargs: Any) -> Any:
            self.calls.append((name, args, kwargs))
            if isinstance(self._reply, Exception):
                raise self._reply
            return self._reply

        return method


def _run(hook: Any, line: str, **files: str) -> Answer:
    tool, *words = line.split()
    return answer(hook, Call(tool, tuple(words), files), now=1000.0)


def test_given_a_databag_when_relation_get_asks_for_all_then_json_comes_back() -> None:
    hook = Recorder({"epoch": "1"})

    reply = _run(hook, "relation-get --format=json -r peers:0 --app - app")

    assert reply == Answer('{"epoch": "1"}\n')
    assert hook.calls == [("relation_get", ("peers:0", "app"), {"app": True})]


def test_given_standard_input_when_relation_set_reads_it_then_values_are_set() -> None:
    hook = Recorder()

    reply = _run(hook, "relation-set -r peers:0 --app --file -", **{"-": '{"a": "1", "b": ""}'})

    assert reply == Answer()
    assert hook.calls == [("relation_set", ("peers:0", {"a": "1", "b": ""}), {"app": True})]


def test_given_a_secret_in_files_when_secret_add_names_them_then_contents_are_sent() -> None:
    hook = Recorder("secret:x")

    reply = _run(
        hook,
        "secret-add --label users --owner application password#file=/tmp/p",
        **{"/tmp/p": "pass=word\n"},
    )

    assert reply.stdout == "secret:x\n"
    ((_, args, kwargs),) = hook.calls
    assert args == ({"password": "pass=word\n"},)
    assert (kwargs["label"], kwargs["owner"]) == ("users", "application")


def test_given_a_date_when_a_secret_expires_then_it_is_on_the_model_s_clock() -> None:
    hook = Recorder("secret:x")
    then = (datetime.now(UTC) + timedelta(hours=1)).isoformat().replace("+00:00", "Z")

    _run(hook, f"secret-add --expire {then} key=value")

    ((_, _, kwargs),) = hook.calls
    assert kwargs["expire"] == pytest.approx(1000.0 + 3600, abs=60)


def test_given_a_message_with_dashes_when_a_status_is_set_then_it_is_kept() -> None:
    hook = Recorder()

    _run(hook, "status-set --application=False active -- master -of 3")

    assert hook.calls == [("status_set", ("active", "master -of 3"), {"app": False})]


def test_given_a_refusal_when_a_tool_runs_then_juju_s_words_and_code_come_back() -> None:
    reply = _run(Recorder(ToolError("permission denied", 1)), "secret-get secret:x")

    assert reply == Answer(stderr="ERROR permission denied\n", code=1)


def test_given_wrong_arguments_when_a_tool_runs_then_it_exits_with_2() -> None:
    reply = _run(Recorder(), "relation-ids")

    assert reply.code == 2
    assert reply.stderr.startswith("ERROR ")


def test_given_the_context_s_relation_when_none_is_named_then_it_is_taken() -> None:
    hook = Recorder({"key": "value"})

    reply = _run(hook, "relation-get key")

    assert reply.stdout == "value\n"
    assert hook.calls == [("relation_get", ("peers:0", "app/1"), {"app": False})]


@pytest.mark.parametrize("tool", NAMES)
def test_given_any_tool_when_it_is_called_with_an_unknown_flag_then_it_refuses(tool: str) -> None:
    reply = _run(Recorder(), f"{tool} --no-such-flag")

    assert reply.code == 2
