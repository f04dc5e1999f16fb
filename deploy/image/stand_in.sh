#!/bin/sh
# Makes a stand-in for the base image where no registry can be reached: Debian's own Python 3.11, with pip and venv.
# Takes the name to give it. The archive is kept in build/image, for the next time.
set -eu
cd "$(dirname "$0")/../.."
archive=build/image/base.tar
if ! [ -s "$archive" ]; then
    mkdir -p build/image
    mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,python3-pip,libpython3-dev,ca-certificates \
        --customize-hook='ln -s python3 "$1/usr/bin/python"' bookworm "$archive.part.tar"
    mv "$archive.part.tar" "$archive"
fi
podman import --quiet "$archive" "$1"
