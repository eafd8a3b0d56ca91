# The tier in one image: imagetier (static), imagetier-resize beside it, and libvips.
#   docker build -t imagetier .
#   docker run -p 8080:8080 -v imagetier:/var/cache/imagetier \
#     -e IMAGETIER_KEYS=k1=… -e IMAGETIER_SOURCE='posts=s3://bucket/prefix?region=eu-central-1' imagetier
FROM golang:1.26-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends libvips-dev pkg-config gcc && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# The version is not in the context, which has no .git: --build-arg VERSION=0.1.0
ARG VERSION=0.0.0-dev
RUN make build VERSION=$VERSION

# The same Debian that it was built on: imagetier-resize is linked with its libvips.
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends libvips42 ca-certificates tini \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --no-create-home imagetier \
 && install -d -o imagetier -g imagetier /var/cache/imagetier
COPY --from=build /src/bin/ /usr/local/bin/
# By number: Kubernetes' runAsNonRoot cannot check a name.
USER 10001
# Two malloc arenas in the programs that decode: fastest and smallest (make bench-allocators).
ENV IMAGETIER_CACHE_DIR=/var/cache/imagetier MALLOC_ARENA_MAX=2
VOLUME /var/cache/imagetier
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s CMD ["imagetier", "health"]
# tini forwards signals and reaps orphaned processes of a killed child.
ENTRYPOINT ["tini", "--", "imagetier"]
CMD ["serve"]
