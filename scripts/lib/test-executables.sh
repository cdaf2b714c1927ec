# Sourced by scripts/test: builds the test executables of the workspace and runs them, several at a time.
#
# Most tests wait: for a server to start, a lease to end, a failure to be noticed. cargo runs one executable after the
# other, and the cores idle meanwhile. Here executables overlap. Those that judge how long something takes come last, with
# two tests at a time and no more. docs/decisions/2026-11-23-test-executables-overlap.md has the reasons.
#
# Said: one line per executable when it ends, the whole output of one that failed, the slowest at the end.
# Kept: test-logs/ in the target directory, one file per executable, and durations.tsv.
#
#   TEST_JOBS            executables at a time; default: as many as there are cores, 3 GB of free memory for each
#   TEST_LIMIT_SECONDS   an executable that runs longer is killed and has failed; default: 900
#
# In each executable two tests run at a time, whatever the number of cores, of the timed ones one.

# Bars of seconds and less: outages, pauses of writing, how soon a loss is noticed or made good. A busy machine must not fail them. After
# the name, if not the whole of it is such: what the names of those tests contain. The longest first, here as well.
TIMED=(
  "scenario/operations_survive"
  "scenario/recovery_survives"
  "scenario/fleet_survives"
  "scenario/takeover_steps"
  "scenario/takeover"
  "jobs/watching"
  "scenario/failover_frozen"
  "scenario/failover_primary"
  "scenario/glitches"
  "scenario/recovery_storm"
  "scenario/bad_input"
  "service/leading"
  "mysql/servers failures:: watching::"
  "scenario/limits sees_every_server_in_time"
)

# The longest begin first, so that none of them is left over at the end with nothing beside it.
FIRST=(
  scenario/operations jobs/operate jobs/recover store/store queue/queue
  mysql/apply service/http scenario/submit_flood
)

# Compiles, and writes down what is to be run, one per line: name, package, directory, executable.
# Names: PACKAGE/FILE of tests in files of their own, PACKAGE/lib, PACKAGE/bin-NAME.
# One command for executables and tests: with other packages named, cargo would choose other features for some dependencies, and
# compile half of the workspace twice.
build_test_executables() {
  target="${CARGO_TARGET_DIR:-$PWD/target}"
  logs="$target/test-logs"
  rm -rf "$logs"
  mkdir -p "$logs"
  cargo build --quiet --workspace --bins --tests --message-format=json-render-diagnostics >"$logs/build.json"
  name_test_executables <"$logs/build.json" >"$logs/executables.tsv"
}

# The order of fields in cargo's messages has been the same for years; should it change, names below are missing, which is an error.
name_test_executables() {
  local manifest kind name executable package
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
  local crowd=() timed=()
  sort_by_kind
  pids=() labels=() starts=() failed=()
  ended=0 tests=0 total=$((${#crowd[@]} + ${#timed[@]}))
  trap 'kill "${pids[@]}" 2>/dev/null; wait; exit 130' INT TERM
  local jobs
  jobs=$(test_jobs)
  echo "$total runs, $jobs at a time, $((2 * jobs)) tests; logs in $logs"
  run_queue "$jobs" 2 "${crowd[@]}"
  echo "Timed ones, two tests at a time:"
  run_queue 2 1 "${timed[@]}"
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

# Fills `crowd` and `timed` with lines: name, package, directory, executable, arguments.
sort_by_kind() {
  local -A line_of=()
  local line name entry filters names=()
  while IFS= read -r line; do line_of[${line%%$'\t'*}]=$line; done <"$logs/executables.tsv"
  for entry in "${TIMED[@]}" "${FIRST[@]}"; do
    [ -n "${line_of[${entry%% *}]:-}" ] && continue
    echo "scripts/test: no test executable ${entry%% *}, which scripts/lib/test-executables.sh names" >&2
    return 1
  done
  for entry in "${TIMED[@]}"; do
    name=${entry%% *} filters=${entry#"${entry%% *}"}
    if [ -z "$filters" ]; then
      timed+=("${line_of[$name]}")
      unset "line_of[$name]"
    else
      line=${line_of[$name]}
      timed+=("$name (timed)"$'\t'"${line#*$'\t'}"$'\t'"$filters")
      line_of[$name]+=$'\t'"${filters// / --skip }"
    fi
  done
  mapfile -t names < <(printf '%s\n' "${!line_of[@]}" | sort)
  for name in "${FIRST[@]}" "${names[@]}"; do
    [ -n "${line_of[$name]:-}" ] || continue
    crowd+=("${line_of[$name]}")
    unset "line_of[$name]"
  done
}

# As many as there are cores. Each may have a dozen servers running.
test_jobs() {
  local jobs=${TEST_JOBS:-} memory
  if [ -z "$jobs" ]; then
    jobs=$(nproc)
    memory=$(awk '/^MemAvailable:/ { print int($2 / 3000000) }' /proc/meminfo)
    [ "$jobs" -gt "${memory:-1}" ] && jobs=${memory:-1}
    [ "$jobs" -lt 1 ] && jobs=1
  fi
  echo "$jobs"
}

# run_queue JOBS THREADS LINE...
run_queue() {
  local jobs=$1 threads=$2 line
  shift 2
  for line in "$@"; do
    while [ "${#pids[@]}" -ge "$jobs" ]; do reap_one; done
    start_one "$threads" "$line"
  done
  while [ "${#pids[@]}" -gt 0 ]; do reap_one; done
}

# start_one THREADS LINE: in its package's directory and with the variables that cargo sets and tests look at. `timeout` passes our signals on.
start_one() {
  local name package directory executable arguments
  IFS=$'\t' read -r name package directory executable arguments <<<"$2"
  local log="$logs/${name//[\/ ]/-}.log"
  (
    cd "$directory" || exit
    export CARGO_PKG_NAME="$package" CARGO_MANIFEST_DIR="$directory" RUST_TEST_THREADS="$1"
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
  # An executable that ends well without saying so has not run its tests; nor has one whose tests have got other names.
  counted=$(sed -nE 's/^test result: ok\. ([0-9]+) passed;.*/\1/p' "$log" | tail -n 1)
  [[ $name = *"(timed)" && $counted = 0 ]] && counted=
  ended=$((ended + 1))
  if [ "$status" = 0 ] && [ -n "$counted" ]; then
    tests=$((tests + counted))
    printf '[%3d/%d] %7s s  ok     %4d  %s\n' "$ended" "$total" "$took" "$counted" "$name"
    return
  fi
  failed+=("$name: $(how_it_failed "$status" "$log")"$'\n'"$(why_it_failed "$log")")
  printf '[%3d/%d] %7s s  FAILED       %s: exit status %s; its output, also in %s:\n' "$ended" "$total" "$took" "$name" "$status" "$log"
  sed 's/^/    | /' "$log"
}

# The names of the tests, or what ended the executable.
how_it_failed() {
  local names
  names=$(sed -nE '/^failures:$/,/^test result/s/^    ([^ ]+)$/\1/p' "$2" | sort -u | tr '\n' ' ')
  if [ "$1" = 124 ] || [ "$1" = 137 ]; then
    echo "killed after ${TEST_LIMIT_SECONDS:-900} s"
  elif [ "$1" = 0 ]; then
    echo "it says of no test that it passed"
  else
    echo "${names:-exit status $1}"
  fi
}

# What the tests said when they failed, without the stack: the last lines of a long output are what people are shown.
why_it_failed() {
  awk '/ panicked at |^Error: / { left = 8 } /^ *(stack backtrace:|note: run with|[0-9]+: )/ { left = 0 }
       left-- > 0 { print "      " substr($0, 1, 400) }' "$1" | head -n 40
}
