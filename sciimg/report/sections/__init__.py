"""The sections of a report: each module turns evidence into blocks, and nothing else."""
