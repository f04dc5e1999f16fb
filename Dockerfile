# syntax=docker/dockerfile:1
# What is shipped is put together from nothing: Python, the libraries that it loads, a small shell, and cutover.
# BASE by digest, and SOURCE_DATE_EPOCH, give the same layers again: `make image` sets the latter, to one time for all.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

# hadolint ignore=DL3006
FROM ${BASE} AS build
ARG EXTRAS=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PYTHONDONTWRITEBYTECODE=1
SHELL ["/bin/bash", "-o", "errexit", "-o", "pipefail", "-c"]
# To compile the hot modules with; nothing of it gets into the image, so its version need not be pinned.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml setup.py constraints.txt README.md LICENSE ./
COPY proxy ./proxy
# CUTOVER_SCRATCH: a directory of the same name each time, for it gets into what is compiled.
RUN python3 -m venv /opt/cutover \
 && PIP_CONSTRAINT=constraints.txt CUTOVER_SCRATCH=/tmp/scratch /opt/cutover/bin/pip install --no-compile ".${EXTRAS:+[$EXTRAS]}" \
 && /opt/cutover/bin/pip uninstall --yes --quiet pip setuptools \
 && find /opt/cutover/lib -name '*.so' -exec strip --strip-debug {} + \
 && rm -rf /opt/cutover/share /opt/cutover/include /opt/cutover/bin/[Aa]ctivate*
COPY deploy/image/rootfs.py /src/
COPY --chmod=0644 config/cutover.yaml /rootfs/program/etc/cutover/cutover.yaml
ARG SOURCE_DATE_EPOCH=0
RUN /opt/cutover/bin/python /src/rootfs.py --runtime /rootfs/runtime --program /rootfs/program /opt/cutover

FROM scratch
# Two layers: the first stays the same from one release to the next while BASE does.
COPY --from=build /rootfs/runtime /
COPY --from=build /rootfs/program /
ARG VERSION=unknown
ARG REVISION=unknown
ARG SOURCE=https://example.com/cutover
LABEL org.opencontainers.image.title="cutover" \
      org.opencontainers.image.description="Moves live traffic from an old backend to a new one, one hash bucket of users at a time" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"
ENV PATH=/opt/cutover/bin:/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
# Asks where the configuration says that the admin port is; as process 1 it finds out which file that is.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["python", "-I", "-m", "proxy.healthcheck"]
ENTRYPOINT ["cutover"]
CMD ["run", "-c", "/etc/cutover/cutover.yaml"]
