#!/usr/bin/env bash
# Builds the image of Layer5.
#
#   build.sh [--binary FILE] [--tag NAME]
#
#   --binary FILE   the program (target/release/layer5; `cargo build --release` makes it)
#   --tag NAME      the image's name (layer5:vX.Y.Z, by the program's own version)
#
# Needs buildah, or podman or docker. Nothing is pulled. BUILDAH_GLOBAL holds further options of buildah: in a container
# without privileges it works with BUILDAH_ISOLATION=chroot BUILDAH_GLOBAL='--storage-driver vfs'.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
binary=$here/../../target/release/layer5 tag=''

fail() {
  printf 'build.sh: %s\n' "$*" >&2
  exit 1
}
while (($# > 0)); do
  case $1 in
    --binary | --tag)
      (($# > 1)) || fail "$1 needs a value"
      if [[ $1 == --binary ]]; then binary=$2; else tag=$2; fi
      shift
      ;;
    *) fail "unknown option $1" ;;
  esac
  shift
done
[[ -x $binary ]] || fail "no program at $binary: cargo build --release, or --binary FILE"
[[ -n $tag ]] || tag=layer5:v$("$binary" --version | cut -d ' ' -f 2)

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
root=$context/rootfs
mkdir -p "$root"/{etc,tmp,usr/bin,var/lib/layer5,var/backups/layer5}
install -m 0755 "$binary" "$root/layer5"
ln -s /layer5 "$root/usr/bin/layer5"
ln -s /layer5 "$root/usr/bin/curl"
# What the loader would load, and the loader itself; libc finds names by itself since 2.34.
ldd "$binary" | grep -o '/[^ ]*' | while read -r library; do
  install -D -m 0755 "$(realpath "$library")" "$root$library"
done
printf 'root:x:0:0::/:\nlayer5:x:65532:65532::/:\n' >"$root/etc/passwd"
printf 'root:x:0:\nlayer5:x:65532:\n' >"$root/etc/group"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
chown -R 65532:65532 "$root/var/lib/layer5" "$root/var/backups/layer5" 2>/dev/null || true
chmod 1777 "$root/tmp"

if command -v buildah >/dev/null; then
  read -ra global <<<"${BUILDAH_GLOBAL:-}"
  buildah "${global[@]}" build --quiet --file "$here/Containerfile" --tag "$tag" "$context"
elif command -v podman >/dev/null; then
  podman build --quiet --file "$here/Containerfile" --tag "$tag" "$context"
elif command -v docker >/dev/null; then
  docker build --quiet --file "$here/Containerfile" --tag "$tag" "$context"
else
  fail "neither buildah nor podman nor docker is installed"
fi
echo "$tag: $(du -sh "$root" | cut -f 1)"
