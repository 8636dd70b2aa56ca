# PostgreSQL, as the server of a team uses it. What tests wrote is gone at the next start.

POSTGRES_PORT=26540

status_postgres() { all_run postgres && [[ -e $STATE/run/postgres.json ]]; }

# `postgres` is what reads and writes there, wherever the state is, so its data is not in a folder of root.
POSTGRES_DATA=/var/lib/tilth-postgres

install_postgres() {
    # Without a cluster that Debian makes and starts by itself.
    mkdir -p /etc/postgresql-common
    grep -qs '^create_main_cluster = false' /etc/postgresql-common/createcluster.conf ||
        echo 'create_main_cluster = false' >>/etc/postgresql-common/createcluster.conf
    apt_install postgresql
}

start_postgres() {
    local bin folder=$POSTGRES_DATA
    bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
    halt postgres
    rm -rf "$folder"
    install -d -o postgres -m 700 "$folder" "$folder/data"
    trying "making a database cluster"
    echo tilth >"$folder/password"
    chown postgres "$folder/password"
    (cd / && setpriv --reuid=postgres --regid=postgres --clear-groups "$bin/initdb" --pgdata="$folder/data" \
        --username=tilth --pwfile="$folder/password" --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8)
    trying start
    # A machine that loses power is no test of ours; a process that is killed loses nothing without fsync either.
    launch postgres $POSTGRES_PORT setpriv --reuid=postgres --regid=postgres --clear-groups "$bin/postgres" -D "$folder/data" \
        -p $POSTGRES_PORT -c listen_addresses=127.0.0.1 -c "unix_socket_directories=$folder" -c fsync=off \
        -c max_connections=200 -c shared_buffers=64MB
    wait_until postgres 60 "$bin/pg_isready" -h 127.0.0.1 -p $POSTGRES_PORT
    echo "{\"url\": \"postgresql://tilth:tilth@127.0.0.1:$POSTGRES_PORT\"}" >"$STATE/run/postgres.json"
}

stop_postgres() { halt postgres alone; }
