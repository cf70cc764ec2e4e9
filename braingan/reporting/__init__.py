"""A result as a table for the terminal and as a page to keep."""
