# kitbag-server: the API, the worker and the command line, as a user that is nobody in particular.
#
#   docker build --tag kitbag-server .
#   docker build --build-arg BASE=registry.example/debian-python:12 --secret id=ca,src=proxy-ca.pem .
#
# BASE is any Debian with `python3` 3.11 or later and its `venv`. The secret `ca`, where a company's
# proxy needs one, is trusted while building and never becomes part of the image. BuildKit builds it.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
COPY requirements requirements
RUN --mount=type=secret,id=ca \
    if [ -s /run/secrets/ca ]; then export SSL_CERT_FILE=/run/secrets/ca PIP_CERT=/run/secrets/ca; fi \
    && python3 -m venv /opt/uv \
    && /opt/uv/bin/pip install --no-cache-dir --require-hashes -r requirements/bootstrap.txt \
    && /opt/uv/bin/uv venv --python python3 /opt/kitbag \
    && /opt/uv/bin/uv pip install --no-cache --python /opt/kitbag --compile-bytecode \
        --require-hashes -r requirements/server.txt
COPY . .
RUN --mount=type=secret,id=ca \
    if [ -s /run/secrets/ca ]; then export SSL_CERT_FILE=/run/secrets/ca; fi \
    && /opt/uv/bin/uv build --no-cache --all-packages --wheel --out-dir /dist \
        --require-hashes --build-constraints requirements/dev.txt \
    && /opt/uv/bin/uv pip install --no-cache --python /opt/kitbag --compile-bytecode \
        --offline --no-deps /dist/*.whl

FROM ${BASE}
# What a build calls: git and ssh for its sources; and gpg, where commits are signed with it.
RUN apt-get -qq update \
    && apt-get -qq install -y --no-install-recommends ca-certificates git gnupg openssh-client tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-log-init --create-home --home-dir /var/lib/kitbag kitbag
COPY --from=build /opt/kitbag /opt/kitbag
ENV PATH=/opt/kitbag/bin:$PATH PYTHONUNBUFFERED=1
# By number, so that Kubernetes can see that it isn't root.
USER 10001:10001
WORKDIR /var/lib/kitbag
VOLUME /var/lib/kitbag
ENTRYPOINT ["tini", "--", "kitbag-server"]
CMD ["--help"]
