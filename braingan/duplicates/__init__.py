"""Which images show the same picture, whatever was done to the file."""
