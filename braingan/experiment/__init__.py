"""The experiment: arms, cells, result."""
