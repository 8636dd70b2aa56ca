# What is installed: Debian's packages, and tools from PyPI and npm into the state folder.

apt_install() { # PACKAGE…
    local missing=() package
    for package in "$@"; do
        [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
    done
    [[ ${#missing[@]} -gt 0 ]] || return 0
    trying "installing the Debian packages ${missing[*]}"
    # One of us at a time; apt's own timeout covers other people's dpkg, not their `update`.
    (
        flock 8
        export DEBIAN_FRONTEND=noninteractive
        options=(-qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
        # Lists of an hour ago are new enough.
        if [[ -z $(find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' -mmin -60 -print -quit) ]]; then
            apt-get update "${options[@]}" || echo "package lists could not be brought up to date"
        fi
        apt-get install -y --no-install-recommends "${options[@]}" "${missing[@]}"
    ) 8>"$STATE/locks/apt" 9>&-
}

# A package that only newer Debians have.
apt_install_if_there() { # PACKAGE
    if [[ -n $(apt-cache madison "$1" 2>/dev/null) ]]; then apt_install "$1"; fi
}

# A folder that is whole or not there: made beside, then renamed; made anew when WANTED changes.
whole_folder() { # FOLDER WANTED COMMAND… (gets the folder to fill as last argument)
    local folder=$1 wanted=$2
    shift 2
    if [[ -e $folder/.made-from && $(<"$folder/.made-from") == "$wanted" ]]; then return 0; fi
    rm -rf "$folder" "$folder.new"
    mkdir -p "$folder.new"
    "$@" "$folder.new"
    echo "$wanted" >"$folder.new/.made-from"
    mv "$folder.new" "$folder"
}
