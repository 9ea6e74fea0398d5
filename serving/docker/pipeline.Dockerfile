# The image of every task of the compiled pipeline; docs/how-to/run-on-kubeflow.md shows its use.
#
#   docker build --file serving/docker/pipeline.Dockerfile --tag debut-pipeline .
#
# BASE is a Debian or Ubuntu with glibc and Python 3.10 with its headers, such as one with CUDA. pip's
# settings for an index and a certificate are taken from it, or from the two arguments.
ARG BASE=python:3.10-slim-bookworm

FROM ${BASE} AS builder
ARG PIP_INDEX_URL
ARG PIP_CERT
# One dependency of TFX has no wheel.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends g++ \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/debut
COPY requirements.lock pyproject.toml README.md LICENSE ./
COPY scripts/bootstrap scripts/bootstrap
# The environment of every other machine; code comes later, so that a change of it rebuilds little.
# Half of a process's start is compiling TensorFlow and TFX where bytecode isn't kept.
RUN UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy scripts/bootstrap \
 && rm -rf /root/.cache

FROM ${BASE}
# Kubeflow's launcher runs as this user too, and puts artifacts below these three folders.
RUN useradd --uid 10001 --create-home debut \
 && mkdir --mode=1777 /minio /s3 /gcs
WORKDIR /opt/debut
COPY --from=builder /opt/debut/.venv .venv
COPY components components
COPY models models
COPY pipeline pipeline
COPY serving serving
COPY data data
COPY pyproject.toml README.md LICENSE ./
ENV PATH=/opt/debut/.venv/bin:${PATH} \
    PYTHONPATH=/opt/debut \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp
RUN python -m compileall -q components models pipeline serving
USER 10001
WORKDIR /tmp
ENTRYPOINT ["python", "-m", "pipeline.kubeflow.entrypoint"]
