#!/usr/bin/env bash
# Builds focus-python and focus-mlflow where there is no registry and no base image: a Debian base by mmdebstrap, then
# their container files by podman, in a chroot. Needs root, mmdebstrap, podman and 25 GB of disk, for focus-mlflow alone
# 8 GB. The base is made once.
#
#   infra/images/build_local.sh [python] [mlflow]
#
# Variables: TAG (of the images), SUITE and MIRROR (of the base; without MIRROR mmdebstrap's own), TORCH_INDEX (a CPU-only
# index, as in the Makefile). What pip is set up with on this machine, files and variables, is lent to the build and not
# kept in the image.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if [ $# -eq 0 ]; then set -- python mlflow; fi
TAG=${TAG:-0.1.0}
SUITE=${SUITE:-bookworm}
BASE=localhost/focus-base:$SUITE
scratch=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
trap 'rm -rf "$scratch"' EXIT
export TMPDIR=$scratch

say() { printf '== %s\n' "$*"; }

for tool in mmdebstrap podman; do
    command -v "$tool" >/dev/null || { echo "$tool is needed; install Debian's package of this name" >&2; exit 1; }
done
[ "$(id -u)" -eq 0 ] || { echo "root is needed, to make a base system; call this with sudo" >&2; exit 1; }

if ! podman image exists "$BASE"; then
    say "base: Debian $SUITE with Python"
    # shellcheck disable=SC2086 # without a mirror there is no argument
    mmdebstrap --variant=minbase --include=ca-certificates,python3-venv,python-is-python3 "$SUITE" \
        "$scratch/base.tar" ${MIRROR:-}
    podman import --quiet "$scratch/base.tar" "$BASE"
fi

# One file of all that pip reads here; the first value of a key is the one in force.
{
    echo "[global]"
    python3 -m pip config list | sed -nE "s/^[^.]*\.([^=]+)='(.*)'$/\1 = \2/p" | awk '!seen[$1]++'
} >"$scratch/pip.conf"
lent=(--volume "$scratch/pip.conf:/etc/pip.conf:ro")
while read -r path; do
    if [ -e "$path" ]; then lent+=(--volume "$path:$path:ro"); fi
done < <(sed -E 's, = |file://, ,g' "$scratch/pip.conf" | grep -oE '(^| )/[^ ]+' | sed -E 's,^ +,,; s,/simple/?$,,' | sort -u)

for name in "$@"; do
    image=focus-$name:$TAG
    say "image: $image"
    started=$SECONDS
    podman build --isolation chroot --network host --layers=false "${lent[@]}" --build-arg "BASE=$BASE" \
        --build-arg "TORCH_INDEX=${TORCH_INDEX:-}" --file "infra/images/$name.Containerfile" --tag "$image" .
    say "image: $image, $(podman image inspect --format '{{.Size}}' "$image" | awk '{ printf "%.1f GB", $1 / 1e9 }')," \
        "built in $((SECONDS - started)) s"
done
