# OpenStack Swift with its S3 interface: a real object store on disk that checks signatures, and knows no conditional
# writes.

SWIFT_PARTS=(account:26522 container:26523 object:26524)
SWIFT_DAEMONS=(memcached swift-account swift-container swift-object swift-proxy)

status_swift() { all_run "${SWIFT_DAEMONS[@]}" && [[ -e $STATE/run/swift.json ]]; }

# `swift` is what reads and writes there, wherever the state is, so its data is not in a folder of root.
SWIFT_DATA=/var/lib/tilth-swift

install_swift() {
    apt_install swift-proxy swift-account swift-container swift-object memcached curl
}

start_swift() {
    local entry name port
    for name in "${SWIFT_DAEMONS[@]}"; do halt "$name"; done
    rm -rf "$SWIFT_DATA"
    mkdir -p "$SWIFT_DATA"/{srv/d1,etc}
    cat >"$SWIFT_DATA/etc/swift.conf" <<'INI'
[swift-hash]
swift_hash_path_suffix = tilth
swift_hash_path_prefix = tilth
[storage-policy:0]
name = p0
default = yes
INI
    for entry in "${SWIFT_PARTS[@]}"; do
        name=${entry%%:*} port=${entry##*:}
        (
            cd "$SWIFT_DATA/etc"
            swift-ring-builder "$name.builder" create 6 1 1
            swift-ring-builder "$name.builder" add "r1z1-127.0.0.1:$port/d1" 1
            swift-ring-builder "$name.builder" rebalance
        )
        swift_settings "$port" >"$SWIFT_DATA/etc/$name.conf"
        cat >>"$SWIFT_DATA/etc/$name.conf" <<INI
devices = $SWIFT_DATA/srv
mount_check = false
fallocate_reserve = 0
disable_fallocate = true
[pipeline:main]
pipeline = $name-server
[app:$name-server]
use = egg:swift#$name
[$name-replicator]
[$name-auditor]
[$name-updater]
INI
    done
    swift_settings 26520 >"$SWIFT_DATA/etc/proxy.conf"
    cat >>"$SWIFT_DATA/etc/proxy.conf" <<'INI'
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache listing_formats s3api tempauth copy slo dlo versioned_writes symlink proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:26521
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
s3_acl = false
check_bucket_owner = false
[filter:tempauth]
use = egg:swift#tempauth
user_tilth_tilth = secretkey .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_object_versioning = true
[filter:symlink]
use = egg:swift#symlink
INI
    chown -R swift:swift "$SWIFT_DATA"
    launch memcached 26521 memcached -u swift -l 127.0.0.1 -p 26521 -m 32
    for entry in "${SWIFT_PARTS[@]}"; do
        name=${entry%%:*} port=${entry##*:}
        launch "swift-$name" "$port" env SWIFT_DIR="$SWIFT_DATA/etc" "swift-$name-server" "$SWIFT_DATA/etc/$name.conf"
    done
    launch swift-proxy 26520 env SWIFT_DIR="$SWIFT_DATA/etc" swift-proxy-server "$SWIFT_DATA/etc/proxy.conf"
    wait_until swift-proxy 90 curl --silent --fail --noproxy '*' --max-time 2 --output /dev/null http://127.0.0.1:26520/healthcheck
    for entry in "${SWIFT_PARTS[@]}"; do
        wait_until "swift-${entry%%:*}" 90 answers "http://127.0.0.1:${entry##*:}/"
    done
    cat >"$STATE/run/swift.json" <<'JSON'
{"url": "http://127.0.0.1:26520", "region": "us-east-1", "access_key": "tilth:tilth", "secret_key": "secretkey"}
JSON
}

swift_settings() { # PORT
    cat <<INI
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = $1
workers = 0
user = swift
swift_dir = $SWIFT_DATA/etc
log_level = WARNING
INI
}

stop_swift() {
    local name
    for name in "${SWIFT_DAEMONS[@]}"; do halt "$name"; done
    rm -rf "$SWIFT_DATA"
}
