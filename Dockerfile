# The action's image: one static binary and the certificates of public CAs.
#
# GO_IMAGE is any image with Go of at least go.mod's version and CA
# certificates, so that one made on the spot can stand in where no registry is
# reached (scripts/base-image).
ARG GO_IMAGE=golang:1.26-bookworm

FROM ${GO_IMAGE} AS build
LABEL gapless.stage=build
WORKDIR /src
COPY . .
ARG VERSION=development
ENV CGO_ENABLED=0 GOFLAGS="-trimpath -buildvcs=false"
# The binary is asked for its version before it is shipped. A job's own files
# go to RUNNER_TEMP; /tmp is for libraries that expect one.
RUN go build -ldflags "-s -w -X main.version=${VERSION}" -o /image/gapless ./cmd/gapless && \
    /image/gapless version && \
    ln -s /gapless /image/gapless-post && \
    mkdir -p /image/etc/ssl/certs && \
    cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ && \
    mkdir -m 1777 /image/tmp

FROM scratch
COPY --from=build /image /
ARG VERSION=development
ARG REVISION=unknown
LABEL org.opencontainers.image.title="gapless" \
      org.opencontainers.image.description="Releases a new version of a service, and the schema change it needs, without a gap in service" \
      org.opencontainers.image.source="https://github.com/gapless-deploy/gapless" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# No USER: the runner mounts the job's files as root's, and a step must be able
# to write them.
ENTRYPOINT ["/gapless"]
