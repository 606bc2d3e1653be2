#!/usr/bin/env bash
# Bundle viewer.js with three.js into ../templates/viewer.js, the script of every report page.
# Needs npm and its registry; nobody else does, because the result is part of the repository.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cp "$here/package.json" "$here/viewer.js" "$work"
cd "$work"
npm install --silent --no-package-lock --no-audit --no-fund >&2
sources="$(cat "$here/package.json" "$here/viewer.js" | sha256sum | cut -d' ' -f1)"
node_modules/.bin/esbuild viewer.js --bundle --minify --format=iife --target=es2020 --legal-comments=inline \
    --banner:js="// Made by recon/previews/viewer/build.sh from sources with the SHA-256 $sources" \
    --log-level=warning --outfile="$here/../templates/viewer.js"
