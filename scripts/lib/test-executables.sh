# Sourced by scripts/test: builds the test executables of the workspace and runs them, several at a time.
#
# Most tests wait: for a server to start, a lease to end, a failure to be noticed. cargo runs one executable after the
# other, and the cores idle meanwhile. Here executables overlap, except those that judge how long something takes:
# they run by themselves afterwards. docs/decisions/2026-11-23-test-executables-overlap.md has the reasons.
#
# Said: a line per executable when it ends, the whole output of one that failed, the slowest at the end.
# Kept: test-logs/ in the target directory, one file per executable, and durations.tsv.
#
#   TEST_JOBS            executables at a time; default: one more than there are cores, 3 GB of free memory for each
#   TEST_LIMIT_SECONDS   an executable that runs longer is killed and has failed; default: 900
#   RUST_TEST_THREADS    tests at a time in each executable; default: 2, whatever the number of cores

# Bars of seconds and less: outages, pauses of writing, how soon a loss is noticed. A busy machine must not fail them. After the name, if
# not the whole of it is such: the beginnings of the names of the tests that are.
ALONE=(
  "jobs/watching"
  "mysql/servers failures:: watching::"
  "scenario/failover_frozen"
  "scenario/failover_primary"
  "scenario/glitches"
  "scenario/recovery_storm"
  "scenario/takeover"
  "scenario/takeover_steps"
)

# The longest begin first, so that none of them is left over at the end with nothing beside it.
FIRST=(
  scenario/operations jobs/operate jobs/recover store/store scenario/fleet_survives scenario/limits queue/queue
  mysql/apply service/http scenario/operations_survive scenario/submit_flood
)

# Prints what is to be run, one per line: name, package, directory, executable. Compiles; compiler messages go to stderr.
# Names: PACKAGE/FILE of tests in files of their own, PACKAGE/lib, PACKAGE/bin-NAME.
list_test_executables() {
  local manifest kind name executable package
  cargo test --workspace --no-run --message-format=json-render-diagnostics |
    sed -nE '/"profile":\{[^}]*"test":true/s/.*"manifest_path":"([^"]+)","target":\{"kind":\["([^"]+)".*"name":"([^"]+)","src_path".*"executable":"([^"]+)".*/\1\t\2\t\3\t\4/p' |
    while IFS=$'\t' read -r manifest kind name executable; do
      package=$(sed -nE '/^\[package\]/,$s/^name = "(.*)"$/\1/p' "$manifest" | head -n 1)
      case $kind in
        test) ;;
        bin) name=bin-$name ;;
        *) name=lib ;;
      esac
      printf '%s\t%s\t%s\t%s\n' "$package/$name" "$package" "${manifest%/Cargo.toml}" "$executable"
    done
}

# Runs all of them. Fails when one fails; all are run in any case.
run_test_executables() {
  logs="${CARGO_TARGET_DIR:-$PWD/target}/test-logs"
  rm -rf "$logs"
  mkdir -p "$logs"
  list_test_executables >"$logs/executables.tsv"
  local crowd=() alone=()
  sort_by_kind
  [ "${#crowd[@]}" -gt 20 ] || {
    echo "scripts/test: too few test executables are known: cargo's messages were not understood" >&2
    return 1
  }
  pids=() labels=() starts=() failed=()
  ended=0 tests=0 total=$((${#crowd[@]} + ${#alone[@]}))
  trap 'kill "${pids[@]}" 2>/dev/null; exit 130' INT TERM
  local jobs
  jobs=$(test_jobs)
  echo "$total runs, $jobs at a time; logs in $logs"
  run_queue "$jobs" "${crowd[@]}"
  echo "by themselves:"
  run_queue 1 "${alone[@]}"
  trap - INT TERM
  echo
  echo "Slowest:"
  sort -rn "$logs/durations.tsv" | head -n 15 | awk -F '\t' '{ printf "%8.1f s  %s\n", $1, $2 }'
  echo "$tests tests passed in $ended runs."
  [ "${#failed[@]}" = 0 ] && return
  printf '\nFAILED:\n' >&2
  printf '  %s\n' "${failed[@]}" >&2
  return 1
}

# Fills `crowd` and `alone` with lines: name, package, directory, executable, arguments.
sort_by_kind() {
  local name rest line entry lines=()
  for name in "${FIRST[@]}"; do
    line=$(grep "^$name"$'\t' "$logs/executables.tsv") && lines+=("$line")
  done
  while IFS= read -r line; do
    [[ " ${FIRST[*]} " = *" ${line%%$'\t'*} "* ]] || lines+=("$line")
  done <"$logs/executables.tsv"
  for line in "${lines[@]}"; do
    name=${line%%$'\t'*}
    rest=none
    for entry in "${ALONE[@]}"; do
      [ "${entry%% *}" = "$name" ] && rest=${entry#"$name"}
    done
    if [ "$rest" = none ]; then
      crowd+=("$line"$'\t')
    elif [ -z "$rest" ]; then
      alone+=("$line"$'\t')
    else
      crowd+=("$line"$'\t'"${rest// / --skip }")
      alone+=("${line/$'\t'/ (timed)$'\t'}"$'\t'"$rest")
    fi
  done
}

# As many as there are cores and one more: they wait. Each may have a dozen servers running.
test_jobs() {
  local jobs=${TEST_JOBS:-} memory
  if [ -z "$jobs" ]; then
    jobs=$(($(nproc) + 1))
    memory=$(awk '/^MemAvailable:/ { print int($2 / 3000000) }' /proc/meminfo)
    [ "$jobs" -gt "${memory:-1}" ] && jobs=${memory:-1}
    [ "$jobs" -lt 1 ] && jobs=1
  fi
  echo "$jobs"
}

# run_queue JOBS LINE...
run_queue() {
  local jobs=$1 line
  shift
  for line in "$@"; do
    while [ "${#pids[@]}" -ge "$jobs" ]; do reap_one; done
    start_one "$line"
  done
  while [ "${#pids[@]}" -gt 0 ]; do reap_one; done
}

# In its package's directory and with the variables that cargo sets and tests look at. `timeout` passes our signals on.
start_one() {
  local name package directory executable arguments
  IFS=$'\t' read -r name package directory executable arguments <<<"$1"
  local log="$logs/${name//[\/ ]/-}.log"
  (
    cd "$directory" || exit
    export CARGO_PKG_NAME="$package" CARGO_MANIFEST_DIR="$directory" RUST_TEST_THREADS="${RUST_TEST_THREADS:-2}"
    # shellcheck disable=SC2086 # several words
    exec timeout --kill-after=10 "${TEST_LIMIT_SECONDS:-900}" "$executable" $arguments </dev/null >"$log" 2>&1
  ) &
  pids+=("$!")
  labels[$!]=$name
  starts[$!]=$EPOCHREALTIME
}

reap_one() {
  local pid status=0 name log took counted left=() one
  wait -n -p pid "${pids[@]}" || status=$?
  for one in "${pids[@]}"; do [ "$one" = "$pid" ] || left+=("$one"); done
  pids=("${left[@]}")
  name=${labels[$pid]}
  log="$logs/${name//[\/ ]/-}.log"
  took=$((10#${EPOCHREALTIME//[.,]/} - 10#${starts[$pid]//[.,]/}))
  took=$(printf '%d.%d' $((took / 1000000)) $((took / 100000 % 10)))
  printf '%s\t%s\n' "$took" "$name" >>"$logs/durations.tsv"
  # An executable that ends well without saying so has not run its tests.
  counted=$(sed -nE 's/^test result: ok\. ([0-9]+) passed;.*/\1/p' "$log" | tail -n 1)
  ended=$((ended + 1))
  if [ "$status" = 0 ] && [ -n "$counted" ]; then
    tests=$((tests + counted))
    printf '[%3d/%d] %7s s  ok     %4d  %s\n' "$ended" "$total" "$took" "$counted" "$name"
    return
  fi
  failed+=("$name: $(how_it_failed "$status" "$log")")
  printf '[%3d/%d] %7s s  FAILED       %s: exit status %s; its output, also in %s:\n' "$ended" "$total" "$took" "$name" "$status" "$log"
  sed 's/^/    | /' "$log"
}

# The names of the tests, or what ended the executable.
how_it_failed() {
  local names
  names=$(sed -nE '/^failures:$/,/^test result/s/^    ([^ ]+)$/\1/p' "$2" | sort -u | tr '\n' ' ')
  if [ "$1" = 124 ] || [ "$1" = 137 ]; then
    echo "killed after ${TEST_LIMIT_SECONDS:-900} s"
  else
    echo "${names:-exit status $1}"
  fi
}
