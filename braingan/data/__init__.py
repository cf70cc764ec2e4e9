"""Images on disk -> `ImageSet` -> `PreparedSet` -> `Split`. Knows nothing of generators."""
