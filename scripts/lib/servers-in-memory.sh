# Sourced by the other scripts: where servers that are started for a while keep their files.

# Servers keep their files in memory where there is plenty: copying a hundred megabytes per server, and writing them to the disk in the
# background, costs much of a slow machine. Ports stay reserved where all runs look.
servers_in_memory() {
  [ -z "${ORCHESTRATOR_HARNESS_DIR:-}" ] || return 0
  [ "$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1)" -ge 8000000 ] 2>/dev/null || return 0
  [ "$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo)" -ge 16000000 ] || return 0
  ORCHESTRATOR_HARNESS_DIR=$(mktemp -d /dev/shm/orchestrator-test-XXXXXX)
  export ORCHESTRATOR_HARNESS_DIR
  trap forget_servers EXIT
}

# Watchdogs end the servers of a test that was killed, by the pid files in there: they must be done first.
forget_servers() {
  local end=$((SECONDS + 20))
  while [ -n "$(ls -A "$ORCHESTRATOR_HARNESS_DIR/servers" 2>/dev/null)" ] && [ "$SECONDS" -lt "$end" ]; do sleep 0.2; done
  rm -rf "$ORCHESTRATOR_HARNESS_DIR"
}
