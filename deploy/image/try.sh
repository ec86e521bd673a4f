#!/usr/bin/env bash
# Starts an image as the cluster would, and looks whether it is what it should be: not root, a root that can't be written,
# alive, ready, a report in and out, a clean end.
#
#   try.sh IMAGE
#
# Needs podman. PODMAN_GLOBAL holds further options of podman (--storage-driver vfs), PODMAN_RUN of `podman run`
# (--runtime runc --network=host).
set -euo pipefail
image=${1:?which image?}
port=${LAYER5_TRY_PORT:-18080}
read -ra global <<<"${PODMAN_GLOBAL:-}"
read -ra options <<<"${PODMAN_RUN:-}"
folder=$(mktemp -d)
chmod 0777 "$folder"
name=layer5-try-$$
p() { podman "${global[@]}" "$@"; }
fail() {
  printf 'try.sh: %s\n' "$*" >&2
  p logs "$name" >&2 || true
  exit 1
}
trap 'p rm -f "$name" >/dev/null 2>&1 || true; rm -rf "$folder"' EXIT

[[ $(p image inspect --format '{{.Config.User}}' "$image") == 65532:65532 ]] || fail "its user is root"
p run --detach --name "$name" --read-only --cap-drop ALL --security-opt no-new-privileges "${options[@]}" \
  --volume "$folder:/var/lib/layer5" --env "LAYER5_HTTP__LISTEN=127.0.0.1:$port" \
  --env LAYER5_METRICS__LISTEN=127.0.0.1:0 --env LAYER5_STORE__DATA_DIR=/var/lib/layer5 "$image" >/dev/null
for ((i = 0; i < 300; i++)); do
  p exec "$name" /layer5 probe ready --url "http://127.0.0.1:$port" >/dev/null 2>&1 && break
  sleep 0.2
done
p exec "$name" /layer5 probe live --url "http://127.0.0.1:$port" || fail "it does not live"
p exec "$name" /layer5 probe ready --url "http://127.0.0.1:$port" || fail "it is not ready"
p exec "$name" /layer5 bluegreen smoke --url "http://127.0.0.1:$port" || fail "no report goes in and out"
pid=$(p inspect --format '{{.State.Pid}}' "$name")
[[ $(awk '/^Uid:/ {print $2}' "/proc/$pid/status") == 65532 ]] || fail "it runs as root"
[[ $(awk '/^CapEff:/ {print $2}' "/proc/$pid/status") == 0000000000000000 ]] || fail "it has capabilities"
grep -q '^NoNewPrivs:.1' "/proc/$pid/status" || fail "it could gain privileges"
awk '$5 == "/" && $6 ~ /^ro/ {found = 1} END {exit !found}' "/proc/$pid/mountinfo" || fail "its root can be written"
p stop --time 30 "$name" >/dev/null
[[ $(p inspect --format '{{.State.ExitCode}}' "$name") == 0 ]] || fail "it did not end cleanly"
echo "$image: uid 65532, no capabilities, read-only root, live, ready, a report in and out, exit 0"
