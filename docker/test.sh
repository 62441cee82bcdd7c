#!/bin/bash
# Builds the image and tests it in containers that share the host's network, on loopback ports.
#
# usage: docker/test.sh [--binary PATH]
#
# Uses the Docker daemon that answers, or starts one for itself (root, dockerd) with all its state
# in a scratch folder. Images that cannot be pulled are replaced: the run image by a fresh Debian
# (debootstrap), the build in the image by a binary built outside. --binary PATH takes that binary.
# BUILD_IMAGE and RUN_IMAGE name other bases. Ends with "N passed, N failed"; 2 means it could not
# run.
set -euo pipefail

repo=$(cd "$(dirname "$0")/.." && pwd)
build_image=${BUILD_IMAGE:-rust:1-bookworm}
run_image=${RUN_IMAGE:-debian:bookworm-slim}
binary=
if [ "${1-}" = --binary ]; then
    binary=$(realpath "$2")
fi

scratch=$(mktemp -d)
tag=redstart-test-$$
daemon_pid=
containers=()
passed=0
failed=0

clean_up() {
    if [ ${#containers[@]} -gt 0 ]; then
        docker rm -f "${containers[@]}" >/dev/null 2>&1 || true
    fi
    docker rmi -f "$tag" >/dev/null 2>&1 || true
    if [ -n "$daemon_pid" ]; then
        kill "$daemon_pid" 2>/dev/null || true
        wait "$daemon_pid" 2>/dev/null || true
        # The namespace file that a daemon mounts for the host network and leaves behind.
        umount "$scratch"/exec/netns/* 2>/dev/null || true
    fi
    rm -rf --one-file-system "$scratch"
}
trap clean_up EXIT

give_up() {
    echo "docker/test.sh: $*" >&2
    exit 2
}

# Waits up to $1 seconds until the command that follows succeeds.
await() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        if [ $SECONDS -ge $deadline ]; then
            return 1
        fi
        sleep 0.2
    done
}

find_daemon() {
    if docker version >/dev/null 2>&1; then
        return
    fi
    if [ "$(id -u)" != 0 ] || ! command -v dockerd >/dev/null; then
        give_up "no Docker daemon answers and none can be started"
    fi
    export DOCKER_HOST=unix://$scratch/docker.sock
    dockerd --host "$DOCKER_HOST" --data-root "$scratch/data" --exec-root "$scratch/exec" \
        --pidfile "$scratch/docker.pid" --bridge=none --iptables=false --ip6tables=false \
        >"$scratch/dockerd.log" 2>&1 &
    daemon_pid=$!
    await 30 docker version || give_up "dockerd does not start: $(tail -3 "$scratch/dockerd.log")"
    echo "started a Docker daemon"
}

# Clients before 23 have BuildKit in themselves, later ones in a plugin.
have_buildkit() {
    local version
    version=$(docker version -f '{{.Client.Version}}')
    docker buildx version >/dev/null 2>&1 || [ "${version%%.*}" -lt 23 ]
}

build() {
    docker build --network host --tag "$tag" --build-arg "BUILD_IMAGE=$build_image" \
        --build-arg "RUN_IMAGE=$run_image" "$@" >"$scratch/build.log" 2>&1 ||
        give_up "the build fails: $(tail -20 "$scratch/build.log")"
}

# True when the image is here or can be had.
have_image() {
    docker image inspect "$1" >/dev/null 2>&1 || timeout 300 docker pull "$1" >/dev/null 2>&1
}

build_image() {
    if ! have_image "$run_image"; then
        command -v debootstrap >/dev/null || give_up "no image $run_image and no debootstrap"
        echo "no image $run_image: making one with debootstrap"
        debootstrap --variant=minbase bookworm "$scratch/base" >"$scratch/debootstrap.log" 2>&1 ||
            give_up "debootstrap fails: $(tail -3 "$scratch/debootstrap.log")"
        run_image=$tag-base
        tar -C "$scratch/base" -c . | docker import - "$run_image" >/dev/null
        rm -rf --one-file-system "$scratch/base"
    fi
    export DOCKER_BUILDKIT=0
    if have_buildkit; then
        DOCKER_BUILDKIT=1
    fi
    if [ -z "$binary" ] && [ "$DOCKER_BUILDKIT" = 1 ] && have_image "$build_image"; then
        build "$repo"
        return
    fi
    if [ -z "$binary" ]; then
        echo "no BuildKit or no image $build_image: building the server outside"
        cargo build --release --locked --bin redstart --manifest-path "$repo/Cargo.toml"
        binary=${CARGO_TARGET_DIR:-$repo/target}/release/redstart
    fi
    mkdir -p "$scratch/context/docker"
    cp "$repo/Dockerfile" "$scratch/context/"
    cp -p "$repo/docker/entrypoint.sh" "$scratch/context/docker/"
    install -m 0755 "$binary" "$scratch/context/redstart"
    build --target run-prebuilt "$scratch/context"
}

free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 10000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
}

# Starts container $1 with the docker options up to `--` and the image's arguments after it.
start() {
    local name=$tag-$1 options=()
    shift
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    shift
    containers+=("$name")
    docker run -d --name "$name" --network host --health-interval 1s -e HEALTHCHECK_PORT="$port" \
        "${options[@]}" "$tag" "$@" >/dev/null
}

in_container() {
    local name=$tag-$1
    shift
    docker exec "$name" "$@"
}

# redis-cli inside container $1.
cli() {
    local name=$1
    shift
    in_container "$name" redis-cli -p "$port" "$@" 2>&1
}

health() {
    docker inspect -f '{{.State.Health.Status}}' "$tag-$1"
}

is_healthy() {
    [ "$(health "$1")" = healthy ]
}

# A field of the server's own /proc status.
status() {
    in_container "$1" awk -v "field=$2:" '$1 == field { print $2 }' /proc/1/status
}

# check WHAT EXPECTED COMMAND...: the output of the command is as expected.
check() {
    local what=$1 expected=$2 actual
    shift 2
    actual=$("$@" 2>&1) || true
    if [ "$actual" = "$expected" ]; then
        passed=$((passed + 1))
        echo "ok      $what"
    else
        failed=$((failed + 1))
        echo "FAILED  $what: expected '$expected', got '$actual'"
    fi
}

# Waits for an answer on the container's port; the log tells why there is none.
check_answers() {
    await 15 cli "$1" -e ping || docker logs "$tag-$1" 2>&1 | tail -5
    check "$1: answers PING" PONG cli "$1" ping
}

# Prints how the container ends, asked by SIGTERM.
stop() {
    local from=$SECONDS
    docker stop -t 20 "$tag-$1" >/dev/null
    if [ $((SECONDS - from)) -gt 5 ]; then
        echo "took $((SECONDS - from)) s, "
    fi
    docker inspect -f 'exit {{.State.ExitCode}}' "$tag-$1"
}

test_image() {
    local config='{{.WorkingDir}} {{.StopSignal}} {{.ExposedPorts}} {{.Volumes}}'
    check "image: folder, signal, port, no volume" "/data SIGTERM map[6379/tcp:{}] map[]" \
        docker inspect -f "{{with .Config}}$config{{end}}" "$tag"
    check "image: another command runs as it is" "0" docker run --rm --network none "$tag" id -u
    check "image: time zones" "+0900" docker run --rm --network none -e TZ=Asia/Tokyo "$tag" date +%z
    local look='for name in "$@"; do command -v "$name"; done | xargs realpath'
    check "image: its programs" \
        $'/usr/local/bin/redstart\n/usr/local/bin/redstart\n/usr/bin/redis-cli' \
        docker run --rm --network none "$tag" sh -c "$look" sh redis-server valkey-server redis-cli
    check "image: user and group redis" "uid=999(redis) gid=999(redis) groups=999(redis)" \
        docker run --rm --network none "$tag" id redis
}

test_options() {
    port=$(free_port)
    start options -- --port "$port" --bind 127.0.0.1 --maxmemory 10mb
    check_answers options
    check "options: taken by the server" $'maxmemory\n10485760' cli options config get maxmemory
    check "options: protected mode is off" $'protected-mode\nno' \
        cli options config get protected-mode
    check "options: user" 999 status options Uid
    check "options: group" 999 status options Gid
    check "options: no capabilities" 0000000000000000 status options CapEff
    check "options: no new privileges" 1 status options NoNewPrivs
    check "options: umask" 0077 status options Umask
    await 15 is_healthy options || true
    check "options: health" healthy health options
    check "options: ends by SIGTERM" "exit 0" stop options
}

# The folder of the .conf file is foreign to us and owned by root, so that nothing can be saved
# there.
test_conf_file() {
    port=$(free_port)
    mkdir "$scratch/conf"
    printf 'port %s\nbind 127.0.0.1\nsave ""\nrequirepass secret\n' "$port" \
        >"$scratch/conf/test.conf"
    chmod -R a+rX "$scratch/conf"
    start conf -v "$scratch/conf:/data" -- /data/test.conf
    await 15 cli conf ping || true
    check "conf: asks for the password" "NOAUTH Authentication required." cli conf ping
    check "conf: takes the password" PONG \
        docker exec -e REDISCLI_AUTH=secret "$tag-conf" redis-cli -p "$port" ping
    await 15 is_healthy conf || true
    check "conf: healthy without the password" healthy health conf
    check "conf: user" 999 status conf Uid
    check "conf: a foreign folder keeps its owner" 0 stat -c %u "$scratch/conf"
    check "conf: ends by SIGTERM" "exit 0" stop conf
}

test_own_data() {
    port=$(free_port)
    mkdir -p "$scratch/own/appendonlydir"
    start own -v "$scratch/own:/data" -- valkey-server --port "$port" --bind 127.0.0.1
    check_answers own
    check "own: the folder is taken over" "999 999" \
        in_container own sh -c 'echo $(stat -c %u /data /data/appendonlydir)'
    check "own: ends by SIGTERM" "exit 0" stop own
}

test_other_user() {
    port=$(free_port)
    start user --user 1234:1234 -- --port "$port" --bind 127.0.0.1 --save ""
    check_answers user
    check "user: kept as given" 1234 status user Uid
    check "user: ends by SIGTERM" "exit 0" stop user
}

test_unix_socket() {
    port=$(free_port)
    start unix -- --port 0 --unixsocket /data/server.sock --unixsocketperm 700
    await 15 in_container unix redis-cli -e -s /data/server.sock ping || true
    check "unix: answers PING" PONG in_container unix redis-cli -s /data/server.sock ping
    check "unix: the socket is the server's" "redis 700" \
        in_container unix stat -c '%U %a' /data/server.sock
    check "unix: ends by SIGTERM" "exit 0" stop unix
}

# The certificate signs itself, so it is its own authority.
test_tls() {
    port=$(free_port)
    mkdir "$scratch/tls"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
        -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1,DNS:localhost \
        -keyout "$scratch/tls/server.key" -out "$scratch/tls/server.crt" 2>/dev/null
    chmod -R a+rX "$scratch/tls"
    start tls -v "$scratch/tls:/tls:ro" -- --port 0 --bind 127.0.0.1 --tls-port "$port" \
        --tls-cert-file /tls/server.crt --tls-key-file /tls/server.key --tls-auth-clients no
    local ask=(redis-cli -h localhost -p "$port" --tls --cacert /tls/server.crt -e ping)
    await 15 in_container tls "${ask[@]}" || true
    check "tls: answers PING" PONG in_container tls "${ask[@]}"
    check "tls: ends by SIGTERM" "exit 0" stop tls
}

find_daemon
build_image
test_image
test_options
test_conf_file
test_own_data
test_other_user
test_unix_socket
test_tls
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
