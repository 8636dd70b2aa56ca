# A Docker engine with the base images in it. One that answers already is used as it is, and not stopped by us.

DOCKER_SOCKET=/var/run/docker.sock
engine() { curl --silent --fail --max-time 3 --output /dev/null --unix-socket "$DOCKER_SOCKET" "http://engine$1"; }

status_docker() {
    engine /_ping || { echo "no engine answers"; return 1; }
    local suite
    for suite in "${BASE_SUITES[@]}"; do
        engine "/images/$BASE_REPOSITORY:$suite/json" || { echo "base image $suite is missing"; return 1; }
    done
    [[ -e $STATE/run/docker.json ]]
}

install_docker() {
    apt_install docker.io iptables podman buildah skopeo umoci curl
    # What newer Debians have as packages of their own.
    if ! command -v docker >/dev/null; then apt_install_if_there docker-cli; fi
    apt_install_if_there docker-buildx
    install_base_images
}

start_docker() {
    if ! engine /_ping; then
        # Left by an engine that was killed: that id may be someone else's now, and dockerd would not start.
        forget_unless dockerd /var/run/docker.pid
        forget_unless containerd /var/run/docker/containerd/containerd.pid
        launch dockerd - dockerd --host "unix://$DOCKER_SOCKET" --data-root "$STATE/data/docker"
        wait_until dockerd 60 engine /_ping
    fi
    local suite
    for suite in "${BASE_SUITES[@]}"; do
        engine "/images/$BASE_REPOSITORY:$suite/json" && continue
        # As `docker load` would, so that the image's id is the digest of the config that the registry has as well.
        skopeo copy --quiet --insecure-policy "oci:$(base_layout "$suite"):$suite" \
            "docker-daemon:$BASE_REPOSITORY:$suite" || fail "the engine does not take the base image $suite"
    done
    # A newer client builds by BuildKit with its plugin buildx alone; Debian 12's own client does without.
    local buildkit=
    if docker buildx version >/dev/null 2>&1; then buildkit=$(command -v docker)
    elif [[ -x /usr/bin/docker ]]; then buildkit=/usr/bin/docker; fi
    cat >"$STATE/run/docker.json" <<JSON
{"socket": "unix://$DOCKER_SOCKET", "cli": "$(command -v docker)", "buildkit_cli": "$buildkit",
 "images": {"3.11": "$BASE_REPOSITORY:bookworm", "3.13": "$BASE_REPOSITORY:trixie"}}
JSON
}

forget_unless() { # NAME PID_FILE
    if [[ -e $2 && $(cat "/proc/$(<"$2")/comm" 2>/dev/null) != "$1" ]]; then rm -f "$2"; fi
}

stop_docker() {
    # It ends its containers and its containerd itself.
    halt dockerd alone
    # An engine that was killed leaves its folder mounted on itself, and nobody could delete it.
    while umount "$STATE/data/docker"; do :; done
}
