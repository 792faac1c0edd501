#!/bin/sh
# Stand-in: restarts this installation, as execd would have it.
exec "$(dirname "$0")/../../bin/wazuh-control" "${1:-restart}"
