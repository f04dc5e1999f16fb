# syntax=docker/dockerfile:1
FROM docker.io/library/python:3.11-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY proxy ./proxy
RUN python -m venv /opt/cutover \
 && /opt/cutover/bin/pip install --no-cache-dir --disable-pip-version-check --constraint constraints.txt . \
 && /opt/cutover/bin/pip uninstall --yes --quiet pip setuptools \
 && find /opt/cutover -name __pycache__ -prune -exec rm -rf {} +

FROM docker.io/library/python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="cutover" \
      org.opencontainers.image.description="Moves live traffic from an old backend to a new one, one hash bucket of users at a time" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/cutover /opt/cutover
COPY config/cutover.yaml /etc/cutover/cutover.yaml
ENV PATH=/opt/cutover/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=2s --start-period=5s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9900/healthz', timeout=1)"]
ENTRYPOINT ["cutover"]
CMD ["run", "-c", "/etc/cutover/cutover.yaml"]
