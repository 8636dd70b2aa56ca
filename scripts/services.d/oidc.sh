# A provider of logins by OpenID Connect: the library `oidc-provider`, certified by the OpenID Foundation. In memory.

OIDC_PORT=26550

status_oidc() { all_run oidc && [[ -e $STATE/run/oidc.json ]]; }

install_oidc() {
    apt_install curl
    command -v npm >/dev/null || apt_install nodejs npm
    trying "installing oidc-provider"
    whole_folder "$STATE/cache/oidc" "$(cat "$here"/services.d/oidc_{package.json,provider.js})" make_oidc
}

make_oidc() { # FOLDER
    cp "$here/services.d/oidc_package.json" "$1/package.json"
    cp "$here/services.d/oidc_provider.js" "$1/provider.js"
    npm install --prefix "$1" --no-audit --no-fund --no-update-notifier --loglevel=error 9>&-
}

start_oidc() {
    halt oidc
    launch oidc $OIDC_PORT node "$STATE/cache/oidc/provider.js" $OIDC_PORT
    wait_until oidc 60 answers --fail http://127.0.0.1:$OIDC_PORT/.well-known/openid-configuration
    cat >"$STATE/run/oidc.json" <<JSON
{"issuer": "http://127.0.0.1:$OIDC_PORT", "client_id": "tilth", "client_secret": "a-secret-of-tests-that-is-long-enough"}
JSON
}

stop_oidc() { halt oidc; }
