# Container registries: plain HTTP; TLS by a CA of our own; TLS with a password; and with tokens. The plain one has the
# base images. What tests pushed is gone at the next start.

REGISTRIES=(plain:26500 tls:26501 password:26502 token:26503)
TOKEN_SERVER_PORT=26504

registry_names() { printf 'registry-%s ' "${REGISTRIES[@]%%:*}"; }

status_registry() {
    # shellcheck disable=SC2046
    all_run $(registry_names) registry-tokens && [[ -e $STATE/run/registry.json ]]
}

install_registry() {
    apt_install docker-registry apache2-utils openssl openssh-server skopeo umoci curl python3
    install_base_images
    trying "making certificates"
    whole_folder "$STATE/cache/tls" "localhost 2" make_certificate
}

make_certificate() { # FOLDER: a CA (c.pem) and a certificate of it for this machine's loopback
    (
        cd "$1"
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out c.pem -subj '/CN=tilth tests CA' -days 3650 \
            -addext 'basicConstraints=critical,CA:true' -addext 'keyUsage=critical,keyCertSign'
        openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=localhost
        openssl x509 -req -in server.csr -CA c.pem -CAkey ca.key -CAcreateserial -out server.pem -days 3650 \
            -extfile <(printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\n')
        # What tokens are signed with, and the registry believes.
        openssl req -x509 -newkey rsa:2048 -nodes -keyout token.key -out token.pem -subj '/CN=tilth tests tokens' -days 3650
    )
}

start_registry() {
    local tls=$STATE/cache/tls entry name port suite
    # The registry takes bcrypt only.
    htpasswd -Bbn tilth secret >"$STATE/run/htpasswd"
    for entry in "${REGISTRIES[@]}"; do
        name=${entry%%:*} port=${entry##*:}
        if runs "registry-$name"; then continue; fi
        rm -rf "$STATE/data/registry-$name"
        mkdir -p "$STATE/data/registry-$name"
        {
            cat <<YAML
version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: $STATE/data/registry-$name}
  delete: {enabled: true}
YAML
            case $name in
            plain) echo "http: {addr: 127.0.0.1:$port, secret: tilth}" ;;
            *) echo "http: {addr: 127.0.0.1:$port, secret: tilth, tls: {certificate: $tls/server.pem, key: $tls/server.key}}" ;;
            esac
            case $name in
            password) echo "auth: {htpasswd: {realm: tilth, path: $STATE/run/htpasswd}}" ;;
            token) echo "auth: {token: {realm: 'http://127.0.0.1:$TOKEN_SERVER_PORT/token', service: tilth-registry, issuer: tilth-tests, rootcertbundle: $tls/token.pem}}" ;;
            esac
        } >"$STATE/run/registry-$name.yml"
        launch "registry-$name" "$port" docker-registry serve "$STATE/run/registry-$name.yml"
    done
    if ! runs registry-tokens; then
        # A copy: it goes on when the checkout that started it is gone.
        cp "$here/services.d/token_server.py" "$STATE/run/"
        launch registry-tokens "$TOKEN_SERVER_PORT" /usr/bin/python3 "$STATE/run/token_server.py" "$TOKEN_SERVER_PORT" "$tls"
    fi
    for entry in "${REGISTRIES[@]}"; do
        name=${entry%%:*} port=${entry##*:}
        case $name in
        plain) wait_until "registry-$name" 20 answers "http://127.0.0.1:$port/v2/" ;;
        *) wait_until "registry-$name" 20 answers --cacert "$tls/c.pem" "https://127.0.0.1:$port/v2/" ;;
        esac
    done
    wait_until registry-tokens 20 answers "http://127.0.0.1:$TOKEN_SERVER_PORT/"
    local plain=127.0.0.1:26500
    for suite in "${BASE_SUITES[@]}"; do
        skopeo copy --quiet --insecure-policy --dest-tls-verify=false "oci:$(base_layout "$suite"):$suite" \
            "docker://$plain/$BASE_REPOSITORY:$suite" || fail "the registry does not take the base image $suite"
    done
    cat >"$STATE/run/registry.json" <<JSON
{"plain": {"host": "$plain"},
 "tls": {"host": "127.0.0.1:26501", "ca": "$tls/c.pem"},
 "password": {"host": "127.0.0.1:26502", "ca": "$tls/c.pem", "user": "tilth", "password": "secret"},
 "token": {"host": "127.0.0.1:26503", "ca": "$tls/c.pem", "user": "tilth", "password": "secret", "identity_token": "tilth-identity"},
 "images": {"3.11": "$plain/$BASE_REPOSITORY:bookworm", "3.13": "$plain/$BASE_REPOSITORY:trixie"},
 "layouts": {"3.11": "$(base_layout bookworm):bookworm", "3.13": "$(base_layout trixie):trixie"}}
JSON
}

stop_registry() {
    local name
    for name in $(registry_names) registry-tokens; do halt "$name"; done
}
