# kitbag-server: the API, the worker and the command line, as a user that is nobody in particular.
#
#   docker build --tag kitbag-server .
#   docker build --build-arg BASE=registry.example/debian-python:12 --secret id=ca,src=proxy-ca.pem .
#
# BASE is any Debian with `python3` 3.11 or later and its `venv`; give yours by digest too. The secret
# `ca`, where a company's proxy needs one, is trusted while building and never becomes part of the
# image. BuildKit builds it.
ARG BASE=docker.io/library/python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b

FROM ${BASE} AS build
RUN apt-get -qq update && apt-get -qq install -y --no-install-recommends binutils
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
# Debugging symbols of extension modules are a tenth of what is installed; and what is of use in an
# editor, in the tests of libraries and at Celery's own prompt is of none in a server.
RUN --mount=type=secret,id=ca \
    if [ -s /run/secrets/ca ]; then export SSL_CERT_FILE=/run/secrets/ca; fi \
    && /opt/uv/bin/uv build --no-cache --all-packages --wheel --out-dir /dist \
        --require-hashes --build-constraints requirements/dev.txt \
    && /opt/uv/bin/uv pip install --no-cache --python /opt/kitbag --compile-bytecode \
        --offline --no-deps /dist/*.whl \
    && find /opt/kitbag -name '*.so' -type f -exec strip --strip-unneeded {} + \
    && /opt/uv/bin/uv pip uninstall --python /opt/kitbag click-repl prompt-toolkit wcwidth \
    && cd /opt/kitbag/lib/python3*/site-packages \
    && rm -rf alembic/testing celery/contrib/testing mako/testing sqlalchemy/testing \
    && find . -name '*.pyi' -delete -o -name '*.pyx' -delete -o -name '*.pxd' -delete \
        -o -name '*.c' -delete -o -name '*.h' -delete

# What a build calls: git and ssh for its sources; and gpg, where commits are signed with it. None of
# that needs the Perl that git brings, a server of git's or old character sets, nor Python its own
# tests and installers.
FROM ${BASE} AS root
RUN apt-get -qq update \
    && apt-get -qq install -y --no-install-recommends ca-certificates git gpg gpg-agent \
        openssh-client tini \
    && dpkg --purge --force-depends git-man liberror-perl perl perl-modules-5.36 libperl5.36 \
    && dpkg --purge --force-depends --force-remove-essential perl-base \
    && useradd --uid 10001 --user-group --no-log-init --create-home --home-dir /var/lib/kitbag kitbag \
    && rm -rf /var/lib/apt/lists /var/cache/* /var/log/* /usr/share/doc /usr/share/man \
        /usr/share/info /usr/share/locale /usr/share/python-wheels /root/.cache \
        "$(python3 -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"/* \
    && cd "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && rm -rf ensurepip idlelib lib2to3 pydoc_data test tkinter turtledemo \
    && python3 -m compileall -q . \
    && cd /usr/lib/git-core && rm -f git-daemon git-http-backend git-http-push git-imap-send \
        /usr/bin/git-shell /usr/bin/scalar && rm -rf /usr/lib/*-linux-gnu/gconv

# From nothing, so that what is left out above is not in a layer below.
FROM scratch
COPY --from=root / /
COPY --from=build /opt/kitbag /opt/kitbag
ENV PATH=/opt/kitbag/bin:/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 PYTHONUNBUFFERED=1
# By number, so that Kubernetes can see that it isn't root.
USER 10001:10001
WORKDIR /var/lib/kitbag
VOLUME /var/lib/kitbag
ENTRYPOINT ["tini", "--", "kitbag-server"]
CMD ["--help"]
