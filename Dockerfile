# Pinned by tag. To pin by digest, look it up and append it to the tag, which then only documents it:
#   docker buildx imagetools inspect python:3.13-slim-trixie --format '{{.Manifest.Digest}}'
#   FROM python:3.13-slim-trixie@sha256:...   (in both places)
FROM python:3.13-slim-trixie AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build

# The service's environment gets no pip; the one of the build stage installs into it.
RUN python -m venv /opt/build && python -m venv --without-pip /opt/authapi

COPY requirements.lock requirements-build.lock ./
RUN /opt/build/bin/pip install --require-hashes --only-binary :all: -r requirements-build.lock \
    && /opt/build/bin/pip --python /opt/authapi/bin/python install \
        --require-hashes --only-binary :all: -r requirements.lock

COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY alembic alembic
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/build/bin/pip --python /opt/authapi/bin/python install --no-deps --no-index /wheels/*.whl


FROM python:3.13-slim-trixie

LABEL org.opencontainers.image.title="authapi" \
      org.opencontainers.image.description="A self-hosted authentication service" \
      org.opencontainers.image.licenses="MIT"

# Whoever gets in finds nothing to install with.
RUN python -m pip uninstall --yes pip \
    && rm -rf /usr/local/lib/python3.13/ensurepip \
    && groupadd --gid 10001 authapi \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin authapi \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/authapi

# Owned by root: the service cannot change its own code.
COPY --from=build /opt/authapi /opt/authapi

# Runs with --read-only --tmpfs /tmp: only the data directory is written to.
ENV PATH="/opt/authapi/bin:$PATH" \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    AUTHAPI_ENVIRONMENT=production \
    AUTHAPI_DATA_DIR=/var/lib/authapi

# Not the data directory: in other environments an .env file written there would be read as configuration.
WORKDIR /opt/authapi
# By number, which is how Kubernetes can see that it is not root.
USER 10001:10001
VOLUME ["/var/lib/authapi"]
EXPOSE 5001
STOPSIGNAL SIGTERM

# http.client follows no proxy variables; live, not ready: a container is not restarted because its database is away.
HEALTHCHECK --interval=30s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 5001, timeout=2); c.request('GET', '/health/live'); raise SystemExit(c.getresponse().status != 200)"]

ENTRYPOINT ["authapi"]
CMD ["serve", "--host", "0.0.0.0", "--port", "5001"]
