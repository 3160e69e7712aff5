"""``CHECKING.md``: how a stranger checks a release without our software. A test runs the commands exactly as they stand here."""

from sciimg.provenance.facts import Facts

NAME = "CHECKING.md"

RECIPE = """\
set -eu
KEY=${KEY:-../trusted.pub}   # the signer's public key, which reached you by another way than this release
tmp=$(mktemp -d)
trap 'rm -r "$tmp"' EXIT

# 1. The signature over the statement
jq -r .dsseEnvelope.payload dataset.sigstore.json | base64 -d > "$tmp/payload"
jq -r '.dsseEnvelope.signatures[0].sig' dataset.sigstore.json | base64 -d > "$tmp/signature"
{ printf 'DSSEv1 28 application/vnd.in-toto+json %d ' $(($(wc -c < "$tmp/payload"))); cat "$tmp/payload"; } > "$tmp/message"
openssl dgst -sha256 -verify "$KEY" -signature "$tmp/signature" "$tmp/message"

# 2. Every file that was signed
jq -r '.predicate.resources[] | .digest + "  " + .name' "$tmp/payload" > "$tmp/sums"
(cd dataset && sha256sum --check --quiet --strict "$tmp/sums")

# 3. Nothing else: no further file, no link, no device
jq -r '.predicate.resources[].name' "$tmp/payload" | LC_ALL=C sort > "$tmp/signed"
(cd dataset && find . -type f | sed 's|^\\./||' | LC_ALL=C sort) > "$tmp/found"
cmp "$tmp/signed" "$tmp/found"
test -z "$(find dataset ! -type f ! -type d)"
test -z "$(find dataset -type d -empty)"

# 4. The decision, signed about this very statement and by the same key
jq -r .dsseEnvelope.payload attestations/decision.sigstore.json | base64 -d > "$tmp/decision"
jq -r '.dsseEnvelope.signatures[0].sig' attestations/decision.sigstore.json | base64 -d > "$tmp/signature"
{ printf 'DSSEv1 28 application/vnd.in-toto+json %d ' $(($(wc -c < "$tmp/decision"))); cat "$tmp/decision"; } > "$tmp/message"
openssl dgst -sha256 -verify "$KEY" -signature "$tmp/signature" "$tmp/message"
digest=$(sha256sum < "$tmp/payload" | cut -d ' ' -f 1)
jq -e --arg digest "$digest" '.subject[0].digest.sha256 == $digest' "$tmp/decision" > /dev/null
jq -r '.subject[1:][] | .digest.sha256 + "  " + .name' "$tmp/decision" > "$tmp/reports"
if [ -s "$tmp/reports" ]; then sha256sum --check --quiet --strict "$tmp/reports"; fi
jq -r '.predicate | .signer.name + ", " + .time + ": " + .said.decision + ". " + .meaning' "$tmp/decision"
echo "Verified: payload sha256:$digest"
"""

OUTSIDER = "model_signing verify key dataset --signature dataset.sigstore.json --public_key ../trusted.pub --no-ignore-git-paths"


def checking(facts: Facts) -> str:
    """Return the page."""
    return f"""\
# How to check {facts.identity}

Take the signer's public key from the signer, from a trust policy, or from wherever you found this release announced; never from the release
itself (`signer.pub` in it is a convenience copy and proves nothing). Then, in the folder that holds `dataset/`:

## With sciimg

```sh
sciimg audit . --trust ../policy.json
```

It checks bytes, names, signatures and reports, and derives the decision again from the signed evidence. `--payload` names the one release
that is meant, by the digest that its report cites; `--partial` checks what is there of a partial download.

## With the OpenSSF Model Signing command, which we did not write

```sh
{OUTSIDER}
```

This covers the files in `dataset/` and nothing beside it: not the decision, not the reports, not `signer.pub`.

## With openssl, jq and sha256sum alone

```sh
{RECIPE}```

The last line ends in the digest that the report cites. Any difference ends the commands with an error before it.
Step 4 fails if another person than `KEY`'s signed the decision; check that attestation with their key.
Further attestations, time tokens and `signer.pub` are looked at by `sciimg audit` alone.
"""
