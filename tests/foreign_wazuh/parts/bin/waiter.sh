#!/bin/sh
# A daemon in shell: slow to leave its pid file, with a helper process beside it.
name=${0##*/}
home=$(cd "${0%/*}/.." && pwd)
if [ "$1" = -t ]; then
    [ -r "$home/etc/ossec.conf" ]
    exit
fi
if [ "$1" != inside ]; then
    setsid "$home/bin/$name" inside "$@" </dev/null >/dev/null 2>&1 &
    exit 0
fi
sleep 1
echo "$$" >"$home/var/run/$name-$$.pid"
echo "foreign $name awake as $$" >>"$home/logs/ossec.log"
sleep 100000 &
trap 'kill $!; rm -f "$home/var/run/$name-$$.pid"; exit 0' TERM INT
wait
