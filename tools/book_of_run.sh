#!/usr/bin/env bash
# The book with the notebooks as a run executed them, in place of those that are committed:
#
#     tools/book_of_run.sh build/paper-vgg19
#
# The book is in build/book-of-run/book/; nothing of the repository is changed.
set -euo pipefail
run=$(cd "$1" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."
copy=build/book-of-run
rm -rf "$copy" && mkdir -p "$copy/source"
git archive HEAD | tar -x -C "$copy/source"
cp "$run"/[0-9]*.ipynb "$copy/source/notebooks/"
sphinx-build -q -c "$copy/source/book" "$copy/source" "$copy/book"
echo "$copy/book/index.html"
