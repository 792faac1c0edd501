#!/bin/sh
# A daemon in Python; the module says which parts it has.
home=$(cd "${0%/*}/.." && pwd)
exec "$home/framework/python/bin/python3" -I -m wazuh.engine "$home" "$home/bin/${0##*/}" "$@"
