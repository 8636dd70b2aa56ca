# Base images made here by debootstrap, since tests pull nothing from outside: Debian with its Python. Kept as OCI
# layouts, one per suite: content-addressed, so what is torn is found and made anew.

BASE_SUITES=(bookworm trixie) # Python 3.11 and 3.13
BASE_REPOSITORY=tilth-base/debian-py
BASE_RECIPE=1 # raised when what is made below changes

base_layout() { echo "$STATE/cache/debian-py-$1"; }

install_base_images() {
    apt_install debootstrap umoci skopeo ca-certificates curl
    trying "making the base images"
    (
        flock 7
        local suite jobs=() job
        for suite in "${BASE_SUITES[@]}"; do
            if is_whole "$(base_layout "$suite")"; then continue; fi
            make_base_image "$suite" &
            jobs+=($!)
        done
        for job in ${jobs[@]+"${jobs[@]}"}; do wait "$job"; done
    ) 7>"$STATE/locks/base_images"
}

# Every blob has the digest that names it.
is_whole() { # LAYOUT
    [[ -e $1/index.json && $(cat "$1/recipe" 2>/dev/null) == "$BASE_RECIPE" ]] &&
        (cd "$1/blobs/sha256" && for blob in *; do echo "$blob  $blob"; done | sha256sum --check --status)
}

make_base_image() ( # SUITE
    exec 7>&- 9>&-
    layout=$(base_layout "$1")
    work=$(mktemp -d "$STATE/cache/making-$1-XXXXXX")
    trap 'rm -rf "$work"' EXIT
    root=$work/root image=$work/layout:$1
    mkdir -p "$STATE/cache/debs-$1" "$work/layout"
    debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv \
        --cache-dir="$STATE/cache/debs-$1" "$1" "$root" "${TILTH_SERVICES_MIRROR:-http://deb.debian.org/debian}"
    # Certificates this machine trusts: without them a package index behind a proxy is refused inside.
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
    # Nothing else of the machine, and nothing that tests only copy around.
    rm -rf "$root"/{etc/resolv.conf,etc/hostname,var/cache/apt/*.bin} "$root"/var/{cache/apt/archives,lib/apt/lists,log}/* \
        "$root"/usr/share/{doc,man,info,locale}/*
    tar -C "$root" --numeric-owner --sort=name --exclude='./dev/*' --exclude='./proc/*' --exclude='./sys/*' \
        -cf "$work/root.tar" .
    rm -rf "$root"
    rmdir "$work/layout" && umoci init --layout "$work/layout"
    umoci new --image "$image"
    umoci raw add-layer --image "$image" "$work/root.tar"
    umoci config --image "$image" --config.cmd python3 \
        --config.env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --config.env LANG=C.UTF-8
    umoci gc --layout "$work/layout"
    echo "$BASE_RECIPE" >"$work/layout/recipe"
    sync -f "$work/layout"
    rm -rf "$layout"
    mv "$work/layout" "$layout"
)
