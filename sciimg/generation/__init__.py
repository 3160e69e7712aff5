"""From a trained recipe and conditions to a synthetic collection in which every image carries its lineage."""
