#!/bin/sh
# SPDX-License-Identifier: MIT
# From a fresh checkout to a running server, or a finished test run, in one command.
set -e

usage() {
    cat <<'USAGE'
Usage: ./autogen.sh                            make ./configure, nothing else
       ./autogen.sh --run [--no-deps] [-- SLUICE-OPTIONS]
                                               install what is missing, build in ./build, start the server
       ./autogen.sh --build [--no-deps] [-- DEBIAN-PACKAGES]
                                               the same without the start; these packages are wanted too
       ./autogen.sh --check [--no-deps] [-- MAKE-ARGUMENTS]
                                               the same, and run the test suite

--no-deps leaves apt-get and npm out.
USAGE
}

say() {
    printf '\n==> %s\n' "$*"
}

fail() {
    printf 'autogen.sh: %s\n' "$*" >&2
    exit 1
}

build_packages='gcc libc6-dev make autoconf automake pkg-config libmicrohttpd-dev libhiredis-dev libjansson-dev
libsodium-dev libinih-dev uthash-dev libunistring-dev libjudy-dev libwslay-dev
libcjose-dev libssl-dev libseccomp-dev libgnutls28-dev libcurl4-gnutls-dev'
check_packages='libcmocka-dev python3 python3-pytest python3-aiohttp clang-format ca-certificates procps redis-server
redis-tools python3-redis python3-jsonschema python3-tornado python3-websockets node-redis node-ws nginx haproxy
varnish apache2-bin squid tinyproxy-bin privoxy
python3-jwt python3-cryptography openssl gnutls-bin python3-django python3-flask'

is_installed() {
    case $(dpkg-query -W -f '${Status}' "$1" 2>/dev/null) in
    *' installed') return 0 ;;
    esac
    return 1
}

# These programs may come from elsewhere than Debian, and then apt-get must not replace them. Debian's npm brings some 360
# packages: without an npm, tests/browser/fetch-packages.mjs does its work.
list_missing_programs() {
    command -v chromium >/dev/null || echo chromium
    command -v node >/dev/null || echo nodejs
    command -v npm >/dev/null || is_installed node-registry-url || echo node-registry-url
}

list_missing() {
    for package in $build_packages; do
        is_installed "$package" || echo "$package"
    done
    command -v curl >/dev/null || echo curl
    for package in $more_packages; do
        is_installed "$package" || echo "$package"
    done
    [ "$mode" = check ] || return 0
    for package in $check_packages; do
        is_installed "$package" || echo "$package"
    done
    list_missing_programs
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# What apt-get would do, as one line: "12 packages, 30 MB to fetch, 95 MB on disk".
describe_install() {
    LC_ALL=C apt-get --no-install-recommends --assume-no install "$@" 2>/dev/null | awk '
        / newly installed/ { packages = $3 }
        /^Need to get/ { fetch = $4 " " $5 }
        /disk space will be used/ { disk = $4 " " $5 }
        END { printf "%s packages, %s to fetch, %s on disk", packages, fetch ? fetch : "nothing", disk ? disk : "nothing" }'
}

# Runs a command of apt-get's, whose words matter only when it fails.
run_quietly() {
    output=$(mktemp)
    status=0
    as_root env DEBIAN_FRONTEND=noninteractive "$@" >"$output" 2>&1 </dev/null || status=$?
    [ "$status" = 0 ] || tail -n 20 "$output" >&2
    rm -f "$output"
    return "$status"
}

# The tests start their own proxies and Redis: installing those packages is not to put a server on port 80, 3128 or 6379.
# policy-rc.d is how Debian is told; one that is there already says what its owner wants.
install_without_services() {
    # shellcheck disable=SC2016 # for the inner shell
    run_quietly sh -c 'policy=/usr/sbin/policy-rc.d
        if [ ! -e "$policy" ]; then
            trap "rm -f $policy" EXIT
            printf "#!/bin/sh\nexit 101\n" >"$policy" && chmod +x "$policy"
        fi
        apt-get -qq -y --no-install-recommends install "$@"' sh "$@"
}

install_packages() {
    command -v apt-get >/dev/null || fail "there is no apt-get here; install the libraries yourself and add --no-deps"
    missing=$(list_missing | tr '\n' ' ')
    [ -n "$missing" ] || return 0
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null ||
        fail "neither root nor sudo; run as root: apt-get install $missing"
    say "Missing: $missing"
    [ "$(id -u)" = 0 ] || sudo -v || fail "sudo is needed to install them; or add --no-deps"
    run_quietly apt-get -qq update || fail "apt-get update failed, see above"
    # shellcheck disable=SC2086 # a list of words
    say "Installing them with apt-get: $(describe_install $missing)"
    # shellcheck disable=SC2086
    install_without_services $missing || fail "apt-get install failed, see above"
}

make_configure() {
    for tool in autoreconf automake pkg-config; do
        command -v "$tool" >/dev/null || fail "$tool is missing: apt-get install autoconf automake pkg-config"
    done
    autoreconf -fi
}

# A source folder that was configured in place cannot be configured in another: then that build is the one to use.
choose_build() {
    build=build
    [ ! -f config.status ] || build=.
}

# --recheck keeps the arguments of an earlier configure and sees what has been installed since.
configure_build() {
    say "Configuring in ./$build"
    if [ ! -f configure ] || [ -n "$(find configure.ac Makefile.am -newer configure)" ]; then
        make_configure
    fi
    mkdir -p "$build"
    if [ -f "$build/config.status" ]; then
        (cd "$build" && ./config.status --silent --recheck && ./config.status --silent)
    else
        (cd "$build" && ../configure --quiet)
    fi
}

build() {
    say "Building"
    make --silent -C "$build" -j"$(nproc)"
}

# Prints the address that the given options make the server listen on first.
find_address() {
    address=${SLUICE_HTTP:-127.0.0.1:8080}
    while [ $# -gt 0 ]; do
        case $1 in
        --http=*) address=${1#--http=} && break ;;
        --http) address=${2:-} && break ;;
        esac
        shift
    done
    case $address in
    :*) address=127.0.0.1$address ;;
    esac
    printf '%s\n' "$address"
}

run_server() {
    url=http://$(find_address "$@")
    cat <<TRY

Open      $url/

Listen    curl -N -H 'Accept: text/event-stream' $url/channels/news
Wait      curl -i $url/channels/news
Publish   curl -d 'Hello' $url/channels/news

Ctrl-C stops the server.

TRY
    source_folder=$PWD
    cd "$called_from"
    exec "$source_folder/$build/sluice" serve --static-dir "$source_folder/static" "$@"
}

run_checks() {
    say "Running the test suite"
    find "$build/tests" -name '*.trs' -delete
    status=0
    make --no-print-directory -C "$build" -j"$(nproc)" check VERBOSE=yes "$@" || status=$?
    say "Summaries"
    sh tests/summary "$build" || status=1
    exit "$status"
}

called_from=$PWD
cd "$(dirname "$0")"
mode=configure
with_packages=yes
while [ $# -gt 0 ]; do
    case $1 in
    --run) mode=run ;;
    --build) mode=build ;;
    --check) mode=check ;;
    --no-deps) with_packages=no ;;
    --help | -h) usage && exit 0 ;;
    --) shift && break ;;
    *) usage >&2 && exit 2 ;;
    esac
    shift
done

if [ "$mode" = configure ]; then
    make_configure
    exit 0
fi
more_packages=
[ "$mode" != build ] || more_packages=$*
choose_build
[ "$with_packages" = no ] || install_packages
configure_build
build
case $mode in
run) run_server "$@" ;;
check)
    [ "$with_packages" = no ] || sh tests/browser/install "$build" ||
        echo "the packages of the browser tests could not be installed: they will be skipped" >&2
    run_checks "$@"
    ;;
esac
