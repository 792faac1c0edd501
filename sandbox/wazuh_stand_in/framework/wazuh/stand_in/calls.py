"""What the API does: calls that the master performs, for itself and for its workers.

The master's apid and, for requests that come through workers, its cluster daemon each keep
rbac.db open, as the real ones do.
"""

import base64
import inspect
import json
import os
import re
import sqlite3
import threading
import time
from contextlib import suppress
from typing import NoReturn

from ..rbac import orm
from . import agents, cluster_control, configuration, frames
from .enrolment import interval
from .home import REVISION, VERSION, Home, scaled
from .keystore import Agent, KeyStore
from .link import MESSAGES, ClusterError

BASIC_DAEMONS = ("wazuh-modulesd", "wazuh-analysisd", "wazuh-execd", "wazuh-db", "wazuh-remoted")
DAEMONS = (
    "wazuh-agentlessd",
    "wazuh-analysisd",
    "wazuh-authd",
    "wazuh-csyslogd",
    "wazuh-monitord",
    "wazuh-execd",
    "wazuh-integratord",
    "wazuh-logcollector",
    "wazuh-maild",
    "wazuh-remoted",
    "wazuh-reportd",
    "wazuh-syscheckd",
    "wazuh-clusterd",
    "wazuh-modulesd",
    "wazuh-db",
    "wazuh-apid",
)
ALLOWED = {
    1: ("",),
    2: ("read:",),
    3: ("security:",),
    4: ("read:agent",),
    5: ("agent:", "read:agent"),
    6: ("read:cluster",),
    7: ("cluster:", "read:cluster"),
}
"""What the default roles may do, by the beginning of an action."""
PASSWORD = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*\d)(?=.*[^A-Za-z0-9]).{8,}")
ERRORS = {
    1017: 'Some Wazuh daemons are not ready yet in node "{}" ({})',
    1701: "Agent does not exist",
    1703: "Action not available for Manager (agent 000)",
    1705: "There is an agent with the same name",
    1706: "There is an agent with the same IP or the IP is invalid",
    1707: "Cannot send request, agent is not active",
    1708: "There is an agent with the same ID",
    1709: "Too short key size",
    1710: "The group does not exist",
    1711: "The group already exists",
    1726: "Wazuh authd is not running",
    1731: "Agent is not eligible for the action to be performed",
    1738: "Agent name is too long",
    4000: "Permission denied",
    4002: "The specified role does not exist",
    5000: "The user could not be created",
    5001: "The user does not exist",
    5004: "The user could not be removed or updated",
    5007: "Insecure user password provided",
    5008: "The current user cannot be deleted",
    5009: "Insecure user password provided",
    5011: "Administrator users can only be modified by themselves",
    6001: "Maximum number of requests per minute reached",
}
FILTERS = ("name", "node_name", "status")
"""Which of the parameters of `GET /agents` are understood, besides paging."""
ANSWER_SECONDS = 200
"""How long a call to the master may take (cluster.json, timeout_dapi_request)."""

AUTHD_ERRORS = {9007: 1706, 9006: 1706, 9008: 1705, 9012: 1708, 9011: 1701}


class ApiError(Exception):
    """A refusal: HTTP status, Wazuh's error number, what to say."""

    def __init__(self, status: int, code: int, detail: str):
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail

    def body(self) -> "dict[str, object]":
        """Return the error as the API shows it."""
        titles = {
            400: "Bad Request",
            403: "Permission Denied",
            404: "Resource Not Found",
            429: "Too Many Requests",
            500: "Wazuh Internal Error",
        }
        return {
            "title": titles.get(self.status, "Error"),
            "detail": self.detail,
            "error": self.code,
        }


def refuse(code: int, extra: object = "", status: int = 400) -> NoReturn:
    """Raise the ApiError of that number."""
    text = ERRORS.get(code) or MESSAGES.get(code, "Error")
    raise ApiError(status, code, f"{text}: {extra}" if extra != "" else text)


def items(found: "list", message: str, failed: "list[tuple[object, int]] | None" = None) -> dict:
    """Return a list in the API's envelope."""
    failed = failed or []
    entries = [
        {"error": {"code": code, "message": ERRORS.get(code) or MESSAGES[code]}, "id": [which]}
        for which, code in failed
    ]
    error = 0 if not failed else (2 if found else 1)
    return {
        "data": {
            "affected_items": found,
            "total_affected_items": len(found),
            "total_failed_items": len(failed),
            "failed_items": entries,
        },
        "message": message,
        "error": error,
    }


def database_fault(error: sqlite3.Error) -> ApiError:
    """Return the error shown when rbac.db cannot be used."""
    return ApiError(500, 2008, f"The rbac.db database does not answer: {error}")


class Performer:
    """Performs calls on the master."""

    def __init__(self, home: Home):
        self.home = home
        self.lock = threading.Lock()
        self.session = orm.connect(str(home / "api/configuration/security/rbac.db"))
        self.users = orm.AuthenticationManager(self.session)
        self.roles = orm.UserRolesManager(self.session)

    def forwarded(self, data: str) -> str:
        """Perform a worker's call; errors are part of the answer."""
        message = json.loads(data)
        try:
            return json.dumps({"body": self.perform(**message)})
        except ApiError as error:
            return json.dumps({"status": error.status, "code": error.code, "detail": error.detail})

    def perform(self, call: str, token: "dict | None", arguments: dict) -> dict:
        """Perform a call for the holder of a checked token; raise ApiError."""
        check_daemons(self.home)
        method = getattr(self, f"call_{call}")
        try:
            with self.lock:
                arguments["user"] = self._holder(token) if token else None
            bound = inspect.signature(method).bind(**arguments)
        except TypeError as error:
            raise ApiError(400, 0, f"Unexpected parameters: {error}") from None
        except sqlite3.Error as error:
            raise database_fault(error) from None
        try:
            return method(*bound.args, **bound.kwargs)
        except sqlite3.Error as error:
            raise database_fault(error) from None

    def _holder(self, token: dict) -> dict:
        user = self.users.get_user(token["sub"])
        if (
            not isinstance(user, dict)
            or set(user["roles"]) != set(token["rbac_roles"])
            or not orm.TokenManager(self.session).is_token_valid(token["nbf"], user["id"])
        ):
            raise ApiError(401, 0, "Invalid token")
        if token["exp"] - token["nbf"] != self._lifetime():
            raise ApiError(401, 0, "Token expired")
        return user

    def _lifetime(self) -> int:
        path = self.home / "api/configuration/security/security.yaml"
        found = (
            re.search(r"auth_token_exp_timeout:\s*(\d+)", path.read_text())
            if path.is_file()
            else None
        )
        return int(found[1]) if found else 900

    def call_login(self, username: str, password: str, user: None) -> dict:
        """Check name and password."""
        with self.lock:
            if not self.users.check_user(username, password):
                return {"roles": None}
            found = self.users.get_user(username)
        roles = found["roles"] if isinstance(found, dict) else []
        return {"roles": roles, "lifetime": self._lifetime()}

    def call_check(self, user: dict) -> dict:
        """Only check the token."""
        return user

    def call_me(self, user: dict) -> dict:
        """Return the caller."""
        return items([user], "Current user information was returned")

    def call_revoke(self, user: dict) -> dict:
        """Make the caller's tokens void."""
        self._void([user["id"]])
        return {"message": f"User {user['username']} was successfully logged out", "error": 0}

    def _void(self, users: "list[int]") -> None:
        with self.lock:
            orm.TokenManager(self.session).add_user_roles_rules(set(users), self._lifetime())

    def call_users(self, user: dict, user_ids: str = "") -> dict:
        """List users."""
        require(user, "security:read")
        with self.lock:
            wanted = [int(word) for word in user_ids.split(",") if word.isdigit()] or [
                one["user_id"] for one in self.users.get_users()
            ]
            found = [(number, self.users.get_user_id(number)) for number in wanted]
        return items(
            [one for _, one in found if one],
            "All specified users were returned",
            [(number, 5001) for number, one in found if not one],
        )

    def call_create_user(self, user: dict, username: str = "", password: str = "") -> dict:
        """Create a user, under the rules on passwords."""
        require(user, "security:create")
        check_password(password)
        with self.lock:
            if not self.users.add_user(username, password):
                return items([], "User could not be created", [(username, 5000)])
            return items([self.users.get_user(username)], "User was successfully created")

    def call_update_user(self, user: dict, user_id: str, password: str = "") -> dict:
        """Change a password; ids up to 99 only for callers with such an id."""
        require(user, "security:update")
        check_password(password)
        number = int(user_id)
        if number <= orm.MAX_ID_RESERVED < user["id"]:
            refuse(5011)
        with self.lock:
            if not self.users.update_user(number, password):
                return items([], "User could not be updated", [(number, 5001)])
            changed = self.users.get_user_id(number)
        self._void([number])
        return items([changed], "User was successfully updated")

    def call_delete_users(self, user: dict, user_ids: str = "") -> dict:
        """Remove users, never the reserved ones."""
        require(user, "security:delete")
        done, failed = [], []
        for number in [int(word) for word in user_ids.split(",") if word.isdigit()]:
            with self.lock:
                found = self.users.get_user_id(number)
                code = _undeletable(number, found, user)
                if code is None:
                    self.users.delete_user(number)
            (failed.append((number, code)) if code else done.append(found))
        self._void([one["id"] for one in done])
        return items(done, "Users were successfully deleted", failed)

    def call_add_roles(self, user: dict, user_id: str, role_ids: str = "") -> dict:
        """Give a user roles."""
        return self._roles(user, int(user_id), role_ids, self.roles.add_role_to_user)

    def call_remove_roles(self, user: dict, user_id: str, role_ids: str = "") -> dict:
        """Take roles from a user."""
        return self._roles(user, int(user_id), role_ids, self.roles.remove_role_in_user)

    def _roles(self, user: dict, number: int, role_ids: str, change) -> dict:
        require(user, "security:update")
        failed = []
        for role in [int(word) for word in role_ids.split(",") if word.isdigit()]:
            with self.lock:
                result = change(number, role)
            if result in (orm.SecurityError.ROLE_NOT_EXIST, orm.SecurityError.USER_NOT_EXIST):
                failed.append((role, 4002))
        self._void([number])
        with self.lock:
            found = self.users.get_user_id(number)
        return items([found] if found else [], "All roles were linked to user", failed)

    def call_all_roles(self, user: dict) -> dict:
        """List roles."""
        require(user, "security:read")
        with self.lock:
            roles = orm.RolesManager(self.session).get_roles()
        return items([role.to_dict() for role in roles], "All specified roles were returned")

    def call_security_config(self, user: dict) -> dict:
        """Show how long tokens last."""
        require(user, "security:read")
        return {
            "data": {"auth_token_exp_timeout": self._lifetime(), "rbac_mode": "white"},
            "error": 0,
        }

    def call_set_security_config(
        self, user: dict, auth_token_exp_timeout: int = 900, **_rest: object
    ) -> dict:
        """Change how long tokens last; those given before are void."""
        require(user, "security:update")
        path = self.home / "api/configuration/security/security.yaml"
        path.write_text(f"auth_token_exp_timeout: {int(auth_token_exp_timeout)}\n")
        return {"message": "Configuration was successfully updated", "error": 0}

    def call_nodes(self, user: dict) -> dict:
        """List the connected nodes."""
        require(user, "read:cluster")
        return items(
            ask_cluster(self.home, b"get_nodes", {})["items"],
            "All selected nodes information was returned",
        )

    def call_health(self, user: dict) -> dict:
        """Show how the nodes are."""
        require(user, "read:cluster")
        nodes = ask_cluster(self.home, b"get_health", {})["nodes"]
        return items(
            sorted(nodes.values(), key=lambda node: node["info"]["name"]),
            "All selected nodes healthcheck information was returned",
        )

    def call_reload(self, user: dict) -> dict:
        """Have every node load its rules anew."""
        require(user, "cluster:restart")
        answers = ask_cluster(self.home, b"reload", {})
        done = [
            {"name": name, "msg": "Ruleset reload request sent successfully."}
            for name, answer in answers.items()
            if answer["error"] == 0
        ]
        result = items(done, "Reload request was sent to all specified nodes")
        for name, answer in answers.items():
            if answer["error"]:
                result["data"]["failed_items"].append(
                    {
                        "error": {
                            "code": 1914,
                            "message": "Failed to reload ruleset: " + ", ".join(answer["data"]),
                        },
                        "id": [name],
                    }
                )
        result["data"]["total_failed_items"] = len(result["data"]["failed_items"])
        result["error"] = 2 if result["data"]["failed_items"] else 0
        return result

    def call_agents(
        self,
        user: dict,
        agents_list: str = "",
        offset: str = "0",
        limit: str = "500",
        select: str = "",
        **filters: str,
    ) -> dict:
        """List agents: the manager (000) and those of client.keys, in the order of their ids."""
        require(user, "read:agent")
        found = self._all_agents()
        wanted = [word for word in agents_list.split(",") if word]
        meant = {field: filters[field] for field in FILTERS if filters.get(field)}
        chosen = [
            agent
            for agent in found
            if (not wanted or agent["id"] in wanted)
            and all(agent[field] == value for field, value in meant.items())
        ]
        missing = [word for word in wanted if word not in {agent["id"] for agent in found}]
        answer = items(
            chosen,
            "All selected agents information was returned",
            [(word, 1701) for word in missing],
        )
        page = chosen[int(offset) : int(offset) + int(limit)]
        fields = [word for word in select.split(",") if word]
        answer["data"]["affected_items"] = [
            {field: agent[field] for field in fields if field in agent} if fields else agent
            for agent in page
        ]
        return answer

    def _all_agents(self) -> "list[dict[str, object]]":
        store, groups, active = self._store(), self._groups(), agents.reported(self.home)
        manager = Agent("000", os.uname().nodename, "127.0.0.1", "")
        everybody = (manager, *sorted(store.agents.values(), key=lambda agent: int(agent.id)))
        return [_shown(agent, store, groups, active.get(int(agent.id))) for agent in everybody]

    def call_reconnect(self, user: dict, agents_list: str = "") -> dict:
        """Tell agents to connect again, each by the node that it reports to."""
        require(user, "agent:reconnect")
        found = {str(agent["id"]): str(agent["node_name"]) for agent in self._all_agents()}
        wanted = [word for word in agents_list.split(",") if word] or [n for n in found if int(n)]
        by_node: dict[str, list[str]] = {}
        for number in wanted:
            by_node.setdefault(found.get(number, "unknown"), []).append(number)
        failed = self._tell(by_node)
        done = sorted((number for number in wanted if number not in failed), key=int)
        message = "Force reconnect command was sent to all agents"
        if failed:
            message = (
                f"Force reconnect command was not sent to {'some agents' if done else 'any agent'}"
            )
        return items(done, message, list(failed.items()))

    def _tell(self, by_node: "dict[str, list[str]]") -> "dict[str, int]":
        own = set(by_node) <= {"unknown"} or not self.home.running("wazuh-clusterd")
        if own:
            return agents.reconnect(
                self.home, [number for all_ in by_node.values() for number in all_]
            )
        return ask_cluster(self.home, b"reconnect", by_node)

    def _store(self) -> KeyStore:
        store = KeyStore(keep_removed=True)
        with suppress(FileNotFoundError):
            store.read((self.home / "etc/client.keys").read_text(), time.time())
        with suppress(FileNotFoundError):
            store.read_dates((self.home / "queue/agents-timestamp").read_text())
        return store

    def _groups(self) -> "dict[int, str]":
        query = b'global sql SELECT id, "group" FROM agent WHERE "group" IS NOT NULL'
        with suppress(OSError, ValueError):
            answer = frames.ask(self.home / "queue/db/wdb", query, scaled(10))
            return {row["id"]: row["group"] for row in json.loads(answer.partition(b" ")[2])}
        return {}

    def call_summary(self, user: dict) -> dict:
        """Count the agents."""
        require(user, "read:agent")
        listed = self._all_agents()[1:]
        count = len(listed)
        active = sum(agent["status"] == "active" for agent in listed)
        return {
            "data": {
                "connection": {
                    "active": active,
                    "disconnected": 0,
                    "never_connected": count - active,
                    "pending": 0,
                    "total": count,
                },
                "configuration": {"synced": 0, "not_synced": count, "total": count},
            },
            "error": 0,
        }

    def call_agent_key(self, user: dict, agent_id: str) -> dict:
        """Show an agent's key as agents import it."""
        require(user, "read:agent")
        agent = self._store().agents.get(agent_id)
        if agent is None:
            refuse(1701, agent_id, 404)
        return items(
            [{"id": agent.id, "key": _exported(agent.__dict__)}],
            "Obtained keys for all selected agents",
        )

    def call_add_agent(self, user: dict, name: str = "", ip: str = "any", **more: object) -> dict:
        """Add an agent through authd, with or without an id and key of its own."""
        require(user, "agent:create")
        if len(name) > 128:
            refuse(1738)
        if more.get("key") and len(str(more["key"])) < 64:
            refuse(1709)
        # Only an insert makes room for itself (api/models: AgentAddedModel, AgentInsertedModel).
        given = more.get("force")
        force = {"enabled": "id" in more, **(given if isinstance(given, dict) else {})}
        arguments = {
            "name": name,
            "ip": ip,
            "id": more.get("id"),
            "key": more.get("key"),
            "force": force,
        }
        agent = self._authd("add", arguments, more.get("id") or name)
        return {"data": {"id": agent["id"], "key": _exported(agent)}, "error": 0}

    def call_delete_agents(
        self,
        user: dict,
        agents_list: str = "",
        purge: str = "false",
        older_than: str = "7d",
        status: str = "",
        **_rest: str,
    ) -> dict:
        """Remove agents older than a time (7 days unless it is given)."""
        require(user, "agent:delete")
        if not status or not agents_list:
            raise ApiError(400, 0, "Missing query parameter 'status' or 'agents_list'")
        store, done, failed = self._store(), [], []
        wanted = sorted(store.agents) if agents_list == "all" else agents_list.split(",")
        for identity in wanted:
            code = _kept(store, identity, interval(older_than))
            if code is None:
                self._authd("remove", {"id": identity, "purge": purge == "true"}, identity)
                done.append(identity)
            else:
                failed.append((identity, code))
        return items(done, "All selected agents were deleted", failed)

    def _authd(self, function: str, arguments: dict, which: object) -> dict:
        if not self.home.running("wazuh-authd"):
            refuse(1726)
        given = {word: value for word, value in arguments.items() if value is not None}
        try:
            answer = frames.ask_json(
                self.home / "queue/sockets/auth",
                {"function": function, "arguments": given},
                scaled(10),
            )
        except OSError as error:
            raise ApiError(500, 1014, f"Error communicating with socket: {error}") from None
        code = answer.get("error")
        if isinstance(code, int) and code:
            refuse(AUTHD_ERRORS.get(code, 1726), which)
        data = answer["data"]
        return data if isinstance(data, dict) else {}

    def call_groups(self, user: dict) -> dict:
        """List the groups: the folders of etc/shared."""
        require(user, "read:agent")
        counts = list(self._groups().values())
        names = sorted(path.name for path in (self.home / "etc/shared").iterdir() if path.is_dir())
        return items(
            [{"name": name, "count": counts.count(name)} for name in names],
            "All selected groups information was returned",
        )

    def call_add_group(self, user: dict, group_id: str = "") -> dict:
        """Make a group."""
        require(user, "agent:create")
        if not re.fullmatch(r"[\w.-]{1,128}", group_id) or group_id in (".", "..", "all"):
            raise ApiError(400, 1722, "Invalid group ID or group name")
        path = self.home / "etc/shared" / group_id
        if path.exists():
            refuse(1711, group_id)
        path.mkdir()
        (path / "agent.conf").write_text("<agent_config>\n</agent_config>\n")
        return {"message": f"Group '{group_id}' created.", "error": 0}


def require(user: dict, action: str) -> None:
    """Refuse an action that none of the caller's roles allows."""
    if not any(action.startswith(ALLOWED.get(role, ("-",))) for role in user["roles"]):
        refuse(4000, status=403)


def check_password(password: str) -> None:
    """Refuse a password that breaks the rules."""
    if not 8 <= len(password) <= 64:
        refuse(5009)
    if not PASSWORD.fullmatch(password):
        refuse(5007)


def check_daemons(home: Home) -> None:
    """Refuse while a daemon that the API needs is not up."""
    absent = [f"{name}->stopped" for name in BASIC_DAEMONS if not home.running(name)]
    if absent:
        node = configuration.Cluster(
            configuration.read(home / "etc/ossec.conf").find("cluster")
            or configuration.Node("cluster")
        ).node
        raise ApiError(500, 1017, ERRORS[1017].format(node, ", ".join(absent)))


def ask_cluster(home: Home, command: bytes, arguments: dict) -> dict:
    """Ask this node's cluster daemon; raise ApiError."""
    try:
        answer = json.loads(
            cluster_control.ask(
                home, command, json.dumps(arguments).encode(), scaled(ANSWER_SECONDS)
            )
        )
    except (ConnectionRefusedError, FileNotFoundError):
        raise ApiError(500, 3012, MESSAGES[3012]) from None
    except (OSError, ValueError) as error:
        raise ApiError(500, 3020, f"{MESSAGES[3020]}: {error}") from None
    fault = answer.get("__wazuh_exception__")
    if fault:
        error = ClusterError(fault["__object__"]["code"])
        raise ApiError(500, error.code, MESSAGES.get(error.code, str(error)))
    return answer


def daemons(home: Home) -> "dict[str, str]":
    """Return which daemons run, as `GET /manager/status` shows them."""
    shown = {}
    for name in DAEMONS:
        files = list((home / "var/run").glob(f"{name}-*.pid"))
        if (home / f"var/run/{name}.failed").exists():
            shown[name] = "failed"
        elif (home / "var/run/.restart").exists():
            shown[name] = "restarting"
        elif (home / f"var/run/{name}.start").exists():
            shown[name] = "starting"
        elif files:
            shown[name] = "running" if home.running(name) else "failed"
        else:
            shown[name] = "stopped"
    return shown


def version_info(home: Home) -> "dict[str, object]":
    """Return what `GET /manager/info` shows."""
    return {"path": str(home.path), "version": VERSION, "type": "server", "revision": REVISION}


def _undeletable(number: int, found: "dict | bool", user: dict) -> "int | None":
    if not found:
        return 5001
    if number <= orm.MAX_ID_RESERVED:
        return 5004
    return 5008 if number == user["id"] else None


def _kept(store: KeyStore, identity: str, older: float) -> "int | None":
    if identity == "000":
        return 1703
    if identity not in store.agents:
        return 1701
    return 1731 if time.time() - store.dates[identity] < older else None


def _shown(
    agent: Agent, store: KeyStore, groups: "dict[int, str]", active: "dict | None" = None
) -> "dict[str, object]":
    added = store.dates.get(agent.id, 0)
    shown: dict[str, object] = {
        "id": agent.id,
        "name": agent.name,
        "registerIP": agent.ip,
        "ip": agent.ip,
        "status": "active" if agent.id == "000" else "never_connected",
        "dateAdd": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(added)),
        "node_name": "unknown",
    }
    if active:
        shown |= {"status": "active", "node_name": active["node_name"]}
    if int(agent.id) in groups:
        shown["group"] = groups[int(agent.id)].split(",")
    return shown


def _exported(agent: dict) -> str:
    return base64.b64encode(
        f"{agent['id']} {agent['name']} {agent['ip']} {agent['key']}".encode()
    ).decode()
