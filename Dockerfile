# Meshdrop in a container.
#
#   docker build --target cpu  -t meshdrop:cpu  .
#   docker build --target cuda -t meshdrop:cuda .
#
# The cuda target contains nvdiffrast, whose licence forbids commercial use (docs/licences.md);
# --build-arg NVDIFFRAST= leaves it out, and the rasteriser in PyTorch takes its place.

ARG UBUNTU=24.04
ARG CUDA=12.8.1
ARG TORCH=2.9.1

# ---- Python packages without CUDA ----------------------------------------------------------------------------------
FROM ubuntu:${UBUNTU} AS build-cpu
ARG TORCH
# PyTorch publishes its builds without CUDA here and not on PyPI.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/meshdrop/venv
ENV PATH=/opt/meshdrop/venv/bin:$PATH
RUN pip install --no-cache-dir --index-url "${TORCH_INDEX}" "torch==${TORCH}"
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY .ci/constraints.txt .ci/
COPY recon recon
COPY daemon daemon
RUN pip install --no-cache-dir --constraint .ci/constraints.txt .

# ---- Python packages with CUDA, and nvdiffrast compiled for them ---------------------------------------------------
FROM nvidia/cuda:${CUDA}-devel-ubuntu${UBUNTU} AS build-cuda
ARG TORCH
ARG NVDIFFRAST=v0.4.0
# Ampere, Ada, Hopper, Blackwell; +PTX lets later cards compile for themselves.
ARG TORCH_CUDA_ARCH_LIST="8.0 8.6 8.9 9.0 10.0 12.0+PTX"
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/meshdrop/venv
ENV PATH=/opt/meshdrop/venv/bin:$PATH
RUN pip install --no-cache-dir "torch==${TORCH}" setuptools==84.2.1 wheel==0.46.1 ninja==1.13.0 \
    && if [ -n "${NVDIFFRAST}" ]; then \
        pip install --no-cache-dir --no-build-isolation \
            "https://github.com/NVlabs/nvdiffrast/archive/refs/tags/${NVDIFFRAST}.tar.gz"; \
    fi
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY .ci/constraints.txt .ci/
COPY recon recon
COPY daemon daemon
RUN pip install --no-cache-dir --constraint .ci/constraints.txt .

# ---- What both images run on ---------------------------------------------------------------------------------------
FROM ubuntu:${UBUNTU} AS runtime
# tini reaps what a killed worker leaves behind and passes SIGTERM on.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 meshdrop \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/meshdrop meshdrop \
    && install -d -o meshdrop -g meshdrop -m 0700 /var/lib/meshdrop \
    && install -d -o meshdrop -g meshdrop -m 2770 /share
ENV PATH=/opt/meshdrop/venv/bin:$PATH \
    MESHDROP_ROOT=/share \
    MESHDROP_STATE=/var/lib/meshdrop \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/meshdrop
VOLUME ["/share", "/var/lib/meshdrop"]
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["meshdrop", "health"]
ENTRYPOINT ["/usr/bin/tini", "--", "meshdrop"]
CMD ["serve"]

# PyTorch's wheels bring the CUDA runtime; the driver comes from the host (NVIDIA Container Toolkit).
FROM runtime AS cuda
COPY --from=build-cuda /opt/meshdrop/venv /opt/meshdrop/venv
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM runtime AS cpu
COPY --from=build-cpu /opt/meshdrop/venv /opt/meshdrop/venv
