"""The cluster daemon: the node that ossec.conf describes, until told to stop."""

from . import configuration
from .clusterlocal import Node
from .home import Home, pause
from .process import end_children, stopping

STOP_SECONDS = 1.5


def check(home: Home) -> bool:
    """Return whether the cluster is on; raise ConfigurationError for what -t refuses."""
    return configuration.cluster(configuration.read(home / "etc/ossec.conf")) is not None


def serve(home: Home) -> int:
    """Be master or worker."""
    settings = configuration.cluster(configuration.read(home / "etc/ossec.conf"))
    if settings is None:
        return 0
    node = _node(home, settings)
    try:
        node.start()
    except OSError as error:
        node.log("ERROR", "Main", f"Could not start master: {error}")
        # The real one ends with 0 here: who only looks at exit codes does not notice.
        node.log("INFO", "Main", "SIGINT received. Bye!")
        return 0
    stopping.wait()
    node.log("INFO", "Main", "SIGNAL [(15)-(SIGTERM)] received. Exit...")
    end_children(home)
    node.close()
    pause(STOP_SECONDS)
    return 0


def _node(home: Home, settings: configuration.Cluster) -> Node:
    if settings.kind == "master":
        from .clustermaster import Master

        return Master(home, settings)
    from .clusterworker import Worker

    return Worker(home, settings)
