# Daemons of ours: started in a session of their own, known by process id and start time, stopped by that id.

# The start time, in clock ticks since boot. Nothing for a zombie: here and there process 1 never reaps them.
started_at() { # PID
    local stat
    { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
    # The name before the last parenthesis may hold spaces.
    # shellcheck disable=SC2086
    set -- ${stat##*) }
    [[ $1 != Z && $1 != X ]] && echo "${20}"
}

# Ids are used again, so the start time has to be the same as well. A process that was gone at once has none.
runs() { # NAME
    local pid since
    { read -r pid since <"$STATE/run/$1.pid"; } 2>/dev/null && [[ -n $since && $(started_at "$pid") == "$since" ]]
}

launch() { # NAME PORT COMMAND…: PORT of 127.0.0.1, `-` for none
    local name=$1 port=$2 log=$STATE/logs/$1.log
    shift 2
    # Whoever has it would answer in its place.
    if [[ $port != - ]] && (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
        fail "$name cannot listen: port $port is taken"
    fi
    if [[ -e $log && $(stat -c %s "$log") -gt 10000000 ]]; then mv "$log" "$log.old"; fi
    printf '\n--- %s: %s\n' "$(date -Is)" "$*" >>"$log"
    (cd / && exec setsid "$@") >>"$log" 2>&1 </dev/null 9>&- &
    echo "$! $(started_at $!)" >"$STATE/run/$name.pid"
}

# Wait until COMMAND succeeds; bounded, and over at once when the daemon has ended.
wait_until() { # NAME SECONDS COMMAND…
    local name=$1 until=$((SECONDS + $2))
    shift 2
    until "$@" >/dev/null 2>&1; do
        runs "$name" || fail "$name ended: $(grep -v '^$' "$STATE/logs/$name.log" | tail -n 1), see $STATE/logs/$name.log"
        if ((SECONDS > until)); then fail "$name does not answer, see $STATE/logs/$name.log"; fi
        sleep 0.1
    done
}

halt() { # NAME [alone]: its children as well, unless it ends them itself
    local pid since i
    if runs "$1"; then
        read -r pid since <"$STATE/run/$1.pid"
        if [[ ${2:-} == alone ]]; then kill -TERM "$pid" || true; else kill -TERM -- "-$pid" || true; fi
        for ((i = 0; i < 300; i++)); do
            runs "$1" || break
            sleep 0.1
        done
        if runs "$1"; then kill -KILL -- "-$pid" || true; fi
    fi
    rm -f "$STATE/run/$1.pid"
}

# Whether every NAME runs; says which does not.
all_run() { # NAME…
    local name
    for name in "$@"; do
        if ! runs "$name"; then
            echo "$name does not run"
            return 1
        fi
    done
}

answers() { # URL [CURL_OPTION…]: any HTTP answer counts, also a refusal
    curl --silent --noproxy '*' --max-time 2 --output /dev/null "$@"
}
