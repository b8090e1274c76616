# The appliance in one container. `make image` builds it, `make up` runs it in 512 MB; docs/ says more.

# The stage that installs and compiles; only /opt/shapbox of it is used further.
FROM debian:trixie-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN apt-get update -q \
    && apt-get install -y -q --no-install-recommends python3 python3-venv gcc libc6-dev \
    && python3 -m venv /opt/installer \
    && python3 -m venv --without-pip /opt/shapbox/venv
COPY requirements.lock ops/container/sbom.lock /opt/
# Wheels only, each with the hash of the lock: nothing is compiled that nobody has checked.
RUN /opt/installer/bin/pip --python /opt/shapbox/venv/bin/python install \
        --require-hashes --no-deps --only-binary :all: --no-compile --progress-bar off -r /opt/requirements.lock \
    # The packages' own tests, C headers and type stubs: a sixth of their size, and nothing imports them.
    && find /opt/shapbox/venv \( -type d \( -name tests -o -name include \) -prune -o -type f \
        \( -name '*.pyi' -o -name '*.pxd' -o -name '*.pyx' -o -name '*.h' \) \) -exec rm -rf {} + \
    && /opt/shapbox/venv/bin/python -m compileall -q /opt/shapbox/venv/lib
# The list of these packages as CycloneDX (SBOM), written by a tool in an environment of its own.
RUN python3 -m venv --without-pip /opt/sbom \
    && /opt/installer/bin/pip --python /opt/sbom/bin/python install \
        --require-hashes --no-deps --only-binary :all: --no-compile --progress-bar off -r /opt/sbom.lock \
    && /opt/sbom/bin/cyclonedx-py environment --output-reproducible --output-format JSON \
        --output-file /opt/shapbox/sbom.cdx.json /opt/shapbox/venv
COPY . /opt/shapbox/app/
# The compiled engine's kernels; at run time neither their sources nor a compiler are needed.
RUN cd /opt/shapbox/app \
    && python3 -m shared.treeshap.build \
    && find shared/treeshap/native -type f ! -name '*.so' -delete
# Independent of the builder's umask: anybody may read, nobody but root may write.
RUN rm -r /opt/shapbox/app/requirements.lock /opt/shapbox/app/ops/container \
    && chmod -R u=rwX,go=rX /opt/shapbox \
    && /opt/shapbox/venv/bin/python -m compileall -q /opt/shapbox/app

# The stage that runs: Python, Redis, a font, the packages, Shapbox and its models.
FROM debian:trixie-slim
RUN apt-get update -q \
    && apt-get install -y -q --no-install-recommends python3 redis-server fonts-dejavu-core \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* /var/log/* /var/cache/debconf/* /usr/bin/redis-benchmark /etc/redis \
    # Of the fonts, the one that plots are written with.
    && find /usr/share/fonts -type f ! -name DejaVuSans.ttf -delete \
    && groupadd --gid 10001 shapbox \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin shapbox \
    && install -d -o shapbox -g shapbox -m 700 /data
COPY --from=build /opt/shapbox/venv /opt/shapbox/venv
COPY --from=build /opt/shapbox/sbom.cdx.json /opt/shapbox/sbom.cdx.json
COPY --from=build /opt/shapbox/app /opt/shapbox/app
ARG VERSION=unknown
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="Shapbox" \
      org.opencontainers.image.description="An appliance that serves exact SHAP values of XGBoost models." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}" \
      shapbox.sbom="/opt/shapbox/sbom.cdx.json"
# Where a container differs from a bare machine; every other default is in shared/settings.py.
ENV HOST=0.0.0.0 \
    DATA_DIR=/data \
    SHAPBOX_COMMIT="${COMMIT}" \
    SHAPBOX_USER=10001:10001 \
    HOME=/data \
    PATH=/opt/shapbox/venv/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /opt/shapbox/app
# The user that the container starts as. `root` is for where a disk is mounted as root's, as on Render, which makes a build
# argument of the service's variable: boot gives the disk to SHAPBOX_USER then, and becomes that user for good.
ARG SHAPBOX_BOOT_USER=10001:10001
USER ${SHAPBOX_BOOT_USER}
VOLUME /data
EXPOSE 10000
# A success ends the start period. Without an api nothing answers before the models are activated, and an api alone answers
# that it is starting.
HEALTHCHECK --interval=15s --timeout=5s --start-period=15m --retries=3 CMD ["python", "-m", "ops.run.healthcheck"]
ENTRYPOINT ["python", "-m", "ops.run"]
