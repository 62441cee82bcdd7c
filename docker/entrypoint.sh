#!/bin/sh
# Starts the server in a container, by the rules of the Redis images:
# - arguments that begin with an option or a .conf file mean redis-server;
# - the server never runs as root that could become another user: root takes over the data folder, if
#   all in it is the server's own, and becomes the user redis; any other user is kept;
# - files are private unless the caller set a umask of its own;
# - any other command runs as it is.
set -eu

# Gives the working directory to the user redis. A folder with anything foreign in it was mounted
# for more than our data and keeps its owners.
own_data() {
    foreign=$(find . -xdev -mindepth 1 -maxdepth 1 ! -name '*.rdb' ! -name '*.aof' \
        ! -name 'nodes*.conf' ! -name lost+found ! \( -type d -name appendonlydir \) -print -quit)
    if [ -n "$foreign" ]; then
        return
    fi
    find . -xdev -name lost+found -prune -o \( ! -user redis -o ! -group redis \) \
        -exec chown -h redis:redis {} +
}

case "${1-}" in
-* | *.conf) set -- redis-server "$@" ;;
esac

case "${1##*/}" in
redis-server | valkey-server | redstart) ;;
*) exec "$@" ;;
esac

if [ "$(umask)" = 0022 ]; then
    umask 0077
fi

# Whether this process has capability number $1.
has_capability() {
    effective=$(awk '$1 == "CapEff:" { print $2 }' /proc/self/status)
    # What is not told is not missing.
    [ -z "$effective" ] || [ $((0x$effective >> $1 & 1)) = 1 ]
}

if [ "$(id -u)" != 0 ]; then
    exec "$@"
fi

# Root that may not become another user (6 is SETGID, 7 is SETUID) stays what it is.
if ! has_capability 6 || ! has_capability 7; then
    echo "docker-entrypoint.sh: the server stays root: the container lacks SETUID or SETGID" >&2
    exec "$@"
fi

# A read-only folder stays as it is; the server tells when it cannot save.
own_data || echo "docker-entrypoint.sh: the owner of $PWD stays as it is" >&2

if command -v setpriv >/dev/null; then
    exec setpriv --reuid=redis --regid=redis --init-groups --inh-caps=-all --no-new-privs -- "$@"
fi
exec gosu redis "$@"
