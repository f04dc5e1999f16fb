# syntax=docker/dockerfile:1
FROM docker.io/library/python:3.11-slim-bookworm AS build
WORKDIR /src
# To compile the hot modules with; nothing of it gets into the image.
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev
COPY pyproject.toml setup.py constraints.txt README.md LICENSE ./
COPY proxy ./proxy
RUN python -m venv /opt/cutover \
 && PIP_CONSTRAINT=constraints.txt /opt/cutover/bin/pip install --no-cache-dir --disable-pip-version-check --no-compile . \
 && /opt/cutover/bin/pip uninstall --yes --quiet pip setuptools \
 && find /opt/cutover -name __pycache__ -prune -exec rm -rf {} +

FROM docker.io/library/python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="cutover" \
      org.opencontainers.image.description="Moves live traffic from an old backend to a new one, one hash bucket of users at a time" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/cutover /opt/cutover
COPY --chmod=0644 config/cutover.yaml /etc/cutover/cutover.yaml
# Bytecode for what `run` and the health check import, of the standard library too: the user can't write it later.
# Then away with the base's installer.
RUN /opt/cutover/bin/python -c 'import http.client, proxy.cli.main, proxy.cli.run, proxy.worker' \
 && { ! test -x /usr/local/bin/pip || /usr/local/bin/python -m pip uninstall --yes --quiet --root-user-action=ignore setuptools wheel pip; } \
 && rm -rf /usr/local/lib/python3.*/ensurepip
ENV PATH=/opt/cutover/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=2s --start-period=5s \
    CMD ["python", "-I", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 9900, timeout=1); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["cutover"]
CMD ["run", "-c", "/etc/cutover/cutover.yaml"]
