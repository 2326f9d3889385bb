#!/usr/bin/env bash
# Walk the README word for word as a new user: clean home folder, fresh clone, each command timed.
#
#     tools/newcomer.sh                                # without PyTorch: its commands are skipped, and said
#     TRAIN=.venv/bin tools/newcomer.sh                # with an environment that has the extra `train`
#
# Fails where a command fails, or where an output block of the README has gone stale. Numbers, times
# and sizes are not compared: they differ from machine to machine.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
train=${TRAIN:+$(cd "$root" && cd "$TRAIN" && pwd)}
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
if [ -e "$root/.git" ]; then
  git clone --quiet "$root" "$home/galenic"
else
  (cd "$root" && tar --exclude=.venv --exclude=runs -cf - .) | (mkdir "$home/galenic" && tar -xf - -C "$home/galenic")
fi
cd "$home/galenic"
env -i PATH="$PATH" HOME="$home" LANG=C.UTF-8 TERM=dumb COLUMNS=100 TRAIN="$train" LIMIT="${LIMIT:-900}" \
  python3 tools/readme_blocks.py README.md
