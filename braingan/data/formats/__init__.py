"""One module a format; each holds one reader (see `braingan.data.reading.Reader`)."""
