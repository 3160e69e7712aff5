"""Croissant 1.1 with responsible-AI fields, over the parquet catalogue.

Pixels are declared as folders of OME-Zarr and never as ImageObject, which readers load as 8-bit RGB.

References
----------
Croissant 1.1, http://mlcommons.org/croissant/1.1; Croissant RAI 1.0, http://mlcommons.org/croissant/RAI/1.0.
"""

from typing import Any

from sciimg.provenance.facts import Facts, licence_url

NAME = "croissant.json"
_MEDIA = {"parquet": "application/x-parquet", "json": "application/json", "yaml": "application/yaml", "md": "text/markdown"}
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_MEANINGS = {
    "id": "Name of the image; its folder is images/<id>.zarr.",
    "path": "Folder of the image inside the dataset.",
    "group": "The independent unit that the image belongs to.",
    "digest": "Digest of pixel values and metadata.",
    "axes": "Order of the axes.",
    "shape": "Size along each axis, as JSON.",
    "dtype": "Type of the stored values.",
    "spacing": "Distance between samples along each spatial axis, as JSON.",
    "unit": "Unit of the spacing.",
    "channels": "Channel names, as JSON.",
    "label_kind": "Whether labels number objects (instances) or classes.",
    "synthetic": "Whether the image is synthetic; true for all.",
    "lineage": "Study, model, sampler, seed, index and condition that make the same image again, as JSON.",
}


def croissant(facts: Facts) -> dict[str, Any]:
    """Return the Croissant document of the dataset."""
    study = facts.study
    document = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": study.release.dataset_id,
        "description": facts.summary,
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "citeAs": _bibtex(facts),
        "creator": {"@type": "sc:Organization", "name": study.release.creator},
        "datePublished": study.registered.isoformat(),
        "license": licence_url(study.release.licence) or study.release.licence,
        "url": facts.urn,
        "version": study.release.version,
        "isLiveDataset": False,
        "keywords": ["synthetic data", *sorted({s.modality for s in study.sources})],
        **_responsible(facts),
        "distribution": _distribution(facts),
    }
    if facts.columns:
        document["recordSet"] = [_records(facts)]
    return document


def _responsible(facts: Facts) -> dict[str, Any]:
    study = facts.study
    masks = sorted({s.labels.kind for s in study.sources if s.labels is not None})
    return {
        "rai:dataCollection": "Synthetic: drawn from a generative model that was trained on real images. Real images: "
        + " ".join(f"{s.name}: {s.citation} ({s.licence})." for s in study.sources),
        "rai:dataCollectionType": "Synthetic data, software collection",
        "rai:dataUseCases": study.context_of_use,
        "rai:dataLimitations": [*study.limits, *(f"Not for: {use}" for use in study.excluded_uses)],
        "rai:dataBiases": "A generative model repeats, and may amplify, what is over- or under-represented in its training images; "
        "the evidence compares sets of images, and says nothing of groups that the study does not name.",
        "rai:dataPreprocessingProtocol": [f"{s.name}: {', '.join(step.kind for step in s.prepare) or 'none'}" for s in study.sources],
        "rai:dataAnnotationProtocol": f"Labels are the conditions that images were generated for (origin: {', '.join(masks) or 'none'}).",
        "rai:personalSensitiveInformation": "No real image is part of the dataset. How close samples come to training images is "
        "judged where the study has a gate for it; see evidence/.",
        "rai:dataReleaseMaintenancePlan": f"Version {study.release.version}; a correction is a new version, signed anew. "
        "Bytes of a version never change.",
    }


def _bibtex(facts: Facts) -> str:
    release = facts.study.release
    return (
        f"@misc{{{release.dataset_id}, title={{{facts.study.title}}}, author={{{release.creator}}}, "
        f"year={{{facts.study.registered.year}}}, note={{version {release.version}, study {facts.decision.study}}}}}"
    )


def _distribution(facts: Facts) -> list[dict[str, Any]]:
    objects: list[dict[str, Any]] = [
        {
            "@type": "cr:FileObject",
            "@id": name,
            "name": name,
            "contentUrl": name,
            "contentSize": f"{file.size} B",
            "encodingFormat": _MEDIA[name.rpartition(".")[2]],
            "sha256": file.sha256,
        }
        for name, file in sorted(facts.files.items())
    ]
    if facts.images:
        images = {
            "@type": "cr:FileSet",
            "@id": "images",
            "name": "images",
            "description": "OME-Zarr 0.5 images with label images, integers exact; read them with any Zarr 3 library.",
            "encodingFormat": "application/vnd+zarr",
            "includes": "images/*.zarr/**",
        }
        objects.append(images)
    return objects


def _records(facts: Facts) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "catalogue",
        "name": "catalogue",
        "description": "One record an image.",
        "key": {"@id": "catalogue/id"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"catalogue/{column}",
                "name": column,
                "description": _MEANINGS.get(column, "Condition of the image, or a column of the catalogue."),
                "dataType": kind,
                "source": {"fileObject": {"@id": "catalogue.parquet"}, "extract": {"column": column}},
            }
            for column, kind in facts.columns.items()
        ],
    }
