#!/bin/sh
# Makes configure. With --run or --check also does everything from a fresh Debian 12 on.
set -eu

usage() {
    cat <<TXT
Usage: ./autogen.sh [--run | --check] [--no-deps] [-- ARGUMENTS]

  without an option   make ./configure
  --run               install what is missing, configure, build, start the server on 127.0.0.1:8080
                      (ARGUMENTS go to sluice)
  --check             install what is missing, configure, build, run the whole test suite
                      (ARGUMENTS go to make check)
  --no-deps           install nothing
TXT
}

mode=configure
deps=yes
while [ $# -gt 0 ]; do
    case $1 in
    --run) mode=run ;;
    --check) mode=check ;;
    --no-deps) deps=no ;;
    --help | -h) usage; exit 0 ;;
    --) shift; break ;;
    *) echo "autogen.sh: there is no option '$1'" >&2; usage >&2; exit 2 ;;
    esac
    shift
done

source_dir=$(cd "$(dirname "$0")" && pwd)
build_dir=${BUILD_DIR:-$source_dir/build}
cd "$source_dir"

build_packages="gcc libc6-dev make autoconf automake pkg-config libmicrohttpd-dev libhiredis-dev libjansson-dev
    libsodium-dev libinih-dev uthash-dev libunistring-dev"
test_packages="libcmocka-dev python3 python3-pytest python3-aiohttp curl chromium clang-format procps"

# Node.js may be there from elsewhere; Debian's npm would fight with it.
node_packages() {
    command -v node >/dev/null 2>&1 || echo nodejs
    command -v npm >/dev/null 2>&1 || echo npm
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        echo "autogen.sh: installing packages needs root: run this as root, install sudo, or use --no-deps" >&2
        exit 1
    fi
}

install_packages() {
    missing=
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    echo "Installing:$missing"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
}

make_configure() {
    autoreconf -fi
}

build() {
    mkdir -p "$build_dir"
    cd "$build_dir"
    [ -f Makefile ] || "$source_dir/configure" ${CONFIGURE_ARGUMENTS:-}
    make -j"$(nproc)" ${1:-}
}

case $mode in
configure)
    make_configure
    echo "Now: ./configure && make (or ./autogen.sh --run)"
    ;;
run)
    # shellcheck disable=SC2086
    [ "$deps" = no ] || install_packages $build_packages
    make_configure
    build
    cat <<TXT

Sluice runs. Open http://127.0.0.1:8080/ or try, each in a terminal of its own:

  curl -N -H 'Accept: text/event-stream' http://127.0.0.1:8080/channels/updates
  curl -i http://127.0.0.1:8080/channels/updates
  curl -d 'follow the white rabbit' http://127.0.0.1:8080/channels/updates

Ctrl-C ends it.

TXT
    exec "$build_dir/sluice" serve --static-dir "$source_dir/static" "$@"
    ;;
check)
    # shellcheck disable=SC2046,SC2086
    [ "$deps" = no ] || install_packages $build_packages $test_packages $(node_packages)
    make_configure
    build
    sh "$source_dir/tests/browser/install" "$build_dir"
    status=0
    make -C "$build_dir" -j"$(nproc)" check "$@" || status=$?
    sh "$source_dir/tests/summary" "$build_dir" || status=1
    exit "$status"
    ;;
esac
