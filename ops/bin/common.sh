# shellcheck shell=bash
# Sourced by the runbook scripts: how they call orchestrator, speak, and stop.

# The command line (default) or the client: both know the same words. More words are arguments: "orchestrator --config x".
read -ra orchestrator_words <<<"${ORCHESTRATOR:-orchestrator}"

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$*"; exit 1; }
orc() { "${orchestrator_words[@]}" "$@"; }

# Fails unless the words are host:port.
need_instance() {
    [[ ${1:-} =~ ^[^:[:space:]]+:[0-9]+$ ]] || die "${1:-nothing} is not HOST:PORT; see ${0##*/} --help"
}

# Prints its own help: the comment at the head of the script.
help() { sed -n '2,/^[^#]/ { /^#/ s/^# \{0,1\}//p }' "$0"; }

# Waits until a replica replicates and is at most so many seconds behind.
wait_caught_up() {
    local instance=$1 limit=${2:-3600} begun=$SECONDS lag
    say "waiting until $instance has caught up (at most $limit s)"
    while ((SECONDS - begun < limit)); do
        orc -c discover -i "$instance" >/dev/null || true
        lag=$(orc -c instance-status -i "$instance" | sed -n 's/^.*\[\([^,]*\),.*$/\1/p')
        if [[ $lag =~ ^([0-9]+)s$ ]] && ((BASH_REMATCH[1] <= 5)) && [ -n "$(orc -c is-replicating -i "$instance")" ]; then
            say "$instance replicates, $lag behind"
            return
        fi
        sleep 1
    done
    die "$instance has not caught up within $limit s (last seen: ${lag:-nothing})"
}
