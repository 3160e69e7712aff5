"""Releases in the formats that others work with: every value as it was released, every file marked synthetic.

A format turns one picture into the bytes of one file (``png tiff nifti dicom``: ``obstacles`` says what it cannot hold, ``encode`` makes
the bytes); a layout arranges files in a folder (``folder`` for those four, ``bids``, ``huggingface``). Nothing is scaled, rounded or
converted to fit: what a format cannot hold exactly is refused, with the format that can.
"""
