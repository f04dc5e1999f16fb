#!/bin/sh
# Builds the image with the first of docker, podman and buildah that works: `make image`.
# From the environment: IMAGE, TAG, BASE, EXTRAS (such as migration,rollout), SOURCE, IMAGE_FLAGS (for the builder),
# SOURCE_DATE_EPOCH, BUILDER.
set -eu
cd "$(dirname "$0")/../.."

version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' proxy/__init__.py)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
if [ "$revision" != unknown ] && ! git diff --quiet HEAD -- 2>/dev/null; then revision="$revision-dirty"; fi
# The same for every commit, so that the layer of Python is the same from one release to the next, cached or not.
: "${SOURCE_DATE_EPOCH:=1577836800}"
: "${SOURCE:=$(git config --get remote.origin.url 2>/dev/null | sed -n 's,^\(https://\)\([^@/]*@\)\{0,1\},\1,p')}"
export SOURCE_DATE_EPOCH
name="${IMAGE:-cutover}:${TAG:-$version}"

works() { command -v "$1" >/dev/null && "$1" info >/dev/null 2>&1; }
if [ -z "${BUILDER:-}" ]; then
    for BUILDER in docker podman buildah none; do
        if [ "$BUILDER" = none ] || works "$BUILDER"; then break; fi
    done
fi
set -- --tag "$name" --build-arg "VERSION=$version" --build-arg "REVISION=$revision" --build-arg "EXTRAS=${EXTRAS:-}" \
    --build-arg "SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH" \
    ${SOURCE:+--build-arg "SOURCE=$SOURCE"} ${BASE:+--build-arg "BASE=$BASE"}
case $BUILDER in
    # Only the docker format has a HEALTHCHECK.
    podman | buildah) set -- --format docker --layers --timestamp "$SOURCE_DATE_EPOCH" "$@" ;;
    docker) ;;
    *) echo 'none of docker, podman and buildah works here' >&2; exit 1 ;;
esac
# shellcheck disable=SC2086  # several flags
"$BUILDER" build ${IMAGE_FLAGS:-} "$@" . >&2
echo "$name"
