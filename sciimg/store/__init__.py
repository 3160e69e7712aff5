"""Images on disk: OME-Zarr 0.5 volumes, and collections of them with a parquet catalogue."""

from sciimg.store.collection import Collection, CollectionWriter
from sciimg.store.volume import Volume, write_volume

__all__ = ["Collection", "CollectionWriter", "Volume", "write_volume"]
