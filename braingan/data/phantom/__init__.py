"""Phantom heads: drawn slices that stand in for MRI where no data may be downloaded or shipped."""

from .writing import PhantomSummary, draw_patient, write_phantom

__all__ = ["PhantomSummary", "draw_patient", "write_phantom"]
