# The image: our server under the names, user, folders and start rules of the Redis images.
#
#   docker build -t redstart .
#   docker build -t redstart --target run-prebuilt --build-arg BINARY=redstart CONTEXT
#
# The first form needs BuildKit, which skips the stages that a target does not use. The second takes
# a binary that was built elsewhere for the same C library, from a context that holds it and
# docker/entrypoint.sh (.dockerignore hides target/).

ARG BUILD_IMAGE=rust:1-bookworm
ARG RUN_IMAGE=debian:bookworm-slim

# Everything but the server.
FROM ${RUN_IMAGE} AS runtime
# redis-tools brings redis-cli, for health checks, and redis-benchmark. Its redis-check-rdb and
# redis-check-aof are another server's and know only that one's formats; ours goes by these names, too.
RUN set -eu; \
    groupadd --system --gid 999 redis; \
    useradd --system --uid 999 --gid redis --home-dir /data --no-create-home redis; \
    apt-get update; \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends redis-tools tzdata; \
    rm -rf /var/lib/apt/lists/* /usr/bin/redis-check-rdb /usr/bin/redis-check-aof; \
    ln -s redstart /usr/local/bin/redis-server; \
    ln -s redstart /usr/local/bin/valkey-server; \
    ln -s redstart /usr/local/bin/redis-check-rdb; \
    ln -s redstart /usr/local/bin/redis-check-aof; \
    install -d -o redis -g redis /data
COPY docker/entrypoint.sh /usr/local/bin/docker-entrypoint.sh
WORKDIR /data
# A container's network is private: whoever publishes the port decides who reaches it.
ENV REDSTART_PROTECTED_MODE_DEFAULT=no
EXPOSE 6379
STOPSIGNAL SIGTERM
# A server that asks for a password is alive. So is one that loads its data, which may take longer than
# any start period, one that cannot save, which a restart would empty, and one that runs a long script.
# REDISCLI_AUTH lets the check log in, HEALTHCHECK_PORT follows a server that was given another port.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD case "$(redis-cli -p "${HEALTHCHECK_PORT:-6379}" ping 2>/dev/null)" in \
        PONG | *NOAUTH* | *NOPERM* | *LOADING* | *MISCONF* | *BUSY*) exit 0 ;; \
        *) exit 1 ;; \
        esac
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["redis-server"]

# The server from a file of the build context. Stands before `build`, because a builder without
# BuildKit runs every stage up to the target.
FROM runtime AS run-prebuilt
ARG BINARY=redstart
COPY ${BINARY} /usr/local/bin/redstart

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin redstart

FROM runtime AS run
COPY --from=build /src/target/release/redstart /usr/local/bin/redstart
