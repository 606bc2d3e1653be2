# Meshdrop in a container.
#
#   docker build --target cpu  -t meshdrop:cpu  .
#   docker build --target cuda -t meshdrop:cuda .
#
# The cuda target contains nvdiffrast, whose licence forbids commercial use (docs/licences.md);
# --build-arg NVDIFFRAST= leaves it out, and the rasteriser in PyTorch takes its place.
# --build-arg RECONVIAGEN= leaves the generative model out; its weights are never in the image, but on a volume.
#
# Every version is fixed: images by tag (for more, give a digest: --build-arg UBUNTU_IMAGE=ubuntu@sha256:...), Python
# packages by .ci/constraints.txt, sources by the full commit, which Git itself checks.

ARG UBUNTU_IMAGE=ubuntu:24.04
ARG CUDA_IMAGE=nvidia/cuda:13.0.1-devel-ubuntu24.04
ARG TORCH=2.11.0
ARG TORCHVISION=0.26.0

# ---- Python packages without CUDA ----------------------------------------------------------------------------------
FROM ${UBUNTU_IMAGE} AS build-cpu
ARG TORCH
# PyTorch publishes its builds without CUDA here and not on PyPI.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# The archive keeps no old versions, so Debian packages cannot be fixed (here and below).
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
FROM ${CUDA_IMAGE} AS build-cuda
ARG TORCH
ARG TORCHVISION
# The release v0.4.0; empty: without nvdiffrast.
ARG NVDIFFRAST=253ac4fcea7de5f396371124af597e6cc957bfae
# Branch v0.2 on 3 April 2026; empty: without the generative model.
ARG RECONVIAGEN=34aed302e4221bbbd705383b5b4cbfaf67579edb
# Ampere, Ada, Hopper, Blackwell; +PTX lets later cards compile for themselves.
ARG TORCH_CUDA_ARCH_LIST="8.0 8.6 8.9 9.0 10.0 12.0+PTX"
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential ca-certificates git python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/meshdrop/venv
ENV PATH=/opt/meshdrop/venv/bin:$PATH
RUN pip install --no-cache-dir "torch==${TORCH}" "torchvision==${TORCHVISION}" \
        setuptools==84.2.1 wheel==0.48.0 ninja==1.13.2
RUN if [ -n "${NVDIFFRAST}" ]; then \
        git init --quiet /src/nvdiffrast \
        && git -C /src/nvdiffrast fetch --quiet --depth 1 https://github.com/NVlabs/nvdiffrast.git "${NVDIFFRAST}" \
        && git -C /src/nvdiffrast checkout --quiet FETCH_HEAD \
        && pip install --no-cache-dir --no-build-isolation /src/nvdiffrast; \
    fi
# Only the code that runs: no pictures, and none of the bundled dust3r and mast3r, which are non-commercial and not used.
RUN mkdir -p /opt/reconviagen \
    && if [ -n "${RECONVIAGEN}" ]; then \
        git init --quiet /src/reconviagen \
        && git -C /src/reconviagen fetch --quiet --depth 1 \
            https://github.com/GAP-LAB-CUHK-SZ/ReconViaGen.git "${RECONVIAGEN}" \
        && git --git-dir /src/reconviagen/.git --work-tree /opt/reconviagen \
            checkout --quiet FETCH_HEAD -- LICENSE trellis wheels/vggt; \
    fi
WORKDIR /src/meshdrop
COPY pyproject.toml README.md LICENSE ./
COPY .ci/constraints.txt .ci/
COPY recon recon
COPY daemon daemon
RUN pip install --no-cache-dir --constraint .ci/constraints.txt ".[reconviagen]"

# ---- What both images run on ---------------------------------------------------------------------------------------
FROM ${UBUNTU_IMAGE} AS runtime
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
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s CMD ["meshdrop", "health"]
ENTRYPOINT ["/usr/bin/tini", "--", "meshdrop"]
CMD ["serve"]

# PyTorch's wheels bring the CUDA runtime; the driver comes from the host (NVIDIA Container Toolkit).
FROM runtime AS cuda
COPY --from=build-cuda /opt/meshdrop/venv /opt/meshdrop/venv
COPY --from=build-cuda /opt/reconviagen /opt/reconviagen
# /weights: the generative model's files, mounted read-only (docs/operations.md).
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    MESHDROP_RECONVIAGEN__SOURCE_DIR=/opt/reconviagen \
    MESHDROP_RECONVIAGEN__WEIGHTS_DIR=/weights
VOLUME ["/weights"]

FROM runtime AS cpu
COPY --from=build-cpu /opt/meshdrop/venv /opt/meshdrop/venv
