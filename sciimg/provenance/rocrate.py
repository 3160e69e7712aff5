"""RO-Crate 1.1 with Process Run Crate 0.5: what the dataset is, and which stage made what from what.

No time of day is written: the signed root says the same whenever it is made. Actions therefore have no ``endTime`` (which the profile
recommends); the run's own ``stage.json`` files have the timings.

References
----------
RO-Crate 1.1, https://w3id.org/ro/crate/1.1; Process Run Crate 0.5, https://w3id.org/ro/wfrun/process/0.5.
"""

from typing import Any

from sciimg.provenance.facts import SOFTWARE, Facts, licence_url

NAME = "ro-crate-metadata.json"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
_CONTEXT = ["https://w3id.org/ro/crate/1.1/context", {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"}]
_FORMATS = {
    ".json": ("application/json", "https://www.nationalarchives.gov.uk/PRONOM/fmt/817", "JSON Data Interchange Format"),
    ".yaml": ("application/yaml", "https://www.nationalarchives.gov.uk/PRONOM/fmt/818", "YAML"),
    ".md": ("text/markdown", "https://www.nationalarchives.gov.uk/PRONOM/fmt/1149", "Markdown"),
    ".parquet": ("application/vnd.apache.parquet", "https://parquet.apache.org/docs/file-format/", "Apache Parquet"),
}
_ZARR = "https://ngff.openmicroscopy.org/0.5/"
_PURPOSES = {
    "ingest": "Real images are read into a collection.",
    "split": "Groups are divided into training, calibration and holdout parts.",
    "baseline": "What judges learn from real images before any synthetic one is seen.",
    "verify": "The machinery is tested against closed forms.",
    "train": "A generative model is trained on the training part.",
    "generate": "Synthetic images are drawn from the trained model.",
    "validate": "Synthetic images are judged against held-out real ones.",
    "review": "Blinded sheets are made for readers, where the study plans a review.",
    "decide": "Gates of the study meet the evidence.",
}
_EVIDENCE = {"decide": "decision", "baseline": "rehearsal"}  # where it is not called after its stage

Entity = dict[str, Any]


def crate(facts: Facts) -> dict[str, Any]:
    """Return the metadata document of the crate."""
    formats = {f"{_FORMATS[s][1]}": f"{_FORMATS[s][2]}" for s in sorted({_suffix(n) for n in facts.files})}
    if facts.images:
        formats[_ZARR] = "OME-Zarr 0.5"
    graph = [
        {"@id": NAME, "@type": "CreativeWork", "about": _ref("./"), "conformsTo": _ref("https://w3id.org/ro/crate/1.1")},
        _root(facts),
        {"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"},
        _licence(facts),
        {"@id": "#creator", "@type": "Organization", "name": facts.study.release.creator},
        *(_file(name, facts) for name in sorted(facts.files)),
        *([_images(facts)] if facts.images else []),
        *({"@id": page, "@type": "WebSite", "name": name} for page, name in formats.items()),
        *_sources(facts),
        *_software(facts),
        *(entity for stage in facts.stages for entity in _action(stage, facts)),
    ]
    return {"@context": _CONTEXT, "@graph": [{key: _compact(value) for key, value in entity.items()} for entity in graph]}


def _compact(value: Any) -> Any:
    """Return the only item of a list of one, as RO-Crate 1.1 recommends."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _ref(identifier: str) -> dict[str, str]:
    return {"@id": identifier}


def _root(facts: Facts) -> Entity:
    study = facts.study
    parts = [*sorted(facts.files), *(["images/"] if facts.images else [])]
    return {
        "@id": "./",
        "@type": "Dataset",
        "name": study.title,
        "description": facts.summary,
        "identifier": facts.urn,
        "version": study.release.version,
        "datePublished": study.registered.isoformat(),
        "license": _ref(_licence(facts)["@id"]),
        "author": _ref("#creator"),
        "publisher": _ref("#creator"),
        "keywords": ["synthetic data", *sorted({s.modality for s in study.sources})],
        "conformsTo": _ref(PROFILE),
        "isBasedOn": [_ref(f"#source-{s.name}") for s in study.sources],
        "hasPart": [_ref(p) for p in parts],
        "mentions": [_ref(f"#stage-{stage}") for stage in facts.stages],
    }


def _licence(facts: Facts) -> Entity:
    name = facts.study.release.licence
    page = licence_url(name)
    return {"@id": page or "#licence", "@type": "CreativeWork", "name": name, "description": f"Licence of this dataset: {name}"}


def _file(name: str, facts: Facts) -> Entity:
    media, page, _ = _FORMATS[_suffix(name)]
    file = facts.files[name]
    return {
        "@id": name,
        "@type": "File",
        "name": name,
        "contentSize": str(file.size),
        "encodingFormat": [media, _ref(page)],
        "sha256": file.sha256,
    }


def _suffix(name: str) -> str:
    return "." + name.rpartition(".")[2]


def _images(facts: Facts) -> Entity:
    return {
        "@id": "images/",
        "@type": "Dataset",
        "name": "Synthetic images",
        "description": f"{facts.images} synthetic OME-Zarr images with label images, {facts.image_bytes} bytes, one folder an image; "
        "catalogue.parquet has one row an image.",
        "encodingFormat": ["application/vnd+zarr", _ref(_ZARR)],
    }


def _sources(facts: Facts) -> list[Entity]:
    return [
        {
            "@id": f"#source-{s.name}",
            "@type": "CreativeWork",
            "name": s.name,
            "citation": s.citation,
            "license": s.licence,
            "description": f"Real images ({s.modality}) that the synthetic ones were learnt from; not part of this dataset.",
        }
        for s in facts.study.sources
    ]


def _software(facts: Facts) -> list[Entity]:
    ignored = {"python", "platform", "machine", "sciimg"}
    libraries = {n: v for n, v in sorted(facts.environment.items()) if n not in ignored and v != "not installed"}
    own: Entity = {
        "@id": _sciimg(facts),
        "@type": "SoftwareApplication",
        "name": "sciimg",
        "softwareVersion": facts.environment.get("sciimg", "unknown"),
        "softwareRequirements": [_ref(f"https://pypi.org/project/{n}/{v}/") for n, v in libraries.items()],
    }
    return [own] + [
        {"@id": page, "@type": "SoftwareApplication", "name": n, "softwareVersion": v, "url": page}
        for n, v in libraries.items()
        for page in [f"https://pypi.org/project/{n}/{v}/"]
    ]


def _sciimg(facts: Facts) -> str:
    return f"{SOFTWARE}:{facts.environment.get('sciimg', 'unknown')}"


def _action(stage: str, facts: Facts) -> list[Entity]:
    """Return the run of a stage: from the outputs of the stages it needed (and the study) to its own."""
    record = facts.stages[stage]
    needs = [n for n in record["needs"] if n in facts.stages]
    given = [_ref("study.yaml"), *(_ref(f"#output-{n}") for n in needs)]
    if stage == "ingest":
        given += [_ref(f"#source-{s.name}") for s in facts.study.sources]
    made = [_ref(f"#output-{stage}")]
    evidence = f"evidence/{_EVIDENCE.get(stage, stage)}.json"
    if evidence in facts.files:
        made.append(_ref(evidence))
    if facts.images and stage == f"generate-{facts.decision.released}":
        made += [_ref("images/"), _ref("catalogue.parquet")]
    kind, _, recipe = stage.partition("-")
    action = {
        "@id": f"#stage-{stage}",
        "@type": "CreateAction",
        "name": f"{kind} {recipe}".strip(),
        "description": _PURPOSES.get(kind, f"Stage {stage} of the study."),
        "instrument": _ref(_sciimg(facts)),
        "agent": _ref("#creator"),
        "object": given,
        "result": made,
    }
    output = {
        "@id": f"#output-{stage}",
        "@type": "PropertyValue",
        "name": f"Digest of what {stage} made",
        "propertyID": "sha256",
        "value": record["outputs"]["digest"],
    }
    return [action, output]
