# What the scripts beside this file share. It is read by them, not run.
# shellcheck shell=bash

# Debian keeps ip and iptables where an ordinary user's PATH does not look.
PATH=$PATH:/usr/sbin:/sbin

# shellcheck disable=SC2034 # some are for the scripts that read this
bold='' dim='' red='' green='' yellow='' plain=''
if [[ -t 1 && -z ${NO_COLOR-} && ${TERM:-dumb} != dumb ]]; then
    # shellcheck disable=SC2034
    bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' yellow=$'\e[33m' plain=$'\e[0m'
fi

say() {
    printf '%s\n' "$*"
}

# Something that whoever runs this should not overlook.
warn() {
    printf '%s\n' "${yellow}$*${plain}"
}

fail() {
    printf '%s\n' "${red}${0##*/}: $*${plain}" >&2
    exit 1
}

# Indents what it is given, for output of other programs.
quote() {
    sed "s/^/     ${dim}/; s/\$/${plain}/"
}

# need PACKAGE:PROGRAM...: installs the Debian packages whose program is not there.
need() {
    local pair missing=() output
    for pair; do
        command -v "${pair#*:}" >/dev/null || missing+=("${pair%%:*}")
    done
    ((${#missing[@]} > 0)) || return 0
    local advice="install these Debian packages, or what your system has in their place: ${missing[*]}"
    ((EUID == 0)) || fail "$advice"
    command -v apt-get >/dev/null || fail "there is no apt-get here: $advice"
    say "Installing Debian packages: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    output=$(apt-get update 2>&1) \
        || warn "apt-get update failed, going on with the package lists that are here: ${output##*$'\n'}"
    if ! output=$(apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=60 "${missing[@]}" 2>&1); then
        tail -n 5 <<<"$output" | quote >&2
        fail "apt-get failed: $advice"
    fi
    # They were not there before, so nobody wants them to listen on this machine's own port, or to ban anybody.
    local service
    for service in kamailio fail2ban prometheus; do
        if [[ " ${missing[*]} " == *" $service "* && -d /run/systemd/system ]]; then
            say "Switching the installed $service service off: only the program is wanted"
            systemctl disable --now "$service" >/dev/null 2>&1 || warn "systemctl disable --now $service failed"
        fi
    done
}

# test_result PASSED FAILED SKIPPED: as a test program of cargo's ends, so that scripts/test counts it. Fails if a test has.
test_result() {
    local word=ok
    (($2 == 0)) || word=FAILED
    say "
test result: $word. $1 passed; $2 failed; $3 ignored"
    (($2 == 0))
}

# debian_tree SUITE FOLDER PACKAGE,... OPTION...: a small Debian of that suite, from this machine's own package sources.
debian_tree() {
    local codename sources=() file folder
    folder=$(mktemp -d)
    codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    # They are of this machine's suite.
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources}; do
        if [[ -s $file ]] && grep -qE '^(deb |Types:)' "$file" && grep -qE "\\b$codename\\b" "$file"; then
            sed "s/\\b$codename\\b/$1/g" "$file" >"$folder/${file##*/}"
            sources+=("$folder/${file##*/}")
        fi
    done
    if ! mmdebstrap --quiet --variant=minbase --include="$3" "${@:4}" "$1" "$2" "${sources[@]}" >"$folder/log" 2>&1; then
        tail -n 5 "$folder/log" | quote >&2
        rm -rf "$folder"
        return 1
    fi
    rm -rf "$folder"
}

# Cargo, for whoever called sudo where it was sudo: root of its own has no cargo then, and would leave files in
# target/ that the user can't write.
run_cargo() {
    if [[ $EUID == 0 && -n ${SUDO_USER-} && $SUDO_USER != root ]] && ! command -v cargo >/dev/null; then
        runuser -l "$SUDO_USER" -c "cd $(printf '%q' "$PWD") && exec cargo $(printf '%q ' "$@")"
    else
        cargo "$@"
    fi
}

need_cargo() {
    run_cargo --version >/dev/null 2>&1 \
        || fail "cargo is not to be found: install Rust with rustup, as its site says, and start a new shell"
    need gcc:cc libc6-dev:cc
}

# background PROGRAM ARGUMENT...: starts it, in a process group of its own so that all of it can be ended, and
# without the terminal. Its number is in $!.
background() {
    set -m
    "$@" </dev/null &
    set +m
}

# foreground PROGRAM ARGUMENT...: waits for it in such a way that a signal to the script is acted on at once.
foreground() {
    background "$@"
    wait "$!"
}

# end_background: ends whatever was started and still runs.
end_background() {
    signal_background TERM
    eventually 3 none_runs || signal_background KILL
    wait 2>/dev/null
    return 0
}

signal_background() {
    local pid
    for pid in $(jobs -pr); do
        kill "-$1" -- "-$pid" 2>/dev/null
    done
}

none_runs() {
    [[ -z $(jobs -pr) ]]
}

# remove_namespaces NAME...: ends what runs in them, and removes them.
remove_namespaces() {
    local name pids
    for name; do
        [[ -e /run/netns/$name ]] || continue
        pids=$(ip netns pids "$name" 2>/dev/null)
        if [[ -n $pids ]]; then
            # shellcheck disable=SC2086 # they are several words
            kill -KILL $pids 2>/dev/null
        fi
        ip netns del "$name"
    done
}

# eventually SECONDS COMMAND...: repeats the command until it succeeds; fails when the time is up.
eventually() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < end)) || return 1
        sleep 0.1
    done
}
