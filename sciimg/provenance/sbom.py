"""``sbom.cdx.json``: every installed package that the environment of a release held, as CycloneDX 1.6.

Made from what packages say of themselves (``importlib.metadata``); nothing is asked of a network, and no path of this machine is written.
Licences are given as SPDX identifiers where a package names them so, otherwise by the name that the package uses. The digest of a package
is that of its own installed files: SHA-256 of the lines ``path,digest`` of its RECORD in order, without scripts and installers' notes,
which differ between machines. It stands as a property, because CycloneDX keeps ``hashes`` for the archive; that one is given where pip
recorded it.

References
----------
CycloneDX 1.6, JSON schema http://cyclonedx.org/schema/bom-1.6.schema.json; package URL, github.com/package-url/purl-spec;
core metadata 2.4 (PEP 639), ``License-Expression``; PEP 610, ``direct_url.json``.
"""

import csv
import hashlib
import io
import json
import re
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import Distribution, distributions
from typing import Any

NAME = "sbom.cdx.json"
CONTENT = "sciimg:sha256-of-installed-files"
_OWN = "sciimg"
_CLASSIFIERS = {  # names of Trove classifiers that mean one SPDX licence
    "MIT License": "MIT",
    "BSD License": None,  # two, three or four clauses: the classifier does not say
    "Apache Software License": "Apache-2.0",
    "ISC License (ISCL)": "ISC",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.0-or-later",
    "Python Software Foundation License": "PSF-2.0",
}
_SPDX = {*filter(None, _CLASSIFIERS.values()), "BSD-2-Clause", "BSD-3-Clause", "0BSD", "CC0-1.0", "LGPL-3.0-or-later", "Zlib"}
_LONGEST_NAME = 80  # what is longer is the text of a licence in the wrong field
_NOTES = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")  # of a .dist-info: they say who installed, not what

Component = dict[str, Any]


@cache
def bill_of_materials() -> dict[str, Any]:
    """Return the CycloneDX document of this environment; it is read once in a process."""
    return describe(distributions())


def describe(packages: Iterable[Distribution]) -> dict[str, Any]:
    """Return the CycloneDX document of these packages; the same packages give the same bytes, whenever and wherever.

    Of two packages of one name the first counts, as when it is imported.
    """
    found: dict[str, Distribution] = {}
    for package in packages:
        if package.name:  # a half-removed package has none
            found.setdefault(_normal(package.name), package)
    components = {name: _component(d) for name, d in sorted(found.items())}
    refs = {name: c["bom-ref"] for name, c in components.items()}
    main = components.pop(_OWN, {"name": _OWN, "bom-ref": _OWN})
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": main | {"type": "application"}},
        "components": [_interpreter(), *components.values()],
        "dependencies": [{"ref": refs[name], "dependsOn": _needed(d, refs)} for name, d in sorted(found.items())],
    }


def _interpreter() -> Component:
    version = ".".join(map(str, sys.version_info[:3]))
    kind = sys.implementation.name
    return {"type": "platform", "bom-ref": f"{kind}@{version}", "name": kind, "version": version}


def _component(distribution: Distribution) -> Component:
    name, version = _normal(distribution.name), distribution.version
    url = f"pkg:pypi/{name}@{version.replace('+', '%2B')}"
    component: Component = {"type": "library", "bom-ref": url, "name": distribution.name, "version": version, "purl": url}
    if licences := _licences(distribution):
        component["licenses"] = licences
    if archive := _archive(distribution):
        component["hashes"] = [{"alg": "SHA-256", "content": archive}]
    if content := _content(distribution):
        component["properties"] = [{"name": CONTENT, "value": content}]
    return component


def _licences(distribution: Distribution) -> list[dict[str, Any]]:
    """Return the licence as CycloneDX has it: an SPDX expression, or licences by identifier or name; nothing where none is stated."""
    about = distribution.metadata
    text, expression = ((about.get_all(name) or [""])[0].strip() for name in ("License", "License-Expression"))
    if expression:
        return [{"expression": expression}]
    if text in _SPDX:
        return [{"license": {"id": text}}]
    named = [c.rpartition(" :: ")[2] for c in about.get_all("Classifier") or [] if c.startswith("License ::")]
    known = {name: _CLASSIFIERS.get(name) for name in dict.fromkeys(named) if name != "OSI Approved"}
    if known:
        return [{"license": {"id": spdx} if spdx else {"name": name}} for name, spdx in known.items()]
    return [{"license": {"name": text}}] if text and len(text) <= _LONGEST_NAME and "\n" not in text and text != "UNKNOWN" else []


def _archive(distribution: Distribution) -> str | None:
    """Return the SHA-256 of the archive that a package was installed from, where pip wrote it down (PEP 610: not for an index)."""
    try:
        hashes = json.loads(distribution.read_text("direct_url.json") or "{}")["archive_info"]["hashes"]
        digest = str(hashes["sha256"])
    except (ValueError, KeyError, TypeError):
        return None
    return digest if re.fullmatch(r"[0-9a-f]{64}", digest) else None


def _content(distribution: Distribution) -> str | None:
    rows = [(row[0], row[1]) for row in csv.reader(io.StringIO(distribution.read_text("RECORD") or "")) if len(row) == 3 and row[1]]
    lines = sorted(f"{path},{digest}\n" for path, digest in rows if _is_own_file(path))
    return hashlib.sha256("".join(lines).encode()).hexdigest() if lines else None


def _is_own_file(path: str) -> bool:
    note = ".dist-info/" in path and path.rpartition("/")[2] in _NOTES
    return not (note or path.startswith(("..", "/")) or path.endswith((".pyc", ".pth")))


def _needed(distribution: Distribution, refs: dict[str, str]) -> list[str]:
    """Return the references of what a package requires on this machine, without its extras."""
    from packaging.requirements import InvalidRequirement, Requirement

    names: set[str] = set()
    for text in distribution.requires or ():
        try:
            requirement = Requirement(text)
        except InvalidRequirement:  # an old package's own dialect
            continue
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            names.add(_normal(requirement.name))
    return sorted(refs[name] for name in names if name in refs)


def _normal(name: str) -> str:
    """Return a package's name as indices compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
