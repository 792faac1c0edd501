#!/bin/sh
# Starts and stops the foreign daemons; says as little as it can.
home=$(cd "${0%/*}/.." && pwd)
all="db execd analysisd syscheckd remoted logcollector monitord modulesd authd apid clusterd"
pid_of() { cat "$home/var/run/wazuh-$1"-[0-9]*.pid 2>/dev/null; }
up() { pid=$(pid_of "$1") && [ -n "$pid" ] && kill -0 $pid 2>/dev/null; }
case $1 in
start)
    for d in $all; do "$home/bin/wazuh-$d" -t || { echo "bad configuration for $d"; exit 1; }; done
    for d in $all; do
        up "$d" && continue
        grep -q "<auth>" "$home/etc/ossec.conf" || [ "$d" != authd ] || continue
        grep -q "<cluster>" "$home/etc/ossec.conf" || [ "$d" != clusterd ] || continue
        "$home/bin/wazuh-$d"
        n=0
        until up "$d"; do n=$((n + 1)); [ $n -lt 300 ] || { echo "$d is late"; exit 1; }; sleep 0.1; done
    done
    ;;
stop)
    for d in $all; do if up "$d"; then kill $(pid_of "$d"); fi; done
    for d in $all; do while up "$d"; do sleep 0.1; done; rm -f "$home/var/run/wazuh-$d"-*.pid; done
    ;;
status) for d in $all; do up "$d" && echo "$d up" || echo "$d down"; done; exit 1 ;;
restart | reload) "$0" stop && exec "$0" start ;;
info) case $2 in -v) echo v4.14.9 ;; -t) echo server ;; *) echo 'WAZUH_VERSION="v4.14.9"' ;; esac ;;
*) echo "start, stop, status, info"; exit 1 ;;
esac
