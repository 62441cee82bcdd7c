#!/bin/bash
# Five independent servers on ports 7101 to 7105 of this host, until Ctrl-C.
#
# usage: examples/majority/servers.sh [PATH]
#
# PATH is target/release/redstart unless given. A server that ends is started again, empty.
set -euo pipefail
cd "$(dirname "$0")/../.."
server=$(realpath -s "${1:-target/release/redstart}")
[ -x "$server" ] || { echo "no server at $server: cargo build --release" >&2; exit 2; }

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
trap exit INT TERM
cd "$folder"

declare -A ports
start() {
    # Empty even if a client asked for SAVE.
    rm -rf "$folder/$1"
    mkdir "$folder/$1"
    "$server" --port "$1" --dir "$folder/$1" --bind 127.0.0.1 --save "" --appendonly no --loglevel warning &
    ports[$!]=$1
}

for port in 7101 7102 7103 7104 7105; do
    start $port
done
echo "redis://127.0.0.1:7101 to 7105"
while :; do
    wait -n -p ended || true
    echo "the server on port ${ports[$ended]} has ended"
    # Not in a tight loop, if the port is somebody else's.
    sleep 1
    start "${ports[$ended]}"
done
