"""A trained generator -> synthetic images on disk -> one dataset with the real ones."""
